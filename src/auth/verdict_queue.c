/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "auth/verdict_queue.h"
#include "base/map.h"
#include "base/mem.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { TURNS = 5 };

struct network_line {
	struct network_line *next;
	struct verdict_job *first, *last;
	unsigned n;
};

/* ---- jobs ---- */

static struct str put(char **at, struct str s)
{
	struct str copy = {*at, s.n};
	if (s.n)
		memcpy(*at, s.p, s.n);
	*at += s.n;
	return copy;
}

struct verdict_job *verdict_job_new(const struct verdict_request *r)
{
	struct verdict_job *j = mem_zalloc(sizeof *j + r->account.n + r->network.n + r->stored.n);
	char *at = (char *)(j + 1);
	j->tag = r->tag;
	j->account = put(&at, r->account);
	j->network = put(&at, r->network);
	j->stored = put(&at, r->stored);
	j->password = secret_of(r->password);
	return j;
}

void verdict_job_free(struct verdict_job *j)
{
	secret_free(&j->password);
	secret_wipe(j, sizeof *j + j->account.n + j->network.n + j->stored.n);
	free(j);
}

/* ---- one class ---- */

static void class_append(struct verdict_class *c, struct network_line *line)
{
	line->next = NULL;
	*(c->last ? &c->last->next : &c->first) = line;
	c->last = line;
}

static void class_add(struct verdict_class *c, struct verdict_job *j)
{
	struct network_line *line = map_get(c->networks, j->network);
	if (!line) {
		line = mem_zalloc(sizeof *line);
		map_put(c->networks, j->network, line);
		class_append(c, line);
	}
	j->next = NULL;
	*(line->last ? &line->last->next : &line->first) = j;
	line->last = j;
	line->n++;
}

/* The first job of the network whose turn it is; the network goes to the end. */
static struct verdict_job *class_take(struct verdict_class *c)
{
	struct network_line *line = c->first;
	if (!line)
		return NULL;
	c->first = line->next;
	if (!c->first)
		c->last = NULL;
	struct verdict_job *j = line->first;
	line->first = j->next;
	if (--line->n) {
		class_append(c, line);
	} else {
		map_remove(c->networks, j->network);
		free(line);
	}
	return j;
}

/* ---- both ---- */

void verdict_queue_init(struct verdict_queue *q)
{
	*q = (struct verdict_queue){0};
	q->known.networks = map_new();
	q->others.networks = map_new();
}

void verdict_queue_fini(struct verdict_queue *q)
{
	assert(q->n == 0);
	map_free(q->known.networks);
	map_free(q->others.networks);
}

unsigned verdict_queue_of_network(const struct verdict_queue *q, struct str network)
{
	const struct network_line *a = map_get(q->known.networks, network),
				  *b = map_get(q->others.networks, network);
	return (a ? a->n : 0) + (b ? b->n : 0);
}

void verdict_queue_add(struct verdict_queue *q, struct verdict_job *j, bool known)
{
	class_add(known ? &q->known : &q->others, j);
	q->n++;
}

struct verdict_job *verdict_queue_take(struct verdict_queue *q)
{
	bool others_first = ++q->turn % TURNS == 0;
	struct verdict_class *a = others_first ? &q->others : &q->known,
			     *b = others_first ? &q->known : &q->others;
	struct verdict_job *j = class_take(a);
	if (!j)
		j = class_take(b);
	if (j)
		q->n--;
	return j;
}
