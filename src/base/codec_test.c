/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/codec.h"
#include "base/testing.h"
#include <string.h>

static void test_base64(void **state)
{
	/* RFC 4648 section 10 */
	static const struct {
		struct str plain, coded;
	} cases[] = {
		{STR(""), STR("")},
		{STR("f"), STR("Zg==")},
		{STR("fo"), STR("Zm8=")},
		{STR("foo"), STR("Zm9v")},
		{STR("foob"), STR("Zm9vYg==")},
		{STR("fooba"), STR("Zm9vYmE=")},
		{STR("foobar"), STR("Zm9vYmFy")},
		{STR("\0user\0pass"), STR("AHVzZXIAcGFzcw==")},
		{STR("\xfb\xef\xff"), STR("++//")},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		BUF_SCOPED coded = {0}, plain = {0};
		base64_encode(&coded, cases[i].plain);
		assert_str("encode", buf_str(&coded), cases[i].coded);
		assert_true(base64_decode(&plain, cases[i].coded));
		assert_str("decode", buf_str(&plain), cases[i].plain);
	}
}

static void test_base64_refuses(void **state)
{
	static const struct str cases[] = {
		STR("Z"), STR("Zg"), STR("Zg="), STR("===="), STR("Z==="), STR("Zg==Zg=="), STR("Zm9v\r\n"),
		STR("Zm 9"), STR("Zh=="), STR("Zm9="), STR("Zm-_"), STR("=m9v"), STR("Zm=v"), STR("Zm9\xff"),
		STR("Zm9\0"), STR("Zm9vZg=v"),
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		BUF_SCOPED out = {0};
		buf_add(&out, STR("before"));
		if (base64_decode(&out, cases[i]))
			fail_msg("accepted \"%.*s\"", STR_ARG(cases[i]));
		assert_str("out", buf_str(&out), STR("before"));
	}
	BUF_SCOPED small = {.max = 2};
	assert_false(base64_decode(&small, STR("Zm9v")));
}

static void test_base64_all_lengths(void **state)
{
	char data[100];
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)(i * 37 + 200);
	for (size_t n = 0; n <= sizeof(data); n++) {
		BUF_SCOPED coded = {0}, plain = {0};
		base64_encode(&coded, (struct str){data, n});
		assert_int_equal(coded.n, (n + 2) / 3 * 4);
		assert_true(base64_decode(&plain, buf_str(&coded)));
		assert_str("round", buf_str(&plain), (struct str){data, n});
	}
}

static void test_hex(void **state)
{
	BUF_SCOPED coded = {0}, plain = {0};

	hex_encode(&coded, STR("\0\x7f\xff"));
	assert_str("encode", buf_str(&coded), STR("007fff"));
	assert_true(hex_decode(&plain, STR("007FfF")));
	assert_str("decode", buf_str(&plain), STR("\0\x7f\xff"));
	assert_false(hex_decode(&plain, STR("0")));
	assert_false(hex_decode(&plain, STR("0g")));
	assert_false(hex_decode(&plain, STR("x0")));
	assert_true(hex_decode(&plain, STR("")));
}

static void test_utf8(void **state)
{
	/* RFC 3629 sections 3, 4 and 7 */
	static const struct {
		const char *name;
		struct str s;
		uint32_t cp; /* 0: not valid */
	} cases[] = {
		{"ascii", STR("A"), 'A'},
		{"two, least", STR("\xc2\x80"), 0x80},
		{"two, greatest", STR("\xdf\xbf"), 0x7ff},
		{"three, least", STR("\xe0\xa0\x80"), 0x800},
		{"hangul", STR("\xed\x95\x9c"), 0xd55c},
		{"before surrogates", STR("\xed\x9f\xbf"), 0xd7ff},
		{"three, greatest", STR("\xef\xbf\xbf"), 0xffff},
		{"four, least", STR("\xf0\x90\x80\x80"), 0x10000},
		{"four, greatest", STR("\xf4\x8f\xbf\xbf"), 0x10ffff},
		{"overlong two", STR("\xc0\x80"), 0},
		{"overlong two, greatest", STR("\xc1\xbf"), 0},
		{"overlong three", STR("\xe0\x9f\xbf"), 0},
		{"overlong four", STR("\xf0\x8f\xbf\xbf"), 0},
		{"surrogate", STR("\xed\xa0\x80"), 0},
		{"beyond", STR("\xf4\x90\x80\x80"), 0},
		{"no lead f5", STR("\xf5\x80\x80\x80"), 0},
		{"continuation alone", STR("\x80"), 0},
		{"cut after lead", STR("\xed"), 0},
		{"cut of three", STR("\xed\x95"), 0},
		{"wrong third", STR("\xed\x95\x41"), 0},
		{"wrong fourth", STR("\xf0\x90\x80\xc0"), 0},
		{"ff", STR("\xff"), 0},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint32_t cp = 0;
		size_t n = utf8_decode(cases[i].s, &cp);
		assert_case(cases[i].name, n == (cases[i].cp ? cases[i].s.n : 0));
		assert_case(cases[i].name, cp == cases[i].cp);
		assert_case(cases[i].name, utf8_valid(cases[i].s) == (cases[i].cp != 0));
		BUF_SCOPED b = {0};
		if (cases[i].cp) {
			utf8_encode(&b, cp);
			assert_str(cases[i].name, buf_str(&b), cases[i].s);
		}
	}
	BUF_SCOPED b = {0};
	utf8_encode(&b, 0xd800);
	utf8_encode(&b, 0x110000);
	assert_str("replacement", buf_str(&b), STR("\xef\xbf\xbd\xef\xbf\xbd"));
	assert_true(utf8_valid(STR_NONE));
	assert_true(utf8_valid(STR("abcdefgh\xed\x95\x9c" "abcdefghi")));
	assert_false(utf8_valid(STR("abcdefghijkl\xed\x95")));
	assert_true(utf8_valid(STR("a\0b")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_base64), cmocka_unit_test(test_base64_refuses),
		cmocka_unit_test(test_base64_all_lengths), cmocka_unit_test(test_hex),
		cmocka_unit_test(test_utf8),
	};
	return RUN_TESTS(tests);
}
