/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/scan.h"
#include "base/testing.h"

static bool is_x(unsigned char c)
{
	return c == 'x';
}

static void test_literals(void **state)
{
	struct scan s = scan_of(STR("MAIL from:<>"));
	struct str taken;

	assert_false(scan_lit(&s, STR("mail")));
	assert_true(scan_lit_nocase(&s, STR("mail")));
	assert_int_equal(scan_peek(&s), ' ');
	assert_int_equal(scan_peek_at(&s, 1), 'f');
	assert_int_equal(scan_peek_at(&s, 100), -1);
	scan_blanks(&s);
	assert_true(scan_byte_nocase(&s, 'F'));
	assert_false(scan_byte(&s, 'R'));
	assert_true(scan_lit(&s, STR("rom:")));
	assert_false(scan_take(&s, 3, &taken));
	assert_true(scan_take(&s, 2, &taken));
	assert_str("taken", taken, STR("<>"));
	assert_true(scan_end(&s));
	assert_int_equal(scan_peek(&s), -1);
	assert_false(scan_byte(&s, '\0'));
	assert_true(scan_skip(&s, 0));
	assert_false(scan_skip(&s, 1));
}

static void test_runs(void **state)
{
	struct scan s = scan_of(STR("abc1=xxy"));

	assert_str("class", scan_while_class(&s, ASCII_LOWER), STR("abc"));
	assert_str("until", scan_until_byte(&s, '='), STR("1"));
	assert_str("until itself", scan_until_byte(&s, '='), STR(""));
	assert_true(scan_skip(&s, 1));
	assert_str("while", scan_while(&s, is_x), STR("xx"));
	assert_str("until end", scan_until_byte(&s, '='), STR("y"));
	assert_str("nothing left", scan_rest(&s), STR(""));
}

static void test_numbers(void **state)
{
	static const struct {
		struct str s;
		uint32_t max;
		bool ok;
		uint32_t v;
		struct str rest;
	} cases[] = {
		{STR("12:*"), 100, true, 12, STR(":*")},
		{STR("4294967295"), UINT32_MAX, true, UINT32_MAX, STR("")},
		{STR("4294967296"), UINT32_MAX, false, 0, STR("4294967296")},
		{STR("101"), 100, false, 0, STR("101")},
		{STR("x"), 100, false, 0, STR("x")},
		{STR(""), 100, false, 0, STR("")},
		{STR("-1"), 100, false, 0, STR("-1")},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct scan s = scan_of(cases[i].s);
		uint32_t v = 0;
		assert_int_equal(scan_u32(&s, cases[i].max, &v), cases[i].ok);
		assert_int_equal(v, cases[i].v);
		assert_str("rest", scan_rest(&s), cases[i].rest);
	}
}

/* A length from outside: above the limit, beyond the end, cut off itself. */
static void test_le_str_refuses(void **state)
{
	static const struct str cases[] = {
		STR(""), STR("\x01\0\0"), STR("\x02\0\0\0a"), STR("\xff\xff\xff\xff" "a"),
		STR("\x09\0\0\0" "123456789"),
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct scan s = scan_of(cases[i]);
		struct str out = STR("untouched");
		assert_false(scan_le_str(&s, 8, &out));
		assert_int_equal(scan_left(&s), cases[i].n);
		assert_str("out", out, STR("untouched"));
	}
	struct scan none = scan_of(STR_NONE);
	assert_true(scan_end(&none));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_literals), cmocka_unit_test(test_runs),
		cmocka_unit_test(test_numbers), cmocka_unit_test(test_le_str_refuses),
	};
	return RUN_TESTS(tests);
}
