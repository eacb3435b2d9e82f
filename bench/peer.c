/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* bench/peer.c: a blocking connection, with or without TLS. Certificates are not checked: the
 * servers have self-signed ones. */
#include "load.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static SSL_CTX *tls;

void tls_init(void)
{
	tls = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_verify(tls, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF); /* every handshake is a full one */
	SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY);
}

void peer_open(struct peer *p, const char *host, const char *port, bool with_tls, size_t room)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_INET}, *a;
	if (getaddrinfo(host, port, &hints, &a))
		die("cannot find %s", host);
	*p = (struct peer){.fd = socket(AF_INET, SOCK_STREAM, 0), .in = malloc(room), .room = room};
	if (p->fd < 0 || connect(p->fd, a->ai_addr, a->ai_addrlen))
		die("cannot connect to %s:%s: %s", host, port, strerror(errno));
	freeaddrinfo(a);
	int one = 1;
	setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	struct timeval limit = {.tv_sec = REPLY_SECONDS};
	setsockopt(p->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	setsockopt(p->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	if (!with_tls)
		return;
	p->ssl = SSL_new(tls);
	SSL_set_fd(p->ssl, p->fd);
	if (SSL_connect(p->ssl) != 1)
		die("TLS handshake with %s:%s failed", host, port);
}

void peer_close(struct peer *p)
{
	if (p->ssl) {
		SSL_shutdown(p->ssl);
		SSL_free(p->ssl);
	}
	close(p->fd);
	free(p->in);
}

void peer_write(struct peer *p, const char *bytes, size_t n)
{
	while (n) {
		ssize_t w =
			p->ssl ? SSL_write(p->ssl, bytes, (int)n) : send(p->fd, bytes, n, MSG_NOSIGNAL);
		if (w <= 0)
			die("write failed: %s", strerror(errno));
		bytes += w;
		n -= (size_t)w;
	}
}

void peer_say(struct peer *p, const char *fmt, ...)
{
	char line[1024];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof line)
		die("the command is too long");
	peer_write(p, line, (size_t)n);
}

static void peer_fill(struct peer *p)
{
	if (p->at) {
		memmove(p->in, p->in + p->at, p->n - p->at);
		p->n -= p->at;
		p->at = 0;
	}
	if (p->n == p->room)
		die("the server's line is too long");
	ssize_t r = p->ssl ? SSL_read(p->ssl, p->in + p->n, (int)(p->room - p->n))
			   : recv(p->fd, p->in + p->n, p->room - p->n, 0);
	if (r == 0)
		die("the server closed the connection");
	if (r < 0)
		die("no answer from the server: %s", strerror(errno));
	p->n += (size_t)r;
}

char *peer_line(struct peer *p, size_t *out_n)
{
	size_t looked = 0;
	for (;;) {
		char *from = p->in + p->at;
		char *end = memchr(from + looked, '\n', p->n - p->at - looked);
		if (end) {
			size_t n = (size_t)(end - from);
			if (n && from[n - 1] == '\r')
				n--;
			from[n] = 0;
			p->at = (size_t)(end + 1 - p->in);
			*out_n = n;
			return from;
		}
		looked = p->n - p->at;
		peer_fill(p);
	}
}

void peer_bytes(struct peer *p, char *out, size_t n)
{
	while (n) {
		if (p->at == p->n)
			peer_fill(p);
		size_t k = p->n - p->at < n ? p->n - p->at : n;
		memcpy(out, p->in + p->at, k);
		p->at += k;
		out += k;
		n -= k;
	}
}
