/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "mail/header.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

/* wanted: every field as "name=body;" with folds as they are */
static void fields_test(void **state)
{
	static const struct {
		const char *in, *wanted;
		size_t header;
	} cases[] = {
		{"A: b\r\nC: d\r\n\r\nbody: x\r\n", "A=b;C=d;", 14},
		{"A: b\nC: d\n\nbody", "A=b;C=d;", 11},
		{"A:b\r\n c\r\n\td\r\nE:\r\n\r\n", "A=b\r\n c\r\n\td;E=;", 19}, /* RFC 5322 2.2.3 */
		{"A \t: b\r\n", "A=b;", 8},                                /* 4.5 */
		{"From x Mon\r\nA: b\r\n\r\n", "A=b;", 20},                   /* mbox */
		{"A: b\r\nno field here\r\nC: d\r\n\r\n", "A=b;C=d;", 29},
		{"A: b", "A=b;", 4},
		{"\r\nA: b", "", 2}, {"", "", 0}, {"\n", "", 1}, {": x\r\n", "", 5},
		{" A: b\r\nC: d\r\n", "C=d;", 13},
		{"A: b\r\r\n\r\n", "A=b;", 9},
		{"aaaaaaaaaaaaaaaaaa\r\n", "", 20}, /* no header at all */
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct str in = str_of(cases[i].in);
		struct scan s = scan_of(in);
		struct header_field f;
		BUF_SCOPED b = {0};
		while (header_next(&s, &f)) buf_fmt(&b, "%.*s=%.*s;", STR_ARG(f.name), STR_ARG(f.body));
		if (!str_eq(buf_str(&b), str_of(cases[i].wanted)))
			fail_msg("%s: %.*s", cases[i].in, STR_ARG(buf_str(&b)));
		if (header_length(in) != cases[i].header) fail_msg("%s: %zu", cases[i].in, header_length(in));
	}
}

static void find_test(void **state)
{
	struct str h = STR("Received: 1\r\nTo: a,\r\n b\r\nreceived: 2\r\n\r\nReceived: 3\r\n");
	struct header_field f;
	assert_true(header_find(h, STR("RECEIVED"), &f) && str_eq(f.body, STR("1")));
	assert_true(header_find_last(h, STR("Received"), &f) && str_eq(f.body, STR("2")));
	assert_int_equal(header_count(h, STR("Received")), 2);
	assert_false(header_find(h, STR("Receive"), &f));
	assert_true(header_find(h, STR("to"), &f) && str_eq(f.raw, STR("To: a,\r\n b\r\n")));
	BUF_SCOPED b = {0};
	header_unfold(&b, f.body);
	assert_true(str_eq(buf_str(&b), STR("a, b")));
	assert_true(header_name_valid(STR("X-a")) && !header_name_valid(STR("a b")) &&
		!header_name_valid(STR("")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(fields_test), cmocka_unit_test(find_test)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
