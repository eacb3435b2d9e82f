/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * A question is sent to one server after the other, each try with a socket (and so a source port)
 * and an id of its own, for TRY_MS at first and twice as long each round, until the deadline.
 */
#include "dns/client.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/ids.h"
#include "base/mem.h"
#include "dns/backend.h"
#include "dns/wire.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TIMEOUT_MS = 5000, TRY_MS = 1000, MESSAGE_MAX = 65535 };

struct client {
	struct dns_resolver resolver;
	struct dns_server servers[DNS_SERVERS_MAX];
	size_t server_n;
	int timeout_ms;
	bool trust_ad;
};

struct question {
	struct arena *a;
	struct str name;
	enum dns_type type;
	uint16_t id;
	const struct dns_server *server;
	int64_t until_ms; /* of this try */
	struct dns_answer *out;
	struct dns_wire_info info;
};

static bool wait_for(int fd, short events, int64_t until_ms)
{
	for (;;) {
		int64_t left = until_ms - clock_mono_ms();
		struct pollfd p = {.fd = fd, .events = events};
		int n = poll(&p, 1, left > 0 ? (int)left : 0);
		if (n >= 0 || errno != EINTR)
			return n > 0;
	}
}

static int open_socket(const struct question *q, int type)
{
	FD_SCOPED fd = socket(q->server->address.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	int rc = connect(fd, (const struct sockaddr *)&q->server->address, q->server->size);
	return rc == 0 || errno == EINPROGRESS ? fd_take(&fd) : -1;
}

/* False: another packet than the answer. */
static bool understood(struct question *q, struct str packet)
{
	struct err err;
	return dns_wire_answer(q->a, packet, q->name, q->type, q->out, &q->info, &err) && q->info.id == q->id;
}

static bool ask_udp(struct question *q, struct str query)
{
	BUF_SCOPED packet = {0};
	char *room = buf_room(&packet, MESSAGE_MAX); /* some servers know no limit */
	FD_SCOPED fd = open_socket(q, SOCK_DGRAM);
	if (fd < 0 || send(fd, query.p, query.n, 0) != (ssize_t)query.n)
		return false;
	while (wait_for(fd, POLLIN, q->until_ms)) {
		ssize_t n = recv(fd, room, MESSAGE_MAX, 0);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return false; /* nobody listens there */
		if (n > 0 && understood(q, (struct str){room, (size_t)n}))
			return true;
	}
	return false;
}

static bool write_all(int fd, struct str s, int64_t until_ms)
{
	while (s.n > 0) {
		ssize_t n = wait_for(fd, POLLOUT, until_ms) ? send(fd, s.p, s.n, MSG_NOSIGNAL) : -1;
		if (n <= 0)
			return false;
		s = str_from(s, (size_t)n);
	}
	return true;
}

static bool read_all(int fd, char *p, size_t n, int64_t until_ms)
{
	while (n > 0) {
		ssize_t got = wait_for(fd, POLLIN, until_ms) ? recv(fd, p, n, 0) : -1;
		if (got <= 0)
			return false;
		p += got;
		n -= (size_t)got;
	}
	return true;
}

/* RFC 1035 4.2.2: two octets of length first. */
static bool ask_tcp(struct question *q, struct str query)
{
	BUF_SCOPED packet = {0};
	FD_SCOPED fd = open_socket(q, SOCK_STREAM);
	unsigned char length[2] = {(unsigned char)(query.n >> 8), (unsigned char)query.n};
	buf_add_bytes(&packet, length, 2);
	buf_add(&packet, query);
	if (fd < 0 || !write_all(fd, buf_str(&packet), q->until_ms) ||
	    !read_all(fd, (char *)length, 2, q->until_ms))
		return false;
	size_t n = (size_t)(length[0] << 8 | length[1]);
	buf_clear(&packet);
	char *room = buf_room(&packet, n + 1);
	return read_all(fd, room, n, q->until_ms) && understood(q, (struct str){room, n});
}

static bool ask_once(struct question *q, bool edns)
{
	BUF_SCOPED query = {0};
	q->id = (uint16_t)random_u64();
	dns_wire_query(&query, q->id, q->name, q->type, edns);
	if (!ask_udp(q, buf_str(&query)))
		return false;
	return !(q->info.flags & DNS_WIRE_TRUNCATED) || ask_tcp(q, buf_str(&query));
}

/* One try at one server. */
static bool ask(struct question *q)
{
	if (!ask_once(q, true))
		return false;
	return !(q->info.flags & DNS_WIRE_NO_EDNS) || ask_once(q, false);
}

static bool ask_until(struct client *c, struct question *q, int64_t deadline_ms)
{
	bool answered = false;
	for (int64_t limit = TRY_MS; clock_mono_ms() < deadline_ms; limit *= 2) {
		for (size_t i = 0; i < c->server_n; i++) {
			q->server = &c->servers[i];
			q->until_ms = clock_mono_ms() + limit;
			if (q->until_ms > deadline_ms)
				q->until_ms = deadline_ms;
			if (!ask(q))
				continue;
			answered = true;
			if (q->out->status != DNS_SERVFAIL)
				return true;
		}
		if (answered) { /* every one of them that answers says SERVFAIL */
			q->out->status = DNS_SERVFAIL;
			return true;
		}
		/* A port that is closed answers at once: do not spin. */
		int64_t rest = deadline_ms - clock_mono_ms();
		poll(NULL, 0, (int)(rest > 100 ? 100 : rest > 0 ? rest : 0));
	}
	return false;
}

static void client_query(struct dns_resolver *r, struct arena *a, struct str name, enum dns_type type,
			 struct dns_answer *out)
{
	struct client *c = (struct client *)r;
	int64_t deadline = clock_mono_ms() + c->timeout_ms;
	uint32_t ttl = INT32_MAX;
	struct question q = {.a = a, .name = name, .type = type, .out = out};
	bool secure = true;
	for (int aliases = 0; aliases <= DNS_ALIASES_MAX; aliases++) {
		*out = (struct dns_answer){.status = DNS_SERVFAIL, .canonical = q.name};
		if (!ask_until(c, &q, deadline)) {
			*out = (struct dns_answer){.status = DNS_TIMEOUT, .canonical = q.name};
			return;
		}
		secure = secure && c->trust_ad && q.server->loopback && q.info.flags & DNS_WIRE_AD;
		ttl = out->ttl < ttl ? out->ttl : ttl;
		out->ttl = ttl;
		out->secure = secure && !dns_is_error(out->status);
		if (!(q.info.flags & DNS_WIRE_ALIAS) || !dns_name_valid(out->canonical))
			return;
		q.name = out->canonical;
	}
	*out = (struct dns_answer){.status = DNS_SERVFAIL, .canonical = name};
}

static void client_free(struct dns_resolver *r)
{
	free(r);
}

struct dns_resolver *dns_client_new(const struct dns_client_options *options)
{
	struct client *c = mem_new(struct client);
	c->resolver = (struct dns_resolver){client_query, client_free};
	c->server_n = options->server_n < DNS_SERVERS_MAX ? options->server_n : DNS_SERVERS_MAX;
	memcpy(c->servers, options->servers, c->server_n * sizeof *c->servers);
	c->timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : TIMEOUT_MS;
	c->trust_ad = options->trust_ad;
	return &c->resolver;
}
