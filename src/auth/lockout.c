/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * One counter each for the account (strangers), the network, and the pair of an account and a network that
 * is known to be its owner's. A pair that is known looks at its own counter only, so nobody else can lock
 * it out, and nobody guesses there without bounds either.
 */
#include "auth/lockout.h"
#include "base/buf.h"
#include <string.h>

enum { PRINTS = 8, DELAY_DOUBLINGS_MAX = 16 };

struct counter {
	struct lru_item item;
	int64_t window_began, locked_until;
	unsigned failures;
	uint64_t prints[PRINTS]; /* of the passwords that failed, a ring */
	unsigned next_print;
	int64_t last_success; /* known only */
	size_t account_n;     /* known only: how much of the key is the account */
};

static int64_t us(unsigned seconds)
{
	return (int64_t)seconds * 1000000;
}

void lockout_init(struct lockout *l, const struct verdict_limits *limits)
{
	l->limits = limits;
	lru_init(&l->accounts, sizeof(struct counter), limits->counters_max);
	lru_init(&l->networks, sizeof(struct counter), limits->counters_max);
	lru_init(&l->known, sizeof(struct counter), limits->counters_max);
}

void lockout_fini(struct lockout *l)
{
	lru_fini(&l->accounts);
	lru_fini(&l->networks);
	lru_fini(&l->known);
}

/* The counter as it stands now: a lock that ended and a window that passed begin anew. */
static struct counter *current(const struct lockout *l, struct lru *table, struct str key, int64_t now)
{
	struct counter *c = lru_find(table, key);
	if (!c)
		return NULL;
	bool unlocked = c->locked_until && now >= c->locked_until;
	bool passed = !c->locked_until && now - c->window_began > us(l->limits->failures_window_s);
	if (unlocked || passed) {
		c->locked_until = 0;
		c->failures = 0;
		memset(c->prints, 0, sizeof c->prints);
	}
	return c;
}

static bool is_locked(const struct counter *c, int64_t now)
{
	return c && c->locked_until > now;
}

/* The account's length in front: no other pair of texts gives the same key. */
static void pair_key(struct buf *key, struct str account, struct str network)
{
	buf_le_str(key, account);
	buf_add(key, network);
}

static struct counter *known_pair(struct lockout *l, struct str account, struct str network, int64_t now)
{
	BUF_SCOPED key = {0};
	pair_key(&key, account, network);
	struct counter *c = current(l, &l->known, buf_str(&key), now);
	return c && now - c->last_success <= us(l->limits->known_age_s) ? c : NULL;
}

bool lockout_is_known(struct lockout *l, struct str account, struct str network, int64_t now)
{
	return known_pair(l, account, network, now) != NULL;
}

enum verdict_why lockout_check(struct lockout *l, struct str account, struct str network, int64_t now)
{
	const struct counter *pair = known_pair(l, account, network, now);
	if (pair)
		return is_locked(pair, now) ? VERDICT_WHY_LOCKED_ACCOUNT : VERDICT_WHY_NONE;
	if (is_locked(current(l, &l->networks, network, now), now))
		return VERDICT_WHY_LOCKED_NETWORK;
	if (is_locked(current(l, &l->accounts, account, now), now))
		return VERDICT_WHY_LOCKED_ACCOUNT;
	return VERDICT_WHY_NONE;
}

static bool has_print(const struct counter *c, uint64_t print)
{
	for (size_t i = 0; print && i < PRINTS; i++)
		if (c->prints[i] == print)
			return true;
	return false;
}

bool lockout_seen(struct lockout *l, struct str account, uint64_t print, int64_t now)
{
	const struct counter *c = current(l, &l->accounts, account, now);
	return c && has_print(c, print);
}

static void count(struct counter *c, uint64_t print, unsigned most, unsigned lock_s, int64_t now)
{
	if (has_print(c, print))
		return;
	if (print)
		c->prints[c->next_print++ % PRINTS] = print;
	if (c->failures++ == 0)
		c->window_began = now;
	if (most && c->failures >= most && !c->locked_until)
		c->locked_until = now + us(lock_s);
}

static struct counter *current_or_new(struct lockout *l, struct lru *table, struct str key, int64_t now)
{
	struct counter *c = current(l, table, key, now);
	return c ? c : lru_add(table, key);
}

void lockout_failure(struct lockout *l, struct str account, struct str network, uint64_t print,
		     int64_t now)
{
	const struct verdict_limits *m = l->limits;
	struct counter *pair = known_pair(l, account, network, now);
	struct counter *strangers = current_or_new(l, &l->accounts, account, now);
	/* The owner's own mistakes lock nobody but that network, but the prints stand with the account. */
	if (pair) {
		count(pair, print, m->failures_account, m->lock_account_s, now);
		if (print && !has_print(strangers, print)) {
			strangers->prints[strangers->next_print++ % PRINTS] = print;
			strangers->window_began = strangers->failures ? strangers->window_began : now;
		}
	} else {
		count(strangers, print, m->failures_account, m->lock_account_s, now);
	}
	count(current_or_new(l, &l->networks, network, now), print, m->failures_network,
	      m->lock_network_s, now);
}

void lockout_success(struct lockout *l, struct str account, struct str network, int64_t now)
{
	BUF_SCOPED key = {0};
	pair_key(&key, account, network);
	struct counter *pair = current_or_new(l, &l->known, buf_str(&key), now);
	pair->last_success = now;
	pair->account_n = account.n;
	pair->failures = 0;
	pair->locked_until = 0;
	/* The account's counter stays: a guesser elsewhere would profit from each mail check of the owner. */
}

int64_t lockout_delay_us(struct lockout *l, struct str network, int64_t now)
{
	const struct counter *c = current(l, &l->networks, network, now);
	unsigned doublings = c && c->failures > 1 ? c->failures - 1 : 0;
	int64_t most = l->limits->failure_delay_max_ms;
	int64_t delay = (int64_t)l->limits->failure_delay_ms
			<< (doublings > DELAY_DOUBLINGS_MAX ? DELAY_DOUBLINGS_MAX : doublings);
	return (delay > most ? most : delay) * 1000;
}

void lockout_state(struct lockout *l, struct str account, int64_t now, bool *out_locked,
		   unsigned *out_failures, int64_t *out_until)
{
	const struct counter *c = current(l, &l->accounts, account, now);
	*out_locked = is_locked(c, now);
	*out_failures = c ? c->failures : 0;
	*out_until = *out_locked ? c->locked_until : 0;
}

static bool is_of(const struct counter *c, struct str account)
{
	/* pair_key(): 4 bytes of length, then the account */
	return c->account_n == account.n && str_eq(str_sub(c->item.key, 4, account.n), account);
}

void lockout_unlock(struct lockout *l, struct str account)
{
	struct counter *c = lru_find(&l->accounts, account);
	if (c)
		lru_remove(&l->accounts, c);
	for (struct lru_item *i = l->known.newest; i; i = i->older) {
		struct counter *pair = (struct counter *)i;
		if (!is_of(pair, account))
			continue;
		pair->failures = 0;
		pair->locked_until = 0;
	}
}

void lockout_forget(struct lockout *l, struct str account)
{
	struct lru_item *older;
	for (struct lru_item *i = l->known.newest; i; i = older) {
		older = i->older;
		if (is_of((struct counter *)i, account))
			lru_remove(&l->known, i);
	}
}
