/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * store/check.c: an index made anew, and an index compared with what a new one would say.
 */
#include "store/maildir/listing.h"
#include "store/store_int.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

bool account_reindex(struct account *a, void (*progress)(void *ctx, size_t done, size_t all), void *ctx,
		     struct err *err)
{
	if (progress)
		progress(ctx, 0, 1);
	if (!account_lock(a, USE_CHANGE, err))
		return false;
	bool ok = account_index_remove(a, err) && account_index(a, err);
	account_unlock(a);
	if (!ok)
		return err_while(err, "indexing %.*s", STR_ARG(a->address));
	if (progress)
		progress(ctx, 1, 1);
	shared_tell_name(a, STR_NONE);
	return true;
}

struct check {
	struct account *a;
	struct dir *d;
	struct str name;
	struct arena *ar;
	struct buf *report;
	size_t differences;
	struct file_name *files; /* of ours, by UID */
	size_t files_n, files_cap;
};

static void differ(struct check *c, uint32_t uid, const char *what)
{
	buf_add(c->report, c->name);
	if (uid)
		buf_fmt(c->report, ": UID %u: %s\n", uid, what);
	else
		buf_fmt(c->report, ": %s\n", what);
	c->differences++;
}

static int by_uid(const void *x, const void *y)
{
	const struct file_name *a = x, *b = y;

	return (a->uid > b->uid) - (a->uid < b->uid);
}

static bool is_file(const struct check *c, struct str name)
{
	struct stat st;
	const char *path = arena_cstr(c->ar, arena_cat(c->ar, STR("cur/"), name));

	return fstatat(c->d->fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

static void add_file(struct check *c, const struct file_name *n)
{
	c->files = arena_grow(c->ar, c->files, c->files_n, &c->files_cap, sizeof(*c->files));
	c->files[c->files_n++] = *n;
}

static bool read_files(struct check *c, struct err *err)
{
	struct listing l;
	struct uidlist uids;

	if (!listing_read(c->d->fd, "cur", false, c->ar, &l, err) ||
	    !uidlist_read(c->d->fd, UIDS_FILE, c->ar, &uids, err))
		return false;
	for (size_t i = 0; i < l.n; i++) {
		struct file_name n;
		if (!name_parse(l.name[i], &n))
			continue;
		const struct uidlist_entry *e = uidlist_find(&uids, uidlist_name(l.name[i]));
		if (!n.has_uid || !str_eq(n.tag, (struct str){c->d->tag, TAG_LEN})) {
			if (e) {
				n.has_uid = true;
				n.uid = e->uid;
				n.size = e->size;
				n.wire_size = e->wire_size;
				add_file(c, &n);
			} else if (is_file(c, l.name[i]))
				differ(c, 0, "a file has no UID");
			continue;
		}
		add_file(c, &n);
	}
	uidlist_fini(&uids);
	if (c->files_n)
		qsort(c->files, c->files_n, sizeof(*c->files), by_uid);
	for (size_t i = 1; i < c->files_n; i++)
		if (c->files[i].uid == c->files[i - 1].uid)
			differ(c, c->files[i].uid, "two files");
	return true;
}

static void compare_one(struct check *c, const struct file_name *f, const struct hot *h,
			const struct cold *cold)
{
	char path[CUR_PATH_MAX];
	struct stat st;

	if (!str_eq(f->base, cold_base(cold)))
		differ(c, h->uid, "other base name");
	if (marks_of(f->flags, f->keywords) != h->marks)
		differ(c, h->uid, "other flags");
	if (f->size != h->size || f->wire_size != h->wire_size)
		differ(c, h->uid, "other size");
	if (!cur_path(c->d, h, cold, path) || fstatat(c->d->fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		differ(c, h->uid, "no file of that name");
	else if ((uint64_t)st.st_size != h->size || st.st_mtim.tv_sec != h->date)
		differ(c, h->uid, "the file was changed");
}

static void add_to_sums(struct index_mailbox *sum, const struct hot *h)
{
	sum->messages++;
	sum->unseen += !(h->marks & FLAG_SEEN);
	sum->deleted += (h->marks & FLAG_DELETED) != 0;
	sum->size += h->size;
	sum->wire_size += h->wire_size;
}

static bool compare_rows(struct check *c, const struct index_mailbox *m, struct err *err)
{
	struct index_reader r = {.ix = c->a->hot->index, .row = m->row};
	struct index_mailbox sum = {0};
	struct hot h;
	struct cold cold;
	bool ok, found;
	size_t i = 0;

	for (uint32_t uid = 1; (ok = index_find_next(&r, uid, &h, &cold, &found, err)) && found;
	     uid = h.uid + 1) {
		for (; i < c->files_n && c->files[i].uid < h.uid; i++)
			differ(c, c->files[i].uid, "not in the index");
		add_to_sums(&sum, &h);
		if (h.uid >= c->d->state.uidnext)
			differ(c, h.uid, "not below UIDNEXT");
		if (i == c->files_n || c->files[i].uid != h.uid)
			differ(c, h.uid, "in the index without a file");
		else
			compare_one(c, &c->files[i++], &h, &cold);
	}
	index_reader_end(&r);
	for (; ok && i < c->files_n; i++)
		differ(c, c->files[i].uid, "not in the index");
	if (ok && (sum.messages != m->messages || sum.unseen != m->unseen || sum.deleted != m->deleted ||
		   sum.size != m->size || sum.wire_size != m->wire_size))
		differ(c, 0, "counts are wrong");
	return ok;
}

static bool check_mailbox(struct check *c, const struct mailbox_dir *md, struct err *err)
{
	struct index_mailbox m;

	if (!dir_open(c->a, md->dir, &c->d, err))
		return false;
	if (!c->d)
		return true;
	c->name = md->name;
	c->files = NULL;
	c->files_n = c->files_cap = 0;
	/* What is waiting to be noticed is no difference. */
	return dir_sync(c->a, c->d, SYNC_IF_NEEDED, &m, err) && read_files(c, err) &&
	       compare_rows(c, &m, err);
}

/* Rows of mailboxes whose directory is gone. */
static bool check_rows(struct check *c, struct err *err)
{
	struct str *ids;
	int64_t *rows;
	size_t n;

	if (!index_mailbox_ids(c->a->hot->index, c->ar, &ids, &rows, &n, err))
		return false;
	for (size_t i = 0; i < n; i++) {
		struct dir *d;
		if (ids[i].n != MAILBOX_ID_LEN || !dir_open_id(c->a, ids[i].p, STR("."), &d, err))
			return false;
		if (d)
			continue;
		c->name = ids[i];
		differ(c, 0, "a mailbox of the index is gone");
		if (!index_begin(c->a->hot->index, err) ||
		    !index_mailbox_drop(c->a->hot->index, rows[i], err) ||
		    !index_commit(c->a->hot->index, err))
			return false;
	}
	return true;
}

static bool check_locked(struct check *c, struct err *err)
{
	struct mailbox_dir *list;
	size_t n;

	if (!account_index(c->a, err) || !dirs_list(c->a, c->ar, &list, &n, err))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!check_mailbox(c, &list[i], err))
			return false;
	return check_rows(c, err);
}

bool account_check(struct account *a, struct buf *report, size_t *out_differences, struct err *err)
{
	ARENA_SCOPED ar = arena_new();
	struct check c = {.a = a, .ar = ar, .report = report};

	if (!account_lock(a, USE_CHANGE, err))
		return false;
	bool ok = check_locked(&c, err);
	if (!ok)
		account_index_failed(a, err);
	account_unlock(a);
	*out_differences = c.differences;
	return ok;
}
