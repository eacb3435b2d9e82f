/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * pabal queue retry, hold, release, bounce, remove: what is in spool/deferred is claimed as the
 * threads claim it, so nobody else is at work on it meanwhile. What is under way just now is left
 * alone and counted apart.
 */
#include "queue/queue_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "json/json.h"

#include <stdlib.h>

enum act { ACT_RETRY, ACT_HOLD, ACT_RELEASE, ACT_BOUNCE, ACT_REMOVE, ACT_COUNT };
static const char *const verbs[ACT_COUNT] = {"queue.retry", "queue.hold", "queue.release", "queue.bounce",
					     "queue.remove"};

/* Ends all actions of the file: bounced, or dropped without a word. */
static bool end_all(struct queue *q, struct deferred *d, bool bounce, struct err *err)
{
	struct item *i;
	if (!spool_item(q, d, &i, err)) {
		if (bounce || (err->kind != ERR_CORRUPT && err->kind != ERR_NOT_FOUND))
			return false;
		err_clear(err); /* what is left of a damaged file is of no use to anybody */
		spool_finished(q, d);
		return true;
	}
	bool ok = true;
	for (size_t k = 0; ok && k < i->plan.n; k++) {
		const struct action *a = &i->plan.actions[k];
		ok = (!bounce || bounce_late(q, i, a, OUTCOME_EXPIRED, STR("returned by the administrator"),
					     STR_NONE, err)) &&
		     outcome_write(q, i, a, bounce ? ENDED_BOUNCED : ENDED_DROPPED, true, err);
		if (ok)
			log_event(LOG_INFO, bounce ? "queue.bounced" : "queue.removed",
				  K_STR(qid, id_str(&i->id)), K_STR(rcpt, a->account),
				  K_CSTR(why, "by the administrator"));
	}
	arena_free(i->arena);
	if (ok)
		spool_finished(q, d);
	return ok;
}

static bool act_on(struct queue *q, struct deferred *d, enum act act, struct err *err)
{
	bool ok = true;
	if (act == ACT_BOUNCE || act == ACT_REMOVE) {
		if (end_all(q, d, act == ACT_BOUNCE, err))
			return true; /* and d is gone */
		ok = false;
	} else if (act == ACT_HOLD || (act == ACT_RELEASE && d->held)) {
		ok = (act == ACT_HOLD || suspect_forgive(q, &d->id, err)) &&
		     spool_hold(q, d, act == ACT_HOLD, NULL, err);
	}
	LOCK_SCOPED(&q->lock);
	if (ok && (act == ACT_RETRY || act == ACT_RELEASE))
		d->next_try_s = (uint32_t)clock_wall_s();
	spool_released(q, d);
	return ok;
}

static struct deferred **claim(struct queue *q, const struct queue_filter *f, bool only_count, size_t *out_n,
			       size_t *out_busy)
{
	LOCK_SCOPED(&q->lock);
	struct deferred **list = mem_resize_array(NULL, q->deferred_n + 1, sizeof(struct deferred *));
	*out_n = *out_busy = 0;
	for (struct deferred *d = q->deferred; d; d = d->next) {
		struct queue_entry e = d->kind ? queue_entry_of(d) : (struct queue_entry){0};
		if (!d->kind || !queue_filter_names(f) || !queue_filter_fits(f, &e))
			continue;
		if (only_count ? !d->busy : spool_claim(q, d))
			list[(*out_n)++] = d;
		else
			++*out_busy;
	}
	return list;
}

static size_t act_on_all(struct queue *q, struct deferred **list, size_t n, enum act act)
{
	struct err err = {0};
	size_t changed = 0;
	if (act == ACT_RETRY || act == ACT_RELEASE)
		remote_retry(q); /* before they are due */
	for (size_t k = 0; k < n; k++) {
		if (act_on(q, list[k], act, &err)) {
			changed++;
			continue;
		}
		log_err(LOG_ERROR, "queue.manage.failed", &err);
		err_clear(&err);
	}
	if ((act == ACT_HOLD || act == ACT_RELEASE) && !spool_hold_sync(q, &err))
		log_err(LOG_ERROR, "queue.manage.failed", &err);
	remote_poke(q);
	return changed;
}

bool queue_manage(struct queue *q, struct str verb, const struct json_value *request, struct json_writer *w)
{
	struct queue_filter f = queue_filter_of(request);
	bool only_count = json_value_bool_or(json_value_member(request, "count_only"), false);
	size_t n, busy, changed = 0;
	enum act act = ACT_RETRY;
	while (act < ACT_COUNT && !str_eq(verb, str_of(verbs[act])))
		act++;
	if (act == ACT_COUNT)
		return false;
	struct deferred **list = claim(q, &f, only_count, &n, &busy);
	if (!only_count)
		changed = act_on_all(q, list, n, act);
	free(list);
	json_write_object_begin(w);
	json_write_member_bool(w, "ok", true);
	json_write_member_int(w, "matched", (int64_t)n);
	json_write_member_int(w, "changed", (int64_t)changed);
	json_write_member_int(w, "busy", (int64_t)busy);
	json_write_object_end(w);
	return true;
}
