/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * spool/deferred: a file for actions of one message that could not be done now, named after the first
 * of them, "<id>-<action>":
 *
 *   "PABALD2\n", content length u64, plan length u32, plan with those actions, envelope length u32,
 *   envelope, content, CRC32C u32 of all before it; then the attempts so far (queue/record.h), each with
 *   its own CRC, appended and not synced
 *
 * When it is safe: a new file is not synced; until the next checkpoint, which syncs the spool first,
 * the journals still have the message, and after a power loss only a file with the right CRC ends
 * actions. A file of which only some actions are left is replaced durably before the others count as
 * done. What has been done after all: its DONE or OUTCOME is made durable, then the file moves to
 * spool/done, and goes with the next checkpoint: so a crash finds either the file in deferred (and the
 * store adopts what is placed already) or a durable record, and in done/ the content to repair it.
 * A file of the same name in spool/hold: not to be tried until released; it says why. It is durable
 * before the file that it holds appears. A file that cannot be read any more is held as well, or, when
 * not even its head can, goes to spool/damaged.
 */
#include "queue/queue_int.h"

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	SPOOL_NAME_MAX = 40,
	SPOOL_HEAD_MAX = 32 * 1024 * 1024,
	HEAD_GUESS = 4096,
	RETRY_MAX_S = 4 * 3600,
	ATTEMPTS_KEPT = 1000,     /* in one file; what comes after them is only counted while we live */
	HISTORY_MAX = ATTEMPTS_KEPT * (2 * ATTEMPT_TEXT_MAX + 64),
	REASON_MAX = 120,         /* octets kept in memory */
	NOT_IN_HEAP = UINT32_MAX,
	WHY_MAX = 300,
};
static const char magic[8] = "PABALD2\n";

static void spool_name(char out[SPOOL_NAME_MAX], const struct id *id, uint32_t action)
{
	snprintf(out, SPOOL_NAME_MAX, "%.*s-%u", ID_LEN, id->c, action);
}

static bool spool_name_parse(const char *name, struct id *id, uint32_t *action)
{
	struct str s = str_of(name);
	uint64_t n;
	if (s.n < ID_LEN + 2 || name[ID_LEN] != '-' || !id_parse(str_sub(s, 0, ID_LEN), id) ||
	    !str_u64(str_from(s, ID_LEN + 1), UINT32_MAX, &n))
		return false;
	*action = (uint32_t)n;
	return true;
}

bool spool_open(struct queue *q, struct err *err)
{
	static const char *const names[] = {"deferred", "done", "tmp", "hold", "damaged"};
	int *const fds[] = {&q->deferred_fd, &q->done_fd, &q->tmp_fd, &q->hold_fd, &q->damaged_fd};
	for (int k = 0; k < 5; k++) {
		if (file_mkdirat(q->o.spool_fd, names[k], 0700) != 0 && errno != EEXIST)
			return err_sys(err, "cannot create spool/%s", names[k]);
		*fds[k] = file_openat(q->o.spool_fd, names[k], O_RDONLY | O_DIRECTORY, 0);
		if (*fds[k] < 0)
			return err_sys(err, "cannot open spool/%s", names[k]);
	}
	return true;
}

/* ---- words ------------------------------------------------------------------------------- */

struct word {
	uint32_t refs;
	char text[];
};

static const char *word_ref(struct queue *q, struct str s)
{
	lock_held(&q->lock);
	struct word *w = map_get(q->words, s);
	if (!w) {
		w = mem_zalloc(sizeof *w + s.n + 1);
		memcpy(w->text, s.p ? s.p : "", s.n);
		map_put(q->words, s, w);
	}
	w->refs++;
	return w->text;
}

static void word_unref(struct queue *q, const char *text)
{
	lock_held(&q->lock);
	struct word *w = text ? map_get(q->words, str_of(text)) : NULL;
	if (w && --w->refs == 0) {
		map_remove(q->words, str_of(text));
		free(w);
	}
}

/* No NUL inside: what a peer says is cut there. */
static struct str until_nul(struct str s)
{
	return str_sub(s, 0, str_find_byte(s, 0));
}

static void reason_set(struct queue *q, struct deferred *d, struct str why)
{
	const char *before = d->last_error;
	d->last_error = word_ref(q, str_sub(until_nul(why), 0, REASON_MAX));
	word_unref(q, before);
}

/* ---- the heap of what is due -------------------------------------------------------------- */

static void heap_put(struct queue *q, uint32_t at, struct deferred *d)
{
	q->due[at] = d;
	d->heap_at = at;
}

static void heap_up(struct queue *q, uint32_t at, struct deferred *d)
{
	for (; at > 0 && q->due[(at - 1) / 2]->next_try_s > d->next_try_s; at = (at - 1) / 2)
		heap_put(q, at, q->due[(at - 1) / 2]);
	heap_put(q, at, d);
}

static void heap_down(struct queue *q, uint32_t at, struct deferred *d)
{
	for (;;) {
		uint32_t child = 2 * at + 1;
		if (child >= q->due_n)
			break;
		if (child + 1 < q->due_n && q->due[child + 1]->next_try_s < q->due[child]->next_try_s)
			child++;
		if (q->due[child]->next_try_s >= d->next_try_s)
			break;
		heap_put(q, at, q->due[child]);
		at = child;
	}
	heap_put(q, at, d);
}

static void heap_add(struct queue *q, struct deferred *d)
{
	lock_held(&q->lock);
	if (q->due_n == q->due_cap) {
		q->due_cap = q->due_cap ? q->due_cap * 2 : 64;
		q->due = mem_resize_array(q->due, q->due_cap, sizeof(struct deferred *));
	}
	heap_up(q, q->due_n++, d);
}

static void heap_remove(struct queue *q, struct deferred *d)
{
	lock_held(&q->lock);
	uint32_t at = d->heap_at;
	if (at == NOT_IN_HEAP)
		return;
	d->heap_at = NOT_IN_HEAP;
	struct deferred *last = q->due[--q->due_n];
	if (last == d)
		return;
	if (at > 0 && q->due[(at - 1) / 2]->next_try_s > last->next_try_s)
		heap_up(q, at, last);
	else
		heap_down(q, at, last);
}

struct deferred *spool_take_due(struct queue *q, int64_t now_s, int64_t *out_next_s)
{
	LOCK_SCOPED(&q->lock);
	*out_next_s = 0;
	if (!q->started || q->stopping || !q->due_n)
		return NULL;
	struct deferred *d = q->due[0];
	*out_next_s = d->next_try_s;
	if ((int64_t)d->next_try_s > now_s)
		return NULL;
	heap_remove(q, d);
	d->busy = true;
	return d;
}

static void attempt_add(struct buf *out, const struct deferred *d, const struct put_off *p)
{
	attempt_encode(out, &(struct attempt){.at_s = (uint32_t)clock_wall_s(),
					      .next_try_s = (uint32_t)p->next_try_s,
					      .number = d->attempts,
					      .warned = d->warned,
					      .mta = p->mta,
					      .reply = str_of(p->why)});
}

/* Not synced, and no reason to fail: it is told, and how long to wait next is guessed from it. */
static void history_append(struct queue *q, const struct deferred *d, const struct put_off *p)
{
	char name[SPOOL_NAME_MAX];
	struct err err = {0};
	BUF_SCOPED b = {0};
	spool_name(name, &d->id, d->action);
	attempt_add(&b, d, p);
	if (d->attempts > ATTEMPTS_KEPT)
		return;
	FD_SCOPED fd = file_openat(q->deferred_fd, name, O_WRONLY | O_APPEND | O_NOFOLLOW, 0);
	if (fd < 0)
		err_sys(&err, "cannot write an attempt into its file");
	if (fd < 0 || !file_write_all(fd, b.p, b.n, &err))
		log_err(LOG_WARN, "queue.history.failed", &err);
}

void spool_again(struct queue *q, struct deferred *d, const struct put_off *p)
{
	if (p->tried) {
		lock_take(&q->lock); /* it is ours, but lists read it */
		d->attempts += d->attempts < UINT16_MAX;
		lock_drop(&q->lock);
		history_append(q, d, p);
	}
	LOCK_SCOPED(&q->lock);
	reason_set(q, d, str_of(p->why));
	d->next_try_s = (uint32_t)p->next_try_s;
}

/* retry_s, twice that, ... at most retry_max_s, give or take a tenth (RFC 5321 4.5.4.1). */
int64_t spool_next_try(const struct queue *q, unsigned attempts)
{
	int64_t wait = q->o.retry_s;
	int64_t most = q->o.retry_max_s ? q->o.retry_max_s : RETRY_MAX_S;
	if (most < wait)
		most = wait;
	for (unsigned k = 1; k < attempts && wait < most; k++)
		wait *= 2;
	if (wait > most)
		wait = most;
	return clock_wall_s() + wait - wait / 10 + (int64_t)(random_u64() % (uint64_t)(wait / 5 + 1));
}

/* ---- writing ----------------------------------------------------------------------------- */

struct writing {
	int fd;
	uint32_t crc;
};

static bool put(struct writing *w, const void *p, size_t n, struct err *err)
{
	w->crc = crc32c(w->crc, p, n);
	return file_write_all(w->fd, p, n, err);
}

static bool put_file(struct writing *w, int from, uint64_t n, struct err *err)
{
	char *chunk = mem_alloc(64 * 1024);
	bool ok = true;
	for (uint64_t at = 0; ok && at < n;) {
		size_t want = n - at < 64 * 1024 ? (size_t)(n - at) : 64 * 1024;
		ok = file_pread_all(from, chunk, want, (off_t)at, err) && put(w, chunk, want, err);
		at += want;
	}
	free(chunk);
	return ok;
}

static bool write_deferred(int fd, const struct item *i, const struct action *const *actions, size_t n,
			   struct str history, struct err *err)
{
	BUF_SCOPED head = {0};
	BUF_SCOPED part = {0};
	ARENA_SCOPED tmp = arena_new();
	struct action *left = arena_array(tmp, n, sizeof *left);
	bool generated = actions[0]->generated.n > 0;
	for (size_t k = 0; k < n; k++) {
		left[k] = *actions[k];
		left[k].generated = STR_NONE;
	}
	/* A generated one has no envelope that fits: the null reverse-path, no recipient. */
	struct envelope e = i->envelope;
	if (generated)
		e = (struct envelope){.id = i->id, .received_us = clock_wall_us(), .origin = ENVELOPE_LOCAL};
	struct str content = generated ? actions[0]->generated : i->content;
	uint64_t side = generated || i->side_fd < 0 ? 0 : i->side_bytes;
	buf_add_bytes(&head, magic, sizeof magic);
	buf_le64(&head, content.n + side);
	plan_encode(&part, &(struct plan){.id = i->id, .actions = left, .n = n});
	buf_le_str(&head, buf_str(&part));
	buf_clear(&part);
	envelope_encode(&part, &e);
	buf_le_str(&head, buf_str(&part));
	struct writing w = {.fd = fd};
	if (!put(&w, head.p, head.n, err) || !put(&w, content.p, content.n, err) ||
	    (side && !put_file(&w, i->side_fd, side, err)))
		return false;
	buf_clear(&part);
	buf_le32(&part, w.crc);
	buf_add(&part, history);
	return file_write_all(fd, part.p, part.n, err);
}

/* Not durable yet: until the next checkpoint. history: of the file that it replaces. */
static bool write_named(struct queue *q, const struct item *i, const struct action *const *actions, size_t n,
			const struct deferred *replaces, struct str history, struct err *err)
{
	char name[SPOOL_NAME_MAX];
	bool durable = replaces != NULL;
	spool_name(name, &i->id, replaces ? replaces->action : actions[0]->number);
	FD_SCOPED fd = file_openat(q->tmp_fd, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0)
		return err_sys(err, "cannot create a file in spool/tmp");
	bool ok = write_deferred(fd, i, actions, n, history, err);
	if (ok && durable && file_fsync(fd) != 0)
		ok = err_sys(err, "cannot sync a deferred message");
	if (ok && file_renameat(q->tmp_fd, name, q->deferred_fd, name) != 0)
		ok = err_sys(err, "cannot name a deferred message");
	if (ok && durable && file_fsync(q->deferred_fd) != 0)
		ok = err_sys(err, "cannot sync spool/deferred");
	if (!ok)
		file_unlinkat(q->tmp_fd, name, 0);
	return ok;
}

static struct deferred *deferred_new(struct queue *q, const struct item *i,
				     const struct action *const *actions, size_t n, uint64_t size)
{
	ARENA_SCOPED tmp = arena_new();
	struct str account = until_nul(actions[0]->account);
	struct deferred *d = mem_zalloc(sizeof *d + account.n + 1);
	memcpy(d->account, account.p ? account.p : "", account.n);
	d->id = i->id;
	d->action = actions[0]->number;
	d->actions_n = (uint32_t)n;
	d->kind = (uint8_t)actions[0]->kind;
	d->size = size;
	d->heap_at = NOT_IN_HEAP;
	d->received_s = (uint32_t)(i->envelope.received_us / 1000000);
	LOCK_SCOPED(&q->lock);
	d->sender = word_ref(q, until_nul(address_str(tmp, i->envelope.reverse_path)));
	reason_set(q, d, STR_NONE);
	return d;
}

void deferred_free(struct queue *q, struct deferred *d)
{
	LOCK_SCOPED(&q->lock);
	word_unref(q, d->sender);
	word_unref(q, d->last_error);
	free(d);
}

static void deferred_enter(struct queue *q, struct deferred *d)
{
	LOCK_SCOPED(&q->lock);
	d->next = q->deferred;
	d->prev = &q->deferred;
	if (d->next)
		d->next->prev = &d->next;
	q->deferred = d;
	q->deferred_n++;
	q->deferred_bytes += d->size;
	if (!d->held && !d->busy)
		heap_add(q, d);
}

static void deferred_leave(struct queue *q, struct deferred *d)
{
	lock_held(&q->lock);
	heap_remove(q, d);
	turn_remove(&d->turn);
	*d->prev = d->next;
	if (d->next)
		d->next->prev = d->prev;
	q->deferred_n--;
	q->deferred_bytes -= d->size;
}

bool spool_defer(struct queue *q, const struct item *i, const struct action *const *actions, size_t n,
		 const struct put_off *p, struct err *err)
{
	BUF_SCOPED history = {0};
	struct deferred *d = deferred_new(q, i, actions, n, i->content.n + i->side_bytes);
	d->attempts = p->tried;
	d->next_try_s = (uint32_t)p->next_try_s;
	if (p->tried)
		attempt_add(&history, d, p);
	if (!write_named(q, i, actions, n, NULL, buf_str(&history), err)) {
		deferred_free(q, d);
		return false;
	}
	lock_take(&q->lock);
	reason_set(q, d, str_of(p->why));
	lock_drop(&q->lock);
	deferred_enter(q, d);
	remote_poke(q);
	return true;
}

/* ---- what is held ------------------------------------------------------------------------ */

static bool marker_write(struct queue *q, const char *name, const char *why, struct err *err)
{
	FD_SCOPED fd = file_openat(q->hold_fd, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0)
		return err_sys(err, "cannot write in spool/hold");
	return file_write_all(fd, why, strlen(why), err) &&
	       (file_fsync(fd) == 0 || err_sys(err, "cannot sync a file in spool/hold"));
}

/* The planner tells postmaster. */
static void tell_soon(struct queue *q)
{
	LOCK_SCOPED(&q->lock);
	q->tell_us = 1;
	cond_signal(&q->work);
}

bool item_is_short(const struct item *i, char why[120])
{
	struct stat st;
	if (i->side_fd < 0 || fstat(i->side_fd, &st) != 0 || (uint64_t)st.st_size >= i->side_bytes)
		return false;
	snprintf(why, 120, "damaged: of its side file %lld of %llu octets are left", (long long)st.st_size,
		 (unsigned long long)i->side_bytes);
	return true;
}

bool spool_put_aside(struct queue *q, const struct item *i, const struct action *a, const char *why,
		     bool tell, struct err *err)
{
	char name[SPOOL_NAME_MAX], ignored[120];
	struct item kept = *i;
	struct stat st;
	spool_name(name, &i->id, a->number);
	if (item_is_short(i, ignored) && fstat(i->side_fd, &st) == 0)
		kept.side_bytes = (uint64_t)st.st_size; /* what is left of it */
	if (!marker_write(q, name, why, err) || !spool_hold_sync(q, err) ||
	    !write_named(q, &kept, &a, 1, NULL, STR_NONE, err))
		return false;
	struct deferred *d = deferred_new(q, i, &a, 1, i->content.n + kept.side_bytes);
	d->held = true;
	d->untold = tell;
	lock_take(&q->lock);
	reason_set(q, d, str_of(why));
	lock_drop(&q->lock);
	deferred_enter(q, d);
	log_event(LOG_ERROR, "queue.held", K_STR(rcpt, a->account), K_CSTR(why, why));
	if (tell)
		tell_soon(q);
	return true;
}

bool spool_split(struct queue *q, struct item *i, const struct plan *planned, struct err *err)
{
	struct deferred *whole = i->deferred;
	for (size_t k = 0; k < planned->n; k++) {
		const struct action *a = &planned->actions[k];
		if (!write_named(q, i, &a, 1, NULL, STR_NONE, err))
			return false;
	}
	if (!spool_sync(q, err) || !outcome_write(q, i, &i->plan.actions[0], ENDED_RETRIED, true, err))
		return false;
	spool_finished(q, whole);
	/* A start that finds the whole file drops the others: they must not have begun by then. */
	if (file_fsync(q->deferred_fd) != 0 || file_fsync(q->done_fd) != 0)
		log_event(LOG_ERROR, "queue.spool.sync_failed", K_INT(errno, errno));
	for (size_t k = 0; k < planned->n; k++) {
		const struct action *a = &planned->actions[k];
		struct deferred *d = deferred_new(q, i, &a, 1, i->content.n);
		d->next_try_s = (uint32_t)clock_wall_s();
		deferred_enter(q, d);
	}
	remote_poke(q);
	return true;
}

bool spool_under_way(struct queue *q, const struct item *i, const struct action *const *actions, size_t n,
		     struct deferred **out, struct err *err)
{
	if (!write_named(q, i, actions, n, NULL, STR_NONE, err))
		return false;
	struct deferred *d = deferred_new(q, i, actions, n, i->content.n + i->side_bytes);
	d->busy = true;
	deferred_enter(q, d);
	*out = d;
	return true;
}

bool spool_shrink(struct queue *q, const struct item *i, const struct action *const *left, size_t n,
		  struct err *err)
{
	struct deferred *d = i->deferred;
	struct err ignored = {0};
	BUF_SCOPED history = {0};
	(void)spool_history(q, &d->id, d->action, &history, &ignored);
	if (!write_named(q, i, left, n, d, buf_str(&history), err))
		return false;
	LOCK_SCOPED(&q->lock);
	d->actions_n = (uint32_t)n;
	return true;
}

/* ---- reading ----------------------------------------------------------------------------- */

static bool parse_head(struct str bytes, struct item *i, uint64_t *out_content, struct scan *rest,
		       struct err *err)
{
	struct str plan, envelope, head;
	struct scan s = scan_of(bytes);
	if (!scan_take(&s, sizeof magic, &head) || memcmp(head.p, magic, sizeof magic) ||
	    !scan_le64(&s, out_content) || !scan_le_str(&s, SPOOL_HEAD_MAX, &plan) ||
	    !scan_le_str(&s, ENVELOPE_BYTES_MAX, &envelope))
		return err_set(err, ERR_CORRUPT, "a deferred file is damaged");
	if (!plan_decode(plan, i->arena, &i->plan, err) ||
	    !envelope_decode(envelope, i->arena, &i->envelope, err))
		return false;
	if (i->plan.n == 0)
		return err_set(err, ERR_CORRUPT, "a deferred file is damaged");
	i->id = i->plan.id;
	*rest = s;
	return true;
}

/* All of it, with its CRC checked. */
static bool read_deferred(int dirfd, const char *name, struct item *i, struct str *out_history,
			  struct err *err)
{
	BUF_SCOPED whole = {0};
	uint64_t content;
	uint32_t crc;
	struct scan s;
	if (!file_read_whole(dirfd, name, SPOOL_HEAD_MAX + ((size_t)2 << 30), &whole, err))
		return false;
	struct str bytes = arena_str(i->arena, buf_str(&whole)), history;
	if (!parse_head(bytes, i, &content, &s, err))
		return false;
	i->content = (struct str){s.p, content};
	if (content > scan_left(&s) || !scan_skip(&s, content) || !scan_le32(&s, &crc) ||
	    crc32c(0, bytes.p, (size_t)(s.p - bytes.p) - 4) != crc)
		return err_set(err, ERR_CORRUPT, "a deferred file is damaged");
	history = scan_rest(&s);
	if (out_history)
		*out_history = history;
	i->bytes = whole.n + 1024;
	return true;
}

/* What stands behind the content, in a file of so many octets with a head of so many. */
static bool read_history(int fd, uint64_t size, uint64_t head, uint64_t content, struct arena *a,
			 struct str *out, struct err *err)
{
	if (content > size || head + 4 > size - content)
		return err_set(err, ERR_CORRUPT, "a deferred file is cut short");
	uint64_t at = head + content + 4, n = size - at;
	if (n > HISTORY_MAX)
		n = HISTORY_MAX;
	char *p = arena_alloc(a, n ? n : 1);
	*out = (struct str){p, n};
	return !n || file_pread_all(fd, p, n, (off_t)at, err);
}

/* The head and the attempts, and whether the file is long enough. */
static bool read_head(int dirfd, const char *name, struct item *i, uint64_t *out_content,
		      struct str *out_history, struct err *err)
{
	FD_SCOPED fd = file_openat(dirfd, name, O_RDONLY | O_NOFOLLOW, 0);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) != 0)
		return err_sys(err, "cannot read a deferred file");
	for (size_t want = HEAD_GUESS;; want *= 8) {
		size_t n = (uint64_t)st.st_size < want ? (size_t)st.st_size : want;
		char *p = arena_alloc(i->arena, n ? n : 1);
		struct scan s;
		if (!file_pread_all(fd, p, n, 0, err))
			return false;
		if (parse_head((struct str){p, n}, i, out_content, &s, err))
			return read_history(fd, (uint64_t)st.st_size, n - scan_left(&s), *out_content,
					    i->arena, out_history, err);
		if (n == (size_t)st.st_size || want > SPOOL_HEAD_MAX)
			return false;
		err_clear(err);
	}
}

bool spool_content(struct queue *q, const struct id *id, uint32_t action, struct buf *out, struct err *err)
{
	char name[SPOOL_NAME_MAX];
	spool_name(name, id, action);
	ARENA_SCOPED a = arena_new();
	struct item i = {.arena = a, .side_fd = -1};
	if (!read_deferred(q->done_fd, name, &i, NULL, err)) {
		if (err->kind != ERR_NOT_FOUND)
			return false;
		err_clear(err);
		if (!read_deferred(q->deferred_fd, name, &i, NULL, err))
			return false;
	}
	copy_head(out, &i, &i.plan.actions[0]);
	buf_add(out, i.content);
	return true;
}

bool spool_history(struct queue *q, const struct id *id, uint32_t action, struct buf *out, struct err *err)
{
	char name[SPOOL_NAME_MAX];
	spool_name(name, id, action);
	ARENA_SCOPED a = arena_new();
	struct item i = {.arena = a, .side_fd = -1};
	uint64_t content;
	struct str history;
	if (!read_head(q->deferred_fd, name, &i, &content, &history, err))
		return false;
	buf_add(out, history);
	return true;
}

bool spool_item(struct queue *q, struct deferred *d, struct item **out, struct err *err)
{
	char name[SPOOL_NAME_MAX];
	spool_name(name, &d->id, d->action);
	struct item *i = item_new(q);
	if (!read_deferred(q->deferred_fd, name, i, NULL, err)) {
		arena_free(i->arena);
		return false;
	}
	i->deferred = d;
	*out = i;
	return true;
}

/* The last attempt says how it stands. */
static void load_attempts(struct queue *q, struct deferred *d, struct str history)
{
	struct scan s = scan_of(history);
	struct attempt last = {0};
	while (attempt_decode(&s, &last))
		;
	/* A torn one, after a power loss, would hide all that come later. */
	if (!scan_end(&s)) {
		char name[SPOOL_NAME_MAX];
		spool_name(name, &d->id, d->action);
		FD_SCOPED fd = file_openat(q->deferred_fd, name, O_WRONLY | O_NOFOLLOW, 0);
		struct stat st;
		if (fd >= 0 && fstat(fd, &st) == 0)
			(void)file_ftruncate(fd, st.st_size - (off_t)scan_left(&s));
	}
	d->attempts = last.number;
	d->warned = last.warned;
	d->next_try_s = last.next_try_s;
	LOCK_SCOPED(&q->lock);
	reason_set(q, d, last.reply);
}

static bool load_head(struct queue *q, const char *name, struct item *i, uint64_t *out_content,
		      struct str *out_history, struct err *err)
{
	if (!q->o.cold)
		return read_head(q->deferred_fd, name, i, out_content, out_history, err);
	bool ok = read_deferred(q->deferred_fd, name, i, out_history, err);
	*out_content = i->content.n;
	return ok;
}

static void load_marker(struct queue *q, struct deferred *d, const char *name)
{
	BUF_SCOPED why = {0};
	struct err err = {0};
	if (!file_read_whole(q->hold_fd, name, WHY_MAX, &why, &err) && err.kind == ERR_NOT_FOUND)
		return;
	d->held = true;
	LOCK_SCOPED(&q->lock);
	if (why.n)
		reason_set(q, d, buf_str(&why));
}

/* Has the journal a plan of it? Then its actions are carried out from there. */
static bool is_planned(struct queue *q, const struct id *id)
{
	for (const struct recovered *r = q->recovered; r; r = r->next)
		if (memcmp(r->plan.id.c, id->c, ID_LEN) == 0)
			return true;
	return false;
}

/* Nobody could try it, list it, or take it away by name. */
static void load_damaged(struct queue *q, const char *name)
{
	if (file_renameat(q->deferred_fd, name, q->damaged_fd, name) != 0)
		log_event(LOG_ERROR, "queue.deferred.stuck", K_CSTR(path, name), K_INT(errno, errno));
	else
		q->damaged_n++;
}

static void load_one(struct queue *q, const char *name, const struct id *id)
{
	ARENA_SCOPED a = arena_new();
	struct item i = {.arena = a, .side_fd = -1};
	struct err bad = {0};
	struct str history = STR_NONE;
	uint64_t content = 0;
	log_context(STR_NONE, id_str(id), STR_NONE);
	bool ok = load_head(q, name, &i, &content, &history, &bad);
	if (!ok && q->o.cold && is_planned(q, id)) {
		log_err(LOG_WARN, "queue.deferred.damaged", &bad); /* it was not synced yet */
		return;
	}
	if (!ok)
		log_err(LOG_ERROR, "queue.deferred.damaged", &bad);
	if (!ok && bad.kind != ERR_CORRUPT)
		return; /* the disk's doing: the next start tries again */
	if (!ok && !i.id.c[0]) { /* not even the head */
		load_damaged(q, name);
		return;
	}
	const struct action **actions = arena_array(a, i.plan.n, sizeof *actions);
	for (size_t k = 0; k < i.plan.n; k++) {
		actions[k] = &i.plan.actions[k];
		note_ended(q, &i.id, actions[k]->number); /* the file is what counts now */
	}
	struct deferred *d = deferred_new(q, &i, actions, i.plan.n, content);
	load_attempts(q, d, history);
	d->damaged = !ok;
	load_marker(q, d, name);
	/* What is due, all at once, would be a burst: spread over a minute. For a mailbox at once: a life
	 * that was killed may have placed it already (queue_settle waits for these). */
	d->loaded = d->kind == ACTION_PLACE;
	int64_t now = clock_wall_s();
	uint64_t spread = 1 + q->deferred_n / 50; /* only many make a burst */
	if (d->loaded)
		d->next_try_s = (uint32_t)now;
	else if (d->next_try_s <= now || d->next_try_s > now + q->o.expire_s)
		d->next_try_s = (uint32_t)(now + (int64_t)(random_u64() % (spread < 60 ? spread : 60)));
	deferred_enter(q, d);
}

/* Parts of a message that is still there whole: its split did not end, and none of them has begun. */
static void drop_parts(struct queue *q)
{
	for (const struct deferred *whole = q->deferred; whole; whole = whole->next) {
		for (struct deferred *d = q->deferred, *next; whole->kind == ACTION_WHOLE && d; d = next) {
			char name[SPOOL_NAME_MAX];
			next = d->next;
			if (d->kind == ACTION_WHOLE || memcmp(d->id.c, whole->id.c, ID_LEN))
				continue;
			spool_name(name, &d->id, d->action);
			file_unlinkat(q->deferred_fd, name, 0);
			lock_take(&q->lock);
			deferred_leave(q, d);
			lock_drop(&q->lock);
			deferred_free(q, d);
		}
	}
}

/* Markers of files that never came to be. After a power loss they may yet, from the journal. */
static void sweep_markers(struct queue *q)
{
	int fd = file_openat(q->hold_fd, ".", O_RDONLY | O_DIRECTORY, 0);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		fd_close(&fd);
		return;
	}
	for (struct dirent *e; (e = readdir(dir));) {
		struct id id;
		uint32_t action;
		if (spool_name_parse(e->d_name, &id, &action) &&
		    faccessat(q->deferred_fd, e->d_name, F_OK, 0) != 0 && errno == ENOENT)
			file_unlinkat(q->hold_fd, e->d_name, 0);
	}
	closedir(dir);
}

/* What brought us down again and again, or cannot be read, is not tried. */
static bool hold_loaded(struct queue *q, struct err *err)
{
	for (struct deferred *d = q->deferred; d; d = d->next) {
		char why[WHY_MAX];
		unsigned crashes = suspicion(q, &d->id);
		if (d->held || (!d->damaged && crashes < HOLD_CRASHES))
			continue;
		if (d->damaged)
			snprintf(why, sizeof why, "damaged: its file in the spool cannot be read");
		else
			snprintf(why, sizeof why, "at work in %u crashes of the queue", crashes);
		if (!spool_hold(q, d, true, why, err) || !spool_hold_sync(q, err))
			return false;
		lock_take(&q->lock);
		heap_remove(q, d);
		lock_drop(&q->lock);
		d->untold = true;
		log_event(LOG_ERROR, "queue.held", K_STR(qid, id_str(&d->id)), K_CSTR(rcpt, d->account),
			  K_CSTR(why, why));
	}
	return true;
}

bool spool_load(struct queue *q, struct err *err)
{
	int fd = file_openat(q->deferred_fd, ".", O_RDONLY | O_DIRECTORY, 0);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		fd_close(&fd);
		return err_sys(err, "cannot read spool/deferred");
	}
	for (struct dirent *e; (e = readdir(dir));) {
		struct id id;
		uint32_t action;
		if (spool_name_parse(e->d_name, &id, &action))
			load_one(q, e->d_name, &id);
	}
	closedir(dir);
	log_context_clear();
	drop_parts(q);
	if (!q->o.cold)
		sweep_markers(q);
	return hold_loaded(q, err);
}

/* ---- afterwards -------------------------------------------------------------------------- */

void spool_finished(struct queue *q, struct deferred *d)
{
	char name[SPOOL_NAME_MAX];
	spool_name(name, &d->id, d->action);
	if (file_renameat(q->deferred_fd, name, q->done_fd, name) != 0)
		log_event(LOG_ERROR, "queue.deferred.stuck", K_CSTR(path, name), K_INT(errno, errno));
	lock_take(&q->lock);
	deferred_leave(q, d);
	if (d->held)
		file_unlinkat(q->hold_fd, name, 0);
	for (struct item *i = q->items; i; i = i->next) {
		if (i->deferred == d)
			i->deferred = NULL;
	}
	lock_drop(&q->lock);
	deferred_free(q, d);
}

void spool_unreadable(struct queue *q, struct deferred *d, const struct err *why, int64_t next_try_s)
{
	char text[WHY_MAX];
	struct err err = {0};
	log_err(LOG_ERROR, "queue.deferred.damaged", why);
	if (why->kind == ERR_CORRUPT || why->kind == ERR_NOT_FOUND) {
		snprintf(text, sizeof text, "damaged: its file in the spool cannot be read (%s)", why->text);
		if (!spool_hold(q, d, true, text, &err) || !spool_hold_sync(q, &err))
			log_err(LOG_ERROR, "queue.hold.failed", &err);
		log_event(LOG_ERROR, "queue.held", K_CSTR(rcpt, d->account), K_CSTR(why, text));
		lock_take(&q->lock);
		d->untold = d->damaged = true;
		lock_drop(&q->lock);
		tell_soon(q);
	}
	LOCK_SCOPED(&q->lock);
	d->next_try_s = (uint32_t)next_try_s;
	spool_released(q, d);
}

bool spool_keep_record(struct queue *q, const struct id *id, struct str record, int side_fd, struct err *err)
{
	char name[SPOOL_NAME_MAX];
	struct stat st = {0};
	snprintf(name, sizeof name, "%.*s.record", ID_LEN, id->c);
	FD_SCOPED fd = file_openat(q->damaged_fd, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	struct writing w = {.fd = fd};
	if (fd < 0 || (side_fd >= 0 && fstat(side_fd, &st) != 0))
		return err_sys(err, "cannot write in spool/damaged");
	if (!put(&w, record.p, record.n, err) ||
	    (side_fd >= 0 && !put_file(&w, side_fd, (uint64_t)st.st_size, err)))
		return false;
	if (file_fsync(fd) != 0 || file_fsync(q->damaged_fd) != 0)
		return err_sys(err, "cannot sync spool/damaged");
	lock_take(&q->lock);
	q->damaged_n++;
	lock_drop(&q->lock);
	tell_soon(q);
	return true;
}

static bool tell_of(struct queue *q, const struct held *h)
{
	struct err err = {0};
	if (held_tell(q, h, &err))
		return true;
	log_err(LOG_WARN, "queue.notice.failed", &err);
	return false;
}

bool spool_tell_held(struct queue *q)
{
	char why[WHY_MAX];
	if (q->damaged_n) {
		snprintf(why, sizeof why, "%llu messages that cannot be read were moved to spool/damaged",
			 (unsigned long long)q->damaged_n);
		if (!tell_of(q, &(struct held){STR("?"), "?", "?", why}))
			return false;
		q->damaged_n = 0;
	}
	for (;;) {
		ARENA_SCOPED tmp = arena_new();
		lock_take(&q->lock);
		struct deferred *d = q->deferred;
		while (d && !d->untold)
			d = d->next;
		struct id id = d ? d->id : (struct id){0};
		uint32_t action = d ? d->action : 0;
		struct held h = {STR_NONE, "", "", ""};
		if (d) {
			h.id = id_str(&id);
			h.sender = arena_cstr(tmp, str_of(d->sender));
			h.recipient = arena_cstr(tmp, str_of(d->account));
			h.why = arena_cstr(tmp, str_of(d->last_error));
		}
		lock_drop(&q->lock);
		if (!h.id.n)
			return true;
		if (!tell_of(q, &h))
			return false;
		LOCK_SCOPED(&q->lock);
		for (d = q->deferred; d; d = d->next)
			d->untold = d->untold && (d->action != action || memcmp(d->id.c, id.c, ID_LEN));
	}
}

void spool_released(struct queue *q, struct deferred *d)
{
	lock_held(&q->lock);
	d->busy = d->loaded = false;
	turn_remove(&d->turn);
	if (!d->held && d->heap_at == NOT_IN_HEAP)
		heap_add(q, d);
}

void spool_put_back(struct queue *q, struct deferred *d, const struct put_off *p)
{
	spool_again(q, d, p);
	LOCK_SCOPED(&q->lock);
	spool_released(q, d);
}

void spool_walk(struct queue *q, bool (*fn)(void *ctx, struct deferred *d), void *ctx)
{
	enum { AT_ONCE = 2000 };
	struct deferred *mark = mem_zalloc(sizeof *mark + 1);
	bool more = true;
	lock_take(&q->lock);
	struct deferred *d = q->deferred;
	while (d && more) {
		for (size_t n = 0; d && more && n < AT_ONCE; n++, d = d->next)
			more = !d->kind || fn(ctx, d);
		if (!d || !more)
			break;
		/* A mark of ours keeps the place. */
		mark->prev = d->prev;
		mark->next = d;
		*mark->prev = mark;
		d->prev = &mark->next;
		lock_drop(&q->lock);
		lock_take(&q->lock);
		d = mark->next;
		*mark->prev = d;
		if (d)
			d->prev = mark->prev;
	}
	lock_drop(&q->lock);
	free(mark);
}

bool spool_claim(struct queue *q, struct deferred *d)
{
	lock_held(&q->lock);
	if (d->busy)
		return false;
	heap_remove(q, d);
	turn_remove(&d->turn);
	d->busy = true;
	return true;
}

bool spool_hold(struct queue *q, struct deferred *d, bool hold, const char *why, struct err *err)
{
	char name[SPOOL_NAME_MAX];
	spool_name(name, &d->id, d->action);
	if (hold) {
		if (!marker_write(q, name, why ? why : d->last_error, err))
			return false;
	} else if (file_unlinkat(q->hold_fd, name, 0) != 0 && errno != ENOENT) {
		return err_sys(err, "cannot remove from spool/hold");
	}
	LOCK_SCOPED(&q->lock);
	d->held = hold;
	if (why)
		reason_set(q, d, str_of(why));
	return true;
}

bool spool_hold_sync(struct queue *q, struct err *err)
{
	return file_fsync(q->hold_fd) == 0 || err_sys(err, "cannot sync spool/hold");
}

void spool_sweep_begin(struct queue *q, struct buf *names)
{
	int fd = file_openat(q->done_fd, ".", O_RDONLY | O_DIRECTORY, 0);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		fd_close(&fd);
		return;
	}
	for (struct dirent *e; (e = readdir(dir));) {
		struct id id;
		uint32_t action;
		if (spool_name_parse(e->d_name, &id, &action))
			buf_le_str(names, str_of(e->d_name));
	}
	closedir(dir);
}

void spool_sweep(struct queue *q, struct str names)
{
	struct scan s = scan_of(names);
	struct str name;
	while (scan_le_str(&s, SPOOL_NAME_MAX, &name)) {
		char text[SPOOL_NAME_MAX + 1];
		snprintf(text, sizeof text, "%.*s", STR_ARG(name));
		file_unlinkat(q->done_fd, text, 0);
	}
}
