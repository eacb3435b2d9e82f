/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * base/lock.c: pthread mutexes; debug builds keep, per thread, a bit for each class it holds.
 */
#include "base/lock.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

_Static_assert(LOCK_CLASS_COUNT <= 32, "the set of held classes is 32 bits");

static void must(int result, const char *what)
{
	if (result) {
		fprintf(stderr, "pabal: %s: error %d\n", what, result);
		abort();
	}
}

#ifdef PABAL_DEBUG

static const char *const class_names[] = {
#define LOCK_CLASS(name, guards) [LOCK_##name] = #name,
#include "base/locks.def"
#undef LOCK_CLASS
};

static __thread uint32_t held_classes;

/* Classes that this thread holds and that do not stand above this one. */
static uint32_t held_from(enum lock_class class)
{
	return held_classes >> class << class;
}

static void check_order(const struct lock *l)
{
	uint32_t wrong = held_from(l->class);

	if (wrong) {
		fprintf(stderr, "pabal: lock %s taken while holding %s\n", class_names[l->class],
			class_names[__builtin_ctz(wrong)]);
		abort();
	}
}

static void note_taken(struct lock *l)
{
	held_classes |= UINT32_C(1) << l->class;
	l->owner = pthread_self();
	l->taken = true;
}

static void note_dropped(struct lock *l)
{
	lock_held(l);
	held_classes &= ~(UINT32_C(1) << l->class);
	l->taken = false;
}

void lock_held(const struct lock *l)
{
	if (!l->taken || !pthread_equal(l->owner, pthread_self())) {
		fprintf(stderr, "pabal: lock %s is not held\n", class_names[l->class]);
		abort();
	}
}

/* Waiting sleeps with every other lock that is held. */
static void check_wait(const struct lock *l)
{
	lock_held(l);
	if (held_classes != UINT32_C(1) << l->class) {
		fprintf(stderr, "pabal: wait on %s while holding another lock\n", class_names[l->class]);
		abort();
	}
}

#else

static inline void check_order(const struct lock *l) { (void)l; }
static inline void note_taken(struct lock *l) { (void)l; }
static inline void note_dropped(struct lock *l) { (void)l; }
static inline void check_wait(const struct lock *l) { (void)l; }
void lock_held(const struct lock *l) { (void)l; }

#endif

void lock_init(struct lock *l, enum lock_class class)
{
	*l = (struct lock){.class = class};
	must(pthread_mutex_init(&l->mutex, NULL), "pthread_mutex_init");
}

void lock_fini(struct lock *l)
{
	must(pthread_mutex_destroy(&l->mutex), "pthread_mutex_destroy");
}

void lock_take(struct lock *l)
{
	check_order(l);
	must(pthread_mutex_lock(&l->mutex), "pthread_mutex_lock");
	note_taken(l);
}

void lock_drop(struct lock *l)
{
	note_dropped(l);
	must(pthread_mutex_unlock(&l->mutex), "pthread_mutex_unlock");
}

void cond_init(struct cond *c)
{
	pthread_condattr_t attr;

	must(pthread_condattr_init(&attr), "pthread_condattr_init");
	must(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC), "pthread_condattr_setclock");
	must(pthread_cond_init(&c->cond, &attr), "pthread_cond_init");
	pthread_condattr_destroy(&attr);
}

void cond_fini(struct cond *c)
{
	must(pthread_cond_destroy(&c->cond), "pthread_cond_destroy");
}

void cond_wait(struct cond *c, struct lock *l)
{
	check_wait(l);
	note_dropped(l);
	must(pthread_cond_wait(&c->cond, &l->mutex), "pthread_cond_wait");
	note_taken(l);
}

bool cond_wait_until(struct cond *c, struct lock *l, int64_t mono_us)
{
	struct timespec until = {.tv_sec = mono_us / 1000000, .tv_nsec = mono_us % 1000000 * 1000};

	if (mono_us < 0)
		until = (struct timespec){0};
	check_wait(l);
	note_dropped(l);
	int result = pthread_cond_timedwait(&c->cond, &l->mutex, &until);
	note_taken(l);
	if (result == ETIMEDOUT)
		return false;
	must(result, "pthread_cond_timedwait");
	return true;
}

void cond_signal(struct cond *c)
{
	must(pthread_cond_signal(&c->cond), "pthread_cond_signal");
}

void cond_broadcast(struct cond *c)
{
	must(pthread_cond_broadcast(&c->cond), "pthread_cond_broadcast");
}
