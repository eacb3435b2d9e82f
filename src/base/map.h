/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * base/map.h: hash map from a string to a pointer. SipHash with a random key, so keys may come
 * from enemies. Not locked. Keys are copied; values belong to the caller.
 */
#pragma once
#include "base/str.h"

struct map;
struct map *map_new(void);
void map_free(struct map *m);                              /* accepts NULL; values stay */
void *map_get(const struct map *m, struct str key);        /* NULL when absent */
void *map_put(struct map *m, struct str key, void *value); /* the former value or NULL */
void *map_remove(struct map *m, struct str key);           /* the former value or NULL */
size_t map_count(const struct map *m);
/* Iteration in no order; do not change the map but by map_remove of the current key. */
struct map_iter { size_t at; struct str key; void *value; };
bool map_next(const struct map *m, struct map_iter *it); /* start with {0} */
