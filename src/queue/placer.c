/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * A placer: takes all jobs that wait, groups them by account and mailbox, and places each group
 * under one lock and one index transaction. An account always comes to the same placer, so its
 * messages keep their order.
 *
 * What fails: no such account or over quota for good, bounced; the disk or the index for now, tried
 * again 1, 2 and 4 seconds later, then moved to spool/deferred so that the journals can go on; if
 * even that fails, tried again until it works (the journals fill, smtp answers 452).
 */
#include "queue/queue_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "mail/dsn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JOBS_AT_ONCE = 256, TRIES_BEFORE_DEFERRED = 3 };

static size_t jobs_take(struct queue *q, struct placer *p, struct job **out)
{
	int64_t now = clock_mono_us();
	size_t n = 0;
	lock_held(&q->lock);
	for (struct job **at = &p->first; *at && n < JOBS_AT_ONCE;) {
		struct job *j = *at;
		if (j->not_before_us > now) {
			at = &j->next;
			continue;
		}
		*at = j->next;
		if (!*at)
			p->tail = at;
		out[n++] = j;
	}
	return n;
}

static void try_again(struct queue *q, struct job *j)
{
	int64_t wait_s = j->tries < 4 ? 1LL << j->tries : 10;
	j->tries++;
	j->not_before_us = clock_mono_us() + wait_s * 1000000;
	job_add(q, j);
}

/* The sender is told before the action ends: a crash in between finds it placed (DONE), and tells once
 * (notices_recover; was_told). From the spool: all that must be durable before its file is set aside. */
static void job_done(struct queue *q, struct job *j)
{
	struct item *i = j->item;
	struct deferred *d = i->deferred;
	struct err err = {0};
	j->placed = true;
	if (!success_late(q, i, j->action, DSN_DELIVERED, STR_NONE, &err) ||
	    (d && !outcome_write(q, i, j->action, ENDED_RETRIED, true, &err))) {
		log_err(LOG_WARN, "queue.outcome.failed", &err);
		try_again(q, j);
		return;
	}
	if (d)
		spool_finished(q, d);
	lock_take(&q->lock);
	q->counts.placed++;
	lock_drop(&q->lock);
	action_ended(q, i, j->action);
	free(j);
}

static void job_bounce(struct queue *q, struct job *j, int outcome, const struct err *why)
{
	struct err err = {0};
	struct item *i = j->item;
	log_event(LOG_INFO, "queue.action.failed", K_STR(rcpt, j->action->account),
		  K_CSTR(why, outcome_row((enum outcome)outcome)->name), K_CSTR(cause, why->cause));
	if (!bounce_late(q, i, j->action, outcome, STR_NONE, STR_NONE, &err) ||
	    !outcome_write(q, i, j->action, ENDED_BOUNCED, i->deferred != NULL, &err)) {
		log_err(LOG_ERROR, "queue.bounce.failed", &err);
		try_again(q, j);
		return;
	}
	if (i->deferred)
		spool_finished(q, i->deferred);
	lock_take(&q->lock);
	q->counts.bounced++;
	lock_drop(&q->lock);
	action_ended(q, i, j->action);
	free(j);
}

static bool expired(const struct queue *q, const struct item *i)
{
	return clock_wall_s() - i->envelope.received_us / 1000000 > q->o.expire_s;
}

static void job_defer(struct queue *q, struct job *j, const struct err *why)
{
	struct err err = {0};
	struct item *i = j->item;
	if (i->deferred) { /* stays in its file */
		spool_again(q, i->deferred,
			    &(struct put_off){.why = why->text,
					      .tried = true,
					      .next_try_s = spool_next_try(q, i->deferred->attempts + 1u)});
		action_ended(q, i, j->action);
		free(j);
		return;
	}
	const struct action *one = j->action;
	struct put_off p = {.why = why->text, .tried = true, .next_try_s = spool_next_try(q, 1)};
	j->filed = j->filed || spool_defer(q, i, &one, 1, &p, &err);
	if (!j->filed || !outcome_write(q, i, j->action, ENDED_DEFERRED, false, &err)) {
		log_err(LOG_ERROR, "queue.defer.failed", &err);
		try_again(q, j);
		return;
	}
	log_err(LOG_INFO, "queue.action.deferred", why);
	action_ended(q, i, j->action);
	free(j);
}

/* Put aside until somebody releases it. */
static void job_hold(struct queue *q, struct job *j, const char *why)
{
	struct err err = {0};
	struct item *i = j->item;
	log_context(STR_NONE, id_str(&i->id), STR_NONE);
	j->filed = j->filed || spool_put_aside(q, i, j->action, why, !j->quiet, &err);
	if (!j->filed || !outcome_write(q, i, j->action, ENDED_DEFERRED, false, &err)) {
		log_err(LOG_ERROR, "queue.hold.failed", &err);
		try_again(q, j);
		return;
	}
	action_ended(q, i, j->action);
	free(j);
}

/* Decides what a failure means. */
static void job_failed(struct queue *q, struct job *j, const struct err *why)
{
	log_context(STR_NONE, id_str(&j->item->id), j->action->account);
	bool late = expired(q, j->item);
	char damaged[120];
	if (item_is_short(j->item, damaged)) {
		job_hold(q, j, damaged);
		log_context_clear();
		return;
	}
	if (why->kind == ERR_NOT_FOUND)
		job_bounce(q, j, OUTCOME_NO_SUCH_USER, why);
	else if (why->kind == ERR_QUOTA && (!q->o.over_quota_temp || late))
		job_bounce(q, j, OUTCOME_OVER_QUOTA, why);
	else if (late)
		job_bounce(q, j, OUTCOME_EXPIRED, why);
	else if (why->kind == ERR_QUOTA || j->tries >= TRIES_BEFORE_DEFERRED ||
		 j->action->kind == ACTION_REMOTE)
		job_defer(q, j, why);
	else
		try_again(q, j);
	log_context_clear();
}

/* ---- a group: one account, one mailbox --------------------------------------------------- */

static void message_of(struct new_message *m, const struct job *j, struct arena *a)
{
	const struct item *i = j->item;
	struct buf head = {0};
	copy_head(&head, i, j->action);
	struct str *parts = arena_array(a, 2, sizeof *parts);
	parts[0] = arena_str(a, buf_str(&head));
	parts[1] = j->action->generated.n ? j->action->generated : i->content;
	buf_free(&head);
	bool side = i->side_fd >= 0 && !j->action->generated.n;
	*m = (struct new_message){
		.id = i->id,
		.action = j->action->number,
		.parts = parts,
		.parts_n = 2,
		.file_fd = side ? i->side_fd : -1,
		.file_size = side ? i->side_bytes : 0,
		.maybe_there = i->recovered || i->deferred,
		.internaldate =
			i->envelope.received_us ? i->envelope.received_us / 1000000 : clock_wall_s(),
	};
}

/* The name that the account has for it. */
static bool find_mailbox(struct account *account, const struct action *x, struct arena *a, struct str *out,
			 struct err *err)
{
	*out = arena_str(a, x->mailbox); /* used when the first job and its item may be gone */
	return !str_eq(x->mailbox, STR(MAILBOX_OF_JUNK)) ||
	       mailbox_special(account, USE_JUNK, a, out, err);
}

static void group_failed(struct queue *q, struct job **jobs, size_t n, const struct err *why)
{
	for (size_t k = 0; k < n; k++)
		job_failed(q, jobs[k], why);
}

static void group_place(struct queue *q, struct job **jobs, size_t n)
{
	ARENA_SCOPED a = arena_new();
	const struct queue_services *s = &q->o.services;
	struct account_facts facts;
	struct account *account;
	struct err err = {0};
	bool found = false;
	if (!s->account(s->ctx, jobs[0]->action->account, a, &facts, &found, &err)) {
		group_failed(q, jobs, n, &err);
		return;
	}
	if (!found) {
		err_set(&err, ERR_NOT_FOUND, "the account is gone");
		group_failed(q, jobs, n, &err);
		return;
	}
	if (!account_open(q->store, &facts, &account, &err)) {
		if (err.kind == ERR_NOT_FOUND) /* of a file, not of the account */
			err.kind = ERR_IO;
		group_failed(q, jobs, n, &err);
		return;
	}
	log_context(STR_NONE, n == 1 ? id_str(&jobs[0]->item->id) : STR_NONE, jobs[0]->action->account);
	struct new_message *m = arena_array(a, n, sizeof *m);
	for (size_t k = 0; k < n; k++)
		message_of(&m[k], jobs[k], a);
	struct str mailbox;
	bool ok = find_mailbox(account, jobs[0]->action, a, &mailbox, &err) &&
		  mailbox_place(account, mailbox, m, n, false, &err);
	account_close(account);
	for (size_t k = 0; k < n; k++) {
		log_context(STR_NONE, id_str(&jobs[k]->item->id), jobs[k]->action->account);
		if (ok && m[k].err.kind == ERR_NONE) {
			log_event(LOG_INFO, "queue.placed", K_STR(mailbox, mailbox),
				  K_INT(uid, m[k].uid));
			job_done(q, jobs[k]);
		} else {
			struct err *why = ok ? &m[k].err : &err;
			if (why->kind == ERR_NOT_FOUND)
				why->kind = ERR_IO;
			job_failed(q, jobs[k], why);
		}
	}
	log_context_clear();
}

static void jobs_hold(struct queue *q, struct job **jobs, size_t n)
{
	char why[120];
	for (size_t k = 0; k < n; k++) {
		if (!item_is_short(jobs[k]->item, why))
			snprintf(why, sizeof why, "at work in %u crashes of the queue",
				 suspicion(q, &jobs[k]->item->id));
		job_hold(q, jobs[k], why);
	}
	log_context_clear();
}

/* Moves to the end those that are not placed with others; returns the number of the rest. Order is kept. */
static size_t part(struct queue *q, struct job **jobs, size_t n,
		   bool (*apart)(struct queue *q, const struct job *j))
{
	struct job *last[JOBS_AT_ONCE];
	size_t last_n = 0, rest = 0;
	for (size_t k = 0; k < n; k++) {
		if (apart(q, jobs[k]))
			last[last_n++] = jobs[k];
		else
			jobs[rest++] = jobs[k];
	}
	memcpy(jobs + rest, last, last_n * sizeof *last);
	return rest;
}

static bool is_placed(struct queue *q, const struct job *j)
{
	(void)q;
	return j->placed;
}

static bool is_to_hold(struct queue *q, const struct job *j)
{
	(void)q;
	return j->hold;
}

static bool is_alone(struct queue *q, const struct job *j)
{
	return goes_alone(q, &j->item->id, j->action->account);
}

/* Groups keep the order in which their first job came. */
static void jobs_place(struct queue *q, struct job **jobs, size_t n)
{
	for (size_t first = 0; first < n;) {
		struct job *group[JOBS_AT_ONCE] = {jobs[first]};
		size_t group_n = 1, rest = first;
		const struct action *lead = jobs[first]->action;
		for (size_t k = first + 1; k < n; k++) {
			const struct action *a = jobs[k]->action;
			if (a->kind == lead->kind && str_eq(a->account, lead->account) &&
			    str_eq(a->mailbox, lead->mailbox))
				group[group_n++] = jobs[k];
			else
				jobs[rest++] = jobs[k];
		}
		/* The others moved to the front: put them behind what is done. */
		memmove(jobs + first + group_n, jobs + first, (rest - first) * sizeof *jobs);
		group_place(q, group, group_n);
		first += group_n;
	}
}

void *placer_main(void *arg)
{
	struct placer *p = arg;
	struct queue *q = p->q;
	lock_take(&q->lock);
	while (!q->stopping) {
		struct job *jobs[JOBS_AT_ONCE];
		size_t n = jobs_take(q, p, jobs);
		if (!n) {
			cond_wait(&p->work, &q->lock);
			continue;
		}
		lock_drop(&q->lock);
		size_t left = part(q, jobs, n, is_placed);
		size_t to_place = part(q, jobs, left, is_to_hold);
		size_t together = part(q, jobs, to_place, is_alone);
		jobs_place(q, jobs, together);
		jobs_hold(q, jobs + to_place, left - to_place);
		for (size_t k = left; k < n; k++)
			job_done(q, jobs[k]);
		for (size_t k = together; k < to_place; k++)
			group_place(q, jobs + k, 1);
		lock_take(&q->lock);
	}
	lock_drop(&q->lock);
	return NULL;
}
