/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * store/view.c: a session's picture of a mailbox: opening, reading it, and taking in what happened
 * since.
 *
 * A view points to a shared snapshot. Refreshing compares two of them, block by block: blocks that
 * are the same object are passed over. While expunges are held back, the view has a snapshot of its
 * own in which the gone messages stay.
 */
#include "base/log.h"
#include "store/maildir/listing.h"
#include "store/store_int.h"
#include <stdlib.h>

/* ---- small answers ---------------------------------------------------------------------- */
struct str view_name(const struct view *v)
{
	return v->name;
}

struct account *view_account(const struct view *v)
{
	return v->account;
}

uint32_t view_count(const struct view *v)
{
	return v->snapshot->count;
}

static bool is_recent(const struct view *v, uint32_t uid)
{
	return uids_has((struct uid_set){v->recent, v->recent_n}, uid);
}

bool view_msg(const struct view *v, uint32_t seq, struct msg *out)
{
	const struct hot *h = snapshot_at(v->snapshot, seq);

	if (!h)
		return false;
	*out = (struct msg){
		.uid = h->uid,
		.keywords = h->marks >> MARK_KEYWORD_SHIFT,
		.modseq = h->modseq,
		.size = h->wire_size,
		.flags = (uint16_t)((h->marks & MARK_FLAGS) | (is_recent(v, h->uid) ? FLAG_RECENT : 0)),
	};
	return true;
}

uint32_t view_seq(const struct view *v, uint32_t uid)
{
	uint32_t seq;

	return snapshot_uid(v->snapshot, uid, &seq) ? seq : 0;
}

uint32_t view_seq_at_least(const struct view *v, uint32_t uid)
{
	return snapshot_at_least(v->snapshot, uid);
}

void view_keywords(const struct view *v, struct arena *ar, struct str **out, size_t *out_n)
{
	LOCK_SCOPED(&v->account->shelf);
	const struct shared *s = v->shared;

	*out = arena_array(ar, s->keywords_n + 1, sizeof(**out));
	*out_n = s->keywords_n;
	for (unsigned i = 0; i < s->keywords_n; i++)
		(*out)[i] = arena_str(ar, s->keywords[i]);
}

static uint32_t first_unseen(const struct snapshot *s)
{
	for (uint32_t i = 0; i < s->blocks_n; i++) {
		const struct block *b = s->at[i].block;
		for (uint32_t k = 0; b->unseen && k < b->n; k++)
			if (!(b->at[k].marks & FLAG_SEEN))
				return s->at[i].before + k + 1;
	}
	return 0;
}

static uint32_t count_recent(const struct view *v)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < v->recent_n; i++)
		n += snapshot_at_least(v->snapshot, v->recent[i].last + 1) -
		     snapshot_at_least(v->snapshot, v->recent[i].first);
	return n;
}

void view_facts(struct view *v, struct view_facts *out)
{
	*out = (struct view_facts){
		.uidvalidity = v->uidvalidity,
		.uidnext = v->uidnext,
		.first_unseen = first_unseen(v->snapshot),
		.recent = count_recent(v),
		.highestmodseq = v->snapshot->modseq,
		.modseq_known_since = v->known_since,
		.read_only = v->read_only,
	};
	memcpy(out->mailbox_id, v->shared->mailbox_id, MAILBOX_ID_LEN);
}

bool view_internaldate(struct view *v, uint32_t uid, int64_t *out, struct err *err)
{
	const struct hot *h = snapshot_uid(v->snapshot, uid, NULL);

	if (!h)
		return err_set(err, ERR_GONE, "no such message");
	*out = h->date;
	return true;
}

/* ---- where it is ------------------------------------------------------------------------ */
bool view_dir(struct view *v, struct dir **out, struct err *err)
{
	struct account *a = v->account;
	struct shared *s = v->shared;
	ARENA_SCOPED ar = arena_new();

	lock_take(&a->shelf);
	struct str hint = (struct str){arena_cstr(ar, s->dir_name), s->dir_name.n};
	lock_drop(&a->shelf);
	if (!dir_open_id(a, s->mailbox_id, hint, out, err))
		return false;
	if (!*out)
		return err_set(err, ERR_NOT_FOUND, "the mailbox was deleted");
	if (str_eq((*out)->name, hint))
		return true;

	struct str copy = slab_str(&a->store->slab, (*out)->name);
	lock_take(&a->shelf);
	struct str old = s->dir_name;
	s->dir_name = copy;
	lock_drop(&a->shelf);
	slab_str_free(old);
	return true;
}

bool dir_is_foreign(const struct dir *d)
{
	return !d->state.cur_ns || !d->state.new_ns || dir_mtime_ns(d->fd, "cur") != d->state.cur_ns ||
	       dir_mtime_ns(d->fd, "new") != d->state.new_ns;
}

bool view_is_behind(const struct view *v, const struct dir *d)
{
	return d->state.modseq != v->modseq || d->state.uidnext != v->uidnext ||
	       d->state.keywords_n != v->keywords_n;
}

/* ---- \Recent ---------------------------------------------------------------------------- */
static void add_recent(struct view *v, uint32_t first, uint32_t last)
{
	if (v->recent_n && v->recent[v->recent_n - 1].last + 1 >= first) {
		v->recent[v->recent_n - 1].last = last;
		return;
	}
	v->recent = mem_resize_array(v->recent, v->recent_n + 1, sizeof(*v->recent));
	v->recent[v->recent_n++] = (struct uid_range){first, last};
}

/* The first session that is told of a message has it as \Recent; with EXAMINE it stays so for the
 * next one (RFC 3501 2.3.2). */
static void take_recent(struct view *v, const struct index_mailbox *m, uint32_t uidnext)
{
	struct err err;

	uint32_t from = m->recent_uid;

	if (from >= uidnext || !v->snapshot->count ||
	    snapshot_at_least(v->snapshot, from) > v->snapshot->count)
		return;
	add_recent(v, from, uidnext - 1);
	if (v->read_only || index_recent_told(v->account->hot->index, m->row, uidnext, &err))
		return;
	/* On a full disk mail can still be read; the next session sees them as recent once more. */
	log_err(LOG_WARN, "store.recent.failed", &err);
	account_index_failed(v->account, &err);
}

/* ---- opening ---------------------------------------------------------------------------- */
static bool load(struct view *v, struct dir *d, struct snapshot **out, struct index_mailbox *m,
		 struct err *err)
{
	struct account *a = v->account;

	if (!account_index(a, err) || !dir_sync(a, d, SYNC_IF_NEEDED, m, err))
		return false;
	if (shared_load(v->shared, a->hot->index, m, out, err))
		return true;
	account_index_failed(a, err);
	return false;
}

static bool note_keywords(struct view *v, struct dir *d, struct err *err)
{
	if (!dir_keywords(v->account, d, err))
		return false;
	lock_take(&v->account->shelf);
	bool more = d->keywords.n > v->shared->keywords_n;
	lock_drop(&v->account->shelf);
	if (more)
		shared_set_keywords(v->shared, &d->keywords);
	v->keywords_n = (uint8_t)d->keywords.n;
	return true;
}

static void note_state(struct view *v, const struct dir *d, const struct index_mailbox *m)
{
	v->modseq = d->state.modseq;
	v->uidvalidity = d->state.uidvalidity;
	v->uidnext = d->state.uidnext;
	v->known_since = m->known_since;
}

static bool open_locked(struct view *v, struct err *err)
{
	struct dir *d;
	struct index_mailbox m;

	if (!dir_find(v->account, v->name, &d, err))
		return false;
	if (!d)
		return err_set(err, ERR_NOT_FOUND, "no such mailbox");
	v->shared = shared_get(v->account, d);
	if (!load(v, d, &v->snapshot, &m, err) || !note_keywords(v, d, err))
		return false;
	note_state(v, d, &m);
	take_recent(v, &m, v->uidnext);
	return true;
}

bool view_open(struct account *a, struct str name, bool read_only, struct view **out, struct err *err)
{
	ARENA_SCOPED ar = arena_new();
	struct str normal;

	if (!mailbox_name_normal(ar, name, &normal, err))
		return false;
	struct view *v = slab_alloc(&a->store->slab, sizeof(*v) + normal.n);
	char *copy = (char *)(v + 1);
	memcpy(copy, normal.p, normal.n);
	v->name = (struct str){copy, normal.n};
	v->account = account_ref(a);
	v->read_only = read_only;

	bool ok = account_lock(a, USE_READ, err);
	if (ok) {
		ok = open_locked(v, err);
		account_unlock(a);
	}
	if (!ok) {
		view_close(v);
		return err_while(err, "opening %.*s of %.*s", STR_ARG(normal), STR_ARG(a->address));
	}
	lock_take(&a->shelf);
	v->next = v->shared->views;
	v->shared->views = v;
	lock_drop(&a->shelf);
	*out = v;
	return true;
}

static void leave_shelf(struct view *v)
{
	LOCK_SCOPED(&v->account->shelf);

	for (struct view **at = &v->shared->views; *at; at = &(*at)->next)
		if (*at == v) {
			*at = v->next;
			return;
		}
}

void view_close(struct view *v)
{
	if (!v)
		return;

	struct account *a = v->account;
	if (v->shared) {
		leave_shelf(v);
		shared_put(v->shared);
	}
	snapshot_unref(v->snapshot);
	free(v->recent);
	slab_free(v, sizeof(*v) + v->name.n);
	account_close(a);
}

/* ---- refreshing ------------------------------------------------------------------------- */
struct diff {
	struct arena *ar;
	struct uids vanished;
	uint32_t *expunged, *changed;
	size_t expunged_n, expunged_cap, changed_n, changed_cap;
	bool grew;
};

static void push(struct arena *ar, uint32_t **list, size_t *n, size_t *cap, uint32_t v)
{
	*list = arena_grow(ar, *list, *n, cap, sizeof(**list));
	(*list)[(*n)++] = v;
}

struct side {
	const struct snapshot *s;
	uint32_t block, i, seq; /* seq of the message it is at */
};

static const struct hot *at(struct side *x)
{
	while (x->block < x->s->blocks_n) {
		const struct block *b = x->s->at[x->block].block;
		if (x->i < b->n)
			return &b->at[x->i];
		x->block++;
		x->i = 0;
	}
	return NULL;
}

static void step(struct side *x)
{
	x->i++;
	x->seq++;
}

/* Both stand at the beginning of the same block: nothing in it differs. */
static bool skip_same(struct side *o, struct side *n)
{
	if (o->i || n->i || o->s->at[o->block].block != n->s->at[n->block].block)
		return false;
	uint32_t count = o->s->at[o->block].block->n;
	o->block++;
	n->block++;
	o->seq += count;
	n->seq += count;
	return true;
}

static void compare(struct diff *d, const struct snapshot *old, const struct snapshot *new)
{
	struct side o = {.s = old, .seq = 1}, n = {.s = new, .seq = 1};

	for (;;) {
		const struct hot *ho = at(&o), *hn = at(&n);
		if (ho && hn && skip_same(&o, &n))
			continue;
		if (!ho && !hn)
			return;
		if (!hn || (ho && ho->uid < hn->uid)) {
			push(d->ar, &d->expunged, &d->expunged_n, &d->expunged_cap, o.seq);
			uids_add(d->ar, &d->vanished, ho->uid);
			step(&o);
			continue;
		}
		if (!ho || hn->uid < ho->uid) {
			d->grew = true;
			step(&n);
			continue;
		}
		if (ho->marks != hn->marks)
			push(d->ar, &d->changed, &d->changed_n, &d->changed_cap, n.seq);
		step(&o);
		step(&n);
	}
}

static void reverse(uint32_t *list, size_t n)
{
	for (size_t i = 0; i < n / 2; i++) {
		uint32_t x = list[i];
		list[i] = list[n - 1 - i];
		list[n - 1 - i] = x;
	}
}

static void take_snapshot(struct view *v, struct snapshot *new, bool hold, struct arena *ar,
			  struct view_changes *out)
{
	struct diff d = {.ar = ar};
	struct snapshot *next = hold ? snapshot_hold(v->snapshot, new) : snapshot_ref(new);

	compare(&d, v->snapshot, next);
	reverse(d.expunged, d.expunged_n);
	v->held = next != new;
	snapshot_unref(v->snapshot);
	v->snapshot = next;
	*out = (struct view_changes){
		.expunged = d.expunged,
		.expunged_n = d.expunged_n,
		.vanished = d.vanished.set,
		.changed = d.changed,
		.changed_n = d.changed_n,
		.exists = next->count,
		.exists_grew = d.grew,
	};
}

static bool refresh_locked(struct view *v, bool hold, struct arena *ar, struct view_changes *out,
			   struct err *err)
{
	struct account *a = v->account;
	struct dir *d;
	struct index_mailbox m;
	struct snapshot *new;
	uint8_t keywords_before = v->keywords_n;

	if (a->hot->held_n && a->hot->index)
		account_flush_summaries(a);
	if (!view_dir(v, &d, err))
		return false;
	bool behind = view_is_behind(v, d) || d->state.marked || dir_is_foreign(d);
	if (!behind && (hold || !v->held)) {
		*out = (struct view_changes){.exists = v->snapshot->count, .recent = count_recent(v)};
		return true;
	}
	if (!load(v, d, &new, &m, err) || !note_keywords(v, d, err))
		return false;
	take_snapshot(v, new, hold, ar, out);
	snapshot_unref(new);
	note_state(v, d, &m);
	take_recent(v, &m, v->uidnext);
	out->recent = count_recent(v);
	out->keywords_grew = v->keywords_n > keywords_before;
	return true;
}

static void arm(struct view *v)
{
	LOCK_SCOPED(&v->account->shelf);

	v->armed = true;
}

bool view_refresh(struct view *v, bool hold_expunges, struct arena *ar, struct view_changes *out,
		  struct err *err)
{
	if (!account_lock(v->account, USE_READ, err))
		return false;
	/* Armed first: what comes after this reading is told. */
	arm(v);
	bool ok = refresh_locked(v, hold_expunges, ar, out, err);
	account_unlock(v->account);
	return ok || err_while(err, "refreshing %.*s", STR_ARG(v->name));
}

/* Did something happen between the last refresh and the watch? What only may be foreign is looked at
 * by the housekeeper. */
static bool missed_something(struct view *v)
{
	struct account *a = v->account;
	struct err err;
	struct dir *d;

	if (!account_lock(a, USE_READ, &err))
		return true;
	bool missed = !view_dir(v, &d, &err) || view_is_behind(v, d);
	bool unsure = !missed && (d->state.marked || dir_is_foreign(d));
	account_unlock(a);
	if (unsure)
		house_check(a, v->shared->mailbox_id);
	return missed;
}

void view_watch(struct view *v, void (*fn)(void *ctx), void *ctx)
{
	struct account *a = v->account;

	lock_take(&a->shelf);
	v->watch = fn;
	v->watch_ctx = ctx;
	v->armed = fn != NULL;
	lock_drop(&a->shelf);
	if (!fn)
		return;
	house_watch(v->shared);
	if (!missed_something(v))
		return;
	lock_take(&a->shelf);
	if (v->armed && v->watch) {
		v->armed = false;
		v->watch(v->watch_ctx);
	}
	lock_drop(&a->shelf);
}

bool view_vanished(struct view *v, uint64_t since, struct uid_set known, struct arena *ar,
		   struct uid_set *out, struct err *err)
{
	struct uid_range all = {1, v->uidnext > 1 ? v->uidnext - 1 : 1};
	struct uid_set candidates = {&all, 1};

	if (since >= v->known_since) {
		struct index_mailbox m;
		bool found = false;
		if (!account_lock(v->account, USE_READ, err))
			return false;
		bool ok = account_index(v->account, err) &&
			  index_mailbox(v->account->hot->index,
					(struct str){v->shared->mailbox_id, MAILBOX_ID_LEN}, &m, &found,
					err) &&
			  (!found ||
			   index_vanished(v->account->hot->index, m.row, since, ar, &candidates, err));
		if (!ok)
			account_index_failed(v->account, err);
		account_unlock(v->account);
		if (!ok)
			return false;
	}
	/* What the view shows is not gone for this client, whatever happened meanwhile. */
	struct uid_set both = uids_and(ar, candidates, uids_normal(ar, known));
	struct uids gone = {0};
	for (size_t i = 0; i < both.n; i++) {
		uint32_t at_uid = both.r[i].first;
		const struct hot *h;
		for (uint32_t seq = snapshot_at_least(v->snapshot, at_uid);
		     (h = snapshot_at(v->snapshot, seq)) && h->uid <= both.r[i].last; seq++) {
			if (h->uid > at_uid)
				uids_add_range(ar, &gone, at_uid, h->uid - 1);
			at_uid = h->uid + 1;
		}
		if (at_uid <= both.r[i].last && at_uid >= both.r[i].first)
			uids_add_range(ar, &gone, at_uid, both.r[i].last);
	}
	*out = gone.set;
	return true;
}
