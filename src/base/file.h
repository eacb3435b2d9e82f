/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * base/file.h: the file operations that durability rests on, in one replaceable layer.
 *
 * journal/, store/ and queue/ change files only through these, so that a test can count the
 * steps, kill the process at the n-th, or answer ENOSPC, EIO, EMFILE there (DURABILITY "Ten
 * tests"). Builds with -Dfaults=true read PABAL_FAULT when file_faults_init() is called:
 *   kill:N            _exit by SIGKILL before the N-th counted operation of this process
 *   enospc:N eio:N emfile:N      the N-th answers with that error; N- means "from N on"
 *   crash:POINT=TEXT  abort() where fault_crash() is asked about that point and the text is in there
 *   optionally restricted to an operation and role: kill:N@rename@queue, eio:1-@@smtp; counted
 *   are then these alone (names in base/file_faults.h)
 *   trace:PATH        appends a line "role number operation" for each counted operation
 * Several rules are parted by commas. With PABAL_FAULT_ONCE=PATH they hold for the first process alone
 * that they name: it removes that file; with PABAL_FAULT_WHILE=PATH while that file exists. Opening an
 * existing file is counted only for emfile and for rules that name it. Each function returns what the
 * system call of that name returns, with errno.
 */
#pragma once
#include "base/err.h"
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

void file_faults_init(const char *role); /* no-op in production builds */
uint64_t file_faults_counted(void);      /* operations so far; 0 in production builds */
/* Stands where a message could bring its process down ("plan", "place"); nothing in production builds. */
#ifdef PABAL_FAULTS
void fault_crash(const char *point, struct str text);
#else
static inline void fault_crash(const char *point, struct str text)
{
	(void)point;
	(void)text;
}
#endif

int file_openat(int dirfd, const char *name, int flags, mode_t mode); /* O_CLOEXEC is added */
ssize_t file_write(int fd, const void *p, size_t n);
ssize_t file_pwritev(int fd, const struct iovec *iov, int n, off_t at);
ssize_t file_pwrite(int fd, const void *p, size_t n, off_t at);
int file_fsync(int fd);
int file_fdatasync(int fd);
int file_syncfs(int fd);
int file_renameat(int from_dir, const char *from, int to_dir, const char *to); /* replaces */
int file_renameat_noreplace(int from_dir, const char *from, int to_dir, const char *to);
int file_linkat(int from_dir, const char *from, int to_dir, const char *to);
int file_unlinkat(int dirfd, const char *name, int flags);
int file_mkdirat(int dirfd, const char *name, mode_t mode);
int file_ftruncate(int fd, off_t size);
int file_fallocate(int fd, off_t at, off_t n);

/* Whole things, on top of the above. */
bool file_write_all(int fd, const void *p, size_t n, struct err *err) MUST_CHECK;
/* A file that ends earlier is ERR_CORRUPT. */
bool file_pread_all(int fd, void *p, size_t n, off_t at, struct err *err) MUST_CHECK;
/* A whole small file; at most max bytes, more is ERR_LIMIT. Replaces what out holds; caller frees
 * it. ENOENT is ERR_NOT_FOUND. */
struct buf;
bool file_read_whole(int dirfd, const char *name, size_t max, struct buf *out, struct err *err) MUST_CHECK;
/* Atomically: tmp name, fsync, rename, fsync of the directory. An error after the rename (fsync of
 * the directory) leaves the new content in place, perhaps not durable. */
bool file_replace_whole(int dirfd, const char *name, struct str content, mode_t mode,
			struct err *err) MUST_CHECK;

static inline void fd_close_p(int *fd);
void fd_close(int *fd); /* closes and sets to -1; accepts -1; keeps errno */
static inline void fd_close_p(int *fd) { fd_close(fd); }
#define FD_SCOPED __attribute__((cleanup(fd_close_p))) int
static inline int fd_take(int *fd) { int x = *fd; *fd = -1; return x; }
