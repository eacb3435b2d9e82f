/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Two halves. Key management: a key is a public key of the default provider, to which every
 * question is passed on; only "has" claims a private part, and "export" never gives one out, so
 * OpenSSL has to come back to us for signatures. Signatures: the text is gathered and goes, with
 * the algorithm, to the callback.
 *
 * Which object a key belongs to travels through the parameters of EVP_PKEY_fromdata as a pointer;
 * keys that OpenSSL itself imports for comparison have none and cannot sign.
 */
#include "crypto/tls_provider.h"
#include "crypto/crypto_int.h"
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct tls_provider {
	atomic_uint refs;
	tls_sign_fn *sign;
	void *ctx;
	OSSL_LIB_CTX *libctx;
	OSSL_PROVIDER *standard, *ours;
};

/* keydata of key management */
struct remote_key {
	struct tls_provider *owner; /* NULL: for comparison only */
	const char *type;           /* "EC", "RSA", "ED25519" */
	EVP_PKEY *pub;
	unsigned char id[KEY_ID_SIZE];
};

#define PARAM_OWNER "pabal-owner"
#define PARAM_PUBLIC "pabal-public"

/* ---- key management ---- */

static void *remote_key_new(const char *type)
{
	struct remote_key *k = calloc(1, sizeof *k);
	if (k)
		k->type = type;
	return k;
}

static void *ec_new(void *provctx)
{
	(void)provctx;
	return remote_key_new("EC");
}

static void *rsa_new(void *provctx)
{
	(void)provctx;
	return remote_key_new("RSA");
}

static void *ed25519_new(void *provctx)
{
	(void)provctx;
	return remote_key_new("ED25519");
}

static void remote_key_free(void *keydata)
{
	struct remote_key *k = keydata;
	if (!k)
		return;
	EVP_PKEY_free(k->pub);
	free(k);
}

static int remote_key_has(const void *keydata, int selection)
{
	const struct remote_key *k = keydata;
	if (!k || !k->pub)
		return 0;
	return !(selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) || k->owner != NULL;
}

/* Both have public keys only, so that is what is compared. */
static int remote_key_match(const void *a, const void *b, int selection)
{
	(void)selection;
	const struct remote_key *x = a, *y = b;
	return x->pub && y->pub && EVP_PKEY_eq(x->pub, y->pub) == 1;
}

static int remote_key_get_params(void *keydata, OSSL_PARAM params[])
{
	struct remote_key *k = keydata;
	return k->pub ? EVP_PKEY_get_params(k->pub, params) : 0;
}

static const OSSL_PARAM *remote_key_gettable(void *provctx)
{
	(void)provctx;
	static const OSSL_PARAM list[] = {
		OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL),
		OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
		OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL),
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, NULL, 0),
		OSSL_PARAM_END,
	};
	return list;
}

static const void *pointer_param(const OSSL_PARAM params[], const char *name)
{
	const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, name);
	const void *value = NULL;
	size_t n;
	return p && OSSL_PARAM_get_octet_ptr(p, &value, &n) == 1 ? value : NULL;
}

/* A key of ours: the public key comes ready made. */
static int import_owned(struct remote_key *k, const OSSL_PARAM params[], struct tls_provider *owner)
{
	EVP_PKEY *pub = (EVP_PKEY *)pointer_param(params, PARAM_PUBLIC);
	struct err err;
	if (!pub || !spki_id(pub, k->id, &err) || EVP_PKEY_up_ref(pub) != 1)
		return 0;
	k->pub = pub;
	k->owner = owner;
	return 1;
}

/* A key of the default provider that shall be compared with one of ours. */
static int import_public(struct remote_key *k, const OSSL_PARAM params[])
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, k->type, NULL);
	int done = ctx && EVP_PKEY_fromdata_init(ctx) > 0 &&
		   EVP_PKEY_fromdata(ctx, &k->pub, EVP_PKEY_PUBLIC_KEY, (OSSL_PARAM *)params) > 0;
	EVP_PKEY_CTX_free(ctx);
	return done;
}

static int remote_key_import(void *keydata, int selection, const OSSL_PARAM params[])
{
	(void)selection;
	struct remote_key *k = keydata;
	if (k->pub)
		return 0;
	struct tls_provider *owner = (struct tls_provider *)pointer_param(params, PARAM_OWNER);
	return owner ? import_owned(k, params, owner) : import_public(k, params);
}

static int remote_key_export(void *keydata, int selection, OSSL_CALLBACK *callback, void *arg)
{
	struct remote_key *k = keydata;
	if (!k->pub || (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY))
		return 0;
	return EVP_PKEY_export(k->pub, selection, callback, arg);
}

static const OSSL_PARAM *remote_key_types(int selection)
{
	static const OSSL_PARAM list[] = {
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
		OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
		OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0),
		OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0),
		OSSL_PARAM_END,
	};
	return selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY ? list : NULL;
}

static const char *ec_operation(int operation)
{
	return operation == OSSL_OP_SIGNATURE ? "ECDSA" : NULL;
}

static const char *rsa_operation(int operation)
{
	return operation == OSSL_OP_SIGNATURE ? "RSA" : NULL;
}

static const char *ed25519_operation(int operation)
{
	return operation == OSSL_OP_SIGNATURE ? "ED25519" : NULL;
}

#define FN(f) ((void (*)(void))(f))
#define KEY_MANAGEMENT(name)                                                                             \
	static const OSSL_DISPATCH name##_keymgmt[] = {                                                  \
		{OSSL_FUNC_KEYMGMT_NEW, FN(name##_new)},                                                 \
		{OSSL_FUNC_KEYMGMT_FREE, FN(remote_key_free)},                                           \
		{OSSL_FUNC_KEYMGMT_HAS, FN(remote_key_has)},                                             \
		{OSSL_FUNC_KEYMGMT_MATCH, FN(remote_key_match)},                                         \
		{OSSL_FUNC_KEYMGMT_GET_PARAMS, FN(remote_key_get_params)},                               \
		{OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, FN(remote_key_gettable)},                            \
		{OSSL_FUNC_KEYMGMT_IMPORT, FN(remote_key_import)},                                       \
		{OSSL_FUNC_KEYMGMT_IMPORT_TYPES, FN(remote_key_types)},                                  \
		{OSSL_FUNC_KEYMGMT_EXPORT, FN(remote_key_export)},                                       \
		{OSSL_FUNC_KEYMGMT_EXPORT_TYPES, FN(remote_key_types)},                                  \
		{OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, FN(name##_operation)},                          \
		{0, NULL},                                                                               \
	}
KEY_MANAGEMENT(ec);
KEY_MANAGEMENT(rsa);
KEY_MANAGEMENT(ed25519);

/* ---- signatures ---- */

enum { TEXT_MAX = 4096 }; /* what a handshake signs has less than 256 bytes */

struct signing {
	const struct remote_key *key; /* the EVP_PKEY above outlives this */
	int bits;                     /* of the digest, 0: none named */
	bool pss;
	struct buf text;
};

static void *signing_new(void *provctx, const char *propq)
{
	(void)provctx, (void)propq;
	struct signing *s = calloc(1, sizeof *s);
	if (s)
		s->text.max = TEXT_MAX;
	return s;
}

static void signing_free(void *vctx)
{
	struct signing *s = vctx;
	if (!s)
		return;
	buf_free(&s->text);
	free(s);
}

static void *signing_dup(void *vctx)
{
	const struct signing *s = vctx;
	struct signing *d = signing_new(NULL, NULL);
	if (!d)
		return NULL;
	d->key = s->key;
	d->bits = s->bits;
	d->pss = s->pss;
	buf_add(&d->text, buf_str(&s->text));
	return d;
}

static int digest_bits(const char *name)
{
	static const struct {
		const char *name;
		int bits;
	} names[] = {
		{"SHA2-256", 256}, {"SHA256", 256},   {"SHA2-384", 384},
		{"SHA384", 384},   {"SHA2-512", 512}, {"SHA512", 512},
	};
	for (size_t i = 0; name && i < sizeof names / sizeof *names; i++)
		if (str_eq_nocase(str_of(name), str_of(names[i].name)))
			return names[i].bits;
	return 0;
}

static int signing_set_params(void *vctx, const OSSL_PARAM params[]);

static int signing_init(void *vctx, const char *md, void *keydata, const OSSL_PARAM params[])
{
	struct signing *s = vctx;
	s->key = keydata;
	s->bits = digest_bits(md);
	s->pss = false;
	buf_clear(&s->text);
	if (!s->key || !s->key->owner || (strcmp(s->key->type, "ED25519") != 0 && s->bits == 0))
		return 0;
	return signing_set_params(s, params);
}

static int set_padding(struct signing *s, const OSSL_PARAM *p)
{
	const char *name;
	int number = 0;
	if (p->data_type == OSSL_PARAM_UTF8_STRING) {
		name = p->data;
		if (!name)
			return 0;
		number = strcmp(name, OSSL_PKEY_RSA_PAD_MODE_PSS) == 0       ? RSA_PKCS1_PSS_PADDING
			 : strcmp(name, OSSL_PKEY_RSA_PAD_MODE_PKCSV15) == 0 ? RSA_PKCS1_PADDING
									     : 0;
	} else if (OSSL_PARAM_get_int(p, &number) != 1) {
		return 0;
	}
	if (number != RSA_PKCS1_PSS_PADDING && number != RSA_PKCS1_PADDING)
		return 0;
	s->pss = number == RSA_PKCS1_PSS_PADDING;
	return 1;
}

/* RFC 8446 4.2.3: the salt is as long as the digest; nothing else can be asked of keys. */
static int check_salt_length(const OSSL_PARAM *p)
{
	int number;
	if (p->data_type == OSSL_PARAM_UTF8_STRING)
		return p->data && (strcmp(p->data, OSSL_PKEY_RSA_PSS_SALT_LEN_DIGEST) == 0 ||
				   strcmp(p->data, "-1") == 0);
	return OSSL_PARAM_get_int(p, &number) == 1 && number == RSA_PSS_SALTLEN_DIGEST;
}

static int signing_set_params(void *vctx, const OSSL_PARAM params[])
{
	struct signing *s = vctx;
	if (!params)
		return 1;
	const OSSL_PARAM *pad = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PAD_MODE);
	const OSSL_PARAM *salt = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PSS_SALTLEN);
	if (pad && !set_padding(s, pad))
		return 0;
	return !salt || check_salt_length(salt);
}

static const OSSL_PARAM *signing_settable(void *vctx, void *provctx)
{
	(void)vctx, (void)provctx;
	static const OSSL_PARAM list[] = {
		OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL, 0),
		OSSL_PARAM_END,
	};
	return list;
}

static bool signing_form(const struct signing *s, enum sign_form *out)
{
	enum sign_form base = SIGN_ED25519;
	if (strcmp(s->key->type, "EC") == 0)
		base = SIGN_ECDSA_SHA256;
	else if (strcmp(s->key->type, "RSA") == 0)
		base = s->pss ? SIGN_RSA_PSS_SHA256 : SIGN_RSA_PKCS1_SHA256;
	if (base != SIGN_ED25519)
		base += s->bits == 512 ? 2 : s->bits == 384 ? 1 : 0;
	*out = base;
	return sign_form_row(base) != NULL;
}

static int sign_text(struct signing *s, unsigned char *sig, size_t *sig_n, size_t room, struct str text)
{
	int size = EVP_PKEY_get_size(s->key->pub);
	enum sign_form form;
	if (size <= 0 || !signing_form(s, &form))
		return 0;
	if (!sig) {
		*sig_n = (size_t)size;
		return 1;
	}
	BUF_SCOPED out = {0};
	struct err err = {0};
	if (!s->key->owner->sign(s->key->owner->ctx, s->key->id, form, text.p, text.n, &out, &err)) {
		ERR_raise_data(ERR_LIB_PROV, ERR_R_OPERATION_FAIL, "%s",
			       err.cause[0] ? err.cause : err.text);
		return 0;
	}
	if (out.n == 0 || out.n > room || out.n > (size_t)size) {
		ERR_raise_data(ERR_LIB_PROV, ERR_R_OPERATION_FAIL, "signature of impossible length");
		return 0;
	}
	memcpy(sig, out.p, out.n);
	*sig_n = out.n;
	return 1;
}

static int signing_digest_sign(void *vctx, unsigned char *sig, size_t *sig_n, size_t room,
			       const unsigned char *text, size_t n)
{
	return sign_text(vctx, sig, sig_n, room, (struct str){(const char *)text, n});
}

static int signing_update(void *vctx, const unsigned char *text, size_t n)
{
	struct signing *s = vctx;
	buf_add_bytes(&s->text, text, n);
	return !s->text.failed;
}

static int signing_final(void *vctx, unsigned char *sig, size_t *sig_n, size_t room)
{
	struct signing *s = vctx;
	return sign_text(s, sig, sig_n, room, buf_str(&s->text));
}

static const OSSL_DISPATCH signature[] = {
	{OSSL_FUNC_SIGNATURE_NEWCTX, FN(signing_new)},
	{OSSL_FUNC_SIGNATURE_FREECTX, FN(signing_free)},
	{OSSL_FUNC_SIGNATURE_DUPCTX, FN(signing_dup)},
	{OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, FN(signing_init)},
	{OSSL_FUNC_SIGNATURE_DIGEST_SIGN_UPDATE, FN(signing_update)},
	{OSSL_FUNC_SIGNATURE_DIGEST_SIGN_FINAL, FN(signing_final)},
	{OSSL_FUNC_SIGNATURE_DIGEST_SIGN, FN(signing_digest_sign)},
	{OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, FN(signing_set_params)},
	{OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, FN(signing_settable)},
	{0, NULL},
};

/* ---- the provider ---- */

#define PROPERTY "provider=pabal"
static const OSSL_ALGORITHM keymgmt_algorithms[] = {
	{"EC:id-ecPublicKey:1.2.840.10045.2.1", PROPERTY, ec_keymgmt, NULL},
	{"RSA:rsaEncryption:1.2.840.113549.1.1.1", PROPERTY, rsa_keymgmt, NULL},
	{"ED25519:1.3.101.112", PROPERTY, ed25519_keymgmt, NULL},
	{NULL, NULL, NULL, NULL},
};
static const OSSL_ALGORITHM signature_algorithms[] = {
	{"ECDSA", PROPERTY, signature, NULL},
	{"RSA:rsaEncryption:1.2.840.113549.1.1.1", PROPERTY, signature, NULL},
	{"ED25519:1.3.101.112", PROPERTY, signature, NULL},
	{NULL, NULL, NULL, NULL},
};

static const OSSL_ALGORITHM *provider_query(void *provctx, int operation, int *no_cache)
{
	(void)provctx;
	*no_cache = 0;
	switch (operation) {
	case OSSL_OP_KEYMGMT:
		return keymgmt_algorithms;
	case OSSL_OP_SIGNATURE:
		return signature_algorithms;
	default:
		return NULL;
	}
}

static const OSSL_DISPATCH provider_functions[] = {
	{OSSL_FUNC_PROVIDER_QUERY_OPERATION, FN(provider_query)},
	{0, NULL},
};

static int provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in,
			 const OSSL_DISPATCH **out, void **provctx)
{
	(void)in;
	*out = provider_functions;
	*provctx = (void *)handle;
	return 1;
}

bool tls_provider_new(tls_sign_fn *sign, void *ctx, struct tls_provider **out, struct err *err)
{
	struct tls_provider *p = calloc(1, sizeof *p);
	if (!p)
		abort();
	ERR_clear_error();
	atomic_init(&p->refs, 1);
	p->sign = sign;
	p->ctx = ctx;
	p->libctx = OSSL_LIB_CTX_new();
	if (!p->libctx || OSSL_PROVIDER_add_builtin(p->libctx, "pabal", provider_init) != 1 ||
	    !(p->standard = OSSL_PROVIDER_load(p->libctx, "default")) ||
	    !(p->ours = OSSL_PROVIDER_load(p->libctx, "pabal")) ||
	    EVP_set_default_properties(p->libctx, TLS_PROPERTIES) != 1) {
		tls_provider_unref(p);
		return crypto_err(err, ERR_TEMP, "the key provider cannot be loaded");
	}
	*out = p;
	return true;
}

struct tls_provider *tls_provider_ref(struct tls_provider *p)
{
	atomic_fetch_add(&p->refs, 1);
	return p;
}

void tls_provider_unref(struct tls_provider *p)
{
	if (!p || atomic_fetch_sub(&p->refs, 1) != 1)
		return;
	if (p->ours)
		OSSL_PROVIDER_unload(p->ours);
	if (p->standard)
		OSSL_PROVIDER_unload(p->standard);
	OSSL_LIB_CTX_free(p->libctx);
	free(p);
}

OSSL_LIB_CTX *tls_provider_libctx(const struct tls_provider *p)
{
	return p->libctx;
}

bool tls_provider_key(struct tls_provider *p, EVP_PKEY *pub, EVP_PKEY **out, struct err *err)
{
	void *owner = p, *public = pub;
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_ptr(PARAM_OWNER, &owner, sizeof *p),
		OSSL_PARAM_construct_octet_ptr(PARAM_PUBLIC, &public, sizeof pub),
		OSSL_PARAM_construct_end(),
	};
	enum key_type type;
	if (!pkey_accepted(pub, &type, err))
		return false;
	const char *name = type == KEY_RSA ? "RSA" : type == KEY_ED25519 ? "ED25519" : "EC";
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(p->libctx, name, PROPERTY);
	EVP_PKEY *pkey = NULL;
	bool done = ctx && EVP_PKEY_fromdata_init(ctx) > 0 &&
		    EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_KEYPAIR, params) > 0;
	EVP_PKEY_CTX_free(ctx);
	if (!done)
		return crypto_err(err, ERR_TEMP, "a key behind the provider cannot be made");
	*out = pkey;
	return true;
}
