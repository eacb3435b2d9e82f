/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/str.h"
#include "base/testing.h"
#include <string.h>

#define LONG "0123456789abcdefghijklmnopqrstuvwxyz"

static void test_compare(void **state)
{
	static const struct {
		struct str a, b;
		bool eq, eq_nocase;
		int cmp, cmp_nocase;
	} cases[] = {
		{STR(""), STR_NONE, true, true, 0, 0},
		{STR("a"), STR("A"), false, true, 1, 0},
		{STR("abc"), STR("abd"), false, false, -1, -1},
		{STR("ab"), STR("abc"), false, false, -1, -1},
		{STR("Content-Transfer-Encoding"), STR("content-transfer-ENCODING"), false, true, -1, 0},
		{STR("Content-Transfer-EncodinG"), STR("content-transfer-ENCODINH"), false, false, -1, -1},
		{STR("@@@@@@@@"), STR("````````"), false, false, -1, -1}, /* around A and a */
		{STR("[[[[[[[["), STR("{{{{{{{{"), false, false, -1, -1}, /* around Z and z */
		{STR("\xc1\xc1\xc1\xc1\xc1\xc1\xc1\xc1"), STR("\xe1\xe1\xe1\xe1\xe1\xe1\xe1\xe1"),
		 false, false, -1, -1},
		{STR("a\0b"), STR("a\0c"), false, false, -1, -1},
		{STR("\xff"), STR("a"), false, false, 1, 1},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct str a = cases[i].a, b = cases[i].b;
		int cmp = str_cmp(a, b), nocase = str_cmp_nocase(a, b);
		assert_int_equal(str_eq(a, b), cases[i].eq);
		assert_int_equal(str_eq_nocase(a, b), cases[i].eq_nocase);
		assert_int_equal((cmp > 0) - (cmp < 0), cases[i].cmp);
		assert_int_equal((nocase > 0) - (nocase < 0), cases[i].cmp_nocase);
	}
}

/* Every pair of bytes, in the part that looks at eight at once and in the one that does not. */
static void test_nocase_all_bytes(void **state)
{
	for (int x = 0; x < 256; x++) {
		for (int y = 0; y < 256; y++) {
			char a[16], b[16];
			memset(a, 'q', sizeof(a));
			memset(b, 'Q', sizeof(b));
			a[3] = (char)x;
			b[3] = (char)y;
			bool same = ascii_lower((char)x) == ascii_lower((char)y);
			assert_int_equal(str_eq_nocase((struct str){a, 16}, (struct str){b, 16}), same);
			assert_int_equal(str_eq_nocase((struct str){a, 5}, (struct str){b, 5}), same);
		}
	}
}

static void test_starts_ends(void **state)
{
	assert_true(str_starts(STR("abc"), STR("")));
	assert_true(str_starts(STR("abc"), STR("abc")));
	assert_false(str_starts(STR("abc"), STR("abcd")));
	assert_false(str_starts(STR("abc"), STR("AB")));
	assert_true(str_starts_nocase(STR("abc"), STR("AB")));
	assert_true(str_ends(STR("abc"), STR("bc")));
	assert_false(str_ends(STR("abc"), STR("zabc")));
	assert_true(str_ends_nocase(STR("a.EML"), STR(".eml")));
	assert_true(str_starts(STR_NONE, STR_NONE));
}

static void test_find(void **state)
{
	static const struct {
		struct str s, needle;
		size_t at, at_nocase;
	} cases[] = {
		{STR(""), STR(""), 0, 0},
		{STR("abc"), STR(""), 0, 0},
		{STR(""), STR("a"), STR_NPOS, STR_NPOS},
		{STR("hello World"), STR("world"), STR_NPOS, 6},
		{STR("hello World"), STR("World"), 6, 6},
		{STR("aAaAb"), STR("AB"), STR_NPOS, 3},
		{STR("xxxx"), STR("xxxxx"), STR_NPOS, STR_NPOS},
		{STR("ab--AB"), STR("B"), 5, 1},
		{STR("a\0b"), STR("\0b"), 1, 1},
		{STR("\xed\x95\x9c\xea\xb8\x80 mail"), STR("\xea\xb8\x80 M"), STR_NPOS, 3},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(str_find(cases[i].s, cases[i].needle), cases[i].at);
		assert_int_equal(str_find_nocase(cases[i].s, cases[i].needle), cases[i].at_nocase);
	}
	assert_int_equal(str_find_byte(STR("a.b.c"), '.'), 1);
	assert_int_equal(str_find_last_byte(STR("a.b.c"), '.'), 3);
	assert_int_equal(str_find_last_byte(STR_NONE, '.'), STR_NPOS);
	assert_false(str_has_byte(STR("abc"), '\0'));
}

static void test_parts(void **state)
{
	assert_str("from", str_from(STR("abc"), 1), STR("bc"));
	assert_str("from beyond", str_from(STR("abc"), 9), STR(""));
	assert_str("sub", str_sub(STR("abcdef"), 2, 3), STR("cde"));
	assert_str("sub clamps", str_sub(STR("abc"), 2, SIZE_MAX), STR("c"));
	assert_str("trim", str_trim(STR(" \t a b\r\n")), STR("a b"));
	assert_str("trim all", str_trim(STR(" \r\n\t")), STR(""));
}

static void test_cut(void **state)
{
	static const struct {
		struct str s;
		const char *parts; /* each in brackets */
	} cases[] = {
		{STR("a,b"), "[a][b]"}, {STR("a"), "[a]"}, {STR(""), "[]"},
		{STR(",a,"), "[][a][]"}, {{NULL, 0}, ""},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char got[64] = "";
		struct str rest = cases[i].s;
		while (rest.p) {
			struct str part = str_cut(&rest, ',');
			snprintf(got + strlen(got), sizeof(got) - strlen(got), "[%.*s]", STR_ARG(part));
		}
		assert_string_equal(got, cases[i].parts);
	}
}

static void test_u64(void **state)
{
	static const struct {
		struct str s;
		uint64_t max;
		bool ok;
		uint64_t v;
	} cases[] = {
		{STR("0"), 0, true, 0},
		{STR("18446744073709551615"), UINT64_MAX, true, UINT64_MAX},
		{STR("18446744073709551616"), UINT64_MAX, false, 0},
		{STR("99999999999999999999"), UINT64_MAX, false, 0},
		{STR("007"), 7, true, 7},
		{STR("8"), 7, false, 0},
		{STR(""), 7, false, 0}, {STR("-1"), 7, false, 0}, {STR("+1"), 7, false, 0},
		{STR(" 1"), 7, false, 0}, {STR("1a"), 70, false, 0}, {STR("1\0"), 70, false, 0},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t v = 77;
		assert_int_equal(str_u64(cases[i].s, cases[i].max, &v), cases[i].ok);
		assert_int_equal(v, cases[i].ok ? cases[i].v : 77);
	}
}

static void test_ctl_and_ascii(void **state)
{
	for (int c = 0; c < 256; c++) {
		for (size_t at = 0; at < 20; at += 5) {
			char text[20];
			memset(text, 'a', sizeof(text));
			text[at] = (char)c;
			struct str s = {text, sizeof(text)};
			assert_int_equal(str_has_ctl(s), c < 0x20 || c == 0x7f);
			assert_int_equal(str_is_ascii(s), c < 0x80);
		}
	}
	assert_false(str_has_ctl(STR_NONE));
	assert_true(str_is_ascii(STR_NONE));
}

static void test_hash(void **state)
{
	assert_true(str_hash(STR(LONG)) == str_hash(STR(LONG)));
	assert_false(str_hash(STR(LONG)) == str_hash(STR(LONG "0")));
	assert_false(str_hash(STR("a")) == str_hash(STR("a\0")));
	assert_false(str_hash(STR_NONE) == str_hash(STR("\0")));
}

static void test_classes(void **state)
{
	/* RFC 5322 section 3.2.3 */
	static const char atext[] = "!#$%&'*+-/=?^_`{|}~";
	for (int c = 0; c < 256; c++) {
		bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
		bool special = c && strchr(atext, c);
		assert_int_equal(ascii_is((unsigned char)c, ASCII_ATEXT), alnum || special);
		assert_int_equal(ascii_is((unsigned char)c, ASCII_CTL), c < 0x20 || c == 0x7f);
		assert_int_equal(ascii_is((unsigned char)c, ASCII_SPACE), c == ' ' || c == '\t');
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_compare), cmocka_unit_test(test_nocase_all_bytes),
		cmocka_unit_test(test_starts_ends), cmocka_unit_test(test_find),
		cmocka_unit_test(test_parts), cmocka_unit_test(test_cut), cmocka_unit_test(test_u64),
		cmocka_unit_test(test_ctl_and_ascii), cmocka_unit_test(test_hash),
		cmocka_unit_test(test_classes),
	};
	return RUN_TESTS(tests);
}
