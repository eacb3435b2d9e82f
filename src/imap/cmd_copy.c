/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/cmd_copy.c: COPY, MOVE, EXPUNGE and their UID forms (RFC 9051 6.4.3, 6.4.7, 6.4.8;
 * RFC 4315). The store has made all of it durable when it returns; then it is told.
 */
#include "imap/imap_int.h"

/* "COPYUID 38505 304,319:320 3956:3958" */
static struct str copyuid(struct arena *a, const struct copied *done)
{
	BUF_SCOPED b = {};

	buf_add(&b, STR("COPYUID "));
	buf_u64(&b, done->uidvalidity);
	buf_byte(&b, ' ');
	write_uid_set(&b, done->src);
	buf_byte(&b, ' ');
	write_uid_set(&b, done->dst);
	return arena_str(a, buf_str(&b));
}

static bool parse_copy(struct parse *p, struct sequence_set *set, struct str *to)
{
	return parse_sequence_set(p, set) && parse_sp(p) && parse_mailbox(p, to) && parse_end(p);
}

static enum step copy_failed(struct imap *s, const struct err *err)
{
	return err->kind == ERR_NOT_FOUND ? imap_no(s, "TRYCREATE", "No such mailbox") : imap_fail(s, err);
}

enum step cmd_copy(struct imap *s, struct command *c)
{
	struct sequence_set set;
	struct uid_set seqs;
	struct copied done = {};
	struct str to;
	struct err err;

	if (!parse_copy(&c->p, &set, &to))
		return imap_bad_syntax(s, &c->p);
	if (!imap_resolve(s, &set, c->uid, &seqs))
		return STEP_DONE;
	if (!view_copy(s->view, imap_uids_of(s, seqs), to, s->arena, &done, &err))
		return copy_failed(s, &err);
	if (!done.src.n)
		return imap_ok(s, "COPY completed, no messages found");
	return imap_ok_code(s, copyuid(s->arena, &done), "COPY completed");
}

/* RFC 9051 6.4.8: COPYUID comes untagged, before the EXPUNGEs. */
enum step cmd_move(struct imap *s, struct command *c)
{
	struct sequence_set set;
	struct uid_set seqs;
	struct copied done = {};
	struct str to;
	struct err err;

	if (!parse_copy(&c->p, &set, &to))
		return imap_bad_syntax(s, &c->p);
	if (s->read_only)
		return imap_no(s, "READ-ONLY", "The mailbox is selected read-only");
	if (!imap_resolve(s, &set, c->uid, &seqs))
		return STEP_DONE;
	if (!view_move(s->view, imap_uids_of(s, seqs), to, s->arena, &done, &err))
		return copy_failed(s, &err);
	if (!done.src.n)
		return imap_ok(s, "MOVE completed, no messages found");
	struct buf *b = imap_out(s);
	buf_add(b, STR("* OK ["));
	buf_add(b, copyuid(s->arena, &done));
	buf_add(b, STR("] Moved\r\n"));
	return imap_ok(s, "MOVE completed");
}

enum step cmd_expunge(struct imap *s, struct command *c)
{
	struct uid_range all = {1, UINT32_MAX};
	struct uid_set uids = {&all, 1}, seqs;
	struct sequence_set set;
	uint64_t modseq = 0;
	struct err err;

	if (c->uid) {
		if (!parse_sequence_set(&c->p, &set) || !parse_end(&c->p))
			return imap_bad_syntax(s, &c->p);
		if (!imap_resolve(s, &set, true, &seqs))
			return STEP_DONE;
		uids = imap_uids_of(s, seqs);
	}
	if (s->read_only)
		return imap_no(s, "READ-ONLY", "The mailbox is selected read-only");
	if (!view_expunge(s->view, uids, true, &modseq, &err))
		return imap_fail(s, &err);
	if (s->enabled & ENABLED_CONDSTORE && modseq) /* RFC 7162 3.2.7 */
		return imap_ok_code(s, arena_fmt(s->arena, "HIGHESTMODSEQ %llu", (unsigned long long)modseq),
				    "EXPUNGE completed");
	return imap_ok(s, "EXPUNGE completed");
}
