/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* RFC 5802 3: SaltedPassword := Hi(Normalize(password), salt, i); ClientKey and ServerKey are HMACs of it,
 * StoredKey := H(ClientKey). */
#include "auth/scram.h"
#include "auth/auth_int.h"
#include "base/buf.h"
#include "base/codec.h"
#include "base/ids.h"
#include "base/scan.h"
#include "base/secret.h"
#include <string.h>

enum { NEW_SALT = 16 };

static enum hash_kind kind_of(enum scram_hash hash)
{
	return hash == SCRAM_SHA_1 ? HASH_SHA1 : HASH_SHA256;
}

size_t scram_hash_size(enum scram_hash hash)
{
	return hash_size(kind_of(hash));
}

static struct str bytes(const void *p, size_t n)
{
	return (struct str){p, n};
}

/* hash, iterations and salt are set. */
static void derive(struct scram_verifier *v, struct str prepared)
{
	enum hash_kind kind = kind_of(v->hash);
	size_t n = hash_size(kind);
	unsigned char salted[HASH_SIZE_MAX], client_key[HASH_SIZE_MAX];
	pbkdf2(kind, prepared, bytes(v->salt, v->salt_n), v->iterations, salted, n);
	hmac(kind, bytes(salted, n), STR("Client Key"), client_key);
	hash_once(kind, bytes(client_key, n), v->stored_key);
	hmac(kind, bytes(salted, n), STR("Server Key"), v->server_key);
	secret_wipe(salted, sizeof salted);
	secret_wipe(client_key, sizeof client_key);
}

bool scram_verifier_make(enum scram_hash hash, struct str password, uint32_t iterations,
			 const struct str *salt, struct scram_verifier *out, struct err *err)
{
	struct scram_verifier v = {.hash = hash, .iterations = iterations, .salt_n = NEW_SALT};
	if (iterations == 0 || iterations > SCRAM_ITERATIONS_MAX ||
	    (salt && (salt->n == 0 || salt->n > SCRAM_SALT_MAX)))
		return err_set(err, ERR_LIMIT, "SCRAM iterations or salt out of bounds");
	if (salt) {
		v.salt_n = salt->n;
		memcpy(v.salt, salt->p, salt->n);
	} else {
		random_bytes(v.salt, NEW_SALT);
	}
	struct buf prepared = {0};
	if (!saslprep(password, false, &prepared, err))
		return false;
	derive(&v, buf_str(&prepared));
	buf_wipe(&prepared);
	*out = v;
	return true;
}

static bool take_base64(struct str in, unsigned char *out, size_t least, size_t most, size_t *out_n)
{
	BUF_SCOPED b = {0};
	if (in.n > 4 * (most / 3 + 1) || !base64_decode(&b, in) || b.n < least || b.n > most)
		return false;
	memcpy(out, b.p, b.n);
	*out_n = b.n;
	return true;
}

/* iterations "," salt "," StoredKey "," ServerKey */
static bool parse_values(struct str text, struct scram_verifier *v)
{
	size_t size = scram_hash_size(v->hash), n;
	uint64_t iterations;
	struct str number = str_cut(&text, ','), salt = str_cut(&text, ','), stored = str_cut(&text, ',');
	if (!str_u64(number, UINT32_MAX, &iterations) ||
	    !take_base64(salt, v->salt, 1, SCRAM_SALT_MAX, &v->salt_n) ||
	    !take_base64(stored, v->stored_key, size, size, &n) ||
	    !take_base64(text, v->server_key, size, size, &n))
		return false;
	v->iterations = (uint32_t)iterations;
	return true;
}

bool scram_verifier_parse(struct str stored, struct scram_verifier *out, struct err *err)
{
	struct scram_verifier v = {0};
	struct scan s = scan_of(stored);
	if (scan_lit_nocase(&s, STR("{SCRAM-SHA-256}")))
		v.hash = SCRAM_SHA_256;
	else if (scan_lit_nocase(&s, STR("{SCRAM-SHA-1}")))
		v.hash = SCRAM_SHA_1;
	else
		return err_set(err, ERR_SYNTAX, "not a SCRAM verifier");
	if (!parse_values(scan_rest(&s), &v))
		return err_set(err, ERR_SYNTAX, "a damaged SCRAM verifier");
	uint32_t least = v.hash == SCRAM_SHA_256 ? SCRAM_ITERATIONS_MIN : 1;
	if (v.iterations < least || v.iterations > SCRAM_ITERATIONS_MAX)
		return err_set(err, ERR_LIMIT, "SCRAM iterations out of bounds");
	*out = v;
	return true;
}

void scram_verifier_format(const struct scram_verifier *v, struct buf *out)
{
	size_t n = scram_hash_size(v->hash);
	buf_fmt(out, "{SCRAM-SHA-%s}%u,", v->hash == SCRAM_SHA_1 ? "1" : "256", v->iterations);
	base64_encode(out, bytes(v->salt, v->salt_n));
	buf_byte(out, ',');
	base64_encode(out, bytes(v->stored_key, n));
	buf_byte(out, ',');
	base64_encode(out, bytes(v->server_key, n));
}

static bool matches(const struct scram_verifier *v, struct str prepared)
{
	struct scram_verifier other = *v;
	derive(&other, prepared);
	size_t n = scram_hash_size(v->hash);
	bool right = secret_eq(bytes(v->stored_key, n), bytes(other.stored_key, n));
	secret_wipe(&other, sizeof other);
	return right;
}

/* Verifiers made elsewhere may come from the password as it was typed. */
bool scram_verifier_matches(const struct scram_verifier *v, struct str password)
{
	struct err err;
	struct buf prepared = {0};
	bool prep = saslprep(password, true, &prepared, &err);
	bool right = prep && matches(v, buf_str(&prepared));
	if (!right && (!prep || !str_eq(buf_str(&prepared), password)))
		right = matches(v, password);
	buf_wipe(&prepared);
	return right;
}

/* Salt and keys are one HMAC each, so they look like any others; the keys have no known password. */
void scram_verifier_fake(enum scram_hash hash, struct str secret, struct str user, uint32_t iterations,
			 struct scram_verifier *out)
{
	unsigned char mac[SHA512_SIZE];
	*out = (struct scram_verifier){.hash = hash, .iterations = iterations, .salt_n = NEW_SALT};
	hmac(HASH_SHA512, secret, user, mac);
	memcpy(out->salt, mac, NEW_SALT);
	memcpy(out->stored_key, mac + NEW_SALT, sizeof out->stored_key);
	random_bytes(out->server_key, sizeof out->server_key);
	secret_wipe(mac, sizeof mac);
}
