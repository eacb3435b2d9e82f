/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* sql/sql_int.h: what an engine gives to sql.c; for this folder alone. Contracts as in sql.h. */
#pragma once
#include "sql/sql.h"

struct map;

struct sql_engine {
	void (*close)(struct sql_db *db); /* frees db; its statements are finalized already */
	bool (*exec)(struct sql_db *db, const char *script, struct err *err);
	bool (*prepare)(struct sql_db *db, struct str sql, struct sql_stmt **out, struct err *err);
	void (*finalize)(struct sql_stmt *st);
	void (*bind_int)(struct sql_stmt *st, int n, int64_t v);
	void (*bind_bytes)(struct sql_stmt *st, int n, struct str s, bool blob);
	void (*bind_null)(struct sql_stmt *st, int n);
	bool (*step)(struct sql_stmt *st, bool *out_row, struct err *err);
	void (*reset)(struct sql_stmt *st);
	int64_t (*column_int)(struct sql_stmt *st, int column);
	struct str (*column_bytes)(struct sql_stmt *st, int column, bool blob);
	bool (*column_is_null)(struct sql_stmt *st, int column);
	bool (*begin)(struct sql_db *db, enum sql_tx kind, struct err *err);
	bool (*commit)(struct sql_db *db, struct err *err);
	void (*rollback)(struct sql_db *db);
	bool (*in_tx)(const struct sql_db *db);
	int64_t (*last_id)(const struct sql_db *db);
	int64_t (*changes)(const struct sql_db *db);
	bool (*data_version)(struct sql_db *db, int64_t *out, struct err *err);
};

/* Each engine's structures begin with these. */
struct sql_db {
	const struct sql_engine *engine;
	struct map *cache; /* text -> struct sql_stmt, made at first use */
};
struct sql_stmt {
	const struct sql_engine *engine;
	struct sql_db *db;
};
