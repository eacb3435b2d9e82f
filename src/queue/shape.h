/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * queue/shape.h: how fast we may send to a group of destinations (one provider, one MX set), from
 * the table in share/shaping.tsv: connections, messages per connection, recipients per message,
 * messages per minute and hour. A group slows down by what the peer says, pauses when it is told to go
 * away, and grows again while all goes well. State survives a restart.
 *
 * Used by queue's remote thread alone: no locks. Times are microseconds of the wall clock, so that
 * they mean something after a restart.
 */
#pragma once
#include "base/arena.h"
#include "base/err.h"

struct shapes;
struct buf;

struct shape_limits {
	uint32_t max_conn, msgs_per_conn, rcpts_per_msg; /* 0: no limit */
	uint32_t rate_per_min, rate_per_hour;
	int64_t backoff_421_us, block_pause_us;
	bool tls_required;
};

struct shape {
	struct str name;              /* "google"; "default:" + domain for those of no group */
	struct shape_limits limits;   /* of the table */
	uint32_t conn_now;            /* how many at once just now: grows from 2 to max_conn */
	double rate_factor;           /* 1: the table's rates */
	double tokens_min, tokens_hour;
	int64_t tokens_at_us;
	int64_t paused_until_us;      /* nothing is sent before */
	int64_t clean_since_us;       /* no complaint since; growing counts from here */
	int64_t last_hit_us;
	uint32_t hits;                /* complaints in a row: pauses double */
	char reason[160];             /* why it is slow or paused, for people */
	uint32_t active;              /* transactions under way */
	struct shape *next;
};

/* text: the table, as in share/shaping.tsv. ERR_SYNTAX names the line. */
bool shapes_new(struct str table, struct shapes **out, struct err *err) MUST_CHECK;
void shapes_free(struct shapes *s);
/* The group of the best MX host, else of the domain, else the domain's own. */
struct shape *shape_of(struct shapes *s, struct str best_mx, struct str domain);
/* A route set by the administrator (smarthost, transport): no rates, 20 connections. */
struct shape *shape_of_route(struct shapes *s, struct str name);
struct shape *shape_first(struct shapes *s); /* all that were used; follow next */

/* May one more transaction of so many messages begin now? If not, *out_wait_us says when to ask again
 * (0: when one that is under way ends). shape_begin counts it. */
bool shape_may_begin(struct shape *s, int64_t now_us, int64_t *out_wait_us);
void shape_begin(struct shape *s, int64_t now_us);

enum shape_hit {
	SHAPE_OK,
	SHAPE_NEUTRAL, /* says nothing about our speed: no such user, a local problem of theirs */
	SHAPE_SLOW,    /* too fast: a tenth for 30 min, one connection */
	SHAPE_CLOSED,  /* 421 at connect or a broken session: pause backoff_421, doubling */
	SHAPE_BLOCKED, /* block text: pause block_pause, doubling to a day */
};
void shape_end(struct shape *s, enum shape_hit hit, struct str reason, int64_t now_us);

/* The state of all groups as text, and back; groups at rest are left out. */
void shapes_save(struct shapes *s, struct buf *out);
void shapes_restore(struct shapes *s, struct str saved);
