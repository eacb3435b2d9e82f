/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "store/slab.h"
#include "base/testing.h"
#include <string.h>

enum { N = 4000 };

static size_t size_of(size_t i)
{
	return 1 + i * 37 % 1300; /* some beyond SLAB_MAX */
}

static void test_objects_are_apart(void **state)
{
	static unsigned char *p[N];
	struct slab s;

	slab_init(&s);
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < N; i++) {
			p[i] = slab_alloc(&s, size_of(i));
			for (size_t k = 0; k < size_of(i); k++)
				assert_int_equal(p[i][k], 0);
			memset(p[i], (int)(i & 255), size_of(i));
		}
		/* Half of them go and come again. */
		for (size_t i = 0; i < N; i += 2)
			slab_free(p[i], size_of(i));
		for (size_t i = 0; i < N; i += 2) {
			p[i] = slab_alloc(&s, size_of(i));
			memset(p[i], (int)(i & 255), size_of(i));
		}
		for (size_t i = 0; i < N; i++) {
			for (size_t k = 0; k < size_of(i); k++)
				assert_int_equal(p[i][k], i & 255);
			slab_free(p[i], size_of(i));
		}
	}
	for (int i = 0; i < SLAB_CLASSES; i++)
		assert_null(s.partial[i]);
	slab_free(NULL, 5);
	slab_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_objects_are_apart)};
	return RUN_TESTS(tests);
}
