/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * base/scan.h: reading bytes from left to right without ever passing the end.
 *
 * Every function either succeeds and moves on, or fails and leaves the scan where it was.
 * Parsers are one function per ABNF rule over a struct scan (STYLE 7).
 */
#pragma once
#include "base/str.h"

struct scan {
	const char *p, *end;
};

static inline struct scan scan_of(struct str s) { return (struct scan){s.p, s.n ? s.p + s.n : s.p}; }
static inline size_t scan_left(const struct scan *s) { return (size_t)(s->end - s->p); }
static inline bool scan_end(const struct scan *s) { return s->p == s->end; }
static inline struct str scan_rest(const struct scan *s) { return (struct str){s->p, scan_left(s)}; }
/* -1 at the end, else the byte as 0..255 */
static inline int scan_peek(const struct scan *s) { return s->p < s->end ? (unsigned char)*s->p : -1; }
static inline int scan_peek_at(const struct scan *s, size_t i)
{
	return scan_left(s) > i ? (unsigned char)s->p[i] : -1;
}

bool scan_byte(struct scan *s, char c);
bool scan_byte_nocase(struct scan *s, char c);
bool scan_lit(struct scan *s, struct str lit);
bool scan_lit_nocase(struct scan *s, struct str lit);
bool scan_take(struct scan *s, size_t n, struct str *out);
bool scan_skip(struct scan *s, size_t n);
struct str scan_until_byte(struct scan *s, char c);         /* may be empty; stops before c or at the end */
struct str scan_while_class(struct scan *s, int classes);   /* ascii_class bits; may be empty */
struct str scan_while(struct scan *s, bool (*is)(unsigned char c)); /* may be empty */
bool scan_u32(struct scan *s, uint32_t max, uint32_t *out); /* 1*DIGIT, refuses above max */
bool scan_u64(struct scan *s, uint64_t max, uint64_t *out);
void scan_blanks(struct scan *s); /* SP and HTAB, any number */

/* Little-endian integers of disk and IPC rows; the pair of buf_le*. */
bool scan_le16(struct scan *s, uint16_t *out);
bool scan_le32(struct scan *s, uint32_t *out);
bool scan_le64(struct scan *s, uint64_t *out);
bool scan_le_str(struct scan *s, size_t max, struct str *out); /* a view */
