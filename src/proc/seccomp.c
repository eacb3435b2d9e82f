/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * proc/seccomp.c: which system calls a role keeps. The sets are those of PROCESSES C4, found by
 * running; what a newer libc tries beyond them gets ENOSYS, so that it falls back instead of
 * dying; what only an intruder wants kills the process.
 */
#include "proc/sandbox_int.h"
#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/socket.h>

#ifdef PABAL_SANITIZED
/* Sanitizers need more calls than we wish to know. */
bool seccomp_enter(const struct sandbox *s, struct sandbox_state *out, struct err *err)
{
	(void)s;
	(void)out;
	(void)err;
	return true;
}
#else

/* Memory, threads, time, and reading and writing what is open. */
static const int every_role[] = {
	SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(pread64),
	SCMP_SYS(pwrite64), SCMP_SYS(preadv), SCMP_SYS(pwritev), SCMP_SYS(preadv2), SCMP_SYS(pwritev2),
	SCMP_SYS(close), SCMP_SYS(lseek), SCMP_SYS(fcntl), SCMP_SYS(fstat), SCMP_SYS(newfstatat),
	SCMP_SYS(statx), SCMP_SYS(dup), SCMP_SYS(dup3), SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl),
	SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_pwait2), SCMP_SYS(eventfd2),
	SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime), SCMP_SYS(poll), SCMP_SYS(ppoll),
	SCMP_SYS(select), SCMP_SYS(pselect6), SCMP_SYS(pipe2), SCMP_SYS(recvmsg), SCMP_SYS(recvfrom),
	SCMP_SYS(sendmsg), SCMP_SYS(sendto), SCMP_SYS(recvmmsg), SCMP_SYS(sendmmsg), SCMP_SYS(shutdown),
	SCMP_SYS(getpeername), SCMP_SYS(getsockname), SCMP_SYS(getsockopt), SCMP_SYS(brk),
	SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(futex), SCMP_SYS(set_robust_list),
	SCMP_SYS(rseq), SCMP_SYS(membarrier), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack), SCMP_SYS(tgkill), SCMP_SYS(gettid),
	SCMP_SYS(getpid), SCMP_SYS(getppid), SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(getgid),
	SCMP_SYS(getegid), SCMP_SYS(getrandom), SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres),
	SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep), SCMP_SYS(gettimeofday), SCMP_SYS(time),
	SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity), SCMP_SYS(restart_syscall), SCMP_SYS(prlimit64),
	SCMP_SYS(getrlimit), SCMP_SYS(getrusage), SCMP_SYS(sysinfo), SCMP_SYS(uname),
	SCMP_SYS(memfd_create), SCMP_SYS(exit), SCMP_SYS(exit_group),
};
static const int files[] = {
	SCMP_SYS(stat), SCMP_SYS(lstat), SCMP_SYS(statfs), SCMP_SYS(fstatfs), SCMP_SYS(access),
	SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(unlink),
	SCMP_SYS(unlinkat), SCMP_SYS(rename), SCMP_SYS(renameat), SCMP_SYS(renameat2), SCMP_SYS(linkat),
	SCMP_SYS(mkdir), SCMP_SYS(mkdirat), SCMP_SYS(rmdir), SCMP_SYS(getdents64), SCMP_SYS(readlink),
	SCMP_SYS(readlinkat), SCMP_SYS(getcwd), SCMP_SYS(ftruncate), SCMP_SYS(fallocate),
	SCMP_SYS(fdatasync), SCMP_SYS(fsync), SCMP_SYS(sync_file_range), SCMP_SYS(flock), SCMP_SYS(fchmod),
	SCMP_SYS(utimensat), SCMP_SYS(sendfile), SCMP_SYS(splice), SCMP_SYS(copy_file_range),
	SCMP_SYS(fadvise64), SCMP_SYS(umask),
};
static const int watching[] = {
	SCMP_SYS(syncfs), SCMP_SYS(inotify_init1), SCMP_SYS(inotify_add_watch), SCMP_SYS(inotify_rm_watch),
};
static const int connected[] = {
	SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(socketpair), SCMP_SYS(setsockopt), SCMP_SYS(listen),
	SCMP_SYS(sendfile), SCMP_SYS(splice),
};
/* Internet sockets only: see add_network. */
static const int network[] = {
	SCMP_SYS(connect), SCMP_SYS(bind), SCMP_SYS(setsockopt), SCMP_SYS(ioctl),
};
static const int deadly[] = {
	SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv),
	SCMP_SYS(process_vm_writev), SCMP_SYS(pidfd_getfd), SCMP_SYS(mount), SCMP_SYS(umount2),
	SCMP_SYS(pivot_root), SCMP_SYS(chroot), SCMP_SYS(open_tree), SCMP_SYS(move_mount),
	SCMP_SYS(fsopen), SCMP_SYS(kill), SCMP_SYS(tkill), SCMP_SYS(bpf), SCMP_SYS(perf_event_open),
	SCMP_SYS(userfaultfd), SCMP_SYS(keyctl), SCMP_SYS(add_key), SCMP_SYS(request_key),
	SCMP_SYS(kexec_load), SCMP_SYS(init_module), SCMP_SYS(finit_module), SCMP_SYS(unshare),
	SCMP_SYS(setns), SCMP_SYS(setuid), SCMP_SYS(setgid), SCMP_SYS(setresuid), SCMP_SYS(setresgid),
	SCMP_SYS(io_uring_setup),
};

static int add(scmp_filter_ctx f, uint32_t action, const int *calls, size_t n)
{
	int rc = 0;

	for (size_t i = 0; i < n && rc == 0; i++) {
		rc = seccomp_rule_add(f, action, calls[i], 0);
		if (rc == -EEXIST || rc == -EDOM || rc == -EFAULT) /* not on this architecture, or twice */
			rc = 0;
	}
	return rc;
}
#define ADD(f, action, list) add((f), (action), (list), sizeof(list) / sizeof((list)[0]))

/* No new code: memory is never executable; threads, but no processes. */
static int add_restricted(scmp_filter_ctx f)
{
	int rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
				  SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));

	if (rc == 0)
		rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
				      SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (rc == 0)
		rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				      SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
	/* clone3 has its flags behind a pointer: ENOSYS, and glibc falls back to clone. */
	return rc;
}

static int add_network(scmp_filter_ctx f)
{
	int rc = ADD(f, SCMP_ACT_ALLOW, network);

	if (rc == 0)
		rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, AF_INET));
	if (rc == 0)
		rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, AF_INET6));
	return rc;
}

static int build(scmp_filter_ctx f, unsigned calls)
{
	int rc = ADD(f, SCMP_ACT_ALLOW, every_role);

	if (rc == 0 && (calls & SANDBOX_FILES))
		rc = ADD(f, SCMP_ACT_ALLOW, files);
	if (rc == 0 && (calls & SANDBOX_WATCH))
		rc = ADD(f, SCMP_ACT_ALLOW, watching);
	if (rc == 0 && (calls & SANDBOX_CONNECTED))
		rc = ADD(f, SCMP_ACT_ALLOW, connected);
	if (rc == 0 && (calls & SANDBOX_NETWORK))
		rc = add_network(f);
	if (rc == 0 && (calls & SANDBOX_UNIX))
		rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
	if (rc == 0)
		rc = add_restricted(f);
	if (rc == 0)
		rc = ADD(f, SCMP_ACT_KILL_PROCESS, deadly);
	return rc;
}

bool seccomp_enter(const struct sandbox *s, struct sandbox_state *out, struct err *err)
{
	if (s->no_seccomp)
		return true;
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	if (!f)
		return err_set(err, ERR_IO, "seccomp_init failed");
	(void)seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree, not a list */
	int rc = build(f, s->calls);
	if (rc == 0)
		rc = seccomp_load(f);
	seccomp_release(f);
	errno = -rc;
	if (rc)
		return err_sys(err, "seccomp");
	out->seccomp = true;
	return true;
}
#endif
