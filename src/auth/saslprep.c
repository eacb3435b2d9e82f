/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* RFC 4013 over the tables of RFC 3454; normalization is utf8proc's, of a newer Unicode than 3.2, which
 * differs for characters only that 3.2 did not have. */
#include "base/buf.h"
#include "base/codec.h"
#include "base/secret.h"
#include "auth/scram.h"
#include "auth/auth_int.h"
#include <stdlib.h>
#include <utf8proc.h>

enum { PREP_MAX = 1024 };

struct range {
	uint32_t first, last;
};

/* RFC 3454 C.1.2 */
static const struct range spaces[] = {
	{0xa0, 0xa0},     {0x1680, 0x1680}, {0x2000, 0x200b},
	{0x202f, 0x202f}, {0x205f, 0x205f}, {0x3000, 0x3000},
};
/* RFC 3454 B.1 */
static const struct range nothing[] = {
	{0xad, 0xad},     {0x34f, 0x34f},   {0x1806, 0x1806}, {0x180b, 0x180d},
	{0x200b, 0x200d}, {0x2060, 0x2060}, {0xfe00, 0xfe0f}, {0xfeff, 0xfeff},
};
/* RFC 4013 2.3: C.1.2, C.2.1, C.2.2, C.3, C.4, C.6, C.7, C.8, C.9; surrogates (C.5) are no UTF-8. The last
 * two code points of each plane are tested by number. */
static const struct range prohibited[] = {
	{0x00, 0x1f},        {0x7f, 0xa0},     {0x340, 0x341},     {0x6dd, 0x6dd},     {0x70f, 0x70f},
	{0x1680, 0x1680},    {0x180e, 0x180e}, {0x2000, 0x200f},   {0x2028, 0x202f},   {0x205f, 0x2063},
	{0x206a, 0x206f},    {0x2ff0, 0x2ffb}, {0x3000, 0x3000},   {0xe000, 0xf8ff},   {0xfdd0, 0xfdef},
	{0xfeff, 0xfeff},    {0xfff9, 0xffff}, {0x1d173, 0x1d17a}, {0xe0001, 0xe0001}, {0xe0020, 0xe007f},
	{0xf0000, 0x10ffff},
};

#define IN(table, cp) in_ranges(table, sizeof(table) / sizeof *(table), cp)
static bool in_ranges(const struct range *table, size_t n, uint32_t cp)
{
	for (size_t i = 0; i < n; i++)
		if (cp >= table[i].first && cp <= table[i].last)
			return true;
	return false;
}

static bool is_plain_ascii(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < 0x20 || s.p[i] > 0x7e)
			return false;
	return true;
}

/* RFC 4013 2.1 */
static bool map(struct str in, struct buf *out)
{
	while (in.n) {
		uint32_t cp;
		size_t n = utf8_decode(in, &cp);
		if (n == 0)
			return false;
		if (IN(spaces, cp))
			buf_byte(out, ' ');
		else if (!IN(nothing, cp))
			buf_add(out, str_sub(in, 0, n));
		in = str_from(in, n);
	}
	return true;
}

/* RFC 4013 2.2. The work area holds the password: wiped. */
static bool normalize(struct str in, struct buf *out)
{
	const utf8proc_uint8_t *p = (const utf8proc_uint8_t *)(in.n ? in.p : "");
	utf8proc_option_t options = UTF8PROC_COMPAT | UTF8PROC_COMPOSE | UTF8PROC_STABLE;
	utf8proc_ssize_t n = utf8proc_decompose(p, (utf8proc_ssize_t)in.n, NULL, 0, options);
	if (n < 0)
		return false;
	size_t size = ((size_t)n + 1) * sizeof(utf8proc_int32_t);
	utf8proc_int32_t *work = malloc(size);
	if (!work)
		abort();
	n = utf8proc_decompose(p, (utf8proc_ssize_t)in.n, work, n, options);
	if (n >= 0)
		n = utf8proc_reencode(work, n, options);
	if (n >= 0)
		buf_add_bytes(out, work, (size_t)n);
	secret_wipe(work, size);
	free(work);
	return n >= 0;
}

/* RFC 4013 2.3, 2.4 (RFC 3454 6), 2.5 */
static const char *check(struct str s, bool allow_unassigned)
{
	bool right = false, left = false, first_right = false, last_right = false;
	for (bool first = true; s.n; first = false) {
		uint32_t cp;
		size_t n = utf8_decode(s, &cp);
		if (n == 0)
			return "invalid UTF-8";
		if (IN(prohibited, cp) || (cp & 0xfffe) == 0xfffe)
			return "a character that is not allowed";
		const utf8proc_property_t *property = utf8proc_get_property((utf8proc_int32_t)cp);
		if (!allow_unassigned && property->category == UTF8PROC_CATEGORY_CN)
			return "a character that is not assigned";
		last_right = property->bidi_class == UTF8PROC_BIDI_CLASS_R ||
			     property->bidi_class == UTF8PROC_BIDI_CLASS_AL;
		left = left || property->bidi_class == UTF8PROC_BIDI_CLASS_L;
		right = right || last_right;
		first_right = first ? last_right : first_right;
		s = str_from(s, n);
	}
	if (right && (left || !first_right || !last_right))
		return "mixed writing directions";
	return NULL;
}

static const char *prepare(struct str in, bool allow_unassigned, struct buf *mapped, struct buf *normal)
{
	if (!map(in, mapped) || !normalize(buf_str(mapped), normal))
		return "invalid UTF-8";
	return check(buf_str(normal), allow_unassigned);
}

bool saslprep(struct str in, bool allow_unassigned, struct buf *out, struct err *err)
{
	if (in.n > PREP_MAX)
		return err_set(err, ERR_LIMIT, "user name or password is too long");
	if (is_plain_ascii(in)) {
		buf_add(out, in);
		return true;
	}
	/* Never grow: growing would leave copies behind. */
	struct buf mapped = {0}, normal = {0};
	buf_room(&mapped, PREP_MAX + 1);
	const char *why = prepare(in, allow_unassigned, &mapped, &normal);
	if (!why)
		buf_add(out, buf_str(&normal));
	buf_wipe(&mapped);
	buf_wipe(&normal);
	return !why || err_set(err, ERR_SYNTAX, "user name or password holds %s", why);
}
