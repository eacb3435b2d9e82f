/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/search.c: evaluation in three values. At a cost too low for a key it answers DEAR, and AND,
 * OR and NOT carry that on unless the rest decides; the cost rises until the root knows. What was
 * loaded of a message is kept for all keys and lost with the scratch arena.
 */
#include "imap/search.h"
#include "base/buf.h"
#include "base/clock.h"
#include "imap/ahead.h"
#include "imap/content.h"
#include "imap/threadid.h"
#include "mail/date.h"
#include "mail/header.h"
#include "mime/summary.h"
#include "mime/text.h"
#include "mime/words.h"

/* One message, loaded as far as needed. */
struct loaded {
	struct search *s;
	uint32_t seq;
	const struct msg *m;
	enum search_cost cost;  /* allowed now */
	bool has_date, has_details, has_summary, has_content, has_text, has_body;
	int64_t internaldate;
	struct msg_details details;
	struct summary summary;
	struct content content;
	struct str text, body;  /* normalised */
	bool failed;
};

static enum search_answer answer(bool yes) { return yes ? SEARCH_YES : SEARCH_NO; }

static bool failed(struct loaded *l, const struct err *err)
{
	l->failed = true;
	if (err->kind == ERR_GONE || err->kind == ERR_NOT_FOUND)
		l->s->gone = true;
	else if (l->s->err.kind == ERR_NONE)
		l->s->err = *err;
	return false;
}

/* ---- loading ---------------------------------------------------------------------------- */

static bool load_date(struct loaded *l)
{
	struct err err;

	if (l->has_date)
		return true;
	if (!view_internaldate(l->s->view, l->m->uid, &l->internaldate, &err))
		return failed(l, &err);
	l->has_date = true;
	return true;
}

/* What the index has of it besides, and the summary. */
static bool load_details(struct loaded *l)
{
	struct err err;

	if (l->has_details)
		return true;
	if (!view_details(l->s->view, l->m->uid, l->s->scratch, &l->details, &err) ||
	    !summary_decode(l->details.summary, &l->summary, &err))
		return failed(l, &err);
	l->has_details = l->has_summary = true;
	return true;
}

static bool load_summary(struct loaded *l)
{
	if (!l->has_summary && l->s->ahead)
		l->has_summary = ahead_summary(l->s->ahead, l->seq, l->m->uid, &l->summary);
	return l->has_summary || load_details(l);
}

static struct content *content(struct loaded *l)
{
	if (!l->has_content)
		content_init(&l->content, l->s->view, l->m, l->s->scratch);
	l->has_content = true;
	return &l->content;
}

static bool load_header(struct loaded *l, struct str *out)
{
	struct err err;

	return content_header(content(l), out, &err) || failed(l, &err);
}

static bool load_text(struct loaded *l, int scope, bool *has, struct str *text)
{
	const struct mime_message *m;
	BUF_SCOPED raw = {};
	BUF_SCOPED normal = {};
	struct err err;

	if (*has)
		return true;
	if (!content_mime(content(l), &m, &err))
		return failed(l, &err);
	text_extract(&raw, m, scope);
	text_normalise(&normal, buf_str(&raw));
	*text = arena_str(l->s->scratch, buf_str(&normal));
	*has = true;
	return true;
}

/* ---- single keys ------------------------------------------------------------------------ */

static int32_t day_of(int64_t unix_s, int offset_min)
{
	int64_t t = unix_s + (int64_t)offset_min * 60;

	return (int32_t)(t >= 0 ? t / 86400 : -((86399 - t) / 86400));
}

static bool compare_day(enum search_kind kind, int32_t day, int32_t wanted)
{
	if (kind == SEARCH_BEFORE || kind == SEARCH_SENT_BEFORE || kind == SEARCH_SAVED_BEFORE)
		return day < wanted;
	bool on = kind == SEARCH_ON || kind == SEARCH_SENT_ON || kind == SEARCH_SAVED_ON;
	return on ? day == wanted : day >= wanted;
}

/* INTERNALDATE, "disregarding time and timezone": the day it was here. */
static enum search_answer date_key(struct loaded *l, const struct search_key *k)
{
	if (l->cost < SEARCH_COST_DATE)
		return SEARCH_DEAR;
	if (!load_date(l))
		return SEARCH_NO;
	if (k->kind == SEARCH_OLDER)
		return answer(l->internaldate <= l->s->now - (int64_t)k->number);
	if (k->kind == SEARCH_YOUNGER)
		return answer(l->internaldate >= l->s->now - (int64_t)k->number);
	return answer(compare_day(
		k->kind, day_of(l->internaldate, date_local_offset_min(l->internaldate)), k->day));
}

/* Where the date it was saved is not known, INTERNALDATE stands for it (RFC 8514 4.3). */
static enum search_answer saved_key(struct loaded *l, const struct search_key *k)
{
	if (l->cost < SEARCH_COST_SUMMARY)
		return SEARCH_DEAR;
	if (!load_details(l))
		return SEARCH_NO;
	int64_t t = l->details.savedate ? l->details.savedate : l->details.internaldate;
	return answer(compare_day(k->kind, day_of(t, date_local_offset_min(t)), k->day));
}

/* The Date field: the day that is written there. */
static enum search_answer sent_key(struct loaded *l, const struct search_key *k)
{
	if (l->cost < SEARCH_COST_SUMMARY)
		return SEARCH_DEAR;
	if (!load_summary(l) || l->summary.date_unix == SUMMARY_NO_DATE)
		return SEARCH_NO;
	return answer(compare_day(k->kind, day_of(l->summary.date_unix, l->summary.date_offset_min), k->day));
}

static bool contains(struct loaded *l, struct str utf8, struct str needle)
{
	return !needle.n || str_find(text_normalised(l->s->scratch, utf8), needle) != STR_NPOS;
}

/* Any field of that name has the text; an empty text asks for the field alone (RFC 9051 6.4.4). */
static enum search_answer header_key(struct loaded *l, struct str name, struct str needle)
{
	struct header_field f;
	struct str header;

	if (l->cost < SEARCH_COST_FILE)
		return SEARCH_DEAR;
	if (!load_header(l, &header))
		return SEARCH_NO;
	struct scan s = scan_of(header);
	while (header_next(&s, &f))
		if (str_eq_nocase(f.name, name) &&
		    (!needle.n || contains(l, words_decode_str(l->s->scratch, f.body), needle)))
			return SEARCH_YES;
	return SEARCH_NO;
}

/* From the summary when it has the whole field; a text that is not in a cut one may be in the rest. */
static enum search_answer summary_key(struct loaded *l, struct str name, const struct str *field,
				      struct str needle)
{
	if (l->cost < SEARCH_COST_SUMMARY)
		return SEARCH_DEAR;
	if (!load_summary(l))
		return SEARCH_NO;
	if (contains(l, *field, needle) && (needle.n || field->n))
		return SEARCH_YES;
	if (needle.n && field->n < SUMMARY_TEXT_MAX - 4)
		return SEARCH_NO;
	return header_key(l, name, needle);
}

static enum search_answer text_key(struct loaded *l, int scope, bool *has, struct str *text,
				   struct str needle)
{
	if (!needle.n)
		return SEARCH_YES;
	if (l->cost < SEARCH_COST_FILE)
		return SEARCH_DEAR;
	return answer(load_text(l, scope, has, text) && str_find(*text, needle) != STR_NPOS);
}

/* HEADER of a field that the summary keeps. A message-id is looked up so by every client. */
static enum search_answer named_header_key(struct loaded *l, const struct search_key *k)
{
	bool id = str_starts(k->text, STR("<")) && str_ends(k->text, STR(">"));

	if (id && str_eq_nocase(k->name, STR("Message-ID"))) {
		if (l->cost < SEARCH_COST_SUMMARY)
			return SEARCH_DEAR;
		if (load_summary(l) && l->summary.message_id.n)
			return answer(contains(l, l->summary.message_id, k->text));
	}
	return header_key(l, k->name, k->text);
}

static enum search_answer id_key(struct loaded *l, const struct search_key *k)
{
	if (l->cost < SEARCH_COST_SUMMARY)
		return SEARCH_DEAR;
	if (!load_details(l))
		return SEARCH_NO;
	if (k->kind == SEARCH_THREADID)
		return answer(str_eq(thread_id(l->s->scratch, &l->details, &l->summary), k->name));
	return answer(str_eq(str_of(l->details.email_id), k->name));
}

/* ---- the tree --------------------------------------------------------------------------- */

static enum search_answer eval(struct loaded *l, const struct search_key *k);

static enum search_answer eval_and(struct loaded *l, const struct search_key *list)
{
	enum search_answer all = SEARCH_YES;

	for (const struct search_key *k = list; k; k = k->next) {
		enum search_answer one = eval(l, k);
		if (one == SEARCH_NO)
			return SEARCH_NO;
		if (one == SEARCH_DEAR)
			all = SEARCH_DEAR;
	}
	return all;
}

static enum search_answer eval_or(struct loaded *l, const struct search_key *k)
{
	enum search_answer a = eval(l, k->a);
	enum search_answer b = a == SEARCH_YES ? a : eval(l, k->b);

	if (a == SEARCH_YES || b == SEARCH_YES)
		return SEARCH_YES;
	return a == SEARCH_DEAR || b == SEARCH_DEAR ? SEARCH_DEAR : SEARCH_NO;
}

static enum search_answer eval_not(struct loaded *l, const struct search_key *k)
{
	enum search_answer a = eval(l, k->a);

	return a == SEARCH_DEAR ? a : answer(a == SEARCH_NO);
}

static enum search_answer eval(struct loaded *l, const struct search_key *k)
{
	const struct msg *m = l->m;

	switch (k->kind) {
	case SEARCH_ALL:
		return SEARCH_YES;
	case SEARCH_AND:
		return eval_and(l, k->a);
	case SEARCH_OR:
		return eval_or(l, k);
	case SEARCH_NOT:
		return eval_not(l, k);
	case SEARCH_FLAG:
		return answer((m->flags & k->mask) == k->want);
	case SEARCH_KEYWORD:
		return answer(m->keywords & k->keyword_bit);
	case SEARCH_SEQ:
		return answer(uid_set_has(k->resolved, l->seq));
	case SEARCH_UID:
		return answer(uid_set_has(k->resolved, m->uid));
	case SEARCH_LARGER:
		return answer(m->size > k->number);
	case SEARCH_SMALLER:
		return answer(m->size < k->number);
	case SEARCH_MODSEQ:
		return answer(m->modseq >= k->number);
	case SEARCH_BEFORE:
	case SEARCH_ON:
	case SEARCH_SINCE:
	case SEARCH_OLDER:
	case SEARCH_YOUNGER:
		return date_key(l, k);
	case SEARCH_EMAILID:
	case SEARCH_THREADID:
		return id_key(l, k);
	case SEARCH_SAVED_BEFORE:
	case SEARCH_SAVED_ON:
	case SEARCH_SAVED_SINCE:
		return saved_key(l, k);
	case SEARCH_SENT_BEFORE:
	case SEARCH_SENT_ON:
	case SEARCH_SENT_SINCE:
		return sent_key(l, k);
	case SEARCH_SUBJECT:
		return summary_key(l, STR("Subject"), &l->summary.subject, k->text);
	case SEARCH_FROM:
		return summary_key(l, STR("From"), &l->summary.from, k->text);
	case SEARCH_TO:
		return summary_key(l, STR("To"), &l->summary.to, k->text);
	case SEARCH_CC:
		return summary_key(l, STR("Cc"), &l->summary.cc, k->text);
	case SEARCH_BCC:
		return header_key(l, STR("Bcc"), k->text);
	case SEARCH_HEADER:
		return named_header_key(l, k);
	case SEARCH_BODY:
		return text_key(l, TEXT_BODY, &l->has_body, &l->body, k->text);
	case SEARCH_TEXT:
		return text_key(l, TEXT_HEADER | TEXT_BODY, &l->has_text, &l->text, k->text);
	}
	return SEARCH_NO;
}

bool search_matches(struct search *s, uint32_t seq, const struct msg *m, enum search_cost *out_cost)
{
	struct loaded l = {.s = s, .seq = seq, .m = m, .cost = SEARCH_COST_MEMORY};
	enum search_answer a = eval(&l, s->root);

	while (a == SEARCH_DEAR && l.cost < SEARCH_COST_FILE && !l.failed) {
		l.cost++;
		a = eval(&l, s->root);
	}
	*out_cost = l.cost;
	if (l.has_content)
		content_fini(&l.content);
	if (l.cost >= SEARCH_COST_SUMMARY)
		arena_reset(s->scratch);
	return a == SEARCH_YES && !l.failed;
}

/* ---- preparation ------------------------------------------------------------------------ */

static struct uid_set seqs_of(struct view *v, struct uid_set uids, struct arena *a)
{
	struct uid_set out = {};
	size_t cap = 0;
	struct msg m;

	for (size_t i = 0; i < uids.n; i++)
		for (uint32_t seq = view_seq_at_least(v, uids.r[i].first);
		     view_msg(v, seq, &m) && m.uid <= uids.r[i].last; seq++)
			uid_set_add(a, &out, &cap, seq);
	return out;
}

static void prepare_keyword(struct search *s, struct search_key *k, struct arena *a)
{
	struct str *names;
	size_t n;

	view_keywords(s->view, a, &names, &n);
	k->keyword_bit = 0; /* of another mailbox */
	for (size_t i = 0; i < n; i++)
		if (str_eq_nocase(names[i], k->name))
			k->keyword_bit = UINT32_C(1) << i;
}

static void prepare_set(struct search *s, struct search_key *k, struct uid_set saved, struct arena *a)
{
	uint32_t count = view_count(s->view);
	struct msg last = {};

	if (k->set.saved) {
		k->resolved = k->kind == SEARCH_UID ? saved : seqs_of(s->view, saved, a);
		return;
	}
	if (count && !view_msg(s->view, count, &last))
		last.uid = 0;
	uint32_t star = k->kind == SEARCH_SEQ ? count : last.uid;
	k->resolved = sequence_set_resolve(&k->set, star, a);
}

static void prepare(struct search *s, struct search_key *k, struct uid_set saved, struct arena *a)
{
	for (; k; k = k->next) {
		if (k->kind == SEARCH_KEYWORD)
			prepare_keyword(s, k, a);
		else if (k->kind == SEARCH_SEQ || k->kind == SEARCH_UID)
			prepare_set(s, k, saved, a);
		prepare(s, k->a, saved, a);
		prepare(s, k->b, saved, a);
	}
}

void search_prepare(struct search *s, struct uid_set saved, struct arena *a)
{
	s->now = clock_wall_s();
	prepare(s, s->root, saved, a);
}
