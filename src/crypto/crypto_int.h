/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* crypto/crypto_int.h: shared inside this folder. */
#pragma once
#include "base/buf.h"
#include "crypto/key.h"
#include "base/err.h"
#include <openssl/evp.h>

/* Sets err with the newest reason of OpenSSL's queue as the cause, and empties the queue. */
#define crypto_err(err, kind, ...) crypto_err_at((err), ERR_WHERE(__LINE__), (kind), __VA_ARGS__)
bool crypto_err_at(struct err *err, const char *where, enum err_kind kind, const char *fmt, ...)
	__attribute__((format(printf, 4, 5), nonnull(1)));

/* What a sign form means to OpenSSL. */
struct sign_form_row {
	const char *name;
	const char *key_type; /* "EC", "RSA", "ED25519" */
	const char *md;       /* NULL: the algorithm has its own */
	bool pss;
};
const struct sign_form_row *sign_form_row(enum sign_form form); /* NULL for none */
EVP_PKEY *key_evp(const struct key *key);

bool spki_id(EVP_PKEY *pkey, unsigned char *out, struct err *err) MUST_CHECK;
/* Which certificates and keys are accepted: ERR_LIMIT otherwise. */
bool pkey_accepted(EVP_PKEY *pkey, enum key_type *out_type, struct err *err) MUST_CHECK;
const char *key_type_name(enum key_type type); /* "EC P-256" */

struct tls_provider;
OSSL_LIB_CTX *tls_provider_libctx(const struct tls_provider *p);
/* A key that looks like pub (a key of the default provider) and signs through the callback. */
bool tls_provider_key(struct tls_provider *p, EVP_PKEY *pub, EVP_PKEY **out, struct err *err) MUST_CHECK;
#define TLS_PROPERTIES "?provider=default"

/* Session ticket callbacks (tls_ticket.c). */
struct tls_context;
struct tls_tickets;
struct ssl_ctx_st;
struct tls_ticket_key;
struct tls_tickets *tls_tickets_new(void);
void tls_tickets_free(struct tls_tickets *t);
void tls_tickets_attach(struct tls_tickets *t, struct ssl_ctx_st *ctx);
void tls_tickets_set(struct tls_tickets *t, const struct tls_ticket_key *keys, size_t n);
bool tls_tickets_any(struct tls_tickets *t);
