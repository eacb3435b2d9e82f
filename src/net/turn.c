/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * A worker's turn with a connection: a small machine of states, each step saying whether to wait,
 * to go on in another state, to let others have a turn, or that it is over.
 */
#include "net/net_int.h"
#include "base/clock.h"
#include "base/log.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum step { STEP_PARK, STEP_NEXT, STEP_AGAIN, STEP_DEAD, STEP_PUMP };

static int64_t in_ms(int64_t ms)
{
	return clock_mono_us() + ms * 1000;
}

static void log_drop(struct conn *c, const char *event, const char *why)
{
	log_event(LOG_INFO, event, K_STR(peer, c->facts.peer_text), K_STR(service, c->facts.service),
		  K_CSTR(why, why));
}

static void set_lowat(struct conn *c, size_t n)
{
	int value = (int)n;
	if (n == 1 && !c->lowat)
		return;
	c->lowat = n != 1;
	setsockopt(c->fd, SOL_SOCKET, SO_RCVLOWAT, &value, sizeof value);
}

static ssize_t peek(struct conn *c, char *p, size_t n)
{
	ssize_t got;
	do
		got = recv(c->fd, p, n, MSG_PEEK | MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	return got;
}

/* Woken although less is there than SO_RCVLOWAT asked for: the peer has ended. (Or the kernel is short
 * of memory: then what is there has to do, and OpenSSL waits for the rest.) */
static bool has_ended(struct conn *c)
{
	struct pollfd p = {.fd = c->fd, .events = POLLRDHUP};
	return poll(&p, 1, 0) == 1 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

static enum step wait_for(struct conn *c, size_t need)
{
	if (clock_mono_us() >= c->phase_us || has_ended(c))
		return STEP_DEAD;
	set_lowat(c, need);
	return STEP_PARK;
}

/* ---- PROXY ---- */

static void admitted(struct conn *c)
{
	c->phase_us = 0;
	c->state = CONN_OPEN;
	if (c->next_tls)
		conn_begin_hello(c);
	else
		c->due_start = true;
}

static enum step step_proxy(struct conn *c)
{
	char bytes[PROXY_HEADER_MAX];
	struct proxy_header h;
	size_t need;
	const char *why;
	ssize_t got = peek(c, bytes, sizeof bytes);
	if (got < 0 && errno == EAGAIN)
		return clock_mono_us() >= c->phase_us ? STEP_DEAD : STEP_PARK;
	if (got <= 0)
		return STEP_DEAD;
	switch (proxy_parse((struct str){bytes, (size_t)got}, &h, &need)) {
	case PROXY_BAD:
		log_drop(c, "net.proxy.refuse", "no PROXY header from a proxy's network");
		return STEP_DEAD;
	case PROXY_MORE: return wait_for(c, need);
	case PROXY_DONE: break;
	}
	set_lowat(c, 1);
	if (recv(c->fd, bytes, h.length, MSG_DONTWAIT) != (ssize_t)h.length)
		return STEP_DEAD;
	if (h.told) {
		c->facts.peer = h.peer;
		c->facts.local = h.local;
		c->facts.proxied = true;
		conn_told(c);
	}
	if (!listen_admit(c, &why)) {
		listen_refuse(c, why);
		return STEP_DEAD;
	}
	admitted(c);
	return STEP_NEXT;
}

/* ---- TLS ---- */

void conn_begin_hello(struct conn *c)
{
	c->state = CONN_HELLO;
	c->phase_us = in_ms(c->events->net->options.handshake_ms);
}

static bool handshake_slot(struct conn *c)
{
	struct net *n = c->events->net;
	LOCK_SCOPED(&n->limits);
	if (n->handshakes >= HANDSHAKES_MAX || (c->host && c->host->handshakes >= HANDSHAKES_SOURCE_MAX))
		return false;
	n->handshakes++;
	if (c->host)
		c->host->handshakes++;
	c->handshaking = true;
	return true;
}

static void handshake_slot_free(struct conn *c)
{
	struct net *n = c->events->net;
	if (!c->handshaking)
		return;
	LOCK_SCOPED(&n->limits);
	n->handshakes--;
	if (c->host)
		c->host->handshakes--;
	c->handshaking = false;
}

/* No SSL object before the ClientHello is whole: three bytes would cost 45 KiB. */
static enum step step_hello(struct conn *c)
{
	char bytes[5 + 16384];
	size_t need;
	ssize_t got = peek(c, bytes, sizeof bytes);
	c->slot_wait = false;
	if (got < 0 && errno == EAGAIN)
		return clock_mono_us() >= c->phase_us ? STEP_DEAD : STEP_PARK;
	if (got <= 0)
		return STEP_DEAD;
	if (!tls_looks_like_hello((struct str){bytes, (size_t)got}, &need)) {
		log_drop(c, "net.tls.refuse", "not TLS");
		return STEP_DEAD;
	}
	if (need == 0)
		need = 5;
	/* Unix sockets know no SO_RCVLOWAT. */
	if (!c->pair && (size_t)got < need)
		return wait_for(c, need);
	set_lowat(c, 1);
	if (clock_mono_us() >= c->phase_us)
		return STEP_DEAD;
	c->slot_wait = !handshake_slot(c);
	if (c->slot_wait)
		return STEP_PARK;
	struct tls_context *ctx = c->next_tls;
	c->next_tls = NULL;
	c->tls = tls_session_new(ctx, c->fd);
	tls_context_unref(ctx);
	c->state = CONN_HANDSHAKE;
	return STEP_NEXT;
}

static void note_tls(struct conn *c)
{
	struct tls_facts f;
	tls_facts(c->tls, &f);
	c->facts.tls_version = str_of(f.version);
	c->facts.tls_cipher = str_of(f.cipher);
	c->facts.sni = f.sni;
}

static enum step step_handshake(struct conn *c)
{
	struct err err = {0};
	switch (tls_handshake(c->tls, &err)) {
	case TLS_OK: break;
	case TLS_WANT_READ:
		c->write_wants_read = true;
		return clock_mono_us() >= c->phase_us ? STEP_DEAD : STEP_PARK;
	case TLS_WANT_WRITE:
		c->write_wants_read = false;
		return clock_mono_us() >= c->phase_us ? STEP_DEAD : STEP_PARK;
	case TLS_CLOSED: return STEP_DEAD;
	case TLS_FAILED:
		log_event(LOG_INFO, "net.tls.fail", K_STR(peer, c->facts.peer_text),
			  K_STR(service, c->facts.service), K_CSTR(why, err.text), K_CSTR(cause, err.cause));
		return STEP_DEAD;
	}
	handshake_slot_free(c);
	note_tls(c);
	c->phase_us = 0;
	c->state = CONN_OPEN;
	c->due_start = c->more = true;
	return STEP_NEXT;
}

/* ---- an open session ---- */

static void rate_pause(struct conn *c)
{
	if (c->rate && c->rate_mark_us)
		c->rate_parked_ms += (uint32_t)((clock_mono_us() - c->rate_mark_us) / 1000);
	c->rate_mark_us = 0;
}

/* Only time parked for input counts, so a slow disk of ours is not the peer's fault. */
static bool rate_missed(struct conn *c)
{
	uint32_t window = c->events->net->options.rate_window_ms;
	if (!c->rate || c->rate_parked_ms < window)
		return false;
	bool missed = c->rate_bytes < (uint64_t)c->rate * window / 1000;
	c->rate_bytes = 0;
	c->rate_parked_ms = 0;
	return missed;
}

static void check_clock(struct conn *c)
{
	int64_t now = clock_mono_us();
	if (c->deadline_us && now >= c->deadline_us) {
		c->deadline_us = 0;
		c->due_deadline = true;
	}
	if (rate_missed(c))
		c->due_deadline = true;
	if (stream_pending(c) == 0) {
		c->phase_us = 0;
		c->stalled = false;
	} else if (!c->stalled || !c->phase_us) { /* it moved: a new term */
		c->stalled = true;
		c->phase_us = now + c->events->net->options.stall_ms * INT64_C(1000);
	} else if (now >= c->phase_us) {
		c->broken = true;
	}
}

static bool next_wake(struct conn *c, enum wake *out)
{
	if (c->broken)
		return *out = WAKE_GONE, true;
	if (c->due_deadline)
		return c->due_deadline = false, *out = WAKE_DEADLINE, true;
	if (stream_pending(c) > CONN_OUT_HIGH)
		return c->due_output = true, false;
	if (c->due_output) { /* it was above the mark: wait until all is gone */
		if (stream_pending(c))
			return false;
		c->due_output = false;
	}
	if (c->due_start)
		return c->due_start = false, *out = WAKE_START, true;
	if (c->due_drain)
		return c->due_drain = false, *out = WAKE_DRAIN, true;
	if (c->due_event || c->due_again)
		return c->due_event = c->due_again = false, *out = WAKE_EVENT, true;
	if ((c->park & PARK_OUTPUT) && stream_pending(c) == 0)
		return *out = WAKE_OUTPUT, true;
	if ((c->park & PARK_INPUT) && c->in_new)
		return *out = WAKE_INPUT, true;
	return false;
}

static void end_session(struct conn *c)
{
	if (c->started && !c->ended)
		c->protocol->end(c);
	c->ended = true;
	arena_free(c->arena);
	c->arena = NULL;
}

static void log_session(struct conn *c)
{
	static const char digits[] = "0123456789abcdef";
	char sid[16];
	for (int i = 0; i < 16; i++)
		sid[i] = digits[c->facts.id >> (60 - 4 * i) & 15];
	struct str group = c->group ? str_from(c->group->key, 1) : STR_NONE;
	log_context((struct str){sid, sizeof sid}, STR_NONE, group);
}

static unsigned run(struct conn *c, enum wake wake)
{
	struct io *io = c->io;
	if (io && io->out_at > 0) { /* what is sent makes room */
		buf_consume(&io->out, io->out_at);
		io->out_base += io->out_at;
		io->out_at = 0;
	}
	c->in_new = false;
	c->started = true;
	unsigned park = c->protocol->run(c, wake);
	c->park = (uint8_t)(park & (PARK_INPUT | PARK_OUTPUT | PARK_EVENT));
	return wake == WAKE_GONE ? PARK_CLOSE : park;
}

static enum step after_run(struct conn *c, unsigned park)
{
	if (park & PARK_CLOSE) {
		end_session(c);
		c->state = CONN_CLOSING;
		return STEP_NEXT;
	}
	if (park & PARK_STARTTLS) {
		c->state = CONN_TO_TLS;
		return STEP_NEXT;
	}
	if (park & PARK_PUMP) {
		end_session(c);
		c->state = CONN_TO_PUMP;
		return STEP_NEXT;
	}
	if (!(park & PARK_AGAIN))
		return STEP_PARK;
	c->due_again = true;
	return STEP_AGAIN;
}

static enum step step_open(struct conn *c)
{
	rate_pause(c);
	for (unsigned round = 0;; round++) {
		enum wake wake;
		if (stream_flush(c) && (c->park & PARK_INPUT))
			(void)stream_read(c);
		check_clock(c);
		if (!next_wake(c, &wake))
			return STEP_PARK;
		if (wake == WAKE_GONE && !c->started)
			return STEP_DEAD;
		enum step step = after_run(c, run(c, wake));
		if (step == STEP_NEXT)
			return step;
		(void)stream_flush(c); /* next_wake() or conn_park() see what became of it */
		if (step == STEP_AGAIN)
			return step;
		bool full = (c->park & PARK_INPUT) && c->more && !c->broken;
		bool due = c->broken || c->due_event || (c->park & PARK_OUTPUT);
		if (!full && !due)
			return STEP_PARK;
		if (round + 1 == ROUNDS_MAX)
			return STEP_AGAIN;
	}
}

/* ---- on the way out ---- */

/* true: all has left. */
static bool drained(struct conn *c)
{
	return stream_flush(c) && stream_pending(c) == 0;
}

static enum step step_drain(struct conn *c)
{
	bool done = drained(c);
	if (c->broken)
		return STEP_DEAD;
	check_clock(c);
	if (c->broken || c->due_deadline)
		return STEP_DEAD;
	if (!done)
		return STEP_PARK;
	if (c->state == CONN_TO_PUMP)
		return STEP_PUMP;
	/* RFC 3207 4.2: what the client said before the handshake is forgotten. */
	io_drop(c);
	c->in_new = c->more = false;
	c->deadline_us = 0;
	conn_begin_hello(c);
	return STEP_NEXT;
}

static enum step step_closing(struct conn *c)
{
	struct err err = {0};
	if (c->fd < 0)
		return STEP_DEAD;
	bool done = drained(c);
	check_clock(c);
	if (c->broken)
		return STEP_DEAD;
	if (!done)
		return STEP_PARK;
	if (c->tls)
		(void)tls_shutdown(c->tls, &err);
	if (shutdown(c->fd, SHUT_WR) != 0)
		return STEP_DEAD;
	if (c->eof)
		return STEP_DEAD;
	c->state = CONN_LINGER;
	c->rate = 0;
	c->rate_bytes = 0;
	const struct net_options *o = &c->events->net->options;
	unsigned linger_ms = o->linger_ms;
	/* Who connects meanwhile waits for us (an upgrade). */
	if (atomic_load(&c->events->net->draining) && linger_ms > LINGER_DRAIN_MS)
		linger_ms = LINGER_DRAIN_MS;
	/* A client of a Unix listener, who may keep its end open for ever, is no such pair. */
	c->phase_us = in_ms(c->pair && !c->listening ? o->stall_ms : linger_ms);
	io_drop(c);
	return STEP_NEXT;
}

/* Closing with unread input sends a reset, which can take our last words from the peer. And one end of
 * a pair must not vanish before the other has seen the orderly end (conn_pump_to). */
static enum step step_linger(struct conn *c)
{
	char waste[16 * 1024];
	ssize_t got;
	while ((got = recv(c->fd, waste, sizeof waste, MSG_DONTWAIT)) > 0) {
		c->rate_bytes += (uint32_t)got;
		if (c->rate_bytes > LINGER_BYTES)
			return STEP_DEAD;
	}
	if (got == 0 || (errno != EAGAIN && errno != EINTR) || clock_mono_us() >= c->phase_us)
		return STEP_DEAD;
	return STEP_PARK;
}

/* ---- the turn ---- */

static enum step take_step(struct conn *c)
{
	switch ((enum conn_state)c->state) {
	case CONN_PROXY: return step_proxy(c);
	case CONN_HELLO: return step_hello(c);
	case CONN_HANDSHAKE: return step_handshake(c);
	case CONN_OPEN: return step_open(c);
	case CONN_TO_TLS:
	case CONN_TO_PUMP: return step_drain(c);
	case CONN_CLOSING: return step_closing(c);
	case CONN_LINGER: return step_linger(c);
	case CONN_PUMP: break;
	}
	return STEP_DEAD;
}

static void evict(struct conn *c)
{
	const char *text = c->listening ? c->listening->l.busy_text : NULL;
	if (text && c->state == CONN_OPEN && c->started && !c->broken && stream_pending(c) == 0) {
		buf_add(conn_out(c), str_of(text));
		(void)stream_flush(c);
	}
	c->broken = true;
}

static void absorb(struct conn *c)
{
	unsigned news = atomic_fetch_and(&c->sched, S_OWNED);
	if (news & S_EVENT)
		c->due_event = true;
	if (news & S_DRAIN)
		c->due_drain = true;
	if (news & S_KICK)
		evict(c);
	if (news & S_STOP)
		c->broken = true;
}

/* Whatever the state, the session hears that it is over. */
static void last_words(struct conn *c)
{
	if (c->started && !c->ended)
		(void)c->protocol->run(c, WAKE_GONE);
	end_session(c);
}

enum turn conn_turn(struct conn *c)
{
	log_session(c);
	for (;;) {
		absorb(c);
		enum step step = c->broken && c->state != CONN_OPEN ? STEP_DEAD : take_step(c);
		if (step == STEP_PARK && c->broken)
			step = c->state == CONN_OPEN ? STEP_NEXT : STEP_DEAD;
		switch (step) {
		case STEP_PARK:
			if (conn_park(c))
				return log_context_clear(), TURN_LEFT;
			break;
		case STEP_NEXT: break;
		case STEP_AGAIN: return log_context_clear(), TURN_AGAIN;
		case STEP_PUMP:
			c->state = CONN_PUMP;
			events_to_pump(c);
			return log_context_clear(), TURN_LEFT;
		case STEP_DEAD:
			last_words(c);
			conn_die(c);
			return log_context_clear(), TURN_LEFT;
		}
	}
}

/* ---- parking ---- */

static uint32_t interest(const struct conn *c)
{
	switch ((enum conn_state)c->state) {
	case CONN_PROXY:
	case CONN_LINGER: return EPOLLIN;
	case CONN_HELLO: return EPOLLIN;
	case CONN_HANDSHAKE: return c->write_wants_read ? EPOLLIN : EPOLLOUT;
	case CONN_OPEN:
	case CONN_TO_TLS:
	case CONN_TO_PUMP:
	case CONN_CLOSING:
	case CONN_PUMP: break;
	}
	uint32_t what = 0;
	bool full = c->io && c->io->in.n - c->io->in_at >= c->in_max;
	bool held = stream_pending(c) > CONN_OUT_HIGH;
	if (c->state == CONN_OPEN && (c->park & PARK_INPUT) && !c->eof && !full && !held)
		what |= EPOLLIN;
	if (stream_pending(c))
		what |= c->write_wants_read && c->tls ? EPOLLIN : EPOLLOUT;
	return what;
}

static int64_t earliest(int64_t a, int64_t b)
{
	return !a ? b : !b ? a : a < b ? a : b;
}

static int64_t next_clock(struct conn *c)
{
	int64_t at = c->phase_us;
	if (c->state == CONN_OPEN)
		at = earliest(at, c->deadline_us);
	if (c->state == CONN_OPEN && c->rate && (c->park & PARK_INPUT)) {
		uint32_t window = c->events->net->options.rate_window_ms;
		c->rate_mark_us = clock_mono_us();
		at = earliest(at, c->rate_mark_us + (window - c->rate_parked_ms) * INT64_C(1000));
	}
	return at;
}

bool conn_park(struct conn *c)
{
	unsigned owned = S_OWNED;
	int64_t at = next_clock(c);
	uint32_t what = interest(c);
	io_release(c);
	if (c->slot_wait) { /* a whole hello: nothing of the kernel's tells when there is a slot */
		at = earliest(at, in_ms(HANDSHAKE_RETRY_MS));
		what = 0;
	}
	timer_set(c, at);
	if (what)
		events_arm(c, what);
	return atomic_compare_exchange_strong(&c->sched, &owned, 0);
}

void conn_die(struct conn *c)
{
	timer_forget(c);
	handshake_slot_free(c);
	tls_session_free(c->tls);
	c->tls = NULL;
	tls_context_unref(c->next_tls);
	c->next_tls = NULL;
	if (c->pump) { /* a late event of the pump may be looking at the NULL that pump_end left */
		pump_free(c->pump);
		c->pump = NULL;
	}
	io_drop(c);
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	listen_leave(c);
	conn_unref(c);
}
