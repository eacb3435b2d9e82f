/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * store/index/index.h: index.db of one account: a cache of what the Maildir says, so that opening a
 * mailbox need not read its directory (DESIGN section 4).
 *
 * Messages are packed into blocks of up to BLOCK_MAX, one row for the hot parts and one for the
 * cold (file name, journal position): 100,000 messages are about 1,000 rows. Cached summaries have
 * a row each. SQLite, WAL, NORMAL; no checkpoint on close. A handle belongs to one thread at a time;
 * writers hold the account's flock.
 */
#pragma once
#include "base/arena.h"
#include "base/err.h"
#include "store/index/snapshot.h"
#include <sys/stat.h>

#define INDEX_FILE "index.db"

struct sql_db;
struct index {
	struct sql_db *db;
	uint64_t identity; /* random, made with the file */
	dev_t dev;
	ino_t ino;
	struct slab *slab;    /* for snapshots; set by whoever loads them */
	struct arena *arena;  /* names of journals */
	struct str *journals; /* [id - JOURNAL_FIRST] */
	size_t journals_n, journals_cap;
	unsigned written; /* transactions since a checkpoint by this handle */
	bool complete;    /* every mailbox was taken in since it was made: sums hold */
};

/* ERR_NOT_FOUND: no file; ERR_CORRUPT: not one of ours, or of another version: make a new one. */
bool index_open(const char *path, struct index **out, struct err *err) MUST_CHECK;
/* A new file; one that is there goes first, with its -wal and -shm before it (trap 8). dirfd is the
 * directory of path. Under the account's flock. */
bool index_create(int dirfd, const char *path, struct index **out, struct err *err) MUST_CHECK;
bool index_set_complete(struct index *ix, struct err *err) MUST_CHECK;
void index_close(struct index *ix); /* accepts NULL */
/* Is the file at that name still the one that is open? */
bool index_is_current(const struct index *ix, int dirfd);

bool index_begin(struct index *ix, struct err *err) MUST_CHECK; /* write */
bool index_commit(struct index *ix, struct err *err) MUST_CHECK;
void index_rollback(struct index *ix);

/* ---- mailboxes -------------------------------------------------------------------------- */
struct index_mailbox {
	int64_t row; /* 1..2^31 */
	uint32_t uidvalidity;
	uint32_t recent_uid;  /* UIDs from here on were told to no session yet */
	uint64_t modseq;      /* highest that a row carries */
	uint64_t known_since; /* changes at or below it may be unknown (trap 9) */
	uint32_t messages, unseen, deleted;
	uint64_t size, wire_size;
};
/* *out_found false: not there. */
bool index_mailbox(struct index *ix, struct str mailbox_id, struct index_mailbox *out, bool *out_found,
		   struct err *err) MUST_CHECK;
/* Sets m->row. */
bool index_mailbox_add(struct index *ix, struct str mailbox_id, struct index_mailbox *m,
		       struct err *err) MUST_CHECK;
bool index_mailbox_save(struct index *ix, const struct index_mailbox *m, struct err *err) MUST_CHECK;
/* Alone, without the flock: UIDs below uidnext were told to a session. */
bool index_recent_told(struct index *ix, int64_t row, uint32_t uidnext, struct err *err) MUST_CHECK;
bool index_mailbox_drop(struct index *ix, int64_t row, struct err *err) MUST_CHECK;
/* Drops the messages of a mailbox and its counts, keeps the row. */
bool index_mailbox_clear(struct index *ix, struct index_mailbox *m, struct err *err) MUST_CHECK;
bool index_usage(struct index *ix, uint64_t *out_bytes, uint64_t *out_messages,
		 struct err *err) MUST_CHECK;
bool index_max_modseq(struct index *ix, uint64_t *out, struct err *err) MUST_CHECK;
/* Ids of mailboxes that have a row, for dropping those whose directory is gone. */
bool index_mailbox_ids(struct index *ix, struct arena *a, struct str **out, int64_t **out_rows,
		       size_t *out_n, struct err *err) MUST_CHECK;

/* ---- messages --------------------------------------------------------------------------- */
enum {
	JOURNAL_UNKNOWN, /* found, or index rebuilt: seq is the time (us); everybody settles first */
	JOURNAL_SETTLED,
	JOURNAL_FIRST, /* index_journal */
	JOURNAL_LAST = 255,
};
/* The cold part of a message. */
struct cold {
	uint32_t uid;
	uint32_t mtime_ns; /* nanoseconds of the file's mtime: edits in place */
	int64_t savedate;  /* s, 0: unknown */
	uint8_t journal;
	uint64_t seq;
	/* The file's name is this and the flags, without our fields: a foreign file that UIDS_FILE lists. */
	bool plain;
	struct str base; /* plain: all up to ':' */
};
bool index_journal(struct index *ix, struct str name, uint8_t *out_id, struct err *err) MUST_CHECK;
struct str index_journal_name(struct index *ix, uint8_t id); /* empty: unknown or settled */

/* The blocks changed since old (NULL: all); a new reference. */
bool index_load(struct index *ix, int64_t row, const struct snapshot *old, struct snapshot **out,
		struct err *err) MUST_CHECK;

/* Looking up messages in ascending order; keeps the block it is in. Zero-initialised but for ix
 * and row. base is valid until the next call. */
struct index_reader {
	struct index *ix;
	int64_t row;
	struct index_block *block;
};
bool index_find(struct index_reader *r, uint32_t uid, struct hot *out_hot, struct cold *out_cold,
		bool *out_found, struct err *err) MUST_CHECK;
/* The first message with UID >= uid. */
bool index_find_next(struct index_reader *r, uint32_t uid, struct hot *out_hot, struct cold *out_cold,
		     bool *out_found, struct err *err) MUST_CHECK;
void index_reader_end(struct index_reader *r);
/* How many messages have a UID >= uid. */
bool index_count_from(struct index *ix, int64_t row, uint32_t uid, uint32_t *out, struct err *err) MUST_CHECK;

/* Changes to one mailbox in one transaction, in ascending order of UIDs. edit_end() writes the last
 * block and the mailbox's row (counts, modseq). */
struct index_edit {
	struct index *ix;
	struct index_mailbox *mailbox; /* kept up to date */
	uint64_t modseq;               /* given to all that changes */
	struct index_block *block;
	struct uid_range gone; /* removed, not noted yet; first 0: none */
	bool touched;          /* something changed */
	bool removed;          /* messages were removed */
};
bool edit_marks(struct index_edit *e, uint32_t uid, uint32_t marks, struct err *err) MUST_CHECK;
bool edit_remove(struct index_edit *e, uint32_t uid,
		 struct err *err) MUST_CHECK; /* also notes it as vanished */
bool edit_append(struct index_edit *e, const struct hot *h, const struct cold *c,
		 struct err *err) MUST_CHECK; /* UID above all others */
bool edit_insert(struct index_edit *e, const struct hot *h, const struct cold *c,
		 struct err *err) MUST_CHECK; /* anywhere */
bool edit_cold(struct index_edit *e, const struct cold *c,
	       struct err *err) MUST_CHECK; /* replaces that of c->uid */
bool edit_end(struct index_edit *e, struct err *err) MUST_CHECK;
void edit_abort(struct index_edit *e);

/* ---- vanished UIDs ---------------------------------------------------------------------- */
bool index_vanished_has(struct index *ix, int64_t row, uint32_t uid, bool *out,
			struct err *err) MUST_CHECK;
/* Ranges gone with a modseq above since. */
bool index_vanished(struct index *ix, int64_t row, uint64_t since, struct arena *a, struct uid_set *out,
		    struct err *err) MUST_CHECK;

/* Keeps the number of rows bounded; answers may become a superset, known_since may rise. In a
 * transaction, before index_mailbox_save. */
bool index_vanished_tidy(struct index *ix, struct index_mailbox *m, struct err *err) MUST_CHECK;

/* ---- summaries -------------------------------------------------------------------------- */
bool index_summary(struct index *ix, int64_t row, uint32_t uid, struct arena *a, struct str *out,
		   bool *out_found, struct err *err) MUST_CHECK;
/* Of n messages in ascending order; empty: none. *out_n: how many were looked for, see view_summaries. */
bool index_summaries(struct index *ix, int64_t row, const uint32_t *uids, size_t n, struct arena *a,
		     struct str *out, size_t *out_n, struct err *err) MUST_CHECK;
bool index_summary_put(struct index *ix, int64_t row, uint32_t uid, struct str summary,
		       struct err *err) MUST_CHECK;
/* The copies of messages from ... have the summaries of the first ones, to ..., in step; nothing where
 * there is none. */
bool index_summary_copy(struct index *ix, int64_t from_row, struct uid_range from, int64_t to_row,
			uint32_t to, struct err *err) MUST_CHECK;
bool index_summary_drop(struct index *ix, int64_t row, struct uid_range r, struct err *err) MUST_CHECK;

/* Moves the WAL into the file, on a handle of its own: nobody waits for its sync. */
bool index_checkpoint(const char *path, bool truncate, struct err *err) MUST_CHECK;
