/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * auth/lockout.h: failures counted, accounts and networks locked, owners' networks known (R83).
 * Inside auth/ only. Not locked: the engine holds its lock. Times are monotonic microseconds.
 */
#pragma once
#include "auth/lru.h"
#include "auth/verdict.h"

struct lockout {
	const struct verdict_limits *limits;
	struct lru accounts, networks; /* struct counter */
	struct lru known;              /* struct counter by account and network, after a success */
};
void lockout_init(struct lockout *l, const struct verdict_limits *limits);
void lockout_fini(struct lockout *l);

bool lockout_is_known(struct lockout *l, struct str account, struct str network, int64_t now);
/* VERDICT_WHY_NONE, _LOCKED_ACCOUNT or _LOCKED_NETWORK */
enum verdict_why lockout_check(struct lockout *l, struct str account, struct str network, int64_t now);
/* Whether this very password has failed within the window: no need to hash it again. print: 64 bits of
 * a MAC over account, hash and password. */
bool lockout_seen(struct lockout *l, struct str account, uint64_t print, int64_t now);
/* print 0: unknown (SCRAM). */
void lockout_failure(struct lockout *l, struct str account, struct str network, uint64_t print,
		     int64_t now);
void lockout_success(struct lockout *l, struct str account, struct str network, int64_t now);
/* How long the answer to a failure waits. */
int64_t lockout_delay_us(struct lockout *l, struct str network, int64_t now);

void lockout_state(struct lockout *l, struct str account, int64_t now, bool *out_locked,
		   unsigned *out_failures, int64_t *out_until);
void lockout_unlock(struct lockout *l, struct str account);
void lockout_forget(struct lockout *l, struct str account); /* its known networks */
