/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Opening, migrating, statements and the change counter.
 *
 * A directory is one connection under one lock: look-ups take microseconds, and only auth and
 * the command line use it. Migrations are numbered files built into the program; each runs in
 * a transaction with the raising of the schema number, so a failed one changes nothing.
 */
#include "base/clock.h"
#include "base/embed.h"
#include "base/mem.h"
#include "base/scan.h"
#include "config/config.h"
#include "directory/directory_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

extern const struct embedded_file directory_migrations[];
extern const struct embedded_file directory_queries[];

static const char *const query_names[QUERY_COUNT] = {
#define QUERY(name) #name,
#include "directory/queries.def"
#undef QUERY
};

/* The block of a name: what stands between its "-- name:" line and the next. */
static struct str query_text(enum query q)
{
	struct str file = {directory_queries[0].bytes, directory_queries[0].size};
	char header[80];
	size_t n = strlen(query_names[q]);
	memcpy(header, "-- name: ", 9);
	memcpy(header + 9, query_names[q], n);
	header[9 + n] = '\n';
	size_t at = str_find(file, (struct str){header, n + 10});
	if (at == STR_NPOS)
		return STR_NONE;
	struct str block = str_from(file, at + n + 10);
	size_t end = str_find(block, STR("-- name: "));
	return end == STR_NPOS ? block : str_sub(block, 0, end);
}

bool directory_query(struct directory *d, enum query q, struct sql_stmt **out, struct err *err)
{
	lock_held(&d->lock);
	if (!d->statements[q] && !sql_prepare(d->db, query_text(q), &d->statements[q], err))
		return err_while(err, "preparing %s", query_names[q]);
	sql_reset(d->statements[q]);
	*out = d->statements[q];
	return true;
}

bool directory_query_int(struct sql_stmt *st, int64_t *out, bool *out_found, struct err *err)
{
	if (!sql_step(st, out_found, err))
		return false;
	if (*out_found)
		*out = sql_column_int(st, 0);
	sql_reset(st);
	return true;
}

static bool run(struct directory *d, enum query q, struct err *err)
{
	struct sql_stmt *st;
	return directory_query(d, q, &st, err) && sql_run(st, err);
}

bool directory_change_begin(struct directory *d, struct err *err)
{
	return sql_begin(d->db, SQL_TX_WRITE, err);
}

bool directory_change_end(struct directory *d, bool ok, struct err *err)
{
	d->changes_known = false;
	if (ok)
		ok = run(d, QUERY_changes_raise, err);
	if (!ok) {
		sql_rollback(d->db);
		return false;
	}
	return sql_commit(d->db, err);
}

bool directory_changes(struct directory *d, int64_t *out, struct err *err)
{
	LOCK_SCOPED(&d->lock);
	int64_t version;
	bool found;
	struct sql_stmt *st;
	if (!sql_data_version(d->db, &version, err))
		return false;
	if (!d->changes_known || version != d->data_version) {
		if (!directory_query(d, QUERY_changes_get, &st, err) ||
		    !directory_query_int(st, &d->changes, &found, err))
			return false;
		d->changes_known = true;
		d->data_version = version;
	}
	*out = d->changes;
	return true;
}

bool directory_purge(struct directory *d, struct err *err)
{
	int64_t before =
		clock_wall_us() - config_duration_ms(d->config, SETTING_DIRECTORY_RESTORE_TIME) * 1000;
	struct sql_stmt *st;
	if (!directory_query(d, QUERY_purge_domains, &st, err))
		return false;
	sql_bind_int(st, 1, before);
	if (!sql_run(st, err) || !directory_query(d, QUERY_purge_accounts, &st, err))
		return false;
	sql_bind_int(st, 1, before);
	return sql_run(st, err);
}

/* "0001_initial.sql" is number 1. */
static int64_t migration_number(const struct embedded_file *f)
{
	struct scan s = scan_of(str_of(f->name));
	uint32_t n = 0;
	(void)!scan_u32(&s, 99999, &n);
	return n;
}

static bool migrate_one(struct directory *d, const struct embedded_file *f, struct err *err)
{
	struct sql_stmt *st;
	if (!sql_exec(d->db, f->bytes, err) || !directory_query(d, QUERY_schema_set, &st, err))
		return err_while(err, "migrating by %s", f->name);
	sql_bind_int(st, 1, migration_number(f));
	return sql_run(st, err);
}

static bool migrate_in_tx(struct directory *d, struct err *err)
{
	int64_t schema = 0, newest = 0;
	bool found;
	struct sql_stmt *st;
	if (!sql_exec(d->db, "CREATE TABLE IF NOT EXISTS meta (name VARCHAR(64) NOT NULL PRIMARY KEY,"
			     " value BIGINT NOT NULL)", err) ||
	    !directory_query(d, QUERY_schema_get, &st, err) || !directory_query_int(st, &schema, &found, err))
		return false;
	if (!found && !sql_exec(d->db, "INSERT INTO meta VALUES ('changes', 0)", err))
		return false;
	for (const struct embedded_file *f = directory_migrations; f->name; f++) {
		newest = migration_number(f);
		if (newest > schema && !migrate_one(d, f, err))
			return false;
	}
	if (schema > newest)
		return err_set(err, ERR_CONFLICT,
			       "the directory was made by a newer pabal (schema %lld, known %lld)",
			       (long long)schema, (long long)newest);
	return true;
}

static bool migrate(struct directory *d, struct err *err)
{
	LOCK_SCOPED(&d->lock);
	if (!sql_begin(d->db, SQL_TX_WRITE, err))
		return false;
	if (migrate_in_tx(d, err) && directory_purge(d, err))
		return sql_commit(d->db, err);
	sql_rollback(d->db);
	return false;
}

static bool open_with(const struct config *c, const char *path, const struct sql_open_options *options,
		      struct directory **out, struct err *err)
{
	DIRECTORY_SCOPED d = mem_new(struct directory);
	lock_init(&d->lock, LOCK_DIRECTORY);
	d->config = config_ref(c);
	if (!sql_open(path, options, &d->db, err) || !migrate(d, err))
		return err_while(err, "opening the directory");
	*out = d;
	d = NULL;
	return true;
}

/* The command line as root may come first: the file then belongs to the directory's owner, who
 * is auth. SQLite gives its -wal and -shm the owner of the database by itself. */
static bool give_to_owner(const char *dir, const char *path, struct err *err)
{
	struct stat st;
	if (geteuid() != 0)
		return true;
	if (stat(dir, &st) != 0)
		return err_sys(err, "cannot look at %s", dir);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_sys(err, "cannot create %s", path);
	bool ok = fchown(fd, st.st_uid, st.st_gid) == 0 || errno == EPERM ||
		  err_sys(err, "cannot chown %s", path);
	close(fd);
	return ok;
}

bool directory_open(const struct config *c, struct directory **out, struct err *err)
{
	ARENA_SCOPED a = arena_new();
	const char *dir = config_path(c, SETTING_DIRECTORY_DIR);
	const char *path = arena_cstr(a, arena_fmt(a, "%s/directory.db", dir));
	struct sql_open_options options = {.flags = SQL_OPEN_CREATE | SQL_OPEN_FULL_SYNC};
	if (mkdir(dir, 0700) != 0 && errno != EEXIST)
		return err_sys(err, "cannot create %s", dir);
	return give_to_owner(dir, path, err) && open_with(c, path, &options, out, err);
}

bool directory_open_memory(const struct config *c, struct directory **out, struct err *err)
{
	struct sql_open_options options = {.flags = SQL_OPEN_MEMORY};
	return open_with(c, NULL, &options, out, err);
}

void directory_close(struct directory *d)
{
	if (!d)
		return;
	for (int q = 0; q < QUERY_COUNT; q++)
		sql_finalize(d->statements[q]);
	sql_close(d->db);
	config_unref(d->config);
	lock_fini(&d->lock);
	free(d);
}

void directory_reconfigure(struct directory *d, const struct config *c)
{
	struct config *before;
	{
		LOCK_SCOPED(&d->lock);
		before = d->config;
		d->config = config_ref(c);
	}
	config_unref(before);
}
