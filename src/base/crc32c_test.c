/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/crc32c.h"
#include "base/testing.h"
#include <string.h>

static void test_vectors(void **state)
{
	/* RFC 3720 appendix B.4, as numbers */
	unsigned char up[32], down[32];
	char zeros[32] = {0}, ones[32];

	memset(ones, 0xff, sizeof(ones));
	for (int i = 0; i < 32; i++) {
		up[i] = (unsigned char)i;
		down[i] = (unsigned char)(31 - i);
	}
	uint32_t (*const both[])(uint32_t, const void *, size_t) = {crc32c, crc32c_tables};
	for (int i = 0; i < 2; i++) {
		assert_int_equal(both[i](0, zeros, 32), 0x8a9136aa);
		assert_int_equal(both[i](0, ones, 32), 0x62a8ab43);
		assert_int_equal(both[i](0, up, 32), 0x46dd794e);
		assert_int_equal(both[i](0, down, 32), 0x113fdb5c);
		assert_int_equal(both[i](0, "123456789", 9), 0xe3069283);
		assert_int_equal(both[i](0, NULL, 0), 0);
	}
}

static void test_pieces(void **state)
{
	unsigned char data[300];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (unsigned char)(i * i + 7);
	for (size_t n = 0; n < sizeof(data); n++) {
		uint32_t whole = crc32c(0, data, n);
		assert_int_equal(crc32c_tables(0, data, n), whole);
		assert_int_equal(crc32c(crc32c(0, data, n / 3), data + n / 3, n - n / 3), whole);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_vectors), cmocka_unit_test(test_pieces)};
	return RUN_TESTS(tests);
}
