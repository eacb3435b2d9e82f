/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/thread.h: messages gathered into threads: ORDEREDSUBJECT and REFERENCES (RFC 5256 3), and REFS
 * (draft-ietf-morg-inthread: REFERENCES without looking at subjects; the thread with the newest
 * message last).
 *
 * Whatever the references say, work is about linear and memory bounded: of one message the last
 * THREAD_REFERENCES_MAX are looked at, and there are not many more ids of messages that are missing
 * than messages. No function here calls itself.
 */
#pragma once
#include "base/buf.h"
#include "base/map.h"
#include "imap/search.h"
#include "mime/summary.h"

enum { THREAD_REFERENCES_MAX = 64, THREAD_MISSING_MORE = 10000, THREAD_CLIMB_MAX = 1000 };

struct thread_node;
struct threading {
	enum thread_algorithm algorithm;
	bool uid;                   /* numbers written are UIDs */
	struct arena *a;
	struct map *ids;            /* Message-ID to node; heap */
	struct thread_node **nodes; /* all of them */
	size_t n, cap, real;
	struct thread_node **roots;
	size_t roots_n, roots_cap;
};
void threading_init(struct threading *t, enum thread_algorithm algorithm, bool uid, struct arena *a);
void threading_fini(struct threading *t);
void threading_add(struct threading *t, uint32_t seq, uint32_t uid, int64_t internaldate,
		   const struct summary *sum);
/* After the last one. "(1)(2 (3)(4))" */
void threading_write(struct threading *t, struct buf *out);
