/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* What sql_test.c asks of SQLite, asked of MariaDB; and what only a server can do: go away. */
#include "base/buf.h"
#include "sql/mariadb_testing.h"

static struct mariadb server;

static int start(void **state)
{
	mariadb_new(&server);
	struct sql_db *db = mariadb_connect(&server, NULL);
	struct err err = {0};
	assert_true(sql_exec(db, "CREATE DATABASE t CHARACTER SET utf8mb4", &err));
	sql_close(db);
	return 0;
}

static int stop(void **state)
{
	mariadb_free(&server);
	return 0;
}

static void exec_ok(struct sql_db *db, const char *sql)
{
	struct err err = {0};
	if (!sql_exec(db, sql, &err))
		fail_msg("%s: %s", sql, err.cause);
}

static void test_round_trip(void **state)
{
	struct sql_db *db = mariadb_connect(&server, "t");
	struct err err = {0};
	struct sql_stmt *ins, *sel;
	bool row;
	exec_ok(db, "CREATE TABLE r(id INTEGER PRIMARY KEY AUTO_INCREMENT, s VARCHAR(100) UNIQUE, b BLOB,"
		    " n BIGINT); -- several statements\nCREATE INDEX rn ON r(n)");
	assert_true(sql_cached(db, "INSERT INTO r(s, b, n) VALUES(?, ?, ?)", &ins, &err));
	sql_bind_str(ins, 1, STR("안녕"));
	sql_bind_blob(ins, 2, (struct str){"\0\1\2", 3});
	sql_bind_int(ins, 3, INT64_MIN);
	assert_true(sql_run(ins, &err));
	assert_int_equal(1, sql_last_id(db));
	assert_int_equal(1, sql_changes(db));
	sql_bind_str(ins, 1, STR_NONE);
	sql_bind_null(ins, 2);
	sql_bind_int(ins, 3, 7);
	assert_true(sql_run(ins, &err));
	for (int i = 0; i < 2; i++) {
		assert_true(sql_cached(db, "SELECT s, b, n FROM r ORDER BY id;", &sel, &err));
		assert_true(sql_step(sel, &row, &err) && row);
		assert_str("text", sql_column_str(sel, 0), STR("안녕"));
		assert_int_equal(3, sql_column_blob(sel, 1).n);
		assert_true(sql_column_int(sel, 2) == INT64_MIN);
		assert_true(sql_step(sel, &row, &err) && row);
		assert_int_equal(0, sql_column_str(sel, 0).n);
		assert_true(sql_column_is_null(sel, 1));
		assert_int_equal(7, sql_column_int(sel, 2));
		assert_true(sql_step(sel, &row, &err) && !row);
	}
	sql_bind_int(sel, 1, 5); /* a parameter that is not there is told at the step */
	assert_false(sql_step(sel, &row, &err));
	exec_ok(db, "UPDATE r SET n = 7");
	assert_true(sql_cached(db, "UPDATE r SET n = 7", &ins, &err) && sql_run(ins, &err));
	assert_int_equal(2, sql_changes(db)); /* matched, as with SQLite */
	sql_close(db);
}

static void test_constraints(void **state)
{
	struct sql_db *db = mariadb_connect(&server, "t");
	struct err err = {0};
	exec_ok(db, "CREATE TABLE p(id INTEGER PRIMARY KEY, s VARCHAR(9) UNIQUE NOT NULL);"
		    "CREATE TABLE c(p INTEGER NOT NULL REFERENCES p(id) ON DELETE CASCADE);"
		    "INSERT INTO p VALUES(1, 'a'); INSERT INTO c VALUES(1)");
	static const struct { const char *sql; enum err_kind want; } cases[] = {
		{"INSERT INTO p VALUES(2, 'a')", ERR_EXISTS},
		{"INSERT INTO p VALUES(1, 'b')", ERR_EXISTS},
		{"INSERT INTO p VALUES(3, NULL)", ERR_CONFLICT},
		{"INSERT INTO c VALUES(9)", ERR_CONFLICT},
		{"INSERT INTO p VALUES(4, '0123456789')", ERR_LIMIT},
		{"nonsense", ERR_IO},
		{"SELECT 1; nonsense", ERR_IO},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		if (sql_exec(db, cases[i].sql, &err) || err.kind != cases[i].want)
			fail_msg("%s: %s", cases[i].sql, err.cause);
		assert_false(sql_lost(db));
	}
	/* One statement where a program writes it: what is escaped wrongly cannot become a second. */
	struct sql_stmt *st;
	bool row;
	assert_true(sql_mariadb_query(db, STR("SELECT 1; DELETE FROM p"), &st, &err));
	assert_false(sql_step(st, &row, &err));
	sql_finalize(st);
	exec_ok(db, "DELETE FROM p");
	assert_true(sql_cached(db, "SELECT count(*) FROM c", &st, &err));
	assert_true(sql_step(st, &row, &err) && row);
	assert_int_equal(0, sql_column_int(st, 0));
	sql_close(db);
}

static void test_transactions(void **state)
{
	struct sql_db *a = mariadb_connect(&server, "t"), *b = mariadb_connect(&server, "t");
	struct err err = {0};
	struct sql_stmt *st;
	bool row;
	exec_ok(a, "CREATE TABLE x(n INTEGER); SET SESSION innodb_lock_wait_timeout = 0");
	exec_ok(b, "SET SESSION innodb_lock_wait_timeout = 0; INSERT INTO x VALUES(1)");
	assert_true(sql_begin(a, SQL_TX_WRITE, &err));
	exec_ok(a, "UPDATE x SET n = 2");
	assert_false(sql_exec(b, "UPDATE x SET n = 3", &err));
	assert_int_equal(ERR_TEMP, err.kind);
	assert_true(sql_in_tx(a) && !sql_in_tx(b));
	sql_rollback(a);
	sql_rollback(a);
	assert_false(sql_in_tx(a));
	assert_true(sql_begin(a, SQL_TX_WRITE, &err));
	exec_ok(a, "UPDATE x SET n = 4");
	assert_true(sql_commit(a, &err));
	assert_true(sql_cached(b, "SELECT n FROM x", &st, &err) && sql_step(st, &row, &err));
	assert_int_equal(4, sql_column_int(st, 0));
	sql_close(a);
	sql_close(b);
}

/* R36: what a key can do to a query that an administrator wrote. */
static void test_text(void **state)
{
	struct sql_db *db = mariadb_connect(&server, "t");
	struct err err = {0};
	struct sql_stmt *st;
	BUF_SCOPED sql = {0};
	bool row;
	buf_add(&sql, STR("SELECT '"));
	sql_mariadb_escape(db, STR("x' OR '1'='1\\"), &sql);
	buf_add(&sql, STR("' AS user, NULL AS Other"));
	assert_true(sql_mariadb_query(db, buf_str(&sql), &st, &err));
	assert_true(sql_step(st, &row, &err) && row);
	assert_int_equal(2, sql_column_count(st));
	assert_str("value", sql_column_str(st, 0), STR("x' OR '1'='1\\"));
	assert_str("name", sql_column_name(st, 0), STR("user"));
	assert_str("name", sql_column_name(st, 1), STR("Other"));
	assert_true(sql_column_is_null(st, 1));
	assert_true(sql_step(st, &row, &err) && !row);
	sql_finalize(st);
	sql_close(db);
}

static void test_away(void **state)
{
	struct sql_mariadb_options o = mariadb_options(&server, "t");
	struct sql_db *db = mariadb_connect(&server, "t"), *other = NULL;
	struct err err = {0};
	assert_true(sql_ping(db, &err));
	mariadb_stop(&server);
	assert_false(sql_ping(db, &err));
	assert_int_equal(ERR_TEMP, err.kind);
	assert_true(sql_lost(db));
	assert_false(sql_mariadb_open(&o, &other, &err));
	assert_int_equal(ERR_TEMP, err.kind);
	sql_close(db);
	mariadb_start(&server);
	sql_close(mariadb_connect(&server, "t"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_constraints),
		cmocka_unit_test(test_transactions), cmocka_unit_test(test_text), cmocka_unit_test(test_away),
	};
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, start, stop);
}
