/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * One request a connection: head, answer, end. There is no body to read, so nothing of the next request can
 * be mistaken; what a header field says does not matter here.
 */
#include "base/clock.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/net.h"
#include "proc/metrics.h"
#include "proc/role_int.h"

#include <stdlib.h>
#include <string.h>

#define OPENMETRICS_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"
enum { REQUEST_MS = 10000, KEPT_MS = 1000, WAIT_MS = 3000, STATUS_BYTES_MAX = 4 << 20 };

struct waiter {
	struct conn *conn;
	struct waiter *next;
};
struct metrics {
	struct role *role;
	struct lock lock;
	/* guarded by lock */
	struct buf text;
	int64_t told_ms, asked_ms; /* 0: never; not under way */
	struct waiter *waiters;
};
struct session {
	bool head, waiting;
	int64_t since_ms;
};

/* ---- the request ---- */

enum metrics_request metrics_request_read(struct str in)
{
	size_t end = str_find(in, STR("\r\n\r\n"));
	if (end == STR_NPOS)
		return in.n >= METRICS_HEAD_MAX ? METRICS_TOO_LARGE : METRICS_MORE;
	if (end > METRICS_HEAD_MAX)
		return METRICS_TOO_LARGE;
	struct str line = str_sub(in, 0, str_find(in, STR("\r\n"))), rest = line;
	struct str method = str_cut(&rest, ' '), target = str_cut(&rest, ' ');
	if (str_has_ctl(line) || !rest.p ||
	    (!str_eq(rest, STR("HTTP/1.1")) && !str_eq(rest, STR("HTTP/1.0"))))
		return METRICS_BAD;
	if (!str_eq(method, STR("GET")) && !str_eq(method, STR("HEAD")))
		return METRICS_BAD_METHOD;
	struct str path = str_sub(target, 0, str_find_byte(target, '?'));
	if (!str_eq(path, STR("/metrics")))
		return METRICS_NOT_FOUND;
	return method.n == 3 ? METRICS_GET : METRICS_HEAD;
}

/* ---- the answer ---- */

static void answer(struct conn *c, const char *status, const char *type, struct str body, bool head)
{
	struct buf *out = conn_out(c);
	buf_fmt(out,
		"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n"
		"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\r\n",
		status, type, body.n);
	if (!head)
		buf_add(out, body);
}

static unsigned refuse(struct conn *c, const char *status)
{
	answer(c, status, "text/plain", str_of("see /metrics\n"), false);
	return PARK_CLOSE;
}

/* True: there is a text young enough. */
static bool tell(struct metrics *m, struct conn *c, const struct session *s)
{
	BUF_SCOPED text = {0};
	lock_take(&m->lock);
	bool fresh = m->told_ms && m->told_ms + KEPT_MS >= s->since_ms;
	if (fresh)
		buf_add(&text, buf_str(&m->text));
	lock_drop(&m->lock); /* the connection has locks of its own */
	if (fresh)
		answer(c, "200 OK", OPENMETRICS_TYPE, buf_str(&text), s->head);
	return fresh;
}

static void wait_for_text(struct metrics *m, struct conn *c)
{
	struct waiter *w = mem_new(struct waiter);
	int64_t now = clock_mono_ms();
	w->conn = conn_ref(c);
	lock_take(&m->lock);
	w->next = m->waiters;
	m->waiters = w;
	bool ask = !m->asked_ms || now - m->asked_ms > WAIT_MS;
	if (ask)
		m->asked_ms = now;
	lock_drop(&m->lock);
	struct message wanted = {.type = MSG_status_wanted};
	if (ask)
		role_post(m->role, &wanted);
}

void metrics_on_master(struct metrics *m, struct message *msg)
{
	BUF_SCOPED json = {0};
	JSON_DOC_SCOPED doc = NULL;
	struct err err = {0};
	int fd = msg->status_told.json;
	msg->status_told.json = -1;
	bool good = sealed_read(fd, STATUS_BYTES_MAX, &json, &err) &&
		    json_doc_parse(str_trim(buf_str(&json)), STATUS_BYTES_MAX, &doc, &err);
	if (!good)
		log_err(LOG_WARN, "metrics.status.bad", &err);
	lock_take(&m->lock);
	if (good) {
		buf_clear(&m->text);
		metrics_write(json_doc_root(doc), &m->text);
		m->told_ms = clock_mono_ms();
	}
	m->asked_ms = 0;
	struct waiter *w = m->waiters;
	m->waiters = NULL;
	lock_drop(&m->lock);
	while (w) {
		struct waiter *next = w->next;
		conn_wake(w->conn);
		conn_unref(w->conn);
		free(w);
		w = next;
	}
}

/* ---- the session ---- */

static unsigned begin(struct conn *c, struct session *s)
{
	switch (metrics_request_read(conn_input(c))) {
	case METRICS_MORE: return conn_eof(c) ? PARK_CLOSE : PARK_INPUT;
	case METRICS_BAD: return refuse(c, "400 Bad Request");
	case METRICS_NOT_FOUND: return refuse(c, "404 Not Found");
	case METRICS_BAD_METHOD: return refuse(c, "405 Method Not Allowed");
	case METRICS_TOO_LARGE: return refuse(c, "431 Request Header Fields Too Large");
	case METRICS_HEAD: s->head = true; break;
	case METRICS_GET: break;
	}
	conn_consume(c, conn_input(c).n);
	s->waiting = true;
	s->since_ms = clock_mono_ms();
	conn_deadline(c, WAIT_MS);
	if (tell(conn_owner(c), c, s))
		return PARK_CLOSE;
	wait_for_text(conn_owner(c), c);
	return PARK_EVENT;
}

static unsigned metrics_run(struct conn *c, enum wake wake)
{
	struct session *s = conn_session(c);
	if (!s) {
		s = arena_new_of(conn_arena(c), struct session);
		conn_session_set(c, s);
		conn_input_limit(c, METRICS_HEAD_MAX + 4);
		conn_deadline(c, REQUEST_MS);
	}
	switch (wake) {
	case WAKE_GONE:
	case WAKE_DRAIN: return PARK_CLOSE;
	case WAKE_DEADLINE: return s->waiting ? refuse(c, "503 Service Unavailable") : PARK_CLOSE;
	case WAKE_START:
	case WAKE_INPUT:
	case WAKE_OUTPUT:
	case WAKE_EVENT: break;
	}
	if (!s->waiting)
		return begin(c, s);
	return tell(conn_owner(c), c, s) ? PARK_CLOSE : PARK_EVENT;
}

static void metrics_end(struct conn *c)
{
	(void)c;
}

const struct protocol metrics_protocol = {"metrics", metrics_run, metrics_end};

struct metrics *metrics_new(struct role *r)
{
	struct metrics *m = mem_new(struct metrics);
	m->role = r;
	lock_init(&m->lock, LOCK_LEAF);
	return m;
}
