/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * crypto/key.h: private keys and what names them. Run by keys, and by the command line that makes
 * or reads key files; never by a door.
 */
#pragma once
#include "base/err.h"

struct buf;

/* SHA-256 of the DER SubjectPublicKeyInfo: the same from key and certificate. */
enum { KEY_ID_SIZE = 32 };

/* Algorithm of one signature; the numbers go over IPC and do not change. */
enum sign_form {
	SIGN_ECDSA_SHA256 = 1,
	SIGN_ECDSA_SHA384 = 2,
	SIGN_ECDSA_SHA512 = 3,
	SIGN_RSA_PSS_SHA256 = 4, /* salt as long as the digest (RFC 8446 4.2.3) */
	SIGN_RSA_PSS_SHA384 = 5,
	SIGN_RSA_PSS_SHA512 = 6,
	SIGN_RSA_PKCS1_SHA256 = 7,
	SIGN_RSA_PKCS1_SHA384 = 8,
	SIGN_RSA_PKCS1_SHA512 = 9,
	SIGN_ED25519 = 10,
};
const char *sign_form_name(enum sign_form form); /* NULL for a number that is none */

enum key_type { KEY_EC_P256, KEY_EC_P384, KEY_ED25519, KEY_RSA };

/* A private key in memory. Immutable, usable by any thread. */
struct key;
/* From PEM (PKCS#8, also encrypted, SEC1, PKCS#1). passphrase is empty if there is none; it is
 * never asked for on a terminal. ERR_DENIED: passphrase missing or wrong; ERR_SYNTAX: not a key;
 * ERR_LIMIT: kind or size not accepted (RSA below 2048 or above 8192 bits, other curves). */
bool key_load(struct str pem, struct str passphrase, struct key **out, struct err *err) MUST_CHECK;
/* The same with RSA keys from rsa_bits_min on: DKIM has 1024 in use (RFC 8301 3.2). */
bool key_load_rsa(struct str pem, struct str passphrase, unsigned rsa_bits_min, struct key **out,
		  struct err *err) MUST_CHECK;
bool key_generate(enum key_type type, unsigned rsa_bits, struct key **out, struct err *err) MUST_CHECK;
void key_free(struct key *key); /* accepts NULL */
const unsigned char *key_id(const struct key *key); /* KEY_ID_SIZE bytes, as long as the key */
enum key_type key_type(const struct key *key);
unsigned key_bits(const struct key *key);
/* PKCS#8 PEM, encrypted if a passphrase is given; the caller wipes out. */
bool key_write_pem(const struct key *key, struct str passphrase, struct buf *out, struct err *err) MUST_CHECK;
/* DER SubjectPublicKeyInfo. */
bool key_public_der(const struct key *key, struct buf *out, struct err *err) MUST_CHECK;

/* What a foreign DER SubjectPublicKeyInfo holds, of whatever size. ERR_SYNTAX: not one, or another kind. */
bool key_public_info(struct str public_der, enum key_type *out_type, unsigned *out_bits,
		     struct err *err) MUST_CHECK;

/* Signs any text: for callers that made the text themselves or checked its form, as tls_form.h
 * does for doors. ERR_CONFLICT: the form does not belong to this kind of key. */
bool key_sign(const struct key *key, enum sign_form form, struct str text, struct buf *sig,
	      struct err *err) MUST_CHECK;
/* The other half, with the DER SubjectPublicKeyInfo of the signer. A wrong signature is false in
 * *out_right and no error. */
bool key_verify(struct str public_der, enum sign_form form, struct str text, struct str sig,
		bool *out_right, struct err *err) MUST_CHECK;
