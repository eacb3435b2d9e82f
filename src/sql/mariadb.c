/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * MariaDB behind sql.h. Prepared statements fetch their whole result at the first step, as text: the
 * directory's results are small, and a result half read would block the connection.
 */
#include "base/buf.h"
#include "base/mem.h"
#include "sql/mariadb.h"
#include "sql/sql_int.h"

#include <dlfcn.h>
#include <errno.h>
#include <mariadb/mysql.h>
#include <mariadb/errmsg.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS_MAX = 64, PARAMETERS_MAX = 32, CELL_MAX = 16 << 20 };

/* ---- the library -------------------------------------------------------------------------------- */

#define CALLS(X)                                                                                         \
	X(mysql_init)                                                                                    \
	X(mysql_options) X(mysql_real_connect) X(mysql_close) X(mysql_errno) X(mysql_error) X(           \
		mysql_real_query) X(mysql_store_result) X(mysql_free_result) X(mysql_num_fields)         \
		X(mysql_fetch_row) X(mysql_fetch_lengths) X(mysql_fetch_fields) X(mysql_next_result) X(  \
			mysql_real_escape_string) X(mysql_ping) X(mysql_set_server_option)               \
			X(mysql_affected_rows) X(mysql_insert_id) X(mysql_stmt_init) X(                  \
				mysql_stmt_prepare) X(mysql_stmt_close) X(mysql_stmt_param_count)        \
				X(mysql_stmt_attr_set) X(mysql_stmt_bind_param) X(mysql_stmt_execute)    \
					X(mysql_stmt_result_metadata) X(mysql_stmt_store_result)         \
						X(mysql_stmt_bind_result) X(mysql_stmt_fetch)            \
							X(mysql_stmt_free_result) X(mysql_stmt_errno)    \
								X(mysql_stmt_error)                      \
									X(mysql_stmt_affected_rows)      \
										X(mysql_server_init)

/* Set once, by sql_mariadb_load, and read only after it. */
static struct {
	pthread_once_t once;
	bool there;
	char why[256];
#define X(name) __typeof__(name) *name;
	CALLS(X)
#undef X
} lib = {.once = PTHREAD_ONCE_INIT};

static void load(void)
{
	void *so = dlopen("libmariadb.so.3", RTLD_NOW | RTLD_LOCAL);
	if (!so) {
		snprintf(lib.why, sizeof lib.why, "%s", dlerror());
		return;
	}
#define X(name)                                                                                          \
	*(void **)(void *)&lib.name = dlsym(so, #name);                                                  \
	if (!lib.name) {                                                                                 \
		snprintf(lib.why, sizeof lib.why, "libmariadb.so.3 has no %s", #name);                   \
		return;                                                                                  \
	}
	CALLS(X)
#undef X
	lib.there = lib.mysql_server_init(0, NULL, NULL) == 0;
}

bool sql_mariadb_load(struct err *err)
{
	pthread_once(&lib.once, load);
	if (lib.there)
		return true;
	err_set(err, ERR_NOT_FOUND, "the MariaDB client library is not installed (package libmariadb3)");
	return err_cause(err, "%s", lib.why);
}

/* ---- connections -------------------------------------------------------------------------------- */

struct my_db {
	struct sql_db base;
	MYSQL *raw;
	bool lost, in_tx;
	int64_t changes, versions;
	char place[160]; /* for messages: "user@host/database" */
};

struct my_stmt {
	struct sql_stmt base;
	MYSQL_STMT *raw;          /* NULL: of the text protocol */
	bool bind_failed;
	bool running;             /* executed and not reset */
	unsigned parameters_n, columns_n;
	MYSQL_BIND parameters[PARAMETERS_MAX];
	int64_t integers[PARAMETERS_MAX];
	unsigned long lengths[PARAMETERS_MAX];
	MYSQL_BIND columns[COLUMNS_MAX];
	unsigned long sizes[COLUMNS_MAX];
	my_bool nulls[COLUMNS_MAX];
	struct buf row;           /* the columns' bytes, of prepared statements */
	MYSQL_RES *result;        /* text: all rows; prepared: the columns */
	MYSQL_ROW text_row;
	struct buf text;          /* text: the statement */
};

static struct my_db *my(struct sql_db *db)
{
	return (struct my_db *)db;
}

static struct my_stmt *my_of(struct sql_stmt *st)
{
	return (struct my_stmt *)st;
}

/* Numbers of mysqld_error.h: what a constraint, or a state that passes, is told by. */
static enum err_kind kind_of(unsigned code)
{
	switch (code) {
	case 1062: /* ER_DUP_ENTRY */
	case 1586:
		return ERR_EXISTS;
	case 1048: /* ER_BAD_NULL_ERROR */
	case 1216:
	case 1217:
	case 1451: /* ER_ROW_IS_REFERENCED_2 */
	case 1452: /* ER_NO_REFERENCED_ROW_2 */
	case 4025: /* ER_CONSTRAINT_FAILED */
		return ERR_CONFLICT;
	case 1406: /* ER_DATA_TOO_LONG */
		return ERR_LIMIT;
	case 1040: /* ER_CON_COUNT_ERROR */
	case 1053: /* ER_SERVER_SHUTDOWN */
	case 1203:
	case 1205: /* ER_LOCK_WAIT_TIMEOUT */
	case 1213: /* ER_LOCK_DEADLOCK */
	case 1226:
	case 1927: /* ER_CONNECTION_KILLED */
		return ERR_TEMP;
	default:
		return code >= 2000 && code < 3000 ? ERR_TEMP : ERR_IO;
	}
}

static bool fail(struct my_db *db, unsigned code, const char *text, struct err *err)
{
	if (code == CR_OUT_OF_MEMORY)
		mem_exhausted();
	db->lost |= (code >= 2000 && code < 3000) || code == 1053 || code == 1927;
	err_set(err, kind_of(code), "temporary failure of the database");
	return err_cause(err, "MariaDB %s: %s (%u)", db->place, text, code);
}

static bool fail_db(struct my_db *db, struct err *err)
{
	return fail(db, lib.mysql_errno(db->raw), lib.mysql_error(db->raw), err);
}

static bool fail_stmt(struct my_stmt *st, struct err *err)
{
	return fail(my(st->base.db), lib.mysql_stmt_errno(st->raw), lib.mysql_stmt_error(st->raw), err);
}

static const struct sql_engine engine;

static void set_options(MYSQL *raw, const struct sql_mariadb_options *o)
{
	unsigned seconds = o->timeout_ms > 0 ? (unsigned)(o->timeout_ms + 999) / 1000 : 5;
	unsigned off = 0;
	my_bool verify = 1, no = 0;
	lib.mysql_options(raw, MYSQL_OPT_CONNECT_TIMEOUT, &seconds);
	lib.mysql_options(raw, MYSQL_OPT_READ_TIMEOUT, &seconds);
	lib.mysql_options(raw, MYSQL_OPT_WRITE_TIMEOUT, &seconds);
	lib.mysql_options(raw, MYSQL_OPT_RECONNECT, &no);
	lib.mysql_options(raw, MYSQL_OPT_LOCAL_INFILE, &off);
	lib.mysql_options(raw, MYSQL_SET_CHARSET_NAME, "utf8mb4");
	if (o->tls_ca_file && *o->tls_ca_file) {
		lib.mysql_options(raw, MYSQL_OPT_SSL_CA, o->tls_ca_file);
		lib.mysql_options(raw, MYSQL_OPT_SSL_ENFORCE, &verify);
		lib.mysql_options(raw, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &verify);
	}
}

static const char *or_null(const char *s)
{
	return s && *s ? s : NULL;
}

bool sql_mariadb_open(const struct sql_mariadb_options *o, struct sql_db **out, struct err *err)
{
	if (!sql_mariadb_load(err))
		return false;
	struct my_db *db = mem_new(struct my_db);
	const char *host = or_null(o->host), *socket = host ? NULL : or_null(o->socket);
	db->base.engine = &engine;
	snprintf(db->place, sizeof db->place, "%s at %s", o->database ? o->database : "",
		 host ? host : socket ? socket : "localhost");
	db->raw = lib.mysql_init(NULL);
	if (!db->raw)
		mem_exhausted();
	set_options(db->raw, o);
	/* Rows matched, not rows changed, as SQLite counts them. */
	if (!lib.mysql_real_connect(db->raw, host ? host : "localhost", o->user, o->password,
				    or_null(o->database), o->port, socket, CLIENT_FOUND_ROWS)) {
		fail_db(db, err);
		sql_close(&db->base);
		return false;
	}
	*out = &db->base;
	return true;
}

static void my_close(struct sql_db *base)
{
	lib.mysql_close(my(base)->raw);
	free(base);
}

bool sql_is_mariadb(const struct sql_db *db)
{
	return db->engine == &engine;
}

bool sql_lost(const struct sql_db *db)
{
	return sql_is_mariadb(db) && ((const struct my_db *)db)->lost;
}

bool sql_ping(struct sql_db *db, struct err *err)
{
	return !sql_is_mariadb(db) || lib.mysql_ping(my(db)->raw) == 0 || fail_db(my(db), err);
}

void sql_mariadb_escape(struct sql_db *db, struct str s, struct buf *out)
{
	char *room = s.n <= CELL_MAX ? buf_room(out, 2 * s.n + 1) : NULL;
	if (room && s.n)
		out->n += lib.mysql_real_escape_string(my(db)->raw, room, s.p, s.n);
}

static bool query(struct my_db *db, struct str sql, struct err *err)
{
	return lib.mysql_real_query(db->raw, sql.p, sql.n) == 0 || fail_db(db, err);
}

/* Every result of a script is read to its end, or the next statement would fail. */
static bool my_exec(struct sql_db *base, const char *script, struct err *err)
{
	struct my_db *db = my(base);
	if (lib.mysql_set_server_option(db->raw, MYSQL_OPTION_MULTI_STATEMENTS_ON) != 0)
		return fail_db(db, err);
	bool ok = query(db, str_of(script), err);
	while (ok) {
		lib.mysql_free_result(lib.mysql_store_result(db->raw));
		int more = lib.mysql_next_result(db->raw);
		if (more < 0)
			break;
		ok = more == 0 || fail_db(db, err);
	}
	if (lib.mysql_set_server_option(db->raw, MYSQL_OPTION_MULTI_STATEMENTS_OFF) != 0 && ok)
		return fail_db(db, err);
	return ok;
}

/* ---- statements --------------------------------------------------------------------------------- */

static bool my_prepare(struct sql_db *base, struct str sql, struct sql_stmt **out, struct err *err)
{
	my_bool lengths = 1;
	struct my_stmt *st = mem_new(struct my_stmt);
	st->base = (struct sql_stmt){&engine, base};
	st->raw = lib.mysql_stmt_init(my(base)->raw);
	if (!st->raw)
		mem_exhausted();
	lib.mysql_stmt_attr_set(st->raw, STMT_ATTR_UPDATE_MAX_LENGTH, &lengths);
	sql = str_trim(sql);
	if (str_ends(sql, STR(";")))
		sql.n--;
	if (lib.mysql_stmt_prepare(st->raw, sql.p, sql.n) != 0)
		goto failed;
	st->parameters_n = (unsigned)lib.mysql_stmt_param_count(st->raw);
	st->result = lib.mysql_stmt_result_metadata(st->raw);
	st->columns_n = st->result ? lib.mysql_num_fields(st->result) : 0;
	if (st->parameters_n > PARAMETERS_MAX || st->columns_n > COLUMNS_MAX) {
		err_set(err, ERR_LIMIT, "a statement has too many columns or parameters");
		sql_finalize(&st->base);
		return false;
	}
	*out = &st->base;
	return true;
failed:
	fail_stmt(st, err);
	sql_finalize(&st->base);
	return false;
}

bool sql_mariadb_query(struct sql_db *db, struct str sql, struct sql_stmt **out, struct err *err)
{
	(void)err;
	struct my_stmt *st = mem_new(struct my_stmt);
	st->base = (struct sql_stmt){&engine, db};
	buf_add(&st->text, sql);
	*out = &st->base;
	return true;
}

static void my_reset(struct sql_stmt *base)
{
	struct my_stmt *st = my_of(base);
	if (st->running && st->raw)
		lib.mysql_stmt_free_result(st->raw);
	if (!st->raw) {
		lib.mysql_free_result(st->result);
		st->result = NULL;
		st->text_row = NULL;
	}
	st->running = st->bind_failed = false;
}

static void my_finalize(struct sql_stmt *base)
{
	struct my_stmt *st = my_of(base);
	my_reset(base);
	lib.mysql_free_result(st->result);
	if (st->raw)
		lib.mysql_stmt_close(st->raw);
	buf_free(&st->row);
	buf_free(&st->text);
	free(st);
}

static MYSQL_BIND *parameter(struct sql_stmt *base, int n)
{
	struct my_stmt *st = my_of(base);
	if (st->running)
		my_reset(base);
	if (n < 1 || (unsigned)n > st->parameters_n) {
		st->bind_failed = true;
		return NULL;
	}
	st->parameters[n - 1] = (MYSQL_BIND){0};
	return &st->parameters[n - 1];
}

static void my_bind_int(struct sql_stmt *base, int n, int64_t v)
{
	MYSQL_BIND *b = parameter(base, n);
	if (!b)
		return;
	my_of(base)->integers[n - 1] = v;
	b->buffer_type = MYSQL_TYPE_LONGLONG;
	b->buffer = &my_of(base)->integers[n - 1];
}

static void my_bind_bytes(struct sql_stmt *base, int n, struct str s, bool blob)
{
	MYSQL_BIND *b = parameter(base, n);
	if (!b)
		return;
	my_of(base)->lengths[n - 1] = s.n;
	b->buffer_type = blob ? MYSQL_TYPE_BLOB : MYSQL_TYPE_STRING;
	b->buffer = (void *)(uintptr_t)(s.p ? s.p : "");
	b->buffer_length = s.n;
	b->length = &my_of(base)->lengths[n - 1];
}

static void my_bind_null(struct sql_stmt *base, int n)
{
	MYSQL_BIND *b = parameter(base, n);
	if (b)
		b->buffer_type = MYSQL_TYPE_NULL;
}

/* Room for the longest value of each column, one behind the other. */
static bool bind_columns(struct my_stmt *st)
{
	MYSQL_FIELD *fields = lib.mysql_fetch_fields(st->result);
	size_t need = 0;
	for (unsigned i = 0; i < st->columns_n; i++) {
		if (fields[i].max_length > CELL_MAX)
			return false;
		need += fields[i].max_length + 1;
	}
	buf_clear(&st->row);
	char *p = buf_room(&st->row, need + 1);
	for (unsigned i = 0; i < st->columns_n; i++) {
		st->columns[i] = (MYSQL_BIND){
			.buffer_type = MYSQL_TYPE_STRING,
			.buffer = p,
			.buffer_length = fields[i].max_length + 1,
			.length = &st->sizes[i],
			.is_null = &st->nulls[i],
		};
		p += fields[i].max_length + 1;
	}
	return true;
}

/* Integers come as text too: MariaDB's widths for them are fixed, and max_length says 20 at most. */
static bool execute(struct my_stmt *st, struct err *err)
{
	struct my_db *db = my(st->base.db);
	if (lib.mysql_stmt_bind_param(st->raw, st->parameters) != 0 || lib.mysql_stmt_execute(st->raw) != 0)
		return fail_stmt(st, err);
	st->running = true;
	db->changes = (int64_t)lib.mysql_stmt_affected_rows(st->raw);
	if (st->columns_n == 0)
		return true;
	if (lib.mysql_stmt_store_result(st->raw) != 0)
		return fail_stmt(st, err);
	lib.mysql_free_result(st->result); /* with the lengths of this result */
	st->result = lib.mysql_stmt_result_metadata(st->raw);
	if (!st->result || !bind_columns(st))
		return err_set(err, ERR_LIMIT, "a value in the database is too long");
	return lib.mysql_stmt_bind_result(st->raw, st->columns) == 0 || fail_stmt(st, err);
}

static bool step_text(struct my_stmt *st, bool *out_row, struct err *err)
{
	struct my_db *db = my(st->base.db);
	if (!st->running) {
		if (!query(db, buf_str(&st->text), err))
			return false;
		st->running = true;
		st->result = lib.mysql_store_result(db->raw);
		if (!st->result && lib.mysql_errno(db->raw))
			return fail_db(db, err);
		/* A procedure's status follows its rows. */
		while (lib.mysql_next_result(db->raw) == 0)
			lib.mysql_free_result(lib.mysql_store_result(db->raw));
		st->columns_n = st->result ? lib.mysql_num_fields(st->result) : 0;
	}
	st->text_row = st->result ? lib.mysql_fetch_row(st->result) : NULL;
	*out_row = st->text_row != NULL;
	return true;
}

static bool step_prepared(struct my_stmt *st, bool *out_row, struct err *err)
{
	if (st->bind_failed)
		return err_set(err, ERR_IO, "a statement has no such parameter");
	if (!st->running && !execute(st, err))
		return false;
	int rc = st->columns_n ? lib.mysql_stmt_fetch(st->raw) : MYSQL_NO_DATA;
	*out_row = rc == 0;
	return rc == 0 || rc == MYSQL_NO_DATA ||
	       (rc == MYSQL_DATA_TRUNCATED ? err_set(err, ERR_LIMIT, "a value in the database is too long")
					   : fail_stmt(st, err));
}

static bool my_step(struct sql_stmt *base, bool *out_row, struct err *err)
{
	struct my_stmt *st = my_of(base);
	bool ok = st->raw ? step_prepared(st, out_row, err) : step_text(st, out_row, err);
	if (!ok || !*out_row)
		my_reset(base);
	return ok;
}

static bool my_column_is_null(struct sql_stmt *base, int column)
{
	struct my_stmt *st = my_of(base);
	if (column < 0 || (unsigned)column >= st->columns_n)
		return true;
	return st->raw ? st->nulls[column] : !st->text_row || !st->text_row[column];
}

static struct str my_column_bytes(struct sql_stmt *base, int column, bool blob)
{
	struct my_stmt *st = my_of(base);
	(void)blob;
	if (my_column_is_null(base, column))
		return STR_NONE;
	if (st->raw)
		return (struct str){st->columns[column].buffer, st->sizes[column]};
	return (struct str){st->text_row[column], lib.mysql_fetch_lengths(st->result)[column]};
}

static int64_t my_column_int(struct sql_stmt *st, int column)
{
	struct str s = my_column_bytes(st, column, false);
	bool minus = str_starts(s, STR("-"));
	uint64_t v;
	if (!str_u64(str_from(s, minus), (uint64_t)INT64_MAX + minus, &v))
		return 0;
	return minus ? (int64_t)(0 - v) : (int64_t)v;
}

unsigned sql_column_count(struct sql_stmt *st)
{
	return sql_is_mariadb(st->db) ? my_of(st)->columns_n : 0;
}

struct str sql_column_name(struct sql_stmt *st, unsigned column)
{
	if (!sql_is_mariadb(st->db) || column >= my_of(st)->columns_n || !my_of(st)->result)
		return STR_NONE;
	return str_of(lib.mysql_fetch_fields(my_of(st)->result)[column].name);
}

/* ---- transactions ------------------------------------------------------------------------------- */

static bool my_begin(struct sql_db *db, enum sql_tx kind, struct err *err)
{
	struct str sql = kind == SQL_TX_READ ? STR("START TRANSACTION READ ONLY") : STR("START TRANSACTION");
	if (!query(my(db), sql, err))
		return false;
	my(db)->in_tx = true;
	return true;
}

static bool my_commit(struct sql_db *db, struct err *err)
{
	if (!query(my(db), STR("COMMIT"), err))
		return false;
	my(db)->in_tx = false;
	return true;
}

static void my_rollback(struct sql_db *db)
{
	struct err ignored = {0};
	my(db)->in_tx = false;
	if (!query(my(db), STR("ROLLBACK"), &ignored))
		my(db)->lost = true; /* the server rolls back by itself */
}

static bool my_in_tx(const struct sql_db *db)
{
	return ((const struct my_db *)db)->in_tx;
}

static int64_t my_last_id(const struct sql_db *db)
{
	return (int64_t)lib.mysql_insert_id(((const struct my_db *)db)->raw);
}

static int64_t my_changes(const struct sql_db *db)
{
	return ((const struct my_db *)db)->changes;
}

static bool my_data_version(struct sql_db *db, int64_t *out, struct err *err)
{
	(void)err;
	*out = ++my(db)->versions;
	return true;
}

static const struct sql_engine engine = {
	.close = my_close,
	.exec = my_exec,
	.prepare = my_prepare,
	.finalize = my_finalize,
	.bind_int = my_bind_int,
	.bind_bytes = my_bind_bytes,
	.bind_null = my_bind_null,
	.step = my_step,
	.reset = my_reset,
	.column_int = my_column_int,
	.column_bytes = my_column_bytes,
	.column_is_null = my_column_is_null,
	.begin = my_begin,
	.commit = my_commit,
	.rollback = my_rollback,
	.in_tx = my_in_tx,
	.last_id = my_last_id,
	.changes = my_changes,
	.data_version = my_data_version,
};
