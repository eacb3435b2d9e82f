/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "mail/date.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void parse_test(void **state)
{
	static const struct {
		const char *in, *wanted; /* as date_format writes it; NULL: no date */
	} cases[] = {
		/* RFC 5322 3.3, A.1.1, A.5, A.6.2 */
		{"Fri, 21 Nov 1997 09:55:06 -0600", "Fri, 21 Nov 1997 09:55:06 -0600"},
		{"Tue, 1 Jul 2003 10:52:37 +0200", "Tue, 1 Jul 2003 10:52:37 +0200"},
		{"Thu,\r\n      13\r\n        Feb\r\n          1969\r\n      23:32\r\n               "
			"-0330 (Newfoundland Time)",
		 "Thu, 13 Feb 1969 23:32:00 -0330"},
		{"21 Nov 97 09:55:06 GMT", "Fri, 21 Nov 1997 09:55:06 +0000"},
		{"Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", "Fri, 21 Nov 1997 00:00:00 +0000"},
		/* 4.3 */
		{"24 Nov 49 10:00 EST", "Wed, 24 Nov 2049 10:00:00 -0500"},
		{"24 Nov 103 10:00 PDT", "Mon, 24 Nov 2003 10:00:00 -0700"},
		{"24 Nov 2026 10:00 Q", "Tue, 24 Nov 2026 10:00:00 +0000"},
		{"Mon, 24 Nov 2026 10:00:00 KST", "Tue, 24 Nov 2026 10:00:00 +0900"},
		{"24 Nov 2026", "Tue, 24 Nov 2026 00:00:00 +0000"},
		{"Sat, 29 Feb 2020 23:59:60 +0000", "Sun, 1 Mar 2020 00:00:00 +0000"},
		/* seen */
		{"Tue Nov 24 10:00:00 2026", "Tue, 24 Nov 2026 10:00:00 +0000"},
		{"Tue Nov 24 10:00:00 KST 2026", "Tue, 24 Nov 2026 10:00:00 +0900"},
		{"Tue Nov 24 10:00:00 2026 +0900", "Tue, 24 Nov 2026 10:00:00 +0900"},
		{"2026-11-24T10:00:00Z", "Tue, 24 Nov 2026 10:00:00 +0000"},
		{"2026-11-24 10:00:00.123 +09:00", "Tue, 24 Nov 2026 10:00:00 +0900"},
		{"24-Nov-2026 19:00:00 +0900", "Tue, 24 Nov 2026 19:00:00 +0900"},
		{"Nov 24, 2026 3:05 PM", "Tue, 24 Nov 2026 15:05:00 +0000"},
		{"Tue, 24 Nov 2026 10.30.15 +0100", "Tue, 24 Nov 2026 10:30:15 +0100"},
		{"11/24/2026 10:00", "Tue, 24 Nov 2026 10:00:00 +0000"},
		{"24/11/2026", "Tue, 24 Nov 2026 00:00:00 +0000"},
		{"2026년 11월 22일 (일) 오후 3:05", "Sun, 22 Nov 2026 15:05:00 +0000"},
		{"Tue, 24 Nov 2026 10:00:00 0900", "Tue, 24 Nov 2026 10:00:00 +0900"},
		{"Tue, 24 Nov 2026 10:00:00 GMT+9", "Tue, 24 Nov 2026 10:00:00 +0000"},
		{"1 Jan 0001 00:00:00 +0000", "Mon, 1 Jan 0001 00:00:00 +0000"},
		{"", NULL}, {"now", NULL}, {"31 Feb 2026", NULL}, {"0 Jan 2026", NULL}, {"Nov 2026", NULL},
		{"24 Nov", NULL},
		{"((((", NULL}, {"\\", NULL}, {"99999999999999999999", NULL},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct date d;
		BUF_SCOPED b = {0};
		bool ok = date_parse(str_of(cases[i].in), &d);
		if (ok) date_format(&b, d);
		if (ok != (cases[i].wanted != NULL) || (ok && !str_eq(buf_str(&b), str_of(cases[i].wanted))))
			fail_msg("%s: %.*s", cases[i].in, STR_ARG(buf_str(&b)));
	}
}

static void format_test(void **state)
{
	BUF_SCOPED b = {0};
	date_format_imap(&b, (struct date){1764576305, 540});
	assert_true(str_eq(buf_str(&b), STR(" 1-Dec-2025 17:05:05 +0900")));
	buf_clear(&b);
	date_format_iso(&b, 0);
	assert_true(str_eq(buf_str(&b), STR("1970-01-01T00:00:00Z")));
}

/* Every day of 8,000 years there and back, and the ends of the range hold. */
static void civil_test(void **state)
{
	struct date_civil c, last = {0};
	for (int64_t day = -719162; day < 2932000; day += 97) {
		date_to_civil(day * 86400 + 86399, 0, &c);
		assert_int_equal(date_of_civil(&c, 0), day * 86400 + 86399);
		last = c;
	}
	assert_int_equal(last.year, 9997);
	date_to_civil(INT64_MAX, 0, &c);
	assert_int_equal(c.year, 9999);
	date_to_civil(INT64_MIN, -1439, &c);
	assert_int_equal(c.year, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parse_test), cmocka_unit_test(format_test), cmocka_unit_test(civil_test),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
