/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* proc/spawn.c: users, directories, and the birth of a child: fork, user, execveat. */
#include "base/file.h"
#include "base/log.h"
#include "proc/master_int.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>


/* ---- users ---------------------------------------------------------------------------------- */

/* "6000:6000" */
static bool numeric_user(struct str s, struct identity *out)
{
	struct str rest = s, uid = str_cut(&rest, ':');
	uint64_t u, g;

	if (!rest.p || !str_u64(uid, UINT32_MAX - 1, &u) || !str_u64(rest, UINT32_MAX - 1, &g))
		return false;
	out->uid = (uid_t)u;
	out->gid = (gid_t)g;
	return true;
}

bool identity_of(const struct config *c, enum role_id role, struct identity *out, struct err *err)
{
	ARENA_SCOPED a = arena_new();
	struct str user = config_str(c, role_user_setting(role));

	*out = (struct identity){.uid = geteuid(), .gid = getegid()};
	snprintf(out->name, sizeof(out->name), "%.*s", STR_ARG(user));
	/* Not root: nothing can be changed. Empty: asked not to. */
	if (geteuid() != 0 || user.n == 0) {
		struct passwd *me = getpwuid(geteuid());
		snprintf(out->name, sizeof(out->name), "%s", me ? me->pw_name : "?");
		return true;
	}
	if (numeric_user(user, out))
		return true;
	const char *name = arena_cstr(a, user);
	struct passwd *pw = name ? getpwnam(name) : NULL;
	if (!pw)
		return err_set(err, ERR_NOT_FOUND,
			       "user \"%.*s\" (%s) does not exist: `make install` creates it, or leave "
			       "the setting empty",
			       STR_ARG(user), setting_info(role_user_setting(role))->name);
	out->uid = pw->pw_uid;
	out->gid = pw->pw_gid;
	return true;
}

/* ---- directories ---------------------------------------------------------------------------- */

static bool cannot_make(const char *path, struct err *err)
{
	int sys = errno;

	err_sys(err, "mkdir %s", path);
	return err_cause(
		err, "mkdir %s: %s%s", path, strerror(sys),
		sys == EACCES || sys == EROFS
			? "; start the server as root, or choose other directories (data_dir, run_dir)"
			: "");
}

/* Each missing part of the path, so that nothing has to be made by hand (R63). */
static bool make_parents(char *path, struct err *err)
{
	for (char *p = path + 1; (p = strchr(p, '/')); p++) {
		*p = 0;
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			return cannot_make(path, err);
		*p = '/';
	}
	return true;
}

static bool make_dir(const char *path, uid_t uid, gid_t gid, mode_t mode, struct err *err)
{
	char parents[4096];
	struct stat st;

	if (snprintf(parents, sizeof(parents), "%s", path) >= (int)sizeof(parents))
		return err_set(err, ERR_LIMIT, "path too long: %s", path);
	if (!make_parents(parents, err))
		return false;
	if (mkdir(path, mode & 0777) < 0 && errno != EEXIST)
		return cannot_make(path, err);
	if (stat(path, &st) < 0)
		return err_sys(err, "stat %s", path);
	if (!S_ISDIR(st.st_mode))
		return err_set(err, ERR_CONFLICT, "%s is not a directory", path);
	/* The master may have no CAP_CHOWN (systemd): `pabal prepare` has made it right. */
	if ((st.st_uid != uid || st.st_gid != gid) && geteuid() == 0 && chown(path, uid, gid) < 0) {
		err_sys(err, "chown %s", path);
		return err_cause(err, "%s has the wrong owner and cannot be given away here (%s): "
				      "run `pabal prepare` as root first", path, strerror(errno));
	}
	if ((st.st_mode & 07777) != mode && chmod(path, mode) < 0 && geteuid() == st.st_uid)
		return err_sys(err, "chmod %s", path);
	return true;
}

static bool make_for(const struct config *c, enum role_id role, const char *path, mode_t mode,
		     struct err *err)
{
	struct identity who;

	return identity_of(c, role, &who, err) && make_dir(path, who.uid, who.gid, mode, err);
}

/* Mode 2750: what smtp writes there belongs to the group of queue, which reads it. */
static bool make_journal(const struct config *c, enum role_id role, unsigned index, struct err *err)
{
	char path[4096];
	struct identity smtp, queue;

	snprintf(path, sizeof(path), "%s/%s-%u", config_path(c, SETTING_JOURNAL_DIR), role_name(role), index);
	if (role != ROLE_SMTP)
		return make_for(c, role, path, 0700, err);
	return identity_of(c, ROLE_SMTP, &smtp, err) && identity_of(c, ROLE_QUEUE, &queue, err) &&
	       make_dir(path, smtp.uid, queue.gid, 02750, err);
}

static bool make_log_dir(const struct config *c, struct err *err)
{
	char path[4096];
	struct stat st;

	snprintf(path, sizeof(path), "%s", config_path(c, SETTING_LOG_PATH));
	char *slash = strrchr(path, '/');
	if (!slash || slash == path)
		return true;
	*slash = 0;
	if (stat(path, &st) == 0) /* it may be /var/log: not ours to change */
		return true;
	return make_for(c, ROLE_LOG, path, 0750, err);
}

/* What the command line wrote as root, before the first start, belongs to the log role too. */
static bool give_to_log(const struct config *c, const char *path, struct err *err)
{
	struct identity who;

	if (geteuid() != 0 || !identity_of(c, ROLE_LOG, &who, err))
		return geteuid() != 0;
	if (lchown(path, who.uid, who.gid) < 0 && errno != ENOENT && errno != EPERM)
		return err_sys(err, "chown %s", path);
	return true;
}

static bool make_audit_dir(const struct config *c, struct err *err)
{
	char path[4096], head[4096 + 8];

	snprintf(path, sizeof(path), "%s", config_path(c, SETTING_AUDIT_PATH));
	snprintf(head, sizeof(head), "%s.head", path);
	char *slash = strrchr(path, '/');
	if (!slash || slash == path)
		return true;
	*slash = 0;
	if (!make_for(c, ROLE_LOG, path, 0750, err))
		return false;
	*slash = '/';
	return give_to_log(c, path, err) && give_to_log(c, head, err);
}

bool proc_prepare(const struct config *c, struct err *err)
{
	static const enum role_id journaled[] = {ROLE_SMTP, ROLE_MAILBOX, ROLE_QUEUE};
	char path[4096];

	snprintf(path, sizeof(path), "%s/control", config_path(c, SETTING_RUN_DIR));
	if (!make_dir(config_path(c, SETTING_DATA_DIR), geteuid(), getegid(), 0755, err) ||
	    !make_dir(config_path(c, SETTING_JOURNAL_DIR), geteuid(), getegid(), 0755, err) ||
	    !make_dir(config_path(c, SETTING_RUN_DIR), geteuid(), getegid(), 0755, err) ||
	    !make_dir(path, geteuid(), getegid(), 0750, err) ||
	    !make_dir(config_path(c, SETTING_DKIM_DIR), geteuid(), getegid(), 0700, err) ||
	    !make_for(c, ROLE_MAILBOX, config_path(c, SETTING_MAIL_DIR), 0700, err) ||
	    !make_for(c, ROLE_QUEUE, config_path(c, SETTING_SPOOL_DIR), 0700, err) ||
	    !make_for(c, ROLE_AUTH, config_path(c, SETTING_DIRECTORY_DIR), 0700, err) ||
	    !make_log_dir(c, err) || !make_audit_dir(c, err))
		return false;
	for (size_t k = 0; k < sizeof(journaled) / sizeof(journaled[0]); k++)
		for (unsigned i = 0; i < role_indexes(c, journaled[k]); i++)
			if (!make_journal(c, journaled[k], i, err))
				return false;
	return true;
}

/* ---- birth ---------------------------------------------------------------------------------- */

/* In the child: only system calls; whatever fails ends it, and the master sees the exit. */
static void become(const struct identity *who)
{
	if (who->uid == geteuid() && who->gid == getegid())
		return;
	/* A container with one user: setgroups is refused, and so is the rest. */
	if (setgroups(1, &who->gid) < 0 || setresgid(who->gid, who->gid, who->gid) < 0 ||
	    setresuid(who->uid, who->uid, who->uid) < 0)
		_exit(77);
}

static void in_child(struct master *m, struct child *c, int channel)
{
	enum { GIVEN = 4 }; /* role.c: FD_MASTER and on */
	int fds[GIVEN + 1] = {channel, c->log.ring, c->crash_fd, c->log.wake, m->binary_fd};
	char index[12];
	sigset_t none;

	snprintf(index, sizeof(index), "%u", c->index);
	char name[32];
	snprintf(name, sizeof(name), "%s", role_name(c->role));
	char *argv[] = {(char[]){"pabal"}, (char[]){"role"}, name, index, NULL};
	for (int i = 0; i <= GIVEN; i++)
		if ((fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 16)) < 0)
			_exit(71);
	for (int i = 0; i < GIVEN; i++)
		if (dup2(fds[i], 3 + i) < 0)
			_exit(71);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	become(&c->who);
	syscall(SYS_execveat, fds[GIVEN], "", argv, environ, AT_EMPTY_PATH);
	_exit(71);
}

bool child_spawn(struct master *m, struct child *c, struct err *err)
{
	int fds[2];

	if (!channel_pair(fds, err))
		return false;
	pid_t pid = fork();
	if (pid == 0)
		in_child(m, c, fds[1]);
	close(fds[1]);
	if (pid < 0) {
		close(fds[0]);
		return err_sys(err, "fork");
	}
	c->pid = pid;
	channel_replace(c->ch, fds[0]);
	return true;
}
