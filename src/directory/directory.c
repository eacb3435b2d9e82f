/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Opening, migrating, statements and the change counter.
 *
 * A directory is one connection under one lock: look-ups take microseconds, and only auth and
 * the command line use it. Migrations are numbered files built into the program; each runs in
 * a transaction with the raising of the schema number, so a failed one changes nothing. In MariaDB
 * that is true of the number alone: there each is written so that it can be done again.
 */
#include "base/clock.h"
#include "base/embed.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/scan.h"
#include "base/secret.h"
#include "config/config.h"
#include "directory/classic.h"
#include "directory/directory_int.h"
#include "directory/facts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
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

static bool connected(struct directory *d, struct err *err);

bool directory_query(struct directory *d, enum query q, struct sql_stmt **out, struct err *err)
{
	lock_held(&d->lock);
	if (!directory_own(d, err) || !connected(d, err))
		return false;
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

bool directory_own(const struct directory *d, struct err *err)
{
	return !d->classic || err_set(err, ERR_DENIED, "the directory is a foreign database that is only "
						       "read: list and change it there");
}

/* The counter is raised first: in MariaDB, which has no lock on all, its row makes writers of several
 * hosts wait for each other. */
bool directory_change_begin(struct directory *d, struct err *err)
{
	if (!directory_own(d, err) || !connected(d, err) || !sql_begin(d->db, SQL_TX_WRITE, err))
		return false;
	d->in_change = true;
	d->touched[0] = '\0';
	return run(d, QUERY_changes_raise, err) || directory_change_end(d, false, err);
}

void directory_touch(struct directory *d, char kind, struct str name)
{
	if (name.n < sizeof d->touched - 1)
		snprintf(d->touched, sizeof d->touched, "%c%.*s", kind, STR_ARG(name));
}

bool directory_change_end(struct directory *d, bool ok, struct err *err)
{
	d->changes_known = false;
	d->in_change = false;
	if (ok)
		ok = sql_commit(d->db, err);
	else
		sql_rollback(d->db);
	if (d->facts) /* also after a failure: a commit whose answer was lost may have been done */
		facts_forget(d->facts, str_of(d->touched));
	return ok;
}

bool directory_changes(struct directory *d, int64_t *out, struct err *err)
{
	LOCK_SCOPED(&d->lock);
	int64_t version;
	bool found;
	struct sql_stmt *st;
	if (!directory_own(d, err) || !connected(d, err) || !sql_data_version(d->db, &version, err))
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

/* One set of SQL for both engines, but for what only CREATE TABLE says differently. Addresses are
 * compared byte by byte, trailing blanks included. */
static const char *dialect(const struct directory *d, struct arena *a, const char *sql)
{
	BUF_SCOPED out = {0};
	if (!sql_is_mariadb(d->db))
		return sql;
	for (struct scan s = scan_of(str_of(sql)); !scan_end(&s);) {
		if (scan_lit(&s, STR("AUTOINCREMENT"))) {
			buf_add(&out, STR("AUTO_INCREMENT"));
		} else if (scan_lit(&s, STR("\n);"))) {
			buf_add(&out, STR("\n) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE "
					  "utf8mb4_nopad_bin;"));
		} else {
			buf_byte(&out, *s.p);
			s.p++;
		}
	}
	return arena_cstr(a, buf_str(&out));
}

static bool exec(struct directory *d, const char *sql, struct err *err)
{
	ARENA_SCOPED a = arena_new();
	return sql_exec(d->db, dialect(d, a, sql), err);
}

static bool migrate_one(struct directory *d, const struct embedded_file *f, struct err *err)
{
	struct sql_stmt *st;
	if (!exec(d, f->bytes, err) || !directory_query(d, QUERY_schema_set, &st, err))
		return err_while(err, "migrating by %s", f->name);
	sql_bind_int(st, 1, migration_number(f));
	return sql_run(st, err);
}

static int64_t newest_schema(void)
{
	int64_t newest = 0;
	for (const struct embedded_file *f = directory_migrations; f->name; f++)
		newest = migration_number(f);
	return newest;
}

static bool schema_get(struct directory *d, int64_t *out, bool *out_found, struct err *err)
{
	struct sql_stmt *st;
	*out = 0;
	return directory_query(d, QUERY_schema_get, &st, err) && directory_query_int(st, out, out_found, err);
}

static bool migrate_in_tx(struct directory *d, struct err *err)
{
	int64_t schema, newest = newest_schema();
	bool found;
	if (!exec(d, "CREATE TABLE IF NOT EXISTS meta (\n\tname VARCHAR(64) NOT NULL PRIMARY KEY,"
		     " value BIGINT NOT NULL\n);", err) ||
	    !schema_get(d, &schema, &found, err))
		return false;
	if (!found && !exec(d, "REPLACE INTO meta VALUES ('changes', 0)", err))
		return false;
	for (const struct embedded_file *f = directory_migrations; f->name; f++) {
		if (migration_number(f) > schema && !migrate_one(d, f, err))
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

/* ---- a database server ---------------------------------------------------------------------------- */

static void forget_statements(struct directory *d)
{
	for (int q = 0; q < QUERY_COUNT; q++) {
		sql_finalize(d->statements[q]);
		d->statements[q] = NULL;
	}
}

/* A user with no right to CREATE can use tables that are there. Hosts that start at once wait for the
 * one that makes them. */
static bool migrate_server(struct directory *d, struct err *err)
{
	struct err missing = {0};
	int64_t schema;
	bool found;
	if (schema_get(d, &schema, &found, &missing) && schema == newest_schema())
		return true;
	forget_statements(d); /* prepared without the table */
	if (missing.kind == ERR_TEMP) {
		*err = missing;
		return false;
	}
	bool ok = sql_exec(d->db, "DO GET_LOCK('pabal.directory', 60)", err) && migrate_in_tx(d, err);
	return sql_exec(d->db, "DO RELEASE_LOCK('pabal.directory')", ok ? err : &missing) && ok;
}

static bool connect_server(struct directory *d, struct err *err)
{
	forget_statements(d);
	d->db = NULL;
	if (!link_open(&d->link, err))
		return false;
	d->db = d->link.db;
	if (atomic_load(&d->facts->migrated))
		return true;
	d->in_change = true; /* no connecting within connecting */
	bool ok = migrate_server(d, err);
	d->in_change = false;
	if (ok)
		atomic_store(&d->facts->migrated, true);
	else
		link_close(&d->link);
	if (!ok)
		d->db = NULL;
	return ok || err_while(err, "preparing the tables");
}

static bool connected(struct directory *d, struct err *err)
{
	if (!d->facts)
		return true;
	if (!d->in_change)
		return link_allowed(&d->link, err) && (link_good(&d->link) || connect_server(d, err));
	return !sql_lost(d->db) ||
	       err_set(err, ERR_TEMP, "the connection to the database broke in the middle of a change");
}

static bool read_password(struct directory *d, const char *path, struct err *err)
{
	BUF_SCOPED text = {0};
	if (!*path)
		return true;
	if (!file_read_whole(AT_FDCWD, path, 4096, &text, err))
		return err_while(err, "reading directory.password_file");
	struct str line = buf_str(&text);
	line = str_cut(&line, '\n');
	if (str_ends(line, STR("\r")))
		line.n--;
	d->link.options.password = arena_cstr(d->arena, line);
	secret_wipe(text.p, text.n);
	return d->link.options.password || err_set(err, ERR_SYNTAX, "directory.password_file holds a NUL");
}

static bool link_settings(struct directory *d, struct err *err)
{
	const struct config *c = d->config;
	d->link = (struct directory_link){.away_until_ms = &d->facts->away_until_ms};
	d->link.options = (struct sql_mariadb_options){
		.host = arena_cstr(d->arena, config_str(c, SETTING_DIRECTORY_HOST)),
		.port = (unsigned)config_int(c, SETTING_DIRECTORY_PORT),
		.socket = config_path(c, SETTING_DIRECTORY_SOCKET),
		.user = arena_cstr(d->arena, config_str(c, SETTING_DIRECTORY_USER)),
		.database = arena_cstr(d->arena, config_str(c, SETTING_DIRECTORY_DATABASE)),
		.tls_ca_file = config_path(c, SETTING_DIRECTORY_TLS_CA_FILE),
		.timeout_ms = (int)config_duration_ms(c, SETTING_DIRECTORY_TIMEOUT),
	};
	return read_password(d, config_path(c, SETTING_DIRECTORY_PASSWORD_FILE), err);
}

static struct directory *handle_new(const struct config *c)
{
	struct directory *d = mem_new(struct directory);
	lock_init(&d->lock, LOCK_DIRECTORY);
	d->config = config_ref(c);
	d->arena = arena_new();
	d->kept = config_ref(c); /* paths in link.options */
	return d;
}

static bool open_server(const struct config *c, struct facts *facts, struct directory **out, struct err *err)
{
	DIRECTORY_SCOPED d = handle_new(c);
	bool classic = config_enum(c, SETTING_DIRECTORY_BACKEND) == CONFIG_DIRECTORY_CLASSIC;
	d->facts = facts ? facts_ref(facts) : facts_new();
	if (!sql_mariadb_load(err) ||
	    !(classic ? classic_open(c, &d->facts->away_until_ms, &d->classic, err) : link_settings(d, err)))
		return err_while(err, "opening the directory");
	*out = d;
	d = NULL;
	return true;
}

bool directory_preload(const struct config *c, struct err *err)
{
	return config_enum(c, SETTING_DIRECTORY_BACKEND) == CONFIG_DIRECTORY_SQLITE || sql_mariadb_load(err);
}

bool directory_remote(const struct directory *d)
{
	return d->facts != NULL;
}

bool directory_clone(const struct directory *d, struct directory **out, struct err *err)
{
	if (!d->facts)
		return err_set(err, ERR_CONFLICT, "a directory in a file has one handle");
	return open_server(d->kept, d->facts, out, err);
}

void directory_stats(const struct directory *d, struct directory_stats *out)
{
	*out = (struct directory_stats){0};
	if (!d->facts)
		return;
	out->asked = atomic_load(&d->facts->asked);
	out->remembered = atomic_load(&d->facts->remembered);
	out->stale = atomic_load(&d->facts->stale);
	out->away = atomic_load(&d->facts->away_until_ms) != 0;
}

/* ---- opening -------------------------------------------------------------------------------------- */

static bool open_with(const struct config *c, const char *path, const struct sql_open_options *options,
		      struct directory **out, struct err *err)
{
	DIRECTORY_SCOPED d = handle_new(c);
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
	if (config_enum(c, SETTING_DIRECTORY_BACKEND) != CONFIG_DIRECTORY_SQLITE)
		return open_server(c, NULL, out, err);
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
	forget_statements(d);
	if (d->facts)
		link_close(&d->link);
	else
		sql_close(d->db);
	classic_close(d->classic);
	facts_unref(d->facts);
	config_unref(d->config);
	config_unref(d->kept);
	arena_free(d->arena);
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
