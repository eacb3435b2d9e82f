/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Destinations: where a message goes, and when it is its turn.
 *
 * A unit waits in its destination until the shape of the destination's group lets it begin; senders take
 * turns, so that a big one does not stand before a small one. No more wait in memory than will go within
 * about a second; the others wait in their files, in lanes by sender, and are read when there is room.
 * What waits for a dead or paused destination is not even read.
 */
#include "queue/remote_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	READY_MIN = 50,    /* units that wait in memory for one destination */
	READY_MAX = 4000,
	READY_PRESSED = 4, /* the same when memory is nearly full */
	HELD_MIN_S = 60,   /* a dead destination: pause, doubling */
	HELD_MAX_S = 3600,
	ROUTE_TTL_MIN_S = 60,
	ROUTE_TTL_MAX_S = 3600,
	SPREAD_S = 30,     /* what waits for the end of a pause comes within so many seconds */
	JOBS_MAX = 200,    /* transactions under way in all */
	JOBS_UNPROVEN = 100, /* those with destinations that have not taken a message lately */
	DUE_AT_ONCE = 2000,  /* then others have their turn */
	FORGET_EVERY_S = 60,
	FORGET_AFTER_S = 600,
};

/* ---- which destination ------------------------------------------------------------------- */

struct str domain_of(struct str address)
{
	return str_from(address, str_find_last_byte(address, '@') + 1);
}

static bool from_fits(struct str from, struct str sender)
{
	if (!from.n)
		return true;
	return from.p[0] == '@' ? str_ends_nocase(sender, from) : str_eq_nocase(from, sender);
}

static const struct queue_route *route_for(const struct queue *q, struct str domain, struct str sender)
{
	for (size_t k = 0; k < q->o.routes_n; k++) {
		const struct queue_route *r = &q->o.routes[k];
		if (from_fits(r->from, sender) &&
		    (str_eq(r->pattern, STR("*")) || str_eq_nocase(r->pattern, domain) ||
		     (r->pattern.n && r->pattern.p[0] == '.' && str_ends_nocase(domain, r->pattern))))
			return r;
	}
	return NULL;
}

static char *text_of(struct str s)
{
	char *p = mem_zalloc(s.n + 1);
	memcpy(p, s.p ? s.p : "", s.n);
	return p;
}

/* One per domain, or per route: the name of a route begins with '>', which no domain does. */
static struct str dest_key(struct arena *tmp, const struct queue *q, const struct queue_route *route,
			   struct str domain)
{
	if (!route)
		return arena_lower(tmp, domain);
	return arena_fmt(tmp, ">%zu", (size_t)(route - q->o.routes));
}

static struct dest *dest_new(struct remote *r, const struct queue_route *route, struct str domain,
			     struct str key)
{
	struct dest *d = mem_new(struct dest);
	d->name = text_of(route ? route->pattern : domain);
	d->key = text_of(key);
	d->route = route;
	d->proven = route != NULL;
	if (route) {
		d->shape = shape_of_route(r->shapes, route->pattern);
		d->hosts = text_of(route->hosts);
		d->hosts_until_us = INT64_MAX;
	}
	d->next = r->dests;
	d->prev = &r->dests;
	if (d->next)
		d->next->prev = &d->next;
	r->dests = d;
	map_put(r->dests_by_key, str_of(d->key), d);
	return d;
}

static struct dest *dest_of(struct remote *r, struct str domain, struct str sender)
{
	ARENA_SCOPED tmp = arena_new();
	const struct queue_route *route = route_for(r->q, domain, sender);
	struct str key = dest_key(tmp, r->q, route, domain);
	struct dest *d = map_get(r->dests_by_key, key);
	return d ? d : dest_new(r, route, arena_lower(tmp, domain), key);
}

/* ---- lanes ------------------------------------------------------------------------------- */

/* Takes the claimed file: it waits in its sender's lane. */
static void lane_add(struct queue *q, struct dest *d, struct deferred *f)
{
	LOCK_SCOPED(&q->lock);
	if (!d->lane_of)
		d->lane_of = map_new();
	struct str sender = str_of(f->sender);
	struct lane *l = map_get(d->lane_of, sender);
	if (!l) {
		l = mem_zalloc(sizeof *l + sender.n + 1);
		memcpy(l->sender, f->sender, sender.n);
		turn_init(&l->files);
		map_put(d->lane_of, sender, l);
		if (!d->lanes)
			d->lanes_tail = &d->lanes;
		*d->lanes_tail = l;
		d->lanes_tail = &l->next;
	}
	turn_add(&l->files, &f->turn);
	f->busy = false;
}

static struct lane *lane_pop(struct dest *d)
{
	struct lane *l = d->lanes;
	d->lanes = l->next;
	l->next = NULL;
	if (!d->lanes)
		d->lanes_tail = &d->lanes;
	return l;
}

/* The next file of the sender whose turn it is, claimed; NULL: none waits. */
static struct deferred *lane_take(struct queue *q, struct dest *d)
{
	LOCK_SCOPED(&q->lock);
	while (d->lanes) {
		struct lane *l = lane_pop(d);
		struct turn *t = turn_first(&l->files);
		if (t) {
			struct deferred *f =
				(struct deferred *)(void *)((char *)t - offsetof(struct deferred, turn));
			turn_remove(t);
			f->busy = true;
			*d->lanes_tail = l;
			d->lanes_tail = &l->next;
			return f;
		}
		map_remove(d->lane_of, str_of(l->sender));
		free(l);
	}
	map_free(d->lane_of);
	d->lane_of = NULL;
	return NULL;
}

/* ---- blocked, full ----------------------------------------------------------------------- */

/* Until when nothing is sent there; 0: it may be tried. */
static int64_t blocked_until(const struct dest *d, int64_t now_us, const char **out_why)
{
	int64_t held = d->held_until_us, paused = d->shape ? d->shape->paused_until_us : 0;
	*out_why = held >= paused || !d->shape ? d->reason : d->shape->reason;
	int64_t until = held > paused ? held : paused;
	return until > now_us ? until : 0;
}

static size_t ready_limit(struct remote *r, struct dest *d)
{
	struct queue *q = r->q;
	lock_take(&q->lock);
	bool pressed = q->items_n > ITEMS_MAX * 3 / 4 || q->items_bytes > ITEM_BYTES_MAX / 4 * 3;
	lock_drop(&q->lock);
	if (pressed)
		return READY_PRESSED;
	size_t n = READY_MIN + d->went + d->went_before;
	return n < READY_MAX ? n : READY_MAX;
}

/* A sender that has nothing here yet is let in before a big one's rest. */
static bool dest_full(struct remote *r, struct dest *d, struct str sender)
{
	size_t limit = ready_limit(r, d), n = d->ready_n + d->entering;
	if (n < limit)
		return false;
	bool waits = d->rounds && (uint64_t)(uintptr_t)map_get(d->rounds, sender) > d->round;
	return waits || n >= 2 * limit;
}

/* ---- ready ------------------------------------------------------------------------------- */

/* Senders take turns: each one's n-th unit stands behind the others' (n-1)-th. */
static void dest_queue(struct remote *r, struct dest *d, struct unit *u)
{
	struct str sender = u->item->envelope.reverse_path_text;
	if (!d->rounds)
		d->rounds = map_new();
	uint64_t last = (uint64_t)(uintptr_t)map_get(d->rounds, sender);
	u->dest = d;
	u->round = last > d->round ? last + 1 : d->round + 1;
	map_put(d->rounds, sender, (void *)(uintptr_t)u->round);
	struct unit **at = d->ready_n && d->ready_last->round <= u->round ? &d->ready_last->next : &d->ready;
	while (*at && (*at)->round <= u->round)
		at = &(*at)->next;
	u->next = *at;
	*at = u;
	if (!u->next)
		d->ready_last = u;
	d->ready_n++;
	if (d->in_run)
		return;
	d->in_run = true;
	d->next_run = NULL;
	if (!r->run)
		r->run_tail = &r->run;
	*r->run_tail = d;
	r->run_tail = &d->next_run;
}

static struct unit *dest_take(struct dest *d)
{
	struct unit *u = d->ready;
	d->ready = u->next;
	d->ready_n--;
	d->round = u->round;
	if (!d->ready) { /* nobody waits: all begin anew */
		map_free(d->rounds);
		d->rounds = NULL;
		d->round = 0;
	}
	return u;
}

void unit_enter(struct remote *r, struct unit *u)
{
	struct queue *q = r->q;
	bool first = !u->item->deferred;
	if (first) {
		young_add(r, u);
		if (!u->again)
			habit_sends(q, u->item->envelope.account, u->n);
	}
	if (!q->o.relay.relay) {
		if (unit_too_old(q, u->item))
			unit_fail(q, u, OUTCOME_EXPIRED, "remote delivery is not available");
		else
			unit_put_off(q, u, u->actions, u->n,
				     (struct put_off){.why = "remote delivery is not available yet",
						      .tried = true});
		return;
	}
	int64_t now = clock_wall_us();
	struct str sender = u->item->envelope.reverse_path_text;
	struct dest *d = dest_of(r, domain_of(u->actions[0]->account), sender);
	const char *why;
	int64_t until = blocked_until(d, now, &why);
	d->used_us = now;
	if (!first && d->entering)
		d->entering--;
	if (until && unit_too_old(q, u->item))
		unit_fail(q, u, OUTCOME_EXPIRED, why);
	else if (until)
		unit_put_off(q, u, u->actions, u->n,
			     (struct put_off){.why = why, .next_try_s = until / 1000000 + 1});
	else if (first && dest_full(r, d, sender)) /* into a lane, as what is due at once */
		unit_put_off(q, u, u->actions, u->n,
			     (struct put_off){.why = "", .next_try_s = now / 1000000});
	else
		dest_queue(r, d, u);
}

/* ---- what is due ------------------------------------------------------------------------- */

static void file_read(struct remote *r, struct dest *d, struct deferred *f)
{
	struct queue *q = r->q;
	struct item *i;
	struct err err = {0};
	log_context(STR_NONE, id_str(&f->id), STR_NONE);
	if (spool_item(q, f, &i, &err)) {
		if (d)
			d->entering++;
		item_enter(q, i, 0);
		item_dispatch(q, i);
	} else {
		spool_unreadable(q, f, &err, clock_wall_s() + HELD_MAX_S);
	}
	log_context_clear();
}

/* A claimed file whose time has come. */
static void file_due(struct remote *r, struct deferred *f, int64_t now_us)
{
	struct queue *q = r->q;
	if (f->kind != ACTION_REMOTE || !q->o.relay.relay) {
		file_read(r, NULL, f);
		return;
	}
	struct dest *d = dest_of(r, domain_of(str_of(f->account)), str_of(f->sender));
	const char *why;
	int64_t until = blocked_until(d, now_us, &why);
	bool old = now_us / 1000000 - f->received_s > q->o.expire_s;
	d->used_us = now_us;
	if (until && !old)
		spool_put_back(q, f,
			       &(struct put_off){.why = why,
						 .next_try_s = until / 1000000 + 1 +
							       (int64_t)(random_u64() % SPREAD_S)});
	else if (!until && dest_full(r, d, str_of(f->sender)))
		lane_add(q, d, f);
	else
		file_read(r, d, f);
}

static void dest_refill(struct remote *r, struct dest *d)
{
	if (!d->lanes || d->ready_n + d->entering > READY_MIN / 2)
		return;
	for (size_t n = ready_limit(r, d); d->ready_n + d->entering < n;) {
		struct deferred *f = lane_take(r->q, d);
		if (!f)
			return;
		file_read(r, d, f);
	}
}

void dest_take_due(struct remote *r, int64_t *wake_us)
{
	struct queue *q = r->q;
	int64_t now_us = clock_wall_us(), next_s;
	struct deferred *f;
	size_t n = 0;
	while (n++ < DUE_AT_ONCE && (f = spool_take_due(q, now_us / 1000000, &next_s)))
		file_due(r, f, now_us);
	if (n > DUE_AT_ONCE)
		*wake_us = now_us;
	else if (next_s && next_s * 1000000 < *wake_us)
		*wake_us = next_s * 1000000;
}

/* ---- dead destinations ------------------------------------------------------------------- */

void dest_hold(struct remote *r, struct dest *d, const char *why)
{
	struct queue *q = r->q;
	int64_t wait = HELD_MIN_S;
	for (unsigned k = 0; k < d->fails && wait < HELD_MAX_S; k++)
		wait *= 2;
	if (clock_wall_us() >= d->held_until_us) /* several transactions that fail together are one */
		d->fails++;
	d->held_until_us = clock_wall_us() + wait * 1000000;
	d->proven = false;
	snprintf(d->reason, sizeof d->reason, "%s", why);
	while (d->ready) {
		struct unit *u = dest_take(d);
		if (unit_too_old(q, u->item))
			unit_fail(q, u, OUTCOME_EXPIRED, why);
		else
			unit_put_off(q, u, u->actions, u->n, (struct put_off){.why = why, .tried = true});
	}
	int64_t next_s = d->held_until_us / 1000000 + 1;
	for (struct deferred *f; (f = lane_take(q, d));)
		spool_put_back(q, f,
			       &(struct put_off){.why = why,
						 .next_try_s = next_s + (int64_t)(random_u64() % SPREAD_S)});
}

void dest_ended(struct remote *r, struct dest *d, bool well, bool reached)
{
	int64_t second = clock_mono_us() / 1000000;
	d->active--;
	r->jobs--;
	if (second != d->second) {
		d->went_before = second == d->second + 1 ? d->went : 0;
		d->went = 0;
		d->second = second;
	}
	d->went += well;
	d->proven = d->route || (well ? true : d->proven && reached);
	if (reached) {
		d->fails = 0;
		d->held_until_us = 0;
	}
	dest_refill(r, d);
}

/* ---- hosts ------------------------------------------------------------------------------- */

struct question {
	struct remote *remote;
	struct dest *dest;
};

static void on_route(void *ctx, const struct route_answer *a)
{
	struct question *asked = ctx;
	struct input in = {.kind = INPUT_ROUTE, .dest = asked->dest, .route = *a};
	in.hosts = text_of(a->hosts);
	snprintf(in.why, sizeof in.why, "%s", a->why ? a->why : "");
	remote_input(asked->remote, in);
	free(asked);
}

static void dest_ask(struct remote *r, struct dest *d)
{
	struct question *asked = mem_new(struct question);
	*asked = (struct question){r, d};
	d->asking = true;
	r->q->o.relay.route(r->q->o.relay.ctx, str_of(d->name), on_route, asked);
}

static void fail_ready(struct remote *r, struct dest *d, int outcome)
{
	while (d->ready)
		unit_fail(r->q, dest_take(d), outcome, "");
	for (struct deferred *f; (f = lane_take(r->q, d));)
		file_read(r, d, f); /* they come back, are asked for again, and fail then */
	d->hosts_until_us = 0;
}

void dest_routed(struct remote *r, struct dest *d, const struct route_answer *a, char *hosts)
{
	d->asking = false;
	d->kind = a->kind;
	d->secure = a->secure;
	d->verify = a->verify;
	free(d->hosts);
	d->hosts = hosts;
	int64_t ttl = a->ttl_s < ROUTE_TTL_MIN_S   ? ROUTE_TTL_MIN_S
		      : a->ttl_s > ROUTE_TTL_MAX_S ? ROUTE_TTL_MAX_S
						   : a->ttl_s;
	d->hosts_until_us = clock_wall_us() + ttl * 1000000;
	switch (a->kind) {
	case ROUTE_MX: {
		struct str rest = str_of(hosts);
		d->shape = shape_of(r->shapes, str_cut(&rest, ' '), str_of(d->name));
		return;
	}
	case ROUTE_NULL_MX:
		fail_ready(r, d, OUTCOME_NULL_MX);
		return;
	case ROUTE_NXDOMAIN:
		fail_ready(r, d, OUTCOME_NO_SUCH_DOMAIN);
		return;
	case ROUTE_LOOP:
		fail_ready(r, d, OUTCOME_LOOP);
		return;
	case ROUTE_TEMP:
		d->hosts_until_us = 0;
		dest_hold(r, d, a->why ? a->why : "the name servers do not answer");
		return;
	}
}

/* ---- beginning --------------------------------------------------------------------------- */

static bool dest_may_begin(struct remote *r, struct dest *d, int64_t *wake_us)
{
	int64_t now = clock_wall_us(), wait;
	if (now >= d->hosts_until_us) {
		if (!d->asking)
			dest_ask(r, d);
		return false;
	}
	if (!d->proven && r->jobs >= JOBS_UNPROVEN)
		return false;
	if (shape_may_begin(d->shape, now, &wait))
		return true;
	if (wait && now + wait < *wake_us)
		*wake_us = now + wait;
	return false;
}

/* Begins what may begin. Destinations take turns. */
void dest_begin_ready(struct remote *r, int64_t *wake_us)
{
	bool progress = true;
	while (progress && r->jobs < JOBS_MAX) {
		progress = false;
		for (struct dest **at = &r->run; *at && r->jobs < JOBS_MAX;) {
			struct dest *d = *at;
			if (d->ready && dest_may_begin(r, d, wake_us)) {
				struct unit *u = dest_take(d);
				if (!unit_hold(r->q, u)) {
					d->active++;
					r->jobs++;
					unit_begin(r, d, u);
				}
				dest_refill(r, d);
				progress = true;
			}
			if (d->ready) {
				at = &d->next_run;
				continue;
			}
			*at = d->next_run;
			d->in_run = false;
			if (!*at)
				r->run_tail = at;
		}
	}
}

/* ---- the end of one ---------------------------------------------------------------------- */

void dest_free(struct remote *r, struct dest *d)
{
	*d->prev = d->next;
	if (d->next)
		d->next->prev = d->prev;
	map_remove(r->dests_by_key, str_of(d->key));
	while (d->ready)
		unit_free(dest_take(d));
	while (d->lanes)
		free(lane_pop(d));
	map_free(d->lane_of);
	map_free(d->rounds);
	free(d->hosts);
	free(d->name);
	free(d->key);
	free(d);
}

void dest_forget(struct remote *r)
{
	int64_t now = clock_wall_us();
	if (now - r->forgot_us < FORGET_EVERY_S * 1000000LL && now >= r->forgot_us)
		return;
	r->forgot_us = now;
	for (struct dest *d = r->dests, *next; d; d = next) {
		next = d->next;
		int64_t idle = now - (d->held_until_us > d->used_us ? d->held_until_us : d->used_us);
		if (!d->ready && !d->active && !d->entering && !d->asking && !d->lanes && !d->in_run &&
		    idle > FORGET_AFTER_S * 1000000LL)
			dest_free(r, d);
	}
}

/* ---- what people see --------------------------------------------------------------------- */

struct waiting {
	uint64_t n, held;
	uint32_t oldest_s, next_try_s;
};

struct counting {
	struct remote *r;
	struct arena *tmp;
	struct map *by_key; /* struct waiting */
};

/* With queue.lock. */
static bool count_file(void *ctx, struct deferred *f)
{
	struct counting *c = ctx;
	struct str domain = domain_of(str_of(f->account));
	if (f->kind != ACTION_REMOTE || f->busy)
		return true;
	struct str key = dest_key(c->tmp, c->r->q, route_for(c->r->q, domain, str_of(f->sender)), domain);
	struct waiting *w = map_get(c->by_key, key);
	if (!w) {
		w = arena_new_of(c->tmp, struct waiting);
		map_put(c->by_key, key, w);
	}
	w->n++;
	w->held += f->held;
	if (!w->oldest_s || f->received_s < w->oldest_s)
		w->oldest_s = f->received_s;
	if (!f->held && (!w->next_try_s || f->next_try_s < w->next_try_s))
		w->next_try_s = f->next_try_s;
	return true;
}

/* Why no more than that goes there just now, in a word. */
static const char *limit_name(const struct dest *d, int64_t now)
{
	const struct shape *s = d->shape;
	if (now < d->held_until_us)
		return "unreachable";
	if (s && now < s->paused_until_us)
		return "paused";
	if (s && s->rate_factor < 1)
		return "slowed";
	if (d->asking)
		return "looking up";
	if (!d->ready)
		return "";
	return s && s->active >= s->conn_now ? "connections" : "rate";
}

static void write_dest(struct json_writer *w, const struct dest *d, struct str name, const struct waiting *n)
{
	static const struct dest unknown;
	static const struct waiting none;
	int64_t now = clock_wall_us();
	if (!d)
		d = &unknown;
	if (!n)
		n = &none;
	const struct shape *s = d->shape;
	const char *why;
	int64_t until = blocked_until(d, now, &why);
	json_write_object_begin(w);
	json_write_member_str(w, "destination", name);
	json_write_member_str(w, "group", s ? s->name : STR_NONE);
	json_write_member_cstr(w, "hosts", d->hosts ? d->hosts : "");
	json_write_member_int(w, "waiting", (int64_t)(n->n + d->ready_n));
	json_write_member_int(w, "held", (int64_t)n->held);
	json_write_member_int(w, "active", (int64_t)d->active);
	json_write_member_int(w, "connections", s ? s->conn_now : 0);
	json_write_member_int(w, "connections_max", s ? s->limits.max_conn : 0);
	json_write_member_int(w, "rate_per_minute",
			      s ? (int64_t)(s->limits.rate_per_min * s->rate_factor) : 0);
	json_write_member_int(w, "rate_per_hour",
			      s ? (int64_t)(s->limits.rate_per_hour * s->rate_factor) : 0);
	json_write_member_int(w, "speed_percent", s ? (int64_t)(s->rate_factor * 100) : 100);
	json_write_member_cstr(w, "limit", limit_name(d, now));
	json_write_member_int(w, "oldest", n->oldest_s);
	json_write_member_int(w, "next_try", n->next_try_s);
	json_write_member_int(w, "paused_until", until / 1000000);
	json_write_member_cstr(w, "reason", until || !s ? why : s->reason);
	json_write_object_end(w);
}

void dest_status(struct remote *r, struct json_writer *w)
{
	ARENA_SCOPED tmp = arena_new();
	struct counting c = {r, tmp, map_new()};
	spool_walk(r->q, count_file, &c);
	json_write_name(w, STR("destinations"));
	json_write_array_begin(w);
	for (struct dest *d = r->dests; d; d = d->next) {
		struct waiting *n = map_remove(c.by_key, str_of(d->key));
		if (n || d->ready_n || d->active || (d->shape && d->shape->reason[0]) ||
		    clock_wall_us() < d->held_until_us)
			write_dest(w, d, str_of(d->name), n);
	}
	struct map_iter it = {0};
	size_t route;
	while (map_next(c.by_key, &it)) { /* nobody has looked at these yet */
		uint64_t at;
		struct str name = it.key;
		if (str_starts(name, STR(">")) && str_u64(str_from(name, 1), r->q->o.routes_n, &at)) {
			route = (size_t)at;
			name = r->q->o.routes[route].pattern;
		}
		write_dest(w, NULL, name, it.value);
	}
	json_write_array_end(w);
	map_free(c.by_key);
}
