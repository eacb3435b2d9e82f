/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Argon2 in its usual text form, "$argon2id$v=19$m=65536,t=3,p=1$salt$hash" with base64 without padding.
 * Read here and computed in one thread: argon2_verify() would start "p" threads and as much memory as the
 * text says.
 */
#include "auth/auth_int.h"
#include "base/codec.h"
#include "base/ids.h"
#include "base/scan.h"
#include <argon2.h>
#include <string.h>

enum {
	MEMORY_MAX_KIB = 128 * 1024, /* times the threads of auth/verdict.h */
	TIME_MAX = 64,
	WORK_MAX = 1024 * 1024, /* memory * time: about 1 s */
	LANES_MAX = 16,
	SALT_MIN = 8,
	SALT_MAX = 64,
	HASH_MIN = 12,
	HASH_MAX = 64,
	NEW_MEMORY_KIB = 19 * 1024,
	NEW_TIME = 2,
	NEW_HASH = 32,
	NEW_SALT = 16, /* 23 ms */
};

struct parameters {
	argon2_type type;
	uint32_t version, memory, time, lanes;
	size_t salt_n, hash_n;
	unsigned char salt[SALT_MAX], hash[HASH_MAX];
};

static bool take_bytes(struct str text, unsigned char *out, size_t least, size_t most, size_t *out_n)
{
	BUF_SCOPED padded = {0}, b = {0};
	if (text.n > most * 2)
		return false;
	buf_add(&padded, text);
	while (padded.n % 4)
		buf_byte(&padded, '=');
	if (!base64_decode(&b, buf_str(&padded)) || b.n < least || b.n > most)
		return false;
	memcpy(out, b.p, b.n);
	*out_n = b.n;
	return true;
}

static bool take_number(struct scan *s, struct str name, uint32_t *out)
{
	return scan_lit(s, name) && scan_u32(s, UINT32_MAX, out);
}

static bool parse(struct str text, struct parameters *p)
{
	struct scan s = scan_of(text);
	*p = (struct parameters){.type = Argon2_id, .version = ARGON2_VERSION_10};
	if (scan_lit(&s, STR("$argon2i$")))
		p->type = Argon2_i;
	else if (!scan_lit(&s, STR("$argon2id$")))
		return false;
	if (take_number(&s, STR("v="), &p->version) && !scan_byte(&s, '$'))
		return false;
	if (!take_number(&s, STR("m="), &p->memory) || !take_number(&s, STR(",t="), &p->time) ||
	    !take_number(&s, STR(",p="), &p->lanes) || !scan_byte(&s, '$'))
		return false;
	struct str salt = scan_until_byte(&s, '$');
	return scan_byte(&s, '$') && take_bytes(salt, p->salt, SALT_MIN, SALT_MAX, &p->salt_n) &&
	       take_bytes(scan_rest(&s), p->hash, HASH_MIN, HASH_MAX, &p->hash_n);
}

static bool within_limits(const struct parameters *p)
{
	return (p->version == ARGON2_VERSION_10 || p->version == ARGON2_VERSION_13) &&
	       p->memory <= MEMORY_MAX_KIB && p->time > 0 && p->time <= TIME_MAX &&
	       (uint64_t)p->memory * p->time <= WORK_MAX && p->lanes > 0 && p->lanes <= LANES_MAX &&
	       p->memory >= 8 * p->lanes;
}

static bool compute(const struct parameters *p, struct str password, unsigned char *out)
{
	argon2_context ctx = {
		.out = out,
		.outlen = (uint32_t)p->hash_n,
		.pwd = (uint8_t *)password.p,
		.pwdlen = (uint32_t)password.n,
		.salt = (uint8_t *)p->salt,
		.saltlen = (uint32_t)p->salt_n,
		.t_cost = p->time,
		.m_cost = p->memory,
		.lanes = p->lanes,
		.threads = 1,
		.version = p->version,
	};
	return argon2_ctx(&ctx, p->type) == ARGON2_OK;
}

int argon2_check(struct str text, struct str password, struct err *err)
{
	struct parameters p;
	unsigned char out[HASH_MAX];
	if (!parse(text, &p))
		return err_set(err, ERR_SYNTAX, "the stored password hash is damaged"), -1;
	if (!within_limits(&p))
		return err_set(err, ERR_LIMIT, "the stored password hash asks for too much work"), -1;
	if (!compute(&p, password, out))
		return err_set(err, ERR_TEMP, "the password cannot be checked"), -1;
	bool right = secret_eq((struct str){(const char *)out, p.hash_n},
			       (struct str){(const char *)p.hash, p.hash_n});
	secret_wipe(out, sizeof out);
	return right;
}

bool argon2_is_weak(struct str text)
{
	struct parameters p;
	return parse(text, &p) && (uint64_t)p.memory * p.time < 16 * 1024;
}

static void add_unpadded(struct buf *out, const unsigned char *p, size_t n)
{
	base64_encode(out, (struct str){(const char *)p, n});
	while (out->n && out->p[out->n - 1] == '=')
		out->n--;
}

bool argon2_make(struct str password, struct buf *out, struct err *err)
{
	struct parameters p = {
		.type = Argon2_id,
		.version = ARGON2_VERSION_13,
		.memory = NEW_MEMORY_KIB,
		.time = NEW_TIME,
		.lanes = 1,
		.salt_n = NEW_SALT,
		.hash_n = NEW_HASH,
	};
	random_bytes(p.salt, NEW_SALT);
	if (!compute(&p, password, p.hash))
		return err_set(err, ERR_TEMP, "the password cannot be hashed");
	buf_fmt(out, "$argon2id$v=%u$m=%u,t=%u,p=%u$", p.version, p.memory, p.time, p.lanes);
	add_unpadded(out, p.salt, p.salt_n);
	buf_byte(out, '$');
	add_unpadded(out, p.hash, p.hash_n);
	return true;
}
