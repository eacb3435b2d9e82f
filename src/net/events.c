/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * An event thread: epoll, a wheel of deadlines, the pumps, what is to be freed.
 *
 * Deadlines move forward with every command, so a timer is only a number in the connection. The
 * wheel holds each connection at most once, at or before its number, never more than one turn
 * ahead; when a slot fires, those whose number lies later are put in again. Moving a deadline on
 * costs a store.
 */
#include "net/net_int.h"
#include "base/clock.h"
#include "base/mem.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { BATCH = 256, SLEEP_MAX_MS = 10000 };

bool events_init(struct events *e, struct net *n, struct err *err)
{
	*e = (struct events){.net = n, .kick = {.kind = WATCH_KICK, .fd = -1}};
	lock_init(&e->lock, LOCK_NET_CONN);
	cond_init(&e->watch_idle);
	e->wheel_tick = clock_mono_us() / WHEEL_TICK_US;
	e->scratch = mem_alloc(PUMP_CHUNK);
	e->epoll = epoll_create1(EPOLL_CLOEXEC);
	e->kick.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = (uintptr_t)&e->kick | TAG_WATCH};
	if (e->epoll < 0 || e->kick.fd < 0 || epoll_ctl(e->epoll, EPOLL_CTL_ADD, e->kick.fd, &ev) != 0)
		return err_sys(err, "setting up an event thread");
	return true;
}

void events_fini(struct events *e)
{
	while (e->watches_gone) {
		struct watch *w = e->watches_gone;
		e->watches_gone = w->next;
		free(w);
	}
	while (e->watches) {
		struct watch *w = e->watches;
		e->watches = w->next;
		free(w);
	}
	if (e->epoll >= 0)
		close(e->epoll);
	if (e->kick.fd >= 0)
		close(e->kick.fd);
	free(e->scratch);
	cond_fini(&e->watch_idle);
	lock_fini(&e->lock);
}

void events_kick(struct events *e)
{
	uint64_t one = 1;
	ssize_t ignored = write(e->kick.fd, &one, sizeof one); /* EAGAIN: it is kicked already */
	(void)ignored;
}

void events_arm(struct conn *c, uint32_t what)
{
	struct epoll_event ev = {.events = what | EPOLLONESHOT, .data.u64 = (uintptr_t)c | TAG_CONN};
	int op = c->in_epoll ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
	if (c->fd < 0)
		return;
	if (epoll_ctl(c->events->epoll, op, c->fd, &ev) == 0)
		c->in_epoll = true;
	else
		atomic_fetch_or(&c->sched, S_KICK); /* out of memory or watches: it cannot stay */
}

/* ---- the wheel ---- */

static void wheel_unlink(struct events *e, struct conn *c)
{
	size_t slot = (size_t)(atomic_load(&c->wheel_us) / WHEEL_TICK_US) % WHEEL_SLOTS;
	if (c->wheel_next)
		c->wheel_next->wheel_prev = c->wheel_prev;
	if (c->wheel_prev)
		c->wheel_prev->wheel_next = c->wheel_next;
	else
		e->wheel[slot] = c->wheel_next;
	if (!e->wheel[slot])
		e->wheel_bits[slot / 64] &= ~(UINT64_C(1) << slot % 64);
	c->wheel_next = c->wheel_prev = NULL;
	atomic_store(&c->wheel_us, 0);
}

static void wheel_link(struct events *e, struct conn *c, int64_t at_us)
{
	int64_t tick = (at_us + WHEEL_TICK_US - 1) / WHEEL_TICK_US;
	if (tick <= e->wheel_tick)
		tick = e->wheel_tick + 1;
	if (tick > e->wheel_tick + WHEEL_SLOTS - 2)
		tick = e->wheel_tick + WHEEL_SLOTS - 2;
	size_t slot = (size_t)tick % WHEEL_SLOTS;
	c->wheel_prev = NULL;
	c->wheel_next = e->wheel[slot];
	if (c->wheel_next)
		c->wheel_next->wheel_prev = c;
	e->wheel[slot] = c;
	e->wheel_bits[slot / 64] |= UINT64_C(1) << slot % 64;
	atomic_store(&c->wheel_us, tick * WHEEL_TICK_US);
}

void timer_set(struct conn *c, int64_t at_us)
{
	struct events *e = c->events;
	atomic_store(&c->timer_us, at_us);
	int64_t linked = atomic_load(&c->wheel_us);
	if (at_us == 0 || (linked && linked <= at_us + WHEEL_TICK_US))
		return;
	lock_take(&e->lock);
	if (atomic_load(&c->wheel_us))
		wheel_unlink(e, c);
	wheel_link(e, c, at_us);
	lock_drop(&e->lock);
	if (at_us < atomic_load(&e->sleep_until_us))
		events_kick(e);
}

void timer_forget(struct conn *c)
{
	LOCK_SCOPED(&c->events->lock);
	atomic_store(&c->timer_us, 0);
	if (atomic_load(&c->wheel_us))
		wheel_unlink(c->events, c);
}

/* Slot by slot up to now. What is due is queued, what is not is put in again. */
static void wheel_fire(struct events *e, int64_t now_us, struct chain *chain)
{
	LOCK_SCOPED(&e->lock);
	int64_t until = now_us / WHEEL_TICK_US;
	if (until - e->wheel_tick >= WHEEL_SLOTS)
		e->wheel_tick = until - WHEEL_SLOTS + 1;
	while (e->wheel_tick < until) {
		size_t slot = (size_t)++e->wheel_tick % WHEEL_SLOTS;
		struct conn *c;
		while ((c = e->wheel[slot])) {
			wheel_unlink(e, c);
			/* Unlinked before the number is read: timer_set() stores it before it looks. */
			int64_t at = atomic_load(&c->timer_us);
			if (at && at > now_us)
				wheel_link(e, c, at);
			else if (at && conn_signal(c, S_TIMER))
				chain_add(chain, c);
		}
	}
}

/* Milliseconds to the next slot in use; SLEEP_MAX_MS if there is none near. */
static int wheel_wait(struct events *e, int64_t now_us)
{
	LOCK_SCOPED(&e->lock);
	for (int64_t i = 1; i <= WHEEL_SLOTS; i++) {
		size_t slot = (size_t)(e->wheel_tick + i) % WHEEL_SLOTS;
		if (slot % 64 == 0 && !e->wheel_bits[slot / 64]) {
			i += 63;
			continue;
		}
		if (!(e->wheel_bits[slot / 64] >> slot % 64 & 1))
			continue;
		int64_t ms = ((e->wheel_tick + i) * WHEEL_TICK_US - now_us + 999) / 1000;
		return ms < 0 ? 0 : ms < SLEEP_MAX_MS ? (int)ms : SLEEP_MAX_MS;
	}
	return SLEEP_MAX_MS;
}

/* ---- memory ---- */

void events_bury(struct conn *c)
{
	struct events *e = c->events;
	c->ready_next = atomic_load(&e->dead);
	while (!atomic_compare_exchange_weak(&e->dead, &c->ready_next, c))
		;
}

void events_reap(struct events *e)
{
	struct conn *c = atomic_exchange(&e->dead, NULL);
	while (c) {
		struct conn *next = c->ready_next;
		conn_free(c);
		c = next;
	}
}

/* ---- watches ---- */

bool net_watch(struct net *n, int fd, void (*fn)(void *ctx), void *ctx, struct err *err)
{
	struct events *e = &n->events[0];
	struct watch *w = mem_new(struct watch);
	*w = (struct watch){.kind = WATCH_CALL, .fd = fd, .fn = fn, .ctx = ctx};
	LOCK_SCOPED(&e->lock);
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = (uintptr_t)w | TAG_WATCH};
	if (epoll_ctl(e->epoll, EPOLL_CTL_ADD, fd, &ev) != 0) {
		free(w);
		return err_sys(err, "watching a descriptor");
	}
	w->next = e->watches;
	e->watches = w;
	return true;
}

void net_unwatch(struct net *n, int fd)
{
	struct events *e = &n->events[0];
	bool here = n->started && pthread_equal(pthread_self(), e->thread);
	LOCK_SCOPED(&e->lock);
	struct watch **at = &e->watches;
	while (*at && (*at)->fd != fd)
		at = &(*at)->next;
	struct watch *w = *at;
	if (!w)
		return;
	epoll_ctl(e->epoll, EPOLL_CTL_DEL, fd, NULL);
	*at = w->next;
	w->gone = true;
	while (w->running && !here)
		cond_wait(&e->watch_idle, &e->lock);
	w->next = e->watches_gone; /* this batch may still name it */
	e->watches_gone = w;
}

static void watch_call(struct events *e, struct watch *w)
{
	lock_take(&e->lock);
	bool gone = w->gone;
	w->running = !gone;
	lock_drop(&e->lock);
	if (gone)
		return;
	w->fn(w->ctx);
	LOCK_SCOPED(&e->lock);
	w->running = false;
	cond_broadcast(&e->watch_idle);
}

static void watches_reap(struct events *e)
{
	LOCK_SCOPED(&e->lock);
	struct watch **at = &e->watches_gone;
	while (*at) {
		struct watch *w = *at;
		if (w->running) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		free(w);
	}
}

/* ---- timers of the role ---- */

static void timer_work(void *ctx)
{
	struct timer *t = ctx;
	t->fn(t->ctx);
	atomic_store(&t->running, false);
}

void net_timer(struct net *n, int64_t every_ms, void (*fn)(void *ctx), void *ctx)
{
	struct timer *t = mem_new(struct timer);
	*t = (struct timer){.net = n, .every_us = every_ms * 1000, .fn = fn, .ctx = ctx};
	t->due_us = clock_mono_us() + t->every_us;
	lock_take(&n->timers_lock);
	t->next = n->timers;
	n->timers = t;
	lock_drop(&n->timers_lock);
	events_kick(&n->events[0]);
}

/* Returns milliseconds to the next. */
static int timers_fire(struct net *n, int64_t now_us)
{
	int64_t wait = SLEEP_MAX_MS * INT64_C(1000);
	lock_take(&n->timers_lock);
	struct timer *first = n->timers;
	lock_drop(&n->timers_lock);
	for (struct timer *t = first; t; t = t->next) { /* never removed while this thread lives */
		if (t->due_us <= now_us) {
			t->due_us = now_us + t->every_us;
			if (!atomic_exchange(&t->running, true))
				net_run(n, timer_work, t);
		}
		if (t->due_us - now_us < wait)
			wait = t->due_us - now_us;
	}
	return (int)((wait + 999) / 1000);
}

/* ---- the loop ---- */

void events_to_pump(struct conn *c)
{
	struct events *e = c->events;
	lock_take(&e->lock);
	c->ready_next = e->to_pump;
	e->to_pump = c;
	lock_drop(&e->lock);
	events_kick(e);
}

static void begin_pumps(struct events *e)
{
	lock_take(&e->lock);
	struct conn *c = e->to_pump;
	e->to_pump = NULL;
	lock_drop(&e->lock);
	while (c) {
		struct conn *next = c->ready_next;
		pump_begin(c);
		c = next;
	}
}

static void on_watch(struct events *e, struct watch *w, struct chain *chain)
{
	uint64_t count;
	ssize_t ignored;
	switch (w->kind) {
	case WATCH_KICK:
		ignored = read(w->fd, &count, sizeof count);
		(void)ignored;
		break;
	case WATCH_LISTEN: (void)listen_ready((struct listening *)w, chain); break;
	case WATCH_CALL: watch_call(e, w); break;
	}
}

static void on_event(struct events *e, const struct epoll_event *ev, struct chain *chain)
{
	void *p = (void *)(uintptr_t)(ev->data.u64 & ~UINT64_C(3)); // NOLINT(performance-no-int-to-ptr)
	switch (ev->data.u64 & 3) {
	case TAG_CONN:
		if (conn_signal(p, S_IO))
			chain_add(chain, p);
		break;
	case TAG_CLIENT: pump_client(p, ev->events, chain); break;
	case TAG_PAIR: pump_pair(p, ev->events, chain); break;
	case TAG_WATCH: on_watch(e, p, chain); break;
	}
}

static int sleep_ms(struct events *e, bool first)
{
	int64_t now = clock_mono_us();
	struct net *n = e->net;
	int ms = wheel_wait(e, now);
	if (first) {
		int timers = timers_fire(n, now);
		ms = timers < ms ? timers : ms;
		bool watch = atomic_load_explicit(&n->pool.queued, memory_order_relaxed) > 0 ||
			     atomic_load_explicit(&n->pool.watch_us, memory_order_relaxed) > now;
		if (watch && ms > NUDGE_US / 1000)
			ms = NUDGE_US / 1000;
	}
	return ms;
}

void *events_main(void *arg)
{
	struct events *e = arg;
	struct net *n = e->net;
	bool first = e == &n->events[0];
	uint64_t nudged = UINT64_MAX;
	int64_t nudge_us = 0;
	struct epoll_event batch[BATCH];
	while (!atomic_load(&n->stop_events)) {
		int64_t now = clock_mono_us();
		/* Announced before the wheel is looked at: a timer set in between kicks. */
		atomic_store(&e->sleep_until_us, INT64_MAX);
		int ms = sleep_ms(e, first);
		atomic_store(&e->sleep_until_us, now + ms * INT64_C(1000));
		int got = epoll_wait(e->epoll, batch, BATCH, ms);
		atomic_store(&e->sleep_until_us, 0);
		struct chain chain = {0};
		for (int i = 0; i < got; i++)
			on_event(e, &batch[i], &chain);
		wheel_fire(e, clock_mono_us(), &chain);
		begin_pumps(e);
		if (first)
			listen_close_due(n, &chain);
		if (atomic_load(&n->stopping))
			while (e->pumps)
				pump_end(e->pumps->conn, &chain);
		pool_push(n, &chain);
		if (first && clock_mono_us() >= nudge_us) {
			pool_nudge(n, &nudged);
			nudge_us = clock_mono_us() + NUDGE_US;
		}
		events_reap(e);
		watches_reap(e);
	}
	return NULL;
}
