/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * net/net.h: event threads, worker pool and listeners of a role (DESIGN section 2).
 *
 * Workers: 32, up to 512 while some block (net_block_begin/_end mark a wait in mid-code). Shares
 * of the workers: handshakes 1/4, before login 1/2, one network (/24, /56) 1/4, one group key
 * (account) 4. Accept: each listener knows its limits; when full, the oldest connection that is
 * "before login" goes. No SSL object before the ClientHello is whole (peek).
 */
#pragma once
#include "net/conn.h"

struct net_options {
	unsigned workers, workers_max, event_threads; /* 0: defaults 32, 512, 1 */
	size_t memory_budget;                         /* bytes in I/O buffers; 0: 256 MiB */
	unsigned max_connections;                     /* 0: none */
	/* Milliseconds; 0: as DESIGN section 2. */
	unsigned stall_ms;       /* output without progress: 60 s */
	unsigned rate_window_ms; /* of conn_min_rate(): 60 s */
	unsigned handshake_ms;   /* TLS: 15 s */
	unsigned proxy_ms;       /* PROXY header: 5 s */
	unsigned linger_ms;      /* after our last byte, for the peer's: 2 s */
};
struct net *net_new(const struct net_options *o);
bool net_start(struct net *n, struct err *err) MUST_CHECK; /* after the sandbox: starts threads */
void net_free(struct net *n);                              /* stops and joins */

struct net_network { /* an address and prefix length; config makes lists of them */
	struct conn_addr addr;
	unsigned prefix;
};
struct net_networks {
	const struct net_network *list;
	size_t n;
};
bool net_networks_have(struct net_networks l, const struct conn_addr *a);

struct net_listener {
	int fd;               /* listening TCP or Unix stream socket, non-blocking; taken */
	const char *service;
	const struct protocol *protocol;
	void *owner;          /* conn_owner() */
	struct tls_context *implicit_tls; /* NULL: plain at first */
	struct net_networks
		proxy_from; /* PROXY v1/v2 header required from these (5 s), refused from others */
	struct net_networks exempt; /* from the two limits below */
	unsigned per_source_max;  /* connections of one address (/64 for IPv6); 0: none */
	unsigned per_source_rate; /* new connections a minute; 0: none */
	const char *busy_text;    /* written when a limit refuses: "421 4.7.0 ...\r\n" */
	void *listener;           /* conn_facts()->listener */
	unsigned kind;            /* conn_facts()->kind */
	/* Taken, NULL: none. Where service, listener and what it points to stand: freed when the listener and
	 * all its connections are gone. */
	struct arena *arena;
};
bool net_listen(struct net *n, const struct net_listener *l,
		struct err *err) MUST_CHECK; /* copies, lists too; from net_start() on */
/* Ends the listener that was given this pointer, soon and on an event thread. last: nobody else listens on
 * its socket, so what waits there is accepted first, and all its connections but the pumped get
 * WAKE_DRAIN. Otherwise they go on. */
void net_unlisten(struct net *n, const void *listener, bool last);
/* New context for every listener that has one (reload); a reference is taken. */
void net_set_tls(struct net *n, struct tls_context *ctx);

/* A connected descriptor (hand-over, tests) with its session already known. input is what the
 * former owner had read. facts are copied. group_key limits workers of one account. */
bool net_adopt(struct net *n, int fd, const struct protocol *p, void *owner, const struct conn_facts *facts,
	       struct str input, struct str group_key, struct err *err) MUST_CHECK;

void conn_logged_in(struct conn *c, struct str group_key); /* no longer "before login" */
void net_block_begin(struct net *n); /* this worker is about to wait; another may be started */
void net_block_end(struct net *n);

/* Runs fn(ctx) on a worker, soon. */
void net_run(struct net *n, void (*fn)(void *ctx), void *ctx);
/* Calls fn on the event thread when fd is readable; fn must not block. For channels. */
bool net_watch(struct net *n, int fd, void (*fn)(void *ctx), void *ctx, struct err *err) MUST_CHECK;
/* fn is not called again once this returns; the descriptor stays the caller's. Not from a worker that
 * fn waits for; from fn itself it may be called. */
void net_unwatch(struct net *n, int fd);
/* Calls fn on a worker every ms; a call that is due while the last one still runs is left out. */
void net_timer(struct net *n, int64_t every_ms, void (*fn)(void *ctx), void *ctx);

void net_drain(struct net *n);   /* close listeners' accept, WAKE_DRAIN to all */
struct net_counts {
	unsigned connections, parked, before_login, pumps, workers, workers_blocked;
	uint64_t accepted, refused;
};
void net_counts(struct net *n, struct net_counts *out);
