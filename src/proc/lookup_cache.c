/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* proc/lookup_cache.c: one map under one lock; when it is full, everything goes. */
#include "proc/lookup_cache.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/map.h"
#include "base/mem.h"
#include "config/config.h"
#include <stdlib.h>
#include <string.h>

enum { ENTRIES_MAX = 20000 };

struct entry {
	int64_t until_us;
	size_t n;
	char value[];
};
struct lookup_cache {
	struct lock lock;
	struct map *entries;  /* guarded by lock: struct entry */
	uint64_t generation; /* guarded by lock */
	unsigned longest_s;  /* guarded by lock; 0: no limit */
};

struct lookup_cache *lookup_cache_new(void)
{
	struct lookup_cache *c = mem_new(struct lookup_cache);

	lock_init(&c->lock, LOCK_LEAF);
	c->entries = map_new();
	return c;
}

void lookup_cache_configured(struct lookup_cache *c, const struct config *config)
{
	bool foreign = config_enum(config, SETTING_DIRECTORY_BACKEND) != CONFIG_DIRECTORY_SQLITE;

	LOCK_SCOPED(&c->lock);
	c->longest_s = foreign ? LOOKUP_CACHE_FOREIGN_S : 0;
}

static void clear(struct lookup_cache *c)
{
	struct map_iter it = {0};

	while (map_next(c->entries, &it))
		free(map_remove(c->entries, it.key));
}

void lookup_cache_free(struct lookup_cache *c)
{
	if (!c)
		return;
	clear(c);
	map_free(c->entries);
	lock_fini(&c->lock);
	free(c);
}

uint64_t lookup_cache_generation(struct lookup_cache *c)
{
	LOCK_SCOPED(&c->lock);
	return c->generation;
}

bool lookup_cache_get(struct lookup_cache *c, struct str key, struct arena *a, struct str *out)
{
	LOCK_SCOPED(&c->lock);
	const struct entry *e = map_get(c->entries, key);

	if (!e || e->until_us < clock_mono_us())
		return false;
	*out = arena_str(a, (struct str){e->value, e->n});
	return true;
}

void lookup_cache_put(struct lookup_cache *c, uint64_t generation, struct str key, struct str value,
		      unsigned life_s)
{
	struct entry *e = mem_alloc(sizeof(*e) + value.n);

	e->n = value.n;
	if (value.n)
		memcpy(e->value, value.p, value.n);
	LOCK_SCOPED(&c->lock);
	if (c->longest_s && life_s > c->longest_s)
		life_s = c->longest_s;
	e->until_us = clock_mono_us() + (int64_t)life_s * 1000000;
	if (generation != c->generation) {
		free(e);
		return;
	}
	if (map_count(c->entries) >= ENTRIES_MAX)
		clear(c);
	free(map_put(c->entries, key, e));
}

void lookup_cache_forget(struct lookup_cache *c)
{
	LOCK_SCOPED(&c->lock);
	c->generation++;
	clear(c);
}

struct str lookup_cache_domain(struct str address)
{
	size_t at = str_find_last_byte(address, '@');

	if (at == STR_NPOS || at == 0)
		return STR_NONE;
	for (size_t i = 0; i < address.n; i++) {
		unsigned char c = (unsigned char)address.p[i];
		bool good = i < at   ? ascii_is(c, ASCII_ATEXT) || c == '.'
			    : i > at ? ascii_is(c, ASCII_LOWER | ASCII_DIGIT) || c == '.' || c == '-'
				     : true;
		if (!good)
			return STR_NONE;
	}
	return str_from(address, at);
}
