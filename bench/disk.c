/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* bench/disk.c: a large Maildir to begin with, and what the disk itself can do. */
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAILDIR_MESSAGE_BYTES = 1024, BLOCK = 4096, FILE_BLOCKS = 16384 };

static void put_file(int dir, const char *name, const char *bytes, size_t n, bool sync)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd < 0 || write(fd, bytes, n) != (ssize_t)n || (sync && fsync(fd)) || close(fd))
		die("cannot write %s: %s", name, strerror(errno));
}

static int make_dir(int parent, const char *name)
{
	if (mkdirat(parent, name, 0700))
		die("cannot make %s: %s", name, strerror(errno));
	int dir = openat(parent, name, O_DIRECTORY | O_RDONLY);
	if (dir < 0)
		die("cannot open %s: %s", name, strerror(errno));
	return dir;
}

/* Line ends as Unix has them; returns the length without, *out_virtual with CR. */
static size_t message_unix(char *text, size_t n, size_t *out_virtual)
{
	size_t k = 0;
	*out_virtual = n;
	for (size_t i = 0; i < n; i++)
		if (text[i] != '\r')
			text[k++] = text[i];
	return k;
}

/* DIRECTORY, which must not exist, with COUNT messages as a server with Maildir++ would have left
 * them: sizes in the names, two thirds \Seen, some \Answered. */
int run_maildir(char **a)
{
	unsigned count = number(a[1]);
	uid_t uid = number(a[3]);
	gid_t gid = number(a[4]);
	static const char *const flags[] = {"", "S", "RS", "S", "", "S"};
	static const char *const subs[] = {"cur", "new", "tmp"};
	int top = make_dir(AT_FDCWD, a[0]), dirs[3];
	for (int k = 0; k < 3; k++)
		if ((dirs[k] = make_dir(top, subs[k])) < 0 || fchown(dirs[k], uid, gid))
			die("cannot make %s: %s", subs[k], strerror(errno));
	if (fchown(top, uid, gid))
		die("cannot chown %s: %s", a[0], strerror(errno));
	char text[MAILDIR_MESSAGE_BYTES + HEAD_BYTES], name[128];
	for (unsigned i = 0; i < count; i++) {
		size_t with_cr;
		size_t n = message_make(text, MAILDIR_MESSAGE_BYTES, a[2], i, "big@example.org");
		n = message_unix(text, n, &with_cr);
		snprintf(name, sizeof name, "%u.M%06uP1Q%u.bench,S=%zu,W=%zu:2,%s", 1700000000 + i, i, i,
			 n, with_cr, flags[i % 6]);
		put_file(dirs[0], name, text, n, false);
		if (fchownat(dirs[0], name, uid, gid, 0))
			die("cannot chown %s: %s", name, strerror(errno));
	}
	syncfs(top);
	printf("{\"messages\": %u}\n", count);
	return 0;
}

/* How often in a second the disk makes 4 KiB durable: appended to a file whose blocks exist, as a
 * journal does; and as a new file that is synced and renamed, as a Maildir does. */
int run_fsync(char **a)
{
	double seconds = strtod(a[1], NULL), t;
	static char block[BLOCK], zero[64 * BLOCK];
	memset(block, 'x', sizeof block);
	int top = make_dir(AT_FDCWD, a[0]);
	int fd = openat(top, "journal", O_RDWR | O_CREAT | O_EXCL, 0600);
	for (unsigned i = 0; i < FILE_BLOCKS / 64; i++)
		if (fd < 0 || write(fd, zero, sizeof zero) != sizeof zero)
			die("cannot write: %s", strerror(errno));
	fsync(fd);
	unsigned appends = 0, files = 0;
	for (t = now(); now() - t < seconds; appends++)
		if (pwrite(fd, block, BLOCK, (off_t)(appends % FILE_BLOCKS) * BLOCK) != BLOCK ||
		    fdatasync(fd))
			die("cannot write: %s", strerror(errno));
	double append_seconds = now() - t;
	char from[32], to[32];
	for (t = now(); now() - t < seconds; files++) {
		snprintf(from, sizeof from, "t%u", files);
		snprintf(to, sizeof to, "f%u", files);
		put_file(top, from, block, BLOCK, true);
		if (renameat(top, from, top, to))
			die("cannot rename: %s", strerror(errno));
	}
	double file_seconds = now() - t;
	for (unsigned i = 0; i < files; i++) {
		snprintf(to, sizeof to, "f%u", i);
		unlinkat(top, to, 0);
	}
	unlinkat(top, "journal", 0);
	rmdir(a[0]);
	printf("{\"appends_per_second\": %.1f, \"files_per_second\": %.1f}\n", appends / append_seconds,
	       files / file_seconds);
	return 0;
}
