/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/err.h"
#include "base/codec.h"
#include "base/testing.h"
#include <errno.h>
#include <string.h>

static void test_set(void **state)
{
	struct err e = {0};

	assert_false(err_set(&e, ERR_LIMIT, "too many %s\r\n", "recipients"));
	assert_int_equal(e.kind, ERR_LIMIT);
	assert_string_equal(e.text, "too many recipients  "); /* no CR LF reaches a reply */
	assert_string_equal(e.cause, e.text);
	assert_true(str_starts(str_of(e.where), STR("src/base/err_test.c:")));
	assert_false(err_cause(&e, "rcpt_max is %d", 5));
	assert_false(err_while(&e, "reading %s", "RCPT"));
	assert_string_equal(e.cause, "rcpt_max is 5 while reading RCPT");
	assert_string_equal(e.text, "too many recipients  ");
	err_clear(&e);
	assert_int_equal(e.kind, ERR_NONE);
	assert_string_equal(e.text, "");
}

static void test_sys(void **state)
{
	struct err e = {0};

	errno = ENOSPC;
	assert_false(err_sys(&e, "write %s", "cur/1"));
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(e.kind, ERR_IO);
	assert_int_equal(e.sys, ENOSPC);
	assert_string_equal(e.text, "temporary failure");
	assert_string_equal(e.cause, "write cur/1: No space left on device");
}

static void test_long(void **state)
{
	struct err e = {0};
	char korean[600];

	for (size_t i = 0; i + 3 < sizeof(korean); i += 3)
		memcpy(korean + i, "\xed\x95\x9c", 4);
	for (int shift = 0; shift < 4; shift++) {
		err_set(&e, ERR_SYNTAX, "%.*s%s", shift, "xxx", korean);
		assert_true(strlen(e.text) > sizeof(e.text) - 5);
		assert_true(utf8_valid(str_of(e.text)));
		err_while(&e, "%.*s%s", shift, "xxx", korean);
		assert_true(utf8_valid(str_of(e.cause)));
		err_while(&e, "again"); /* no room: nothing happens */
	}
	for (int k = ERR_NONE; k <= ERR_GONE; k++)
		assert_string_not_equal(err_kind_name((enum err_kind)k), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set), cmocka_unit_test(test_sys), cmocka_unit_test(test_long),
	};
	return RUN_TESTS(tests);
}
