/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/cmd_search.c: SEARCH and UID SEARCH (RFC 9051 6.4.4), ESEARCH (RFC 4731), SEARCHRES
 * (RFC 5182), PARTIAL (RFC 9394), with the MODSEQ of RFC 7162 3.1.5.
 */
#include "imap/context.h"
#include "imap/results.h"

struct search_run {
	struct search_args args;
	struct parse arguments;
	struct find find;
	struct results results;
};

static enum step begin(struct imap *s, struct command *c)
{
	struct search_run *r = arena_new_of(s->arena, struct search_run);
	enum search_problem problem;

	r->arguments = c->p;
	if (!parse_search(&c->p, &r->args, &problem))
		return find_bad_arguments(s, &c->p, problem, &r->args);
	if (!find_allowed(s, &r->args))
		return STEP_DONE;
	r->results = (struct results){.args = &r->args, .uid = c->uid};
	r->find.found = results_note;
	r->find.ctx = &r->results;
	find_begin(s, &r->find, &r->args);
	c->state = r;
	return STEP_AGAIN;
}

/* "* SEARCH 2 3 (MODSEQ 917)" */
static void write_search(struct imap *s, const struct search_run *r)
{
	struct buf *b = imap_out(s);

	buf_add(b, STR("* SEARCH"));
	for (size_t i = 0; i < r->results.found.n; i++)
		for (uint64_t n = r->results.found.r[i].first; n <= r->results.found.r[i].last; n++) {
			char *start = buf_room(b, 16), *p = start;
			*p++ = ' ';
			p = put_u64(p, n);
			b->n += (size_t)(p - start);
		}
	if (r->args.modseq && r->results.count)
		buf_fmt(b, " (MODSEQ %llu)", (unsigned long long)r->results.modseq);
	buf_add(b, STR("\r\n"));
}

static void write_esearch(struct imap *s, const struct command *c, const struct search_run *r)
{
	esearch_begin(s, c);
	results_write(s, &r->results);
}

/* RFC 5182 2.1: with MIN or MAX and neither ALL nor COUNT, only these are saved. */
static void save(struct imap *s, struct search_run *r)
{
	unsigned with = r->args.returns;
	struct uid_range ends[2];
	size_t n = 0;

	if (with & SEARCH_PARTIAL) { /* RFC 9394 3.1 */
		imap_set_saved(s, partial_of(r->results.uids, r->args.partial, s->arena));
		return;
	}
	if (with & (SEARCH_MIN | SEARCH_MAX) && !(with & (SEARCH_RETURN_ALL | SEARCH_COUNT))) {
		if (r->results.count && with & SEARCH_MIN)
			ends[n++] = (struct uid_range){r->results.min_uid, r->results.min_uid};
		if (r->results.count && with & SEARCH_MAX)
			ends[n++] = (struct uid_range){r->results.max_uid, r->results.max_uid};
		imap_set_saved(s, uid_set_sort(ends, n));
		return;
	}
	imap_set_saved(s, r->results.uids);
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
		context_new(s, c, r->arguments, r->results.uids, NULL);
	/* RFC 9051 6.4.4: with IMAP4rev2 there is no SEARCH response; SAVE alone has none at all. */
	if (r->args.returns != SEARCH_SAVE) {
		if (r->args.has_return || s->enabled & ENABLED_REV2)
			write_esearch(s, c, r);
		else
			write_search(s, r);
	}
	return imap_ok(s, "SEARCH completed");
}
