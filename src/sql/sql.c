/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* sql.h for both engines: hands each call to the one that the connection belongs to, and keeps the
 * cache of statements. */
#include "base/map.h"
#include "sql/sql_int.h"

void sql_close(struct sql_db *db)
{
	if (!db)
		return;
	struct map_iter it = {0};
	while (db->cache && map_next(db->cache, &it))
		sql_finalize(it.value);
	map_free(db->cache);
	db->engine->close(db);
}

bool sql_exec(struct sql_db *db, const char *script, struct err *err)
{
	return db->engine->exec(db, script, err);
}

bool sql_prepare(struct sql_db *db, struct str sql, struct sql_stmt **out, struct err *err)
{
	return db->engine->prepare(db, sql, out, err);
}

void sql_finalize(struct sql_stmt *st)
{
	if (st)
		st->engine->finalize(st);
}

bool sql_cached(struct sql_db *db, const char *sql, struct sql_stmt **out, struct err *err)
{
	if (!db->cache)
		db->cache = map_new();
	struct str key = str_of(sql);
	struct sql_stmt *st = map_get(db->cache, key);
	if (!st) {
		if (!sql_prepare(db, key, &st, err))
			return false;
		map_put(db->cache, key, st);
	}
	sql_reset(st);
	*out = st;
	return true;
}

void sql_bind_int(struct sql_stmt *st, int n, int64_t v)
{
	st->engine->bind_int(st, n, v);
}

void sql_bind_str(struct sql_stmt *st, int n, struct str s)
{
	st->engine->bind_bytes(st, n, s, false);
}

void sql_bind_blob(struct sql_stmt *st, int n, struct str bytes)
{
	st->engine->bind_bytes(st, n, bytes, true);
}

void sql_bind_null(struct sql_stmt *st, int n)
{
	st->engine->bind_null(st, n);
}

void sql_reset(struct sql_stmt *st)
{
	if (st)
		st->engine->reset(st);
}

bool sql_step(struct sql_stmt *st, bool *out_row, struct err *err)
{
	return st->engine->step(st, out_row, err);
}

bool sql_run(struct sql_stmt *st, struct err *err)
{
	bool row;
	do {
		if (!sql_step(st, &row, err))
			return false;
	} while (row);
	return true;
}

int64_t sql_column_int(struct sql_stmt *st, int column)
{
	return st->engine->column_int(st, column);
}

struct str sql_column_str(struct sql_stmt *st, int column)
{
	return st->engine->column_bytes(st, column, false);
}

struct str sql_column_blob(struct sql_stmt *st, int column)
{
	return st->engine->column_bytes(st, column, true);
}

bool sql_column_is_null(struct sql_stmt *st, int column)
{
	return st->engine->column_is_null(st, column);
}

bool sql_begin(struct sql_db *db, enum sql_tx kind, struct err *err)
{
	return db->engine->begin(db, kind, err);
}

bool sql_commit(struct sql_db *db, struct err *err)
{
	if (db->engine->commit(db, err))
		return true;
	sql_rollback(db);
	return false;
}

void sql_rollback(struct sql_db *db)
{
	if (sql_in_tx(db))
		db->engine->rollback(db);
}

bool sql_in_tx(const struct sql_db *db)
{
	return db->engine->in_tx(db);
}

int64_t sql_last_id(const struct sql_db *db)
{
	return db->engine->last_id(db);
}

int64_t sql_changes(const struct sql_db *db)
{
	return db->engine->changes(db);
}

bool sql_data_version(struct sql_db *db, int64_t *out, struct err *err)
{
	return db->engine->data_version(db, out, err);
}
