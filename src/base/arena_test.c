/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/arena.h"
#include "base/testing.h"
#include <string.h>

static void test_alloc(void **state)
{
	ARENA_SCOPED a = arena_new();

	assert_int_equal(arena_used(a), 0);
	for (size_t size = 0; size < 5000; size += 37) {
		char *p = arena_alloc(a, size);
		assert_int_equal((uintptr_t)p % 16, 0);
		memset(p, 0xaa, size);
	}
	memset(arena_alloc(a, 1 << 20), 0xbb, 1 << 20);
	char *z = arena_zalloc(a, 100);
	for (int i = 0; i < 100; i++)
		assert_int_equal(z[i], 0);
	assert_true(arena_used(a) > 1 << 20);
	arena_reset(a);
	assert_int_equal(arena_used(a), 0);
	memset(arena_alloc(a, 100), 1, 100);
	arena_release(a);
	memset(arena_alloc(a, 100), 1, 100);
}

static void test_large_keeps_room(void **state)
{
	ARENA_SCOPED a = arena_new();
	char *x = arena_alloc(a, 16);
	arena_alloc(a, 100000);
	char *y = arena_alloc(a, 16);

	assert_true(y > x && y - x <= 64); /* still in the first block */
}

static void test_grow(void **state)
{
	ARENA_SCOPED a = arena_new();
	int *v = NULL;
	size_t n = 0, cap = 0;

	for (int i = 0; i < 1000; i++) {
		v = arena_grow(a, v, n, &cap, sizeof(*v));
		assert_true(cap > n);
		v[n++] = i;
	}
	for (int i = 0; i < 1000; i++)
		assert_int_equal(v[i], i);
}

static void test_strings(void **state)
{
	ARENA_SCOPED a = arena_new();
	char big[1000];

	assert_str("copy", arena_str(a, STR("x\0y")), STR("x\0y"));
	assert_null(arena_str(a, STR_NONE).p);
	assert_non_null(arena_str(a, STR("")).p);
	assert_str("lower", arena_lower(a, STR("AbC[\xc1")), STR("abc[\xc1"));
	assert_str("cat", arena_cat(a, STR("a"), STR_NONE), STR("a"));
	assert_str("cat none", arena_cat(a, STR_NONE, STR_NONE), STR(""));
	assert_string_equal(arena_cstr(a, STR("abc")), "abc");
	assert_string_equal(arena_cstr(a, STR_NONE), "");
	assert_null(arena_cstr(a, STR("a\0b")));
	assert_str("fmt", arena_fmt(a, "%d-%s", 7, "x"), STR("7-x"));
	memset(big, 'z', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	assert_int_equal(arena_fmt(a, "<%s>", big).n, sizeof(big) + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alloc), cmocka_unit_test(test_large_keeps_room),
		cmocka_unit_test(test_grow), cmocka_unit_test(test_strings),
	};
	return RUN_TESTS(tests);
}
