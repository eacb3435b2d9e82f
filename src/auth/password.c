/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * A stored password is parsed into its scheme and its text (password_parse), then one small function
 * per kind compares. The table below is all the schemes there are.
 */
#include "auth/password.h"
#include "auth/auth_int.h"
#include "auth/scram.h"
#include "base/codec.h"
#include "base/ids.h"
#include "base/scan.h"
#include "crypto/hash.h"
#include <string.h>

enum {
	SALT_MAX = 128, /* of SSHA and its like */
	PBKDF2_ROUNDS_MAX = 1000000,
	PBKDF2_ROUNDS_WEAK = 10000,
	PBKDF2_ROUNDS_NEW = 100000,
	PBKDF2_SALT_MAX = 128,
	SHA512_ROUNDS_NEW = 50000, /* 24 ms */
	BCRYPT_COST_NEW = 10,      /* 63 ms */
};

static const struct scheme {
	const char *name, *canonical;
	enum password_kind kind;
	int hash;
	bool hex;
} schemes[] = {
	{"PLAIN", "PLAIN", KIND_PLAIN},
	{"CLEARTEXT", "PLAIN", KIND_PLAIN},
	{"CRYPT", NULL, KIND_CRYPT},
	{"DES-CRYPT", "DES-CRYPT", KIND_CRYPT},
	{"MD5-CRYPT", "MD5-CRYPT", KIND_CRYPT},
	{"SHA256-CRYPT", "SHA256-CRYPT", KIND_CRYPT},
	{"SHA512-CRYPT", "SHA512-CRYPT", KIND_CRYPT},
	{"BLF-CRYPT", "BLF-CRYPT", KIND_CRYPT},
	{"YESCRYPT", "YESCRYPT", KIND_CRYPT},
	{"SHA", "SHA", KIND_DIGEST, HASH_SHA1},
	{"SHA1", "SHA", KIND_DIGEST, HASH_SHA1},
	{"SHA256", "SHA256", KIND_DIGEST, HASH_SHA256},
	{"SHA512", "SHA512", KIND_DIGEST, HASH_SHA512},
	{"PLAIN-MD5", "PLAIN-MD5", KIND_DIGEST, HASH_MD5, true},
	{"LDAP-MD5", "LDAP-MD5", KIND_DIGEST, HASH_MD5},
	{"SMD5", "SMD5", KIND_SALTED, HASH_MD5},
	{"SSHA", "SSHA", KIND_SALTED, HASH_SHA1},
	{"SSHA256", "SSHA256", KIND_SALTED, HASH_SHA256},
	{"SSHA512", "SSHA512", KIND_SALTED, HASH_SHA512},
	{"ARGON2I", "ARGON2I", KIND_ARGON2},
	{"ARGON2ID", "ARGON2ID", KIND_ARGON2},
	{"PBKDF2", "PBKDF2", KIND_PBKDF2},
	{"SCRAM-SHA-1", "SCRAM-SHA-1", KIND_SCRAM},
	{"SCRAM-SHA-256", "SCRAM-SHA-256", KIND_SCRAM},
};

static const struct scheme *find_scheme(struct str name)
{
	for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
		if (str_eq_nocase(name, str_of(schemes[i].name)))
			return &schemes[i];
	return NULL;
}

/* ---- parsing ---- */

/* "{" scheme [ "." ( "b64" / "hex" ) ] "}" */
static bool parse_prefix(struct scan *s, const struct scheme **out, struct str *out_encoding)
{
	if (!scan_byte(s, '{'))
		return false;
	struct str encoding = scan_until_byte(s, '}');
	struct str name = str_cut(&encoding, '.');
	*out = find_scheme(name);
	*out_encoding = encoding;
	return scan_byte(s, '}') && *out;
}

static bool decode(struct str encoding, struct str in, struct buf *out)
{
	if (str_eq_nocase(encoding, STR("b64")) || str_eq_nocase(encoding, STR("base64")))
		return base64_decode(out, in);
	return str_eq_nocase(encoding, STR("hex")) && hex_decode(out, in);
}

static bool damaged(struct err *err)
{
	return err_set(err, ERR_SYNTAX, "the stored password hash is damaged");
}

/* The text of a crypt or argon2 scheme must be what the scheme says. */
static bool check_name(struct stored_password *p, struct err *err)
{
	const char *found = p->scheme;
	if (p->kind == KIND_CRYPT)
		found = crypt_scheme(p->text);
	else if (p->kind == KIND_ARGON2)
		found = str_starts(p->text, STR("$argon2id$"))  ? "ARGON2ID"
			: str_starts(p->text, STR("$argon2i$")) ? "ARGON2I"
								: NULL;
	if (!found || (p->scheme && strcmp(found, p->scheme) != 0))
		return damaged(err);
	p->scheme = found;
	return true;
}

static bool parse_bare(struct str stored, struct stored_password *out, struct err *err)
{
	*out = (struct stored_password){.kind = KIND_CRYPT, .text = stored};
	if (str_starts(stored, STR("$argon2")))
		out->kind = KIND_ARGON2;
	return check_name(out, err);
}

bool password_parse(struct str stored, struct stored_password *out, struct buf *decoded, struct err *err)
{
	if (stored.n == 0 || stored.n > PASSWORD_STORED_MAX)
		return err_set(err, ERR_SYNTAX,
			       stored.n ? "the stored password hash is too long"
					: "there is no password");
	if (stored.p[0] != '{')
		return parse_bare(stored, out, err);
	struct scan s = scan_of(stored);
	const struct scheme *scheme;
	struct str encoding;
	if (!parse_prefix(&s, &scheme, &encoding))
		return err_set(err, ERR_SYNTAX, "the scheme of the stored password is unknown");
	*out = (struct stored_password){
		.kind = scheme->kind,
		.scheme = scheme->canonical,
		.text = scan_rest(&s),
		.hash = scheme->hash,
		.hex = scheme->hex,
		.decoded = encoding.p != NULL,
	};
	if (out->decoded) {
		buf_room(decoded, stored.n);
		if (!decode(encoding, out->text, decoded))
			return damaged(err);
		out->text = buf_str(decoded);
	}
	return check_name(out, err);
}

/* ---- comparing ---- */

static int verify_digest(const struct stored_password *p, struct str password, struct err *err)
{
	BUF_SCOPED b = {0};
	struct str want = p->text;
	size_t size = hash_size((enum hash_kind)p->hash);
	if (!p->decoded) {
		bool hex = want.n == 2 * size;
		if (hex ? !hex_decode(&b, want) : p->hex || !base64_decode(&b, want))
			return damaged(err), -1;
		want = buf_str(&b);
	}
	if (want.n != size)
		return damaged(err), -1;
	unsigned char out[HASH_SIZE_MAX];
	hash_once((enum hash_kind)p->hash, password, out);
	return secret_eq((struct str){(const char *)out, size}, want);
}

static void salted(enum hash_kind kind, struct str password, struct str salt, unsigned char *out)
{
	struct hash *h = hash_new(kind);
	hash_add(h, password);
	hash_add(h, salt);
	hash_end(h, out);
	hash_free(h);
}

/* digest(password + salt) + salt */
static int verify_salted(const struct stored_password *p, struct str password, struct err *err)
{
	BUF_SCOPED b = {0};
	struct str want = p->text;
	size_t size = hash_size((enum hash_kind)p->hash);
	if (!p->decoded) {
		if (!base64_decode(&b, want))
			return damaged(err), -1;
		want = buf_str(&b);
	}
	if (want.n <= size || want.n > size + SALT_MAX)
		return damaged(err), -1;
	unsigned char out[HASH_SIZE_MAX];
	salted((enum hash_kind)p->hash, password, str_from(want, size), out);
	return secret_eq((struct str){(const char *)out, size}, str_sub(want, 0, size));
}

struct pbkdf2_text {
	struct str salt;
	uint32_t rounds;
	unsigned char hash[SHA1_SIZE];
};

/* "$1$" salt "$" rounds "$" 40 hexadecimal digits: HMAC-SHA-1 */
static bool parse_pbkdf2(struct str text, struct pbkdf2_text *out)
{
	struct scan s = scan_of(text);
	BUF_SCOPED b = {0};
	if (!scan_lit(&s, STR("$1$")))
		return false;
	out->salt = scan_until_byte(&s, '$');
	if (!scan_byte(&s, '$') || !scan_u32(&s, UINT32_MAX, &out->rounds) || !scan_byte(&s, '$') ||
	    out->salt.n > PBKDF2_SALT_MAX || !hex_decode(&b, scan_rest(&s)) || b.n != SHA1_SIZE)
		return false;
	memcpy(out->hash, b.p, SHA1_SIZE);
	return out->rounds > 0;
}

static int verify_pbkdf2(const struct stored_password *p, struct str password, struct err *err)
{
	struct pbkdf2_text t;
	unsigned char out[SHA1_SIZE];
	if (!parse_pbkdf2(p->text, &t))
		return damaged(err), -1;
	if (t.rounds > PBKDF2_ROUNDS_MAX)
		return err_set(err, ERR_LIMIT, "the stored password hash asks for too much work"), -1;
	pbkdf2(HASH_SHA1, password, t.salt, t.rounds, out, sizeof out);
	return secret_eq((struct str){(const char *)out, sizeof out},
			 (struct str){(const char *)t.hash, sizeof out});
}

static int verify_scram(struct str stored, struct str password, struct err *err)
{
	struct scram_verifier v;
	if (!scram_verifier_parse(stored, &v, err))
		return -1;
	return scram_verifier_matches(&v, password);
}

static int compare(const struct stored_password *p, struct str stored, struct str password,
		   struct err *err)
{
	switch (p->kind) {
	case KIND_PLAIN:
		return secret_eq(p->text, password);
	case KIND_CRYPT:
		return crypt_verify(p->text, password, err);
	case KIND_DIGEST:
		return verify_digest(p, password, err);
	case KIND_SALTED:
		return verify_salted(p, password, err);
	case KIND_ARGON2:
		return argon2_check(p->text, password, err);
	case KIND_PBKDF2:
		return verify_pbkdf2(p, password, err);
	case KIND_SCRAM:
		return verify_scram(stored, password, err);
	}
	return 0;
}

enum password_check password_verify(struct str stored, struct str password, struct err *err)
{
	struct stored_password p;
	struct buf decoded = {0};
	/* crypt(3) would stop at a NUL and refuse what is long; an empty password is none, whatever is
	 * stored. The time is spent all the same. */
	bool possible = password.n > 0 && password.n <= PASSWORD_MAX && !str_has_byte(password, '\0');
	int right = -1;
	if (password_parse(stored, &p, &decoded, err))
		right = compare(&p, stored, str_sub(password, 0, PASSWORD_MAX), err);
	buf_wipe(&decoded);
	if (right < 0)
		return PASSWORD_BAD_HASH;
	return right && possible ? PASSWORD_MATCH : PASSWORD_MISMATCH;
}

void password_burn(struct str password)
{
	crypt_burn(str_sub(password, 0, PASSWORD_MAX));
}

/* ---- what is known without the password ---- */

const char *password_scheme(struct str stored)
{
	struct stored_password p;
	struct buf decoded = {0};
	struct err err;
	const char *name = password_parse(stored, &p, &decoded, &err) ? p.scheme : NULL;
	buf_wipe(&decoded);
	return name;
}

static bool weak(const struct stored_password *p)
{
	struct pbkdf2_text t;
	switch (p->kind) {
	case KIND_PLAIN:
	case KIND_DIGEST:
	case KIND_SALTED:
		return true;
	case KIND_CRYPT:
		return crypt_is_weak(p->text);
	case KIND_ARGON2:
		return argon2_is_weak(p->text);
	case KIND_PBKDF2:
		return parse_pbkdf2(p->text, &t) && t.rounds < PBKDF2_ROUNDS_WEAK;
	case KIND_SCRAM:
		return false;
	}
	return false;
}

bool password_is_weak(struct str stored)
{
	struct stored_password p;
	struct buf decoded = {0};
	struct err err;
	bool result = password_parse(stored, &p, &decoded, &err) && weak(&p);
	buf_wipe(&decoded);
	return result;
}

bool password_plain(struct str stored, struct buf *out)
{
	struct stored_password p;
	struct buf decoded = {0};
	struct err err;
	bool plain = password_parse(stored, &p, &decoded, &err) && p.kind == KIND_PLAIN;
	if (plain)
		buf_add(out, p.text);
	buf_wipe(&decoded);
	return plain;
}

/* ---- new ones ---- */

static bool make_ssha512(struct str password, struct buf *out)
{
	unsigned char bytes[SHA512_SIZE + 16];
	random_bytes(bytes + SHA512_SIZE, 16);
	salted(HASH_SHA512, password, (struct str){(const char *)bytes + SHA512_SIZE, 16}, bytes);
	base64_encode(out, (struct str){(const char *)bytes, sizeof bytes});
	return true;
}

static bool make_pbkdf2(struct str password, struct buf *out)
{
	char salt[16];
	unsigned char bytes[SHA1_SIZE];
	random_password(salt, sizeof salt);
	pbkdf2(HASH_SHA1, password, (struct str){salt, sizeof salt}, PBKDF2_ROUNDS_NEW, bytes,
	       sizeof bytes);
	buf_fmt(out, "$1$%.*s$%u$", (int)sizeof salt, salt, PBKDF2_ROUNDS_NEW);
	hex_encode(out, (struct str){(const char *)bytes, sizeof bytes});
	return true;
}

static bool make_scram(enum scram_hash hash, struct str password, struct buf *out, struct err *err)
{
	struct scram_verifier v;
	if (!scram_verifier_make(hash, password, SCRAM_ITERATIONS, NULL, &v, err))
		return false;
	scram_verifier_format(&v, out);
	return true;
}

static bool make(const char *scheme, struct str password, struct buf *out, struct err *err)
{
	if (strcmp(scheme, "YESCRYPT") == 0)
		return buf_add(out, STR("{CRYPT}")), crypt_make("$y$", 0, password, out, err);
	if (strcmp(scheme, "SCRAM-SHA-1") == 0)
		return make_scram(SCRAM_SHA_1, password, out, err);
	if (strcmp(scheme, "SCRAM-SHA-256") == 0)
		return make_scram(SCRAM_SHA_256, password, out, err);
	buf_fmt(out, "{%s}", scheme);
	if (strcmp(scheme, "SHA512-CRYPT") == 0)
		return crypt_make("$6$", SHA512_ROUNDS_NEW, password, out, err);
	if (strcmp(scheme, "SHA256-CRYPT") == 0)
		return crypt_make("$5$", SHA512_ROUNDS_NEW, password, out, err);
	if (strcmp(scheme, "BLF-CRYPT") == 0)
		return crypt_make("$2y$", BCRYPT_COST_NEW, password, out, err);
	if (strcmp(scheme, "ARGON2ID") == 0)
		return argon2_make(password, out, err);
	if (strcmp(scheme, "PBKDF2") == 0)
		return make_pbkdf2(password, out);
	if (strcmp(scheme, "SSHA512") == 0)
		return make_ssha512(password, out);
	return err_set(err, ERR_NOT_FOUND, "no new passwords are made with this scheme");
}

bool password_hash(struct str scheme, struct str password, struct buf *out, struct err *err)
{
	const struct scheme *row = find_scheme(scheme.n ? scheme : STR("YESCRYPT"));
	if (!row || !row->canonical)
		return err_set(err, ERR_NOT_FOUND, "no new passwords are made with this scheme");
	if (password.n == 0 || password.n > PASSWORD_MAX)
		return err_set(err, ERR_SYNTAX, "a password has 1 to %d bytes", PASSWORD_MAX);
	if (str_has_ctl(password))
		return err_set(err, ERR_SYNTAX, "a password holds no control characters");
	size_t before = out->n;
	if (make(row->canonical, password, out, err))
		return true;
	out->n = before;
	return false;
}
