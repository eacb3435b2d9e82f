/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "store/maildir/listing.h"
#include "base/file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

/* Kernels before 6.13 take mtime from the timer tick: 10 ms at HZ=100. */
enum { MTIME_TICK_NS = 10 * 1000 * 1000 };

static int64_t ns_of(struct timespec t)
{
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* The kernel's own clock, not ours that tests shift. */
static int64_t kernel_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return ns_of(t);
}

int64_t dir_mtime_ns(int dirfd, const char *sub)
{
	struct stat st;

	return fstatat(dirfd, sub, &st, AT_SYMLINK_NOFOLLOW) == 0 ? ns_of(st.st_mtim) : 0;
}

static bool read_names(DIR *d, bool dots, struct arena *a, struct listing *out, struct err *err)
{
	for (;;) {
		errno = 0;
		struct dirent *e = readdir(d);
		if (!e && errno)
			return err_sys(err, "readdir");
		if (!e)
			return true;
		if (e->d_name[0] == '.' && !dots)
			continue;
		struct str name = str_of(e->d_name);
		out->name = arena_grow(a, out->name, out->n, &out->cap, sizeof(*out->name));
		out->name[out->n++] = (struct str){arena_cstr(a, name), name.n};
	}
}

bool listing_read(int dirfd, const char *sub, bool dots, struct arena *a, struct listing *out,
		  struct err *err)
{
	int64_t began = kernel_now_ns();
	struct stat st;
	int fd = file_openat(dirfd, sub, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);

	*out = (struct listing){.same = true, .still = true};
	if (fd < 0)
		return errno == ENOENT || err_sys(err, "open %s", sub);
	if (fstat(fd, &st) < 0) {
		fd_close(&fd);
		return err_sys(err, "stat %s", sub);
	}
	out->mtime_ns = ns_of(st.st_mtim);
	DIR *d = fdopendir(fd);
	if (!d) {
		fd_close(&fd);
		return err_sys(err, "fdopendir");
	}

	bool ok = read_names(d, dots, a, out, err);
	out->same = ok && fstat(fd, &st) == 0 && ns_of(st.st_mtim) == out->mtime_ns;
	out->still = out->same && out->mtime_ns + MTIME_TICK_NS < began;
	closedir(d);
	return ok;
}
