/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * smtp/client/client.h: the sending side of SMTP and LMTP (RFC 5321, RFC 2033) with PIPELINING, SIZE,
 * 8BITMIME, SMTPUTF8, DSN, CHUNKING, STARTTLS, REQUIRETLS, LIMITS, AUTH as the peer offers them.
 *
 * Straight-line and blocking, with a deadline for each reply (RFC 5321 4.5.3.2): relay runs it on a
 * thread of its own. The peer is hostile: endless lines, endless replies, silence, lies end the
 * session with a temporary failure and cost bounded memory. Replies become struct relay_reply.
 */
#pragma once
#include "queue/relay.h"
#include <sys/socket.h>

struct smtp_client;
struct tls_context;
struct tls_tlsa;

struct smtp_client_options {
	struct sockaddr_storage address;
	socklen_t address_len;
	struct sockaddr_storage source; /* source_len 0: any */
	socklen_t source_len;
	struct str host;          /* the peer's name: SNI, verification, log */
	struct str helo;
	bool lmtp;
	enum relay_tls tls;
	struct tls_context *context, *context_verify, *context_dane; /* context NULL: no TLS */
	struct str
		domain; /* SECURE: the certificate is for it or a host below; DANE usage 2: or for it */
	struct str dane_host;     /* TLSA base domain (RFC 7672 2.2.3) */
	const struct tls_tlsa *tlsa; /* DANE: at least one */
	size_t tlsa_n;
	struct str auth_user, auth_password;
	int64_t connect_ms, reply_ms; /* 0: 30 s, 300 s */
	int64_t until_ms;         /* monotonic clock: everything fails after it, however busy; 0: never */
};
/* Connects, greets, starts TLS and logs in as told. On failure *out_reply says how far it came (scope
 * RELAY_SESSION or RELAY_HOSTS), text and all in the arena. With RELAY_TLS_MAY a handshake that fails
 * is tried again without TLS. */
bool smtp_client_open(const struct smtp_client_options *o, struct arena *a, struct smtp_client **out,
		      struct relay_reply *out_reply);
/* One transaction; replies has job->rcpt_n places. False: the session cannot be used again (close
 * it). Strings in the replies live in the arena. */
bool smtp_client_send(struct smtp_client *c, const struct relay_job *job, struct arena *a,
		      struct relay_reply *replies);
/* A new end of patience, for a connection that was kept. */
void smtp_client_until(struct smtp_client *c, int64_t until_ms);
/* Is the connection still quiet and open? For one that was kept. */
bool smtp_client_alive(struct smtp_client *c);
/* QUIT where that makes sense, not waited for. Accepts NULL. */
void smtp_client_close(struct smtp_client *c);

struct str smtp_client_host(const struct smtp_client *c);
struct str smtp_client_tls(const struct smtp_client *c, struct arena *a); /* "TLSv1.3 ...", empty: plain */
unsigned smtp_client_sent(const struct smtp_client *c); /* transactions so far */
