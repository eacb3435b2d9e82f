/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "proc/sandbox_int.h"
#include <assert.h>
#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

void sandbox_add(struct sandbox *s, int dir_fd, enum sandbox_access access)
{
	assert(s->paths_n < SANDBOX_PATHS_MAX);
	s->paths[s->paths_n].fd = dir_fd;
	s->paths[s->paths_n++].access = access;
}

/* Root without a user to change to (quickstart, containers) keeps its files but no power. */
static bool drop_capabilities(struct err *err)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2];

	memset(none, 0, sizeof(none));
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		(void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0); /* EPERM: we have none to drop */
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capset, &header, none) < 0)
		return err_sys(err, "capset");
	return true;
}

bool sandbox_prepare(struct err *err)
{
	const struct rlimit no_core = {0, 0};
	pid_t parent = getppid();

	/* A change of user clears PDEATHSIG, exec sets dumpable again: so here. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
	    setrlimit(RLIMIT_CORE, &no_core) < 0)
		return err_sys(err, "prctl");
	if (getppid() != parent || parent == 1)
		return err_set(err, ERR_GONE, "the master is gone");
	if (!drop_capabilities(err))
		return false;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(err, "no_new_privs");
	return true;
}

bool sandbox_enter(const struct sandbox *s, struct sandbox_state *out, struct err *err)
{
	*out = (struct sandbox_state){.no_new_privs = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1};
	if (s->off)
		return true;
	return landlock_enter(s, out, err) && seccomp_enter(s, out, err);
}

void sandbox_describe(const struct sandbox_state *s, char *out, size_t n)
{
	char landlock[40] = "no landlock";

	if (s->landlock)
		snprintf(landlock, sizeof(landlock), "landlock %d", s->landlock_abi);
	snprintf(out, n, "%s, %s", landlock, s->seccomp ? "seccomp" : "no seccomp");
}
