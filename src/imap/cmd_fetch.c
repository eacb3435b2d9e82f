/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* imap/cmd_fetch.c: FETCH and UID FETCH (RFC 9051 6.4.5, RFC 7162 3.1.4, 3.2.6). */
#include "imap/fetch_run.h"
#include "imap/imap_int.h"

/* VANISHED (EARLIER): those of the set that are gone since. */
static bool tell_vanished(struct imap *s, const struct fetch_args *args, struct err *err)
{
	struct msg last = {};
	struct view_facts f;
	struct uid_set gone = {};

	view_facts(s->view, &f);
	uint32_t star = view_msg(s->view, view_count(s->view), &last) ? last.uid : f.uidnext;
	struct uid_set known = args->set.saved ? s->saved : sequence_set_resolve(&args->set, star, s->arena);
	if (!view_vanished(s->view, args->changed_since, known, s->arena, &gone, err))
		return false;
	if (!gone.n)
		return true;
	struct buf *b = imap_out(s);
	buf_add(b, STR("* VANISHED (EARLIER) "));
	write_uid_set(b, gone);
	buf_add(b, STR("\r\n"));
	return true;
}

static enum step begin(struct imap *s, struct command *c)
{
	struct fetch_args args;
	struct uid_set seqs;
	struct view_facts f;
	struct err err;

	if (!parse_fetch(&c->p, &args))
		return imap_bad_syntax(s, &c->p);
	if (args.vanished && !(c->uid && s->enabled & ENABLED_QRESYNC))
		return imap_bad(s, "VANISHED needs UID FETCH and QRESYNC");
	if (args.has_partial && !c->uid)
		return imap_bad(s, "PARTIAL needs UID FETCH");
	if (!imap_resolve(s, &args.set, c->uid, &seqs))
		return STEP_DONE;
	if (args.has_partial)
		seqs = partial_of(seqs, args.partial, s->arena);
	if (c->uid && !(s->enabled & ENABLED_UIDONLY))
		args.items |= FETCH_UID;
	if (args.has_changed_since)
		args.items |= FETCH_MODSEQ;
	if (args.items & FETCH_MODSEQ)
		imap_enable_condstore(s);
	if (args.vanished && !tell_vanished(s, &args, &err))
		return imap_fail(s, &err);
	view_facts(s->view, &f);
	if (args.changed_since < f.modseq_known_since)
		args.changed_since = 0;
	c->state = fetch_run_new(s, &args, seqs);
	return STEP_AGAIN;
}

enum step cmd_fetch(struct imap *s, struct command *c)
{
	if (!c->state) {
		enum step step = begin(s, c);
		if (step != STEP_AGAIN)
			return step;
	}
	struct fetch_run *r = c->state;
	enum step step = fetch_run_step(s, r);
	if (step != STEP_DONE || s->closing)
		return step;
	if (r->err.kind == ERR_SYNTAX)
		return imap_no(s, "UNKNOWN-CTE", "A part's encoding is not known");
	if (r->err.kind != ERR_NONE)
		return imap_fail(s, &r->err);
	if (r->gone)
		return imap_no(s, "EXPUNGEISSUED", "Some of the messages no longer exist");
	return imap_ok(s, "FETCH completed");
}
