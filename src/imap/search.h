/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/search.h: SEARCH programs (RFC 9051 6.4.4, RFC 7162 3.1.5, RFC 8474 4, RFC 8514 4.3), parsed and
 * evaluated. SORT and THREAD (RFC 5256) have them, too. FUZZY (RFC 6203) finds what matches exactly.
 *
 * A program is a tree. A message is tried at rising cost until the answer is known: first what
 * memory has (flags, UID, size), then the index's date, then its summary, then the message's
 * file. Text keys compare as mime/text.h says: decoded, NFC, folded, substring.
 */
#pragma once
#include "imap/parse.h"

enum search_kind {
	SEARCH_ALL, SEARCH_AND, SEARCH_OR, SEARCH_NOT,
	SEARCH_FLAG,      /* (flags & mask) == want */
	SEARCH_KEYWORD,
	SEARCH_SEQ, SEARCH_UID,
	SEARCH_LARGER, SEARCH_SMALLER, SEARCH_MODSEQ,
	SEARCH_BEFORE, SEARCH_ON, SEARCH_SINCE,             /* INTERNALDATE, day */
	SEARCH_OLDER, SEARCH_YOUNGER,                       /* RFC 5032, number of seconds */
	SEARCH_EMAILID, SEARCH_THREADID,
	SEARCH_SAVED_BEFORE, SEARCH_SAVED_ON, SEARCH_SAVED_SINCE, /* RFC 8514 */
	SEARCH_SENT_BEFORE, SEARCH_SENT_ON, SEARCH_SENT_SINCE,
	SEARCH_SUBJECT, SEARCH_FROM, SEARCH_TO, SEARCH_CC, SEARCH_BCC, SEARCH_HEADER,
	SEARCH_BODY, SEARCH_TEXT,
};
struct search_key {
	enum search_kind kind;
	struct search_key *next;     /* in a list: SEARCH_AND */
	struct search_key *a, *b;    /* AND: a is the list; OR: both; NOT: a */
	unsigned mask, want;
	struct str name;             /* keyword, header field name, id */
	struct str text;             /* normalised */
	struct sequence_set set;
	struct uid_set resolved;     /* of set: sequence numbers or UIDs */
	uint32_t keyword_bit;        /* 0: no message has it */
	uint64_t number;
	int32_t day;
};
enum search_return {
	SEARCH_MIN = 1,
	SEARCH_MAX = 2,
	SEARCH_RETURN_ALL = 4,
	SEARCH_COUNT = 8,
	SEARCH_SAVE = 16,
	SEARCH_PARTIAL = 32,         /* RFC 9394, RFC 5267 */
	SEARCH_RELEVANCY = 64,       /* RFC 6203 */
	SEARCH_UPDATE = 128,         /* RFC 5267 */
	SEARCH_CONTEXT = 256,        /* a hint, not needed */
};
/* Results first..last, counted from 1, or from the end when negative. */
struct partial {
	bool negative;
	uint32_t first, last;        /* first <= last */
};
enum sort_key {
	SORT_ARRIVAL, SORT_CC, SORT_DATE, SORT_FROM, SORT_SIZE, SORT_SUBJECT, SORT_TO,
	SORT_DISPLAYFROM, SORT_DISPLAYTO, /* RFC 5957 */
	SORT_RELEVANCY,
	SORT_KEYS,
};
struct sort_criterion {
	enum sort_key key;
	bool reverse;
};
enum thread_algorithm { THREAD_ORDEREDSUBJECT, THREAD_REFERENCES, THREAD_REFS };
struct search_args {
	bool has_return;
	unsigned returns;            /* enum search_return */
	struct partial partial;
	bool modseq;                 /* a MODSEQ key is in it */
	struct search_key *root;
	struct sort_criterion sort[SORT_KEYS]; /* of SORT; each key once: later ones decide nothing */
	size_t sort_n;
	enum thread_algorithm thread; /* of THREAD */
};
enum search_problem { SEARCH_BAD, SEARCH_BAD_CHARSET };
enum { SEARCH_KEYS_MAX = 5000 };

/* [SP "RETURN" SP (...)] SP [charset SP] search-key *(SP search-key) */
bool parse_search(struct parse *p, struct search_args *out, enum search_problem *out_problem);
/* [RETURN ...] (criteria) charset keys */
bool parse_sort(struct parse *p, struct search_args *out, enum search_problem *out_problem);
/* algorithm charset keys */
bool parse_thread(struct parse *p, struct search_args *out, enum search_problem *out_problem);
/* partial-range = nz-number ":" nz-number / "-" nz-number ":" "-" nz-number */
bool parse_partial(struct parse *p, struct partial *out);
/* The part of a set, counting its members. Lives in a. */
struct uid_set partial_of(struct uid_set s, struct partial p, struct arena *a);
/* Indexes of the part in a list of n: *out_first .. *out_end - 1. */
void partial_indexes(struct partial p, uint64_t n, uint64_t *out_first, uint64_t *out_end);

struct ahead;

/* ---- evaluation ------------------------------------------------------------------------- */
enum search_answer { SEARCH_NO, SEARCH_YES, SEARCH_DEAR }; /* DEAR: cannot be said at this cost */
enum search_cost { SEARCH_COST_MEMORY, SEARCH_COST_DATE, SEARCH_COST_SUMMARY, SEARCH_COST_FILE };

struct search {
	struct view *view;
	struct search_key *root;
	struct arena *scratch; /* reset after each message that was loaded */
	struct ahead *ahead;   /* where summaries are looked for; NULL: one by one */
	int64_t now;           /* of OLDER and YOUNGER */
	bool gone;             /* some messages were expunged: they match nothing */
	struct err err;        /* first failure to read a message: the answer cannot be given */
};
/* Resolves sets and keywords against the view, "$" being saved. What it makes lives in a. */
void search_prepare(struct search *s, struct uid_set saved, struct arena *a);
/* Does this message match? *out_cost says what it took. */
bool search_matches(struct search *s, uint32_t seq, const struct msg *m, enum search_cost *out_cost);
