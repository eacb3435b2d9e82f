/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/cmd_metadata.c: GETMETADATA and SETMETADATA (RFC 5464), of mailboxes and of the account, which
 * "" stands for. /private and /shared are kept apart and seen by the same user.
 * /private/specialuse (RFC 6154 5.4) is what the mailbox has for a special use.
 */
#include "imap/metadata.h"

/* Is name asked for by wanted with that depth (RFC 5464 4.2.2)? */
static bool is_below(struct str name, struct str wanted, unsigned depth)
{
	if (!str_starts_nocase(name, wanted))
		return false;
	if (name.n == wanted.n)
		return true;
	struct str rest = str_from(name, wanted.n);
	if (rest.p[0] != '/' || !depth)
		return false;
	return depth > 1 || str_find_last_byte(rest, '/') == 0;
}

struct writing {
	struct imap *s;
	const struct metadata_args *args;
	bool begun;
	uint32_t longest;
};

static void write_entry(struct writing *w, struct str name, struct str value)
{
	struct buf *b = imap_out(w->s);

	if (w->args->has_maxsize && value.n > w->args->maxsize) {
		if (value.n > w->longest)
			w->longest = (uint32_t)value.n;
		return;
	}
	if (!w->begun) {
		buf_add(b, STR("* METADATA "));
		if (w->args->mailbox.n)
			write_mailbox(b, w->args->mailbox, imap_utf8(w->s));
		else
			buf_add(b, STR("\"\""));
		buf_add(b, STR(" ("));
	} else {
		buf_byte(b, ' ');
	}
	w->begun = true;
	write_astring(b, name, false);
	buf_byte(b, ' ');
	write_nstring(b, value, imap_utf8(w->s));
}

static void write_wanted(struct writing *w, struct str wanted, const struct metadata_entry *there, size_t n,
			 bool all)
{
	bool found = false;

	for (size_t i = 0; i < n; i++)
		if (is_below(there[i].name, wanted, w->args->depth)) {
			found = true;
			write_entry(w, there[i].name, there[i].value);
		}
	if (all && !found)
		write_entry(w, wanted, STR_NONE);
}

static bool add_special_use(struct imap *s, struct str mailbox, struct metadata_entry *there, size_t *n,
			    struct err *err)
{
	struct mailbox_entry *list;
	size_t list_n;

	if (!mailbox.n)
		return true;
	if (!mailbox_list(imap_account(s), s->arena, &list, &list_n, err))
		return false;
	for (size_t i = 0; i < list_n; i++)
		if (str_eq(list[i].name, mailbox) && special_use_name(list[i].use))
			there[(*n)++] = (struct metadata_entry){
				STR("/private/specialuse"), str_of(special_use_name(list[i].use))};
	return true;
}

bool metadata_write(struct imap *s, const struct metadata_args *args, bool all, uint32_t *out_longest,
		    struct err *err)
{
	struct writing w = {.s = s, .args = args};
	struct metadata_entry *there;
	size_t n;

	/* The store leaves room for one more. */
	if (!mailbox_metadata(imap_account(s), args->mailbox, s->arena, &there, &n, err) ||
	    !add_special_use(s, args->mailbox, there, &n, err))
		return false;
	for (size_t i = 0; i < args->n; i++)
		write_wanted(&w, args->e[i].name, there, n, all);
	if (w.begun)
		buf_add(imap_out(s), STR(")\r\n"));
	*out_longest = w.longest;
	return true;
}

enum step cmd_getmetadata(struct imap *s, struct command *c)
{
	struct metadata_args args;
	uint32_t longest;
	struct err err;

	if (!parse_getmetadata(&c->p, &args))
		return imap_bad_syntax(s, &c->p);
	if (!metadata_write(s, &args, !args.depth, &longest, &err))
		return imap_fail(s, &err);
	if (longest)
		return imap_ok_code(s, arena_fmt(s->arena, "METADATA LONGENTRIES %u", longest),
				    "GETMETADATA completed");
	return imap_ok(s, "GETMETADATA completed");
}

enum step cmd_setmetadata(struct imap *s, struct command *c)
{
	struct metadata_args args;
	struct err err;

	if (!parse_setmetadata(&c->p, &args))
		return imap_bad_syntax(s, &c->p);
	for (size_t i = 0; i < args.n; i++) {
		if (args.e[i].value.n > METADATA_VALUE_MAX)
			return imap_no(s, "METADATA MAXSIZE 32768", "A value is too long");
		if (str_eq_nocase(args.e[i].name, STR("/private/specialuse")))
			return imap_no(s, "CANNOT", "Special uses are given with CREATE");
		if (args.e[i].value.p && !args.e[i].value.n)
			args.e[i].value = STR("");
	}
	if (mailbox_metadata_set(imap_account(s), args.mailbox, args.e, args.n, &err))
		return imap_ok(s, "SETMETADATA completed");
	if (err.kind == ERR_LIMIT)
		return imap_no(s, "METADATA TOOMANY", "There would be too many annotations");
	return imap_fail(s, &err);
}
