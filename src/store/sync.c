/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * store/sync.c: makes the index say what the directory says: after foreign changes, a change that
 * did not end, power loss, or the loss of the index.
 *
 * The directory is read (scan), then held against the index (match), which yields what changed;
 * files without a UID of this mailbox get one (adopt) and a name of ours. Where many come at once (a
 * Maildir taken over, another program's archive) names stay as they are and UIDS_FILE lists them; UIDs
 * that Dovecot or Courier gave them are kept.
 */
#include "base/clock.h"
#include "base/log.h"
#include "store/maildir/listing.h"
#include "store/store_int.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
	SCANS_MAX = 5,          /* then each missing file is looked for by itself */
	SCAN_PAUSE_US = 12000,  /* longer than the tick of mtime */
	UID_LEAP_MAX = 1000000, /* a name may claim a UID that far above uidnext */
	READ_CHUNK = 256 << 10,
	ZEROS_LOST = 512,
	PLAIN_MIN = 64,  /* adopted at once: from here on a list is cheaper than renaming */
	PLAIN_MAX = 200, /* octets of a name that stays: flags find room behind it */
};

/* A file in cur/, or in new/. */
struct found {
	struct str file; /* NUL-terminated */
	struct file_name name;
	bool in_new;
	bool used;       /* belongs to a message of the index */
	bool plain;      /* its name may stay as it is */
	bool listed;     /* to be in UIDS_FILE */
	const struct uidlist_entry *entry; /* that lists it; NULL: none */
	bool entry_is_ours;
	int reading;     /* the last one is the most recent */
	int64_t mtime_s; /* after look() */
	uint32_t mtime_ns;
	uint64_t size;
};

struct sync {
	struct account *a;
	struct dir *d;
	struct index *ix;
	struct index_mailbox *m;
	struct arena *ar;
	bool scan_cur, scan_new;
	bool rebuild;           /* no rows that could be trusted */
	bool cold;              /* power was lost since the state was written */
	int64_t cur_ns, new_ns; /* what the index agrees with afterwards */
	struct found *mine;     /* with our tag, by UID */
	size_t mine_n, mine_cap;
	struct found *other; /* to be adopted */
	size_t other_n, other_cap;
	bool still;
	bool deep; /* sizes and mtimes are compared too */
	int reading;
	uint32_t highest; /* UID that the index has */
	uint64_t modseq;
	struct index_edit edit;
	bool began; /* the mark is set */
	struct dir_change change;
	uint32_t letters; /* keywords seen */
	struct uidlist ours, theirs;
	bool ours_read, theirs_read;
	bool list_grew;   /* UIDS_FILE has to be written */
};

/* ---- reading the directory -------------------------------------------------------------- */
static bool has_our_uid(const struct sync *s, const struct file_name *n)
{
	return n->has_uid && n->has_size && n->has_wire_size && n->size <= UINT32_MAX &&
	       n->wire_size <= UINT32_MAX && n->base.n <= NAME_BASE_MAX &&
	       str_eq(n->tag, (struct str){s->d->tag, TAG_LEN});
}

static void add_other(struct sync *s, const struct found *f)
{
	s->other = arena_grow(s->ar, s->other, s->other_n, &s->other_cap, sizeof(*s->other));
	s->other[s->other_n++] = *f;
}

/* A list of another UIDVALIDITY is of another life of the directory. */
static bool read_list(const struct sync *s, const char *file, struct uidlist *out, struct err *err)
{
	if (!uidlist_read(s->d->fd, file, s->ar, out, err))
		return false;
	if (out->uidvalidity && out->uidvalidity != s->d->state.uidvalidity) {
		uidlist_fini(out);
		*out = (struct uidlist){0};
	}
	return true;
}

static bool read_theirs(struct sync *s, struct err *err)
{
	s->theirs_read = true;
	if (!read_list(s, DOVECOT_UIDS_FILE, &s->theirs, err))
		return false;
	return s->theirs.uidvalidity || read_list(s, COURIER_UIDS_FILE, &s->theirs, err);
}

/* Does a list give a UID to a file without our fields? */
static bool look_up(struct sync *s, struct found *f, struct err *err)
{
	struct str name = uidlist_name(f->file);

	if (!s->ours_read && !read_list(s, UIDS_FILE, &s->ours, err))
		return false;
	s->ours_read = true;
	f->entry = uidlist_find(&s->ours, name);
	f->entry_is_ours = f->entry;
	if (f->entry)
		return true;
	if (!s->theirs_read && !read_theirs(s, err))
		return false;
	f->entry = uidlist_find(&s->theirs, name);
	/* When both served the same mailbox in turn: what we gave ourselves is ours. */
	if (f->entry && s->ours.uidvalidity && f->entry->uid < s->d->state.uidnext)
		f->entry = NULL;
	return true;
}

/* What cur_path() makes of it is its name. */
static bool may_stay(const struct found *f)
{
	struct str whole = uidlist_name(f->file);
	struct file_name n = {.base = whole, .flags = f->name.flags, .keywords = f->name.keywords};
	char again[NAME_MAX_LEN + 1];

	if (f->in_new || f->name.has_uid || f->name.tag.n || f->name.base.n > NAME_BASE_MAX ||
	    whole.n > PLAIN_MAX)
		return false;
	size_t len = name_format(again, &n);
	return len && str_eq(f->file, (struct str){again, len});
}

static void add_mine(struct sync *s, const struct found *f)
{
	s->mine = arena_grow(s->ar, s->mine, s->mine_n, &s->mine_cap, sizeof(*s->mine));
	s->mine[s->mine_n++] = *f;
}

static bool take_file(struct sync *s, struct str file, bool in_new, struct err *err)
{
	struct found f = {.file = file, .in_new = in_new, .reading = s->reading};

	if (!name_parse(file, &f.name))
		return true;
	if (!in_new && has_our_uid(s, &f.name)) {
		add_mine(s, &f);
		return true;
	}
	f.plain = may_stay(&f);
	/* What comes into new/ later is in no list. */
	if ((!in_new || s->rebuild) && !look_up(s, &f, err))
		return false;
	if (f.entry) {
		f.name.has_uid = true;
		f.name.uid = f.entry->uid;
		add_mine(s, &f);
	} else {
		add_other(s, &f);
	}
	return true;
}

static int by_uid(const void *x, const void *y)
{
	const struct found *a = x, *b = y;

	if (a->name.uid != b->name.uid)
		return a->name.uid < b->name.uid ? -1 : 1;
	int c = str_cmp(a->name.base, b->name.base);
	if (c || a->reading != b->reading)
		return c ? c : b->reading - a->reading;
	return str_cmp(a->file, b->file);
}

/* A name that is there more than once: a rename was under way while we read, or several readings. */
static bool same_file(const struct sync *s, const struct found *a, const struct found *b)
{
	return a->name.uid == b->name.uid && str_eq(a->name.base, b->name.base) &&
	       (!s->still || str_eq(a->file, b->file));
}

static void drop_twins(struct sync *s)
{
	size_t kept = 0;

	if (s->mine_n)
		qsort(s->mine, s->mine_n, sizeof(*s->mine), by_uid);
	for (size_t i = 0; i < s->mine_n; i++)
		if (!kept || !same_file(s, &s->mine[kept - 1], &s->mine[i]))
			s->mine[kept++] = s->mine[i];
	s->mine_n = kept;
}

/* The mtime that the index will agree with; 0 when more may have happened within its tick, unless it
 * was agreed on before. */
static int64_t agreed(const struct listing *l, int64_t before)
{
	return l->still || (l->same && l->mtime_ns == before) ? l->mtime_ns : 0;
}

static bool read_cur(struct sync *s, struct err *err)
{
	struct listing l;

	if (!listing_read(s->d->fd, "cur", false, s->ar, &l, err))
		return false;
	/* Others are adopted from the last reading only; so is everything if nothing moved meanwhile. */
	s->other_n = 0;
	s->reading++;
	if (l.still)
		s->mine_n = 0;
	for (size_t i = 0; i < l.n; i++)
		if (!take_file(s, l.name[i], false, err))
			return false;
	s->still = l.still;
	s->cur_ns = agreed(&l, s->d->state.cur_ns);
	drop_twins(s);
	return true;
}

/* Range of s->mine with that UID. */
static size_t mine_from(const struct sync *s, uint32_t uid)
{
	size_t low = 0, high = s->mine_n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (s->mine[mid].name.uid < uid)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static struct found *mine_find(const struct sync *s, uint32_t uid, struct str base)
{
	for (size_t i = mine_from(s, uid); i < s->mine_n && s->mine[i].name.uid == uid; i++)
		if (str_eq(s->mine[i].name.base, base))
			return &s->mine[i];
	return NULL;
}

static bool any_missing(struct sync *s, bool *out, struct err *err)
{
	struct index_reader r = {.ix = s->ix, .row = s->m->row};
	struct hot h;
	struct cold c;
	bool ok, found;

	*out = false;
	for (uint32_t uid = 1; (ok = index_find_next(&r, uid, &h, &c, &found, err)) && found;
	     uid = h.uid + 1)
		if (!mine_find(s, h.uid, cold_base(&c))) {
			*out = true;
			break;
		}
	index_reader_end(&r);
	return ok;
}

/* Missing counts only after a reading during which mtime stood still (trap 12). What any reading
 * saw is there. */
static bool scan(struct sync *s, struct err *err)
{
	struct listing l;

	if (s->scan_cur) {
		for (int i = 0; i < SCANS_MAX; i++) {
			bool missing = false;
			if (!read_cur(s, err) ||
			    (!s->rebuild && !s->still && !any_missing(s, &missing, err)))
				return false;
			if (s->still || !missing)
				break;
			usleep(SCAN_PAUSE_US);
		}
	} else {
		s->cur_ns = s->d->state.cur_ns;
	}
	if (!s->scan_new) {
		s->new_ns = s->d->state.new_ns;
		return true;
	}
	if (!listing_read(s->d->fd, "new", false, s->ar, &l, err))
		return false;
	size_t mine_n = s->mine_n;
	for (size_t i = 0; i < l.n; i++)
		if (!take_file(s, l.name[i], true, err))
			return false;
	if (s->mine_n > mine_n)
		drop_twins(s);
	s->new_ns = agreed(&l, s->d->state.new_ns);
	return true;
}

/* The directory never rests: every set of flags is tried, with the keywords as last known. */
static bool probe(const struct sync *s, const struct hot *h, const struct cold *c, struct found *out)
{
	struct hot try = *h;
	char path[CUR_PATH_MAX];
	struct stat st;

	for (unsigned flags = 0; flags <= MARK_FLAGS; flags++) {
		try.marks = marks_of(flags, h->marks >> MARK_KEYWORD_SHIFT);
		if (!cur_path(s->d, &try, c, path) ||
		    fstatat(s->d->fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		struct str file = str_from(str_of(path), 4);
		*out = (struct found){.file = (struct str){arena_cstr(s->ar, file), file.n},
				      .plain = c->plain};
		return name_parse(out->file, &out->name);
	}
	return false;
}

/* ---- beginning and modseq --------------------------------------------------------------- */
static bool begin(struct sync *s, uint32_t uids, uint32_t *out_first, struct err *err)
{
	if (s->began && !uids)
		return true;
	/* Quiet means: cur/ is as we read it, so its mtime after our renames is known too. */
	s->d->state.cur_ns = s->cur_ns;
	if (!change_begin(s->d, uids, out_first, &s->change, err))
		return false;
	s->began = true;
	return true;
}

/* ---- files of ours ---------------------------------------------------------------------- */
static bool look(const struct sync *s, struct found *f, bool *out_gone, struct err *err)
{
	char path[CUR_PATH_MAX];
	struct stat st;

	*out_gone = false;
	memcpy(path, f->in_new ? "new/" : "cur/", 4);
	memcpy(path + 4, f->file.p, f->file.n + 1);
	if (fstatat(s->d->fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		*out_gone = errno == ENOENT;
		return *out_gone || err_sys(err, "stat %s", path);
	}
	f->mtime_s = st.st_mtim.tv_sec;
	f->mtime_ns = (uint32_t)st.st_mtim.tv_nsec;
	f->size = (uint64_t)st.st_size;
	if (!S_ISREG(st.st_mode) || f->size > UINT32_MAX)
		*out_gone = true; /* nothing that we could show */
	return true;
}

static bool insert(struct sync *s, const struct found *f, uint32_t uid, struct err *err)
{
	struct hot h = {.uid = uid,
			.marks = marks_of(f->name.flags, f->name.keywords),
			.date = f->mtime_s,
			.wire_size = (uint32_t)f->name.wire_size,
			.size = (uint32_t)f->size};
	struct cold c = {.uid = uid,
			 .mtime_ns = f->mtime_ns,
			 .journal = JOURNAL_UNKNOWN,
			 .seq = (uint64_t)clock_wall_us(),
			 .plain = f->plain,
			 .base = f->plain ? uidlist_name(f->file) : f->name.base};

	s->letters |= f->name.keywords;
	return edit_insert(&s->edit, &h, &c, err);
}

/* After power loss: data that never reached the disk, and no journal that would bring it back, so no
 * OK was given for it (DURABILITY, APPEND). Kept apart, never shown. */
static bool set_aside(struct sync *s, const struct found *f, struct err *err)
{
	ARENA_SCOPED ar = arena_new();
	const char *from = arena_cstr(ar, arena_fmt(ar, "cur/%.*s", STR_ARG(f->file)));
	const char *to = arena_cstr(ar, arena_fmt(ar, "pabal-aside/%.*s", STR_ARG(f->file)));

	if (file_mkdirat(s->a->hot->fd, "pabal-aside", 0700) < 0 && errno != EEXIST)
		return err_sys(err, "mkdir pabal-aside");
	log_event(LOG_WARN, "store.message.set_aside", K_STR(account, s->a->address),
		  K_STR(path, f->file), K_INT(size, f->size));
	return file_renameat(s->d->fd, from, s->a->hot->fd, to) == 0 || errno == ENOENT ||
	       err_sys(err, "rename %s", from);
}

/* Data that never reached the disk: shorter than it was, or zeros of the same length. What was
 * acknowledged is repaired by now, and nothing that anybody sends begins with so many. */
static bool is_lost(const struct sync *s, const struct found *f, uint64_t size, bool *out, struct err *err)
{
	char path[CUR_PATH_MAX], head[ZEROS_LOST];
	static const char zeros[ZEROS_LOST];

	*out = f->size < size;
	if (*out || !f->size)
		return true;
	memcpy(path, "cur/", 4);
	memcpy(path + 4, f->file.p, f->file.n + 1);
	FD_SCOPED fd = file_openat(s->d->fd, path, O_RDONLY | O_NOFOLLOW, 0);
	if (fd < 0)
		return errno == ENOENT || err_sys(err, "open %s", path);
	ssize_t n = pread(fd, head, sizeof(head), 0);
	*out = n > 0 && memcmp(head, zeros, (size_t)n) == 0;
	return n >= 0 || err_sys(err, "read %s", path);
}

/* Size with CRLF line ends: every LF without CR before it counts twice. */
static bool wire_size(const struct sync *s, const char *path, uint64_t *out, struct err *err)
{
	FD_SCOPED fd = file_openat(s->d->fd, path, O_RDONLY | O_NOFOLLOW, 0);
	if (fd < 0)
		return err_sys(err, "open %s", path);

	char *chunk = mem_alloc(READ_CHUNK);
	ssize_t n;
	bool cr = false;
	*out = 0;
	while ((n = read(fd, chunk, READ_CHUNK)) > 0)
		*out += (uint64_t)n + lf_alone((struct str){chunk, (size_t)n}, &cr);
	int saved = errno;
	free(chunk);
	errno = saved;
	return n == 0 || err_sys(err, "read %s", path);
}

/* It belongs into UIDS_FILE: its name has no UID, or a POP3 UIDL is known for it. */
static void list(struct sync *s, struct found *f)
{
	f->listed = f->plain || (f->entry && f->entry->pop3_uidl.n);
	s->list_grew |= f->listed && !f->entry_is_ours;
}

/* Gives it a name of ours, in cur/. */
static bool name_ours(struct sync *s, struct found *f, uint32_t uid, bool *out_gone, struct err *err)
{
	ARENA_SCOPED ar = arena_new();
	const char *from =
		arena_cstr(ar, arena_fmt(ar, "%s/%.*s", f->in_new ? "new" : "cur", STR_ARG(f->file)));
	struct hot h = {.uid = uid,
			.marks = marks_of(f->name.flags, f->name.keywords),
			.size = (uint32_t)f->size,
			.wire_size = (uint32_t)f->name.wire_size};
	char to[CUR_PATH_MAX];

	*out_gone = false;
	if (f->name.base.n > NAME_BASE_MAX) {
		struct id id = id_new();
		f->name.base = arena_str(s->ar, id_str(&id));
	}
	f->plain = false;
	struct cold c = {.uid = uid, .base = f->name.base};
	if (!cur_path(s->d, &h, &c, to))
		return err_set(err, ERR_LIMIT, "a file name is too long");
	if (file_renameat_noreplace(s->d->fd, from, s->d->fd, to) == 0)
		return true;
	*out_gone = errno == ENOENT;
	return *out_gone || err_sys(err, "rename %s to %s", from, to);
}

/* The sizes in its name hold when the file has the one of them; else it is read. */
static bool find_wire_size(const struct sync *s, struct found *f, bool *out_gone, struct err *err)
{
	ARENA_SCOPED ar = arena_new();
	const char *path =
		arena_cstr(ar, arena_fmt(ar, "%s/%.*s", f->in_new ? "new" : "cur", STR_ARG(f->file)));

	*out_gone = false;
	if (f->name.has_size && f->name.has_wire_size && f->name.size == f->size &&
	    f->name.wire_size >= f->size)
		return true;
	if (!wire_size(s, path, &f->name.wire_size, err)) {
		*out_gone = err->sys == ENOENT;
		return *out_gone;
	}
	f->name.size = f->size;
	return true;
}

/* Of a file that a list knows. Ours has both sizes: with another one it is another message, which
 * take_mine() sees. Those of others may be wrong. */
static bool listed_sizes(const struct sync *s, struct found *f, bool *out_gone, struct err *err)
{
	const struct uidlist_entry *e = f->entry;

	if (e->has_size && e->has_wire_size &&
	    (f->entry_is_ours || (e->size == f->size && e->wire_size >= e->size))) {
		f->name.size = e->size;
		f->name.wire_size = e->wire_size;
		*out_gone = f->name.wire_size > UINT32_MAX;
		return true;
	}
	if (!find_wire_size(s, f, out_gone, err))
		return false;
	f->name.size = f->size;
	*out_gone |= f->name.wire_size > UINT32_MAX;
	return true;
}

/* A file with our tag that the index does not have: after the loss of the index, a crash between
 * rename and index, or carried back by hand. */
static bool take_mine(struct sync *s, struct found *f, struct err *err)
{
	bool gone = false, known = false;
	uint32_t uid = f->name.uid;

	if (!look(s, f, &gone, err))
		return false;
	if (gone)
		return true;
	bool lost = false;
	if (s->cold && !f->entry && !is_lost(s, f, f->name.size, &lost, err))
		return false;
	if (lost)
		return set_aside(s, f, err);
	if (f->entry && !listed_sizes(s, f, &gone, err))
		return false;
	if (gone)
		return true;
	if (!s->rebuild && !index_vanished_has(s->ix, s->m->row, uid, &known, err))
		return false;
	known |= s->edit.gone.first && uid >= s->edit.gone.first && uid <= s->edit.gone.last; /* just now */
	/* Expunged once: its UID is not given again. Other size: another message. Below others that clients
	 * have seen: it would move their sequence numbers. */
	if (known || uid < s->highest || f->size != f->name.size ||
	    uid >= s->d->state.uidnext + UID_LEAP_MAX) {
		add_other(s, f);
		return true;
	}
	if (uid >= s->d->state.uidnext) {
		uint32_t leap = uid + 1 - s->d->state.uidnext;
		if (!begin(s, leap, NULL, err))
			return false;
	}
	if (f->entry && !f->plain && !name_ours(s, f, uid, &gone, err))
		return false;
	if (gone)
		return true;
	list(s, f);
	return insert(s, f, uid, err);
}

/* The date of a file may be lost like its data, or have become that of its repair. */
static bool date_again(const struct sync *s, const struct found *f, const struct hot *h, const struct cold *c,
		       struct err *err)
{
	struct timespec date = {.tv_sec = (time_t)h->date, .tv_nsec = c->mtime_ns}, times[2] = {date, date};
	char path[CUR_PATH_MAX];

	if (f->mtime_s == h->date && f->mtime_ns == c->mtime_ns)
		return true;
	memcpy(path, "cur/", 4);
	memcpy(path + 4, f->file.p, f->file.n + 1);
	return utimensat(s->d->fd, path, times, AT_SYMLINK_NOFOLLOW) == 0 || errno == ENOENT ||
	       err_sys(err, "utimensat %s", path);
}

/* Written to in place by another program: a new message, with a new UID. */
static bool is_other(struct sync *s, struct found *f, const struct hot *h, const struct cold *c,
		     bool *out, struct err *err)
{
	bool gone, lost = false;

	if (!look(s, f, &gone, err))
		return false;
	if (!gone && s->cold && !is_settled(s->a->store, s->ix, c) && !is_lost(s, f, h->size, &lost, err))
		return false;
	*out = !gone && (lost || f->size != h->size ||
			 (!s->cold && (f->mtime_s != h->date || f->mtime_ns != c->mtime_ns)));
	if (!*out)
		return gone || !s->cold || date_again(s, f, h, c, err);
	if (!edit_remove(&s->edit, h->uid, err))
		return false;
	if (s->cold && (lost || f->size < h->size))
		return set_aside(s, f, err);
	add_other(s, f);
	return true;
}

/* It lost or got our fields without the index following. */
static bool same_form(struct sync *s, const struct found *f, const struct cold *c, struct err *err)
{
	struct cold now = *c;

	now.plain = f->plain;
	now.base = f->plain ? uidlist_name(f->file) : f->name.base;
	return (now.plain == c->plain && str_eq(now.base, c->base)) || edit_cold(&s->edit, &now, err);
}

static bool found_again(struct sync *s, struct found *f, const struct hot *h, const struct cold *c,
			struct err *err)
{
	uint32_t marks = marks_of(f->name.flags, f->name.keywords);
	bool other = false;

	if (s->deep && !is_other(s, f, h, c, &other, err))
		return false;
	if (other)
		return true;
	f->name.size = h->size;
	f->name.wire_size = h->wire_size;
	list(s, f);
	s->letters |= f->name.keywords;
	return same_form(s, f, c, err) && (marks == h->marks || edit_marks(&s->edit, h->uid, marks, err));
}

/* Each message of the index has its file, under whatever flags, or is gone. */
static bool match_index(struct sync *s, struct err *err)
{
	struct index_reader r = {.ix = s->ix, .row = s->m->row};
	struct hot h;
	struct cold c;
	bool ok, found;

	for (uint32_t uid = 1; (ok = index_find_next(&r, uid, &h, &c, &found, err)) && found;
	     uid = h.uid + 1) {
		struct found *f = mine_find(s, h.uid, cold_base(&c)), probed;
		s->highest = h.uid;
		if (!f && !s->still && probe(s, &h, &c, &probed))
			f = &probed;
		if (f)
			f->used = true;
		ok = f ? found_again(s, f, &h, &c, err) : edit_remove(&s->edit, h.uid, err);
		if (!ok)
			break;
	}
	index_reader_end(&r);
	return ok;
}

/* What is left with our tag. Two claims to one UID: the smaller base wins, unless the index had the
 * other one already: no UID has two contents. */
static bool match_rest(struct sync *s, struct err *err)
{
	uint32_t given = 0; /* UID of the last one that is taken */

	for (size_t i = 0; i < s->mine_n; i++) {
		struct found *f = &s->mine[i];
		if (f->used) {
			given = f->name.uid;
			continue;
		}
		bool claimed = f->name.uid == given;
		for (size_t j = i + 1; j < s->mine_n && s->mine[j].name.uid == f->name.uid; j++)
			claimed |= s->mine[j].used;
		if (claimed) {
			add_other(s, f);
			continue;
		}
		given = f->name.uid;
		if (!take_mine(s, f, err))
			return false;
	}
	return true;
}

/* ---- foreign files ---------------------------------------------------------------------- */
static int by_arrival(const void *x, const void *y)
{
	const struct found *a = x, *b = y;

	if (a->mtime_s != b->mtime_s)
		return a->mtime_s < b->mtime_s ? -1 : 1;
	if (a->mtime_ns != b->mtime_ns)
		return a->mtime_ns < b->mtime_ns ? -1 : 1;
	return str_cmp(a->file, b->file);
}

static bool adopt_one(struct sync *s, struct found *f, uint32_t uid, bool stays, struct err *err)
{
	bool gone;

	if (!find_wire_size(s, f, &gone, err))
		return false;
	if (gone || f->name.wire_size > UINT32_MAX)
		return true;
	/* What a list knows under another UID must not be found there again. */
	if ((!stays || !f->plain || f->entry) && !name_ours(s, f, uid, &gone, err))
		return false;
	if (gone)
		return true;
	f->entry = NULL;
	f->name.uid = uid;
	list(s, f);
	return insert(s, f, uid, err);
}

static bool adopt(struct sync *s, struct err *err)
{
	size_t n = 0;

	for (size_t i = 0; i < s->other_n; i++) {
		bool gone;
		if (!look(s, &s->other[i], &gone, err))
			return false;
		if (!gone)
			s->other[n++] = s->other[i];
	}
	s->other_n = n;
	if (!n)
		return true;
	qsort(s->other, n, sizeof(*s->other), by_arrival);

	uint32_t uid;
	if (!begin(s, (uint32_t)n, &uid, err))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!adopt_one(s, &s->other[i], uid + (uint32_t)i, n >= PLAIN_MIN, err))
			return false;
	return true;
}

static void write_entry(struct buf *out, const struct found *f)
{
	struct uidlist_entry e = {.uid = f->name.uid,
				  .has_size = true,
				  .size = f->name.size,
				  .has_wire_size = true,
				  .wire_size = f->name.wire_size,
				  .pop3_uidl = f->entry ? f->entry->pop3_uidl : STR_NONE,
				  .name = uidlist_name(f->file)};

	uidlist_write_entry(out, &e);
}

/* Of messages whose names have their UID by now. */
static void write_pop3_uidls(struct buf *out, const struct sync *s)
{
	for (size_t i = 0; i < s->ours.n; i++) {
		const struct uidlist_entry *e = &s->ours.at[i];
		size_t at = e->pop3_uidl.n ? mine_from(s, e->uid) : s->mine_n;
		if (at < s->mine_n && s->mine[at].name.uid == e->uid && !s->mine[at].entry)
			uidlist_write_entry(out, e);
	}
}

/* On disk before the index shows a UID that is nowhere else. What is gone goes. */
static bool write_list(struct sync *s, struct err *err)
{
	const struct state *st = &s->d->state;
	BUF_SCOPED text = {0};

	if (!s->list_grew)
		return true;
	if (!s->ours_read && !read_list(s, UIDS_FILE, &s->ours, err))
		return false;
	uidlist_write_head(&text, st->uidvalidity, st->uidnext, (struct str){st->mailbox_id, MAILBOX_ID_LEN});
	for (size_t i = 0; i < s->mine_n; i++)
		if (s->mine[i].listed)
			write_entry(&text, &s->mine[i]);
	for (size_t i = 0; i < s->other_n; i++)
		if (s->other[i].listed)
			write_entry(&text, &s->other[i]);
	write_pop3_uidls(&text, s);
	return file_replace_whole(s->d->fd, UIDS_FILE, buf_str(&text), 0600, err);
}

/* ---- the whole -------------------------------------------------------------------------- */
static bool is_broken(const struct sync *s)
{
	const struct state *st = &s->d->state;

	return st->marked || st->epoch != s->a->store->epoch || st->index != s->ix->identity;
}

/* UIDs that were shown before power was lost may be unknown to the state now on disk (trap 5). */
static bool after_power_loss(struct sync *s, struct err *err)
{
	struct state *st = &s->d->state;

	if (st->promise > st->ceiling)
		st->ceiling = st->promise;
	if (st->ceiling > st->uidnext)
		st->uidnext = st->ceiling;
	return ceiling_extend(s->d, 0, err);
}

static bool get_row(struct sync *s, bool *out_found, struct err *err)
{
	return index_mailbox(s->ix, (struct str){s->d->state.mailbox_id, MAILBOX_ID_LEN}, s->m, out_found,
			     err);
}

static bool make_row(struct sync *s, struct err *err)
{
	*s->m = (struct index_mailbox){.uidvalidity = s->d->state.uidvalidity,
				       .recent_uid = s->d->state.uidnext,
				       .modseq = s->modseq,
				       .known_since = s->modseq};
	return index_mailbox_add(s->ix, (struct str){s->d->state.mailbox_id, MAILBOX_ID_LEN}, s->m, err);
}

static bool in_tx(struct sync *s, bool has_row, struct err *err)
{
	if (!next_modseq(s->a, s->d, &s->modseq, err))
		return false;
	if (!has_row && !make_row(s, err))
		return false;
	s->edit = (struct index_edit){.ix = s->ix, .mailbox = s->m, .modseq = s->modseq};
	if ((s->scan_cur && (!scan(s, err) || !match_index(s, err) || !match_rest(s, err))) ||
	    (!s->scan_cur && !scan(s, err)))
		return false;
	if (!adopt(s, err) || !write_list(s, err))
		return false;

	/* Those without a file of their own keep their letters as they were. */
	if (s->letters) {
		if (!dir_keywords(s->a, s->d, err) ||
		    !keywords_cover(s->d->fd, s->d->arena, &s->d->keywords, s->letters, err))
			return false;
		s->d->state.keywords_n = (uint8_t)s->d->keywords.n;
	}
	if (s->rebuild || s->cold)
		s->m->known_since = s->modseq;
	return true;
}

static bool run(struct sync *s, bool has_row, struct err *err)
{
	uint64_t before = s->m->modseq;

	if (s->cold && !after_power_loss(s, err))
		return false;
	if (!index_begin(s->ix, err))
		return false;
	if (!in_tx(s, has_row, err)) {
		edit_abort(&s->edit);
		index_rollback(s->ix);
		return false;
	}
	bool changed = s->rebuild || s->cold || s->edit.touched;
	if (!changed)
		s->edit.modseq = before;
	if (!edit_end(&s->edit, err) || !index_commit(s->ix, err)) {
		index_rollback(s->ix);
		return false;
	}
	if (!s->began)
		s->d->state.cur_ns = s->cur_ns;
	s->d->state.new_ns = s->new_ns;
	house_index_written(s->a);
	return change_end(s->a, s->d, &s->change, s->m->modseq, err);
}

static bool needed(struct sync *s, enum sync_why why, bool has_row)
{
	s->rebuild = !has_row || s->d->state.index != s->ix->identity;
	s->cold = s->d->state.epoch != s->a->store->epoch;
	s->deep = !s->rebuild && (s->cold || why == SYNC_FORCE);
	if (is_broken(s) || !has_row || why == SYNC_FORCE) {
		s->scan_cur = s->scan_new = true;
		return true;
	}
	if (why == SYNC_IF_BROKEN)
		return false;
	s->scan_cur = !s->d->state.cur_ns || dir_mtime_ns(s->d->fd, "cur") != s->d->state.cur_ns;
	s->scan_new = !s->d->state.new_ns || dir_mtime_ns(s->d->fd, "new") != s->d->state.new_ns;
	return s->scan_cur || s->scan_new;
}

/* The index has rows, but not those that go with this state: taken in anew. */
static bool forget_rows(struct sync *s, struct err *err)
{
	if (!index_begin(s->ix, err))
		return false;
	if (index_mailbox_clear(s->ix, s->m, err) && index_commit(s->ix, err))
		return true;
	index_rollback(s->ix);
	return false;
}

bool dir_sync(struct account *a, struct dir *d, enum sync_why why, struct index_mailbox *out,
	      struct err *err)
{
	if (!a->hot->index && !account_index(a, err))
		return false;

	ARENA_SCOPED ar = arena_new();
	struct sync s = {.a = a, .d = d, .ix = a->hot->index, .m = out, .ar = ar};
	bool has_row;
	*out = (struct index_mailbox){0};
	if (!get_row(&s, &has_row, err))
		goto failed;
	if (!needed(&s, why, has_row))
		return true;
	/* Another process may be in the middle of a change, or have done this meanwhile. */
	if (!a->flocked)
		return account_flock(a, err) && dir_refresh(a, d, err) && dir_sync(a, d, why, out, err);
	if (has_row && s.rebuild && !forget_rows(&s, err))
		goto failed;
	bool ok = run(&s, has_row, err);
	uidlist_fini(&s.ours);
	uidlist_fini(&s.theirs);
	if (ok)
		return true;
failed:
	account_index_failed(a, err);
	return err_while(err, "reading the directory %s of %.*s", d->name.p, STR_ARG(a->address));
}
