/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#pragma once
/*
 * bench/load.h: what the parts of the load generator share. It is a client like any other: nothing
 * of pabal's own code is in it, so that both servers are asked by the same stranger.
 *
 * Every reply is checked; a wrong one ends the program with status 1 and a line on standard error.
 */
#include <openssl/ssl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	INPUT_BYTES = 64 * 1024, /* input buffer of a connection */
	IDLE_BYTES = 8 * 1024,   /* the same where there are thousands */
	REPLY_SECONDS = 120,
	HEAD_BYTES = 1024, /* most that the header of a message takes */
	LOAD_THREADS = 4,  /* where the work is not bound to a session */
};

double now(void);
void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
/* strtoul of a whole argument, or the end of the program. */
unsigned number(const char *text);
/* Runs work(arg) in n threads; returns when all have ended. */
void in_threads(unsigned n, void *(*work)(void *), void *arg);
/* Tells run.py that the clock may start, and waits for its newline. */
void wait_for_go(void);
/* Until run.py closes the pipe. */
void wait_for_end(void);
/* Processor seconds of this process so far. */
double own_cpu(void);

/* ---- connections: peer.c ---- */

struct peer {
	int fd;
	SSL *ssl;
	char *in;
	size_t room, at, n;
};

void tls_init(void);
void peer_open(struct peer *p, const char *host, const char *port, bool with_tls, size_t room);
void peer_close(struct peer *p);
void peer_write(struct peer *p, const char *bytes, size_t n);
void peer_say(struct peer *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A line without its end, with a NUL after it; valid until the next call. */
char *peer_line(struct peer *p, size_t *out_n);
/* n bytes, such as a literal. */
void peer_bytes(struct peer *p, char *out, size_t n);

/* ---- messages: message.c ---- */

/* Message i of the run called seed, to rcpt: the same bytes always. Returns the length, at most
 * size, or what the header takes. CRLF line ends; no line begins with a dot. */
size_t message_make(char *out, size_t size, const char *seed, unsigned i, const char *rcpt);
size_t message_make_from(char *out, size_t size, const char *seed, unsigned i, const char *from,
			 const char *rcpt);
/* Lines that servers may put before a message, and nothing else. */
bool message_only_trace(const char *text);

/* ---- what can be run ---- */

/* smtp.c */
void smtp_greet(struct peer *p);
void smtp_send(struct peer *p, const char *rcpt, const char *text, size_t n);
int run_deliver(char **a);
int run_notice(char **a);
/* relay.c, spool.c */
int run_relay(char **a);
int run_spool(char **a);
/* imap.c */
void imap_login(struct peer *p, const char *user, const char *password);
/* Reads up to the tagged OK; returns the count of untagged lines. */
size_t imap_tagged(struct peer *p, const char *tag);
int run_login(char **a);
int run_idle(char **a);
int run_append(char **a);
int run_fetch(char **a, int commands);
int run_verify(char **a, int seeds);
/* disk.c */
int run_maildir(char **a);
int run_fsync(char **a);
