/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* proc/master_control.c: the master's control socket: one byte in, JSON back (PROCESSES C6). */
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "json/json.h"
#include "proc/master_int.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { PONG_WAIT_MS = 500, ASK_WAIT_S = 90 };

static bool socket_path(const char *run_dir, const char *role, struct address *out, struct err *err)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/control/%s.sock", run_dir, role);
	return address_unix(path, out) ||
	       err_set(err, ERR_LIMIT, "run_dir is too long for a Unix socket: %s", run_dir);
}

static int control_socket(struct master *m, const char *role, struct err *err)
{
	const char *run_dir = config_path(m->now.config, SETTING_RUN_DIR);
	struct address a;

	if (!socket_path(run_dir, role, &a, err))
		return -1;
	int fd = listener_unix(m, &a, 0750);
	if (fd < 0)
		err_sys(err, "%s/control/%s.sock", run_dir, role);
	return fd;
}

bool control_open(struct master *m, struct err *err)
{
	m->control_fd = control_socket(m, "master", err);
	if (m->control_fd < 0)
		return false;
	for (struct child *c = m->child; c < m->child + m->child_n; c++) {
		c->control_fd = -1;
		if (c->role != ROLE_AUTH && c->role != ROLE_QUEUE)
			continue;
		c->control_fd = control_socket(m, role_name(c->role), err);
		if (c->control_fd < 0)
			return false;
	}
	return true;
}

static void hang_up(struct control_client *c)
{
	fd_close(&c->fd);
	*c = (struct control_client){.fd = -1};
}

static void send_json(struct control_client *c, struct str json)
{
	/* A reader that does not read loses its answer: the master never waits. */
	(void)!send(c->fd, json.p, json.n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void control_accept(struct master *m)
{
	struct ucred who;
	socklen_t n = sizeof(who);
	int size = 1 << 20;
	FD_SCOPED fd = accept4(m->control_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) < 0)
		return;
	if (who.uid != 0 && who.uid != geteuid()) {
		log_event(LOG_WARN, "control.refused", K_INT(value, who.uid), K_INT(pid, who.pid));
		return;
	}
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	for (struct control_client *c = m->client; c < m->client + CONTROL_CLIENTS_MAX; c++)
		if (c->fd < 0) {
			*c = (struct control_client){.fd = fd_take(&fd), .uid = who.uid, .pid = who.pid};
			return;
		}
}

/* ---- status ----------------------------------------------------------------------------------- */

static const char *state_name(const struct master *m, const struct child *c)
{
	if (m->stop_deadline_ms)
		return c->state == CHILD_DOWN ? "ended" : "draining";
	switch (c->state) {
	case CHILD_DOWN: return c->backoff ? "backoff" : "down";
	case CHILD_STARTING: return "starting";
	case CHILD_READY: return "ready";
	}
	return "?";
}

static void write_child(const struct master *m, const struct child *c, struct json_writer *w)
{
	int64_t now = clock_mono_ms();

	json_write_object_begin(w);
	json_write_member_cstr(w, "name", c->name);
	json_write_member_cstr(w, "role", role_name(c->role));
	json_write_member_int(w, "pid", c->state == CHILD_DOWN ? 0 : c->pid);
	json_write_member_cstr(w, "state", state_name(m, c));
	json_write_member_int(w, "uptime_s", c->state == CHILD_DOWN ? 0 : (now - c->started_ms) / 1000);
	json_write_member_int(w, "restarts", c->restarts);
	json_write_member_cstr(w, "user", c->who.name);
	json_write_member_cstr(w, "sandbox", c->sandbox);
	if (c->why[0])
		json_write_member_cstr(w, "failure", c->why);
	if (child_is_apart(m, c)) { /* whose process it is */
		json_write_name(w, STR("accounts"));
		json_write_array_begin(w);
		for (const struct suspect *s = m->suspect; s < m->suspect + SUSPECTS_MAX; s++)
			if (s->apart == c->index)
				json_write_str(w, str_of(s->account));
		json_write_array_end(w);
	}
	if (c->status.n) { /* parsed before it was kept */
		json_write_name(w, STR("detail"));
		json_write_raw(w, buf_str(&c->status));
	}
	json_write_object_end(w);
}

static void write_listeners(const struct master *m, struct json_writer *w)
{
	size_t n;
	const struct listener *l = config_listeners(m->now.config, &n);

	json_write_name(w, STR("listeners"));
	json_write_array_begin(w);
	for (size_t i = 0; i < n; i++) {
		json_write_object_begin(w);
		json_write_member_str(w, "name", l[i].name);
		json_write_member_cstr(w, "service", config_service_name(l[i].service));
		json_write_member_int(w, "port", l[i].port);
		if (l[i].unix_path.n)
			json_write_member_str(w, "unix_path", l[i].unix_path);
		json_write_object_end(w);
	}
	json_write_array_end(w);
}

static void write_status(const struct master *m, struct buf *out)
{
	struct json_writer w;

	json_write_init(&w, out);
	json_write_object_begin(&w);
	json_write_member_bool(&w, "ok", true);
	json_write_member_int(&w, "pid", getpid());
	json_write_member_cstr(&w, "state",
			       upgrading(m)          ? "upgrading"
			       : m->stop_deadline_ms ? "stopping"
			       : m->ready            ? "ready"
						   : "starting");
	json_write_member_cstr(&w, "version", PABAL_VERSION);
	if (m->upgraded_from[0])
		json_write_member_cstr(&w, "upgraded_from", m->upgraded_from);
	json_write_member_int(&w, "started_unix", m->started_unix);
	json_write_member_int(&w, "uptime_s", (clock_mono_ms() - m->start_ms) / 1000);
	json_write_member_int(&w, "ready_after_ms", m->ready_after_ms);
	json_write_member_cstr(&w, "config", config_file(m->now.config));
	json_write_member_int(&w, "generation", m->generation);
	json_write_member_bool(&w, "separate_users", !m->same_user);
	json_write_member_bool(&w, "certificate", m->now.certificates >= 0);
	write_listeners(m, &w);
	json_write_name(&w, STR("roles"));
	json_write_array_begin(&w);
	for (const struct child *c = m->child; c < m->child + m->child_n; c++)
		if (!c->spare)
			write_child(m, c, &w);
	json_write_array_end(&w);
	json_write_object_end(&w);
	buf_byte(out, '\n');
}

static bool pongs_are_in(const struct master *m)
{
	for (const struct child *c = m->child; c < m->child + m->child_n; c++)
		if (c->state == CHILD_READY && c->pong_nonce != c->ping_nonce)
			return false;
	return true;
}

void control_status_wanted(struct child *c)
{
	c->wants_status = true;
	if (c->master->tell_status_ms)
		return;
	master_ping(c->master);
	c->master->tell_status_ms = clock_mono_ms() + PONG_WAIT_MS;
}

static void tell_status(struct master *m)
{
	BUF_SCOPED out = {0};

	if (!m->tell_status_ms || (clock_mono_ms() < m->tell_status_ms && !pongs_are_in(m)))
		return;
	m->tell_status_ms = 0;
	write_status(m, &out);
	FD_SCOPED fd = sealed_make("status", buf_str(&out));
	for (struct child *c = m->child; fd >= 0 && c < m->child + m->child_n; c++) {
		struct message told = {.type = MSG_status_told, .status_told = {.json = fd}};
		if (c->wants_status && c->state == CHILD_READY)
			(void)channel_post(c->ch, &told);
		c->wants_status = false;
	}
}

void control_answer_due(struct master *m)
{
	tell_status(m);
	for (struct control_client *c = m->client; c < m->client + CONTROL_CLIENTS_MAX; c++) {
		if (c->fd < 0 || c->answer_at_ms == 0 ||
		    (clock_mono_ms() < c->answer_at_ms && !pongs_are_in(m)))
			continue;
		BUF_SCOPED out = {0};
		write_status(m, &out);
		send_json(c, buf_str(&out));
		hang_up(c);
	}
}

/* ---- requests --------------------------------------------------------------------------------- */

static void answer(struct control_client *c, bool good, struct str problems, const struct master *m)
{
	BUF_SCOPED out = {0};
	struct json_writer w;

	json_write_init(&w, &out);
	json_write_object_begin(&w);
	json_write_member_bool(&w, "ok", good);
	json_write_member_str(&w, "problems", problems);
	json_write_member_int(&w, "pid", getpid());
	json_write_member_cstr(&w, "version", PABAL_VERSION);
	json_write_member_cstr(&w, "upgraded_from", m->upgraded_from);
	json_write_object_end(&w);
	buf_byte(&out, '\n');
	send_json(c, buf_str(&out));
	hang_up(c);
}

static void reload(struct master *m, struct control_client *c)
{
	BUF_SCOPED problems = {0};
	bool good = master_reload(m, &problems);

	answer(c, good, buf_str(&problems), m);
}

static void upgrade(struct master *m, struct control_client *c)
{
	BUF_SCOPED problems = {0};

	c->upgrade = true; /* so that the state says so that the new program is shown */
	if (master_upgrade(m, &problems))
		return;
	answer(c, false, buf_str(&problems), m);
}

void control_upgraded(struct master *m, bool good, struct str problems)
{
	for (struct control_client *c = m->client; c < m->client + CONTROL_CLIENTS_MAX; c++)
		if (c->fd >= 0 && c->upgrade)
			answer(c, good, problems, m);
}

void control_adopt(struct master *m)
{
	for (size_t i = 0; i < m->heritage.clients_n; i++)
		m->client[i] = (struct control_client){.fd = m->heritage.clients[i], .upgrade = true};
	m->heritage.clients_n = 0;
}

void control_read(struct master *m, struct control_client *c)
{
	char request = 0;
	ssize_t n = recv(c->fd, &request, 1, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || c->answer_at_ms || c->stop || c->upgrade) {
		if (n <= 0 || c->answer_at_ms)
			hang_up(c);
		return;
	}
	if (request == 's') {
		master_ping(m);
		c->answer_at_ms = clock_mono_ms() + PONG_WAIT_MS;
	} else if (request == 'r') {
		audit_asked("reload", c->uid, c->pid);
		reload(m, c);
	} else if (request == 'u') {
		audit_asked("upgrade", c->uid, c->pid);
		upgrade(m, c);
	} else if (request == 'l') {
		master_reopen_logs(m);
		send_json(c, STR("{\"ok\":true}\n"));
		hang_up(c);
	} else if (request == 'q') {
		audit_asked("stop", c->uid, c->pid);
		c->stop = true;
		send_json(c, STR("{\"ok\":true}\n"));
		master_stop(m, 0);
	} else {
		hang_up(c);
	}
}

void control_close(struct master *m)
{
	const char *run_dir = config_path(m->now.config, SETTING_RUN_DIR);
	struct address a;
	struct err err;

	for (struct child *c = m->child; c < m->child + m->child_n; c++)
		if (c->control_fd >= 0 && socket_path(run_dir, role_name(c->role), &a, &err))
			address_unlink(&a);
	if (socket_path(run_dir, "master", &a, &err))
		address_unlink(&a);
	fd_close(&m->control_fd);
	for (struct control_client *c = m->client; c < m->client + CONTROL_CLIENTS_MAX; c++)
		if (c->fd >= 0)
			hang_up(c);
}

/* ---- the other side --------------------------------------------------------------------------- */

bool proc_ask_master(const char *run_dir, char request, struct buf *reply, struct err *err)
{
	struct address a;
	struct timeval wait = {.tv_sec = ASK_WAIT_S};
	FD_SCOPED fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (!socket_path(run_dir, "master", &a, err))
		return false;
	if (fd < 0)
		return err_sys(err, "socket");
	if (connect(fd, (const struct sockaddr *)&a.a, a.n) < 0) {
		if (errno == ENOENT || errno == ECONNREFUSED)
			return err_set(err, ERR_NOT_FOUND, "no server runs (%s/control)", run_dir);
		if (errno == EACCES)
			return err_set(err, ERR_DENIED,
				       "only root and the server's user may ask (%s/control)", run_dir);
		return err_sys(err, "connect %s/control/master.sock", run_dir);
	}
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	if (send(fd, &request, 1, MSG_NOSIGNAL) != 1)
		return err_sys(err, "send");
	for (;;) { /* to the end of file */
		char *p = buf_room(reply, 65536);
		ssize_t n = p ? recv(fd, p, 65536, 0) : -1;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, "no answer from the server");
		if (n == 0)
			break;
		reply->n += (size_t)n;
	}
	if (reply->n == 0)
		return err_set(err, ERR_DENIED, "the server refused the request");
	return true;
}
