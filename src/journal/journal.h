/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * journal/journal.h: one process's write-ahead journal (DESIGN section 3, DURABILITY.md).
 *
 * A directory of segments, zero-filled once, synced with their directory, then recycled. Records
 * have the segment's random nonce, an ascending sequence number, a type, a length and CRC32C of
 * all of it: no left-over and no message text passes for one. One writer thread; records that
 * wait are written in one batch, padded to 4 KiB, with one sync in flight; then all who wait are
 * told, in order. A failed write or sync voids the batch: its segment is retired, the next one
 * begins with a record that says so, every waiter hears ERR_IO.
 * Content over 1 MiB goes to a side file, synced with its directory before the record.
 *
 * Owners: smtp, queue and each mailbox process have one; queue reads those of smtp.
 * Thread-safe. Lock class JOURNAL.
 */
#pragma once
#include "base/err.h"
#include "base/str.h"
#include <sys/uio.h>

struct buf;

struct journal;
struct journal_options {
	int dirfd;             /* the journal's own directory; not taken */
	const char *name;      /* for logs and status: "smtp-0" */
	size_t segment_bytes;  /* 0: 16 MiB; a record fits in one segment, so it also bounds records */
	unsigned segments_max; /* 0: 16; all in use: appends fail with ERR_LIMIT after wait_ms */
	size_t reserve_bytes;  /* refuse with ERR_LIMIT when the file system has less than this left */
	int64_t wait_ms;       /* 0: 2000 */
	/* Half of the segments are full: time for a checkpoint. On the writer thread; NULL: nobody asks. */
	void (*half_full)(void *ctx);
	void *half_full_ctx;
	/* The first number of this life is at least the clock's microseconds: above every number that
	 * an earlier life gave out, also those whose records never reached the disk. For journals whose
	 * numbers are kept elsewhere (index rows). */
	bool numbers_by_clock;
};
enum journal_type {
	JOURNAL_VOID = 1,   /* internal: the range of sequence numbers in it never happened */
	JOURNAL_CHECKPOINT, /* position p below which all is settled, and watermarks of journals read */
	JOURNAL_MESSAGE,    /* smtp: envelope + content, or envelope + side file name */
	JOURNAL_PLAN,       /* queue: numbered actions for a message */
	JOURNAL_DONE,       /* queue: an action's outcome */
	JOURNAL_APPEND,     /* mailbox: DONE with content of an APPEND */
	JOURNAL_OUTCOME,    /* queue: an action that ended otherwise than in a mailbox */
	JOURNAL_TYPE_LAST = JOURNAL_OUTCOME,
};
enum { JOURNAL_SIDE_NAME = 40 }; /* with its NUL */
/* Sequence numbers: 1 is the first record ever. */

/* Opens for writing, creating segments when new. Calls replay for each record at or above the
 * last committed checkpoint, oldest first, before it returns; content is valid during the call.
 * Damage (a bad record with good ones after it) is logged, counted and skipped; its segment is
 * kept aside. replay may be NULL. */
struct journal_record {
	uint64_t seq;
	enum journal_type type;
	struct str content;
	const char *side; /* name of the side file that continues the content, or NULL */
};
typedef bool journal_replay(void *ctx, const struct journal_record *r, struct err *err);
bool journal_open(const struct journal_options *o, journal_replay *replay, void *ctx,
		  struct journal **out, struct err *err) MUST_CHECK;
/* Starts the writer thread; after the sandbox. */
bool journal_start(struct journal *j, struct err *err) MUST_CHECK;
void journal_close(struct journal *j); /* writes what waits, joins; accepts NULL */

/* Queues a record made of the parts (copied before return up to 64 KiB in all, else referenced until
 * done() was called). done is called on the writer thread, in order, err NULL when durable; it must
 * be short (wake a connection). out_seq is the record's number, valid also when it fails later. */
typedef void journal_done(void *ctx, uint64_t seq, const struct err *err);
bool journal_append(struct journal *j, enum journal_type type, const struct iovec *parts, int n,
		    journal_done *done, void *ctx, uint64_t *out_seq, struct err *err) MUST_CHECK;
/* The same; but where nobody else writes or waits it is written by the caller and done called before
 * return: for callers that hold no lock which done takes. */
bool journal_append_here(struct journal *j, enum journal_type type, const struct iovec *parts, int n,
			 journal_done *done, void *ctx, uint64_t *out_seq, struct err *err) MUST_CHECK;
/* The same for a record continued in a finished side file; the file lives until the record is
 * below a committed checkpoint. */
bool journal_append_side(struct journal *j, enum journal_type type, const struct iovec *parts, int n,
			 const char *side, journal_done *done, void *ctx, uint64_t *out_seq,
			 struct err *err) MUST_CHECK;
/* The same, waiting. */
bool journal_append_wait(struct journal *j, enum journal_type type, const struct iovec *parts, int n,
			 uint64_t *out_seq, struct err *err) MUST_CHECK;
/* Same, not awaited: durable with the next batch that somebody waits for, or within 1 s. */
bool journal_append_lazy(struct journal *j, enum journal_type type, const struct iovec *parts, int n,
			 uint64_t *out_seq, struct err *err) MUST_CHECK;
/* Lazy records are written now, in one batch; not awaited. */
void journal_hurry(struct journal *j);
/* Waits until everything queued so far, lazy records too, is durable. */
bool journal_flush(struct journal *j, struct err *err) MUST_CHECK;
bool journal_has_room(struct journal *j);      /* on the file system, beyond the reserve */
uint64_t journal_committed(struct journal *j); /* highest durable sequence number */
uint64_t journal_watermark(struct journal *j); /* all below is settled */
/* Fill in percent of segments in use; for back-pressure. */
unsigned journal_fill(struct journal *j);
/* How long the sync of a batch took, since the start: counts[i] up to bounds_us[i], the last one beyond. */
enum { JOURNAL_SYNC_BOUNDS = 12 };
struct journal_sync_times {
	uint32_t bounds_us[JOURNAL_SYNC_BOUNDS];
	uint64_t counts[JOURNAL_SYNC_BOUNDS + 1];
	uint64_t sum_us;
};
void journal_sync_times(struct journal *j, struct journal_sync_times *out);

/* Commits CHECKPOINT(p, extra), waits for it, then recycles segments wholly below p and removes
 * side files of records below it. extra holds the watermarks of other journals; given back by
 * journal_last_checkpoint after open. For the smtp journal, whose reader is queue, p is what queue
 * told, checked against [watermark, committed]. */
bool journal_checkpoint(struct journal *j, uint64_t p, struct str extra, struct err *err) MUST_CHECK;
struct str journal_last_checkpoint(struct journal *j,
				   uint64_t *out_p); /* view, valid until the next checkpoint */

/* Side files: made in the journal's directory, written by the caller, then finished (fsync of file
 * and directory). */
bool journal_side_create(struct journal *j, int *out_fd, char name[JOURNAL_SIDE_NAME],
			 struct err *err) MUST_CHECK;
bool journal_side_finish(struct journal *j, int fd, struct err *err) MUST_CHECK;
void journal_side_discard(struct journal *j, const char *name);

/* Reading another process's journal (queue reads smtp's): hostile input, nothing is written. */
struct journal_reader;
bool journal_reader_open(int dirfd, const char *name, struct journal_reader **out,
			 struct err *err) MUST_CHECK;
void journal_reader_close(struct journal_reader *r);
/* Calls fn for the records with from <= seq <= to that are there and good; content valid during
 * the call. fn answers false to stop. */
bool journal_reader_each(struct journal_reader *r, uint64_t from, uint64_t to, journal_replay *fn,
			 void *ctx, struct err *err) MUST_CHECK;
/* Highest good sequence number on disk and the owner's last checkpoint position. */
bool journal_reader_bounds(struct journal_reader *r, uint64_t *out_watermark, uint64_t *out_last,
			   struct err *err) MUST_CHECK;
/* Side files: opened read-only. Missing is ERR_NOT_FOUND, what cannot be one ERR_CORRUPT; other errors
 * may pass. */
bool journal_reader_side(struct journal_reader *r, const char *name, int *out_fd,
			 struct err *err) MUST_CHECK;
