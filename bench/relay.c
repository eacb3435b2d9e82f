/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * bench/relay.c: mail submitted with TLS and a login, to other servers: here one that takes everything.
 * The clock runs from the first MAIL until the last recipient has arrived; what came is kept and
 * compared afterwards, so that comparing costs nothing meanwhile.
 *
 * Message i goes to RCPTS recipients r0, r1 ... in domain d(i % DOMAINS).test. DEAD of the domains, the
 * last ones, are called dead(i % DOMAINS).test and have no server: those messages never arrive.
 */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SINK_THREADS = 2, SINK_ROOM = 64 * 1024, EVENTS = 64, RCPTS_MAX = 1000 };

struct relay_run {
	const char *host, *port, *seed, *user, *password;
	unsigned sessions, messages, rcpts, domains, dead;
	size_t size;
	atomic_uint next;
	pthread_barrier_t connected, start, sent;
	/* the sink */
	int listener;
	atomic_uint arrived, wanted; /* recipients */
	struct arrival *_Atomic arrivals;
	pthread_mutex_t lock;
	pthread_cond_t all;
};

struct arrival { /* one transaction at the sink */
	struct arrival *next;
	unsigned rcpt_n;
	unsigned short *rcpt;
	size_t n;
	char text[];
};

/* ---- the sink ---------------------------------------------------------------------------- */

struct sink_peer {
	int fd;
	bool in_data;
	size_t n, searched;
	char *in;
	size_t room;
	unsigned rcpt_n;
	unsigned short rcpt[RCPTS_MAX];
};

static void sink_say(struct sink_peer *p, const char *text)
{
	size_t n = strlen(text);
	if (send(p->fd, text, n, MSG_NOSIGNAL) != (ssize_t)n)
		die("sink: write failed: %s", strerror(errno));
}

static void sink_take(struct relay_run *r, struct sink_peer *p, size_t n)
{
	struct arrival *a = malloc(sizeof *a + n + 1 + p->rcpt_n * sizeof *a->rcpt + 2);
	a->n = n;
	memcpy(a->text, p->in, n);
	a->text[n] = 0;
	a->rcpt = (unsigned short *)(void *)(a->text + ((n + 2) & ~(size_t)1));
	a->rcpt_n = p->rcpt_n;
	memcpy(a->rcpt, p->rcpt, p->rcpt_n * sizeof *a->rcpt);
	a->next = atomic_load(&r->arrivals);
	while (!atomic_compare_exchange_weak(&r->arrivals, &a->next, a))
		;
	if (atomic_fetch_add(&r->arrived, p->rcpt_n) + p->rcpt_n < r->wanted)
		return;
	pthread_mutex_lock(&r->lock);
	pthread_cond_signal(&r->all);
	pthread_mutex_unlock(&r->lock);
}

/* Replies to one command; their text is put together by the caller. */
static void sink_command(struct sink_peer *p, const char *line, char *replies)
{
	const char *reply = "250 2.0.0 ok\r\n";
	if (!strncasecmp(line, "EHLO", 4))
		reply = "250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE 50000000\r\n250 DSN\r\n";
	else if (!strncasecmp(line, "MAIL", 4))
		p->rcpt_n = 0;
	else if (!strncasecmp(line, "RCPT TO:<r", 10) && p->rcpt_n < RCPTS_MAX)
		p->rcpt[p->rcpt_n++] = (unsigned short)strtoul(line + 10, NULL, 10);
	else if (!strncasecmp(line, "DATA", 4)) {
		reply = "354 go\r\n";
		p->in_data = true;
	} else if (!strncasecmp(line, "QUIT", 4))
		reply = "221 2.0.0 bye\r\n";
	strcat(replies, reply);
}

static void sink_drop(struct sink_peer *p, size_t n)
{
	memmove(p->in, p->in + n, p->n - n);
	p->n -= n;
	p->searched = 0;
}

/* What is there of commands and content. */
static void sink_work(struct relay_run *r, struct sink_peer *p)
{
	static const char end[] = "\r\n.\r\n";
	char replies[RCPTS_MAX * 16 + 512] = "";
	while (p->n) {
		if (p->in_data) {
			size_t from = p->searched > 4 ? p->searched - 4 : 0;
			char *at = memmem(p->in + from, p->n - from, end, 5);
			if (!at) {
				p->searched = p->n;
				break;
			}
			size_t n = (size_t)(at - p->in) + 2;
			sink_take(r, p, n);
			sink_drop(p, n + 3);
			p->in_data = false;
			strcat(replies, "250 2.0.0 taken\r\n");
			continue;
		}
		char *lf = memchr(p->in, '\n', p->n);
		if (!lf)
			break;
		*lf = 0;
		sink_command(p, p->in, replies);
		sink_drop(p, (size_t)(lf + 1 - p->in));
	}
	if (*replies)
		sink_say(p, replies);
}

static void *sink_main(void *arg)
{
	struct relay_run *r = arg;
	int ep = epoll_create1(0);
	struct epoll_event e = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.ptr = NULL}, got[EVENTS];
	epoll_ctl(ep, EPOLL_CTL_ADD, r->listener, &e);
	for (;;) {
		int n = epoll_wait(ep, got, EVENTS, -1);
		for (int k = 0; k < n; k++) {
			struct sink_peer *p = got[k].data.ptr;
			if (!p) {
				int fd = accept4(r->listener, NULL, NULL, 0);
				if (fd < 0)
					continue;
				p = calloc(1, sizeof *p);
				p->fd = fd;
				p->in = malloc(p->room = SINK_ROOM);
				e = (struct epoll_event){.events = EPOLLIN, .data.ptr = p};
				epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
				sink_say(p, "220 sink.test ESMTP\r\n");
				continue;
			}
			if (p->n == p->room)
				p->in = realloc(p->in, p->room *= 2);
			ssize_t here = recv(p->fd, p->in + p->n, p->room - p->n, MSG_DONTWAIT);
			if (here < 0 && errno == EAGAIN)
				continue;
			if (here <= 0) {
				close(p->fd);
				free(p->in);
				free(p);
				continue;
			}
			p->n += (size_t)here;
			sink_work(r, p);
		}
	}
	return NULL;
}

static void sink_start(struct relay_run *r, const char *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)number(port))};
	int one = 1;
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	r->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	setsockopt(r->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(r->listener, (struct sockaddr *)&a, sizeof a) || listen(r->listener, 1024))
		die("sink: port %s: %s", port, strerror(errno));
	for (int k = 0; k < SINK_THREADS; k++) {
		pthread_t t;
		if (pthread_create(&t, NULL, sink_main, r))
			die("cannot start a thread");
		pthread_detach(t);
	}
}

/* ---- the clients ------------------------------------------------------------------------- */

static void expect(struct peer *p, char first)
{
	size_t n;
	char *line;
	do {
		line = peer_line(p, &n);
		if (n < 3 || line[0] != first)
			die("SMTP: expected %cxx, got: %s", first, line);
	} while (n > 3 && line[3] == '-');
}

static void log_in(struct peer *p, const char *user, const char *password)
{
	unsigned char plain[512], text[700];
	int n = snprintf((char *)plain, sizeof plain, "%c%s%c%s", 0, user, 0, password);
	EVP_EncodeBlock(text, plain, n);
	peer_say(p, "AUTH PLAIN %s\r\n", (char *)text);
	expect(p, '2');
}

static bool is_dead(const struct relay_run *r, unsigned i)
{
	return i % r->domains >= r->domains - r->dead;
}

static void domain_of(const struct relay_run *r, unsigned i, char out[32])
{
	snprintf(out, 32, "%s%u.test", is_dead(r, i) ? "dead" : "d", i % r->domains);
}

static void *relay_session(void *arg)
{
	struct relay_run *r = arg;
	struct peer p;
	char *text = malloc(r->size + HEAD_BYTES), *envelope = malloc(RCPTS_MAX * 64);
	peer_open(&p, r->host, r->port, true, INPUT_BYTES);
	smtp_greet(&p);
	log_in(&p, r->user, r->password);
	pthread_barrier_wait(&r->connected);
	pthread_barrier_wait(&r->start);
	for (unsigned i; (i = atomic_fetch_add(&r->next, 1)) < r->messages;) {
		char domain[32], to[64];
		domain_of(r, i, domain);
		snprintf(to, sizeof to, "r0@%s", domain);
		size_t n = message_make_from(text, r->size, r->seed, i, r->user, to);
		memcpy(text + n, ".\r\n", 3);
		int at = sprintf(envelope, "MAIL FROM:<%s>\r\n", r->user);
		for (unsigned k = 0; k < r->rcpts; k++)
			at += sprintf(envelope + at, "RCPT TO:<r%u@%s>\r\n", k, domain);
		at += sprintf(envelope + at, "DATA\r\n");
		peer_write(&p, envelope, (size_t)at);
		for (unsigned k = 0; k <= r->rcpts; k++)
			expect(&p, '2');
		expect(&p, '3');
		peer_write(&p, text, n + 3);
		expect(&p, '2');
	}
	pthread_barrier_wait(&r->sent);
	peer_say(&p, "QUIT\r\n");
	expect(&p, '2');
	peer_close(&p);
	free(text);
	free(envelope);
	return NULL;
}

static void *relay_sessions(void *arg)
{
	struct relay_run *r = arg;
	in_threads(r->sessions, relay_session, r);
	return NULL;
}

/* ---- afterwards -------------------------------------------------------------------------- */

/* Each recipient of each message exactly once, and the text as it was sent behind what the server may put
 * before it. Returns the number of transactions. */
static unsigned relay_verify(struct relay_run *r, const char *user)
{
	unsigned char *got = calloc((size_t)r->messages * r->rcpts, 1);
	char *wanted = malloc(r->size + HEAD_BYTES), mark[128];
	unsigned transactions = 0;
	snprintf(mark, sizeof mark, "\nX-Bench: %s-", r->seed);
	for (struct arrival *a = r->arrivals; a; a = a->next, transactions++) {
		const char *at = strstr(a->text, mark);
		unsigned i = at ? (unsigned)strtoul(at + strlen(mark), NULL, 10) : r->messages;
		if (i >= r->messages || is_dead(r, i))
			die("sink: a message that nobody sent: %.200s", a->text);
		char to[64];
		snprintf(to, sizeof to, "r0@d%u.test", i % r->domains);
		size_t n = message_make_from(wanted, r->size, r->seed, i, user, to);
		if (a->n < n || memcmp(a->text + a->n - n, wanted, n))
			die("sink: message %u is not what was sent", i);
		a->text[a->n - n] = 0;
		if (!message_only_trace(a->text))
			die("sink: message %u got a field: %.300s", i, a->text);
		for (unsigned k = 0; k < a->rcpt_n; k++)
			if (a->rcpt[k] >= r->rcpts || got[(size_t)i * r->rcpts + a->rcpt[k]]++)
				die("sink: message %u came twice to r%u", i, a->rcpt[k]);
	}
	for (unsigned i = 0; i < r->messages; i++)
		for (unsigned k = 0; k < r->rcpts; k++)
			if (!is_dead(r, i) && !got[(size_t)i * r->rcpts + k])
				die("sink: message %u did not come to r%u", i, k);
	free(got);
	free(wanted);
	return transactions;
}

int run_relay(char **a)
{
	struct relay_run r = {.host = a[0],
			      .port = a[1],
			      .sessions = number(a[2]),
			      .messages = number(a[3]),
			      .size = number(a[4]),
			      .rcpts = number(a[5]),
			      .domains = number(a[6]),
			      .dead = number(a[7]),
			      .seed = a[8],
			      .user = a[9],
			      .password = a[10]};
	pthread_t thread;
	if (!r.rcpts || r.rcpts > RCPTS_MAX || r.dead >= r.domains)
		die("relay: bad numbers");
	for (unsigned i = 0; i < r.messages; i++)
		r.wanted += is_dead(&r, i) ? 0 : r.rcpts;
	pthread_mutex_init(&r.lock, NULL);
	pthread_cond_init(&r.all, NULL);
	pthread_barrier_init(&r.connected, NULL, r.sessions + 1);
	pthread_barrier_init(&r.start, NULL, r.sessions + 1);
	pthread_barrier_init(&r.sent, NULL, r.sessions + 1);
	sink_start(&r, a[11]);
	if (pthread_create(&thread, NULL, relay_sessions, &r))
		die("cannot start a thread");
	pthread_barrier_wait(&r.connected);
	wait_for_go();
	double cpu = own_cpu(), start = now();
	pthread_barrier_wait(&r.start);
	pthread_barrier_wait(&r.sent);
	double accepted = now() - start;
	pthread_mutex_lock(&r.lock);
	while (r.arrived < r.wanted)
		pthread_cond_wait(&r.all, &r.lock);
	pthread_mutex_unlock(&r.lock);
	double relayed = now() - start;
	printf("{\"messages\": %u, \"accepted_seconds\": %.6f, \"relayed_seconds\": %.6f, \"load_cpu\": "
	       "%.3f}\n",
	       r.messages, accepted, relayed, own_cpu() - cpu);
	wait_for_end();
	pthread_join(thread, NULL);
	printf("{\"transactions\": %u}\n", relay_verify(&r, r.user));
	fflush(stdout);
	return 0;
}
