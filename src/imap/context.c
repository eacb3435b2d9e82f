/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/context.c: see imap/context.h. Numbers in the program stay what they were when it began: they
 * become UIDs. A position is 0 for SEARCH, whose order nobody needs to be told; for SORT each message
 * is told with its own.
 */
#include "imap/context.h"
#include "base/mem.h"
#include "mime/summary.h"
#include <stdlib.h>
#include <string.h>

enum {
	SORT_ADDS_MORE = 10000,
	FILES_MAX = 5000, /* opened at one update, for one program */
};

struct context {
	struct context *next;
	struct arena *a;
	struct str tag;
	bool uid, is_sort;
	struct search_args args;
	uint32_t *uids;         /* of SEARCH: heap, ascending */
	size_t n;
	struct sorting sorting; /* of SORT */
	size_t adds;            /* its values are not given back */
	size_t files;           /* opened at this update */
};

static void context_free(struct context *x)
{
	free(x->uids);
	arena_free(x->a);
	free(x);
}

void context_free_all(struct imap *s)
{
	while (s->contexts) {
		struct context *x = s->contexts;
		s->contexts = x->next;
		context_free(x);
	}
}

static bool drop(struct imap *s, struct str tag)
{
	for (struct context **at = &s->contexts; *at; at = &(*at)->next)
		if (str_eq((*at)->tag, tag)) {
			struct context *x = *at;
			*at = x->next;
			context_free(x);
			return true;
		}
	return false;
}

static void no_update(struct imap *s, struct str tag, const char *why)
{
	struct buf *b = imap_out(s);

	buf_add(b, STR("* NO [NOUPDATE "));
	write_string(b, tag, false);
	buf_add(b, STR("] "));
	buf_add(b, str_of(why));
	buf_add(b, STR("\r\n"));
}

/* ---- a new one ------------------------------------------------------------------------------ */

/* What time alone changes is not watched. */
static bool is_timed(const struct search_key *k)
{
	for (; k; k = k->next)
		if (k->kind == SEARCH_OLDER || k->kind == SEARCH_YOUNGER || is_timed(k->a) || is_timed(k->b))
			return true;
	return false;
}

/* In a program numbers may be beyond the last message. */
static struct uid_set those_there(struct imap *s, struct uid_set seqs)
{
	uint32_t count = view_count(s->view);

	while (seqs.n && seqs.r[seqs.n - 1].first > count)
		seqs.n--;
	if (seqs.n && seqs.r[seqs.n - 1].last > count)
		seqs.r[seqs.n - 1].last = count;
	return seqs;
}

/* Sequence numbers, "*" and "$" to UIDs as they are now. */
static void fix_numbers(struct imap *s, struct context *x, struct search_key *k)
{
	for (; k; k = k->next) {
		fix_numbers(s, x, k->a);
		fix_numbers(s, x, k->b);
		if (k->kind != SEARCH_SEQ && k->kind != SEARCH_UID)
			continue;
		struct uid_set uids = k->resolved;
		if (k->kind == SEARCH_SEQ)
			uids = imap_uids_of(s, those_there(s, k->resolved));
		struct uid_range *r = arena_array(x->a, uids.n + 1, sizeof(*r));
		for (size_t i = 0; i < uids.n; i++)
			r[i] = uids.r[i];
		k->kind = SEARCH_UID;
		k->set = (struct sequence_set){.r = r, .n = uids.n};
	}
}

static struct search search_of(struct imap *s, struct context *x)
{
	struct search search = {.view = s->view, .root = x->args.root, .scratch = s->scratch};
	const struct uid_set none = {};

	search_prepare(&search, none, s->arena);
	return search;
}

/* The program again, in memory of its own. */
static bool own_program(struct imap *s, struct context *x, struct parse arguments)
{
	struct parse p = parse_of(arena_str(x->a, scan_rest(&arguments.s)), x->a, arguments.utf8);
	enum search_problem problem;

	if (!(x->is_sort ? parse_sort(&p, &x->args, &problem) : parse_search(&p, &x->args, &problem)))
		return false;
	struct search search = {.view = s->view, .root = x->args.root, .scratch = s->scratch};
	search_prepare(&search, s->saved, x->a);
	fix_numbers(s, x, x->args.root);
	return !is_timed(x->args.root);
}

static void own_uids(struct context *x, struct uid_set uids)
{
	x->uids = mem_resize_array(NULL, (size_t)uid_set_count(uids) + 1, sizeof(*x->uids));
	for (size_t i = 0; i < uids.n; i++)
		for (uint64_t u = uids.r[i].first; u <= uids.r[i].last; u++)
			x->uids[x->n++] = (uint32_t)u;
}

static void own_order(struct context *x, const struct sorting *sorting)
{
	x->sorting = (struct sorting){.criteria = x->args.sort, .criteria_n = x->args.sort_n, .a = x->a};
	for (size_t i = 0; i < sorting->n; i++)
		sorting_copy(&x->sorting, &sorting->all[i]);
}

void context_new(struct imap *s, const struct command *c, struct parse arguments, struct uid_set uids,
		 const struct sorting *sorting)
{
	struct context *x = mem_new(struct context);
	size_t n = 0;

	drop(s, c->tag);
	for (const struct context *k = s->contexts; k; k = k->next)
		n++;
	x->a = arena_new();
	x->tag = arena_str(x->a, c->tag);
	x->uid = c->uid;
	x->is_sort = sorting;
	if (n == CONTEXTS_MAX || !own_program(s, x, arguments)) {
		no_update(s, c->tag, n == CONTEXTS_MAX ? "Too many contexts" : "This changes with time");
		context_free(x);
		return;
	}
	if (sorting)
		own_order(x, sorting);
	else
		own_uids(x, uids);
	x->next = s->contexts;
	s->contexts = x;
}

/* ---- telling --------------------------------------------------------------------------------- */

static void begin_line(struct imap *s, const struct context *x, const char *what)
{
	struct buf *b = imap_out(s);

	buf_add(b, STR("* ESEARCH (TAG "));
	write_string(b, x->tag, false);
	buf_byte(b, ')');
	if (x->uid)
		buf_add(b, STR(" UID"));
	buf_add(b, str_of(what));
}

static void tell_set(struct imap *s, const struct context *x, const char *what, struct uid_set numbers)
{
	if (!numbers.n)
		return;
	begin_line(s, x, what);
	buf_add(imap_out(s), STR("(0 "));
	write_uid_set(imap_out(s), numbers);
	buf_add(imap_out(s), STR(")\r\n"));
}

static void tell_one(struct imap *s, const struct context *x, const char *what, size_t position,
		     uint32_t number)
{
	begin_line(s, x, what);
	buf_fmt(imap_out(s), "(%zu %u)\r\n", position, number);
}

/* One message that may have changed sides. */
struct change {
	uint32_t uid, seq; /* seq: as the client counts when it is told */
	bool match;
	struct msg msg;    /* when it matches */
};

/* Both ascend by UID. */
static void change_search(struct imap *s, struct context *x, const struct change *ch, size_t n)
{
	uint32_t *all = mem_resize_array(NULL, x->n + n + 1, sizeof(*all));
	struct uid_set added = {}, removed = {};
	size_t added_cap = 0, removed_cap = 0, k = 0, at = 0;

	for (size_t i = 0; i < n; i++) {
		uint32_t number = x->uid ? ch[i].uid : ch[i].seq;
		while (at < x->n && x->uids[at] < ch[i].uid)
			all[k++] = x->uids[at++];
		bool was = at < x->n && x->uids[at] == ch[i].uid;
		at += was;
		if (ch[i].match)
			all[k++] = ch[i].uid;
		if (was && !ch[i].match)
			uid_set_add(s->arena, &removed, &removed_cap, number);
		else if (!was && ch[i].match)
			uid_set_add(s->arena, &added, &added_cap, number);
	}
	while (at < x->n)
		all[k++] = x->uids[at++];
	free(x->uids);
	x->uids = all;
	x->n = k;
	tell_set(s, x, " REMOVEFROM ", removed);
	tell_set(s, x, " ADDTO ", added);
}

static bool load(struct imap *s, struct context *x, const struct change *ch)
{
	struct msg_details d;
	struct summary sum;
	struct err err;

	if (!view_details(s->view, ch->uid, s->scratch, &d, &err) || !summary_decode(d.summary, &sum, &err))
		return false;
	sorting_add(&x->sorting, ch->seq, &ch->msg, d.internaldate, &sum);
	return true;
}

static void change_sort(struct imap *s, struct context *x, const struct change *ch, size_t n)
{
	struct sorting *so = &x->sorting;

	for (size_t i = 0; i < n; i++) {
		uint32_t number = x->uid ? ch[i].uid : ch[i].seq;
		size_t at = 0;
		while (at < so->n && so->all[at].uid != ch[i].uid)
			at++;
		bool was = at < so->n;
		if (was && !ch[i].match) {
			tell_one(s, x, " REMOVEFROM ", at + 1, number);
			so->n--;
			memmove(so->all + at, so->all + at + 1, (so->n - at) * sizeof(*so->all));
		} else if (!was && ch[i].match && load(s, x, &ch[i])) {
			x->adds++;
			tell_one(s, x, " ADDTO ", sorting_place_last(so) + 1, number);
		}
		arena_reset(s->scratch);
	}
}

static void change_all(struct imap *s, struct context *x, const struct change *ch, size_t n)
{
	if (x->is_sort)
		change_sort(s, x, ch, n);
	else
		change_search(s, x, ch, n);
}

/* The i-th UID that is gone had the i-th number from behind: those are given highest first. */
void context_vanished(struct imap *s, const struct view_changes *ch)
{
	size_t n = 0;

	if (!s->contexts || !ch->expunged_n)
		return;
	struct change *list = arena_array(s->arena, ch->expunged_n, sizeof(*list));
	for (size_t i = 0; i < ch->vanished.n; i++)
		for (uint64_t u = ch->vanished.r[i].first; u <= ch->vanished.r[i].last && n < ch->expunged_n;
		     u++, n++)
			list[n] = (struct change){.uid = (uint32_t)u,
						  .seq = ch->expunged[ch->expunged_n - 1 - n]};
	for (struct context *x = s->contexts; x; x = x->next)
		change_all(s, x, list, n);
}

/* Does each of those that changed, or are new, match now? The number of them. */
static size_t look_again(struct imap *s, struct context *x, const struct view_changes *ch, uint32_t first,
			 struct change *list, size_t max)
{
	struct search search = search_of(s, x);
	enum search_cost cost;
	size_t n = 0;

	x->files = 0;
	for (size_t i = 0; i < max && x->files <= FILES_MAX; i++) {
		uint32_t seq = i < ch->changed_n ? ch->changed[i] : first + (uint32_t)(i - ch->changed_n);
		struct change *c = &list[n];
		if (!view_msg(s->view, seq, &c->msg) || (n && c->msg.uid <= list[n - 1].uid))
			continue;
		c->uid = c->msg.uid;
		c->seq = seq;
		c->match = search_matches(&search, seq, &c->msg, &cost);
		x->files += cost == SEARCH_COST_FILE;
		n++;
	}
	return n;
}

void context_changed(struct imap *s, const struct view_changes *ch, uint32_t above_uid)
{
	uint32_t count = view_count(s->view);
	uint32_t first = above_uid == UINT32_MAX ? count + 1 : view_seq_at_least(s->view, above_uid + 1);
	struct context *next;

	if (!s->contexts || (!ch->changed_n && first > count))
		return;
	size_t max = ch->changed_n + (first <= count ? count - first + 1 : 0);
	struct change *list = arena_array(s->arena, max, sizeof(*list));
	for (struct context *x = s->contexts; x; x = next) {
		next = x->next;
		change_all(s, x, list, look_again(s, x, ch, first, list, max));
		if (x->files > FILES_MAX || x->adds > x->sorting.n + SORT_ADDS_MORE) {
			no_update(s, x->tag, "Too many changes");
			drop(s, x->tag);
		}
	}
}

/* ---- CANCELUPDATE ------------------------------------------------------------------------------ */

/* "CANCELUPDATE" SP quoted *(SP quoted) (RFC 5267 4.3.1) */
enum step cmd_cancelupdate(struct imap *s, struct command *c)
{
	struct str tags[CONTEXTS_MAX];
	size_t n = 0;

	do {
		if (n == CONTEXTS_MAX)
			return imap_bad(s, "Too many tags");
		if (!parse_string(&c->p, &tags[n]))
			return imap_bad_syntax(s, &c->p);
		n++;
	} while (scan_byte(&c->p.s, ' '));
	if (!parse_end(&c->p))
		return imap_bad_syntax(s, &c->p);
	for (size_t i = 0; i < n; i++)
		drop(s, tags[i]);
	return imap_ok(s, "CANCELUPDATE completed");
}
