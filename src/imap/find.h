/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/find.h: looks at all messages of a view in turns, for SEARCH, SORT and THREAD; and what their
 * responses have in common.
 */
#pragma once
#include "imap/ahead.h"
#include "imap/imap_int.h"
#include "imap/search.h"

struct find {
	struct search search;    /* its err: why the answer cannot be given */
	uint32_t seq;            /* last one looked at */
	struct ahead ahead;
	int64_t progress_ms;     /* when progress is told next */
	/* Called for each message that matches, in ascending order. */
	void (*found)(struct imap *s, void *ctx, uint32_t seq, const struct msg *m);
	void *ctx;
};
/* Are there message numbers in it, "$" not counted? */
bool find_has_numbers(const struct search_key *k);
/* false: BAD was written: message numbers under UIDONLY (RFC 9586 3.1). */
bool find_allowed(struct imap *s, const struct search_args *args);
void find_begin(struct imap *s, struct find *f, const struct search_args *args);
enum step find_step(struct imap *s, struct find *f); /* STEP_DONE, or STEP_AGAIN */
/* The tagged reply to arguments that do not parse, and to a failed search. */
enum step find_bad_arguments(struct imap *s, const struct parse *p, enum search_problem problem,
			     const struct search_args *args);
enum step find_failed(struct imap *s, const struct find *f, const struct search_args *args);

/* '* ESEARCH (TAG "A282") UID', and a pair of it */
void esearch_begin(struct imap *s, const struct command *c);
/* '* ESEARCH (TAG "A282" MAILBOX "x" UIDVALIDITY 1) UID' of the view (RFC 7377) */
void esearch_begin_mailbox(struct imap *s, const struct command *c);
void esearch_pair(struct buf *b, const char *word, uint64_t value);
/* " PARTIAL (1:500 ", up to the results; and " RELEVANCY (100 100)" for n of them */
void esearch_partial(struct buf *b, struct partial p);
void esearch_relevancy(struct buf *b, uint64_t n);
