/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * base/str.c: comparing and searching views.
 *
 * Bytes are looked at eight at a time where the C library has no function of its own for the
 * question; load8() reads them without any demand on alignment.
 */
#include "base/str.h"
#include <string.h>

#define ONES UINT64_C(0x0101010101010101)
#define HIGHS UINT64_C(0x8080808080808080)

const unsigned char ascii_class_table[256] = {
	[0x00 ... 0x08] = ASCII_CTL,
	['\t'] = ASCII_CTL | ASCII_SPACE,
	[0x0a ... 0x1f] = ASCII_CTL,
	[' '] = ASCII_SPACE,
	['0' ... '9'] = ASCII_DIGIT | ASCII_XDIGIT | ASCII_ATEXT,
	['A' ... 'F'] = ASCII_UPPER | ASCII_XDIGIT | ASCII_ATEXT,
	['G' ... 'Z'] = ASCII_UPPER | ASCII_ATEXT,
	['a' ... 'f'] = ASCII_LOWER | ASCII_XDIGIT | ASCII_ATEXT,
	['g' ... 'z'] = ASCII_LOWER | ASCII_ATEXT,
	['!'] = ASCII_ATEXT, ['#'] = ASCII_ATEXT, ['$'] = ASCII_ATEXT, ['%'] = ASCII_ATEXT,
	['&'] = ASCII_ATEXT, ['\''] = ASCII_ATEXT, ['*'] = ASCII_ATEXT, ['+'] = ASCII_ATEXT,
	['-'] = ASCII_ATEXT, ['/'] = ASCII_ATEXT, ['='] = ASCII_ATEXT, ['?'] = ASCII_ATEXT,
	['^'] = ASCII_ATEXT, ['_'] = ASCII_ATEXT, ['`'] = ASCII_ATEXT, ['{'] = ASCII_ATEXT,
	['|'] = ASCII_ATEXT, ['}'] = ASCII_ATEXT, ['~'] = ASCII_ATEXT,
	[0x7f] = ASCII_CTL,
};

static inline uint64_t load8(const char *p)
{
	uint64_t w;

	memcpy(&w, p, sizeof(w));
	return w;
}

/* A-Z of eight bytes to a-z. Adding to the low seven bits of a byte sets its high bit exactly when
 * the byte is beyond a bound; bytes above 0x7f are left alone. */
static inline uint64_t lower8(uint64_t w)
{
	uint64_t low = w & ~HIGHS;
	uint64_t from_a = low + ONES * (0x80 - 'A');
	uint64_t above_z = low + ONES * (0x7f - 'Z');

	return w | ((from_a ^ above_z) & ~w & HIGHS) >> 2;
}

/* How many bytes at the front are the same but for case. */
static size_t same_nocase(const char *x, const char *y, size_t n)
{
	size_t i = 0;

	for (; n - i >= 8; i += 8) {
		uint64_t a = load8(x + i), b = load8(y + i);
		if (a != b && lower8(a) != lower8(b))
			break;
	}
	while (i < n && ascii_lower(x[i]) == ascii_lower(y[i]))
		i++;
	return i;
}

struct str str_of(const char *cstr)
{
	return cstr ? (struct str){cstr, strlen(cstr)} : STR_NONE;
}

bool str_eq(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool str_eq_nocase(struct str a, struct str b)
{
	return a.n == b.n && same_nocase(a.p, b.p, a.n) == a.n;
}

int str_cmp(struct str a, struct str b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int r = n ? memcmp(a.p, b.p, n) : 0;

	return r ? r : (a.n > b.n) - (a.n < b.n);
}

int str_cmp_nocase(struct str a, struct str b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	size_t i = same_nocase(a.p, b.p, n);

	if (i < n)
		return (unsigned char)ascii_lower(a.p[i]) - (unsigned char)ascii_lower(b.p[i]);
	return (a.n > b.n) - (a.n < b.n);
}

bool str_starts(struct str s, struct str prefix)
{
	return s.n >= prefix.n && str_eq(str_sub(s, 0, prefix.n), prefix);
}

bool str_starts_nocase(struct str s, struct str prefix)
{
	return s.n >= prefix.n && str_eq_nocase(str_sub(s, 0, prefix.n), prefix);
}

bool str_ends(struct str s, struct str suffix)
{
	return s.n >= suffix.n && str_eq(str_from(s, s.n - suffix.n), suffix);
}

bool str_ends_nocase(struct str s, struct str suffix)
{
	return s.n >= suffix.n && str_eq_nocase(str_from(s, s.n - suffix.n), suffix);
}

size_t str_find_byte(struct str s, char c)
{
	const char *at = s.n ? memchr(s.p, c, s.n) : NULL;

	return at ? (size_t)(at - s.p) : STR_NPOS;
}

size_t str_find_last_byte(struct str s, char c)
{
	const char *at = s.n ? memrchr(s.p, c, s.n) : NULL;

	return at ? (size_t)(at - s.p) : STR_NPOS;
}

size_t str_find(struct str s, struct str needle)
{
	if (needle.n == 0)
		return 0;
	if (needle.n > s.n)
		return STR_NPOS;

	const char *at = memmem(s.p, s.n, needle.p, needle.n);
	return at ? (size_t)(at - s.p) : STR_NPOS;
}

/* The next place at or after "from" where c stands, or the end. */
static size_t next_byte(struct str s, size_t from, char c)
{
	const char *at = from < s.n ? memchr(s.p + from, c, s.n - from) : NULL;

	return at ? (size_t)(at - s.p) : s.n;
}

size_t str_find_nocase(struct str s, struct str needle)
{
	if (needle.n == 0)
		return 0;
	if (needle.n > s.n)
		return STR_NPOS;

	/* Candidates are where the first byte stands in either case; each case's next place is
	 * remembered, so that a rare one is not looked for again and again. */
	char lower = ascii_lower(needle.p[0]), upper = ascii_upper(needle.p[0]);
	struct str starts = str_sub(s, 0, s.n - needle.n + 1);
	size_t at_lower = next_byte(starts, 0, lower);
	size_t at_upper = lower == upper ? starts.n : next_byte(starts, 0, upper);

	while (at_lower < starts.n || at_upper < starts.n) {
		size_t at = at_lower < at_upper ? at_lower : at_upper;
		if (same_nocase(s.p + at, needle.p, needle.n) == needle.n)
			return at;
		if (at == at_lower)
			at_lower = next_byte(starts, at + 1, lower);
		else
			at_upper = next_byte(starts, at + 1, upper);
	}
	return STR_NPOS;
}

bool str_has_byte(struct str s, char c)
{
	return str_find_byte(s, c) != STR_NPOS;
}

struct str str_from(struct str s, size_t from)
{
	if (from >= s.n)
		return (struct str){s.n ? s.p + s.n : s.p, 0};
	return (struct str){s.p + from, s.n - from};
}

struct str str_sub(struct str s, size_t from, size_t n)
{
	struct str rest = str_from(s, from);

	return (struct str){rest.p, n < rest.n ? n : rest.n};
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct str str_trim(struct str s)
{
	while (s.n && is_blank(s.p[s.n - 1]))
		s.n--;
	while (s.n && is_blank(s.p[0])) {
		s.p++;
		s.n--;
	}
	return s;
}

struct str str_cut(struct str *rest, char sep)
{
	struct str whole = *rest;
	size_t at = str_find_byte(whole, sep);

	if (at == STR_NPOS) {
		*rest = STR_NONE;
		return whole;
	}
	*rest = (struct str){whole.p + at + 1, whole.n - at - 1};
	return (struct str){whole.p, at};
}

bool str_u64(struct str s, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;

	if (s.n == 0)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		unsigned char digit = (unsigned char)(s.p[i] - '0');
		if (digit > 9 || __builtin_mul_overflow(v, UINT64_C(10), &v) ||
		    __builtin_add_overflow(v, digit, &v) || v > max)
			return false;
	}
	*out = v;
	return true;
}

static uint64_t mix(uint64_t h, uint64_t w)
{
	h = (h ^ w) * UINT64_C(0x9e3779b97f4a7c15);
	return h ^ h >> 32;
}

uint64_t str_hash(struct str s)
{
	uint64_t h = mix(UINT64_C(0x51ed270b0f4b5d3f), s.n);
	size_t i = 0;

	for (; s.n - i >= 8; i += 8)
		h = mix(h, load8(s.p + i));
	if (i < s.n) {
		uint64_t w = 0;
		memcpy(&w, s.p + i, s.n - i);
		h = mix(h, w);
	}
	return mix(h, h >> 29);
}

bool str_has_ctl(struct str s)
{
	size_t i = 0;

	for (; s.n - i >= 8; i += 8) {
		uint64_t w = load8(s.p + i);
		uint64_t del = w ^ ONES * 0x7f;
		/* a byte below 0x20, or one that became zero */
		if ((((w - ONES * 0x20) & ~w) | ((del - ONES) & ~del)) & HIGHS)
			return true;
	}
	for (; i < s.n; i++)
		if (ascii_is((unsigned char)s.p[i], ASCII_CTL))
			return true;
	return false;
}

bool str_is_ascii(struct str s)
{
	size_t i = 0;

	for (; s.n - i >= 8; i += 8)
		if (load8(s.p + i) & HIGHS)
			return false;
	for (; i < s.n; i++)
		if (s.p[i] & 0x80)
			return false;
	return true;
}
