/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Opening, recovery, checkpoints.
 *
 * Recovery (DESIGN 3): the own journal gives the plans and what has ended. The store looks at each
 * DONE. Then the sources are read from their watermark: a record with a plan goes on with the
 * actions that have not ended (the store adopts a file that is there already), one without is
 * planned. So nothing is done twice and nothing is forgotten.
 */
#include "queue/queue_int.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "explain/explain.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- items ------------------------------------------------------------------------------ */

struct item *item_new(struct queue *q)
{
	struct arena *a = arena_new();
	struct item *i = arena_new_of(a, struct item);
	i->arena = a;
	i->queue = q;
	i->side_fd = -1;
	i->envelope.received_us = clock_wall_us(); /* until there is a real one */
	return i;
}

static void item_free(struct item *i)
{
	fd_close(&i->side_fd);
	arena_free(i->arena);
}

void item_enter(struct queue *q, struct item *i, uint64_t plan_floor)
{
	LOCK_SCOPED(&q->lock);
	i->plan_floor = plan_floor;
	i->next = q->items;
	i->prev = &q->items;
	if (q->items)
		q->items->prev = &i->next;
	q->items = i;
	q->items_n++;
	q->items_bytes += i->bytes;
}

/* Its source's records are settled in order: while an earlier one is open, ours is read again at the next
 * start, and its plan must still be there to say that it has ended. The one before keeps it. */
static void leave_plan(struct queue *q, const struct item *i)
{
	lock_held(&q->lock);
	if (i->prev_in_source == &i->source->first || !i->plan_floor)
		return;
	struct item *before = (struct item *)(void *)((char *)i->prev_in_source -
						      offsetof(struct item, next_in_source));
	if (!before->plan_floor || i->plan_floor < before->plan_floor)
		before->plan_floor = i->plan_floor;
}

static void item_leave(struct queue *q, struct item *i)
{
	lock_held(&q->lock);
	*i->prev = i->next;
	if (i->next)
		i->next->prev = i->prev;
	q->items_n--;
	q->items_bytes -= i->bytes;
	struct source *s = i->source;
	if (i->prev_in_source) {
		leave_plan(q, i);
		*i->prev_in_source = i->next_in_source;
		if (i->next_in_source)
			i->next_in_source->prev_in_source = i->prev_in_source;
		else
			s->tail = i->prev_in_source;
	}
	if (i->deferred)
		spool_released(q, i->deferred);
	cond_broadcast(&q->room);
	if (!q->items)
		cond_broadcast(&q->idle);
}

static void ended_key(char out[ID_LEN + 4], const struct id *id, uint32_t action)
{
	memcpy(out, id->c, ID_LEN);
	memcpy(out + ID_LEN, &action, 4);
}

bool was_ended(struct queue *q, const struct id *id, uint32_t action)
{
	char key[ID_LEN + 4];
	ended_key(key, id, action);
	LOCK_SCOPED(&q->lock); /* it goes when nobody of an earlier life is left */
	return q->ended && map_get(q->ended, (struct str){key, sizeof key}) != NULL;
}

bool was_only_placed(struct queue *q, const struct id *id, uint32_t action)
{
	char key[ID_LEN + 4];
	ended_key(key, id, action);
	LOCK_SCOPED(&q->lock);
	return q->ended && map_get(q->ended, (struct str){key, sizeof key}) == q->arena;
}

void job_add(struct queue *q, struct job *j)
{
	struct placer *p = &q->placers[str_hash(j->action->account) % PLACERS];
	LOCK_SCOPED(&q->lock);
	j->next = NULL;
	if (!p->first)
		p->tail = &p->first;
	*p->tail = j;
	p->tail = &j->next;
	cond_signal(&p->work);
}

/* A message's recipients in one domain: one transaction, up to RCPTS_PER_UNIT. */
struct remote_group {
	struct str domain;
	const struct action **actions;
	size_t n;
};
enum { RCPTS_PER_UNIT = 50 };

static void group_add(struct arena *tmp, struct remote_group *groups, size_t *groups_n,
		      const struct action *a, size_t most)
{
	struct str domain = str_from(a->account, str_find_last_byte(a->account, '@') + 1);
	size_t k = *groups_n;
	/* From the end: a list of one domain finds its open group at once. A notice goes alone. */
	while (k > 0 && !(str_eq_nocase(groups[k - 1].domain, domain) && groups[k - 1].n < RCPTS_PER_UNIT &&
			  !a->generated.n && !groups[k - 1].actions[0]->generated.n))
		k--;
	if (!k) {
		k = ++*groups_n;
		groups[k - 1].domain = domain;
		groups[k - 1].actions = arena_array(tmp, most < RCPTS_PER_UNIT ? most : RCPTS_PER_UNIT,
						    sizeof(struct action *));
	}
	groups[k - 1].actions[groups[k - 1].n++] = a;
}

void item_dispatch(struct queue *q, struct item *i)
{
	size_t n = i->plan.n, open = 0;
	enum job_state *states = arena_array(i->arena, n ? n : 1, sizeof *states);
	for (size_t k = 0; k < n; k++) {
		/* A deferred action ended in the journal and goes on from its file. */
		bool over = !i->deferred && was_ended(q, &i->id, i->plan.actions[k].number);
		states[k] = over ? JOB_ENDED : JOB_OPEN;
		open += !over;
	}
	lock_take(&q->lock);
	i->states = states;
	i->open = open;
	if (!open) {
		item_leave(q, i);
		q->changes++;
	}
	lock_drop(&q->lock);
	if (!open) {
		item_free(i);
		return;
	}
	if (i->deferred && i->plan.actions[0].kind == ACTION_WHOLE) {
		planner_add(q, i);
		return;
	}
	/* The item may end and go while we are here: all is prepared before the first is handed out. */
	ARENA_SCOPED tmp = arena_new();
	struct job **jobs = arena_array(tmp, open, sizeof *jobs);
	struct remote_group *groups = arena_zalloc(tmp, open * sizeof *groups);
	size_t jobs_n = 0, groups_n = 0;
	bool hold = !i->deferred && suspicion(q, &i->id) >= HOLD_CRASHES;
	for (size_t k = 0; k < n; k++) {
		const struct action *a = &i->plan.actions[k];
		if (states[k] == JOB_ENDED)
			continue;
		if (a->kind == ACTION_REMOTE && !hold) {
			group_add(tmp, groups, &groups_n, a, open);
			continue;
		}
		struct job *j = mem_zalloc(sizeof *j);
		j->item = i;
		j->action = &i->plan.actions[k];
		j->hold = hold || a->kind == ACTION_WHOLE;
		j->quiet = jobs_n > 0;
		jobs[jobs_n++] = j;
	}
	for (size_t k = 0; k < groups_n; k++)
		remote_send(q, i, groups[k].actions, groups[k].n);
	for (size_t k = 0; k < jobs_n; k++)
		job_add(q, jobs[k]);
}

void action_ended(struct queue *q, struct item *i, const struct action *a)
{
	lock_take(&q->lock);
	enum job_state *s = &i->states[a - i->plan.actions];
	bool last = *s == JOB_OPEN && --i->open == 0;
	*s = JOB_ENDED;
	q->changes++;
	if (last)
		item_leave(q, i);
	lock_drop(&q->lock);
	if (last)
		item_free(i);
}

bool outcome_write(struct queue *q, const struct item *i, const struct action *a, enum ended how,
		   bool wait, struct err *err)
{
	BUF_SCOPED b = {0};
	ended_encode(&b, &(struct ended_record){i->id, a->number, how});
	struct iovec part = {b.p, b.n};
	return wait ? journal_append_wait(q->journal, JOURNAL_OUTCOME, &part, 1, NULL, err)
		    : journal_append_lazy(q->journal, JOURNAL_OUTCOME, &part, 1, NULL, err);
}

/* ---- sources ---------------------------------------------------------------------------- */

struct source *source_find(struct queue *q, struct str name)
{
	for (struct source *s = q->sources; s; s = s->next) {
		if (str_eq(s->name, name))
			return s;
	}
	return NULL;
}

/* Watermarks of the sources in our last checkpoint: le_str name, u64 seq, ... */
static uint64_t watermark_of(struct str extra, struct str name)
{
	struct scan s = scan_of(extra);
	struct str n;
	uint64_t seq;
	while (scan_le_str(&s, 255, &n) && scan_le64(&s, &seq)) {
		if (str_eq(n, name))
			return seq;
	}
	return 1;
}

bool queue_source_add(struct queue *q, const char *name, int dirfd, struct err *err)
{
	if (source_find(q, str_of(name)))
		return true;
	struct journal_reader *r;
	uint64_t owner, last, p;
	if (!journal_reader_open(dirfd, name, &r, err))
		return false;
	if (!journal_reader_bounds(r, &owner, &last, err)) {
		journal_reader_close(r);
		return false;
	}
	uint64_t ours = watermark_of(journal_last_checkpoint(q->journal, &p), str_of(name));
	if (ours > last + 1) {
		/* Somebody began it anew: by our number nothing in it would ever be read. */
		log_event(LOG_ERROR, "queue.source.replaced", K_CSTR(journal, name),
			  K_INT(seq, (int64_t)ours), K_INT(count, (int64_t)last));
		ours = owner;
	}
	LOCK_SCOPED(&q->lock);
	struct source *s = arena_new_of(q->arena, struct source);
	s->name = arena_str(q->arena, str_of(name));
	s->reader = r;
	s->read = (ours > owner ? ours : owner) - 1;
	s->told = s->read + 1;
	s->accepted = s->recovered_to = last > s->read ? last : s->read;
	s->tail = &s->first;
	s->next = q->sources;
	q->sources = s;
	cond_signal(&q->work);
	return true;
}

void queue_accepted(struct queue *q, struct str source, uint64_t seq)
{
	lock_take(&q->lock);
	struct source *s = source_find(q, source);
	uint64_t told = 0;
	if (s && seq > s->accepted) {
		s->accepted = seq;
		cond_signal(&q->work);
	} else if (s && seq < s->told) {
		told = s->told; /* it was away when it was told */
	}
	lock_drop(&q->lock);
	if (told)
		q->o.services.settled(q->o.services.ctx, source, told);
}

static void tell_settled(struct queue *q, struct str name, uint64_t seq)
{
	lock_take(&q->lock);
	struct source *s = source_find(q, name);
	if (s && seq > s->told)
		s->told = seq;
	lock_drop(&q->lock);
	q->o.services.settled(q->o.services.ctx, name, seq);
}

/* ---- checkpoints ------------------------------------------------------------------------ */

static uint64_t source_open_from(const struct source *s)
{
	return s->first ? s->first->source_seq : s->read + 1;
}

/* Its message will still be read. Otherwise it was settled, with an older plan open that kept this
 * one in the journal, or its record is damaged: then nobody comes for the plan. */
static bool is_awaited(struct queue *q, const struct recovered *r)
{
	if (r->claimed)
		return false;
	if (!r->plan.source.n)
		return true;
	const struct source *s = source_find(q, r->plan.source);
	if (!s)
		return !q->started;
	for (const struct item *i = s->first; i; i = i->next_in_source) {
		if (i->source_seq == r->plan.source_seq)
			return true; /* read, and about to claim it */
	}
	return r->plan.source_seq > s->read;
}

/* What may be forgotten once all that was placed until now is on disk. */
static uint64_t checkpoint_bounds(struct queue *q, struct buf *extra)
{
	uint64_t keep = 0;
	for (struct source *s = q->sources; s; s = s->next) {
		buf_le_str(extra, s->name);
		buf_le64(extra, source_open_from(s));
	}
	for (struct item *i = q->items; i; i = i->next) {
		if (i->plan_floor && (!keep || i->plan_floor < keep))
			keep = i->plan_floor;
	}
	for (struct recovered *r = q->recovered; r; r = r->next) {
		if (is_awaited(q, r) && (!keep || r->seq < keep))
			keep = r->seq;
	}
	return keep;
}

/* Deferred files are synced here, not one by one. */
bool spool_sync(struct queue *q, struct err *err)
{
	if (file_syncfs(q->deferred_fd) == 0)
		return true;
	/* The kernel says so once, and forgets the pages: a later success would prove nothing. */
	err_sys(err, "cannot sync the spool");
	store_distrust(q->store, err);
	return false;
}

bool queue_checkpoint(struct queue *q, struct err *err)
{
	BUF_SCOPED extra = {0};
	BUF_SCOPED names = {0};
	/* One at a time: whoever waits here profits from the one under way only if it began later. */
	lock_take(&q->lock);
	while (q->checkpointing)
		cond_wait(&q->idle, &q->lock);
	q->checkpointing = true;
	q->bytes_read = 0;
	uint64_t changes = q->changes;
	lock_drop(&q->lock);
	/* The order matters: first a position, then what is open. A PLAN below the position whose actions
	 * are open now is seen by checkpoint_bounds; one that comes later is above it. And all that counts
	 * as ended is in the page cache before the syncfs inside. */
	struct err late = {0};
	if (!journal_flush(q->journal, &late))
		log_err(LOG_WARN, "queue.checkpoint.partial", &late);
	uint64_t position = journal_committed(q->journal) + 1;
	lock_take(&q->lock);
	uint64_t keep = checkpoint_bounds(q, &extra);
	if (!keep || keep > position)
		keep = position;
	lock_drop(&q->lock);
	spool_sweep_begin(q, &names);
	bool ok = spool_sync(q, err) && store_checkpoint(q->store, keep, buf_str(&extra), err);
	if (ok) {
		spool_sweep(q, buf_str(&names));
		struct scan s = scan_of(buf_str(&extra));
		struct str name;
		uint64_t seq;
		while (scan_le_str(&s, 255, &name) && scan_le64(&s, &seq))
			tell_settled(q, name, seq);
	}
	LOCK_SCOPED(&q->lock);
	if (ok)
		q->checkpointed = changes;
	q->checkpointing = false;
	q->checkpoint_us = clock_mono_us();
	cond_broadcast(&q->idle);
	return ok;
}

/* Placing in mailboxes that an earlier life planned, or put off, and that nobody has looked at again. */
static bool placing_recovered(struct queue *q)
{
	lock_held(&q->lock);
	for (struct recovered *r = q->recovered; r; r = r->next) {
		if (is_awaited(q, r))
			return true;
	}
	for (struct item *i = q->items; i; i = i->next) {
		if (!i->recovered)
			continue;
		for (size_t k = 0; k < i->plan.n; k++) {
			if (i->plan.actions[k].kind == ACTION_PLACE &&
			    (!i->states || i->states[k] == JOB_OPEN))
				return true;
		}
	}
	for (struct deferred *d = q->deferred; d; d = d->next) {
		if (d->loaded && !d->held)
			return true;
	}
	return false;
}

/* A message may have been placed by an earlier life that could not say so any more. Once it were
 * called settled a client could remove it, and its plan would place it again: those first. */
static bool recovered_first(struct queue *q, struct err *err)
{
	enum { RECOVERED_WAIT_US = 15000000, LOOK_US = 20000 };
	int64_t until = clock_mono_us() + RECOVERED_WAIT_US;
	LOCK_SCOPED(&q->lock);
	while (!q->recovery_over && placing_recovered(q)) {
		if (clock_mono_us() > until || q->stopping)
			return err_set(err, ERR_TEMP,
				       "what was planned before the last start is not placed yet");
		cond_wait_until(&q->room, &q->lock, clock_mono_us() + LOOK_US);
	}
	q->recovery_over = true;
	return true;
}

static bool any_first_attempt(struct queue *q)
{
	LOCK_SCOPED(&q->lock);
	for (const struct item *i = q->items; i; i = i->next) {
		for (size_t k = 0; !i->deferred && i->states && k < i->plan.n; k++) {
			if (i->plan.actions[k].kind == ACTION_REMOTE && i->states[k] == JOB_OPEN)
				return true;
		}
	}
	return false;
}

bool queue_settle(struct queue *q, struct err *err)
{
	/* Not awaited: who is not satisfied with what could be settled asks again. */
	if (any_first_attempt(q))
		remote_release(q);
	return recovered_first(q, err) && queue_checkpoint(q, err);
}

static int pressure_now(struct queue *q)
{
	unsigned fill = journal_fill(q->journal);
	lock_take(&q->lock);
	bool full = (q->o.max_messages && q->deferred_n >= q->o.max_messages) ||
		    (q->o.max_bytes && q->deferred_bytes >= q->o.max_bytes);
	lock_drop(&q->lock);
	if (full)
		return 2;
	return fill > 90 ? 2 : fill > 60 ? 1 : 0;
}

/* What an earlier life has ended is known until its last message has been looked at again. */
static void forget_ended(struct queue *q)
{
	LOCK_SCOPED(&q->lock);
	if (!q->ended || !q->started || q->unplanned_n || placing_recovered(q))
		return;
	for (const struct source *s = q->sources; s; s = s->next) {
		if (s->read < s->recovered_to)
			return;
	}
	for (const struct item *i = q->items; i; i = i->next) {
		if (!i->states)
			return;
	}
	map_free(q->ended);
	q->ended = NULL;
}

void queue_tick(struct queue *q)
{
	forget_ended(q);
	lock_take(&q->lock);
	bool due = q->started && q->changes != q->checkpointed && !q->checkpointing;
	int level = q->pressure;
	lock_drop(&q->lock);
	struct err err = {0};
	if (due && !queue_checkpoint(q, &err))
		log_err(LOG_ERROR, "queue.checkpoint.failed", &err);
	int now = pressure_now(q);
	if (now != level) {
		lock_take(&q->lock);
		q->pressure = now;
		lock_drop(&q->lock);
		q->o.services.pressure(q->o.services.ctx, now);
	}
	/* Planning that waits for auth, jobs that wait for the disk. */
	lock_take(&q->lock);
	cond_broadcast(&q->work);
	for (int i = 0; i < PLACERS; i++)
		cond_signal(&q->placers[i].work);
	lock_drop(&q->lock);
}

void queue_counts(struct queue *q, struct queue_counts *out)
{
	LOCK_SCOPED(&q->lock);
	*out = q->counts;
	out->waiting = q->items_n;
	out->waiting_bytes = q->items_bytes;
	out->deferred = q->deferred_n;
}

/* ---- opening and recovery --------------------------------------------------------------- */

struct kept_done { /* DONE records, for the store once it is open */
	struct kept_done *next;
	uint64_t seq;
	struct str record;
};
struct replay {
	struct queue *q;
	struct kept_done *done, **tail;
};

static void note(struct queue *q, const struct id *id, uint32_t action, void *how)
{
	char key[ID_LEN + 4];
	ended_key(key, id, action);
	LOCK_SCOPED(&q->lock);
	if (q->ended)
		map_put(q->ended, (struct str){key, sizeof key}, how);
}

void note_ended(struct queue *q, const struct id *id, uint32_t action)
{
	note(q, id, action, q);
}

static bool replay_plan(struct queue *q, const struct journal_record *r, struct err *err)
{
	struct recovered *v = arena_new_of(q->arena, struct recovered);
	if (!plan_decode(arena_str(q->arena, r->content), q->arena, &v->plan, err)) {
		log_err(LOG_ERROR, "queue.plan.damaged", err);
		err_clear(err);
		return true;
	}
	v->seq = r->seq;
	v->next = q->recovered;
	q->recovered = v;
	if (v->plan.source.n)
		map_put(q->plans, id_str(&v->plan.id), v);
	return true;
}

static bool replay_record(void *ctx, const struct journal_record *r, struct err *err)
{
	struct replay *p = ctx;
	struct queue *q = p->q;
	struct ended_record ended;
	struct id id;
	uint32_t action;
	if (r->type == JOURNAL_PLAN)
		return replay_plan(q, r, err);
	if (r->type == JOURNAL_OUTCOME && ended_decode(r->content, &ended)) {
		/* A deferred action lives on in its file, if that has survived: spool_load says so. */
		if (ended.how != ENDED_DEFERRED)
			note_ended(q, &ended.id, ended.action);
	} else if (r->type == JOURNAL_DONE && store_done_key(r->content, &id, &action)) {
		note(q, &id, action, q->arena); /* by DONE alone */
		struct kept_done *k = arena_new_of(q->arena, struct kept_done);
		k->seq = r->seq;
		k->record = arena_str(q->arena, r->content);
		*p->tail = k;
		p->tail = &k->next;
	}
	return true;
}

static bool found_content(void *ctx, const struct journal_record *r, struct err *err)
{
	(void)err;
	struct item *i = ctx;
	i->content = arena_str(i->arena, r->content);
	i->side_fd = -1;
	i->source_seq = r->side ? 1 : 0;
	if (r->side)
		i->plan.source = arena_str(i->arena, str_of(r->side));
	return false;
}

static bool append_file(struct buf *out, int fd, struct err *err)
{
	struct stat st;
	if (fstat(fd, &st) != 0)
		return err_sys(err, "cannot read a side file");
	char *p = buf_room(out, (size_t)st.st_size);
	if (!file_pread_all(fd, p, (size_t)st.st_size, 0, err))
		return false;
	out->n += (size_t)st.st_size;
	return true;
}

/* The bytes that a DONE's file must have: only asked for after power loss. */
static bool content_of(void *ctx, struct id id, uint32_t number, struct buf *out, struct err *err)
{
	struct queue *q = ctx;
	for (struct recovered *r = q->recovered; r; r = r->next) {
		const struct plan *p = &r->plan;
		if (memcmp(p->id.c, id.c, ID_LEN))
			continue;
		for (size_t k = 0; k < p->n; k++) {
			const struct action *a = &p->actions[k];
			if (a->number != number)
				continue;
			ARENA_SCOPED tmp = arena_new();
			struct item i = {.arena = tmp, .side_fd = -1};
			struct source *s = source_find(q, p->source);
			if (a->generated.n) {
				copy_head(out, &i, a);
				buf_add(out, a->generated);
				return true;
			}
			if (!s || !journal_reader_each(s->reader, p->source_seq, p->source_seq,
						       found_content, &i, err))
				return err->kind != ERR_NONE
					       ? false
					       : err_set(err, ERR_NOT_FOUND, "its journal is gone");
			if (!i.content.p)
				return err_set(err, ERR_NOT_FOUND, "its record is gone");
			struct str body;
			if (!message_record_split(i.content, tmp, &i.envelope, &body, err))
				return false;
			copy_head(out, &i, a);
			buf_add(out, body);
			FD_SCOPED side = -1;
			return !i.source_seq ||
			       (journal_reader_side(s->reader, arena_cstr(tmp, i.plan.source), &side,
						    err) &&
				append_file(out, side, err));
		}
	}
	return spool_content(q, &id, number, out, err);
}

/* Plans whose whole content is in the plan: bounces, notices. */
static void recover_generated(struct queue *q)
{
	for (struct recovered *r = q->recovered; r; r = r->next) {
		if (r->plan.source.n)
			continue;
		struct item *i = item_new(q);
		i->id = r->plan.id;
		i->plan = r->plan;
		i->recovered = true;
		r->claimed = true;
		item_enter(q, i, r->seq);
		item_dispatch(q, i);
	}
}

static struct replay *replay_of(struct queue *q)
{
	struct replay *p = arena_new_of(q->arena, struct replay);
	p->q = q;
	p->tail = &p->done;
	return p;
}

bool queue_open(const struct queue_options *o, struct queue **out, struct err *err)
{
	struct queue *q = mem_new(struct queue);
	lock_init(&q->lock, LOCK_QUEUE);
	cond_init(&q->work);
	cond_init(&q->room);
	cond_init(&q->idle);
	for (int i = 0; i < PLACERS; i++) {
		q->placers[i].q = q;
		cond_init(&q->placers[i].work);
	}
	q->arena = arena_new();
	q->o = *o;
	q->o.hostname = arena_str(q->arena, o->hostname);
	q->o.postmaster = arena_str(q->arena, o->postmaster);
	q->o.source_address = arena_str(q->arena, o->source_address);
	q->o.expire_s = o->expire_s ? o->expire_s : 5 * 24 * 3600;
	q->o.retry_s = o->retry_s ? o->retry_s : 300;
	q->o.delay_warning_s = o->delay_warning_s ? o->delay_warning_s : 4 * 3600;
	q->deferred_fd = q->done_fd = q->tmp_fd = q->hold_fd = q->damaged_fd = -1;
	q->words = map_new();
	q->plans = map_new();
	q->ended = map_new();
	struct replay *p = replay_of(q);
	q->replay = p;
	if (!spool_open(q, err) || !rules_open(q, err) || !suspects_load(q, err) ||
	    (o->relay.relay && !explain_load(o->explain, &q->explain, err)) ||
	    !journal_open(&o->journal, replay_record, p, &q->journal, err)) {
		queue_free(q);
		return false;
	}
	*out = q;
	return true;
}

/* What may have been placed without a DONE that reached the disk. */
static bool recover_placed(struct queue *q, const struct recovered *r, struct err *err)
{
	for (size_t k = 0; k < r->plan.n; k++) {
		const struct action *a = &r->plan.actions[k];
		if (a->kind == ACTION_PLACE && !was_ended(q, &r->plan.id, a->number) &&
		    !store_replay_planned(q->store, a->account, r->plan.id, a->number, content_of, q, err))
			return false;
	}
	return true;
}

bool queue_recover(struct queue *q, struct err *err)
{
	struct replay *p = q->replay;
	if (!q->o.store_open(q->o.services.ctx, q->journal, &q->store, err))
		return false;
	for (struct kept_done *k = p->done; k; k = k->next) {
		if (!store_replay(q->store, k->seq, false, k->record, content_of, q, err))
			return false;
	}
	for (struct recovered *r = q->recovered; r; r = r->next) {
		log_context(STR_NONE, id_str(&r->plan.id), STR_NONE);
		if (!recover_placed(q, r, err))
			return false;
	}
	log_context_clear();
	if (!spool_load(q, err))
		return false;
	for (struct deferred *d = q->deferred; d; d = d->next) {
		if (d->loaded && !d->damaged &&
		    !store_replay_planned(q->store, str_of(d->account), d->id, d->action, content_of, q,
					  err))
			return false;
	}
	return true;
}

bool queue_start(struct queue *q, struct err *err)
{
	if (!journal_start(q->journal, err))
		return false;
	lock_take(&q->lock);
	q->started = true;
	q->changes++; /* a first checkpoint: what was recovered is settled */
	lock_drop(&q->lock);
	if (!remote_start(q, err))
		return false;
	recover_generated(q);
	int e = pthread_create(&q->planner, NULL, planner_main, q);
	for (int i = 0; !e && i < PLACERS; i++)
		e = pthread_create(&q->placers[i].thread, NULL, placer_main, &q->placers[i]);
	if (e) {
		errno = e;
		return err_sys(err, "cannot start the queue's threads");
	}
	return true;
}

struct journal *queue_journal(struct queue *q)
{
	return q->journal;
}

void queue_stop(struct queue *q)
{
	lock_take(&q->lock);
	if (!q->started || q->stopping) {
		lock_drop(&q->lock);
		return;
	}
	q->stopping = true;
	cond_broadcast(&q->work);
	cond_broadcast(&q->room);
	for (int i = 0; i < PLACERS; i++)
		cond_broadcast(&q->placers[i].work);
	lock_drop(&q->lock);
	remote_stop(q);
	pthread_join(q->planner, NULL);
	for (int i = 0; i < PLACERS; i++)
		pthread_join(q->placers[i].thread, NULL);
	struct err err = {0};
	if (!queue_checkpoint(q, &err))
		log_err(LOG_ERROR, "queue.checkpoint.failed", &err);
}

void queue_free(struct queue *q)
{
	if (!q)
		return;
	queue_stop(q);
	remote_free(q);
	while (q->items) {
		struct item *i = q->items;
		lock_take(&q->lock);
		item_leave(q, i);
		lock_drop(&q->lock);
		item_free(i);
	}
	for (int k = 0; k < PLACERS; k++) {
		while (q->placers[k].first) {
			struct job *j = q->placers[k].first;
			q->placers[k].first = j->next;
			free(j);
		}
		cond_fini(&q->placers[k].work);
	}
	while (q->deferred) {
		struct deferred *d = q->deferred;
		q->deferred = d->next;
		deferred_free(q, d);
	}
	free(q->due);
	suspects_free(q);
	for (struct source *s = q->sources; s; s = s->next)
		journal_reader_close(s->reader);
	journal_close(q->journal);
	explain_free(q->explain);
	rules_free(q);
	map_free(q->words);
	map_free(q->plans);
	map_free(q->ended);
	fd_close(&q->deferred_fd);
	fd_close(&q->done_fd);
	fd_close(&q->tmp_fd);
	fd_close(&q->hold_fd);
	fd_close(&q->damaged_fd);
	cond_fini(&q->work);
	cond_fini(&q->room);
	cond_fini(&q->idle);
	lock_fini(&q->lock);
	arena_free(q->arena);
	free(q);
}
