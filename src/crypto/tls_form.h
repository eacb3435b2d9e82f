/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * crypto/tls_form.h: what keys is willing to sign for a door (PROCESSES C1).
 *
 * Only two forms exist, told apart by their exact length:
 *   TLS 1.3 server CertificateVerify (RFC 8446 4.4.3): 64 spaces, the server's context string, 0,
 *           and a transcript hash of 32 or 48 bytes;
 *   TLS 1.2 ServerKeyExchange (RFC 5246 7.4.3, RFC 8422 5.4): both randoms and one ECDHE block of a
 *           named curve (P-256, P-384, P-521 uncompressed, X25519, X448) of exact length.
 * Both hold the client's random, directly or in the hash, so no signature can be stored up. A
 * captured door can so sign handshakes while it lasts, and nothing else: no mail, no certificate
 * request, no client CertificateVerify.
 */
#pragma once
#include "crypto/key.h"

enum tls_form { TLS_FORM_NONE, TLS_FORM_13_CERTIFICATE_VERIFY, TLS_FORM_12_SERVER_KEY_EXCHANGE };
enum { TLS_FORM_TEXT_MAX = 256 }; /* longer texts are refused unread */

enum tls_form tls_form_of(struct str text);
/* True if the text has one of the forms and the algorithm may go with it (TLS 1.3 has no PKCS #1
 * v1.5). The sentence in err is fit for the log: it holds nothing of the text. */
bool tls_form_check(struct str text, enum sign_form form, struct err *err) MUST_CHECK;
/* Checks, then signs. ERR_DENIED: not such a text; ERR_CONFLICT: other kind of key. */
bool tls_form_sign(const struct key *key, enum sign_form form, struct str text, struct buf *sig,
		   struct err *err) MUST_CHECK;
