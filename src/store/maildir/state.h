/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * store/maildir/state.h: the small file beside each mailbox that outlives index.db: identity, UIDs,
 * MODSEQ (DESIGN section 4; DURABILITY traps 5, 7, 9).
 *
 * Two slots of 512 bytes, written in turn, each with a growing number and CRC32C: a torn write
 * leaves the one before. Written under the account's lock; may be read without it (what was there
 * before a change that is under way is a right answer then).
 */
#pragma once
#include "base/err.h"

#define STATE_FILE "pabal-state"
enum { MAILBOX_ID_LEN = 16, STATE_SLOT = 512, UID_BLOCK = 4096 };

struct state {
	uint64_t slot; /* number of the slot it was read from; state_write counts on */
	char mailbox_id[MAILBOX_ID_LEN];
	uint32_t uidvalidity;
	uint32_t uidnext;
	/* UIDs below ceiling may be given out: that number is on disk for certain. promise is written
	 * first and synced, then becomes the ceiling. After power loss uidnext is the larger of both. */
	uint32_t ceiling, promise;
	uint64_t modseq;           /* highest given */
	uint64_t epoch;            /* power losses seen, pabal-run */
	uint64_t index;            /* identity of the index that agrees with this */
	int64_t cur_ns, new_ns;    /* mtimes that the index agrees with; 0: none */
	bool marked;               /* a change began and did not end: scan */
	uint8_t use;               /* enum special_use, RFC 6154 */
	uint8_t keywords_n;        /* lines of the keywords file: read again when it grew */
	uint32_t last_uidvalidity; /* of INBOX only: highest given in this account */
};

/* ERR_NOT_FOUND: no file; ERR_CORRUPT: no slot checks. */
bool state_read(int dirfd, struct state *out, struct err *err) MUST_CHECK;
bool state_read_fd(int fd, struct state *out, struct err *err) MUST_CHECK;
/* Next slot, not synced; s->slot moves on. */
bool state_write(int fd, struct state *s, struct err *err) MUST_CHECK;
/* A new file, synced with its directory. Replaces one that is there. */
bool state_create(int dirfd, struct state *s, struct err *err) MUST_CHECK;

/* For tests and the fuzz target. */
void state_encode(const struct state *s, unsigned char out[STATE_SLOT]);
bool state_decode(const unsigned char in[STATE_SLOT], struct state *out);
