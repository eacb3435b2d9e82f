/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * auth/login.h: what the doors of IMAP and POP3 do alike before login: who may send a password,
 * which mechanisms are offered, an attempt with its delays, and the hand-over (DESIGN section 1,
 * PROCESSES C2). The protocols write the replies. Callbacks of auth and of the hand-over only
 * store and wake; everything here runs on the session's worker.
 */
#pragma once
#include "auth/client.h"
#include "base/buf.h"
#include "net/conn.h"

struct attempt;
struct pending;

enum login_state {
	LOGIN_COMMANDS, /* wait for the client's command */
	LOGIN_RESPONSE, /* wait for the client's line of SASL data */
	LOGIN_WAITING,  /* wait for auth, for a delay to pass, or for the mailbox process: PARK_EVENT */
};
enum login_event {
	LOGIN_NOTHING,
	LOGIN_CHALLENGE, /* send result->data; the state is LOGIN_RESPONSE */
	LOGIN_REFUSED,   /* result->outcome says why; the state is LOGIN_COMMANDS */
	LOGIN_TAKEN,     /* handed over: answer login_park_taken() */
	LOGIN_TIMEOUT,   /* the time to log in is over */
};
enum { LOGIN_FAILURES_MAX = 10 };

struct login {
	struct conn *conn;
	const struct door *door;
	const struct config *config; /* counted; the snapshot the connection began with */
	enum login_state state;
	struct attempt *attempt;
	struct pending *pending;     /* of the hand-over */
	bool answered;               /* auth has answered; the delay is running */
	int64_t deliver_ms;          /* monotonic, end of the delay */
	int64_t ends_ms;             /* monotonic, end of the time to log in */
	unsigned failures;
	char mechanism[32];
	struct buf tag, client_id;   /* of the hand-over record; the protocol sets them */
};

void login_init(struct login *l, struct conn *c, int64_t timeout_ms);
void login_fini(struct login *l); /* cancels what is under way */

/* R56: under TLS, or from a network that the listener or the settings name. */
bool login_password_allowed(const struct login *l);
bool login_starttls_offered(const struct login *l); /* not under TLS yet, and there is a certificate */
/* Mechanisms for this connection, each with prefix in front ("" or " AUTH="), separated by sep. */
void login_mechanisms(const struct login *l, struct str prefix, struct str sep, struct buf *out);
bool login_mechanism_offered(const struct login *l, struct str mechanism);

/* initial NULL: none. The state becomes LOGIN_WAITING. */
void login_begin(struct login *l, struct str mechanism, const struct str *initial);
void login_password(struct login *l, struct str user, struct str password); /* the same with PLAIN */
/* The client's line in LOGIN_RESPONSE, without its end. false: "*", or no base64; the attempt is over. */
bool login_response(struct login *l, struct str line);

/* To be called at each run. Strings in *out live until the next call of anything here. */
enum login_event login_poll(struct login *l, enum wake wake, struct auth_result *out);
/* After LOGIN_TAKEN: PARK_PUMP or PARK_CLOSE. */
unsigned login_park_taken(const struct login *l);
void login_arm(struct login *l); /* the deadline, before parking for input */
