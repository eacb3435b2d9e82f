/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* store/files.c: files that hold messages: their names, and how they are written. */
#include "base/crc32c.h"
#include "store/store_int.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { COPY_CHUNK = 256 << 10, IOV_BATCH = 64 };

bool cur_path(const struct dir *d, const struct hot *h, const struct cold *c, char out[CUR_PATH_MAX])
{
	struct file_name n = {
		.base = c->base,
		.flags = h->marks & MARK_FLAGS,
		.keywords = h->marks >> MARK_KEYWORD_SHIFT,
	};

	if (!c->plain) {
		n.has_size = n.has_wire_size = n.has_uid = true;
		n.size = h->size;
		n.wire_size = h->wire_size;
		n.uid = h->uid;
		n.tag = (struct str){d->tag, TAG_LEN};
	}
	memcpy(out, "cur/", 4);
	return name_format(out + 4, &n) > 0;
}

struct str cold_base(const struct cold *c)
{
	struct file_name n;

	return c->plain && name_parse(c->base, &n) ? n.base : c->base;
}

uint64_t lf_alone(struct str piece, bool *cr)
{
	const char *p = piece.p, *end = piece.p + piece.n;
	uint64_t n = 0;

	while (p < end && (p = memchr(p, '\n', (size_t)(end - p)))) {
		bool after_cr = p > piece.p ? p[-1] == '\r' : *cr;
		n += !after_cr;
		p++;
	}
	if (piece.n)
		*cr = piece.p[piece.n - 1] == '\r';
	return n;
}

struct writer {
	int fd;
	struct tmp_file *t;
	bool cr;
};

static void account_for(struct writer *w, struct str piece)
{
	w->t->crc = crc32c(w->t->crc, piece.p, piece.n);
	w->t->size += piece.n;
	w->t->wire_size += piece.n + lf_alone(piece, &w->cr);
}

/* Many parts in one call: a message is an envelope's header lines and the content as received. */
static bool write_parts(struct writer *w, const struct str *parts, size_t n, struct err *err)
{
	while (n) {
		struct iovec iov[IOV_BATCH];
		int count = 0;
		size_t all = 0;
		off_t at = (off_t)w->t->size;
		for (; count < IOV_BATCH && (size_t)count < n; count++) {
			iov[count] = (struct iovec){(void *)(uintptr_t)parts[count].p, parts[count].n};
			all += parts[count].n;
			account_for(w, parts[count]);
		}
		ssize_t got = file_pwritev(w->fd, iov, count, at);
		if (got < 0)
			return err_sys(err, "write message");
		if ((size_t)got < all) {
			/* In part: a full disk tells at the next write; the rest goes piecewise. */
			size_t skip = (size_t)got;
			if (lseek(w->fd, at + got, SEEK_SET) < 0)
				return err_sys(err, "lseek");
			for (int i = 0; i < count; i++) {
				size_t done = skip < parts[i].n ? skip : parts[i].n;
				skip -= done;
				if (!file_write_all(w->fd, parts[i].p + done, parts[i].n - done, err))
					return false;
			}
		}
		parts += count;
		n -= (size_t)count;
	}
	return true;
}

static bool write_file(struct writer *w, int fd, uint64_t size, struct err *err)
{
	char *chunk = mem_alloc(COPY_CHUNK);
	bool ok = lseek(w->fd, (off_t)w->t->size, SEEK_SET) >= 0;

	if (!ok)
		err_sys(err, "lseek");
	for (uint64_t at = 0; ok && at < size;) {
		size_t n = size - at < COPY_CHUNK ? (size_t)(size - at) : COPY_CHUNK;
		ok = file_pread_all(fd, chunk, n, (off_t)at, err) && file_write_all(w->fd, chunk, n, err);
		if (ok)
			account_for(w, (struct str){chunk, n});
		at += n;
	}
	free(chunk);
	return ok;
}

/* INTERNALDATE lives in the mtime, as with other Maildir programs: it survives the index. */
static bool set_date(int fd, int64_t date, struct err *err)
{
	struct timespec times[2] = {{.tv_sec = (time_t)date}, {.tv_sec = (time_t)date}};

	return futimens(fd, times) == 0 || err_sys(err, "futimens");
}

bool tmp_write(int dirfd, const struct new_message *m, struct tmp_file *out, struct err *err)
{
	struct id unique = id_new();

	*out = (struct tmp_file){0};
	snprintf(out->name, sizeof(out->name), "tmp/%.*s.%u.%.8s", ID_LEN, m->id.c, m->action,
		 unique.c + ID_LEN - 8);
	FD_SCOPED fd = file_openat(dirfd, out->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_sys(err, "create %s", out->name);

	struct writer w = {.fd = fd, .t = out};
	if (!write_parts(&w, m->parts, m->parts_n, err) ||
	    (m->file_fd >= 0 && m->file_size && !write_file(&w, m->file_fd, m->file_size, err)) ||
	    !set_date(fd, m->internaldate, err)) {
		tmp_remove(dirfd, out);
		return false;
	}
	if (out->wire_size > UINT32_MAX) {
		tmp_remove(dirfd, out);
		return err_set(err, ERR_LIMIT, "message is too large");
	}
	return true;
}

void tmp_remove(int dirfd, const struct tmp_file *t)
{
	if (t->name[0])
		file_unlinkat(dirfd, t->name, 0);
}
