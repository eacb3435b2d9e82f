/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/fetch_run.c: one response per message. A message that turns out to be gone, or cannot be
 * read, is taken back from the output buffer, which works as long as no file range was put behind
 * it; after that the connection is closed, because a literal was promised.
 *
 * \Seen is set for a few messages ahead at once, since each change takes the account's lock.
 */
#include "imap/fetch_run.h"
#include "base/file.h"
#include "base/log.h"
#include "imap/content.h"
#include "imap/fetch_section.h"
#include "imap/stream.h"
#include "imap/threadid.h"
#include "mail/date.h"
#include "mime/summary.h"
#include "mime/text.h"

enum {
	SEEN_AHEAD = 64,
	SUMMARIES_AHEAD = 32,
	MEMORY_ITEMS = FETCH_UID | FETCH_FLAGS | FETCH_MODSEQ | FETCH_SIZE,
	SUMMARY_ITEMS = FETCH_ENVELOPE | FETCH_BODY | FETCH_BODYSTRUCTURE | FETCH_EMAILID |
			FETCH_THREADID | FETCH_SAVEDATE,
	DETAIL_ITEMS = FETCH_EMAILID | FETCH_THREADID | FETCH_SAVEDATE,
};

struct fetch_run *fetch_run_new(struct imap *s, const struct fetch_args *args, struct uid_set seqs)
{
	struct fetch_run *r = arena_new_of(s->arena, struct fetch_run);

	r->args = *args;
	r->seqs = seqs;
	r->only_memory = !args->sections_n && !(args->items & ~(unsigned)MEMORY_ITEMS);
	r->only_summaries = !args->sections_n && args->items & SUMMARY_ITEMS;
	for (size_t i = 0; i < args->sections_n; i++)
		r->sets_seen |= args->sections[i].seen;
	if (s->read_only)
		r->sets_seen = false;
	view_keywords(s->view, s->arena, &r->names, &r->names_n);
	return r;
}

/* ---- \Seen ------------------------------------------------------------------------------ */

static bool wanted(const struct fetch_run *r, const struct msg *m)
{
	return !r->args.has_changed_since || m->modseq > r->args.changed_since;
}

static void set_seen(struct imap *s, struct fetch_run *r)
{
	const struct flag_change change = {.op = FLAGS_ADD, .flags = FLAG_SEEN};
	struct uid_set refused;
	struct err err;
	struct msg m;
	unsigned n = 0;
	uint32_t seq = r->seq;

	r->just_seen.n = 0;
	for (size_t i = r->range; i < r->seqs.n && n < SEEN_AHEAD; i++) {
		if (i != r->range)
			seq = r->seqs.r[i].first;
		for (; seq <= r->seqs.r[i].last && n < SEEN_AHEAD; seq++, n++) {
			r->seen_to = seq;
			if (!view_msg(s->view, seq, &m) || m.flags & FLAG_SEEN || !wanted(r, &m))
				continue;
			uid_set_add(s->arena, &r->just_seen, &r->just_seen_cap, m.uid);
			imap_expect(s, m.uid, m.flags | FLAG_SEEN, m.keywords);
		}
	}
	if (!r->just_seen.n)
		return;
	if (view_store_flags(s->view, r->just_seen, &change, s->scratch, &refused, &r->seen_modseq, &err))
		return;
	r->just_seen.n = 0;
	if (r->err.kind == ERR_NONE)
		r->err = err;
}

/* ---- one message ------------------------------------------------------------------------ */

static void item(struct buf *b, const char *word)
{
	if (b->p[b->n - 1] != '(')
		buf_byte(b, ' ');
	buf_add(b, str_of(word));
}

static void memory_items(struct imap *s, unsigned items, const struct msg *m, const struct fetch_run *r)
{
	struct buf *b = imap_out(s);
	char *start = write_room(b), *p = start;
	bool first = p[-1] == '(';

	if (items & FETCH_UID) {
		p = put(p, " UID ", 5);
		p = put_u64(p, m->uid);
	}
	if (items & FETCH_SIZE) {
		p = put(p, " RFC822.SIZE ", 13);
		p = put_u64(p, m->size);
	}
	if (items & FETCH_MODSEQ) {
		p = put(p, " MODSEQ (", 9);
		p = put_u64(p, m->modseq);
		*p++ = ')';
	}
	if (items & FETCH_FLAGS)
		p = put(p, " FLAGS ", 7);
	size_t n = (size_t)(p - start);
	if (n && first)
		__builtin_memmove(start, start + 1, --n);
	b->n += n;
	if (items & FETCH_FLAGS)
		write_flags(b, m->flags & imap_flags_shown(s), m->keywords, r->names, r->names_n);
}

static void internaldate_item(struct buf *b, int64_t unix_s)
{
	item(b, "INTERNALDATE \"");
	date_format_imap(b, date_local(unix_s));
	buf_byte(b, '"');
}

static void detail_items(struct imap *s, struct buf *b, unsigned items, const struct msg_details *d,
			 const struct summary *sum)
{
	if (items & FETCH_EMAILID) {
		item(b, "EMAILID (");
		buf_add(b, str_of(d->email_id));
		buf_byte(b, ')');
	}
	if (items & FETCH_THREADID) {
		item(b, "THREADID (");
		buf_add(b, thread_id(s->scratch, d, sum));
		buf_byte(b, ')');
	}
	if (items & FETCH_SAVEDATE && d->savedate) {
		item(b, "SAVEDATE \"");
		date_format_imap(b, date_local(d->savedate));
		buf_byte(b, '"');
	} else if (items & FETCH_SAVEDATE) {
		item(b, "SAVEDATE NIL");
	}
}

/* summary: as read ahead, or empty. */
static bool stored_items(struct imap *s, struct buf *b, unsigned items, const struct msg *m,
			 struct str summary, struct err *err)
{
	struct msg_details d;
	struct summary sum;
	int64_t date;

	if (items & FETCH_INTERNALDATE) {
		if (!view_internaldate(s->view, m->uid, &date, err))
			return false;
		internaldate_item(b, date);
	}
	if (!(items & SUMMARY_ITEMS))
		return true;
	/* One of another version is made again by view_details. */
	if (!summary.n || items & DETAIL_ITEMS || !summary_decode_imap(summary, &sum, err))
		if (!view_details(s->view, m->uid, s->scratch, &d, err) ||
		    !summary_decode(d.summary, &sum, err))
			return false;
	if (items & FETCH_ENVELOPE) {
		item(b, "ENVELOPE ");
		buf_add(b, sum.envelope);
	}
	if (items & FETCH_BODYSTRUCTURE) {
		item(b, "BODYSTRUCTURE ");
		buf_add(b, sum.bodystructure);
	}
	if (items & FETCH_BODY) {
		item(b, "BODY ");
		buf_add(b, sum.body);
	}
	if (items & DETAIL_ITEMS)
		detail_items(s, b, items, &d, &sum);
	return true;
}

static bool preview_item(struct imap *s, struct content *c, struct err *err)
{
	const struct mime_message *m;
	BUF_SCOPED text = {};

	if (!content_mime(c, &m, err))
		return false;
	text_preview(&text, m);
	item(imap_out(s), "PREVIEW ");
	write_string(imap_out(s), text.n ? buf_str(&text) : STR(""), imap_utf8(s));
	return true;
}

static bool message_items(struct imap *s, struct fetch_run *r, unsigned items, const struct msg *m,
			  struct str summary, bool *files, struct err *err)
{
	struct content content;
	bool ok = true;

	memory_items(s, items, m, r);
	if (!stored_items(s, imap_out(s), items, m, summary, err))
		return false;
	if (!r->args.sections_n && !(items & FETCH_PREVIEW))
		return true;
	content_init(&content, s->view, m, s->scratch);
	if (items & FETCH_PREVIEW)
		ok = preview_item(s, &content, err);
	for (size_t i = 0; ok && i < r->args.sections_n; i++) {
		item(imap_out(s), "");
		ok = fetch_section_write(s, &content, &r->args.sections[i], files, err);
	}
	content_fini(&content);
	return ok;
}

/* RFC 9586 3.2: with UIDONLY the number is the UID. */
static void start_line(struct imap *s, uint32_t seq, uint32_t uid)
{
	bool uid_only = s->enabled & ENABLED_UIDONLY;
	struct buf *b = imap_out(s);
	char *start = write_room(b), *p = start;

	p = put(p, "* ", 2);
	p = put_u64(p, uid_only ? uid : seq);
	p = uid_only ? put(p, " UIDFETCH (", 11) : put(p, " FETCH (", 8);
	b->n += (size_t)(p - start);
}

/* false: the connection has to be closed. */
static bool one_message(struct imap *s, struct fetch_run *r, uint32_t seq, struct msg *m, struct str summary)
{
	unsigned items = r->args.items;
	size_t before = imap_out(s)->n;
	bool files = false;
	struct err err;

	if (uid_set_has(r->just_seen, m->uid)) {
		items |= FETCH_FLAGS | (s->enabled & ENABLED_CONDSTORE ? FETCH_MODSEQ : 0);
		m->flags |= FLAG_SEEN;
		if (r->seen_modseq > m->modseq)
			m->modseq = r->seen_modseq;
	}
	start_line(s, seq, m->uid);
	if (message_items(s, r, items, m, summary, &files, &err)) {
		buf_add(imap_out(s), STR(")\r\n"));
		return true;
	}
	if (files) {
		log_err(LOG_WARN, "imap.fetch", &err);
		return false;
	}
	imap_out(s)->n = before;
	if (err.kind == ERR_GONE || err.kind == ERR_NOT_FOUND)
		r->gone = true;
	else if (r->err.kind == ERR_NONE)
		r->err = err;
	return true;
}

/* ---- all of them ------------------------------------------------------------------------ */

static bool next_seq(struct fetch_run *r)
{
	if (r->range == r->seqs.n)
		return false;
	if (!r->seq)
		r->seq = r->seqs.r[r->range].first;
	return true;
}

static void advance(struct fetch_run *r)
{
	if (r->seq++ == r->seqs.r[r->range].last) {
		r->range++;
		r->seq = 0;
	}
}

static bool only_memory_step(struct imap *s, struct fetch_run *r)
{
	struct buf *b = imap_out(s);
	struct msg m;

	for (unsigned n = 0; n < 256 && next_seq(r); n++, advance(r)) {
		if (!view_msg(s->view, r->seq, &m) || !wanted(r, &m))
			continue;
		start_line(s, r->seq, m.uid);
		memory_items(s, r->args.items, &m, r);
		buf_add(b, STR(")\r\n"));
	}
	return true;
}

static bool full_step(struct imap *s, struct fetch_run *r)
{
	struct msg m;

	if (r->sets_seen && r->seq > r->seen_to)
		set_seen(s, r);
	bool ok = !view_msg(s->view, r->seq, &m) || (!wanted(r, &m) && !uid_set_has(r->just_seen, m.uid)) ||
		  one_message(s, r, r->seq, &m, STR_NONE);
	advance(r);
	arena_reset(s->scratch);
	return ok;
}

/* Nothing but what is in the index: read for some messages at once. */
static bool summaries_step(struct imap *s, struct fetch_run *r)
{
	struct msg m[SUMMARIES_AHEAD];
	uint32_t seqs[SUMMARIES_AHEAD], uids[SUMMARIES_AHEAD];
	struct str found[SUMMARIES_AHEAD];
	size_t n = 0, done = 0;
	struct err err;

	for (; n < SUMMARIES_AHEAD && next_seq(r); advance(r)) {
		if (!view_msg(s->view, r->seq, &m[n]) || !wanted(r, &m[n]))
			continue;
		seqs[n] = r->seq;
		uids[n] = m[n].uid;
		n++;
	}
	while (done < n) {
		size_t some;
		if (!view_summaries(s->view, uids + done, n - done, s->scratch, found, &some, &err)) {
			if (r->err.kind == ERR_NONE)
				r->err = err;
			arena_reset(s->scratch);
			return true;
		}
		for (size_t i = 0; i < some; i++, done++)
			if (!one_message(s, r, seqs[done], &m[done], found[i]))
				return false;
		arena_reset(s->scratch);
	}
	return true;
}

static bool step(struct imap *s, struct fetch_run *r)
{
	if (r->only_memory)
		return only_memory_step(s, r);
	return r->only_summaries ? summaries_step(s, r) : full_step(s, r);
}

enum step fetch_run_step(struct imap *s, struct fetch_run *r)
{
	while (next_seq(r)) {
		if (!step(s, r)) {
			s->closing = true;
			return STEP_DONE;
		}
		if (imap_out_pending(s) > CONN_OUT_HIGH)
			return STEP_OUTPUT;
		if (imap_turn_over(s))
			return STEP_AGAIN;
	}
	return STEP_DONE;
}
