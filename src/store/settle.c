/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * store/settle.c: no message is removed, moved or copied before a checkpoint made it durable
 * (invariant 2), so that recovery never brings back what a user has removed.
 */
#include "base/clock.h"
#include "journal/journal.h"
#include "store/store_int.h"
#include <unistd.h>

bool is_settled(struct store *s, struct index *ix, const struct cold *c)
{
	if (c->journal == JOURNAL_SETTLED)
		return true;
	if (c->journal == JOURNAL_UNKNOWN)
		return (int64_t)c->seq < __atomic_load_n(&s->settled_us, __ATOMIC_ACQUIRE);

	struct str name = index_journal_name(ix, c->journal);
	if (s->o.journal && str_eq(name, s->journal_name))
		return c->seq < journal_watermark(s->o.journal);
	return s->o.watermark && c->seq < s->o.watermark(s->o.ctx, name);
}

/* The highest number that is not settled, per journal. */
struct wanted {
	struct str name; /* empty: all journals */
	uint64_t seq;
};
struct wanted_list {
	struct arena *ar;
	struct wanted *at;
	size_t n, cap;
};

static void want(struct wanted_list *l, struct str name, uint64_t seq)
{
	for (size_t i = 0; i < l->n; i++)
		if (str_eq(l->at[i].name, name)) {
			if (seq > l->at[i].seq)
				l->at[i].seq = seq;
			return;
		}
	l->at = arena_grow(l->ar, l->at, l->n, &l->cap, sizeof(*l->at));
	l->at[l->n++] = (struct wanted){arena_str(l->ar, name), seq};
}

static bool own(const struct store *s, struct str name)
{
	return s->o.journal && str_eq(name, s->journal_name);
}

static bool settle_one(struct store *s, const struct wanted *w, struct err *err)
{
	int64_t now = clock_wall_us();

	if (s->o.settle) {
		if (!s->o.settle(s->o.ctx, w->name, w->seq, err))
			return false;
	} else if (own(s, w->name)) {
		if (!store_settle_own(s, w->seq, err))
			return false;
	} else if (w->name.n == 0) {
		/* Nobody else writes here. */
		if (!store_settle_own(s, UINT64_MAX, err))
			return false;
	} else {
		return err_set(err, ERR_TEMP, "a message is too new to be removed, moved or copied");
	}
	if (!w->name.n)
		__atomic_store_n(&s->settled_us, now, __ATOMIC_RELEASE);
	return true;
}

static bool collect(struct view *v, struct dir *d, struct uid_set uids, unsigned flags,
		    struct wanted_list *l, struct err *err)
{
	struct account *a = v->account;
	struct index_mailbox m;

	if (!account_index(a, err) || !dir_sync(a, d, SYNC_IF_BROKEN, &m, err))
		return false;

	if (flags & FLAG_DELETED && !m.deleted)
		return true;
	struct index_reader r = {.ix = a->hot->index, .row = m.row};
	struct hot h;
	struct cold c;
	bool ok = true, found;
	for (size_t i = 0; ok && i < uids.n; i++)
		for (uint32_t uid = uids.r[i].first; uid && uid <= uids.r[i].last; uid = h.uid + 1) {
			ok = index_find_next(&r, uid, &h, &c, &found, err);
			if (!ok || !found || h.uid > uids.r[i].last)
				break;
			if ((h.marks & flags) == flags && !is_settled(a->store, r.ix, &c))
				want(l, index_journal_name(r.ix, c.journal), c.seq);
		}
	index_reader_end(&r);
	if (!ok)
		account_index_failed(a, err);
	return ok;
}

static bool settle_list(struct store *s, const struct wanted_list *l, struct err *err)
{
	for (size_t i = 0; i < l->n; i++)
		if (!settle_one(s, &l->at[i], err))
			return err_while(err, "waiting for what is not on disk yet");
	return true;
}

bool view_settle(struct view *v, struct uid_set uids, unsigned flags, struct err *err)
{
	ARENA_SCOPED ar = arena_new();
	struct wanted_list l = {.ar = ar};
	struct dir *d;

	if (!account_lock(v->account, USE_READ, err))
		return false;
	bool ok = view_dir(v, &d, err) && collect(v, d, uids, flags, &l, err);
	account_unlock(v->account);
	return ok && settle_list(v->account->store, &l, err);
}

bool mailbox_settle(struct account *a, struct str name, struct err *err)
{
	struct uid_range all = {1, UINT32_MAX - 1};
	struct view *v;

	if (!view_open(a, name, true, &v, err))
		return false;
	bool ok = view_settle(v, (struct uid_set){&all, 1}, 0, err);
	view_close(v);
	return ok;
}

bool settle_pause(struct settle_wait *w)
{
	enum { FIRST_MS = 2, LONGEST_MS = 250, ALL_MS = 10000 };
	int64_t now = clock_mono_ms();

	if (!w->until_ms)
		w->until_ms = now + ALL_MS;
	if (now >= w->until_ms)
		return false;
	w->pause_ms = !w->pause_ms ? FIRST_MS : w->pause_ms < LONGEST_MS ? 2 * w->pause_ms : LONGEST_MS;
	usleep(w->pause_ms * 1000);
	return true;
}
