/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * base/map.c: open addressing with linear probing in a table of a power of two, at most 3/4 full.
 * Removing leaves a marker, so that an iteration goes on undisturbed; growing drops the markers.
 * The hash is SipHash-1-3 (Aumasson and Bernstein 2012; the rounds that hash tables use).
 */
#include "base/map.h"
#include "base/ids.h"
#include "base/mem.h"
#include <endian.h>
#include <stdlib.h>
#include <string.h>

enum slot_state { SLOT_EMPTY, SLOT_USED, SLOT_REMOVED };

struct slot {
	uint64_t hash;
	char *key;
	size_t key_n;
	void *value;
	enum slot_state state;
};

struct map {
	uint64_t k0, k1;
	struct slot *slots;
	size_t cap;    /* 0 or a power of two */
	size_t count;  /* used */
	size_t filled; /* used and removed */
};

static inline uint64_t rotl(uint64_t x, int n)
{
	return x << n | x >> (64 - n);
}

static inline void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[0] = rotl(v[0], 32);
	v[2] += v[3];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[2] = rotl(v[2], 32);
}

static uint64_t sip_hash(uint64_t k0, uint64_t k1, struct str s)
{
	uint64_t v[4] = {
		k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d),
		k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573),
	};
	uint64_t w, last = (uint64_t)s.n << 56;
	size_t i = 0;

	for (; s.n - i >= 8; i += 8) {
		memcpy(&w, s.p + i, 8);
		w = le64toh(w);
		v[3] ^= w;
		sip_round(v);
		v[0] ^= w;
	}
	if (i < s.n) {
		w = 0;
		memcpy(&w, s.p + i, s.n - i);
		last |= le64toh(w);
	}
	v[3] ^= last;
	sip_round(v);
	v[0] ^= last;
	v[2] ^= 0xff;
	sip_round(v);
	sip_round(v);
	sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

struct map *map_new(void)
{
	struct map *m = mem_new(struct map);

	m->k0 = random_u64();
	m->k1 = random_u64();
	return m;
}

void map_free(struct map *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->cap; i++)
		free(m->slots[i].key);
	free(m->slots);
	free(m);
}

/* The slot of the key, or NULL. */
static struct slot *find(const struct map *m, struct str key, uint64_t hash)
{
	if (m->cap == 0)
		return NULL;
	for (size_t i = hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
		struct slot *s = &m->slots[i];
		if (s->state == SLOT_EMPTY)
			return NULL;
		if (s->state == SLOT_USED && s->hash == hash &&
		    str_eq((struct str){s->key, s->key_n}, key))
			return s;
	}
}

static void rebuild(struct map *m)
{
	struct slot *old = m->slots;
	size_t old_cap = m->cap;

	while (m->cap < 8 || m->count >= m->cap / 2)
		m->cap = m->cap ? m->cap * 2 : 8;
	m->slots = memset(mem_resize_array(NULL, m->cap, sizeof(struct slot)), 0,
			  m->cap * sizeof(struct slot));
	m->filled = m->count;
	for (size_t k = 0; k < old_cap; k++) {
		if (old[k].state != SLOT_USED)
			continue;
		size_t i = old[k].hash & (m->cap - 1);
		while (m->slots[i].state != SLOT_EMPTY)
			i = (i + 1) & (m->cap - 1);
		m->slots[i] = old[k];
	}
	free(old);
}

void *map_get(const struct map *m, struct str key)
{
	struct slot *s = find(m, key, sip_hash(m->k0, m->k1, key));

	return s ? s->value : NULL;
}

void *map_put(struct map *m, struct str key, void *value)
{
	uint64_t hash = sip_hash(m->k0, m->k1, key);
	struct slot *s = find(m, key, hash);

	if (s) {
		void *former = s->value;
		s->value = value;
		return former;
	}
	if (m->filled >= m->cap / 4 * 3)
		rebuild(m);

	size_t i = hash & (m->cap - 1);
	while (m->slots[i].state == SLOT_USED)
		i = (i + 1) & (m->cap - 1);
	if (m->slots[i].state == SLOT_EMPTY)
		m->filled++;
	m->count++;
	m->slots[i] = (struct slot){hash, mem_alloc(key.n), key.n, value, SLOT_USED};
	if (key.n)
		memcpy(m->slots[i].key, key.p, key.n);
	return NULL;
}

void *map_remove(struct map *m, struct str key)
{
	struct slot *s = find(m, key, sip_hash(m->k0, m->k1, key));

	if (!s)
		return NULL;
	void *former = s->value;
	free(s->key);
	*s = (struct slot){.state = SLOT_REMOVED};
	m->count--;
	return former;
}

size_t map_count(const struct map *m)
{
	return m->count;
}

bool map_next(const struct map *m, struct map_iter *it)
{
	while (it->at < m->cap) {
		const struct slot *s = &m->slots[it->at++];
		if (s->state == SLOT_USED) {
			it->key = (struct str){s->key, s->key_n};
			it->value = s->value;
			return true;
		}
	}
	return false;
}
