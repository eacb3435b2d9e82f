/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * auth/password.h: stored password hashes: verify all that servers before us wrote, make new ones.
 *
 * Forms accepted (at most PASSWORD_STORED_MAX bytes):
 *   {SCHEME}data, {SCHEME.b64}data, {SCHEME.hex}data as Dovecot writes them; scheme names without case:
 *     PLAIN CLEARTEXT CRYPT DES-CRYPT MD5-CRYPT SHA256-CRYPT SHA512-CRYPT BLF-CRYPT SHA SHA1 SHA256 SHA512
 *     SSHA SSHA256 SSHA512 SMD5 PLAIN-MD5 LDAP-MD5 ARGON2I ARGON2ID PBKDF2 SCRAM-SHA-1 SCRAM-SHA-256
 *   $1$ $5$ $6$ $y$ $2a$ $2b$ $2y$ ($argon2i$ $argon2id$ too) without a prefix, and 13 characters of
 *   traditional DES. Anything else without prefix is no hash (never plain text).
 * Costs that a stored hash demands are limited, so that a foreign database cannot stop the server.
 *
 * Blocks for the time of the hash (17 ms for yescrypt): callers are the threads of auth/verdict.h and
 * the command line. No state, no locks; any thread.
 */
#pragma once
#include "base/err.h"

struct buf;

enum {
	PASSWORD_STORED_MAX = 1024,
	PASSWORD_MAX = 511, /* of the password itself (crypt(3)); longer ones never match, are never hashed */
};

enum password_check { PASSWORD_MISMATCH, PASSWORD_MATCH, PASSWORD_BAD_HASH };
/* PASSWORD_BAD_HASH: unknown scheme, damaged, or too costly; err says which (without the hash). Only then
 * is err set. A password with NUL never matches. */
enum password_check password_verify(struct str stored, struct str password, struct err *err) MUST_CHECK;
/* Takes the time of one verification of a password_hash() of ours: for users that do not exist. */
void password_burn(struct str password);

/* scheme: "YESCRYPT" (or empty), "SHA512-CRYPT", "SHA256-CRYPT", "BLF-CRYPT", "ARGON2ID", "PBKDF2",
 * "SSHA512", "SCRAM-SHA-256", "SCRAM-SHA-1". Appends the stored form. ERR_NOT_FOUND: no such scheme to
 * make; ERR_SYNTAX: the password is empty, too long or holds a NUL or other control characters. */
bool password_hash(struct str scheme, struct str password, struct buf *out, struct err *err) MUST_CHECK;
/* True if a rehash with password_hash() at the next login would be stronger: plain, DES, MD5, all
 * unstretched digests, low cost. Unknown forms are not weak, they are useless. */
bool password_is_weak(struct str stored);
/* Canonical name of the scheme ("SHA512-CRYPT", "DES-CRYPT", "YESCRYPT"), for lists and warnings;
 * NULL if unknown. */
const char *password_scheme(struct str stored);
/* Plain text behind {PLAIN} and {CLEARTEXT} (also .b64, .hex): SCRAM can be done with it. */
bool password_plain(struct str stored, struct buf *out);
