/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "sql/sql.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct files {
	char dir[32], db[64];
};

static int setup(void **state)
{
	struct files *f = calloc(1, sizeof *f);
	strcpy(f->dir, "/tmp/pabal-sql-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->db, sizeof f->db, "%s/t.db", f->dir);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct files *f = *state;
	char command[64];
	snprintf(command, sizeof command, "rm -rf %s", f->dir);
	int rc = system(command);
	free(f);
	return rc;
}

static struct sql_db *open_db(const char *path, unsigned flags)
{
	struct sql_db *db = NULL;
	struct err err = {0};
	if (!sql_open(path, &(struct sql_open_options){.flags = flags, .busy_timeout_ms = -1}, &db, &err))
		fail_msg("%s", err.cause);
	return db;
}

static void exec_ok(struct sql_db *db, const char *sql)
{
	struct err err = {0};
	if (!sql_exec(db, sql, &err))
		fail_msg("%s: %s", sql, err.cause);
}

static void test_round_trip(void **state)
{
	struct files *f = *state;
	struct sql_db *db = open_db(f->db, SQL_OPEN_CREATE);
	struct err err = {0};
	struct stat st;
	assert_int_equal(0, stat(f->db, &st));
	assert_int_equal(0600, st.st_mode & 0777);
	exec_ok(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, s TEXT UNIQUE, b BLOB, n INTEGER)");
	SQL_SCOPED ins = NULL;
	assert_true(sql_cached(db, "INSERT INTO t(s, b, n) VALUES(?, ?, ?)", &ins, &err));
	sql_bind_str(ins, 1, STR("안녕"));
	sql_bind_blob(ins, 2, (struct str){"\0\1\2", 3});
	sql_bind_int(ins, 3, INT64_MIN);
	assert_true(sql_run(ins, &err));
	assert_int_equal(1, sql_last_id(db));
	assert_int_equal(1, sql_changes(db));
	sql_bind_str(ins, 1, STR_NONE);
	sql_bind_null(ins, 2);
	assert_true(sql_run(ins, &err));

	SQL_SCOPED sel = NULL;
	bool row;
	assert_true(sql_cached(db, "SELECT s, b, n FROM t ORDER BY id", &sel, &err));
	assert_true(sql_step(sel, &row, &err) && row);
	assert_true(str_eq(STR("안녕"), sql_column_str(sel, 0)));
	assert_int_equal(3, sql_column_blob(sel, 1).n);
	assert_true(sql_column_int(sel, 2) == INT64_MIN);
	assert_true(sql_step(sel, &row, &err) && row);
	assert_int_equal(0, sql_column_str(sel, 0).n);
	assert_true(sql_column_is_null(sel, 1));
	assert_true(sql_step(sel, &row, &err) && !row);
	sql_close(db);
	ins = sel = NULL;
}

static void test_constraints(void **state)
{
	struct sql_db *db = open_db(NULL, SQL_OPEN_MEMORY);
	struct err err = {0};
	exec_ok(db, "CREATE TABLE p(id INTEGER PRIMARY KEY, s TEXT UNIQUE NOT NULL);"
		    "CREATE TABLE c(p INTEGER NOT NULL REFERENCES p(id) ON DELETE CASCADE);"
		    "INSERT INTO p VALUES(1, 'a'); INSERT INTO c VALUES(1)");
	static const struct { const char *sql; enum err_kind want; } cases[] = {
		{"INSERT INTO p VALUES(2, 'a')", ERR_EXISTS},	{"INSERT INTO p VALUES(1, 'b')", ERR_EXISTS},
		{"INSERT INTO p VALUES(3, NULL)", ERR_CONFLICT}, {"INSERT INTO c VALUES(9)", ERR_CONFLICT},
		{"SELECT \"nothing\"", ERR_IO}, {"nonsense", ERR_IO},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		if (sql_exec(db, cases[i].sql, &err) || err.kind != cases[i].want)
			fail_msg("%s: %s", cases[i].sql, err.cause);
	}
	exec_ok(db, "DELETE FROM p");
	struct sql_stmt *st;
	bool row;
	assert_true(sql_prepare(db, STR("SELECT count(*) FROM c"), &st, &err));
	assert_true(sql_step(st, &row, &err));
	assert_int_equal(0, sql_column_int(st, 0));
	/* A parameter that is not there is told at the step. */
	sql_bind_int(st, 1, 5);
	assert_false(sql_step(st, &row, &err));
	sql_finalize(st);
	sql_close(db);
}

static void test_transactions(void **state)
{
	struct files *f = *state;
	struct sql_db *a = open_db(f->db, SQL_OPEN_CREATE), *b = open_db(f->db, SQL_OPEN_WRITE);
	struct err err = {0};
	int64_t before, after;
	exec_ok(a, "CREATE TABLE t(n INTEGER)");
	assert_true(sql_data_version(b, &before, &err));
	assert_true(sql_begin(a, SQL_TX_WRITE, &err));
	exec_ok(a, "INSERT INTO t VALUES(1)");
	assert_false(sql_begin(b, SQL_TX_WRITE, &err));
	assert_int_equal(ERR_TEMP, err.kind);
	assert_true(sql_in_tx(a) && !sql_in_tx(b));
	sql_rollback(a);
	sql_rollback(a);
	assert_false(sql_in_tx(a));
	assert_true(sql_begin(a, SQL_TX_WRITE, &err));
	exec_ok(a, "INSERT INTO t VALUES(2)");
	assert_true(sql_commit(a, &err));
	assert_true(sql_data_version(b, &after, &err));
	assert_int_not_equal(before, after);
	assert_true(sql_checkpoint(a, true, &err));
	assert_true(sql_checkpoint(b, false, &err));
	sql_close(a);
	sql_close(b);
}

static void test_broken(void **state)
{
	struct files *f = *state;
	struct err err = {0};
	struct sql_db *db = NULL;
	assert_false(sql_open(f->db, NULL, &db, &err));
	assert_int_equal(ERR_NOT_FOUND, err.kind);
	FILE *file = fopen(f->db, "w");
	for (int i = 0; i < 1000; i++)
		fputs("this is not a database ", file);
	fclose(file);
	assert_false(sql_open(f->db, NULL, &db, &err));
	assert_int_equal(ERR_CORRUPT, err.kind);
}

static void test_full(void **state)
{
	struct sql_db *db = open_db(NULL, SQL_OPEN_MEMORY);
	struct err err = {0};
	exec_ok(db, "CREATE TABLE t(b BLOB); PRAGMA max_page_count=4");
	assert_false(sql_exec(db, "INSERT INTO t VALUES(zeroblob(100000))", &err));
	assert_int_equal(ERR_IO, err.kind);
	assert_int_equal(ENOSPC, err.sys);
	assert_null(strstr(err.text, "INSERT"));
	sql_close(db);
}

int main(void)
{
	sql_process_init();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
		cmocka_unit_test(test_constraints),
		cmocka_unit_test_setup_teardown(test_transactions, setup, teardown),
		cmocka_unit_test_setup_teardown(test_broken, setup, teardown),
		cmocka_unit_test(test_full),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
