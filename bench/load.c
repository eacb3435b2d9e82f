/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * bench/load.c: the client side of the benchmark, the same for every server measured.
 *
 *   load smtp  HOST PORT SESSIONS MESSAGES SIZE ACCOUNTS DOMAIN SEED
 *   load login HOST PORT THREADS LOGINS ACCOUNTS DOMAIN PASSWORD plain|tls
 *   load idle  HOST PORT CONNECTIONS ACCOUNTS DOMAIN PASSWORD plain|tls
 *   load fetch HOST PORT USER PASSWORD ROUNDS COMMAND...
 *
 * Each prints one line of JSON. Every reply is checked; a wrong one ends the run with status 1.
 * Message i of a run has a body made from (SEED, i) alone, so that bench/run.py can check what
 * arrived byte for byte. "idle" prints {"ready":...} and then waits for the end of standard input.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 8192, INPUT_BYTES = 64 * 1024, REPLY_SECONDS = 120 };

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
static void die(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fprintf(stderr, "load: ");
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, "\n");
	exit(1);
}

/* ---- a connection ----------------------------------------------------------------------- */

struct peer {
	int fd;
	SSL *ssl;
	char *in;
	size_t at, n;
};
static SSL_CTX *tls;

static void peer_open(struct peer *p, const char *host, const char *port, bool with_tls, size_t input)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_INET}, *a;
	if (getaddrinfo(host, port, &hints, &a))
		die("cannot find %s", host);
	*p = (struct peer){.fd = socket(AF_INET, SOCK_STREAM, 0), .in = malloc(input)};
	if (p->fd < 0 || connect(p->fd, a->ai_addr, a->ai_addrlen))
		die("cannot connect to %s:%s: %s", host, port, strerror(errno));
	freeaddrinfo(a);
	int one = 1;
	setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	struct timeval limit = {.tv_sec = REPLY_SECONDS};
	setsockopt(p->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	if (!with_tls)
		return;
	p->ssl = SSL_new(tls);
	SSL_set_fd(p->ssl, p->fd);
	if (SSL_connect(p->ssl) != 1)
		die("TLS handshake failed");
}

static void peer_close(struct peer *p)
{
	if (p->ssl) {
		SSL_shutdown(p->ssl);
		SSL_free(p->ssl);
	}
	close(p->fd);
	free(p->in);
}

static void peer_write(struct peer *p, const char *bytes, size_t n)
{
	while (n) {
		ssize_t w = p->ssl ? SSL_write(p->ssl, bytes, (int)n) : send(p->fd, bytes, n, MSG_NOSIGNAL);
		if (w <= 0)
			die("write failed: %s", strerror(errno));
		bytes += w;
		n -= (size_t)w;
	}
}

static void peer_fill(struct peer *p, size_t room)
{
	if (p->at) {
		memmove(p->in, p->in + p->at, p->n - p->at);
		p->n -= p->at;
		p->at = 0;
	}
	if (p->n == room)
		die("the server's line is too long");
	ssize_t r = p->ssl ? SSL_read(p->ssl, p->in + p->n, (int)(room - p->n)) : recv(p->fd, p->in + p->n, room - p->n, 0);
	if (r <= 0)
		die("the server closed the connection or is silent");
	p->n += (size_t)r;
}

/* A line without its end; valid until the next call. */
static char *peer_line(struct peer *p, size_t room, size_t *out_n)
{
	size_t looked = 0;
	for (;;) {
		char *end = memchr(p->in + p->at + looked, '\n', p->n - p->at - looked);
		if (end) {
			char *line = p->in + p->at;
			*out_n = (size_t)(end - line);
			if (*out_n && line[*out_n - 1] == '\r')
				--*out_n;
			line[*out_n] = 0;
			p->at = (size_t)(end + 1 - p->in);
			return line;
		}
		looked = p->n - p->at;
		peer_fill(p, room);
	}
}

/* ---- SMTP ------------------------------------------------------------------------------- */

static void smtp_expect(struct peer *p, char first)
{
	size_t n;
	char *line;
	do {
		line = peer_line(p, INPUT_BYTES, &n);
		if (n < 3 || line[0] != first)
			die("SMTP: expected %c.., got: %s", first, line);
	} while (n > 3 && line[3] == '-');
}

/* xorshift: letters that differ for each message. */
static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdULL;
	x ^= x >> 33;
	return x * 0xc4ceb9fe1a85ec53ULL;
}

static size_t message_make(char *out, size_t size, const char *seed, unsigned i, const char *rcpt)
{
	int head = sprintf(out,
			   "From: bench@example.org\r\nTo: %s\r\nSubject: bench %s %u\r\nMessage-ID: <%s.%u@example.org>\r\n"
			   "Date: Tue, 24 Nov 2026 10:00:00 +0900\r\nX-Bench: %s-%u\r\n\r\n",
			   rcpt, seed, i, seed, i, seed, i);
	size_t n = (size_t)head;
	uint64_t x = mix(i + 1);
	for (const char *s = seed; *s; s++)
		x = mix(x ^ (unsigned char)*s);
	while (n + 74 < size) {
		for (int k = 0; k < 72; k++) {
			if (k % 12 == 0)
				x = mix(x + 1);
			out[n++] = (char)('a' + (x >> (5 * (k % 12))) % 26);
		}
		out[n++] = '\r';
		out[n++] = '\n';
	}
	return n;
}

struct smtp_run {
	const char *host, *port, *domain, *seed;
	unsigned messages, accounts;
	size_t size;
	atomic_uint next;
	pthread_barrier_t start;
};

static void *smtp_session(void *arg)
{
	struct smtp_run *r = arg;
	struct peer p;
	char *text = malloc(r->size + 1024), envelope[512];
	peer_open(&p, r->host, r->port, false, INPUT_BYTES);
	smtp_expect(&p, '2');
	peer_write(&p, "EHLO bench.example.org\r\n", 24);
	smtp_expect(&p, '2');
	pthread_barrier_wait(&r->start);
	for (unsigned i; (i = atomic_fetch_add(&r->next, 1)) < r->messages;) {
		char rcpt[128];
		snprintf(rcpt, sizeof rcpt, "u%u@%s", i % r->accounts, r->domain);
		size_t n = message_make(text, r->size, r->seed, i, rcpt);
		memcpy(text + n, ".\r\n", 3);
		int k = snprintf(envelope, sizeof envelope, "MAIL FROM:<bench@example.org>\r\nRCPT TO:<%s>\r\nDATA\r\n", rcpt);
		peer_write(&p, envelope, (size_t)k);
		smtp_expect(&p, '2');
		smtp_expect(&p, '2');
		smtp_expect(&p, '3');
		peer_write(&p, text, n + 3);
		smtp_expect(&p, '2');
	}
	peer_write(&p, "QUIT\r\n", 6);
	smtp_expect(&p, '2');
	peer_close(&p);
	free(text);
	return NULL;
}

static int run_smtp(char **a)
{
	struct smtp_run r = {.host = a[0], .port = a[1], .messages = (unsigned)atoi(a[3]), .size = (size_t)atoi(a[4]),
			     .accounts = (unsigned)atoi(a[5]), .domain = a[6], .seed = a[7]};
	unsigned sessions = (unsigned)atoi(a[2]);
	pthread_t *threads = calloc(sessions, sizeof *threads);
	pthread_barrier_init(&r.start, NULL, sessions + 1);
	for (unsigned i = 0; i < sessions; i++)
		pthread_create(&threads[i], NULL, smtp_session, &r);
	pthread_barrier_wait(&r.start);
	double t = now();
	for (unsigned i = 0; i < sessions; i++)
		pthread_join(threads[i], NULL);
	t = now() - t;
	free(threads);
	printf("{\"messages\": %u, \"seconds\": %.6f, \"per_second\": %.1f}\n", r.messages, t, r.messages / t);
	return 0;
}

/* ---- IMAP ------------------------------------------------------------------------------- */

/* Reads up to the tagged reply, which must be OK; untagged lines are counted. */
static size_t imap_tagged(struct peer *p, size_t room, const char *tag)
{
	size_t lines = 0, n, tag_n = strlen(tag);
	for (;;) {
		char *line = peer_line(p, room, &n);
		if (n > tag_n && !memcmp(line, tag, tag_n) && line[tag_n] == ' ') {
			if (memcmp(line + tag_n + 1, "OK", 2))
				die("IMAP: %s", line);
			return lines;
		}
		lines++;
	}
}

static void imap_login(struct peer *p, size_t room, const char *user, const char *password)
{
	size_t n;
	char command[512];
	char *line = peer_line(p, room, &n);
	if (strncmp(line, "* OK", 4))
		die("IMAP: %s", line);
	int k = snprintf(command, sizeof command, "a LOGIN \"%s\" \"%s\"\r\n", user, password);
	peer_write(p, command, (size_t)k);
	imap_tagged(p, room, "a");
}

struct login_run {
	const char *host, *port, *domain, *password;
	unsigned logins, accounts;
	bool tls;
	atomic_uint next;
};

static void *login_thread(void *arg)
{
	struct login_run *r = arg;
	for (unsigned i; (i = atomic_fetch_add(&r->next, 1)) < r->logins;) {
		struct peer p;
		char user[128];
		snprintf(user, sizeof user, "u%u@%s", i % r->accounts, r->domain);
		peer_open(&p, r->host, r->port, r->tls, INPUT_BYTES);
		imap_login(&p, INPUT_BYTES, user, r->password);
		peer_write(&p, "b LOGOUT\r\n", 10);
		imap_tagged(&p, INPUT_BYTES, "b");
		peer_close(&p);
	}
	return NULL;
}

static int run_login(char **a)
{
	struct login_run r = {.host = a[0], .port = a[1], .logins = (unsigned)atoi(a[3]), .accounts = (unsigned)atoi(a[4]),
			      .domain = a[5], .password = a[6], .tls = !strcmp(a[7], "tls")};
	unsigned n = (unsigned)atoi(a[2]);
	pthread_t *threads = calloc(n, sizeof *threads);
	double t = now();
	for (unsigned i = 0; i < n; i++)
		pthread_create(&threads[i], NULL, login_thread, &r);
	for (unsigned i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	t = now() - t;
	free(threads);
	printf("{\"logins\": %u, \"seconds\": %.6f, \"per_second\": %.1f}\n", r.logins, t, r.logins / t);
	return 0;
}

static int run_idle(char **a)
{
	unsigned n = (unsigned)atoi(a[2]), accounts = (unsigned)atoi(a[3]);
	bool with_tls = !strcmp(a[6], "tls");
	struct peer *peers = calloc(n, sizeof *peers);
	for (unsigned i = 0; i < n; i++) {
		char user[128];
		size_t k;
		snprintf(user, sizeof user, "u%u@%s", i % accounts, a[4]);
		peer_open(&peers[i], a[0], a[1], with_tls, LINE_MAX_BYTES);
		imap_login(&peers[i], LINE_MAX_BYTES, user, a[5]);
		peer_write(&peers[i], "b SELECT INBOX\r\n", 16);
		imap_tagged(&peers[i], LINE_MAX_BYTES, "b");
		peer_write(&peers[i], "c IDLE\r\n", 8);
		char *line = peer_line(&peers[i], LINE_MAX_BYTES, &k);
		if (line[0] != '+')
			die("IMAP: IDLE: %s", line);
	}
	printf("{\"ready\": %u}\n", n);
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}

/* COMMANDs run one after the other, each ROUNDS times; prints seconds for each round of each. */
static int run_fetch(char **a, int commands)
{
	enum { ROOM = 4 * 1024 * 1024 };
	struct peer p;
	int rounds = atoi(a[4]);
	peer_open(&p, a[0], a[1], false, ROOM);
	imap_login(&p, ROOM, a[2], a[3]);
	printf("{\"commands\": [");
	for (int c = 0; c < commands; c++) {
		printf("%s{\"command\": \"%s\", \"seconds\": [", c ? ", " : "", a[5 + c]);
		size_t lines = 0;
		for (int i = 0; i < rounds; i++) {
			char command[512];
			int k = snprintf(command, sizeof command, "x %s\r\n", a[5 + c]);
			double t = now();
			peer_write(&p, command, (size_t)k);
			lines = imap_tagged(&p, ROOM, "x");
			printf("%s%.6f", i ? ", " : "", now() - t);
		}
		printf("], \"lines\": %zu}", lines);
	}
	printf("]}\n");
	peer_close(&p);
	return 0;
}

int main(int argc, char **argv)
{
	tls = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_verify(tls, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY);
	const char *what = argc > 1 ? argv[1] : "";
	if (!strcmp(what, "smtp") && argc == 10)
		return run_smtp(argv + 2);
	if (!strcmp(what, "login") && argc == 10)
		return run_login(argv + 2);
	if (!strcmp(what, "idle") && argc == 9)
		return run_idle(argv + 2);
	if (!strcmp(what, "fetch") && argc >= 8)
		return run_fetch(argv + 2, argc - 7);
	die("usage: see the head of bench/load.c");
}
