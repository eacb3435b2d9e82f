/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* base/codec.c: table-driven; output room is asked for once, before the loop. */
#include "base/codec.h"
#include <string.h>

static const char base64_letters[64] =
	{"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"};

/* Value + 1, so that 0 says "not in the alphabet". */
static const unsigned char base64_values[256] = {
	['A'] = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26,
	['a'] = 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49,
	50, 51, 52,
	['0'] = 53, 54, 55, 56, 57, 58, 59, 60, 61, 62,
	['+'] = 63, ['/'] = 64,
};

static const char hex_digits[16] = {"0123456789abcdef"};

void base64_encode(struct buf *out, struct str in)
{
	if (in.n == 0)
		return;

	const unsigned char *p = (const unsigned char *)in.p, *end = p + in.n;
	char *start = buf_room(out, (in.n + 2) / 3 * 4);
	char *to = start;

	if (!to)
		return;
	for (; end - p >= 3; p += 3) {
		uint32_t w = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
		*to++ = base64_letters[w >> 18];
		*to++ = base64_letters[w >> 12 & 63];
		*to++ = base64_letters[w >> 6 & 63];
		*to++ = base64_letters[w & 63];
	}
	if (p < end) {
		uint32_t w = (uint32_t)p[0] << 16 | (end - p == 2 ? (uint32_t)p[1] << 8 : 0);
		*to++ = base64_letters[w >> 18];
		*to++ = base64_letters[w >> 12 & 63];
		*to++ = end - p == 2 ? base64_letters[w >> 6 & 63] : '=';
		*to++ = '=';
	}
	out->n += (size_t)(to - start);
}

/* Four letters of the alphabet to 24 bits. */
static bool quad(const unsigned char *p, uint32_t *out)
{
	unsigned a = base64_values[p[0]], b = base64_values[p[1]];
	unsigned c = base64_values[p[2]], d = base64_values[p[3]];

	*out = (a - 1) << 18 | (b - 1) << 12 | (c - 1) << 6 | (d - 1);
	return a && b && c && d;
}

/* The last four letters, padding and unused bits checked (RFC 4648 section 3.5). */
static char *last_quad(const unsigned char *p, char *to)
{
	size_t pad = p[3] != '=' ? 0 : p[2] != '=' ? 1 : 2;
	unsigned char full[4] = {p[0], p[1], pad == 2 ? 'A' : p[2], pad ? 'A' : p[3]};
	uint32_t w;

	if (!quad(full, &w) || (pad == 1 && (w & 0xff)) || (pad == 2 && (w & 0xffff)))
		return NULL;
	*to++ = (char)(w >> 16);
	if (pad < 2)
		*to++ = (char)(w >> 8);
	if (pad < 1)
		*to++ = (char)w;
	return to;
}

bool base64_decode(struct buf *out, struct str in)
{
	if (in.n % 4 != 0)
		return false;
	if (in.n == 0)
		return true;

	const unsigned char *p = (const unsigned char *)in.p, *last = p + in.n - 4;
	char *start = buf_room(out, in.n / 4 * 3);
	char *to = start;

	if (!to)
		return false;
	for (; p < last; p += 4) {
		uint32_t w;
		if (!quad(p, &w))
			return false;
		*to++ = (char)(w >> 16);
		*to++ = (char)(w >> 8);
		*to++ = (char)w;
	}
	to = last_quad(p, to);
	if (!to)
		return false;
	out->n += (size_t)(to - start);
	return true;
}

void hex_encode(struct buf *out, struct str in)
{
	char *to = in.n ? buf_room(out, in.n * 2) : NULL;

	if (!to)
		return;
	for (size_t i = 0; i < in.n; i++) {
		unsigned char c = (unsigned char)in.p[i];
		*to++ = hex_digits[c >> 4];
		*to++ = hex_digits[c & 15];
	}
	out->n += in.n * 2;
}

static int hex_value(char c)
{
	if (ascii_is((unsigned char)c, ASCII_DIGIT))
		return c - '0';
	return ascii_is((unsigned char)c, ASCII_XDIGIT) ? ascii_lower(c) - 'a' + 10 : -1;
}

bool hex_decode(struct buf *out, struct str in)
{
	if (in.n % 2 != 0)
		return false;
	if (in.n == 0)
		return true;

	char *to = buf_room(out, in.n / 2);
	if (!to)
		return false;
	for (size_t i = 0; i < in.n; i += 2) {
		int high = hex_value(in.p[i]), low = hex_value(in.p[i + 1]);
		if (high < 0 || low < 0)
			return false;
		*to++ = (char)(high << 4 | low);
	}
	out->n += in.n / 2;
	return true;
}

/* How many bytes the first one announces, and the least and greatest second byte: the table of
 * RFC 3629 section 4, which leaves no room for overlong forms, surrogates and above U+10FFFF. */
static size_t utf8_lead(unsigned char c, unsigned char *out_low, unsigned char *out_high)
{
	*out_low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
	*out_high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
	if (c < 0x80)
		return 1;
	if (c < 0xc2)
		return 0;
	return c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
}

size_t utf8_decode(struct str s, uint32_t *out_cp)
{
	if (s.n == 0)
		return 0;

	const unsigned char *p = (const unsigned char *)s.p;
	unsigned char low, high;
	size_t n = utf8_lead(p[0], &low, &high);

	if (n == 1) {
		*out_cp = p[0];
		return 1;
	}
	if (n == 0 || n > s.n || p[1] < low || p[1] > high)
		return 0;

	uint32_t cp = (p[0] & (0x7fu >> n)) << 6 | (p[1] & 0x3fu);
	for (size_t i = 2; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		cp = cp << 6 | (p[i] & 0x3fu);
	}
	*out_cp = cp;
	return n;
}

bool utf8_valid(struct str s)
{
	while (s.n) {
		if (s.n >= 8) {
			uint64_t w;
			memcpy(&w, s.p, sizeof(w));
			if (!(w & UINT64_C(0x8080808080808080))) {
				s = str_from(s, sizeof(w));
				continue;
			}
		}
		uint32_t cp;
		size_t n = utf8_decode(s, &cp);
		if (n == 0)
			return false;
		s = str_from(s, n);
	}
	return true;
}

void utf8_encode(struct buf *out, uint32_t cp)
{
	char c[4];

	if (cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff))
		cp = 0xfffd;
	if (cp < 0x80) {
		buf_byte(out, (char)cp);
	} else if (cp < 0x800) {
		c[0] = (char)(0xc0 | cp >> 6);
		c[1] = (char)(0x80 | (cp & 0x3f));
		buf_add_bytes(out, c, 2);
	} else if (cp < 0x10000) {
		c[0] = (char)(0xe0 | cp >> 12);
		c[1] = (char)(0x80 | (cp >> 6 & 0x3f));
		c[2] = (char)(0x80 | (cp & 0x3f));
		buf_add_bytes(out, c, 3);
	} else {
		c[0] = (char)(0xf0 | cp >> 18);
		c[1] = (char)(0x80 | (cp >> 12 & 0x3f));
		c[2] = (char)(0x80 | (cp >> 6 & 0x3f));
		c[3] = (char)(0x80 | (cp & 0x3f));
		buf_add_bytes(out, c, 4);
	}
}
