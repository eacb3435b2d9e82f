/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "mime/summary.h"
#include "base/arena.h"
#include "base/buf.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

/* RFC 5256 2.1 */
static void subject_test(void **state)
{
	static const struct {
		const char *in, *wanted;
		bool refwd;
	} cases[] = {
		{"hello", "hello", false}, {"Re: hello", "hello", true},
		{"RE : Fwd: hello (fwd)", "hello", true},
		{"re[2]: hello", "hello", true}, {"[list] hello", "hello", false},
		{"[list] Re: [list] hello", "hello", true},
		{"[only]", "[only]", false}, {"Re: [only]", "[only]", true}, {"[fwd: hello]", "hello", true},
		{"[fwd: Re: hello]  (fwd)", "hello", true}, {"hello  \t world", "hello world", false},
		{"", "", false}, {"Re:", "", true},
		{"regular", "regular", false}, {"Re: 회의", "회의", true}, {"회신: 회의", "회신: 회의", false},
		{"fw:hello", "hello", true},
		{"(fwd)", "", true}, {"[a] [b] c", "c", false},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		ARENA_SCOPED a = arena_new();
		bool refwd;
		struct str got = subject_base(a, str_of(cases[i].in), &refwd);
		if (!str_eq(got, str_of(cases[i].wanted))) fail_msg("%s: %.*s", cases[i].in, STR_ARG(got));
		if (refwd != cases[i].refwd) fail_msg("%s: %d", cases[i].in, refwd);
	}
}

static void make_test(void **state)
{
	ARENA_SCOPED a = arena_new();
	struct mime_message *m = mime_parse(a, STR(
		"Date: Tue, 24 Nov 2026 10:00:00 +0900\r\nFrom: =?utf-8?B?7ZmN6ri464+Z?= <hong@b.example>\r\n"
		"To: x@y.example, z@w.example\r\nSubject: Re: =?euc-kr?B?yLjAxw==?=\r\nMessage-ID: <1@x>\r\n"
		"References: <0@x>\r\n <a@x> junk\r\nIn-Reply-To: your mail <a@x>\r\nList-Id: <l.example>\r\n"
		"Auto-Submitted: auto-generated\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n"
		"--b\r\n\r\ntext\r\n--b\r\nContent-Type: application/x-hwp; name=a.hwp\r\n\r\nx\r\n"
			"--b--\r\n"));
	struct summary s, d;
	struct err err;
	BUF_SCOPED b = {0};
	summary_make(a, m, &s);
	summary_encode(&b, &s);
	assert_true(summary_decode(buf_str(&b), &d, &err));
	assert_true(str_eq(d.subject, STR("Re: 회의")) && str_eq(d.base_subject, STR("회의")));
	assert_true(str_eq(d.from, STR("홍길동 <hong@b.example>")) && str_eq(d.from_addr, STR("hong")));
	assert_true(str_eq(d.from_name, STR("홍길동")) && str_eq(d.to_addr, STR("x")) && d.cc.n == 0);
	assert_true(str_eq(d.message_id, STR("<1@x>")) && str_eq(d.in_reply_to, STR("<a@x>")));
	assert_true(str_eq(d.references, STR("<0@x> <a@x>")));
	assert_int_equal(d.date_unix, 1795482000);
	assert_int_equal(d.date_offset_min, 540);
	assert_int_equal(d.flags, SUMMARY_HAS_ATTACHMENT | SUMMARY_SUBJECT_REFWD | SUMMARY_SIGNED |
					  SUMMARY_IS_LIST | SUMMARY_AUTO);
	assert_int_equal(d.size_bytes, m->data.n);
	assert_true(str_eq(d.envelope, s.envelope) && str_eq(d.bodystructure, s.bodystructure) &&
		str_eq(d.body, s.body));
	for (size_t n = 0; n < b.n; n++)
		if (!summary_decode(str_sub(buf_str(&b), 0, n), &d, &err))
			assert_int_equal(err.kind, ERR_CORRUPT);
	b.p[0] = SUMMARY_VERSION + 1;
	assert_false(summary_decode(buf_str(&b), &d, &err));
}

static void empty_test(void **state)
{
	ARENA_SCOPED a = arena_new();
	struct summary s;
	summary_make(a, mime_parse(a, STR("")), &s);
	assert_true(s.date_unix == SUMMARY_NO_DATE && s.subject.n == 0);
	assert_true(str_eq(s.envelope, STR("(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(subject_test), cmocka_unit_test(make_test), cmocka_unit_test(empty_test),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
