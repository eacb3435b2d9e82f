/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * store/remove.c: EXPUNGE, COPY and MOVE (DESIGN section 3, step 5): settle, do it under the flock
 * and the mark, unlock, fsync the directories, and only then may OK be said.
 */
#include "base/clock.h"
#include "base/log.h"
#include "store/store_int.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum {
	MOVED_ROUNDS = 5, /* another program renames what we want to remove */
	SUMMARY_RUN = 256,
};

/* One mailbox being changed. */
struct part {
	struct dir *d;
	struct index_mailbox m;
	struct index_edit edit;
	struct dir_change change;
	bool began;
	int cur_fd; /* for the fsync after the unlock */
};

static bool part_open(struct account *a, struct part *p, struct err *err)
{
	p->cur_fd = -1;
	if (!dir_sync(a, p->d, SYNC_IF_NEEDED, &p->m, err))
		return false;
	p->cur_fd = file_openat(p->d->fd, "cur", O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	return p->cur_fd >= 0 || err_sys(err, "open cur");
}

static bool part_begin(struct account *a, struct part *p, uint32_t uids, uint32_t *out_first,
		       struct err *err)
{
	p->edit = (struct index_edit){.ix = a->hot->index, .mailbox = &p->m};
	if (!next_modseq(a, p->d, &p->edit.modseq, err) ||
	    !change_begin(p->d, uids, out_first, &p->change, err))
		return false;
	p->began = true;
	return true;
}

static bool part_sync(struct part *p, struct err *err)
{
	bool ok = p->cur_fd < 0 || file_fsync(p->cur_fd) == 0 || err_sys(err, "fsync cur");

	fd_close(&p->cur_fd);
	return ok;
}

/* The files are as they should be; if the index could not follow, a scan makes it. */
static bool index_by_scan(struct account *a, struct dir *d, struct err *err)
{
	struct index_mailbox m;

	return account_index(a, err) && dir_sync(a, d, SYNC_FORCE, &m, err);
}

/* What a message needs to be found. */
struct target {
	struct hot hot;
	struct cold cold; /* base in the arena */
};
struct target_list {
	struct arena *ar;
	struct target *at;
	size_t n, cap;
	bool young; /* one was not settled: nothing is done */
};

/* Those of uids that are there (and have all of flags). */
static bool collect(struct account *a, struct part *p, struct uid_set uids, unsigned flags,
		    struct target_list *l, struct err *err)
{
	if (flags & FLAG_DELETED && !p->m.deleted)
		return true;
	struct index_reader r = {.ix = a->hot->index, .row = p->m.row};
	struct target t;
	bool ok = true, found;

	for (size_t i = 0; ok && i < uids.n; i++)
		for (uint32_t uid = uids.r[i].first; uid && uid <= uids.r[i].last; uid = t.hot.uid + 1) {
			ok = index_find_next(&r, uid, &t.hot, &t.cold, &found, err);
			if (!ok || !found || t.hot.uid > uids.r[i].last)
				break;
			if ((t.hot.marks & flags) != flags)
				continue;
			if (!is_settled(a->store, r.ix, &t.cold))
				l->young = true;
			l->at = arena_grow(l->ar, l->at, l->n, &l->cap, sizeof(*l->at));
			t.cold.base = arena_str(l->ar, t.cold.base);
			l->at[l->n++] = t;
		}
	index_reader_end(&r);
	return ok;
}

/* ---- EXPUNGE ---------------------------------------------------------------------------- */
static bool unlink_all(struct part *p, const struct target_list *l, bool *out_moved, struct err *err)
{
	char path[CUR_PATH_MAX];

	for (size_t i = 0; i < l->n; i++) {
		if (!cur_path(p->d, &l->at[i].hot, &l->at[i].cold, path))
			return err_set(err, ERR_LIMIT, "a file name is too long");
		if (file_unlinkat(p->d->fd, path, 0) < 0) {
			if (errno != ENOENT)
				return err_sys(err, "unlink %s", path);
			*out_moved = true; /* by another program, or gone: the scan tells */
			continue;
		}
		if (!edit_remove(&p->edit, l->at[i].hot.uid, err)) {
			*out_moved = true; /* its row stays without a file: a scan sees to it */
			return false;
		}
	}
	return true;
}

static bool expunge_tx(struct account *a, struct part *p, const struct target_list *l, bool *out_moved,
		       struct err *err)
{
	struct err late;

	if (!index_begin(a->hot->index, err))
		return false;
	if (!part_begin(a, p, 0, NULL, err)) {
		index_rollback(a->hot->index);
		return false;
	}
	bool ok = unlink_all(p, l, out_moved, err);
	bool committed = edit_end(&p->edit, &late) && index_commit(a->hot->index, &late);
	if (*out_moved)
		p->change.quiet = false;
	if (committed)
		committed = change_end(a, p->d, &p->change, p->m.modseq, &late);
	if (!committed) {
		edit_abort(&p->edit);
		log_err(LOG_WARN, "store.index.failed", &late);
		account_index_failed(a, &late);
		return index_by_scan(a, p->d, err) && ok;
	}
	if (*out_moved && !dir_sync(a, p->d, SYNC_FORCE, &p->m, err))
		return false;
	return ok;
}

struct expunge {
	struct view *v;
	struct uid_set uids;
	unsigned flags;
	struct part p;
	bool young, moved, changed;
};

static bool expunge_locked(struct expunge *x, struct err *err)
{
	struct account *a = x->v->account;
	ARENA_SCOPED ar = arena_new();
	struct target_list l = {.ar = ar};

	if (!account_index(a, err) || !view_dir(x->v, &x->p.d, err) || !part_open(a, &x->p, err) ||
	    !collect(a, &x->p, x->uids, x->flags, &l, err))
		return false;
	x->young = l.young;
	if (l.young || !l.n)
		return true;
	x->changed = true;
	return expunge_tx(a, &x->p, &l, &x->moved, err);
}

bool view_expunge(struct view *v, struct uid_set uids, bool deleted_only, uint64_t *out_modseq,
		  struct err *err)
{
	ARENA_SCOPED ar = arena_new();
	struct account *a = v->account;
	struct expunge x = {
		.v = v, .uids = uids_normal(ar, uids), .flags = deleted_only ? FLAG_DELETED : 0};
	struct settle_wait wait = {0};
	int moved = 0;
	bool ok = true;

	if (v->read_only)
		return err_set(err, ERR_DENIED, "the mailbox is open read-only");
	do {
		x.young = x.moved = false;
		if (!view_settle(v, x.uids, x.flags, err))
			return false;
		if (!account_lock(a, USE_CHANGE, err))
			return false;
		ok = expunge_locked(&x, err);
		account_unlock(a);
		/* Durable before OK, also what an attempt that failed did. */
		struct err late;
		if (!part_sync(&x.p, ok ? err : &late))
			ok = false;
	} while (ok && (x.young ? settle_pause(&wait) : x.moved && ++moved < MOVED_ROUNDS));
	if (x.changed) {
		house_index_written(a);
		mailbox_changed(a, v->shared->mailbox_id, v->name, v);
	}
	if (ok && x.young)
		ok = err_set(err, ERR_TEMP, "a message is too new to be removed");
	if (!ok)
		return err_while(err, "expunging in %.*s", STR_ARG(v->name));
	*out_modseq = x.p.m.modseq;
	return true;
}

/* ---- COPY and MOVE ---------------------------------------------------------------------- */
struct transfer {
	struct view *v;
	struct uid_set uids;
	struct str to;
	bool move;
	bool same; /* into the same mailbox */
	struct part from, into;
	struct arena *ar;
	struct target_list l;
	struct target *made; /* in the target, parallel to l.at; uid 0: not done */
	bool young, moved, changed;
	char into_id[MAILBOX_ID_LEN];
	uint32_t uidvalidity;
};

static struct part *into_of(struct transfer *x)
{
	return x->same ? &x->from : &x->into;
}

/* Letters differ between mailboxes: by name. What finds no letter any more is left out. */
static bool map_keywords(struct transfer *x, uint32_t used, uint32_t map[KEYWORDS_MAX], struct err *err)
{
	struct account *a = x->v->account;
	struct dir *into = into_of(x)->d;

	if (!used)
		return true;
	if (!dir_keywords(a, x->from.d, err))
		return false;
	for (unsigned i = 0; i < KEYWORDS_MAX; i++) {
		map[i] = 0;
		if (!(used >> i & 1) || i >= x->from.d->keywords.n)
			continue;
		unsigned flags = 0;
		if (!keyword_bit(a, into, x->from.d->keywords.name[i], true, &flags, &map[i], err) &&
		    err->kind != ERR_LIMIT)
			return false;
	}
	return true;
}

static uint32_t mapped(uint32_t keywords, const uint32_t map[KEYWORDS_MAX])
{
	uint32_t out = 0;

	for (unsigned i = 0; i < KEYWORDS_MAX; i++)
		if (keywords >> i & 1)
			out |= map[i];
	return out;
}

static bool check_quota(struct transfer *x, struct err *err)
{
	struct account *a = x->v->account;
	uint64_t max_bytes = __atomic_load_n(&a->quota_bytes, __ATOMIC_RELAXED);
	uint64_t max_messages = __atomic_load_n(&a->quota_messages, __ATOMIC_RELAXED);
	uint64_t bytes, messages;

	if (x->move || (!max_bytes && !max_messages))
		return true;
	if (!index_usage(a->hot->index, &bytes, &messages, err))
		return false;
	for (size_t i = 0; i < x->l.n; i++)
		bytes += x->l.at[i].hot.size;
	messages += x->l.n;
	if ((max_bytes && bytes > max_bytes) || (max_messages && messages > max_messages))
		return err_set(err, ERR_QUOTA, "the mailbox is full");
	return true;
}

/* Where hard links are not to be had (EMLINK, some file systems): a file of its own, synced. */
static bool copy_content(struct dir *from, const char *src, const struct hot *h, struct dir *into,
			 const char *dst, struct err *err)
{
	FD_SCOPED fd = file_openat(from->fd, src, O_RDONLY | O_NOFOLLOW, 0);
	if (fd < 0)
		return err_sys(err, "open %s", src);

	struct new_message m = {
		.id = id_new(), .file_fd = fd, .file_size = h->size, .internaldate = h->date};
	struct tmp_file t;
	if (!tmp_write(into->fd, &m, &t, err))
		return false;
	FD_SCOPED copy = file_openat(into->fd, t.name, O_RDONLY | O_NOFOLLOW, 0);
	if (copy < 0 || file_fsync(copy) < 0)
		err_sys(err, "fsync %s", t.name);
	else if (file_renameat_noreplace(into->fd, t.name, into->fd, dst) < 0)
		err_sys(err, "rename %s to %s", t.name, dst);
	else
		return true;
	tmp_remove(into->fd, &t);
	return false;
}

static bool put_file(struct transfer *x, const char *src, const struct hot *h, const char *dst,
		     struct err *err)
{
	int from = x->from.d->fd, into = into_of(x)->d->fd;
	int result = x->move ? file_renameat_noreplace(from, src, into, dst)
			     : file_linkat(from, src, into, dst);

	if (result == 0)
		return true;
	if (!x->move && (errno == EMLINK || errno == EXDEV || errno == EPERM || errno == EOPNOTSUPP))
		return copy_content(x->from.d, src, h, into_of(x)->d, dst, err);
	return err_sys(err, "%s %s to %s", x->move ? "rename" : "link", src, dst);
}

static bool transfer_one(struct transfer *x, size_t i, uint32_t uid, const uint32_t map[KEYWORDS_MAX],
			 struct err *err)
{
	const struct target *t = &x->l.at[i];
	struct target *made = &x->made[i];
	char src[CUR_PATH_MAX], dst[CUR_PATH_MAX];

	*made = *t;
	made->hot.uid = uid;
	made->hot.marks =
		marks_of(t->hot.marks & MARK_FLAGS, mapped(t->hot.marks >> MARK_KEYWORD_SHIFT, map));
	made->cold.uid = uid;
	made->cold.base = cold_base(&t->cold);
	made->cold.plain = false;
	made->cold.savedate = clock_wall_s();
	made->cold.journal = JOURNAL_SETTLED;
	made->cold.seq = 0;
	if (!cur_path(x->from.d, &t->hot, &t->cold, src) ||
	    !cur_path(into_of(x)->d, &made->hot, &made->cold, dst)) {
		made->hot.uid = 0;
		return err_set(err, ERR_LIMIT, "a file name is too long");
	}
	if (put_file(x, src, &t->hot, dst, err))
		return true;
	made->hot.uid = 0;
	if (err->sys != ENOENT)
		return false;
	x->moved = true;
	return true;
}

/* COPY is all or nothing (RFC 9051 6.4.7); so we make MOVE too. */
static void undo(struct transfer *x)
{
	for (size_t i = 0; i < x->l.n; i++) {
		char src[CUR_PATH_MAX], dst[CUR_PATH_MAX];
		if (!x->made[i].hot.uid || !cur_path(x->from.d, &x->l.at[i].hot, &x->l.at[i].cold, src) ||
		    !cur_path(into_of(x)->d, &x->made[i].hot, &x->made[i].cold, dst))
			continue;
		if (x->move)
			file_renameat_noreplace(into_of(x)->d->fd, dst, x->from.d->fd, src);
		else
			file_unlinkat(into_of(x)->d->fd, dst, 0);
		x->made[i].hot.uid = 0;
	}
}

/* Runs of neighbours at once; bounded, as SQLite holds the rows of one in memory. */
static bool copy_summaries(struct transfer *x, struct err *err)
{
	for (size_t i = 0, n; i < x->l.n; i += n) {
		uint32_t from = x->l.at[i].hot.uid, to = x->made[i].hot.uid;
		n = 1;
		while (to && n < SUMMARY_RUN && i + n < x->l.n && x->l.at[i + n].hot.uid == from + n &&
		       x->made[i + n].hot.uid == to + n)
			n++;
		struct uid_range run = {from, from + (uint32_t)n - 1};
		if (to && !index_summary_copy(x->v->account->hot->index, x->from.m.row, run,
					      into_of(x)->m.row, to, err))
			return false;
	}
	return true;
}

static bool add_rows(struct transfer *x, struct err *err)
{
	struct part *into = into_of(x);

	if (!copy_summaries(x, err))
		return false;
	for (size_t i = 0; i < x->l.n; i++) {
		uint32_t from_uid = x->l.at[i].hot.uid, uid = x->made[i].hot.uid;
		if (!uid)
			continue;
		if (x->move && !edit_remove(&x->from.edit, from_uid, err))
			return false;
		if (!x->same && !edit_append(&into->edit, &x->made[i].hot, &x->made[i].cold, err))
			return false;
	}
	/* In ascending order: within one mailbox the new ones come after all others. */
	for (size_t i = 0; x->same && i < x->l.n; i++)
		if (x->made[i].hot.uid &&
		    !edit_append(&into->edit, &x->made[i].hot, &x->made[i].cold, err))
			return false;
	return true;
}

static bool write_rows(struct transfer *x, struct err *err)
{
	struct index *ix = x->v->account->hot->index;

	if (!index_begin(ix, err))
		return false;
	if (add_rows(x, err) && (!x->move || x->same || edit_end(&x->from.edit, err)) &&
	    edit_end(&into_of(x)->edit, err) && index_commit(ix, err))
		return true;
	edit_abort(&x->from.edit);
	edit_abort(&x->into.edit);
	index_rollback(ix);
	return false;
}

static bool end_parts(struct transfer *x, struct err *err)
{
	struct account *a = x->v->account;
	struct part *into = into_of(x);

	if (x->moved)
		x->from.change.quiet = false;
	if (x->move && !x->same && !change_end(a, x->from.d, &x->from.change, x->from.m.modseq, err))
		return false;
	return change_end(a, into->d, &into->change, into->m.modseq, err);
}

static bool begin_parts(struct transfer *x, uint32_t *out_first, struct err *err)
{
	struct account *a = x->v->account;

	if (!part_begin(a, into_of(x), (uint32_t)x->l.n, out_first, err))
		return false;
	if (!x->move || x->same)
		return true;
	if (!part_begin(a, &x->from, 0, NULL, err))
		return false;
	/* One change, one MODSEQ: of the higher of both. */
	uint64_t *one = &x->from.edit.modseq, *two = &x->into.edit.modseq;
	*one = *two = *one > *two ? *one : *two;
	return true;
}

static bool transfer_files(struct transfer *x, struct err *err)
{
	struct account *a = x->v->account;
	uint32_t map[KEYWORDS_MAX] = {0}, used = 0, first;

	for (size_t i = 0; i < x->l.n; i++)
		used |= x->l.at[i].hot.marks >> MARK_KEYWORD_SHIFT;
	if (!check_quota(x, err) || !map_keywords(x, used, map, err) || !begin_parts(x, &first, err))
		return false;

	x->made = arena_zalloc(x->ar, x->l.n * sizeof(*x->made));
	x->changed = true;
	for (size_t i = 0; i < x->l.n; i++)
		if (!transfer_one(x, i, first + (uint32_t)i, map, err)) {
			undo(x);
			return false; /* the mark stays: a scan finds that nothing changed */
		}
	struct err late;
	if (write_rows(x, &late) && end_parts(x, &late))
		return !x->moved || dir_sync(a, x->from.d, SYNC_FORCE, &x->from.m, err);
	log_err(LOG_WARN, "store.index.failed", &late);
	account_index_failed(a, &late);
	return index_by_scan(a, x->from.d, err) && (x->same || index_by_scan(a, x->into.d, err));
}

static bool open_parts(struct transfer *x, struct err *err)
{
	struct account *a = x->v->account;

	if (!account_index(a, err) || !dir_find(a, x->to, &x->into.d, err))
		return false;
	if (!x->into.d)
		return err_set(err, ERR_NOT_FOUND, "no such mailbox");
	if (!view_dir(x->v, &x->from.d, err))
		return false;
	x->same = x->from.d == x->into.d;
	if (!part_open(a, &x->from, err) || (!x->same && !part_open(a, &x->into, err)))
		return false;
	const struct dir *into = into_of(x)->d;
	memcpy(x->into_id, into->state.mailbox_id, MAILBOX_ID_LEN);
	x->uidvalidity = into->state.uidvalidity;
	return true;
}

static bool transfer_locked(struct transfer *x, struct err *err)
{
	x->l = (struct target_list){.ar = x->ar};
	if (!open_parts(x, err) || !collect(x->v->account, &x->from, x->uids, 0, &x->l, err))
		return false;
	x->young = x->l.young;
	return x->young || !x->l.n || transfer_files(x, err);
}

static void result(struct transfer *x, struct copied *out)
{
	struct uids src = {0}, dst = {0};

	for (size_t i = 0; i < x->l.n; i++)
		if (x->made && x->made[i].hot.uid) {
			uids_add(x->ar, &src, x->l.at[i].hot.uid);
			uids_add(x->ar, &dst, x->made[i].hot.uid);
		}
	*out = (struct copied){x->uidvalidity, src.set, dst.set};
}

static bool transfer_round(struct transfer *x, struct err *err)
{
	struct account *a = x->v->account;

	x->young = x->moved = false;
	x->from = x->into = (struct part){.cur_fd = -1};
	if (!view_settle(x->v, x->uids, 0, err) || !account_lock(a, USE_CHANGE, err))
		return false;
	bool ok = transfer_locked(x, err);
	account_unlock(a);
	/* The target first: after power loss a message is in one of both at least. */
	struct err late;
	if (!part_sync(&x->into, ok ? err : &late))
		ok = false;
	if (!part_sync(&x->from, ok ? err : &late))
		ok = false;
	return ok;
}

static bool transfer(struct transfer *x, struct copied *out, struct err *err)
{
	struct account *a = x->v->account;
	struct str normal;
	bool ok;

	if (x->move && x->v->read_only)
		return err_set(err, ERR_DENIED, "the mailbox is open read-only");
	if (!mailbox_name_normal(x->ar, x->to, &normal, err))
		return false;
	x->to = normal;
	x->uids = uids_normal(x->ar, x->uids);
	struct settle_wait wait = {0};
	do
		ok = transfer_round(x, err);
	while (ok && x->young && settle_pause(&wait));
	if (ok && x->young)
		ok = err_set(err, ERR_TEMP, "a message is too new to be copied");

	if (x->changed) {
		house_index_written(a);
		mailbox_changed(a, x->into_id, x->to, NULL);
		if (x->move && !x->same)
			mailbox_changed(a, x->v->shared->mailbox_id, x->v->name, x->v);
	}
	if (!ok)
		return err_while(err, "%s from %.*s", x->move ? "moving" : "copying",
				 STR_ARG(x->v->name));
	result(x, out);
	return true;
}

bool view_copy(struct view *v, struct uid_set uids, struct str to, struct arena *ar, struct copied *out,
	       struct err *err)
{
	struct transfer x = {.v = v, .uids = uids, .to = to, .ar = ar};

	return transfer(&x, out, err);
}

bool view_move(struct view *v, struct uid_set uids, struct str to, struct arena *ar, struct copied *out,
	       struct err *err)
{
	struct transfer x = {.v = v, .uids = uids, .to = to, .ar = ar, .move = true};

	return transfer(&x, out, err);
}
