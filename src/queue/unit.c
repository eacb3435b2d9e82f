/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * A unit: one message's recipients in one domain, from the moment it may begin to what became of it.
 *
 * An open plan keeps the journals from being released past it, and mail placed after it from being
 * settled, so from being removed. A first attempt that takes its time is therefore given a file in
 * spool/deferred while it goes on, as if it were a later one: after SLOW_US, or when somebody waits.
 *
 * Order at a result: an accepted recipient's OUTCOME is queued for the journal at once; a crash
 * before it is durable sends that message twice, SMTP's one exception (RFC 1047). What is left is
 * in its file before the actions count as ended.
 */
#include "queue/remote_int.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "explain/explain.h"
#include "mail/dsn.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	SLOW_US = 2 * 1000000,   /* a first attempt that takes longer gets a file */
	MOVING_US = 8 * 1000000,
	LATER_US = 10 * 1000000, /* before one comes again that could not be filed */
};

/* ---- first attempts ---------------------------------------------------------------------- */

void young_add(struct remote *r, struct unit *u)
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

struct unit *unit_new(struct queue *q, struct item *i, const struct action **actions, size_t n)
{
	struct unit *u = mem_new(struct unit);
	u->queue = q;
	u->item = i;
	u->n = n;
	u->actions = arena_array(i->arena, n, sizeof *u->actions);
	memcpy(u->actions, actions, n * sizeof *actions);
	return u;
}

void unit_free(struct unit *u)
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
	/* Not waited for, but written at once, together with what else the thread has to say just now: the
	 * shorter, the fewer are sent twice after a crash. */
	if (!journal_append_lazy(q->journal, JOURNAL_OUTCOME, &(struct iovec){b.p, b.n}, 1, NULL, &err))
		log_err(LOG_ERROR, "queue.outcome.failed", &err);
}

bool unit_too_old(const struct queue *q, const struct item *i)
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

/* By a rule, or the brake: its file is not tried until it is released. A crash before it is marked as held
 * finds the rule still there. */
bool unit_hold(struct queue *q, struct unit *u)
{
	char why[RULE_WHY_MAX];
	struct err err = {0};
	struct item *i = u->item;
	struct deferred *d = i->deferred;
	bool fits = false;
	for (size_t k = 0; k < u->n && !fits; k++)
		fits = rules_hold(q, i, u->actions[k], why);
	if (!fits)
		return false;
	log_context(STR_NONE, id_str(&i->id), STR_NONE);
	bool ok = d || spool_under_way(q, i, u->actions, u->n, &d, &err);
	if (!ok) { /* no room on the disk: the journal keeps it, and it is not sent */
		log_err(LOG_ERROR, "queue.hold.failed", &err);
		log_context_clear();
		return unit_put_off(q, u, u->actions, u->n, (struct put_off){.why = why}), true;
	}
	if (!spool_hold(q, d, true, why, &err) || !spool_hold_sync(q, &err))
		log_err(LOG_ERROR, "queue.hold.failed", &err);
	struct put_off p = {.why = why, .next_try_s = clock_wall_s() + 60};
	log_event(LOG_INFO, "queue.held", K_STR(rcpt, u->actions[0]->account), K_CSTR(why, why),
		  K_INT(count, u->n));
	log_context_clear();
	for (size_t k = 0; !i->deferred && k < u->n; k++)
		ended(q, u, u->actions[k], ENDED_DEFERRED);
	if (i->deferred)
		spool_again(q, d, &p); /* released with its item */
	else
		spool_put_back(q, d, &p);
	for (size_t k = 0; k < u->n; k++)
		action_ended(q, i, u->actions[k]);
	unit_free(u);
	return true;
}

static void unit_later(struct queue *q, struct item *i, const struct action **left, size_t n)
{
	struct remote *r = q->remote;
	struct unit *u = unit_new(q, i, left, n);
	u->again = true;
	u->since_us = clock_mono_us() + LATER_US;
	if (!r->later)
		r->later_tail = &r->later;
	*r->later_tail = u;
	r->later_tail = &u->next;
}

void units_again(struct remote *r, int64_t *wake_us)
{
	int64_t now = clock_mono_us();
	while (r->later && r->later->since_us <= now) {
		struct unit *u = r->later;
		r->later = u->next;
		u->next = NULL;
		unit_enter(r, u);
	}
	if (r->later && clock_wall_us() + r->later->since_us - now < *wake_us)
		*wake_us = clock_wall_us() + r->later->since_us - now;
}

/* The rest is tried later. */
void unit_put_off(struct queue *q, struct unit *u, const struct action **left, size_t n,
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
		/* No room on the disk: the journal keeps it, and we come again, a little later. */
		log_err(LOG_ERROR, "queue.defer.failed", &err);
		unit_later(q, i, left, n);
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
	if (p.why[0]) /* else it only waits for its turn */
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
void release_older(struct remote *r, int64_t since_us)
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

void release_slow(struct remote *r, int64_t *wake_us)
{
	int64_t now = clock_mono_us();
	/* Where mail is going out all the time, waiting a little longer costs less than a file each. */
	bool moving = r->young && r->young->dest &&
		      r->young->dest->went + r->young->dest->went_before > 100 &&
		      journal_fill(r->q->journal) < 30;
	int64_t slow = moving ? MOVING_US : SLOW_US;
	release_older(r, now - slow);
	if (r->young && clock_wall_us() + r->young->since_us + slow - now < *wake_us)
		*wake_us = clock_wall_us() + r->young->since_us + slow - now;
}

/* All recipients of the unit failed for good. */
void unit_fail(struct queue *q, struct unit *u, int outcome, const char *why)
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
	remote_input(u->queue->remote, (struct input){.kind = INPUT_RESULT, .unit = u});
}

void unit_begin(struct remote *r, struct dest *d, struct unit *u)
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
	log_context(STR_NONE, id_str(&i->id), STR_NONE);
	struct envelope none = {.id = i->id, .received_us = clock_wall_us(), .origin = ENVELOPE_LOCAL};
	enum relay_tls least = d->shape->limits.tls_required ? RELAY_TLS_ENCRYPT : RELAY_TLS_MAY;
	if (q->o.default_tls == RELAY_TLS_NONE)
		least = d->shape->limits.tls_required ? RELAY_TLS_ENCRYPT : RELAY_TLS_NONE;
	if (d->verify)
		least = RELAY_TLS_VERIFY;
	struct relay_job job = {
		.id = i->id,
		.destination = d->shape->name,
		.domain = str_of(d->name),
		.hosts = str_of(d->hosts),
		.port = d->route && d->route->port ? d->route->port : 25,
		.lmtp = d->route && d->route->lmtp,
		.tls = d->route ? (d->route->tls == RELAY_TLS_SECURE ? RELAY_TLS_VERIFY : d->route->tls)
		       : q->o.default_tls < least
			       ? least
			       : q->o.default_tls,
		.tls_else = least,
		.mx_secure = d->route || d->secure,
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

void unit_result(struct remote *r, struct unit *u)
{
	struct queue *q = r->q;
	struct dest *d = u->dest;
	const struct action **left = arena_array(u->arena, u->n, sizeof *left);
	size_t left_n = 0;
	const struct relay_reply *worst = &u->replies[0];
	enum shape_hit hit = SHAPE_NEUTRAL;
	bool reached = false;
	log_context(STR_NONE, id_str(&u->item->id), STR_NONE);
	for (size_t k = 0; k < u->n; k++) {
		const struct relay_reply *p = &u->replies[k];
		const struct action *a = u->actions[k];
		enum shape_hit h = hit_of(r, u, p);
		if (h == SHAPE_OK ? hit == SHAPE_NEUTRAL : h > hit)
			hit = h;
		reached |= p->code != 0;
		habit_answered(q, u->item->envelope.account, p->code / 100 == 5 && p->status.subject == 1);
		if (p->code / 100 != 2)
			log_event(LOG_INFO, "queue.attempt", K_STR(rcpt, a->account), K_STR(peer, u->mta),
				  K_STR(tls, u->tls), K_INT(code, p->code), K_STR(why, p->text),
				  K_INT(ms, u->ms));
		if (p->code / 100 == 2) {
			struct err err = {0};
			log_event(LOG_INFO, "queue.relayed", K_STR(rcpt, a->account), K_STR(peer, u->mta),
				  K_STR(tls, u->tls), K_INT(code, p->code), K_STR(why, p->text),
				  K_INT(ms, u->ms));
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
	dest_ended(r, d, hit == SHAPE_OK, reached);
	if (!left_n) {
		unit_finish(q, u);
	} else if (unit_too_old(q, u->item)) {
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

