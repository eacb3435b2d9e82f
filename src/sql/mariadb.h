/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * sql/mariadb.h: connections to MariaDB (or MySQL) behind sql.h, and what only they have.
 *
 * libmariadb is loaded at run time, by those who ask for it: without a MariaDB directory nothing of
 * it is in any process, and pabal needs no such package. A connection that was lost stays lost
 * (sql_lost): its owner closes it and opens another. Every wait has the time-out of the options.
 */
#pragma once
#include "sql/sql.h"

struct buf;

struct sql_mariadb_options {
	const char *host;     /* NULL or "": the socket */
	unsigned port;        /* 0: 3306 */
	const char *socket;   /* NULL or "": the library's; used without host */
	const char *user, *password, *database;
	const char *tls_ca_file; /* not empty: TLS, with a certificate of this authority for the host */
	int timeout_ms;       /* connecting, and each answer; rounded up to seconds */
};

/* Loads the library, once per process; later calls cost nothing. Before a sandbox that allows no
 * opening of libraries. ERR_NOT_FOUND: it is not installed. */
bool sql_mariadb_load(struct err *err) MUST_CHECK;
bool sql_mariadb_open(const struct sql_mariadb_options *o, struct sql_db **out, struct err *err) MUST_CHECK;
bool sql_is_mariadb(const struct sql_db *db);
/* The connection is of no use any more. Never true for SQLite. */
bool sql_lost(const struct sql_db *db);
/* Asks the server whether it is there; a lost connection is marked as such. */
bool sql_ping(struct sql_db *db, struct err *err) MUST_CHECK;

/* A statement of finished text, in the text protocol: for queries that an administrator wrote. The
 * caller steps and finalizes it; a lost row set is freed with it. */
bool sql_mariadb_query(struct sql_db *db, struct str sql, struct sql_stmt **out, struct err *err) MUST_CHECK;
/* Columns of a row that is there. */
unsigned sql_column_count(struct sql_stmt *st);
struct str sql_column_name(struct sql_stmt *st, unsigned column);
/* Appends s as it may stand between quotes, by the connection's character set and mode. */
void sql_mariadb_escape(struct sql_db *db, struct str s, struct buf *out);
