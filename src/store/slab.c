/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Chunks of 16 KiB at multiples of their size, one size of object each: the chunk of an object, and
 * through it the slab, is found from its address. An empty chunk goes back to the heap. Sanitized
 * builds use the heap for each object, so that mistakes are seen.
 */
#include "store/slab.h"
#include "base/mem.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 16 << 10 };

struct slab_chunk {
	struct slab *slab;
	struct slab_chunk *prev, *next; /* in partial, while it has room */
	void *free;                     /* list through the objects */
	unsigned used, room, class;
};

void slab_init(struct slab *s)
{
	*s = (struct slab){0};
	lock_init(&s->lock, LOCK_LEAF);
}

void slab_fini(struct slab *s)
{
	lock_fini(&s->lock);
}

#ifdef PABAL_SANITIZED

void *slab_alloc(struct slab *s, size_t size)
{
	(void)s;
	return mem_zalloc(size);
}

void slab_free(void *p, size_t size)
{
	(void)size;
	free(p);
}

#else

static void push(struct slab *s, struct slab_chunk *c)
{
	c->prev = NULL;
	c->next = s->partial[c->class];
	if (c->next)
		c->next->prev = c;
	s->partial[c->class] = c;
}

static void unlink_chunk(struct slab *s, struct slab_chunk *c)
{
	*(c->prev ? &c->prev->next : &s->partial[c->class]) = c->next;
	if (c->next)
		c->next->prev = c->prev;
}

static struct slab_chunk *chunk_new(struct slab *s, unsigned class)
{
	struct slab_chunk *c = aligned_alloc(CHUNK, CHUNK);
	size_t size = (class + 1) * SLAB_STEP;
	size_t head = (sizeof(*c) + SLAB_STEP - 1) / SLAB_STEP * SLAB_STEP;

	if (!c)
		mem_exhausted();
	*c = (struct slab_chunk){.slab = s, .class = class};
	for (size_t at = head; at + size <= CHUNK; at += size) {
		void *object = (char *)c + at;
		memcpy(object, &c->free, sizeof(void *));
		c->free = object;
		c->room++;
	}
	push(s, c);
	return c;
}

void *slab_alloc(struct slab *s, size_t size)
{
	if (size == 0 || size > SLAB_MAX)
		return mem_zalloc(size);

	unsigned class = (unsigned)((size - 1) / SLAB_STEP);
	lock_take(&s->lock);
	struct slab_chunk *c = s->partial[class];
	if (!c)
		c = chunk_new(s, class);
	void *p = c->free;
	memcpy(&c->free, p, sizeof(void *));
	if (++c->used == c->room)
		unlink_chunk(s, c);
	lock_drop(&s->lock);
	return memset(p, 0, size);
}

void slab_free(void *p, size_t size)
{
	if (!p || size == 0 || size > SLAB_MAX) {
		free(p);
		return;
	}

	struct slab_chunk *c = (struct slab_chunk *)((uintptr_t)p & ~(uintptr_t)(CHUNK - 1));
	struct slab *s = c->slab;
	lock_take(&s->lock);
	if (c->used-- == c->room)
		push(s, c);
	memcpy(p, &c->free, sizeof(void *));
	c->free = p;
	bool empty = c->used == 0;
	if (empty)
		unlink_chunk(s, c);
	lock_drop(&s->lock);
	if (empty)
		free(c);
}

#endif
