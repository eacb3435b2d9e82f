/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * queue/relay.h: what queue asks of the relay and dns roles (DESIGN section 1: queue schedules and
 * owns the spool, relay talks to remote servers and owns nothing, dns resolves).
 *
 * Function pointers in struct queue_services; the real ones are in proc/queue.c over channels,
 * tests play them. Callbacks come once, on any thread.
 */
#pragma once
#include "base/arena.h"
#include "base/err.h"
#include "mail/envelope.h"
#include "mail/status.h"

/* ---- where a domain's mail goes ----------------------------------------------------------- */
enum route_kind {
	ROUTE_MX,        /* hosts by preference; no MX: the domain itself (RFC 5321 5.1) */
	ROUTE_NULL_MX,   /* RFC 7505: bounce 556 5.1.10 */
	ROUTE_NXDOMAIN,  /* bounce 5.1.2 */
	ROUTE_LOOP,      /* the best host is ourselves: bounce 5.4.6 (RFC 5321 5.1) */
	ROUTE_TEMP,      /* DNS cannot say just now: never a bounce before the message expires */
};
struct route_answer {
	enum route_kind kind;
	struct str hosts;     /* MX names, best first, separated by one space; valid during the callback */
	uint32_t ttl_s;
	bool secure;          /* the MX set was proven by DNSSEC */
	bool verify;          /* certificates must be valid for the hosts (MTA-STS, mode enforce) */
	const char *why;      /* TEMP: for people; NULL: the name servers do not answer */
};
typedef void route_done(void *ctx, const struct route_answer *a);

/* ---- one transaction with a remote server -------------------------------------------------- */
enum relay_tls {
	RELAY_TLS_NONE,
	RELAY_TLS_MAY,
	RELAY_TLS_ENCRYPT,
	RELAY_TLS_VERIFY,
	RELAY_TLS_SECURE,
	RELAY_TLS_DANE
};
struct relay_job {
	struct id id;            /* message id, for the log of both sides */
	struct str destination;  /* connections are reused per destination: group name, or domain */
	struct str domain;       /* the recipients' domain, or the smarthost's setting */
	struct str
		hosts; /* in order, by one space: "mx1.example.org mx2.example.org:2525 [192.0.2.1]" */
	uint16_t port;           /* of hosts without one */
	bool lmtp;
	enum relay_tls tls;
	enum relay_tls tls_else; /* DANE: for hosts that have no TLSA records */
	bool mx_secure;          /* the hosts' names are proven by DNSSEC, or the administrator's */
	struct str auth_user, auth_password; /* smarthost login; empty: none */
	struct str helo, source_address;     /* our name; address to bind, empty: any */
	uint32_t messages_per_connection;    /* 0: no limit */
	uint32_t rcpts_per_message;          /* more go in further transactions; 0: no limit */
	const struct envelope
		*envelope; /* reverse-path, SMTPUTF8, BODY, RET, ENVID, REQUIRETLS; rcpt not used */
	const struct recipient *rcpt;        /* this transaction's recipients, with NOTIFY and ORCPT */
	size_t rcpt_n;
	bool own_notice;         /* made here: a bounce, a delivery notice; not sent to relay */
	struct str content;      /* whole message, or */
	int content_fd;          /* >= 0: content followed by this file from offset 0; stays the caller's */
	uint64_t content_fd_bytes;
};
/* How far one may conclude from a failure. */
enum relay_scope {
	RELAY_RECIPIENT,   /* this recipient: RCPT was refused, or LMTP's answer */
	RELAY_MESSAGE,     /* this message: MAIL, DATA or the end of data was refused */
	RELAY_SESSION,     /* this connection: greeting, EHLO, a 421, broken off: other messages too */
	RELAY_HOSTS,       /* no host of the destination could be reached or trusted (TLS policy) */
};
struct relay_reply {
	enum relay_scope scope;
	int code;               /* 250; 0: no reply (timeout, connection refused, TLS failure) */
	struct status status;   /* enhanced, or made from the code */
	struct str text;        /* "550 5.1.1 no such user", or our own words; no CR LF */
	bool sure;              /* false: broken off after the final dot: the peer may have it (RFC 1047) */
	enum outcome outcome;   /* for the words to people when there is no reply */
	bool relayed_dsn;       /* accepted, and the peer promised DSN: no success notice from us */
};
struct relay_result {      /* valid during the callback */
	const struct relay_reply *rcpt; /* one per recipient, in order */
	size_t rcpt_n;
	struct str mta;         /* the host that answered last, "mx1.example.org" */
	struct str mta_address; /* its address */
	struct str tls;         /* "TLSv1.3 TLS_AES_256_GCM_SHA384 verified", empty: plain */
	bool reused;            /* went over a connection that was open already */
	uint32_t ms;            /* from the start of the transaction to its last reply */
};
typedef void relay_done(void *ctx, const struct relay_result *r);

struct relay_services {
	void *ctx;
	void (*route)(void *ctx, struct str domain, route_done *done, void *done_ctx);
	/* Strings of the job are copied before it returns. The number of jobs under way is the caller's. */
	void (*relay)(void *ctx, const struct relay_job *job, relay_done *done, void *done_ctx);
};
