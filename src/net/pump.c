/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * The pump: bytes between a client and the mailbox process's socket pair, on the event thread, a
 * chunk each way per event, no buffers while nothing is stuck. A side that is full stops the
 * reading of the other.
 *
 * Orderly end: the other process shuts its write side and keeps the pair open until we close it
 * (turn.c, step_linger): end of file without EPOLLHUP. A process that died closed both directions:
 * EPOLLHUP or a reset. Once we have shut our own direction, because the client has, the two look
 * alike, and no text is owed to a client that has ended itself.
 */
#include "net/net_int.h"
#include "base/log.h"
#include "base/mem.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void conn_pump_to(struct conn *c, int fd, struct str on_lost_text)
{
	pump_free(c->pump);
	struct pump *p = mem_zalloc(sizeof *p + on_lost_text.n);
	memcpy(p + 1, on_lost_text.p ? on_lost_text.p : "", on_lost_text.n);
	p->fd = fd;
	p->lost_text = (struct str){(const char *)(p + 1), on_lost_text.n};
	c->pump = p;
}

void pump_free(struct pump *p)
{
	if (!p)
		return;
	if (p->fd >= 0)
		close(p->fd);
	buf_free(&p->to_client);
	buf_free(&p->to_pair);
	free(p);
}

/* ---- what epoll is asked for ---- */

static void watch_side(struct conn *c, int fd, unsigned tag, bool known, uint32_t want, uint32_t *have)
{
	struct epoll_event ev = {.events = want, .data.u64 = (uintptr_t)c | tag};
	if (known && *have == want)
		return;
	epoll_ctl(c->events->epoll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &ev);
	*have = want;
}

static void update_interest(struct conn *c, bool first)
{
	struct pump *p = c->pump;
	uint32_t client = 0, pair = 0;
	if (!p->client_eof && p->to_pair.n == 0)
		client |= EPOLLIN;
	if (p->to_client.n)
		client |= c->write_wants_read ? EPOLLIN : EPOLLOUT;
	if (!p->pair_eof && p->to_client.n == 0)
		pair |= EPOLLIN;
	if (p->to_pair.n)
		pair |= EPOLLOUT;
	if (first) /* so far it named the connection itself, once */
		p->client_events = ~client;
	watch_side(c, c->fd, TAG_CLIENT, c->in_epoll, client, &p->client_events);
	c->in_epoll = true;
	watch_side(c, p->fd, TAG_PAIR, !first, pair, &p->pair_events);
}

/* ---- one chunk ---- */

enum moved { MOVED_SOME, MOVED_NOTHING, MOVED_END, MOVED_BROKEN };

static enum moved from_client(struct conn *c, char *chunk, size_t *out_n)
{
	struct err err = {0};
	*out_n = 0;
	if (!c->tls) {
		ssize_t got = recv(c->fd, chunk, PUMP_CHUNK, MSG_DONTWAIT);
		if (got > 0)
			return *out_n = (size_t)got, MOVED_SOME;
		return got == 0                            ? MOVED_END
		       : errno == EAGAIN || errno == EINTR ? MOVED_NOTHING
							   : MOVED_BROKEN;
	}
	switch (tls_read(c->tls, chunk, PUMP_CHUNK, out_n, &err)) {
	case TLS_OK: return MOVED_SOME;
	case TLS_WANT_READ:
	case TLS_WANT_WRITE: return MOVED_NOTHING;
	case TLS_CLOSED: return MOVED_END;
	case TLS_FAILED: break;
	}
	return MOVED_BROKEN;
}

/* Bytes taken by the client; -1: broken. */
static ssize_t to_client(struct conn *c, const char *p, size_t n)
{
	struct err err = {0};
	size_t done = 0, put;
	if (!c->tls) {
		ssize_t sent = send(c->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		return sent >= 0 ? sent : errno == EAGAIN || errno == EINTR ? 0 : -1;
	}
	c->write_wants_read = false;
	while (done < n) {
		enum tls_result r = tls_write(c->tls, p + done, n - done, &put, &err);
		if (r == TLS_FAILED || r == TLS_CLOSED)
			return -1;
		if (r != TLS_OK) {
			c->write_wants_read = r == TLS_WANT_READ;
			break;
		}
		done += put;
	}
	return (ssize_t)done;
}

/* What the pair does not take waits; if it takes no more at all, what it says last still counts. */
static void give_pair(struct pump *p, const char *bytes, size_t n)
{
	ssize_t put = send(p->fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (put < 0 && errno != EAGAIN && errno != EINTR)
		return;
	size_t done = put > 0 ? (size_t)put : 0;
	buf_add_bytes(&p->to_pair, bytes + done, n - done);
}

static void shut_pair(struct pump *p)
{
	if (p->client_eof && p->to_pair.n == 0 && !p->pair_shut) {
		shutdown(p->fd, SHUT_WR);
		p->pair_shut = true;
	}
}

/* ---- the end ---- */

static void unlink_pump(struct events *e, struct pump *p)
{
	*(p->prev ? &p->prev->next : &e->pumps) = p->next;
	if (p->next)
		p->next->prev = p->prev;
	atomic_fetch_sub(&e->net->pumps, 1);
}

/* The connection goes back to the workers, to drain what is left and to close. */
void pump_end(struct conn *c, struct chain *chain)
{
	struct pump *p = c->pump;
	unlink_pump(c->events, p);
	if (!c->broken) {
		buf_add_bytes(conn_out(c), p->to_client.p + p->to_client_at,
			      p->to_client.n - p->to_client_at);
		if (p->lost)
			buf_add(conn_out(c), p->lost_text);
	}
	c->eof = p->client_eof;
	c->pump = NULL;
	pump_free(p);
	c->state = CONN_CLOSING;
	chain_add(chain, c);
}

static bool pair_hung_up(const struct pump *p)
{
	struct pollfd f = {.fd = p->fd};
	return !p->pair_shut && poll(&f, 1, 0) == 1 && (f.revents & (POLLHUP | POLLERR));
}

static void pair_ended(struct conn *c, bool reset, struct chain *chain)
{
	struct pump *p = c->pump;
	p->pair_eof = true;
	p->lost = (reset && !p->pair_shut) || pair_hung_up(p);
	pump_end(c, chain);
}

/* ---- both directions ---- */

/* false: the pump has ended. */
static bool move_up(struct conn *c, struct chain *chain)
{
	struct pump *p = c->pump;
	size_t n;
	do {
		if (p->client_eof || p->to_pair.n)
			return true;
		switch (from_client(c, c->events->scratch, &n)) {
		case MOVED_SOME: give_pair(p, c->events->scratch, n); break;
		case MOVED_NOTHING: return true;
		case MOVED_END:
			p->client_eof = true;
			shut_pair(p);
			return true;
		case MOVED_BROKEN:
			c->broken = true;
			pump_end(c, chain);
			return false;
		}
	} while (c->tls && tls_pending(c->tls) > 0);
	return true;
}

static bool move_down(struct conn *c, struct chain *chain)
{
	struct pump *p = c->pump;
	if (p->pair_eof || p->to_client.n)
		return true;
	ssize_t got = recv(p->fd, c->events->scratch, PUMP_CHUNK, MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (got <= 0) {
		pair_ended(c, got < 0, chain);
		return false;
	}
	ssize_t put = to_client(c, c->events->scratch, (size_t)got);
	if (put < 0) {
		c->broken = true;
		pump_end(c, chain);
		return false;
	}
	buf_add_bytes(&p->to_client, c->events->scratch + put, (size_t)(got - put));
	return true;
}

/* What waited for the client. */
static bool drain_down(struct conn *c, struct chain *chain)
{
	struct pump *p = c->pump;
	if (p->to_client.n == 0)
		return true;
	ssize_t put = to_client(c, p->to_client.p + p->to_client_at, p->to_client.n - p->to_client_at);
	if (put < 0) {
		c->broken = true;
		pump_end(c, chain);
		return false;
	}
	p->to_client_at += (size_t)put;
	if (p->to_client_at == p->to_client.n) {
		p->to_client_at = 0;
		buf_free(&p->to_client);
	}
	return true;
}

static void drain_up(struct pump *p)
{
	if (p->to_pair.n == 0)
		return;
	ssize_t put = send(p->fd, p->to_pair.p + p->to_pair_at, p->to_pair.n - p->to_pair_at,
			   MSG_DONTWAIT | MSG_NOSIGNAL);
	if (put < 0 && errno != EAGAIN && errno != EINTR)
		put = (ssize_t)(p->to_pair.n - p->to_pair_at); /* nobody takes it */
	p->to_pair_at += put > 0 ? (size_t)put : 0;
	if (p->to_pair_at == p->to_pair.n) {
		p->to_pair_at = 0;
		buf_free(&p->to_pair);
		shut_pair(p);
	}
}

void pump_client(struct conn *c, uint32_t events, struct chain *chain)
{
	if (!c->pump) /* ended earlier in this batch */
		return;
	if (!drain_down(c, chain) || !move_up(c, chain))
		return;
	/* Broken although nothing is read or written just now. */
	if ((events & EPOLLERR) || ((events & EPOLLHUP) && c->pump->client_eof)) {
		c->broken = true;
		pump_end(c, chain);
		return;
	}
	update_interest(c, false);
}

void pump_pair(struct conn *c, uint32_t events, struct chain *chain)
{
	if (!c->pump)
		return;
	(void)events;
	drain_up(c->pump);
	/* What TLS has decrypted already makes no event. */
	if (c->tls && tls_pending(c->tls) > 0 && !move_up(c, chain))
		return;
	if (!move_down(c, chain))
		return;
	if ((events & (EPOLLHUP | EPOLLERR)) && c->pump->to_client.n) {
		/* The pair is dead and the client slow: no more events of the pair until that is gone. */
		struct pump *p = c->pump;
		epoll_ctl(c->events->epoll, EPOLL_CTL_DEL, p->fd, NULL);
		ssize_t got;
		while ((got = recv(p->fd, c->events->scratch, PUMP_CHUNK, MSG_DONTWAIT)) > 0)
			buf_add_bytes(&p->to_client, c->events->scratch, (size_t)got);
		pair_ended(c, got < 0, chain);
		return;
	}
	update_interest(c, false);
}

void pump_begin(struct conn *c)
{
	struct events *e = c->events;
	struct pump *p = c->pump;
	struct chain chain = {0};
	p->conn = c;
	p->next = e->pumps;
	if (p->next)
		p->next->prev = p;
	e->pumps = p;
	atomic_fetch_add(&e->net->pumps, 1);
	timer_set(c, 0);
	struct str unread = conn_input(c); /* came after the hand-over record was made */
	if (unread.n)
		give_pair(p, unread.p, unread.n);
	io_drop(c);
	c->phase_us = c->deadline_us = 0;
	if (c->eof) {
		p->client_eof = true;
		shut_pair(p);
	}
	update_interest(c, true);
	if (move_up(c, &chain) && move_down(c, &chain))
		update_interest(c, false);
	pool_push(e->net, &chain);
}
