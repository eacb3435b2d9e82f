/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "store/maildir/dirname.h"
#include "base/testing.h"
#include <string.h>

/* Names of facts/korean-mail: both ways. */
static void test_both_ways(void **state)
{
	static const struct {
		const char *name, *dir;
	} cases[] = {
		{"INBOX", "."},
		{"Sent", ".Sent"},
		{"a/b/c", ".a.b.c"},
		{"INBOX/old", ".INBOX.old"},
		{"v1.2", ".v1&AC4-2"},
		{"..", ".&AC4-&AC4-"},
		{"받은 편지함", ".&vBvHQA- &07jJwNVo-"},
		{"보낸 편지함", ".&vPSwuA- &07jJwNVo-"},
		{"임시보관함", ".&x4TC3Lz0rQDVaA-"},
		{"영업팀 & 회계", ".&xgHFxdMA- &- &1oysxA-"},
		{"받.은", ".&vBs-&AC4-&x0A-"},
		{"휴지통/한글", ".&1zTJwNG1-.&1VyuAA-"},
		{"~x", ".~x"},
		{"&AC4-", ".&-AC4-"},
	};
	ARENA_SCOPED a = arena_new();
	struct err err;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct str dir, name;
		assert_true(dir_of_mailbox(a, str_of(cases[i].name), &dir, &err));
		assert_str(cases[i].name, dir, str_of(cases[i].dir));
		assert_true(mailbox_of_dir(a, dir, &name));
		assert_str(cases[i].name, name, str_of(cases[i].name));
	}
}

static void test_foreign_dirs(void **state)
{
	static const struct {
		const char *dir, *name;
	} cases[] = {
		{".받은 편지함", "받은 편지함"},
		{".\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab\xe1\x84\x80\xe1\x85\xb3\xe1\x86\xaf", "한글"},
		{".a&b", "a&b"},
		{".inbox.old", "INBOX/old"},
		{".inbox", NULL},
		{"..", NULL},
		{"..hidden", NULL},
		{"cur", NULL},
		{".a..b", NULL},
		{".a.", NULL},
		{".\xb0\xa1", NULL},
		{".a\tb", NULL},
	};
	ARENA_SCOPED a = arena_new();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct str name;
		bool ok = mailbox_of_dir(a, str_of(cases[i].dir), &name);
		assert_case(cases[i].dir, ok == (cases[i].name != NULL));
		if (ok)
			assert_str(cases[i].dir, name, str_of(cases[i].name));
	}
}

static void test_normal(void **state)
{
	static const struct {
		struct str name;
		const char *normal;
		enum err_kind kind;
	} cases[] = {
		{STR("inbox"), "INBOX"},
		{STR("InBox/a"), "INBOX/a"},
		{STR("inboxes"), "inboxes"},
		{STR("a/"), "a"},
		{STR("\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab"), "한"},
		{STR(""), NULL, ERR_SYNTAX},
		{STR("/"), NULL, ERR_SYNTAX},
		{STR("a//b"), NULL, ERR_SYNTAX},
		{STR("/a"), NULL, ERR_SYNTAX},
		{STR("a\nb"), NULL, ERR_SYNTAX},
		{STR("a\0b"), NULL, ERR_SYNTAX},
		{STR("\xff"), NULL, ERR_SYNTAX},
		{STR("1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18/19/20/21/22/23/24/25/26/27/28/29/30/"
		     "31/32/33"),
		 NULL, ERR_LIMIT},
	};
	ARENA_SCOPED a = arena_new();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct str out;
		struct err err = {0};
		bool ok = mailbox_name_normal(a, cases[i].name, &out, &err);
		assert_case("normal", ok == (cases[i].normal != NULL));
		if (ok)
			assert_str("normal", out, str_of(cases[i].normal));
		else
			assert_int_equal(err.kind, cases[i].kind);
	}

	char longest[MAILBOX_NAME_MAX + 1];
	struct str out;
	struct err err;
	memset(longest, 'x', sizeof(longest));
	assert_false(mailbox_name_normal(a, (struct str){longest, sizeof(longest)}, &out, &err));
	assert_int_equal(err.kind, ERR_LIMIT);
	assert_true(mailbox_name_normal(a, (struct str){longest, MAILBOX_NAME_MAX}, &out, &err));
	assert_false(dir_of_mailbox(a, (struct str){longest, DIR_NAME_MAX}, &out, &err));
	assert_int_equal(err.kind, ERR_LIMIT);
	assert_true(dir_of_mailbox(a, (struct str){longest, DIR_NAME_MAX - 1}, &out, &err));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_ways),
		cmocka_unit_test(test_foreign_dirs),
		cmocka_unit_test(test_normal),
	};
	return RUN_TESTS(tests);
}
