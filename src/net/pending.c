/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* net/pending.c: a counted outcome under a lock of its own. */
#include "net/pending.h"
#include "base/lock.h"
#include "base/mem.h"
#include "net/conn.h"
#include <stdlib.h>

struct pending {
	struct lock lock;
	unsigned holds;    /* guarded by lock, as are the next three */
	bool done;
	bool gone;         /* the session let go */
	struct err err;
	struct conn *conn; /* counted */
	void (*release)(void *ctx);
	void *release_ctx;
};

struct pending *pending_new(struct conn *c)
{
	struct pending *p = mem_new(struct pending);

	lock_init(&p->lock, LOCK_LEAF);
	p->holds = 2;
	p->conn = conn_ref(c);
	return p;
}

static void let_go(struct pending *p, unsigned holds)
{
	lock_take(&p->lock);
	p->holds -= holds;
	bool last = p->holds == 0;
	lock_drop(&p->lock);
	if (!last)
		return;
	if (p->release)
		p->release(p->release_ctx);
	conn_unref(p->conn);
	lock_fini(&p->lock);
	free(p);
}

void pending_release(struct pending *p, void (*release)(void *ctx), void *ctx)
{
	p->release = release;
	p->release_ctx = ctx;
}

void pending_done(void *pending, const struct err *err)
{
	struct pending *p = pending;

	lock_take(&p->lock);
	p->done = true;
	if (err)
		p->err = *err;
	bool wake = !p->gone;
	lock_drop(&p->lock);
	if (wake)
		conn_wake(p->conn);
	let_go(p, 1);
}

bool pending_ready(struct pending *p, struct err *out)
{
	LOCK_SCOPED(&p->lock);
	if (p->done)
		*out = p->err;
	return p->done;
}

void pending_drop(struct pending *p)
{
	if (!p)
		return;
	lock_take(&p->lock);
	p->gone = true;
	lock_drop(&p->lock);
	let_go(p, 1);
}

void pending_unasked(struct pending *p) { let_go(p, 2); }
