/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * One connection of a client program with many requests under way, each an attempt (auth/attempt.h). At
 * every run all are looked at: their number is small and bounded.
 */
#include "auth/dovecot.h"
#include "auth/attempt.h"
#include "auth/auth_int.h"
#include "auth/sasl.h"
#include "base/clock.h"
#include "base/codec.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/conn.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum { REQUESTS_MAX = 128, BAD_LINES_MAX = 10 };

struct request {
	uint32_t id;
	struct attempt *attempt; /* NULL: the place is free */
	bool waiting;            /* for the client's CONT */
	int64_t since_ms;
	int64_t deliver_ms;      /* 0: not answered; the answer's delay runs until then */
};
struct dovecot_session {
	struct conn *conn;
	const struct door *door;
	bool greeted, versioned, closing;
	unsigned bad;
	struct request v[REQUESTS_MAX];
};

/* ---- what we say ---------------------------------------------------------------------------------- */

static void write_mechanisms(struct dovecot_session *s, struct buf *out)
{
	struct str all = s->door->auth.mechanisms(s->door->auth.ctx);
	enum sasl_mechanism m;
	while (all.p) {
		struct str name = str_cut(&all, ' ');
		if (!sasl_mechanism_find(name, &m) || sasl_mechanism_needs_binding(m))
			continue;
		buf_fmt(out, "MECH\t%s\t%s\n", sasl_mechanism_name(m),
			sasl_mechanism_plaintext(m) ? "plaintext" : "mutual-auth");
	}
}

static void greet(struct dovecot_session *s)
{
	struct buf *out = conn_out(s->conn);
	unsigned char cookie[16];
	random_bytes(cookie, sizeof cookie);
	buf_add(out, STR("VERSION\t1\t2\n"));
	write_mechanisms(s, out);
	buf_fmt(out, "SPID\t%d\nCUID\t%llu\nCOOKIE\t", (int)getpid(),
		(unsigned long long)(conn_facts(s->conn)->id & UINT32_MAX));
	hex_encode(out, (struct str){(const char *)cookie, sizeof cookie});
	buf_add(out, STR("\nDONE\n"));
	s->greeted = true;
}

static void say_fail(struct dovecot_session *s, uint32_t id, struct str user, const char *more)
{
	struct buf *out = conn_out(s->conn);
	buf_fmt(out, "FAIL\t%u", id);
	if (user.n) {
		buf_add(out, STR("\tuser="));
		dovecot_escape(out, user);
	}
	buf_add(out, str_of(more));
	buf_byte(out, '\n');
}

static void say_result(struct dovecot_session *s, struct request *q, const struct auth_result *r)
{
	struct buf *out = conn_out(s->conn);
	switch (r->outcome) {
	case AUTH_CHALLENGE:
		buf_fmt(out, "CONT\t%u\t", q->id);
		base64_encode(out, r->data);
		buf_byte(out, '\n');
		return;
	case AUTH_SUCCESS:
		buf_fmt(out, "OK\t%u\tuser=", q->id);
		dovecot_escape(out, r->account);
		buf_byte(out, '\n');
		return;
	case AUTH_TEMP: say_fail(s, q->id, r->user, "\ttemp\tcode=temp_fail"); return;
	case AUTH_WRONG:
	case AUTH_SYNTAX: say_fail(s, q->id, r->user, ""); return;
	case AUTH_DENIED: say_fail(s, q->id, r->user, "\tauthz"); return;
	}
}

/* ---- requests ------------------------------------------------------------------------------------- */

static struct request *find(struct dovecot_session *s, uint32_t id)
{
	for (size_t i = 0; i < REQUESTS_MAX; i++) {
		if (s->v[i].attempt && s->v[i].id == id)
			return &s->v[i];
	}
	return NULL;
}

static void drop(struct request *q)
{
	attempt_free(q->attempt);
	*q = (struct request){0};
}

/* A free place, or that of the client's oldest forgotten challenge. */
static struct request *place(struct dovecot_session *s)
{
	struct request *oldest = NULL;
	for (struct request *q = s->v; q < s->v + REQUESTS_MAX; q++) {
		if (!q->attempt)
			return q;
		if (q->waiting && (!oldest || q->since_ms < oldest->since_ms))
			oldest = q;
	}
	if (oldest)
		drop(oldest);
	return oldest;
}

static void on_auth(struct dovecot_session *s, const struct dovecot_request *r)
{
	const struct auth_origin origin = {r->peer.n ? r->peer : STR("unix"), r->secured};
	struct str initial = buf_str(&r->response);
	struct request *q = find(s, r->id) ? NULL : place(s);
	if (!q) {
		say_fail(s, r->id, STR_NONE, "\ttemp");
		return;
	}
	*q = (struct request){.id = r->id, .attempt = attempt_new(s->conn, &s->door->auth)};
	attempt_begin_for(q->attempt, &origin, r->mechanism, r->has_response ? &initial : NULL);
}

static void on_cont(struct dovecot_session *s, const struct dovecot_request *r)
{
	struct request *q = find(s, r->id);
	if (!q || !q->waiting) {
		say_fail(s, r->id, STR_NONE, "\ttemp");
		return;
	}
	q->waiting = false;
	attempt_step(q->attempt, buf_str(&r->response));
}

static void on_line(struct dovecot_session *s, struct str line)
{
	struct dovecot_request r;
	struct request *q;
	struct err err = {0};
	if (!dovecot_request_parse(line, &r, &err)) {
		log_event(LOG_INFO, "auth.dovecot.bad_line", K_CSTR(why, err.text));
		if (r.verb == DOVECOT_AUTH || r.verb == DOVECOT_CONT)
			say_fail(s, r.id, STR_NONE, "");
		s->closing = ++s->bad >= BAD_LINES_MAX;
	} else if (r.verb == DOVECOT_VERSION) {
		s->versioned = r.major == 1;
		s->closing = !s->versioned;
	} else if (!s->versioned && r.verb != DOVECOT_CPID) {
		s->closing = true; /* the handshake comes first */
	} else if (r.verb == DOVECOT_AUTH) {
		on_auth(s, &r);
	} else if (r.verb == DOVECOT_CONT) {
		on_cont(s, &r);
	} else if (r.verb == DOVECOT_CANCEL && (q = find(s, r.id))) {
		drop(q);
	}
	dovecot_request_free(&r);
}

/* The answers that have come and whose delay is over; *next_ms: when the next one's is. */
static void deliver(struct dovecot_session *s, int64_t now, int64_t *next_ms)
{
	*next_ms = 0;
	for (struct request *q = s->v; q < s->v + REQUESTS_MAX; q++) {
		struct auth_result r;
		if (!q->attempt || q->waiting || !attempt_answer(q->attempt, &r))
			continue;
		if (q->deliver_ms == 0)
			q->deliver_ms = now + r.delay_ms;
		if (now < q->deliver_ms) {
			if (*next_ms == 0 || q->deliver_ms < *next_ms)
				*next_ms = q->deliver_ms;
			continue;
		}
		say_result(s, q, &r);
		q->deliver_ms = 0;
		q->since_ms = now;
		q->waiting = r.outcome == AUTH_CHALLENGE;
		if (!q->waiting)
			drop(q);
	}
}

static void read_lines(struct dovecot_session *s)
{
	while (!s->closing) {
		struct str in = conn_input(s->conn);
		size_t end = str_find_byte(in, '\n');
		if (end == STR_NPOS) {
			s->closing = in.n >= DOVECOT_LINE_MAX;
			return;
		}
		on_line(s, str_sub(in, 0, end));
		conn_consume(s->conn, end + 1);
	}
}

static unsigned run(struct conn *c, enum wake wake)
{
	struct dovecot_session *s = conn_session(c);
	int64_t now = clock_mono_ms(), next;
	if (!s) {
		s = mem_new(struct dovecot_session);
		*s = (struct dovecot_session){.conn = c, .door = conn_owner(c)};
		conn_session_set(c, s);
		conn_input_limit(c, DOVECOT_LINE_MAX + 1);
	}
	if (wake == WAKE_GONE || wake == WAKE_DRAIN)
		return PARK_CLOSE;
	if (!s->greeted)
		greet(s);
	read_lines(s);
	deliver(s, now, &next);
	if (s->closing || conn_eof(c))
		return PARK_CLOSE;
	conn_deadline(c, next ? next - now : 0);
	return PARK_INPUT | PARK_EVENT;
}

static void end(struct conn *c)
{
	struct dovecot_session *s = conn_session(c);
	for (size_t i = 0; s && i < REQUESTS_MAX; i++)
		drop(&s->v[i]);
	free(s);
}

const struct protocol dovecot_auth_protocol = {"dovecot-auth", run, end};
