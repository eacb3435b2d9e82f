/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* What log_format writes is read again as it was. */
#include "base/log.h"
#include "base/log_line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_round_trip(void **state)
{
	static const struct str values[] = {
		{"", 0},
		{"plain", 5},
		{"a b=\"c\"", 7},
		{"\\x41 \\n", 7},
		{"line\nbreak\ttab\r", 15},
		{"한글", 6},
		{"\x01\x7f", 2},
	};
	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		BUF_SCOPED line = {0};
		BUF_SCOPED text = {0};
		struct log_line l;
		struct log_field f[] = {K_STR(sid, STR("12")), K_STR(why, values[i]), K_INT(code, -5)};
		log_format(&line, 0, LOG_INFO, STR("smtp-0"), "a.b", f, 3);
		assert_true(log_line_read(buf_str(&line), &l));
		assert_true(str_eq(l.event, STR("a.b")) && str_eq(l.level, STR("info")));
		struct log_value v = log_line_find(&l, STR("why")), code = log_line_find(&l, STR("code"));
		log_value_text(&text, &v);
		assert_true(v.quoted && str_eq(buf_str(&text), values[i]));
		assert_true(!code.quoted && str_eq(code.raw, STR("-5")));
		assert_true(str_eq(log_line_find(&l, STR("role")).raw, STR("smtp-0")));
		assert_null(log_line_find(&l, STR("rule")).raw.p);
	}
}

static void test_broken(void **state)
{
	static const struct {
		const char *line;
		size_t fields; /* -1: no line */
	} cases[] = {
		{"", (size_t)-1},      {"a b", (size_t)-1},     {"a b c", 0},
		{"a b c word x=1", 2}, {"a b c x=\"open", 1},   {"a b c x=\"end\\", 1},
		{"a b c =", 1},        {"a b c x=\"1\"y=2", 2}, {"a b c   x=1   ", 1},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct log_line l;
		struct log_value v;
		size_t n = 0;
		bool good = log_line_read(str_of(cases[i].line), &l);
		assert_int_equal(good, cases[i].fields != (size_t)-1);
		for (struct str rest = good ? l.fields : STR(""); log_line_next(&rest, &v);)
			n++;
		if (good && n != cases[i].fields)
			fail_msg("%s: %zu", cases[i].line, n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip), cmocka_unit_test(test_broken)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
