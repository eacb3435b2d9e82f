/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/cmd_select.c: SELECT, EXAMINE, CLOSE, UNSELECT (RFC 9051 6.3.2, 6.3.3, 6.4.1, 6.4.2), with
 * CONDSTORE and QRESYNC (RFC 7162 3.1.8, 3.2.5).
 */
#include "imap/fetch_run.h"
#include "imap/imap_int.h"

struct select_args {
	struct str mailbox;
	bool condstore, qresync;
	uint32_t uidvalidity;
	uint64_t modseq;
	bool has_known;
	struct uid_set known;
};

/* select-param =/ "QRESYNC" SP "(" uidvalidity SP mod-sequence-value [SP known-uids]
 *                 [SP seq-match-data] ")"
 * seq-match-data = "(" known-sequence-set SP known-uid-set ")" helps a server that does not
 * remember what was expunged; it is read and not needed. */
static bool qresync_param(struct parse *p, struct select_args *out)
{
	struct uid_set seqs, uids;

	out->qresync = true;
	if (!parse_sp(p) || !parse_char(p, '(') || !parse_nz_number(p, &out->uidvalidity) || !parse_sp(p) ||
	    !parse_number64(p, &out->modseq))
		return false;
	while (scan_byte(&p->s, ' ')) {
		if (scan_byte(&p->s, '(')) {
			if (!parse_known_set(p, &seqs) || !parse_sp(p) || !parse_known_set(p, &uids) ||
			    !parse_char(p, ')'))
				return false;
			break;
		}
		if (out->has_known || !parse_known_set(p, &out->known))
			return parse_fail(p, "Invalid QRESYNC parameter");
		out->has_known = true;
	}
	return parse_char(p, ')');
}

/* mailbox [SP "(" select-param *(SP select-param) ")"] */
static bool parse_select(struct parse *p, struct select_args *out)
{
	*out = (struct select_args){};
	if (!parse_mailbox(p, &out->mailbox))
		return false;
	if (scan_byte(&p->s, ' ')) {
		if (!parse_char(p, '('))
			return false;
		do {
			if (parse_word(p, STR("CONDSTORE")))
				out->condstore = true;
			else if (!parse_word(p, STR("QRESYNC")) || out->qresync)
				return parse_fail(p, "Unknown parameter");
			else if (!qresync_param(p, out))
				return false;
		} while (scan_byte(&p->s, ' '));
		if (!parse_char(p, ')'))
			return false;
	}
	return parse_end(p);
}

static void ok_number(struct imap *s, const char *code, uint64_t value, const char *text)
{
	struct buf *b = imap_out(s);

	buf_add(b, STR("* OK ["));
	buf_add(b, str_of(code));
	buf_byte(b, ' ');
	buf_u64(b, value);
	buf_add(b, STR("] "));
	buf_add(b, str_of(text));
	buf_add(b, STR("\r\n"));
}

static void count_line(struct imap *s, uint32_t n, const char *word)
{
	struct buf *b = imap_out(s);

	buf_add(b, STR("* "));
	buf_u64(b, n);
	buf_byte(b, ' ');
	buf_add(b, str_of(word));
	buf_add(b, STR("\r\n"));
}

static void write_facts(struct imap *s, const struct view_facts *f)
{
	struct buf *b = imap_out(s);

	imap_write_flags_line(s, true);
	count_line(s, view_count(s->view), "EXISTS");
	if (s->enabled & ENABLED_REV2) {
		buf_add(b, STR("* LIST () \"/\" "));
		write_mailbox(b, view_name(s->view), true);
		buf_add(b, STR("\r\n"));
	} else {
		count_line(s, f->recent, "RECENT");
		if (f->first_unseen && !(s->enabled & ENABLED_UIDONLY))
			ok_number(s, "UNSEEN", f->first_unseen, "First unseen");
	}
	ok_number(s, "UIDVALIDITY", f->uidvalidity, "UIDs valid");
	ok_number(s, "UIDNEXT", f->uidnext, "Predicted next UID");
	ok_number(s, "HIGHESTMODSEQ", f->highestmodseq, "Highest");
	buf_add(b, STR("* OK [MAILBOXID ("));
	buf_add(b, str_of(f->mailbox_id));
	buf_add(b, STR(")] Ok\r\n"));
}

static enum step done(struct imap *s)
{
	return s->read_only ? imap_ok_code(s, STR("READ-ONLY"), "Selected, read-only")
			    : imap_ok_code(s, STR("READ-WRITE"), "Selected");
}

/* What changed since the client was here: VANISHED (EARLIER), then a FETCH each. */
static bool resync(struct imap *s, const struct select_args *args, const struct view_facts *f,
		   struct fetch_run **out, struct err *err)
{
	uint64_t since = args->modseq < f->modseq_known_since ? 0 : args->modseq;
	struct uid_range all = {1, f->uidnext > 1 ? f->uidnext - 1 : 1};
	struct uid_set known = args->has_known ? args->known : (struct uid_set){&all, 1};
	struct uid_set gone = {};

	if (!view_vanished(s->view, args->modseq, known, s->arena, &gone, err))
		return false;
	if (gone.n) {
		struct buf *b = imap_out(s);
		buf_add(b, STR("* VANISHED (EARLIER) "));
		write_uid_set(b, gone);
		buf_add(b, STR("\r\n"));
	}
	struct fetch_args fetch = {.items = FETCH_UID | FETCH_FLAGS | FETCH_MODSEQ, .has_changed_since = true,
				   .changed_since = since};
	struct sequence_set set = {.r = known.r, .n = known.n};
	struct uid_set seqs;
	if (!imap_resolve(s, &set, true, &seqs))
		return true;
	*out = fetch_run_new(s, &fetch, seqs);
	return true;
}

static enum step select_mailbox(struct imap *s, struct command *c, bool read_only)
{
	struct select_args args;
	struct view_facts f;
	struct err err;

	if (c->state) {
		enum step step = fetch_run_step(s, c->state);
		return step == STEP_DONE ? done(s) : step;
	}
	if (!parse_select(&c->p, &args))
		return imap_bad_syntax(s, &c->p);
	if (args.qresync && !(s->enabled & ENABLED_QRESYNC))
		return imap_bad(s, "QRESYNC is not enabled");
	if (s->view) {
		imap_unselect(s);
		if (s->enabled & (ENABLED_QRESYNC | ENABLED_REV2))
			imap_untagged(s, "OK [CLOSED] Previous mailbox is closed");
	}
	if (!view_open(imap_account(s), args.mailbox, read_only, &s->view, &err)) {
		s->view = NULL;
		return imap_fail(s, &err);
	}
	if (args.condstore)
		s->enabled |= ENABLED_CONDSTORE;
	view_facts(s->view, &f);
	s->read_only = read_only || f.read_only;
	write_facts(s, &f);
	struct fetch_run *run = NULL;
	if (args.qresync && args.uidvalidity == f.uidvalidity && !resync(s, &args, &f, &run, &err)) {
		imap_unselect(s);
		return imap_fail(s, &err);
	}
	c->state = run;
	return run ? select_mailbox(s, c, read_only) : done(s);
}

enum step cmd_select(struct imap *s, struct command *c) { return select_mailbox(s, c, false); }

enum step cmd_examine(struct imap *s, struct command *c) { return select_mailbox(s, c, true); }

enum step cmd_unselect(struct imap *s, struct command *c)
{
	(void)c;
	imap_unselect(s);
	return imap_ok(s, "UNSELECT completed");
}

/* Expunges without saying so. */
enum step cmd_close(struct imap *s, struct command *c)
{
	struct uid_range all = {1, UINT32_MAX};
	uint64_t modseq;
	struct err err;

	(void)c;
	if (!s->read_only && !view_expunge(s->view, (struct uid_set){&all, 1}, true, &modseq, &err))
		return imap_fail(s, &err);
	imap_unselect(s);
	return imap_ok(s, "CLOSE completed");
}
