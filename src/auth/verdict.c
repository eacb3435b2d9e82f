/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * The engine: one lock over queue, counters and cache; hashing and callbacks happen outside of it. What
 * needs no hash (locked, remembered as right or wrong, no room) is answered inside verdict_submit().
 *
 * Remembered successes are keyed by a MAC over account, stored hash and password. The lock is looked at
 * again before a job is hashed: of guesses that arrive together, at most as many as there are threads
 * are tried beyond the limit.
 */
#include "auth/verdict.h"
#include "auth/lockout.h"
#include "auth/password.h"
#include "auth/verdict_queue.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/lock.h"
#include "base/mem.h"
#include "crypto/hash.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct success {
	struct lru_item item;
	int64_t at_us;
	unsigned char account[SHA256_SIZE]; /* hash of the address, for forgetting */
};

struct verdict_engine {
	struct verdict_limits limits;
	verdict_fn *done;
	void *ctx;
	unsigned char key[32];
	struct lock lock;
	struct cond work;
	/* guarded by lock */
	struct verdict_queue queue;
	struct lockout lockout;
	struct lru cache; /* struct success */
	struct verdict_stats stats;
	bool stopping;
	/* constant after start */
	pthread_t *threads;
	unsigned thread_count;
};

void verdict_limits_default(struct verdict_limits *out)
{
	*out = (struct verdict_limits){
		.queue_max = 1000,
		.queue_network_max = 250,
		.cache_max = 100000,
		.cache_age_s = 3600,
		.failures_account = 10,
		.failures_network = 100,
		.failures_window_s = 600,
		.lock_account_s = 600,
		.lock_network_s = 600,
		.counters_max = 100000,
		.known_age_s = 30 * 86400,
		.failure_delay_ms = 2000,
		.failure_delay_max_ms = 15000,
	};
}

const char *verdict_why_name(enum verdict_why why)
{
	switch (why) {
	case VERDICT_WHY_NONE:
		return "";
	case VERDICT_WHY_PASSWORD:
		return "wrong password";
	case VERDICT_WHY_UNKNOWN:
		return "unknown user";
	case VERDICT_WHY_LOCKED_ACCOUNT:
		return "account locked after failures";
	case VERDICT_WHY_LOCKED_NETWORK:
		return "network locked after failures";
	case VERDICT_WHY_BAD_HASH:
		return "stored password hash cannot be used";
	case VERDICT_WHY_BUSY:
		return "too many logins waiting";
	}
	return "";
}

static int64_t now_us(const struct verdict_engine *e)
{
	return e->limits.clock_us ? e->limits.clock_us() : clock_mono_us();
}

/* ---- remembered successes ---- */

static struct str as_str(const void *p, size_t n)
{
	return (struct str){p, n};
}

static void add_length(struct hmac *h, struct str s)
{
	uint64_t n = s.n;
	hmac_add(h, as_str(&n, sizeof n));
	hmac_add(h, s);
}

static void make_keys(const struct verdict_engine *e, struct verdict_job *j)
{
	struct hmac *h = hmac_new(HASH_SHA256, as_str(e->key, sizeof e->key));
	add_length(h, j->account);
	add_length(h, j->stored);
	add_length(h, as_str(j->password.p, j->password.n));
	hmac_end(h, j->cache_key);
	hmac_free(h);
	memcpy(&j->print, j->cache_key, sizeof j->print);
	j->print |= 1; /* 0 means unknown */
}

static bool remembered(struct verdict_engine *e, const struct verdict_job *j, int64_t now)
{
	struct success *s = lru_find(&e->cache, as_str(j->cache_key, sizeof j->cache_key));
	if (!s)
		return false;
	if (now - s->at_us <= (int64_t)e->limits.cache_age_s * 1000000)
		return true;
	lru_remove(&e->cache, s);
	return false;
}

static void remember(struct verdict_engine *e, const struct verdict_job *j, int64_t now)
{
	struct str key = as_str(j->cache_key, sizeof j->cache_key);
	if (e->limits.cache_age_s == 0 || e->limits.cache_max == 0)
		return;
	struct success *s = lru_find(&e->cache, key);
	if (!s)
		s = lru_add(&e->cache, key);
	s->at_us = now;
	sha256(j->account, s->account);
}

/* ---- outcomes; the lock is held ---- */

static struct verdict verdict_of(const struct verdict_job *j, enum verdict_result result,
				 enum verdict_why why)
{
	return (struct verdict){
		.tag = j->tag,
		.result = result,
		.why = why,
		.account = j->account,
		.stored = j->stored,
		.password = as_str(j->password.p, j->password.n),
	};
}

static struct verdict right(struct verdict_engine *e, const struct verdict_job *j, int64_t now)
{
	lockout_success(&e->lockout, j->account, j->network, now);
	e->stats.right++;
	struct verdict v = verdict_of(j, VERDICT_RIGHT, VERDICT_WHY_NONE);
	v.weak = password_is_weak(j->stored);
	return v;
}

/* All failures wait for the same moment, whatever they are and however long they took. */
static struct verdict wrong(struct verdict_engine *e, const struct verdict_job *j, enum verdict_why why,
			    int64_t now)
{
	bool locked = why == VERDICT_WHY_LOCKED_ACCOUNT || why == VERDICT_WHY_LOCKED_NETWORK;
	if (!locked)
		lockout_failure(&e->lockout, j->account, j->network, j->print, now);
	e->stats.wrong++;
	e->stats.locked += locked;
	struct verdict v = verdict_of(j, VERDICT_WRONG, why);
	v.not_before_us = j->began_us + lockout_delay_us(&e->lockout, j->network, now);
	return v;
}

static struct verdict busy(struct verdict_engine *e, const struct verdict_job *j)
{
	e->stats.busy++;
	return verdict_of(j, VERDICT_TEMP, VERDICT_WHY_BUSY);
}

static void tell(struct verdict_engine *e, struct verdict_job *j, const struct verdict *v)
{
	e->done(e->ctx, v);
	verdict_job_free(j);
}

/* ---- threads ---- */

static enum verdict_why hash(const struct verdict_job *j, bool *out_right)
{
	struct str password = as_str(j->password.p, j->password.n);
	struct err err;
	*out_right = false;
	if (j->stored.n) {
		switch (password_verify(j->stored, password, &err)) {
		case PASSWORD_MATCH:
			*out_right = true;
			return VERDICT_WHY_NONE;
		case PASSWORD_MISMATCH:
			return VERDICT_WHY_PASSWORD;
		case PASSWORD_BAD_HASH:
			break;
		}
	}
	password_burn(password);
	return j->stored.n ? VERDICT_WHY_BAD_HASH : VERDICT_WHY_UNKNOWN;
}

static enum verdict_why still_locked(struct verdict_engine *e, const struct verdict_job *j)
{
	LOCK_SCOPED(&e->lock);
	return lockout_check(&e->lockout, j->account, j->network, now_us(e));
}

static struct verdict decide(struct verdict_engine *e, const struct verdict_job *j)
{
	bool is_right = false;
	enum verdict_why why = still_locked(e, j);
	bool hashed = why == VERDICT_WHY_NONE;
	if (hashed)
		why = hash(j, &is_right);
	LOCK_SCOPED(&e->lock);
	int64_t now = now_us(e);
	e->stats.hashed += hashed;
	if (!is_right)
		return wrong(e, j, why, now);
	remember(e, j, now);
	return right(e, j, now);
}

static struct verdict_job *next_job(struct verdict_engine *e)
{
	LOCK_SCOPED(&e->lock);
	while (!e->stopping && e->queue.n == 0)
		cond_wait(&e->work, &e->lock);
	return e->stopping ? NULL : verdict_queue_take(&e->queue);
}

static void *work(void *arg)
{
	struct verdict_engine *e = arg;
	struct verdict_job *j;
	while ((j = next_job(e)) != NULL) {
		struct verdict v = decide(e, j);
		tell(e, j, &v);
	}
	return NULL;
}

/* ---- interface ---- */

static unsigned cores(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);
	return n < 1 ? 1 : n > 64 ? 64 : (unsigned)n;
}

struct verdict_engine *verdict_engine_new(const struct verdict_limits *limits, verdict_fn *done,
					  void *ctx)
{
	struct verdict_engine *e = mem_zalloc(sizeof *e);
	e->limits = *limits;
	e->done = done;
	e->ctx = ctx;
	random_bytes(e->key, sizeof e->key);
	lock_init(&e->lock, LOCK_AUTH);
	cond_init(&e->work);
	verdict_queue_init(&e->queue);
	lockout_init(&e->lockout, &e->limits);
	lru_init(&e->cache, sizeof(struct success), limits->cache_max);
	e->thread_count = limits->threads ? limits->threads : cores();
	e->threads = mem_zalloc(e->thread_count * sizeof *e->threads);
	for (unsigned i = 0; i < e->thread_count; i++)
		if (pthread_create(&e->threads[i], NULL, work, e) != 0)
			abort();
	return e;
}

static void stop_threads(struct verdict_engine *e)
{
	lock_take(&e->lock);
	e->stopping = true;
	cond_broadcast(&e->work);
	lock_drop(&e->lock);
	for (unsigned i = 0; i < e->thread_count; i++)
		pthread_join(e->threads[i], NULL);
}

void verdict_engine_free(struct verdict_engine *e)
{
	if (!e)
		return;
	stop_threads(e);
	struct verdict_job *j;
	while ((j = verdict_queue_take(&e->queue)) != NULL) {
		struct verdict v = busy(e, j);
		tell(e, j, &v);
	}
	verdict_queue_fini(&e->queue);
	lockout_fini(&e->lockout);
	lru_fini(&e->cache);
	cond_fini(&e->work);
	lock_fini(&e->lock);
	free(e->threads);
	secret_wipe(e, sizeof *e);
	free(e);
}

/* True: answered already. */
static bool answer_now(struct verdict_engine *e, const struct verdict_job *j, struct verdict *out)
{
	int64_t now = j->began_us;
	enum verdict_why why = lockout_check(&e->lockout, j->account, j->network, now);
	if (why != VERDICT_WHY_NONE) {
		*out = wrong(e, j, why, now);
	} else if (j->stored.n && remembered(e, j, now)) {
		e->stats.cached++;
		*out = right(e, j, now);
	} else if (lockout_seen(&e->lockout, j->account, j->print, now)) {
		*out = wrong(e, j, j->stored.n ? VERDICT_WHY_PASSWORD : VERDICT_WHY_UNKNOWN, now);
	} else if (e->queue.n >= e->limits.queue_max ||
		   verdict_queue_of_network(&e->queue, j->network) >= e->limits.queue_network_max) {
		*out = busy(e, j);
	} else {
		return false;
	}
	return true;
}

void verdict_submit(struct verdict_engine *e, const struct verdict_request *r)
{
	struct verdict_job *j = verdict_job_new(r);
	struct verdict v;
	make_keys(e, j);
	j->began_us = now_us(e);
	lock_take(&e->lock);
	bool answered = answer_now(e, j, &v);
	if (!answered) {
		bool known = lockout_is_known(&e->lockout, j->account, j->network, j->began_us);
		verdict_queue_add(&e->queue, j, known);
		cond_signal(&e->work);
	}
	lock_drop(&e->lock);
	if (answered)
		tell(e, j, &v);
}

enum verdict_why verdict_locked(struct verdict_engine *e, struct str account, struct str network)
{
	LOCK_SCOPED(&e->lock);
	return lockout_check(&e->lockout, account, network, now_us(e));
}

int64_t verdict_note(struct verdict_engine *e, struct str account, struct str network, bool is_right)
{
	LOCK_SCOPED(&e->lock);
	int64_t now = now_us(e);
	if (is_right) {
		e->stats.right++;
		lockout_success(&e->lockout, account, network, now);
		return 0;
	}
	e->stats.wrong++;
	if (lockout_check(&e->lockout, account, network, now) == VERDICT_WHY_NONE)
		lockout_failure(&e->lockout, account, network, 0, now);
	return now + lockout_delay_us(&e->lockout, network, now);
}

void verdict_account_state(struct verdict_engine *e, struct str account, struct verdict_lock_state *out)
{
	LOCK_SCOPED(&e->lock);
	int64_t now = now_us(e), until;
	lockout_state(&e->lockout, account, now, &out->locked, &out->failures, &until);
	out->until_wall_s = out->locked ? clock_wall_s() + (until - now) / 1000000 : 0;
}

void verdict_account_unlock(struct verdict_engine *e, struct str account)
{
	LOCK_SCOPED(&e->lock);
	lockout_unlock(&e->lockout, account);
}

void verdict_account_forget(struct verdict_engine *e, struct str account)
{
	unsigned char hashed[SHA256_SIZE];
	sha256(account, hashed);
	LOCK_SCOPED(&e->lock);
	lockout_forget(&e->lockout, account);
	struct lru_item *older;
	for (struct lru_item *i = e->cache.newest; i; i = older) {
		older = i->older;
		if (memcmp(((struct success *)i)->account, hashed, sizeof hashed) == 0)
			lru_remove(&e->cache, i);
	}
}

void verdict_stats(struct verdict_engine *e, struct verdict_stats *out)
{
	LOCK_SCOPED(&e->lock);
	*out = e->stats;
	out->waiting = e->queue.n;
}
