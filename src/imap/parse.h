/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/parse.h: the grammar that IMAP commands share (RFC 9051 9, with what RFC 3501 9 had more).
 *
 * A command is parsed when all of it is there: its line or lines without the last line end, each
 * literal standing in it as {n}CRLF and n octets, as they came. Commands' own grammars are in
 * their cmd_*.c, fetch.h, search.h and list.h, built from these functions: one per rule, each
 * succeeds and moves on, or fails, leaves the scan where it was and says why in p->why. Results
 * are views of the text where nothing had to be decoded, else they live in p->a.
 */
#pragma once
#include "base/arena.h"
#include "base/scan.h"
#include "store/mailbox.h"

struct parse {
	struct scan s;
	struct arena *a;
	bool utf8;        /* UTF8=ACCEPT or IMAP4rev2 is on: mailbox names are UTF-8, not modified UTF-7 */
	const char *why;  /* static sentence for BAD, of the failure that got farthest */
	const char *why_at;
	bool bad_name;    /* it was a mailbox name that cannot be one: NO, not BAD */
};
struct parse parse_of(struct str text, struct arena *a, bool utf8);
bool parse_fail(struct parse *p, const char *why); /* false */

enum {
	PARSE_DEPTH_MAX = 50,     /* of nested search keys */
	PARSE_LITERAL_DIGITS = 10,
	MAILBOX_NAME_MAX = 1024,  /* octets in UTF-8 */
	KEYWORD_MAX = 255,
};

bool parse_end(struct parse *p);                /* nothing follows */
bool parse_sp(struct parse *p);                 /* exactly one SP */
bool parse_char(struct parse *p, char c);
bool parse_word(struct parse *p, struct str word); /* without case; more atom characters must not follow */
bool parse_tag(struct parse *p, struct str *out);
bool parse_atom(struct parse *p, struct str *out);
bool parse_astring(struct parse *p, struct str *out);
bool parse_string(struct parse *p, struct str *out);    /* quoted or literal */
bool parse_nstring(struct parse *p, struct str *out);   /* NIL: p NULL */
bool parse_number(struct parse *p, uint32_t *out);
bool parse_nz_number(struct parse *p, uint32_t *out);
bool parse_number64(struct parse *p, uint64_t *out);    /* at most 2^63 - 1 */
/* astring to UTF-8, NFC; INBOX in capitals. Fails for names that are no valid text in the present
 * encoding or too long; whether it may be created is the store's to say. */
bool parse_mailbox(struct parse *p, struct str *out);
/* UTF-8 without controls to a mailbox's name: NFC, INBOX in capitals. */
struct str mailbox_of_text(struct arena *a, struct str utf8);
/* A name or pattern as it came in, to UTF-8. false: not valid. */
bool mailbox_decode(struct parse *p, struct str raw, bool pattern, struct str *out);

/* ---- literals --------------------------------------------------------------------------- */
struct literal {
	uint64_t n;
	bool binary;   /* ~{n}: literal8 (RFC 3516) */
	bool nonsync;  /* {n+} (RFC 7888) */
	bool too_big;  /* the number has no meaning: more digits than PARSE_LITERAL_DIGITS */
};
/* Is there a literal's header at the end of this line (without its line end)? start: where it is. */
bool literal_at_end(struct str line, struct literal *out, size_t *out_start);

/* ---- sequence sets ---------------------------------------------------------------------- */
struct sequence_set {
	struct uid_range *r; /* as written; 0 stands for "*" */
	size_t n;
	bool saved;          /* "$" (SEARCHRES) */
};
bool parse_sequence_set(struct parse *p, struct sequence_set *out);
/* Without "*" and "$" (RFC 7162 known-uids). */
bool parse_known_set(struct parse *p, struct uid_set *out);
/* Sorted, merged, "*" put in. */
struct uid_set sequence_set_resolve(const struct sequence_set *s, uint32_t star, struct arena *a);
struct uid_set uid_set_sort(struct uid_range *r, size_t n); /* in place: sorted, merged */
bool uid_set_has(struct uid_set s, uint32_t uid);
void uid_set_add(struct arena *a, struct uid_set *s, size_t *cap, uint32_t uid); /* ascending */
uint64_t uid_set_count(struct uid_set s);

/* ---- flags and dates -------------------------------------------------------------------- */
struct flag_list {
	unsigned flags;             /* enum msg_flag */
	const struct str *keywords; /* as written, none twice */
	size_t keywords_n;
};
bool parse_flag_list(struct parse *p, struct flag_list *out);      /* ( ... ) */
bool parse_store_flags(struct parse *p, struct flag_list *out);    /* with or without parentheses */
bool parse_keyword(struct parse *p, struct str *out);
/* "\Seen" and the like, also "$Forwarded": 0 when it is none of the system flags. */
unsigned flag_of_name(struct str name);
bool parse_date(struct parse *p, int32_t *out_day);                /* days since 1970-01-01 */
bool parse_date_time(struct parse *p, int64_t *out_unix);
