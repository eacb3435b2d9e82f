/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Thin: EVP does the work. Its failures here are exhaustion of memory or a broken library. */
#include "crypto/hash.h"
#include "base/secret.h"
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

struct hash {
	EVP_MD_CTX *ctx;
	enum hash_kind kind;
};
struct hmac {
	HMAC_CTX *ctx;
};

static const EVP_MD *md_of(enum hash_kind kind)
{
	switch (kind) {
	case HASH_MD5:
		return EVP_md5();
	case HASH_SHA1:
		return EVP_sha1();
	case HASH_SHA256:
		return EVP_sha256();
	case HASH_SHA384:
		return EVP_sha384();
	case HASH_SHA512:
		return EVP_sha512();
	}
	abort();
}

/* OpenSSL answers 0 or NULL only where nothing can be done. */
static void must(bool done)
{
	if (!done)
		abort();
}

static const void *bytes(struct str s)
{
	return s.n ? s.p : "";
}

size_t hash_size(enum hash_kind kind)
{
	static const size_t size[] = {
		[HASH_MD5] = MD5_SIZE,       [HASH_SHA1] = SHA1_SIZE,     [HASH_SHA256] = SHA256_SIZE,
		[HASH_SHA384] = SHA384_SIZE, [HASH_SHA512] = SHA512_SIZE,
	};
	return size[kind];
}

void hash_once(enum hash_kind kind, struct str in, unsigned char *out)
{
	must(EVP_Digest(bytes(in), in.n, out, NULL, md_of(kind), NULL) == 1);
}

struct hash *hash_new(enum hash_kind kind)
{
	struct hash *h = malloc(sizeof *h);
	must(h != NULL);
	h->kind = kind;
	h->ctx = EVP_MD_CTX_new();
	must(h->ctx != NULL);
	hash_reset(h);
	return h;
}

void hash_reset(struct hash *h)
{
	must(EVP_DigestInit_ex(h->ctx, md_of(h->kind), NULL) == 1);
}

void hash_add(struct hash *h, struct str in)
{
	must(EVP_DigestUpdate(h->ctx, bytes(in), in.n) == 1);
}

void hash_end(struct hash *h, unsigned char *out)
{
	must(EVP_DigestFinal_ex(h->ctx, out, NULL) == 1);
}

struct hash *hash_dup(const struct hash *h)
{
	struct hash *d = malloc(sizeof *d);
	must(d != NULL);
	d->kind = h->kind;
	d->ctx = EVP_MD_CTX_new();
	must(d->ctx != NULL && EVP_MD_CTX_copy_ex(d->ctx, h->ctx) == 1);
	return d;
}

void hash_free(struct hash *h)
{
	if (!h)
		return;
	EVP_MD_CTX_free(h->ctx);
	free(h);
}

void hmac(enum hash_kind kind, struct str key, struct str in, unsigned char *out)
{
	must(HMAC(md_of(kind), bytes(key), (int)key.n, bytes(in), in.n, out, NULL) != NULL);
}

/* The EVP_MAC interface fetches by name each time; the older one is not yet slower or gone in the
 * versions we build with, and is marked deprecated. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

struct hmac *hmac_new(enum hash_kind kind, struct str key)
{
	struct hmac *h = malloc(sizeof *h);
	must(h != NULL);
	h->ctx = HMAC_CTX_new();
	must(h->ctx && HMAC_Init_ex(h->ctx, bytes(key), (int)key.n, md_of(kind), NULL) == 1);
	return h;
}

void hmac_add(struct hmac *h, struct str in)
{
	must(HMAC_Update(h->ctx, bytes(in), in.n) == 1);
}

void hmac_end(struct hmac *h, unsigned char *out)
{
	must(HMAC_Final(h->ctx, out, NULL) == 1);
}

void hmac_free(struct hmac *h)
{
	if (!h)
		return;
	HMAC_CTX_free(h->ctx);
	free(h);
}

#pragma GCC diagnostic pop

void pbkdf2(enum hash_kind kind, struct str password, struct str salt, uint32_t iterations,
	    unsigned char *out, size_t n)
{
	must(iterations > 0 && iterations <= INT32_MAX && password.n <= INT32_MAX && salt.n <= INT32_MAX);
	must(PKCS5_PBKDF2_HMAC(bytes(password), (int)password.n, bytes(salt), (int)salt.n,
			       (int)iterations, md_of(kind), (int)n, out) == 1);
}
