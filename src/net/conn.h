/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * net/conn.h: a connection, the session on it, and what it waits for (DESIGN section 2).
 *
 * A session is straight-line code that runs on a worker thread when what it waited for is there:
 * its run() looks at the buffered input, appends its replies and answers what to wait for next
 * ("park"). A parked connection holds no thread, no TLS buffers and, when idle, no I/O buffers.
 * A session is run by one worker at a time; inside it there are no locks. run() may block for
 * local work under a deadline of its own (a look-up, a small file); it parks for everything that
 * a peer or a disk decides: input, output that does not drain, verdicts, commits.
 *
 * Before run() is called all input that the kernel (and TLS) has is read, up to the input limit,
 * if the session parked for input; else nothing is read, so what conn_input() showed at a hand-over
 * is all that was taken from the peer.
 * After run() returned, net writes the output; what does not go out now drains in background,
 * and with more than out_high bytes pending run() is not called again until it has drained.
 * Processes: smtp, login (also the pump), mailbox, later web and relay.
 */
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include <netinet/in.h>
#include <sys/socket.h>

struct conn;
struct net;
struct tls_context; /* crypto/tls.h */

enum wake {
	WAKE_START,    /* first run; also again after STARTTLS has finished (conn_tls() then says so) */
	WAKE_INPUT,    /* more input than at the last run, or end of input: conn_eof() */
	WAKE_OUTPUT,   /* asked for with PARK_OUTPUT: all output has left for the kernel */
	WAKE_EVENT,    /* conn_wake() was called at least once since the last run */
	WAKE_DEADLINE, /* conn_deadline() passed, or the minimum rate was missed */
	WAKE_DRAIN,    /* the role is stopping or upgrading: finish at the next command boundary */
	WAKE_GONE,     /* the connection broke; nothing can be written; answer PARK_CLOSE */
};
/* What run() answers; PARK_INPUT, PARK_OUTPUT and PARK_EVENT may be combined. */
enum park {
	PARK_INPUT = 1,
	PARK_OUTPUT = 2,
	PARK_EVENT = 4,
	PARK_CLOSE = 8,      /* after the output has drained (60 s without progress: at once) */
	PARK_STARTTLS = 16,  /* after the output has drained: handshake with conn_start_tls()'s context */
	PARK_PUMP = 32,      /* conn_pump_to() was called: from now on net copies bytes, session ends */
	PARK_AGAIN = 64,     /* put at the end of the ready queue: a long command giving others a turn;
			      * it goes on with WAKE_EVENT */
};
struct protocol {
	const char *name;
	unsigned (*run)(struct conn *c, enum wake wake); /* on a worker */
	void (*end)(struct conn *c); /* on a worker, once, last call; frees what conn_session() holds */
};

struct conn_addr { /* small: every parked connection has two */
	union {
		struct sockaddr sa;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} addr;
	socklen_t len; /* 0: unknown (socket pair, Unix socket) */
};
/* What is known about the connection; valid until end(). Strings live in the connection. */
struct conn_facts {
	uint64_t id;             /* session id: unique in this server's life */
	struct conn_addr peer, local; /* after PROXY: what the proxy told */
	struct str peer_text;    /* "192.0.2.1", "2001:db8::1", "unix" */
	uint16_t peer_port, local_port;
	struct str service;      /* name of the listener's service */
	struct str tls_version, tls_cipher, sni; /* empty: no TLS */
	bool proxied;
	bool has_user;           /* a Unix socket: the kernel says who connected */
	uint32_t peer_uid;
	int32_t peer_pid;
	void *listener;          /* what net_listen() was given */
	unsigned kind;           /* likewise */
};
const struct conn_facts *conn_facts(const struct conn *c);
bool conn_tls(const struct conn *c);
/* Channel binding data (RFC 9266 tls-exporter, RFC 5929 tls-server-end-point), or false. */
bool conn_channel_binding(struct conn *c, struct str type, struct buf *out);

void *conn_session(const struct conn *c);
void conn_session_set(struct conn *c, void *session);
struct arena *conn_arena(struct conn *c); /* session lifetime */
struct net *conn_net(const struct conn *c);
void *conn_owner(const struct conn *c);   /* "server" given to net_listen or net_adopt */

/* Input: a view of everything buffered, valid until consume or return from run(). */
struct str conn_input(const struct conn *c);
void conn_consume(struct conn *c, size_t n);
void conn_input_limit(
	struct conn *c,
	size_t max); /* most that is buffered; default 16 KiB; at the limit WAKE_INPUT comes all the same */
bool conn_eof(const struct conn *c);

/* Output: appended to the buffer, or a file range that follows it. */
struct buf *conn_out(struct conn *c);
size_t conn_out_pending(const struct conn *c); /* bytes not yet given to the kernel, file ranges included */
void conn_out_file(struct conn *c, int fd, off_t at, size_t n); /* takes the descriptor */
enum { CONN_OUT_HIGH = 256 * 1024 }; /* a long reply should stop here and answer PARK_OUTPUT */

/* Deadline of the current park, replaced by each call; kept over runs until changed. 0: none. */
void conn_deadline(struct conn *c, int64_t ms_from_now);
/* Input must come at bytes_per_s over any 60 s while parked for input; 0 switches off. */
void conn_min_rate(struct conn *c, uint32_t bytes_per_s);

void conn_start_tls(
	struct conn *c,
	struct tls_context
		*ctx); /* then answer PARK_STARTTLS; buffered input is discarded (RFC 3207 4.2) */

/* From any thread: runs the session with WAKE_EVENT, or soon after its present run. The caller
 * holds a reference. */
void conn_wake(struct conn *c);
struct conn *conn_ref(struct conn *c);
void conn_unref(struct conn *c);

/* Hand-over (DESIGN section 1). fd is one end of a socket pair: what is buffered when the pump begins
 * goes first, so consume what went with the hand-over record; bytes are copied both ways until
 * either side ends. on_lost_text is written to the client when the pair ends without order: the
 * other process has died. (In order: it shuts its write side and closes when we have closed.) */
void conn_pump_to(struct conn *c, int fd, struct str on_lost_text);
/* A plain connection's own descriptor, taken out; the session must then answer PARK_CLOSE. */
int conn_take_fd(struct conn *c);
