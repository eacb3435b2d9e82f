/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/ids.h"
#include "base/clock.h"
#include "base/testing.h"
#include <string.h>

static void test_ids(void **state)
{
	struct id last = id_new(), parsed;

	for (int i = 0; i < 1000; i++) {
		int64_t before = clock_wall_us();
		while (clock_wall_us() == before)
			;
		struct id id = id_new();
		assert_true(str_cmp(id_str(&last), id_str(&id)) < 0); /* ascend */
		assert_true(id_parse(id_str(&id), &parsed));
		assert_str("parsed", id_str(&parsed), id_str(&id));
		last = id;
	}
}

static void test_parse_refuses(void **state)
{
	static const struct str cases[] = {
		STR(""), STR("0123456789abcdefg"), STR("0123456789abcdefghj"), STR("0123456789ABCDEFGH"),
		STR("0123456789abcdefgi"), STR("0123456789abcdefg/"), STR("0123456789abcdefg\0"),
		STR("..................")
	};
	struct id id;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_false(id_parse(cases[i], &id));
	assert_true(id_parse(STR("0123456789abcdefgh"), &id));
}

static void test_random(void **state)
{
	char password[64], again[64], zero[64] = {0};

	random_password(password, sizeof(password));
	random_password(again, sizeof(again));
	assert_memory_not_equal(password, again, sizeof(password));
	for (size_t i = 0; i < sizeof(password); i++) {
		assert_true(ascii_is((unsigned char)password[i], ASCII_UPPER | ASCII_LOWER | ASCII_DIGIT));
		assert_null(memchr("0Oo1lIi", password[i], 7));
	}
	random_bytes(again, sizeof(again));
	assert_memory_not_equal(again, zero, sizeof(zero));
	assert_false(random_u64() == random_u64());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ids), cmocka_unit_test(test_parse_refuses),
		cmocka_unit_test(test_random),
	};
	return RUN_TESTS(tests);
}
