/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* A map for finding and a list for age. */
#include "auth/lru.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/secret.h"
#include <stdlib.h>
#include <string.h>

void lru_init(struct lru *l, size_t item_size, size_t max)
{
	*l = (struct lru){.map = map_new(), .item_size = item_size, .max = max};
}

void lru_fini(struct lru *l)
{
	while (l->oldest)
		lru_remove(l, l->oldest);
	map_free(l->map);
}

static void unlink_item(struct lru *l, struct lru_item *i)
{
	*(i->newer ? &i->newer->older : &l->newest) = i->older;
	*(i->older ? &i->older->newer : &l->oldest) = i->newer;
}

static void link_newest(struct lru *l, struct lru_item *i)
{
	i->newer = NULL;
	i->older = l->newest;
	*(l->newest ? &l->newest->newer : &l->oldest) = i;
	l->newest = i;
}

void *lru_find(struct lru *l, struct str key)
{
	struct lru_item *i = map_get(l->map, key);
	if (i && i != l->newest) {
		unlink_item(l, i);
		link_newest(l, i);
	}
	return i;
}

void *lru_add(struct lru *l, struct str key)
{
	if (map_count(l->map) >= l->max && l->oldest)
		lru_remove(l, l->oldest);
	struct lru_item *i = mem_zalloc(l->item_size + key.n);
	char *copy = (char *)i + l->item_size;
	if (key.n)
		memcpy(copy, key.p, key.n);
	i->key = (struct str){copy, key.n};
	map_put(l->map, i->key, i);
	link_newest(l, i);
	return i;
}

void lru_remove(struct lru *l, void *item)
{
	struct lru_item *i = item;
	unlink_item(l, i);
	map_remove(l->map, i->key);
	secret_wipe(i, l->item_size + i->key.n);
	free(i);
}
