/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * The file, mailboxes, journals, summaries and vanished UIDs; messages are in blocks.c.
 * Statements are the connection's cached ones; each read ends with SQL_SCOPED, so none stays open.
 */
#include "base/file.h"
#include "base/ids.h"
#include "base/mem.h"
#include "store/index/index_int.h"
#include "store/index/uids.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of the tables and of the bytes in them; the byte order is part of it. Another one: rebuilt. */
enum {
	INDEX_VERSION = 2,
	INDEX_FORMAT =
		(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? 0x50420000 : 0x42500000) | INDEX_VERSION,
	CACHE_KIB = 512,
	VANISHED_MAX = 20000, /* rows of one mailbox */
	SUMMARIES_BYTES = 256 << 10, /* then the rest is left for the next time */
	SPARSE = 8, /* messages that far apart are looked up one by one */
};

static const char schema[] =
	"CREATE TABLE meta (identity INTEGER NOT NULL, complete INTEGER NOT NULL);"
	"CREATE TABLE mailbox ("
	" row INTEGER PRIMARY KEY AUTOINCREMENT, mailbox_id TEXT NOT NULL UNIQUE, uidvalidity INTEGER "
	"NOT NULL,"
	" recent_uid INTEGER NOT NULL, modseq INTEGER NOT NULL, known_since INTEGER NOT NULL,"
	" messages INTEGER NOT NULL, unseen INTEGER NOT NULL, deleted INTEGER NOT NULL,"
	" size INTEGER NOT NULL, wire_size INTEGER NOT NULL);"
	"CREATE TABLE journal (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"
	"CREATE TABLE hot (id INTEGER PRIMARY KEY, mailbox INTEGER NOT NULL, modseq INTEGER NOT NULL, "
	"data BLOB NOT NULL);"
	"CREATE INDEX hot_modseq ON hot (mailbox, modseq);"
	"CREATE TABLE cold (id INTEGER PRIMARY KEY, data BLOB NOT NULL);"
	"CREATE TABLE vanished (mailbox INTEGER NOT NULL, modseq INTEGER NOT NULL, first INTEGER NOT "
	"NULL,"
	" last INTEGER NOT NULL, PRIMARY KEY (mailbox, modseq, first)) WITHOUT ROWID;"
	"CREATE TABLE summary (id INTEGER PRIMARY KEY, data BLOB NOT NULL);";

/* ---- the file --------------------------------------------------------------------------- */
static bool open_db(const char *path, unsigned flags, struct sql_db **out, struct err *err)
{
	struct sql_open_options o = {
		.flags = flags | SQL_OPEN_WRITE | SQL_OPEN_NO_CLOSE_CHECKPOINT |
			 SQL_OPEN_NO_AUTO_CHECKPOINT | SQL_OPEN_NO_FOREIGN_KEYS,
		.cache_kib = CACHE_KIB,
	};
	return sql_open(path, &o, out, err);
}

static bool read_int(struct sql_db *db, const char *sql, int64_t *out, struct err *err)
{
	SQL_SCOPED st = NULL;
	bool row;

	if (!sql_cached(db, sql, &st, err) || !sql_step(st, &row, err))
		return false;
	if (!row)
		return err_set(err, ERR_CORRUPT, "index has no such row");
	*out = sql_column_int(st, 0);
	return true;
}

/* A name larger than the limit of ids is unknown: then everybody settles. */
static bool read_journals(struct index *ix, struct err *err)
{
	SQL_SCOPED st = NULL;
	bool row;

	if (!sql_cached(ix->db, "SELECT id, name FROM journal ORDER BY id", &st, err))
		return false;
	ix->journals_n = 0;
	for (;;) {
		if (!sql_step(st, &row, err))
			return false;
		if (!row)
			return true;
		if (sql_column_int(st, 0) != (int64_t)ix->journals_n + JOURNAL_FIRST)
			return err_set(err, ERR_CORRUPT, "journals of the index are not in order");
		ix->journals = arena_grow(ix->arena, ix->journals, ix->journals_n, &ix->journals_cap,
					  sizeof(*ix->journals));
		ix->journals[ix->journals_n++] = arena_str(ix->arena, sql_column_str(st, 1));
	}
}

static bool load_meta(struct index *ix, struct err *err)
{
	int64_t version, identity, complete;

	if (!read_int(ix->db, "PRAGMA user_version", &version, err))
		return false;
	if (version != INDEX_FORMAT)
		return err_set(err, ERR_CORRUPT, "index has another version");
	if (!read_int(ix->db, "SELECT identity FROM meta", &identity, err))
		return false;
	if (!read_int(ix->db, "SELECT complete FROM meta", &complete, err))
		return false;
	ix->identity = (uint64_t)identity;
	ix->complete = complete;
	return read_journals(ix, err);
}

static bool note_inode(struct index *ix, const char *path, struct err *err)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return err_sys(err, "stat index");
	ix->dev = st.st_dev;
	ix->ino = st.st_ino;
	return true;
}

static struct index *index_new(void)
{
	struct index *ix = mem_new(struct index);

	ix->arena = arena_new();
	return ix;
}

bool index_open(const char *path, struct index **out, struct err *err)
{
	struct index *ix = index_new();

	/* The inode first: if the file is replaced meanwhile, the next comparison finds out. */
	if (!note_inode(ix, path, err) || !open_db(path, 0, &ix->db, err) || !load_meta(ix, err)) {
		if (err->kind == ERR_IO && err->sys == ENOENT)
			err->kind = ERR_NOT_FOUND;
		index_close(ix);
		return false;
	}
	*out = ix;
	return true;
}

static bool remove_files(int dirfd, struct err *err)
{
	static const char *const names[] = {INDEX_FILE "-wal", INDEX_FILE "-shm", INDEX_FILE};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (file_unlinkat(dirfd, names[i], 0) < 0 && errno != ENOENT)
			return err_sys(err, "remove %s", names[i]);
	return true;
}

static bool fill_new(struct index *ix, struct err *err)
{
	if (!sql_begin(ix->db, SQL_TX_WRITE, err) || !sql_exec(ix->db, schema, err))
		return false;

	SQL_SCOPED st = NULL;
	if (!sql_cached(ix->db, "INSERT INTO meta (identity, complete) VALUES (?, 0)", &st, err))
		return false;
	ix->identity = random_u64() >> 1 | 1;
	sql_bind_int(st, 1, (int64_t)ix->identity);
	if (!sql_run(st, err))
		return false;
	ARENA_SCOPED a = arena_new();
	struct str version = arena_fmt(a, "PRAGMA user_version = %d", INDEX_FORMAT);
	return sql_exec(ix->db, arena_cstr(a, version), err) && sql_commit(ix->db, err);
}

bool index_create(int dirfd, const char *path, struct index **out, struct err *err)
{
	if (!remove_files(dirfd, err))
		return false;

	struct index *ix = index_new();
	if (!open_db(path, SQL_OPEN_CREATE, &ix->db, err) || !fill_new(ix, err) ||
	    !note_inode(ix, path, err)) {
		index_close(ix);
		return false;
	}
	*out = ix;
	return true;
}

bool index_set_complete(struct index *ix, struct err *err)
{
	if (!sql_exec(ix->db, "UPDATE meta SET complete = 1", err))
		return false;
	ix->complete = true;
	return true;
}

void index_close(struct index *ix)
{
	if (!ix)
		return;
	sql_close(ix->db);
	arena_free(ix->arena);
	free(ix);
}

bool index_is_current(const struct index *ix, int dirfd)
{
	struct stat st;

	return fstatat(dirfd, INDEX_FILE, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ino == ix->ino &&
	       st.st_dev == ix->dev;
}

bool index_begin(struct index *ix, struct err *err)
{
	return sql_begin(ix->db, SQL_TX_WRITE, err);
}

bool index_commit(struct index *ix, struct err *err)
{
	if (!sql_commit(ix->db, err))
		return false;
	ix->written++;
	return true;
}

void index_rollback(struct index *ix)
{
	sql_rollback(ix->db);
	/* Journals that the transaction added are gone; read again when next asked. */
	struct err ignored;
	if (!read_journals(ix, &ignored))
		ix->journals_n = 0;
}

/* ---- mailboxes -------------------------------------------------------------------------- */
#define MAILBOX_COLUMNS                                                                                  \
	"row, uidvalidity, recent_uid, modseq, known_since, messages, unseen, deleted, size, wire_size"

bool index_mailbox(struct index *ix, struct str mailbox_id, struct index_mailbox *out, bool *out_found,
		   struct err *err)
{
	SQL_SCOPED st = NULL;

	if (!sql_cached(ix->db, "SELECT " MAILBOX_COLUMNS " FROM mailbox WHERE mailbox_id = ?", &st, err))
		return false;
	sql_bind_str(st, 1, mailbox_id);
	if (!sql_step(st, out_found, err))
		return false;
	if (!*out_found)
		return true;
	*out = (struct index_mailbox){
		.row = sql_column_int(st, 0),
		.uidvalidity = (uint32_t)sql_column_int(st, 1),
		.recent_uid = (uint32_t)sql_column_int(st, 2),
		.modseq = (uint64_t)sql_column_int(st, 3),
		.known_since = (uint64_t)sql_column_int(st, 4),
		.messages = (uint32_t)sql_column_int(st, 5),
		.unseen = (uint32_t)sql_column_int(st, 6),
		.deleted = (uint32_t)sql_column_int(st, 7),
		.size = (uint64_t)sql_column_int(st, 8),
		.wire_size = (uint64_t)sql_column_int(st, 9),
	};
	return true;
}

static void bind_mailbox(struct sql_stmt *st, const struct index_mailbox *m)
{
	sql_bind_int(st, 1, m->uidvalidity);
	sql_bind_int(st, 2, m->recent_uid);
	sql_bind_int(st, 3, (int64_t)m->modseq);
	sql_bind_int(st, 4, (int64_t)m->known_since);
	sql_bind_int(st, 5, m->messages);
	sql_bind_int(st, 6, m->unseen);
	sql_bind_int(st, 7, m->deleted);
	sql_bind_int(st, 8, (int64_t)m->size);
	sql_bind_int(st, 9, (int64_t)m->wire_size);
}

bool index_mailbox_add(struct index *ix, struct str mailbox_id, struct index_mailbox *m, struct err *err)
{
	SQL_SCOPED st = NULL;

	if (!sql_cached(ix->db,
			"INSERT INTO mailbox (uidvalidity, recent_uid, modseq, known_since, messages, "
			"unseen, deleted,"
			" size, wire_size, mailbox_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			&st, err))
		return false;
	bind_mailbox(st, m);
	sql_bind_str(st, 10, mailbox_id);
	if (!sql_run(st, err))
		return false;
	m->row = sql_last_id(ix->db);
	return true;
}

bool index_mailbox_save(struct index *ix, const struct index_mailbox *m, struct err *err)
{
	SQL_SCOPED st = NULL;

	if (!sql_cached(ix->db,
			"UPDATE mailbox SET uidvalidity = ?, recent_uid = max(recent_uid, ?), modseq = "
			"?, known_since = ?,"
			" messages = ?, unseen = ?, deleted = ?, size = ?, wire_size = ? WHERE row = ?",
			&st, err))
		return false;
	bind_mailbox(st, m);
	sql_bind_int(st, 10, m->row);
	return sql_run(st, err);
}

bool index_recent_told(struct index *ix, int64_t row, uint32_t uidnext, struct err *err)
{
	SQL_SCOPED st = NULL;

	if (!sql_cached(ix->db, "UPDATE mailbox SET recent_uid = ? WHERE row = ? AND recent_uid < ?", &st,
			err))
		return false;
	sql_bind_int(st, 1, uidnext);
	sql_bind_int(st, 2, row);
	sql_bind_int(st, 3, uidnext);
	return sql_run(st, err);
}

static bool run_range(struct index *ix, const char *sql, int64_t from, int64_t to, struct err *err)
{
	SQL_SCOPED st = NULL;

	if (!sql_cached(ix->db, sql, &st, err))
		return false;
	sql_bind_int(st, 1, from);
	sql_bind_int(st, 2, to);
	return sql_run(st, err);
}

static bool drop_messages(struct index *ix, int64_t row, struct err *err)
{
	int64_t from = index_key(row, 0), to = index_key(row, UINT32_MAX);

	return run_range(ix, "DELETE FROM hot WHERE id BETWEEN ? AND ?", from, to, err) &&
	       run_range(ix, "DELETE FROM cold WHERE id BETWEEN ? AND ?", from, to, err) &&
	       run_range(ix, "DELETE FROM summary WHERE id BETWEEN ? AND ?", from, to, err);
}

bool index_mailbox_drop(struct index *ix, int64_t row, struct err *err)
{
	return drop_messages(ix, row, err) &&
	       run_range(ix, "DELETE FROM vanished WHERE mailbox BETWEEN ? AND ?", row, row, err) &&
	       run_range(ix, "DELETE FROM mailbox WHERE row BETWEEN ? AND ?", row, row, err);
}

bool index_mailbox_clear(struct index *ix, struct index_mailbox *m, struct err *err)
{
	m->messages = m->unseen = m->deleted = 0;
	m->size = m->wire_size = 0;
	return drop_messages(ix, m->row, err) && index_mailbox_save(ix, m, err);
}

bool index_usage(struct index *ix, uint64_t *out_bytes, uint64_t *out_messages, struct err *err)
{
	SQL_SCOPED st = NULL;
	bool row;

	if (!sql_cached(ix->db, "SELECT sum(size), sum(messages) FROM mailbox", &st, err) ||
	    !sql_step(st, &row, err))
		return false;
	*out_bytes = row ? (uint64_t)sql_column_int(st, 0) : 0;
	*out_messages = row ? (uint64_t)sql_column_int(st, 1) : 0;
	return true;
}

bool index_max_modseq(struct index *ix, uint64_t *out, struct err *err)
{
	int64_t v;

	if (!read_int(ix->db, "SELECT max(modseq) FROM mailbox", &v, err))
		return false;
	*out = (uint64_t)v;
	return true;
}

bool index_mailbox_ids(struct index *ix, struct arena *a, struct str **out, int64_t **out_rows,
		       size_t *out_n, struct err *err)
{
	SQL_SCOPED st = NULL;
	struct str *ids = NULL;
	int64_t *rows = NULL;
	size_t n = 0, ids_cap = 0, rows_cap = 0;
	bool row;

	if (!sql_cached(ix->db, "SELECT mailbox_id, row FROM mailbox ORDER BY row", &st, err))
		return false;
	for (;;) {
		if (!sql_step(st, &row, err))
			return false;
		if (!row)
			break;
		ids = arena_grow(a, ids, n, &ids_cap, sizeof(*ids));
		rows = arena_grow(a, rows, n, &rows_cap, sizeof(*rows));
		ids[n] = arena_str(a, sql_column_str(st, 0));
		rows[n++] = sql_column_int(st, 1);
	}
	*out = ids;
	*out_rows = rows;
	*out_n = n;
	return true;
}

/* ---- journals --------------------------------------------------------------------------- */
bool index_journal(struct index *ix, struct str name, uint8_t *out_id, struct err *err)
{
	for (size_t i = 0; i < ix->journals_n; i++)
		if (str_eq(ix->journals[i], name)) {
			*out_id = (uint8_t)(JOURNAL_FIRST + i);
			return true;
		}
	/* Another process may have added it. */
	size_t before = ix->journals_n;
	if (!read_journals(ix, err))
		return false;
	if (ix->journals_n > before)
		return index_journal(ix, name, out_id, err);
	if (ix->journals_n + JOURNAL_FIRST > JOURNAL_LAST) {
		*out_id = JOURNAL_UNKNOWN;
		return true;
	}

	SQL_SCOPED st = NULL;
	if (!sql_cached(ix->db, "INSERT INTO journal (id, name) VALUES (?, ?)", &st, err))
		return false;
	sql_bind_int(st, 1, (int64_t)ix->journals_n + JOURNAL_FIRST);
	sql_bind_str(st, 2, name);
	return sql_run(st, err) && read_journals(ix, err) && index_journal(ix, name, out_id, err);
}

struct str index_journal_name(struct index *ix, uint8_t id)
{
	struct err ignored;

	/* Another process may have added it. */
	if (id >= JOURNAL_FIRST && (size_t)(id - JOURNAL_FIRST) >= ix->journals_n &&
	    !read_journals(ix, &ignored))
		ix->journals_n = 0;
	if (id < JOURNAL_FIRST || (size_t)(id - JOURNAL_FIRST) >= ix->journals_n)
		return STR_NONE;
	return ix->journals[id - JOURNAL_FIRST];
}

/* ---- vanished UIDs ---------------------------------------------------------------------- */
/* Too many rows: neighbours become one, with the highest MODSEQ, which tells a client of more than
 * it asked for: allowed. When they have no neighbours the lower half goes, and who asks for changes
 * of that time is answered in full. */
static bool vanished_compact(struct index *ix, struct index_mailbox *m, struct err *err)
{
	ARENA_SCOPED a = arena_new();
	struct uid_set all;

	if (!index_vanished(ix, m->row, 0, a, &all, err))
		return false;
	if (!run_range(ix, "DELETE FROM vanished WHERE mailbox BETWEEN ? AND ?", m->row, m->row, err))
		return false;
	size_t from = 0;
	if (all.n > VANISHED_MAX / 2) {
		from = all.n - VANISHED_MAX / 2;
		m->known_since = m->modseq;
	}
	for (size_t i = from; i < all.n; i++)
		if (!index_vanished_add(ix, m->row, m->modseq, all.r[i], err))
			return false;
	return true;
}

bool index_vanished_add(struct index *ix, int64_t row, uint64_t modseq, struct uid_range r,
			struct err *err)
{
	SQL_SCOPED st = NULL;

	if (!sql_cached(ix->db, "INSERT INTO vanished (mailbox, modseq, first, last) VALUES (?, ?, ?, ?)",
			&st, err))
		return false;
	sql_bind_int(st, 1, row);
	sql_bind_int(st, 2, (int64_t)modseq);
	sql_bind_int(st, 3, r.first);
	sql_bind_int(st, 4, r.last);
	return sql_run(st, err);
}

bool index_vanished_has(struct index *ix, int64_t row, uint32_t uid, bool *out, struct err *err)
{
	SQL_SCOPED st = NULL;

	if (!sql_cached(ix->db,
			"SELECT 1 FROM vanished WHERE mailbox = ? AND first <= ? AND last >= ? LIMIT 1",
			&st, err))
		return false;
	sql_bind_int(st, 1, row);
	sql_bind_int(st, 2, uid);
	sql_bind_int(st, 3, uid);
	return sql_step(st, out, err);
}

bool index_vanished(struct index *ix, int64_t row, uint64_t since, struct arena *a, struct uid_set *out,
		    struct err *err)
{
	SQL_SCOPED st = NULL;
	struct uid_set s = {0};
	size_t cap = 0;
	bool more;

	if (!sql_cached(ix->db, "SELECT first, last FROM vanished WHERE mailbox = ? AND modseq > ?", &st,
			err))
		return false;
	sql_bind_int(st, 1, row);
	sql_bind_int(st, 2, (int64_t)since);
	for (;;) {
		if (!sql_step(st, &more, err))
			return false;
		if (!more)
			break;
		s.r = arena_grow(a, s.r, s.n, &cap, sizeof(*s.r));
		s.r[s.n++] = (struct uid_range){(uint32_t)sql_column_int(st, 0),
						(uint32_t)sql_column_int(st, 1)};
	}
	*out = uids_normal(a, s);
	return true;
}

bool index_vanished_tidy(struct index *ix, struct index_mailbox *m, struct err *err)
{
	SQL_SCOPED st = NULL;
	bool more;

	if (!sql_cached(ix->db, "SELECT count(*) FROM vanished WHERE mailbox = ?", &st, err))
		return false;
	sql_bind_int(st, 1, m->row);
	if (!sql_step(st, &more, err))
		return false;
	bool many = more && sql_column_int(st, 0) > VANISHED_MAX;
	sql_reset(st);
	return !many || vanished_compact(ix, m, err);
}

/* ---- summaries -------------------------------------------------------------------------- */
bool index_summary(struct index *ix, int64_t row, uint32_t uid, struct arena *a, struct str *out,
		   bool *out_found, struct err *err)
{
	SQL_SCOPED st = NULL;

	if (!sql_cached(ix->db, "SELECT data FROM summary WHERE id = ?", &st, err))
		return false;
	sql_bind_int(st, 1, index_key(row, uid));
	if (!sql_step(st, out_found, err))
		return false;
	if (*out_found)
		*out = arena_str(a, sql_column_blob(st, 0));
	return true;
}

/* One walk over the rows between the first and the last. */
static bool summaries_walk(struct index *ix, int64_t row, const uint32_t *uids, size_t n, struct arena *a,
			   struct str *out, size_t *out_n, struct err *err)
{
	SQL_SCOPED st = NULL;
	size_t i = 0, bytes = 0;
	bool more;

	if (!sql_cached(ix->db, "SELECT id, data FROM summary WHERE id BETWEEN ? AND ? ORDER BY id", &st,
			err))
		return false;
	sql_bind_int(st, 1, index_key(row, uids[0]));
	sql_bind_int(st, 2, index_key(row, uids[n - 1]));
	while (bytes < SUMMARIES_BYTES) {
		if (!sql_step(st, &more, err))
			return false;
		if (!more) {
			i = n;
			break;
		}
		uint32_t uid = key_uid(sql_column_int(st, 0));
		while (uids[i] < uid)
			i++;
		if (uids[i] != uid)
			continue;
		out[i] = arena_str(a, sql_column_blob(st, 1));
		bytes += out[i].n;
		if (++i == n)
			break;
	}
	*out_n = i;
	return true;
}

bool index_summaries(struct index *ix, int64_t row, const uint32_t *uids, size_t n, struct arena *a,
		     struct str *out, size_t *out_n, struct err *err)
{
	bool found;
	size_t bytes = 0, i = 0;

	for (size_t k = 0; k < n; k++)
		out[k] = STR_NONE;
	if (uids[n - 1] - uids[0] < SPARSE * n)
		return summaries_walk(ix, row, uids, n, a, out, out_n, err);
	for (; i < n && bytes < SUMMARIES_BYTES; bytes += out[i++].n)
		if (!index_summary(ix, row, uids[i], a, &out[i], &found, err))
			return false;
	*out_n = i;
	return true;
}

bool index_summary_put(struct index *ix, int64_t row, uint32_t uid, struct str summary, struct err *err)
{
	SQL_SCOPED st = NULL;

	if (!sql_cached(ix->db, "INSERT OR REPLACE INTO summary (id, data) VALUES (?, ?)", &st, err))
		return false;
	sql_bind_int(st, 1, index_key(row, uid));
	sql_bind_blob(st, 2, summary);
	return sql_run(st, err);
}

bool index_summary_copy(struct index *ix, int64_t from_row, struct uid_range from, int64_t to_row,
			uint32_t to, struct err *err)
{
	SQL_SCOPED st = NULL;

	if (!sql_cached(ix->db,
			"INSERT OR REPLACE INTO summary (id, data)"
			" SELECT id + ?, data FROM summary WHERE id BETWEEN ? AND ?",
			&st, err))
		return false;
	sql_bind_int(st, 1, index_key(to_row, to) - index_key(from_row, from.first));
	sql_bind_int(st, 2, index_key(from_row, from.first));
	sql_bind_int(st, 3, index_key(from_row, from.last));
	return sql_run(st, err);
}

bool index_summary_drop(struct index *ix, int64_t row, struct uid_range r, struct err *err)
{
	return run_range(ix, "DELETE FROM summary WHERE id BETWEEN ? AND ?", index_key(row, r.first),
			 index_key(row, r.last), err);
}

bool index_checkpoint(const char *path, bool truncate, struct err *err)
{
	struct sql_db *db;

	if (!open_db(path, 0, &db, err))
		return false;
	bool ok = sql_checkpoint(db, truncate, err);
	sql_close(db);
	return ok;
}
