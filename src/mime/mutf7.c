/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Modified UTF-7 (RFC 3501 5.1.3): printable ASCII stands for itself, "&" is "&-", all else is
 * UTF-16BE in base64 with "," for "/" between "&" and "-".
 *
 * Decoding reads what it can, then encodes again: only the same octets are accepted, so no mailbox
 * has two names on the wire.
 */
#include "base/codec.h"
#include "base/scan.h"
#include "mime/words.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static bool is_direct(uint32_t cp)
{
	return cp >= 0x20 && cp <= 0x7e;
}

/* The shifted part: 16-bit units come in, 6-bit characters go out. */
struct shift {
	struct buf *out;
	uint32_t bits;
	unsigned n;
};

static void shift_unit(struct shift *s, uint32_t unit)
{
	s->bits = s->bits << 16 | unit;
	s->n += 16;
	while (s->n >= 6) {
		s->n -= 6;
		buf_byte(s->out, alphabet[s->bits >> s->n & 63]);
	}
	s->bits &= (1u << s->n) - 1;
}

static void shift_end(struct shift *s)
{
	if (s->n > 0) buf_byte(s->out, alphabet[s->bits << (6 - s->n) & 63]);
	buf_byte(s->out, '-');
}

/* Characters at the scan that cannot stand for themselves. */
static bool encode_shifted(struct buf *out, struct scan *s)
{
	struct shift sh = {.out = out};
	uint32_t cp;
	buf_byte(out, '&');
	while (!scan_end(s)) {
		size_t n = utf8_decode(scan_rest(s), &cp);
		if (n == 0) return false;
		if (is_direct(cp)) break;
		if (cp > 0xffff) {
			shift_unit(&sh, 0xd7c0 + (cp >> 10));
			shift_unit(&sh, 0xdc00 + (cp & 0x3ff));
		} else {
			shift_unit(&sh, cp);
		}
		s->p += n;
	}
	shift_end(&sh);
	return true;
}

bool mutf7_encode(struct buf *out, struct str utf8)
{
	struct scan s = scan_of(utf8);
	size_t before = out->n;
	while (!scan_end(&s)) {
		int c = scan_peek(&s);
		if (is_direct((uint32_t)c)) {
			if (c == '&') buf_add(out, STR("&-"));
			else buf_byte(out, (char)c);
			s.p++;
		} else if (!encode_shifted(out, &s)) {
			out->n = before;
			return false;
		}
	}
	return true;
}

static int value_of(char c)
{
	for (int i = 0; i < 64; i++)
		if (alphabet[i] == c) return i;
	return -1;
}

/* Base64 up to "-"; surrogates are put together. */
static bool decode_shifted(struct buf *out, struct scan *s)
{
	uint32_t bits = 0, high = 0;
	unsigned n = 0;
	while (!scan_byte(s, '-')) {
		int v = scan_end(s) ? -1 : value_of(*s->p++);
		if (v < 0) return false;
		bits = (bits << 6 | (uint32_t)v) & 0x3fffff;
		n += 6;
		if (n < 16) continue;
		n -= 16;
		uint32_t unit = bits >> n & 0xffff;
		if (unit >= 0xd800 && unit < 0xdc00 && !high) {
			high = unit;
		} else if (high) {
			if (unit < 0xdc00 || unit > 0xdfff) return false;
			utf8_encode(out, 0x10000 + ((high - 0xd800) << 10) + (unit - 0xdc00));
			high = 0;
		} else if (unit >= 0xdc00 && unit <= 0xdfff) {
			return false;
		} else {
			utf8_encode(out, unit);
		}
	}
	return !high;
}

bool mutf7_decode(struct buf *out, struct str in)
{
	struct scan s = scan_of(in);
	BUF_SCOPED utf8 = {0}, again = {0};
	while (!scan_end(&s)) {
		if (scan_lit(&s, STR("&-"))) buf_byte(&utf8, '&');
		else if (!scan_byte(&s, '&')) buf_byte(&utf8, *s.p++);
		else if (!decode_shifted(&utf8, &s)) return false;
	}
	if (!mutf7_encode(&again, buf_str(&utf8)) || !str_eq(buf_str(&again), in)) return false;
	buf_add(out, buf_str(&utf8));
	return true;
}
