/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * store/summaries.c: what the index keeps of a message's content (mime/summary.h): made at the first
 * need, many at once for lists, or soon after the delivery, when it is quiet.
 *
 * Files are opened under the account's lock; reading and parsing runs without it.
 */
#include "base/clock.h"
#include "mime/summary.h"
#include "store/store_int.h"
#include <unistd.h>

enum { CATCH_UP = 32 };

bool summary_held(const struct hot_account *h, int64_t row, uint32_t uid, struct arena *ar, struct str *out)
{
	for (unsigned i = 0; i < h->held_n; i++)
		if (h->held[i].row == row && h->held[i].uid == uid) {
			*out = arena_str(ar, h->held[i].data);
			return true;
		}
	return false;
}

void summary_hold(struct account *a, int64_t row, uint32_t uid, struct str data)
{
	struct hot_account *h = a->hot;

	if (h->held_n == SUMMARIES_HELD)
		account_flush_summaries(a);
	h->held[h->held_n++] = (struct summary_held){row, uid, arena_str(h->held_arena, data)};
}

bool summary_of_opened(struct opened *o, struct arena *ar, struct str *out, struct err *err)
{
	ARENA_SCOPED scratch = arena_new();
	BUF_SCOPED encoded = {0};
	struct summary s;
	struct str content;

	if (!message_read(o, scratch, &content, err))
		return false;
	summary_make(scratch, mime_parse(scratch, content), &s);
	summary_encode(&encoded, &s);
	*out = arena_str(ar, buf_str(&encoded));
	return true;
}

/* ---- many ------------------------------------------------------------------------------- */
struct many {
	struct account *a;
	const uint32_t *uids;
	size_t n;
	struct arena *ar;
	struct str *out;
	struct opened *opened; /* those that have none; fd -1: not */
	bool any;
	int64_t row;
};

static bool find_many(struct many *m, struct dir *d, struct err *err)
{
	struct account *a = m->a;
	struct index_mailbox row;
	size_t found;

	if (!account_index(a, err) || !dir_sync(a, d, SYNC_IF_BROKEN, &row, err))
		return false;
	if (!index_summaries(a->hot->index, row.row, m->uids, m->n, m->ar, m->out, &found, err)) {
		account_index_failed(a, err);
		return false;
	}
	m->n = found;
	m->row = row.row;
	for (size_t i = 0; a->hot->held_n && i < m->n; i++)
		if (!m->out[i].n && !summary_held(a->hot, row.row, m->uids[i], m->ar, &m->out[i]))
			m->out[i] = STR_NONE;
	return true;
}

/* What cannot be opened here is left to view_details(), which looks closer. */
static void open_missing(struct many *m, struct dir *d)
{
	struct err err;
	bool again;

	m->opened = arena_zalloc(m->ar, (m->n + 1) * sizeof(*m->opened));
	for (size_t i = 0; i < m->n; i++) {
		m->opened[i].fd = -1;
		if (m->out[i].n)
			continue;
		if (!message_try_open(m->a, d, m->uids[i], m->ar, &m->opened[i], &again, &err) || again) {
			m->opened[i].fd = -1;
			if (!m->a->hot->index)
				break; /* it failed and was closed */
			continue;
		}
		m->any = true;
	}
}

static void make_missing(struct many *m)
{
	struct err err;

	for (size_t i = 0; i < m->n; i++) {
		if (m->opened[i].fd < 0)
			continue;
		if (!summary_of_opened(&m->opened[i], m->ar, &m->out[i], &err))
			m->out[i] = STR_NONE;
		fd_close(&m->opened[i].fd);
		m->opened[i].row = m->out[i].n ? m->row : 0;
	}
}

static void hold_made(struct many *m)
{
	for (size_t i = 0; i < m->n && m->a->hot->index; i++)
		if (m->opened[i].row && m->out[i].n)
			summary_hold(m->a, m->row, m->uids[i], m->out[i]);
}

bool view_summaries(struct view *v, const uint32_t *uids, size_t n, struct arena *ar, struct str *out,
		    size_t *out_n, struct err *err)
{
	struct many m = {.a = v->account, .uids = uids, .n = n, .ar = ar, .out = out};
	struct dir *d;

	if (!account_lock(v->account, USE_READ, err))
		return false;
	bool ok = view_dir(v, &d, err) && find_many(&m, d, err);
	if (ok)
		open_missing(&m, d);
	account_unlock(v->account);
	if (!ok)
		return false;
	*out_n = m.n;
	if (!m.any)
		return true;
	make_missing(&m);
	struct err ignored;
	if (account_lock(v->account, USE_READ, &ignored)) {
		hold_made(&m);
		account_unlock(v->account);
	}
	return true;
}

/* ---- after deliveries ------------------------------------------------------------------- */
/* UIDs from *from on. */
static bool next_uids(struct many *m, struct dir *d, uint32_t *uids, uint32_t *from, struct err *err)
{
	struct index_mailbox row;
	struct hot h;
	struct cold c;
	bool found = true;

	if (!account_index(m->a, err) || !dir_sync(m->a, d, SYNC_IF_BROKEN, &row, err))
		return false;
	struct index_reader r = {.ix = m->a->hot->index, .row = row.row};
	bool ok = true;
	for (m->n = 0; m->n < CATCH_UP; *from = h.uid + 1) {
		ok = index_find_next(&r, *from, &h, &c, &found, err);
		if (!ok || !found)
			break;
		uids[m->n++] = h.uid;
	}
	index_reader_end(&r);
	if (!ok)
		account_index_failed(m->a, err);
	else if (!found)
		*from = 0;
	return ok;
}

bool summaries_catch_up(struct account *a, struct str dir_name, uint32_t *from, struct err *err)
{
	ARENA_SCOPED ar = arena_new();
	uint32_t uids[CATCH_UP];
	struct str out[CATCH_UP];
	struct many m = {.a = a, .uids = uids, .ar = ar, .out = out};
	struct dir *d;

	if (!account_lock(a, USE_READ, err))
		return false;
	bool ok = dir_open(a, dir_name, &d, err);
	if (ok && !d) {
		*from = 0; /* renamed or deleted meanwhile */
	} else if (ok) {
		ok = next_uids(&m, d, uids, from, err) && (!m.n || find_many(&m, d, err));
		if (ok && m.n) {
			/* Large summaries were fewer than asked for. */
			if (uids[m.n - 1] + 1 < *from)
				*from = uids[m.n - 1] + 1;
			open_missing(&m, d);
		}
	}
	account_unlock(a);
	if (!ok || !m.any)
		return ok;
	make_missing(&m);
	if (!account_lock(a, USE_READ, err))
		return false;
	hold_made(&m);
	if (a->hot->index)
		account_flush_summaries(a);
	account_unlock(a);
	return true;
}
