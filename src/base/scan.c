/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* base/scan.c: see scan.h. Each function looks first and moves afterwards. */
#include "base/scan.h"
#include <endian.h>
#include <string.h>

bool scan_byte(struct scan *s, char c)
{
	if (s->p == s->end || *s->p != c)
		return false;
	s->p++;
	return true;
}

bool scan_byte_nocase(struct scan *s, char c)
{
	if (s->p == s->end || ascii_lower(*s->p) != ascii_lower(c))
		return false;
	s->p++;
	return true;
}

bool scan_lit(struct scan *s, struct str lit)
{
	if (!str_starts(scan_rest(s), lit))
		return false;
	s->p += lit.n;
	return true;
}

bool scan_lit_nocase(struct scan *s, struct str lit)
{
	if (!str_starts_nocase(scan_rest(s), lit))
		return false;
	s->p += lit.n;
	return true;
}

bool scan_take(struct scan *s, size_t n, struct str *out)
{
	if (n > scan_left(s))
		return false;
	*out = (struct str){s->p, n};
	if (n)
		s->p += n;
	return true;
}

bool scan_skip(struct scan *s, size_t n)
{
	struct str skipped;

	return scan_take(s, n, &skipped);
}

/* The bytes up to "to", which is in the scan. */
static struct str advance(struct scan *s, const char *to)
{
	struct str passed = {s->p, (size_t)(to - s->p)};

	s->p = to;
	return passed;
}

struct str scan_until_byte(struct scan *s, char c)
{
	const char *at = scan_end(s) ? NULL : memchr(s->p, c, scan_left(s));

	return advance(s, at ? at : s->end);
}

struct str scan_while_class(struct scan *s, int classes)
{
	const char *at = s->p;

	while (at < s->end && ascii_is((unsigned char)*at, classes))
		at++;
	return advance(s, at);
}

struct str scan_while(struct scan *s, bool (*is)(unsigned char c))
{
	const char *at = s->p;

	while (at < s->end && is((unsigned char)*at))
		at++;
	return advance(s, at);
}

bool scan_u64(struct scan *s, uint64_t max, uint64_t *out)
{
	struct scan at = *s;
	struct str digits = scan_while_class(&at, ASCII_DIGIT);

	if (!str_u64(digits, max, out))
		return false;
	*s = at;
	return true;
}

bool scan_u32(struct scan *s, uint32_t max, uint32_t *out)
{
	uint64_t v;

	if (!scan_u64(s, max, &v))
		return false;
	*out = (uint32_t)v;
	return true;
}

void scan_blanks(struct scan *s)
{
	scan_while_class(s, ASCII_SPACE);
}

static bool take_bytes(struct scan *s, void *out, size_t n)
{
	struct str bytes;

	if (!scan_take(s, n, &bytes))
		return false;
	memcpy(out, bytes.p, n);
	return true;
}

bool scan_le16(struct scan *s, uint16_t *out)
{
	uint16_t v;

	if (!take_bytes(s, &v, sizeof(v)))
		return false;
	*out = le16toh(v);
	return true;
}

bool scan_le32(struct scan *s, uint32_t *out)
{
	uint32_t v;

	if (!take_bytes(s, &v, sizeof(v)))
		return false;
	*out = le32toh(v);
	return true;
}

bool scan_le64(struct scan *s, uint64_t *out)
{
	uint64_t v;

	if (!take_bytes(s, &v, sizeof(v)))
		return false;
	*out = le64toh(v);
	return true;
}

bool scan_le_str(struct scan *s, size_t max, struct str *out)
{
	struct scan at = *s;
	uint32_t n;

	if (!scan_le32(&at, &n) || n > max || !scan_take(&at, n, out))
		return false;
	*s = at;
	return true;
}
