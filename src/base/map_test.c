/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/map.h"
#include "base/testing.h"

static struct str key_of(char *text, size_t size, int i)
{
	return (struct str){text, (size_t)snprintf(text, size, "key-%d", i)};
}

static void test_basics(void **state)
{
	struct map *m = map_new();
	int a, b;

	assert_null(map_get(m, STR("x")));
	assert_null(map_remove(m, STR("x")));
	assert_null(map_put(m, STR("x"), &a));
	assert_ptr_equal(map_put(m, STR("x"), &b), &a);
	assert_null(map_put(m, STR(""), &a)); /* the empty string is a key */
	assert_null(map_put(m, STR("x\0"), &a));
	assert_int_equal(map_count(m), 3);
	assert_ptr_equal(map_get(m, STR("x")), &b);
	assert_ptr_equal(map_get(m, STR_NONE), &a);
	assert_ptr_equal(map_remove(m, STR("x")), &b);
	assert_null(map_get(m, STR("x")));
	assert_int_equal(map_count(m), 2);
	map_free(m);
	map_free(NULL);
}

static void test_many(void **state)
{
	enum { N = 5000 };
	static int values[N];
	struct map *m = map_new();
	char text[32];

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < N; i++)
			map_put(m, key_of(text, sizeof(text), i), &values[i]);
		for (int i = 0; i < N; i++)
			assert_ptr_equal(map_get(m, key_of(text, sizeof(text), i)), &values[i]);
		for (int i = 0; i < N; i += 2)
			assert_ptr_equal(map_remove(m, key_of(text, sizeof(text), i)), &values[i]);
		assert_int_equal(map_count(m), N / 2);
	}
	map_free(m);
}

/* Coming and going keys must not fill the table with markers. */
static void test_churn(void **state)
{
	struct map *m = map_new();
	char text[32];
	int v;

	for (int i = 0; i < 100000; i++) {
		map_put(m, key_of(text, sizeof(text), i), &v);
		assert_ptr_equal(map_remove(m, key_of(text, sizeof(text), i)), &v);
	}
	assert_null(map_get(m, STR("key-1")));
	map_free(m);
}

static void test_iterate_and_remove(void **state)
{
	enum { N = 1000 };
	static int seen[N];
	struct map *m = map_new();
	char text[32];
	struct map_iter it = {0};

	for (int i = 0; i < N; i++)
		map_put(m, key_of(text, sizeof(text), i), &seen[i]);
	while (map_next(m, &it)) {
		++*(int *)it.value;
		if ((int *)it.value - seen < N / 2)
			map_remove(m, it.key);
	}
	for (int i = 0; i < N; i++)
		assert_int_equal(seen[i], 1);
	assert_int_equal(map_count(m), N - N / 2);
	map_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_basics), cmocka_unit_test(test_many), cmocka_unit_test(test_churn),
		cmocka_unit_test(test_iterate_and_remove),
	};
	return RUN_TESTS(tests);
}
