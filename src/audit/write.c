/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * The order is: lines, fdatasync, head. So the head is never ahead of lines that a crash can take, and a
 * head that is ahead means that somebody cut the file.
 *
 * A batch that failed half way is cut off again.
 */
#include "audit/audit_int.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TAIL_BYTES = 256 * 1024, NAME_BYTES = 256 };

struct audit_log {
	int dir_fd, fd, head_fd;
	char name[NAME_BYTES], role[32];
	struct audit_head last; /* of what is written, or will be by the commit */
	struct audit_head committed;
	off_t size;             /* of the file as committed */
	struct buf out;
	struct buf recent;      /* the tail as it was when the file was opened */
	struct buf opened;      /* the time of that, as lines begin */
};

static void seal(struct audit_log *a, struct str text)
{
	size_t at = a->out.n;
	buf_fmt(&a->out, "%llu %.*s %.*s", (unsigned long long)++a->last.number, AUDIT_HASH_HEX, a->last.hash,
		STR_ARG(text));
	audit_hash(str_from(buf_str(&a->out), at), a->last.hash);
	buf_byte(&a->out, '\n');
}

void audit_add(struct audit_log *a, struct str text)
{
	/* Lines begin with the time; only what is older than we are can have been written before. */
	if (text.n &&
	    (str_cmp(text, buf_str(&a->opened)) >= 0 || str_find(buf_str(&a->recent), text) == STR_NPOS))
		seal(a, text);
}

static void add_own(struct audit_log *a, const char *event, struct str why)
{
	struct log_field f = K_STR(why, why);
	BUF_SCOPED line = {0};
	log_format(&line, clock_wall_us(), LOG_AUDIT, str_of(a->role), event, &f, 1);
	seal(a, buf_str(&line));
}

/* ---- opening ---- */

static bool read_head(struct audit_log *a)
{
	char text[128];
	ssize_t n = pread(a->head_fd, text, sizeof text, 0);
	return n > 0 && audit_head_read((struct str){text, (size_t)n}, &a->last);
}

static bool read_tail(struct audit_log *a, struct err *err)
{
	struct stat st;
	if (fstat(a->fd, &st) < 0)
		return err_sys(err, "stat %s", a->name);
	size_t n = st.st_size < TAIL_BYTES ? (size_t)st.st_size : TAIL_BYTES;
	a->size = st.st_size;
	buf_clear(&a->recent);
	char *p = n ? buf_room(&a->recent, n) : NULL;
	if (n && !file_pread_all(a->fd, p, n, st.st_size - (off_t)n, err))
		return false;
	a->recent.n = n;
	return true;
}

/* What a crash left of a line is no line; it is kept in the record of it. */
static bool cut_torn(struct audit_log *a, struct str *out_torn, struct err *err)
{
	struct str tail = buf_str(&a->recent);
	size_t end = str_find_last_byte(tail, '\n');
	size_t keep = end == STR_NPOS ? 0 : end + 1;
	*out_torn = str_from(tail, keep);
	if (!out_torn->n)
		return true;
	a->size -= (off_t)out_torn->n;
	a->recent.n = keep;
	if (file_ftruncate(a->fd, a->size) < 0)
		return err_sys(err, "truncate %s", a->name);
	return true;
}

/* Where the chain goes on. The last line, or the head if that knows of more. */
static void find_end(struct audit_log *a)
{
	struct str tail = buf_str(&a->recent);
	bool head = read_head(a);
	if (!head) {
		a->last.number = 0;
		memset(a->last.hash, '0', AUDIT_HASH_HEX);
	}
	if (tail.n) {
		struct str body = str_sub(tail, 0, tail.n - 1);
		size_t before = str_find_last_byte(body, '\n');
		struct str line = before == STR_NPOS ? body : str_from(body, before + 1);
		struct audit_line l;
		if (audit_line_read(line, &l) && l.number >= a->last.number) {
			a->last.number = l.number;
			audit_hash(line, a->last.hash);
		}
	}
	a->committed = a->last;
}

static bool open_file(struct audit_log *a, struct err *err)
{
	struct str torn;
	BUF_SCOPED kept = {0};
	a->fd = file_openat(a->dir_fd, a->name, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW, 0640);
	if (a->fd < 0)
		return err_sys(err, "open audit log %s", a->name);
	if (!read_tail(a, err))
		return false;
	if (!cut_torn(a, &torn, err))
		return false;
	buf_add(&kept, torn);
	find_end(a);
	if (kept.n)
		add_own(a, "audit.torn", buf_str(&kept));
	return true;
}

static bool open_head(struct audit_log *a, struct err *err)
{
	char name[NAME_BYTES + 8];
	snprintf(name, sizeof name, "%s.head", a->name);
	a->head_fd = file_openat(a->dir_fd, name, O_RDWR | O_CREAT | O_NOFOLLOW, 0640);
	if (a->head_fd < 0)
		return err_sys(err, "open %s", name);
	if (flock(a->head_fd, LOCK_EX | LOCK_NB) < 0)
		return err_set(err, ERR_CONFLICT, "the audit log is being written by another process");
	return true;
}

bool audit_open(int dirfd, const char *name, struct str role, struct audit_log **out, struct err *err)
{
	struct audit_log *a = mem_new(struct audit_log);
	a->dir_fd = fcntl(dirfd, F_DUPFD_CLOEXEC, 3);
	a->fd = a->head_fd = -1;
	snprintf(a->name, sizeof a->name, "%s", name);
	snprintf(a->role, sizeof a->role, "%.*s", STR_ARG(role));
	log_format(&a->opened, clock_wall_us(), LOG_AUDIT, STR_NONE, "", NULL, 0);
	if (open_head(a, err) && open_file(a, err) && audit_commit(a, err)) {
		*out = a;
		return true;
	}
	audit_close(a);
	return false;
}

void audit_close(struct audit_log *a)
{
	if (!a)
		return;
	fd_close(&a->fd);
	fd_close(&a->head_fd);
	fd_close(&a->dir_fd);
	buf_free(&a->out);
	buf_free(&a->recent);
	buf_free(&a->opened);
	free(a);
}

/* ---- commit ---- */

static bool write_head(struct audit_log *a, struct err *err)
{
	char text[128];
	int n = snprintf(text, sizeof text, "%020llu %.*s\n", (unsigned long long)a->last.number,
			 AUDIT_HASH_HEX, a->last.hash);
	if (file_pwrite(a->head_fd, text, (size_t)n, 0) != n)
		return err_sys(err, "write the head of %s", a->name);
	return true;
}

static bool write_lines(struct audit_log *a, struct err *err)
{
	if (!file_write_all(a->fd, a->out.p, a->out.n, err))
		return false;
	return file_fdatasync(a->fd) == 0 || err_sys(err, "sync %s", a->name);
}

bool audit_commit(struct audit_log *a, struct err *err)
{
	if (!a->out.n)
		return true;
	bool good = write_lines(a, err);
	if (good) {
		a->size += (off_t)a->out.n;
		a->committed = a->last;
	} else {
		a->last = a->committed;
		if (file_ftruncate(a->fd, a->size) < 0)
			err_while(err, "cutting off what was written");
	}
	buf_clear(&a->out);
	return good && write_head(a, err);
}

bool audit_reopen(struct audit_log *a, struct err *err)
{
	struct audit_head last = a->last;
	if (!audit_commit(a, err))
		return false;
	int before = a->fd;
	if (!open_file(a, err)) {
		fd_close(&a->fd);
		a->fd = before;
		return false;
	}
	fd_close(&before);
	if (last.number > a->last.number)
		a->last = last;
	return audit_commit(a, err);
}

uint64_t audit_count(const struct audit_log *a)
{
	return a->committed.number;
}
