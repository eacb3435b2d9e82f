/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* What decodes must encode to the same again; base64 and hex are strict, so there is one form. */
#include "base/codec.h"
#include <assert.h>
#include <stdlib.h>

static void check_utf8(struct str s)
{
	BUF_SCOPED again = {0};
	bool valid = utf8_valid(s);
	struct str rest = s;

	while (rest.n) {
		uint32_t cp;
		size_t n = utf8_decode(rest, &cp);
		assert(n <= rest.n && n <= 4);
		if (n == 0)
			break;
		utf8_encode(&again, cp);
		rest = str_from(rest, n);
	}
	assert(valid == (rest.n == 0));
	assert(str_eq(buf_str(&again), str_sub(s, 0, s.n - rest.n)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str s = {(const char *)data, size};
	BUF_SCOPED plain = {0}, coded = {0};

	if (base64_decode(&plain, s)) {
		base64_encode(&coded, buf_str(&plain));
		assert(str_eq(buf_str(&coded), s));
	}
	buf_clear(&plain);
	buf_clear(&coded);
	if (hex_decode(&plain, s)) {
		hex_encode(&coded, buf_str(&plain));
		assert(str_eq_nocase(buf_str(&coded), s));
	}
	buf_clear(&plain);
	buf_clear(&coded);
	base64_encode(&coded, s);
	assert(base64_decode(&plain, buf_str(&coded)) && str_eq(buf_str(&plain), s));
	check_utf8(s);
	return 0;
}
