/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/testing.h"
#include "base/arena.h"
#include "smtp/grammar.h"
#include "smtp/reply.h"

static void commands(void **state)
{
	(void)state;
	static const struct { struct str line; const char *verb, *args; } cases[] = {
		{STR("EHLO x"), "EHLO", "x"}, {STR("quit"), "quit", ""}, {STR("NOOP  a b "), "NOOP", "a b"},
		{STR("MAIL FROM:<>"), "MAIL", "FROM:<>"}, {STR(""), NULL, NULL}, {STR(" EHLO x"), NULL, NULL},
		{STR("EHLO\tx"), NULL, NULL}, {STR("X-Y"), NULL, NULL}, {STR("NOOP \x01"), NULL, NULL},
		{STR("NOOP a\nb"), NULL, NULL}, {STR("NOOP a\rb"), NULL, NULL}, {{"NOOP \0", 6}, NULL, NULL},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct smtp_command c;
		bool good = smtp_command_parse(cases[i].line, &c);
		assert_case(cases[i].line.p, good == (cases[i].verb != NULL));
		if (!good)
			continue;
		assert_str(cases[i].line.p, c.verb, str_of(cases[i].verb));
		assert_str(cases[i].line.p, c.args, str_of(cases[i].args));
	}
}

static void paths(void **state)
{
	(void)state;
	static const struct { const char *args, *text; size_t params;
	} cases[] = {
		{"FROM:<a@b.example>", "a@b.example", 0},
		{"from: <a@b.example> SIZE=1 BODY=7BIT", "a@b.example", 2},
		{"FROM:<@x.example:a@b.example>", "a@b.example", 0},
		{"FROM:<> RET=HDRS", "", 1},
		{"FROM:<a@b.example>SIZE=1", NULL, 0},
		{"FROM<a@b.example>", NULL, 0},
		{"FROM:a@b.example", NULL, 0},
		{"FROM:<a@b.example> =1", NULL, 0},
		{"FROM:<a@b.example> X=", NULL, 0},
		{"FROM:<a@b.example> -X", NULL, 0},
		{"FROM:<a@b.example> A B C D E F G H I J K L M N O P", "a@b.example", 16},
		{"FROM:<a@b.example> A B C D E F G H I J K L M N O P Q", NULL, 0},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		ARENA_SCOPED a = arena_new();
		struct path path;
		struct smtp_params params;
		struct err err;
		bool good = smtp_parse_path(str_of(cases[i].args), STR("FROM"), a, ADDRESS_NULL, &path,
					    &params, &err);
		assert_case(cases[i].args, good == (cases[i].text != NULL));
		if (!good)
			continue;
		assert_str(cases[i].args, path.text, str_of(cases[i].text));
		assert_case(cases[i].args, params.n == cases[i].params);
	}
}

static void chunks(void **state)
{
	(void)state;
	static const struct { const char *args; uint64_t n; bool last, good;
	} cases[] = {
		{"0", 0, false, true},
		{"86 LAST", 86, true, true},
		{"86 last", 86, true, true},
		{"", 0, false, false},
		{"x", 0, false, false},
		{"-1", 0, false, false},
		{"1 2", 0, false, false},
		{"1LAST", 0, false, false},
		{"99999999999999999999", 0, false, false},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint64_t n;
		bool last;
		bool good = smtp_bdat_parse(str_of(cases[i].args), &n, &last);
		assert_case(cases[i].args, good == cases[i].good &&
						   (!good || (n == cases[i].n && last == cases[i].last)));
	}
}

static void replies(void **state)
{
	(void)state;
	BUF_SCOPED out = {0};
	smtp_reply(&out, 250, "2.0.0", "a%sb", "\r\n250 forged\xec");
	assert_str("clean", buf_str(&out), STR("250 2.0.0 a??250 forged?b\r\n"));
	buf_clear(&out);
	char long_text[2000];
	for (size_t i = 0; i < sizeof long_text; i++)
		long_text[i] = 'x';
	long_text[sizeof long_text - 1] = 0;
	smtp_reply(&out, 250, NULL, "%s", long_text);
	assert_int_equal(out.n, 512); /* RFC 5321 4.5.3.1.5 */
	buf_clear(&out);
	smtp_reply_line(&out, 250, SMTP_REPLY_MORE, "SIZE %d", 3);
	smtp_reply_challenge(&out, STR("Username:"));
	smtp_reply_outcome(&out, OUTCOME_NO_SUCH_USER, STR_NONE);
	assert_str("several", buf_str(&out),
		   STR("250-SIZE 3\r\n334 VXNlcm5hbWU6\r\n550 5.1.1 no such mailbox here\r\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(commands), cmocka_unit_test(paths),
					   cmocka_unit_test(chunks), cmocka_unit_test(replies)};
	return RUN_TESTS(tests);
}
