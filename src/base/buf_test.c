/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/buf.h"
#include "base/scan.h"
#include "base/testing.h"
#include <string.h>

static void test_add(void **state)
{
	BUF_SCOPED b = {0};

	buf_add(&b, STR("ab"));
	buf_add(&b, STR_NONE);
	buf_byte(&b, '-');
	buf_u64(&b, 0);
	buf_u64(&b, UINT64_MAX);
	buf_fmt(&b, "<%s:%d>", "x", -5);
	assert_str("all", buf_str(&b), STR("ab-018446744073709551615<x:-5>"));
	buf_consume(&b, 3);
	assert_str("consumed", buf_str(&b), STR("018446744073709551615<x:-5>"));
	buf_consume(&b, 1000);
	assert_int_equal(b.n, 0);
	buf_shrink(&b);
	assert_null(b.p);
}

static void test_fmt_grows(void **state)
{
	BUF_SCOPED b = {0};

	for (int i = 0; i < 1000; i++)
		buf_fmt(&b, "%04d", i);
	assert_int_equal(b.n, 4000);
	assert_str("tail", str_from(buf_str(&b), 3992), STR("09980999"));
}

static void test_limit(void **state)
{
	BUF_SCOPED b = {.max = 5};

	buf_add(&b, STR("abcde"));
	assert_false(b.failed);
	buf_byte(&b, 'f');
	assert_true(b.failed);
	buf_consume(&b, 5);
	buf_byte(&b, 'f'); /* stays failed, so that no piece goes missing in the middle */
	assert_int_equal(b.n, 0);
	buf_clear(&b);
	buf_fmt(&b, "%s", "12345"); /* the NUL is not content */
	assert_str("exact", buf_str(&b), STR("12345"));
	buf_fmt(&b, "%s", "");
	assert_false(b.failed);
	buf_fmt(&b, "%s", "6");
	assert_true(b.failed);
	assert_null(buf_room(&b, SIZE_MAX));
}

static void test_little_endian(void **state)
{
	BUF_SCOPED b = {0};
	uint16_t x;
	uint32_t y;
	uint64_t z;
	struct str s;

	buf_le16(&b, 0x1234);
	buf_le32(&b, 0x12345678);
	buf_le64(&b, UINT64_C(0x123456789abcdef0));
	buf_le_str(&b, STR("hi"));
	assert_memory_equal(b.p, "\x34\x12\x78\x56\x34\x12\xf0\xde\xbc\x9a\x78\x56\x34\x12\x02\0\0\0hi", 20);

	struct scan scan = scan_of(buf_str(&b));
	assert_true(scan_le16(&scan, &x) && x == 0x1234);
	assert_true(scan_le32(&scan, &y) && y == 0x12345678);
	assert_true(scan_le64(&scan, &z) && z == UINT64_C(0x123456789abcdef0));
	assert_true(scan_le_str(&scan, 2, &s));
	assert_str("string", s, STR("hi"));
	assert_true(scan_end(&scan));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_add), cmocka_unit_test(test_fmt_grows),
		cmocka_unit_test(test_limit), cmocka_unit_test(test_little_endian),
	};
	return RUN_TESTS(tests);
}
