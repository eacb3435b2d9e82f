/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* crypto/tls_int.h: contexts and certificates inside this folder. */
#pragma once
#include "crypto/tls.h"
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdatomic.h>

struct tls_entry { /* one chain */
	X509 *cert;
	STACK_OF(X509) * chain;
	EVP_PKEY *pkey;
	enum key_type type;
	struct str *names;
	size_t name_count;
	bool standard; /* for clients without SNI */
};

struct tls_context {
	atomic_uint refs;
	SSL_CTX *ssl;
	bool server;
	bool verify; /* client */
	struct arena *arena;
	struct tls_provider *provider; /* or NULL */
	struct tls_tickets *tickets;   /* server */
	struct tls_entry *entries;
	size_t entry_count;
};

/* The caller frees both. */
bool cert_read(struct str pem, OSSL_LIB_CTX *libctx, X509 **out_cert, STACK_OF(X509) * *out_chain,
	       struct err *err) MUST_CHECK;
void cert_names(struct arena *a, X509 *cert, struct str **out, size_t *out_n);
