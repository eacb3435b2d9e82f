/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * proc/landlock.c: Landlock by its system calls (Debian 12's headers and libc know only part of it).
 *
 * The ABI is asked at run time; rights that it does not know are left out. ABI 2 brings REFER,
 * without which a rename between directories is refused: with ABI 1 we do without.
 */
#include "proc/sandbox_int.h"
#include <errno.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

enum { RULE_PATH_BENEATH = 1, RULE_NET_PORT = 2, CREATE_RULESET_VERSION = 1, ABI_NEEDED = 2 };
/* Bits of include/uapi/linux/landlock.h. */
enum {
	FS_EXECUTE = 1 << 0, FS_WRITE_FILE = 1 << 1, FS_READ_FILE = 1 << 2, FS_READ_DIR = 1 << 3,
	FS_REMOVE_DIR = 1 << 4, FS_REMOVE_FILE = 1 << 5, FS_MAKE_CHAR = 1 << 6, FS_MAKE_DIR = 1 << 7,
	FS_MAKE_REG = 1 << 8, FS_MAKE_SOCK = 1 << 9, FS_MAKE_FIFO = 1 << 10, FS_MAKE_BLOCK = 1 << 11,
	FS_MAKE_SYM = 1 << 12,
	FS_REFER = 1 << 13,     /* ABI 2 */
	FS_TRUNCATE = 1 << 14,  /* ABI 3 */
	FS_IOCTL_DEV = 1 << 15, /* ABI 5 */
	FS_ALL_2 = (1 << 14) - 1,
	NET_BIND_TCP = 1, NET_CONNECT_TCP = 2, /* ABI 4 */
	SCOPE_ABSTRACT_UNIX = 1, SCOPE_SIGNAL = 2, /* ABI 6 */
};
struct ruleset {
	uint64_t fs, net, scoped;
};
struct path_rule {
	uint64_t allowed;
	int32_t parent_fd;
} __attribute__((packed));

struct port_rule {
	uint64_t allowed, port;
};

static struct ruleset everything(int abi, bool network)
{
	struct ruleset r = {.fs = FS_ALL_2};

	if (abi >= 3)
		r.fs |= FS_TRUNCATE;
	if (abi >= 5)
		r.fs |= FS_IOCTL_DEV;
	if (abi >= 4)
		r.net = network ? NET_BIND_TCP : NET_BIND_TCP | NET_CONNECT_TCP;
	if (abi >= 6)
		r.scoped = SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL;
	return r;
}

static uint64_t rights(enum sandbox_access access)
{
	const uint64_t reading = FS_READ_FILE | FS_READ_DIR;
	const uint64_t writing = FS_WRITE_FILE | FS_REMOVE_DIR | FS_REMOVE_FILE | FS_MAKE_DIR | FS_MAKE_REG |
				 FS_REFER | FS_TRUNCATE;

	switch (access) {
	case SANDBOX_READ: return reading;
	case SANDBOX_WRITE: return reading | writing;
	}
	return 0;
}

static bool add_paths(int ruleset, const struct sandbox *s, uint64_t known, struct err *err)
{
	for (size_t i = 0; i < s->paths_n; i++) {
		struct path_rule rule = {rights(s->paths[i].access) & known, s->paths[i].fd};
		if (syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0) < 0)
			return err_sys(err, "landlock_add_rule");
	}
	return true;
}

/* A role that connects may choose its address, at a port of the kernel's choice (0). */
static bool add_port(int ruleset, const struct sandbox *s, uint64_t known, struct err *err)
{
	struct port_rule rule = {NET_BIND_TCP, 0};

	if (!(s->calls & SANDBOX_NETWORK) || !(known & NET_BIND_TCP))
		return true;
	return syscall(SYS_landlock_add_rule, ruleset, RULE_NET_PORT, &rule, 0) == 0 ||
	       err_sys(err, "landlock_add_rule");
}

bool landlock_enter(const struct sandbox *s, struct sandbox_state *out, struct err *err)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_RULESET_VERSION);

	/* Absent, switched off at boot, or refused by a container: all the same. */
	if (abi < ABI_NEEDED || s->no_landlock)
		return true;
	struct ruleset all = everything((int)abi, s->calls & SANDBOX_NETWORK);
	size_t size = abi >= 6 ? sizeof(all) : abi >= 4 ? 2 * sizeof(uint64_t) : sizeof(uint64_t);
	int ruleset = (int)syscall(SYS_landlock_create_ruleset, &all, size, 0);
	if (ruleset < 0)
		return err_sys(err, "landlock_create_ruleset");
	bool good = add_paths(ruleset, s, all.fs, err) && add_port(ruleset, s, all.net, err);
	if (good && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		good = err_sys(err, "landlock_restrict_self");
	close(ruleset);
	out->landlock_abi = (int)abi;
	out->landlock = good;
	return good;
}
