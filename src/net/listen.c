/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* New connections: accepted on the first event thread, counted, refused or made room for. */
#include "net/net_int.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

enum { ACCEPT_BATCH = 64, USER_TIMEOUT_MS = 120000, NOTSENT_LOWAT = 128 * 1024 };

/* ---- networks ---- */

static bool as_v6(const struct conn_addr *a, unsigned char out[16])
{
	static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	if (a->len && a->addr.sa.sa_family == AF_INET6) {
		memcpy(out, &a->addr.v6.sin6_addr, 16);
		return true;
	}
	if (!a->len || a->addr.sa.sa_family != AF_INET)
		return false;
	memcpy(out, mapped, 12);
	memcpy(out + 12, &a->addr.v4.sin_addr, 4);
	return true;
}

bool net_networks_have(struct net_networks l, const struct conn_addr *a)
{
	unsigned char x[16], y[16];
	if (!as_v6(a, x))
		return false;
	for (size_t i = 0; i < l.n; i++) {
		if (!as_v6(&l.list[i].addr, y))
			continue;
		unsigned bits = l.list[i].prefix + (l.list[i].addr.addr.sa.sa_family == AF_INET ? 96 : 0);
		if (bits > 128)
			continue;
		unsigned whole = bits / 8, rest = bits % 8;
		if (memcmp(x, y, whole) == 0 && (rest == 0 || ((x[whole] ^ y[whole]) >> (8 - rest)) == 0))
			return true;
	}
	return false;
}

/* ---- connections ---- */

static uint16_t port_of(const struct conn_addr *a)
{
	if (!a->len)
		return 0;
	return ntohs(a->addr.sa.sa_family == AF_INET6 ? a->addr.v6.sin6_port : a->addr.v4.sin_port);
}

void conn_told(struct conn *c)
{
	struct conn_facts *f = &c->facts;
	struct in6_addr *six = &f->peer.addr.v6.sin6_addr;
	f->peer_port = port_of(&f->peer);
	f->local_port = port_of(&f->local);
	f->peer_text = STR("unix");
	const char *text = NULL;
	if (f->peer.len && f->peer.addr.sa.sa_family == AF_INET6)
		text = IN6_IS_ADDR_V4MAPPED(six)
			       ? inet_ntop(AF_INET, six->s6_addr + 12, c->peer_text, sizeof c->peer_text)
			       : inet_ntop(AF_INET6, six, c->peer_text, sizeof c->peer_text);
	else if (f->peer.len)
		text = inet_ntop(AF_INET, &f->peer.addr.v4.sin_addr, c->peer_text, sizeof c->peer_text);
	if (text)
		f->peer_text = str_of(text);
}

struct conn *conn_new(struct net *n, int fd, const struct protocol *p, void *owner)
{
	struct conn *c = mem_new(struct conn);
	unsigned i = atomic_fetch_add(&n->next_events, 1);
	c->events = &n->events[i % n->event_count];
	c->fd = fd;
	c->protocol = p;
	c->owner = owner;
	c->in_max = IN_DEFAULT;
	c->state = CONN_OPEN;
	c->facts.id = atomic_fetch_add(&n->next_id, 1);
	atomic_init(&c->sched, S_OWNED);
	atomic_init(&c->refs, 1);
	atomic_fetch_add(&n->refs, 1);
	return c;
}

void conn_free(struct conn *c)
{
	struct net *n = c->events->net;
	source_unref(n, c->host);
	source_unref(n, c->network);
	source_unref(n, c->group);
	listening_unref(c->listening);
	free(c);
	atomic_fetch_sub(&n->refs, 1);
}

static void list_append(struct net *n, struct conn *c)
{
	struct conn **first = c->before_login ? &n->before : &n->rest;
	struct conn **last = c->before_login ? &n->before_last : &n->rest_last;
	lock_held(&n->limits);
	c->list_prev = *last;
	c->list_next = NULL;
	*(*last ? &(*last)->list_next : first) = c;
	*last = c;
	n->before_count += c->before_login;
	n->connections++;
}

static void list_remove(struct net *n, struct conn *c)
{
	struct conn **first = c->before_login ? &n->before : &n->rest;
	struct conn **last = c->before_login ? &n->before_last : &n->rest_last;
	lock_held(&n->limits);
	*(c->list_prev ? &c->list_prev->list_next : first) = c->list_next;
	*(c->list_next ? &c->list_next->list_prev : last) = c->list_prev;
	n->before_count -= c->before_login;
	n->connections--;
}

/* No more of this connection's: after it the lists hold nothing of it. */
void listen_leave(struct conn *c)
{
	struct net *n = c->events->net;
	LOCK_SCOPED(&n->limits);
	list_remove(n, c);
	if (c->counted)
		c->host->conns--;
	if (n->connections == 0)
		cond_broadcast(&n->empty);
}

void conn_logged_in(struct conn *c, struct str group_key)
{
	struct net *n = c->events->net;
	char key[256] = "g";
	size_t len = group_key.n < sizeof key - 1 ? group_key.n : sizeof key - 1;
	if (len)
		memcpy(key + 1, group_key.p, len);
	struct source *s = len ? source_get(n, (struct str){key, 1 + len}) : NULL;
	/* A worker's claim holds the former group by the connection's reference: the first one stays. */
	if (c->group)
		source_unref(n, s);
	else
		c->group = s;
	LOCK_SCOPED(&n->limits);
	list_remove(n, c);
	c->before_login = false;
	list_append(n, c);
}

/* ---- limits ---- */

static bool rate_ok(struct source *s, unsigned per_minute)
{
	int64_t now = clock_mono_us();
	if (now - s->minute_us >= 60 * INT64_C(1000000)) {
		s->minute_us = now;
		s->minute_count = 0;
	}
	if (s->minute_count >= per_minute)
		return false;
	s->minute_count++;
	return true;
}

bool listen_admit(struct conn *c, const char **out_why)
{
	struct net *n = c->events->net;
	const struct net_listener *l = &c->listening->l;
	char host[17], network[17];
	struct str host_key, network_key;
	source_keys(&c->facts.peer, host, network, &host_key, &network_key);
	if (host_key.n == 0)
		return true;
	c->host = source_get(n, host_key);
	c->network = source_get(n, network_key);
	LOCK_SCOPED(&n->limits);
	bool limited = !net_networks_have(l->exempt, &c->facts.peer);
	if (limited && l->per_source_rate && !rate_ok(c->host, l->per_source_rate))
		return *out_why = "too many connections a minute", false;
	if (limited && l->per_source_max && c->host->conns >= l->per_source_max)
		return *out_why = "too many connections at once", false;
	c->host->conns++;
	c->counted = true;
	return true;
}

/* One line a second at most: a flood must not fill the log. */
static void log_refusal(struct net *n, struct str peer, struct str service, const char *why)
{
	int64_t now = clock_mono_us(), last = atomic_load(&n->logged_us);
	if (now - last < 1000000 || !atomic_compare_exchange_strong(&n->logged_us, &last, now))
		return;
	lock_take(&n->limits);
	uint64_t refused = n->refused;
	lock_drop(&n->limits);
	log_event(LOG_WARN, "net.refuse", K_STR(peer, peer), K_STR(service, service), K_CSTR(why, why),
		  K_INT(count, refused));
}

static void say_busy(const struct listening *l, int fd)
{
	if (l->l.busy_text && !l->l.implicit_tls)
		(void)!send(fd, l->l.busy_text, strlen(l->l.busy_text), MSG_DONTWAIT | MSG_NOSIGNAL);
	shutdown(fd, SHUT_WR);
}

void listen_refuse(struct conn *c, const char *why)
{
	struct net *n = c->events->net;
	lock_take(&n->limits);
	n->refused++;
	lock_drop(&n->limits);
	say_busy(c->listening, c->fd);
	log_refusal(n, c->facts.peer_text, c->facts.service, why);
}

/* The oldest before login goes; it may take a moment. NULL: there is none. */
static struct conn *oldest(struct net *n, bool *out_queue)
{
	lock_held(&n->limits);
	for (struct conn *c = n->before; c; c = c->list_next) {
		if (atomic_load(&c->sched) & (S_KICK | S_STOP))
			continue;
		*out_queue = conn_signal(c, S_KICK);
		return c;
	}
	return NULL;
}

static bool make_room(struct net *n, struct chain *chain)
{
	bool queue = false;
	LOCK_SCOPED(&n->limits);
	unsigned max = n->options.max_connections;
	if (!max || n->connections < max)
		return true;
	struct conn *c = oldest(n, &queue);
	if (c && queue)
		chain_add(chain, c);
	return c != NULL;
}

/* Listed after signal_all() went through the lists: it missed the news. */
static void told_late(struct conn *c)
{
	struct net *n = c->events->net;
	if (atomic_load(&n->draining))
		atomic_fetch_or(&c->sched, S_DRAIN);
	if (atomic_load(&n->stopping))
		atomic_fetch_or(&c->sched, S_STOP);
}

/* ---- accepting ---- */

/* SO_PEERCRED: who called connect(), of a named socket. */
static void tell_user(int fd, struct conn_facts *f)
{
	struct ucred who;
	socklen_t n = sizeof who;
	f->has_user = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) == 0;
	if (!f->has_user)
		return;
	f->peer_uid = who.uid;
	f->peer_pid = who.pid;
}

static void take_connection(struct listening *l, int fd, const struct conn_addr *peer, struct chain *chain)
{
	struct net *n = l->net;
	struct conn *c = conn_new(n, fd, l->l.protocol, l->l.owner);
	const char *why = NULL;
	c->listening = l;
	atomic_fetch_add(&l->refs, 1);
	c->before_login = true;
	c->pair = peer->len == 0;
	c->facts.peer = *peer;
	c->facts.service = l->service;
	c->facts.listener = l->l.listener;
	c->facts.kind = l->l.kind;
	c->facts.local.len = sizeof c->facts.local.addr;
	if (!peer->len || getsockname(fd, &c->facts.local.addr.sa, &c->facts.local.len) != 0)
		c->facts.local.len = 0;
	conn_told(c);
	if (!peer->len)
		tell_user(fd, &c->facts);
	bool proxy = net_networks_have(l->l.proxy_from, peer);
	bool room = make_room(n, chain);
	if (!room)
		why = "no room";
	else if (atomic_load(&n->io_bytes) > n->options.memory_budget * 2)
		why = "out of buffers";
	lock_take(&n->limits);
	n->accepted++;
	list_append(n, c);
	c->next_tls = l->tls ? tls_context_ref(l->tls) : NULL;
	lock_drop(&n->limits);
	told_late(c);
	if (why || (!proxy && !listen_admit(c, &why))) {
		listen_refuse(c, why);
		c->broken = true; /* a worker buries it: the batch may not */
		chain_add(chain, c);
		return;
	}
	if (proxy) {
		c->state = CONN_PROXY;
		c->phase_us = clock_mono_us() + n->options.proxy_ms * INT64_C(1000);
	} else if (c->next_tls) {
		conn_begin_hello(c);
	} else {
		c->due_start = true;
		chain_add(chain, c);
		return;
	}
	if (!conn_park(c))
		chain_add(chain, c);
}

/* Without a descriptor left nothing can be accepted and epoll would spin: one is kept for that. */
static void out_of_descriptors(struct listening *l, struct chain *chain)
{
	struct net *n = l->net;
	bool queue = false;
	if (n->spare_fd >= 0)
		close(n->spare_fd);
	int fd = accept4(l->watch.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0) {
		say_busy(l, fd);
		close(fd);
	}
	n->spare_fd = fcntl(n->events[0].kick.fd, F_DUPFD_CLOEXEC, 3);
	lock_take(&n->limits);
	n->refused++;
	struct conn *c = oldest(n, &queue);
	lock_drop(&n->limits);
	if (c && queue)
		chain_add(chain, c);
	log_refusal(n, STR_NONE, l->service, "out of descriptors");
}

bool listen_ready(struct listening *l, struct chain *chain)
{
	for (int i = 0; i < ACCEPT_BATCH; i++) {
		struct conn_addr peer = {.len = sizeof peer.addr};
		int fd = accept4(l->watch.fd, &peer.addr.sa, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
			out_of_descriptors(l, chain);
			return false;
		}
		if (fd < 0 && errno != ECONNABORTED && errno != EINTR)
			return false;
		if (fd < 0)
			continue;
		if (peer.addr.sa.sa_family == AF_UNIX)
			peer.len = 0;
		take_connection(l, fd, &peer, chain);
	}
	return true;
}

static void set(int fd, int level, int name, int value)
{
	(void)setsockopt(fd, level, name, &value, sizeof value);
}

static const struct net_network *copy_networks(struct net_networks l)
{
	struct net_network *copy = l.n ? mem_alloc(l.n * sizeof *copy) : NULL;
	if (copy)
		memcpy(copy, l.list, l.n * sizeof *copy);
	return copy;
}

bool net_listen(struct net *n, const struct net_listener *l, struct err *err)
{
	struct events *e = &n->events[0];
	struct listening *x = mem_new(struct listening);
	*x = (struct listening){.watch = {.kind = WATCH_LISTEN, .fd = l->fd}, .net = n, .l = *l};
	atomic_init(&x->refs, 1);
	x->service = str_of(l->service);
	x->l.proxy_from.list = copy_networks(l->proxy_from);
	x->l.exempt.list = copy_networks(l->exempt);
	/* What is accepted inherits these. */
	set(l->fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set(l->fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set(l->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS);
	set(l->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, NOTSENT_LOWAT);
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = (uintptr_t)&x->watch | TAG_WATCH};
	lock_take(&n->limits);
	x->tls = l->implicit_tls ? tls_context_ref(l->implicit_tls) : NULL;
	x->next = n->listening;
	n->listening = x;
	lock_drop(&n->limits);
	if (epoll_ctl(e->epoll, EPOLL_CTL_ADD, l->fd, &ev) != 0)
		return err_sys(err, "watching the listener of %s", l->service);
	return true;
}

void net_set_tls(struct net *n, struct tls_context *ctx)
{
	LOCK_SCOPED(&n->limits);
	for (struct listening *l = n->listening; l; l = l->next) {
		if (!l->tls)
			continue;
		tls_context_unref(l->tls);
		l->tls = tls_context_ref(ctx);
	}
}

bool net_adopt(struct net *n, int fd, const struct protocol *p, void *owner, const struct conn_facts *facts,
	       struct str input, struct str group_key, struct err *err)
{
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return err_sys(err, "taking over a connection");
	struct conn *c = conn_new(n, fd, p, owner);
	uint64_t id = c->facts.id;
	int domain;
	socklen_t len = sizeof domain;
	c->pair = getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX;
	if (facts) {
		c->facts = *facts;
		struct arena *a = facts->tls_version.n || facts->sni.n ? conn_arena(c) : NULL;
		if (a) {
			c->facts.tls_version = arena_str(a, facts->tls_version);
			c->facts.tls_cipher = arena_str(a, facts->tls_cipher);
			c->facts.sni = arena_str(a, facts->sni);
		}
		if (facts->service.n)
			c->facts.service = arena_str(conn_arena(c), facts->service);
		if (!c->facts.id)
			c->facts.id = id;
	}
	conn_told(c);
	if (input.n) {
		buf_add(&io_of(c)->in, input);
		c->in_new = true;
	}
	c->due_start = true;
	lock_take(&n->limits);
	list_append(n, c);
	n->accepted++;
	lock_drop(&n->limits);
	conn_logged_in(c, group_key);
	told_late(c);
	pool_push_one(n, c);
	return true;
}

/* ---- all of them ---- */

struct chain signal_all(struct net *n, unsigned reason)
{
	struct chain chain = {0};
	LOCK_SCOPED(&n->limits);
	for (int i = 0; i < 2; i++)
		for (struct conn *c = i ? n->rest : n->before; c; c = c->list_next)
			if (conn_signal(c, reason))
				chain_add(&chain, c);
	return chain;
}

/* ---- listeners that go ---- */

void listening_unref(struct listening *l)
{
	if (!l || atomic_fetch_sub(&l->refs, 1) != 1)
		return;
	tls_context_unref(l->tls);
	if (l->watch.fd >= 0)
		close(l->watch.fd);
	free((void *)l->l.proxy_from.list);
	free((void *)l->l.exempt.list);
	arena_free(l->l.arena);
	free(l);
}

void net_unlisten(struct net *n, const void *listener, bool last)
{
	lock_take(&n->limits);
	struct listening **at = &n->listening;
	while (*at && (*at)->l.listener != listener)
		at = &(*at)->next;
	struct listening *l = *at;
	if (l) {
		*at = l->next;
		l->last = last;
		l->next = n->unlistened;
		n->unlistened = l;
	}
	lock_drop(&n->limits);
	events_kick(&n->events[0]);
}

static void drain_connections(struct net *n, const struct listening *l, struct chain *chain)
{
	LOCK_SCOPED(&n->limits);
	for (int i = 0; i < 2; i++)
		for (struct conn *c = i ? n->rest : n->before; c; c = c->list_next)
			if (c->listening == l && conn_signal(c, S_DRAIN))
				chain_add(chain, c);
}

/* Between two batches of events: none names the listener any more. */
static void close_one(struct net *n, struct listening *l, struct chain *chain)
{
	epoll_ctl(n->events[0].epoll, EPOLL_CTL_DEL, l->watch.fd, NULL);
	if (l->last) {
		while (!atomic_load(&n->draining) && listen_ready(l, chain))
			;
		drain_connections(n, l, chain);
	}
	close(l->watch.fd);
	l->watch.fd = -1;
	listening_unref(l);
}

void listen_close_due(struct net *n, struct chain *chain)
{
	lock_take(&n->limits);
	struct listening *l = n->unlistened;
	n->unlistened = NULL;
	lock_drop(&n->limits);
	while (l) {
		struct listening *next = l->next;
		close_one(n, l, chain);
		l = next;
	}
}

/* After this nothing is accepted; an event thread may still be about to look. */
void listen_close_all(struct net *n)
{
	LOCK_SCOPED(&n->limits);
	for (struct listening *l = n->listening; l; l = l->next)
		if (l->watch.fd >= 0)
			epoll_ctl(n->events[0].epoll, EPOLL_CTL_DEL, l->watch.fd, NULL);
}
