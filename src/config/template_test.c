/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "config/template.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_expand(void **state)
{
	static const struct { const char *template, *user, *want;
	} cases[] = {
		{"%u|%n|%d|%h", "user@dom", "user@dom|user|dom|/home/x"},
		{"%u|%n|%d|%h", "user", "user|user||/home/x"},
		{"%u|%n|%d|%h", "u@a@b", "u@a@b|u|a@b|/home/x"},
		{"%s %%", "a@b", "a@b %"},
		{"plain", "a", "plain"},
		{"", "a", ""},
		{"%", "a", NULL},
		{"%x", "a", NULL},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		BUF_SCOPED out = {0};
		struct err err = {0};
		bool ok = template_expand(str_of(cases[i].template), str_of(cases[i].user),
					  STR("/home/x"), &out, &err);
		if (ok != (cases[i].want != NULL) || (ok && !str_eq(buf_str(&out), str_of(cases[i].want))))
			fail_msg("%s %s: %.*s", cases[i].template, cases[i].user, (int)out.n, out.p);
	}
}

static void test_path(void **state)
{
	static const struct { const char *template, *user, *want;
	} cases[] = {
		{"%d/%n", "user@dom", "dom/user"},
		{"%d/%n/Maildir", "a+b@dom", "dom/a+b/Maildir"},
		{"%u", "x@y", "x@y"},
		{"%d/%n", "user", NULL},
		{"%d/%n", "..@dom", NULL},
		{"%d/%n", "user@..", NULL},
		{"%d/%n", "@dom", NULL},
		{"%d/%n", "a/b@dom", NULL},
		{"%n", "a@../../etc", "a"},
		{"%d", "a@../../etc", NULL},
		{"/%n", "a", NULL},
		{"", "a", NULL},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		BUF_SCOPED out = {0};
		struct err err = {0};
		bool ok = template_expand_path(str_of(cases[i].template), str_of(cases[i].user), &out, &err);
		if (ok != (cases[i].want != NULL) || (ok && !str_eq(buf_str(&out), str_of(cases[i].want))))
			fail_msg("%s %s: %.*s", cases[i].template, cases[i].user, (int)out.n, out.p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_expand), cmocka_unit_test(test_path)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
