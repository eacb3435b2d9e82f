/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * base/str.h: the string of pabal, a view of bytes that somebody else owns.
 *
 * Any byte is allowed, NUL included; there is no terminator. Passed by value. A view lives as
 * long as the bytes it points into: an arena, a literal, a buffer that does not grow meanwhile.
 * Comparisons that ignore case know ASCII only (RFC 5321 2.4, RFC 9051 "i;ascii-casemap").
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct str {
	const char *p; /* may be NULL when n is 0 */
	size_t n;
};

#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})
#define STR_NONE ((struct str){NULL, 0})
/* For printf-like functions: log_info("x %.*s", STR_ARG(s)). */
#define STR_ARG(s) (int)(s).n, (s).p

struct str str_of(const char *cstr); /* NULL gives the empty string */
bool str_eq(struct str a, struct str b);
bool str_eq_nocase(struct str a, struct str b);
int str_cmp(struct str a, struct str b); /* bytewise; for sorting */
int str_cmp_nocase(struct str a, struct str b);
bool str_starts(struct str s, struct str prefix);
bool str_starts_nocase(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
bool str_ends_nocase(struct str s, struct str suffix);

#define STR_NPOS ((size_t)-1)
size_t str_find_byte(struct str s, char c);       /* index or STR_NPOS */
size_t str_find_last_byte(struct str s, char c);  /* index or STR_NPOS */
size_t str_find(struct str s, struct str needle); /* index or STR_NPOS */
size_t str_find_nocase(struct str s, struct str needle);
bool str_has_byte(struct str s, char c);

/* Both clamp: from beyond the end gives the empty string. */
struct str str_from(struct str s, size_t from);
struct str str_sub(struct str s, size_t from, size_t n);
struct str str_trim(struct str s); /* SP and HTAB, CR and LF, both ends */

/* Cuts *rest at the first sep: the part before it is returned, *rest is what follows. Without
 * sep the whole is returned and *rest becomes empty with p == NULL. Loop: while (rest.p) ... */
struct str str_cut(struct str *rest, char sep);

/* Whole-string decimal numbers: no sign, no blanks, at most max. */
bool str_u64(struct str s, uint64_t max, uint64_t *out);

uint64_t str_hash(struct str s);        /* not for keys an enemy chooses: see base/map.h */
bool str_has_ctl(struct str s);         /* any byte below 0x20 or 0x7f */
bool str_is_ascii(struct str s);        /* no byte above 0x7f */

/* ASCII character classes, never locale. */
enum ascii_class {
	ASCII_UPPER = 1, ASCII_LOWER = 2, ASCII_DIGIT = 4, ASCII_XDIGIT = 8,
	ASCII_ATEXT = 16,  /* RFC 5322 3.2.3 */
	ASCII_SPACE = 32,  /* SP HTAB */
	ASCII_CTL = 64,
};
extern const unsigned char ascii_class_table[256];
static inline bool ascii_is(unsigned char c, int classes) { return ascii_class_table[c] & classes; }
static inline char ascii_lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }
static inline char ascii_upper(char c) { return c >= 'a' && c <= 'z' ? (char)(c - 32) : c; }
