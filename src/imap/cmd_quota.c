/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* imap/cmd_quota.c: GETQUOTA, GETQUOTAROOT, SETQUOTA (RFC 9208). One root, "", holds all mailboxes. */
#include "imap/imap_int.h"

static bool write_quota(struct imap *s, struct err *err)
{
	struct quota_use q;
	struct buf *b = imap_out(s);

	if (!account_quota(imap_account(s), &q, err))
		return false;
	buf_add(b, STR("* QUOTA \"\" ("));
	if (q.bytes_max) { /* units of 1024 octets (5.1) */
		buf_add(b, STR("STORAGE "));
		buf_u64(b, (q.bytes + 1023) / 1024);
		buf_byte(b, ' ');
		buf_u64(b, q.bytes_max / 1024);
	}
	if (q.messages_max) {
		buf_add(b, q.bytes_max ? STR(" MESSAGE ") : STR("MESSAGE "));
		buf_u64(b, q.messages);
		buf_byte(b, ' ');
		buf_u64(b, q.messages_max);
	}
	buf_add(b, STR(")\r\n"));
	return true;
}

enum step cmd_getquota(struct imap *s, struct command *c)
{
	struct str root;
	struct err err;

	if (!parse_astring(&c->p, &root) || !parse_end(&c->p))
		return imap_bad_syntax(s, &c->p);
	if (root.n)
		return imap_no(s, "NONEXISTENT", "No such quota root");
	if (!write_quota(s, &err))
		return imap_fail(s, &err);
	return imap_ok(s, "GETQUOTA completed");
}

enum step cmd_getquotaroot(struct imap *s, struct command *c)
{
	struct mailbox_status st;
	struct str name;
	struct err err;

	if (!parse_mailbox(&c->p, &name) || !parse_end(&c->p))
		return imap_bad_syntax(s, &c->p);
	if (!mailbox_status(imap_account(s), name, &st, &err) && err.kind != ERR_NOT_FOUND)
		return imap_fail(s, &err);
	struct buf *b = imap_out(s);
	buf_add(b, STR("* QUOTAROOT "));
	write_mailbox(b, name, imap_utf8(s));
	buf_add(b, STR(" \"\"\r\n"));
	if (!write_quota(s, &err))
		return imap_fail(s, &err);
	return imap_ok(s, "GETQUOTAROOT completed");
}

enum step cmd_setquota(struct imap *s, struct command *c)
{
	(void)c;
	return imap_no(s, "NOPERM", "Quotas are set by the administrator");
}
