/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * base/lock.h: mutexes with a class. The order of the rows in base/locks.def is the order in
 * which they may be taken; debug builds (PABAL_DEBUG) abort on the wrong order, and lock_held
 * asserts. No lock is held across network or DNS waits.
 */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum lock_class {
#define LOCK_CLASS(name, guards) LOCK_##name,
#include "base/locks.def"
#undef LOCK_CLASS
	LOCK_CLASS_COUNT
};

struct lock {
	pthread_mutex_t mutex;
	enum lock_class class;
	pthread_t owner; /* debug builds */
	bool taken;
};
struct cond {
	pthread_cond_t cond; /* CLOCK_MONOTONIC */
};

void lock_init(struct lock *l, enum lock_class class);
void lock_fini(struct lock *l);
void lock_take(struct lock *l);
void lock_drop(struct lock *l);
void lock_held(const struct lock *l); /* asserts, in debug builds */
static inline void lock_scoped_drop_(struct lock **l) { if (*l) lock_drop(*l); }
#define LOCK_CAT_(a, b) a##b
#define LOCK_CAT(a, b) LOCK_CAT_(a, b)
/* Held until the end of the block. */
#define LOCK_SCOPED(l)                                                                        \
	__attribute__((cleanup(lock_scoped_drop_), unused)) struct lock *LOCK_CAT(lock_, __LINE__) = \
		(lock_take(l), (l))

void cond_init(struct cond *c);
void cond_fini(struct cond *c);
void cond_wait(struct cond *c, struct lock *l);
bool cond_wait_until(struct cond *c, struct lock *l, int64_t mono_us); /* false: time is up */
void cond_signal(struct cond *c);
void cond_broadcast(struct cond *c);
