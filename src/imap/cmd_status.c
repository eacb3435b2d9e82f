/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* imap/cmd_status.c: STATUS (RFC 9051 6.3.11; RFC 7162, 7889, 8438, 8474), also for LIST-STATUS. */
#include "config/config.h"
#include "imap/imap_int.h"

static const struct {
	const char *word;
	unsigned item;
} items[] = {
	{"MESSAGES", STATUS_MESSAGES},       {"RECENT", STATUS_RECENT},
	{"UIDNEXT", STATUS_UIDNEXT},         {"UIDVALIDITY", STATUS_UIDVALIDITY},
	{"UNSEEN", STATUS_UNSEEN},           {"DELETED", STATUS_DELETED},
	{"SIZE", STATUS_SIZE},               {"HIGHESTMODSEQ", STATUS_HIGHESTMODSEQ},
	{"APPENDLIMIT", STATUS_APPENDLIMIT}, {"MAILBOXID", STATUS_MAILBOXID},
	{"DELETED-STORAGE", STATUS_DELETED_STORAGE},
};

/* "(" status-att *(SP status-att) ")" */
bool parse_status_items(struct parse *p, unsigned *out)
{
	unsigned all = 0;

	if (!parse_char(p, '('))
		return false;
	do {
		unsigned item = 0;
		for (size_t i = 0; i < sizeof(items) / sizeof(*items) && !item; i++)
			if (parse_word(p, str_of(items[i].word)))
				item = items[i].item;
		if (!item)
			return parse_fail(p, "Unknown STATUS item");
		all |= item;
	} while (scan_byte(&p->s, ' '));
	*out = all;
	return parse_char(p, ')');
}

static void number(struct buf *b, unsigned items_wanted, unsigned item, const char *word, uint64_t value)
{
	if (!(items_wanted & item))
		return;
	if (b->p[b->n - 1] != '(')
		buf_byte(b, ' ');
	buf_add(b, str_of(word));
	buf_byte(b, ' ');
	buf_u64(b, value);
}

/* Octets that expunging what has \Deleted would give back. */
static bool deleted_storage(struct imap *s, struct str name, uint64_t *out, struct err *err)
{
	struct view *v;
	struct msg m;

	*out = 0;
	if (!view_open(imap_account(s), name, true, &v, err))
		return false;
	for (uint32_t seq = 1; view_msg(v, seq, &m); seq++)
		if (m.flags & FLAG_DELETED)
			*out += m.size;
	view_close(v);
	return true;
}

bool imap_write_status(struct imap *s, struct str name, unsigned wanted, struct err *err)
{
	struct mailbox_status st;
	struct buf *b = imap_out(s);
	uint64_t deleted = 0;

	if (!mailbox_status(imap_account(s), name, &st, err) ||
	    (wanted & STATUS_DELETED_STORAGE && !deleted_storage(s, name, &deleted, err)))
		return false;
	if (wanted & STATUS_HIGHESTMODSEQ)
		imap_enable_condstore(s);
	buf_add(b, STR("* STATUS "));
	write_mailbox(b, name, imap_utf8(s));
	buf_add(b, STR(" ("));
	number(b, wanted, STATUS_MESSAGES, "MESSAGES", st.messages);
	number(b, wanted, STATUS_RECENT, "RECENT", st.recent);
	number(b, wanted, STATUS_UIDNEXT, "UIDNEXT", st.uidnext);
	number(b, wanted, STATUS_UIDVALIDITY, "UIDVALIDITY", st.uidvalidity);
	number(b, wanted, STATUS_UNSEEN, "UNSEEN", st.unseen);
	number(b, wanted, STATUS_DELETED, "DELETED", st.deleted);
	number(b, wanted, STATUS_DELETED_STORAGE, "DELETED-STORAGE", deleted);
	number(b, wanted, STATUS_SIZE, "SIZE", st.size);
	number(b, wanted, STATUS_HIGHESTMODSEQ, "HIGHESTMODSEQ", st.highestmodseq);
	number(b, wanted, STATUS_APPENDLIMIT, "APPENDLIMIT",
	       config_size(s->served->config, SETTING_IMAP_MAX_APPEND));
	if (wanted & STATUS_MAILBOXID) {
		buf_add(b, b->p[b->n - 1] == '(' ? STR("MAILBOXID (") : STR(" MAILBOXID ("));
		buf_add(b, str_of(st.mailbox_id));
		buf_byte(b, ')');
	}
	buf_add(b, STR(")\r\n"));
	return true;
}

enum step cmd_status(struct imap *s, struct command *c)
{
	struct str name;
	unsigned wanted;
	struct err err;

	if (!parse_mailbox(&c->p, &name) || !parse_sp(&c->p) || !parse_status_items(&c->p, &wanted) ||
	    !parse_end(&c->p))
		return imap_bad_syntax(s, &c->p);
	if (!imap_write_status(s, name, wanted, &err))
		return imap_fail(s, &err);
	return imap_ok(s, "STATUS completed");
}
