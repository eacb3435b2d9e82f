/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Options as sendmail has had them, and the header of a message that a program hands in (R86). */
#include "cli/sendmail.h"
#include "mail/envelope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { WORDS_MAX = 16 };

/* Splits at blanks. */
static int words(char *line, char *argv[WORDS_MAX])
{
	int n = 0;
	for (char *w = strtok(line, " "); w && n < WORDS_MAX; w = strtok(NULL, " "))
		argv[n++] = w;
	return n;
}

static void test_options(void **state)
{
	static const struct {
		const char *line, *sender, *name, *first;
		enum sendmail_mode mode;
		bool t, i, v, fails;
		size_t recipients;
	} cases[] = {
		{"-t", "", "", "", SENDMAIL_SEND, .t = true},
		{"-oi -t", "", "", "", SENDMAIL_SEND, .t = true, .i = true},
		{"-oem -oi -f kim@x a@b", "kim@x", "", "a@b", SENDMAIL_SEND, .i = true, .recipients = 1},
		{"-ti -FHong -fkim@x a@b c@d", "kim@x", "Hong", "a@b", SENDMAIL_SEND, .t = true, .i = true,
		 .recipients = 2},
		{"a@b -v -r x@y", "x@y", "", "a@b", SENDMAIL_SEND, .v = true, .recipients = 1},
		{"-- -odd", "", "", "-odd", SENDMAIL_SEND, .recipients = 1},
		{"-bs", "", "", "", SENDMAIL_SMTP},
		{"-bp", "", "", "", SENDMAIL_LIST},
		{"-bm -bv a", "", "", "a", SENDMAIL_VERIFY, .recipients = 1},
		{"-q30m", "", "", "", SENDMAIL_FLUSH},
		{"-bi", "", "", "", SENDMAIL_ALIASES},
		{"-I", "", "", "", SENDMAIL_ALIASES},
		{"-Am -O x=y -L tag -X /dev/null -C /etc/x -h 3 -n -m -G -U a", "", "", "a", SENDMAIL_SEND,
		 .recipients = 1},
		{"-bd", .fails = true},
		{"-Z", .fails = true},
		{"-f", .fails = true},
		{"-N sometimes", .fails = true},
		{"-R all", .fails = true},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		ARENA_SCOPED a = arena_new();
		struct sendmail_options o;
		struct err err = {0};
		char line[128], *argv[WORDS_MAX];
		strncpy(line, cases[i].line, sizeof line - 1);
		line[sizeof line - 1] = 0;
		bool good = sendmail_options_read(a, words(line, argv), argv, &o, &err);
		if (good == cases[i].fails)
			fail_msg("%s: %s", cases[i].line, err.text);
		if (!good)
			continue;
		if (o.mode != cases[i].mode || o.from_header != cases[i].t || o.dots != cases[i].i ||
		    o.verbose != cases[i].v || o.recipients_n != cases[i].recipients ||
		    !str_eq(o.sender, str_of(cases[i].sender)) ||
		    !str_eq(o.full_name, str_of(cases[i].name)))
			fail_msg("%s", cases[i].line);
		if (o.recipients_n && !str_eq(o.recipients[0], str_of(cases[i].first)))
			fail_msg("%s: %.*s", cases[i].line, STR_ARG(o.recipients[0]));
	}
}

static void test_dsn_options(void **state)
{
	ARENA_SCOPED a = arena_new();
	struct sendmail_options o;
	struct err err = {0};
	char line[] = "-N success,FAILURE -R hdrs -V id -B 8BITMIME a", *argv[WORDS_MAX];
	assert_true(sendmail_options_read(a, words(line, argv), argv, &o, &err));
	assert_int_equal(NOTIFY_SUCCESS | NOTIFY_FAILURE, o.notify);
	assert_true(str_eq(o.ret, STR("HDRS")) && str_eq(o.envid, STR("id")) && o.eight_bit);
}

#define FROM "From: kim@here.example\n"

static void test_messages(void **state)
{
	static const struct {
		const char *name, *in, *text, *recipients;
		const char *argument, *full_name;
		bool t;
		enum err_kind fails;
	} cases[] = {
		{"no header at all (R92)", "hello\n", FROM "\nhello\n", "a@b.example", "a@b.example"},
		{"an empty line first", "\nhello\n", FROM "\nhello\n", "a@b.example", "a@b.example"},
		{"nothing", "", FROM "\n", "a@b.example", "a@b.example"},
		{"header kept octet for octet", "X-A:  b\n\tc\nFrom: x@y.example\n\nhello",
		 "X-A:  b\n\tc\nFrom: x@y.example\n\nhello", "a@b.example", "a@b.example"},
		{"no empty line after the header",
		 "Subject: x\nhello: is no field? it is\nbody starts here\nmore",
		 FROM "Subject: x\nhello: is no field? it is\n\nbody starts here\nmore", "a@b.example",
		 "a@b.example"},
		{"CRLF", "From: x@y.example\r\n\r\nhello\r\n", "From: x@y.example\r\n\nhello\r\n",
		 "a@b.example", "a@b.example"},
		{"mbox line", "From kim Tue Nov 24\nFrom: x@y.example\n\nh\n", "From: x@y.example\n\nh\n",
		 "a@b.example", "a@b.example"},
		{"names without domain", "To: a, \"B, C\" <b>\nFrom: kim\n\nh\n",
		 "To: a@here.example,\n \"B, C\" <b@here.example>\nFrom: kim@here.example\n\nh\n",
		 "a@here.example,b@here.example", .t = true},
		{"Bcc is not shown, each once",
		 "From: x@y.example\nTo: a@b.example\nCc: A@b.example, c@d.example\n"
		 "Bcc: e@f.example\n\nh\n",
		 "From: x@y.example\nTo: a@b.example\nCc: A@b.example, c@d.example\n\nh\n",
		 "a@b.example,c@d.example,e@f.example", .t = true},
		{"Bcc is not shown without -t either", "From: x@y.example\nBcc: e@f.example\n\nh\n",
		 "From: x@y.example\n\nh\n", "a@b.example", "a@b.example"},
		{"-t and arguments", "From: x@y.example\nTo: c@d.example\n\nh\n",
		 "From: x@y.example\nTo: c@d.example\n\nh\n", "a@b.example,c@d.example", "a@b.example",
		 .t = true},
		{"groups", "From: x@y.example\nTo: friends: a@b.example, c;\n\nh\n",
		 "From: x@y.example\nTo: friends: a@b.example,\n c@here.example;\n\nh\n",
		 "a@b.example,c@here.example", .t = true},
		{"full name", "\nh\n", "From: \"Kim, X\" <kim@here.example>\n\nh\n", "a@b.example",
		 "a@b.example", "Kim, X"},
		{"full name that is not ASCII", "\nh\n",
		 "From: =?UTF-8?B?7ZmN?= <kim@here.example>\n\nh\n", "a@b.example", "a@b.example", "홍"},
		{"two in one argument", "\nh\n", FROM "\nh\n", "a@b.example,c@here.example",
		 "a@b.example, c"},
		{"nobody", "From: x@y.example\n\nh\n", .t = true, .fails = ERR_NOT_FOUND},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		ARENA_SCOPED a = arena_new();
		struct sendmail_message m;
		struct err err = {0};
		struct str argument = str_of(cases[i].argument), all = STR("");
		struct sendmail_options o = {.from_header = cases[i].t,
					     .full_name = str_of(cases[i].full_name),
					     .recipients = &argument,
					     .recipients_n = cases[i].argument ? 1 : 0};
		bool good = sendmail_message_make(a, str_of(cases[i].in), &o, STR("here.example"),
						  STR("kim@here.example"), &m, &err);
		if (good != (cases[i].fails == ERR_NONE) || (!good && err.kind != cases[i].fails))
			fail_msg("%s: %s", cases[i].name, err.text);
		for (size_t k = 0; k < m.recipients_n; k++)
			all = arena_fmt(a, "%.*s%s%.*s", STR_ARG(all), k ? "," : "",
					STR_ARG(m.recipients[k]));
		if (good && !str_eq(buf_str(&m.text), str_of(cases[i].text)))
			fail_msg("%s: %.*s", cases[i].name, (int)m.text.n, m.text.p);
		if (good && !str_eq(all, str_of(cases[i].recipients)))
			fail_msg("%s: %.*s", cases[i].name, STR_ARG(all));
		buf_free(&m.text);
	}
}

/* RFC 5322 3.6.6: To and Cc are the first sender's; the new fields stand in front. */
static void test_resent(void **state)
{
	ARENA_SCOPED a = arena_new();
	struct sendmail_message m;
	struct err err = {0};
	struct sendmail_options o = {.from_header = true};
	struct str in = STR("Resent-To: new@b.example\nResent-Bcc: secret@b.example\nFrom: x@y.example\n"
			    "To: old@b.example\n\nh\n");
	assert_true(sendmail_message_make(a, in, &o, STR("here.example"), STR("kim@here.example"), &m, &err));
	struct str text = buf_str(&m.text);
	assert_int_equal(2, m.recipients_n);
	assert_true(str_eq(m.recipients[0], STR("new@b.example")));
	assert_true(str_eq(m.recipients[1], STR("secret@b.example")));
	assert_true(str_starts(text, STR("Resent-Date: ")));
	assert_true(str_find(text, STR("Resent-From: kim@here.example\nResent-Message-ID: <")) != STR_NPOS);
	assert_true(str_find(text, STR("secret")) == STR_NPOS);
	assert_true(str_find(text, STR("\nTo: old@b.example\n\nh\n")) != STR_NPOS);
	buf_free(&m.text);
}

static void test_dot(void **state)
{
	static const char *const cases[][2] = {
		{"a\n.\nb\n", "a\n"}, {"a\r\n.\r\nb", "a\r\n"}, {"a\n..\n", "a\n..\n"}, {".\n", ""},
		{"a\n.", "a\n"},      {"a\n. \n", "a\n. \n"},	 {"", ""},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_true(str_eq(sendmail_until_dot(str_of(cases[i][0])), str_of(cases[i][1])));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options), cmocka_unit_test(test_dsn_options),
		cmocka_unit_test(test_messages), cmocka_unit_test(test_resent), cmocka_unit_test(test_dot),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
