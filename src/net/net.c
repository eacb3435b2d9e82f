/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* The role's network as a whole: beginning, end, counts; and the small accessors of connections. */
#include "net/net_int.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/mem.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static unsigned or_default(unsigned value, unsigned fallback)
{
	return value ? value : fallback;
}

static struct net_options with_defaults(struct net_options o)
{
	o.workers = or_default(o.workers, 32);
	o.workers_max = or_default(o.workers_max, 512);
	if (o.workers_max < o.workers)
		o.workers_max = o.workers;
	o.event_threads = or_default(o.event_threads, 1);
	o.stall_ms = or_default(o.stall_ms, 60000);
	o.rate_window_ms = or_default(o.rate_window_ms, 60000);
	o.handshake_ms = or_default(o.handshake_ms, 15000);
	o.proxy_ms = or_default(o.proxy_ms, 5000);
	o.linger_ms = or_default(o.linger_ms, 2000);
	if (!o.memory_budget)
		o.memory_budget = (size_t)256 << 20;
	return o;
}

struct net *net_new(const struct net_options *o)
{
	struct net *n = mem_new(struct net);
	struct err err = {0};
	n->options = with_defaults(*o);
	pool_init(&n->pool, &n->options);
	lock_init(&n->limits, LOCK_NET_LIMITS);
	lock_init(&n->cache_lock, LOCK_LEAF);
	lock_init(&n->timers_lock, LOCK_LEAF);
	cond_init(&n->empty);
	n->sources = map_new();
	n->next_id = random_u64() & ~UINT64_C(0xffffffff); /* processes differ above, connections below */
	n->event_count = n->options.event_threads;
	n->events = mem_zalloc(n->event_count * sizeof *n->events);
	for (unsigned i = 0; i < n->event_count; i++)
		if (!events_init(&n->events[i], n, &err))
			abort(); /* no descriptors before anything has begun */
	n->spare_fd = fcntl(n->events[0].kick.fd, F_DUPFD_CLOEXEC, 3);
	return n;
}

static void sweep(void *ctx)
{
	struct net *n = ctx;
	LOCK_SCOPED(&n->limits);
	sources_sweep(n);
}

bool net_start(struct net *n, struct err *err)
{
	net_timer(n, 60000, sweep, n);
	n->started = true;
	for (unsigned i = 0; i < n->event_count; i++)
		if (pthread_create(&n->events[i].thread, NULL, events_main, &n->events[i]) != 0) {
			n->event_count = i ? i : 1;
			n->started = i > 0;
			return err_sys(err, "starting an event thread");
		}
	return true;
}

void net_drain(struct net *n)
{
	atomic_store(&n->draining, true);
	listen_close_all(n);
	struct chain chain = signal_all(n, S_DRAIN);
	pool_push(n, &chain);
}

/* All sessions end on workers; then the threads do. */
static void stop_threads(struct net *n)
{
	struct chain chain = signal_all(n, S_STOP);
	pool_push(n, &chain);
	for (unsigned i = 0; i < n->event_count; i++)
		events_kick(&n->events[i]);
	lock_take(&n->limits);
	while (n->connections)
		cond_wait(&n->empty, &n->limits);
	lock_drop(&n->limits);
	atomic_store(&n->stop_events, true);
	for (unsigned i = 0; i < n->event_count; i++) {
		events_kick(&n->events[i]);
		pthread_join(n->events[i].thread, NULL);
	}
	struct pool *p = &n->pool;
	LOCK_SCOPED(&p->lock);
	p->stop = true;
	cond_broadcast(&p->work);
	while (p->workers)
		cond_wait(&p->finished, &p->lock);
}

static void free_listeners(struct net *n)
{
	struct chain none = {0};

	listen_close_due(n, &none);
	while (n->listening) {
		struct listening *l = n->listening;
		n->listening = l->next;
		listening_unref(l);
	}
}

void net_free(struct net *n)
{
	if (!n)
		return;
	atomic_store(&n->draining, true);
	listen_close_all(n);
	atomic_store(&n->stopping, true);
	if (n->started)
		stop_threads(n);
	for (unsigned i = 0; i < n->event_count; i++)
		events_reap(&n->events[i]);
	while (n->timers) {
		struct timer *t = n->timers;
		n->timers = t->next;
		free(t);
	}
	free_listeners(n);
	io_cache_free(n);
	/* Somebody still refers to a connection: it keeps what it stands on. */
	if (atomic_load(&n->refs))
		return;
	for (unsigned i = 0; i < n->event_count; i++)
		events_fini(&n->events[i]);
	free(n->events);
	sources_free(n);
	if (n->spare_fd >= 0)
		close(n->spare_fd);
	pool_fini(&n->pool);
	cond_fini(&n->empty);
	lock_fini(&n->limits);
	lock_fini(&n->cache_lock);
	lock_fini(&n->timers_lock);
	free(n);
}

void net_counts(struct net *n, struct net_counts *out)
{
	*out = (struct net_counts){.pumps = atomic_load(&n->pumps)};
	lock_take(&n->limits);
	out->connections = n->connections;
	out->before_login = n->before_count;
	out->accepted = n->accepted;
	out->refused = n->refused;
	for (int i = 0; i < 2; i++)
		for (struct conn *c = i ? n->rest : n->before; c; c = c->list_next)
			out->parked += !(atomic_load(&c->sched) & S_OWNED);
	lock_drop(&n->limits);
	lock_take(&n->pool.lock);
	out->workers = n->pool.workers;
	out->workers_blocked = n->pool.blocked;
	lock_drop(&n->pool.lock);
}

/* ---- accessors ---- */

const struct conn_facts *conn_facts(const struct conn *c)
{
	return &c->facts;
}

bool conn_tls(const struct conn *c)
{
	return c->facts.tls_version.n > 0;
}

bool conn_channel_binding(struct conn *c, struct str type, struct buf *out)
{
	if (!c->tls)
		return false;
	if (str_eq(type, STR("tls-exporter")))
		return tls_channel_binding(c->tls, TLS_BINDING_EXPORTER, out);
	if (str_eq(type, STR("tls-unique")))
		return tls_channel_binding(c->tls, TLS_BINDING_UNIQUE, out);
	if (str_eq(type, STR("tls-server-end-point")))
		return tls_channel_binding(c->tls, TLS_BINDING_SERVER_END_POINT, out);
	return false;
}

void *conn_session(const struct conn *c)
{
	return c->session;
}

void conn_session_set(struct conn *c, void *session)
{
	c->session = session;
}

struct arena *conn_arena(struct conn *c)
{
	if (!c->arena)
		c->arena = arena_new();
	return c->arena;
}

void *conn_owner(const struct conn *c)
{
	return c->owner;
}

struct net *conn_net(const struct conn *c)
{
	return c->events->net;
}

void conn_input_limit(struct conn *c, size_t max)
{
	c->in_max = max < UINT32_MAX ? (uint32_t)max : UINT32_MAX;
	c->more = true; /* what was left in the kernel because of the old limit makes no event of TLS's */
}

bool conn_eof(const struct conn *c)
{
	return c->eof;
}

void conn_deadline(struct conn *c, int64_t ms_from_now)
{
	c->deadline_us = ms_from_now > 0 ? clock_mono_us() + ms_from_now * 1000 : 0;
}

void conn_min_rate(struct conn *c, uint32_t bytes_per_s)
{
	if (c->rate == bytes_per_s)
		return;
	c->rate = bytes_per_s;
	c->rate_bytes = 0;
	c->rate_parked_ms = 0;
	c->rate_mark_us = 0;
}

void conn_start_tls(struct conn *c, struct tls_context *ctx)
{
	tls_context_unref(c->next_tls);
	c->next_tls = tls_context_ref(ctx);
}

int conn_take_fd(struct conn *c)
{
	int fd = c->fd;
	/* Its description lives on elsewhere, so closing would not end our watch. */
	if (c->in_epoll)
		epoll_ctl(c->events->epoll, EPOLL_CTL_DEL, fd, NULL);
	c->in_epoll = false;
	c->fd = -1;
	return fd;
}

void conn_wake(struct conn *c)
{
	if (conn_signal(c, S_EVENT))
		pool_push_one(c->events->net, c);
}

struct conn *conn_ref(struct conn *c)
{
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return c;
}

void conn_unref(struct conn *c)
{
	if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1)
		events_bury(c);
}
