/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * audit/audit.h: the audit log: a file of log lines of level "audit" in which each carries its number and
 * the hash of the one before it, so that a changed or missing line shows.
 *
 *   NUMBER HASH LINE        "17 9f86d081... 2026-11-24T10:00:00.123456Z audit admin.act role=auth-0 ..."
 *
 * HASH is SHA-256 over the whole former line without its newline, in hex; of the first line it is zeros. The
 * chain goes on over rotation. Beside the file stands "<name>.head", number and hash of the last line: what
 * shows that lines are missing at the end. Who may write both files can forge both; for proof against
 * that one keeps what `pabal audit verify` prints elsewhere.
 *
 * The log role writes it, one thread; without a running server the command line does, under the same lock.
 * Durable: lines of a batch are synced before audit_commit answers.
 */
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

enum { AUDIT_HASH_HEX = 64 };

/* ---- lines ---- */

struct audit_line {
	uint64_t number;
	struct str hash; /* of the former line */
	struct str text; /* the log line */
};
/* line without its newline; views. */
bool audit_line_read(struct str line, struct audit_line *out);
void audit_hash(struct str line, char out[AUDIT_HASH_HEX]);

/* ---- writing ---- */

struct audit_log;
/* Opens or makes it in the directory. A torn last line (a crash while it was written) is cut off and
 * recorded.
 * ERR_CONFLICT: another process writes it. role: in whose name own lines are. */
bool audit_open(int dirfd, const char *name, struct str role, struct audit_log **out,
		struct err *err) MUST_CHECK;
void audit_close(struct audit_log *a); /* accepts NULL */
/* Takes a log line, to be written by audit_commit. One that stands among the last ones already is passed
 * over: its writer was told of them before it crashed, or not. */
void audit_add(struct audit_log *a, struct str text);
/* Writes and syncs what was added. On failure nothing of it is there: add it again. */
bool audit_commit(struct audit_log *a, struct err *err) MUST_CHECK;
/* After rotation: the file of that name anew. */
bool audit_reopen(struct audit_log *a, struct err *err) MUST_CHECK;
uint64_t audit_count(const struct audit_log *a); /* number of the last line */

/* ---- checking ---- */

enum audit_fault {
	AUDIT_CHANGED, /* line `number` is not what it was when the one behind it was written */
	AUDIT_MISSING, /* lines from `number` to `last` are not there */
	AUDIT_UNREADABLE, /* a line that is none; `number` is the one before it */
};
struct audit_check {
	uint64_t first, last, lines; /* numbers seen */
	uint64_t faults;
	char hash[AUDIT_HASH_HEX];   /* of the last line */
	void (*fault)(void *ctx, enum audit_fault fault, uint64_t number, uint64_t last);
	void *ctx;
};
/* Lines in their order, over all files, oldest first. */
void audit_check_line(struct audit_check *c, struct str line);
/* Against the head: "NUMBER HASH". True: it fits the last line. */
bool audit_check_head(struct audit_check *c, struct str head);
