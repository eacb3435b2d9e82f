/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* sender_auth/dkim/dkim_int.h: canonical forms, signature fields, keys; shared with arc/. */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "mail/header.h"
#include "sender_auth/dkim/dkim.h"
#include "sender_auth/tag_list.h"

struct arena;
struct dns_resolver;

/* --- the header --- */

struct dkim_fields {
	struct header_field *at;
	size_t n;
};
/* All fields in order. ERR_LIMIT: more than DKIM_FIELDS_MAX, or DKIM_HEADER_MAX octets. */
bool dkim_fields_read(struct arena *a, struct str header, struct dkim_fields *out,
		      struct err *err) MUST_CHECK;
/* 3.4.1, 3.4.2; with its CRLF. */
void dkim_canon_field(struct buf *out, const struct header_field *f, enum dkim_canon canon);
/* The same without CRLF and without the value of b=, which is a view into f->raw (3.5, 3.7). */
void dkim_canon_signature(struct buf *out, const struct header_field *f, struct str b_whole,
			  enum dkim_canon canon);
/* What is signed of the header: the fields that names lists, bottom-up (5.4.2). */
void dkim_canon_header(struct buf *out, struct arena *a, const struct dkim_fields *fields,
		       const struct str *names, size_t n, enum dkim_canon canon);

/* --- the body, streaming --- */

struct dkim_body;
/* limit: of octets hashed (l=), or UINT64_MAX */
struct dkim_body *dkim_body_new(enum dkim_canon canon, uint64_t limit);
void dkim_body_free(struct dkim_body *b); /* accepts NULL */
void dkim_body_add(struct dkim_body *b, struct str chunk);
/* SHA-256; how long the canonical body is, all of it. Nothing is added afterwards. */
void dkim_body_end(struct dkim_body *b, unsigned char out[32], uint64_t *out_length);

/* --- a signature field --- */

enum dkim_field_kind { DKIM_FIELD_DKIM, DKIM_FIELD_AMS, DKIM_FIELD_SEAL };
struct dkim_signature {
	struct header_field field;
	struct str algorithm_text;
	enum dkim_algorithm algorithm;
	enum dkim_canon header_canon, body_canon;
	struct str domain, selector; /* domain as A-labels, both in lower case */
	struct str identity_domain;  /* of i=, or domain */
	struct str identity;         /* i= decoded, or "@" domain */
	const struct str *names;     /* h= */
	size_t name_n;
	struct str signature, body_hash; /* octets */
	struct str b_whole;
	uint64_t body_limit;         /* l=, or UINT64_MAX */
	int64_t time, expires;       /* t=, x=; -1: none */
	unsigned instance;           /* ARC: i= */
	struct str seal_status;      /* ARC-Seal: cv= */
};
/* On failure what was understood so far (domain, selector, algorithm_text) is in out: ERR_SYNTAX
 * means permerror. */
bool dkim_signature_parse(struct arena *a, const struct header_field *f, enum dkim_field_kind kind,
			  struct dkim_signature *out, struct err *err) MUST_CHECK;
/* instance = 1*2DIGIT, 1 to 50 */
bool dkim_instance_parse(struct str s, unsigned *out);

/* --- keys in the DNS --- */

struct dkim_public_key {
	struct str der; /* SubjectPublicKeyInfo */
	unsigned bits;
	bool testing;   /* t=y */
	bool strict;    /* t=s */
};
/* One key record for signatures of that algorithm. ERR_SYNTAX: permerror; ERR_DENIED: too weak. */
bool dkim_key_parse(struct arena *a, struct str record, enum dkim_algorithm algorithm,
		    struct dkim_public_key *out, struct err *err) MUST_CHECK;
/* DKIM_PASS and the key, or why there is none. */
enum dkim_result dkim_key_fetch(struct dns_resolver *r, struct arena *a, const struct dkim_signature *s,
				struct dkim_public_key *out, bool *out_secure, struct err *err);
/* Is the signature over text right? */
enum dkim_result dkim_key_check(const struct dkim_public_key *key, const struct dkim_signature *s,
				struct str text, struct err *err);
