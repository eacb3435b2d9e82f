/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * auth/sasl.h: the server's side of SASL (RFC 4422) as a machine without input or output.
 *
 * PLAIN (RFC 4616), LOGIN (draft-murchison-sasl-login), SCRAM-SHA-1, SCRAM-SHA-256 and their -PLUS forms
 * (RFC 5802, 7677). ANONYMOUS, EXTERNAL and all others are refused. The auth role holds one per (channel,
 * attempt id); the door relays raw bytes: base64, "=" for an empty initial response and "*" for
 * cancelling belong to the door's protocol.
 *
 *   step = sasl_begin(&start, &s, err)
 *   SASL_CHALLENGE         send sasl_challenge(s), then sasl_step(s, response)
 *   SASL_NEED_VERDICT      check sasl_user(s) and sasl_password(s), then sasl_verdict(s, right)
 *   SASL_NEED_CREDENTIALS  look up sasl_user(s), then sasl_credentials(s, verifier)
 *   SASL_SUCCESS           sasl_user(s) is authenticated
 *   SASL_FAILURE           err has the reason; ERR_SYNTAX: bad message, ERR_DENIED: wrong credentials,
 *                          ERR_NOT_FOUND: no such mechanism, ERR_CONFLICT: channel binding
 * SCRAM sends its last message as a challenge that an empty response answers (RFC 4954 and RFC 3501
 * have no data with success); the credentials are proven before it is sent.
 *
 * All input may be hostile. Calls in the wrong order fail the attempt. Not locked; secrets are wiped.
 */
#pragma once
#include "base/err.h"

struct scram_verifier;

enum {
	SASL_MESSAGE_MAX = 9216, /* decoded bytes of one response: 12,288 in base64 (RFC 4954 4) */
	SASL_USER_MAX = 320,
	SASL_PASSWORD_MAX = 1024,
};

enum sasl_mechanism {
	SASL_PLAIN, SASL_LOGIN, SASL_SCRAM_SHA_1, SASL_SCRAM_SHA_256, SASL_SCRAM_SHA_1_PLUS,
	SASL_SCRAM_SHA_256_PLUS, SASL_MECHANISM_COUNT
};
const char *sasl_mechanism_name(enum sasl_mechanism m);
bool sasl_mechanism_find(struct str name, enum sasl_mechanism *out); /* case ignored */
/* The password itself passes in PLAIN and LOGIN: only under TLS (R56). */
bool sasl_mechanism_plaintext(enum sasl_mechanism m);
bool sasl_mechanism_needs_binding(enum sasl_mechanism m);

enum sasl_step { SASL_CHALLENGE, SASL_NEED_VERDICT, SASL_NEED_CREDENTIALS, SASL_SUCCESS, SASL_FAILURE };

struct sasl_start {
	struct str mechanism;
	bool has_initial;
	struct str initial;
	/* Of the TLS session, raw; all empty on a plain connection. Copied. */
	struct str binding_exporter, binding_unique, binding_server_end_point;
	/* A -PLUS mechanism was offered to this client: one that says "I could, you could not" ("y") is then
	 * a sign of an attacker in between (RFC 5802 6). */
	bool plus_offered;
	struct str nonce; /* server's part; empty: random. For test vectors */
};

struct sasl;
/* *out is set even on failure; free it. */
enum sasl_step sasl_begin(const struct sasl_start *start, struct sasl **out, struct err *err) MUST_CHECK;
enum sasl_step sasl_step(struct sasl *s, struct str response, struct err *err) MUST_CHECK;
enum sasl_step sasl_verdict(struct sasl *s, bool right, struct err *err) MUST_CHECK;
/* The verifier must be of sasl_scram_hash(s); a fake one (scram_verifier_fake) for unknown users: the
 * client then sees a failure like any other. Copied. NULL: temporary failure, ends the attempt. */
enum sasl_step sasl_credentials(struct sasl *s, const struct scram_verifier *v, struct err *err) MUST_CHECK;
void sasl_free(struct sasl *s); /* wipes; accepts NULL */

enum sasl_mechanism sasl_mechanism(const struct sasl *s);
int sasl_scram_hash(const struct sasl *s); /* enum scram_hash, or -1 if it is none of these */
struct str sasl_challenge(const struct sasl *s); /* until the next call */
/* Authentication identity, prepared (SASLprep; ASCII unchanged). An authorization identity that differs from
 * it has been refused: nobody acts for others here. */
struct str sasl_user(const struct sasl *s);
struct str sasl_password(const struct sasl *s); /* in SASL_NEED_VERDICT only; not prepared */
