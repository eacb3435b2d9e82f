/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Remote delivery: the thread.
 *
 * It owns all destinations and units (dest.c, unit.c) and the shapes: others hand it units (one message's
 * recipients in one domain), answers of dns and results of relay through a list.
 */
#include "queue/remote_int.h"

#include "base/clock.h"
#include "base/embed.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

enum {
	SAVE_US = 10 * 1000000, /* the state of the shapes is written so often at most */
	SHAPING_MAX = 4 << 20,
};

/* ---- input ------------------------------------------------------------------------------- */

void remote_input(struct remote *r, struct input in)
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
	struct unit *u = unit_new(q, i, actions, n);
	remote_input(q->remote, (struct input){.kind = INPUT_UNIT, .unit = u});
}

void remote_release(struct queue *q)
{
	if (q->remote)
		remote_input(q->remote, (struct input){.kind = INPUT_RELEASE});
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
		remote_input(q->remote, (struct input){.kind = INPUT_RETRY});
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
		if (in->route.why)
			in->route.why = in->why;
		dest_routed(r, in->dest, &in->route, in->hosts);
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
		dest_status(r, in->status->out);
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
		journal_hurry(r->q->journal);
		int64_t wake = INT64_MAX;
		units_again(r, &wake);
		dest_take_due(r, &wake);
		dest_begin_ready(r, &wake);
		release_slow(r, &wake);
		shapes_write_when_due(r, &wake);
		dest_forget(r);
		habits_save(r->q);
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
	r->dests_by_key = map_new();
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
	while (r->dests)
		dest_free(r, r->dests);
	while (r->later) {
		struct unit *u = r->later;
		r->later = u->next;
		unit_free(u);
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
	map_free(r->dests_by_key);
	cond_fini(&r->work);
	cond_fini(&r->answered);
	buf_free(&r->saved);
	lock_fini(&r->lock);
	free(r);
	q->remote = NULL;
}

