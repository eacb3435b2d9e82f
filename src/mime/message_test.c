/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "mime/message.h"
#include "base/arena.h"
#include "base/buf.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include <string.h>

/* "type/subtype[body]" with children in parentheses. */
static void describe(struct buf *out, const struct mime_message *m, const struct mime_part *p)
{
	buf_fmt(out, "%.*s/%.*s", STR_ARG(p->type), STR_ARG(p->subtype));
	if (p->kind == MIME_LEAF) buf_fmt(out, "[%.*s]%u", STR_ARG(mime_part_body(m, p)), p->body_lines);
	if (!p->first_child) return;
	buf_byte(out, '(');
	for (const struct mime_part *c = p->first_child; c; c = c->next) {
		if (c != p->first_child) buf_byte(out, ' ');
		describe(out, m, c);
	}
	buf_byte(out, ')');
}

#define MIXED "Content-Type: multipart/mixed; boundary=x\r\n\r\n"
#define MIXED_LF "Content-Type: multipart/mixed; boundary=x\n\n"

static const struct {
	const char *in, *wanted;
	int flags;
} cases[] = {
	{"A: b\r\n\r\ntext\r\n", "text/plain[text\r\n]1", 0},
	{"A: b\r\n\r\ntext", "text/plain[text]0", 0},
	{"no header at all\r\n", "text/plain[]0", 0},
	{"\r\nbody", "text/plain[body]0", 0},
	{"", "text/plain[]0", 0},
	{"A: b\n\ntext\nmore\n", "text/plain[text\nmore\n]2", MIME_BARE_LF},
	/* RFC 2046 5.1.1 */
	{MIXED "pre\r\n--x\r\n\r\na\r\n\r\n--x\r\n\r\nb\r\n--x--\r\nepi",
		"multipart/mixed(text/plain[a\r\n]1 text/plain[b]0)", 0},
	{MIXED_LF "--x\n\na\n--x\n\nb\n--x--\n", "multipart/mixed(text/plain[a]0 text/plain[b]0)",
		MIME_BARE_LF},
	{MIXED "--x  \r\n\r\na\r\n--x-- \r\n", "multipart/mixed(text/plain[a]0)", 0},
	{MIXED "--x\r\n\r\na\r\n --x\r\nb\r\n--y\r\n--x--",
		"multipart/mixed(text/plain[a\r\n --x\r\nb\r\n--y]3)", 0},
	/* no closing delimiter; ended by the outer one */
	{MIXED "--x\r\n\r\na\r\n", "multipart/mixed(text/plain[a\r\n]1)", MIME_UNCLOSED},
	{MIXED "--x\r\nContent-Type: multipart/alternative; boundary=y\r\n\r\n--y\r\n\r\na\r\n--x\r\n\r\n"
		"b\r\n--x--",
	 "multipart/mixed(multipart/alternative(text/plain[a]0) text/plain[b]0)", MIME_UNCLOSED},
	/* the longer boundary is the inner one */
	{MIXED "--x\r\nContent-Type: multipart/alternative; boundary=xy\r\n\r\n--xy\r\n\r\na\r\n--xy--\r\n"
		"--x--",
	 "multipart/mixed(multipart/alternative(text/plain[a]0))", 0},
	/* a delimiter where a header should be */
	{MIXED "--x\r\nA: b\r\n--x\r\n\r\nb\r\n--x--", "multipart/mixed(text/plain[]0 text/plain[b]0)", 0},
	{MIXED "--x\r\n--x--", "multipart/mixed(text/plain[]0)", 0},
	{MIXED "nothing", "multipart/mixed", MIME_UNCLOSED},
	{"Content-Type: multipart/mixed\r\n\r\n--x\r\n\r\na\r\n", "multipart/mixed", 0},
	/* RFC 2231 3 */
	{"Content-Type: multipart/mixed; boundary*0=x; boundary*1=y\r\n\r\n--xy\r\n\r\na\r\n--xy--",
		"multipart/mixed(text/plain[a]0)", 0},
	/* RFC 2046 5.1.5, 5.2.1 */
	{"Content-Type: multipart/digest; boundary=x\r\n\r\n--x\r\n\r\nA: b\r\n\r\ntext\r\n--x--",
	 "multipart/digest(message/rfc822(text/plain[text]0))", 0},
	{"Content-Type: message/rfc822\r\n\r\nContent-Type: text/html\r\n\r\n<p>",
		"message/rfc822(text/html[<p>]0)", 0},
	/* RFC 2045 5.2: what cannot be read is text/plain; blanks, comments and case are nothing */
	{"Content-Type: text\r\n\r\na", "text/plain[a]0", 0},
	{"Content-Type: /\r\n\r\na", "text/plain[a]0", 0},
	{"content-type: Text / HTML (x); a\r\n\r\na", "Text/HTML[a]0", 0},
	{"Content-Type: (x (y)) text/(z)html\r\n\r\na", "text/html[a]0", 0},
};

static void structure_test(void **state)
{
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		ARENA_SCOPED a = arena_new();
		BUF_SCOPED b = {0};
		struct mime_message *m = mime_parse(a, str_of(cases[i].in));
		describe(&b, m, m->root);
		if (!str_eq(buf_str(&b), str_of(cases[i].wanted)))
			fail_msg("%s\ngot %.*s", cases[i].in, STR_ARG(buf_str(&b)));
		if (m->flags != cases[i].flags) fail_msg("%s\nflags %x", cases[i].in, (unsigned)m->flags);
	}
}

static void fields_test(void **state)
{
	ARENA_SCOPED a = arena_new();
	struct mime_message *m = mime_parse(a, STR(
		"Content-Type: text/plain; charset=\"utf\\-8\"; Format=flowed; x=a(c)b; =y; z; w=\r\n"
		"Content-Transfer-Encoding: Quoted-Printable;\r\nContent-ID: <1@x>\r\n"
			"Content-Description: a\r\n b\r\n"
		"Content-Disposition: attachment; filename=x y.txt\r\nContent-Language: ko\r\n"
			"Content-Location: l\r\n"
		"Content-MD5: m\r\nContent-Type: text/html\r\n\r\n\xc7\xd1\0"));
	const struct mime_part *p = m->root;
	assert_true(str_eq(mime_param(p->params, STR("CHARSET")), STR("utf-8")));
	assert_true(str_eq(mime_param(p->params, STR("format")), STR("flowed")));
	assert_true(str_eq(mime_param(p->params, STR("x")), STR("a")));
	assert_non_null(mime_param(p->params, STR("w")).p);
	assert_null(mime_param(p->params, STR("z")).p);
	assert_int_equal(p->encoding, MIME_QP);
	assert_true(str_eq(p->id, STR("<1@x>")) && str_eq(p->language, STR("ko")) &&
		str_eq(p->location, STR("l")));
	assert_true(str_eq(p->disposition, STR("attachment")) && str_eq(p->md5, STR("m")));
	assert_true(str_eq(mime_param(p->disposition_params, STR("filename")), STR("x y.txt")));
	assert_true(p->has_8bit && p->has_nul && p->has_type);
}

/* Each limit is reached, and what lies beyond it is content. */
static void depth_test(void **state)
{
	ARENA_SCOPED a = arena_new();
	BUF_SCOPED b = {0};
	for (int i = 0; i < MIME_DEPTH_MAX + 50; i++)
		buf_fmt(&b, "Content-Type: multipart/mixed; boundary=b%d.\r\n\r\n--b%d.\r\n", i, i);
	buf_add(&b, STR("\r\nend"));
	struct mime_message *m = mime_parse(a, buf_str(&b));
	assert_true(m->flags & MIME_TOO_DEEP);
	unsigned deepest = 0;
	for (struct mime_part *p = m->root; p; p = mime_next(p))
		deepest = p->depth > deepest ? p->depth : deepest;
	assert_int_equal(deepest, MIME_DEPTH_MAX);
	buf_clear(&b);
	for (int i = 0; i < MIME_DEPTH_MAX + 50; i++)
		buf_add(&b, STR("Content-Type: message/rfc822\r\n\r\n"));
	m = mime_parse(a, buf_str(&b));
	assert_true(m->flags & MIME_TOO_DEEP);
	assert_int_equal(m->part_n, MIME_DEPTH_MAX + 1);
}

static void parts_test(void **state)
{
	ARENA_SCOPED a = arena_new();
	BUF_SCOPED b = {0};
	buf_add(&b, STR(MIXED));
	for (int i = 0; i < MIME_PARTS_MAX + 10; i++) buf_add(&b, STR("--x\r\n\r\n"));
	struct mime_message *m = mime_parse(a, buf_str(&b));
	assert_true(m->flags & MIME_TOO_MANY);
	assert_int_equal(m->part_n, MIME_PARTS_MAX);
}

static void header_limits_test(void **state)
{
	ARENA_SCOPED a = arena_new();
	BUF_SCOPED b = {0};
	while (b.n <= MIME_HEADER_MAX)
		buf_add(&b, STR("X-Filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"));
	buf_add(&b, STR("Content-Type: text/html\r\n\r\nbody"));
	struct mime_message *m = mime_parse(a, buf_str(&b));
	assert_true(m->flags & MIME_HEADER_LONG);
	assert_true(mime_is(m->root, STR("text"), STR("plain")));
	assert_true(str_eq(mime_part_body(m, m->root), STR("body")));

	buf_clear(&b);
	buf_add(&b, STR("Content-Type: text/html"));
	for (int i = 0; i < MIME_PARAMS_MAX + 1; i++) buf_fmt(&b, "; p%d=%d", i, i);
	m = mime_parse(a, buf_str(&b));
	assert_true(m->flags & MIME_PARAMS_MANY);
	assert_int_equal(m->root->params.n, MIME_PARAMS_MAX);

	buf_clear(&b);
	buf_add(&b, STR("Content-Type: multipart/mixed; boundary="));
	for (int i = 0; i < MIME_BOUNDARY_MAX + 1; i++) buf_byte(&b, 'x');
	m = mime_parse(a, buf_str(&b));
	assert_null(m->root->first_child);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(structure_test), cmocka_unit_test(fields_test), cmocka_unit_test(depth_test),
		cmocka_unit_test(parts_test), cmocka_unit_test(header_limits_test),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
