/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "mime/text.h"
#include "base/arena.h"
#include "base/codec.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void normalise_test(void **state)
{
	static const struct {
		const char *in, *wanted;
	} cases[] = {
		{"Hello  World\r\n x", "hello world x"}, {"안녕  하세요", "안녕 하세요"}, {"ＡＢＣ１２３", "abc123"},
		{"（광고）＠", "(광고)@"},
		/* NFD of macOS, with and without what comes before */
		{"\u1112\u1161\u11ab\u1100\u1173\u11af", "한글"}, {"가\u11a8", "각"}, {"A\u0301b", "áb"},
		{"x한\u1100\u1161y", "x한가y"},
		{"Straße ÄÖÜ", "strasse äöü"}, {"ΑΣ", "ασ"}, {"ﾊﾝｶﾞ", "ハンガ"}, {"ﾡ\uffc2", "가"},
		{"a\u200bb\ufeff\u00adc", "abc"},
		{"a\u3000\u00a0 b", "a b"}, {"漢字 Ж", "漢字 ж"}, {"", ""}, {"\u0301", "\u0301"}, {"😀A", "😀a"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		ARENA_SCOPED a = arena_new();
		struct str got = text_normalised(a, str_of(cases[i].in));
		const char *wanted = cases[i].wanted;
		if (!str_eq(got, str_of(wanted)))
			fail_msg("%s: wanted %s, got %.*s", cases[i].in, wanted, STR_ARG(got));
		if (!str_eq(text_normalised(a, got), got)) fail_msg("%s: not stable", cases[i].in);
	}
	ARENA_SCOPED a = arena_new();
	assert_true(str_eq(text_nfc_str(a, STR("\u1112\u1161\u11ab")), STR("한")));
	assert_true(str_eq(utf8_cut(STR("한글"), 5), STR("한")));
	assert_int_equal(utf8_cut(STR("한글"), 2).n, 0);
}

static void html_test(void **state)
{
	static const struct {
		const char *in, *wanted;
	} cases[] = {
		{"a<b>b</b>c", "abc"}, {"<p>a</p><p>b</p>", "\na\n\nb\n"}, {"a<br>b", "a\nb"},
		{"a<td>b", "a b"},
		{"&lt;&amp;&nbsp;&hellip;&#44032;&#xAC00;&#0;&x;&", "<&\u00a0…가가\ufffd&x;&"},
		{"a<script>if (a<b) '</b>'</script>b<STYLE>x</Style>c", "abc"},
		{"a<!-- <b> -->b<!-- open", "ab"},
		{"<img src=\"a>b\" alt=\"그림\">x", "그림x"}, {"<img alt='a&amp;b'>", "a&b"},
		{"1 < 2", "1 < 2"}, {"a<", "a<"},
		{"<!DOCTYPE html>a", "a"}, {"<a href=x", ""}, {"<script>", ""},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		BUF_SCOPED b = {0};
		text_of_html(&b, str_of(cases[i].in));
		if (!str_eq(buf_str(&b), str_of(cases[i].wanted)))
			fail_msg("%s: %.*s", cases[i].in, STR_ARG(buf_str(&b)));
	}
}

static const char sample[] =
	"Subject: =?euc-kr?B?yLjAxyC+yLO7?=\r\nFrom: =?utf-8?B?7ZmN6ri464+Z?= <a@b>\r\n"
	"Content-Type: multipart/mixed; boundary=x\r\n\r\npreamble\r\n"
	"--x\r\nContent-Type: text/plain; charset=ks_c_5601-1987\r\nContent-Transfer-Encoding: base64\r\n"
		"\r\nyLjAxyCMYw==\r\n"
	"--x\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>자료 &amp; <b>표</b></p><style>hide</style>\r\n"
	"--x\r\nContent-Type: application/x-hwp; name*=utf-8''%EA%B2%AC%EC%A0%81.hwp\r\n\r\nbinary\r\n"
	"--x\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner ＡＢ\r\n\r\ninner text\r\n--x--\r\n";

static bool has(const struct mime_message *m, int scope, const char *needle)
{
	ARENA_SCOPED a = arena_new();
	BUF_SCOPED b = {0};
	text_extract_normalised(&b, m, scope);
	assert_true(utf8_valid(buf_str(&b)));
	return str_find(buf_str(&b), text_normalised(a, str_of(needle))) != STR_NPOS;
}

/* RFC 9051 6.4.4: BODY and TEXT match decoded text */
static void extract_test(void **state)
{
	ARENA_SCOPED a = arena_new();
	struct mime_message *m = mime_parse(a, str_of(sample));
	static const struct {
		const char *needle;
		bool header, body;
	} cases[] = {
		{"회의", true, true}, {"회의 안내", true, false}, {"홍길동", true, false}, {"회의 똠", false, true},
		{"자료 & 표", false, true},
		{"견적.hwp", false, true}, {"inner ab", false, true}, {"INNER TEXT", false, true},
		{"hide", false, false},
		{"binary", false, false}, {"preamble", false, false}, {"x-hwp", false, true},
		{"subject: 회의", true, false},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		if (has(m, TEXT_HEADER, cases[i].needle) != cases[i].header)
			fail_msg("header: %s", cases[i].needle);
		if (has(m, TEXT_BODY, cases[i].needle) != cases[i].body)
			fail_msg("body: %s", cases[i].needle);
	}
	BUF_SCOPED b = {.max = 40};
	text_extract(&b, m, TEXT_HEADER | TEXT_BODY);
	assert_true(b.failed && b.n <= 40 && utf8_valid(buf_str(&b)));
	BUF_SCOPED preview = {0};
	text_preview(&preview, m);
	assert_true(str_eq(buf_str(&preview), STR("회의 똠")));
}

/* A part ends where it ends: no match spans two. */
static void separated_test(void **state)
{
	ARENA_SCOPED a = arena_new();
	struct mime_message *m = mime_parse(a, STR("Content-Type: multipart/mixed; boundary=x\r\n\r\n"
		"--x\r\n\r\none\r\n--x\r\n\r\ntwo\r\n--x--"));
	assert_true(has(m, TEXT_BODY, "one") && has(m, TEXT_BODY, "two") && !has(m, TEXT_BODY, "one two"));
	m = mime_parse(a, STR("\r\none\r\ntwo"));
	assert_true(has(m, TEXT_BODY, "one two"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(normalise_test), cmocka_unit_test(html_test), cmocka_unit_test(extract_test),
		cmocka_unit_test(separated_test),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
