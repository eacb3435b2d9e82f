/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * The writer: appenders put entries in a queue, one thread writes them in batches.
 *
 * Why an acknowledged record survives: its batch was written into blocks that were allocated and
 * zeroed before (no metadata of the file changes), fdatasync returned, and only then done() is
 * called. Why a record that was refused never comes back: a batch whose write or sync failed is
 * voided by the first record of the next segment, which is durable before any later record is
 * acknowledged. Why recycling loses nothing: CHECKPOINT(p) is durable before a segment wholly
 * below p is taken for new records, and the new header's nonce makes its old records void.
 */
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/file.h"
#include "base/ids.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "journal/journal_int.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
	BATCH_RECORDS = 300,
	BATCH_BYTES = 4 * 1024 * 1024,
	COPY_MAX = 64 * 1024,
	PENDING_BYTES_MAX = 64 * 1024 * 1024,
	LAZY_US = 1000000,
	FLUSH_US = 10000000,
	CHECKPOINT_EXTRA_MAX = 8192,
	IOV_MAX_USED = 1000,
	PARTS_MAX = 8,
};

enum segment_state { SEGMENT_FREE, SEGMENT_CURRENT, SEGMENT_FULL, SEGMENT_GONE };
struct segment {
	int fd;
	uint32_t number;
	enum segment_state state;
	uint64_t generation, last_seq;
	bool damaged; /* released by renaming it aside */
};

struct entry {
	struct entry *next;
	enum journal_type type;
	unsigned flags;
	uint64_t seq;
	uint32_t length, content_crc;
	struct iovec parts[PARTS_MAX];
	int parts_n;
	bool lazy;
	char head[RECORD_HEAD];
	journal_done *done;
	void *ctx;
	char copy[];
};
#define SLOTS(j) (2 * (size_t)(j)->segments_max + 16)
struct entry_list {
	struct entry *first, **tail;
	size_t n;
};

struct side {
	struct side *next;
	uint64_t seq;
	char name[JOURNAL_SIDE_NAME];
};

struct journal {
	struct lock lock;
	struct cond work, idle, finished; /* finished: a batch ended, well or not */
	pthread_t thread;
	bool started, stopping;

	int dirfd;
	char *name;
	size_t segment_bytes, reserve_bytes;
	unsigned segments_max;
	int64_t wait_ms;
	void (*half_full)(void *ctx);
	void *half_full_ctx;

	/* guarded by lock */
	struct entry_list pending, urgent; /* urgent: checkpoints */
	size_t pending_bytes;
	unsigned eager;      /* pending entries somebody waits for */
	int64_t lazy_due_us; /* of the oldest lazy entry; 0: none */
	unsigned failures;   /* batches that could not be written */
	bool writing;        /* somebody has the word: the writer thread, or one that leads */
	size_t crowd;        /* records in the last batch */
	uint64_t next_seq, committed, watermark;
	struct side *sides;
	struct buf extra; /* of the last checkpoint */
	int64_t room_checked_us;
	bool room;

	/* the segments array belongs to who is writing, but state and last_seq are guarded by lock */
	struct segment *segments;
	size_t segments_n;
	struct segment *current, *checkpoint_in;
	uint64_t at; /* where the next batch goes in current */
	uint64_t nonce, generation, last_written;
	uint64_t void_first, void_last; /* still to be voided; 0: nothing */
	int64_t blocked_since_us;       /* no segment has been free since; 0: not blocked */

	_Atomic uint64_t sync_counts[JOURNAL_SYNC_BOUNDS + 1], sync_us;
};

/* ---- entries ---------------------------------------------------------------------------- */

static void list_add(struct entry_list *l, struct entry *e)
{
	if (!l->first)
		l->tail = &l->first;
	e->next = NULL;
	*l->tail = e;
	l->tail = &e->next;
	l->n++;
}

static struct entry *list_take(struct entry_list *l)
{
	struct entry *e = l->first;
	if (e) {
		l->first = e->next;
		l->n--;
	}
	return e;
}

static struct entry *entry_new(enum journal_type type, const struct iovec *parts, int n, const char *side)
{
	size_t length = side ? JOURNAL_SIDE_NAME : 0;
	for (int i = 0; i < n; i++)
		length += parts[i].iov_len;
	bool copy = length <= COPY_MAX;
	struct entry *e = mem_alloc(sizeof *e + (copy ? length : side ? JOURNAL_SIDE_NAME : 0));
	*e = (struct entry){.type = type, .length = (uint32_t)length, .flags = side ? RECORD_SIDE : 0};
	char *p = e->copy;
	if (side) {
		memset(p, 0, JOURNAL_SIDE_NAME);
		memcpy(p, side, strnlen(side, JOURNAL_SIDE_NAME - 1));
		e->parts[e->parts_n++] = (struct iovec){p, JOURNAL_SIDE_NAME};
		e->content_crc = crc32c(0, p, JOURNAL_SIDE_NAME);
		p += JOURNAL_SIDE_NAME;
	}
	for (int i = 0; i < n; i++) {
		e->content_crc = crc32c(e->content_crc, parts[i].iov_base, parts[i].iov_len);
		if (!copy) {
			e->parts[e->parts_n++] = parts[i];
		} else if (parts[i].iov_len) {
			memcpy(p, parts[i].iov_base, parts[i].iov_len);
			p += parts[i].iov_len;
		}
	}
	if (copy) {
		e->parts[0] = (struct iovec){e->copy, length};
		e->parts_n = 1;
	}
	return e;
}

/* Room on the file system beyond the reserve, looked at once a second. */
static bool room_left(struct journal *j)
{
	int64_t now = clock_mono_us();
	if (!j->room_checked_us || now - j->room_checked_us > 1000000) {
		struct statvfs v;
		j->room_checked_us = now;
		j->room = fstatvfs(j->dirfd, &v) != 0 ||
			  (uint64_t)v.f_bavail * v.f_frsize >= j->reserve_bytes;
	}
	return j->room;
}

enum urgency { LAZY, SOON, HERE };

static bool may_lead(const struct journal *j, const struct entry *e);
static void write_one(struct journal *j);

static bool append(struct journal *j, enum journal_type type, const struct iovec *parts, int n,
		   const char *side, enum urgency urgency, journal_done *done, void *ctx, uint64_t *out_seq,
		   struct err *err)
{
	assert(n <= PARTS_MAX - 1);
	size_t length = 0;
	for (int i = 0; i < n; i++) {
		if (parts[i].iov_len > j->segment_bytes - length)
			return err_set(err, ERR_LIMIT, "too large for the journal");
		length += parts[i].iov_len;
	}
	if (block_room(record_room(length + JOURNAL_SIDE_NAME)) + SEGMENT_BLOCK > j->segment_bytes)
		return err_set(err, ERR_LIMIT, "too large for the journal");
	struct entry *e = entry_new(type, parts, n, side);
	e->lazy = urgency == LAZY;
	e->done = done;
	e->ctx = ctx;
	struct side *s = NULL;
	if (side) {
		s = mem_zalloc(sizeof *s);
		memcpy(s->name, side, strnlen(side, JOURNAL_SIDE_NAME - 1));
	}
	lock_take(&j->lock);
	bool refused = true, wake = false;
	if (j->stopping || !j->started)
		err_set(err, ERR_TEMP, "the server is stopping");
	else if (j->pending_bytes > PENDING_BYTES_MAX)
		err_set(err, ERR_LIMIT, "too much waits for the disk");
	else if (type != JOURNAL_CHECKPOINT && !room_left(j))
		err_set(err, ERR_LIMIT, "insufficient system storage");
	else
		refused = false;
	if (refused) {
		lock_drop(&j->lock);
		free(e);
		free(s);
		return false;
	}
	if (type == JOURNAL_CHECKPOINT) {
		list_add(&j->urgent, e);
		cond_broadcast(&j->idle); /* the writer may be waiting for the room that this one makes */
	} else {
		e->seq = j->next_seq++;
		list_add(&j->pending, e);
	}
	j->pending_bytes += e->length;
	if (s) {
		s->seq = e->seq;
		s->next = j->sides;
		j->sides = s;
	}
	if (out_seq)
		*out_seq = e->seq;
	if (e->lazy) {
		if (!j->lazy_due_us) {
			j->lazy_due_us = clock_mono_us() + LAZY_US;
			wake = !j->eager && !j->writing; /* so that its wait gets an end */
		}
	} else {
		wake = j->eager++ == 0 && !j->writing; /* who is writing looks again */
		if (urgency == HERE && may_lead(j, e)) {
			write_one(j);
			wake = j->pending.first || j->urgent.first || j->stopping;
		}
	}
	lock_drop(&j->lock);
	if (wake) /* after the lock, which the writer would find taken */
		cond_signal(&j->work);
	return true;
}

bool journal_append(struct journal *j, enum journal_type type, const struct iovec *parts, int n,
		    journal_done *done, void *ctx, uint64_t *out_seq, struct err *err)
{
	return append(j, type, parts, n, NULL, SOON, done, ctx, out_seq, err);
}

bool journal_append_here(struct journal *j, enum journal_type type, const struct iovec *parts, int n,
			 journal_done *done, void *ctx, uint64_t *out_seq, struct err *err)
{
	return append(j, type, parts, n, NULL, HERE, done, ctx, out_seq, err);
}

bool journal_append_side(struct journal *j, enum journal_type type, const struct iovec *parts, int n,
			 const char *side, journal_done *done, void *ctx, uint64_t *out_seq,
			 struct err *err)
{
	return append(j, type, parts, n, side, SOON, done, ctx, out_seq, err);
}

bool journal_append_lazy(struct journal *j, enum journal_type type, const struct iovec *parts, int n,
			 uint64_t *out_seq, struct err *err)
{
	return append(j, type, parts, n, NULL, LAZY, NULL, NULL, out_seq, err);
}

struct waiter {
	struct lock lock;
	struct cond cond;
	bool over, failed;
	struct err err;
};

static void waiter_done(void *ctx, uint64_t seq, const struct err *err)
{
	(void)seq;
	struct waiter *w = ctx;
	LOCK_SCOPED(&w->lock);
	w->over = true;
	if (err) {
		w->failed = true;
		w->err = *err;
	}
	cond_signal(&w->cond);
}

bool journal_append_wait(struct journal *j, enum journal_type type, const struct iovec *parts, int n,
			 uint64_t *out_seq, struct err *err)
{
	struct waiter w = {0};
	lock_init(&w.lock, LOCK_LEAF);
	cond_init(&w.cond);
	bool ok = append(j, type, parts, n, NULL, HERE, waiter_done, &w, out_seq, err);
	if (ok) {
		lock_take(&w.lock);
		while (!w.over)
			cond_wait(&w.cond, &w.lock);
		lock_drop(&w.lock);
		ok = !w.failed;
		if (!ok)
			*err = w.err;
	}
	cond_fini(&w.cond);
	lock_fini(&w.lock);
	return ok;
}

/* ---- segments --------------------------------------------------------------------------- */

static bool segment_zero(struct journal *j, int fd, struct err *err)
{
	enum { CHUNK = 1024 * 1024 };
	char *zeros = mem_zalloc(CHUNK);
	bool ok = true;
	for (size_t at = 0; ok && at < j->segment_bytes;) {
		size_t n = j->segment_bytes - at < CHUNK ? j->segment_bytes - at : CHUNK;
		ssize_t w = file_pwrite(fd, zeros, n, (off_t)at);
		if (w <= 0)
			ok = err_sys(err, "cannot fill a journal segment");
		else
			at += (size_t)w;
	}
	free(zeros);
	if (ok && file_fsync(fd) != 0)
		ok = err_sys(err, "cannot sync a journal segment");
	if (ok && file_fsync(j->dirfd) != 0)
		ok = err_sys(err, "cannot sync the journal directory");
	return ok;
}

/* A new zero-filled segment, durable with its name before it is used. */
static struct segment *segment_create(struct journal *j, struct err *err)
{
	uint32_t number = 0;
	for (size_t i = 0; i < j->segments_n; i++) {
		if (j->segments[i].number >= number)
			number = j->segments[i].number + 1;
	}
	char name[SEGMENT_NAME_MAX];
	segment_name(name, number);
	int fd = file_openat(j->dirfd, name, O_RDWR | O_CREAT | O_EXCL, 0640);
	if (fd < 0) {
		err_sys(err, "cannot create journal segment %s", name);
		return NULL;
	}
	if (!segment_zero(j, fd, err)) {
		file_unlinkat(j->dirfd, name, 0);
		fd_close(&fd);
		return NULL;
	}
	LOCK_SCOPED(&j->lock);
	struct segment *s = &j->segments[j->segments_n++];
	*s = (struct segment){.fd = fd, .number = number};
	return s;
}

static struct segment *segment_free_one(struct journal *j)
{
	LOCK_SCOPED(&j->lock);
	for (size_t i = 0; i < j->segments_n; i++) {
		if (j->segments[i].state == SEGMENT_FREE)
			return &j->segments[i];
	}
	return NULL;
}

static unsigned segments_in_use(struct journal *j)
{
	unsigned n = 0;
	for (size_t i = 0; i < j->segments_n; i++)
		n += j->segments[i].state != SEGMENT_GONE;
	return n;
}

/* The segment for the next batch. Checkpoints may go beyond segments_max: they are what frees.
 * NULL with no error: a checkpoint came while we waited, let it go first. */
static struct segment *segment_next(struct journal *j, bool checkpoint, struct err *err)
{
	for (;;) {
		struct segment *s = segment_free_one(j);
		if (s) {
			j->blocked_since_us = 0;
			return s;
		}
		if (segments_in_use(j) < (checkpoint ? 2 * j->segments_max : j->segments_max) &&
		    j->segments_n < SLOTS(j))
			return segment_create(j, err);
		if (!j->blocked_since_us)
			j->blocked_since_us = clock_mono_us();
		LOCK_SCOPED(&j->lock);
		if (!checkpoint && j->urgent.first)
			return NULL;
		if (j->stopping ||
		    !cond_wait_until(&j->idle, &j->lock, j->blocked_since_us + j->wait_ms * 1000)) {
			err_set(err, ERR_LIMIT, "insufficient system storage");
			err_cause(err, "all %u segments of journal %s hold unsettled records",
				  j->segments_max, j->name);
			return NULL;
		}
	}
}

static void segment_retire(struct journal *j, struct segment *s)
{
	LOCK_SCOPED(&j->lock);
	s->state = SEGMENT_FULL;
	j->current = NULL;
}

/* Called with the lock: frees what lies wholly below the watermark. */
static void segments_release(struct journal *j)
{
	lock_held(&j->lock);
	for (size_t i = 0; i < j->segments_n; i++) {
		struct segment *s = &j->segments[i];
		if (s->state != SEGMENT_FULL || s->last_seq >= j->watermark || s == j->checkpoint_in)
			continue;
		if (s->damaged) { /* kept for the operator, never recycled */
			char from[SEGMENT_NAME_MAX], to[2 * SEGMENT_NAME_MAX];
			segment_name(from, s->number);
			snprintf(to, sizeof to, "damaged-%s-%llu", from,
				 (unsigned long long)s->generation);
			file_renameat(j->dirfd, from, j->dirfd, to);
			fd_close(&s->fd);
			s->state = SEGMENT_GONE;
			continue;
		}
		s->state = SEGMENT_FREE;
	}
	cond_broadcast(&j->idle);
}

/* ---- batches ---------------------------------------------------------------------------- */

struct batch {
	struct entry_list entries;
	uint64_t bytes; /* record room */
	bool checkpoint;
};

static void batch_write_iov(struct iovec *iov, int n, int fd, uint64_t at, uint64_t total,
			    struct err *err, bool *ok)
{
	int done_iov = 0;
	for (uint64_t written = 0; *ok && written < total;) {
		ssize_t w = file_pwritev(fd, iov + done_iov, n - done_iov, (off_t)(at + written));
		if (w <= 0) {
			*ok = err_sys(err, "cannot write to the journal");
			return;
		}
		written += (uint64_t)w;
		size_t left = (size_t)w;
		while (done_iov < n && left >= iov[done_iov].iov_len)
			left -= iov[done_iov++].iov_len;
		if (left) {
			iov[done_iov].iov_base = (char *)iov[done_iov].iov_base + left;
			iov[done_iov].iov_len -= left;
		}
	}
}

/* Collects iovecs and writes them when full. */
struct gather {
	struct iovec iov[IOV_MAX_USED];
	int n;
	uint64_t at, bytes;
	int fd;
	bool ok;
};

static void gather_flush(struct gather *g, struct err *err)
{
	if (g->n)
		batch_write_iov(g->iov, g->n, g->fd, g->at, g->bytes, err, &g->ok);
	g->at += g->bytes;
	g->bytes = 0;
	g->n = 0;
}

static void gather_add(struct gather *g, const void *p, size_t n, struct err *err)
{
	if (!n)
		return;
	if (g->n == IOV_MAX_USED)
		gather_flush(g, err);
	g->iov[g->n++] = (struct iovec){(void *)(uintptr_t)p, n};
	g->bytes += n;
}

static const char zero_block[SEGMENT_BLOCK];

static void gather_record(struct gather *g, struct entry *e, uint64_t nonce, struct err *err)
{
	record_head_encode(e->head, nonce, e->seq, e->type, e->flags, e->content_crc, e->length);
	gather_add(g, e->head, RECORD_HEAD, err);
	for (int i = 0; i < e->parts_n; i++)
		gather_add(g, e->parts[i].iov_base, e->parts[i].iov_len, err);
	gather_add(g, zero_block, record_room(e->length) - RECORD_HEAD - e->length, err);
}

static struct entry *void_entry(uint64_t first, uint64_t last)
{
	BUF_SCOPED b = {0};
	buf_le64(&b, first);
	buf_le64(&b, last);
	struct entry *e = entry_new(JOURNAL_VOID, &(struct iovec){b.p, b.n}, 1, NULL);
	e->seq = last;
	return e;
}

static const uint32_t sync_bounds_us[JOURNAL_SYNC_BOUNDS] = {
	100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 1000000,
};

static void sync_took(struct journal *j, int64_t us)
{
	size_t i = 0;
	while (i < JOURNAL_SYNC_BOUNDS && us > (int64_t)sync_bounds_us[i])
		i++;
	atomic_fetch_add_explicit(&j->sync_counts[i], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&j->sync_us, (uint64_t)us, memory_order_relaxed);
}

static bool batch_write_into(struct journal *j, struct segment *s, bool fresh, struct batch *b,
			     struct err *err)
{
	struct gather g = {.fd = s->fd, .at = fresh ? 0 : j->at, .ok = true};
	char header[SEGMENT_BLOCK];
	uint64_t start = fresh ? SEGMENT_BLOCK : j->at;
	uint64_t first = j->void_first ? j->void_last : b->entries.first->seq;
	struct entry *v = j->void_first ? void_entry(j->void_first, j->void_last) : NULL;
	if (fresh) {
		j->nonce = random_u64();
		segment_header_encode(
			&(struct segment_header){j->nonce, ++j->generation, first ? first : 1}, header);
		gather_add(&g, header, sizeof header, err);
	}
	uint64_t bytes = 0;
	if (v) {
		gather_record(&g, v, j->nonce, err);
		bytes += record_room(v->length);
	}
	for (struct entry *e = b->entries.first; e; e = e->next) {
		gather_record(&g, e, j->nonce, err);
		bytes += record_room(e->length);
	}
	gather_add(&g, zero_block, block_room(bytes) - bytes, err);
	gather_flush(&g, err);
	free(v);
	int64_t began_us = clock_mono_us();
	if (g.ok && file_fdatasync(s->fd) != 0)
		g.ok = err_sys(err, "cannot sync the journal");
	sync_took(j, clock_mono_us() - began_us);
	if (g.ok)
		j->at = start + block_room(bytes);
	return g.ok;
}

static bool fits_current(const struct journal *j, uint64_t bytes)
{
	enum { VOID_ROOM = 64 };
	return j->current && block_room(bytes + VOID_ROOM) <= j->segment_bytes - j->at;
}

static bool batch_write(struct journal *j, struct batch *b, struct err *err)
{
	struct segment *s = j->current;
	bool fresh = false;
	if (s && !fits_current(j, b->bytes)) {
		segment_retire(j, s);
		s = NULL;
		if (j->half_full && journal_fill(j) >= 50)
			j->half_full(j->half_full_ctx);
	}
	if (!s) {
		s = segment_next(j, b->checkpoint, err);
		if (!s)
			return false;
		fresh = true;
	}
	uint64_t last = j->last_written;
	for (struct entry *e = b->entries.first; e; e = e->next) {
		if (b->checkpoint)
			e->seq = j->last_written; /* outside the sequence: repeats the last number */
		else
			last = e->seq;
	}
	lock_take(&j->lock);
	s->state = SEGMENT_CURRENT;
	s->last_seq = last;
	j->current = s;
	lock_drop(&j->lock);
	if (!batch_write_into(j, s, fresh, b, err)) {
		s->generation = j->generation;
		segment_retire(j, s);
		if (!b->checkpoint) { /* whatever of it reached the disk must never count */
			j->void_first = j->void_first ? j->void_first : b->entries.first->seq;
			j->void_last = last;
		}
		return false;
	}
	s->generation = j->generation;
	j->void_first = j->void_last = 0;
	j->last_written = last;
	return true;
}

/* Takes what fits one batch; checkpoints go first and alone. */
static void batch_take(struct journal *j, struct batch *b)
{
	*b = (struct batch){0};
	struct entry_list *from = j->urgent.first ? &j->urgent : &j->pending;
	b->checkpoint = from == &j->urgent;
	while (from->first && b->entries.n < BATCH_RECORDS) {
		uint64_t room = record_room(from->first->length);
		if (b->entries.n && (b->bytes + room > BATCH_BYTES ||
				     block_room(b->bytes + room) + 2 * SEGMENT_BLOCK > j->segment_bytes))
			break;
		struct entry *e = list_take(from);
		list_add(&b->entries, e);
		b->bytes += room;
		j->pending_bytes -= e->length;
		j->eager -= !e->lazy;
	}
	if (!j->pending.first)
		j->lazy_due_us = 0;
}

/* Puts a batch that could not go yet back to where it came from. */
static void batch_return(struct journal *j, struct batch *b)
{
	LOCK_SCOPED(&j->lock);
	for (struct entry *e = b->entries.first; e; e = e->next) {
		j->pending_bytes += e->length;
		j->eager += !e->lazy;
	}
	if (!j->pending.first)
		j->pending.tail = b->entries.tail;
	*b->entries.tail = j->pending.first;
	j->pending.first = b->entries.first;
	j->pending.n += b->entries.n;
}

static void batch_finish(struct journal *j, struct batch *b, bool ok, const struct err *err)
{
	if (ok) {
		LOCK_SCOPED(&j->lock);
		j->committed = j->last_written;
		if (b->checkpoint)
			j->checkpoint_in = j->current;
		cond_broadcast(&j->finished);
	} else {
		log_err(LOG_ERROR, "journal.write.failed", err);
		LOCK_SCOPED(&j->lock);
		j->failures++;
		cond_broadcast(&j->finished);
	}
	for (struct entry *e; (e = list_take(&b->entries));) {
		if (e->done)
			e->done(e->ctx, e->seq, ok ? NULL : err);
		free(e);
	}
}

/* ---- who writes ------------------------------------------------------------------------- */

/* One batch, with the word; done() is called in the order of the records, as the word is kept meanwhile. */
static void write_one(struct journal *j)
{
	struct batch b;
	struct err err = {0};
	lock_held(&j->lock);
	j->writing = true;
	batch_take(j, &b);
	j->crowd = b.entries.n;
	lock_drop(&j->lock);
	bool ok = batch_write(j, &b, &err);
	if (!ok && err.kind == ERR_NONE)
		batch_return(j, &b);
	else
		batch_finish(j, &b, ok, &err);
	lock_take(&j->lock);
	j->writing = false;
}

/*
 * Where records come one at a time the one who appends writes as well: waking the writer thread and being
 * woken by it cost as much as the write. Not where others wait, who would share a sync, nor where
 * a segment must be had first, which can take its time.
 */
static bool may_lead(const struct journal *j, const struct entry *e)
{
	return !j->writing && !j->stopping && j->crowd <= 1 && j->pending.first == e && !j->urgent.first &&
	       fits_current(j, record_room(e->length));
}

static bool wait_for_work(struct journal *j)
{
	lock_held(&j->lock);
	for (;;) {
		if (j->writing) {
			cond_wait(&j->work, &j->lock);
			continue;
		}
		if (j->eager || j->urgent.first)
			return true;
		if (j->stopping)
			return j->pending.first != NULL;
		if (!j->lazy_due_us) {
			cond_wait(&j->work, &j->lock);
		} else if (!cond_wait_until(&j->work, &j->lock, j->lazy_due_us) && !j->writing) {
			return true;
		}
	}
}

static void *writer(void *arg)
{
	struct journal *j = arg;
	struct err err = {0};
	lock_take(&j->lock);
	j->writing = true;
	lock_drop(&j->lock);
	if (!segment_free_one(j) && j->segments_n < j->segments_max && !segment_create(j, &err))
		log_err(LOG_ERROR, "journal.segment.failed", &err);
	lock_take(&j->lock);
	j->writing = false;
	while (wait_for_work(j))
		write_one(j);
	lock_drop(&j->lock);
	return NULL;
}

void journal_hurry(struct journal *j)
{
	LOCK_SCOPED(&j->lock);
	if (j->lazy_due_us > 1) {
		j->lazy_due_us = 1; /* long ago */
		cond_signal(&j->work);
	}
}

bool journal_flush(struct journal *j, struct err *err)
{
	int64_t until = clock_mono_us() + FLUSH_US;
	LOCK_SCOPED(&j->lock);
	uint64_t wanted = j->next_seq - 1;
	unsigned failures = j->failures;
	while (j->committed < wanted) {
		if (j->failures != failures)
			return err_set(err, ERR_IO, "temporary failure"),
			       err_cause(err, "a batch of the journal failed");
		if (!j->started)
			return err_set(err, ERR_TEMP, "the server is stopping");
		if (j->lazy_due_us) {
			j->lazy_due_us = 1; /* long ago */
			cond_signal(&j->work);
		}
		if (!cond_wait_until(&j->finished, &j->lock, until))
			return err_set(err, ERR_TEMP, "the journal is behind");
	}
	return true;
}

/* ---- checkpoints and side files --------------------------------------------------------- */

static struct side *sides_below(struct journal *j, uint64_t p)
{
	struct side *gone = NULL;
	for (struct side **at = &j->sides; *at;) {
		struct side *s = *at;
		if (s->seq < p) {
			*at = s->next;
			s->next = gone;
			gone = s;
		} else {
			at = &s->next;
		}
	}
	return gone;
}

bool journal_checkpoint(struct journal *j, uint64_t p, struct str extra, struct err *err)
{
	if (extra.n > CHECKPOINT_EXTRA_MAX)
		return err_set(err, ERR_LIMIT, "too much in a checkpoint");
	lock_take(&j->lock);
	bool legal = p >= j->watermark && p <= j->committed + 1;
	bool same = p == j->watermark && str_eq(extra, buf_str(&j->extra));
	lock_drop(&j->lock);
	if (!legal)
		return err_set(err, ERR_DENIED, "checkpoint outside what is committed");
	if (same)
		return true;
	BUF_SCOPED head = {0};
	buf_le64(&head, p);
	struct iovec parts[] = {{head.p, head.n}, {(void *)(uintptr_t)extra.p, extra.n}};
	if (!journal_append_wait(j, JOURNAL_CHECKPOINT, parts, 2, NULL, err))
		return false;
	lock_take(&j->lock);
	struct side *gone = NULL;
	if (p >= j->watermark) {
		j->watermark = p;
		buf_clear(&j->extra);
		buf_add(&j->extra, extra);
		segments_release(j);
		gone = sides_below(j, p);
	}
	lock_drop(&j->lock);
	while (gone) {
		struct side *s = gone;
		gone = s->next;
		file_unlinkat(j->dirfd, s->name, 0);
		free(s);
	}
	return true;
}

struct str journal_last_checkpoint(struct journal *j, uint64_t *out_p)
{
	*out_p = j->watermark;
	return buf_str(&j->extra);
}

bool journal_side_create(struct journal *j, int *out_fd, char name[JOURNAL_SIDE_NAME], struct err *err)
{
	struct id id = id_new();
	snprintf(name, JOURNAL_SIDE_NAME, "side-%.*s", ID_LEN, id.c);
	int fd = file_openat(j->dirfd, name, O_RDWR | O_CREAT | O_EXCL, 0640);
	if (fd < 0)
		return err_sys(err, "cannot create a side file");
	*out_fd = fd;
	return true;
}

bool journal_side_finish(struct journal *j, int fd, struct err *err)
{
	if (file_fsync(fd) != 0)
		return err_sys(err, "cannot sync a side file");
	if (file_fsync(j->dirfd) != 0)
		return err_sys(err, "cannot sync the journal directory");
	return true;
}

void journal_side_discard(struct journal *j, const char *name)
{
	file_unlinkat(j->dirfd, name, 0);
}

bool journal_has_room(struct journal *j)
{
	LOCK_SCOPED(&j->lock);
	return room_left(j);
}

uint64_t journal_committed(struct journal *j)
{
	LOCK_SCOPED(&j->lock);
	return j->committed;
}

uint64_t journal_watermark(struct journal *j)
{
	LOCK_SCOPED(&j->lock);
	return j->watermark;
}

void journal_sync_times(struct journal *j, struct journal_sync_times *out)
{
	memcpy(out->bounds_us, sync_bounds_us, sizeof out->bounds_us);
	for (size_t i = 0; i <= JOURNAL_SYNC_BOUNDS; i++)
		out->counts[i] = atomic_load_explicit(&j->sync_counts[i], memory_order_relaxed);
	out->sum_us = atomic_load_explicit(&j->sync_us, memory_order_relaxed);
}

unsigned journal_fill(struct journal *j)
{
	LOCK_SCOPED(&j->lock);
	unsigned used = 0;
	for (size_t i = 0; i < j->segments_n; i++)
		used += j->segments[i].state == SEGMENT_FULL;
	return used * 100 / j->segments_max;
}

/* ---- opening ---------------------------------------------------------------------------- */

static int by_generation(const void *a, const void *b)
{
	const struct segment *x = a, *y = b;
	return x->generation < y->generation ? -1 : x->generation > y->generation;
}

static bool segments_find(struct journal *j, struct err *err)
{
	FD_SCOPED fd = file_openat(j->dirfd, ".", O_RDONLY | O_DIRECTORY, 0);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir)
		return err_sys(err, "cannot read the journal directory");
	fd_take(&fd);
	bool ok = true;
	for (struct dirent *d; ok && (d = readdir(dir));) {
		uint32_t number;
		if (!segment_name_parse(d->d_name, &number))
			continue;
		int seg = file_openat(j->dirfd, d->d_name, O_RDWR | O_NOFOLLOW, 0);
		struct stat st;
		if (seg < 0 || fstat(seg, &st) != 0) {
			ok = err_sys(err, "cannot open journal segment %s", d->d_name);
		} else if (j->segments_n == SLOTS(j)) {
			ok = err_set(err, ERR_LIMIT, "more journal segments than configured");
		} else if ((size_t)st.st_size != j->segment_bytes || !S_ISREG(st.st_mode)) {
			/* A crash while it was filled (it has no header then), or another configured size. */
			struct segment_walk w;
			struct err ignored = {0};
			bool used = segment_walk_begin(&w, seg, (uint64_t)st.st_size, &ignored);
			if (!used)
				file_unlinkat(j->dirfd, d->d_name, 0);
			else
				j->segments[j->segments_n++] = (struct segment){
					.fd = fd_take(&seg), .number = number, .damaged = true};
			fd_close(&seg);
		} else {
			j->segments[j->segments_n++] = (struct segment){.fd = seg, .number = number};
		}
	}
	closedir(dir);
	return ok;
}

static bool walk_segment(struct segment_walk *w, int fd, struct err *err)
{
	struct stat st;
	if (fstat(fd, &st) != 0)
		return err_sys(err, "cannot read a journal segment");
	return segment_walk_begin(w, fd, (uint64_t)st.st_size, err);
}

/* First pass: bounds, the last checkpoint, what was voided. */
static bool segment_survey(struct journal *j, struct segment *s, struct void_ranges *voids,
			   struct err *err)
{
	struct segment_walk w;
	if (!walk_segment(&w, s->fd, err))
		return err->kind == ERR_NONE; /* unused: stays free */
	s->state = SEGMENT_FULL;
	s->generation = w.h.generation;
	struct journal_record r;
	while (segment_walk_next(&w, false, &r, err)) {
		uint64_t p;
		struct str extra;
		if (r.type == JOURNAL_VOID)
			void_ranges_add(voids, r.content);
		else if (r.type == JOURNAL_CHECKPOINT && checkpoint_decode(r.content, &p, &extra) &&
			 p >= j->watermark) {
			j->watermark = p;
			j->checkpoint_in = s;
			buf_clear(&j->extra);
			buf_add(&j->extra, extra);
		}
	}
	if (w.damage) {
		s->damaged = true;
		log_event(LOG_ERROR, "journal.damage", K_CSTR(journal, j->name),
			  K_INT(segment, s->number), K_INT(count, w.damage));
	}
	/* A writer that was killed before its sync: what we count from here on must not be lost later. */
	if (err->kind == ERR_NONE && w.last_seq >= j->watermark && file_fdatasync(s->fd) != 0)
		err_sys(err, "cannot sync the journal");
	s->last_seq = w.last_seq;
	if (w.last_seq > j->last_written)
		j->last_written = w.last_seq;
	if (s->generation > j->generation)
		j->generation = s->generation;
	segment_walk_end(&w);
	return err->kind == ERR_NONE;
}

static bool segment_replay(struct journal *j, struct segment *s, const struct void_ranges *voids,
			   journal_replay *replay, void *ctx, struct err *err)
{
	struct segment_walk w;
	if (!walk_segment(&w, s->fd, err))
		return err->kind == ERR_NONE;
	struct journal_record r;
	bool ok = true;
	while (ok && segment_walk_next(&w, false, &r, err)) {
		if (r.type == JOURNAL_VOID || r.type == JOURNAL_CHECKPOINT || r.seq < j->watermark ||
		    void_ranges_have(voids, r.seq))
			continue;
		if (r.side) {
			struct side *side = mem_zalloc(sizeof *side);
			side->seq = r.seq;
			memcpy(side->name, r.side, sizeof side->name);
			side->next = j->sides;
			j->sides = side;
		}
		ok = !replay || replay(ctx, &r, err);
	}
	segment_walk_end(&w);
	return ok && err->kind == ERR_NONE;
}

/* Side files that no record names are of transactions that were never acknowledged. */
static void sides_sweep(struct journal *j)
{
	int fd = file_openat(j->dirfd, ".", O_RDONLY | O_DIRECTORY, 0);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		fd_close(&fd);
		return;
	}
	for (struct dirent *d; (d = readdir(dir));) {
		if (strncmp(d->d_name, "side-", 5))
			continue;
		bool named = false;
		for (struct side *s = j->sides; s && !named; s = s->next)
			named = !strcmp(s->name, d->d_name);
		if (!named)
			file_unlinkat(j->dirfd, d->d_name, 0);
	}
	closedir(dir);
}

bool journal_open(const struct journal_options *o, journal_replay *replay, void *ctx,
		  struct journal **out, struct err *err)
{
	struct journal *j = mem_zalloc(sizeof *j);
	*j = (struct journal){
		.dirfd = o->dirfd,
		.name = mem_cstr(o->name),
		.segment_bytes = block_room(o->segment_bytes ? o->segment_bytes : 16 * 1024 * 1024),
		.segments_max = o->segments_max ? o->segments_max : 16,
		.reserve_bytes = o->reserve_bytes,
		.wait_ms = o->wait_ms ? o->wait_ms : 2000,
		.half_full = o->half_full,
		.half_full_ctx = o->half_full_ctx,
		.watermark = 1,
	};
	lock_init(&j->lock, LOCK_JOURNAL);
	cond_init(&j->work);
	cond_init(&j->idle);
	cond_init(&j->finished);
	j->segments = mem_zalloc(SLOTS(j) * sizeof *j->segments);
	err_clear(err);
	struct void_ranges voids = {0};
	bool ok = segments_find(j, err);
	for (size_t i = 0; ok && i < j->segments_n; i++)
		ok = segment_survey(j, &j->segments[i], &voids, err);
	if (ok) {
		uint32_t keep = j->checkpoint_in ? j->checkpoint_in->number : UINT32_MAX;
		qsort(j->segments, j->segments_n, sizeof *j->segments, by_generation);
		j->checkpoint_in = NULL;
		for (size_t i = 0; i < j->segments_n; i++) {
			if (j->segments[i].number == keep)
				j->checkpoint_in = &j->segments[i];
		}
	}
	for (size_t i = 0; ok && i < j->segments_n; i++)
		ok = segment_replay(j, &j->segments[i], &voids, replay, ctx, err);
	void_ranges_free(&voids);
	if (j->watermark > j->last_written + 1)
		j->last_written = j->watermark - 1;
	uint64_t now = (uint64_t)clock_wall_us();
	if (o->numbers_by_clock && now > j->last_written)
		j->last_written = now;
	j->next_seq = j->last_written + 1;
	j->committed = j->last_written;
	if (ok) {
		lock_take(&j->lock);
		segments_release(j);
		lock_drop(&j->lock);
		sides_sweep(j);
	}
	if (!ok) {
		journal_close(j);
		return err_while(err, "opening journal %s", o->name);
	}
	*out = j;
	return true;
}

bool journal_start(struct journal *j, struct err *err)
{
	j->started = true;
	int e = pthread_create(&j->thread, NULL, writer, j);
	if (e) {
		j->started = false;
		errno = e;
		return err_sys(err, "cannot start the journal's thread");
	}
	return true;
}

void journal_close(struct journal *j)
{
	if (!j)
		return;
	if (j->started) {
		lock_take(&j->lock);
		j->stopping = true;
		cond_signal(&j->work);
		cond_broadcast(&j->idle);
		lock_drop(&j->lock);
		pthread_join(j->thread, NULL);
	}
	for (size_t i = 0; i < j->segments_n; i++)
		fd_close(&j->segments[i].fd);
	while (j->sides) {
		struct side *s = j->sides;
		j->sides = s->next;
		free(s);
	}
	free(j->segments);
	buf_free(&j->extra);
	cond_fini(&j->work);
	cond_fini(&j->idle);
	cond_fini(&j->finished);
	lock_fini(&j->lock);
	free(j->name);
	free(j);
}
