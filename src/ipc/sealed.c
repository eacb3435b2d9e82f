/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* ipc/sealed.c: larger values between processes, as descriptors of sealed memory files. Read with
 * pread, never mapped: a file that shrinks under a mapping is SIGBUS. */
#include "base/buf.h"
#include "base/file.h"
#include "ipc/channel.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int sealed_make(const char *name, struct str bytes)
{
	FD_SCOPED fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -1;
	for (size_t done = 0; done < bytes.n;) {
		ssize_t n = write(fd, bytes.p + done, bytes.n - done);
		if (n < 0 && errno != EINTR)
			return -1;
		if (n > 0)
			done += (size_t)n;
	}
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
		return -1;
	return fd_take(&fd);
}

/* fstat and seals: what a captured sender could use to make the receiver wait or fault. */
static bool acceptable(int fd, struct stat *st)
{
	if (fstat(fd, st) < 0 || !S_ISREG(st->st_mode))
		return false;
	if (st->st_nlink > 0)
		return true; /* a file with a name; pread copes with its shrinking */
	int seals = fcntl(fd, F_GET_SEALS);
	return seals < 0 || (seals & F_SEAL_SHRINK); /* < 0: an unlinked file of a disk */
}

bool sealed_read(int fd, size_t max, struct buf *out, struct err *err)
{
	FD_SCOPED scoped = fd;
	struct stat st;

	if (fd < 0 || !acceptable(fd, &st))
		return err_set(err, ERR_SYNTAX, "a file was expected");
	if (st.st_size < 0 || (uint64_t)st.st_size > max)
		return err_set(err, ERR_LIMIT, "file too large");
	char *p = buf_room(out, (size_t)st.st_size);
	if (!p)
		return err_set(err, ERR_LIMIT, "file too large");
	if (!file_pread_all(scoped, p, (size_t)st.st_size, 0, err))
		return false;
	out->n += (size_t)st.st_size;
	return true;
}
