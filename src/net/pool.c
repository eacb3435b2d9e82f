/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * The worker pool: a ready queue per share class, and workers started as they are needed.
 *
 * Few workers are awake while work flows (twice the cores): more would only change context. When
 * the queue stands still although it is not empty (workers wait for a disk, unmarked), the event
 * thread nudges and one more is woken or started, up to the base number; those that are marked
 * as waiting (net_block_begin) do not count, up to the maximum. Idle ones end after 10 s.
 *
 * A connection whose network or group has its share of workers already is set aside on that source
 * and comes back to the front when one of them finishes.
 */
#include "net/net_int.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "crypto/tls.h"
#include <stdlib.h>
#include <unistd.h>

enum { IDLE_END_US = 10 * 1000000, WORKERS_KEEP = 2, TURNS_A_WORKER = 4, STACK_SIZE = 1024 * 1024 };

static unsigned at_least_one(unsigned x)
{
	return x ? x : 1;
}

void pool_init(struct pool *p, const struct net_options *o)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	lock_init(&p->lock, LOCK_NET_POOL);
	cond_init(&p->work);
	cond_init(&p->finished);
	for (int i = 0; i < CLASS_COUNT; i++)
		p->ready[i].end = &p->ready[i].head;
	p->jobs_end = &p->jobs;
	p->base = o->workers;
	p->max = o->workers_max;
	p->target = (unsigned)(cores > 1 ? cores : 1) * 2;
	if (p->target > p->base)
		p->target = p->base;
	p->share[CLASS_SESSION] = p->max;
	p->share[CLASS_BEFORE_LOGIN] = at_least_one(p->base / 2);
	p->share[CLASS_HANDSHAKE] = at_least_one(p->base / 4);
	p->share_network = at_least_one(p->base / 4);
}

void pool_fini(struct pool *p)
{
	cond_fini(&p->work);
	cond_fini(&p->finished);
	lock_fini(&p->lock);
}

void chain_add(struct chain *chain, struct conn *c)
{
	if (!chain->head)
		chain->end = &chain->head;
	c->ready_next = NULL;
	*chain->end = c;
	chain->end = &c->ready_next;
	chain->n++;
}

static enum share_class class_of(const struct conn *c)
{
	if (c->state == CONN_HELLO || c->state == CONN_HANDSHAKE)
		return CLASS_HANDSHAKE;
	return c->before_login ? CLASS_BEFORE_LOGIN : CLASS_SESSION;
}

/* ---- what is taken next ---- */

struct claim {
	struct conn *conn;
	struct job *job;
	enum share_class class;
	struct source *network, *group;
};

static bool set_aside(struct source *s, unsigned share, struct conn *c)
{
	if (!s || s->running < share)
		return false;
	c->ready_next = NULL;
	*s->waiting_end = c;
	s->waiting_end = &c->ready_next;
	return true;
}

static struct conn *ready_pop(struct pool *p, struct ready *r)
{
	struct conn *c = r->head;
	if (c) {
		r->head = c->ready_next;
		if (!r->head)
			r->end = &r->head;
		atomic_fetch_sub_explicit(&p->queued, 1, memory_order_relaxed);
	}
	return c;
}

static bool take_conn(struct pool *p, struct claim *out)
{
	for (unsigned i = 0; i < CLASS_COUNT; i++) {
		unsigned class = (p->turn + i) % CLASS_COUNT;
		struct ready *r = &p->ready[class];
		while (r->running < p->share[class]) {
			struct conn *c = ready_pop(p, r);
			if (!c)
				break;
			if (set_aside(c->group, GROUP_WORKERS_MAX, c) ||
			    set_aside(c->network, p->share_network, c))
				continue;
			*out = (struct claim){
				.conn = c, .class = class, .network = c->network, .group = c->group};
			r->running++;
			if (c->network)
				c->network->running++;
			if (c->group)
				c->group->running++;
			p->turn = class + 1;
			return true;
		}
	}
	return false;
}

static bool take(struct pool *p, struct claim *out)
{
	*out = (struct claim){0};
	if (p->jobs) {
		out->job = p->jobs;
		p->jobs = out->job->next;
		if (!p->jobs)
			p->jobs_end = &p->jobs;
		atomic_fetch_sub_explicit(&p->queued, 1, memory_order_relaxed);
	} else if (!take_conn(p, out)) {
		return false;
	}
	p->taken++;
	return true;
}

/* One that was set aside comes to the front of its queue. */
static void share_release(struct pool *p, struct source *s)
{
	if (!s)
		return;
	s->running--;
	struct conn *c = s->waiting;
	if (!c)
		return;
	s->waiting = c->ready_next;
	if (!s->waiting)
		s->waiting_end = &s->waiting;
	struct ready *r = &p->ready[class_of(c)];
	c->ready_next = r->head;
	r->head = c;
	if (!c->ready_next)
		r->end = &c->ready_next;
	atomic_fetch_add_explicit(&p->queued, 1, memory_order_relaxed);
}

/* ---- workers ---- */

static void *worker_main(void *arg);

static void start_worker(struct net *n)
{
	pthread_attr_t attr;
	pthread_t t;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
#ifndef PABAL_SANITIZED
	pthread_attr_setstacksize(&attr, STACK_SIZE);
#endif
	n->pool.workers++;
	int result = pthread_create(&t, &attr, worker_main, n);
	pthread_attr_destroy(&attr);
	if (result == 0)
		return;
	n->pool.workers--;
	log_event(LOG_WARN, "net.worker.fail", K_INT(errno, result), K_INT(count, n->pool.workers));
}

/* Whoever is woken needs the lock first: so the signals are sent after it is dropped. */
struct wakeups {
	unsigned signals;
	bool woke;
};

static void wake_one(struct net *n, struct wakeups *w)
{
	struct pool *p = &n->pool;
	w->woke = true;
	if (p->idle > 0) {
		p->idle--;
		p->tokens++;
		w->signals++;
	} else if (p->workers < p->max && p->workers - p->blocked < p->base) {
		start_worker(n);
	}
}

/*
 * A turn is mostly shorter than waking a thread for it: one worker for each TURNS_A_WORKER that wait,
 * up to the target. Whether those awake get on, the event thread sees, if it does not sleep.
 */
static void wake_some(struct net *n, struct wakeups *w)
{
	struct pool *p = &n->pool;
	unsigned wanted = 1 + atomic_load_explicit(&p->queued, memory_order_relaxed) / TURNS_A_WORKER;
	if (wanted > p->target)
		wanted = p->target;
	while (p->workers - p->idle - p->blocked < wanted) {
		unsigned before = p->workers - p->idle;
		wake_one(n, w);
		if (p->workers - p->idle == before)
			break; /* all there may be */
	}
}

/* Without the pool's lock. */
static void wake_up(struct pool *p, const struct wakeups *w)
{
	for (unsigned i = 0; i < w->signals; i++)
		cond_signal(&p->work);
}

static void ask_for_nudge(struct net *n)
{
	struct events *e = &n->events[0];
	int64_t now = clock_mono_us();
	atomic_store_explicit(&n->pool.watch_us, now + WATCH_US, memory_order_relaxed);
	if (atomic_load(&e->sleep_until_us) > now + NUDGE_US * 2)
		events_kick(e);
}

void pool_nudge(struct net *n, uint64_t *seen)
{
	if (atomic_load_explicit(&n->pool.queued, memory_order_relaxed) == 0)
		return;
	struct wakeups w = {0};
	lock_take(&n->pool.lock);
	if (n->pool.taken == *seen)
		wake_one(n, &w);
	*seen = n->pool.taken;
	lock_drop(&n->pool.lock);
	wake_up(&n->pool, &w);
}

void pool_push(struct net *n, struct chain *chain)
{
	struct pool *p = &n->pool;
	if (!chain->head)
		return;
	lock_take(&p->lock);
	for (struct conn *c = chain->head, *next; c; c = next) {
		struct ready *r = &p->ready[class_of(c)];
		next = c->ready_next;
		c->ready_next = NULL;
		*r->end = c;
		r->end = &c->ready_next;
	}
	atomic_fetch_add_explicit(&p->queued, chain->n, memory_order_relaxed);
	struct wakeups w = {0};
	wake_some(n, &w);
	lock_drop(&p->lock);
	wake_up(p, &w);
	*chain = (struct chain){0};
	if (!w.woke)
		ask_for_nudge(n);
}

void pool_push_one(struct net *n, struct conn *c)
{
	struct chain chain = {0};
	chain_add(&chain, c);
	pool_push(n, &chain);
}

static void release(struct pool *p, const struct claim *claim)
{
	lock_held(&p->lock);
	if (claim->job)
		return;
	p->ready[claim->class].running--;
	share_release(p, claim->network);
	share_release(p, claim->group);
}

/* Without the pool's lock. */
static void work(struct net *n, struct claim *claim)
{
	if (claim->job) {
		claim->job->fn(claim->job->ctx);
		free(claim->job);
		return;
	}
	if (conn_turn(claim->conn) == TURN_AGAIN)
		pool_push_one(n, claim->conn);
}

/* false: this worker is not needed any more. */
static bool wait_for_work(struct pool *p)
{
	p->idle++;
	int64_t until = clock_mono_us() + IDLE_END_US;
	while (p->tokens == 0 && !p->stop)
		if (!cond_wait_until(&p->work, &p->lock, until) && p->tokens == 0) {
			if (p->workers <= WORKERS_KEEP) {
				until = clock_mono_us() + IDLE_END_US * 6;
				continue;
			}
			p->idle--;
			return false;
		}
	if (p->tokens) {
		p->tokens--;
		return true;
	}
	p->idle--;
	return false;
}

static void *worker_main(void *arg)
{
	struct net *n = arg;
	struct pool *p = &n->pool;
	lock_take(&p->lock);
	for (;;) {
		struct claim claim;
		if (!take(p, &claim)) {
			if (!wait_for_work(p))
				break;
			continue;
		}
		/* The reference keeps the sources of the claim alive. */
		if (claim.conn)
			conn_ref(claim.conn);
		lock_drop(&p->lock);
		work(n, &claim);
		lock_take(&p->lock);
		release(p, &claim);
		if (claim.conn)
			conn_unref(claim.conn); /* takes no lock */
	}
	/* Nobody joins a worker: what is the thread's own goes before it counts as gone. */
	lock_drop(&p->lock);
	tls_thread_end();
	lock_take(&p->lock);
	if (--p->workers == 0)
		cond_broadcast(&p->finished);
	lock_drop(&p->lock);
	return NULL;
}

void net_run(struct net *n, void (*fn)(void *ctx), void *ctx)
{
	struct pool *p = &n->pool;
	struct job *j = mem_alloc(sizeof *j);
	*j = (struct job){.fn = fn, .ctx = ctx};
	lock_take(&p->lock);
	*p->jobs_end = j;
	p->jobs_end = &j->next;
	atomic_fetch_add_explicit(&p->queued, 1, memory_order_relaxed);
	struct wakeups w = {0};
	wake_some(n, &w);
	lock_drop(&p->lock);
	wake_up(p, &w);
	if (!w.woke)
		ask_for_nudge(n);
}

void net_block_begin(struct net *n)
{
	struct pool *p = &n->pool;
	struct wakeups w = {0};
	lock_take(&p->lock);
	p->blocked++;
	if (atomic_load_explicit(&p->queued, memory_order_relaxed) > 0)
		wake_some(n, &w);
	lock_drop(&p->lock);
	wake_up(p, &w);
}

void net_block_end(struct net *n)
{
	LOCK_SCOPED(&n->pool.lock);
	n->pool.blocked--;
}
