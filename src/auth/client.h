/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * auth/client.h: what a door (smtp, login) sees of the auth role, and how it hands over.
 *
 * Function pointers, so that protocol tests can play auth. The real ones are in proc/.
 * Callbacks come on any thread, exactly once; the session is woken with conn_wake() by them.
 */
#pragma once
#include "base/err.h"
#include "base/str.h"

struct conn;
struct config;
struct tls_context;

enum auth_outcome { AUTH_CHALLENGE, AUTH_SUCCESS, AUTH_WRONG, AUTH_TEMP, AUTH_DENIED, AUTH_SYNTAX };
struct auth_result { /* strings valid during the callback only */
	enum auth_outcome outcome;
	struct str data;    /* challenge, or additional data with success; raw, not base64 */
	struct str account; /* canonical address */
	uint64_t account_id;
	struct str user;    /* as the client wrote it */
	struct str ticket;  /* login: ticket for mailbox; submission: MAC kept with the message */
	uint32_t delay_ms;  /* wait, parked, before the client is told */
	struct str why;     /* for the log */
};
typedef void auth_done(void *ctx, const struct auth_result *r);

/* Whom the client of a client speaks for: Dovecot's authentication protocol (auth/dovecot.h). */
struct auth_origin {
	struct str peer; /* address text; failures count on it */
	bool tls;
};
struct auth_client {
	void *ctx;
	/* "SCRAM-SHA-256 PLAIN LOGIN", -PLUS when cb is there is the door's part */
	struct str (*mechanisms)(void *ctx);
	/* initial NULL: none given. Channel binding and addresses are taken from the connection. The
	 * attempt number (unique in this process) is returned. */
	uint64_t (*begin)(void *ctx, struct conn *c, struct str mechanism, const struct str *initial,
			  auth_done *done, void *done_ctx);
	void (*step)(void *ctx, uint64_t attempt, struct str response, auth_done *done, void *done_ctx);
	void (*cancel)(void *ctx, uint64_t attempt); /* the client went away or wrote "*" */
	/* begin, for another program's connection: no channel binding. */
	uint64_t (*begin_for)(void *ctx, struct conn *c, const struct auth_origin *origin,
			      struct str mechanism, const struct str *initial, auth_done *done,
			      void *done_ctx);
};

/* Hand-over of a connection after login to mailbox (PROCESSES C2). */
struct handover_record {
	struct str service, ticket, account, tag, final_data, client_id;
};
struct networks; /* config/networks.h */
struct door_listener { /* conn_facts()->listener; NULL: DOOR_TLS_MAY, no networks */
	enum { DOOR_TLS_NONE, DOOR_TLS_MAY, DOOR_TLS_REQUIRED } tls;
	const struct networks *plaintext_auth_from; /* besides auth.plaintext_networks; NULL: none */
};
struct door { /* conn_owner() of imap_login_protocol and pop3_login_protocol */
	struct auth_client auth;
	void *ctx;
	const struct config *(*config)(void *ctx);   /* current snapshot, counted: config_unref */
	struct tls_context *(*tls)(void *ctx);       /* NULL: no certificate */
	/* Sends the record, the unread input and one end of a socket pair (or the connection itself when
	 * plain); parks up to 5 s for a process that is down. done: err NULL = taken; the session has
	 * then to answer PARK_PUMP (TLS; conn_pump_to was called) or PARK_CLOSE (plain). */
	void (*hand_over)(void *ctx, struct conn *c, const struct handover_record *r,
			  void (*done)(void *done_ctx, const struct err *err), void *done_ctx);
};
