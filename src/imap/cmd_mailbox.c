/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* imap/cmd_mailbox.c: CREATE (with USE, RFC 6154 3), DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE. */
#include "imap/imap_int.h"

static const struct {
	enum special_use use;
	const char *name;
} uses[] = {
	{USE_ALL, "\\All"},         {USE_ARCHIVE, "\\Archive"}, {USE_DRAFTS, "\\Drafts"},
	{USE_FLAGGED, "\\Flagged"}, {USE_JUNK, "\\Junk"},       {USE_SENT, "\\Sent"},
	{USE_TRASH, "\\Trash"},
};

const char *special_use_name(enum special_use use)
{
	for (size_t i = 0; i < sizeof(uses) / sizeof(*uses); i++)
		if (uses[i].use == use)
			return uses[i].name;
	return NULL;
}

bool special_use_find(struct str name, enum special_use *out)
{
	for (size_t i = 0; i < sizeof(uses) / sizeof(*uses); i++)
		if (str_eq_nocase(name, str_of(uses[i].name))) {
			*out = uses[i].use;
			return true;
		}
	return false;
}

/* create-param =/ "USE" SP "(" [use-attr *(SP use-attr)] ")" */
static bool create_params(struct parse *p, enum special_use *out, unsigned *out_n)
{
	struct str word;

	if (!parse_char(p, '(') || !parse_word(p, STR("USE")) || !parse_sp(p) || !parse_char(p, '('))
		return false;
	if (scan_byte(&p->s, ')'))
		return parse_char(p, ')');
	do {
		const char *start = p->s.p;
		if (!scan_byte(&p->s, '\\') || !parse_atom(p, &word))
			return parse_fail(p, "Invalid special use");
		*out_n += 1;
		if (!special_use_find((struct str){start, word.n + 1}, out))
			*out = USE_NONE;
	} while (scan_byte(&p->s, ' '));
	return scan_lit(&p->s, STR("))")) || parse_fail(p, "Missing closing parenthesis");
}

static bool find_mailbox(struct imap *s, struct str name, struct mailbox_entry *out)
{
	struct mailbox_entry *list;
	struct err err;
	size_t n;

	if (!mailbox_list(imap_account(s), s->arena, &list, &n, &err))
		return false;
	for (size_t i = 0; i < n; i++)
		if (str_eq(list[i].name, name)) {
			*out = list[i];
			return true;
		}
	return false;
}

enum step cmd_create(struct imap *s, struct command *c)
{
	struct mailbox_entry made;
	struct str name;
	enum special_use use = USE_NONE;
	unsigned uses_n = 0;
	struct err err;

	if (!parse_mailbox(&c->p, &name) ||
	    (scan_byte(&c->p.s, ' ') && !create_params(&c->p, &use, &uses_n)) || !parse_end(&c->p))
		return imap_bad_syntax(s, &c->p);
	if (uses_n && (uses_n > 1 || use == USE_NONE))
		return imap_no(s, "USEATTR", "A mailbox can have one of the known uses");
	/* A delimiter at the end says that names below it will follow (RFC 9051 6.3.4). */
	if (name.n > 1 && str_ends(name, STR("/")))
		name.n--;
	if (!mailbox_create(imap_account(s), name, use, &err))
		return imap_fail(s, &err);
	if (!find_mailbox(s, name, &made) || !*made.mailbox_id)
		return imap_ok(s, "CREATE completed");
	return imap_ok_code(s, arena_fmt(s->arena, "MAILBOXID (%s)", made.mailbox_id), "CREATE completed");
}

enum step cmd_delete(struct imap *s, struct command *c)
{
	struct str name;
	struct err err;

	if (!parse_mailbox(&c->p, &name) || !parse_end(&c->p))
		return imap_bad_syntax(s, &c->p);
	if (str_eq(name, STR("INBOX")))
		return imap_no(s, "CANNOT", "INBOX cannot be deleted");
	if (s->view && str_eq(view_name(s->view), name)) {
		imap_unselect(s);
		if (s->enabled & (ENABLED_QRESYNC | ENABLED_REV2))
			imap_untagged(s, "OK [CLOSED] The selected mailbox is deleted");
	}
	if (!mailbox_delete(imap_account(s), name, &err))
		return imap_fail(s, &err);
	return imap_ok(s, "DELETE completed");
}

enum step cmd_rename(struct imap *s, struct command *c)
{
	struct str from, to;
	struct err err;

	if (!parse_mailbox(&c->p, &from) || !parse_sp(&c->p) || !parse_mailbox(&c->p, &to) ||
	    !parse_end(&c->p))
		return imap_bad_syntax(s, &c->p);
	if (to.n > 1 && str_ends(to, STR("/")))
		to.n--;
	if (!mailbox_rename(imap_account(s), from, to, &err))
		return imap_fail(s, &err);
	return imap_ok(s, "RENAME completed");
}

static enum step subscribe(struct imap *s, struct command *c, bool on)
{
	struct str name;
	struct err err;

	if (!parse_mailbox(&c->p, &name) || !parse_end(&c->p))
		return imap_bad_syntax(s, &c->p);
	if (name.n > 1 && str_ends(name, STR("/")))
		name.n--;
	if (!mailbox_subscribe(imap_account(s), name, on, &err))
		return imap_fail(s, &err);
	return imap_ok(s, on ? "SUBSCRIBE completed" : "UNSUBSCRIBE completed");
}

enum step cmd_subscribe(struct imap *s, struct command *c) { return subscribe(s, c, true); }

enum step cmd_unsubscribe(struct imap *s, struct command *c) { return subscribe(s, c, false); }
