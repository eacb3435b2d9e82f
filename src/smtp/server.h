/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * smtp/server.h: the SMTP, submission and LMTP server (RFC 5321, 6409, 2033) as a net protocol.
 *
 * Runs in the smtp role. Everything outside the protocol comes through struct smtp_services, so
 * that a test can play them. 250 after the end of data is written only when accept()'s callback
 * said the message is durable.
 */
#pragma once
#include "auth/client.h"
#include "base/err.h"
#include "net/net.h"

struct config;
struct envelope; /* mail/envelope.h */
struct dns_resolver;
struct public_suffixes;
struct tls_context;
struct net_networks;

/* SMTP_LOCAL: users of this host on a Unix socket, known by the kernel (R86). */
enum smtp_kind { SMTP_MX, SMTP_SUBMISSION, SMTP_LMTP, SMTP_LOCAL };
enum smtp_tls_mode { SMTP_TLS_NONE, SMTP_TLS_MAY, SMTP_TLS_REQUIRED };

enum rcpt_verdict {
	RCPT_UNKNOWN, /* our domain, no such recipient */
	RCPT_LOCAL,
	RCPT_REMOTE,  /* not our domain: relaying, for those who may */
	RCPT_TEMP,
	RCPT_DISABLED,
	RCPT_OVER_QUOTA,
	RCPT_FORWARD, /* our domain, but an alias leads only elsewhere: no relaying, whoever asks */
};

struct smtp_sender {
	struct str account, ticket; /* of the login */
	struct str address;
};

struct smtp_services {
	void *ctx;
	/* May block for a short time (auth process, cached). address: "local@domain", the local-part
	 * quoted where needed, or a local-part alone ("postmaster"). canonical lives in the arena; empty:
	 * as asked. */
	enum rcpt_verdict (*rcpt)(void *ctx, struct str address, struct arena *a, struct str *out_canonical);
	/* R79: may this account use this address in MAIL and From? 0 no, 1 yes, 2 temporary. On 1
	 * *out_ticket is what a DKIM signature of the address's domain needs, in the arena; or empty. */
	int (*sender)(void *ctx, const struct smtp_sender *who, struct arena *a, struct str *out_ticket);
	struct auth_client auth;
	/* Takes the message: header fields added here and what the client sent, in content followed by what
	 * was written to the side file (side not NULL: it is taken, whatever the outcome). Envelope and
	 * content live until done. done, on any thread, exactly once unless accept answered false:
	 * err NULL = durable, queued. */
	bool (*accept)(void *ctx, const struct envelope *e, struct str content, void *side,
		       void (*done)(void *done_ctx, const struct err *err), void *done_ctx, struct err *err);
	bool (*side_begin)(void *ctx, void **out_side, struct err *err);
	bool (*side_write)(void *ctx, void *side, struct str bytes, struct err *err);
	void (*side_discard)(void *ctx, void *side);
	/* For the questions about one message; blocks, under a limit of its own, and is freed by the caller.
	 * NULL: mail is not checked. */
	struct dns_resolver *(*resolver)(void *ctx);
	const struct public_suffixes *suffixes; /* may be NULL */
	int (*pressure)(void *ctx); /* 0 ok, 1 slow down, 2 answer 452 */
	/* LMTP answers per recipient; durable means all accepted recipients get 250. */
};

struct smtp_users { /* numbers of users; NULL instead: all */
	struct smtp_user_range {
		uint32_t first, last;
	} *v;
	size_t n;
};

struct smtp_listener { /* conn_facts()->listener */
	uint32_t index; /* in the configuration; goes into the envelope */
	enum smtp_kind kind;
	enum smtp_tls_mode tls;
	struct net_networks plaintext_auth_from, xclient_from;
	const struct smtp_users *users; /* SMTP_LOCAL: who may hand in mail */
};
/* What sessions share: rates per source and account, memory of bodies. One per process. */
struct smtp_limits;
struct smtp_limits *smtp_limits_new(void);
void smtp_limits_free(struct smtp_limits *l); /* accepts NULL */

struct smtp_server { /* conn_owner() */
	struct smtp_services services;
	struct smtp_limits *limits;
	const struct config *(*config)(void *ctx); /* current snapshot, counted */
	struct tls_context *(*tls)(void *ctx); /* NULL: no certificate; not counted, valid for a while */
	void *ctx;
};
extern const struct protocol smtp_protocol;
