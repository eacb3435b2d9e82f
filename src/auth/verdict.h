/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * auth/verdict.h: the engine that decides whether a password is right.
 *
 * Run by auth. A thread per core hashes; submitting never blocks. The queue is bounded and shared
 * fairly among networks, and owners at a network they are known at go first. Successes are remembered
 * as an HMAC of the password under a key of this process, bound to the stored hash: a changed password
 * is another entry.
 *
 * Failures are counted per account and per network and lock them for a while (R83); the guesser cannot
 * tell a locked account, an unknown one and a wrong password apart, neither by answer nor by time (all
 * wait for not_before). The same wrong password again counts once (a telephone that was not told of
 * the new one). A network from which the owner has logged in keeps working while strangers lock the
 * account; it has a count of its own for that account.
 *
 * Locks: AUTH, never held while hashing or in the callback.
 */
#pragma once
#include "base/err.h"

struct verdict_limits {
	unsigned threads;             /* 0: one per core */
	unsigned queue_max;           /* waiting requests, all networks */
	unsigned queue_network_max;   /* waiting requests of one network */
	unsigned cache_max;           /* remembered successes */
	unsigned cache_age_s;
	unsigned failures_account;    /* this many failures ... */
	unsigned failures_network;
	unsigned failures_window_s;   /* ... within this time ... */
	unsigned lock_account_s;      /* ... lock for this long; 0 failures: never lock */
	unsigned lock_network_s;
	unsigned counters_max;        /* accounts and networks under count, each; oldest go */
	unsigned known_age_s;         /* how long a network stays known to be the owner's */
	unsigned failure_delay_ms;    /* answers to failures: not before this after the request, ... */
	unsigned failure_delay_max_ms;/* ... doubling with each failure of the network up to this */
	int64_t (*clock_us)(void);    /* NULL: clock_mono_us; for tests */
};
void verdict_limits_default(struct verdict_limits *out);

enum verdict_result {
	VERDICT_RIGHT,
	VERDICT_WRONG,    /* also: unknown user, locked; the log gets the difference from why */
	VERDICT_TEMP,     /* queue full, shutting down: "try again later" */
};
enum verdict_why {
	VERDICT_WHY_NONE, VERDICT_WHY_PASSWORD, VERDICT_WHY_UNKNOWN, VERDICT_WHY_LOCKED_ACCOUNT,
	VERDICT_WHY_LOCKED_NETWORK, VERDICT_WHY_BAD_HASH, VERDICT_WHY_BUSY
};
const char *verdict_why_name(enum verdict_why why);

struct verdict_request {
	uint64_t tag;           /* the caller's */
	struct str account;     /* canonical address: what is counted */
	struct str network;     /* "203.0.113.9" or "2001:db8:1:2::/64": the caller cuts it */
	struct str stored;      /* the hash; empty: unknown user (or not allowed), costs the same */
	struct str password;
};
struct verdict {
	uint64_t tag;
	enum verdict_result result;
	enum verdict_why why;
	bool weak;              /* right, and password_is_weak(stored): rehash */
	int64_t not_before_us;  /* CLOCK_MONOTONIC; send the answer no earlier (0: at once) */
	/* Views of the engine's copies of the request, until the callback returns. */
	struct str account, password, stored;
};
/* On an engine thread, or inside verdict_submit() where nothing is hashed. Must not block. */
typedef void verdict_fn(void *ctx, const struct verdict *v);

struct verdict_engine;
/* Starts the threads (so: after the sandbox). */
struct verdict_engine *verdict_engine_new(const struct verdict_limits *limits, verdict_fn *done, void *ctx);
/* Answers what waits with VERDICT_TEMP, joins the threads. */
void verdict_engine_free(struct verdict_engine *e);
/* Copies the request. The callback comes exactly once for each. */
void verdict_submit(struct verdict_engine *e, const struct verdict_request *r);

/* For attempts decided elsewhere (SCRAM): ask before the credentials are used, note the outcome after. */
enum verdict_why verdict_locked(struct verdict_engine *e, struct str account, struct str network);
/* Returns not_before_us for the answer. */
int64_t verdict_note(struct verdict_engine *e, struct str account, struct str network, bool right);

/* For the administrator. */
struct verdict_lock_state {
	bool locked;
	unsigned failures;
	int64_t until_wall_s;
};
void verdict_account_state(struct verdict_engine *e, struct str account, struct verdict_lock_state *out);
void verdict_account_unlock(struct verdict_engine *e, struct str account);
/* The account was changed or removed: forget remembered successes and known networks. */
void verdict_account_forget(struct verdict_engine *e, struct str account);

struct verdict_stats {
	uint64_t right, wrong, busy, cached, hashed, locked;
	unsigned waiting;
};
void verdict_stats(struct verdict_engine *e, struct verdict_stats *out);
