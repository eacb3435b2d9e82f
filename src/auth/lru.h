/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* auth/lru.h: a bounded table by key; the entry not used for longest goes first. Not locked. */
#pragma once
#include "base/str.h"

struct lru_item { /* first member of what is stored */
	struct lru_item *newer, *older;
	struct str key; /* of the table */
};
struct lru {
	struct map *map;
	struct lru_item *newest, *oldest;
	size_t item_size, max;
};
void lru_init(struct lru *l, size_t item_size, size_t max);
void lru_fini(struct lru *l);
void *lru_find(struct lru *l, struct str key); /* NULL if absent; else it is the newest now */
void *lru_add(struct lru *l, struct str key);  /* zeroed; must be absent */
void lru_remove(struct lru *l, void *item);
