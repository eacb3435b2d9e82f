/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * crypto/hash.h: digests, HMAC and PBKDF2. Cannot fail but by exhaustion of memory, which ends
 * the process. MD5 and SHA-1 are here for stored passwords and old mechanisms only.
 * Comparison of results in constant time: secret_eq() in base/secret.h.
 */
#pragma once
#include "base/str.h"

enum hash_kind { HASH_MD5, HASH_SHA1, HASH_SHA256, HASH_SHA384, HASH_SHA512 };
enum {
	MD5_SIZE = 16, SHA1_SIZE = 20, SHA256_SIZE = 32, SHA384_SIZE = 48, SHA512_SIZE = 64,
	HASH_SIZE_MAX = 64,
};
size_t hash_size(enum hash_kind kind);

/* One-shot; out has room for hash_size(kind). */
void hash_once(enum hash_kind kind, struct str in, unsigned char *out);
static inline void sha1(struct str in, unsigned char out[SHA1_SIZE]) { hash_once(HASH_SHA1, in, out); }
static inline void sha256(struct str in, unsigned char out[SHA256_SIZE]) { hash_once(HASH_SHA256, in, out); }
static inline void sha512(struct str in, unsigned char out[SHA512_SIZE]) { hash_once(HASH_SHA512, in, out); }

/* Streaming. hash_end may be followed by hash_reset and the next text; hash_free accepts NULL. */
struct hash;
struct hash *hash_new(enum hash_kind kind);
void hash_add(struct hash *h, struct str in);
void hash_end(struct hash *h, unsigned char *out);
void hash_reset(struct hash *h);
struct hash *hash_dup(const struct hash *h); /* goes on from the same state */
void hash_free(struct hash *h);

/* RFC 2104 */
void hmac(enum hash_kind kind, struct str key, struct str in, unsigned char *out);
struct hmac;
struct hmac *hmac_new(enum hash_kind kind, struct str key);
void hmac_add(struct hmac *h, struct str in);
void hmac_end(struct hmac *h, unsigned char *out);
void hmac_free(struct hmac *h); /* wipes; accepts NULL */

/* RFC 8018 5.2. Costs iterations * ceil(n / hash_size) HMACs: the caller has limited them. */
void pbkdf2(enum hash_kind kind, struct str password, struct str salt, uint32_t iterations,
	    unsigned char *out, size_t n);
