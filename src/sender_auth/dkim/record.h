/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * sender_auth/dkim/record.h: the DNS record of a key, in the forms in which people need it, and
 * keys as they stand in files.
 */
#pragma once
#include "base/buf.h"
#include "sender_auth/dkim/dkim.h"

struct arena;
struct key;

/* A key for signing from a PEM file: PKCS#8, also encrypted, or PKCS#1 with its old encryption
 * (Proc-Type: 4,ENCRYPTED). RSA from 1,024 bits on or Ed25519; errors as key_load. */
bool dkim_key_load(struct str pem, struct str passphrase, struct key **out, struct err *err) MUST_CHECK;
bool dkim_key_algorithm(const struct key *key, enum dkim_algorithm *out);

/* "v=DKIM1; k=rsa; p=..." on one line. */
bool dkim_record_text(struct arena *a, const struct key *key, struct str *out, struct err *err) MUST_CHECK;
/* The same as a record of a zone file, in strings of at most 255 octets (RFC 1035 3.3):
 * "s._domainkey.example.com. IN TXT ( "..." "..." )". */
void dkim_record_zone(struct buf *out, struct str domain, struct str selector, struct str text);

enum dkim_record_match {
	DKIM_RECORD_SAME, DKIM_RECORD_OTHER_KEY, DKIM_RECORD_TRUNCATED, /* p= is a beginning of ours */
	DKIM_RECORD_REVOKED, DKIM_RECORD_MALFORMED, DKIM_RECORD_PEM,    /* pasted with its BEGIN line */
};
/* How what stands in the DNS compares with the key. */
enum dkim_record_match dkim_record_compare(struct arena *a, struct str published, const struct key *key);
/* The same with the SubjectPublicKeyInfo, for who has no key. */
enum dkim_record_match dkim_record_compare_public(struct arena *a, struct str published,
						  enum dkim_algorithm algorithm, struct str der);
const char *dkim_record_match_name(enum dkim_record_match m); /* "match", "mismatch" */

/* A passphrase is never kept in a report: what of an encrypted file people can be told. */
bool dkim_key_is_encrypted(struct str pem);
