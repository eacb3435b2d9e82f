/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * auth/scram.h: SCRAM verifiers (RFC 5802, RFC 7677) and SASLprep (RFC 4013). No I/O, no state.
 *
 * Stored as Dovecot stores them: {SCRAM-SHA-256}iterations,salt,StoredKey,ServerKey with base64.
 */
#pragma once
#include "base/err.h"
#include "crypto/hash.h"

struct buf;

enum scram_hash { SCRAM_SHA_1, SCRAM_SHA_256 };
enum {
	SCRAM_SALT_MAX = 64,
	SCRAM_ITERATIONS = 4096 * 4, /* of new verifiers */
	SCRAM_ITERATIONS_MIN = 4096, /* RFC 7677 4; fewer are accepted from a stored SHA-1 one only */
	SCRAM_ITERATIONS_MAX = 1000000,
};

struct scram_verifier {
	enum scram_hash hash;
	uint32_t iterations;
	size_t salt_n;
	unsigned char salt[SCRAM_SALT_MAX];
	unsigned char stored_key[SHA256_SIZE]; /* 20 or 32 bytes in use */
	unsigned char server_key[SHA256_SIZE];
};
size_t scram_hash_size(enum scram_hash hash);

/* salt NULL: 16 random bytes. ERR_SYNTAX: SASLprep refuses the password. Costs iterations HMACs. */
bool scram_verifier_make(enum scram_hash hash, struct str password, uint32_t iterations,
			 const struct str *salt, struct scram_verifier *out, struct err *err) MUST_CHECK;
/* With its {SCHEME}; ERR_SYNTAX otherwise, ERR_LIMIT for iterations beyond the limits. */
bool scram_verifier_parse(struct str stored, struct scram_verifier *out, struct err *err) MUST_CHECK;
void scram_verifier_format(const struct scram_verifier *v, struct buf *out);
bool scram_verifier_matches(const struct scram_verifier *v, struct str password);
/* What a client is shown for a user that does not exist: the same for the same user each time, as long
 * as the secret is the same. Nobody can log in with it. */
void scram_verifier_fake(enum scram_hash hash, struct str secret, struct str user, uint32_t iterations,
			 struct scram_verifier *out);

/* RFC 4013, as a query if allow_unassigned (login), else as a stored string (new password). Input is
 * UTF-8. ERR_SYNTAX: invalid UTF-8, a prohibited character, wrong direction; ERR_LIMIT: over 1024
 * bytes. An empty result is not an error here. */
bool saslprep(struct str in, bool allow_unassigned, struct buf *out, struct err *err) MUST_CHECK;
