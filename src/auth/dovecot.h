/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * auth/dovecot.h: Dovecot's authentication protocol, version 1.2, its client's side of the wire: how Postfix
 * (smtpd_sasl_type = dovecot), Exim and others ask a server who somebody is (R68).
 *
 * Lines end in LF, fields are parted by TAB; in a field \001 begins an escape (\001t is TAB). The server
 * greets with VERSION, MECH, SPID, CUID, COOKIE, DONE. "AUTH id mechanism parameters" is answered by CONT
 * with a challenge, OK with the user, or FAIL; many may be under way. What the client says about
 * its own client (rip, secured) is believed: the socket's permissions decide who may ask.
 *
 * Runs in the login role; conn_owner() is its struct door.
 */
#pragma once
#include "auth/client.h"
#include "base/buf.h"

struct protocol;
extern const struct protocol dovecot_auth_protocol;

enum dovecot_verb {
	DOVECOT_AUTH,
	DOVECOT_CONT,
	DOVECOT_CANCEL,
	DOVECOT_VERSION,
	DOVECOT_CPID,
	DOVECOT_OTHER
};
struct dovecot_request {
	enum dovecot_verb verb;
	uint32_t id;
	struct str mechanism;
	struct str peer;    /* rip=; empty: not said */
	bool secured;       /* TLS between it and its client */
	bool has_response;
	struct buf response; /* decoded; the caller wipes and frees it */
	uint32_t major;     /* VERSION */
};
enum { DOVECOT_LINE_MAX = 16384 };
/* One line without its LF. Unknown verbs are DOVECOT_OTHER, unknown parameters passed over. ERR_SYNTAX. */
bool dovecot_request_parse(struct str line, struct dovecot_request *out, struct err *err) MUST_CHECK;
void dovecot_request_free(struct dovecot_request *r);
/* Appends a field, with TAB, LF, CR, NUL and \001 escaped. */
void dovecot_escape(struct buf *out, struct str s);
