/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "json/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_write(void **state)
{
	BUF_SCOPED out = {0};
	struct json_writer w;
	json_write_init(&w, &out);
	json_write_object_begin(&w);
	json_write_member_str(&w, "a", STR("x\"y\\z\n\x01\x7f"));
	json_write_name(&w, STR("list"));
	json_write_array_begin(&w);
	json_write_int(&w, -5);
	json_write_int(&w, INT64_MIN);
	json_write_array_begin(&w);
	json_write_array_end(&w);
	json_write_object_begin(&w);
	json_write_object_end(&w);
	json_write_null(&w);
	json_write_array_end(&w);
	json_write_member_bool(&w, "b", true);
	json_write_member_cstr(&w, "n", NULL);
	json_write_object_end(&w);
	const char *want =
		"{\"a\":\"x\\\"y\\\\z\\n\\u0001\\u007f\",\"list\":[-5,-9223372036854775808,[],{},null],"
		"\"b\":true,\"n\":null}";
	if (!str_eq(buf_str(&out), str_of(want)))
		fail_msg("%.*s", (int)out.n, out.p);
}

static void test_quote(void **state)
{
	static const struct { const char *in, *want; } cases[] = {
		{"", "\"\""}, {"plain", "\"plain\""}, {"한글", "\"한글\""}, {"\xff", "\"\xef\xbf\xbd\""},
		{"a\xed\xa0\x80z", "\"a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz\""}, /* a surrogate */
		{"\xea\xb0", "\"\xef\xbf\xbd\xef\xbf\xbd\""}, {"\r\t", "\"\\r\\t\""},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		BUF_SCOPED out = {0};
		json_quote(&out, str_of(cases[i].in));
		if (!str_eq(buf_str(&out), str_of(cases[i].want)))
			fail_msg("%zu: %.*s", i, (int)out.n, out.p);
	}
}

static void test_refused(void **state)
{
	static const struct { const char *in; enum err_kind want; } cases[] = {
		{"", ERR_SYNTAX}, {"{", ERR_SYNTAX}, {"{\"a\":1,\"a\":2}", ERR_SYNTAX}, {"{} x", ERR_SYNTAX},
		{"\"\xff\"", ERR_SYNTAX}, {"\"\\ud800\"", ERR_SYNTAX}, {"{\"a\\u0000\":1}", ERR_SYNTAX},
		{"01", ERR_SYNTAX}, {"'a'", ERR_SYNTAX}, {"[1,]", ERR_SYNTAX}, {"NaN", ERR_SYNTAX},
		{"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", ERR_LIMIT},
		{"\"0123456789012345678901234567890123456789012345678901234567890123456789\"", ERR_LIMIT},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct json_doc *doc = NULL;
		struct err err = {0};
		if (json_doc_parse(str_of(cases[i].in), 70, &doc, &err) || err.kind != cases[i].want)
			fail_msg("%s: %s", cases[i].in, err.text);
	}
}

static bool count_members(void *context, struct str name, const struct json_value *v)
{
	int *n = context;
	assert_int_equal(1, name.n);
	return ++*n < 2;
}

static void test_read(void **state)
{
	JSON_DOC_SCOPED doc = NULL;
	struct err err = {0};
	struct str text = STR("{\"s\":\"\\u0000x\",\"i\":-7,\"r\":1.5,\"t\":true,\"l\":[1,\"two\"],\"o\":"
			      "{\"k\":null}}");
	assert_true(json_doc_parse(text, 1000, &doc, &err));
	const struct json_value *o = json_doc_root(doc);
	assert_int_equal(JSON_TYPE_OBJECT, json_value_type(o));
	assert_int_equal(6, json_value_count(o));
	assert_true(str_eq(json_value_str_or(json_value_member(o, "s"), STR_NONE), (struct str){"\0x", 2}));
	assert_int_equal(-7, json_value_int_or(json_value_member(o, "i"), 0));
	assert_int_equal(9, json_value_int_or(json_value_member(o, "r"), 9));
	assert_true(json_value_bool_or(json_value_member(o, "t"), false));
	assert_true(str_eq(json_value_str_or(json_value_item(json_value_member(o, "l"), 1), STR_NONE),
			   STR("two")));
	assert_null(json_value_item(json_value_member(o, "l"), 2));
	assert_int_equal(JSON_TYPE_NULL, json_value_type(json_value_member(json_value_member(o, "o"), "k")));
	assert_int_equal(JSON_TYPE_NULL, json_value_type(json_value_member(json_value_member(o, "x"), "y")));
	int n = 0;
	json_value_each(o, count_members, &n);
	assert_int_equal(2, n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_write), cmocka_unit_test(test_quote), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
