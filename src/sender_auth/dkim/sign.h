/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * sender_auth/dkim/sign.h: signatures for a message (RFC 6376 section 5, RFC 8301, RFC 8463).
 *
 * The body is streamed through, then the header is given; what comes back goes on top of it. The
 * operation with the private key is a callback, so the key may live in another process: it gets
 * the text that is signed, which always ends in "dkim-signature:...; b=" (simple:
 * "DKIM-Signature:"), and it hashes itself. The message must be as it leaves: CRLF, no line over
 * 998 octets, 7 bit where the next hop wants that (5.3).
 */
#pragma once
#include "base/buf.h"
#include "sender_auth/dkim/dkim.h"

struct arena;
struct key;

/* The signature's octets are appended to sig. */
typedef bool dkim_sign_fn(void *context, enum dkim_algorithm algorithm, struct str text, struct buf *sig,
			  struct err *err);

struct dkim_signer {
	struct str domain, selector; /* d=, s=; as A-labels */
	struct str identity;         /* i=, "@domain" or an address in it; empty: no i= */
	enum dkim_algorithm algorithm;
	enum dkim_canon header_canon, body_canon; /* DKIM_RELAXED is what one wants */
	struct str headers;  /* names to sign as often as they occur, colons between; empty: the usual */
	struct str oversign; /* names to sign once more than they occur; empty: the usual; "-": none */
	int64_t time;                /* t=; 0: none */
	int64_t lifetime_s;          /* x= this much after t=; 0: none */
	dkim_sign_fn *sign;
	void *context;
};
/* From is always signed. Both lists are for people to change (settings). */
extern const char dkim_headers_default[], dkim_oversign_default[];

struct dkim_sign;
/* Up to DKIM_SIGNATURES_MAX signers, e.g. RSA and Ed25519; they and their strings must stay. */
struct dkim_sign *dkim_sign_new(struct arena *a, const struct dkim_signer *signers, size_t n);
void dkim_sign_body(struct dkim_sign *s, struct str chunk);
/* Appends one DKIM-Signature field per signer, in their order. On failure out is as before:
 * ERR_SYNTAX (no From, a signer that cannot be written), ERR_LIMIT, or what the callback said. */
bool dkim_sign_end(struct dkim_sign *s, struct str header, struct buf *out, struct err *err) MUST_CHECK;
void dkim_sign_free(struct dkim_sign *s); /* accepts NULL */

/* The callback for a key of this process; context is the struct key. */
bool dkim_sign_with_key(void *context, enum dkim_algorithm algorithm, struct str text, struct buf *sig,
			struct err *err);
