/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * store/replay.c: DONE and APPEND records after a crash (DESIGN section 3, Recovery).
 *
 * Same boot: what was renamed is in the page cache, whatever became of the process; the mark makes
 * the next holder scan. After power loss a file may be there and be empty (trap 3): each is compared
 * with its record and made again. Directories are read once, into a map by base and UID.
 */
#include "base/crc32c.h"
#include "base/log.h"
#include "store/maildir/listing.h"
#include "store/store_int.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct replay_mailbox {
	int fd;            /* -1: no such mailbox any more */
	struct map *files; /* "base uid" -> file name, in the arena */
};
struct replay {
	struct arena *ar;
	struct map *mailboxes; /* "address id" -> struct replay_mailbox, in the arena */
	struct map *accounts;  /* address -> struct replay_account, in the arena */
};

/* All files of an account by their base names, for actions whose DONE was lost. */
struct replay_account {
	struct map *files; /* base -> struct replay_file, in the arena */
};
struct replay_file {
	struct replay_file *next; /* of the same base */
	struct replay_mailbox *mailbox;
	const char *name;
};

void replay_end(struct store *s)
{
	struct replay *r = s->replay;
	struct map_iter it = {0};

	if (!r)
		return;
	s->replay = NULL;
	while (map_next(r->mailboxes, &it)) {
		struct replay_mailbox *m = it.value;
		fd_close(&m->fd);
		map_free(m->files);
	}
	map_free(r->mailboxes);
	it = (struct map_iter){0};
	while (map_next(r->accounts, &it))
		map_free(((struct replay_account *)it.value)->files);
	map_free(r->accounts);
	arena_free(r->ar);
	free(r);
}

static struct str file_key(struct arena *ar, struct str base, uint32_t uid)
{
	return arena_fmt(ar, "%.*s %u", STR_ARG(base), uid);
}

static bool read_files(struct replay *r, struct replay_mailbox *m, struct str id, struct err *err)
{
	struct listing l;

	if (!listing_read(m->fd, "cur", false, r->ar, &l, err))
		return false;
	for (size_t i = 0; i < l.n; i++) {
		struct file_name n;
		if (name_parse(l.name[i], &n) && n.has_uid && str_ends(id, n.tag))
			map_put(m->files, file_key(r->ar, n.base, n.uid), (void *)(uintptr_t)l.name[i].p);
	}
	return true;
}

/* The record names the mailbox by its id: it may have another name by now. */
static bool find_by_id(struct replay *r, int account_fd, struct str id, int *out_fd, struct err *err)
{
	struct listing l;

	if (!listing_read(account_fd, ".", true, r->ar, &l, err))
		return false;
	for (size_t i = 0; i < l.n; i++) {
		struct state st;
		if (l.name[i].p[0] != '.' || str_eq(l.name[i], STR("..")))
			continue;
		FD_SCOPED fd =
			file_openat(account_fd, l.name[i].p, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
		if (fd < 0 || !state_read(fd, &st, err) ||
		    !str_eq(id, (struct str){st.mailbox_id, MAILBOX_ID_LEN}))
			continue;
		*out_fd = fd_take(&fd);
		return true;
	}
	return true;
}

static bool get_mailbox(struct store *s, const struct done_record *rec, struct replay_mailbox **out,
			struct err *err)
{
	struct replay *r = s->replay;
	struct str key = arena_fmt(r->ar, "%.*s %.*s", STR_ARG(rec->account), STR_ARG(rec->mailbox_id));
	BUF_SCOPED path = {0};

	*out = map_get(r->mailboxes, key);
	if (*out)
		return true;
	if (!account_path(s->template, rec->account, &path, err))
		return false;
	FD_SCOPED fd = file_openat(s->root_fd, arena_cstr(r->ar, buf_str(&path)),
				   O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	if (fd < 0 && errno != ENOENT)
		return err_sys(err, "open the account");

	struct replay_mailbox *m = arena_new_of(r->ar, struct replay_mailbox);
	m->fd = -1;
	m->files = map_new();
	map_put(r->mailboxes, key, m);
	*out = m;
	return fd < 0 || (find_by_id(r, fd, rec->mailbox_id, &m->fd, err) &&
			  (m->fd < 0 || read_files(r, m, rec->mailbox_id, err)));
}

static bool is_good(int dirfd, const char *path, const struct done_record *rec, bool *out,
		    struct err *err)
{
	BUF_SCOPED content = {0};

	*out = false;
	struct stat st;
	if (fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 || (uint64_t)st.st_size != rec->size)
		return true;
	if (!file_read_whole(dirfd, path, rec->size + 1, &content, err))
		return err->kind == ERR_NOT_FOUND || err->kind == ERR_LIMIT;
	*out = content.n == rec->size && crc32c(0, content.p, content.n) == rec->crc;
	return true;
}

/* tmp and rename, over the name that was found or to the one that the record tells of. */
static bool make_again(struct replay *r, struct replay_mailbox *m, const struct done_record *rec,
		       const char *found, struct str content, struct err *err)
{
	struct new_message msg = {.id = rec->id,
				  .action = rec->action,
				  .parts = &content,
				  .parts_n = 1,
				  .file_fd = -1,
				  .internaldate = rec->internaldate};
	struct tmp_file t;
	const char *to;

	if (!tmp_write(m->fd, &msg, &t, err))
		return false;
	if (t.size != rec->size || t.crc != rec->crc) {
		tmp_remove(m->fd, &t);
		return err_set(err, ERR_CORRUPT, "the content of %.*s is not what was placed", ID_LEN,
			       rec->id.c);
	}
	struct file_name n = {
		.base = arena_fmt(r->ar, "%.*s.%u", ID_LEN, rec->id.c, rec->action),
		.has_size = true,
		.size = rec->size,
		.has_wire_size = true,
		.wire_size = rec->wire_size,
		.has_uid = true,
		.uid = rec->uid,
		.tag = str_from(rec->mailbox_id, MAILBOX_ID_LEN - TAG_LEN),
		.flags = rec->flags,
		.keywords = rec->keywords,
	};
	char name[NAME_MAX_LEN + 1];
	if (!found && !name_format(name, &n)) {
		tmp_remove(m->fd, &t);
		return err_set(err, ERR_LIMIT, "a file name is too long");
	}
	to = arena_cstr(r->ar, arena_fmt(r->ar, "cur/%s", found ? found : name));
	if (file_renameat(m->fd, t.name, m->fd, to) == 0)
		return true;
	err_sys(err, "rename %s to %s", t.name, to);
	tmp_remove(m->fd, &t);
	return false;
}

static bool compare(struct store *s, bool is_append, const struct done_record *rec, content_of_fn *content_of,
		    void *ctx, struct err *err)
{
	struct replay *r = s->replay;
	struct replay_mailbox *m;
	bool good = false;

	if (!get_mailbox(s, rec, &m, err))
		return false;
	if (m->fd < 0)
		return err_set(err, ERR_NOT_FOUND, "the mailbox of a record is gone");
	struct str base = arena_fmt(r->ar, "%.*s.%u", ID_LEN, rec->id.c, rec->action);
	const char *found = map_get(m->files, file_key(r->ar, base, rec->uid));
	if (found &&
	    !is_good(m->fd, arena_cstr(r->ar, arena_fmt(r->ar, "cur/%s", found)), rec, &good, err))
		return false;
	if (good)
		return true;

	BUF_SCOPED content = {0};
	if (!is_append && !content_of)
		return err_set(err, ERR_CORRUPT, "no content for %.*s", ID_LEN, rec->id.c);
	if (!is_append && !content_of(ctx, rec->id, rec->action, &content, err))
		return false;
	log_event(LOG_WARN, "store.replay.remake", K_STR(account, rec->account),
		  K_STR(qid, id_str(&rec->id)), K_INT(action, rec->action), K_INT(uid, rec->uid));
	return make_again(r, m, rec, found, is_append ? rec->content : buf_str(&content), err);
}

static struct replay *begin(struct store *s)
{
	if (s->replay)
		return s->replay;
	s->replay = mem_new(struct replay);
	s->replay->ar = arena_new();
	s->replay->mailboxes = map_new();
	s->replay->accounts = map_new();
	return s->replay;
}

bool store_replay(struct store *s, uint64_t seq, bool is_append, struct str record, content_of_fn *content_of,
		  void *ctx, struct err *err)
{
	struct done_record rec;

	if (!s->o.cold || !done_decode(record, &rec))
		return true;
	begin(s);
	if (compare(s, is_append, &rec, content_of, ctx, err))
		return true;
	/* A full or failing disk ends the recovery; what cannot be had any more does not. */
	if (err->kind == ERR_IO || err->kind == ERR_LIMIT || err->kind == ERR_TEMP)
		return err_while(err, "replaying record %llu", (unsigned long long)seq);
	log_err(LOG_ERROR, "store.replay.lost", err);
	return true;
}

/* ---- actions without DONE --------------------------------------------------------------- */
static bool add_files(struct replay *r, struct replay_account *a, struct str address, int fd, struct str dir,
		      struct err *err)
{
	struct str key = arena_fmt(r->ar, "%.*s/%.*s", STR_ARG(address), STR_ARG(dir));
	struct listing l;

	/* Among the mailboxes, so that it is closed with them; a file name is no mailbox id. */
	struct replay_mailbox *m = arena_new_of(r->ar, struct replay_mailbox);
	m->fd = fd;
	m->files = map_new();
	map_put(r->mailboxes, key, m);
	if (!listing_read(fd, "cur", false, r->ar, &l, err))
		return false;
	for (size_t i = 0; i < l.n; i++) {
		struct file_name n;
		if (!name_parse(l.name[i], &n) || !n.has_uid)
			continue;
		struct replay_file *f = arena_new_of(r->ar, struct replay_file);
		*f = (struct replay_file){map_get(a->files, n.base), m, l.name[i].p};
		map_put(a->files, n.base, f);
	}
	return true;
}

static bool get_account(struct store *s, struct str address, struct replay_account **out, struct err *err)
{
	struct replay *r = s->replay;
	BUF_SCOPED path = {0};
	struct listing l;

	*out = map_get(r->accounts, address);
	if (*out)
		return true;
	*out = arena_new_of(r->ar, struct replay_account);
	(*out)->files = map_new();
	map_put(r->accounts, address, *out);
	if (!account_path(s->template, address, &path, err))
		return false;
	FD_SCOPED fd = file_openat(s->root_fd, arena_cstr(r->ar, buf_str(&path)),
				   O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	if (fd < 0)
		return errno == ENOENT || err_sys(err, "open the account");
	if (!listing_read(fd, ".", true, r->ar, &l, err))
		return false;
	for (size_t i = 0; i < l.n; i++) {
		if (l.name[i].p[0] != '.' || str_eq(l.name[i], STR("..")))
			continue;
		int dir = file_openat(fd, l.name[i].p, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
		if (dir >= 0 && faccessat(dir, "cur", F_OK, 0) < 0)
			fd_close(&dir); /* no mailbox */
		if (dir >= 0 && !add_files(r, *out, address, dir, l.name[i], err))
			return false;
	}
	return true;
}

static bool repair(struct replay *r, const struct replay_file *f, struct done_record *rec, struct str content,
		   struct err *err)
{
	const char *path = arena_cstr(r->ar, arena_fmt(r->ar, "cur/%s", f->name));
	struct stat st;
	bool good;

	if (fstatat(f->mailbox->fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT || err_sys(err, "stat %s", path);
	if (!is_good(f->mailbox->fd, path, rec, &good, err) || good)
		return good;
	rec->internaldate = st.st_mtim.tv_sec;
	log_event(LOG_WARN, "store.replay.remake", K_STR(account, rec->account), K_STR(qid, id_str(&rec->id)),
		  K_INT(action, rec->action), K_CSTR(path, f->name));
	return make_again(r, f->mailbox, rec, f->name, content, err);
}

static bool repair_all(struct store *s, struct str address, struct id id, uint32_t action,
		       content_of_fn *content_of, void *ctx, struct err *err)
{
	struct replay *r = begin(s);
	struct replay_account *a;
	BUF_SCOPED content = {0};

	if (!get_account(s, address, &a, err))
		return false;
	const struct replay_file *f =
		map_get(a->files, arena_fmt(r->ar, "%.*s.%u", ID_LEN, id.c, action));
	if (!f)
		return true;
	if (!content_of(ctx, id, action, &content, err))
		return false;
	struct done_record rec = {.account = address, .id = id, .action = action, .size = content.n,
				  .crc = crc32c(0, content.p, content.n)};
	for (; f; f = f->next)
		if (!repair(r, f, &rec, buf_str(&content), err))
			return false;
	return true;
}

bool store_replay_planned(struct store *s, struct str account, struct id id, uint32_t action,
			  content_of_fn *content_of, void *ctx, struct err *err)
{
	if (!s->o.cold || repair_all(s, account, id, action, content_of, ctx, err))
		return true;
	if (err->kind == ERR_IO || err->kind == ERR_LIMIT || err->kind == ERR_TEMP)
		return err_while(err, "looking after what was planned");
	log_err(LOG_ERROR, "store.replay.lost", err);
	return true;
}
