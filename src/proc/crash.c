/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "proc/crash.h"
#include "base/file.h"
#include "base/log.h"
#include <execinfo.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

extern const char __executable_start[], etext[];

static struct crash_note *page; /* proc/ may have globals; written by one crashing thread */

static void keep(char *to, size_t room, struct str s)
{
	size_t n = s.n < room - 1 ? s.n : room - 1;

	if (n)
		memcpy(to, s.p, n);
	to[n] = 0;
}

static void on_fatal(int signal, siginfo_t *info, void *context)
{
	static volatile sig_atomic_t busy;
	struct str sid, qid, account;
	void *frames[CRASH_FRAMES];

	(void)context;
	if (!busy) {
		busy = 1;
		page->signal = signal;
		page->code = info->si_code;
		page->syscall = signal == SIGSYS ? info->si_syscall : -1;
		page->address = signal == SIGSYS ? 0 : (uint64_t)(uintptr_t)info->si_addr;
		log_context_get(&sid, &qid, &account);
		keep(page->sid, sizeof(page->sid), sid);
		keep(page->qid, sizeof(page->qid), qid);
		keep(page->account, sizeof(page->account), account);
		page->magic = CRASH_MAGIC; /* enough to act on, should unwinding fail */
		int n = backtrace(frames, CRASH_FRAMES);
		for (int i = 0; i < n; i++) {
			uintptr_t at = (uintptr_t)frames[i];
			bool ours = at >= (uintptr_t)__executable_start && at < (uintptr_t)etext;
			page->frames[i] = ours ? at - (uintptr_t)__executable_start : at;
		}
		page->frames_n = (uint32_t)n;
	}
	raise(signal); /* SA_RESETHAND: now it kills */
}

int crash_page_new(void)
{
	FD_SCOPED fd = memfd_create("crash", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, sizeof(struct crash_note)) < 0)
		return -1;
	return fd_take(&fd);
}

bool crash_page_take(int fd, struct crash_note *out)
{
	static const struct crash_note empty;
	bool whole = pread(fd, out, sizeof(*out), 0) == (ssize_t)sizeof(*out) && out->magic == CRASH_MAGIC;

	if (pwrite(fd, &empty, sizeof(empty), 0) != (ssize_t)sizeof(empty) || !whole)
		return false;
	if (out->frames_n > CRASH_FRAMES)
		out->frames_n = 0;
	out->sid[sizeof(out->sid) - 1] = out->qid[sizeof(out->qid) - 1] = 0;
	out->account[sizeof(out->account) - 1] = 0;
	return true;
}

/* Sanitizers report better than we do: their builds keep their own handlers. */
static bool watch_signals(struct err *err)
{
#ifndef PABAL_SANITIZED
	static const int fatal[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP};
	struct sigaction act = {.sa_flags = (int)(SA_SIGINFO | SA_RESETHAND | SA_NODEFER)};

	act.sa_sigaction = on_fatal;
	for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
		if (sigaction(fatal[i], &act, NULL) < 0)
			return err_sys(err, "sigaction");
#else
	(void)err;
	(void)on_fatal;
#endif
	return true;
}

bool crash_watch(int fd, struct err *err)
{
	void *first[1];

	page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		return err_sys(err, "mmap");
	(void)backtrace(first, 1);
	return watch_signals(err);
}
