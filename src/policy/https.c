/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "policy/https.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/scan.h"
#include "crypto/tls.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

enum { CHUNK = 8192, HEADERS_MAX = 100 };

/* status-line = HTTP-version SP status-code SP [ reason-phrase ] (RFC 9112 4) */
static bool status_line(struct str line, unsigned *out)
{
	struct scan s = scan_of(line);
	struct str minor;
	uint32_t code;
	if (!scan_lit(&s, STR("HTTP/1.")) || !scan_take(&s, 1, &minor) || !scan_byte(&s, ' ') ||
	    !scan_u32(&s, 999, &code) || code < 100 || (!scan_end(&s) && !scan_byte(&s, ' ')))
		return false;
	*out = code;
	return true;
}

bool http_reply_parse(struct str bytes, struct http_reply *out, bool *out_more)
{
	size_t end = str_find(bytes, STR("\r\n\r\n"));
	*out_more = end == STR_NPOS;
	if (end == STR_NPOS)
		return bytes.n < HTTPS_HEAD_MAX;
	struct str head = str_sub(bytes, 0, end);
	struct str first = str_cut(&head, '\n');
	uint64_t length = 0;
	*out = (struct http_reply){.body = str_from(bytes, end + 4)};
	if (end > HTTPS_HEAD_MAX || !status_line(str_trim(first), &out->status))
		return false;
	for (size_t n = 0; head.p; n++) {
		struct str value = str_trim(str_cut(&head, '\n'));
		struct str name = str_cut(&value, ':');
		if (n == HEADERS_MAX || !value.p)
			return false;
		value = str_trim(value);
		if (str_eq_nocase(name, STR("Content-Type"))) {
			out->type = str_trim(str_cut(&value, ';'));
		} else if (str_eq_nocase(name, STR("Content-Length"))) {
			uint64_t before = length;
			if (!str_u64(value, UINT32_MAX, &length) || (out->has_length && before != length))
				return false;
			out->has_length = true;
		} else if (str_eq_nocase(name, STR("Transfer-Encoding"))) {
			return false; /* not to a request of HTTP/1.0 (RFC 9112 6.1) */
		}
	}
	out->whole = out->has_length && out->body.n >= length;
	if (out->whole)
		out->body.n = (size_t)length;
	return true;
}

/* ---- the connection ---------------------------------------------------------------------- */

struct get {
	int fd;
	struct tls_session *tls;
	int64_t until_ms;
};

static bool wait_for(struct get *g, short events, struct err *err)
{
	for (;;) {
		int64_t left = g->until_ms - clock_mono_ms();
		struct pollfd p = {.fd = g->fd, .events = events};
		int n = left > 0 ? poll(&p, 1, left > 60000 ? 60000 : (int)left) : 0;
		if (n > 0)
			return true;
		if (left <= 0 || (n < 0 && errno != EINTR))
			return err_set(err, ERR_TEMP, "the HTTPS server does not answer");
	}
}

static bool connect_to(struct get *g, const struct https_request *r, struct err *err)
{
	int e = 0;
	socklen_t n = sizeof e;
	g->fd = socket(r->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (g->fd < 0)
		return err_sys(err, "socket");
	if (connect(g->fd, (const struct sockaddr *)&r->address, r->address_len) != 0) {
		if (errno == EINPROGRESS && !wait_for(g, POLLOUT, err))
			return false;
		if (errno == EINPROGRESS)
			(void)getsockopt(g->fd, SOL_SOCKET, SO_ERROR, &e, &n);
		else
			e = errno;
	}
	errno = e;
	return !e || err_sys(err, "the HTTPS server cannot be reached");
}

/* False: not yet, waited for; or err is set. */
static bool moved(struct get *g, enum tls_result result, struct err *err)
{
	switch (result) {
	case TLS_OK:
	case TLS_CLOSED:
		return true;
	case TLS_WANT_READ:
		(void)wait_for(g, POLLIN, err);
		return false;
	case TLS_WANT_WRITE:
		(void)wait_for(g, POLLOUT, err);
		return false;
	case TLS_FAILED:
		if (err->kind == ERR_NONE)
			err_set(err, ERR_TEMP, "TLS failed");
		return false;
	}
	return false;
}

static bool handshake(struct get *g, const struct https_request *r, struct err *err)
{
	g->tls = tls_session_new_client(r->context, g->fd, r->host);
	while (!moved(g, tls_handshake(g->tls, err), err)) {
		if (err->kind != ERR_NONE)
			return err_while(err, "greeting %.*s", STR_ARG(r->host));
	}
	return true;
}

static bool send_all(struct get *g, struct str bytes, struct err *err)
{
	while (bytes.n) {
		size_t n = 0;
		enum tls_result result = tls_write(g->tls, bytes.p, bytes.n, &n, err);
		if (moved(g, result, err) && result == TLS_CLOSED)
			return err_set(err, ERR_TEMP, "the HTTPS server closed the connection");
		if (err->kind != ERR_NONE)
			return false;
		bytes = str_from(bytes, n);
	}
	return true;
}

/* Up to the end of the body, or of the connection; an end without close_notify counts as one only where
 * Content-Length says that all is there. */
static bool read_reply(struct get *g, struct buf *in, size_t body_max, struct http_reply *out,
		       struct err *err)
{
	for (;;) {
		bool more;
		size_t n = 0;
		if (!http_reply_parse(buf_str(in), out, &more))
			return err_set(err, ERR_TEMP, "the HTTPS server's answer is not HTTP");
		if (!more && out->body.n > body_max)
			return err_set(err, ERR_LIMIT, "the document is too long");
		if (!more && out->whole)
			return true;
		enum tls_result result = tls_read(g->tls, buf_room(in, CHUNK), CHUNK, &n, err);
		if (!moved(g, result, err)) {
			if (err->kind != ERR_NONE)
				return false;
			continue;
		}
		if (result == TLS_CLOSED)
			return (!more && !out->has_length) ||
			       err_set(err, ERR_TEMP, "the HTTPS server's answer is cut short");
		in->n += n;
	}
}

static bool get(struct get *g, const struct https_request *r, struct arena *a, struct str *out_body,
		struct err *err)
{
	struct http_reply reply;
	BUF_SCOPED in = {0};
	struct str request = arena_fmt(a, "GET %.*s HTTP/1.0\r\nHost: %.*s\r\nAccept: text/plain\r\n\r\n",
				       STR_ARG(r->path), STR_ARG(r->host));
	if (!connect_to(g, r, err) || !handshake(g, r, err) || !send_all(g, request, err) ||
	    !read_reply(g, &in, r->body_max, &reply, err))
		return false;
	if (reply.status != 200)
		return err_set(err, reply.status / 100 == 4 ? ERR_NOT_FOUND : ERR_TEMP,
			       "the HTTPS server says %u", reply.status);
	if (reply.type.n && !str_eq_nocase(reply.type, STR("text/plain"))) /* RFC 8461 3.2 */
		return err_set(err, ERR_SYNTAX, "the document is not text/plain");
	*out_body = arena_str(a, reply.body);
	return true;
}

bool https_get(const struct https_request *r, struct arena *a, struct str *out_body, struct err *err)
{
	struct get g = {.fd = -1, .until_ms = r->until_ms};
	if (str_has_ctl(r->host) || str_has_ctl(r->path) || str_has_byte(r->path, ' '))
		return err_set(err, ERR_SYNTAX, "not a host and path");
	bool ok = get(&g, r, a, out_body, err);
	tls_session_free(g.tls);
	fd_close(&g.fd);
	return ok;
}

/* ---- POST -------------------------------------------------------------------------------- */

static bool read_status(struct get *g, unsigned *out, struct err *err)
{
	BUF_SCOPED in = {0};
	size_t end;
	while ((end = str_find(buf_str(&in), STR("\r\n"))) == STR_NPOS) {
		size_t n = 0;
		if (in.n > HTTPS_HEAD_MAX)
			return err_set(err, ERR_TEMP, "the HTTPS server's answer is not HTTP");
		enum tls_result result = tls_read(g->tls, buf_room(&in, CHUNK), CHUNK, &n, err);
		if (!moved(g, result, err)) {
			if (err->kind != ERR_NONE)
				return false;
			continue;
		}
		if (result == TLS_CLOSED)
			return err_set(err, ERR_TEMP, "the HTTPS server's answer is cut short");
		in.n += n;
	}
	return status_line(str_sub(buf_str(&in), 0, end), out) ||
	       err_set(err, ERR_TEMP, "the HTTPS server's answer is not HTTP");
}

static bool post(struct get *g, const struct https_request *r, struct str json, struct arena *a,
		 struct err *err)
{
	unsigned status;
	struct str request =
		arena_fmt(a,
			  "POST %.*s HTTP/1.0\r\nHost: %.*s\r\nContent-Type: application/json\r\n"
			  "Content-Length: %zu\r\n\r\n%.*s",
			  STR_ARG(r->path), STR_ARG(r->host), json.n, STR_ARG(json));
	if (!connect_to(g, r, err) || !handshake(g, r, err) || !send_all(g, request, err) ||
	    !read_status(g, &status, err))
		return false;
	return status / 100 == 2 || err_set(err, status / 100 == 4 ? ERR_NOT_FOUND : ERR_TEMP,
					    "the HTTPS server says %u", status);
}

bool https_post_json(const struct https_request *r, struct str json, struct arena *a, struct err *err)
{
	struct get g = {.fd = -1, .until_ms = r->until_ms};
	if (str_has_ctl(r->host) || str_has_ctl(r->path) || str_has_byte(r->path, ' '))
		return err_set(err, ERR_SYNTAX, "not a host and path");
	bool ok = post(&g, r, json, a, err);
	tls_session_free(g.tls);
	fd_close(&g.fd);
	return ok;
}

/* RFC 3986 3.2; no user, no literal address: a certificate is for a name. */
bool https_url_parse(struct str url, struct https_url *out)
{
	uint64_t port = 443;
	if (!str_starts_nocase(url, STR("https://")) || str_has_ctl(url) || str_has_byte(url, ' '))
		return false;
	struct str rest = str_from(url, 8);
	size_t slash = str_find_byte(rest, '/');
	struct str authority = str_sub(rest, 0, slash == STR_NPOS ? rest.n : slash), number = authority;
	out->path = slash == STR_NPOS ? STR("/") : str_from(rest, slash);
	out->host = str_cut(&number, ':');
	if (number.p && (!str_u64(number, 65535, &port) || port == 0))
		return false;
	out->port = (uint16_t)port;
	for (size_t i = 0; i < out->host.n; i++)
		if (!ascii_is((unsigned char)out->host.p[i], ASCII_UPPER | ASCII_LOWER | ASCII_DIGIT) &&
		    !str_has_byte(STR("-."), out->host.p[i]))
			return false;
	return out->host.n > 0 && out->host.n <= 255 && out->path.n <= 255;
}
