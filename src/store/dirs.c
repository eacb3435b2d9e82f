/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * store/dirs.c: the directories of an account's mailboxes: open, find, list, make.
 */
#include "base/clock.h"
#include "base/log.h"
#include "store/maildir/listing.h"
#include "store/maildir/subscriptions.h"
#include "store/store_int.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { TMP_AGE_S = 36 * 3600 };

/* ---- one directory ---------------------------------------------------------------------- */
void dir_close(struct dir *d)
{
	if (!d)
		return;
	fd_close(&d->state_fd);
	fd_close(&d->fd);
	arena_free(d->arena);
	free((char *)d->name.p);
	free(d);
}

void dir_forget(struct account *a, struct dir *d)
{
	for (struct dir **at = &a->hot->dirs; *at; at = &(*at)->next)
		if (*at == d) {
			*at = d->next;
			dir_close(d);
			return;
		}
}

bool dir_fsync(int dirfd, const char *sub, struct err *err)
{
	FD_SCOPED fd = file_openat(dirfd, sub, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);

	if (fd < 0)
		return err_sys(err, "open %s", sub);
	return file_fsync(fd) == 0 || err_sys(err, "fsync %s", sub);
}

static void take_state(struct dir *d)
{
	memcpy(d->tag, d->state.mailbox_id + MAILBOX_ID_LEN - TAG_LEN, TAG_LEN);
	d->fresh = true;
}

/* UIDVALIDITY ascends within an account, also when two mailboxes are made in one second or the
 * clock goes back (RFC 9051 2.3.1.1). The highest one is in INBOX's state. */
static bool next_uidvalidity(struct account *a, uint32_t *out, struct err *err)
{
	uint32_t now = (uint32_t)clock_wall_s();
	FD_SCOPED fd = file_openat(a->hot->fd, STATE_FILE, O_RDWR | O_NOFOLLOW, 0);
	struct state inbox;

	*out = now ? now : 1;
	if (fd < 0 || !state_read_fd(fd, &inbox, err))
		return true; /* INBOX itself is being made, or will be made anew */
	if (inbox.last_uidvalidity >= now)
		*out = inbox.last_uidvalidity + 1;
	inbox.last_uidvalidity = *out;
	for (struct dir *d = a->hot->dirs; d; d = d->next)
		d->fresh = false;
	return state_write(fd, &inbox, err);
}

static void random_id(char id[MAILBOX_ID_LEN])
{
	struct id fresh = id_new();

	/* Time and chance: the tag is its end. */
	memcpy(id, fresh.c + ID_LEN - MAILBOX_ID_LEN, MAILBOX_ID_LEN);
}

/* INBOX's state tells the highest one given: also of what was taken over. */
static bool raise_uidvalidity(struct account *a, uint32_t taken, struct err *err)
{
	FD_SCOPED fd = file_openat(a->hot->fd, STATE_FILE, O_RDWR | O_NOFOLLOW, 0);
	struct state inbox;

	if (fd < 0 || !state_read_fd(fd, &inbox, err) || inbox.last_uidvalidity >= taken)
		return true;
	inbox.last_uidvalidity = taken;
	for (struct dir *d = a->hot->dirs; d; d = d->next)
		d->fresh = false;
	return state_write(fd, &inbox, err);
}

/* Another server's list goes on: same UIDVALIDITY, same UIDs. Not where UIDS_FILE tells that the
 * mailbox was ours: its state is lost, and what the list says may be long past. */
static bool take_over(struct account *a, int dirfd, struct state *s, bool *out, struct err *err)
{
	ARENA_SCOPED ar = arena_new();
	struct uidlist l;

	*out = false;
	if (faccessat(dirfd, UIDS_FILE, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return true;
	if (!uidlist_read(dirfd, DOVECOT_UIDS_FILE, ar, &l, err) ||
	    (!l.uidvalidity && !uidlist_read(dirfd, COURIER_UIDS_FILE, ar, &l, err)))
		return false;
	uidlist_fini(&l);
	if (!l.uidvalidity || l.uidnext > UINT32_MAX - 2 * UID_BLOCK)
		return true;
	s->uidvalidity = l.uidvalidity;
	s->uidnext = l.uidnext;
	s->ceiling = s->promise = l.uidnext + UID_BLOCK;
	*out = true;
	return raise_uidvalidity(a, l.uidvalidity, err);
}

enum made { MADE_EMPTY, MADE_FOUND, MADE_AGAIN };
/* Empty: cur/ and new/ were made just now, by us. Found: by another program. Again: its state does
 * not read. */
static bool new_state(struct account *a, int dirfd, enum special_use use, enum made made, struct state *out,
		      struct err *err)
{
	struct state s = {.uidnext = 1,
			  .ceiling = 1 + UID_BLOCK,
			  .promise = 1 + UID_BLOCK,
			  .modseq = (uint64_t)clock_wall_us(),
			  .epoch = a->store->epoch,
			  .use = (uint8_t)use};

	bool taken = false;
	if (made == MADE_EMPTY) {
		s.cur_ns = dir_mtime_ns(dirfd, "cur");
		s.new_ns = dir_mtime_ns(dirfd, "new");
	}
	random_id(s.mailbox_id);
	if (made == MADE_FOUND && !take_over(a, dirfd, &s, &taken, err))
		return false;
	if (!taken && !next_uidvalidity(a, &s.uidvalidity, err))
		return false;
	s.last_uidvalidity = s.uidvalidity;
	if (!state_create(dirfd, &s, err))
		return false;
	*out = s;
	return true;
}

/* The state is read again when somebody may have changed it. A directory without one was made by
 * another program: it becomes a mailbox of ours. */
static bool refresh(struct account *a, struct dir *d, struct err *err)
{
	if (d->fresh)
		return true;
	if (d->state_fd < 0)
		d->state_fd = file_openat(d->fd, STATE_FILE, O_RDWR | O_NOFOLLOW, 0);
	if (d->state_fd < 0 && errno != ENOENT)
		return err_sys(err, "open " STATE_FILE);
	if (d->state_fd >= 0 && state_read_fd(d->state_fd, &d->state, err)) {
		take_state(d);
		return true;
	}
	if (d->state_fd >= 0 && err->kind != ERR_CORRUPT)
		return false;
	enum made made = d->state_fd >= 0 ? MADE_AGAIN : MADE_FOUND;
	if (d->state_fd >= 0)
		log_err(LOG_ERROR, "store.state.corrupt", err);

	if (!account_flock(a, err))
		return false;
	fd_close(&d->state_fd);
	/* While we waited for the lock, somebody may have made it. */
	d->state_fd = file_openat(d->fd, STATE_FILE, O_RDWR | O_NOFOLLOW, 0);
	if (d->state_fd < 0 || !state_read_fd(d->state_fd, &d->state, err)) {
		fd_close(&d->state_fd);
		if (!new_state(a, d->fd, USE_NONE, made, &d->state, err))
			return false;
		d->state_fd = file_openat(d->fd, STATE_FILE, O_RDWR | O_NOFOLLOW, 0);
		if (d->state_fd < 0)
			return err_sys(err, "open " STATE_FILE);
	}
	take_state(d);
	return true;
}

/* tmp, cur, new: programs differ in which they leave out when empty. */
static bool has_cur(int fd)
{
	struct stat st;

	return fstatat(fd, "cur", &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

static struct dir *dir_known(struct account *a, struct str name)
{
	for (struct dir **at = &a->hot->dirs; *at; at = &(*at)->next) {
		struct dir *d = *at;
		if (!str_eq(d->name, name))
			continue;
		*at = d->next;
		d->next = a->hot->dirs;
		a->hot->dirs = d;
		return d;
	}
	return NULL;
}

static void limit_open(struct account *a)
{
	unsigned n = 0;

	for (struct dir **at = &a->hot->dirs; *at;) {
		struct dir *d = *at;
		if (++n <= OPEN_DIRS_MAX) {
			at = &d->next;
			continue;
		}
		*at = d->next;
		dir_close(d);
	}
}

static bool open_new(struct account *a, struct str name, struct dir **out, struct err *err)
{
	*out = NULL;
	if (name.n > DIR_NAME_MAX || memchr(name.p, '/', name.n) || str_eq(name, STR("..")))
		return true;

	struct dir *d = mem_new(struct dir);
	char *copy = mem_alloc(name.n + 1);
	memcpy(copy, name.p, name.n);
	copy[name.n] = 0;
	d->name = (struct str){copy, name.n};
	d->state_fd = -1;
	d->arena = arena_new();
	d->fd = file_openat(a->hot->fd, copy, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);

	struct stat st;
	bool none = d->fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP);
	if (none || (d->fd >= 0 && !has_cur(d->fd))) {
		dir_close(d);
		return true;
	}
	if (d->fd < 0 || fstat(d->fd, &st) < 0) {
		err_sys(err, "open mailbox directory %s", copy);
		dir_close(d);
		return false;
	}
	d->dev = st.st_dev;
	d->ino = st.st_ino;
	d->next = a->hot->dirs;
	a->hot->dirs = d;
	limit_open(a);
	*out = d;
	return true;
}

/* Another process may have renamed or deleted it. */
static bool is_there(const struct account *a, const struct dir *d)
{
	struct stat st;

	return d->fresh || (fstatat(a->hot->fd, d->name.p, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
			    st.st_ino == d->ino && st.st_dev == d->dev);
}

bool dir_refresh(struct account *a, struct dir *d, struct err *err)
{
	if (!is_there(a, d))
		return err_set(err, ERR_NOT_FOUND, "the mailbox is gone");
	return refresh(a, d, err);
}

bool dir_open(struct account *a, struct str name, struct dir **out, struct err *err)
{
	struct dir *d = dir_known(a, name);

	if (d && !is_there(a, d)) {
		dir_forget(a, d);
		d = NULL;
	}
	if (!d && !open_new(a, name, &d, err))
		return false;
	if (d && !refresh(a, d, err)) {
		dir_forget(a, d);
		return false;
	}
	*out = d;
	return true;
}

bool dir_open_id(struct account *a, const char id[MAILBOX_ID_LEN], struct str hint, struct dir **out,
		 struct err *err)
{
	if (!dir_open(a, hint, out, err))
		return false;
	if (*out && memcmp((*out)->state.mailbox_id, id, MAILBOX_ID_LEN) == 0)
		return true;

	ARENA_SCOPED ar = arena_new();
	struct mailbox_dir *list;
	size_t n;
	if (!dirs_list(a, ar, &list, &n, err))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!dir_open(a, list[i].dir, out, err))
			return false;
		if (*out && memcmp((*out)->state.mailbox_id, id, MAILBOX_ID_LEN) == 0)
			return true;
	}
	*out = NULL;
	return true;
}

bool dir_keywords(struct account *a, struct dir *d, struct err *err)
{
	(void)a;
	if (d->keywords_read && d->keywords.n >= d->state.keywords_n)
		return true;
	arena_reset(d->arena);
	d->keywords_read = keywords_read(d->fd, d->arena, &d->keywords, err);
	return d->keywords_read;
}

/* ---- all of them ------------------------------------------------------------------------ */
int mailbox_name_order(struct str a, struct str b)
{
	bool inbox_a = str_eq(a, STR("INBOX")), inbox_b = str_eq(b, STR("INBOX"));

	if (inbox_a != inbox_b)
		return inbox_b - inbox_a;
	/* '/' before everything, so that children follow their parent at once. */
	size_t n = a.n < b.n ? a.n : b.n;
	for (size_t i = 0; i < n; i++) {
		unsigned char ca = (unsigned char)a.p[i], cb = (unsigned char)b.p[i];
		if (ca == cb)
			continue;
		return ca == '/' ? -1 : cb == '/' ? 1 : ca < cb ? -1 : 1;
	}
	return (a.n > b.n) - (a.n < b.n);
}

static int by_name(const void *x, const void *y)
{
	const struct mailbox_dir *a = x, *b = y;
	int c = mailbox_name_order(a->name, b->name);

	/* Two directories of one name: modified UTF-7 first; the second is not shown. */
	return c ? c : str_cmp(a->dir, b->dir);
}

bool dirs_list(struct account *a, struct arena *ar, struct mailbox_dir **out, size_t *out_n,
	       struct err *err)
{
	struct listing l;

	if (!listing_read(a->hot->fd, ".", true, ar, &l, err))
		return false;
	struct mailbox_dir *list = arena_array(ar, l.n + 1, sizeof(*list));
	size_t n = 0;
	for (size_t i = 0; i < l.n; i++)
		if (l.name[i].p[0] == '.' && mailbox_of_dir(ar, l.name[i], &list[n].name))
			list[n++].dir = l.name[i];
	if (n)
		qsort(list, n, sizeof(*list), by_name);

	size_t kept = 0;
	for (size_t i = 0; i < n; i++)
		if (!kept || !str_eq(list[kept - 1].name, list[i].name))
			list[kept++] = list[i];
	*out = list;
	*out_n = kept;
	return true;
}

bool dir_find(struct account *a, struct str name, struct dir **out, struct err *err)
{
	ARENA_SCOPED ar = arena_new();
	struct str dir_name;

	if (!dir_of_mailbox(ar, name, &dir_name, err)) {
		*out = NULL;
		return err->kind == ERR_LIMIT;
	}
	if (!dir_open(a, dir_name, out, err))
		return false;
	if (*out)
		return true;

	/* A directory that another program named differently. */
	struct mailbox_dir *list;
	size_t n;
	if (!dirs_list(a, ar, &list, &n, err))
		return false;
	for (size_t i = 0; i < n; i++)
		if (str_eq(list[i].name, name))
			return dir_open(a, list[i].dir, out, err);
	*out = NULL;
	return true;
}

/* ---- making ----------------------------------------------------------------------------- */
/* *out_made: cur/ and new/ were not there before. */
static bool make_subdirs(int fd, bool *out_made, struct err *err)
{
	static const char *const names[] = {"cur", "new", "tmp"};

	*out_made = true;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (file_mkdirat(fd, names[i], 0700) == 0)
			continue;
		if (errno != EEXIST)
			return err_sys(err, "mkdir %s", names[i]);
		*out_made = false;
	}
	return true;
}

static void remove_half_made(struct account *a, const char *name)
{
	static const char *const names[] = {"cur", "new", "tmp", "maildirfolder", STATE_FILE};
	FD_SCOPED fd = openat(a->hot->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	for (size_t i = 0; fd >= 0 && i < sizeof(names) / sizeof(names[0]); i++)
		file_unlinkat(fd, names[i], i < 3 ? AT_REMOVEDIR : 0);
	file_unlinkat(a->hot->fd, name, AT_REMOVEDIR);
}

static bool fill_new(struct account *a, const char *name, enum special_use use, struct err *err)
{
	FD_SCOPED fd = file_openat(a->hot->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	struct state state;
	bool made;

	if (fd < 0)
		return err_sys(err, "open %s", name);
	FD_SCOPED mark = file_openat(fd, "maildirfolder", O_WRONLY | O_CREAT, 0600);
	if (mark < 0)
		return err_sys(err, "create maildirfolder");
	return make_subdirs(fd, &made, err) &&
	       new_state(a, fd, use, made ? MADE_EMPTY : MADE_FOUND, &state, err);
}

/* Whole under another name, then one rename. */
bool dir_create(struct account *a, struct str name, enum special_use use, struct dir **out,
		struct err *err)
{
	ARENA_SCOPED ar = arena_new();
	struct str dir_name;

	if (!dir_of_mailbox(ar, name, &dir_name, err))
		return false;
	struct id id = id_new();
	const char *fresh = arena_cstr(ar, arena_fmt(ar, "pabal-new-%.*s", ID_LEN, id.c));
	if (file_mkdirat(a->hot->fd, fresh, 0700) < 0)
		return err_sys(err, "mkdir %s", fresh);
	if (!fill_new(a, fresh, use, err)) {
		remove_half_made(a, fresh);
		return false;
	}
	if (file_renameat_noreplace(a->hot->fd, fresh, a->hot->fd, dir_name.p) < 0) {
		bool exists = errno == EEXIST;
		err_sys(err, "rename %s to %s", fresh, dir_name.p);
		remove_half_made(a, fresh);
		return exists ? err_set(err, ERR_EXISTS, "mailbox exists") : false;
	}
	if (file_fsync(a->hot->fd) < 0)
		return err_sys(err, "fsync %s", a->path);
	if (!dir_open(a, dir_name, out, err))
		return false;
	return *out || err_set(err, ERR_IO, "the new mailbox is not there");
}

/* mkdir -p below the root, each new name synced. */
static bool make_path(struct account *a, struct err *err)
{
	ARENA_SCOPED ar = arena_new();
	struct str rest = str_of(a->path);
	FD_SCOPED at = file_openat(a->store->root_fd, ".", O_RDONLY | O_DIRECTORY, 0);

	while (at >= 0 && rest.p) {
		struct str part = str_cut(&rest, '/');
		if (!part.n)
			continue;
		const char *name = arena_cstr(ar, part);
		if (file_mkdirat(at, name, 0700) == 0) {
			if (file_fsync(at) < 0)
				return err_sys(err, "fsync the directory of %s", name);
		} else if (errno != EEXIST) {
			return err_sys(err, "mkdir %s", name);
		}
		int next = file_openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
		if (next < 0)
			return err_sys(err, "open %s", name);
		fd_close(&at);
		at = next;
	}
	return at >= 0 || err_sys(err, "open the mail directory");
}

/* What deliveries that did not end left in tmp/. By ctime: mtime is INTERNALDATE with us. */
static void clean_tmp(int dirfd, struct arena *ar)
{
	int64_t before = clock_wall_s() - TMP_AGE_S;
	struct listing l;
	struct stat st;
	struct err ignored;

	if (!listing_read(dirfd, "tmp", false, ar, &l, &ignored))
		return;
	for (size_t i = 0; i < l.n; i++) {
		const char *path = arena_cstr(ar, arena_cat(ar, STR("tmp/"), l.name[i]));
		if (fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
		    st.st_ctim.tv_sec < before && st.st_mtim.tv_sec < before)
			file_unlinkat(dirfd, path, 0);
	}
}

/* Once per process and account. */
static bool tidy(struct account *a, struct err *err)
{
	ARENA_SCOPED ar = arena_new();
	struct mailbox_dir *list;
	size_t n;

	remove_trash(a->hot->fd);
	if (!dirs_list(a, ar, &list, &n, err))
		return false;
	for (size_t i = 0; i < n; i++) {
		FD_SCOPED fd =
			file_openat(a->hot->fd, list[i].dir.p, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
		if (fd >= 0)
			clean_tmp(fd, ar);
	}
	return true;
}

static bool make_inbox(struct account *a, struct err *err)
{
	struct state state;
	struct stat st;
	struct dir *d;
	bool made;

	if (!make_subdirs(a->hot->fd, &made, err))
		return false;
	bool has_state = fstatat(a->hot->fd, STATE_FILE, &st, AT_SYMLINK_NOFOLLOW) == 0;
	bool has_subscriptions = fstatat(a->hot->fd, SUBSCRIPTIONS_FILE, &st, AT_SYMLINK_NOFOLLOW) == 0;
	if (made && !has_state && !new_state(a, a->hot->fd, USE_NONE, MADE_EMPTY, &state, err))
		return false;
	if (!dir_open(a, STR("."), &d, err))
		return false;
	if (!d)
		return err_set(err, ERR_IO, "the INBOX is not there");
	if (has_state)
		return tidy(a, err);

	if (has_subscriptions)
		return true;
	ARENA_SCOPED ar = arena_new();
	struct name_list l;
	if (!subscriptions_read_courier(a->hot->fd, ar, &l, err))
		return false;
	if (!name_list_has(&l, STR("INBOX")))
		name_list_add(ar, &l, STR("INBOX"));
	return subscriptions_write(a->hot->fd, &l, err);
}

bool account_make(struct account *a, struct err *err)
{
	if (__atomic_load_n(&a->made, __ATOMIC_ACQUIRE))
		return true;
	if (!make_path(a, err) || !account_lock(a, USE_CHANGE, err))
		return false;
	bool ok = make_inbox(a, err);
	account_unlock(a);
	if (ok)
		__atomic_store_n(&a->made, true, __ATOMIC_RELEASE);
	return ok;
}
