/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/cmd_acl.c: ACL (RFC 4314), and what LIST tells of it (RFC 8440). An account's mailboxes are its
 * owner's, who has every right and cannot lose one; nobody else can be given any, and trying to is
 * answered with NO.
 */
#include "imap/acl.h"

static bool is_there(struct imap *s, struct str name, struct err *err)
{
	struct mailbox_status st;

	return mailbox_status(imap_account(s), name, &st, err);
}

static void write_line(struct imap *s, const char *word, struct str mailbox)
{
	struct buf *b = imap_out(s);

	buf_add(b, STR("* "));
	buf_add(b, str_of(word));
	buf_byte(b, ' ');
	write_mailbox(b, mailbox, imap_utf8(s));
	buf_byte(b, ' ');
}

void acl_write_myrights(struct imap *s, struct str mailbox)
{
	write_line(s, "MYRIGHTS", mailbox);
	buf_add(imap_out(s), STR(ACL_RIGHTS "\r\n"));
}

enum step cmd_myrights(struct imap *s, struct command *c)
{
	struct str name;
	struct err err;

	if (!parse_mailbox(&c->p, &name) || !parse_end(&c->p))
		return imap_bad_syntax(s, &c->p);
	if (!is_there(s, name, &err))
		return imap_fail(s, &err);
	acl_write_myrights(s, name);
	return imap_ok(s, "MYRIGHTS completed");
}

enum step cmd_getacl(struct imap *s, struct command *c)
{
	struct str name;
	struct err err;

	if (!parse_mailbox(&c->p, &name) || !parse_end(&c->p))
		return imap_bad_syntax(s, &c->p);
	if (!is_there(s, name, &err))
		return imap_fail(s, &err);
	write_line(s, "ACL", name);
	write_astring(imap_out(s), s->served->address, imap_utf8(s));
	buf_add(imap_out(s), STR(" " ACL_RIGHTS "\r\n"));
	return imap_ok(s, "GETACL completed");
}

/* "LISTRIGHTS" SP mailbox SP identifier: what it always has, then what it can be given */
enum step cmd_listrights(struct imap *s, struct command *c)
{
	struct str name, who;
	struct err err;

	if (!parse_mailbox(&c->p, &name) || !parse_sp(&c->p) || !parse_astring(&c->p, &who) ||
	    !parse_end(&c->p))
		return imap_bad_syntax(s, &c->p);
	if (!is_there(s, name, &err))
		return imap_fail(s, &err);
	write_line(s, "LISTRIGHTS", name);
	write_astring(imap_out(s), who, imap_utf8(s));
	bool owner = str_eq_nocase(who, s->served->address);
	buf_add(imap_out(s), owner ? STR(" " ACL_RIGHTS "\r\n") : STR(" \"\"\r\n"));
	return imap_ok(s, "LISTRIGHTS completed");
}

/* mod-rights = astring: "+lr", "-lr" or "lr" */
static bool known_rights(struct str rights)
{
	if (rights.n && (rights.p[0] == '+' || rights.p[0] == '-'))
		rights = str_from(rights, 1);
	for (size_t i = 0; i < rights.n; i++) /* "c" and "d" of RFC 2086 */
		if (!str_has_byte(STR(ACL_RIGHTS "cd"), rights.p[i]))
			return false;
	return true;
}

static enum step change(struct imap *s, struct command *c, bool with_rights)
{
	struct str name, who, rights = STR("-");
	struct err err;

	if (!parse_mailbox(&c->p, &name) || !parse_sp(&c->p) || !parse_astring(&c->p, &who) ||
	    (with_rights && (!parse_sp(&c->p) || !parse_astring(&c->p, &rights))) || !parse_end(&c->p))
		return imap_bad_syntax(s, &c->p);
	if (!known_rights(rights)) /* RFC 4314 3.1 */
		return imap_bad(s, "Unknown right");
	if (!is_there(s, name, &err))
		return imap_fail(s, &err);
	if (with_rights && str_eq_nocase(who, s->served->address) && rights.n && rights.p[0] == '+')
		return imap_ok(s, "SETACL completed"); /* the owner has it */
	return imap_no(s, "NOPERM", "The owner alone has rights, and has all of them");
}

enum step cmd_setacl(struct imap *s, struct command *c) { return change(s, c, true); }

enum step cmd_deleteacl(struct imap *s, struct command *c) { return change(s, c, false); }
