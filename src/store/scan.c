/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * store/scan.c: foreign changes to mailboxes that nobody has open (DESIGN section 4), so that quotas
 * and the search index follow them. The tree is walked over and over, a little at a time: of each
 * mailbox the state file is read and two mtimes are compared; only where they differ is the account
 * locked and its index brought up to date.
 *
 * The housekeeper's thread. Accounts are found by their paths: each component of the template is
 * either plain text or one of %d, %n, %u alone; with another template nothing is scanned.
 */
#include "base/clock.h"
#include "base/codec.h"
#include "base/log.h"
#include "store/maildir/listing.h"
#include "store/store_int.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	DEPTH_MAX = 8,
	NAME_ROOM = 256,
	WORK_US = 2000,    /* then others have their turn */
	PAUSE_MS = 100,    /* so at most 2 % of a core */
	FIRST_MS = 60000,  /* after the start, which has other worries */
};

/* A directory in which names are taken one after the other; or one name, where it is known. */
struct level {
	DIR *dir;
	int fd; /* of the directory; dir's own when there is one */
	bool done;
	char name[NAME_ROOM]; /* the one taken */
};

struct scan {
	struct store *store;
	int64_t interval_ms, due_ms, began_ms;
	struct str part[DEPTH_MAX]; /* of the template */
	unsigned depth;
	struct level level[DEPTH_MAX];
	unsigned at;       /* levels that are open */
	DIR *maildir;      /* of the account that is being looked at */
	char address[2 * NAME_ROOM];
	char path[DEPTH_MAX * NAME_ROOM];
	uint64_t synced; /* of this round */
};

static bool is_name(struct str part)
{
	return str_eq(part, STR("%d")) || str_eq(part, STR("%n")) || str_eq(part, STR("%u"));
}

struct scan *scan_new(struct store *s, int64_t interval_ms)
{
	struct scan *c = mem_new(struct scan);
	struct str rest = str_of(s->template);

	c->store = s;
	c->interval_ms = interval_ms;
	c->due_ms = clock_mono_ms() + (interval_ms < FIRST_MS ? interval_ms : FIRST_MS);
	while (rest.p && c->depth < DEPTH_MAX) {
		struct str part = str_cut(&rest, '/');
		if (!part.n)
			continue;
		if (str_has_byte(part, '%') && !is_name(part))
			break;
		c->part[c->depth++] = part;
	}
	/* Another one: nothing to be done. */
	if (rest.p || !c->depth || is_name(c->part[c->depth - 1]))
		c->due_ms = INT64_MAX;
	return c;
}

static void close_level(struct level *l)
{
	if (l->dir) {
		closedir(l->dir);
		l->fd = -1;
	}
	fd_close(&l->fd);
	l->dir = NULL;
}

static void close_all(struct scan *c)
{
	while (c->at)
		close_level(&c->level[--c->at]);
	if (c->maildir)
		closedir(c->maildir);
	c->maildir = NULL;
}

void scan_free(struct scan *c)
{
	if (!c)
		return;
	close_all(c);
	free(c);
}

/* Takes fd. */
static void open_level(struct scan *c, int fd)
{
	struct level *l = &c->level[c->at];

	*l = (struct level){.fd = fd};
	if (is_name(c->part[c->at])) {
		l->dir = fdopendir(fd);
		if (!l->dir)
			l->done = true;
	}
	c->at++;
}

static bool next_name(struct scan *c, unsigned at)
{
	struct level *l = &c->level[at];

	if (l->done)
		return false;
	if (!l->dir) {
		l->done = true;
		memcpy(l->name, c->part[at].p, c->part[at].n);
		l->name[c->part[at].n] = 0;
		return true;
	}
	struct dirent *e;
	while ((e = readdir(l->dir)))
		if (e->d_name[0] != '.' && strlen(e->d_name) < NAME_ROOM) {
			strcpy(l->name, e->d_name);
			return true;
		}
	return false;
}

/* What account_path() wrote as %XX. */
static void decode(struct buf *out, struct str name)
{
	for (size_t i = 0; i < name.n; i++) {
		if (name.p[i] == '%' && i + 2 < name.n && hex_decode(out, str_sub(name, i + 1, 2)))
			i += 2;
		else
			buf_byte(out, name.p[i]);
	}
}

static bool value_of(const struct scan *c, const char *which, struct buf *out)
{
	for (unsigned i = 0; i < c->depth; i++)
		if (str_eq(c->part[i], str_of(which))) {
			decode(out, str_of(c->level[i].name));
			return true;
		}
	return false;
}

/* The names on the way make an address, and that address makes this path. */
static bool find_address(struct scan *c)
{
	BUF_SCOPED address = {0};
	BUF_SCOPED path = {0};
	BUF_SCOPED again = {0};
	struct err ignored;

	if (!value_of(c, "%u", &address)) {
		if (!value_of(c, "%n", &address))
			return false;
		buf_byte(&address, '@');
		if (!value_of(c, "%d", &address))
			return false;
	}
	for (unsigned i = 0; i < c->depth; i++) {
		if (i)
			buf_byte(&path, '/');
		buf_add(&path, str_of(c->level[i].name));
	}
	if (address.n >= sizeof(c->address) || memchr(address.p, 0, address.n) ||
	    !account_path(c->store->template, buf_str(&address), &again, &ignored) ||
	    !str_eq(buf_str(&path), buf_str(&again)))
		return false;
	memcpy(c->address, address.p, address.n);
	c->address[address.n] = 0;
	memcpy(c->path, path.p, path.n);
	c->path[path.n] = 0;
	return true;
}

/* An account that was opened once and has an index: others are read when they are opened. */
static DIR *open_maildir(int parent, const char *name)
{
	int fd = file_openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);

	if (fd < 0)
		return NULL;
	DIR *d = faccessat(fd, STATE_FILE, F_OK, AT_SYMLINK_NOFOLLOW) == 0 &&
				 faccessat(fd, INDEX_FILE, F_OK, AT_SYMLINK_NOFOLLOW) == 0
			 ? fdopendir(fd)
			 : NULL;
	if (!d)
		fd_close(&fd);
	return d;
}

/* The next account; false: that was the last one. */
static bool next_account(struct scan *c)
{
	while (c->at) {
		unsigned at = c->at - 1;
		struct level *l = &c->level[at];
		if (!next_name(c, at)) {
			close_level(l);
			c->at--;
			continue;
		}
		int fd = l->dir ? dirfd(l->dir) : l->fd;
		if (at + 1 == c->depth) {
			if (find_address(c) && (c->maildir = open_maildir(fd, l->name)))
				return true;
			continue;
		}
		fd = file_openat(fd, l->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
		if (fd >= 0)
			open_level(c, fd);
	}
	return false;
}

/* Without a lock: what is being changed just now is looked at by its lock's holder in any case. */
static bool is_foreign(int maildir, const char *name)
{
	FD_SCOPED fd = file_openat(maildir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	struct state st;
	struct err err;

	if (fd < 0)
		return false;
	int64_t cur_ns = dir_mtime_ns(fd, "cur"), new_ns = dir_mtime_ns(fd, "new");
	if (!cur_ns)
		return false; /* no mailbox */
	if (!state_read(fd, &st, &err))
		return err.kind == ERR_NOT_FOUND;
	return st.marked || cur_ns != st.cur_ns || new_ns != st.new_ns;
}

static bool sync_mailbox(struct account *a, struct str dir, bool *out_changed, char id[MAILBOX_ID_LEN],
			 struct err *err)
{
	struct index_mailbox before, after;
	struct dir *d;
	bool found = false;

	*out_changed = false;
	if (!account_index(a, err) || !dir_open(a, dir, &d, err))
		return false;
	if (!d)
		return true;
	memcpy(id, d->state.mailbox_id, MAILBOX_ID_LEN);
	if (!index_mailbox(a->hot->index, (struct str){id, MAILBOX_ID_LEN}, &before, &found, err) ||
	    !dir_sync(a, d, SYNC_IF_NEEDED, &after, err))
		return false;
	*out_changed = !found || after.modseq != before.modseq;
	return true;
}

static void look_closer(struct scan *c, const char *dir)
{
	struct account *a = account_of_path(c->store, str_of(c->address), str_of(c->path));
	ARENA_SCOPED ar = arena_new();
	char id[MAILBOX_ID_LEN];
	struct str name;
	struct err err;
	bool changed = false;

	bool ok = account_lock(a, USE_READ, &err);
	if (ok) {
		ok = sync_mailbox(a, str_of(dir), &changed, id, &err);
		account_unlock(a);
	}
	if (!ok)
		log_err(LOG_WARN, "store.scan.failed", &err);
	else if (changed && mailbox_of_dir(ar, str_of(dir), &name))
		mailbox_changed(a, id, name, NULL);
	c->synced += changed;
	account_close(a);
}

/* One mailbox, or the way to the next account. false: the round is over. */
static bool one_step(struct scan *c)
{
	if (!c->maildir)
		return next_account(c);

	struct dirent *e = readdir(c->maildir);
	if (!e) {
		closedir(c->maildir);
		c->maildir = NULL;
		return true;
	}
	bool parent = strcmp(e->d_name, "..") == 0;
	if (e->d_name[0] != '.' || parent || (e->d_type != DT_DIR && e->d_type != DT_UNKNOWN))
		return true;
	if (is_foreign(dirfd(c->maildir), e->d_name))
		look_closer(c, e->d_name);
	return true;
}

static void begin_round(struct scan *c, int64_t now_ms)
{
	int fd = file_openat(c->store->root_fd, ".", O_RDONLY | O_DIRECTORY, 0);

	c->began_ms = now_ms;
	c->synced = 0;
	if (fd >= 0)
		open_level(c, fd);
}

int64_t scan_step(struct scan *c, int64_t now_ms)
{
	if (now_ms < c->due_ms)
		return c->due_ms;
	if (!c->at)
		begin_round(c, now_ms);
	int64_t until_us = clock_mono_us() + WORK_US;
	while (one_step(c))
		if (clock_mono_us() >= until_us)
			return c->due_ms = clock_mono_ms() + PAUSE_MS;
	close_all(c);
	if (c->synced)
		log_event(LOG_INFO, "store.scan", K_INT(count, c->synced),
			  K_INT(ms, clock_mono_ms() - c->began_ms));
	c->due_ms = c->began_ms + c->interval_ms;
	if (c->due_ms < clock_mono_ms() + PAUSE_MS)
		c->due_ms = clock_mono_ms() + PAUSE_MS;
	return c->due_ms;
}
