/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * A small line protocol on real loopback sockets and socket pairs. Its commands reach what net
 * promises: replies of all sizes, parks, deadlines, limits, STARTTLS, the pump.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "crypto/selfsigned.h"
#include "crypto/tls.h"
#include "net/net_int.h"

/* ---- the protocol ---- */

static struct tls_context *server_tls, *client_tls;
static atomic_int sessions, ended, blocked_now, blocked_most;
static struct conn *_Atomic waiting;
static int pump_fd = -1;

struct session {
	size_t big;
	char fill;
};

static void say(struct conn *c, const char *text)
{
	buf_add(conn_out(c), str_of(text));
}

static unsigned more_big(struct conn *c, struct session *s)
{
	while (s->big && conn_out_pending(c) < CONN_OUT_HIGH) {
		size_t n = s->big < 1000 ? s->big : 1000;
		memset(buf_room(conn_out(c), n), 'a' + s->fill, n);
		s->fill = (char)((s->fill + 1) % 26);
		conn_out(c)->n += n;
		s->big -= n;
	}
	if (s->big)
		return PARK_OUTPUT;
	say(c, "\n");
	return 0;
}

static unsigned file_reply(struct conn *c, size_t n)
{
	int fd = memfd_create("x", MFD_CLOEXEC);
	char block[4096];
	for (size_t at = 0; at < n; at += sizeof block) {
		memset(block, 'a' + (int)(at / sizeof block) % 26, sizeof block);
		if (write(fd, block, sizeof block) < 0)
			abort();
	}
	say(c, "<");
	conn_out_file(c, fd, 0, n);
	say(c, ">\n");
	return 0;
}

static void busy(struct conn *c, unsigned ms, bool marked)
{
	int now = atomic_fetch_add(&blocked_now, 1) + 1, most = atomic_load(&blocked_most);
	while (now > most && !atomic_compare_exchange_weak(&blocked_most, &most, now))
		;
	if (marked)
		net_block_begin(conn_net(c));
	usleep(ms * 1000);
	if (marked)
		net_block_end(conn_net(c));
	atomic_fetch_sub(&blocked_now, 1);
	say(c, "done\n");
}

static unsigned command(struct conn *c, struct session *s, struct str line)
{
	struct str word = str_cut(&line, ' ');
	uint64_t n = 0;
	(void)str_u64(line, UINT32_MAX, &n);
	if (str_eq(word, STR("echo"))) {
		buf_add(conn_out(c), line);
		say(c, "\n");
	} else if (str_eq(word, STR("who"))) {
		const struct conn_facts *f = conn_facts(c);
		buf_fmt(conn_out(c), "%.*s %u %.*s %.*s %d\n", STR_ARG(f->peer_text), f->peer_port,
			STR_ARG(f->service), STR_ARG(f->tls_version), f->proxied);
	} else if (str_eq(word, STR("big"))) {
		s->big = n;
		return more_big(c, s);
	} else if (str_eq(word, STR("file"))) {
		return file_reply(c, n);
	} else if (str_eq(word, STR("event"))) {
		atomic_store(&waiting, conn_ref(c));
		return PARK_EVENT;
	} else if (str_eq(word, STR("idle"))) {
		atomic_store(&waiting, conn_ref(c));
		return PARK_EVENT | PARK_INPUT;
	} else if (str_eq(word, STR("block")) || str_eq(word, STR("wait"))) {
		busy(c, (unsigned)n, str_eq(word, STR("wait")));
	} else if (str_eq(word, STR("deadline"))) {
		conn_deadline(c, (int64_t)n);
	} else if (str_eq(word, STR("rate"))) {
		conn_min_rate(c, (uint32_t)n);
	} else if (str_eq(word, STR("limit"))) {
		conn_input_limit(c, n);
	} else if (str_eq(word, STR("login"))) {
		conn_logged_in(c, line);
		say(c, "in\n");
	} else if (str_eq(word, STR("starttls"))) {
		say(c, "go\n");
		conn_start_tls(c, server_tls);
		return PARK_STARTTLS;
	} else if (str_eq(word, STR("pump"))) {
		conn_logged_in(c, STR_NONE);
		conn_pump_to(c, pump_fd, STR("lost\n"));
		return PARK_PUMP;
	} else if (str_eq(word, STR("quit"))) {
		say(c, "bye\n");
		return PARK_CLOSE;
	} else {
		say(c, "what\n");
	}
	return 0;
}

static unsigned commands(struct conn *c, struct session *s)
{
	for (;;) {
		struct str in = conn_input(c), line = in;
		size_t end = str_find_byte(in, '\n');
		if (end == STR_NPOS)
			return conn_eof(c) ? PARK_CLOSE : PARK_INPUT;
		line.n = end;
		char copy[256];
		line.n = line.n < sizeof copy ? line.n : sizeof copy;
		memcpy(copy, line.p, line.n);
		line.p = copy;
		conn_consume(c, end + 1);
		unsigned park = command(c, s, line);
		if (park)
			return park;
	}
}

static unsigned test_run(struct conn *c, enum wake wake)
{
	struct session *s = conn_session(c);
	unsigned park;
	if (!s) {
		atomic_fetch_add(&sessions, 1);
		conn_session_set(c, s = mem_new(struct session));
		say(c, "hi\n");
	}
	switch (wake) {
	case WAKE_GONE: return PARK_CLOSE;
	case WAKE_DEADLINE: say(c, "late\n"); return PARK_CLOSE;
	case WAKE_DRAIN: say(c, "drain\n"); return PARK_CLOSE;
	case WAKE_EVENT: say(c, "event\n"); break;
	case WAKE_OUTPUT:
		if ((park = more_big(c, s)))
			return park;
		break;
	case WAKE_START:
	case WAKE_INPUT: break;
	}
	return commands(c, s);
}

static void test_end(struct conn *c)
{
	atomic_fetch_add(&ended, 1);
	free(conn_session(c));
}

static const struct protocol test_protocol = {"test", test_run, test_end};

/* ---- a server and clients ---- */

static struct net *net;
static uint16_t port;

static int listener(uint16_t *out_port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(fd, 512), 0);
	getsockname(fd, (struct sockaddr *)&a, &len);
	*out_port = ntohs(a.sin_port);
	return fd;
}

static void serve(struct net_options o, struct net_listener l)
{
	struct err err = {0};
	if (!l.service)
		l.service = "test";
	l.protocol = &test_protocol;
	l.fd = listener(&port);
	atomic_store(&sessions, 0);
	atomic_store(&ended, 0);
	net = net_new(&o);
	assert_true(net_listen(net, &l, &err));
	assert_true(net_start(net, &err));
}

static void stop(void)
{
	net_free(net);
	assert_int_equal(atomic_load(&sessions), atomic_load(&ended));
	net = NULL;
}

static int dial(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				.sin_port = htons(port)};
	struct timeval t = {.tv_sec = 20};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	return fd;
}

static void put(int fd, const char *text)
{
	size_t n = strlen(text);
	assert_int_equal(send(fd, text, n, MSG_NOSIGNAL), n);
}

/* A line without its end; NULL at the end of file. */
static const char *line(int fd)
{
	static __thread char text[512];
	size_t n = 0;
	while (n < sizeof text - 1) {
		ssize_t got = recv(fd, text + n, 1, 0);
		if (got <= 0) {
			if (n == 0)
				return NULL;
			break;
		}
		if (text[n] == '\n')
			break;
		n++;
	}
	text[n] = 0;
	return text;
}

static void expect(int fd, const char *wanted)
{
	const char *got = line(fd);
	if (!got || !wanted) {
		if (got != wanted)
			fail_msg("got '%s', wanted '%s'", got ? got : "(end)", wanted ? wanted : "(end)");
	} else {
		assert_string_equal(got, wanted);
	}
}

static void talk(int fd, const char *text, const char *wanted)
{
	put(fd, text);
	expect(fd, wanted);
}

static void until_connections(unsigned n)
{
	struct net_counts counts;
	for (int i = 0; i < 2000; i++) {
		net_counts(net, &counts);
		if (counts.connections == n)
			return;
		usleep(5000);
	}
	fail_msg("%u connections, wanted %u", counts.connections, n);
}

/* ---- TLS client, blocking ---- */

struct tls_end {
	int fd;
	struct tls_session *s;
};

static bool tls_wait(struct tls_end *e, enum tls_result r)
{
	struct pollfd p = {.fd = e->fd, .events = r == TLS_WANT_WRITE ? POLLOUT : POLLIN};
	return (r == TLS_WANT_READ || r == TLS_WANT_WRITE) && poll(&p, 1, 20000) == 1;
}

static struct tls_end tls_dial(int fd)
{
	struct tls_end e = {fd, tls_session_new_client(client_tls, fd, STR("localhost"))};
	struct err err = {0};
	enum tls_result r;
	while ((r = tls_handshake(e.s, &err)) != TLS_OK)
		if (!tls_wait(&e, r))
			fail_msg("handshake: %s", err.cause);
	return e;
}

static void tls_put(struct tls_end *e, const char *text)
{
	struct err err = {0};
	size_t n = strlen(text), done;
	for (size_t at = 0; at < n;) {
		enum tls_result r = tls_write(e->s, text + at, n - at, &done, &err);
		if (r == TLS_OK)
			at += done;
		else if (!tls_wait(e, r))
			fail_msg("tls write: %s", err.cause);
	}
}

/* Exactly n bytes; false: the end. */
static bool tls_get(struct tls_end *e, char *p, size_t n)
{
	struct err err = {0};
	size_t done;
	for (size_t at = 0; at < n;) {
		enum tls_result r = tls_read(e->s, p + at, n - at, &done, &err);
		if (r == TLS_OK)
			at += done;
		else if (r == TLS_CLOSED || r == TLS_FAILED)
			return false;
		else if (!tls_wait(e, r))
			fail_msg("tls read: nothing comes");
	}
	return true;
}

static void tls_expect(struct tls_end *e, const char *wanted)
{
	char got[256] = "";
	size_t n = 0;
	while (n < sizeof got - 1 && tls_get(e, got + n, 1) && got[n] != '\n')
		n++;
	got[n] = 0;
	assert_string_equal(got, wanted ? wanted : "");
}

static void tls_hang_up(struct tls_end *e)
{
	tls_session_free(e->s);
	close(e->fd);
}

/* ---- plain ---- */

static void lines_and_pipelines(void **state)
{
	serve((struct net_options){0}, (struct net_listener){0});
	int fd = dial();
	expect(fd, "hi");
	talk(fd, "echo one\n", "one");
	put(fd, "echo a\necho b\necho c\nec");
	expect(fd, "a");
	expect(fd, "b");
	expect(fd, "c");
	talk(fd, "ho d\n", "d");
	talk(fd, "quit\necho never\n", "bye");
	expect(fd, NULL);
	close(fd);
	until_connections(0);
	stop();
}

static void half_close(void **state)
{
	serve((struct net_options){0}, (struct net_listener){0});
	int fd = dial();
	put(fd, "echo last\n");
	shutdown(fd, SHUT_WR);
	expect(fd, "hi");
	expect(fd, "last");
	expect(fd, NULL);
	close(fd);
	until_connections(0);
	stop();
}

static void big_replies(void **state)
{
	static char got[1 << 16];
	size_t total = 0, wanted = 5000000;
	serve((struct net_options){0}, (struct net_listener){0});
	int fd = dial();
	expect(fd, "hi");
	put(fd, "big 5000000\necho after\n");
	usleep(50000); /* it fills all buffers and parks */
	while (total < wanted) {
		ssize_t n = recv(fd, got, wanted - total < sizeof got ? wanted - total : sizeof got, 0);
		assert_true(n > 0);
		for (ssize_t i = 0; i < n; i++)
			if (got[i] != 'a' + (char)((total + (size_t)i) / 1000 % 26))
				fail_msg("byte %zu is %c", total + (size_t)i, got[i]);
		total += (size_t)n;
	}
	expect(fd, "");
	expect(fd, "after");
	close(fd);
	stop();
}

static void check_file(const char *p, size_t n, size_t at)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != 'a' + (int)((at + i) / 4096) % 26)
			fail_msg("byte %zu is %c", at + i, p[i]);
}

static void file_replies(void **state)
{
	static char got[1 << 16];
	size_t total = 0, wanted = 3000000;
	serve((struct net_options){0}, (struct net_listener){0});
	int fd = dial();
	expect(fd, "hi");
	put(fd, "echo x\nfile 3000000\nfile 0\necho y\n");
	expect(fd, "x");
	assert_int_equal(recv(fd, got, 1, 0), 1);
	assert_int_equal(got[0], '<');
	while (total < wanted) {
		ssize_t n = recv(fd, got, wanted - total < sizeof got ? wanted - total : sizeof got, 0);
		assert_true(n > 0);
		check_file(got, (size_t)n, total);
		total += (size_t)n;
	}
	expect(fd, ">");
	expect(fd, "<>");
	expect(fd, "y");
	close(fd);
	stop();
}

static void input_limit(void **state)
{
	static char text[40000];
	serve((struct net_options){0}, (struct net_listener){0});
	int fd = dial();
	expect(fd, "hi");
	memset(text, 'x', sizeof text - 1);
	put(fd, "deadline 300\n");
	put(fd, text); /* no end of line within the limit: it stays at 16 KiB until the deadline */
	expect(fd, "late");
	close(fd);
	fd = dial();
	expect(fd, "hi");
	put(fd, "limit 100000\necho ");
	put(fd, text);
	put(fd, "\n");
	for (size_t i = 0; i < 251; i++)
		assert_int_equal(recv(fd, text, 1, 0), 1);
	close(fd);
	stop();
}

/* ---- events, deadlines, rates ---- */

static void wake_waiting(void)
{
	struct conn *c;
	while (!(c = atomic_exchange(&waiting, NULL)))
		usleep(1000);
	conn_wake(c);
	conn_unref(c);
}

static void events(void **state)
{
	serve((struct net_options){0}, (struct net_listener){0});
	int fd = dial();
	expect(fd, "hi");
	put(fd, "event\necho after\n");
	wake_waiting();
	expect(fd, "event");
	expect(fd, "after");
	put(fd, "idle\n");
	wake_waiting();
	expect(fd, "event");
	talk(fd, "echo still\n", "still");
	put(fd, "idle\n");
	while (!atomic_load(&waiting))
		usleep(1000);
	talk(fd, "echo input\n", "input");
	/* The connection has gone when the news comes. */
	close(fd);
	until_connections(0);
	wake_waiting();
	stop();
}

static void deadlines(void **state)
{
	serve((struct net_options){0}, (struct net_listener){0});
	int fd = dial();
	expect(fd, "hi");
	int64_t begin = clock_mono_ms();
	put(fd, "deadline 200\n");
	expect(fd, "late");
	int64_t took = clock_mono_ms() - begin;
	assert_in_range(took, 199, 5000);
	expect(fd, NULL);
	close(fd);
	fd = dial();
	expect(fd, "hi");
	put(fd, "deadline 150\n");
	usleep(100000);
	talk(fd, "deadline 2000\necho on\n", "on"); /* moved on */
	usleep(150000);
	talk(fd, "echo still\n", "still");
	put(fd, "deadline 50\n"); /* and back: before what the wheel holds */
	expect(fd, "late");
	close(fd);
	stop();
}

static void least_rate(void **state)
{
	serve((struct net_options){.rate_window_ms = 300}, (struct net_listener){0});
	int slow = dial(), quick = dial();
	expect(slow, "hi");
	expect(quick, "hi");
	put(slow, "rate 1000\n");
	put(quick, "rate 100\n");
	for (int i = 0; i < 12; i++) {
		put(slow, "x");
		put(quick, "xxxxxxxxxxxxxxxxxxxxxx");
		usleep(50000);
		struct pollfd p = {.fd = slow, .events = POLLIN};
		if (poll(&p, 1, 0) == 1)
			break;
	}
	expect(slow, "late");
	talk(quick, "\n", "what");
	close(slow);
	close(quick);
	stop();
}

static void stalled_reader(void **state)
{
	serve((struct net_options){.stall_ms = 300}, (struct net_listener){0});
	int fd = dial();
	expect(fd, "hi");
	put(fd, "big 50000000\n");
	until_connections(0); /* nobody reads */
	close(fd);
	stop();
}

/* ---- limits ---- */

static void per_source(void **state)
{
	serve((struct net_options){0}, (struct net_listener){.per_source_max = 2, .busy_text = "busy\n"});
	int a = dial(), b = dial();
	expect(a, "hi");
	expect(b, "hi");
	int c = dial();
	expect(c, "busy");
	expect(c, NULL);
	close(c);
	close(a);
	until_connections(1);
	c = dial();
	expect(c, "hi");
	close(b);
	close(c);
	stop();
	serve((struct net_options){0}, (struct net_listener){.per_source_rate = 3, .busy_text = "busy\n"});
	for (int i = 0; i < 5; i++) {
		a = dial();
		expect(a, i < 3 ? "hi" : "busy");
		close(a);
	}
	struct net_counts counts;
	net_counts(net, &counts);
	assert_int_equal(counts.accepted, 5);
	assert_int_equal(counts.refused, 2);
	stop();
}

static void eviction(void **state)
{
	serve((struct net_options){.max_connections = 3}, (struct net_listener){.busy_text = "busy\n"});
	int a = dial(), b = dial(), c = dial();
	expect(a, "hi");
	talk(a, "login a\n", "in");
	expect(b, "hi");
	expect(c, "hi");
	int d = dial(); /* b is the oldest before login */
	expect(d, "hi");
	expect(b, "busy");
	expect(b, NULL);
	until_connections(3);
	talk(a, "echo a\n", "a");
	talk(c, "login c\n", "in");
	talk(d, "login d\n", "in");
	int e = dial(); /* nobody to evict */
	expect(e, "busy");
	expect(e, NULL);
	talk(d, "echo d\n", "d");
	close(a), close(b), close(c), close(d), close(e);
	stop();
}

static void out_of_descriptors(void **state)
{
	struct rlimit was, few;
	serve((struct net_options){0}, (struct net_listener){.busy_text = "busy\n"});
	int a = dial(), b = dial();
	expect(a, "hi");
	expect(b, "hi");
	int next = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	getrlimit(RLIMIT_NOFILE, &was);
	few = was;
	few.rlim_cur = (rlim_t)next + 1;
	setrlimit(RLIMIT_NOFILE, &few);
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				 .sin_port = htons(port)};
	assert_int_equal(connect(next, (struct sockaddr *)&to, sizeof to), 0);
	expect(next, "busy");
	expect(a, "busy"); /* the oldest makes room for the next one */
	setrlimit(RLIMIT_NOFILE, &was);
	close(next);
	next = dial();
	expect(next, "hi");
	talk(b, "echo b\n", "b");
	close(a), close(b), close(next);
	stop();
}

static void shares(void **state)
{
	enum { CLIENTS = 12 };
	int fd[CLIENTS];
	/* 8 workers: before login 4, one network 2; loopback is one network */
	serve((struct net_options){.workers = 8, .workers_max = 8}, (struct net_listener){0});
	for (int i = 0; i < CLIENTS; i++) {
		fd[i] = dial();
		expect(fd[i], "hi");
	}
	atomic_store(&blocked_most, 0);
	for (int i = 0; i < CLIENTS; i++)
		put(fd[i], "block 30\n");
	for (int i = 0; i < CLIENTS; i++)
		expect(fd[i], "done");
	assert_in_range(atomic_load(&blocked_most), 1, 2);
	for (int i = 0; i < CLIENTS; i++)
		close(fd[i]);
	stop();
}

static void waiting_workers_are_replaced(void **state)
{
	enum { CLIENTS = 6 };
	int fd[CLIENTS];
	/* adopted pairs have no network; 2 workers, all marked as waiting */
	serve((struct net_options){.workers = 2, .workers_max = 20}, (struct net_listener){0});
	for (int i = 0; i < CLIENTS; i++) {
		int pair[2];
		struct err err = {0};
		struct timeval t = {.tv_sec = 20};
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
		setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
		assert_true(net_adopt(net, pair[1], &test_protocol, NULL, NULL, STR("wait 400\n"),
				      STR_NONE, &err));
		fd[i] = pair[0];
	}
	int64_t begin = clock_mono_ms();
	for (int i = 0; i < CLIENTS; i++) {
		expect(fd[i], "hi");
		expect(fd[i], "done");
		close(fd[i]);
	}
	assert_in_range(clock_mono_ms() - begin, 350, 1100);
	stop();
}

/* Workers that wait unmarked hold up nobody for long, even if nothing happens on the event thread. */
static void unmarked_waits(void **state)
{
	enum { CLIENTS = 12 };
	int fd[CLIENTS];
	serve((struct net_options){.workers = 32}, (struct net_listener){0});
	for (int i = 0; i < CLIENTS; i++) {
		int pair[2];
		struct err err = {0};
		struct timeval t = {.tv_sec = 20};
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
		setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
		assert_true(net_adopt(net, pair[1], &test_protocol, NULL, NULL, STR("block 1500\n"),
				      STR_NONE, &err));
		fd[i] = pair[0];
	}
	int64_t begin = clock_mono_ms();
	for (int i = 0; i < CLIENTS; i++) {
		expect(fd[i], "hi");
		expect(fd[i], "done");
		close(fd[i]);
	}
	assert_in_range(clock_mono_ms() - begin, 1400, 2900);
	stop();
}

/* ---- PROXY ---- */

static void proxied(void **state)
{
	struct net_network from = {
		.addr = {.addr.v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000000)},
			 .len = sizeof(struct sockaddr_in)},
		.prefix = 8};
	serve((struct net_options){.proxy_ms = 300}, (struct net_listener){.proxy_from = {&from, 1},
									   .per_source_max = 1,
									   .busy_text = "busy\n"});
	int a = dial();
	put(a, "PROXY TCP4 192.0.2.7 192.0.2.1 999 25\r\nwho\n");
	expect(a, "hi");
	expect(a, "192.0.2.7 999 test  1");
	int b = dial(); /* in pieces */
	put(b, "PRO");
	usleep(20000);
	put(b, "XY TCP6 2001:db8::1 ::1 1 2");
	usleep(20000);
	put(b, "\r\nwho\n");
	expect(b, "hi");
	expect(b, "2001:db8::1 1 test  1");
	int c = dial(); /* limits are those of the told address */
	put(c, "PROXY TCP4 192.0.2.7 192.0.2.1 998 25\r\n");
	expect(c, "busy");
	int d = dial();
	put(d, "echo x\n");
	expect(d, NULL);
	int e = dial(); /* silent, and one that stops half-way */
	int f = dial();
	put(f, "PROXY TC");
	expect(e, NULL);
	expect(f, NULL);
	close(a), close(b), close(c), close(d), close(e), close(f);
	stop();
}

/* ---- TLS ---- */

static void implicit_tls(void **state)
{
	static char got[100000];
	serve((struct net_options){0}, (struct net_listener){.implicit_tls = server_tls});
	struct tls_end e = tls_dial(dial());
	tls_expect(&e, "hi");
	tls_put(&e, "who\n");
	char who[64];
	size_t n = 0;
	while (tls_get(&e, who + n, 1) && who[n] != '\n')
		n++;
	who[n] = 0;
	assert_non_null(strstr(who, "TLSv1.3"));
	tls_put(&e, "echo a\necho b\nfile 100000\nbig 100000\n");
	tls_expect(&e, "a");
	tls_expect(&e, "b");
	assert_true(tls_get(&e, got, 1));
	assert_true(tls_get(&e, got, 100000));
	check_file(got, 100000, 0);
	tls_expect(&e, ">");
	assert_true(tls_get(&e, got, 100000));
	tls_expect(&e, "");
	tls_put(&e, "quit\n");
	tls_expect(&e, "bye");
	tls_expect(&e, NULL);
	tls_hang_up(&e);
	until_connections(0);
	stop();
}

static void large_replies_tls(void **state)
{
	size_t n = 4000000;
	char *got = mem_alloc(n);
	serve((struct net_options){0}, (struct net_listener){.implicit_tls = server_tls});
	struct tls_end e = tls_dial(dial());
	tls_expect(&e, "hi");
	tls_put(&e, "file 4000000\nbig 4000000\n");
	usleep(50000);
	assert_true(tls_get(&e, got, 1));
	assert_true(tls_get(&e, got, n));
	check_file(got, n, 0);
	tls_expect(&e, ">");
	assert_true(tls_get(&e, got, n));
	tls_expect(&e, "");
	tls_hang_up(&e);
	free(got);
	stop();
}

static void starttls(void **state)
{
	serve((struct net_options){0}, (struct net_listener){0});
	int fd = dial();
	expect(fd, "hi");
	put(fd, "starttls\necho injected\n"); /* RFC 3207 4.2, CVE-2011-0411 */
	expect(fd, "go");
	struct tls_end e = tls_dial(fd);
	tls_put(&e, "echo mine\n");
	tls_expect(&e, "mine");
	tls_put(&e, "quit\n");
	tls_expect(&e, "bye");
	tls_hang_up(&e);
	stop();
}

static void unfinished_hellos(void **state)
{
	serve((struct net_options){.handshake_ms = 400}, (struct net_listener){.implicit_tls = server_tls});
	int silent = dial(), three = dial(), garbage = dial(), ended_early = dial();
	put(three, "\x16\x03\x01");
	put(garbage, "EHLO x\r\n");
	expect(garbage, NULL);
	assert_int_equal(send(ended_early, "\x16\x03\x01\x02\x00\x01", 6, 0), 6);
	shutdown(ended_early, SHUT_WR);
	expect(ended_early, NULL);
	expect(silent, NULL);
	expect(three, NULL);
	close(silent), close(three), close(garbage), close(ended_early);
	assert_int_equal(atomic_load(&sessions), 0);
	until_connections(0);
	stop();
}

/* A hello in pieces is put together by the kernel. */
static void slow_hello(void **state)
{
	int pair[2];
	char hello[4096];
	serve((struct net_options){0}, (struct net_listener){.implicit_tls = server_tls});
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	struct tls_session *s = tls_session_new_client(client_tls, pair[0], STR("localhost"));
	struct err err = {0};
	assert_int_equal(tls_handshake(s, &err), TLS_WANT_READ);
	ssize_t n = recv(pair[1], hello, sizeof hello, 0);
	assert_true(n > 100);
	int fd = dial();
	for (ssize_t i = 0; i < n; i += n / 5 + 1) {
		size_t piece = (size_t)(n - i < n / 5 + 1 ? n - i : n / 5 + 1);
		assert_int_equal(send(fd, hello + i, piece, 0), piece);
		usleep(10000);
	}
	char answer[5];
	assert_int_equal(recv(fd, answer, 5, MSG_WAITALL), 5);
	assert_int_equal(answer[0], 22);
	tls_session_free(s);
	close(pair[0]), close(pair[1]), close(fd);
	stop();
}

/* ---- hand-over and pump ---- */

/* The mailbox process: here another net in the same process. */
static void pumped_session(struct tls_end *e, int fd)
{
	if (e) {
		tls_put(e, "echo far\n");
		tls_expect(e, "far");
		return;
	}
	talk(fd, "echo far\n", "far");
}

static struct net *mailbox_net(int fd)
{
	struct net *far = net_new(&(struct net_options){0});
	struct err err = {0};
	assert_true(net_start(far, &err));
	struct conn_facts facts = {
		.peer_text = STR("x"), .tls_version = STR("TLSv1.3"), .service = STR("imap")};
	assert_true(net_adopt(far, fd, &test_protocol, NULL, &facts, STR("echo first\n"), STR("a@b"), &err));
	return far;
}

static void pump_tls(void **state)
{
	int pair[2];
	static char got[1000000];
	serve((struct net_options){0}, (struct net_listener){0});
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	pump_fd = pair[0];
	struct net *far = mailbox_net(pair[1]);
	int fd = dial();
	expect(fd, "hi");
	put(fd, "starttls\n");
	expect(fd, "go");
	struct tls_end e = tls_dial(fd);
	tls_put(&e, "pump\n");
	tls_expect(&e, "hi");
	tls_expect(&e, "first");
	pumped_session(&e, -1);
	tls_put(&e, "file 1000000\n");
	assert_true(tls_get(&e, got, 1));
	assert_true(tls_get(&e, got, 1000000));
	check_file(got, 1000000, 0);
	tls_expect(&e, ">");
	/* a large command upwards */
	memset(got, 'x', 15000);
	got[15000] = 0;
	tls_put(&e, "echo ");
	tls_put(&e, got);
	tls_put(&e, "\n");
	assert_true(tls_get(&e, got, 251));
	struct net_counts counts;
	net_counts(net, &counts);
	assert_int_equal(counts.pumps, 1);
	tls_put(&e, "\nquit\n");
	char last[64];
	bool bye = false;
	for (size_t n = 0; n < sizeof last - 1 && tls_get(&e, last + n, 1);) {
		if (last[n++] != '\n')
			continue;
		last[n] = 0;
		bye = strcmp(last, "bye\n") == 0 || bye;
		assert_null(strstr(last, "lost"));
		n = 0;
	}
	assert_true(bye);
	tls_hang_up(&e);
	until_connections(0);
	net_free(far);
	stop();
}

static void pump_half_close(void **state)
{
	int pair[2];
	serve((struct net_options){0}, (struct net_listener){0});
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	pump_fd = pair[0];
	struct net *far = mailbox_net(pair[1]);
	int fd = dial();
	expect(fd, "hi");
	put(fd, "pump\n");
	expect(fd, "hi");
	expect(fd, "first");
	put(fd, "big 3000000\necho end\n");
	shutdown(fd, SHUT_WR);
	usleep(50000);
	size_t total = 0;
	char got[4096];
	ssize_t n;
	while ((n = recv(fd, got, sizeof got, 0)) > 0)
		total += (size_t)n;
	assert_int_equal(total, 3000000 + 1 + 4);
	close(fd);
	until_connections(0);
	net_free(far);
	stop();
}

/* The client goes: the session over there sees the end. */
static void pump_client_gone(void **state)
{
	int pair[2];
	serve((struct net_options){0}, (struct net_listener){0});
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	pump_fd = pair[0];
	struct net *far = mailbox_net(pair[1]);
	int fd = dial();
	expect(fd, "hi");
	put(fd, "pump\n");
	expect(fd, "hi");
	expect(fd, "first");
	struct linger reset = {.l_onoff = 1};
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	close(fd);
	until_connections(0);
	struct net_counts counts;
	do
		net_counts(far, &counts);
	while (counts.connections);
	net_free(far);
	stop();
}

static const struct {
	const char *name;
	bool orderly, unread;
	const char *last;
} ends[] = {
	{"orderly end", true, false, "from mailbox"},
	{"died", false, false, "lost"},
	{"died with unread input", false, true, "lost"},
};

static void pump_ends(void **state)
{
	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
		int pair[2];
		serve((struct net_options){0}, (struct net_listener){0});
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
		pump_fd = pair[0];
		fcntl(pair[0], F_SETFL, O_NONBLOCK);
		int fd = dial();
		expect(fd, "hi");
		put(fd, "pump\n");
		put(pair[1], "from mailbox\n");
		expect(fd, "from mailbox");
		if (ends[i].unread) {
			char c;
			put(fd, "never read\n");
			assert_int_equal(recv(pair[1], &c, 1, MSG_PEEK), 1);
		}
		if (ends[i].orderly)
			shutdown(pair[1], SHUT_WR);
		else
			close(pair[1]);
		expect(fd, ends[i].orderly ? NULL : "lost");
		expect(fd, NULL);
		if (ends[i].orderly) {
			char c; /* and only now it may close */
			assert_int_equal(recv(pair[1], &c, 1, 0), 0);
			close(pair[1]);
		}
		close(fd);
		until_connections(0);
		stop();
	}
}

/* ---- the rest ---- */

static void drain(void **state)
{
	serve((struct net_options){0}, (struct net_listener){0});
	int fd = dial();
	expect(fd, "hi");
	net_drain(net);
	expect(fd, "drain");
	expect(fd, NULL);
	close(fd);
	until_connections(0);
	stop();
}

/* A listener that changed: the same socket, other facts; then one that goes. */
static void listen_again_and_no_more(void **state)
{
	int a, b;
	struct err err = {0};
	struct net_listener second = {.service = "second", .protocol = &test_protocol, .listener = &b};
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	serve((struct net_options){0}, (struct net_listener){.service = "first", .listener = &a});
	int one = dial();
	expect(one, "hi");
	second.fd = dup(net->listening->watch.fd);
	second.arena = arena_new();
	second.service = arena_cstr(second.arena, STR("second"));
	assert_true(net_listen(net, &second, &err));
	net_unlisten(net, &a, false);
	for (int i = 0; i < 200; i++) { /* until the first has gone, either takes it */
		int other = dial();
		expect(other, "hi");
		put(other, "who\n");
		bool taken = strstr(line(other), "second") != NULL;
		close(other);
		if (taken)
			break;
		assert_true(i < 199);
	}
	talk(one, "echo still here\n", "still here");
	int two = dial();
	expect(two, "hi");
	net_unlisten(net, &b, true);
	expect(two, "drain");
	expect(two, NULL);
	talk(one, "echo still here\n", "still here");
	int late = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	to.sin_port = htons(port);
	assert_int_equal(connect(late, (struct sockaddr *)&to, sizeof to), -1);
	close(late);
	close(one);
	close(two);
	until_connections(0);
	stop();
}

static void free_with_open_sessions(void **state)
{
	int fd[20];
	serve((struct net_options){0}, (struct net_listener){0});
	for (int i = 0; i < 20; i++)
		fd[i] = dial();
	expect(fd[19], "hi");
	stop();
	for (int i = 0; i < 20; i++)
		close(fd[i]);
}

static atomic_int ticks, ran, watched;
static void tick(void *ctx) { atomic_fetch_add(&ticks, 1); }
static void run_once(void *ctx) { atomic_fetch_add(&ran, 1); }
static void on_readable(void *ctx)
{
	char c;
	if (read(*(int *)ctx, &c, 1) == 1)
		atomic_fetch_add(&watched, 1);
}

static void timers_jobs_watches(void **state)
{
	struct err err = {0};
	int p[2];
	serve((struct net_options){.event_threads = 2}, (struct net_listener){0});
	assert_int_equal(pipe(p), 0);
	net_timer(net, 20, tick, NULL);
	net_run(net, run_once, NULL);
	assert_true(net_watch(net, p[0], on_readable, &p[0], &err));
	assert_int_equal(write(p[1], "abc", 3), 3);
	while (atomic_load(&ticks) < 3 || atomic_load(&ran) < 1 || atomic_load(&watched) < 3)
		usleep(1000);
	net_unwatch(net, p[0]);
	assert_int_equal(write(p[1], "d", 1), 1);
	usleep(30000);
	assert_int_equal(atomic_load(&watched), 3);
	close(p[0]), close(p[1]);
	stop();
}

static void networks(void **state)
{
	static const struct { const char *net; unsigned prefix; const char *ip; bool in; } cases4[] = {
		{"10.0.0.0", 8, "10.255.0.1", true}, {"10.0.0.0", 8, "11.0.0.1", false},
		{"192.0.2.128", 25, "192.0.2.200", true}, {"192.0.2.128", 25, "192.0.2.1", false},
		{"0.0.0.0", 0, "203.0.113.1", true}, {"2001:db8::", 33, "2001:db8:7fff::1", true},
		{"2001:db8::", 33, "2001:db8:8000::1", false}, {"10.0.0.0", 8, "::ffff:10.1.1.1", true},
		{"::", 0, "10.0.0.1", true}, {"0.0.0.0", 0, "2001:db8::1", false},
	};
	for (size_t i = 0; i < sizeof cases4 / sizeof *cases4; i++) {
		struct conn_addr a[2] = {0};
		const char *text[2] = {cases4[i].net, cases4[i].ip};
		for (int k = 0; k < 2; k++) {
			bool six = strchr(text[k], ':') != NULL;
			a[k].len = six ? sizeof a[k].addr.v6 : sizeof a[k].addr.v4;
			a[k].addr.sa.sa_family = six ? AF_INET6 : AF_INET;
			inet_pton(six ? AF_INET6 : AF_INET, text[k],
				  six ? (void *)&a[k].addr.v6.sin6_addr : (void *)&a[k].addr.v4.sin_addr);
		}
		struct net_network n = {a[0], cases4[i].prefix};
		if (net_networks_have((struct net_networks){&n, 1}, &a[1]) != cases4[i].in)
			fail_msg("%s/%u %s", cases4[i].net, cases4[i].prefix, cases4[i].ip);
	}
}

/* Many clients at once, with everything mixed: for the sanitizers. */
static void *client_main(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;
	for (int round = 0; round < 6; round++) {
		int fd = dial();
		expect(fd, "hi");
		for (int i = 0; i < 30; i++) {
			char text[64], wanted[32];
			snprintf(wanted, sizeof wanted, "%u-%d-%d", seed, round, i);
			snprintf(text, sizeof text, "deadline 20000\necho %s\n", wanted);
			put(fd, text);
			char got[64];
			size_t n = 0;
			while (n < sizeof got - 1 && recv(fd, got + n, 1, 0) == 1 && got[n] != '\n')
				n++;
			got[n] = 0;
			assert_string_equal(got, wanted);
		}
		close(fd);
	}
	return NULL;
}

static void crowd(void **state)
{
	pthread_t t[8];
	serve((struct net_options){.event_threads = 2}, (struct net_listener){0});
	for (uintptr_t i = 0; i < 8; i++)
		pthread_create(&t[i], NULL, client_main, (void *)i);
	for (int i = 0; i < 8; i++)
		pthread_join(t[i], NULL);
	until_connections(0);
	stop();
}

static void small_when_parked(void **state)
{
	assert_in_range(sizeof(struct conn), 1, 512);
	serve((struct net_options){0}, (struct net_listener){0});
	int fd[50];
	for (int i = 0; i < 50; i++) {
		fd[i] = dial();
		expect(fd[i], "hi");
		talk(fd[i], "echo x\n", "x");
	}
	struct net_counts counts;
	do
		net_counts(net, &counts);
	while (counts.parked != 50);
	/* What they hold in buffers: nothing. */
	assert_int_equal(atomic_load(&net->io_bytes), 0);
	lock_take(&net->cache_lock);
	unsigned cached = net->cached;
	lock_drop(&net->cache_lock);
	assert_in_range(cached, 1, IO_CACHE);
	for (int i = 0; i < 50; i++)
		close(fd[i]);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_and_pipelines),
		cmocka_unit_test(half_close),
		cmocka_unit_test(big_replies),
		cmocka_unit_test(file_replies),
		cmocka_unit_test(input_limit),
		cmocka_unit_test(events),
		cmocka_unit_test(deadlines),
		cmocka_unit_test(least_rate),
		cmocka_unit_test(stalled_reader),
		cmocka_unit_test(per_source),
		cmocka_unit_test(eviction),
		cmocka_unit_test(out_of_descriptors),
		cmocka_unit_test(shares),
		cmocka_unit_test(waiting_workers_are_replaced), cmocka_unit_test(unmarked_waits),
		cmocka_unit_test(proxied),
		cmocka_unit_test(implicit_tls),
		cmocka_unit_test(large_replies_tls),
		cmocka_unit_test(starttls),
		cmocka_unit_test(unfinished_hellos),
		cmocka_unit_test(slow_hello),
		cmocka_unit_test(pump_tls),
		cmocka_unit_test(pump_half_close),
		cmocka_unit_test(pump_client_gone),
		cmocka_unit_test(pump_ends),
		cmocka_unit_test(drain),
		cmocka_unit_test(listen_again_and_no_more),
		cmocka_unit_test(free_with_open_sessions),
		cmocka_unit_test(timers_jobs_watches),
		cmocka_unit_test(networks),
		cmocka_unit_test(crowd),
		cmocka_unit_test(small_when_parked),
	};
	struct err err = {0};
	struct buf key = {0}, cert = {0};
	struct str name = STR("localhost");
	signal(SIGPIPE, SIG_IGN);
	log_init("test", LOG_ERROR);
	tls_init();
	if (!selfsigned_make(&name, 1, &key, &cert, &err))
		return 1;
	struct tls_chain chain = {.cert_pem = buf_str(&cert), .key_pem = buf_str(&key)};
	if (!tls_context_server(&(struct tls_server_settings){.chains = &chain,
							      .chain_count = 1,
							      .door = STR("test")},
				&server_tls, &err) ||
	    !tls_context_client(&(struct tls_client_settings){0}, &client_tls, &err)) {
		fprintf(stderr, "%s: %s\n", err.text, err.cause);
		return 1;
	}
	int result = cmocka_run_group_tests(tests, NULL, NULL);
	tls_context_unref(server_tls);
	tls_context_unref(client_tls);
	buf_free(&key);
	buf_free(&cert);
	return result;
}
