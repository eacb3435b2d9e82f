/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "imap/reader.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

/* What comes out of input: "C:text|" command, "T:text|" too long, "L|" literal asked, "R|" refused. */
static const struct {
	const char *in, *out;
	size_t max;
} cases[] = {
	{"a noop\r\nb noop\n", "C:a noop|C:b noop|", 100},
	{"a login {3}\r\nabc {2+}\r\nde\r\nb x\r\n", "L|L|C:a login {3}\r\nabc {2+}\r\nde|C:b x|", 100},
	{"a {0}\r\n\r\n", "L|C:a {0}\r\n|", 100},
	{"a {0+}\r\n x\r\n", "L|C:a {0+}\r\n x|", 100},
	{"a 12345678901234567890\r\nb noop\r\n", "T:a 12345678|C:b noop|", 10},
	{"\r\n", "C:|", 10},
	/* a synchronising literal that is refused does not come */
	{"a {20}\r\nb noop\r\n", "L|R|C:b noop|", 12},
	/* one that comes unasked is thrown away with what follows */
	{"a {20+}\r\n01234567890123456789 x {6+}\r\nfoobar y\r\nb noop\r\n", "L|R|T:a {20+}|C:b noop|", 12},
	{"a 123456789 {6+}\r\nb bye\n c\r\nd\r\n", "T:a 12345678|C:d|", 10},
	{"a 123456789 {0+}\r\n c\r\nd\r\n", "T:a 12345678|C:d|", 10},
};

static void run(const char *in, size_t chunk, size_t max, struct buf *out)
{
	struct reader r;
	struct str rest = str_of(in);

	reader_init(&r, max);
	while (rest.n) {
		struct str piece = str_sub(rest, 0, chunk);
		size_t used;
		enum reader_event e = reader_feed(&r, piece, &used);
		rest = str_from(rest, used);
		if (e == READER_COMMAND || e == READER_TOO_LONG) {
			buf_add(out, e == READER_COMMAND ? STR("C:") : STR("T:"));
			buf_add(out, buf_str(&r.text));
			buf_byte(out, '|');
			reader_done(&r);
		} else if (e == READER_LITERAL) {
			buf_add(out, STR("L|"));
			if (!reader_accept(&r)) {
				buf_add(out, STR("R|"));
				reader_refuse(&r);
			}
		}
	}
	reader_fini(&r);
}

static void commands(void **state)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		for (size_t chunk = 1; chunk < 60; chunk++) {
			BUF_SCOPED out = {};
			run(cases[i].in, chunk, cases[i].max, &out);
			if (!str_eq(buf_str(&out), str_of(cases[i].out)))
				fail_msg("case %zu, chunk %zu: %.*s", i, chunk, STR_ARG(buf_str(&out)));
		}
}

static void plain_lines(void **state)
{
	struct reader r;
	size_t used;

	reader_init(&r, 100);
	r.plain = true;
	assert_int_equal(reader_feed(&r, STR("Zm9v{5}\r\n"), &used), READER_COMMAND);
	assert_int_equal(r.text.n, 7);
	reader_done(&r);
	assert_null(r.text.p);
	assert_false(r.plain);
}

static void diverted(void **state)
{
	struct reader r;
	size_t used;

	reader_init(&r, 100);
	assert_int_equal(reader_feed(&r, STR("a append x {5}\r\n"), &used), READER_LITERAL);
	assert_int_equal(r.literal_start, 11);
	reader_divert(&r);
	assert_int_equal(r.left, 5);
	assert_int_equal(reader_feed(&r, STR("hello\r\n"), &used), READER_MORE);
	assert_int_equal(used, 0);
	reader_diverted(&r);
	assert_int_equal(reader_feed(&r, STR("\r\n"), &used), READER_COMMAND);
	assert_true(str_eq(buf_str(&r.text), STR("a append x {5}\r\n")));
	reader_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commands),
		cmocka_unit_test(plain_lines),
		cmocka_unit_test(diverted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
