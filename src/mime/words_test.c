/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "mime/words.h"
#include "base/arena.h"
#include "base/codec.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

static void decode_test(void **state)
{
	static const struct {
		const char *in, *wanted;
	} cases[] = {
		/* RFC 2047 8 */
		{"=?US-ASCII?Q?Keith_Moore?=", "Keith Moore"},
		{"=?ISO-8859-1?Q?Keld_J=F8rn_Simonsen?=", "Keld Jørn Simonsen"},
		{"=?ISO-8859-1?Q?Andr=E9?= Pirard", "André Pirard"},
		{"=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=\r\n "
			"=?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=",
		 "If you can read this you understand the example."},
		{"=?ISO-8859-1?Q?a?= b", "a b"}, {"=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"},
		{"=?ISO-8859-1?Q?a?=\r\n    =?ISO-8859-1?Q?b?=", "ab"}, {"=?ISO-8859-1?Q?a_b?=", "a b"},
		{"=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b"},
		/* facts/korean-mail.md 1 */
		{"=?euc-kr?B?vsiz58fPvLy/5A==?=", "안녕하세요"}, {"=?ks_c_5601-1987?b?jGM=?=", "똠"},
		{"\"=?euc-kr?B?vsiz58fPvLy/5A==?=\"", "\"안녕하세요\""},
		{"=?utf-8?B?6rCA?==?utf-8?B?64KY?=", "가나"},           /* no blank between */
		{"=?euc-kr?B?vg==?= =?euc-kr?B?yA==?=", "안"},          /* a character in two words */
		{"=?euc-kr?B?v?= =?euc-kr?B?sg?=", "안"},               /* even a base64 group */
		{"=?UTF-8?Q?=EA=B0?= =?utf-8?q?=80?=", "가"},
		{"=?utf-8?Q?a b?= c", "a b c"}, {"=?utf-8?Q?a?b?" "?=", "a?b?"},
		{"=?utf-8?Q?a=zz=?=", "a=zz="},
		{"a=?utf-8?Q?b?=c", "abc"}, {"=?utf-8?X?b?=", "=?utf-8?X?b?="},
		{"=?utf-8?Q?b", "=?utf-8?Q?b"}, {"=?", "=?"},
		{"=?utf-8*ko?Q?=EA=B0=80?=", "가"},
		/* raw 8-bit */
		{"가나", "가나"}, {"\xbe\xc8\xb3\xe7", "안녕"}, {"x =?utf-8?B?6rCA?= \xbe\xc8", "x 가 안"},
		/* folds between characters, and nothing that breaks a line comes out */
		{"가\r\n 나", "가 나"}, {"=?utf-8?Q?a=0D=0Ab=00?=", "a  b "}, {"", ""},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		BUF_SCOPED b = {0};
		words_decode(&b, str_of(cases[i].in));
		if (!str_eq(buf_str(&b), str_of(cases[i].wanted)))
			fail_msg("%s: %.*s", cases[i].in, STR_ARG(buf_str(&b)));
	}
	ARENA_SCOPED a = arena_new();
	assert_true(str_eq(words_decode_str(a, STR(" \u1112\u1161\u11ab ")), STR("한")));
}

/* RFC 2047 2 and 5 (3): words of at most 75, lines of at most 76, characters whole; and they decode back. */
static void encode_test(void **state)
{
	static const char *const texts[] = {
		"plain text", "안녕하세요", "가", "a=?b", "é", "Grüße aus Köln", "",
		"아주 긴 제목입니다 아주 긴 제목입니다 아주 긴 제목입니다 아주 긴 제목입니다 아주 긴 제목입니다 끝",
		"a very long plain subject that goes on and on until it has to be folded somewhere at a "
			"blank, twice even",
		"a very long subject with one ü that goes on and on until it has to be folded somewhere, "
			"twice",
	};
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		for (size_t column = 0; column < 80; column += 13) {
			BUF_SCOPED b = {0}, back = {0};
			words_encode(&b, str_of(texts[i]), column);
			assert_true(str_is_ascii(buf_str(&b)));
			bool first = true;
			for (struct str rest = buf_str(&b); rest.p; first = false) {
				struct str line = str_trim(str_cut(&rest, '\n'));
				if (!first) assert_true(line.n <= 76);
				for (size_t at; (at = str_find(line, STR("=?UTF-8?"))) != STR_NPOS;) {
					line = str_from(line, at);
					size_t end = str_find(str_from(line, 10), STR("?=")) + 12;
					assert_true(end <= 75);
					BUF_SCOPED word = {0};
					words_decode(&word, str_sub(line, 0, end));
					assert_int_equal(str_find(buf_str(&word), STR("\ufffd")), STR_NPOS);
					line = str_from(line, end);
				}
			}
			words_decode(&back, buf_str(&b));
			/* A fold at the very start is a blank after "Subject: ". */
			if (!str_eq(str_trim(buf_str(&back)), str_of(texts[i])))
				fail_msg("%s: %.*s", texts[i], STR_ARG(buf_str(&b)));
		}
	}
}

static void phrase_test(void **state)
{
	static const struct {
		const char *in, *wanted;
	} cases[] = {
		{"Joe Doe", "Joe Doe"}, {"Doe, Joe", "\"Doe, Joe\""}, {"a \"b\"", "\"a \\\"b\\\"\""},
		{"홍길동", "=?UTF-8?B?7ZmN6ri464+Z?="}, {"é", "=?UTF-8?B?w6k=?="},
		{"André Pirard", "=?UTF-8?Q?Andr=C3=A9_Pirard?="}, {"a  b", "\"a  b\""},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		BUF_SCOPED b = {0};
		words_encode_phrase(&b, str_of(cases[i].in), 0);
		if (!str_eq(buf_str(&b), str_of(cases[i].wanted)))
			fail_msg("%s: %.*s", cases[i].in, STR_ARG(buf_str(&b)));
	}
}

static void param_test(void **state)
{
	static const struct {
		const char *in, *wanted; /* Content-Disposition; value of filename */
	} cases[] = {
		{"attachment; filename=a.txt", "a.txt"}, {"attachment; filename=\"a b.txt\"", "a b.txt"},
		/* RFC 2231 4, 3 */
		{"attachment; filename*=UTF-8''%EA%B2%AC%EC%A0%81.xlsx", "견적.xlsx"},
		{"attachment; filename*0*=UTF-8''%EA%B2; filename*1*=%AC; filename*2=\".xlsx\"", "견.xlsx"},
		{"attachment; filename*0=ab; filename*1=cd", "abcd"},
		{"attachment; filename*1=cd; filename*0=ab", "abcd"},
		{"attachment; filename*=euc-kr'ko'%B0%DF%C0%FB.xlsx", "견적.xlsx"},
		{"attachment; filename*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A",
			"This is ***fun***"},
		/* what is written instead */
		{"attachment; filename=\"=?utf-8?B?6rKs7KCB7IScLnhsc3g=?=\"", "견적서.xlsx"},
		{"attachment; filename==?utf-8?B?6rKs7KCB7IScLnhsc3g=?=", "견적서.xlsx"},
		{"attachment; filename=\"\xb0\xdf\xc0\xfb.xlsx\"", "견적.xlsx"},
		{"attachment; filename=\"견적.xlsx\"", "견적.xlsx"},
		{"attachment; filename=%EA%B2%AC.xlsx", "견.xlsx"},
		{"attachment; filename=\"100%.txt\"", "100%.txt"},
		{"attachment; filename*=%EA%B2%AC.xlsx", "견.xlsx"},
		{"attachment; filename=a b.txt; size=1", "a b.txt"},
		{"attachment", NULL}, {"attachment; name=x", NULL},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		ARENA_SCOPED a = arena_new();
		BUF_SCOPED b = {0};
		struct str value;
		struct mime_params params;
		int flags = 0;
		assert_true(mime_disposition_parse(a, str_of(cases[i].in), &value, &params, &flags));
		bool ok = param_decode(&b, params, STR("filename"));
		if (ok != (cases[i].wanted != NULL)) fail_msg("%s", cases[i].in);
		if (ok && !str_eq(buf_str(&b), str_of(cases[i].wanted)))
			fail_msg("%s: %.*s", cases[i].in, STR_ARG(buf_str(&b)));
	}
}

static void param_encode_test(void **state)
{
	static const char *const names[] = {"a.txt", "a \"b\\.txt", "견적.xlsx", "아주 긴 파일 이름입니다 정말로 깁니다.hwp",
		"a very long file name in plain ascii that does not fit into one line of a header.txt",
			"=?x?="};
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		ARENA_SCOPED a = arena_new();
		BUF_SCOPED b = {0}, back = {0};
		struct str value;
		struct mime_params params;
		int flags = 0;
		buf_add(&b, STR("attachment"));
		param_encode(&b, STR("filename"), str_of(names[i]));
		for (struct str rest = buf_str(&b); rest.p;) assert_true(str_cut(&rest, '\n').n <= 77);
		assert_true(mime_disposition_parse(a, buf_str(&b), &value, &params, &flags));
		assert_true(param_decode(&back, params, STR("filename")));
		if (!str_eq(buf_str(&back), str_of(names[i])))
			fail_msg("%s: %.*s", names[i], STR_ARG(buf_str(&b)));
	}
}

static void filename_test(void **state)
{
	static const struct {
		const char *in, *wanted;
	} cases[] = {
		{"a.txt", "a.txt"}, {"../../etc/passwd", "passwd"}, {"C:\\x\\y.hwp", "y.hwp"},
		{"", "attachment"},
		{"..", "attachment"}, {"a/", "attachment"}, {"a. . ", "a"}, {" a", "a"},
		{"a\u202e" "b", "ab"},
		{"a\r\nb\x7f", "ab"},
		{"\u1112\u1161\u11ab\u1100\u1173\u11af.hwp", "한글.hwp"}, /* NFD of macOS */
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		BUF_SCOPED b = {0};
		filename_clean(&b, str_of(cases[i].in));
		if (!str_eq(buf_str(&b), str_of(cases[i].wanted)))
			fail_msg("%s: %.*s", cases[i].in, STR_ARG(buf_str(&b)));
	}
	BUF_SCOPED in = {0}, out = {0};
	for (int i = 0; i < 100; i++) buf_add(&in, STR("한"));
	buf_add(&in, STR(".hwp"));
	filename_clean(&out, buf_str(&in));
	assert_true(out.n <= 255 && utf8_valid(buf_str(&out)) && str_ends(buf_str(&out), STR(".hwp")));
}

static void mutf7_test(void **state)
{
	static const struct {
		const char *utf8, *wire;
	} cases[] = {
		/* RFC 3501 5.1.3 */
		{"~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"}, {"INBOX", "INBOX"}, {"&", "&-"},
		{"", ""},
		/* facts/korean-mail.md 3 */
		{"한글", "&1VyuAA-"}, {"받은 편지함", "&vBvHQA- &07jJwNVo-"}, {"보낸 편지함", "&vPSwuA- &07jJwNVo-"},
		{"보낸메일함", "&vPSwuLpUx3zVaA-"}, {"임시보관함", "&x4TC3Lz0rQDVaA-"}, {"휴지통", "&1zTJwNG1-"},
		{"지운 편지함", "&ycDGtA- &07jJwNVo-"}, {"스팸메일함", "&wqTTOLpUx3zVaA-"},
		{"영업팀 & 회계", "&xgHFxdMA- &- &1oysxA-"}, {"😀", "&2D3eAA-"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		BUF_SCOPED wire = {0}, utf8 = {0};
		assert_true(mutf7_encode(&wire, str_of(cases[i].utf8)));
		if (!str_eq(buf_str(&wire), str_of(cases[i].wire)))
			fail_msg("%s: %.*s", cases[i].utf8, STR_ARG(buf_str(&wire)));
		assert_true(mutf7_decode(&utf8, buf_str(&wire)));
		assert_true(str_eq(buf_str(&utf8), str_of(cases[i].utf8)));
	}
	/* Not what encoding gives: raw octets, ASCII in base64, open or empty or superfluous shifts,
	 * bits left over, halves of surrogates. */
	static const char *const bad[] =
		{"한", "&AGE-", "&1VyuAA", "&", "&1Vyu", "&1Vw-&rgA-", "&1VyuAB-", "&2D0-", "&3gA-",
		"&1VyuAA==-", "&1V yuAA-", "a\x7f", "&Jjo!"};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		BUF_SCOPED utf8 = {0};
		if (mutf7_decode(&utf8, str_of(bad[i]))) fail_msg("%s", bad[i]);
	}
	BUF_SCOPED b = {0};
	assert_false(mutf7_encode(&b, STR("a\xff")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decode_test), cmocka_unit_test(encode_test), cmocka_unit_test(phrase_test),
		cmocka_unit_test(param_test), cmocka_unit_test(param_encode_test),
			cmocka_unit_test(filename_test),
		cmocka_unit_test(mutf7_test),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
