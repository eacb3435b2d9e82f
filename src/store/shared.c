/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* store/shared.c: what the views of one mailbox share in a process, and telling them of changes. */
#include "store/store_int.h"
#include <stdlib.h>

static struct shared *find(struct account *a, const char id[MAILBOX_ID_LEN])
{
	for (struct shared *s = a->shared; s; s = s->next)
		if (memcmp(s->mailbox_id, id, MAILBOX_ID_LEN) == 0)
			return s;
	return NULL;
}

struct shared *shared_get(struct account *a, const struct dir *d)
{
	LOCK_SCOPED(&a->shelf);
	struct shared *s = find(a, d->state.mailbox_id);

	if (!s) {
		s = slab_alloc(&a->store->slab, sizeof(*s));
		s->account = a;
		memcpy(s->mailbox_id, d->state.mailbox_id, MAILBOX_ID_LEN);
		s->dir_name = slab_str(&a->store->slab, d->name);
		s->watch_cur = s->watch_new = -1;
		s->next = a->shared;
		a->shared = s;
	}
	if (!s->refs++)
		kept_take(s);
	return s;
}

/* With the shelf. false: it is not there any more. */
static bool take_off(struct account *a, const struct shared *s)
{
	for (struct shared **at = &a->shared; *at; at = &(*at)->next)
		if (*at == s) {
			*at = s->next;
			return true;
		}
	return false;
}

static void shared_free(struct shared *s)
{
	snapshot_unref(s->snapshot);
	slab_str_free(s->dir_name);
	slab_free(s->keywords, s->keywords_size);
	slab_free(s, sizeof(*s));
}

void shared_put(struct shared *s)
{
	struct account *a = s->account;

	lock_take(&a->shelf);
	bool gone = false;
	if (--s->refs == 0) {
		house_unwatch(s);
		gone = !kept_add(s) && take_off(a, s);
	}
	lock_drop(&a->shelf);
	if (gone)
		shared_free(s);
}

void shared_drop_unused(struct account *a, struct shared *s)
{
	bool there = false;

	lock_take(&a->shelf);
	for (const struct shared *x = a->shared; x; x = x->next)
		there |= x == s;
	bool gone = there && !s->refs && !kept_has(s) && take_off(a, s);
	lock_drop(&a->shelf);
	if (gone)
		shared_free(s);
}

static struct snapshot *usable(struct shared *s, const struct index *ix, const struct index_mailbox *m)
{
	LOCK_SCOPED(&s->account->shelf);

	if (!s->snapshot || s->index != ix->identity || s->known_since != m->known_since ||
	    s->snapshot->modseq > m->modseq)
		return NULL;
	return snapshot_ref(s->snapshot);
}

bool shared_load(struct shared *s, struct index *ix, const struct index_mailbox *m, struct snapshot **out,
		 struct err *err)
{
	struct snapshot *old = usable(s, ix, m), *new;

	if (old && old->modseq == m->modseq) {
		*out = old;
		return true;
	}
	bool ok = index_load(ix, m->row, old, &new, err);
	snapshot_unref(old);
	if (!ok)
		return false;

	lock_take(&s->account->shelf);
	old = s->snapshot;
	s->snapshot = snapshot_ref(new);
	s->index = ix->identity;
	s->known_since = m->known_since;
	lock_drop(&s->account->shelf);
	snapshot_unref(old);
	*out = new;
	return true;
}

void shared_set_keywords(struct shared *s, const struct keywords *k)
{
	size_t bytes = k->n * sizeof(struct str);

	for (unsigned i = 0; i < k->n; i++)
		bytes += k->name[i].n;
	struct str *copy = k->n ? slab_alloc(&s->account->store->slab, bytes) : NULL;
	char *at = (char *)(copy + k->n);
	for (unsigned i = 0; i < k->n; i++) {
		memcpy(at, k->name[i].p, k->name[i].n);
		copy[i] = (struct str){at, k->name[i].n};
		at += k->name[i].n;
	}

	lock_take(&s->account->shelf);
	struct str *old = s->keywords;
	size_t old_size = s->keywords_size;
	s->keywords = copy;
	s->keywords_size = bytes;
	s->keywords_n = k->n;
	lock_drop(&s->account->shelf);
	slab_free(old, old_size);
}

/* The shelf is held while they are called: who closes a view or takes its watch away is not told
 * afterwards. They wake a connection and nothing else. */
static void tell(struct view *v)
{
	if (!v->armed || !v->watch)
		return;
	v->armed = false;
	v->watch(v->watch_ctx);
}

void shared_tell(struct account *a, const char mailbox_id[MAILBOX_ID_LEN], const struct view *except)
{
	LOCK_SCOPED(&a->shelf);
	struct shared *s = find(a, mailbox_id);

	for (struct view *v = s ? s->views : NULL; v; v = v->next)
		if (v != except)
			tell(v);
}

/* With the shelf. */
static void tell_watches(const struct account *a, struct str name)
{
	for (const struct account_watch *w = a->watches; w; w = w->next)
		w->fn(w->ctx, name);
}

void account_watch_add(struct account *a, struct account_watch *w)
{
	LOCK_SCOPED(&a->shelf);
	w->next = a->watches;
	a->watches = w;
}

void account_watch_remove(struct account *a, struct account_watch *w)
{
	LOCK_SCOPED(&a->shelf);
	for (struct account_watch **at = &a->watches; *at; at = &(*at)->next)
		if (*at == w) {
			*at = w->next;
			return;
		}
}

void shared_tell_name(struct account *a, struct str name)
{
	LOCK_SCOPED(&a->shelf);

	tell_watches(a, name);
	for (struct shared *s = a->shared; s; s = s->next)
		for (struct view *v = s->views; v; v = v->next)
			if (!name.n || str_eq(v->name, name))
				tell(v);
}

void mailbox_changed(struct account *a, const char mailbox_id[MAILBOX_ID_LEN], struct str name,
		     const struct view *except)
{
	const struct store_options *o = &a->store->o;

	shared_tell(a, mailbox_id, except);
	lock_take(&a->shelf);
	tell_watches(a, name);
	lock_drop(&a->shelf);
	if (o->changed)
		o->changed(o->ctx, a->address, name);
}

void mailbox_names_changed(struct account *a)
{
	const struct store_options *o = &a->store->o;

	lock_take(&a->shelf);
	tell_watches(a, STR_NONE);
	lock_drop(&a->shelf);
	if (o->changed)
		o->changed(o->ctx, a->address, STR_NONE);
}
