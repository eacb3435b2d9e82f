/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * auth/verdict_queue.h: requests that wait, one list per network, networks taking turns. Two classes:
 * owners at a known network go first, but every fifth turn belongs to the others. Inside auth/
 * only; not locked.
 */
#pragma once
#include "auth/verdict.h"
#include "base/secret.h"

struct verdict_job {
	struct verdict_job *next;
	uint64_t tag;
	uint64_t print;
	int64_t began_us;
	struct str account, network, stored; /* behind the structure, one allocation */
	struct secret password;
	unsigned char cache_key[32];
};
struct verdict_job *verdict_job_new(const struct verdict_request *r);
void verdict_job_free(struct verdict_job *j); /* wipes */

struct verdict_class {
	struct map *networks;                 /* struct network_line */
	struct network_line *first, *last;    /* whose turn it is */
};
struct verdict_queue {
	struct verdict_class known, others;
	unsigned turn;
	unsigned n;
};
void verdict_queue_init(struct verdict_queue *q);
void verdict_queue_fini(struct verdict_queue *q); /* must be empty */
unsigned verdict_queue_of_network(const struct verdict_queue *q, struct str network);
void verdict_queue_add(struct verdict_queue *q, struct verdict_job *j, bool known);
struct verdict_job *verdict_queue_take(struct verdict_queue *q); /* NULL: empty */
