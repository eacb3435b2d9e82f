/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * import/mysqldump.h: the rows of a mysqldump (or of phpMyAdmin's export): CREATE TABLE for the names of
 * the columns, INSERT for the values; everything else is passed over. Strings live in the arena.
 */
#pragma once
#include "base/arena.h"
#include "base/err.h"

enum { MYSQLDUMP_COLUMNS_MAX = 200, MYSQLDUMP_ROWS_MAX = 5000000, MYSQLDUMP_TABLES_MAX = 2000 };

struct dump_table {
	struct str name;
	const struct str *columns;
	size_t columns_n;
	const struct str *const *rows; /* each of columns_n values; p NULL: NULL */
	size_t rows_n, rows_cap;
};
struct mysqldump {
	struct dump_table *v;
	size_t n, cap;
};
/* ERR_SYNTAX names the byte where it was lost. */
bool mysqldump_parse(struct arena *a, struct str text, struct mysqldump *out, struct err *err) MUST_CHECK;
const struct dump_table *mysqldump_table(const struct mysqldump *d,
					 struct str name); /* NULL: none; any case */
/* The column's number, or SIZE_MAX. */
size_t dump_column(const struct dump_table *t, struct str name);
