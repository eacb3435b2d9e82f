/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * journal/journal_int.h: segments on disk, shared by the writer and the reader.
 *
 * A segment file "seg-XXXXXXXX" has one header block of 4 KiB, then batches. A batch begins at a
 * multiple of 4 KiB and holds records, each at a multiple of 8, then zeros to the next multiple of
 * 4 KiB: a block that was acknowledged is never written again while its record counts.
 *
 *   header block: "PABALJ1\n" nonce u64, generation u64, first_seq u64, crc32c u32 of what precedes
 *   record: head_crc u32 (of the next 28 bytes), content_crc u32, length u32, type u8, flags u8,
 *           zero u16, seq u64, nonce u64; content
 *
 * All little-endian. A record counts when its nonce is the segment's and both CRCs are right; the
 * nonce is random for each use of a segment, so what an earlier use or a message's text left there
 * cannot pass. Sequence numbers ascend; CHECKPOINT and VOID repeat the last number used.
 */
#pragma once
#include "base/buf.h"
#include "base/scan.h"
#include "journal/journal.h"

enum {
	SEGMENT_BLOCK = 4096,
	RECORD_HEAD = 32,
	RECORD_SIDE = 1, /* flag: the content begins with JOURNAL_SIDE_NAME bytes */
	SEGMENT_NAME_MAX = 32,
};

struct segment_header {
	uint64_t nonce, generation, first_seq;
};
void segment_header_encode(const struct segment_header *h, char block[SEGMENT_BLOCK]);
bool segment_header_decode(struct str block, struct segment_header *out);
bool segment_name_parse(const char *name, uint32_t *out_number);
void segment_name(char out[SEGMENT_NAME_MAX], uint32_t number);

void record_head_encode(char out[RECORD_HEAD], uint64_t nonce, uint64_t seq, enum journal_type type,
			unsigned flags, uint32_t content_crc, uint32_t length);
static inline uint64_t record_room(uint64_t length)
{
	return (RECORD_HEAD + length + 7) & ~(uint64_t)7;
}
static inline uint64_t block_room(uint64_t n)
{
	return (n + SEGMENT_BLOCK - 1) & ~(uint64_t)(SEGMENT_BLOCK - 1);
}

/* Reads a segment's good records from left to right. */
struct segment_walk {
	int fd; /* not taken */
	uint64_t size, at;
	struct segment_header h;
	uint64_t last_seq; /* of the last record found; h.first_seq - 1 before */
	unsigned damage;   /* places where bad bytes were followed by a good record */
	bool gap;          /* bad bytes passed since the last good record */
	struct buf window; /* bytes of the file from window_at */
	uint64_t window_at;
	uint32_t window_want; /* bytes of the next read: few at first, as most walks are short */
	char side[JOURNAL_SIDE_NAME];
};
/* false: not a segment in use (zeros, torn header); err is set only for I/O errors. */
bool segment_walk_begin(struct segment_walk *w, int fd, uint64_t size, struct err *err) MUST_CHECK;
/* false at the end, or with err set. The record's views live until the next call. With probe set,
 * stops at the first place without a good record instead of looking for more behind it. */
bool segment_walk_next(struct segment_walk *w, bool probe, struct journal_record *out,
		       struct err *err) MUST_CHECK;
/* What was read ahead is read again: what was zero then may be a record now. */
void segment_walk_refresh(struct segment_walk *w);
void segment_walk_end(struct segment_walk *w);

/* Ranges of sequence numbers that never happened. */
struct void_ranges {
	struct {
		uint64_t first, last;
	} * r;
	size_t n;
};
bool void_ranges_add(struct void_ranges *v, struct str content); /* from a VOID record */
bool void_ranges_have(const struct void_ranges *v, uint64_t seq);
void void_ranges_free(struct void_ranges *v);

/* CHECKPOINT content: p u64, then the owner's bytes. */
bool checkpoint_decode(struct str content, uint64_t *out_p, struct str *out_extra);
