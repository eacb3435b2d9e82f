/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * net/pending.h: one answer that a parked session waits for.
 *
 * What is asked gets pending_done() and the pending as its callback; it stores the outcome and wakes the
 * session, or finds that the session has gone. Each side lets go on its own, in any order.
 */
#pragma once
#include "base/err.h"

struct conn;
struct pending;

struct pending *pending_new(struct conn *c);            /* two holders: the session and the callback */
/* release(ctx) is called once neither side holds it any more: for what the asked one still uses
 * although the session has gone. */
void pending_release(struct pending *p, void (*release)(void *ctx), void *ctx);
void pending_done(void *pending,
		  const struct err *err); /* the callback: exactly once, any thread; err NULL: fine */
/* The session: has it come? Then *out is the outcome (kind ERR_NONE: fine). */
bool pending_ready(struct pending *p, struct err *out);
void pending_drop(struct pending *p);                   /* the session's hold; accepts NULL */
void pending_unasked(struct pending *p);                /* the callback will not come: both holds */
