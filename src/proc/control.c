/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* proc/control.c: one thread with a few clients, one request at a time: administration, not load. */
#include "audit/act.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "proc/role_int.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { CLIENTS_MAX = 16, LINE_MAX_BYTES = 4 << 20, REPLY_WAIT_S = 10, CHUNK = 16384 };

struct client {
	int fd;
	int64_t last_ms;
	uint32_t uid;
	int32_t pid;
	struct buf in;
};
struct server {
	struct control control;
	int listen_fd;
	struct client client[CLIENTS_MAX];
	size_t n;
};

/* SO_PEERCRED names who connected (of a named socket, not of a pair). */
static bool may_ask(int fd, uint32_t owner, struct ucred *out)
{
	struct ucred who;
	socklen_t n = sizeof(who);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) < 0)
		return false;
	*out = who;
	if (who.uid == 0 || who.uid == owner)
		return true;
	log_event(LOG_WARN, "control.refused", K_INT(value, who.uid), K_INT(pid, who.pid));
	return false;
}

static void drop(struct server *s, size_t i)
{
	fd_close(&s->client[i].fd);
	buf_free(&s->client[i].in);
	s->client[i] = s->client[--s->n];
	s->client[s->n] = (struct client){.fd = -1};
}

/* When all places are taken, the client that was silent for longest goes. */
static void accept_client(struct server *s)
{
	struct timeval wait = {.tv_sec = REPLY_WAIT_S};
	struct ucred who;
	int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	size_t oldest = 0;

	if (fd < 0) {
		poll(NULL, 0,
		     100); /* no descriptor left, say: the client waits in the queue, we do not spin */
		return;
	}
	if (!may_ask(fd, s->control.role->owner_uid, &who)) {
		close(fd);
		return;
	}
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	if (s->n == CLIENTS_MAX) {
		for (size_t i = 1; i < s->n; i++)
			if (s->client[i].last_ms < s->client[oldest].last_ms)
				oldest = i;
		drop(s, oldest);
	}
	s->client[s->n++] =
		(struct client){.fd = fd, .last_ms = clock_mono_ms(), .uid = who.uid, .pid = who.pid,
				 .in = {.max = LINE_MAX_BYTES}};
}

static bool send_all(int fd, struct str s)
{
	while (s.n) {
		ssize_t n = send(fd, s.p, s.n, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		s = str_from(s, (size_t)n);
	}
	return true;
}

/* Recorded before it is done. */
static void answer(struct server *s, struct client *c, struct str request, struct buf *reply)
{
	ARENA_SCOPED a = arena_new();
	struct audit_act act;
	bool changes = audit_act_read(a, request, &act);

	if (changes)
		audit_act_log(&act, c->uid, c->pid);
	s->control.fn(s->control.ctx, request, reply);
	if (changes)
		audit_act_log_refused(&act, c->uid, c->pid, buf_str(reply));
}

static bool answer_lines(struct server *s, struct client *c)
{
	size_t end;

	while ((end = str_find_byte(buf_str(&c->in), '\n')) != STR_NPOS) {
		BUF_SCOPED reply = {0};
		answer(s, c, (struct str){c->in.p, end}, &reply);
		buf_byte(&reply, '\n');
		if (!send_all(c->fd, buf_str(&reply)))
			return false;
		buf_consume(&c->in, end + 1);
	}
	return true;
}

static bool serve(struct server *s, struct client *c)
{
	char *p = buf_room(&c->in, CHUNK);

	if (!p)
		return false;
	ssize_t n = recv(c->fd, p, CHUNK, MSG_DONTWAIT);
	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR);
	c->in.n += (size_t)n;
	c->last_ms = clock_mono_ms();
	return answer_lines(s, c);
}

static void *run(void *ctx)
{
	struct server *s = ctx;

	for (;;) {
		struct pollfd p[CLIENTS_MAX + 1];
		size_t n = s->n;
		p[0] = (struct pollfd){.fd = s->listen_fd, .events = POLLIN};
		for (size_t i = 0; i < n; i++)
			p[i + 1] = (struct pollfd){.fd = s->client[i].fd, .events = POLLIN};
		if (poll(p, n + 1, -1) < 0 && errno != EINTR)
			return NULL;
		for (size_t i = n; i-- > 0;) /* backwards: drop() moves the last one */
			if (p[i + 1].revents && !serve(s, &s->client[i]))
				drop(s, i);
		if (p[0].revents)
			accept_client(s);
	}
}

static bool start_one(struct role *r, const struct control *c, int fd, struct err *err)
{
	struct server *s = mem_new(struct server); /* until the process ends */
	pthread_t thread;

	s->control = *c;
	s->control.role = r;
	s->listen_fd = fd;
	errno = pthread_create(&thread, NULL, run, s);
	if (errno)
		return err_sys(err, "pthread_create");
	pthread_detach(thread);
	return true;
}

bool control_listen(struct role *r, const struct control *c, struct err *err)
{
	for (struct role_listener *l = r->listeners; l < r->listeners + r->listeners_n; l++)
		if (strcmp(l->name, "control") == 0 && !start_one(r, c, fd_take(&l->fd), err))
			return false;
	return true;
}
