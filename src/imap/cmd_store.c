/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/cmd_store.c: STORE and UID STORE (RFC 9051 6.4.6, RFC 7162 3.1.3), a batch at a time: each
 * change renames a file, so a large set lets others run in between.
 */
#include "imap/stream.h"

enum { BATCH = 500 };

struct store_run {
	struct flag_change change;
	bool silent;
	struct uid_set seqs;
	size_t range;
	uint32_t seq;              /* next, 0: the range's first */
	uint32_t keyword_bits;     /* of change, in the view; what is new to it is not in there */
	bool new_keywords;
	struct uid_set modified;   /* sequence numbers or UIDs */
	size_t modified_cap;
};

/* store-modifier = "UNCHANGEDSINCE" SP mod-sequence-valzer */
static bool modifiers(struct parse *p, struct store_run *out)
{
	if (!scan_byte(&p->s, '('))
		return true;
	out->change.conditional = true;
	return (parse_word(p, STR("UNCHANGEDSINCE")) || parse_fail(p, "Unknown STORE modifier")) &&
	       parse_sp(p) && parse_number64(p, &out->change.unchanged_since) && parse_char(p, ')') &&
	       parse_sp(p);
}

/* sequence-set [SP store-modifiers] SP (["+" / "-"] "FLAGS" [".SILENT"]) SP flags */
static bool parse_store(struct parse *p, struct sequence_set *set, struct store_run *out)
{
	struct flag_list flags;

	if (!parse_sequence_set(p, set) || !parse_sp(p) || !modifiers(p, out))
		return false;
	out->change.op = scan_byte(&p->s, '+') ? FLAGS_ADD : scan_byte(&p->s, '-') ? FLAGS_REMOVE : FLAGS_SET;
	if (!scan_lit_nocase(&p->s, STR("FLAGS")))
		return parse_fail(p, "Expected FLAGS");
	out->silent = scan_lit_nocase(&p->s, STR(".SILENT"));
	if (!parse_sp(p) || !parse_store_flags(p, &flags))
		return false;
	out->change.flags = flags.flags;
	out->change.keywords = flags.keywords;
	out->change.keywords_n = flags.keywords_n;
	return parse_end(p);
}

static void find_keywords(struct imap *s, struct store_run *r)
{
	struct str *names;
	size_t n;

	view_keywords(s->view, s->arena, &names, &n);
	for (size_t i = 0; i < r->change.keywords_n; i++) {
		size_t k = 0;
		while (k < n && !str_eq_nocase(names[k], r->change.keywords[i]))
			k++;
		if (k < n)
			r->keyword_bits |= UINT32_C(1) << k;
		else
			r->new_keywords = true;
	}
}

/* What a client that asked for silence takes the flags to be. With keywords that the mailbox did not
 * have, their bits are not known yet: it is told. */
static void expect(struct imap *s, const struct store_run *r, const struct msg *m)
{
	unsigned flags = r->change.flags;
	uint32_t keywords = r->keyword_bits;

	if (r->new_keywords && r->change.op != FLAGS_REMOVE)
		return;
	switch (r->change.op) {
	case FLAGS_SET:
		break;
	case FLAGS_ADD:
		flags |= m->flags;
		keywords |= m->keywords;
		break;
	case FLAGS_REMOVE:
		flags = m->flags & ~flags;
		keywords = m->keywords & ~keywords;
		break;
	}
	imap_expect(s, m->uid, flags, keywords);
}

static struct uid_set next_batch(struct imap *s, struct store_run *r)
{
	struct uid_set uids = {};
	size_t cap = 0;
	struct msg m;

	for (unsigned n = 0; n < BATCH && r->range < r->seqs.n; n++) {
		if (!r->seq)
			r->seq = r->seqs.r[r->range].first;
		if (view_msg(s->view, r->seq, &m)) {
			uid_set_add(s->arena, &uids, &cap, m.uid);
			if (r->silent)
				expect(s, r, &m);
		}
		if (r->seq++ == r->seqs.r[r->range].last) {
			r->range++;
			r->seq = 0;
		}
	}
	return uids;
}

static void note_modified(struct imap *s, const struct command *c, struct store_run *r,
			  struct uid_set refused)
{
	for (size_t i = 0; i < refused.n; i++)
		for (uint64_t uid = refused.r[i].first; uid <= refused.r[i].last; uid++) {
			uint32_t seq = view_seq(s->view, (uint32_t)uid);
			if (seq)
				uid_set_add(s->arena, &r->modified, &r->modified_cap,
					    c->uid ? (uint32_t)uid : seq);
		}
}

static enum step begin(struct imap *s, struct command *c)
{
	struct store_run *r = arena_new_of(s->arena, struct store_run);
	struct sequence_set set;

	if (!parse_store(&c->p, &set, r))
		return imap_bad_syntax(s, &c->p);
	if (s->read_only)
		return imap_no(s, "READ-ONLY", "The mailbox is selected read-only");
	if (r->change.conditional)
		imap_enable_condstore(s);
	if (!imap_resolve(s, &set, c->uid, &r->seqs))
		return STEP_DONE;
	/* What others did is told first: silence is about the client's own change. */
	if (r->silent && !imap_update(s, true))
		return STEP_DONE;
	find_keywords(s, r);
	c->state = r;
	return STEP_AGAIN;
}

enum step cmd_store(struct imap *s, struct command *c)
{
	struct uid_set refused;
	uint64_t modseq;
	struct err err;

	if (!c->state) {
		enum step step = begin(s, c);
		if (step != STEP_AGAIN)
			return step;
	}
	struct store_run *r = c->state;
	while (r->range < r->seqs.n) {
		struct uid_set uids = next_batch(s, r);
		refused = (struct uid_set){};
		if (!view_store_flags(s->view, uids, &r->change, s->arena, &refused, &modseq, &err))
			return imap_fail(s, &err);
		note_modified(s, c, r, refused);
		if (!r->silent)
			s->echo = uids;
		s->echo_not = refused;
		if (!imap_update(s, true))
			return STEP_DONE;
		if (imap_out_pending(s) > CONN_OUT_HIGH)
			return STEP_OUTPUT;
		if (imap_turn_over(s))
			return STEP_AGAIN;
	}
	if (!r->modified.n)
		return imap_ok(s, "STORE completed");
	BUF_SCOPED code = {};
	buf_add(&code, STR("MODIFIED "));
	write_uid_set(&code, r->modified);
	return imap_ok_code(s, arena_str(s->arena, buf_str(&code)), "Some were changed by others");
}
