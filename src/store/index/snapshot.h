/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * store/index/snapshot.h: the messages of a mailbox in memory: immutable, counted, shared by all
 * views of the process.
 *
 * A snapshot is a vector of blocks, the same blocks that the index keeps one row for. A new
 * snapshot shares every block that did not change. A sequence number is found by binary search
 * over the blocks.
 */
#pragma once
#include "base/str.h"
#include "store/mailbox.h"
#include "store/slab.h"

/* The hot part of a message, 32 bytes, in the index as in memory. */
struct hot {
	uint32_t uid;
	uint32_t marks; /* flags, and keywords << 6 */
	uint64_t modseq;
	int64_t date;       /* INTERNALDATE, s */
	uint32_t wire_size; /* RFC822.SIZE */
	uint32_t size;      /* of the file: quota */
};
_Static_assert(sizeof(struct hot) == 32, "rows of the index hold it as it is");

enum { MARK_FLAGS = 63, MARK_KEYWORD_SHIFT = 6, BLOCK_MAX = 96 };
static inline uint32_t marks_of(unsigned flags, uint32_t keywords)
{
	return (flags & MARK_FLAGS) | keywords << MARK_KEYWORD_SHIFT;
}

struct block {
	unsigned refs; /* atomic */
	uint32_t n;
	uint32_t first; /* key: UIDs of the block are not below it */
	uint32_t unseen;
	struct hot at[];
};
struct snapshot {
	unsigned refs; /* atomic */
	uint32_t count;
	uint32_t blocks_n;
	uint32_t room; /* blocks_n as allocated */
	struct slab *slab;
	uint64_t modseq; /* all changes up to it are in here */
	struct {
		struct block *block;
		uint32_t before; /* messages in the blocks before it */
	} at[];
};

struct block *block_new(struct slab *slab, uint32_t first, const void *hots,
			uint32_t n); /* one reference */
struct block *block_ref(struct block *b);
void block_unref(struct block *b);

struct snapshot *snapshot_new(struct slab *slab,
			      uint32_t blocks_n); /* to be filled, then snapshot_done() */
void snapshot_done(struct snapshot *s);           /* drops empty blocks, counts */
struct snapshot *snapshot_ref(struct snapshot *s);
void snapshot_unref(struct snapshot *s); /* accepts NULL */

const struct hot *snapshot_at(const struct snapshot *s, uint32_t seq); /* 1..; NULL beyond */
const struct hot *snapshot_uid(const struct snapshot *s, uint32_t uid,
			       uint32_t *out_seq);                  /* NULL: none; out_seq may be NULL */
uint32_t snapshot_at_least(const struct snapshot *s, uint32_t uid); /* count + 1: none */

/* Ascending walk. */
struct snapshot_walk {
	const struct snapshot *s;
	uint32_t block, i;
};
static inline struct snapshot_walk snapshot_walk(const struct snapshot *s)
{
	return (struct snapshot_walk){s, 0, 0};
}
static inline const struct hot *snapshot_next(struct snapshot_walk *w)
{
	while (w->block < w->s->blocks_n) {
		const struct block *b = w->s->at[w->block].block;
		if (w->i < b->n)
			return &b->at[w->i++];
		w->block++;
		w->i = 0;
	}
	return NULL;
}

/* Old messages that new has no more stay, with their old marks: sequence numbers do not move. new
 * itself (another reference) when nothing is missing. */
struct snapshot *snapshot_hold(const struct snapshot *old, struct snapshot *new);
