/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * store/mailboxes.c: LIST, CREATE, DELETE, RENAME, SUBSCRIBE, STATUS and special-use. Each change is
 * one rename of a directory, synced before the call returns.
 */
#include "base/log.h"
#include "store/maildir/subscriptions.h"
#include "store/store_int.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define TRASH_PREFIX "pabal-trash-"
#define SPECIAL_MARK "pabal-special" /* the special-use mailboxes were made once */

/* ---- LIST ------------------------------------------------------------------------------- */
static struct mailbox_entry *add_entry(struct arena *ar, struct mailbox_entry **list, size_t *n,
				       size_t *cap, struct str name, unsigned attrs)
{
	*list = arena_grow(ar, *list, *n, cap, sizeof(**list));
	struct mailbox_entry *e = &(*list)[(*n)++];
	*e = (struct mailbox_entry){.name = name, .attrs = attrs};
	return e;
}

static int entry_order(const void *x, const void *y)
{
	const struct mailbox_entry *a = x, *b = y;

	return mailbox_name_order(a->name, b->name);
}

/* Parents that only their children prove, and subscribed names that are gone. */
static void add_missing(struct arena *ar, struct mailbox_entry **list, size_t *n, size_t *cap,
			const struct name_list *subscribed)
{
	struct map *seen = map_new();
	size_t real = *n;

	for (size_t i = 0; i < real; i++)
		map_put(seen, (*list)[i].name, seen);
	for (size_t i = 0; i < real; i++) {
		struct str name = (*list)[i].name;
		for (size_t at = 0; at < name.n; at++) {
			struct str parent = str_sub(name, 0, at);
			if (name.p[at] == '/' && !map_put(seen, parent, seen))
				add_entry(ar, list, n, cap, parent,
					  MAILBOX_NOSELECT | MAILBOX_NONEXISTENT);
		}
	}
	for (size_t i = 0; i < subscribed->n; i++)
		if (!map_put(seen, subscribed->name[i], seen))
			add_entry(ar, list, n, cap, subscribed->name[i], MAILBOX_NONEXISTENT);
	map_free(seen);
}

static void mark_relations(struct mailbox_entry *list, size_t n, const struct name_list *subscribed)
{
	struct map *names = map_new();

	for (size_t i = 0; i < subscribed->n; i++)
		map_put(names, subscribed->name[i], names);
	for (size_t i = 0; i < n; i++) {
		if (map_get(names, list[i].name))
			list[i].attrs |= MAILBOX_SUBSCRIBED;
		/* Sorted: a child that exists follows its parent, before anything else. */
		for (size_t j = i + 1; j < n; j++) {
			struct str child = list[j].name, parent = list[i].name;
			if (!str_starts(child, parent) || child.n <= parent.n || child.p[parent.n] != '/')
				break;
			if (list[j].attrs & MAILBOX_NONEXISTENT && !(list[j].attrs & MAILBOX_NOSELECT))
				continue;
			list[i].attrs |= MAILBOX_HAS_CHILDREN;
			break;
		}
	}
	map_free(names);
}

/* Stated uses first; a name says it only where nobody states it. */
static void uses_by_name(struct mailbox_entry *list, size_t n)
{
	bool stated[USE_TRASH + 1] = {false};

	for (size_t i = 0; i < n; i++)
		stated[list[i].use] = true;
	for (size_t i = 0; i < n; i++) {
		enum special_use use = special_of_name(list[i].name);
		if (list[i].use || use == USE_NONE || stated[use] || list[i].attrs & MAILBOX_NONEXISTENT)
			continue;
		list[i].use = use;
		stated[use] = true;
	}
}

static bool list_locked(struct account *a, bool names_count, struct arena *ar, struct mailbox_entry **out,
			size_t *out_n, struct err *err)
{
	struct mailbox_dir *dirs;
	struct name_list subscribed;
	size_t dirs_n, cap = 0;

	*out = NULL;
	*out_n = 0;
	if (!dirs_list(a, ar, &dirs, &dirs_n, err) ||
	    !subscriptions_read(a->hot->fd, ar, &subscribed, err))
		return false;
	for (size_t i = 0; i < dirs_n; i++) {
		struct dir *d;
		if (!dir_open(a, dirs[i].dir, &d, err))
			return false;
		if (!d)
			continue;
		struct mailbox_entry *e = add_entry(ar, out, out_n, &cap, dirs[i].name, 0);
		memcpy(e->mailbox_id, d->state.mailbox_id, MAILBOX_ID_LEN);
		e->use = d->state.use <= USE_TRASH ? d->state.use : USE_NONE;
	}
	add_missing(ar, out, out_n, &cap, &subscribed);
	if (*out_n)
		qsort(*out, *out_n, sizeof(**out), entry_order);
	mark_relations(*out, *out_n, &subscribed);
	if (names_count)
		uses_by_name(*out, *out_n);
	return true;
}

bool mailbox_list(struct account *a, struct arena *ar, struct mailbox_entry **out, size_t *out_n,
		  struct err *err)
{
	if (!account_lock(a, USE_READ, err))
		return false;
	bool ok = list_locked(a, true, ar, out, out_n, err);
	account_unlock(a);
	return ok || err_while(err, "listing the mailboxes of %.*s", STR_ARG(a->address));
}

/* ---- CREATE ----------------------------------------------------------------------------- */
/* names_count: a mailbox may have the use by its name alone. */
static bool use_is_taken(struct account *a, bool names_count, struct arena *ar, enum special_use use,
			 struct str *out_name, bool *out_taken, struct err *err)
{
	struct mailbox_entry *list;
	size_t n;

	*out_taken = false;
	if (!list_locked(a, names_count, ar, &list, &n, err))
		return false;
	for (size_t i = 0; i < n && !*out_taken; i++)
		if (list[i].use == use && !(list[i].attrs & MAILBOX_NONEXISTENT)) {
			*out_taken = true;
			*out_name = list[i].name;
		}
	return true;
}

static bool create_locked(struct account *a, struct str name, enum special_use use, struct err *err)
{
	ARENA_SCOPED ar = arena_new();
	struct dir *d;
	struct str other;
	bool taken = false;

	if (!dir_find(a, name, &d, err))
		return false;
	if (d)
		return err_set(err, ERR_EXISTS, "mailbox exists");
	if (use != USE_NONE && !use_is_taken(a, false, ar, use, &other, &taken, err))
		return false;
	if (taken)
		return err_set(err, ERR_CONFLICT, "another mailbox has that special use");
	return dir_create(a, name, use, &d, err);
}

static bool create(struct account *a, struct str name, enum special_use use, struct err *err)
{
	if (!account_lock(a, USE_CHANGE, err))
		return false;
	bool ok = create_locked(a, name, use, err);
	account_unlock(a);
	if (ok)
		mailbox_names_changed(a);
	return ok;
}

bool mailbox_create(struct account *a, struct str name, enum special_use use, struct err *err)
{
	ARENA_SCOPED ar = arena_new();
	struct str normal;

	if (!mailbox_name_normal(ar, name, &normal, err))
		return false;
	/* Names that LIST could not tell from a pattern (RFC 9051 5.1). */
	if (str_has_byte(normal, '%') || str_has_byte(normal, '*'))
		return err_set(err, ERR_SYNTAX, "mailbox name holds a wildcard");
	return create(a, normal, use, err) ||
	       err_while(err, "creating %.*s of %.*s", STR_ARG(normal), STR_ARG(a->address));
}

/* ---- DELETE ----------------------------------------------------------------------------- */
static void remove_tree(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;

	if (!d)
		fd_close(&fd);
	while (d && (e = readdir(d))) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (file_unlinkat(fd, e->d_name, 0) < 0 && (errno == EISDIR || errno == EPERM))
			remove_tree(fd, e->d_name);
	}
	if (d)
		closedir(d);
	file_unlinkat(dirfd, name, AT_REMOVEDIR);
}

/* Left over where a deletion was interrupted. */
void remove_trash(int account_fd)
{
	int fd = openat(account_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;

	if (!d)
		fd_close(&fd);
	while (d && (e = readdir(d)))
		if (str_starts(str_of(e->d_name), STR(TRASH_PREFIX)))
			remove_tree(fd, e->d_name);
	if (d)
		closedir(d);
}

static bool all_settled(struct account *a, const struct index_mailbox *m, bool *out, struct err *err)
{
	struct index_reader r = {.ix = a->hot->index, .row = m->row};
	struct hot h;
	struct cold c;
	bool ok, found;

	*out = true;
	for (uint32_t uid = 1; (ok = index_find_next(&r, uid, &h, &c, &found, err)) && found;
	     uid = h.uid + 1)
		if (!is_settled(a->store, r.ix, &c)) {
			*out = false;
			break;
		}
	index_reader_end(&r);
	return ok;
}

static bool drop_row(struct account *a, const struct index_mailbox *m, struct err *err)
{
	struct index *ix = a->hot->index;

	if (index_begin(ix, err) && index_mailbox_drop(ix, m->row, err) && index_commit(ix, err))
		return true;
	account_index_failed(a, err);
	return false;
}

struct removal {
	struct str name;
	char trash[64];
	char id[MAILBOX_ID_LEN];
	int account_fd;
	bool young;
};

static bool delete_locked(struct account *a, struct removal *x, struct err *err)
{
	struct index_mailbox m;
	struct dir *d;
	bool settled;

	if (!dir_find(a, x->name, &d, err))
		return false;
	if (!d)
		return err_set(err, ERR_NOT_FOUND, "no such mailbox");
	if (!account_index(a, err) || !dir_sync(a, d, SYNC_IF_NEEDED, &m, err) ||
	    !all_settled(a, &m, &settled, err))
		return false;
	x->young = !settled;
	if (x->young)
		return true;

	struct id id = id_new();
	memcpy(x->trash, TRASH_PREFIX, sizeof(TRASH_PREFIX) - 1);
	memcpy(x->trash + sizeof(TRASH_PREFIX) - 1, id.c, ID_LEN);
	memcpy(x->id, d->state.mailbox_id, MAILBOX_ID_LEN);
	if (file_renameat_noreplace(a->hot->fd, d->name.p, a->hot->fd, x->trash) < 0)
		return err_sys(err, "rename %s to %s", d->name.p, x->trash);
	dir_forget(a, d);
	x->account_fd = fcntl(a->hot->fd, F_DUPFD_CLOEXEC, 0);
	if (x->account_fd < 0)
		return err_sys(err, "dup");

	/* The directory decides; a row without one is dropped by the next check. */
	struct err late;
	if (!drop_row(a, &m, &late))
		log_err(LOG_WARN, "store.index.failed", &late);
	return true;
}

static bool delete_rounds(struct account *a, struct removal *x, struct err *err)
{
	struct settle_wait wait = {0};

	do {
		if (!mailbox_settle(a, x->name, err) || !account_lock(a, USE_CHANGE, err))
			return false;
		bool ok = delete_locked(a, x, err);
		account_unlock(a);
		if (!ok || !x->young)
			return ok;
	} while (settle_pause(&wait));
	return err_set(err, ERR_TEMP, "messages still arrive in that mailbox");
}

bool mailbox_delete(struct account *a, struct str name, struct err *err)
{
	ARENA_SCOPED ar = arena_new();
	struct removal x = {.account_fd = -1};

	if (!mailbox_name_normal(ar, name, &x.name, err))
		return false;
	if (str_eq(x.name, STR("INBOX")))
		return err_set(err, ERR_DENIED, "INBOX cannot be deleted");
	if (!delete_rounds(a, &x, err))
		return err_while(err, "deleting %.*s of %.*s", STR_ARG(x.name), STR_ARG(a->address));
	bool ok = file_fsync(x.account_fd) == 0 || err_sys(err, "fsync the account");
	house_index_written(a);
	mailbox_changed(a, x.id, x.name, NULL);
	mailbox_names_changed(a);
	remove_tree(x.account_fd, x.trash);
	fd_close(&x.account_fd);
	return ok;
}

/* ---- RENAME ----------------------------------------------------------------------------- */
struct pair {
	struct str from, to; /* directories */
};

static bool inside(struct str name, struct str parent)
{
	return str_starts(name, parent) && name.n > parent.n && name.p[parent.n] == '/';
}

/* The mailbox and its children, with the names they get. */
static bool plan_rename(struct account *a, struct arena *ar, struct str from, struct str to,
			struct pair **out, size_t *out_n, struct err *err)
{
	struct mailbox_dir *list;
	size_t n;

	if (!dirs_list(a, ar, &list, &n, err))
		return false;
	*out = arena_array(ar, n + 1, sizeof(**out));
	*out_n = 0;
	for (size_t i = 0; i < n; i++) {
		if (str_eq(list[i].name, to) || inside(list[i].name, to))
			return err_set(err, ERR_EXISTS, "mailbox exists");
		if (!str_eq(list[i].name, from) && !inside(list[i].name, from))
			continue;
		struct pair *p = &(*out)[(*out_n)++];
		p->from = list[i].dir;
		if (!dir_of_mailbox(ar, arena_cat(ar, to, str_from(list[i].name, from.n)), &p->to, err))
			return false;
	}
	return *out_n > 0 || err_set(err, ERR_NOT_FOUND, "no such mailbox");
}

static bool rename_dirs(struct account *a, const struct pair *p, size_t n, struct err *err)
{
	for (size_t i = 0; i < n; i++)
		if (file_renameat_noreplace(a->hot->fd, p[i].from.p, a->hot->fd, p[i].to.p) < 0) {
			bool exists = errno == EEXIST;
			err_sys(err, "rename %s to %s", p[i].from.p, p[i].to.p);
			while (i--)
				file_renameat_noreplace(a->hot->fd, p[i].to.p, a->hot->fd, p[i].from.p);
			return exists ? err_set(err, ERR_EXISTS, "mailbox exists") : false;
		}
	return true;
}

static bool rename_locked(struct account *a, struct str from, struct str to, int *out_fd, struct err *err)
{
	ARENA_SCOPED ar = arena_new();
	struct pair *p;
	size_t n;

	if (!plan_rename(a, ar, from, to, &p, &n, err) || !rename_dirs(a, p, n, err))
		return false;
	while (a->hot->dirs)
		dir_forget(a, a->hot->dirs);
	*out_fd = fcntl(a->hot->fd, F_DUPFD_CLOEXEC, 0);
	return *out_fd >= 0 || err_sys(err, "dup");
}

/* INBOX stays, empty; its messages go to the new mailbox (RFC 9051 6.3.6). */
static bool rename_inbox(struct account *a, struct str to, struct err *err)
{
	ARENA_SCOPED ar = arena_new();
	struct uid_range all = {1, UINT32_MAX - 1};
	struct copied moved;
	struct view *v;

	if (!create(a, to, USE_NONE, err) || !view_open(a, STR("INBOX"), false, &v, err))
		return false;
	bool ok = view_move(v, (struct uid_set){&all, 1}, to, ar, &moved, err);
	view_close(v);
	return ok;
}

bool mailbox_rename(struct account *a, struct str from, struct str to, struct err *err)
{
	ARENA_SCOPED ar = arena_new();
	struct str x, y;

	if (!mailbox_name_normal(ar, from, &x, err) || !mailbox_name_normal(ar, to, &y, err))
		return false;
	if (str_has_byte(y, '%') || str_has_byte(y, '*'))
		return err_set(err, ERR_SYNTAX, "mailbox name holds a wildcard");
	if (str_eq(y, STR("INBOX")) || str_eq(x, y))
		return err_set(err, ERR_EXISTS, "mailbox exists");
	if (str_eq(x, STR("INBOX")))
		return rename_inbox(a, y, err);
	if (inside(y, x))
		return err_set(err, ERR_CONFLICT, "a mailbox cannot become a child of itself");

	FD_SCOPED fd = -1;
	if (!account_lock(a, USE_CHANGE, err))
		return false;
	bool ok = rename_locked(a, x, y, &fd, err);
	account_unlock(a);
	if (ok && file_fsync(fd) < 0)
		ok = err_sys(err, "fsync the account");
	if (ok)
		mailbox_names_changed(a);
	return ok || err_while(err, "renaming %.*s of %.*s", STR_ARG(x), STR_ARG(a->address));
}

/* ---- SUBSCRIBE -------------------------------------------------------------------------- */
static bool subscribe_locked(struct account *a, struct arena *ar, struct str name, bool on,
			     struct err *err)
{
	struct name_list l;

	if (!subscriptions_read(a->hot->fd, ar, &l, err))
		return false;
	if (name_list_has(&l, name) == on)
		return true;
	if (on)
		name_list_add(ar, &l, name);
	else
		name_list_remove(&l, name);
	return subscriptions_write(a->hot->fd, &l, err);
}

bool mailbox_subscribe(struct account *a, struct str name, bool on, struct err *err)
{
	ARENA_SCOPED ar = arena_new();
	struct str normal, dir;

	if (!mailbox_name_normal(ar, name, &normal, err) || !dir_of_mailbox(ar, normal, &dir, err) ||
	    !account_lock(a, USE_CHANGE, err))
		return false;
	bool ok = subscribe_locked(a, ar, normal, on, err);
	account_unlock(a);
	if (ok)
		mailbox_names_changed(a);
	return ok;
}

/* ---- special use ------------------------------------------------------------------------ */
bool mailbox_special(struct account *a, enum special_use use, struct arena *ar, struct str *out_name,
		     struct err *err)
{
	bool found;

	if (!account_lock(a, USE_READ, err))
		return false;
	bool ok = use_is_taken(a, true, ar, use, out_name, &found, err);
	account_unlock(a);
	if (!ok || found)
		return ok;

	struct str name = special_name(use, a->language);
	if (!name.n)
		return err_set(err, ERR_NOT_FOUND, "no mailbox has that special use");
	/* Somebody else may be as fast. */
	if (!create(a, name, use, err) && err->kind != ERR_EXISTS && err->kind != ERR_CONFLICT)
		return false;
	*out_name = arena_str(ar, name);
	return mailbox_subscribe(a, name, true, err);
}

/* The mark comes last: what a crash leaves half done is gone on with. */
static bool special_mark(struct account *a, struct err *err)
{
	if (!account_lock(a, USE_CHANGE, err))
		return false;
	FD_SCOPED mark = file_openat(a->hot->fd, SPECIAL_MARK, O_WRONLY | O_CREAT | O_NOFOLLOW, 0600);
	bool ok = mark >= 0 || err_sys(err, "create " SPECIAL_MARK);
	account_unlock(a);
	return ok;
}

bool mailbox_special_all(struct account *a, struct err *err)
{
	static const enum special_use uses[] = {USE_DRAFTS, USE_SENT, USE_JUNK, USE_TRASH, USE_ARCHIVE};
	ARENA_SCOPED ar = arena_new();
	struct str name;

	if (__atomic_load_n(&a->specials, __ATOMIC_ACQUIRE))
		return true;
	if (!account_lock(a, USE_READ, err))
		return false;
	bool marked = faccessat(a->hot->fd, SPECIAL_MARK, F_OK, 0) == 0;
	account_unlock(a);
	for (size_t i = 0; !marked && i < sizeof(uses) / sizeof(uses[0]); i++)
		if (!mailbox_special(a, uses[i], ar, &name, err))
			return false;
	if (!marked && !special_mark(a, err))
		return false;
	__atomic_store_n(&a->specials, true, __ATOMIC_RELEASE);
	return true;
}

/* ---- STATUS ----------------------------------------------------------------------------- */
static bool status_locked(struct account *a, struct str name, struct mailbox_status *out, struct err *err)
{
	struct index_mailbox m;
	struct dir *d;
	uint32_t recent = 0;

	if (!dir_find(a, name, &d, err))
		return false;
	if (!d)
		return err_set(err, ERR_NOT_FOUND, "no such mailbox");
	if (!account_index(a, err) || !dir_sync(a, d, SYNC_IF_NEEDED, &m, err))
		return false;
	if (m.recent_uid < d->state.uidnext &&
	    !index_count_from(a->hot->index, m.row, m.recent_uid, &recent, err)) {
		account_index_failed(a, err);
		return false;
	}
	*out = (struct mailbox_status){
		.messages = m.messages,
		.recent = recent,
		.unseen = m.unseen,
		.deleted = m.deleted,
		.uidnext = d->state.uidnext,
		.uidvalidity = d->state.uidvalidity,
		.size = m.wire_size,
		.highestmodseq = m.modseq,
	};
	memcpy(out->mailbox_id, d->state.mailbox_id, MAILBOX_ID_LEN);
	return true;
}

bool mailbox_status(struct account *a, struct str name, struct mailbox_status *out, struct err *err)
{
	ARENA_SCOPED ar = arena_new();
	struct str normal;

	if (!mailbox_name_normal(ar, name, &normal, err) || !account_lock(a, USE_READ, err))
		return false;
	bool ok = status_locked(a, normal, out, err);
	account_unlock(a);
	return ok || err_while(err, "status of %.*s of %.*s", STR_ARG(normal), STR_ARG(a->address));
}

bool mailbox_exists(struct account *a, struct str name, struct err *err)
{
	ARENA_SCOPED ar = arena_new();
	struct str normal;
	struct dir *d;

	if (!mailbox_name_normal(ar, name, &normal, err) || !account_lock(a, USE_READ, err))
		return false;
	bool ok = dir_find(a, normal, &d, err);
	bool there = ok && d;
	account_unlock(a);
	if (ok && !there)
		return err_set(err, ERR_NOT_FOUND, "no such mailbox");
	return ok;
}
