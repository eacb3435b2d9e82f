/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "mime/charset.h"
#include "base/codec.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define NIEUN "\xb3\xaa" /* 나 in EUC-KR */

static const struct {
	const char *label, *in, *wanted;
} cases[] = {
	/* CP949 is what every Korean label means: 똠 펲 뷁 햏 are not in EUC-KR. */
	{"euc-kr", "\x8c\x63\xbc\x84\x94\xee\xc1\x64", "똠펲뷁햏"},
	{"ks_c_5601-1987", "\x8c\x63", "똠"}, {"KSC5601", "\x8c\x63", "똠"}, {"KS_C_5601", "\x8c\x63", "똠"},
	{"ks_c_5601-1989", "\x8c\x63", "똠"}, {"iso-ir-149", "\x8c\x63", "똠"},
	{"csKSC56011987", "\x8c\x63", "똠"},
	{"korean", "\x8c\x63", "똠"}, {"windows-949", "\x8c\x63", "똠"}, {"cp949", "\x8c\x63", "똠"},
	{"ms949", "\x8c\x63", "똠"}, {"UHC", "\x8c\x63", "똠"}, {"x-windows-949", "\x8c\x63", "똠"},
	{"x-mac-korean", NIEUN, "나"}, {"euc_kr", NIEUN, "나"},
	/* later additions to KS X 1001 */
	{"euc-kr", "\xa2\xe6\xa2\xe7", "€®"},
	/* 8-octet composition */
	{"euc-kr", "a\xa4\xd4\xa4\xa8\xa4\xc7\xa4\xb1" "b", "a똠b"},
	{"euc-kr", "\xa4\xd4\xa4\xa1\xa4\xbf\xa4\xd4", "가"},
	{"euc-kr", "\xa4\xd4\xa4\xa1", "\u3164ㄱ"},
	/* RFC 1557 */
	{"iso-2022-kr", "\x1b$)C\x0e\x47\x51\x31\x5b\x0f", "한글"},
	{"ISO-2022-KR", "\x1b$)Ca \x0eGQ\x0f b\nGQ", "a 한 b\nGQ"},
	{"csISO2022KR", "\x0e\x47\x51", "한"},
	{"johab", "\xcd\x5c", "펲"}, {"cp1361", "a\\b", "a\\b"},
	{"gb2312", "\xc4\xe3\xba\xc3", "你好"}, {"shift_jis", "\x93\xfa\x96\x7b", "日本"},
	{"big5", "\xa4\xa4\xa4\xe5", "中文"},
	{"iso-2022-jp", "\x1b$BF|K\\\x1b(B", "日本"}, {"euc-jp", "\xc6\xfc\xcb\xdc", "日本"},
	{"utf-7", "Fr+APY-sche", "Frösche"}, {"koi8-r", "\xf0\xf2", "ПР"}, {"windows-1251", "\xcf\xf0", "Пр"},
	{"iso-8859-2", "\xb1", "ą"}, {"utf-16", "\xff\xfe" "a\x01", "\u0161"},
	/* RFC 2231 5 */
	{"utf-8*ko", "한", "한"},
	/* labels that lie: unlabelled and mislabelled 8-bit text is sniffed */
	{"", "한글", "한글"}, {"us-ascii", "한글", "한글"}, {"iso-8859-1", "\xc7\xd1\xb1\xdb", "한글"},
	{"unknown-8bit", "\xc7\xd1\xb1\xdb", "한글"}, {"default", "\xc7\xd1\xb1\xdb", "한글"},
	{"utf-8", "\xc7\xd1\xb1\xdb", "한글"}, {"euc-kr", "똠방각하", "똠방각하"},
	{"iso-8859-1", "caf\xe9 \xc4rger", "café Ärger"}, {"", "\x93quoted\x94", "“quoted”"},
	{"", "20 \xb0" "C", "20 °C"},
	{"utf-8", "한글 \xed\x95", "한글 \ufffd\ufffd"}, {"euc-kr", "\xb0", "\ufffd"}, {"", "", ""},
	{"nonsense", "abc", "abc"},
};

static void decode_test(void **state)
{
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		BUF_SCOPED b = {0};
		charset_decode(&b, str_of(cases[i].label), str_of(cases[i].in));
		if (!str_eq(buf_str(&b), str_of(cases[i].wanted)))
			fail_msg("%s: wanted %s, got %.*s", cases[i].label, cases[i].wanted,
				STR_ARG(buf_str(&b)));
		assert_true(utf8_valid(buf_str(&b)));
	}
}

/* Every label of the table is decodable on this system. */
static void labels_test(void **state)
{
	static const char *const labels[] = {
#define LABEL(label, charset) label,
#include "mime/charset_labels.def"
#undef LABEL
	};
	charset_preload();
	for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++) {
		BUF_SCOPED b = {0};
		assert_true(charset_known(str_of(labels[i])));
		if (!charset_decode_strict(&b, str_of(labels[i]), STR(""))) fail_msg("%s", labels[i]);
	}
	assert_false(charset_known(STR("x-nonsense")));
	assert_false(charset_known(STR("")));
	assert_true(str_eq(charset_canonical(STR("KS_C_5601-1987")), STR("CP949")));
}

static void strict_test(void **state)
{
	BUF_SCOPED b = {0};
	assert_true(charset_decode_strict(&b, STR("EUC-KR"), STR("\xc7\xd1")));
	assert_true(str_eq(buf_str(&b), STR("한")));
	assert_false(charset_decode_strict(&b, STR("UTF-8"), STR("\xc7\xd1")));
	assert_false(charset_decode_strict(&b, STR("US-ASCII"), STR("한")));
	assert_false(charset_decode_strict(&b, STR("EUC-KR"), STR("\xc7")));
	assert_false(charset_decode_strict(&b, STR("nonsense"), STR("a")));
	assert_true(str_eq(buf_str(&b), STR("한")));
}

static void *decode_many(void *arg)
{
	for (int i = 0; i < 2000; i++) {
		BUF_SCOPED b = {0};
		charset_decode(&b, STR("iso-2022-jp"), STR("\x1b$BF|K\\\x1b(B"));
		charset_decode(&b, STR("euc-kr"), STR("\xc7\xd1"));
		if (!str_eq(buf_str(&b), STR("日本한"))) *(bool *)arg = false;
	}
	return NULL;
}

static void threads_test(void **state)
{
	pthread_t t[4];
	bool ok[4] = {true, true, true, true};
	for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&t[i], NULL, decode_many, &ok[i]), 0);
	for (int i = 0; i < 4; i++) pthread_join(t[i], NULL);
	for (int i = 0; i < 4; i++) assert_true(ok[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decode_test), cmocka_unit_test(labels_test), cmocka_unit_test(strict_test),
		cmocka_unit_test(threads_test),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
