/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Remote delivery: which destination a message goes to, when it is tried, what became of it.
 *
 * One thread owns all that is below (destinations, shapes): others hand it units (one message's
 * recipients in one domain), answers of dns and results of relay through a list. A unit waits in its
 * destination until the shape of the destination's group lets it begin; senders take turns, so that
 * a big one does not stand before a small one. What fails for now goes to spool/deferred with all
 * that waits for the same dead destination, so it holds no memory and no other one's place.
 *
 * An open plan keeps the journals from being released past it, and mail placed after it from being
 * settled, so from being removed. A first attempt that takes its time is therefore given a file in
 * spool/deferred while it goes on, as if it were a later one: after SLOW_US, or when somebody waits.
 *
 * Order at a result: an accepted recipient's OUTCOME is queued for the journal at once; a crash
 * before it is durable sends that message twice, SMTP's one exception (RFC 1047). What is left is
 * in its file before the actions count as ended.
 */
#include "queue/queue_int.h"

#include "base/clock.h"
#include "base/embed.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "explain/explain.h"
#include "json/json.h"
#include "mail/dsn.h"
#include "queue/shape.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

enum {
	READY_MAX = 200,        /* units that wait in memory for one destination */
	HELD_MIN_S = 60,        /* a dead destination: pause, doubling */
	HELD_MAX_S = 3600,
	ROUTE_TTL_MIN_S = 60,
	ROUTE_TTL_MAX_S = 3600,
	SPREAD_S = 30,          /* what does not fit in memory comes again in so many seconds */
	JOBS_MAX = 200,         /* transactions under way in all */
	SAVE_US = 10 * 1000000, /* the state of the shapes is written so often at most */
	SHAPING_MAX = 4 << 20,
	SLOW_US = 2 * 1000000, /* a first attempt that takes longer gets a file */
};

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
	/* result */
	struct arena *arena;
	struct relay_reply *replies;
	struct str mta, tls;
	bool reused;
	uint32_t ms;
};

struct waiting {
	uint64_t n, held;
	uint32_t oldest_s, next_try_s;
};

struct dest {
	struct dest *next;
	struct str name;           /* domain, or the route's pattern */
	const struct queue_route *route; /* NULL: by MX */
	struct shape *shape;
	char *hosts;
	enum route_kind kind;
	int64_t hosts_until_us;
	bool asking;
	struct unit *ready;        /* sorted by round */
	size_t ready_n, active;
	uint64_t round;            /* of the unit begun last */
	struct map *rounds;        /* sender -> its last round; emptied when nobody waits */
	int64_t held_until_us;
	unsigned fails;
	char reason[160];
	struct waiting waiting; /* for dests_status */
};

enum input_kind { INPUT_UNIT, INPUT_ROUTE, INPUT_RESULT, INPUT_RETRY, INPUT_STATUS, INPUT_RELEASE };
struct input {
	struct input *next;
	enum input_kind kind;
	struct unit *unit;
	struct dest *dest;
	struct route_answer route;
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
	/* the thread's own */
	struct arena *arena;
	struct shapes *shapes;
	struct buf saved;      /* the shapes' state as it is in spool/shaping */
	bool shapes_changed;
	int64_t saved_us;
	struct map *dests_by_name;
	struct dest *dests;
	struct unit *young, **young_tail;
	size_t jobs;
};

/* ---- input ------------------------------------------------------------------------------- */

static void input_add(struct remote *r, struct input in)
{
	struct input *i = mem_alloc(sizeof *i);
	*i = in;
	i->next = NULL;
	LOCK_SCOPED(&r->lock);
	if (!r->first)
		r->tail = &r->first;
	*r->tail = i;
	r->tail = &i->next;
	cond_signal(&r->work);
}

void remote_poke(struct queue *q)
{
	if (!q->remote)
		return;
	LOCK_SCOPED(&q->remote->lock);
	q->remote->poked = true;
	cond_signal(&q->remote->work);
}

void remote_send(struct queue *q, struct item *i, const struct action **actions, size_t n)
{
	struct unit *u = mem_new(struct unit);
	u->queue = q;
	u->item = i;
	u->n = n;
	u->actions = arena_array(i->arena, n, sizeof *u->actions);
	memcpy(u->actions, actions, n * sizeof *actions);
	input_add(q->remote, (struct input){.kind = INPUT_UNIT, .unit = u});
}

void remote_release(struct queue *q)
{
	if (q->remote)
		input_add(q->remote, (struct input){.kind = INPUT_RELEASE});
}

/* ---- first attempts ---------------------------------------------------------------------- */

static void young_add(struct remote *r, struct unit *u)
{
	if (!r->young)
		r->young_tail = &r->young;
	u->since_us = clock_mono_us();
	u->young_next = NULL;
	u->young_prev = r->young_tail;
	*r->young_tail = u;
	r->young_tail = &u->young_next;
}

static void young_remove(struct unit *u)
{
	struct remote *r = u->queue->remote;
	if (!u->young_prev)
		return;
	*u->young_prev = u->young_next;
	if (u->young_next)
		u->young_next->young_prev = u->young_prev;
	else
		r->young_tail = u->young_prev;
	u->young_prev = NULL;
}

static void unit_free(struct unit *u)
{
	young_remove(u);
	if (u->arena)
		arena_free(u->arena);
	free(u);
}

/* ---- endings ----------------------------------------------------------------------------- */

static void ended(struct queue *q, struct unit *u, const struct action *a, enum ended how)
{
	struct err err = {0};
	BUF_SCOPED b = {0};
	ended_encode(&b, &(struct ended_record){u->item->id, a->number, how});
	/* Not waited for, but written at once: the shorter, the fewer are sent twice after a crash. */
	if (!journal_append(q->journal, JOURNAL_OUTCOME, &(struct iovec){b.p, b.n}, 1, NULL, NULL, NULL,
			    &err))
		log_err(LOG_ERROR, "queue.outcome.failed", &err);
}

static bool too_old(const struct queue *q, const struct item *i)
{
	return clock_wall_s() - i->envelope.received_us / 1000000 > q->o.expire_s;
}

/* False: the bounce cannot be written now (auth is away, the disk is full): the mail stays. */
static bool unit_bounce(struct queue *q, struct unit *u, const struct action *a, int outcome,
			struct str diagnostic, struct str mta)
{
	struct err err = {0};
	if (!bounce_late(q, u->item, a, outcome, diagnostic, mta, &err)) {
		log_err(LOG_ERROR, "queue.bounce.failed", &err);
		return false;
	}
	log_event(LOG_INFO, "queue.bounced", K_STR(rcpt, a->account), K_STR(why, diagnostic),
		  K_STR(peer, mta));
	ended(q, u, a, ENDED_BOUNCED);
	LOCK_SCOPED(&q->lock);
	q->counts.bounced++;
	return true;
}

static void unit_finish(struct queue *q, struct unit *u)
{
	struct item *i = u->item;
	if (i->deferred)
		spool_finished(q, i->deferred);
	for (size_t k = 0; k < u->n; k++)
		action_ended(q, i, u->actions[k]);
	unit_free(u);
}

/* A side file that became shorter helps no later attempt: for the administrator. How many were put aside. */
static size_t unit_put_aside(struct queue *q, struct unit *u, const struct action **left, size_t n)
{
	struct err err = {0};
	char why[120];
	size_t done = 0;
	log_context(STR_NONE, id_str(&u->item->id), STR_NONE);
	while (done < n && item_is_short(u->item, why) &&
	       spool_put_aside(q, u->item, left[done], why, true, &err))
		ended(q, u, left[done++], ENDED_DEFERRED);
	if (err.kind != ERR_NONE)
		log_err(LOG_ERROR, "queue.hold.failed", &err);
	return done;
}

/* The rest is tried later. */
static void unit_put_off(struct queue *q, struct unit *u, const struct action **left, size_t n,
			 struct put_off p)
{
	struct item *i = u->item;
	struct deferred *d = i->deferred;
	struct err err = {0};
	size_t aside = d ? 0 : unit_put_aside(q, u, left, n);
	left += aside;
	n -= aside;
	if (aside && !n) {
		unit_finish(q, u);
		return;
	}
	if (!p.next_try_s)
		p.next_try_s = spool_next_try(q, d ? d->attempts + 1u : 1);
	if (d) {
		if (n < u->n && !spool_shrink(q, i, left, n, &err))
			log_err(LOG_ERROR, "queue.defer.failed", &err);
		spool_again(q, d, &p);
	} else if (spool_defer(q, i, left, n, &p, &err)) {
		for (size_t k = 0; k < n; k++)
			ended(q, u, left[k], ENDED_DEFERRED);
	} else {
		/* No room on the disk: the journal keeps it, and we come again. */
		log_err(LOG_ERROR, "queue.defer.failed", &err);
		remote_send(q, i, left, n);
		for (size_t k = 0, j = 0; k < u->n; k++) { /* the others have ended */
			if (j < n && u->actions[k] == left[j])
				j++;
			else
				action_ended(q, i, u->actions[k]);
		}
		unit_free(u);
		return;
	}
	log_context(STR_NONE, id_str(&i->id), STR_NONE);
	log_event(LOG_INFO, "queue.deferred", K_STR(rcpt, left[0]->account), K_CSTR(why, p.why),
		  K_INT(count, n));
	log_context_clear();
	for (size_t k = 0; k < u->n; k++)
		action_ended(q, i, u->actions[k]);
	unit_free(u);
}

/* An item of its own for the unit, as one from the spool: it holds no plan and no record of smtp. */
static struct item *unit_item(struct queue *q, const struct unit *u, struct err *err)
{
	const struct item *from = u->item;
	BUF_SCOPED b = {0};
	struct item *i = item_new(q);
	bool generated = u->actions[0]->generated.n > 0;
	i->id = from->id;
	/* A notice's own envelope: from nobody. */
	struct envelope none = {.id = from->id, .received_us = clock_wall_us(), .origin = ENVELOPE_LOCAL};
	envelope_encode(&b, generated ? &none : &from->envelope);
	bool ok = envelope_decode(arena_str(i->arena, buf_str(&b)), i->arena, &i->envelope, err);
	i->content = arena_str(i->arena, generated ? u->actions[0]->generated : from->content);
	i->plan = (struct plan){.id = from->id, .n = u->n};
	i->plan.actions = arena_array(i->arena, u->n, sizeof *i->plan.actions);
	for (size_t k = 0; k < u->n; k++) {
		const struct action *a = u->actions[k];
		i->plan.actions[k] = (struct action){
			.number = a->number,
			.kind = a->kind,
			.account = arena_str(i->arena, a->account),
			.rcpt = arena_str(i->arena, a->rcpt),
			.mailbox = arena_str(i->arena, a->mailbox),
			.rcpt_index = a->rcpt_index,
		};
	}
	if (ok && !generated && from->side_fd >= 0) {
		i->side_fd = fcntl(from->side_fd, F_DUPFD_CLOEXEC, 0);
		i->side_bytes = from->side_bytes;
		ok = i->side_fd >= 0 || err_sys(err, "cannot keep a side file");
	}
	i->bytes = i->content.n + 1024;
	i->states = arena_zalloc(i->arena, u->n * sizeof *i->states);
	i->open = u->n;
	if (ok)
		return i;
	fd_close(&i->side_fd);
	arena_free(i->arena);
	return NULL;
}

/* The attempt goes on; its file, and an OUTCOME that names it, now stand for the mail. */
static bool unit_release(struct queue *q, struct unit *u, struct err *err)
{
	struct item *was = u->item, *i = unit_item(q, u, err);
	struct deferred *d;
	if (!i)
		return false;
	if (!spool_under_way(q, was, u->actions, u->n, &d, err)) {
		fd_close(&i->side_fd);
		arena_free(i->arena);
		return false;
	}
	i->deferred = d;
	item_enter(q, i, 0);
	const struct action **actions = arena_array(i->arena, u->n, sizeof *actions);
	const struct action **before = u->actions;
	u->item = i;
	u->actions = actions;
	for (size_t k = 0; k < u->n; k++) {
		actions[k] = &i->plan.actions[k];
		ended(q, u, actions[k], ENDED_DEFERRED);
	}
	for (size_t k = 0, n = u->n; k < n; k++)
		action_ended(q, was, before[k]); /* with its last one, and the array, it goes */
	return true;
}

/* Those that began before since_us. */
static void release_older(struct remote *r, int64_t since_us)
{
	while (r->young && r->young->since_us <= since_us) {
		struct unit *u = r->young;
		struct err err = {0};
		young_remove(u);
		if (unit_release(r->q, u, &err))
			continue;
		/* No room on the disk: the journal keeps it. */
		log_err(LOG_WARN, "queue.defer.failed", &err);
		young_add(r, u);
		return;
	}
}

static void release_slow(struct remote *r, int64_t *wake_us)
{
	int64_t now = clock_mono_us();
	release_older(r, now - SLOW_US);
	if (r->young && clock_wall_us() + r->young->since_us + SLOW_US - now < *wake_us)
		*wake_us = clock_wall_us() + r->young->since_us + SLOW_US - now;
}

/* All recipients of the unit failed for good. */
static void unit_fail(struct queue *q, struct unit *u, int outcome, const char *why)
{
	const struct action **left = mem_resize_array(NULL, u->n, sizeof *left);
	size_t left_n = 0;
	for (size_t k = 0; k < u->n; k++)
		if (!unit_bounce(q, u, u->actions[k], outcome, str_of(why), STR_NONE))
			left[left_n++] = u->actions[k];
	if (left_n)
		unit_put_off(q, u, left, left_n, (struct put_off){.why = why, .tried = true});
	else
		unit_finish(q, u);
	free(left);
}

/* ---- destinations ------------------------------------------------------------------------ */

static struct str domain_of(struct str address)
{
	return str_from(address, str_find_last_byte(address, '@') + 1);
}

static const struct queue_route *route_for(const struct queue *q, struct str domain)
{
	for (size_t k = 0; k < q->o.routes_n; k++) {
		const struct queue_route *r = &q->o.routes[k];
		if (str_eq(r->pattern, STR("*")) || str_eq_nocase(r->pattern, domain) ||
		    (r->pattern.n && r->pattern.p[0] == '.' && str_ends_nocase(domain, r->pattern)))
			return r;
	}
	return NULL;
}

static struct dest *dest_of(struct remote *r, struct str domain)
{
	const struct queue_route *route = route_for(r->q, domain);
	BUF_SCOPED key = {0};
	if (route)
		buf_byte(&key, '>');
	buf_add(&key, route ? route->pattern : domain);
	struct dest *d = map_get(r->dests_by_name, buf_str(&key));
	if (d)
		return d;
	d = arena_new_of(r->arena, struct dest);
	d->name = arena_str(r->arena, route ? route->pattern : domain);
	d->route = route;
	d->rounds = map_new();
	if (route) {
		d->shape = shape_of_route(r->shapes, route->pattern);
		d->hosts = mem_zalloc(route->hosts.n + 1);
		memcpy(d->hosts, route->hosts.p, route->hosts.n);
		d->hosts_until_us = INT64_MAX;
	}
	d->next = r->dests;
	r->dests = d;
	map_put(r->dests_by_name, buf_str(&key), d);
	return d;
}

/* Senders take turns: each one's n-th unit stands behind the others' (n-1)-th. */
static void dest_queue(struct dest *d, struct unit *u)
{
	struct str sender = u->item->envelope.reverse_path_text;
	uint64_t last = (uint64_t)(uintptr_t)map_get(d->rounds, sender);
	u->round = last > d->round ? last + 1 : d->round + 1;
	map_put(d->rounds, sender, (void *)(uintptr_t)u->round);
	struct unit **at = &d->ready;
	while (*at && (*at)->round <= u->round)
		at = &(*at)->next;
	u->next = *at;
	*at = u;
	d->ready_n++;
}

static struct unit *dest_take(struct dest *d)
{
	struct unit *u = d->ready;
	d->ready = u->next;
	d->ready_n--;
	d->round = u->round;
	if (!d->ready) { /* nobody waits: all begin anew */
		map_free(d->rounds);
		d->rounds = map_new();
		d->round = 0;
	}
	return u;
}

static void dest_flush(struct remote *r, struct dest *d, const char *why)
{
	while (d->ready) {
		struct unit *u = dest_take(d);
		if (too_old(r->q, u->item))
			unit_fail(r->q, u, OUTCOME_EXPIRED, why);
		else
			unit_put_off(r->q, u, u->actions, u->n,
				     (struct put_off){.why = why, .tried = true});
	}
}

static void dest_hold(struct remote *r, struct dest *d, const char *why)
{
	int64_t wait = HELD_MIN_S;
	for (unsigned k = 0; k < d->fails && wait < HELD_MAX_S; k++)
		wait *= 2;
	d->fails++;
	d->held_until_us = clock_wall_us() + wait * 1000000;
	snprintf(d->reason, sizeof d->reason, "%s", why);
	dest_flush(r, d, why);
}

struct question {
	struct remote *remote;
	struct dest *dest;
};

static void on_route(void *ctx, const struct route_answer *a)
{
	struct question *asked = ctx;
	struct input in = {.kind = INPUT_ROUTE, .dest = asked->dest, .route = *a};
	in.hosts = mem_zalloc(a->hosts.n + 1);
	if (a->hosts.n)
		memcpy(in.hosts, a->hosts.p, a->hosts.n);
	input_add(asked->remote, in);
	free(asked);
}

static void dest_ask(struct remote *r, struct dest *d)
{
	struct question *asked = mem_new(struct question);
	*asked = (struct question){r, d};
	d->asking = true;
	r->q->o.relay.route(r->q->o.relay.ctx, d->name, on_route, asked);
}

static void route_answered(struct remote *r, struct dest *d, const struct route_answer *a, char *hosts)
{
	d->asking = false;
	d->kind = a->kind;
	free(d->hosts);
	d->hosts = hosts;
	int64_t ttl = a->ttl_s < ROUTE_TTL_MIN_S   ? ROUTE_TTL_MIN_S
		      : a->ttl_s > ROUTE_TTL_MAX_S ? ROUTE_TTL_MAX_S
						   : a->ttl_s;
	d->hosts_until_us = clock_wall_us() + ttl * 1000000;
	switch (a->kind) {
	case ROUTE_MX: {
		struct str rest = str_of(hosts);
		d->shape = shape_of(r->shapes, str_cut(&rest, ' '), d->name);
		return;
	}
	case ROUTE_NULL_MX:
	case ROUTE_NXDOMAIN:
	case ROUTE_LOOP:
		while (d->ready)
			unit_fail(r->q, dest_take(d),
				  a->kind == ROUTE_NULL_MX   ? OUTCOME_NULL_MX
				  : a->kind == ROUTE_LOOP ? OUTCOME_LOOP
							     : OUTCOME_NO_SUCH_DOMAIN,
				  "");
		d->hosts_until_us = 0;
		return;
	case ROUTE_TEMP:
		d->hosts_until_us = 0;
		dest_hold(r, d, "the name servers do not answer");
		return;
	}
}

/* ---- transactions ------------------------------------------------------------------------ */

static void on_result(void *ctx, const struct relay_result *res)
{
	struct unit *u = ctx;
	u->arena = arena_new();
	u->replies = arena_zalloc(u->arena, u->n * sizeof *u->replies);
	for (size_t k = 0; k < u->n && k < res->rcpt_n; k++) {
		u->replies[k] = res->rcpt[k];
		u->replies[k].text = arena_str(u->arena, res->rcpt[k].text);
	}
	u->mta = arena_str(u->arena, res->mta);
	u->tls = arena_str(u->arena, res->tls);
	u->reused = res->reused;
	u->ms = res->ms;
	input_add(u->queue->remote, (struct input){.kind = INPUT_RESULT, .unit = u});
}

static void unit_begin(struct remote *r, struct dest *d, struct unit *u)
{
	const struct queue *q = r->q;
	struct item *i = u->item;
	struct recipient *rcpt = arena_array(i->arena, u->n, sizeof *rcpt);
	for (size_t k = 0; k < u->n; k++) {
		const struct action *a = u->actions[k];
		struct err ignored = {0};
		rcpt[k] = (struct recipient){0};
		if (a->rcpt_index < i->envelope.rcpt_n)
			rcpt[k] = i->envelope.rcpt[a->rcpt_index];
		/* An alias leads elsewhere: ORCPT and NOTIFY stay, the address is the destination's. */
		if (!address_parse(i->arena, a->account, ADDRESS_UTF8, &rcpt[k].address, &ignored))
			rcpt[k].address = (struct address){a->account, STR_NONE};
		rcpt[k].forward_path = a->account;
	}
	/* A notice is from nobody (RFC 5321 4.5.5). */
	bool notice = u->actions[0]->generated.n > 0;
	struct envelope none = {.id = i->id, .received_us = clock_wall_us(), .origin = ENVELOPE_LOCAL};
	log_context(STR_NONE, id_str(&i->id), STR_NONE);
	struct relay_job job = {
		.id = i->id,
		.destination = d->shape->name,
		.domain = d->name,
		.hosts = str_of(d->hosts),
		.port = d->route && d->route->port ? d->route->port : 25,
		.lmtp = d->route && d->route->lmtp,
		.tls = d->route ? d->route->tls
		       : d->shape->limits.tls_required && q->o.default_tls < RELAY_TLS_ENCRYPT
			       ? RELAY_TLS_ENCRYPT
			       : q->o.default_tls,
		.helo = q->o.hostname,
		.source_address = q->o.source_address,
		.messages_per_connection = d->shape->limits.msgs_per_conn,
		.rcpts_per_message = d->shape->limits.rcpts_per_msg,
		.envelope = notice ? &none : &i->envelope,
		.rcpt = rcpt,
		.rcpt_n = u->n,
		.own_notice = notice || (i->envelope.origin == ENVELOPE_LOCAL && !i->envelope.rcpt_n),
		.content = notice ? u->actions[0]->generated : i->content,
		.content_fd = notice ? -1 : i->side_fd,
		.content_fd_bytes = notice ? 0 : i->side_bytes,
	};
	if (d->route) {
		job.auth_user = d->route->user;
		job.auth_password = d->route->password;
	}
	u->dest = d;
	d->active++;
	r->jobs++;
	shape_begin(d->shape, clock_wall_us());
	q->o.relay.relay(q->o.relay.ctx, &job, on_result, u);
	log_context_clear();
}

/* What a reply tells about our speed: the table of share/explain.tsv knows the providers' wordings. */
static enum shape_hit hit_of(const struct remote *r, const struct unit *u, const struct relay_reply *p)
{
	static const enum explain_stage stages[] = {
		[RELAY_RECIPIENT] = EXPLAIN_STAGE_RCPT,
		[RELAY_MESSAGE] = EXPLAIN_STAGE_DATA,
		[RELAY_SESSION] = EXPLAIN_STAGE_CONNECT,
		[RELAY_HOSTS] = EXPLAIN_STAGE_CONNECT,
	};
	struct explanation why;
	if (p->code / 100 == 2)
		return SHAPE_OK;
	if (!p->code)
		return SHAPE_NEUTRAL;
	explain_reply_at(r->q->explain, p->text, u->mta, stages[p->scope], u->arena, &why);
	bool ours = why.fault != EXPLAIN_FAULT_SENDER_DOMAIN && why.fault != EXPLAIN_FAULT_SENDER;
	if (ours && why.destination == EXPLAIN_DESTINATION_HOLD)
		return SHAPE_BLOCKED;
	if (ours && why.destination == EXPLAIN_DESTINATION_SLOW)
		return SHAPE_SLOW;
	return p->code == 421 && p->scope == RELAY_SESSION ? SHAPE_CLOSED : SHAPE_NEUTRAL;
}

static void reply_text(char out[200], const struct relay_reply *p)
{
	struct str t = p->text;
	if (!t.n)
		t = str_of(outcome_row(p->outcome)->en);
	snprintf(out, 200, "%.*s", (int)(t.n < 190 ? t.n : 190), t.p);
}

/* "delayed" to the sender, once, when the message is old enough (RFC 3461 4.1, RFC 5321 4.5.4.1). */
static void warn_of_delay(struct queue *q, struct unit *u, const struct action *a,
			  const struct relay_reply *p)
{
	struct deferred *d = u->item->deferred;
	struct err err = {0};
	int64_t age = clock_wall_s() - u->item->envelope.received_us / 1000000;
	if (!d || d->warned || age < q->o.delay_warning_s)
		return;
	d->warned = true;
	if (!delay_late(q, u->item, a, p->text, u->mta, &err))
		log_err(LOG_WARN, "queue.notice.failed", &err);
}

static void unit_result(struct remote *r, struct unit *u)
{
	struct queue *q = r->q;
	struct dest *d = u->dest;
	const struct action **left = arena_array(u->arena, u->n, sizeof *left);
	size_t left_n = 0;
	const struct relay_reply *worst = &u->replies[0];
	enum shape_hit hit = SHAPE_NEUTRAL;
	bool reached = false;
	d->active--;
	r->jobs--;
	log_context(STR_NONE, id_str(&u->item->id), STR_NONE);
	for (size_t k = 0; k < u->n; k++) {
		const struct relay_reply *p = &u->replies[k];
		const struct action *a = u->actions[k];
		enum shape_hit h = hit_of(r, u, p);
		if (h == SHAPE_OK ? hit == SHAPE_NEUTRAL : h > hit)
			hit = h;
		reached |= p->code != 0;
		if (p->code / 100 == 2) {
			struct err err = {0};
			log_event(LOG_INFO, "queue.relayed", K_STR(rcpt, a->account), K_STR(peer, u->mta),
				  K_STR(tls, u->tls), K_STR(why, p->text), K_INT(ms, u->ms));
			ended(q, u, a, ENDED_RELAYED);
			if (!p->relayed_dsn && !success_late(q, u->item, a, DSN_RELAYED, u->mta, &err))
				log_err(LOG_WARN, "queue.notice.failed", &err);
			lock_take(&q->lock);
			q->counts.relayed++;
			lock_drop(&q->lock);
		} else if (p->status.class == 5 || p->code / 100 == 5) {
			if (!unit_bounce(q, u, a,
					 p->code ? (int)outcome_of_status(p->status) : (int)p->outcome,
					 p->text, u->mta))
				left[left_n++] = a;
		} else {
			worst = p;
			left[left_n++] = a;
		}
	}
	char why[200];
	reply_text(why, worst);
	shape_end(d->shape, hit, str_of(why), clock_wall_us());
	r->shapes_changed = true;
	if (reached) {
		d->fails = 0;
		d->held_until_us = 0;
	}
	if (!left_n) {
		unit_finish(q, u);
	} else if (too_old(q, u->item)) {
		size_t stay = 0;
		for (size_t k = 0; k < left_n; k++)
			if (!unit_bounce(q, u, left[k], OUTCOME_EXPIRED, str_of(why), u->mta))
				left[stay++] = left[k];
		if (stay)
			unit_put_off(q, u, left, stay,
				     (struct put_off){.why = why, .mta = u->mta, .tried = true});
		else
			unit_finish(q, u);
	} else {
		bool dead = worst->scope == RELAY_HOSTS && !reached;
		warn_of_delay(q, u, left[0], worst);
		unit_put_off(q, u, left, left_n, (struct put_off){.why = why, .mta = u->mta, .tried = true});
		if (dead)
			dest_hold(r, d, why);
	}
	log_context_clear();
}

/* ---- the thread -------------------------------------------------------------------------- */

static void unit_enter(struct remote *r, struct unit *u)
{
	struct queue *q = r->q;
	if (!u->item->deferred)
		young_add(r, u);
	if (!q->o.relay.relay) {
		if (too_old(q, u->item))
			unit_fail(q, u, OUTCOME_EXPIRED, "remote delivery is not available");
		else
			unit_put_off(q, u, u->actions, u->n,
				     (struct put_off){.why = "remote delivery is not available yet",
						      .tried = true});
		return;
	}
	struct dest *d = dest_of(r, domain_of(u->actions[0]->account));
	int64_t now = clock_wall_us();
	if (now < d->held_until_us)
		unit_put_off(
			q, u, u->actions, u->n,
			(struct put_off){.why = d->reason, .next_try_s = d->held_until_us / 1000000 + 1});
	else if (d->shape && now < d->shape->paused_until_us)
		unit_put_off(q, u, u->actions, u->n,
			     (struct put_off){.why = d->shape->reason,
					      .next_try_s = d->shape->paused_until_us / 1000000 + 1});
	else if (d->ready_n >= READY_MAX)
		unit_put_off(q, u, u->actions, u->n,
			     (struct put_off){.why = "waits for its turn",
					      .next_try_s = now / 1000000 + SPREAD_S});
	else
		dest_queue(d, u);
}

static void take_due(struct remote *r, int64_t *wake_us)
{
	struct queue *q = r->q;
	int64_t now_s = clock_wall_s(), next_s;
	for (struct deferred *d; (d = spool_take_due(q, now_s, &next_s));) {
		struct item *i;
		struct err err = {0};
		log_context(STR_NONE, id_str(&d->id), STR_NONE);
		if (spool_item(q, d, &i, &err)) {
			item_enter(q, i, 0);
			item_dispatch(q, i);
			continue;
		}
		spool_unreadable(q, d, &err, now_s + HELD_MAX_S);
	}
	log_context_clear();
	if (next_s && next_s * 1000000 < *wake_us)
		*wake_us = next_s * 1000000;
}

/* Begins what may begin. Destinations take turns: the list is turned by one each time. */
static void begin_ready(struct remote *r, int64_t *wake_us)
{
	bool progress = true;
	while (progress && r->jobs < JOBS_MAX) {
		progress = false;
		for (struct dest *d = r->dests; d && r->jobs < JOBS_MAX; d = d->next) {
			int64_t now = clock_wall_us(), wait;
			if (!d->ready)
				continue;
			if (now >= d->hosts_until_us) {
				if (!d->asking)
					dest_ask(r, d);
				continue;
			}
			if (!shape_may_begin(d->shape, now, &wait)) {
				if (wait && now + wait < *wake_us)
					*wake_us = now + wait;
				continue;
			}
			unit_begin(r, d, dest_take(d));
			progress = true;
		}
	}
}

/* ---- what people see -------------------------------------------------------------------- */

/* Counts what is in the spool by destination. */
static void count_waiting(struct remote *r)
{
	for (struct dest *d = r->dests; d; d = d->next)
		d->waiting = (struct waiting){0};
	LOCK_SCOPED(&r->q->lock);
	for (struct deferred *f = r->q->deferred; f; f = f->next) {
		if (f->kind != ACTION_REMOTE || f->busy)
			continue;
		struct waiting *w = &dest_of(r, domain_of(str_of(f->account)))->waiting;
		w->n++;
		w->held += f->held;
		if (!w->oldest_s || f->received_s < w->oldest_s)
			w->oldest_s = f->received_s;
		if (!f->held && (!w->next_try_s || f->next_try_s < w->next_try_s))
			w->next_try_s = f->next_try_s;
	}
}

static void dest_status(const struct dest *d, struct json_writer *w)
{
	const struct shape *s = d->shape;
	int64_t now = clock_wall_us();
	bool paused = s && now < s->paused_until_us, dead = now < d->held_until_us;
	int64_t until = paused && (!dead || s->paused_until_us > d->held_until_us) ? s->paused_until_us
			: dead                                                     ? d->held_until_us
										   : 0;
	json_write_object_begin(w);
	json_write_member_str(w, "destination", d->name);
	json_write_member_str(w, "group", s ? s->name : STR_NONE);
	json_write_member_str(w, "hosts", str_of(d->hosts));
	json_write_member_int(w, "waiting", (int64_t)(d->waiting.n + d->ready_n));
	json_write_member_int(w, "held", (int64_t)d->waiting.held);
	json_write_member_int(w, "active", (int64_t)d->active);
	json_write_member_int(w, "connections", s ? s->conn_now : 0);
	json_write_member_int(w, "speed_percent", s ? (int64_t)(s->rate_factor * 100) : 100);
	json_write_member_int(w, "oldest", d->waiting.oldest_s);
	json_write_member_int(w, "next_try", d->waiting.next_try_s);
	json_write_member_int(w, "paused_until", until / 1000000);
	json_write_member_str(w, "reason", str_of(dead || !s ? d->reason : s->reason));
	json_write_object_end(w);
}

static void dests_status(struct remote *r, struct json_writer *w)
{
	count_waiting(r);
	json_write_name(w, STR("destinations"));
	json_write_array_begin(w);
	for (struct dest *d = r->dests; d; d = d->next)
		if (d->waiting.n || d->ready_n || d->active || (d->shape && d->shape->reason[0]) ||
		    clock_wall_us() < d->held_until_us)
			dest_status(d, w);
	json_write_array_end(w);
}

bool remote_status(struct queue *q, struct json_writer *w)
{
	struct remote *r = q->remote;
	struct question_of_status asked = {.out = w};
	struct input *i = mem_zalloc(sizeof *i);
	*i = (struct input){.kind = INPUT_STATUS, .status = &asked};
	if (!r) {
		free(i);
		return false;
	}
	LOCK_SCOPED(&r->lock);
	if (!r->started || r->stopping) {
		free(i);
		return false;
	}
	if (!r->first)
		r->tail = &r->first;
	*r->tail = i;
	r->tail = &i->next;
	cond_signal(&r->work);
	while (!asked.done) /* the thread answers all that was asked before it ends */
		cond_wait(&r->answered, &r->lock);
	return true;
}

void remote_retry(struct queue *q)
{
	if (q->remote)
		input_add(q->remote, (struct input){.kind = INPUT_RETRY});
}

/* ---- the shapes' state ------------------------------------------------------------------ */

static void shapes_write(struct remote *r)
{
	struct queue *q = r->q;
	BUF_SCOPED now = {0};
	struct err err = {0};
	r->shapes_changed = false;
	r->saved_us = clock_mono_us();
	shapes_save(r->shapes, &now);
	if (str_eq(buf_str(&now), buf_str(&r->saved)))
		return;
	/* Not synced: after a power loss it may be an older one, or none. */
	FD_SCOPED fd = file_openat(q->tmp_fd, "shaping", O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || !file_write_all(fd, now.p, now.n, &err) ||
	    file_renameat(q->tmp_fd, "shaping", q->o.spool_fd, "shaping") != 0) {
		(void)(err.kind != ERR_NONE || err_sys(&err, "cannot write spool/shaping"));
		log_err(LOG_WARN, "queue.shaping.failed", &err);
		return;
	}
	buf_clear(&r->saved);
	buf_add(&r->saved, buf_str(&now));
}

static void shapes_read(struct remote *r)
{
	struct err ignored = {0};
	if (file_read_whole(r->q->o.spool_fd, "shaping", SHAPING_MAX, &r->saved, &ignored))
		shapes_restore(r->shapes, buf_str(&r->saved));
}

static void shapes_write_when_due(struct remote *r, int64_t *wake_us)
{
	int64_t wait = r->saved_us + SAVE_US - clock_mono_us();
	if (!r->shapes_changed)
		return;
	if (wait <= 0)
		shapes_write(r);
	else if (clock_wall_us() + wait < *wake_us)
		*wake_us = clock_wall_us() + wait;
}

/* ---- the loop --------------------------------------------------------------------------- */

static void handle(struct remote *r, struct input *in)
{
	switch (in->kind) {
	case INPUT_UNIT:
		unit_enter(r, in->unit);
		break;
	case INPUT_ROUTE:
		route_answered(r, in->dest, &in->route, in->hosts);
		break;
	case INPUT_RESULT:
		unit_result(r, in->unit);
		break;
	case INPUT_RELEASE:
		release_older(r, INT64_MAX);
		break;
	case INPUT_RETRY:
		for (struct dest *d = r->dests; d; d = d->next)
			d->held_until_us = 0;
		break;
	case INPUT_STATUS:
		dests_status(r, in->status->out);
		lock_take(&r->lock);
		in->status->done = true;
		cond_broadcast(&r->answered);
		lock_drop(&r->lock);
		break;
	}
	free(in);
}

static void *remote_main(void *arg)
{
	struct remote *r = arg;
	lock_take(&r->lock);
	while (!r->stopping) {
		struct input *list = r->first;
		r->first = NULL;
		r->poked = false;
		lock_drop(&r->lock);
		while (list) {
			struct input *in = list;
			list = in->next;
			handle(r, in);
		}
		int64_t wake = INT64_MAX;
		take_due(r, &wake);
		begin_ready(r, &wake);
		release_slow(r, &wake);
		shapes_write_when_due(r, &wake);
		lock_take(&r->lock);
		if (r->first || r->poked || r->stopping)
			continue;
		int64_t wait = wake == INT64_MAX ? 3600 * 1000000LL : wake - clock_wall_us();
		if (wait > 0)
			(void)cond_wait_until(
				&r->work, &r->lock,
				clock_mono_us() + (wait < 3600 * 1000000LL ? wait : 3600 * 1000000LL));
	}
	for (struct input *in = r->first; in; in = in->next)
		if (in->kind == INPUT_STATUS)
			in->status->done = true; /* with nothing in it */
	cond_broadcast(&r->answered);
	lock_drop(&r->lock);
	shapes_write(r);
	return NULL;
}

extern const struct embedded_file queue_shaping[];

bool remote_start(struct queue *q, struct err *err)
{
	struct remote *r = mem_new(struct remote);
	q->remote = r;
	r->q = q;
	r->arena = arena_new();
	r->dests_by_name = map_new();
	lock_init(&r->lock, LOCK_QUEUE_REMOTE);
	cond_init(&r->work);
	cond_init(&r->answered);
	struct str table = q->o.shaping;
	if (!table.n)
		table = (struct str){(const char *)queue_shaping[0].bytes, queue_shaping[0].size};
	if (!shapes_new(table, &r->shapes, err))
		return false;
	shapes_read(r);
	errno = pthread_create(&r->thread, NULL, remote_main, r);
	if (errno)
		return err_sys(err, "cannot start the queue's threads");
	r->started = true;
	return true;
}

void remote_stop(struct queue *q)
{
	struct remote *r = q->remote;
	if (!r || !r->started)
		return;
	lock_take(&r->lock);
	r->stopping = true;
	cond_signal(&r->work);
	lock_drop(&r->lock);
	pthread_join(r->thread, NULL);
	r->started = false;
}

void remote_free(struct queue *q)
{
	struct remote *r = q->remote;
	if (!r)
		return;
	for (struct dest *d = r->dests; d; d = d->next) {
		while (d->ready)
			unit_free(dest_take(d));
		map_free(d->rounds);
		free(d->hosts);
	}
	while (r->first) {
		struct input *in = r->first;
		r->first = in->next;
		if (in->unit)
			unit_free(in->unit);
		free(in->hosts);
		free(in);
	}
	shapes_free(r->shapes);
	map_free(r->dests_by_name);
	cond_fini(&r->work);
	cond_fini(&r->answered);
	buf_free(&r->saved);
	lock_fini(&r->lock);
	arena_free(r->arena);
	free(r);
	q->remote = NULL;
}
