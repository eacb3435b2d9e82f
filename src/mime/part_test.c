/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "mime/part.h"
#include "base/arena.h"
#include "base/buf.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static void decode_test(void **state)
{
	static const struct {
		enum mime_encoding encoding;
		const char *in, *wanted;
		bool damaged;
	} cases[] = {
		{MIME_7BIT, "a=20\r\n", "a=20\r\n", false},
		/* RFC 4648 10; missing padding, blanks, garbage, two texts one after the other */
		{MIME_BASE64, "Zm9vYmFy", "foobar", false}, {MIME_BASE64, "Zm9vYg==", "foob", false},
		{MIME_BASE64, "Zm9vYmE=\r\n", "fooba", false}, {MIME_BASE64, "Zm9vYmE", "fooba", false},
		{MIME_BASE64, "Zm\r\n9v", "foo", false}, {MIME_BASE64, "Zm!9v", "foo", true},
		{MIME_BASE64, "Zg==Zg==", "ff", false},
		{MIME_BASE64, "Zm9vY", "foo", true}, {MIME_BASE64, "====", "", false},
		{MIME_BASE64, "", "", false},
		/* RFC 2045 6.7 */
		{MIME_QP, "a=3D=C3=a9", "a=\xc3\xa9", false}, {MIME_QP, "a=\r\nb", "ab", false},
		{MIME_QP, "a=\nb", "ab", false},
		{MIME_QP, "a= \t\r\nb", "ab", false}, {MIME_QP, "a \t\r\nb", "a\r\nb", false},
		{MIME_QP, "a  \nb", "a\nb", false},
		{MIME_QP, "a b", "a b", false}, {MIME_QP, "a=zz", "a=zz", true},
		{MIME_QP, "a=4", "a=4", false},
		{MIME_QP, "a=4z", "a=4z", true}, {MIME_QP, "a=", "a", false}, {MIME_QP, "a ", "a", false},
		{MIME_QP, "a \rb", "a \rb", false}, {MIME_QP, "a=\rb", "a=\rb", false},
		{MIME_QP, "a==41", "a=A", true},
		{MIME_QP, "a=4\nb", "a=4\nb", false},
		{MIME_QP, "=                                                                              "
			"          x",
		 "=                                                                                       "
		 	" x", false},
		{MIME_UUENCODE, "x\nbegin 644 f\n#0V%T\n`\nend\ny", "Cat", false},
		{MIME_UUENCODE, "begin 644 f\r\n#0V%T\r\n", "Cat", false},
		{MIME_UUENCODE, "nothing", "", false},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct str in = str_of(cases[i].in);
		/* Every cut gives the same. */
		for (size_t cut = 1; cut <= in.n + 1; cut++) {
			struct mime_decoder d;
			BUF_SCOPED b = {0};
			mime_decoder_init(&d, cases[i].encoding);
			for (size_t at = 0; at < in.n; at += cut)
				mime_decoder_feed(&d, str_sub(in, at, cut), &b);
			mime_decoder_end(&d, &b);
			if (!str_eq(buf_str(&b), str_of(cases[i].wanted)))
				fail_msg("%s cut at %zu: %.*s", cases[i].in, cut, STR_ARG(buf_str(&b)));
			if (cases[i].wanted[0] == '=' || cases[i].encoding == MIME_UUENCODE) continue;
			if (d.damaged != cases[i].damaged) fail_msg("%s", cases[i].in);
		}
	}
}

/* The message of RFC 9051 6.4.5.1, in short. */
static const char sample[] =
	"Subject: top\r\nTo: x\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\npreamble\r\n"
	"--a\r\nContent-Type: text/plain\r\n\r\none\r\n"
	"--a\r\nContent-Transfer-Encoding: base64\r\n\r\nZm9v\r\n"
	"--a\r\nContent-Type: message/rfc822\r\n\r\n"
	"Subject: inner\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n"
	"--b\r\n\r\nthree.one\r\n--b\r\nX-A: b\r\n\r\nthree.two\r\n--b--\r\n\r\n"
	"--a\r\nContent-Type: message/rfc822\r\n\r\nSubject: plain\r\n\r\nfour\r\n"
	"--a--\r\nepilogue\r\n";

static void section_test(void **state)
{
	static const struct str fields[] = {{"subject", 7}, {"X-None", 6}};
	static const struct {
		uint32_t path[4];
		size_t n;
		enum section_kind kind;
		const char *wanted; /* NULL: no such section */
	} cases[] = {
		{{0}, 0, SECTION_WHOLE, sample}, {{0}, 0, SECTION_HEADER_FIELDS, "Subject: top\r\n\r\n"},
		{{0}, 0, SECTION_HEADER_FIELDS_NOT,
			"To: x\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n"},
		{{1}, 1, SECTION_WHOLE, "one"}, {{1}, 1, SECTION_MIME, "Content-Type: text/plain\r\n\r\n"},
		{{2}, 1, SECTION_WHOLE, "Zm9v"},
		{{1}, 1, SECTION_HEADER, NULL}, {{1}, 1, SECTION_TEXT, NULL},
		{{1, 1}, 2, SECTION_WHOLE, NULL},
		{{3}, 1, SECTION_HEADER,
			"Subject: inner\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n"},
		{{3}, 1, SECTION_HEADER_FIELDS, "Subject: inner\r\n\r\n"},
		{{3, 1}, 2, SECTION_WHOLE, "three.one"},
		{{3, 2}, 2, SECTION_WHOLE, "three.two"}, {{3, 2}, 2, SECTION_MIME, "X-A: b\r\n\r\n"},
		{{3, 3}, 2, SECTION_WHOLE, NULL},
		{{3}, 1, SECTION_TEXT, "--b\r\n\r\nthree.one\r\n--b\r\nX-A: b\r\n\r\nthree.two\r\n--b--\r\n"},
		{{4}, 1, SECTION_WHOLE, "Subject: plain\r\n\r\nfour"}, {{4}, 1, SECTION_TEXT, "four"},
		{{4, 1}, 2, SECTION_WHOLE, "four"},
		{{4, 2}, 2, SECTION_WHOLE, NULL}, {{4, 1, 1}, 3, SECTION_WHOLE, NULL},
		{{5}, 1, SECTION_WHOLE, NULL},
		{{0}, 1, SECTION_WHOLE, NULL}, {{0}, 0, SECTION_MIME, NULL},
	};
	ARENA_SCOPED a = arena_new();
	struct mime_message *m = mime_parse(a, str_of(sample));
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct section s = {cases[i].path, cases[i].n, cases[i].kind, fields, 2};
		struct str got;
		BUF_SCOPED b = {0};
		bool ok = mime_section(m, &s, &b, &got);
		if (ok != (cases[i].wanted != NULL)) fail_msg("case %zu", i);
		if (ok && !str_eq(got, str_of(cases[i].wanted))) fail_msg("case %zu: %.*s", i, STR_ARG(got));
	}
}

static void simple_message_test(void **state)
{
	ARENA_SCOPED a = arena_new();
	struct mime_message *m = mime_parse(a, STR("A: b\r\n\r\ntext\r\n"));
	uint32_t one[] = {1, 1};
	assert_ptr_equal(mime_find(m, one, 1), m->root);
	assert_null(mime_find(m, one, 2));
	/* A message that is a message: part 1 is it, 1.1 the text inside. */
	m = mime_parse(a, STR("Content-Type: message/rfc822\r\n\r\nA: b\r\n\r\ntext\r\n"));
	struct section s = {.path = one, .path_n = 2};
	BUF_SCOPED b = {0};
	struct str got;
	assert_true(mime_section(m, &s, &b, &got) && str_eq(got, STR("text\r\n")));
}

static void decode_part_test(void **state)
{
	ARENA_SCOPED a = arena_new();
	struct mime_message *m = mime_parse(a, str_of(sample));
	uint32_t two[] = {2};
	const struct mime_part *p = mime_find(m, two, 1);
	struct err err;
	uint64_t size;
	BUF_SCOPED b = {0};
	assert_true(mime_decode_part(m, p, 3, &b, &err) && str_eq(buf_str(&b), STR("foo")));
	assert_true(mime_decoded_size(m, p, &size, &err) && size == 3);
	assert_false(mime_decode_part(m, p, 2, &b, &err));
	assert_int_equal(err.kind, ERR_LIMIT);
	m = mime_parse(a, STR("Content-Transfer-Encoding: x-odd\r\n\r\ntext\r\n"));
	assert_false(mime_decode_part(m, m->root, 0, &b, &err));
	assert_int_equal(err.kind, ERR_SYNTAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decode_test), cmocka_unit_test(section_test),
			cmocka_unit_test(simple_message_test),
		cmocka_unit_test(decode_part_test),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
