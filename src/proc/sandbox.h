/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * proc/sandbox.h: what a role gives up before its first thread (PROCESSES C4).
 *
 * Order: user (the master, before exec); then PDEATHSIG, non-dumpable, capabilities, no_new_privs,
 * Landlock, seccomp. Entered once, by a single thread. Where the kernel has no Landlock (or only
 * ABI 1, with which a rename between directories fails) the role runs without it and says so.
 */
#pragma once
#include "base/err.h"

enum sandbox_access { SANDBOX_READ, SANDBOX_WRITE };
enum { SANDBOX_PATHS_MAX = 16 };
/* Groups of system calls beyond those that every thread needs. */
enum sandbox_calls {
	SANDBOX_FILES = 1,      /* open and change files (Landlock says which) */
	SANDBOX_WATCH = 2,      /* syncfs, inotify: mailbox, queue */
	SANDBOX_CONNECTED = 4,  /* accept, socket pairs, options of sockets that are there: doors, mailbox */
	SANDBOX_NETWORK = 8,    /* socket, connect: dns, relay; auth with a database server */
	SANDBOX_UNIX = 16,      /* the same for Unix sockets: auth with a database server */
};

struct sandbox {
	unsigned calls;
	struct {
		int fd; /* a directory; its tree; not taken */
		enum sandbox_access access;
	} paths[SANDBOX_PATHS_MAX];
	size_t paths_n;
	bool off;          /* process.sandbox = no */
	bool no_landlock;  /* for tests of what seccomp alone does, and the reverse */
	bool no_seccomp;
};
void sandbox_add(struct sandbox *s, int dir_fd, enum sandbox_access access);

struct sandbox_state { /* for `pabal status` */
	int landlock_abi;  /* 0: absent; also of ABI 1, which is not used */
	bool landlock, seccomp, no_new_privs;
};
/* PDEATHSIG, non-dumpable, core limit, no capabilities, no_new_privs. False: the parent is gone. */
bool sandbox_prepare(struct err *err) MUST_CHECK;
/* ERR_IO: a part that the kernel has could not be entered; the role must not go on. */
bool sandbox_enter(const struct sandbox *s, struct sandbox_state *out, struct err *err) MUST_CHECK;
/* "landlock 7, seccomp" */
void sandbox_describe(const struct sandbox_state *s, char *out, size_t n);
