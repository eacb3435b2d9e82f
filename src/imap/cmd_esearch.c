/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/cmd_esearch.c: ESEARCH, a search in several mailboxes (MULTISEARCH, RFC 7377). One after the
 * other takes the place of the selected one for as long as it is looked at; nothing of the selected
 * one is told meanwhile.
 */
#include "imap/esearch.h"
#include "imap/results.h"
#include "imap/stream.h"

struct esearch_run {
	struct esearch_args args;
	struct view *selected;   /* what the session has selected; NULL: nothing */
	bool swapped;            /* s->view is one of ours */
	struct imap *s;
	struct str *names;
	size_t n, at;
	struct find find;
	struct results results;
};

/* ---- which mailboxes ------------------------------------------------------------------------- */

static bool below(struct str name, struct str top, bool one)
{
	if (!str_starts(name, top))
		return false;
	if (name.n == top.n)
		return true;
	return name.p[top.n] == '/' && (!one || !str_has_byte(str_from(name, top.n + 1), '/'));
}

static bool source_has(const struct esearch_source *src, const struct mailbox_entry *e)
{
	switch (src->kind) {
	case SOURCE_SELECTED:
		return false;
	case SOURCE_INBOXES:
		return str_eq(e->name, STR("INBOX"));
	case SOURCE_PERSONAL:
		return true;
	case SOURCE_SUBSCRIBED:
		return e->attrs & MAILBOX_SUBSCRIBED;
	case SOURCE_SUBTREE:
	case SOURCE_SUBTREE_ONE:
		for (size_t i = 0; i < src->names_n; i++)
			if (below(e->name, src->names[i], src->kind == SOURCE_SUBTREE_ONE))
				return true;
		return false;
	case SOURCE_MAILBOXES:
		for (size_t i = 0; i < src->names_n; i++)
			if (str_eq(e->name, src->names[i]))
				return true;
		return false;
	}
	return false;
}

/* Each mailbox once, in the order of LIST. */
static bool choose(struct imap *s, struct esearch_run *r, struct err *err)
{
	struct mailbox_entry *list;
	size_t n;

	if (!mailbox_list(imap_account(s), s->arena, &list, &n, err))
		return false;
	r->names = arena_array(s->arena, n + 1, sizeof(*r->names));
	for (size_t i = 0; i < n; i++) {
		bool wanted = false;
		if (list[i].attrs & (MAILBOX_NOSELECT | MAILBOX_NONEXISTENT))
			continue;
		for (size_t k = 0; k < r->args.sources_n && !wanted; k++)
			wanted = source_has(&r->args.sources[k], &list[i]) ||
				 (r->args.sources[k].kind == SOURCE_SELECTED && s->view &&
				  str_eq(view_name(s->view), list[i].name));
		if (wanted)
			r->names[r->n++] = list[i].name;
	}
	return true;
}

/* ---- one of them -------------------------------------------------------------------------------- */

static void leave(struct esearch_run *r)
{
	if (!r->swapped)
		return;
	if (r->s->view != r->selected)
		view_close(r->s->view);
	r->s->view = r->selected;
	r->swapped = false;
}

static void release(void *run) { leave(run); }

/* false: it is passed over. */
static bool enter(struct imap *s, struct esearch_run *r)
{
	struct str name = r->names[r->at];
	struct view *v = NULL;
	struct err err;

	if (r->selected && str_eq(view_name(r->selected), name))
		v = r->selected;
	else if (!view_open(imap_account(s), name, true, &v, &err))
		return false; /* gone meanwhile */
	r->swapped = true;
	s->view = v;
	r->results = (struct results){.args = &r->args.search, .uid = true};
	r->find = (struct find){.found = results_note, .ctx = &r->results};
	find_begin(s, &r->find, &r->args.search);
	return true;
}

/* RFC 7377 2.1: of a mailbox in which nothing matches nothing is told. */
static void tell(struct imap *s, const struct command *c, const struct esearch_run *r)
{
	if (!r->results.count)
		return;
	esearch_begin_mailbox(s, c);
	results_write(s, &r->results);
}

/* ---- the command --------------------------------------------------------------------------------- */

static enum step begin(struct imap *s, struct command *c)
{
	struct esearch_run *r = arena_new_of(s->arena, struct esearch_run);
	enum search_problem problem;
	struct err err;

	if (!parse_esearch(&c->p, &r->args, &problem))
		return find_bad_arguments(s, &c->p, problem, &r->args.search);
	if (!r->args.sources_n && !s->view)
		return imap_bad(s, "No mailbox is selected");
	if (r->args.search.returns & (SEARCH_SAVE | SEARCH_UPDATE))
		return imap_bad(s, "SAVE and UPDATE are of SEARCH");
	if (find_has_numbers(r->args.search.root))
		return imap_bad(s, "Message numbers mean nothing in several mailboxes");
	if (!r->args.sources_n) {
		r->args.sources = arena_new_of(s->arena, struct esearch_source);
		r->args.sources_n = 1; /* the selected one */
	}
	if (r->args.search.modseq)
		imap_enable_condstore(s);
	if (!choose(s, r, &err))
		return imap_fail(s, &err);
	r->s = s;
	r->selected = s->view;
	c->release = release;
	c->state = r;
	return STEP_AGAIN;
}

enum step cmd_esearch(struct imap *s, struct command *c)
{
	if (!c->state) {
		enum step step = begin(s, c);
		if (step != STEP_AGAIN)
			return step;
	}
	struct esearch_run *r = c->state;
	for (; r->at < r->n; r->at++) {
		if (imap_out_pending(s) > CONN_OUT_HIGH)
			return STEP_OUTPUT;
		if (!r->swapped && imap_turn_over(s))
			return STEP_AGAIN;
		if (!r->swapped && !enter(s, r))
			continue;
		if (find_step(s, &r->find) != STEP_DONE)
			return STEP_AGAIN;
		struct err err = r->find.search.err;
		if (err.kind == ERR_NONE)
			tell(s, c, r);
		leave(r);
		if (err.kind != ERR_NONE)
			return imap_fail(s, &err);
	}
	return imap_ok(s, "ESEARCH completed");
}
