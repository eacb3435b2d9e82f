/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * store/place.c: new messages: deliveries in batches, and APPEND (DESIGN section 3, steps 3 and 5).
 *
 * Files are written to tmp/ first, without the flock. Under it: UIDs and the mark into the state,
 * renames into cur/, records to the journal, rows into the index, mark off. What fails after the
 * rename is no failure of the delivery: the mark stays, and the next holder scans.
 */
#include "base/clock.h"
#include "base/log.h"
#include "journal/journal.h"
#include "store/maildir/listing.h"
#include "store/store_int.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* An APPEND on its way to the journal. */
struct pending {
	char *content; /* heap; lives until the record is written */
	size_t n;
	void (*done)(void *ctx, const struct err *err);
	void *ctx;
};

struct batch {
	struct account *a;
	struct dir *d;
	struct new_message *m;
	size_t n;
	struct arena *ar;
	struct tmp_file *tmp;
	uint32_t *keywords; /* letters of each */
	bool over_quota_ok;
	bool is_append;          /* a fresh id: never a replay */
	bool all;                /* all or none */
	bool sync;               /* no journal, or too large for a record: files are fsynced */
	struct pending *pending; /* APPEND through the journal */
	bool index_ok;
	struct index_mailbox row;
	struct map *bases; /* what is there already, when it may be a replay; base -> UID */
};

static bool is_placed(const struct new_message *m)
{
	return m->err.kind == ERR_NONE;
}

static void refuse(struct new_message *m, const struct err *err)
{
	m->err = *err;
	m->uid = 0;
	m->seq = 0;
}

/* Loops over a batch: should this one end the process, the crash note names it. */
static void at_work(const struct new_message *m)
{
	log_context_qid(id_str(&m->id));
	for (size_t i = 0; i < m->parts_n; i++)
		fault_crash("place", m->parts[i]);
}

/* What follows is done for the batch: one message alone can still be named. */
static void all_at_work(const struct batch *b)
{
	log_context_qid(b->n == 1 ? id_str(&b->m[0].id) : STR_NONE);
}

static struct str base_of(struct arena *ar, const struct new_message *m)
{
	return arena_fmt(ar, "%.*s.%u", ID_LEN, m->id.c, m->action);
}

static bool all_refused(const struct batch *b)
{
	for (size_t i = 0; i < b->n; i++)
		if (is_placed(&b->m[i]))
			return false;
	return true;
}

static bool first_error(const struct batch *b, struct err *err)
{
	for (size_t i = 0; i < b->n; i++)
		if (!is_placed(&b->m[i])) {
			*err = b->m[i].err;
			return false;
		}
	return err_set(err, ERR_SYNTAX, "an empty batch");
}

/* Of a batch that goes all or none, one was refused: the others are, too. */
static bool fell_apart(struct batch *b)
{
	struct err err;
	bool one = false;

	for (size_t i = 0; i < b->n; i++)
		one |= !is_placed(&b->m[i]);
	if (!b->all || !one || first_error(b, &err))
		return false;
	for (size_t i = 0; i < b->n; i++)
		if (is_placed(&b->m[i]))
			refuse(&b->m[i], &err);
	return true;
}

/* ---- before the flock ------------------------------------------------------------------- */
static bool sync_file(const struct batch *b, const struct tmp_file *t, struct err *err)
{
	FD_SCOPED fd = file_openat(b->d->fd, t->name, O_RDONLY | O_NOFOLLOW, 0);

	if (fd < 0 || file_fsync(fd) < 0)
		return err_sys(err, "fsync %s", t->name);
	return true;
}

static void write_files(struct batch *b)
{
	for (size_t i = 0; i < b->n; i++) {
		struct new_message *m = &b->m[i];
		struct err err;
		if (!is_placed(m))
			continue;
		at_work(m);
		if (!tmp_write(b->d->fd, m, &b->tmp[i], &err)) {
			refuse(m, &err);
			continue;
		}
		if (b->sync && !b->all && !sync_file(b, &b->tmp[i], &err)) {
			tmp_remove(b->d->fd, &b->tmp[i]);
			refuse(m, &err);
		}
	}
}

/* Many files at once: one sync of the file system costs less than one of each (DESIGN 3.4). */
static void sync_all(struct batch *b)
{
	struct err err;

	if (!is_placed(&b->m[0]) || store_syncfs(b->a->store, &err))
		return;
	for (size_t i = 0; i < b->n; i++) {
		tmp_remove(b->d->fd, &b->tmp[i]);
		refuse(&b->m[i], &err);
	}
}

static void remove_unplaced(struct batch *b)
{
	for (size_t i = 0; i < b->n; i++)
		if (!is_placed(&b->m[i]))
			tmp_remove(b->d->fd, &b->tmp[i]);
}

/* ---- under the flock -------------------------------------------------------------------- */
static bool take_keywords(struct batch *b, struct new_message *m, uint32_t *out, struct err *err)
{
	*out = 0;
	for (size_t i = 0; i < m->keywords_n; i++)
		if (!keyword_bit(b->a, b->d, m->keywords[i], true, &m->flags, out, err))
			return false;
	return true;
}

static void all_keywords(struct batch *b)
{
	for (size_t i = 0; i < b->n; i++) {
		struct err err;
		if (is_placed(&b->m[i]) && !take_keywords(b, &b->m[i], &b->keywords[i], &err))
			refuse(&b->m[i], &err);
	}
}

/* The sum is kept by the index under this lock; without an index nothing is refused. */
static void check_quota(struct batch *b)
{
	uint64_t max_bytes = __atomic_load_n(&b->a->quota_bytes, __ATOMIC_RELAXED);
	uint64_t max_messages = __atomic_load_n(&b->a->quota_messages, __ATOMIC_RELAXED);
	uint64_t bytes, messages;
	struct err err;

	if (b->over_quota_ok || !b->index_ok || (!max_bytes && !max_messages))
		return;
	if (!index_usage(b->a->hot->index, &bytes, &messages, &err))
		return;
	for (size_t i = 0; i < b->n; i++) {
		if (!is_placed(&b->m[i]))
			continue;
		bytes += b->tmp[i].size;
		messages++;
		if ((!max_bytes || bytes <= max_bytes) && (!max_messages || messages <= max_messages))
			continue;
		bytes -= b->tmp[i].size;
		messages--;
		err_set(&err, ERR_QUOTA, "the mailbox is full");
		refuse(&b->m[i], &err);
	}
}

/* Which of ours are in cur/, by base: a message placed before a crash is not placed again. */
static bool read_bases(struct batch *b, struct err *err)
{
	struct listing l;

	if (!listing_read(b->d->fd, "cur", false, b->ar, &l, err))
		return false;
	b->bases = map_new();
	for (size_t i = 0; i < l.n; i++) {
		struct file_name n;
		if (!name_parse(l.name[i], &n) || !n.has_uid ||
		    !str_eq(n.tag, (struct str){b->d->tag, TAG_LEN}))
			continue;
		/* The user's COPY has the same base: the smallest UID is the first one. */
		uintptr_t known = (uintptr_t)map_get(b->bases, n.base);
		if (!known || n.uid < known)
			map_put(b->bases, n.base, (void *)(uintptr_t)n.uid);
	}
	return true;
}

static bool may_be_replay(const struct batch *b)
{
	for (size_t i = 0; !b->is_append && i < b->n; i++)
		if (b->m[i].maybe_there ||
		    memcmp(b->m[i].id.c, b->a->store->started.c, ID_LEN) < 0)
			return true;
	return false;
}

static bool adopt(struct batch *b, size_t i)
{
	uintptr_t uid = b->bases ? (uintptr_t)map_get(b->bases, base_of(b->ar, &b->m[i])) : 0;

	if (!uid)
		return false;
	b->m[i].uid = (uint32_t)uid;
	tmp_remove(b->d->fd, &b->tmp[i]);
	b->tmp[i].name[0] = 0;
	return true;
}

static bool rename_one(struct batch *b, size_t i, uint32_t uid, struct err *err)
{
	struct new_message *m = &b->m[i];
	struct hot h = {.uid = uid,
			.marks = marks_of(m->flags, b->keywords[i]),
			.size = (uint32_t)b->tmp[i].size,
			.wire_size = (uint32_t)b->tmp[i].wire_size};
	struct cold c = {.base = base_of(b->ar, m)};
	char to[CUR_PATH_MAX];

	if (!cur_path(b->d, &h, &c, to))
		return err_set(err, ERR_LIMIT, "a file name is too long");
	if (file_renameat_noreplace(b->d->fd, b->tmp[i].name, b->d->fd, to) < 0)
		return err_sys(err, "rename %s to %s", b->tmp[i].name, to);
	m->uid = uid;
	return true;
}

static void undo_rename(struct batch *b, size_t i)
{
	struct new_message *m = &b->m[i];
	struct hot h = {.uid = m->uid,
			.marks = marks_of(m->flags, b->keywords[i]),
			.size = (uint32_t)b->tmp[i].size,
			.wire_size = (uint32_t)b->tmp[i].wire_size};
	struct cold c = {.base = base_of(b->ar, m)};
	char path[CUR_PATH_MAX];

	if (cur_path(b->d, &h, &c, path))
		file_unlinkat(b->d->fd, path, 0);
	b->tmp[i].name[0] = 0;
}

static void on_append_written(void *ctx, uint64_t seq, const struct err *err)
{
	struct pending *p = ctx;

	(void)seq;
	p->done(p->ctx, err);
	free(p->content);
	free(p);
}

static bool record_one(struct batch *b, size_t i, struct err *err)
{
	struct store *s = b->a->store;
	struct new_message *m = &b->m[i];
	struct done_record r = {
		.account = b->a->address,
		.mailbox_id = {b->d->state.mailbox_id, MAILBOX_ID_LEN},
		.id = m->id,
		.action = m->action,
		.uid = m->uid,
		.uidvalidity = b->d->state.uidvalidity,
		.flags = m->flags & MARK_FLAGS,
		.keywords = b->keywords[i],
		.internaldate = m->internaldate,
		.size = b->tmp[i].size,
		.wire_size = b->tmp[i].wire_size,
		.crc = b->tmp[i].crc,
	};
	BUF_SCOPED head = {0};

	done_encode(&head, &r);
	struct iovec parts[2] = {{head.p, head.n}};
	if (!b->pending)
		return journal_append_lazy(s->o.journal, JOURNAL_DONE, parts, 1, &m->seq, err);

	/* Parts over 64 KiB are not copied: one block on the heap that lives until it is written. */
	struct pending *p = b->pending;
	p->content = mem_resize(p->content, p->n + head.n);
	memmove(p->content + head.n, p->content, p->n);
	memcpy(p->content, head.p, head.n);
	parts[0] = (struct iovec){p->content, head.n + p->n};
	return journal_append(s->o.journal, JOURNAL_APPEND, parts, 1, on_append_written, p, &m->seq, err);
}

static void rename_all(struct batch *b, uint32_t uid)
{
	for (size_t i = 0; i < b->n; i++) {
		struct err err;
		if (!is_placed(&b->m[i]))
			continue;
		log_context_qid(id_str(&b->m[i].id));
		if (adopt(b, i))
			continue;
		if (!rename_one(b, i, uid, &err)) {
			refuse(&b->m[i], &err);
			continue;
		}
		uid++;
		if (!b->a->store->o.journal || b->sync || record_one(b, i, &err))
			continue;
		if (b->pending) {
			/* Nobody will be told OK, and no record will bring it back. */
			undo_rename(b, i);
			refuse(&b->m[i], &err);
		} else {
			log_err(LOG_WARN, "store.done.failed", &err);
			b->m[i].seq = 0;
		}
	}
}

static bool add_rows(struct batch *b, struct index_edit *e, struct err *err)
{
	struct index *ix = b->a->hot->index;
	uint8_t journal = JOURNAL_SETTLED;

	if (!b->sync && !index_journal(ix, b->a->store->journal_name, &journal, err))
		return false;
	for (size_t i = 0; i < b->n; i++) {
		const struct new_message *m = &b->m[i];
		if (!is_placed(m) || !b->tmp[i].name[0])
			continue;
		log_context_qid(id_str(&m->id));
		struct hot h = {.uid = m->uid,
				.marks = marks_of(m->flags, b->keywords[i]),
				.date = m->internaldate,
				.wire_size = (uint32_t)b->tmp[i].wire_size,
				.size = (uint32_t)b->tmp[i].size};
		struct cold c = {.uid = m->uid,
				 .savedate = clock_wall_s(),
				 .journal = journal,
				 .seq = m->seq,
				 .base = base_of(b->ar, m)};
		if (!b->sync && !m->seq) {
			c.journal = JOURNAL_UNKNOWN;
			c.seq = (uint64_t)clock_wall_us();
		}
		if (!edit_append(e, &h, &c, err))
			return false;
	}
	return edit_end(e, err);
}

static bool index_rows(struct batch *b, uint64_t *out_modseq, struct err *err)
{
	struct index *ix = b->a->hot->index;

	if (!index_begin(ix, err))
		return false;
	struct index_edit e = {.ix = ix, .mailbox = &b->row};
	if (next_modseq(b->a, b->d, &e.modseq, err) && add_rows(b, &e, err)) {
		*out_modseq = e.modseq;
		if (index_commit(ix, err))
			return true;
	}
	edit_abort(&e);
	index_rollback(ix);
	return false;
}

/* All or none: what has its name already loses it. Nobody was told of it, and there are no records. */
static void undo_incomplete(struct batch *b)
{
	bool one = false;

	for (size_t i = 0; i < b->n; i++)
		one |= !is_placed(&b->m[i]);
	for (size_t i = 0; b->all && one && i < b->n; i++)
		if (is_placed(&b->m[i]))
			undo_rename(b, i);
	fell_apart(b);
}

/* UIDs, names, records, rows. */
static bool change(struct batch *b, struct err *err)
{
	struct dir_change c;
	uint32_t first;
	uint64_t modseq;
	struct err index_err;

	b->index_ok = dir_sync(b->a, b->d, SYNC_IF_BROKEN, &b->row, &index_err);
	if (!b->index_ok) {
		if (index_err.kind == ERR_NOT_FOUND)
			return *err = index_err, false;
		log_err(LOG_WARN, "store.index.failed", &index_err);
	}
	if (may_be_replay(b) && !read_bases(b, err))
		return false;
	all_keywords(b);
	check_quota(b);
	if (fell_apart(b))
		return true;
	if (!change_begin(b->d, (uint32_t)b->n, &first, &c, err))
		return false;
	rename_all(b, first);
	undo_incomplete(b);
	all_at_work(b);
	/* Without rows the mark stays: who comes next scans. */
	if (!b->index_ok)
		return true;
	if (!index_rows(b, &modseq, &index_err)) {
		log_err(LOG_WARN, "store.index.failed", &index_err);
		account_index_failed(b->a, &index_err);
		return true;
	}
	if (!change_end(b->a, b->d, &c, modseq, &index_err))
		log_err(LOG_WARN, "store.state.failed", &index_err);
	return true;
}

static bool find_or_make(struct account *a, struct str name, bool make, struct dir **out, struct err *err)
{
	if (!dir_find(a, name, out, err))
		return false;
	if (*out)
		return true;
	if (!make)
		return err_set(err, ERR_NOT_FOUND, "no such mailbox");
	if (!account_flock(a, err))
		return false;
	if (!dir_create(a, name, special_of_name(name), out, err) && err->kind != ERR_EXISTS)
		return false;
	return dir_find(a, name, out, err) &&
	       (*out || err_set(err, ERR_IO, "the mailbox cannot be made"));
}

static uint32_t lowest_uid(const struct batch *b)
{
	uint32_t uid = UINT32_MAX;

	for (size_t i = 0; i < b->n; i++)
		if (is_placed(&b->m[i]) && b->m[i].uid && b->m[i].uid < uid)
			uid = b->m[i].uid;
	return uid;
}

/* The account is locked when it is called. */
static bool run(struct batch *b, struct err *err)
{
	b->tmp = arena_zalloc(b->ar, b->n * sizeof(*b->tmp));
	b->keywords = arena_zalloc(b->ar, b->n * sizeof(*b->keywords));
	write_files(b);
	all_at_work(b);
	if (fell_apart(b))
		remove_unplaced(b);
	else if (b->all)
		sync_all(b);
	if (all_refused(b))
		return first_error(b, err);

	bool ok = account_flock(b->a, err) && dir_refresh(b->a, b->d, err) && change(b, err);
	map_free(b->bases);
	if (!ok)
		for (size_t i = 0; i < b->n; i++)
			if (is_placed(&b->m[i]))
				refuse(&b->m[i], err);
	log_context_qid(STR_NONE);
	remove_unplaced(b);
	if (ok && all_refused(b))
		ok = first_error(b, err);
	if (ok && b->d->state.uidnext + UID_BLOCK / 2 > b->d->state.ceiling)
		house_extend_ceiling(b->a, b->d);
	if (ok) {
		house_index_written(b->a);
		house_summarize(b->a, b->d, lowest_uid(b));
	}
	return ok;
}

/* After the account is unlocked: the names last, then whoever waits is told. */
static bool sync_cur(struct account *a, struct dir *d, struct err *err)
{
	(void)a;
	return dir_fsync(d->fd, "cur", err);
}

bool mailbox_place(struct account *a, struct str mailbox, struct new_message *m, size_t n,
		   bool over_quota_ok, struct err *err)
{
	ARENA_SCOPED ar = arena_new();
	struct batch b = {.a = a,
			  .m = m,
			  .n = n,
			  .ar = ar,
			  .over_quota_ok = over_quota_ok,
			  .sync = !a->store->o.journal};
	struct str name;
	char id[MAILBOX_ID_LEN];

	for (size_t i = 0; i < n; i++)
		err_clear(&m[i].err);
	if (!n)
		return true;
	if (!mailbox_name_normal(ar, mailbox, &name, err) || !account_lock(a, USE_READ, err))
		return false;
	bool ok = find_or_make(a, name, true, &b.d, err) && run(&b, err);
	if (ok) {
		memcpy(id, b.d->state.mailbox_id, sizeof(id));
		ok = !b.sync || sync_cur(a, b.d, err);
	}
	account_unlock(a);
	if (ok)
		mailbox_changed(a, id, name, NULL);
	return ok || err_while(err, "placing in %.*s of %.*s", STR_ARG(name), STR_ARG(a->address));
}

/* ---- APPEND ----------------------------------------------------------------------------- */
static bool read_content(const struct new_message *m, uint64_t size, struct pending *p, struct err *err)
{
	size_t at = 0;

	p->n = (size_t)size;
	p->content = mem_alloc(p->n + 1);
	for (size_t i = 0; i < m->parts_n; i++) {
		if (m->parts[i].n)
			memcpy(p->content + at, m->parts[i].p, m->parts[i].n);
		at += m->parts[i].n;
	}
	return at == p->n || file_pread_all(m->file_fd, p->content + at, p->n - at, 0, err);
}

static uint64_t content_size(const struct new_message *m)
{
	uint64_t n = m->file_fd >= 0 ? m->file_size : 0;

	for (size_t i = 0; i < m->parts_n; i++)
		n += m->parts[i].n;
	return n;
}

static struct pending *pending_new(const struct new_message *m, uint64_t size,
				   void (*done)(void *ctx, const struct err *err), void *ctx,
				   struct err *err)
{
	struct pending *p = mem_new(struct pending);

	p->done = done;
	p->ctx = ctx;
	if (read_content(m, size, p, err))
		return p;
	free(p->content);
	free(p);
	return NULL;
}

bool mailbox_append(struct account *a, struct str mailbox, struct new_message *m,
		    uint32_t *out_uidvalidity, void (*done)(void *ctx, const struct err *err), void *ctx,
		    struct err *err)
{
	ARENA_SCOPED ar = arena_new();
	uint64_t size = content_size(m);
	struct batch b = {.a = a,
			  .m = m,
			  .n = 1,
			  .ar = ar,
			  .is_append = true,
			  .sync = !a->store->o.journal || size > APPEND_RECORD_MAX};
	struct str name;
	char id[MAILBOX_ID_LEN];

	err_clear(&m->err);
	if (!mailbox_name_normal(ar, mailbox, &name, err))
		return false;
	if (a->store->o.journal && !journal_has_room(a->store->o.journal))
		return err_set(err, ERR_LIMIT, "insufficient system storage");
	if (!b.sync && !(b.pending = pending_new(m, size, done, ctx, err)))
		return false;
	struct pending *p = b.pending;
	bool ok = account_lock(a, USE_READ, err);
	if (ok) {
		ok = find_or_make(a, name, false, &b.d, err) && run(&b, err);
		if (ok) {
			memcpy(id, b.d->state.mailbox_id, sizeof(id));
			*out_uidvalidity = b.d->state.uidvalidity;
			ok = !b.sync || sync_cur(a, b.d, err);
		}
		account_unlock(a);
	}
	if (!ok) {
		/* Not queued: done() will not be called. */
		if (p) {
			free(p->content);
			free(p);
		}
		return err_while(err, "appending to %.*s of %.*s", STR_ARG(name), STR_ARG(a->address));
	}
	mailbox_changed(a, id, name, NULL);
	if (b.sync)
		done(ctx, NULL);
	return true;
}

bool mailbox_append_all(struct account *a, struct str mailbox, struct new_message *m, size_t n,
			uint32_t *out_uidvalidity, struct err *err)
{
	ARENA_SCOPED ar = arena_new();
	struct batch b = {.a = a, .m = m, .n = n, .ar = ar, .is_append = true, .all = true, .sync = true};
	struct str name;
	char id[MAILBOX_ID_LEN];

	for (size_t i = 0; i < n; i++)
		err_clear(&m[i].err);
	if (!mailbox_name_normal(ar, mailbox, &name, err) || !account_lock(a, USE_READ, err))
		return false;
	bool ok = find_or_make(a, name, false, &b.d, err) && run(&b, err);
	if (ok) {
		memcpy(id, b.d->state.mailbox_id, sizeof(id));
		*out_uidvalidity = b.d->state.uidvalidity;
		ok = sync_cur(a, b.d, err);
	}
	account_unlock(a);
	if (ok)
		mailbox_changed(a, id, name, NULL);
	return ok || err_while(err, "appending to %.*s of %.*s", STR_ARG(name), STR_ARG(a->address));
}
