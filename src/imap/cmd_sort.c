/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/cmd_sort.c: SORT and UID SORT (RFC 5256), with ESORT (RFC 5267), PARTIAL, and MODSEQ as SEARCH
 * has it.
 */
#include "imap/context.h"
#include "imap/sort.h"
#include <stdlib.h>

struct sort_run {
	struct search_args args;
	struct parse arguments;
	struct find find;
	struct sorting sorting;
	bool uid, needs_summary;
	uint64_t modseq;
};

static bool load(struct imap *s, struct sort_run *r, uint32_t seq, const struct msg *m, struct err *err)
{
	struct msg_details d;
	struct summary sum = {};
	int64_t date;

	if (!view_internaldate(s->view, m->uid, &date, err))
		return false;
	if (!r->needs_summary || ahead_summary(&r->find.ahead, seq, m->uid, &sum)) {
		sorting_add(&r->sorting, seq, m, date, &sum);
		return true;
	}
	if (!view_details(s->view, m->uid, s->scratch, &d, err) || !summary_decode(d.summary, &sum, err))
		return false;
	sorting_add(&r->sorting, seq, m, date, &sum);
	return true;
}

static void note(struct imap *s, void *run, uint32_t seq, const struct msg *m)
{
	struct sort_run *r = run;
	struct err err;

	if (!load(s, r, seq, m, &err)) {
		if (err.kind != ERR_GONE && err.kind != ERR_NOT_FOUND && r->find.search.err.kind == ERR_NONE)
			r->find.search.err = err;
	} else if (m->modseq > r->modseq) {
		r->modseq = m->modseq;
	}
	arena_reset(s->scratch);
}

static enum step begin(struct imap *s, struct command *c)
{
	struct sort_run *r = arena_new_of(s->arena, struct sort_run);
	enum search_problem problem;

	r->arguments = c->p;
	if (!parse_sort(&c->p, &r->args, &problem))
		return find_bad_arguments(s, &c->p, problem, &r->args);
	if (!find_allowed(s, &r->args))
		return STEP_DONE;
	r->uid = c->uid;
	r->needs_summary = sort_needs_summary(r->args.sort, r->args.sort_n);
	r->sorting = (struct sorting){
		.criteria = r->args.sort, .criteria_n = r->args.sort_n, .a = s->arena};
	r->find.found = note;
	r->find.ctx = r;
	find_begin(s, &r->find, &r->args);
	c->state = r;
	return STEP_AGAIN;
}

static uint32_t number_at(const struct sort_run *r, uint64_t i)
{
	return r->uid ? r->sorting.all[i].uid : r->sorting.all[i].seq;
}

static void write_sort(struct imap *s, const struct sort_run *r)
{
	struct buf *b = imap_out(s);

	buf_add(b, STR("* SORT"));
	for (size_t i = 0; i < r->sorting.n; i++) {
		buf_byte(b, ' ');
		buf_u64(b, number_at(r, i));
	}
	if (r->args.modseq && r->sorting.n)
		buf_fmt(b, " (MODSEQ %llu)", (unsigned long long)r->modseq);
	buf_add(b, STR("\r\n"));
}

/* In order: only ascending runs become ranges (RFC 5267 3). */
static void write_ordered(struct buf *b, const struct sort_run *r, uint64_t first, uint64_t end)
{
	for (uint64_t i = first; i < end; i++) {
		uint64_t from = i;
		while (i + 1 < end && number_at(r, i + 1) == number_at(r, i) + 1)
			i++;
		if (from != first)
			buf_byte(b, ',');
		buf_u64(b, number_at(r, from));
		if (i != from) {
			buf_byte(b, ':');
			buf_u64(b, number_at(r, i));
		}
	}
}

static void write_esort(struct imap *s, const struct command *c, const struct sort_run *r)
{
	struct buf *b = imap_out(s);
	uint64_t n = r->sorting.n, first = 0, end = n;

	esearch_begin(s, c);
	if (r->args.returns & SEARCH_MIN && n) /* RFC 5267 3: first and last in the order */
		esearch_pair(b, "MIN", number_at(r, 0));
	if (r->args.returns & SEARCH_MAX && n)
		esearch_pair(b, "MAX", number_at(r, n - 1));
	if (r->args.returns & SEARCH_RETURN_ALL && n) {
		buf_add(b, STR(" ALL "));
		write_ordered(b, r, 0, n);
	}
	if (r->args.returns & SEARCH_PARTIAL) {
		partial_indexes(r->args.partial, n, &first, &end);
		esearch_partial(b, r->args.partial);
		if (first == end)
			buf_add(b, STR("NIL"));
		write_ordered(b, r, first, end);
		buf_byte(b, ')');
	}
	if (r->args.returns & SEARCH_RELEVANCY && n)
		esearch_relevancy(b, end - first);
	if (r->args.returns & SEARCH_COUNT)
		esearch_pair(b, "COUNT", n);
	if (r->args.modseq && n)
		esearch_pair(b, "MODSEQ", r->modseq);
	buf_add(b, STR("\r\n"));
}

static int uid_order(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* "$" is a set: its order is not kept. */
static void save(struct imap *s, const struct sort_run *r)
{
	struct uid_set uids = {};
	uint64_t first = 0, end = r->sorting.n;
	size_t cap = 0;

	if (r->args.returns & SEARCH_PARTIAL)
		partial_indexes(r->args.partial, end, &first, &end);
	size_t n = (size_t)(end - first);
	uint32_t *list = arena_array(s->arena, n + 1, sizeof(*list));
	for (size_t i = 0; i < n; i++)
		list[i] = r->sorting.all[first + i].uid;
	qsort(list, n, sizeof(*list), uid_order);
	for (size_t i = 0; i < n; i++)
		uid_set_add(s->arena, &uids, &cap, list[i]);
	imap_set_saved(s, uids);
}

enum step cmd_sort(struct imap *s, struct command *c)
{
	if (!c->state) {
		enum step step = begin(s, c);
		if (step != STEP_AGAIN)
			return step;
	}
	struct sort_run *r = c->state;
	const struct uid_set none = {};
	if (find_step(s, &r->find) != STEP_DONE)
		return STEP_AGAIN;
	if (r->find.search.err.kind != ERR_NONE)
		return find_failed(s, &r->find, &r->args);
	sorting_sort(&r->sorting);
	if (r->args.returns & SEARCH_SAVE)
		save(s, r);
	if (r->args.returns & SEARCH_UPDATE)
		context_new(s, c, r->arguments, none, &r->sorting);
	if (!r->args.has_return)
		write_sort(s, r);
	else if (r->args.returns != SEARCH_SAVE)
		write_esort(s, c, r);
	return imap_ok(s, "SORT completed");
}
