/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Reading another process's journal while it is being written.
 *
 * The owner may have been captured: nothing here trusts more than CRCs can show, and nothing is
 * mapped (a file may shrink). Segments are looked at in order of generation; a cursor remembers
 * where the last call stopped, so following the owner costs only the new bytes.
 */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "journal/journal_int.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { READER_SEGMENTS_MAX = 1024 };
/* More than any setting lets a message have; a hole of terabytes costs its owner nothing. */
#define SIDE_MAX (UINT64_C(3) << 30)

struct known {
	int fd;
	uint32_t number;
	struct segment_header h;
	uint64_t size;
};

struct journal_reader {
	int dirfd;
	char *name;
	struct known *known;
	size_t n;
	/* cursor: the walk that stopped, valid while nonce is that of a known segment */
	struct segment_walk walk;
	bool walking;
	struct void_ranges voids;
};

bool journal_reader_open(int dirfd, const char *name, struct journal_reader **out, struct err *err)
{
	int fd = file_openat(dirfd, ".", O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return err_sys(err, "cannot open journal %s", name);
	struct journal_reader *r = mem_zalloc(sizeof *r);
	r->dirfd = fd;
	r->name = mem_cstr(name);
	*out = r;
	return true;
}

static void forget(struct journal_reader *r)
{
	for (size_t i = 0; i < r->n; i++)
		fd_close(&r->known[i].fd);
	free(r->known);
	r->known = NULL;
	r->n = 0;
}

void journal_reader_close(struct journal_reader *r)
{
	if (!r)
		return;
	if (r->walking)
		segment_walk_end(&r->walk);
	forget(r);
	void_ranges_free(&r->voids);
	fd_close(&r->dirfd);
	free(r->name);
	free(r);
}

static int by_generation(const void *a, const void *b)
{
	const struct known *x = a, *y = b;
	return x->h.generation < y->h.generation ? -1 : x->h.generation > y->h.generation;
}

/* Ours, and over some day: a segment passed over for it would be mail passed over. What the owner may have
 * done to its files (links, modes, sizes) is no reason to stand still. */
static bool is_passing(int e)
{
	return e == EMFILE || e == ENFILE || e == ENOMEM || e == EIO;
}

/* Reads the headers of all segments: cheap, one small read each. */
static bool look(struct journal_reader *r, struct err *err)
{
	forget(r);
	int fd = file_openat(r->dirfd, ".", O_RDONLY | O_DIRECTORY, 0);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		fd_close(&fd);
		return err_sys(err, "cannot read journal %s", r->name);
	}
	bool ok = true;
	for (struct dirent *d; (d = readdir(dir)) && r->n < READER_SEGMENTS_MAX;) {
		struct known k = {.fd = -1};
		if (!segment_name_parse(d->d_name, &k.number))
			continue;
		k.fd = file_openat(r->dirfd, d->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
		if (k.fd < 0 && is_passing(errno)) {
			ok = err_sys(err, "cannot open a segment of journal %s", r->name);
			break;
		}
		struct stat st;
		struct segment_walk w;
		struct err bad = {0};
		if (k.fd < 0 || fstat(k.fd, &st) != 0 || !S_ISREG(st.st_mode) ||
		    !segment_walk_begin(&w, k.fd, (uint64_t)st.st_size, &bad)) {
			fd_close(&k.fd);
			if (bad.kind == ERR_NONE || !is_passing(bad.sys))
				continue;
			*err = bad;
			ok = false;
			break;
		}
		k.h = w.h;
		k.size = (uint64_t)st.st_size;
		r->known = mem_resize(r->known, (r->n + 1) * sizeof *r->known);
		r->known[r->n++] = k;
	}
	closedir(dir);
	if (r->n)
		qsort(r->known, r->n, sizeof *r->known, by_generation);
	return ok;
}

/* VOID is the first record of the segment after the one it speaks of: learn it before that. */
static void learn_voids(struct journal_reader *r, size_t i)
{
	if (i >= r->n)
		return;
	struct segment_walk w;
	struct err err = {0};
	struct journal_record rec;
	if (segment_walk_begin(&w, r->known[i].fd, r->known[i].size, &err)) {
		if (segment_walk_next(&w, true, &rec, &err) && rec.type == JOURNAL_VOID && rec.seq &&
		    !void_ranges_have(&r->voids, rec.seq))
			void_ranges_add(&r->voids, rec.content);
		segment_walk_end(&w);
	}
}

static size_t cursor_segment(struct journal_reader *r)
{
	for (size_t i = 0; r->walking && i < r->n; i++) {
		if (r->known[i].h.nonce == r->walk.h.nonce &&
		    r->known[i].h.generation == r->walk.h.generation)
			return i;
	}
	return r->n;
}

static void stop_walking(struct journal_reader *r)
{
	if (r->walking)
		segment_walk_end(&r->walk);
	r->walking = false;
}

/* Places the cursor at or before seq: goes on where it stopped, or begins at the last segment whose
 * first number is below seq: one that begins with seq may begin with a checkpoint, which repeats
 * the number of a record in the segment before. */
static size_t cursor_place(struct journal_reader *r, uint64_t seq, struct err *err)
{
	size_t at = cursor_segment(r);
	if (at < r->n && r->walk.last_seq < seq) {
		r->walk.fd = r->known[at].fd;
		segment_walk_refresh(&r->walk);
		r->walk.gap = false;
		return at;
	}
	stop_walking(r);
	for (at = r->n; at > 0 && r->known[at - 1].h.first_seq >= seq;)
		at--;
	at -= at > 0;
	if (at < r->n)
		r->walking = segment_walk_begin(&r->walk, r->known[at].fd, r->known[at].size, err);
	return at;
}

enum walked { WALK_ENDED, WALK_STOPPED, WALK_FAILED };

/* Delivers from the cursor's segment on. Stopped: to was reached, or fn wants no more. */
static enum walked walk_on(struct journal_reader *r, uint64_t from, uint64_t to, bool probe,
			   journal_replay *fn, void *ctx, struct err *err)
{
	struct segment_walk *w = &r->walk;
	struct journal_record rec;
	for (;;) {
		uint64_t at = w->at, last_seq = w->last_seq;
		if (last_seq >= to || !segment_walk_next(w, probe, &rec, err))
			break;
		if (rec.type == JOURNAL_VOID || rec.type == JOURNAL_CHECKPOINT || rec.seq < from)
			continue;
		if (rec.seq > to) { /* not acknowledged: to be seen again next time */
			w->at = at;
			w->last_seq = last_seq;
			return WALK_STOPPED;
		}
		if (void_ranges_have(&r->voids, rec.seq) || fn(ctx, &rec, err))
			continue;
		if (err->kind == ERR_NONE) /* enough for now: the cursor stays */
			return WALK_STOPPED;
		stop_walking(r);
		return WALK_FAILED;
	}
	if (err->kind != ERR_NONE)
		return WALK_FAILED;
	return r->walk.last_seq >= to ? WALK_STOPPED : WALK_ENDED;
}

bool journal_reader_each(struct journal_reader *r, uint64_t from, uint64_t to, journal_replay *fn,
			 void *ctx, struct err *err)
{
	err_clear(err);
	if (from > to)
		return true;
	/* Even when the cursor's segment goes on: what follows there may be void by a later one. */
	if (!look(r, err))
		return false;
	for (size_t i = cursor_place(r, from, err); i < r->n; i++) {
		if (!r->walking && !segment_walk_begin(&r->walk, r->known[i].fd, r->known[i].size, err)) {
			if (err->kind != ERR_NONE)
				return false;
			continue;
		}
		r->walking = true;
		learn_voids(r, i + 1);
		/* The owner may be writing behind the last record; elsewhere damage may hide good ones. */
		bool last = i + 1 == r->n;
		enum walked w = walk_on(r, from, to, last, fn, ctx, err);
		if (w == WALK_ENDED && last &&
		    to != UINT64_MAX) { /* it said "to" is there: so this is damage */
			w = walk_on(r, from, to, false, fn, ctx, err);
			last = false;
		}
		if (r->walking && r->walk.damage) {
			log_event(LOG_ERROR, "journal.damage", K_CSTR(journal, r->name),
				  K_INT(segment, r->known[i].number), K_INT(count, r->walk.damage));
			r->walk.damage = 0;
		}
		if (w != WALK_ENDED)
			return w == WALK_STOPPED;
		if (!last)
			stop_walking(r);
	}
	return true;
}

bool journal_reader_bounds(struct journal_reader *r, uint64_t *out_watermark, uint64_t *out_last,
			   struct err *err)
{
	err_clear(err);
	if (!look(r, err))
		return false;
	uint64_t watermark = 1, last = 0;
	for (size_t i = 0; i < r->n; i++) {
		struct segment_walk w;
		if (!segment_walk_begin(&w, r->known[i].fd, r->known[i].size, err)) {
			if (err->kind != ERR_NONE)
				return false;
			continue;
		}
		struct journal_record rec;
		while (segment_walk_next(&w, false, &rec, err)) {
			uint64_t p;
			struct str extra;
			if (rec.type == JOURNAL_CHECKPOINT &&
			    checkpoint_decode(rec.content, &p, &extra) && p > watermark)
				watermark = p;
		}
		if (w.last_seq > last)
			last = w.last_seq;
		segment_walk_end(&w);
		if (err->kind != ERR_NONE)
			return false;
	}
	*out_watermark = watermark;
	*out_last = last > watermark - 1 ? last : watermark - 1;
	return true;
}

bool journal_reader_side(struct journal_reader *r, const char *name, int *out_fd, struct err *err)
{
	if (strncmp(name, "side-", 5) || strchr(name, '/'))
		return err_set(err, ERR_CORRUPT, "bad side file name in a journal");
	int fd = file_openat(r->dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
	struct stat st;
	if (fd < 0)
		return errno == ENOENT    ? err_set(err, ERR_NOT_FOUND, "a side file is missing")
		       : is_passing(errno) ? err_sys(err, "cannot open side file %s", name)
					   : err_set(err, ERR_CORRUPT, "a side file cannot be opened");
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size > SIDE_MAX) {
		fd_close(&fd);
		return err_set(err, ERR_CORRUPT, "a side file is not a regular file, or far too large");
	}
	*out_fd = fd;
	return true;
}
