/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "mail/status.h"
#include "base/codec.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void reply_test(void **state)
{
	static const struct {
		const char *in;
		bool ok;
		struct status wanted;
	} cases[] = {
		{"5.1.1 no such user", true, {5, 1, 1}}, {"550 5.1.1 x", true, {5, 1, 1}},
		{"550-5.7.26 x", true, {5, 7, 26}},
		{"250 2.0.0", true, {2, 0, 0}}, {"421 too busy", true, {4, 0, 0}}, {"550", true, {5, 0, 0}},
		{"550 4.1.1 x", true, {5, 0, 0}}, {"550 5.1.1x", true, {5, 0, 0}},
		{"550 5.1000.1 x", true, {5, 0, 0}},
		{"354 go", false, {0}}, {"", false, {0}}, {"hello", false, {0}}, {"999 x", false, {0}},
		{"55 x", false, {0}},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct status got = {0};
		if (status_of_reply(str_of(cases[i].in), &got) != cases[i].ok) fail_msg("%s", cases[i].in);
		if (cases[i].ok && !status_eq(got, cases[i].wanted)) fail_msg("%s", cases[i].in);
	}
}

/* RFC 5321 4.2.1 and RFC 3463 2: classes of reply code and status agree; texts are fit for a line. */
static void table_test(void **state)
{
	for (int i = 0; i < OUTCOME_COUNT; i++) {
		const struct outcome_row *row = outcome_row((enum outcome)i);
		struct str en = str_of(row->en), ko = str_of(row->ko);
		assert_int_equal(row->reply_code / 100, row->status.class);
		assert_true(en.n > 0 && str_is_ascii(en) && !str_has_ctl(en) && en.n < 100);
		assert_true(ko.n > 0 && utf8_valid(ko) && !str_has_ctl(ko));
		assert_true(outcome_of_status(row->status) <= (enum outcome)i);
	}
	assert_int_equal(outcome_of_status((struct status){5, 1, 1}), OUTCOME_NO_SUCH_USER);
	assert_int_equal(outcome_of_status((struct status){5, 7, 99}), OUTCOME_REFUSED);
	assert_int_equal(outcome_of_status((struct status){4, 4, 99}), OUTCOME_DELAYED);
}

static void format_test(void **state)
{
	BUF_SCOPED b = {0};
	outcome_reply(&b, OUTCOME_NO_SUCH_USER, STR_NONE);
	assert_true(str_eq(buf_str(&b), STR("550 5.1.1 no such mailbox here")));
	buf_clear(&b);
	outcome_reply(&b, OUTCOME_OK, STR("a\r\n250 b"));
	assert_true(str_eq(buf_str(&b), STR("250 2.0.0 a??250 b")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reply_test), cmocka_unit_test(table_test), cmocka_unit_test(format_test),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
