/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* The first byte of each step chooses the function, the rest is scanned; the scan must stay inside
 * and must not move on failure. */
#include "base/scan.h"
#include <assert.h>

static bool is_odd(unsigned char c)
{
	return c & 1;
}

static void step(struct scan *s, int choice)
{
	struct str out;
	uint16_t x;
	uint32_t y;
	uint64_t z;
	const char *before = s->p;
	bool ok = true;

	switch (choice % 14) {
	case 0: ok = scan_byte(s, 'a'); break;
	case 1: ok = scan_byte_nocase(s, 'b'); break;
	case 2: ok = scan_lit(s, STR("ab")); break;
	case 3: ok = scan_lit_nocase(s, STR("Content-Type")); break;
	case 4: ok = scan_take(s, (size_t)choice, &out); break;
	case 5: scan_until_byte(s, (char)choice); break;
	case 6: scan_while_class(s, ASCII_ATEXT); break;
	case 7: scan_while(s, is_odd); break;
	case 8: ok = scan_u32(s, 1000000, &y); assert(!ok || y <= 1000000); break;
	case 9: ok = scan_u64(s, UINT64_MAX, &z); break;
	case 10: ok = scan_le16(s, &x); break;
	case 11: ok = scan_le32(s, &y); break;
	case 12: ok = scan_le64(s, &z); break;
	case 13: ok = scan_le_str(s, 16, &out); assert(!ok || out.n <= 16); break;
	}
	assert(ok || s->p == before);
	assert(s->p >= before && s->p <= s->end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct scan s = scan_of((struct str){(const char *)data, size});

	while (!scan_end(&s)) {
		int choice = scan_peek(&s);
		scan_skip(&s, 1);
		step(&s, choice);
	}
	return 0;
}
