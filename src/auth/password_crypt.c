/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * crypt(3): libxcrypt does the hashing, with its work area on the heap. Strings are looked at first: only
 * the forms that are named in the header reach it, and only with bounded costs.
 */
#include "auth/auth_int.h"
#include "base/ids.h"
#include "base/mem.h"
#include "base/scan.h"
#include <crypt.h>
#include <stdlib.h>
#include <string.h>

enum {
	SHA_ROUNDS_MAX = 1000000, /* 0.5 s */
	SHA_ROUNDS_DEFAULT = 5000,
	BCRYPT_COST_MIN = 4,
	BCRYPT_COST_MAX = 14, /* 1 s */
	BCRYPT_COST_WEAK = 8,
	YESCRYPT_MEMORY_MAX = 128 << 20,
	DES_LENGTH = 13,
};

static const char itoa64[] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

static int itoa64_value(int c)
{
	const char *at = c > 0 ? strchr(itoa64, c) : NULL;
	return at ? (int)(at - itoa64) : -1;
}

static bool is_des(struct str text)
{
	if (text.n != DES_LENGTH)
		return false;
	for (size_t i = 0; i < text.n; i++)
		if (itoa64_value((unsigned char)text.p[i]) < 0)
			return false;
	return true;
}

static const struct {
	const char *prefix, *scheme;
} prefixes[] = {
	{"$6$", "SHA512-CRYPT"}, {"$5$", "SHA256-CRYPT"}, {"$1$", "MD5-CRYPT"},  {"$y$", "YESCRYPT"},
	{"$2a$", "BLF-CRYPT"},   {"$2b$", "BLF-CRYPT"},   {"$2y$", "BLF-CRYPT"},
};

const char *crypt_scheme(struct str text)
{
	for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
		if (str_starts(text, str_of(prefixes[i].prefix)))
			return prefixes[i].scheme;
	return is_des(text) ? "DES-CRYPT" : NULL;
}

/* "$6$rounds=N$..." */
static bool sha_rounds(struct str text, uint32_t *out)
{
	struct scan s = scan_of(str_from(text, 3));
	*out = SHA_ROUNDS_DEFAULT;
	return !scan_lit(&s, STR("rounds=")) || (scan_u32(&s, SHA_ROUNDS_MAX, out) && scan_byte(&s, '$'));
}

/* "$2b$NN$..." */
static bool bcrypt_cost(struct str text, uint32_t *out)
{
	struct scan s = scan_of(str_from(text, 4));
	return scan_u32(&s, BCRYPT_COST_MAX, out) && *out >= BCRYPT_COST_MIN && scan_byte(&s, '$');
}

/* "$y$j9T$...": flags, log2(N) - 1, r - 1, one character each as crypt_gensalt(3) writes them. Longer forms
 * (parallelism, growth, ROM) are nobody's passwords. */
static bool yescrypt_memory(struct str text, uint64_t *out)
{
	struct scan s = scan_of(str_from(text, 3));
	int n = itoa64_value(scan_peek_at(&s, 1)), r = itoa64_value(scan_peek_at(&s, 2));
	if (scan_peek(&s) != 'j' || scan_peek_at(&s, 3) != '$' || n < 0 || n > 20 || r < 0 || r > 47)
		return false;
	*out = (uint64_t)128 * (unsigned)(r + 1) << (n + 1);
	return *out <= YESCRYPT_MEMORY_MAX;
}

bool crypt_cost_allowed(struct str text, struct err *err)
{
	uint32_t number;
	uint64_t memory;
	bool fine = true;
	if (str_starts(text, STR("$6$")) || str_starts(text, STR("$5$")))
		fine = sha_rounds(text, &number);
	else if (str_starts(text, STR("$2")))
		fine = bcrypt_cost(text, &number);
	else if (str_starts(text, STR("$y$")))
		fine = yescrypt_memory(text, &memory);
	return fine || err_set(err, ERR_LIMIT, "the stored password hash asks for too much work");
}

bool crypt_is_weak(struct str text)
{
	const char *scheme = crypt_scheme(text);
	uint32_t number = 0;
	if (!scheme)
		return false;
	if (text.p[0] != '$' || str_starts(text, STR("$1$")))
		return true;
	if (str_starts(text, STR("$2")))
		return bcrypt_cost(text, &number) && number < BCRYPT_COST_WEAK;
	if (str_starts(text, STR("$y$")))
		return false;
	return sha_rounds(text, &number) && number < SHA_ROUNDS_DEFAULT;
}

/* The hash of password under setting, in data->output; NULL on failure. */
static const char *run(struct str password, const char *setting, struct crypt_data *data)
{
	SECRET_SCOPED copy = secret_of(password); /* NUL-terminated */
	const char *out = crypt_rn(copy.p, setting, data, sizeof *data);
	return out && out[0] != '*' ? out : NULL;
}

static void data_free(struct crypt_data *data)
{
	secret_wipe(data, sizeof *data);
	free(data);
}

int crypt_verify(struct str text, struct str password, struct err *err)
{
	char setting[CRYPT_OUTPUT_SIZE];
	if (text.n >= sizeof setting || !crypt_scheme(text) || str_has_ctl(text))
		return err_set(err, ERR_SYNTAX, "the stored password hash is damaged"), -1;
	if (!crypt_cost_allowed(text, err))
		return -1;
	memcpy(setting, text.p, text.n);
	setting[text.n] = '\0';
	struct crypt_data *data = mem_zalloc(sizeof *data);
	const char *out = run(password, setting, data);
	int right = out ? secret_eq(str_of(out), text) : -1;
	data_free(data);
	if (right < 0)
		err_set(err, ERR_SYNTAX, "the stored password hash is damaged");
	return right;
}

bool crypt_make(const char *prefix, unsigned long count, struct str password, struct buf *out,
		struct err *err)
{
	char setting[CRYPT_GENSALT_OUTPUT_SIZE], bytes[32];
	random_bytes(bytes, sizeof bytes);
	if (!crypt_gensalt_rn(prefix, count, bytes, sizeof bytes, setting, sizeof setting))
		return err_sys(err, "making a salt");
	struct crypt_data *data = mem_zalloc(sizeof *data);
	const char *hash = run(password, setting, data);
	if (hash)
		buf_add(out, str_of(hash));
	data_free(data);
	return hash || err_set(err, ERR_TEMP, "the password cannot be hashed");
}

void crypt_burn(struct str password)
{
	/* As crypt_make("$y$", 0): the result fits no stored hash. */
	static const char setting[] = "$y$j9T$pabal.nobody.has.it....$";
	struct crypt_data *data = mem_zalloc(sizeof *data);
	run(password, setting, data);
	data_free(data);
}
