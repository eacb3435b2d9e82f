/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * sender_auth/dkim/verify.h: verification of a message's signatures (RFC 6376 section 6).
 *
 * The header is given first and must stay until the end; the body is streamed through. Line ends
 * are CRLF, as on the wire (dkim_to_crlf). dkim_verify_end asks the DNS and blocks as the resolver
 * does. Everything returned lives in the arena.
 */
#pragma once
#include "sender_auth/dkim/dkim.h"

struct arena;
struct dns_resolver;
struct public_suffixes;

struct dkim_verdict {
	enum dkim_result result;
	struct str domain, selector; /* "" where they could not be read */
	struct str identity;         /* i=, decoded, or "@domain" */
	struct str algorithm;        /* as written */
	struct str reason;           /* why not pass; for people and the log */
	struct str signature;        /* base64 of b=, its first 8 characters (header.b, RFC 6008) */
	unsigned key_bits;           /* 0: not known */
	bool testing;                /* t=y in the key record: treat as unsigned unless pass */
	bool secure;                 /* the key came with DNSSEC */
	int64_t time, expires;       /* -1: none */
};
struct dkim_verdicts {
	struct dkim_verdict *at;
	size_t n;      /* in the order of the header; at most DKIM_REPORTED_MAX */
	/* pass if any passes; else temperror if any; else fail; none without signatures */
	enum dkim_result result;
};

struct dkim_verify;
/* Never fails: what is wrong shows in the verdicts. suffixes may be NULL (public_suffix.h). */
struct dkim_verify *dkim_verify_new(struct arena *a, struct str header,
				    const struct public_suffixes *suffixes);
void dkim_verify_body(struct dkim_verify *v, struct str chunk);
void dkim_verify_end(struct dkim_verify *v, struct dns_resolver *r, int64_t now_unix,
		     struct dkim_verdicts *out);
void dkim_verify_free(struct dkim_verify *v); /* accepts NULL; the verdicts stay */
