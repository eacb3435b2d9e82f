/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/cmd_search.c: SEARCH and UID SEARCH (RFC 9051 6.4.4), ESEARCH (RFC 4731), SEARCHRES
 * (RFC 5182), with the MODSEQ of RFC 7162 3.1.5. Messages are looked at in turns; numbers stay
 * fixed meanwhile, since nothing of it is told before the end.
 */
#include "imap/imap_int.h"
#include "imap/search.h"

struct search_run {
	struct search_args args;
	struct search search;
	uint32_t seq;            /* last one looked at */
	struct uid_set found;    /* sequence numbers or UIDs */
	struct uid_set uids;     /* for "$" */
	size_t found_cap, uids_cap;
	uint32_t min, max;       /* UIDs are in min_uid .. */
	uint32_t min_uid, max_uid;
	uint64_t count, modseq, min_modseq, max_modseq;
};

static enum step bad_arguments(struct imap *s, const struct parse *p, enum search_problem problem,
			       const struct search_args *args)
{
	/* RFC 5182 2.1: a failed SAVE leaves "$" empty. */
	if (args->returns & SEARCH_SAVE)
		imap_set_saved(s, (struct uid_set){});
	if (problem == SEARCH_BAD_CHARSET)
		return imap_no(s, "BADCHARSET (US-ASCII UTF-8 EUC-KR ISO-2022-KR CP949)",
			       "Charset is not known");
	return imap_bad_syntax(s, p);
}

static enum step begin(struct imap *s, struct command *c)
{
	struct search_run *r = arena_new_of(s->arena, struct search_run);
	enum search_problem problem;

	if (!parse_search(&c->p, &r->args, &problem))
		return bad_arguments(s, &c->p, problem, &r->args);
	if (r->args.modseq)
		imap_enable_condstore(s);
	r->search = (struct search){.view = s->view, .root = r->args.root, .scratch = s->scratch};
	search_prepare(&r->search, s->saved, s->arena);
	c->state = r;
	return STEP_AGAIN;
}

static void note(struct imap *s, const struct command *c, struct search_run *r, uint32_t seq,
		 const struct msg *m)
{
	uint32_t number = c->uid ? m->uid : seq;
	bool list = !r->args.has_return || r->args.returns & SEARCH_RETURN_ALL;

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
	if (list)
		uid_set_add(s->arena, &r->found, &r->found_cap, number);
	if (r->args.returns & SEARCH_SAVE)
		uid_set_add(s->arena, &r->uids, &r->uids_cap, m->uid);
}

static enum step look(struct imap *s, const struct command *c, struct search_run *r)
{
	uint32_t count = view_count(s->view);
	enum search_cost cost;
	struct msg m;

	while (r->seq < count) {
		uint32_t seq = ++r->seq;
		if (!view_msg(s->view, seq, &m))
			continue;
		if (search_matches(&r->search, seq, &m, &cost))
			note(s, c, r, seq, &m);
		if ((cost > SEARCH_COST_DATE || seq % 1024 == 0) && imap_turn_over(s))
			return STEP_AGAIN;
	}
	return STEP_DONE;
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

static void pair(struct buf *b, const char *word, uint64_t value)
{
	buf_byte(b, ' ');
	buf_add(b, str_of(word));
	buf_byte(b, ' ');
	buf_u64(b, value);
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

/* '* ESEARCH (TAG "A282") UID MIN 2 COUNT 3' */
static void write_esearch(struct imap *s, const struct command *c, const struct search_run *r)
{
	struct buf *b = imap_out(s);
	unsigned wanted = r->args.has_return ? r->args.returns : SEARCH_RETURN_ALL;

	buf_add(b, STR("* ESEARCH (TAG "));
	write_string(b, c->tag, false);
	buf_byte(b, ')');
	if (c->uid)
		buf_add(b, STR(" UID"));
	if (wanted & SEARCH_MIN && r->count)
		pair(b, "MIN", r->min);
	if (wanted & SEARCH_MAX && r->count)
		pair(b, "MAX", r->max);
	if (wanted & SEARCH_RETURN_ALL && r->count) {
		buf_add(b, STR(" ALL "));
		write_uid_set(b, r->found);
	}
	if (wanted & SEARCH_COUNT)
		pair(b, "COUNT", r->count);
	if (r->args.modseq && r->count)
		pair(b, "MODSEQ", returned_modseq(r));
	buf_add(b, STR("\r\n"));
}

/* RFC 5182 2.1: with MIN or MAX and neither ALL nor COUNT, only these are saved. */
static void save(struct imap *s, struct search_run *r)
{
	unsigned with = r->args.returns;
	struct uid_range ends[2];
	size_t n = 0;

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
	if (look(s, c, r) != STEP_DONE)
		return STEP_AGAIN;
	if (r->search.err.kind != ERR_NONE) {
		if (r->args.returns & SEARCH_SAVE)
			imap_set_saved(s, (struct uid_set){});
		return imap_fail(s, &r->search.err);
	}
	if (r->args.returns & SEARCH_SAVE)
		save(s, r);
	/* RFC 9051 6.4.4: with IMAP4rev2 there is no SEARCH response; SAVE alone has none at all. */
	if (r->args.returns != SEARCH_SAVE) {
		if (r->args.has_return || s->enabled & ENABLED_REV2)
			write_esearch(s, c, r);
		else
			write_search(s, r);
	}
	return imap_ok(s, "SEARCH completed");
}
