/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/conn_fake.h: for tests and fuzz targets alone: the functions of net/conn.h over memory, so
 * that a session runs in the test's own thread, step by step, with its output at hand. To be
 * included by one file of a program, which then does not link the real ones.
 */
#pragma once
#include "base/clock.h"
#include "base/lock.h"
#include "base/mem.h"
#include "net/conn.h"
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct conn {
	const struct protocol *protocol;
	void *session, *owner;
	struct conn_facts facts;
	struct arena *arena;
	struct buf in, out;
	bool eof, tls, started, closed;
	unsigned parked;      /* what the session waits for */
	int64_t deadline_ms;  /* from now; 0: none */
	size_t limit;
	struct lock lock;
	struct cond wakes;
	bool woken;           /* guarded by lock */
	unsigned refs;        /* atomic */
};

const struct conn_facts *conn_facts(const struct conn *c) { return &c->facts; }
bool conn_tls(const struct conn *c) { return c->tls; }
bool conn_channel_binding(struct conn *c, struct str type, struct buf *out)
{
	(void)type;
	if (c->tls)
		buf_add(out, STR("binding"));
	return c->tls;
}
void *conn_session(const struct conn *c) { return c->session; }
void conn_session_set(struct conn *c, void *session) { c->session = session; }
struct arena *conn_arena(struct conn *c) { return c->arena; }
void *conn_owner(const struct conn *c) { return c->owner; }
struct str conn_input(const struct conn *c) { return str_sub(buf_str(&c->in), 0, c->limit); }
void conn_consume(struct conn *c, size_t n) { buf_consume(&c->in, n); }
void conn_input_limit(struct conn *c, size_t max) { c->limit = max; }
bool conn_eof(const struct conn *c) { return c->eof; }
struct buf *conn_out(struct conn *c) { return &c->out; }
size_t conn_out_pending(const struct conn *c) { return c->out.n; }
void conn_deadline(struct conn *c, int64_t ms_from_now) { c->deadline_ms = ms_from_now; }
void conn_min_rate(struct conn *c, uint32_t bytes_per_s)
{
	(void)c;
	(void)bytes_per_s;
}
void conn_start_tls(struct conn *c, struct tls_context *ctx)
{
	(void)ctx;
	buf_clear(&c->in);
}
void conn_out_file(struct conn *c, int fd, off_t at, size_t n)
{
	char *p = buf_room(&c->out, n);
	ssize_t got = pread(fd, p, n, at);

	if (got > 0)
		c->out.n += (size_t)got;
	close(fd);
}
void conn_wake(struct conn *c)
{
	lock_take(&c->lock);
	c->woken = true;
	cond_broadcast(&c->wakes);
	lock_drop(&c->lock);
}
struct conn *conn_ref(struct conn *c)
{
	__atomic_add_fetch(&c->refs, 1, __ATOMIC_ACQ_REL);
	return c;
}
void conn_unref(struct conn *c)
{
	if (__atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL))
		return;
	arena_free(c->arena);
	buf_free(&c->in);
	buf_free(&c->out);
	lock_fini(&c->lock);
	cond_fini(&c->wakes);
	free(c);
}

static inline struct conn *fake_new(const struct protocol *p, void *owner, void *session)
{
	struct conn *c = mem_new(struct conn);

	c->protocol = p;
	c->owner = owner;
	c->session = session;
	c->refs = 1;
	c->limit = 16 * 1024;
	c->arena = arena_new();
	c->facts.peer_text = STR("192.0.2.1");
	lock_init(&c->lock, LOCK_NET_CONN);
	cond_init(&c->wakes);
	return c;
}

/* Sent to the "client" so far; taken by the test with buf_clear or kept. */
static inline void fake_drain(struct conn *c, struct buf *sink)
{
	if (sink)
		buf_add(sink, buf_str(&c->out));
	buf_clear(&c->out);
}

static inline bool fake_take_wake(struct conn *c, int64_t wait_ms)
{
	int64_t until = clock_mono_us() + wait_ms * 1000;

	LOCK_SCOPED(&c->lock);
	while (!c->woken && wait_ms && cond_wait_until(&c->wakes, &c->lock, until))
		continue;
	bool woken = c->woken;
	c->woken = false;
	return woken;
}

static inline void fake_close(struct conn *c)
{
	if (!c->closed)
		c->protocol->end(c);
	c->closed = true;
}

static inline void fake_run(struct conn *c, enum wake wake, struct buf *sink)
{
	if (c->closed)
		return;
	c->parked = c->protocol->run(c, wake);
	fake_drain(c, sink);
	while (c->parked & PARK_AGAIN) {
		c->parked = c->protocol->run(c, WAKE_EVENT);
		fake_drain(c, sink);
	}
	if (c->parked & (PARK_CLOSE | PARK_PUMP))
		fake_close(c);
}

static inline int64_t fake_patience(const struct conn *c, int64_t wait_ms)
{
	if (c->parked & PARK_INPUT)
		return 0;
	return c->deadline_ms > 0 && c->deadline_ms < wait_ms ? c->deadline_ms : wait_ms;
}

/* Runs the session until it waits for more input; events are waited for up to wait_ms. */
static inline void fake_settle(struct conn *c, struct buf *sink, int64_t wait_ms)
{
	if (!c->started) {
		c->started = true;
		fake_run(c, WAKE_START, sink);
	}
	while (!c->closed) {
		size_t before = c->in.n;
		if (c->parked & PARK_OUTPUT) {
			fake_run(c, WAKE_OUTPUT, sink);
		} else if (c->parked & PARK_STARTTLS) {
			c->tls = true;
			fake_run(c, WAKE_START, sink);
		} else if (c->parked & PARK_EVENT && fake_take_wake(c, fake_patience(c, wait_ms))) {
			fake_run(c, WAKE_EVENT, sink);
		} else if (c->parked & PARK_EVENT && c->deadline_ms > 0 && c->deadline_ms < wait_ms) {
			c->deadline_ms = 0;
			fake_run(c, WAKE_DEADLINE, sink);
		} else if (c->parked & PARK_INPUT && (c->in.n || c->eof)) {
			fake_run(c, WAKE_INPUT, sink);
			if (!c->closed && c->parked & PARK_INPUT && c->in.n == before)
				return;
		} else {
			return;
		}
	}
}

static inline void fake_free(struct conn *c)
{
	if (!c->closed && c->started)
		c->protocol->run(c, WAKE_GONE);
	if (c->started)
		fake_close(c);
	conn_unref(c);
}
