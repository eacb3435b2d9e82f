/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "store/maildir/name.h"
#include "base/testing.h"
#include "store/mailbox.h"
#include <string.h>

static void test_parse(void **state)
{
	static const struct {
		struct str file;
		bool ok;
		const char *base;
		uint64_t size, wire_size;
		uint32_t uid;
		const char *tag;
		unsigned flags;
		uint32_t keywords;
	} cases[] = {
		{STR("1234.M1P2.host"), true, "1234.M1P2.host"},
		{STR("1234.M1P2.host:2,"), true, "1234.M1P2.host"},
		{STR("1234.M1P2.host:2,FS"), true, "1234.M1P2.host", 0, 0, 0, "",
		 FLAG_FLAGGED | FLAG_SEEN},
		{STR("x,S=10,W=12:2,Sab"), true, "x", 10, 12, 0, "", FLAG_SEEN, 3},
		{STR("x.1,S=10,W=10,U=7,M=abcdefg1:2,DFPRSTz"), true, "x.1", 10, 10, 7, "abcdefg1",
		 FLAG_DRAFT | FLAG_FLAGGED | FLAG_FORWARDED | FLAG_ANSWERED | FLAG_SEEN | FLAG_DELETED,
		 1u << 25},
		{STR("x,Y=1,S=10,Z=3,W=11:2,"), true, "x,Y=1", 10, 11},
		{STR("x,S=-1:2,"), true, "x,S=-1"},
		{STR("x,S=99999999999999999999"), true, "x,S=99999999999999999999"},
		{STR("x,U=0,M=abcdefg1"), true, "x,U=0", 0, 0, 0, "abcdefg1"},
		{STR("x,U=4294967295"), true, "x,U=4294967295"},
		{STR("x,M=short"), true, "x,M=short"},
		{STR("x:1,S"), true, "x"},
		{STR(",S=1:2,"), false},
		{STR(":2,S"), false},
		{STR(".nfs0001"), false},
		{STR(""), false},
		{STR("a\0b"), false},
		{STR("S=5:2,"), true, "S=5"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct file_name n;
		assert_int_equal(name_parse(cases[i].file, &n), cases[i].ok);
		if (!cases[i].ok)
			continue;
		assert_true(str_eq(n.base, str_of(cases[i].base)));
		assert_int_equal(n.size, cases[i].size);
		assert_int_equal(n.wire_size, cases[i].wire_size);
		assert_int_equal(n.uid, cases[i].uid);
		assert_true(str_eq(n.tag, str_of(cases[i].tag)));
		assert_int_equal(n.flags, cases[i].flags);
		assert_int_equal(n.keywords, cases[i].keywords);
	}
}

static void test_format(void **state)
{
	static const struct {
		struct file_name name;
		const char *wanted;
	} cases[] = {
		{{.base = {"b", 1}}, "b:2,"},
		{{.base = {"b", 1}, .has_size = true, .size = 0}, "b,S=0:2,"},
		{{.base = {"b", 1},
		  .has_size = true,
		  .size = 4096,
		  .has_wire_size = true,
		  .wire_size = 4200,
		  .has_uid = true,
		  .uid = 4294967294,
		  .tag = {"00000000", 8},
		  .flags = FLAG_SEEN | FLAG_DRAFT | FLAG_RECENT,
		  .keywords = 1 | 1 << 25},
		 "b,S=4096,W=4200,U=4294967294,M=00000000:2,DSaz"},
	};
	char out[NAME_MAX_LEN + 1];
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(name_format(out, &cases[i].name), strlen(cases[i].wanted));
		assert_string_equal(out, cases[i].wanted);
	}

	char base[NAME_MAX_LEN];
	memset(base, 'x', sizeof(base));
	struct file_name longest = {.base = {base, NAME_MAX_LEN - 3}};
	assert_int_equal(name_format(out, &longest), NAME_MAX_LEN);
	longest.base.n++;
	assert_int_equal(name_format(out, &longest), 0);

	/* The limit of bases leaves room for everything else. */
	struct file_name full = {.base = {base, NAME_BASE_MAX},
				 .has_size = true,
				 .size = UINT32_MAX,
				 .has_wire_size = true,
				 .wire_size = UINT32_MAX,
				 .has_uid = true,
				 .uid = UINT32_MAX - 1,
				 .tag = {"00000000", 8},
				 .flags = 63,
				 .keywords = 1};
	assert_true(name_format(out, &full) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_parse), cmocka_unit_test(test_format)};
	return RUN_TESTS(tests);
}
