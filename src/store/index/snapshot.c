/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "store/index/snapshot.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

struct block *block_new(struct slab *slab, uint32_t first, const void *hots, uint32_t n)
{
	struct block *b = slab_alloc(slab, sizeof(*b) + n * sizeof(b->at[0]));

	*b = (struct block){.refs = 1, .n = n, .first = first};
	if (n)
		memcpy(b->at, hots, n * sizeof(b->at[0]));
	for (uint32_t i = 0; i < n; i++)
		b->unseen += !(b->at[i].marks & FLAG_SEEN);
	return b;
}

struct block *block_ref(struct block *b)
{
	__atomic_add_fetch(&b->refs, 1, __ATOMIC_RELAXED);
	return b;
}

void block_unref(struct block *b)
{
	if (b && __atomic_sub_fetch(&b->refs, 1, __ATOMIC_ACQ_REL) == 0)
		slab_free(b, sizeof(*b) + b->n * sizeof(b->at[0]));
}

struct snapshot *snapshot_new(struct slab *slab, uint32_t blocks_n)
{
	struct snapshot *s = slab_alloc(slab, sizeof(*s) + blocks_n * sizeof(s->at[0]));

	*s = (struct snapshot){.refs = 1, .blocks_n = blocks_n, .room = blocks_n, .slab = slab};
	return s;
}

void snapshot_done(struct snapshot *s)
{
	uint32_t kept = 0;

	s->count = 0;
	for (uint32_t i = 0; i < s->blocks_n; i++) {
		struct block *b = s->at[i].block;
		if (!b->n) {
			block_unref(b);
			continue;
		}
		s->at[kept].block = b;
		s->at[kept++].before = s->count;
		s->count += b->n;
	}
	s->blocks_n = kept;
}

struct snapshot *snapshot_ref(struct snapshot *s)
{
	__atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
	return s;
}

void snapshot_unref(struct snapshot *s)
{
	if (!s || __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) != 0)
		return;
	for (uint32_t i = 0; i < s->blocks_n; i++)
		block_unref(s->at[i].block);
	slab_free(s, sizeof(*s) + s->room * sizeof(s->at[0]));
}

const struct hot *snapshot_at(const struct snapshot *s, uint32_t seq)
{
	if (seq < 1 || seq > s->count)
		return NULL;

	uint32_t low = 0, high = s->blocks_n; /* the block is in [low, high) */
	while (high - low > 1) {
		uint32_t mid = low + (high - low) / 2;
		if (s->at[mid].before < seq)
			low = mid;
		else
			high = mid;
	}
	return &s->at[low].block->at[seq - 1 - s->at[low].before];
}

uint32_t snapshot_at_least(const struct snapshot *s, uint32_t uid)
{
	uint32_t low = 0, high = s->blocks_n; /* first block whose last UID is at least uid */

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		const struct block *b = s->at[mid].block;
		if (b->at[b->n - 1].uid < uid)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == s->blocks_n)
		return s->count + 1;

	const struct block *b = s->at[low].block;
	uint32_t from = 0, to = b->n;
	while (from < to) {
		uint32_t mid = from + (to - from) / 2;
		if (b->at[mid].uid < uid)
			from = mid + 1;
		else
			to = mid;
	}
	return s->at[low].before + from + 1;
}

const struct hot *snapshot_uid(const struct snapshot *s, uint32_t uid, uint32_t *out_seq)
{
	uint32_t seq = snapshot_at_least(s, uid);
	const struct hot *h = snapshot_at(s, seq);

	if (!h || h->uid != uid)
		return NULL;
	if (out_seq)
		*out_seq = seq;
	return h;
}

static bool misses_some(const struct snapshot *old, const struct snapshot *new)
{
	struct snapshot_walk wo = snapshot_walk(old), wn = snapshot_walk(new);
	const struct hot *o, *n = snapshot_next(&wn);

	while ((o = snapshot_next(&wo))) {
		while (n && n->uid < o->uid)
			n = snapshot_next(&wn);
		if (!n || n->uid != o->uid)
			return true;
	}
	return false;
}

struct snapshot *snapshot_hold(const struct snapshot *old, struct snapshot *new)
{
	if (!misses_some(old, new))
		return snapshot_ref(new);

	struct hot *all = mem_resize_array(NULL, (size_t)old->count + new->count + 1, sizeof(*all));
	struct snapshot_walk wo = snapshot_walk(old), wn = snapshot_walk(new);
	const struct hot *o = snapshot_next(&wo), *n = snapshot_next(&wn);
	uint32_t count = 0;
	while (o || n) {
		if (!n || (o && o->uid < n->uid)) {
			all[count++] = *o;
			o = snapshot_next(&wo);
			continue;
		}
		if (o && o->uid == n->uid)
			o = snapshot_next(&wo);
		all[count++] = *n;
		n = snapshot_next(&wn);
	}

	uint32_t blocks_n = (count + BLOCK_MAX - 1) / BLOCK_MAX;
	struct snapshot *s = snapshot_new(new->slab, blocks_n);
	for (uint32_t i = 0; i < blocks_n; i++) {
		const struct hot *from = all + (size_t)i * BLOCK_MAX;
		uint32_t left = count - i * BLOCK_MAX;
		s->at[i].block =
			block_new(new->slab, from->uid, from, left < BLOCK_MAX ? left : BLOCK_MAX);
	}
	s->modseq = new->modseq;
	snapshot_done(s);
	free(all);
	return s;
}
