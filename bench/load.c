/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * bench/load.c: the client side of the benchmark, the same for every server measured.
 *
 *   deliver HOST PORT SESSIONS MESSAGES SIZE ACCOUNTS DOMAIN SEED IMAPS_PORT PASSWORD
 *   notice  HOST PORT MESSAGES SIZE ACCOUNT SEED IMAPS_PORT PASSWORD
 *   login   HOST PORT THREADS LOGINS ACCOUNTS DOMAIN PASSWORD plain|tls
 *   idle    HOST PORT CONNECTIONS ACCOUNTS DOMAIN PASSWORD plain|tls
 *   fetch   HOST PORT ACCOUNT PASSWORD plain|tls ROUNDS COMMAND...
 *   append  HOST PORT CONNECTIONS MESSAGES SIZE ACCOUNTS DOMAIN SEED PASSWORD plain|tls
 *   verify  HOST PORT ACCOUNTS DOMAIN PASSWORD plain|tls SIZE SEED:COUNT...
 *   maildir DIRECTORY COUNT SEED UID GID
 *   fsync   DIRECTORY SECONDS
 *   spool   TEMPLATE DIRECTORY COUNT UID GID
 *   relay   HOST PORT SESSIONS MESSAGES SIZE RCPTS DOMAINS DEAD SEED ACCOUNT PASSWORD SINK_PORT
 *
 * Accounts are u0 to u(ACCOUNTS - 1) at DOMAIN. Each prints one line of JSON. deliver prints
 * {"ready": true} first, when all are connected, and waits for a newline on standard input, and so does
 * relay; these and idle stay connected after their line until standard input ends, so that bench/run.py can
 * measure the server in between.
 */
#include "load.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

double own_cpu(void)
{
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

void die(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	char line[2048];
	vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	fprintf(stderr, "bench-load: %s\n", line);
	_exit(1); /* other threads are at work */
}

unsigned number(const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);
	if (!*text || *end || n > 100000000)
		die("not a number: %s", text);
	return (unsigned)n;
}

void in_threads(unsigned n, void *(*work)(void *), void *arg)
{
	pthread_t *threads = calloc(n, sizeof *threads);
	for (unsigned i = 0; i < n; i++)
		if (pthread_create(&threads[i], NULL, work, arg))
			die("cannot start a thread");
	for (unsigned i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	free(threads);
}

void wait_for_go(void)
{
	printf("{\"ready\": true}\n");
	fflush(stdout);
	if (getchar() == EOF)
		die("nobody waits any more");
}

void wait_for_end(void)
{
	fflush(stdout);
	while (getchar() != EOF)
		;
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	tls_init();
	const char *what = argc > 1 ? argv[1] : "";
	char **a = argv + 2;
	if (!strcmp(what, "deliver") && argc == 12)
		return run_deliver(a);
	if (!strcmp(what, "notice") && argc == 10)
		return run_notice(a);
	if (!strcmp(what, "login") && argc == 10)
		return run_login(a);
	if (!strcmp(what, "idle") && argc == 9)
		return run_idle(a);
	if (!strcmp(what, "fetch") && argc >= 9)
		return run_fetch(a, argc - 8);
	if (!strcmp(what, "append") && argc == 12)
		return run_append(a);
	if (!strcmp(what, "verify") && argc >= 10)
		return run_verify(a, argc - 9);
	if (!strcmp(what, "maildir") && argc == 7)
		return run_maildir(a);
	if (!strcmp(what, "fsync") && argc == 4)
		return run_fsync(a);
	if (!strcmp(what, "spool") && argc == 7)
		return run_spool(a);
	if (!strcmp(what, "relay") && argc == 14)
		return run_relay(a);
	die("usage: see the head of bench/load.c");
}
