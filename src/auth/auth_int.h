/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* auth/auth_int.h: shared inside this folder. */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"

/* For buffers that held a secret. They must not have grown: give them room first. */
static inline void buf_wipe(struct buf *b)
{
	secret_wipe(b->p, b->cap);
	buf_free(b);
}

/* ---- stored passwords ---- */

enum password_kind {
	KIND_PLAIN,
	KIND_CRYPT,
	KIND_DIGEST,
	KIND_SALTED,
	KIND_ARGON2,
	KIND_PBKDF2,
	KIND_SCRAM,
};
/* Read by password_parse(). */
struct stored_password {
	enum password_kind kind;
	const char *scheme; /* canonical name */
	struct str
		text; /* what follows {SCHEME}, decoded if it said .b64 or .hex; in *decoded or a view */
	bool decoded; /* it said so */
	int hash;     /* enum hash_kind of KIND_DIGEST, KIND_SALTED */
	bool hex;     /* KIND_DIGEST: hexadecimal unless the length says base64 */
};
bool password_parse(struct str stored, struct stored_password *out, struct buf *decoded,
		    struct err *err) MUST_CHECK;

/* Costs within the limits? text is a whole crypt(3) or argon2 string. */
bool crypt_cost_allowed(struct str text, struct err *err) MUST_CHECK;
/* NULL if the string is none that crypt(3) is asked for. */
const char *crypt_scheme(struct str text);
bool crypt_is_weak(struct str text);
/* 1 right, 0 wrong, -1 err */
int crypt_verify(struct str text, struct str password, struct err *err) MUST_CHECK;
/* setting: prefix for crypt_gensalt(3); appends the hash. */
bool crypt_make(const char *prefix, unsigned long count, struct str password, struct buf *out,
		struct err *err) MUST_CHECK;
void crypt_burn(struct str password);

int argon2_check(struct str text, struct str password, struct err *err) MUST_CHECK; /* as crypt_verify */
bool argon2_is_weak(struct str text);
bool argon2_make(struct str password, struct buf *out, struct err *err) MUST_CHECK;
