/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/cmd_search.c: SEARCH and UID SEARCH (RFC 9051 6.4.4), ESEARCH (RFC 4731), SEARCHRES
 * (RFC 5182), PARTIAL (RFC 9394), with the MODSEQ of RFC 7162 3.1.5.
 */
#include "imap/context.h"

enum { LISTS = SEARCH_RETURN_ALL | SEARCH_PARTIAL | SEARCH_RELEVANCY };

struct search_run {
	struct search_args args;
	struct parse arguments;
	struct find find;
	struct uid_set found;    /* sequence numbers or UIDs */
	struct uid_set uids;     /* for "$" */
	size_t found_cap, uids_cap;
	bool uid;
	uint32_t min, max;       /* UIDs are in min_uid .. */
	uint32_t min_uid, max_uid;
	uint64_t count, modseq, min_modseq, max_modseq;
};

static void note(struct imap *s, void *run, uint32_t seq, const struct msg *m)
{
	struct search_run *r = run;
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
	if (!r->args.has_return || r->args.returns & LISTS)
		uid_set_add(s->arena, &r->found, &r->found_cap, number);
	if (r->args.returns & (SEARCH_SAVE | SEARCH_UPDATE))
		uid_set_add(s->arena, &r->uids, &r->uids_cap, m->uid);
}

static enum step begin(struct imap *s, struct command *c)
{
	struct search_run *r = arena_new_of(s->arena, struct search_run);
	enum search_problem problem;

	r->arguments = c->p;
	if (!parse_search(&c->p, &r->args, &problem))
		return find_bad_arguments(s, &c->p, problem, &r->args);
	if (!find_allowed(s, &r->args))
		return STEP_DONE;
	r->uid = c->uid;
	r->find.found = note;
	r->find.ctx = r;
	find_begin(s, &r->find, &r->args);
	c->state = r;
	return STEP_AGAIN;
}

/* "* SEARCH 2 3 (MODSEQ 917)" */
static void write_search(struct imap *s, const struct search_run *r)
{
	struct buf *b = imap_out(s);

	buf_add(b, STR("* SEARCH"));
	for (size_t i = 0; i < r->found.n; i++)
		for (uint64_t n = r->found.r[i].first; n <= r->found.r[i].last; n++) {
			char *start = buf_room(b, 16), *p = start;
			*p++ = ' ';
			p = put_u64(p, n);
			b->n += (size_t)(p - start);
		}
	if (r->args.modseq && r->count)
		buf_fmt(b, " (MODSEQ %llu)", (unsigned long long)r->modseq);
	buf_add(b, STR("\r\n"));
}

/* RFC 7162 3.1.5: of what is returned. */
static uint64_t returned_modseq(const struct search_run *r)
{
	unsigned only = r->args.returns & ~(unsigned)SEARCH_SAVE;

	if (only == SEARCH_MIN)
		return r->min_modseq;
	if (only == SEARCH_MAX)
		return r->max_modseq;
	if (only == (SEARCH_MIN | SEARCH_MAX))
		return r->min_modseq > r->max_modseq ? r->min_modseq : r->max_modseq;
	return r->modseq;
}

static void write_partial(struct imap *s, const struct search_run *r)
{
	struct buf *b = imap_out(s);
	struct uid_set part = partial_of(r->found, r->args.partial, s->arena);

	esearch_partial(b, r->args.partial);
	if (part.n)
		write_uid_set(b, part);
	else
		buf_add(b, STR("NIL"));
	buf_byte(b, ')');
}

static uint64_t listed(struct imap *s, const struct search_run *r)
{
	return r->args.returns & SEARCH_PARTIAL
		       ? uid_set_count(partial_of(r->found, r->args.partial, s->arena))
		       : r->count;
}

static void write_esearch(struct imap *s, const struct command *c, const struct search_run *r)
{
	struct buf *b = imap_out(s);
	unsigned wanted = r->args.has_return ? r->args.returns : SEARCH_RETURN_ALL;

	esearch_begin(s, c);
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
	if (r->args.modseq && r->count)
		esearch_pair(b, "MODSEQ", returned_modseq(r));
	buf_add(b, STR("\r\n"));
}

/* RFC 5182 2.1: with MIN or MAX and neither ALL nor COUNT, only these are saved. */
static void save(struct imap *s, struct search_run *r)
{
	unsigned with = r->args.returns;
	struct uid_range ends[2];
	size_t n = 0;

	if (with & SEARCH_PARTIAL) { /* RFC 9394 3.1 */
		imap_set_saved(s, partial_of(r->uids, r->args.partial, s->arena));
		return;
	}
	if (with & (SEARCH_MIN | SEARCH_MAX) && !(with & (SEARCH_RETURN_ALL | SEARCH_COUNT))) {
		if (r->count && with & SEARCH_MIN)
			ends[n++] = (struct uid_range){r->min_uid, r->min_uid};
		if (r->count && with & SEARCH_MAX)
			ends[n++] = (struct uid_range){r->max_uid, r->max_uid};
		imap_set_saved(s, uid_set_sort(ends, n));
		return;
	}
	imap_set_saved(s, r->uids);
}

enum step cmd_search(struct imap *s, struct command *c)
{
	if (!c->state) {
		enum step step = begin(s, c);
		if (step != STEP_AGAIN)
			return step;
	}
	struct search_run *r = c->state;
	if (find_step(s, &r->find) != STEP_DONE)
		return STEP_AGAIN;
	if (r->find.search.err.kind != ERR_NONE)
		return find_failed(s, &r->find, &r->args);
	if (r->args.returns & SEARCH_SAVE)
		save(s, r);
	if (r->args.returns & SEARCH_UPDATE)
		context_new(s, c, r->arguments, r->uids, NULL);
	/* RFC 9051 6.4.4: with IMAP4rev2 there is no SEARCH response; SAVE alone has none at all. */
	if (r->args.returns != SEARCH_SAVE) {
		if (r->args.has_return || s->enabled & ENABLED_REV2)
			write_esearch(s, c, r);
		else
			write_search(s, r);
	}
	return imap_ok(s, "SEARCH completed");
}
