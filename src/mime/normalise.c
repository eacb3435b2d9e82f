/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Most text is ASCII, precomposed Hangul or Han, which need nothing but ASCII's lower case: these are
 * copied in runs. The rest goes through utf8proc, together with the character before it, since a
 * combining mark or a final jamo may join that.
 */
#include "base/arena.h"
#include "base/codec.h"
#include "mime/text.h"
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

struct str utf8_cut(struct str utf8, size_t max)
{
	if (utf8.n <= max) return utf8;
	while (max > 0 && ((unsigned char)utf8.p[max] & 0xc0) == 0x80) max--;
	return str_sub(utf8, 0, max);
}

/* Length of a character that is its own normal form and joins nothing before it; 0: another. */
static size_t simple_char(const char *p, const char *end)
{
	unsigned char c = (unsigned char)*p;
	if (c < 0x80) return 1;
	if (end - p < 3 || c < 0xe4 || c > 0xed) return 0;
	unsigned char d = (unsigned char)p[1], e = (unsigned char)p[2];
	uint32_t cp = (uint32_t)(c & 15) << 12 | (uint32_t)(d & 63) << 6 | (e & 63u);
	bool hangul = cp >= 0xac00 && cp <= 0xd7a3, han = cp >= 0x4e00 && cp <= 0x9fff;
	return hangul || han ? 3 : 0;
}

static const char *simple_run(const char *p, const char *end)
{
	size_t n;
	while (p < end && (n = simple_char(p, end)) > 0) p += n;
	return p;
}

static const char *other_run(const char *p, const char *end)
{
	while (p < end && simple_char(p, end) == 0) {
		p++;
		while (p < end && ((unsigned char)*p & 0xc0) == 0x80) p++;
	}
	return p;
}

static const char *previous_char(const char *p, const char *from)
{
	while (p > from && ((unsigned char)*--p & 0xc0) == 0x80) {}
	return p;
}

static bool is_white(uint32_t cp)
{
	return (cp >= 9 && cp <= 13) || cp == ' ' || cp == 0x85 || cp == 0xa0 || cp == 0x1680 ||
	       (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 || cp == 0x2029 || cp == 0x202f ||
	       	cp == 0x205f ||
	       cp == 0x3000;
}

static bool is_zero_width(uint32_t cp)
{
	return cp == 0xad || (cp >= 0x200b && cp <= 0x200d) || cp == 0x2060 || cp == 0xfeff;
}

/* White space was written last: more of it adds nothing. */
static bool ends_in_blank(const struct buf *out, size_t from)
{
	return out->n > from && out->p[out->n - 1] == ' ';
}

static void add_blank(struct buf *out, size_t from)
{
	if (!ends_in_blank(out, from)) buf_byte(out, ' ');
}

static void add_simple(struct buf *out, size_t from, const char *p, const char *end)
{
	char *room = buf_room(out, (size_t)(end - p));
	if (!room) return;
	bool blank = ends_in_blank(out, from);
	size_t n = out->n;
	for (; p < end; p++) {
		char c = *p;
		if (c == ' ' || (c >= 9 && c <= 13)) {
			if (!blank) out->p[n++] = ' ';
			blank = true;
		} else {
			out->p[n++] = ascii_lower(c);
			blank = false;
		}
	}
	out->n = n;
}

/* Width folding is compatibility decomposition of one block. */
static void add_width_folded(struct buf *out, uint32_t cp)
{
	utf8proc_int32_t to[8];
	if (cp < 0xff01 || cp > 0xffee) {
		utf8_encode(out, cp);
		return;
	}
	utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)cp, to, 8,
		(utf8proc_option_t)(UTF8PROC_COMPAT | UTF8PROC_DECOMPOSE | UTF8PROC_STABLE), NULL);
	if (n < 1 || n > 8) utf8_encode(out, cp);
	else for (utf8proc_ssize_t i = 0; i < n; i++) utf8_encode(out, (uint32_t)to[i]);
}

static void add_mapped(struct buf *out, struct str s, int options)
{
	utf8proc_uint8_t *mapped = NULL;
	if (s.n == 0) return;
	utf8proc_ssize_t n = utf8proc_map((const utf8proc_uint8_t *)s.p, (utf8proc_ssize_t)s.n, &mapped,
		(utf8proc_option_t)(UTF8PROC_STABLE | UTF8PROC_COMPOSE | options));
	/* Fails on invalid UTF-8 only, which the caller has ruled out. */
	if (n >= 0) buf_add_bytes(out, mapped, (size_t)n);
	else buf_add(out, s);
	free(mapped);
}

static void add_other(struct buf *out, size_t from, const char *p, const char *end)
{
	BUF_SCOPED folded = {0}, mapped = {0};
	while (p < end) {
		uint32_t cp;
		size_t n = utf8_decode((struct str){p, (size_t)(end - p)}, &cp);
		if (n == 0) {
			n = 1;
			cp = 0xfffd;
		}
		p += n;
		if (is_white(cp)) buf_byte(&folded, ' ');
		else if (!is_zero_width(cp)) add_width_folded(&folded, cp);
	}
	add_mapped(&mapped, buf_str(&folded), UTF8PROC_CASEFOLD);
	for (size_t i = 0; i < mapped.n; i++) {
		if (mapped.p[i] == ' ') add_blank(out, from);
		else buf_byte(out, mapped.p[i]);
	}
}

void text_normalise(struct buf *out, struct str utf8)
{
	if (utf8.n == 0) return;
	const char *p = utf8.p, *end = p + utf8.n;
	size_t from = out->n;
	while (p < end && !out->failed) {
		const char *q = simple_run(p, end);
		if (q < end && q > p) q = previous_char(q, p);
		add_simple(out, from, p, q);
		p = q;
		if (p == end) break;
		/* The character before, and all up to one that joins nothing before it. */
		size_t n = simple_char(p, end);
		q = other_run(p + n, end);
		add_other(out, from, p, q);
		p = q;
	}
}

struct str text_normalised(struct arena *a, struct str utf8)
{
	BUF_SCOPED b = {0};
	text_normalise(&b, utf8);
	return arena_str(a, buf_str(&b));
}

/* Nothing in it that NFC could change: simple characters, and Latin below the combining marks. */
static bool is_surely_nfc(struct str s)
{
	if (s.n == 0) return true;
	const char *p = s.p, *end = p + s.n;
	while (p < end) {
		p = simple_run(p, end);
		if (p == end) return true;
		unsigned char c = (unsigned char)*p;
		if (c < 0xc3 || c > 0xcb || end - p < 2) return false;
		p += 2;
	}
	return true;
}

void text_nfc(struct buf *out, struct str utf8)
{
	if (is_surely_nfc(utf8)) buf_add(out, utf8);
	else add_mapped(out, utf8, 0);
}

struct str text_nfc_str(struct arena *a, struct str utf8)
{
	if (is_surely_nfc(utf8)) return utf8;
	BUF_SCOPED b = {0};
	add_mapped(&b, utf8, 0);
	return arena_str(a, buf_str(&b));
}

static void add_title_case(struct buf *out, const char *p, const char *end)
{
	while (p < end) {
		utf8proc_int32_t to[32];
		uint32_t cp;
		size_t n = utf8_decode((struct str){p, (size_t)(end - p)}, &cp);
		if (n == 0) {
			n = 1;
			cp = 0xfffd;
		}
		p += n;
		utf8proc_ssize_t k = utf8proc_decompose_char(utf8proc_totitle((utf8proc_int32_t)cp), to, 32,
			(utf8proc_option_t)(UTF8PROC_COMPAT | UTF8PROC_DECOMPOSE | UTF8PROC_STABLE), NULL);
		if (k < 1 || k > 32) utf8_encode(out, cp);
		else for (utf8proc_ssize_t i = 0; i < k; i++) utf8_encode(out, (uint32_t)to[i]);
	}
}

struct str text_collation_key(struct arena *a, struct str utf8)
{
	BUF_SCOPED out = {0};
	const char *p = utf8.p, *end = utf8.n ? p + utf8.n : p;

	while (p < end) {
		const char *q = simple_run(p, end);
		for (; p < q; p++) buf_byte(&out, ascii_upper(*p));
		p = other_run(q, end);
		add_title_case(&out, q, p);
	}
	return arena_str(a, buf_str(&out));
}
