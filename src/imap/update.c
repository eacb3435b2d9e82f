/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/update.c: what the client is told of the selected mailbox without having asked
 * (RFC 9051 7.5, RFC 7162 3.2.10), and sets of messages.
 *
 * The order is: new keywords, what is gone, how many there are, changed flags: so every number
 * that stands in a line is valid after the lines before it.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "imap/context.h"
#include "imap/fetch.h"
#include "imap/imap_int.h"
#include "imap/notify.h"
#include <stdlib.h>
#include <string.h>

enum {
	TURN_US = 20 * 1000,
	PROGRESS_MS = 10 * 1000, /* RFC 9585 4: not more often than clients can use */
};

bool imap_turn_over(struct imap *s)
{
	int64_t now = clock_mono_us();

	if (!s->turn_ends)
		s->turn_ends = now + TURN_US;
	return now >= s->turn_ends;
}

void imap_progress(struct imap *s, int64_t *next_ms, uint64_t done, uint64_t all)
{
	int64_t now = clock_mono_ms();
	struct buf *b = imap_out(s);

	if (!*next_ms)
		*next_ms = now + PROGRESS_MS;
	if (now < *next_ms)
		return;
	*next_ms = now + PROGRESS_MS;
	buf_add(b, STR("* OK [INPROGRESS ("));
	write_string(b, s->command.tag, false);
	buf_byte(b, ' ');
	buf_u64(b, done);
	buf_byte(b, ' ');
	buf_u64(b, all);
	buf_add(b, STR(")] Still at it\r\n"));
}

void imap_expect(struct imap *s, uint32_t uid, unsigned flags, uint32_t keywords)
{
	s->expected =
		arena_grow(s->arena, s->expected, s->expected_n, &s->expected_cap, sizeof(*s->expected));
	s->expected[s->expected_n++] =
		(struct expected){.uid = uid, .flags = flags & ~(unsigned)FLAG_RECENT, .keywords = keywords};
}

static const struct expected *find_expected(const struct imap *s, uint32_t uid)
{
	size_t lo = 0, hi = s->expected_n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (s->expected[mid].uid == uid)
			return &s->expected[mid];
		if (s->expected[mid].uid < uid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

static bool as_expected(const struct imap *s, const struct msg *m)
{
	const struct expected *e = find_expected(s, m->uid);

	return e && e->flags == (m->flags & ~(unsigned)FLAG_RECENT) && e->keywords == m->keywords;
}

void imap_write_flags_line(struct imap *s, bool permanent)
{
	struct buf *b = imap_out(s);
	struct str *names;
	size_t n;

	view_keywords(s->view, s->arena, &names, &n);
	buf_add(b, STR("* FLAGS "));
	unsigned all = FLAG_ANSWERED | FLAG_FLAGGED | FLAG_DELETED | FLAG_SEEN | FLAG_DRAFT | FLAG_FORWARDED;
	uint32_t keywords = n >= 32 ? UINT32_MAX : (UINT32_C(1) << n) - 1;
	write_flags(b, all, keywords, names, n);
	buf_add(b, STR("\r\n"));
	if (!permanent)
		return;
	buf_add(b, STR("* OK [PERMANENTFLAGS "));
	if (s->read_only) {
		buf_add(b, STR("()] No permanent flags permitted\r\n"));
		return;
	}
	write_flags(b, all, keywords, names, n);
	if (n < KEYWORDS_MAX) {
		b->n--; /* the parenthesis */
		buf_add(b, STR(" \\*)"));
	}
	buf_add(b, STR("] Flags permitted\r\n"));
}

void imap_write_fetch_flags(struct imap *s, uint32_t seq, const struct msg *m, unsigned items,
			    const struct str *names, size_t names_n)
{
	struct buf *b = imap_out(s);
	char *start = write_room(b), *p = start;

	p = put(p, "* ", 2);
	if (s->enabled & ENABLED_UIDONLY) {
		p = put_u64(p, m->uid);
		p = put(p, " UIDFETCH (", 11);
		items &= ~(unsigned)FETCH_UID;
	} else {
		p = put_u64(p, seq);
		p = put(p, " FETCH (", 8);
	}
	if (items & FETCH_UID) {
		p = put(p, "UID ", 4);
		p = put_u64(p, m->uid);
		*p++ = ' ';
	}
	if (items & FETCH_MODSEQ) {
		p = put(p, "MODSEQ (", 8);
		p = put_u64(p, m->modseq);
		p = put(p, ") ", 2);
	}
	if (!(items & FETCH_FLAGS)) {
		p[-1] = ')'; /* the last blank */
		p = put(p, "\r\n", 2);
		b->n += (size_t)(p - start);
		return;
	}
	p = put(p, "FLAGS ", 6);
	b->n += (size_t)(p - start);
	write_flags(b, m->flags & imap_flags_shown(s), m->keywords, names, names_n);
	buf_add(b, STR(")\r\n"));
}

static uint32_t last_uid(struct imap *s)
{
	struct msg m;

	return view_msg(s->view, view_count(s->view), &m) ? m.uid : 0;
}

static void tell_expunged(struct imap *s, const struct view_changes *ch)
{
	struct buf *b = imap_out(s);

	if (s->enabled & (ENABLED_QRESYNC | ENABLED_UIDONLY)) {
		if (!ch->vanished.n)
			return;
		buf_add(b, STR("* VANISHED "));
		write_uid_set(b, ch->vanished);
		buf_add(b, STR("\r\n"));
		return;
	}
	for (size_t i = 0; i < ch->expunged_n; i++) {
		char *start = write_room(b), *p = start;
		p = put(p, "* ", 2);
		p = put_u64(p, ch->expunged[i]);
		p = put(p, " EXPUNGE\r\n", 10);
		b->n += (size_t)(p - start);
	}
}

static void tell_count(struct imap *s, const struct view_changes *ch)
{
	struct buf *b = imap_out(s);

	if (!ch->exists_grew)
		return;
	buf_add(b, STR("* "));
	buf_u64(b, ch->exists);
	buf_add(b, STR(" EXISTS\r\n"));
	if (s->enabled & ENABLED_REV2)
		return;
	buf_add(b, STR("* "));
	buf_u64(b, ch->recent);
	buf_add(b, STR(" RECENT\r\n"));
}

static unsigned update_items(const struct imap *s)
{
	unsigned items = FETCH_FLAGS;

	if (s->command.uid || s->enabled & ENABLED_QRESYNC)
		items |= FETCH_UID;
	if (s->enabled & ENABLED_CONDSTORE)
		items |= FETCH_MODSEQ;
	return items;
}

static void tell_changed(struct imap *s, const struct view_changes *ch, const struct str *names,
			 size_t names_n)
{
	unsigned items = update_items(s);
	struct msg m;

	for (size_t i = 0; i < ch->changed_n; i++) {
		if (!view_msg(s->view, ch->changed[i], &m) || uid_set_has(s->echo, m.uid))
			continue;
		if (!as_expected(s, &m))
			imap_write_fetch_flags(s, ch->changed[i], &m, items, names, names_n);
		else if (items & FETCH_MODSEQ) /* RFC 7162 3.1.3: also with .SILENT */
			imap_write_fetch_flags(s, ch->changed[i], &m, items & ~(unsigned)FETCH_FLAGS,
					       names, names_n);
	}
}

static void tell_echo(struct imap *s, const struct str *names, size_t names_n)
{
	unsigned items = update_items(s);
	struct msg m;

	for (size_t i = 0; i < s->echo.n; i++) {
		uint32_t seq = view_seq_at_least(s->view, s->echo.r[i].first);
		for (; view_msg(s->view, seq, &m) && m.uid <= s->echo.r[i].last; seq++)
			if (!uid_set_has(s->echo_not, m.uid))
				imap_write_fetch_flags(s, seq, &m, items, names, names_n);
	}
	s->echo = s->echo_not = (struct uid_set){};
}

bool imap_update(struct imap *s, bool hold_expunges)
{
	struct view_changes ch = {};
	struct err err;
	struct str *names = NULL;
	size_t names_n = 0;

	uint32_t last = last_uid(s);
	if (!view_refresh(s->view, hold_expunges, s->arena, &ch, &err)) {
		log_err(LOG_WARN, "imap.refresh", &err);
		if (err.kind != ERR_NOT_FOUND && err.kind != ERR_GONE)
			return true; /* nothing new to tell now */
		imap_bye(s, "[UNAVAILABLE] The selected mailbox is gone");
		return false;
	}
	if (ch.keywords_grew)
		imap_write_flags_line(s, true);
	context_vanished(s, &ch);
	tell_expunged(s, &ch);
	tell_count(s, &ch);
	if (ch.changed_n || s->echo.n)
		view_keywords(s->view, s->arena, &names, &names_n);
	tell_changed(s, &ch, names, names_n);
	tell_echo(s, names, names_n);
	context_changed(s, &ch, last);
	if (ch.exists_grew && s->notify)
		notify_new(s, last);
	return true;
}

void imap_set_saved(struct imap *s, struct uid_set uids)
{
	free(s->saved.r);
	s->saved = (struct uid_set){};
	if (!uids.n)
		return;
	s->saved.r = mem_resize_array(NULL, uids.n, sizeof(*uids.r));
	s->saved.n = uids.n;
	memcpy(s->saved.r, uids.r, uids.n * sizeof(*uids.r));
}

void imap_enable_condstore(struct imap *s)
{
	struct view_facts f;

	if (s->enabled & ENABLED_CONDSTORE)
		return;
	s->enabled |= ENABLED_CONDSTORE;
	if (!s->view)
		return;
	view_facts(s->view, &f);
	buf_fmt(imap_out(s), "* OK [HIGHESTMODSEQ %llu] Highest\r\n", (unsigned long long)f.highestmodseq);
}

void imap_unselect(struct imap *s)
{
	if (!s->view)
		return;
	context_free_all(s);
	view_watch(s->view, NULL, NULL);
	view_close(s->view);
	s->view = NULL;
	imap_set_saved(s, (struct uid_set){});
}

/* ---- sets ------------------------------------------------------------------------------- */

/* Ranges of UIDs to ranges of sequence numbers. */
static struct uid_set seqs_of_uids(struct imap *s, struct uid_set uids)
{
	struct uid_range *r = arena_array(s->arena, uids.n ? uids.n : 1, sizeof(*r));
	uint32_t count = view_count(s->view);
	size_t n = 0;

	for (size_t i = 0; i < uids.n; i++) {
		uint32_t first = view_seq_at_least(s->view, uids.r[i].first);
		uint32_t last = uids.r[i].last == UINT32_MAX
					? count
					: view_seq_at_least(s->view, uids.r[i].last + 1) - 1;
		if (first <= last && first <= count)
			r[n++] = (struct uid_range){first, last < count ? last : count};
	}
	return uid_set_sort(r, n);
}

bool imap_resolve(struct imap *s, const struct sequence_set *set, bool uid, struct uid_set *out)
{
	uint32_t count = view_count(s->view);

	if (set->saved) {
		*out = seqs_of_uids(s, s->saved);
		return true;
	}
	if (uid) {
		/* In an empty mailbox "*" is no UID; taking it for the highest number finds nothing. */
		uint32_t star = count ? last_uid(s) : UINT32_MAX;
		*out = seqs_of_uids(s, sequence_set_resolve(set, star, s->arena));
		return true;
	}
	for (size_t i = 0; i < set->n; i++)
		if (set->r[i].first > count || set->r[i].last > count || !count) {
			imap_bad(s, "There is no message of that number");
			return false;
		}
	*out = sequence_set_resolve(set, count, s->arena);
	return true;
}

struct uid_set imap_uids_of(struct imap *s, struct uid_set seqs)
{
	struct uid_range *r = arena_array(s->arena, seqs.n ? seqs.n : 1, sizeof(*r));
	struct msg first, last;
	size_t n = 0;

	for (size_t i = 0; i < seqs.n; i++)
		if (view_msg(s->view, seqs.r[i].first, &first) && view_msg(s->view, seqs.r[i].last, &last))
			r[n++] = (struct uid_range){first.uid, last.uid};
	return (struct uid_set){r, n};
}
