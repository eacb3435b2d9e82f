/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "cli/talk.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "crypto/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { REPLY_MAX = 64 * 1024, CHUNK = 16 * 1024 };

struct talk {
	int fd;
	int64_t timeout_ms;
	struct buf in;    /* bytes read, not used */
	struct buf reply; /* lines of the last reply */
	struct buf *transcript;
	struct tls_context *context;
	struct tls_session *tls;
};

static struct talk *talk_new(int fd, const struct talk_options *o)
{
	struct talk *t = mem_new(struct talk);
	t->fd = fd;
	t->timeout_ms = o->timeout_ms ? o->timeout_ms : 30000;
	t->transcript = o->transcript;
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return t;
}

void talk_close(struct talk *t)
{
	if (!t)
		return;
	tls_session_free(t->tls);
	tls_context_unref(t->context);
	fd_close(&t->fd);
	buf_free(&t->in);
	buf_free(&t->reply);
	free(t);
}

bool talk_connect_tcp(struct str host, uint16_t port, const struct talk_options *o, struct talk **out,
		      struct err *err)
{
	char name[256], service[8];
	if (host.n >= sizeof name)
		return err_set(err, ERR_SYNTAX, "the host name is too long");
	snprintf(name, sizeof name, "%.*s", STR_ARG(host));
	snprintf(service, sizeof service, "%u", port);
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
	int e = getaddrinfo(name, service, &hints, &list);
	if (e)
		return err_set(err, ERR_NOT_FOUND, "cannot find %s: %s", name, gai_strerror(e));
	int fd = -1;
	for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
		fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) != 0)
			fd_close(&fd);
	}
	freeaddrinfo(list);
	if (fd < 0)
		return err_set(err, ERR_GONE, "cannot connect to %s port %u: %s%s", name, port,
			       strerror(errno),
			       errno == ECONNREFUSED ? "; does the server run? See `pabal status`" : "");
	*out = talk_new(fd, o);
	return true;
}

bool talk_connect_unix(const char *path, const struct talk_options *o, struct talk **out, struct err *err)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof a.sun_path)
		return err_set(err, ERR_SYNTAX, "the socket's path is too long");
	memcpy(a.sun_path, path, strlen(path));
	FD_SCOPED fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) != 0)
		return err_set(err, ERR_GONE, "cannot connect to %s: %s", path, strerror(errno));
	*out = talk_new(fd_take(&fd), o);
	return true;
}

/* ---- bytes ------------------------------------------------------------------------------ */

static bool wait_for(struct talk *t, short events, struct err *err)
{
	struct pollfd p = {.fd = t->fd, .events = events};
	int n = poll(&p, 1, (int)t->timeout_ms);
	if (n > 0)
		return true;
	return err_set(err, ERR_GONE,
		       n == 0 ? "the server does not answer in time" : "the connection failed");
}

static bool write_all(struct talk *t, struct str bytes, struct err *err)
{
	while (bytes.n) {
		size_t n = 0;
		if (t->tls) {
			enum tls_result r = tls_write(t->tls, bytes.p, bytes.n, &n, err);
			if (r == TLS_FAILED || r == TLS_CLOSED)
				return r == TLS_FAILED ? false
						       : err_set(err, ERR_GONE,
								 "the server closed the connection");
			if (r != TLS_OK && !wait_for(t, r == TLS_WANT_READ ? POLLIN : POLLOUT, err))
				return false;
		} else {
			ssize_t w = send(t->fd, bytes.p, bytes.n, MSG_NOSIGNAL);
			if (w < 0 && errno != EAGAIN)
				return err_set(err, ERR_GONE, "the connection failed: %s",
					       strerror(errno));
			if (w < 0 && !wait_for(t, POLLOUT, err))
				return false;
			n = w < 0 ? 0 : (size_t)w;
		}
		bytes = str_from(bytes, n);
	}
	return true;
}

static bool read_more(struct talk *t, struct err *err)
{
	for (;;) {
		char *p = buf_room(&t->in, CHUNK);
		size_t n = 0;
		enum tls_result r = TLS_OK;
		if (t->tls) {
			r = tls_read(t->tls, p, CHUNK, &n, err);
			if (r == TLS_FAILED)
				return false;
			if (r == TLS_CLOSED)
				return err_set(err, ERR_GONE, "the server closed the connection");
		} else {
			ssize_t got = recv(t->fd, p, CHUNK, 0);
			if (got == 0 || (got < 0 && errno != EAGAIN))
				return err_set(err, ERR_GONE, "the server closed the connection");
			n = got < 0 ? 0 : (size_t)got;
		}
		if (n) {
			t->in.n += n;
			return true;
		}
		if (!wait_for(t, r == TLS_WANT_WRITE ? POLLOUT : POLLIN, err))
			return false;
	}
}

static void note(struct talk *t, const char *who, struct str text)
{
	for (struct str rest = text; t->transcript && rest.p;) {
		struct str line = str_cut(&rest, '\n');
		buf_fmt(t->transcript, "%s: %.*s\n", who, STR_ARG(str_trim(line)));
	}
}

/* ---- lines ------------------------------------------------------------------------------ */

/* One line, moved into t->reply; its code and whether another follows (RFC 5321 4.2). */
static bool read_line(struct talk *t, int *code, bool *more, struct err *err)
{
	size_t end;
	while ((end = str_find_byte(buf_str(&t->in), '\n')) == STR_NPOS) {
		if (t->in.n > REPLY_MAX)
			return err_set(err, ERR_LIMIT, "the server's reply is too long");
		if (!read_more(t, err))
			return false;
	}
	struct str line = str_trim(str_sub(buf_str(&t->in), 0, end));
	uint64_t n;
	if (!str_u64(str_sub(line, 0, 3), 599, &n) || n < 200 || t->reply.n > REPLY_MAX)
		return err_set(err, ERR_SYNTAX, "the server's reply is not SMTP");
	*code = (int)n;
	*more = line.n > 3 && line.p[3] == '-';
	if (t->reply.n)
		buf_byte(&t->reply, '\n');
	buf_add(&t->reply, line);
	buf_consume(&t->in, end + 1);
	return true;
}

bool talk_read(struct talk *t, struct talk_reply *out, struct err *err)
{
	bool more = true;
	buf_clear(&t->reply);
	while (more) {
		if (!read_line(t, &out->code, &more, err))
			return false;
	}
	out->lines = buf_str(&t->reply);
	note(t, "S", out->lines);
	return true;
}

bool talk_say(struct talk *t, struct str line, struct str mask, struct talk_reply *out, struct err *err)
{
	BUF_SCOPED b = {0};
	buf_add(&b, line);
	buf_add(&b, STR("\r\n"));
	note(t, "C", mask.n ? mask : line);
	bool ok = write_all(t, buf_str(&b), err);
	if (mask.n)
		memset(b.p, 0, b.n);
	return ok && talk_read(t, out, err);
}

bool talk_data(struct talk *t, struct str message, struct err *err)
{
	BUF_SCOPED b = {0};
	struct str rest = message;
	while (rest.p && rest.n) {
		struct str line = str_cut(&rest, '\n');
		if (line.n && line.p[line.n - 1] == '\r')
			line.n--;
		if (line.n && line.p[0] == '.')
			buf_byte(&b, '.');
		buf_add(&b, line);
		buf_add(&b, STR("\r\n"));
	}
	note(t, "C", b.n ? str_sub(buf_str(&b), 0, b.n - 2) : STR(""));
	note(t, "C", STR("."));
	buf_add(&b, STR(".\r\n"));
	return write_all(t, buf_str(&b), err);
}

bool talk_starttls(struct talk *t, struct err *err)
{
	buf_clear(&t->in); /* what came before the handshake is nobody's word (RFC 3207 6) */
	if (!tls_context_client(&(struct tls_client_settings){.verify = false}, &t->context, err))
		return false;
	t->tls = tls_session_new_client(t->context, t->fd, STR_NONE);
	for (;;) {
		switch (tls_handshake(t->tls, err)) {
		case TLS_OK: {
			struct tls_facts f;
			tls_facts(t->tls, &f);
			if (t->transcript)
				buf_fmt(t->transcript, "-- %s %s\n", f.version, f.cipher);
			return true;
		}
		case TLS_WANT_READ:
			if (!wait_for(t, POLLIN, err))
				return false;
			break;
		case TLS_WANT_WRITE:
			if (!wait_for(t, POLLOUT, err))
				return false;
			break;
		case TLS_CLOSED:
			return err_set(err, ERR_GONE, "the server closed the connection");
		case TLS_FAILED:
			return false;
		}
	}
}
