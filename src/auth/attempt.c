/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* auth/attempt.c: counted; each question under way holds the attempt and its connection. */
#include "auth/attempt.h"
#include "base/buf.h"
#include "base/lock.h"
#include "base/mem.h"
#include "base/secret.h"
#include "net/conn.h"
#include <stdlib.h>

struct attempt {
	struct lock lock;
	unsigned holds;             /* guarded by lock, as are the next four */
	bool gone;                  /* the session let go */
	bool answered;
	struct auth_result result;  /* strings point into text */
	struct buf text;
	const struct auth_client *auth;
	struct conn *conn;          /* counted */
	uint64_t number;            /* of auth; the session's worker only */
	bool open;                  /* begun and not decided */
};

struct attempt *attempt_new(struct conn *c, const struct auth_client *auth)
{
	struct attempt *a = mem_new(struct attempt);

	lock_init(&a->lock, LOCK_LEAF);
	a->holds = 1;
	a->auth = auth;
	a->conn = conn_ref(c);
	return a;
}

static void let_go(struct attempt *a)
{
	lock_take(&a->lock);
	bool last = --a->holds == 0;
	lock_drop(&a->lock);
	if (!last)
		return;
	conn_unref(a->conn);
	secret_wipe(a->text.p, a->text.n);
	buf_free(&a->text);
	lock_fini(&a->lock);
	free(a);
}

/* Keeps the strings of a result, one behind the other. */
static void keep(struct attempt *a, const struct auth_result *r)
{
	struct str *s[] = {&a->result.data, &a->result.account, &a->result.user, &a->result.ticket,
			   &a->result.why};
	size_t at[5];

	a->result = *r;
	buf_clear(&a->text);
	for (size_t i = 0; i < 5; i++) {
		at[i] = a->text.n;
		buf_add(&a->text, *s[i]);
	}
	for (size_t i = 0; i < 5; i++)
		s[i]->p = a->text.p ? a->text.p + at[i] : NULL;
}

static void on_answer(void *ctx, const struct auth_result *r)
{
	struct attempt *a = ctx;

	lock_take(&a->lock);
	bool wake = !a->gone;
	if (wake) {
		keep(a, r);
		a->answered = true;
	}
	lock_drop(&a->lock);
	if (wake)
		conn_wake(a->conn);
	let_go(a);
}

static void ask(struct attempt *a)
{
	LOCK_SCOPED(&a->lock);
	a->holds++;
	a->answered = false;
	a->open = true;
}

void attempt_begin(struct attempt *a, struct str mechanism, const struct str *initial)
{
	ask(a);
	a->number = a->auth->begin(a->auth->ctx, a->conn, mechanism, initial, on_answer, a);
}

void attempt_begin_for(struct attempt *a, const struct auth_origin *origin, struct str mechanism,
		       const struct str *initial)
{
	ask(a);
	a->number = a->auth->begin_for(a->auth->ctx, a->conn, origin, mechanism, initial, on_answer, a);
}

void attempt_step(struct attempt *a, struct str response)
{
	ask(a);
	a->auth->step(a->auth->ctx, a->number, response, on_answer, a);
}

bool attempt_answer(struct attempt *a, struct auth_result *out)
{
	LOCK_SCOPED(&a->lock);
	if (!a->answered)
		return false;
	*out = a->result;
	a->open = out->outcome == AUTH_CHALLENGE;
	return true;
}

void attempt_free(struct attempt *a)
{
	if (!a)
		return;
	lock_take(&a->lock);
	a->gone = true;
	lock_drop(&a->lock);
	if (a->open)
		a->auth->cancel(a->auth->ctx, a->number);
	let_go(a);
}
