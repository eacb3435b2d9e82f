/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/testing.h"
#include "smtp/server/server_int.h"
#include <string.h>

static const struct {
	const char *name;
	struct str in, out;
	bool end, bare;
	size_t left; /* octets behind the end */
} cases[] = {
	{"one line", {"a\r\n.\r\n", 6}, {"a\r\n", 3}, true, false, 0},
	{"nothing", {".\r\n", 3}, {"", 0}, true, false, 0},
	{"what follows stays", {"a\r\n.\r\nQUIT\r\n", 12}, {"a\r\n", 3}, true, false, 6},
	{"dots", {"..\r\n...a\r\n.b\r\n.\r\n", 17}, {".\r\n..a\r\nb\r\n", 11}, true, false, 0},
	{"dot inside", {"a.\r\nb.c\r\n.\r\n", 12}, {"a.\r\nb.c\r\n", 9}, true, false, 0},
	{"empty lines", {"\r\n\r\n.\r\n", 7}, {"\r\n\r\n", 4}, true, false, 0},
	{"LF.LF", {"a\n.\nb\r\n.\r\n", 10}, {"a\n.\nb\r\n", 7}, true, true, 0},
	{"LF.CRLF", {"a\n.\r\nb\r\n.\r\n", 11}, {"a\n.\r\nb\r\n", 8}, true, true, 0},
	{"CRLF.LF", {"a\r\n.\nb\r\n.\r\n", 11}, {"a\r\n\nb\r\n", 7}, true, true, 0},
	{"CR.CR", {"a\r.\rb\r\n.\r\n", 10}, {"a\r.\rb\r\n", 7}, true, true, 0},
	{"CRLF.CR", {"a\r\n.\rb\r\n.\r\n", 11}, {"a\r\n\rb\r\n", 7}, true, true, 0},
	{"CRCRLF", {"a\r\r\n.\r\n", 7}, {"a\r\r\n", 4}, true, true, 0},
	{"CRCRLF.CRCRLF", {"a\r\r\n.\r\r\nb\r\n.\r\n", 14}, {"a\r\r\n\r\r\nb\r\n", 10}, true, true, 0},
	{"NUL", {"a\0b\r\n.\r\n", 8}, {"a\0b\r\n", 5}, true, true, 0},
	{"no end", {"abc", 3}, {"abc", 3}, false, false, 0},
	{"LF first", {"\n.\r\n.\r\n", 7}, {"\n.\r\n", 4}, true, true, 0},
};

/* In pieces of every size the result is the same. */
static void in_pieces(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		for (size_t piece = 1; piece <= cases[i].in.n; piece++) {
			struct smtp_text t = {.line_start = true};
			BUF_SCOPED out = {0};
			bool end = false;
			size_t used = 0, there = 0;
			while (!end && there < cases[i].in.n) {
				there = there + piece < cases[i].in.n ? there + piece : cases[i].in.n;
				used += smtp_text_scan(&t, str_sub(cases[i].in, used, there - used), &out,
						       &end);
			}
			assert_str(cases[i].name, buf_str(&out), cases[i].out);
			assert_case(cases[i].name, end == cases[i].end && t.bare == cases[i].bare);
			assert_case(cases[i].name, !end || used + cases[i].left == cases[i].in.n);
		}
}

static void normalised(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		struct str in, out;
	} rows[] = {
		{"LF", {"a\nb\r\n.\r\n", 8}, {"a\r\nb\r\n", 6}},
		{"CR", {"a\rb\r\n.\r\n", 8}, {"a\r\nb\r\n", 6}},
		{"LF.CRLF", {"a\n.\r\n.\r\n", 8}, {"a\r\n.\r\n", 6}},
		{"NUL", {"a\0\0b\r\n.\r\n", 9}, {"ab\r\n", 4}},
		{"CRCRLF", {"a\r\r\n.\r\n", 7}, {"a\r\n\r\n", 5}},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (size_t piece = 1; piece <= rows[i].in.n; piece++) {
			struct smtp_text t = {.line_start = true, .normalise = true};
			BUF_SCOPED out = {0};
			bool end = false;
			size_t used = 0, there = 0;
			while (!end && there < rows[i].in.n) {
				there = there + piece < rows[i].in.n ? there + piece : rows[i].in.n;
				used += smtp_text_scan(&t, str_sub(rows[i].in, used, there - used), &out,
						       &end);
			}
			assert_str(rows[i].name, buf_str(&out), rows[i].out);
		}
}

static void longest_line(void **state)
{
	(void)state;
	struct smtp_text t = {.line_start = true};
	BUF_SCOPED in = {0}, out = {0};
	bool end;
	buf_add(&in, STR("short\r\n"));
	for (int i = 0; i < 5000; i++)
		buf_byte(&in, 'x');
	buf_add(&in, STR("\r\nshort\r\n.\r\n"));
	(void)smtp_text_scan(&t, buf_str(&in), &out, &end);
	assert_true(end);
	assert_int_equal(t.longest, 5002);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(in_pieces), cmocka_unit_test(normalised),
					   cmocka_unit_test(longest_line)};
	return RUN_TESTS(tests);
}
