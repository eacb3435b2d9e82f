/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * store/slab.h: small objects that live as long as a session (views, snapshots, accounts), kept
 * together. On the heap each of them would lie between the pieces of an index handle and hold a page
 * of its own when that is closed: 6 KiB for each idle session, measured. Lock class LEAF.
 */
#pragma once
#include "base/lock.h"
#include <stddef.h>

enum { SLAB_MAX = 1024, SLAB_STEP = 32, SLAB_CLASSES = SLAB_MAX / SLAB_STEP };

struct slab_chunk;
struct slab {
	struct lock lock;
	struct slab_chunk *partial[SLAB_CLASSES]; /* chunks with room */
};
void slab_init(struct slab *s);
void slab_fini(struct slab *s); /* everything was freed before */
/* Zeroed. Larger ones come from the heap. */
void *slab_alloc(struct slab *s, size_t size);
/* size as allocated; accepts NULL. */
void slab_free(void *p, size_t size);
