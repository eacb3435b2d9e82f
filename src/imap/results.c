/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* imap/results.c: see imap/results.h. */
#include "imap/results.h"

enum { LISTS = SEARCH_RETURN_ALL | SEARCH_PARTIAL | SEARCH_RELEVANCY };

void results_note(struct imap *s, void *results, uint32_t seq, const struct msg *m)
{
	struct results *r = results;
	uint32_t number = r->uid ? m->uid : seq;

	if (!r->count++) {
		r->min = number;
		r->min_uid = m->uid;
		r->min_modseq = m->modseq;
	}
	r->max = number;
	r->max_uid = m->uid;
	r->max_modseq = m->modseq;
	if (m->modseq > r->modseq)
		r->modseq = m->modseq;
	if (!r->args->has_return || r->args->returns & LISTS)
		uid_set_add(s->arena, &r->found, &r->found_cap, number);
	if (r->args->returns & (SEARCH_SAVE | SEARCH_UPDATE))
		uid_set_add(s->arena, &r->uids, &r->uids_cap, m->uid);
}

/* RFC 7162 3.1.5: of what is returned. */
static uint64_t returned_modseq(const struct results *r)
{
	unsigned only = r->args->returns & ~(unsigned)SEARCH_SAVE;

	if (only == SEARCH_MIN)
		return r->min_modseq;
	if (only == SEARCH_MAX)
		return r->max_modseq;
	if (only == (SEARCH_MIN | SEARCH_MAX))
		return r->min_modseq > r->max_modseq ? r->min_modseq : r->max_modseq;
	return r->modseq;
}

static void write_partial(struct imap *s, const struct results *r)
{
	struct buf *b = imap_out(s);
	struct uid_set part = partial_of(r->found, r->args->partial, s->arena);

	esearch_partial(b, r->args->partial);
	if (part.n)
		write_uid_set(b, part);
	else
		buf_add(b, STR("NIL"));
	buf_byte(b, ')');
}

static uint64_t listed(struct imap *s, const struct results *r)
{
	return r->args->returns & SEARCH_PARTIAL
		       ? uid_set_count(partial_of(r->found, r->args->partial, s->arena))
		       : r->count;
}

void results_write(struct imap *s, const struct results *r)
{
	struct buf *b = imap_out(s);
	unsigned wanted = r->args->has_return ? r->args->returns : SEARCH_RETURN_ALL;

	if (wanted & SEARCH_MIN && r->count)
		esearch_pair(b, "MIN", r->min);
	if (wanted & SEARCH_MAX && r->count)
		esearch_pair(b, "MAX", r->max);
	if (wanted & SEARCH_RETURN_ALL && r->count) {
		buf_add(b, STR(" ALL "));
		write_uid_set(b, r->found);
	}
	if (wanted & SEARCH_PARTIAL)
		write_partial(s, r);
	if (wanted & SEARCH_RELEVANCY && r->count)
		esearch_relevancy(b, listed(s, r));
	if (wanted & SEARCH_COUNT)
		esearch_pair(b, "COUNT", r->count);
	if (r->args->modseq && r->count)
		esearch_pair(b, "MODSEQ", returned_modseq(r));
	buf_add(b, STR("\r\n"));
}
