/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* bench/imap.c: logins, idle connections, commands timed, and every message read back. */
#include "load.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

size_t imap_tagged(struct peer *p, const char *tag)
{
	size_t lines = 0, n, tag_n = strlen(tag);
	for (;;) {
		char *line = peer_line(p, &n);
		if (n > tag_n + 2 && !memcmp(line, tag, tag_n) && line[tag_n] == ' ') {
			if (memcmp(line + tag_n + 1, "OK", 2))
				die("IMAP: %s", line);
			return lines;
		}
		lines++;
	}
}

void imap_login(struct peer *p, const char *user, const char *password)
{
	size_t n;
	char *line = peer_line(p, &n);
	if (strncmp(line, "* OK", 4))
		die("IMAP: %s", line);
	peer_say(p, "a LOGIN \"%s\" \"%s\"\r\n", user, password);
	imap_tagged(p, "a");
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
		imap_login(&p, user, r->password);
		peer_say(&p, "b LOGOUT\r\n");
		imap_tagged(&p, "b");
		peer_close(&p);
	}
	return NULL;
}

int run_login(char **a)
{
	struct login_run r = {.host = a[0],
			      .port = a[1],
			      .logins = number(a[3]),
			      .accounts = number(a[4]),
			      .domain = a[5],
			      .password = a[6],
			      .tls = !strcmp(a[7], "tls")};
	double cpu = own_cpu(), t = now();
	in_threads(number(a[2]), login_thread, &r);
	t = now() - t;
	printf("{\"logins\": %u, \"seconds\": %.6f, \"per_second\": %.1f, \"load_cpu\": %.3f}\n",
	       r.logins, t, r.logins / t, own_cpu() - cpu);
	return 0;
}

/* ---- idle connections -------------------------------------------------------------------- */

struct idle_run {
	const char *host, *port, *domain, *password;
	unsigned connections, accounts;
	bool tls;
	atomic_uint next;
	struct peer *peers;
};

static void *idle_open(void *arg)
{
	struct idle_run *r = arg;
	for (unsigned i; (i = atomic_fetch_add(&r->next, 1)) < r->connections;) {
		struct peer *p = &r->peers[i];
		char user[128];
		size_t n;
		snprintf(user, sizeof user, "u%u@%s", i % r->accounts, r->domain);
		peer_open(p, r->host, r->port, r->tls, IDLE_BYTES);
		imap_login(p, user, r->password);
		peer_say(p, "b SELECT INBOX\r\n");
		imap_tagged(p, "b");
		peer_say(p, "c IDLE\r\n");
		char *line = peer_line(p, &n);
		if (line[0] != '+')
			die("IMAP: IDLE: %s", line);
	}
	return NULL;
}

/* That each still lives and knows its command. */
static void *idle_end(void *arg)
{
	struct idle_run *r = arg;
	for (unsigned i; (i = atomic_fetch_add(&r->next, 1)) < r->connections;) {
		peer_say(&r->peers[i], "DONE\r\n");
		imap_tagged(&r->peers[i], "c");
	}
	return NULL;
}

int run_idle(char **a)
{
	struct idle_run r = {.host = a[0],
			     .port = a[1],
			     .connections = number(a[2]),
			     .accounts = number(a[3]),
			     .domain = a[4],
			     .password = a[5],
			     .tls = !strcmp(a[6], "tls")};
	r.peers = calloc(r.connections, sizeof *r.peers);
	double t = now();
	in_threads(LOAD_THREADS, idle_open, &r);
	printf("{\"ready\": %u, \"seconds\": %.3f}\n", r.connections, now() - t);
	wait_for_end();
	atomic_store(&r.next, 0);
	in_threads(LOAD_THREADS, idle_end, &r);
	printf("{\"alive\": %u}\n", r.connections);
	for (unsigned i = 0; i < r.connections; i++)
		close(r.peers[i].fd); /* all at once, as when a network goes down */
	free(r.peers);
	return 0;
}

/* ---- commands timed ---------------------------------------------------------------------- */

/* COMMANDs one after the other, ROUNDS times each: seconds for each, and the answer's untagged lines
 * of the last round, in all and with \Seen, and a hash of those that are FETCH responses (FNV-1a), so
 * that the answers of two servers can be compared. */
int run_fetch(char **a, int commands)
{
	struct peer p;
	unsigned rounds = number(a[5]);
	peer_open(&p, a[0], a[1], !strcmp(a[4], "tls"), 1024 * 1024);
	imap_login(&p, a[2], a[3]);
	printf("{\"commands\": [");
	for (int c = 0; c < commands; c++) {
		size_t lines = 0, seen = 0, n;
		unsigned long long hash = 0;
		printf("%s{\"seconds\": [", c ? ", " : "");
		for (unsigned i = 0; i < rounds; i++) {
			double t = now();
			lines = seen = 0;
			hash = 0xcbf29ce484222325;
			peer_say(&p, "x %s\r\n", a[6 + c]);
			char *line;
			for (; (line = peer_line(&p, &n)), strncmp(line, "x ", 2); lines++) {
				if (!strstr(line, " FETCH ("))
					continue;
				seen += strstr(line, "\\Seen") != NULL;
				for (size_t k = 0; k < n; k++)
					hash = (hash ^ (unsigned char)line[k]) * 0x100000001b3;
			}
			if (strncmp(line, "x OK", 4))
				die("IMAP: %s: %s", a[6 + c], line);
			printf("%s%.6f", i ? ", " : "", now() - t);
		}
		printf("], \"lines\": %zu, \"seen\": %zu, \"hash\": \"%016llx\"}", lines, seen, hash);
	}
	printf("]}\n");
	peer_say(&p, "y LOGOUT\r\n");
	imap_tagged(&p, "y");
	peer_close(&p);
	return 0;
}

/* ---- APPEND ------------------------------------------------------------------------------ */

struct append_run {
	const char *host, *port, *domain, *password, *seed;
	unsigned messages, accounts;
	size_t size;
	bool tls;
	atomic_uint next, next_account;
};

/* One connection, one message at a time, each to the INBOX of the account it belongs to. */
static void *append_thread(void *arg)
{
	struct append_run *r = arg;
	struct peer p;
	char user[128], *text = malloc(r->size + HEAD_BYTES), *command = malloc(r->size + 2 * HEAD_BYTES);
	unsigned k = atomic_fetch_add(&r->next_account, 1);
	snprintf(user, sizeof user, "u%u@%s", k % r->accounts, r->domain);
	peer_open(&p, r->host, r->port, r->tls, INPUT_BYTES);
	imap_login(&p, user, r->password);
	for (unsigned i; (i = atomic_fetch_add(&r->next, 1)) < r->messages;) {
		size_t n = message_make(text, r->size, r->seed, i, user);
		size_t head = (size_t)sprintf(command, "b APPEND INBOX {%zu+}\r\n", n);
		memcpy(command + head, text, n);
		memcpy(command + head + n, "\r\n", 2);
		peer_write(&p, command, head + n + 2);
		imap_tagged(&p, "b");
	}
	peer_say(&p, "c LOGOUT\r\n");
	imap_tagged(&p, "c");
	peer_close(&p);
	free(command);
	free(text);
	return NULL;
}

int run_append(char **a)
{
	struct append_run r = {.host = a[0],
			       .port = a[1],
			       .messages = number(a[3]),
			       .size = number(a[4]),
			       .accounts = number(a[5]),
			       .domain = a[6],
			       .seed = a[7],
			       .password = a[8],
			       .tls = !strcmp(a[9], "tls")};
	double t = now();
	in_threads(number(a[2]), append_thread, &r);
	t = now() - t;
	printf("{\"messages\": %u, \"seconds\": %.6f}\n", r.messages, t);
	return 0;
}

/* ---- everything read back ---------------------------------------------------------------- */

struct seed {
	const char *name;
	unsigned count;
	atomic_uchar *got; /* one for each message */
};

struct verify_run {
	const char *host, *port, *domain, *password;
	unsigned accounts;
	bool tls;
	size_t size;
	struct seed *seeds;
	int seed_count;
	atomic_uint next, messages;
};

/* text, n bytes and a NUL, is what the server has for user. */
static void verify_message(struct verify_run *r, const char *user, char *text, size_t n)
{
	const char *mark = strstr(text, "\nX-Bench: "), *dash = NULL;
	if (mark)
		mark += strlen("\nX-Bench: ");
	for (const char *s = mark; s && *s && *s != '\r'; s++)
		if (*s == '-')
			dash = s;
	if (!dash)
		die("%s has a message that nobody sent: %.200s", user, text);
	unsigned i = (unsigned)strtoul(dash + 1, NULL, 10);
	struct seed *seed = NULL;
	for (int k = 0; k < r->seed_count; k++)
		if (strlen(r->seeds[k].name) == (size_t)(dash - mark) &&
		    !memcmp(r->seeds[k].name, mark, (size_t)(dash - mark)))
			seed = &r->seeds[k];
	if (!seed || i >= seed->count)
		die("%s has a message that nobody sent: %.60s", user, mark);
	char *wanted = malloc(r->size + HEAD_BYTES);
	size_t wanted_n = message_make(wanted, r->size, seed->name, i, user);
	if (n < wanted_n || memcmp(text + n - wanted_n, wanted, wanted_n))
		die("%s: message %s-%u is not what was sent", user, seed->name, i);
	free(wanted);
	text[n - wanted_n] = 0;
	if (!message_only_trace(text))
		die("%s: message %s-%u got a field: %.300s", user, seed->name, i, text);
	if (atomic_fetch_add(&seed->got[i], 1))
		die("%s: message %s-%u is there twice", user, seed->name, i);
	atomic_fetch_add(&r->messages, 1);
}

static void verify_account(struct verify_run *r, unsigned k)
{
	struct peer p;
	char user[128], *text = malloc(r->size + 16384);
	size_t n;
	snprintf(user, sizeof user, "u%u@%s", k, r->domain);
	peer_open(&p, r->host, r->port, r->tls, 256 * 1024);
	imap_login(&p, user, r->password);
	peer_say(&p, "b SELECT INBOX\r\n");
	imap_tagged(&p, "b");
	peer_say(&p, "c UID FETCH 1:* (BODY.PEEK[])\r\n");
	for (char *line; (line = peer_line(&p, &n)), strncmp(line, "c ", 2);) {
		char *brace = strrchr(line, '{');
		if (!brace || line[n - 1] != '}')
			continue;
		size_t size = strtoul(brace + 1, NULL, 10);
		if (size > r->size + 16000)
			die("%s has a message of %zu bytes", user, size);
		peer_bytes(&p, text, size);
		text[size] = 0;
		verify_message(r, user, text, size);
	}
	peer_say(&p, "d LOGOUT\r\n");
	imap_tagged(&p, "d");
	peer_close(&p);
	free(text);
}

static void *verify_thread(void *arg)
{
	struct verify_run *r = arg;
	for (unsigned k; (k = atomic_fetch_add(&r->next, 1)) < r->accounts;)
		verify_account(r, k);
	return NULL;
}

/* Each message of each SEED exactly once, byte for byte, in the mailbox it was sent to. */
int run_verify(char **a, int seeds)
{
	struct verify_run r = {.host = a[0],
			       .port = a[1],
			       .accounts = number(a[2]),
			       .domain = a[3],
			       .password = a[4],
			       .tls = !strcmp(a[5], "tls"),
			       .size = number(a[6]),
			       .seeds = calloc((size_t)seeds, sizeof *r.seeds),
			       .seed_count = seeds};
	unsigned wanted = 0;
	for (int k = 0; k < seeds; k++) {
		char *colon = strchr(a[7 + k], ':');
		if (!colon)
			die("no SEED:COUNT: %s", a[7 + k]);
		*colon = 0;
		r.seeds[k] = (struct seed){.name = a[7 + k], .count = number(colon + 1)};
		r.seeds[k].got = calloc(r.seeds[k].count, 1);
		wanted += r.seeds[k].count;
	}
	double t = now();
	in_threads(LOAD_THREADS, verify_thread, &r);
	if (r.messages != wanted)
		die("%u messages were accepted, %u are there", wanted, r.messages);
	printf("{\"messages\": %u, \"seconds\": %.3f}\n", r.messages, now() - t);
	return 0;
}
