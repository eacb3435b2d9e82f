/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * proc/crash.h: what a role was doing when it died (PROCESSES C6): the crash report, without a core,
 * which would hold mail and passwords.
 *
 * A page shared with the master. The signal handler of the role writes signal, address, offsets into
 * the program, and the session, message and account of the crashing thread (its log context). The
 * master reads it as hostile bytes when it reaps the child.
 */
#pragma once
#include "base/err.h"

enum { CRASH_FRAMES = 24 };
struct crash_note {
	uint32_t magic;   /* CRASH_MAGIC once it is whole */
	int32_t signal, code;
	int32_t syscall;  /* SIGSYS: the refused call */
	uint64_t address; /* fault */
	uint64_t frames[CRASH_FRAMES]; /* offsets from the program's start, or absolute outside of it */
	uint32_t frames_n;
	char sid[40], qid[40], account[256]; /* NUL-terminated */
};
enum { CRASH_MAGIC = 0x70616261 };

/* Master: the page of a child; -1 with errno. */
int crash_page_new(void);
/* Master, after the child's death: false when there is no whole note. Clears it. */
bool crash_page_take(int fd, struct crash_note *out);
/* Role: maps the page, takes the fatal signals. Before the sandbox (it loads libgcc). */
bool crash_watch(int fd, struct err *err) MUST_CHECK;
