/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* auth/sasl_int.h: the attempt, for sasl*.c. */
#pragma once
#include "auth/auth_int.h"
#include "auth/sasl.h"
#include "auth/scram.h"
#include "base/buf.h"
#include "base/secret.h"

enum { SASL_BINDING_MAX = 128, SASL_NONCE_MAX = 512 };
enum sasl_binding {
	SASL_BINDING_EXPORTER,
	SASL_BINDING_UNIQUE,
	SASL_BINDING_SERVER_END_POINT,
	SASL_BINDING_COUNT
};

enum sasl_state {
	SASL_STATE_PLAIN, /* the one message of PLAIN */
	SASL_STATE_LOGIN_USER,
	SASL_STATE_LOGIN_PASSWORD,
	SASL_STATE_SCRAM_FIRST, /* client-first-message */
	SASL_STATE_SCRAM_FINAL, /* client-final-message */
	SASL_STATE_SCRAM_END,   /* proven; the empty response to server-final-message */
	SASL_STATE_VERDICT,     /* sasl_verdict() */
	SASL_STATE_CREDENTIALS, /* sasl_credentials() */
	SASL_STATE_DONE,
};

struct sasl {
	enum sasl_mechanism mechanism;
	enum sasl_state state;
	struct buf challenge, user;
	struct secret password;
	/* SCRAM */
	int scram_hash;
	bool plus, plus_offered;
	struct buf binding[SASL_BINDING_COUNT];
	enum sasl_binding bound; /* what the client named; plus only */
	struct buf gs2_header;   /* as sent, with both commas */
	struct buf client_first; /* client-first-message-bare */
	struct buf server_first;
	struct buf nonce; /* client's and server's */
	struct buf server_nonce;
	struct scram_verifier verifier;
};

enum sasl_step sasl_fail(struct sasl *s, struct err *err, enum err_kind kind, const char *text);
enum sasl_step sasl_send(struct sasl *s, struct str challenge, enum sasl_state next);
bool sasl_take_user(struct sasl *s, struct str name, struct err *err) MUST_CHECK;
bool sasl_check_authzid(const struct sasl *s, struct str authzid, struct err *err) MUST_CHECK;

enum sasl_step sasl_plain_message(struct sasl *s, struct str message, struct err *err);
enum sasl_step sasl_login_user(struct sasl *s, struct str message, struct err *err);
enum sasl_step sasl_login_password(struct sasl *s, struct str message, struct err *err);
enum sasl_step sasl_scram_first(struct sasl *s, struct str message, struct err *err);
enum sasl_step sasl_scram_challenge(struct sasl *s);
enum sasl_step sasl_scram_final(struct sasl *s, struct str message, struct err *err);
