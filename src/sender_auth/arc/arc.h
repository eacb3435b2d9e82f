/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * sender_auth/arc/arc.h: the Authenticated Received Chain (RFC 8617): validation and sealing.
 *
 * As in dkim/: header first, body streamed, CRLF line ends. A chain is a hint about forwarders that
 * one trusts, never more (the protocol is on its way to Historic). Results live in the arena.
 */
#pragma once
#include "base/buf.h"
#include "sender_auth/dkim/sign.h"

struct arena;
struct dns_resolver;

enum arc_status { ARC_NONE, ARC_PASS, ARC_FAIL };
const char *arc_status_name(enum arc_status s);

enum { ARC_SETS_MAX = 50 };

struct arc_set {
	struct str domain, selector; /* of the seal */
	struct str results;          /* ARC-Authentication-Results without its "i=N;" */
};
struct arc_verdict {
	enum arc_status status;
	struct str reason;
	bool temporary;      /* a key could not be fetched: it may pass later */
	unsigned n;          /* highest instance found; 0: no chain */
	const struct arc_set *sets; /* n of them, instance 1 first; only when the chain's structure is good */
	bool sealed_failed;  /* the newest seal says cv=fail: nobody adds to it any more */
};

struct arc_check;
struct arc_check *arc_check_new(struct arena *a, struct str header);
void arc_check_body(struct arc_check *c, struct str chunk);
void arc_check_end(struct arc_check *c, struct dns_resolver *r, struct arc_verdict *out);
void arc_check_free(struct arc_check *c); /* accepts NULL; the verdict stays */

struct arc_signer {
	struct str domain, selector, authserv_id;
	enum dkim_algorithm algorithm;
	struct str headers;   /* names for h=, colons between; empty: the usual, those that are there */
	int64_t time;         /* t= */
	dkim_sign_fn *sign;
	void *context;
};
struct arc_seal;
struct arc_seal *arc_seal_new(struct arena *a, const struct arc_signer *signer);
void arc_seal_body(struct arc_seal *s, struct str chunk);
/* Appends the next set, to stand on top of the message. status is what the chain came to when the
 * message arrived here; the results are those of our own Authentication-Results in the header.
 * Nothing is appended where nothing may be: the newest seal says fail, or there are 50 sets
 * (RFC 8617 5.1). */
bool arc_seal_end(struct arc_seal *s, struct str header, enum arc_status status, struct buf *out,
		  struct err *err) MUST_CHECK;
void arc_seal_free(struct arc_seal *s); /* accepts NULL */
/* What our own Authentication-Results say about the chain. false: nothing. */
bool arc_status_recorded(struct arena *a, struct str header, struct str authserv_id, enum arc_status *out);
