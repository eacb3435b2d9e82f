/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * An entry is one block: the entry, its records, then all octets. Entries stand in a map by
 * "type name" and in a ring by use, the freshest behind the head.
 */
#include "dns/cache.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/map.h"
#include "base/mem.h"
#include "dns/backend.h"

#include <stdlib.h>
#include <string.h>

enum { ENTRY_OVERHEAD = 128 }; /* the map's share of an entry, and malloc's */

struct ring {
	struct ring *prev, *next;
};
struct entry {
	struct ring ring; /* first: the ring's members are entries */
	struct str key;
	size_t bytes;
	int64_t until_us;
	struct dns_answer answer;
	struct dns_record at[];
};

struct dns_cache {
	struct lock lock;
	struct map *map;    /* guarded by lock, as all below */
	struct ring head;
	size_t bytes, max_bytes;
};

struct dns_cache *dns_cache_new(size_t max_bytes)
{
	struct dns_cache *c = mem_new(struct dns_cache);
	lock_init(&c->lock, LOCK_LEAF);
	c->map = map_new();
	c->head.prev = c->head.next = &c->head;
	c->max_bytes = max_bytes;
	return c;
}

static void drop(struct dns_cache *c, struct entry *e)
{
	map_remove(c->map, e->key);
	e->ring.prev->next = e->ring.next;
	e->ring.next->prev = e->ring.prev;
	c->bytes -= e->bytes;
	free(e);
}

void dns_cache_flush(struct dns_cache *c)
{
	LOCK_SCOPED(&c->lock);
	while (c->head.next != &c->head)
		drop(c, (struct entry *)c->head.next);
}

void dns_cache_free(struct dns_cache *c)
{
	if (!c)
		return;
	dns_cache_flush(c);
	map_free(c->map);
	lock_fini(&c->lock);
	free(c);
}

size_t dns_cache_count(struct dns_cache *c)
{
	LOCK_SCOPED(&c->lock);
	return map_count(c->map);
}

static struct str key_of(struct arena *a, struct str name, enum dns_type type)
{
	if (str_ends(name, STR(".")))
		name = str_sub(name, 0, name.n - 1);
	return arena_lower(a, arena_fmt(a, "%u %.*s", type, STR_ARG(name)));
}

static void to_front(struct dns_cache *c, struct ring *r)
{
	if (r->prev) {
		r->prev->next = r->next;
		r->next->prev = r->prev;
	}
	r->prev = &c->head;
	r->next = c->head.next;
	r->prev->next = r->next->prev = r;
}

bool dns_cache_get(struct dns_cache *c, struct arena *a, struct str name, enum dns_type type,
		   struct dns_answer *out)
{
	struct str key = key_of(a, name, type);
	int64_t now = clock_mono_us();
	LOCK_SCOPED(&c->lock);
	struct entry *e = map_get(c->map, key);
	if (!e)
		return false;
	if (e->until_us <= now) {
		drop(c, e);
		return false;
	}
	to_front(c, &e->ring);
	*out = e->answer;
	out->ttl = (uint32_t)((e->until_us - now + 999999) / 1000000);
	out->canonical = arena_str(a, e->answer.canonical);
	struct dns_record *at = arena_array(a, out->n + 1, sizeof *at);
	for (size_t i = 0; i < out->n; i++) {
		at[i] = e->at[i];
		at[i].data = arena_str(a, at[i].data);
		at[i].name = arena_str(a, at[i].name);
	}
	out->at = at;
	return true;
}

static uint32_t ttl_of(const struct dns_answer *answer)
{
	if (dns_is_error(answer->status))
		return DNS_CACHE_ERROR_TTL;
	uint32_t max = answer->status == DNS_FOUND ? DNS_CACHE_TTL_MAX : DNS_CACHE_NEGATIVE_MAX;
	return answer->ttl < max ? answer->ttl : max;
}

static void put_octets(char **p, struct str *s)
{
	if (s->n > 0)
		memcpy(*p, s->p, s->n);
	s->p = *p;
	*p += s->n;
}

static struct entry *entry_new(struct str key, const struct dns_answer *answer)
{
	size_t octets = key.n + answer->canonical.n, records = answer->n * sizeof *answer->at;
	for (size_t i = 0; i < answer->n; i++)
		octets += answer->at[i].data.n + answer->at[i].name.n;
	struct entry *e = mem_zalloc(sizeof *e + records + octets);
	char *p = (char *)(e->at + answer->n);
	e->bytes = sizeof *e + records + octets + ENTRY_OVERHEAD;
	e->key = key;
	put_octets(&p, &e->key);
	e->answer = *answer;
	put_octets(&p, &e->answer.canonical);
	for (size_t i = 0; i < answer->n; i++) {
		e->at[i] = answer->at[i];
		put_octets(&p, &e->at[i].data);
		put_octets(&p, &e->at[i].name);
	}
	e->answer.at = e->at;
	return e;
}

void dns_cache_put(struct dns_cache *c, struct str name, enum dns_type type, const struct dns_answer *answer)
{
	uint32_t ttl = ttl_of(answer);
	if (ttl == 0 || !dns_name_valid(name))
		return;
	ARENA_SCOPED a = arena_new();
	struct entry *e = entry_new(key_of(a, name, type), answer);
	e->until_us = clock_mono_us() + (int64_t)ttl * 1000000;
	if (e->bytes > c->max_bytes) {
		free(e);
		return;
	}
	LOCK_SCOPED(&c->lock);
	struct entry *old = map_get(c->map, e->key);
	if (old)
		drop(c, old);
	while (c->bytes + e->bytes > c->max_bytes)
		drop(c, (struct entry *)c->head.prev);
	c->bytes += e->bytes;
	map_put(c->map, e->key, e);
	to_front(c, &e->ring);
}

struct cached {
	struct dns_resolver resolver;
	struct dns_cache *cache;
	struct dns_resolver *inner;
};

static void cached_query(struct dns_resolver *r, struct arena *a, struct str name, enum dns_type type,
			 struct dns_answer *out)
{
	struct cached *c = (struct cached *)r;
	if (dns_cache_get(c->cache, a, name, type, out))
		return;
	c->inner->query(c->inner, a, name, type, out);
	dns_cache_put(c->cache, name, type, out);
}

static void cached_free(struct dns_resolver *r)
{
	free(r);
}

struct dns_resolver *dns_cached_new(struct dns_cache *cache, struct dns_resolver *inner)
{
	struct cached *c = mem_new(struct cached);
	c->resolver = (struct dns_resolver){cached_query, cached_free};
	c->cache = cache;
	c->inner = inner;
	return &c->resolver;
}
