/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Messages in blocks. The row's key is mailbox << 32 | first, where UIDs of the block are at least
 * first and below that of the next row. A block that became empty stays as an empty row, so that
 * whoever loads changes learns of it.
 *
 * hot.data: struct hot, as in memory. cold.data: per message, in the same order,
 *   uid u32, mtime_ns u32, savedate u64, seq u64, journal u8, plain u8, length u8, base
 */
#include "base/buf.h"
#include "base/mem.h"
#include "base/scan.h"
#include "store/index/index_int.h"
#include <stdlib.h>
#include <string.h>

/* One block taken apart. One message more than fits, until it is split. */
struct index_block {
	int64_t key;
	int64_t end; /* key of the next block, or of the next mailbox */
	uint32_t n;
	bool hot_dirty, cold_dirty;
	struct hot hot[BLOCK_MAX + 1];
	struct cold cold[BLOCK_MAX + 1];
	struct arena *bases;
	struct buf blob, cold_blob; /* being written */
};

static struct index_block *block_alloc(void)
{
	struct index_block *b = mem_alloc(sizeof(*b));

	b->n = 0;
	b->key = -1;
	b->hot_dirty = b->cold_dirty = false;
	b->bases = arena_new();
	b->blob = b->cold_blob = (struct buf){0};
	return b;
}

static void block_free(struct index_block *b)
{
	if (!b)
		return;
	arena_free(b->bases);
	buf_free(&b->blob);
	buf_free(&b->cold_blob);
	free(b);
}

static bool corrupt(struct err *err)
{
	return err_set(err, ERR_CORRUPT, "a block of the index does not read");
}

/* ---- rows <-> blocks -------------------------------------------------------------------- */
static bool hot_decode(struct index_block *b, struct str data, struct err *err)
{
	if (data.n % sizeof(struct hot) || data.n / sizeof(struct hot) > BLOCK_MAX)
		return corrupt(err);
	b->n = (uint32_t)(data.n / sizeof(struct hot));
	if (data.n)
		memcpy(b->hot, data.p, data.n);
	return true;
}

static bool cold_decode(struct index_block *b, struct str data, struct err *err)
{
	struct scan s = scan_of(data);

	arena_reset(b->bases);
	for (uint32_t i = 0; i < b->n; i++) {
		struct cold *c = &b->cold[i];
		uint64_t savedate;
		struct str three, base;
		if (!scan_le32(&s, &c->uid) || !scan_le32(&s, &c->mtime_ns) ||
		    !scan_le64(&s, &savedate) || !scan_le64(&s, &c->seq) || !scan_take(&s, 3, &three) ||
		    !scan_take(&s, (unsigned char)three.p[2], &base) || c->uid != b->hot[i].uid)
			return corrupt(err);
		c->savedate = (int64_t)savedate;
		c->journal = (uint8_t)three.p[0];
		c->plain = three.p[1];
		c->base = arena_str(b->bases, base);
	}
	return scan_end(&s) || corrupt(err);
}

static void cold_encode(struct buf *out, const struct index_block *b)
{
	buf_clear(out);
	for (uint32_t i = 0; i < b->n; i++) {
		const struct cold *c = &b->cold[i];
		buf_le32(out, c->uid);
		buf_le32(out, c->mtime_ns);
		buf_le64(out, (uint64_t)c->savedate);
		buf_le64(out, c->seq);
		buf_byte(out, (char)c->journal);
		buf_byte(out, c->plain);
		buf_byte(out, (char)c->base.n);
		buf_add(out, c->base);
	}
}

static bool find_key(struct index *ix, const char *sql, int64_t from, int64_t to, int64_t *out,
		     bool *out_found, struct err *err)
{
	SQL_SCOPED st = NULL;

	if (!sql_cached(ix->db, sql, &st, err))
		return false;
	sql_bind_int(st, 1, from);
	sql_bind_int(st, 2, to);
	if (!sql_step(st, out_found, err))
		return false;
	if (*out_found)
		*out = sql_column_int(st, 0);
	return true;
}

static bool load_row(struct index *ix, struct index_block *b, struct err *err)
{
	SQL_SCOPED st = NULL;
	SQL_SCOPED cold = NULL;
	bool row;

	if (!sql_cached(ix->db, "SELECT data FROM hot WHERE id = ?", &st, err) ||
	    !sql_cached(ix->db, "SELECT data FROM cold WHERE id = ?", &cold, err))
		return false;
	sql_bind_int(st, 1, b->key);
	if (!sql_step(st, &row, err))
		return false;
	if (!row || !hot_decode(b, sql_column_blob(st, 0), err))
		return corrupt(err);
	sql_bind_int(cold, 1, b->key);
	if (!sql_step(cold, &row, err))
		return false;
	return row ? cold_decode(b, sql_column_blob(cold, 0), err) : corrupt(err);
}

/* The block that covers uid. Without one (uid below the first block) an empty one that is no row
 * yet, with uid as its key. */
static bool load_block(struct index *ix, int64_t row, uint32_t uid, struct index_block *b,
		       struct err *err)
{
	int64_t at = index_key(row, uid);
	bool found, more;

	b->n = 0;
	b->key = -1;
	if (!find_key(ix, "SELECT id FROM hot WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1",
		      index_key(row, 0), at, &b->key, &found, err))
		return false;
	if (!found)
		b->key = at;
	if (!find_key(ix, "SELECT id FROM hot WHERE id BETWEEN ? AND ? ORDER BY id LIMIT 1", b->key + 1,
		      index_key(row, UINT32_MAX), &b->end, &more, err))
		goto fail;
	if (!more)
		b->end = index_key(row + 1, 0);
	if (found && !load_row(ix, b, err))
		goto fail;
	return true;
fail:
	b->key = -1;
	return false;
}

static bool covers(const struct index_block *b, int64_t row, uint32_t uid)
{
	int64_t at = index_key(row, uid);

	return b->key >= 0 && at >= b->key && at < b->end;
}

/* Position of the first message with UID >= uid. */
static uint32_t position(const struct index_block *b, uint32_t uid)
{
	uint32_t low = 0, high = b->n;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		if (b->hot[mid].uid < uid)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* ---- reading ---------------------------------------------------------------------------- */
static bool reader_at(struct index_reader *r, uint32_t uid, struct err *err)
{
	if (!r->block)
		r->block = block_alloc();
	return covers(r->block, r->row, uid) || load_block(r->ix, r->row, uid, r->block, err);
}

bool index_find(struct index_reader *r, uint32_t uid, struct hot *out_hot, struct cold *out_cold,
		bool *out_found, struct err *err)
{
	if (!reader_at(r, uid, err))
		return false;

	const struct index_block *b = r->block;
	uint32_t i = position(b, uid);
	*out_found = i < b->n && b->hot[i].uid == uid;
	if (*out_found) {
		*out_hot = b->hot[i];
		*out_cold = b->cold[i];
	}
	return true;
}

bool index_find_next(struct index_reader *r, uint32_t uid, struct hot *out_hot, struct cold *out_cold,
		     bool *out_found, struct err *err)
{
	for (;;) {
		if (!reader_at(r, uid, err))
			return false;
		const struct index_block *b = r->block;
		uint32_t i = position(b, uid);
		if (i < b->n) {
			*out_hot = b->hot[i];
			*out_cold = b->cold[i];
			*out_found = true;
			return true;
		}
		if (b->end >= index_key(r->row + 1, 0)) {
			*out_found = false;
			return true;
		}
		uid = key_uid(b->end);
	}
}

void index_reader_end(struct index_reader *r)
{
	block_free(r->block);
	r->block = NULL;
}

/* In the block that covers uid, then whole blocks by their length alone. */
bool index_count_from(struct index *ix, int64_t row, uint32_t uid, uint32_t *out, struct err *err)
{
	SQL_SCOPED rest = NULL;
	SQL_SCOPED st = NULL;
	bool found;
	uint32_t n = 0;

	if (!sql_cached(ix->db, "SELECT data FROM hot WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1", &st,
			err) ||
	    !sql_cached(ix->db, "SELECT coalesce(sum(length(data)), 0) FROM hot WHERE id BETWEEN ? AND ?",
			&rest, err))
		return false;
	sql_bind_int(st, 1, index_key(row, 0));
	sql_bind_int(st, 2, index_key(row, uid));
	if (!sql_step(st, &found, err))
		return false;
	struct str data = found ? sql_column_blob(st, 0) : STR_NONE;
	for (size_t at = 0; at + sizeof(struct hot) <= data.n; at += sizeof(struct hot)) {
		struct hot h;
		memcpy(&h, data.p + at, sizeof(h));
		n += h.uid >= uid;
	}
	sql_bind_int(rest, 1, index_key(row, uid) + 1);
	sql_bind_int(rest, 2, index_key(row, UINT32_MAX));
	if (!sql_step(rest, &found, err))
		return false;
	*out = n + (found ? (uint32_t)((uint64_t)sql_column_int(rest, 0) / sizeof(struct hot)) : 0);
	return true;
}

struct loaded {
	struct block *block;
};

static int by_first(const void *x, const void *y)
{
	const struct loaded *a = x, *b = y;

	return (a->block->first > b->block->first) - (a->block->first < b->block->first);
}

/* Changed blocks take the place of the old ones with the same key, or come between. */
static struct snapshot *merge(struct slab *slab, const struct snapshot *old, struct loaded *l, size_t n,
			      uint64_t modseq)
{
	uint32_t old_n = old ? old->blocks_n : 0;
	struct snapshot *s = snapshot_new(slab, old_n + (uint32_t)n);
	uint32_t at = 0, o = 0;
	size_t i = 0;

	while (o < old_n || i < n) {
		struct block *b = o < old_n ? old->at[o].block : NULL;
		if (i == n || (b && b->first < l[i].block->first)) {
			s->at[at++].block = block_ref(b);
			o++;
			continue;
		}
		if (b && b->first == l[i].block->first)
			o++;
		s->at[at++].block = l[i++].block;
	}
	s->blocks_n = at;
	s->modseq = modseq;
	snapshot_done(s);
	return s;
}

static bool load_changed(struct index *ix, int64_t row, bool all, uint64_t since, struct arena *a,
			 struct loaded **out, size_t *out_n, struct err *err)
{
	SQL_SCOPED st = NULL;
	size_t cap = 0;
	bool more;

	if (!sql_cached(ix->db,
			all ? "SELECT id, data FROM hot WHERE id BETWEEN ? AND ? ORDER BY id"
			    : "SELECT id, data FROM hot WHERE mailbox = ? AND modseq > ?",
			&st, err))
		return false;
	sql_bind_int(st, 1, all ? index_key(row, 0) : row);
	sql_bind_int(st, 2, all ? index_key(row, UINT32_MAX) : (int64_t)since);
	for (;;) {
		if (!sql_step(st, &more, err))
			return false;
		if (!more)
			break;
		struct str data = sql_column_blob(st, 1);
		if (data.n % sizeof(struct hot))
			return corrupt(err);
		*out = arena_grow(a, *out, *out_n, &cap, sizeof(**out));
		(*out)[(*out_n)++].block = block_new(ix->slab, key_uid(sql_column_int(st, 0)), data.p,
						     (uint32_t)(data.n / sizeof(struct hot)));
	}
	if (!all && *out_n)
		qsort(*out, *out_n, sizeof(**out), by_first);
	return true;
}

static bool mailbox_modseq(struct index *ix, int64_t row, uint64_t *out, struct err *err)
{
	SQL_SCOPED st = NULL;
	bool more;

	if (!sql_cached(ix->db, "SELECT modseq FROM mailbox WHERE row = ?", &st, err))
		return false;
	sql_bind_int(st, 1, row);
	if (!sql_step(st, &more, err))
		return false;
	if (!more)
		return err_set(err, ERR_NOT_FOUND, "mailbox is gone");
	*out = (uint64_t)sql_column_int(st, 0);
	return true;
}

static bool load_in_tx(struct index *ix, int64_t row, const struct snapshot *old, struct snapshot **out,
		       struct err *err)
{
	ARENA_SCOPED a = arena_new();
	struct loaded *l = NULL;
	size_t n = 0;
	uint64_t modseq = 0;

	if (!mailbox_modseq(ix, row, &modseq, err))
		return false;
	if (!load_changed(ix, row, !old, old ? old->modseq : 0, a, &l, &n, err)) {
		for (size_t i = 0; i < n; i++)
			block_unref(l[i].block);
		return false;
	}
	*out = merge(ix->slab, old, l, n, modseq);
	return true;
}

bool index_load(struct index *ix, int64_t row, const struct snapshot *old, struct snapshot **out,
		struct err *err)
{
	if (sql_in_tx(ix->db))
		return load_in_tx(ix, row, old, out, err);
	if (!sql_begin(ix->db, SQL_TX_READ, err))
		return false;
	bool ok = load_in_tx(ix, row, old, out, err);
	sql_rollback(ix->db);
	return ok;
}

/* ---- changing --------------------------------------------------------------------------- */
static bool write_rows(struct index_edit *e, struct err *err)
{
	struct index_block *b = e->block;
	SQL_SCOPED hot = NULL;
	SQL_SCOPED cold = NULL;

	if (!sql_cached(e->ix->db,
			"INSERT OR REPLACE INTO hot (id, mailbox, modseq, data) VALUES (?, ?, ?, ?)",
			&hot, err))
		return false;
	sql_bind_int(hot, 1, b->key);
	sql_bind_int(hot, 2, e->mailbox->row);
	sql_bind_int(hot, 3, (int64_t)e->modseq);
	sql_bind_blob(hot, 4, (struct str){(const char *)b->hot, b->n * sizeof(struct hot)});
	if (!sql_run(hot, err))
		return false;
	if (b->cold_dirty) {
		if (!sql_cached(e->ix->db, "INSERT OR REPLACE INTO cold (id, data) VALUES (?, ?)", &cold,
				err))
			return false;
		cold_encode(&b->cold_blob, b);
		sql_bind_int(cold, 1, b->key);
		sql_bind_blob(cold, 2, buf_str(&b->cold_blob));
		if (!sql_run(cold, err))
			return false;
	}
	b->hot_dirty = b->cold_dirty = false;
	return true;
}

/* Full by one: the upper part becomes a block of its own, which stays loaded. */
static bool split(struct index_edit *e, uint32_t at, struct err *err)
{
	struct index_block *b = e->block;
	uint32_t upper = b->n - at;
	int64_t key = index_key(e->mailbox->row, b->hot[at].uid);

	b->n = at;
	b->hot_dirty = b->cold_dirty = true;
	if (!write_rows(e, err))
		return false;
	memmove(b->hot, b->hot + at, upper * sizeof(b->hot[0]));
	memmove(b->cold, b->cold + at, upper * sizeof(b->cold[0]));
	b->n = upper;
	b->key = key;
	b->hot_dirty = b->cold_dirty = true;
	return true;
}

static bool store_block(struct index_edit *e, struct err *err)
{
	struct index_block *b = e->block;

	return !b || (!b->hot_dirty && !b->cold_dirty) || write_rows(e, err);
}

static bool edit_at(struct index_edit *e, uint32_t uid, struct err *err)
{
	if (!e->block)
		e->block = block_alloc();
	if (covers(e->block, e->mailbox->row, uid))
		return true;
	return store_block(e, err) && load_block(e->ix, e->mailbox->row, uid, e->block, err);
}

static void count(struct index_mailbox *m, const struct hot *h, int by)
{
	unsigned flags = h->marks & MARK_FLAGS;

	m->messages += (uint32_t)by;
	if (!(flags & FLAG_SEEN))
		m->unseen += (uint32_t)by;
	if (flags & FLAG_DELETED)
		m->deleted += (uint32_t)by;
	m->size += (uint64_t)(int64_t)by * h->size;
	m->wire_size += (uint64_t)(int64_t)by * h->wire_size;
}

static bool no_such(uint32_t uid, struct err *err)
{
	return err_set(err, ERR_CORRUPT, "the index has no message %u", uid);
}

bool edit_marks(struct index_edit *e, uint32_t uid, uint32_t marks, struct err *err)
{
	if (!edit_at(e, uid, err))
		return false;

	struct index_block *b = e->block;
	uint32_t i = position(b, uid);
	if (i == b->n || b->hot[i].uid != uid)
		return no_such(uid, err);
	count(e->mailbox, &b->hot[i], -1);
	b->hot[i].marks = marks;
	b->hot[i].modseq = e->modseq;
	count(e->mailbox, &b->hot[i], 1);
	b->hot_dirty = e->touched = true;
	return true;
}

bool edit_cold(struct index_edit *e, const struct cold *c, struct err *err)
{
	if (!edit_at(e, c->uid, err))
		return false;

	struct index_block *b = e->block;
	uint32_t i = position(b, c->uid);
	if (i == b->n || b->hot[i].uid != c->uid)
		return no_such(c->uid, err);
	struct str base = b->cold[i].base;
	b->cold[i] = *c;
	b->cold[i].base = str_eq(base, c->base) ? base : arena_str(b->bases, c->base);
	b->cold_dirty = e->touched = true;
	return true;
}

/* Removed ones are noted, and their summaries dropped, a range at a time. */
static bool flush_gone(struct index_edit *e, struct err *err)
{
	struct uid_range gone = e->gone;

	e->gone = (struct uid_range){0};
	return !gone.first || (index_vanished_add(e->ix, e->mailbox->row, e->modseq, gone, err) &&
			       index_summary_drop(e->ix, e->mailbox->row, gone, err));
}

static bool note_gone(struct index_edit *e, uint32_t uid, struct err *err)
{
	e->removed = true;
	if (e->gone.first && uid == e->gone.last + 1) {
		e->gone.last = uid;
		return true;
	}
	if (!flush_gone(e, err))
		return false;
	e->gone = (struct uid_range){uid, uid};
	return true;
}

bool edit_remove(struct index_edit *e, uint32_t uid, struct err *err)
{
	if (!edit_at(e, uid, err))
		return false;

	struct index_block *b = e->block;
	uint32_t i = position(b, uid);
	if (i == b->n || b->hot[i].uid != uid)
		return no_such(uid, err);
	count(e->mailbox, &b->hot[i], -1);
	b->n--;
	memmove(b->hot + i, b->hot + i + 1, (b->n - i) * sizeof(b->hot[0]));
	memmove(b->cold + i, b->cold + i + 1, (b->n - i) * sizeof(b->cold[0]));
	b->hot_dirty = b->cold_dirty = e->touched = true;
	return note_gone(e, uid, err);
}

bool edit_insert(struct index_edit *e, const struct hot *h, const struct cold *c, struct err *err)
{
	if (c->base.n > UINT8_MAX)
		return err_set(err, ERR_LIMIT, "a file name is too long");
	if (!edit_at(e, h->uid, err))
		return false;

	struct index_block *b = e->block;
	uint32_t i = position(b, h->uid);
	if (i < b->n && b->hot[i].uid == h->uid)
		return err_set(err, ERR_EXISTS, "UID %u is in the index", h->uid);
	memmove(b->hot + i + 1, b->hot + i, (b->n - i) * sizeof(b->hot[0]));
	memmove(b->cold + i + 1, b->cold + i, (b->n - i) * sizeof(b->cold[0]));
	b->hot[i] = *h;
	b->hot[i].modseq = e->modseq;
	b->cold[i] = *c;
	b->cold[i].uid = h->uid;
	b->cold[i].base = arena_str(b->bases, c->base);
	b->n++;
	b->hot_dirty = b->cold_dirty = e->touched = true;
	count(e->mailbox, h, 1);
	if (b->n <= BLOCK_MAX)
		return true;
	/* At the end a fresh block begins: mailboxes grow there, and full blocks stay full. */
	return split(e, i == BLOCK_MAX ? BLOCK_MAX : b->n / 2, err);
}

bool edit_append(struct index_edit *e, const struct hot *h, const struct cold *c, struct err *err)
{
	return edit_insert(e, h, c, err);
}

bool edit_end(struct index_edit *e, struct err *err)
{
	bool removed = e->removed;
	bool ok = store_block(e, err) && flush_gone(e, err);

	edit_abort(e);
	if (!ok)
		return false;
	if (e->modseq > e->mailbox->modseq)
		e->mailbox->modseq = e->modseq;
	if (removed && e->ix->written % 64 == 0 && !index_vanished_tidy(e->ix, e->mailbox, err))
		return false;
	return index_mailbox_save(e->ix, e->mailbox, err);
}

void edit_abort(struct index_edit *e)
{
	block_free(e->block);
	e->block = NULL;
	e->gone = (struct uid_range){0};
	e->removed = false;
}
