/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/cmd_list.c: LIST in all its forms and LSUB. The store gives all mailboxes, parents before
 * children; what is selected and matches is written in that order.
 */
#include "base/log.h"
#include "imap/acl.h"
#include "imap/list.h"
#include "imap/stream.h"

struct listing {
	struct list_args args;
	struct mailbox_entry *all;
	size_t n, at;
};

static void attribute(struct buf *b, const char *word)
{
	if (b->p[b->n - 1] != '(')
		buf_byte(b, ' ');
	buf_add(b, str_of(word));
}

static void attributes(struct buf *b, const struct list_args *args, const struct mailbox_entry *e, bool rev2)
{
	buf_byte(b, '(');
	/* RFC 5258 3: \NonExistent implies \Noselect, which older clients know */
	if (e->attrs & MAILBOX_NONEXISTENT)
		attribute(b, args->extended || rev2 ? "\\NonExistent" : "\\Noselect");
	else if (e->attrs & MAILBOX_NOSELECT)
		attribute(b, "\\Noselect");
	if ((args->select & LIST_SELECT_SUBSCRIBED || args->returns & LIST_RETURN_SUBSCRIBED) &&
	    e->attrs & MAILBOX_SUBSCRIBED)
		attribute(b, "\\Subscribed");
	attribute(b, e->attrs & MAILBOX_HAS_CHILDREN ? "\\HasChildren" : "\\HasNoChildren");
	if (special_use_name(e->use))
		attribute(b, special_use_name(e->use));
	buf_byte(b, ')');
}

static bool pattern_matches(const struct list_args *args, struct str name)
{
	for (size_t i = 0; i < args->patterns_n; i++)
		if (list_matches(args->patterns[i], name))
			return true;
	return false;
}

static bool is_selected(const struct list_args *args, const struct mailbox_entry *e)
{
	if (args->select & LIST_SELECT_SUBSCRIBED && !(e->attrs & MAILBOX_SUBSCRIBED))
		return false;
	if (args->select & LIST_SELECT_SPECIAL_USE && e->use == USE_NONE)
		return false;
	/* A name that is none is listed for what is below it, or because somebody subscribed to it. */
	return args->select & LIST_SELECT_SUBSCRIBED || !(e->attrs & MAILBOX_NONEXISTENT) ||
	       e->attrs & MAILBOX_HAS_CHILDREN;
}

/* RECURSIVEMATCH: something below it is selected and not matched by the patterns itself (RFC 5258 3). */
static bool child_is_selected(const struct listing *l, size_t parent)
{
	struct str name = l->all[parent].name;

	for (size_t i = parent + 1; i < l->n; i++) {
		struct str child = l->all[i].name;
		if (str_starts(child, name) && child.n > name.n && child.p[name.n] == '/' &&
		    is_selected(&l->args, &l->all[i]) && !pattern_matches(&l->args, child))
			return true;
	}
	return false;
}

/* What is told of a mailbox behind its line. One whose status cannot be had is listed without (RFC 5819
 * 2); the rest likewise. */
static bool more_of_it(struct imap *s, const struct list_args *args, const struct mailbox_entry *e,
		       struct err *err)
{
	struct err ignored = {.kind = ERR_NONE};
	uint32_t longest;

	if (args->returns & LIST_RETURN_STATUS &&
	    !imap_write_status(s, e->name, args->status_items, &ignored) && ignored.kind == ERR_CORRUPT) {
		*err = ignored;
		return false;
	}
	if (args->returns & LIST_RETURN_MYRIGHTS)
		acl_write_myrights(s, e->name);
	if (args->returns & LIST_RETURN_METADATA) {
		struct metadata_args wanted = args->metadata;
		wanted.mailbox = e->name;
		/* RFC 9590 4: entries that are not there are told as NIL */
		if (!metadata_write(s, &wanted, true, &longest, &ignored))
			log_err(LOG_WARN, "imap.list", &ignored);
	}
	return true;
}

static bool one_mailbox(struct imap *s, const struct listing *l, size_t i, struct err *err)
{
	const struct mailbox_entry *e = &l->all[i];
	const struct list_args *args = &l->args;
	struct buf *b = imap_out(s);

	if (!pattern_matches(args, e->name))
		return true;
	bool selected = is_selected(args, e);
	bool child = args->select & LIST_SELECT_RECURSIVE && child_is_selected(l, i);
	if (!selected && !child)
		return true;
	buf_add(b, STR("* LIST "));
	attributes(b, args, e, s->enabled & ENABLED_REV2);
	buf_add(b, STR(" \"/\" "));
	write_mailbox(b, e->name, imap_utf8(s));
	if (child) {
		buf_add(b, STR(" (\"CHILDINFO\" ("));
		if (args->select & LIST_SELECT_SUBSCRIBED)
			buf_add(b, STR("\"SUBSCRIBED\""));
		else
			buf_add(b, STR("\"SPECIAL-USE\""));
		buf_add(b, STR("))"));
	}
	buf_add(b, STR("\r\n"));
	if (!(e->attrs & (MAILBOX_NOSELECT | MAILBOX_NONEXISTENT)))
		return more_of_it(s, args, e, err);
	return true;
}

static bool begin(struct imap *s, struct command *c, struct err *err)
{
	struct listing *l = arena_new_of(s->arena, struct listing);

	c->state = l;
	return mailbox_list(imap_account(s), s->arena, &l->all, &l->n, err);
}

enum step cmd_list(struct imap *s, struct command *c)
{
	struct listing *l = c->state;
	struct list_args args;
	struct err err;

	if (!l) {
		if (!parse_list(&c->p, &args))
			return imap_bad_syntax(s, &c->p);
		if (args.ask_delimiter) {
			imap_untagged(s, "LIST (\\Noselect) \"/\" \"\"");
			return imap_ok(s, "LIST completed");
		}
		if (!begin(s, c, &err))
			return imap_fail(s, &err);
		l = c->state;
		l->args = args;
	}
	for (; l->at < l->n; l->at++) {
		if (imap_out_pending(s) > CONN_OUT_HIGH)
			return STEP_OUTPUT;
		if (imap_turn_over(s))
			return STEP_AGAIN;
		if (!one_mailbox(s, l, l->at, &err))
			return imap_fail(s, &err);
	}
	return imap_ok(s, "LIST completed");
}

/* ---- LSUB ------------------------------------------------------------------------------- */

static void lsub_line(struct imap *s, struct str name, bool noselect)
{
	struct buf *b = imap_out(s);

	buf_add(b, noselect ? STR("* LSUB (\\Noselect) \"/\" ") : STR("* LSUB () \"/\" "));
	write_mailbox(b, name, imap_utf8(s));
	buf_add(b, STR("\r\n"));
}

static bool subscribed(const struct listing *l, struct str name)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->all[i].attrs & MAILBOX_SUBSCRIBED && str_eq(l->all[i].name, name))
			return true;
	return false;
}

/* RFC 3501 6.3.9: with "%" a name above a subscribed one is told as \Noselect, unless it is
 * subscribed itself. */
enum step cmd_lsub(struct imap *s, struct command *c)
{
	struct list_args args;
	struct listing *l;
	struct str parent, last = STR_NONE;
	struct err err;

	if (!parse_lsub(&c->p, &args))
		return imap_bad_syntax(s, &c->p);
	if (!begin(s, c, &err))
		return imap_fail(s, &err);
	l = c->state;
	for (size_t i = 0; i < l->n; i++) {
		const struct mailbox_entry *e = &l->all[i];
		if (!(e->attrs & MAILBOX_SUBSCRIBED))
			continue;
		if (list_matches(args.patterns[0], e->name)) {
			lsub_line(s, e->name, e->attrs & (MAILBOX_NOSELECT | MAILBOX_NONEXISTENT));
			last = e->name;
		} else if (list_matches_parent(args.patterns[0], e->name, &parent) && !str_eq(parent, last) &&
			   !subscribed(l, parent)) {
			lsub_line(s, parent, true);
			last = parent;
		}
	}
	return imap_ok(s, "LSUB completed");
}
