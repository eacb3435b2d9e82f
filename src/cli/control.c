/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Control sockets: connect, one line each way; and the directory with or without a server. */
#include "cli/control.h"
#include "audit/act.h"
#include "audit/audit.h"
#include "base/clock.h"
#include "base/file.h"
#include "cli/cli.h"
#include "cli/cli_int.h"
#include "config/config.h"
#include "directory/control.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { CALL_TIME_MS = 30000 };

bool control_connect(const char *run_dir, const char *role, int *out_fd, struct err *err)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	*out_fd = -1;
	int n = snprintf(sa.sun_path, sizeof sa.sun_path, "%s/control/%s.sock", run_dir, role);
	if (n < 0 || (size_t)n >= sizeof sa.sun_path)
		return err_set(err, ERR_LIMIT, "run_dir is too long for a socket's name");
	FD_SCOPED fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(err, "cannot make a socket");
	if (connect(fd, (const struct sockaddr *)&sa, sizeof sa) == 0) {
		*out_fd = fd_take(&fd);
		return true;
	}
	if (errno == ENOENT || errno == ECONNREFUSED || errno == ENOTDIR)
		return true;
	if (errno != EACCES && errno != EPERM)
		return err_sys(err, "cannot connect to %s", sa.sun_path);
	err_set(err, ERR_DENIED,
		"this user may not talk to the server: use root or the group of the control socket");
	return err_cause(err, "%s: %s", sa.sun_path, strerror(errno));
}

bool cli_become_owner(int dir_fd, struct err *err)
{
	struct stat st;

	if (fstat(dir_fd, &st) < 0)
		return err_sys(err, "stat a directory");
	if (geteuid() != 0 || st.st_uid == 0)
		return true;
	if (setgroups(0, NULL) < 0 || setresgid(st.st_gid, st.st_gid, st.st_gid) < 0 ||
	    setresuid(st.st_uid, st.st_uid, st.st_uid) < 0)
		return err_sys(err, "become the owner of the directory");
	return true;
}

int cli_no_server(struct cli *cli)
{
	bool installed = strcmp(cli->config_path, CLI_CONFIG_DEFAULT) == 0;

	return cli_fail(cli, CLI_UNAVAILABLE,
			cli_text(cli, "the server does not run; start it: %s%s",
				 "서버가 실행 중이 아닙니다. 시작: %s%s"),
			installed ? "systemctl start pabal" : "pabal serve --config ",
			installed ? "" : cli->config_path);
}

static bool wait_for(int fd, short events, int64_t deadline_ms, struct err *err)
{
	struct pollfd p = {.fd = fd, .events = events};
	int64_t left = deadline_ms - clock_mono_ms();
	int rc = left > 0 ? poll(&p, 1, (int)left) : 0;
	if (rc > 0 || (rc < 0 && errno == EINTR))
		return true;
	if (rc < 0)
		return err_sys(err, "cannot wait for the server");
	return err_set(err, ERR_TEMP, "the server does not answer");
}

static bool send_line(int fd, struct str request, int64_t deadline_ms, struct err *err)
{
	BUF_SCOPED line = {0};
	buf_add(&line, request);
	buf_byte(&line, '\n');
	for (size_t at = 0; at < line.n;) {
		if (!wait_for(fd, POLLOUT, deadline_ms, err))
			return false;
		ssize_t n = send(fd, line.p + at, line.n - at, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0)
			at += (size_t)n;
		else if (errno != EAGAIN && errno != EINTR)
			return err_set(err, ERR_GONE, "the server closed the connection");
	}
	return true;
}

bool control_call(int fd, struct str request, struct buf *reply, struct err *err)
{
	int64_t deadline = clock_mono_ms() + CALL_TIME_MS;
	if (!send_line(fd, request, deadline, err))
		return false;
	for (;;) {
		if (reply->n > CONTROL_LINE_MAX)
			return err_set(err, ERR_LIMIT, "the server's answer is too long");
		if (!wait_for(fd, POLLIN, deadline, err))
			return false;
		char *room = buf_room(reply, 65536);
		ssize_t n = recv(fd, room, 65536, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0)
			return err_set(err, ERR_GONE, "the server closed the connection");
		reply->n += (size_t)n;
		if (reply->p[reply->n - 1] == '\n') {
			reply->n--;
			return true;
		}
	}
}

static bool open_dir_of(struct cli *cli, const char *path, int *out_fd, const char **out_name,
			struct err *err)
{
	struct str p = str_of(path);
	size_t slash = str_find_last_byte(p, '/');
	const char *dir =
		arena_cstr(cli->arena, slash && slash != STR_NPOS ? str_sub(p, 0, slash) : STR("/"));
	*out_name = arena_cstr(cli->arena, str_from(p, slash + 1));
	(void)mkdir(dir, 0750);
	*out_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *out_fd >= 0 || err_sys(err, "open %s", dir);
}

/* Without a server we write the audit log ourselves, and give it to whom the directory belongs. */
static bool record_offline(struct cli *cli, struct str request, struct err *err)
{
	const char *path = config_path(cli->config, SETTING_AUDIT_PATH), *name;
	FD_SCOPED dir = -1;
	struct audit_act act;
	struct audit_log *log;
	struct stat st;
	BUF_SCOPED line = {0};
	if (!path[0] || !audit_act_read(cli->arena, request, &act))
		return true;
	if (!open_dir_of(cli, path, &dir, &name, err) || !audit_open(dir, name, STR("cli"), &log, err))
		return err_while(err, "writing the audit log");
	audit_act_line(&line, &act, STR("cli"), getuid(), getppid());
	audit_add(log, buf_str(&line));
	bool good = audit_commit(log, err);
	audit_close(log);
	struct str head = arena_fmt(cli->arena, "%s.head%c", name, 0);
	if (geteuid() == 0 && fstat(dir, &st) == 0 &&
	    (fchownat(dir, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0 ||
	     fchownat(dir, head.p, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0))
		good = err_sys(err, "chown %s", path);
	return good;
}

int cli_audit(struct cli *cli, struct str request)
{
	BUF_SCOPED reply = {0};
	FD_SCOPED fd = -1;
	struct err err = {0};
	bool good = control_connect(config_path(cli->config, SETTING_RUN_DIR), "queue", &fd, &err) &&
		    (fd >= 0 ? control_call(fd, request, &reply, &err) : record_offline(cli, request, &err));
	return good ? 0 : cli_fail_err(cli, &err);
}

static bool ask_directory(struct cli *cli, struct str request, struct buf *reply, struct err *err)
{
	FD_SCOPED fd = -1;
	if (!control_connect(config_path(cli->config, SETTING_RUN_DIR), "auth", &fd, err))
		return false;
	if (fd >= 0)
		return control_call(fd, request, reply, err);
	DIRECTORY_SCOPED d = NULL;
	if (!directory_open(cli->config, &d, err))
		return false;
	if (!record_offline(cli, request, err))
		return false;
	directory_control(d, request, reply);
	return true;
}

bool cli_directory_call(struct cli *cli, struct str request, struct json_doc **out_reply, struct err *err)
{
	BUF_SCOPED reply = {0};
	return ask_directory(cli, request, &reply, err) &&
	       json_doc_parse(buf_str(&reply), CONTROL_LINE_MAX, out_reply, err);
}

/* {"ok": false} as an error of its kind. */
static void error_of(const struct json_value *reply, struct err *err)
{
	struct str kind = json_value_str_or(json_value_member(reply, "kind"), STR(""));
	enum err_kind k = ERR_TEMP;
	for (int i = ERR_SYNTAX; i <= ERR_GONE; i++) {
		if (str_eq(kind, str_of(err_kind_name((enum err_kind)i))))
			k = (enum err_kind)i;
	}
	err_set(err, k, "%.*s",
		STR_ARG(json_value_str_or(json_value_member(reply, "text"), STR("the server refused"))));
}

/* A failure is a message in any case, and the reply's text for --json besides. */
static int finish(struct cli *cli, const struct buf *reply, struct json_doc **out_reply, struct err *err)
{
	if (!json_doc_parse(buf_str(reply), CONTROL_LINE_MAX, out_reply, err))
		return cli_fail_err(cli, err);
	const struct json_value *root = json_doc_root(*out_reply);
	if (json_value_bool_or(json_value_member(root, "ok"), false))
		return CLI_OK;
	cli_print_json(cli, buf_str(reply));
	error_of(root, err);
	return cli_fail_err(cli, err);
}

int cli_directory(struct cli *cli, struct str request, struct json_doc **out_reply)
{
	BUF_SCOPED reply = {0};
	struct err err = {0};
	int rc = cli_config(cli);
	if (rc != 0)
		return rc;
	if (!ask_directory(cli, request, &reply, &err))
		return cli_fail_err(cli, &err);
	return finish(cli, &reply, out_reply, &err);
}

int cli_master_did(struct cli *cli, const struct json_value *reply, const char *refusal)
{
	struct str problems = json_value_str_or(json_value_member(reply, "problems"), STR_NONE);
	cli_flush(cli);
	fprintf(stderr, "%.*s", STR_ARG(problems));
	if (json_value_bool_or(json_value_member(reply, "ok"), false))
		return 0;
	return cli_fail(cli, CLI_CONFIG, "%s", refusal);
}

int cli_role(struct cli *cli, const char *role, struct str request, struct json_doc **out_reply)
{
	BUF_SCOPED reply = {0};
	FD_SCOPED fd = -1;
	struct err err = {0};
	int rc = cli_config(cli);
	if (rc != 0)
		return rc;
	if (!control_connect(config_path(cli->config, SETTING_RUN_DIR), role, &fd, &err))
		return cli_fail_err(cli, &err);
	if (fd < 0)
		return cli_no_server(cli);
	if (!control_call(fd, request, &reply, &err))
		return cli_fail_err(cli, &err);
	return finish(cli, &reply, out_reply, &err);
}
