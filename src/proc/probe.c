/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * proc/probe.c: what a role can still do once it is captured, tried for real. Prepares the role as its
 * process does, then, for each act, a child enters the role's sandbox and tries it. For the tests,
 * and for administrators who want to see. Only while no server runs on the same files.
 */
#include "base/log.h"
#include "base/mem.h"
#include "net/net.h"
#include "proc/proc.h"
#include "proc/role_int.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct probed {
	struct role *role;
	const struct config *config;
};

static bool try_open(const char *dir, const char *name, int flags)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s%s%s", dir, name[0] ? "/" : "", name);
	int fd = open(path, flags | O_CLOEXEC, 0600);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static bool read_mail(const struct probed *p)
{
	return try_open(config_path(p->config, SETTING_MAIL_DIR), "", O_RDONLY | O_DIRECTORY);
}

static bool write_mail(const struct probed *p)
{
	return try_open(config_path(p->config, SETTING_MAIL_DIR), "probe", O_WRONLY | O_CREAT);
}

static bool write_spool(const struct probed *p)
{
	return try_open(config_path(p->config, SETTING_SPOOL_DIR), "probe", O_WRONLY | O_CREAT);
}

static bool read_directory(const struct probed *p)
{
	return try_open(config_path(p->config, SETTING_DIRECTORY_DIR), "directory.db", O_RDONLY);
}

/* Beside the certificate, where quickstart puts it; the setting is not this role's to know. */
static bool read_key(const struct probed *p)
{
	struct config_list certs = config_list(p->config, SETTING_TLS_CERTIFICATE_FILES);
	char path[4096] = "/";

	if (certs.n)
		snprintf(path, sizeof(path), "%.*s", STR_ARG(certs.v[0]));
	*strrchr(path, '/') = 0;
	return try_open(path, "key.pem", O_RDONLY);
}

/* The setting is the master's alone; the default is below data_dir. */
static bool read_dkim_keys(const struct probed *p)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/dkim", config_path(p->config, SETTING_DATA_DIR));
	return try_open(path, "", O_RDONLY | O_DIRECTORY);
}

static bool read_journal(const struct probed *p)
{
	return try_open(role_journal_path(p->role, ROLE_SMTP, 0), "", O_RDONLY | O_DIRECTORY);
}

static bool write_journal(const struct probed *p)
{
	return try_open(role_journal_path(p->role, ROLE_SMTP, 0), "probe", O_WRONLY | O_CREAT);
}

static bool write_log(const struct probed *p)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/../log", config_path(p->config, SETTING_DATA_DIR));
	return try_open(path, "probe", O_WRONLY | O_CREAT);
}

static bool read_config(const struct probed *p)
{
	return try_open(config_file(p->config), "", O_RDONLY);
}

static bool read_passwd(const struct probed *p)
{
	(void)p;
	return try_open("/etc/passwd", "", O_RDONLY);
}

static bool new_socket(int family)
{
	return socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0;
}

static bool socket_inet(const struct probed *p)
{
	(void)p;
	return new_socket(AF_INET);
}

static bool socket_inet6(const struct probed *p)
{
	(void)p;
	return new_socket(AF_INET6);
}

static bool socket_unix(const struct probed *p)
{
	(void)p;
	return new_socket(AF_UNIX);
}

static bool exec_program(const struct probed *p)
{
	char *argv[] = {(char[]){"true"}, NULL};

	(void)p;
	execv("/bin/true", argv);
	return false;
}

static bool signal_others(const struct probed *p)
{
	(void)p;
	return kill(getppid(), 0) == 0;
}

static bool trace_others(const struct probed *p)
{
	(void)p;
	return ptrace(PTRACE_SEIZE, getppid(), NULL, NULL) == 0;
}

static bool new_process(const struct probed *p)
{
	(void)p;
	long pid = syscall(SYS_fork);
	if (pid == 0)
		_exit(0);
	return pid > 0;
}

static bool new_code(const struct probed *p)
{
	(void)p;
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
	       MAP_FAILED;
}

static bool mount_something(const struct probed *p)
{
	(void)p;
	return mount("none", "/mnt", "tmpfs", 0, NULL) == 0;
}

static bool new_namespace(const struct probed *p)
{
	(void)p;
	return unshare(CLONE_NEWUSER) == 0;
}

static bool change_user(const struct probed *p)
{
	(void)p;
	return syscall(SYS_setresuid, 0, 0, 0) == 0;
}

static bool change_mode(const struct probed *p)
{
	(void)p;
	return syscall(SYS_chmod, config_path(p->config, SETTING_MAIL_DIR), 0777) == 0;
}

static const struct act {
	const char *name;
	bool (*try)(const struct probed *p);
} acts[] = {
	{"read mail", read_mail},
	{"write mail", write_mail},
	{"write spool", write_spool},
	{"read directory", read_directory},
	{"read key", read_key},
	{"read dkim key", read_dkim_keys},
	{"read smtp journal", read_journal},
	{"write smtp journal", write_journal},
	{"write log", write_log},
	{"read configuration", read_config},
	{"read /etc/passwd", read_passwd},
	{"socket inet", socket_inet},
	{"socket inet6", socket_inet6},
	{"socket unix", socket_unix},
	{"exec", exec_program},
	{"signal", signal_others},
	{"ptrace", trace_others},
	{"fork", new_process},
	{"executable memory", new_code},
	{"mount", mount_something},
	{"namespace", new_namespace},
	{"setuid", change_user},
	{"chmod", change_mode},
};

/* 0 allowed, 1 + errno refused; a deadly call ends the child by SIGSYS. */
static int in_child(const struct probed *p, const struct sandbox *s, const struct act *a)
{
	struct sandbox_state state;
	struct err err;

	signal(SIGSYS, SIG_DFL);
	if (!sandbox_prepare(&err) || !sandbox_enter(s, &state, &err))
		return 255;
	errno = 0;
	return a->try(p) ? 0 : 1 + (errno < 200 ? errno : 200);
}

static void report(struct json_writer *w, const struct act *a, int status)
{
	char text[80];

	if (WIFSIGNALED(status))
		snprintf(text, sizeof(text), "killed %d", WTERMSIG(status));
	else if (WEXITSTATUS(status) == 0)
		snprintf(text, sizeof(text), "allowed");
	else if (WEXITSTATUS(status) == 255)
		snprintf(text, sizeof(text), "no sandbox");
	else
		snprintf(text, sizeof(text), "refused %s", strerrorname_np(WEXITSTATUS(status) - 1));
	json_write_member_cstr(w, a->name, text);
}

static bool prepare(struct role *r, const struct role_form *form, const struct config *c, struct sandbox *s,
		    struct err *err)
{
	BUF_SCOPED bytes = {0};

	lock_init(&r->lock, LOCK_PROC);
	r->arena = arena_new();
	r->form = form;
	r->master = NULL;
	snprintf(r->name, sizeof(r->name), "%s-0", role_name(r->id));
	config_encode(c, role_config_bit(r->id), &bytes);
	if (!config_decode(buf_str(&bytes), &r->config, err))
		return false;
	for (int i = 0; i < ROLE_COUNT; i++)
		r->counts[i] = role_processes(c, (enum role_id)i);
	r->state = form->create ? form->create(r) : NULL;
	s->calls = form->calls;
	s->off = !config_bool(c, SETTING_PROCESS_SANDBOX);
	return !form->prepare || form->prepare(r, s, err);
}

bool proc_probe(const struct config *c, struct str name, struct buf *out, struct err *err)
{
	struct role *r = mem_new(struct role); /* until the process ends */
	struct sandbox s = {0};
	struct json_writer w;

	if (!role_find(name, &r->id))
		return err_set(err, ERR_NOT_FOUND, "there is no role \"%.*s\"", STR_ARG(name));
	if (!prepare(r, role_form(r->id), c, &s, err))
		return false;
	struct probed p = {r, c};
	json_write_init(&w, out);
	json_write_object_begin(&w);
	for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
		int status = 0;
		pid_t pid = fork();
		if (pid == 0)
			_exit(in_child(&p, &s, &acts[i]));
		if (pid < 0 || waitpid(pid, &status, 0) < 0)
			return err_sys(err, "fork");
		report(&w, &acts[i], status);
	}
	json_write_object_end(&w);
	return true;
}
