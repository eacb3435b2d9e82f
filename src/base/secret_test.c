/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/secret.h"
#include "base/clock.h"
#include "base/testing.h"

static void test_secret(void **state)
{
	SECRET_SCOPED s = secret_of(STR("pass\0word"));

	assert_true(secret_eq((struct str){s.p, s.n}, STR("pass\0word")));
	assert_false(secret_eq((struct str){s.p, s.n}, STR("pass\0worD")));
	assert_false(secret_eq(STR("a"), STR("ab")));
	assert_true(secret_eq(STR_NONE, STR("")));
	secret_free(&s);
	assert_null(s.p);
	secret_free(&s);
	secret_free(NULL);

	char text[] = "abc";
	secret_wipe(text, 3);
	assert_memory_equal(text, "\0\0\0", 3);
}

static void test_clock(void **state)
{
	int64_t wall = clock_wall_us(), mono = clock_mono_us();

	clock_test_shift(INT64_C(-3600) * 1000000);
	assert_true(clock_wall_us() < wall - INT64_C(3500) * 1000000);
	assert_true(clock_mono_us() >= mono);
	clock_test_shift(INT64_C(3600) * 1000000);
	assert_true(clock_wall_us() >= wall);
	assert_true(clock_wall_s() >= wall / 1000000);
	assert_true(clock_mono_ms() >= mono / 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_secret), cmocka_unit_test(test_clock)};
	return RUN_TESTS(tests);
}
