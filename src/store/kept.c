/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * store/kept.c: large mailboxes that nobody has open stay in memory for a while, so that the next
 * session that selects one need not read its index again. What is kept is as exact as what open
 * views share: shared_load() compares it with the index before anybody sees it.
 *
 * Bounded in bytes and time. A kept one counts as a use of its account. Taken out and freed under
 * account->shelf; the list is guarded by store->pool, which is taken after it.
 */
#include "base/clock.h"
#include "store/store_int.h"
#include <malloc.h>

enum {
	KEPT_BYTES = 40 << 20, /* of all: one mailbox of a million messages fits */
	KEPT_MESSAGES_MIN = 1000,
	KEPT_MS = 600000,
	TRIM_BYTES = 256 << 10,
};

static size_t bytes_of(const struct shared *s)
{
	const struct snapshot *t = s->snapshot;

	return sizeof(*s) + sizeof(*t) + t->blocks_n * (sizeof(t->at[0]) + sizeof(struct block)) +
	       t->count * sizeof(struct hot);
}

static void unlink_kept(struct store *st, struct shared *s)
{
	*(s->kept_prev ? &s->kept_prev->kept_next : &st->kept_first) = s->kept_next;
	*(s->kept_next ? &s->kept_next->kept_prev : &st->kept_last) = s->kept_prev;
	s->kept_prev = s->kept_next = NULL;
	s->kept = false;
	st->kept_bytes -= s->kept_size;
}

bool kept_add(struct shared *s)
{
	struct store *st = s->account->store;

	if (!s->snapshot || s->snapshot->count < KEPT_MESSAGES_MIN || !st->housekeeper)
		return false;
	size_t bytes = bytes_of(s);
	if (bytes > KEPT_BYTES)
		return false;
	account_ref(s->account);
	lock_take(&st->pool);
	bool first = !st->kept_first;
	s->kept = true;
	s->kept_ms = clock_mono_ms();
	s->kept_size = bytes;
	s->kept_next = st->kept_first;
	*(s->kept_next ? &s->kept_next->kept_prev : &st->kept_last) = s;
	st->kept_first = s;
	st->kept_bytes += bytes;
	bool full = st->kept_bytes > KEPT_BYTES;
	lock_drop(&st->pool);
	if (first || full)
		house_wake(st);
	return true;
}

void kept_take(struct shared *s)
{
	struct store *st = s->account->store;

	lock_take(&st->pool);
	bool kept = s->kept;
	if (kept)
		unlink_kept(st, s);
	lock_drop(&st->pool);
	if (kept)
		account_close(s->account);
}

bool kept_has(const struct shared *s)
{
	LOCK_SCOPED(&s->account->store->pool);

	return s->kept;
}

/* The oldest one that is too old or too much; the list's use of its account goes to the caller. */
static struct shared *victim(struct store *st, int64_t before_ms, struct account **out_account,
			     size_t *out_bytes)
{
	LOCK_SCOPED(&st->pool);
	struct shared *s = st->kept_last;

	if (!s || (s->kept_ms > before_ms && st->kept_bytes <= KEPT_BYTES))
		return NULL;
	*out_account = s->account;
	*out_bytes = s->kept_size;
	unlink_kept(st, s);
	return s;
}

static int64_t next_due(struct store *st)
{
	LOCK_SCOPED(&st->pool);

	return st->kept_last ? st->kept_last->kept_ms + KEPT_MS + 1 : INT64_MAX;
}

int64_t kept_sweep(struct store *st, bool all)
{
	int64_t before_ms = all ? INT64_MAX : clock_mono_ms() - KEPT_MS;
	struct account *a;
	struct shared *s;
	size_t bytes, freed = 0;

	while ((s = victim(st, before_ms, &a, &bytes))) {
		/* Somebody may have taken it up meanwhile, and even given it back. */
		shared_drop_unused(a, s);
		account_close(a);
		freed += bytes;
	}
	if (freed) {
		accounts_sweep(st, false);
		if (freed >= TRIM_BYTES)
			malloc_trim(0);
	}
	return next_due(st);
}
