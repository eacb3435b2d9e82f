/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* bench/smtp.c: mail sent in, until the 250 and until it is seen in the mailbox. */
#include "load.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { POLL_MS = 5 };

static void sleep_ms(unsigned ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
	nanosleep(&t, NULL);
}

static void smtp_expect(struct peer *p, char first)
{
	size_t n;
	char *line;
	do {
		line = peer_line(p, &n);
		if (n < 3 || line[0] != first)
			die("SMTP: expected %cxx, got: %s", first, line);
	} while (n > 3 && line[3] == '-');
}

void smtp_greet(struct peer *p)
{
	smtp_expect(p, '2');
	peer_say(p, "EHLO bench.example.org\r\n");
	smtp_expect(p, '2');
}

/* text ends in CRLF, and has room for three bytes more. */
void smtp_send(struct peer *p, const char *rcpt, const char *text, size_t n)
{
	peer_say(p, "MAIL FROM:<bench@example.org>\r\nRCPT TO:<%s>\r\nDATA\r\n", rcpt);
	smtp_expect(p, '2');
	smtp_expect(p, '2');
	smtp_expect(p, '3');
	peer_write(p, text, n);
	smtp_expect(p, '2');
}

static size_t text_make(char *text, size_t size, const char *seed, unsigned i, const char *rcpt)
{
	size_t n = message_make(text, size, seed, i, rcpt);
	memcpy(text + n, ".\r\n", 3);
	return n + 3;
}

struct smtp_run {
	const char *host, *port, *domain, *seed;
	unsigned sessions, messages, accounts;
	size_t size;
	atomic_uint next;
	pthread_barrier_t connected, start, sent;
};

static void *smtp_session(void *arg)
{
	struct smtp_run *r = arg;
	struct peer p;
	char *text = malloc(r->size + HEAD_BYTES);
	peer_open(&p, r->host, r->port, false, INPUT_BYTES);
	smtp_greet(&p);
	pthread_barrier_wait(&r->connected);
	pthread_barrier_wait(&r->start);
	for (unsigned i; (i = atomic_fetch_add(&r->next, 1)) < r->messages;) {
		char rcpt[128];
		snprintf(rcpt, sizeof rcpt, "u%u@%s", i % r->accounts, r->domain);
		smtp_send(&p, rcpt, text, text_make(text, r->size, r->seed, i, rcpt));
	}
	pthread_barrier_wait(&r->sent);
	peer_say(&p, "QUIT\r\n");
	smtp_expect(&p, '2');
	peer_close(&p);
	free(text);
	return NULL;
}

static void smtp_run_init(struct smtp_run *r, char **a)
{
	*r = (struct smtp_run){.host = a[0],
			       .port = a[1],
			       .sessions = number(a[2]),
			       .messages = number(a[3]),
			       .size = number(a[4]),
			       .accounts = number(a[5]),
			       .domain = a[6],
			       .seed = a[7]};
	pthread_barrier_init(&r->connected, NULL, r->sessions + 1);
	pthread_barrier_init(&r->start, NULL, r->sessions + 1);
	pthread_barrier_init(&r->sent, NULL, r->sessions + 1);
}

static void *smtp_sessions(void *arg)
{
	struct smtp_run *r = arg;
	in_threads(r->sessions, smtp_session, r);
	return NULL;
}

/* Seconds until the last 250; the threads end by themselves. */
static double smtp_run_load(struct smtp_run *r, double *out_start, double *out_cpu, pthread_t *out_thread)
{
	if (pthread_create(out_thread, NULL, smtp_sessions, r))
		die("cannot start a thread");
	pthread_barrier_wait(&r->connected);
	wait_for_go();
	*out_cpu = own_cpu();
	*out_start = now();
	pthread_barrier_wait(&r->start);
	pthread_barrier_wait(&r->sent);
	return now() - *out_start;
}

/* ---- until it is in the mailboxes -------------------------------------------------------- */

/* MESSAGES of the INBOX. */
static unsigned imap_messages(struct peer *p)
{
	unsigned found = 0;
	bool seen = false;
	size_t n;
	peer_say(p, "s STATUS INBOX (MESSAGES)\r\n");
	for (;;) {
		char *line = peer_line(p, &n), *at;
		if (n > 2 && !memcmp(line, "s ", 2)) {
			if (!seen || memcmp(line + 2, "OK", 2))
				die("IMAP: STATUS: %s", line);
			return found;
		}
		if ((at = strstr(line, "(MESSAGES "))) {
			found = (unsigned)strtoul(at + 10, NULL, 10);
			seen = true;
		}
	}
}

/* One account after the other, asked until it has all: few questions, and the last answer is the
 * moment when everything is there. */
int run_deliver(char **a)
{
	struct smtp_run r;
	double start, cpu;
	pthread_t thread;
	smtp_run_init(&r, a);
	unsigned readers = strcmp(a[8], "-") ? r.accounts : 0;
	struct peer *peers = calloc(r.accounts, sizeof *peers);
	unsigned *wanted = calloc(r.accounts, sizeof *wanted), asked = 0;
	for (unsigned k = 0; k < readers; k++) {
		char user[128];
		snprintf(user, sizeof user, "u%u@%s", k, r.domain);
		peer_open(&peers[k], r.host, a[8], true, IDLE_BYTES);
		imap_login(&peers[k], user, a[9]);
		wanted[k] = imap_messages(&peers[k]) + r.messages / r.accounts +
			    (k < r.messages % r.accounts);
	}
	double accepted = smtp_run_load(&r, &start, &cpu, &thread);
	for (unsigned k = 0; k < readers; k++) {
		unsigned has;
		for (double since = now(); (has = imap_messages(&peers[k])) < wanted[k];
		     sleep_ms(POLL_MS))
			if (asked++, now() - since > REPLY_SECONDS)
				die("u%u has %u messages, %u were accepted", k, has, wanted[k]);
		if (has != wanted[k])
			die("u%u has %u messages, only %u were sent", k, has, wanted[k]);
	}
	double visible = now() - start;
	printf("{\"messages\": %u, \"accepted_seconds\": %.6f, \"visible_seconds\": %.6f, \"polls\": %u, "
	       "\"load_cpu\": %.3f}\n",
	       r.messages, accepted, visible, asked + readers, own_cpu() - cpu);
	wait_for_end();
	pthread_join(thread, NULL);
	for (unsigned k = 0; k < readers; k++)
		peer_close(&peers[k]);
	free(peers);
	free(wanted);
	return 0;
}

/* Milliseconds from each 250 to EXISTS on another connection that is in IDLE; 0 if that came first.
 * The pauses between the messages differ, so that no timer of the server runs along with them. */
int run_notice(char **a)
{
	unsigned messages = number(a[2]);
	size_t size = number(a[3]), n;
	char *text = malloc(size + HEAD_BYTES);
	struct peer in, idle;
	peer_open(&in, a[0], a[1], false, INPUT_BYTES);
	smtp_greet(&in);
	peer_open(&idle, a[0], a[6], true, INPUT_BYTES);
	imap_login(&idle, a[4], a[7]);
	peer_say(&idle, "b SELECT INBOX\r\n");
	imap_tagged(&idle, "b");
	peer_say(&idle, "c IDLE\r\n");
	while (*peer_line(&idle, &n) != '+')
		;
	printf("{\"messages\": %u, \"ms\": [", messages);
	for (unsigned i = 0; i < messages; i++) {
		sleep_ms(150 + (i * 67) % 201);
		smtp_send(&in, a[4], text, text_make(text, size, a[5], i, a[4]));
		double t = now();
		char *line;
		do
			line = peer_line(&idle, &n);
		while (n < 7 || strcmp(line + n - 7, " EXISTS"));
		printf("%s%.3f", i ? ", " : "", (now() - t) * 1000);
	}
	printf("]}\n");
	peer_close(&in);
	peer_close(&idle);
	free(text);
	return 0;
}
