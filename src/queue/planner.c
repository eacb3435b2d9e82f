/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * The planner: reads accepted records in batches, plans each message, commits all plans of the
 * batch with one sync, then hands out the jobs.
 *
 * A plan is in the journal before any effect, and a message is in its source's list from the
 * moment it was read: so at every instant either the source's watermark is below it or its
 * effects are settled.
 */
#include "queue/queue_int.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { TELL_AGAIN_US = 10 * 1000000 };

struct batch {
	struct queue *q;
	struct source *source;
	struct item *items[BATCH_ITEMS];
	size_t n, bytes;
};

static bool side_open(struct batch *b, struct item *i, const char *name, struct err *err)
{
	struct stat st;
	if (!journal_reader_side(b->source->reader, name, &i->side_fd, err))
		return false;
	if (fstat(i->side_fd, &st) != 0)
		return err_sys(err, "cannot read a side file");
	/* What was accepted, should the file have become shorter since. */
	uint64_t all = i->envelope.size_bytes;
	i->side_bytes = all > i->content.n ? all - i->content.n : (uint64_t)st.st_size;
	return true;
}

/* Passed over for good. What it is stays in spool/damaged: its segment, whose checksums are right, will be
 * used again. */
static bool give_up(struct batch *b, const struct journal_record *r, const struct id *id, const char *why,
		    struct err *err)
{
	struct queue *q = b->q;
	struct id name = id ? *id : id_new();
	struct err bad = {0};
	FD_SCOPED side = -1;
	if (r->side && !journal_reader_side(b->source->reader, r->side, &side, &bad) && bad.kind == ERR_IO) {
		*err = bad;
		return false;
	}
	if (r->type == JOURNAL_MESSAGE && !spool_keep_record(q, &name, r->content, side, err))
		return false;
	log_context(STR_NONE, id_str(&name), STR_NONE);
	log_event(LOG_ERROR, "queue.record.damaged", K_STR(journal, b->source->name), K_INT(seq, r->seq),
		  K_CSTR(cause, why));
	LOCK_SCOPED(&q->lock);
	b->source->read = r->seq;
	return true;
}

static bool read_record(void *ctx, const struct journal_record *r, struct err *err)
{
	struct batch *b = ctx;
	struct queue *q = b->q;
	struct id id;
	bool named = r->type == JOURNAL_MESSAGE && message_record_id(r->content, &id);
	log_context(STR_NONE, named ? id_str(&id) : STR_NONE, STR_NONE);
	if (named && suspicion(q, &id) >= GIVE_UP_CRASHES)
		return give_up(b, r, &id, "reading it has crashed the queue again and again", err);
	fault_crash("read", r->content);
	struct item *i = item_new(q);
	struct err bad = {0};
	i->source = b->source;
	i->source_seq = r->seq;
	i->bytes = r->content.n + 1024;
	struct str copy = arena_str(i->arena, r->content);
	bool ok = r->type == JOURNAL_MESSAGE &&
		  message_record_split(copy, i->arena, &i->envelope, &i->content, &bad);
	if (ok) {
		i->id = i->envelope.id;
		ok = !r->side || side_open(b, i, r->side, &bad);
	}
	if (!ok && bad.kind == ERR_IO) { /* want of descriptors, the disk: the record is read once more */
		fd_close(&i->side_fd);
		arena_free(i->arena);
		*err = bad;
		return false;
	}
	if (!ok) { /* of another version, or without its side file */
		fd_close(&i->side_fd);
		arena_free(i->arena);
		return give_up(b, r, named ? &id : NULL, bad.cause, err);
	}
	/* Before its number counts as read: queue_tick() asks who is left (forget_ended). */
	item_enter(q, i, 0);
	lock_take(&q->lock);
	b->source->read = r->seq;
	i->prev_in_source = b->source->tail;
	*i->prev_in_source = i;
	b->source->tail = &i->next_in_source;
	lock_drop(&q->lock);
	b->items[b->n++] = i;
	b->bytes += i->bytes;
	return b->n < BATCH_ITEMS && b->bytes < BATCH_BYTES;
}

/* The plan of an earlier life, if there is one. */
static bool plan_recovered(struct queue *q, struct item *i)
{
	struct recovered *r = map_get(q->plans, id_str(&i->id));
	if (!r || r->claimed || r->plan.source_seq != i->source_seq ||
	    !str_eq(r->plan.source, i->source->name))
		return false;
	LOCK_SCOPED(&q->lock);
	i->plan = r->plan;
	if (!i->plan_floor || r->seq < i->plan_floor)
		i->plan_floor = r->seq;
	i->recovered = true;
	r->claimed = true;
	return true;
}

struct commit {
	struct lock lock;
	struct cond cond;
	size_t left;
	bool failed;
};

static void plan_committed(void *ctx, uint64_t seq, const struct err *err)
{
	(void)seq;
	struct commit *c = ctx;
	LOCK_SCOPED(&c->lock);
	c->failed |= err != NULL;
	if (--c->left == 0)
		cond_signal(&c->cond);
}

static bool plan_append(struct queue *q, struct item *i, struct commit *c, struct err *err)
{
	BUF_SCOPED b = {0};
	i->plan.id = i->id;
	i->plan.source = i->source->name;
	i->plan.source_seq = i->source_seq;
	plan_encode(&b, &i->plan);
	/* A floor below the number it gets, known to checkpoints before the record can be durable. */
	uint64_t floor = journal_committed(q->journal) + 1;
	lock_take(&q->lock);
	if (!i->plan_floor) /* else it keeps plans of those after it, or was tried before */
		i->plan_floor = floor;
	lock_drop(&q->lock);
	/* b goes before the record is written: journal copies up to 64 KiB, larger ones are waited for. */
	struct iovec part = {b.p, b.n};
	if (b.n > 32 * 1024)
		return journal_append_wait(q->journal, JOURNAL_PLAN, &part, 1, NULL, err);
	lock_take(&c->lock);
	c->left++;
	lock_drop(&c->lock);
	if (journal_append(q->journal, JOURNAL_PLAN, &part, 1, plan_committed, c, NULL, err))
		return true;
	lock_take(&c->lock);
	c->left--;
	lock_drop(&c->lock);
	return false;
}

static void unplanned_add(struct queue *q, struct item *i)
{
	lock_held(&q->lock);
	q->unplanned_n++;
	struct item **at = &q->unplanned;
	while (*at)
		at = &(*at)->next_unplanned;
	i->next_unplanned = NULL;
	*at = i;
}

void planner_add(struct queue *q, struct item *i)
{
	LOCK_SCOPED(&q->lock);
	unplanned_add(q, i);
	cond_signal(&q->work);
}

static void put_off(struct queue *q, struct item *i, const struct err *err)
{
	log_context(STR_NONE, id_str(&i->id), STR_NONE);
	log_err(LOG_WARN, "queue.plan.put_off", err);
	log_context_clear();
	LOCK_SCOPED(&q->lock);
	i->not_before_us = clock_mono_us() + 1000000;
	unplanned_add(q, i);
}

/* ---- what crashed the planner ------------------------------------------------------------- */

/* Nothing of it is looked at: the plan is to hold it. */
static void plan_to_hold(struct item *i)
{
	i->plan.n = 1;
	i->plan.actions = arena_new_of(i->arena, struct action);
	*i->plan.actions = (struct action){
		.number = ACTION_WHOLE_NUMBER,
		.kind = ACTION_WHOLE,
		.account = i->envelope.rcpt_n ? address_str(i->arena, i->envelope.rcpt[0].address) : STR_NONE,
	};
}

static bool plan_new(struct queue *q, struct item *i, struct err *err)
{
	char damaged[120];
	if (suspicion(q, &i->id) < HOLD_CRASHES && !item_is_short(i, damaged))
		return plan_make(q, i, err);
	plan_to_hold(i);
	return true;
}

/* It was held and has been released: planned at last. Each action gets a file of its own, and these
 * begin when its own is gone: until then it may be planned anew. */
static void plan_released(struct queue *q, struct item *i)
{
	struct plan held = i->plan;
	struct err err = {0};
	log_context(STR_NONE, id_str(&i->id), STR_NONE);
	bool ok = plan_make(q, i, &err);
	struct plan planned = i->plan;
	i->plan = held;
	if (ok && spool_split(q, i, &planned, &err))
		action_ended(q, i, &held.actions[0]);
	else
		put_off(q, i, &err);
	log_context_clear();
}

/* ---- batches ------------------------------------------------------------------------------ */

/* Plans, commits, dispatches. Items that cannot be planned now are kept for later. */
static void batch_plan(struct queue *q, struct item **items, size_t n)
{
	struct commit c = {.left = 0};
	struct item *ready[BATCH_ITEMS];
	size_t ready_n = 0;
	lock_init(&c.lock, LOCK_LEAF);
	cond_init(&c.cond);
	for (size_t k = 0; k < n; k++) {
		struct item *i = items[k];
		struct err err = {0};
		log_context(STR_NONE, id_str(&i->id), STR_NONE);
		bool recovered = i->recovered || plan_recovered(q, i);
		if (recovered ? notices_recover(q, i, &err)
			      : plan_new(q, i, &err) && plan_append(q, i, &c, &err))
			ready[ready_n++] = i;
		else
			put_off(q, i, &err);
	}
	log_context_clear();
	lock_take(&c.lock);
	while (c.left)
		cond_wait(&c.cond, &c.lock);
	lock_drop(&c.lock);
	cond_fini(&c.cond);
	lock_fini(&c.lock);
	for (size_t k = 0; k < ready_n; k++) {
		struct err err = {0};
		if (c.failed && !ready[k]->recovered) {
			err_set(&err, ERR_IO, "the journal could not be written");
			put_off(q, ready[k], &err);
		} else {
			item_dispatch(q, ready[k]);
		}
	}
	LOCK_SCOPED(&q->lock);
	q->counts.planned += c.failed ? 0 : ready_n;
}

/* Those that were at work in crashes come last and alone. */
static void plan_all(struct queue *q, struct item **items, size_t n)
{
	struct item *alone[BATCH_ITEMS];
	size_t alone_n = 0, rest = 0;
	for (size_t k = 0; k < n; k++) {
		if (items[k]->deferred || goes_alone(q, &items[k]->id, STR_NONE))
			alone[alone_n++] = items[k];
		else
			items[rest++] = items[k];
	}
	if (rest)
		batch_plan(q, items, rest);
	for (size_t k = 0; k < alone_n; k++) {
		if (alone[k]->deferred)
			plan_released(q, alone[k]);
		else
			batch_plan(q, &alone[k], 1);
	}
}

static size_t take_unplanned(struct queue *q, struct item **out)
{
	size_t n = 0;
	int64_t now = clock_mono_us();
	while (q->unplanned && n < BATCH_ITEMS && q->unplanned->not_before_us <= now) {
		out[n++] = q->unplanned;
		q->unplanned = q->unplanned->next_unplanned;
		q->unplanned_n--;
	}
	return n;
}

static struct source *source_with_work(struct queue *q)
{
	for (struct source *s = q->sources; s; s = s->next) {
		if (s->accepted > s->read)
			return s;
	}
	return NULL;
}

static bool full(const struct queue *q)
{
	return q->items_n >= ITEMS_MAX || q->items_bytes >= ITEM_BYTES_MAX;
}

/* Nothing was found up to what the owner told of. Its journal has the last word: a number beyond it, once
 * believed, would hide all that the owner's successor accepts. */
static bool nothing_there(struct source *s, uint64_t *to, struct err *err)
{
	uint64_t owner, last;
	if (!journal_reader_bounds(s->reader, &owner, &last, err))
		return false;
	if (last < *to) {
		log_event(LOG_ERROR, "queue.source.false_position", K_STR(journal, s->name),
			  K_INT(seq, (int64_t)*to), K_INT(count, (int64_t)last));
		*to = last;
	}
	return true;
}

/* A source is in need of a checkpoint long before the next second when mail comes in fast. */
static void count_read(struct queue *q, size_t bytes)
{
	const struct journal_options *o = &q->o.journal; /* smtp's are configured alike */
	uint64_t all = (o->segment_bytes ? o->segment_bytes : 16 << 20) *
		       (uint64_t)(o->segments_max ? o->segments_max : 16);
	lock_take(&q->lock);
	q->bytes_read += bytes;
	bool due = q->bytes_read >= all / 4 && !q->checkpointing;
	if (due)
		q->bytes_read = 0;
	lock_drop(&q->lock);
	if (due && q->o.services.checkpoint_due)
		q->o.services.checkpoint_due(q->o.services.ctx);
}

static void read_batch(struct queue *q, struct source *s, uint64_t to)
{
	struct batch b = {.q = q, .source = s};
	struct err err = {0};
	bool ok = journal_reader_each(s->reader, s->read + 1, to, read_record, &b, &err);
	log_context_clear();
	if (!ok)
		log_err(LOG_ERROR, "queue.source.unreadable", &err);
	if (b.n)
		plan_all(q, b.items, b.n);
	count_read(q, b.bytes);
	uint64_t told = to;
	if (ok && !b.n && !nothing_there(s, &to, &err)) {
		log_err(LOG_ERROR, "queue.source.unreadable", &err);
		ok = false;
	}
	LOCK_SCOPED(&q->lock);
	if (ok && !b.n && s->read < to)
		s->read = to; /* voided numbers and damage: nothing there */
	if (ok && to < told && s->accepted == told)
		s->accepted = s->read > to ? s->read : to;
	q->changes++;
	if (!ok) /* wait for the next tick */
		cond_wait_until(&q->work, &q->lock, clock_mono_us() + 1000000);
}

/*
 * While mail keeps coming, small batches are LINGER_US apart: fewer syncs, and more messages for an
 * account placed under one lock. In a burst the pause goes on, up to BURST_US: accepting has the
 * machine, and placing what came together costs half as much. After a pause nothing waits.
 */
struct pace {
	int64_t begun_us;   /* the last batch */
	int64_t until_us;   /* of the pause under way */
	uint64_t accepted;  /* when that was set */
};

static bool lingers(struct pace *p, const struct source *s)
{
	int64_t now = clock_mono_us();
	uint64_t waiting = s->accepted - s->read;
	if (now < p->until_us)
		return waiting < BURST_ITEMS;
	bool burst = p->until_us > p->begun_us && s->accepted - p->accepted >= BURST_RATE;
	if (!burst || waiting >= BURST_ITEMS || now >= p->begun_us + BURST_US)
		return false;
	p->until_us = now + LINGER_US;
	p->accepted = s->accepted;
	return true;
}

void *planner_main(void *arg)
{
	struct queue *q = arg;
	struct item *again[BATCH_ITEMS];
	struct pace pace = {0};
	lock_take(&q->lock);
	q->tell_us = 1;
	while (!q->stopping) {
		if (q->tell_us && q->tell_us <= clock_mono_us()) {
			q->tell_us = 0;
			lock_drop(&q->lock);
			bool told = spool_tell_held(q);
			lock_take(&q->lock);
			if (!told)
				q->tell_us = clock_mono_us() + TELL_AGAIN_US;
		}
		size_t n = take_unplanned(q, again);
		struct source *s = full(q) ? NULL : source_with_work(q);
		uint64_t to = s ? s->accepted : 0;
		if (!n && !s) {
			if (full(q))
				cond_wait_until(&q->room, &q->lock, clock_mono_us() + 1000000);
			else
				cond_wait(&q->work, &q->lock);
			continue;
		}
		if (!n && lingers(&pace, s)) {
			cond_wait_until(&q->work, &q->lock, pace.until_us);
			continue;
		}
		if (s) {
			pace.begun_us = clock_mono_us();
			pace.until_us = to - s->read < BATCH_ITEMS ? pace.begun_us + LINGER_US : 0;
			pace.accepted = s->accepted;
		}
		lock_drop(&q->lock);
		if (n)
			plan_all(q, again, n);
		if (s)
			read_batch(q, s, to);
		lock_take(&q->lock);
	}
	lock_drop(&q->lock);
	return NULL;
}
