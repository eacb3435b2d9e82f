/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Sessions on real connections and workers: commits answered by another thread, clients that hang up
 * at every point, a login over STARTTLS. For the sanitizers as much as for the result.
 */
#include "base/testing.h"
#include "base/buf.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/config.h"
#include "crypto/selfsigned.h"
#include "crypto/tls.h"
#include "mail/envelope.h"
#include "smtp/server.h"
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CLIENTS = 6, MESSAGES = 40 };

static struct config *config;
static struct tls_context *server_tls, *client_tls;
static uint16_t port;

/* ---- the commits: a thread answers them in batches ---- */

struct commit {
	struct commit *next;
	void (*done)(void *ctx, const struct err *err);
	void *ctx;
};
static struct lock commit_lock;
static struct cond commit_cond;
static struct commit *commits;
static bool commits_end;
static atomic_uint taken;

static void *commit_main(void *arg)
{
	(void)arg;
	lock_take(&commit_lock);
	while (!commits_end || commits) {
		struct commit *c = commits;
		commits = NULL;
		if (!c) {
			cond_wait(&commit_cond, &commit_lock);
			continue;
		}
		lock_drop(&commit_lock);
		usleep(300);
		while (c) {
			struct commit *next = c->next;
			c->done(c->ctx, NULL);
			free(c);
			c = next;
		}
		lock_take(&commit_lock);
	}
	lock_drop(&commit_lock);
	return NULL;
}

static bool accept_message(void *ctx, const struct envelope *e, struct str content, void *side,
			   void (*done)(void *done_ctx, const struct err *err), void *done_ctx,
			   struct err *err)
{
	struct commit *c = mem_new(struct commit);
	(void)ctx;
	(void)side;
	(void)err;
	if (e->size_bytes != content.n || !str_starts(content, STR("Received: ")))
		abort();
	*c = (struct commit){.done = done, .ctx = done_ctx};
	atomic_fetch_add(&taken, 1);
	LOCK_SCOPED(&commit_lock);
	c->next = commits;
	commits = c;
	cond_signal(&commit_cond);
	return true;
}

static enum rcpt_verdict rcpt(void *ctx, struct str address, struct arena *a, struct str *out)
{
	(void)ctx;
	(void)a;
	(void)out;
	return str_ends(address, STR("@example.org")) ? RCPT_LOCAL : RCPT_REMOTE;
}

static int sender(void *ctx, const struct smtp_sender *who, struct arena *a, struct str *out_ticket)
{
	(void)ctx;
	(void)a;
	(void)out_ticket;
	return str_eq(who->account, who->address);
}

static struct str mechanisms(void *ctx)
{
	(void)ctx;
	return STR("PLAIN");
}

struct attempt {
	auth_done *done;
	void *ctx;
};

static void *auth_main(void *arg)
{
	struct attempt *a = arg;
	usleep(1000);
	a->done(a->ctx, &(struct auth_result){.outcome = AUTH_SUCCESS, .account = STR("test1@example.org"),
					      .ticket = STR("t")});
	free(a);
	return NULL;
}

static uint64_t auth_begin(void *ctx, struct conn *c, struct str mechanism, const struct str *initial,
			   auth_done *done, void *done_ctx)
{
	struct attempt *a = mem_new(struct attempt);
	pthread_t t;
	(void)ctx;
	(void)c;
	(void)mechanism;
	(void)initial;
	*a = (struct attempt){done, done_ctx};
	pthread_create(&t, NULL, auth_main, a);
	pthread_detach(t);
	return 1;
}

static void auth_cancel(void *ctx, uint64_t attempt)
{
	(void)ctx;
	(void)attempt;
}

static const struct config *config_now(void *ctx)
{
	(void)ctx;
	return config_ref(config);
}

static struct tls_context *tls_now(void *ctx)
{
	(void)ctx;
	return server_tls;
}

/* ---- clients ---- */

static int dial(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				.sin_port = htons(port)};
	struct timeval t = {.tv_sec = 20};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
	if (connect(fd, (struct sockaddr *)&a, sizeof a) != 0)
		abort();
	return fd;
}

/* Reads until the text has come; false: the end. */
static bool until(int fd, const char *text)
{
	char got[4096];
	size_t n = 0;
	while (n < sizeof got - 1) {
		ssize_t r = recv(fd, got + n, 1, 0);
		if (r <= 0)
			return false;
		n++;
		got[n] = 0;
		if (got[n - 1] == '\n' && strstr(got, text))
			return true;
	}
	return false;
}

static void put(int fd, const char *text)
{
	ssize_t ignored = send(fd, text, strlen(text), MSG_NOSIGNAL);
	(void)ignored;
}

static const char dialogue[] = "MAIL FROM:<a@example.com>\r\nRCPT TO:<test1@example.org>\r\nDATA\r\n";

static void *client_main(void *arg)
{
	unsigned *accepted = arg;
	int fd = dial();
	put(fd, "EHLO c\r\n");
	if (!until(fd, "250 "))
		abort();
	for (int i = 0; i < MESSAGES; i++) {
		put(fd, dialogue);
		if (!until(fd, "354 "))
			abort();
		put(fd, "Subject: x\r\n\r\n..y\r\n.\r\n");
		if (!until(fd, "queued as"))
			abort();
		++*accepted;
	}
	put(fd, "QUIT\r\n");
	until(fd, "221 ");
	close(fd);
	return NULL;
}

/* Hangs up after so many octets of a dialogue. */
static void *rude_main(void *arg)
{
	static const char all[] =
		"EHLO c\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<test1@example.org>\r\nDATA\r\n"
		"Subject: x\r\n\r\ny\r\n.\r\nNOOP\r\n";
	(void)arg;
	for (size_t n = 1; n < sizeof all; n += 3) {
		int fd = dial();
		ssize_t ignored = send(fd, all, n, MSG_NOSIGNAL);
		(void)ignored;
		if (n % 2) {
			struct linger reset = {.l_onoff = 1};
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
		}
		close(fd);
	}
	return NULL;
}

static bool tls_wait(int fd, enum tls_result r)
{
	struct pollfd p = {.fd = fd, .events = r == TLS_WANT_WRITE ? POLLOUT : POLLIN};
	return (r == TLS_WANT_READ || r == TLS_WANT_WRITE) && poll(&p, 1, 20000) == 1;
}

static void tls_talk(struct tls_session *t, int fd, const char *text, const char *wanted)
{
	struct err err = {0};
	char got[4096] = "";
	size_t n = 0, done;
	enum tls_result r;
	while ((r = tls_write(t, text, strlen(text), &done, &err)) != TLS_OK)
		assert_true(tls_wait(fd, r));
	while (!strstr(got, wanted)) {
		r = tls_read(t, got + n, sizeof got - 1 - n, &done, &err);
		if (r != TLS_OK) {
			if (!tls_wait(fd, r))
				fail_msg("'%s' gives '%s'", text, got);
			continue;
		}
		n += done;
		got[n] = 0;
	}
}

static void submit_over_starttls(void)
{
	struct err err = {0};
	int fd = dial();
	enum tls_result r;
	put(fd, "EHLO c\r\n");
	assert_true(until(fd, "250 STARTTLS"));
	put(fd, "STARTTLS\r\n");
	assert_true(until(fd, "220 2.0.0"));
	struct tls_session *t = tls_session_new_client(client_tls, fd, STR("localhost"));
	while ((r = tls_handshake(t, &err)) != TLS_OK)
		assert_true(tls_wait(fd, r));
	tls_talk(t, fd, "EHLO c\r\n", "250 AUTH PLAIN\r\n");
	tls_talk(t, fd, "AUTH PLAIN AGEAYg==\r\n", "235 ");
	tls_talk(t, fd, "MAIL FROM:<test1@example.org>\r\nRCPT TO:<test1@example.org>\r\nDATA\r\n", "354 ");
	tls_talk(t, fd, "From: test1@example.org\r\n\r\nx\r\n.\r\n", "queued as");
	tls_talk(t, fd, "QUIT\r\n", "221 ");
	tls_session_free(t);
	close(fd);
}

/* ---- the server ---- */

static struct net *serve(struct smtp_server *server, struct smtp_listener *listener)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof a;
	struct err err = {0};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(fd, 512), 0);
	getsockname(fd, (struct sockaddr *)&a, &len);
	port = ntohs(a.sin_port);
	struct net *net = net_new(&(struct net_options){0});
	struct net_listener l = {.fd = fd, .service = "smtp", .protocol = &smtp_protocol, .owner = server,
				 .listener = listener};
	assert_true(net_listen(net, &l, &err));
	assert_true(net_start(net, &err));
	return net;
}

static void run_server(enum smtp_kind kind, void (*clients)(void))
{
	pthread_t committer;
	struct smtp_server server = {
		.services = {.rcpt = rcpt, .sender = sender, .accept = accept_message,
			     .auth = {.mechanisms = mechanisms, .begin = auth_begin, .cancel = auth_cancel}},
		.limits = smtp_limits_new(), .config = config_now, .tls = tls_now,
	};
	struct smtp_listener listener = {.kind = kind, .tls = SMTP_TLS_MAY};
	lock_init(&commit_lock, LOCK_LEAF);
	cond_init(&commit_cond);
	commits_end = false;
	pthread_create(&committer, NULL, commit_main, NULL);
	struct net *net = serve(&server, &listener);
	clients();
	struct net_counts counts;
	do {
		usleep(1000);
		net_counts(net, &counts);
	} while (counts.connections);
	lock_take(&commit_lock);
	commits_end = true;
	cond_signal(&commit_cond);
	lock_drop(&commit_lock);
	pthread_join(committer, NULL);
	net_free(net);
	smtp_limits_free(server.limits);
	cond_fini(&commit_cond);
	lock_fini(&commit_lock);
}

static void crowd_clients(void)
{
	pthread_t t[CLIENTS + 2];
	unsigned accepted[CLIENTS] = {0}, all = 0;
	for (int i = 0; i < CLIENTS; i++)
		pthread_create(&t[i], NULL, client_main, &accepted[i]);
	for (int i = 0; i < 2; i++)
		pthread_create(&t[CLIENTS + i], NULL, rude_main, NULL);
	for (int i = 0; i < CLIENTS + 2; i++)
		pthread_join(t[i], NULL);
	for (int i = 0; i < CLIENTS; i++)
		all += accepted[i];
	assert_int_equal(all, CLIENTS * MESSAGES);
	assert_true(atomic_load(&taken) >= all);
}

static void crowd(void **state)
{
	(void)state;
	run_server(SMTP_MX, crowd_clients);
}

static void submission(void **state)
{
	(void)state;
	run_server(SMTP_SUBMISSION, submit_over_starttls);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(crowd), cmocka_unit_test(submission)};
	struct err err = {0};
	BUF_SCOPED problems = {0}, key = {0}, cert = {0};
	struct str name = STR("localhost");
	signal(SIGPIPE, SIG_IGN);
	log_init("test", LOG_ERROR);
	tls_init();
	if (!config_parse("/x", STR("hostname = \"mx.example.org\"\nauth { mechanisms = PLAIN }\n"),
			  &problems, &config, &err) ||
	    !selfsigned_make(&name, 1, &key, &cert, &err))
		return 1;
	struct tls_chain chain = {.cert_pem = buf_str(&cert), .key_pem = buf_str(&key)};
	if (!tls_context_server(&(struct tls_server_settings){.chains = &chain,
							      .chain_count = 1,
							      .door = STR("smtp")},
				&server_tls, &err) ||
	    !tls_context_client(&(struct tls_client_settings){0}, &client_tls, &err))
		return 1;
	int result = RUN_TESTS(tests);
	tls_context_unref(server_tls);
	tls_context_unref(client_tls);
	config_unref(config);
	return result;
}
