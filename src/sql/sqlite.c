/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * SQLite behind sql.h. A struct sql_stmt is the engine's own statement under our name plus the
 * first binding error, so that stepping costs one call. Opened without SQLite's mutex: a
 * connection belongs to one thread at a time by contract.
 */
#include "base/mem.h"
#include "sql/sql_int.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct lite_stmt {
	struct sql_stmt base;
	sqlite3_stmt *raw;
	int bind_error;
	bool busy; /* stepped and not reset */
};

struct lite_db {
	struct sql_db base;
	sqlite3 *raw;
	struct sql_stmt *data_version;
	char *path;
};

static struct lite_db *lite(struct sql_db *db)
{
	return (struct lite_db *)db;
}

static const struct lite_db *lite_const(const struct sql_db *db)
{
	return (const struct lite_db *)db;
}

static struct lite_stmt *lite_of(struct sql_stmt *st)
{
	return (struct lite_stmt *)st;
}

static enum err_kind kind_of(int code)
{
	if (code == SQLITE_CONSTRAINT_UNIQUE || code == SQLITE_CONSTRAINT_PRIMARYKEY ||
	    code == SQLITE_CONSTRAINT_ROWID)
		return ERR_EXISTS;
	switch (code & 0xff) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_INTERRUPT:
	case SQLITE_PROTOCOL:
		return ERR_TEMP;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_FORMAT:
		return ERR_CORRUPT;
	case SQLITE_CONSTRAINT:
		return ERR_CONFLICT;
	case SQLITE_TOOBIG:
		return ERR_LIMIT;
	default:
		return ERR_IO;
	}
}

static int errno_of(sqlite3 *raw, int code)
{
	switch (code & 0xff) {
	case SQLITE_FULL:
		return ENOSPC;
	case SQLITE_READONLY:
		return EROFS;
	case SQLITE_NOMEM:
		return ENOMEM;
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
		break;
	default:
		return 0;
	}
	int sys = raw ? sqlite3_system_errno(raw) : 0;
	return sys ? sys : EIO;
}

static bool fail(struct sql_db *base, int code, struct err *err)
{
	const struct lite_db *db = lite(base);
	if (code == SQLITE_NOMEM)
		mem_exhausted();
	int sys = errno_of(db->raw, code);
	enum err_kind kind = kind_of(code);
	if (sys == EMFILE || sys == ENFILE)
		kind = ERR_TEMP;
	err_set(err, kind, "temporary failure of the database");
	err->sys = sys;
	return err_cause(err, "%s: %s (%d)%s%s", db->path ? db->path : "memory", sqlite3_errmsg(db->raw),
			 code, sys ? ": " : "", sys ? strerror(sys) : "");
}

void sql_process_init(void)
{
	char seed[16];
	sqlite3_initialize();
	sqlite3_randomness(sizeof seed, seed);
}

const char *sql_engine_version(void)
{
	return sqlite3_libversion();
}

static bool lite_exec(struct sql_db *db, const char *script, struct err *err)
{
	int rc = sqlite3_exec(lite(db)->raw, script, NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		return true;
	return fail(db, sqlite3_extended_errcode(lite(db)->raw), err);
}

static bool pragma(struct sql_db *db, struct err *err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static bool pragma(struct sql_db *db, struct err *err, const char *fmt, ...)
{
	char text[128];
	va_list ap;
	va_start(ap, fmt);
	sqlite3_vsnprintf(sizeof text, text, fmt, ap);
	va_end(ap);
	return lite_exec(db, text, err);
}

static bool configure(struct lite_db *db, const struct sql_open_options *o, struct err *err)
{
	int timeout = o->busy_timeout_ms == 0 ? 5000 : o->busy_timeout_ms < 0 ? 0 : o->busy_timeout_ms;
	bool write = o->flags & SQL_OPEN_WRITE;
	sqlite3_extended_result_codes(db->raw, 1);
	sqlite3_busy_timeout(db->raw, timeout);
	/* No trust in the schema's own functions, no double-quoted strings. */
	sqlite3_db_config(db->raw, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(db->raw, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	sqlite3_db_config(db->raw, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
	sqlite3_db_config(db->raw, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
	if (o->flags & SQL_OPEN_NO_CLOSE_CHECKPOINT)
		sqlite3_db_config(db->raw, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	if (o->flags & SQL_OPEN_NO_AUTO_CHECKPOINT)
		sqlite3_wal_autocheckpoint(db->raw, 0);
	return (!write || pragma(&db->base, err, "PRAGMA journal_mode=WAL")) &&
	       pragma(&db->base, err, "PRAGMA temp_store=MEMORY") &&
	       pragma(&db->base, err, "PRAGMA synchronous=%s",
		      o->flags & SQL_OPEN_FULL_SYNC ? "FULL" : "NORMAL") &&
	       pragma(&db->base, err, "PRAGMA cache_size=-%d", o->cache_kib ? o->cache_kib : 2000) &&
	       pragma(&db->base, err, "PRAGMA foreign_keys=%d", !(o->flags & SQL_OPEN_NO_FOREIGN_KEYS));
}

static void lite_close(struct sql_db *base)
{
	struct lite_db *db = lite(base);
	sql_finalize(db->data_version);
	sqlite3_close_v2(db->raw);
	free(db->path);
	free(db);
}

static bool lite_prepare(struct sql_db *db, struct str sql, struct sql_stmt **out, struct err *err)
{
	sqlite3_stmt *raw;
	int rc = sqlite3_prepare_v3(lite(db)->raw, sql.p, (int)sql.n, SQLITE_PREPARE_PERSISTENT, &raw, NULL);
	if (rc != SQLITE_OK)
		return fail(db, rc, err);
	struct lite_stmt *st = mem_new(struct lite_stmt);
	*st = (struct lite_stmt){.base = {db->engine, db}, .raw = raw};
	*out = &st->base;
	return true;
}

static void lite_finalize(struct sql_stmt *st)
{
	sqlite3_finalize(lite_of(st)->raw);
	free(st);
}

static void bound(struct lite_stmt *st, int rc)
{
	if (rc != SQLITE_OK && st->bind_error == SQLITE_OK)
		st->bind_error = rc;
}

static void lite_reset(struct sql_stmt *base)
{
	struct lite_stmt *st = lite_of(base);
	sqlite3_reset(st->raw);
	st->busy = false;
	st->bind_error = SQLITE_OK;
}

/* A statement that ran takes no bindings before a reset. */
static struct lite_stmt *ready(struct sql_stmt *st)
{
	if (lite_of(st)->busy)
		lite_reset(st);
	return lite_of(st);
}

static void lite_bind_int(struct sql_stmt *base, int n, int64_t v)
{
	struct lite_stmt *st = ready(base);
	bound(st, sqlite3_bind_int64(st->raw, n, v));
}

static void lite_bind_bytes(struct sql_stmt *base, int n, struct str s, bool blob)
{
	struct lite_stmt *st = ready(base);
	const char *p = s.p ? s.p : "";
	if (blob)
		bound(st, sqlite3_bind_blob64(st->raw, n, p, s.n, SQLITE_STATIC));
	else
		bound(st, sqlite3_bind_text64(st->raw, n, p, s.n, SQLITE_STATIC, SQLITE_UTF8));
}

static void lite_bind_null(struct sql_stmt *base, int n)
{
	struct lite_stmt *st = ready(base);
	bound(st, sqlite3_bind_null(st->raw, n));
}

static bool lite_step(struct sql_stmt *base, bool *out_row, struct err *err)
{
	struct lite_stmt *st = lite_of(base);
	int rc = st->bind_error;
	if (rc == SQLITE_OK) {
		st->busy = true;
		rc = sqlite3_step(st->raw);
	}
	if (rc == SQLITE_ROW) {
		*out_row = true;
		return true;
	}
	if (rc == SQLITE_DONE) {
		lite_reset(base);
		*out_row = false;
		return true;
	}
	fail(base->db, rc, err);
	lite_reset(base);
	return false;
}

static int64_t lite_column_int(struct sql_stmt *st, int column)
{
	return sqlite3_column_int64(lite_of(st)->raw, column);
}

static struct str lite_column_bytes(struct sql_stmt *base, int column, bool blob)
{
	sqlite3_stmt *raw = lite_of(base)->raw;
	const char *p = blob ? sqlite3_column_blob(raw, column)
			     : (const char *)sqlite3_column_text(raw, column);
	return (struct str){p, (size_t)sqlite3_column_bytes(raw, column)};
}

static bool lite_column_is_null(struct sql_stmt *st, int column)
{
	return sqlite3_column_type(lite_of(st)->raw, column) == SQLITE_NULL;
}

static bool run_cached(struct sql_db *db, const char *sql, struct err *err)
{
	struct sql_stmt *st;
	return sql_cached(db, sql, &st, err) && sql_run(st, err);
}

static bool lite_begin(struct sql_db *db, enum sql_tx kind, struct err *err)
{
	return run_cached(db, kind == SQL_TX_WRITE ? "BEGIN IMMEDIATE" : "BEGIN", err);
}

static bool lite_commit(struct sql_db *db, struct err *err)
{
	return run_cached(db, "COMMIT", err);
}

static void lite_rollback(struct sql_db *db)
{
	struct err ignored = {0};
	if (!run_cached(db, "ROLLBACK", &ignored))
		return; /* the engine has rolled back by itself */
}

static bool lite_in_tx(const struct sql_db *db)
{
	return !sqlite3_get_autocommit(lite_const(db)->raw);
}

static int64_t lite_last_id(const struct sql_db *db)
{
	return sqlite3_last_insert_rowid(lite_const(db)->raw);
}

static int64_t lite_changes(const struct sql_db *db)
{
	return sqlite3_changes64(lite_const(db)->raw);
}

static bool lite_data_version(struct sql_db *base, int64_t *out, struct err *err)
{
	struct lite_db *db = lite(base);
	bool row;
	if (!db->data_version && !sql_prepare(base, STR("PRAGMA data_version"), &db->data_version, err))
		return false;
	if (!sql_step(db->data_version, &row, err))
		return false;
	*out = row ? sql_column_int(db->data_version, 0) : 0;
	sql_reset(db->data_version);
	return true;
}

static const struct sql_engine engine = {
	.close = lite_close,
	.exec = lite_exec,
	.prepare = lite_prepare,
	.finalize = lite_finalize,
	.bind_int = lite_bind_int,
	.bind_bytes = lite_bind_bytes,
	.bind_null = lite_bind_null,
	.step = lite_step,
	.reset = lite_reset,
	.column_int = lite_column_int,
	.column_bytes = lite_column_bytes,
	.column_is_null = lite_column_is_null,
	.begin = lite_begin,
	.commit = lite_commit,
	.rollback = lite_rollback,
	.in_tx = lite_in_tx,
	.last_id = lite_last_id,
	.changes = lite_changes,
	.data_version = lite_data_version,
};

/* SQLite would give a new file the umask's permissions. */
static bool create_file(const char *path, int mode, struct err *err)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, (mode_t)mode);
	if (fd < 0)
		return err_sys(err, "cannot create %s", path);
	close(fd);
	return true;
}

bool sql_open(const char *path, const struct sql_open_options *options, struct sql_db **out, struct err *err)
{
	static const struct sql_open_options plain = {.flags = SQL_OPEN_WRITE};
	const struct sql_open_options *o = options ? options : &plain;
	bool memory = (o->flags & SQL_OPEN_MEMORY) == SQL_OPEN_MEMORY;
	bool write = o->flags & SQL_OPEN_WRITE;
	if (!memory && (o->flags & SQL_OPEN_CREATE) == SQL_OPEN_CREATE &&
	    !create_file(path, o->mode ? o->mode : 0600, err))
		return false;
	if (!memory && access(path, F_OK) != 0 && errno == ENOENT) {
		err_set(err, ERR_NOT_FOUND, "there is no database");
		return err_cause(err, "%s does not exist", path);
	}
	struct lite_db *db = mem_new(struct lite_db);
	db->base.engine = &engine;
	db->path = memory ? NULL : strdup(path);
	int flags = (write ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY) | SQLITE_OPEN_NOMUTEX |
		    SQLITE_OPEN_EXRESCODE | (memory ? SQLITE_OPEN_MEMORY | SQLITE_OPEN_CREATE : 0);
	int rc = sqlite3_open_v2(memory ? ":memory:" : path, &db->raw, flags, NULL);
	if (rc != SQLITE_OK)
		fail(&db->base, rc, err);
	if (rc != SQLITE_OK || !configure(db, o, err)) {
		sql_close(&db->base);
		return false;
	}
	*out = &db->base;
	return true;
}

bool sql_checkpoint(struct sql_db *db, bool truncate, struct err *err)
{
	/* Truncating waits by the busy handler for whoever is in the way; a passive one never does. */
	int mode = truncate ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE;
	int rc = sqlite3_wal_checkpoint_v2(lite(db)->raw, NULL, mode, NULL, NULL);
	if (truncate && (rc & 0xff) == SQLITE_BUSY)
		return true; /* copied as far as possible; somebody reads: next time */
	return rc == SQLITE_OK || fail(db, rc, err);
}

void sql_release_memory(struct sql_db *db)
{
	sqlite3_db_release_memory(lite(db)->raw);
}

void *sql_native(struct sql_db *db)
{
	return lite(db)->raw;
}
