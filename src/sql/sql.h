/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * sql/sql.h: a narrow interface to an SQL database: SQLite, and MariaDB (sql/mariadb.h).
 *
 * One connection and its statements belong to one thread at a time (the caller locks). Thin on
 * purpose: the store keeps prepared statements and reads columns without copies. SQL is written
 * with plain "?" in order, so that both engines take it. Failures map to struct err:
 *   ERR_TEMP     busy or locked beyond the time-out, out of descriptors; the server is away
 *   ERR_IO       disk full (err->sys ENOSPC), read or write failed (EIO), read-only (EROFS)
 *   ERR_CORRUPT  not a database, malformed
 *   ERR_EXISTS   a UNIQUE or primary key constraint
 *   ERR_CONFLICT another constraint (foreign key, NOT NULL, CHECK)
 *   ERR_NOT_FOUND the file does not exist and SQL_OPEN_CREATE was not given
 */
#pragma once
#include "base/err.h"

enum sql_open_flags {
	SQL_OPEN_READ = 0,
	SQL_OPEN_WRITE = 1,
	SQL_OPEN_CREATE = 2 | 1,
	SQL_OPEN_FULL_SYNC = 4,        /* synchronous=FULL: a commit is durable; else NORMAL */
	SQL_OPEN_NO_CLOSE_CHECKPOINT = 8, /* close leaves the WAL (DESIGN 4) */
	SQL_OPEN_NO_FOREIGN_KEYS = 16, /* the index needs none */
	SQL_OPEN_NO_AUTO_CHECKPOINT = 32, /* the caller runs sql_checkpoint in background */
	SQL_OPEN_MEMORY = 64 | 3,      /* path is ignored: for tests */
};
struct sql_open_options {
	unsigned flags;
	int busy_timeout_ms; /* 0: 5000; -1: none */
	int cache_kib;       /* 0: 2000 */
	int mode;            /* permissions of a created file; 0: 0600 */
};

struct sql_db;
struct sql_stmt;

/* Before the sandbox, once per process: seeds the engine's random generator (PROCESSES trap 9). */
void sql_process_init(void);
const char *sql_engine_version(void);

/* Sets WAL, temp_store=MEMORY, foreign keys, time-out. options may be NULL: read-write. */
bool sql_open(const char *path, const struct sql_open_options *options, struct sql_db **out,
	      struct err *err) MUST_CHECK;
void sql_close(struct sql_db *db); /* accepts NULL; finalizes what is left, rolls back */
/* One or several statements without parameters. */
bool sql_exec(struct sql_db *db, const char *script, struct err *err) MUST_CHECK;

/* The caller owns the statement and finalizes it before sql_close. */
bool sql_prepare(struct sql_db *db, struct str sql, struct sql_stmt **out, struct err *err) MUST_CHECK;
void sql_finalize(struct sql_stmt *st); /* accepts NULL */
/* From the connection's cache, prepared at first use; sql is a literal or lives as long as db.
 * Comes back reset; the connection owns it. One use at a time. */
bool sql_cached(struct sql_db *db, const char *sql, struct sql_stmt **out, struct err *err) MUST_CHECK;

/* The n-th "?" counts from 1. Bytes are not copied: they must live until sql_reset, or the next
 * binding. A failure is remembered and returned by sql_step. */
void sql_bind_int(struct sql_stmt *st, int n, int64_t v);
void sql_bind_str(struct sql_stmt *st, int n, struct str s);
void sql_bind_blob(struct sql_stmt *st, int n, struct str bytes);
void sql_bind_null(struct sql_stmt *st, int n);

/* *out_row false: done (and reset). On failure the statement is reset too. */
bool sql_step(struct sql_stmt *st, bool *out_row, struct err *err) MUST_CHECK;
/* For statements without rows: steps and resets. */
bool sql_run(struct sql_stmt *st, struct err *err) MUST_CHECK;
void sql_reset(struct sql_stmt *st); /* ends the read; keeps the bindings; accepts NULL */
static inline void sql_reset_p(struct sql_stmt **st) { sql_reset(*st); }
/* The statement is reset when the block ends: no read stays open by an early return. */
#define SQL_SCOPED __attribute__((cleanup(sql_reset_p))) struct sql_stmt *

/* Columns of the current row from 0. Strings are views until the next step or reset. */
int64_t sql_column_int(struct sql_stmt *st, int column); /* NULL: 0 */
struct str sql_column_str(struct sql_stmt *st, int column); /* NULL: empty with p == NULL */
struct str sql_column_blob(struct sql_stmt *st, int column);
bool sql_column_is_null(struct sql_stmt *st, int column);

/* No nesting. Write takes the write lock at once, so that busy shows at begin. */
enum sql_tx { SQL_TX_READ, SQL_TX_WRITE };
bool sql_begin(struct sql_db *db, enum sql_tx kind, struct err *err) MUST_CHECK;
bool sql_commit(struct sql_db *db, struct err *err) MUST_CHECK; /* failed: rolled back */
void sql_rollback(struct sql_db *db);                           /* harmless outside one */
bool sql_in_tx(const struct sql_db *db);

int64_t sql_last_id(const struct sql_db *db);
int64_t sql_changes(const struct sql_db *db); /* rows changed by the last statement */
/* Changes when another connection has committed (MariaDB: at every call). */
bool sql_data_version(struct sql_db *db, int64_t *out, struct err *err) MUST_CHECK;
/* The rest is SQLite's alone.
 * Moves the WAL into the database file without waiting for readers or writers; truncates
 * the WAL when truncate is set and nobody is in the way. */
bool sql_checkpoint(struct sql_db *db, bool truncate, struct err *err) MUST_CHECK;
void sql_release_memory(struct sql_db *db);
void *sql_native(struct sql_db *db); /* sqlite3 *, for the search tokenizer only */
