/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/arena.h"
#include "base/testing.h"
#include "explain/pattern.h"

#include <string.h>

static void test_match(void **state)
{
	static const struct { const char *pattern, *text; bool want;
	} cases[] = {
		{"abc", "xxABCyy", true},
		{"ABC", "abc", true},
		{"abc", "ab", false},
		{"abc", "", false},
		{"a*c", "a anything c", true},
		{"a*c", "c a", false},
		{"a{3}c", "axxxc", true},
		{"a{3}c", "axxxxc", false},
		{"a{3}c", "ac", true},
		{"a{3}c", "aaxxxc", true}, /* the second a, which a greedy search would have passed */
		{"a#b", "a12b", true},
		{"a#b", "ab", false},
		{"a#", "a1", true},
		{"#2", "12", true}, /* # gives a digit back */
		{"a(b|cd|)e", "abe", true},
		{"a(b|cd|)e", "acde", true},
		{"a(b|cd|)e", "ae", true},
		{"a(b|cd)e", "ae", false},
		{"a(b(c|d)|e)f", "abdf", true},
		{"x|y", "y", true},
		{"[0-9a-f]z", "fz", true},
		{"[0-9a-f]z", "gz", false},
		{"[A-C]", "b", true},
		{"\\*\\#\\(", "*#(", true},
		{"\\[hme1\\]", "554 [HME1] x", true},
		{"from {ip}:", "from 192.0.2.1: no", true},
		{"from {ip}:", "from 2001:db8::1: no", true},
		{"from {ip} ", "from ::1 no", true},
		{"from {ip}", "from 192.0.2 no", false},
		{"from {ip}", "from 12:30 no", false},
		{"from 192.0.{ip}", "from 192.0.192.0.2.1", true},
		{"없는 (사용자|계정)", "550 없는 계정입니다", true},
		{"없는{9}니다", "없는 사람입니다", false},
		{"없는{10}니다", "없는 사람입니다", true},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		ARENA_SCOPED a = arena_new();
		struct err err = {0};
		const struct pattern *p;
		assert_case(cases[i].pattern, pattern_compile(a, str_of(cases[i].pattern), &p, &err));
		bool got = pattern_match(p, pattern_text_new(a, str_of(cases[i].text)));
		assert_case(cases[i].pattern, got == cases[i].want);
	}
}

static void test_syntax(void **state)
{
	static const char *const cases[] = {
		"",    "(",  "a)", "(a", "[",   "[]", "[a", "{",    "{0}",           "{501}",
		"{x}", "{3", "}",  "]",  "a\\", "*",  "a|", "(a|)", "((((((a))))))", "{5}*"};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		ARENA_SCOPED a = arena_new();
		struct err err = {0};
		const struct pattern *p;
		assert_case(cases[i], !pattern_compile(a, str_of(cases[i]), &p, &err));
		assert_case(cases[i], err.kind == ERR_SYNTAX || err.kind == ERR_LIMIT);
	}
}

/* Every length and place around the words of the bit sets. */
static void test_places(void **state)
{
	char text[PATTERN_TEXT_MAX + 100];
	for (size_t n = 3; n <= sizeof text; n = n < 200 ? n + 1 : n + 61) {
		for (size_t at = 0; at + 3 <= n; at = n < 140 ? at + 1 : at + 37) {
			ARENA_SCOPED a = arena_new();
			struct err err = {0};
			const struct pattern *word, *gap, *end;
			assert_true(pattern_compile(a, STR("xyz"), &word, &err));
			assert_true(pattern_compile(a, STR("x{2}z"), &gap, &err));
			assert_true(pattern_compile(a, STR("z{400}z"), &end, &err));
			memset(text, '-', n);
			memcpy(text + at, "xyz", 3);
			const struct pattern_text *t = pattern_text_new(a, (struct str){text, n});
			assert_true(pattern_match(word, t) == (at + 3 <= PATTERN_TEXT_MAX));
			assert_true(pattern_match(gap, t) == (at + 3 <= PATTERN_TEXT_MAX));
			assert_false(pattern_match(end, t));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_match),
		cmocka_unit_test(test_syntax),
		cmocka_unit_test(test_places),
	};
	return RUN_TESTS(tests);
}
