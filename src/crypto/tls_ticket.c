/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Stateless session tickets (RFC 5077 4 format as OpenSSL writes it): AES-256-CBC, HMAC-SHA-256. */
#include "base/lock.h"
#include "base/ids.h"
#include "base/secret.h"
#include "crypto/crypto_int.h"
#include "crypto/tls.h"
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/ssl.h>
#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct tls_tickets {
	struct lock lock;
	size_t n;                                        /* guarded by lock */
	struct tls_ticket_key keys[TLS_TICKET_KEYS_MAX]; /* guarded by lock */
};

void tls_ticket_key_new(struct tls_ticket_key *out)
{
	random_bytes(out, sizeof *out);
}

struct tls_tickets *tls_tickets_new(void)
{
	struct tls_tickets *t = calloc(1, sizeof *t);
	if (!t)
		abort();
	lock_init(&t->lock, LOCK_CRYPTO);
	return t;
}

void tls_tickets_free(struct tls_tickets *t)
{
	if (!t)
		return;
	lock_fini(&t->lock);
	secret_wipe(t, sizeof *t);
	free(t);
}

void tls_tickets_set(struct tls_tickets *t, const struct tls_ticket_key *keys, size_t n)
{
	assert(n <= TLS_TICKET_KEYS_MAX);
	LOCK_SCOPED(&t->lock);
	secret_wipe(t->keys, sizeof t->keys);
	if (n)
		memcpy(t->keys, keys, n * sizeof *keys);
	t->n = n;
}

bool tls_tickets_any(struct tls_tickets *t)
{
	LOCK_SCOPED(&t->lock);
	return t->n > 0;
}

/* The index of the key in *out, or -1. name NULL: the one for new tickets. */
static int take_key(struct tls_tickets *t, const unsigned char *name, struct tls_ticket_key *out)
{
	LOCK_SCOPED(&t->lock);
	for (size_t i = 0; i < t->n; i++) {
		if (name && memcmp(name, t->keys[i].name, sizeof t->keys[i].name) != 0)
			continue;
		*out = t->keys[i];
		return (int)i;
	}
	return -1;
}

static bool use_key(const struct tls_ticket_key *key, const unsigned char *iv, EVP_CIPHER_CTX *cipher,
		    EVP_MAC_CTX *mac, bool seal)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)key->mac, sizeof key->mac),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end(),
	};
	return EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->aes, iv, seal) == 1 &&
	       EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* -1: error, 0: no ticket (or not one of ours), 1: use it, 2: use it and give a new one. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
		     EVP_MAC_CTX *mac, int seal)
{
	struct tls_tickets *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	struct tls_ticket_key key;
	/* A TLS 1.2 ticket holds the master secret of all past traffic: no forward secrecy. */
	if (SSL_version(ssl) < TLS1_3_VERSION)
		return 0;
	int index = take_key(t, seal ? NULL : name, &key);
	if (index < 0)
		return 0;
	if (seal) {
		memcpy(name, key.name, sizeof key.name);
		random_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc()));
	}
	bool done = use_key(&key, iv, cipher, mac, seal != 0);
	secret_wipe(&key, sizeof key);
	if (!done)
		return -1;
	return !seal && index > 0 ? 2 : 1;
}

void tls_tickets_attach(struct tls_tickets *t, SSL_CTX *ctx)
{
	SSL_CTX_set_app_data(ctx, t);
	SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket);
}
