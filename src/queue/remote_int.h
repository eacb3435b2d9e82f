/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * queue/remote_int.h: what the files of remote delivery share: remote.c the thread, dest.c destinations,
 * unit.c one message's way to one of them. All belongs to the one thread, but for what is marked.
 */
#pragma once
#include "json/json.h"
#include "queue/queue_int.h"
#include "queue/shape.h"

struct unit {
	struct unit *next;
	struct unit *young_next, **young_prev; /* those without a file, oldest first */
	int64_t since_us;
	struct queue *queue;
	struct item *item;
	const struct action **actions; /* in the item's arena */
	size_t n;
	struct dest *dest;
	uint64_t round;
	bool again;                /* it was here before, and has no file */
	/* result */
	struct arena *arena;
	struct relay_reply *replies;
	struct str mta, tls;
	bool reused;
	uint32_t ms;
};

/* Files of one sender that wait for a place in memory. */
struct lane {
	struct lane *next;
	struct turn files; /* guarded by queue.lock */
	char sender[];
};

struct dest {
	struct dest *next, **prev; /* list of all */
	struct dest *next_run;     /* list of those with something ready */
	bool in_run;
	char *name;                /* domain, or the route's pattern */
	char *key;
	const struct queue_route *route; /* NULL: by MX */
	struct shape *shape;
	char *hosts;
	enum route_kind kind;
	bool secure;               /* the hosts are proven by DNSSEC */
	bool verify;               /* MTA-STS wants valid certificates */
	int64_t hosts_until_us;
	bool asking;
	struct unit *ready, *ready_last; /* sorted by round */
	size_t ready_n, active;
	size_t entering;           /* read from their files, not ready yet */
	uint64_t round;            /* of the unit begun last */
	struct map *rounds;        /* sender -> its last round; NULL: nobody waits */
	struct lane *lanes, **lanes_tail;
	struct map *lane_of;       /* sender -> lane; NULL: none */
	int64_t held_until_us;
	unsigned fails;
	bool proven;               /* its last transaction ended well */
	uint32_t went, went_before;/* transactions that ended well in this second, in the one before */
	int64_t second;
	int64_t used_us;
	char reason[160];
};

enum input_kind { INPUT_UNIT, INPUT_ROUTE, INPUT_RESULT, INPUT_RETRY, INPUT_STATUS, INPUT_RELEASE };
struct input {
	struct input *next;
	enum input_kind kind;
	struct unit *unit;
	struct dest *dest;
	struct route_answer route;
	char why[160];
	char *hosts;
	struct question_of_status *status;
};

/* On the stack of who waits for it. */
struct question_of_status {
	struct json_writer *out;
	bool done; /* guarded by remote.lock */
};

struct remote {
	struct queue *q;
	struct lock lock;
	struct cond work, answered;
	pthread_t thread;
	bool started, stopping, poked;
	struct input *first, **tail; /* guarded by lock */
	struct shapes *shapes;
	struct buf saved;      /* the shapes' state as it is in spool/shaping */
	bool shapes_changed;
	int64_t saved_us;
	struct map *dests_by_key;
	struct dest *dests, *run, **run_tail;
	int64_t forgot_us;
	struct unit *young, **young_tail;
	struct unit *later, **later_tail; /* come again at since_us */
	size_t jobs;
};

/* remote.c; any thread */
void remote_input(struct remote *r, struct input in);

/* unit.c */
struct unit *unit_new(struct queue *q, struct item *i, const struct action **actions, size_t n);
/* Those that could not be put off for want of room on the disk come again when their time is there. */
void units_again(struct remote *r, int64_t *wake_us);
void young_add(struct remote *r, struct unit *u);
/* First attempts that began before since_us get files. */
void release_older(struct remote *r, int64_t since_us);
void release_slow(struct remote *r, int64_t *wake_us);
bool unit_too_old(const struct queue *q, const struct item *i);
/* These are left for later, the others have ended; the unit goes. next_try_s 0: by the schedule. */
void unit_put_off(struct queue *q, struct unit *u, const struct action **left, size_t n, struct put_off p);
/* All its recipients failed for good. */
void unit_fail(struct queue *q, struct unit *u, int outcome, const char *why);
/* True: a rule holds it, and it is gone. */
bool unit_hold(struct queue *q, struct unit *u);
void unit_begin(struct remote *r, struct dest *d, struct unit *u);
void unit_result(struct remote *r, struct unit *u);
void unit_free(struct unit *u);

/* dest.c */
void unit_enter(struct remote *r, struct unit *u);
void dest_routed(struct remote *r, struct dest *d, const struct route_answer *a, char *hosts);
/* A transaction has ended; dead: no host of it could be reached. */
void dest_ended(struct remote *r, struct dest *d, bool well, bool reached);
void dest_hold(struct remote *r, struct dest *d, const char *why);
void dest_take_due(struct remote *r, int64_t *wake_us);
void dest_begin_ready(struct remote *r, int64_t *wake_us);
/* Those that nobody needs go. */
void dest_forget(struct remote *r);
void dest_free(struct remote *r, struct dest *d);
void dest_status(struct remote *r, struct json_writer *w);
struct str domain_of(struct str address);
