/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * base/file.c: the system calls, and the faults of test builds in front of them (file_faults.c).
 */
#include "base/file.h"
#include "base/buf.h"
#include "base/file_faults.h"
#include "base/ids.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Longest name that file_replace_whole() takes; the temporary one is longer. */
enum { NAME_LIMIT = 1024 };

int file_openat(int dirfd, const char *name, int flags, mode_t mode)
{
	bool creates = flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE; /* holds O_DIRECTORY */

	if (FILE_FAULT(creates ? FILE_OP_CREATE : FILE_OP_OPEN))
		return -1;
	return openat(dirfd, name, flags | O_CLOEXEC, mode);
}

ssize_t file_write(int fd, const void *p, size_t n)
{
	return FILE_FAULT(FILE_OP_WRITE) ? -1 : write(fd, p, n);
}

ssize_t file_pwritev(int fd, const struct iovec *iov, int n, off_t at)
{
	return FILE_FAULT(FILE_OP_WRITE) ? -1 : pwritev(fd, iov, n, at);
}

ssize_t file_pwrite(int fd, const void *p, size_t n, off_t at)
{
	return FILE_FAULT(FILE_OP_WRITE) ? -1 : pwrite(fd, p, n, at);
}

int file_fsync(int fd)
{
	return FILE_FAULT(FILE_OP_FSYNC) ? -1 : fsync(fd);
}

int file_fdatasync(int fd)
{
	return FILE_FAULT(FILE_OP_FSYNC) ? -1 : fdatasync(fd);
}

int file_syncfs(int fd)
{
	return FILE_FAULT(FILE_OP_SYNCFS) ? -1 : syncfs(fd);
}

int file_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	return FILE_FAULT(FILE_OP_RENAME) ? -1 : renameat(from_dir, from, to_dir, to);
}

int file_renameat_noreplace(int from_dir, const char *from, int to_dir, const char *to)
{
	if (FILE_FAULT(FILE_OP_RENAME))
		return -1;

	int result = renameat2(from_dir, from, to_dir, to, RENAME_NOREPLACE);
	if (result < 0 && (errno == EINVAL || errno == ENOSYS)) {
		/* A file system without the flag. Both names for a moment is what callers bear. */
		result = linkat(from_dir, from, to_dir, to, 0);
		if (result == 0)
			result = unlinkat(from_dir, from, 0);
	}
	return result;
}

int file_linkat(int from_dir, const char *from, int to_dir, const char *to)
{
	return FILE_FAULT(FILE_OP_LINK) ? -1 : linkat(from_dir, from, to_dir, to, 0);
}

int file_unlinkat(int dirfd, const char *name, int flags)
{
	return FILE_FAULT(FILE_OP_UNLINK) ? -1 : unlinkat(dirfd, name, flags);
}

int file_mkdirat(int dirfd, const char *name, mode_t mode)
{
	return FILE_FAULT(FILE_OP_MKDIR) ? -1 : mkdirat(dirfd, name, mode);
}

int file_ftruncate(int fd, off_t size)
{
	return FILE_FAULT(FILE_OP_TRUNCATE) ? -1 : ftruncate(fd, size);
}

int file_fallocate(int fd, off_t at, off_t n)
{
	return FILE_FAULT(FILE_OP_FALLOCATE) ? -1 : fallocate(fd, 0, at, n);
}

bool file_write_all(int fd, const void *p, size_t n, struct err *err)
{
	const char *at = p;

	while (n) {
		ssize_t written = file_write(fd, at, n);
		if (written < 0) {
			if (errno == EINTR)
				continue;
			return err_sys(err, "write");
		}
		at += written;
		n -= (size_t)written;
	}
	return true;
}

bool file_pread_all(int fd, void *p, size_t n, off_t at, struct err *err)
{
	char *to = p;

	while (n) {
		ssize_t got = pread(fd, to, n, at);
		if (got < 0) {
			if (errno == EINTR)
				continue;
			return err_sys(err, "pread");
		}
		if (got == 0) {
			err_set(err, ERR_CORRUPT, "temporary failure");
			return err_cause(err, "file ends at %lld, %zu bytes early", (long long)at, n);
		}
		to += got;
		at += got;
		n -= (size_t)got;
	}
	return true;
}

static bool open_failed(const char *name, struct err *err)
{
	if (errno != ENOENT)
		return err_sys(err, "open %s", name);
	err_set(err, ERR_NOT_FOUND, "not found");
	err->sys = ENOENT;
	return err_cause(err, "open %s: no such file", name);
}

static bool too_large(const char *name, size_t max, struct err *err)
{
	err_set(err, ERR_LIMIT, "too large");
	return err_cause(err, "%s holds more than %zu bytes", name, max);
}

bool file_read_whole(int dirfd, const char *name, size_t max, struct buf *out, struct err *err)
{
	FD_SCOPED fd = file_openat(dirfd, name, O_RDONLY | O_NOCTTY, 0);
	struct stat st;

	if (fd < 0)
		return open_failed(name, err);
	if (fstat(fd, &st) < 0)
		return err_sys(err, "stat %s", name);
	if (st.st_size > 0 && (uint64_t)st.st_size > max)
		return too_large(name, max, err);

	/* One byte more than expected, so that the end is seen without another round. */
	size_t step = (st.st_size > 0 ? (size_t)st.st_size : 4095) + 1;
	buf_clear(out);
	for (;;) {
		char *room = buf_room(out, step);
		if (!room)
			return too_large(name, out->max, err);
		ssize_t got = read(fd, room, step);
		if (got < 0) {
			if (errno == EINTR)
				continue;
			return err_sys(err, "read %s", name);
		}
		if (got == 0)
			return true;
		out->n += (size_t)got;
		if (out->n > max)
			return too_large(name, max, err);
		step = 4096;
	}
}

/* Writes the temporary file and makes it durable. */
static bool write_temporary(int dir, const char *tmp, struct str content, mode_t mode, struct err *err)
{
	FD_SCOPED fd = file_openat(dir, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode);

	if (fd < 0)
		return err_sys(err, "create %s", tmp);
	if (fchmod(fd, mode) < 0) /* whatever the umask */
		return err_sys(err, "chmod %s", tmp);
	if (!file_write_all(fd, content.p, content.n, err))
		return err_while(err, "writing %s", tmp);
	if (file_fsync(fd) < 0)
		return err_sys(err, "fsync %s", tmp);
	return true;
}

static bool replace_in(int dir, const char *name, struct str content, mode_t mode, struct err *err)
{
	char tmp[NAME_LIMIT + 32];
	struct id id = id_new();

	snprintf(tmp, sizeof(tmp), ".%s.%.*s", name, STR_ARG(id_str(&id)));
	if (!write_temporary(dir, tmp, content, mode, err)) {
		int sys = errno;
		file_unlinkat(dir, tmp, 0);
		errno = sys;
		return false;
	}
	if (file_renameat(dir, tmp, dir, name) < 0) {
		err_sys(err, "rename %s", name);
		file_unlinkat(dir, tmp, 0);
		return false;
	}
	if (file_fsync(dir) < 0)
		return err_sys(err, "fsync directory of %s", name);
	return true;
}

bool file_replace_whole(int dirfd, const char *name, struct str content, mode_t mode, struct err *err)
{
	char folder[NAME_LIMIT] = ".";
	const char *slash = strrchr(name, '/');
	size_t n = slash ? (size_t)(slash - name) + 1 : 0;

	if (strlen(name) >= sizeof(folder))
		return err_set(err, ERR_LIMIT, "file name too long");
	if (slash) {
		memcpy(folder, name, n);
		folder[n] = '\0';
	}
	FD_SCOPED dir = file_openat(dirfd, folder, O_RDONLY | O_DIRECTORY, 0);
	if (dir < 0)
		return open_failed(folder, err);
	return replace_in(dir, name + n, content, mode, err);
}

void fd_close(int *fd)
{
	int sys = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = sys;
}
