/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * spool/deferred: a file for each action that could not be done now, named "<id>-<action>":
 *
 *   "PABALD1\n", length u32, plan with that one action, length u32, envelope, content
 *
 * Written in spool/tmp, synced with both names before the OUTCOME that ends the action in the
 * journal. When it has been done after all, its DONE is made durable, then the file moves to
 * spool/done, and goes with the next checkpoint: so a crash finds either the file in deferred (and
 * the store adopts what is placed already) or a durable DONE, and in done/ the content to repair it.
 */
#include "queue/queue_int.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SPOOL_NAME_MAX = 40, SPOOL_HEAD_MAX = 32 * 1024 * 1024, RETRY_MAX_S = 3600 };
static const char magic[8] = "PABALD1\n";

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
	static const char *const names[] = {"deferred", "done", "tmp"};
	int *const fds[] = {&q->deferred_fd, &q->done_fd, &q->tmp_fd};
	for (int k = 0; k < 3; k++) {
		if (file_mkdirat(q->o.spool_fd, names[k], 0700) != 0 && errno != EEXIST)
			return err_sys(err, "cannot create spool/%s", names[k]);
		*fds[k] = file_openat(q->o.spool_fd, names[k], O_RDONLY | O_DIRECTORY, 0);
		if (*fds[k] < 0)
			return err_sys(err, "cannot open spool/%s", names[k]);
	}
	return true;
}

/* ---- writing ---------------------------------------------------------------------------- */

static bool copy_file(int to, int from, uint64_t n, struct err *err)
{
	char *chunk = mem_alloc(64 * 1024);
	bool ok = true;
	for (uint64_t at = 0; ok && at < n;) {
		size_t want = n - at < 64 * 1024 ? (size_t)(n - at) : 64 * 1024;
		ok = file_pread_all(from, chunk, want, (off_t)at, err) &&
		     file_write_all(to, chunk, want, err);
		at += want;
	}
	free(chunk);
	return ok;
}

static bool write_deferred(int fd, const struct item *i, const struct action *a, struct err *err)
{
	BUF_SCOPED head = {0};
	BUF_SCOPED part = {0};
	struct action one = *a;
	one.generated = STR_NONE;
	/* A generated one has no envelope that fits: the null reverse-path, no recipient. */
	struct envelope e = i->envelope;
	if (a->generated.n)
		e = (struct envelope){
			.id = i->id, .received_us = clock_wall_us(), .origin = ENVELOPE_LOCAL};
	buf_add_bytes(&head, magic, sizeof magic);
	plan_encode(&part, &(struct plan){.id = i->id, .actions = &one, .n = 1});
	buf_le_str(&head, buf_str(&part));
	buf_clear(&part);
	envelope_encode(&part, &e);
	buf_le_str(&head, buf_str(&part));
	struct str content = a->generated.n ? a->generated : i->content;
	return file_write_all(fd, head.p, head.n, err) && file_write_all(fd, content.p, content.n, err) &&
	       (a->generated.n || i->side_fd < 0 || copy_file(fd, i->side_fd, i->side_bytes, err));
}

static struct deferred *deferred_new(const struct id *id, const struct action *a,
				     const struct envelope *e, uint64_t size)
{
	ARENA_SCOPED tmp = arena_new();
	struct deferred *d = mem_new(struct deferred);
	d->id = *id;
	d->action = a->number;
	d->kind = a->kind;
	d->size = size;
	d->received_s = e->received_us / 1000000;
	const char *account = arena_cstr(tmp, a->account);
	const char *sender = arena_cstr(tmp, address_str(tmp, e->reverse_path));
	d->account = mem_cstr(account ? account : "");
	d->sender = mem_cstr(sender ? sender : "");
	d->last_error = mem_cstr("");
	return d;
}

void deferred_free(struct deferred *d)
{
	free(d->account);
	free(d->sender);
	free(d->last_error);
	free(d);
}

static void deferred_enter(struct queue *q, struct deferred *d)
{
	LOCK_SCOPED(&q->lock);
	d->next = q->deferred;
	q->deferred = d;
}

bool spool_defer(struct queue *q, struct item *i, const struct action *a, const struct err *why,
		 struct err *err)
{
	char name[SPOOL_NAME_MAX];
	spool_name(name, &i->id, a->number);
	FD_SCOPED fd = file_openat(q->tmp_fd, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0)
		return err_sys(err, "cannot create a file in spool/tmp");
	bool ok = write_deferred(fd, i, a, err);
	if (ok && file_fsync(fd) != 0)
		ok = err_sys(err, "cannot sync a deferred message");
	if (ok && file_renameat(q->tmp_fd, name, q->deferred_fd, name) != 0)
		ok = err_sys(err, "cannot name a deferred message");
	if (ok && file_fsync(q->deferred_fd) != 0)
		ok = err_sys(err, "cannot sync spool/deferred");
	if (!ok) {
		file_unlinkat(q->tmp_fd, name, 0);
		return false;
	}
	struct deferred *d = deferred_new(&i->id, a, &i->envelope, i->content.n + i->side_bytes);
	free(d->last_error);
	d->last_error = mem_cstr(why->text);
	d->attempts = 1;
	d->next_try_s = clock_wall_s() + q->o.retry_s;
	deferred_enter(q, d);
	return true;
}

/* ---- reading ---------------------------------------------------------------------------- */

static bool read_deferred(int dirfd, const char *name, struct item *i, struct err *err)
{
	BUF_SCOPED whole = {0};
	struct str plan, envelope, head;
	if (!file_read_whole(dirfd, name, SPOOL_HEAD_MAX + ((size_t)2 << 30), &whole, err))
		return false;
	struct scan s = scan_of(arena_str(i->arena, buf_str(&whole)));
	if (!scan_take(&s, sizeof magic, &head) || memcmp(head.p, magic, sizeof magic) ||
	    !scan_le_str(&s, SPOOL_HEAD_MAX, &plan) || !scan_le_str(&s, ENVELOPE_BYTES_MAX, &envelope))
		return err_set(err, ERR_CORRUPT, "a deferred file is damaged");
	if (!plan_decode(plan, i->arena, &i->plan, err) ||
	    !envelope_decode(envelope, i->arena, &i->envelope, err))
		return false;
	if (i->plan.n != 1)
		return err_set(err, ERR_CORRUPT, "a deferred file is damaged");
	i->id = i->plan.id;
	i->content = scan_rest(&s);
	i->bytes = whole.n + 1024;
	return true;
}

bool spool_content(struct queue *q, const struct id *id, uint32_t action, struct buf *out,
		   struct err *err)
{
	char name[SPOOL_NAME_MAX];
	spool_name(name, id, action);
	ARENA_SCOPED a = arena_new();
	struct item i = {.arena = a, .side_fd = -1};
	if (!read_deferred(q->done_fd, name, &i, err)) {
		if (err->kind != ERR_NOT_FOUND)
			return false;
		err_clear(err);
		if (!read_deferred(q->deferred_fd, name, &i, err))
			return false;
	}
	copy_head(out, &i, &i.plan.actions[0]);
	buf_add(out, i.content);
	return true;
}

bool spool_item(struct queue *q, struct deferred *d, struct item **out, struct err *err)
{
	char name[SPOOL_NAME_MAX];
	spool_name(name, &d->id, d->action);
	struct item *i = item_new(q);
	if (!read_deferred(q->deferred_fd, name, i, err)) {
		arena_free(i->arena);
		return false;
	}
	i->deferred = d;
	*out = i;
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
		struct err bad = {0};
		if (!spool_name_parse(e->d_name, &id, &action))
			continue;
		ARENA_SCOPED a = arena_new();
		struct item i = {.arena = a, .side_fd = -1};
		if (!read_deferred(q->deferred_fd, e->d_name, &i, &bad)) {
			log_err(LOG_ERROR, "queue.deferred.damaged", &bad);
			continue;
		}
		note_ended(q, &id, action); /* a crash before its OUTCOME: the file is what counts */
		deferred_enter(q, deferred_new(&id, &i.plan.actions[0], &i.envelope, i.content.n));
	}
	closedir(dir);
	return true;
}

/* ---- afterwards ------------------------------------------------------------------------- */

void spool_finished(struct queue *q, struct deferred *d)
{
	char name[SPOOL_NAME_MAX];
	spool_name(name, &d->id, d->action);
	if (file_renameat(q->deferred_fd, name, q->done_fd, name) != 0)
		log_event(LOG_ERROR, "queue.deferred.stuck", K_CSTR(path, name), K_INT(errno, errno));
	lock_take(&q->lock);
	for (struct deferred **at = &q->deferred; *at; at = &(*at)->next) {
		if (*at == d) {
			*at = d->next;
			break;
		}
	}
	for (struct item *i = q->items; i; i = i->next) {
		if (i->deferred == d)
			i->deferred = NULL;
	}
	lock_drop(&q->lock);
	deferred_free(d);
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

/* Attempts get rarer: retry_s, twice that, ... at most an hour. */
static int64_t next_wait(const struct queue *q, unsigned attempts)
{
	int64_t wait = q->o.retry_s;
	for (unsigned k = 1; k < attempts && wait < RETRY_MAX_S; k++)
		wait *= 2;
	return wait > RETRY_MAX_S && q->o.retry_s < RETRY_MAX_S ? RETRY_MAX_S : wait;
}

static struct deferred *take_due(struct queue *q)
{
	int64_t now = clock_wall_s();
	LOCK_SCOPED(&q->lock);
	if (!q->started || q->stopping || q->items_n >= ITEMS_MAX)
		return NULL;
	for (struct deferred *d = q->deferred; d; d = d->next) {
		bool expired = now - d->received_s > q->o.expire_s;
		if (d->busy || d->next_try_s > now || (d->kind == ACTION_REMOTE && !expired))
			continue;
		d->busy = true;
		d->attempts++;
		d->next_try_s = now + next_wait(q, d->attempts);
		return d;
	}
	return NULL;
}

void spool_retry_due(struct queue *q)
{
	for (struct deferred *d; (d = take_due(q));) {
		struct item *i;
		struct err err = {0};
		if (!spool_item(q, d, &i, &err)) {
			log_err(LOG_ERROR, "queue.deferred.damaged", &err);
			LOCK_SCOPED(&q->lock);
			d->busy = false;
			continue;
		}
		item_enter(q, i, 0);
		item_dispatch(q, i);
	}
}
