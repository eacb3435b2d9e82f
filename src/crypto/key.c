/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* A key is an EVP_PKEY of the default provider with its id computed once. */
#include "crypto/key.h"
#include "base/secret.h"
#include "crypto/crypto_int.h"
#include "crypto/hash.h"
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

enum { RSA_BITS_MIN = 2048, RSA_BITS_MAX = 8192, PEM_MAX = 64 * 1024 };

struct key {
	EVP_PKEY *pkey;
	enum key_type type;
	unsigned char id[KEY_ID_SIZE];
};

static const struct sign_form_row forms[] = {
	[SIGN_ECDSA_SHA256] = {"ecdsa-sha256", "EC", "SHA256", false},
	[SIGN_ECDSA_SHA384] = {"ecdsa-sha384", "EC", "SHA384", false},
	[SIGN_ECDSA_SHA512] = {"ecdsa-sha512", "EC", "SHA512", false},
	[SIGN_RSA_PSS_SHA256] = {"rsa-pss-sha256", "RSA", "SHA256", true},
	[SIGN_RSA_PSS_SHA384] = {"rsa-pss-sha384", "RSA", "SHA384", true},
	[SIGN_RSA_PSS_SHA512] = {"rsa-pss-sha512", "RSA", "SHA512", true},
	[SIGN_RSA_PKCS1_SHA256] = {"rsa-sha256", "RSA", "SHA256", false},
	[SIGN_RSA_PKCS1_SHA384] = {"rsa-sha384", "RSA", "SHA384", false},
	[SIGN_RSA_PKCS1_SHA512] = {"rsa-sha512", "RSA", "SHA512", false},
	[SIGN_ED25519] = {"ed25519", "ED25519", NULL, false},
};

/* The number may come from another process. */
const struct sign_form_row *sign_form_row(enum sign_form form)
{
	unsigned i = (unsigned)form;
	return i < sizeof forms / sizeof *forms && forms[i].name ? &forms[i] : NULL;
}

const char *sign_form_name(enum sign_form form)
{
	const struct sign_form_row *row = sign_form_row(form);
	return row ? row->name : NULL;
}

const char *key_type_name(enum key_type type)
{
	switch (type) {
	case KEY_EC_P256:
		return "EC P-256";
	case KEY_EC_P384:
		return "EC P-384";
	case KEY_ED25519:
		return "Ed25519";
	case KEY_RSA:
		return "RSA";
	}
	return NULL;
}

EVP_PKEY *key_evp(const struct key *key)
{
	return key->pkey;
}

bool spki_id(EVP_PKEY *pkey, unsigned char *out, struct err *err)
{
	unsigned char *der = NULL;
	int n = i2d_PUBKEY(pkey, &der);
	if (n <= 0)
		return crypto_err(err, ERR_TEMP, "the public key cannot be encoded");
	sha256((struct str){(const char *)der, (size_t)n}, out);
	OPENSSL_free(der);
	return true;
}

static bool accepted(EVP_PKEY *pkey, unsigned rsa_bits_min, enum key_type *out_type, struct err *err)
{
	char group[32] = "";
	if (EVP_PKEY_is_a(pkey, "EC")) {
		EVP_PKEY_get_group_name(pkey, group, sizeof group, NULL);
		if (strcmp(group, "prime256v1") == 0)
			return *out_type = KEY_EC_P256, true;
		if (strcmp(group, "secp384r1") == 0)
			return *out_type = KEY_EC_P384, true;
		return err_set(err, ERR_LIMIT, "EC keys must be on P-256 or P-384");
	}
	if (EVP_PKEY_is_a(pkey, "ED25519"))
		return *out_type = KEY_ED25519, true;
	if (EVP_PKEY_is_a(pkey, "RSA")) {
		int bits = EVP_PKEY_get_bits(pkey);
		if (bits < (int)rsa_bits_min || bits > RSA_BITS_MAX)
			return err_set(err, ERR_LIMIT, "RSA keys must have %u to %d bits, this has %d",
				       rsa_bits_min, RSA_BITS_MAX, bits);
		return *out_type = KEY_RSA, true;
	}
	return err_set(err, ERR_LIMIT, "keys must be EC (P-256, P-384), RSA or Ed25519");
}

bool pkey_accepted(EVP_PKEY *pkey, enum key_type *out_type, struct err *err)
{
	return accepted(pkey, RSA_BITS_MIN, out_type, err);
}

/* Takes pkey over in every case. */
static bool key_of(EVP_PKEY *pkey, unsigned rsa_bits_min, struct key **out, struct err *err)
{
	struct key *key = calloc(1, sizeof *key);
	if (!key)
		abort();
	key->pkey = pkey;
	if (!accepted(pkey, rsa_bits_min, &key->type, err) || !spki_id(pkey, key->id, err)) {
		key_free(key);
		return false;
	}
	*out = key;
	return true;
}

struct pass {
	struct str passphrase;
	bool asked;
};

/* pem_password_cb: without it OpenSSL would ask on the terminal. */
static int give_passphrase(char *out, int size, int writing, void *arg)
{
	(void)writing;
	struct pass *pass = arg;
	pass->asked = true;
	if (pass->passphrase.n == 0 || pass->passphrase.n > (size_t)size)
		return -1;
	memcpy(out, pass->passphrase.p, pass->passphrase.n);
	return (int)pass->passphrase.n;
}

bool key_load(struct str pem, struct str passphrase, struct key **out, struct err *err)
{
	return key_load_rsa(pem, passphrase, RSA_BITS_MIN, out, err);
}

bool key_load_rsa(struct str pem, struct str passphrase, unsigned rsa_bits_min, struct key **out,
		  struct err *err)
{
	if (pem.n == 0 || pem.n > PEM_MAX)
		return err_set(err, ERR_SYNTAX, "not a private key in PEM");
	ERR_clear_error();
	BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
	if (!bio)
		abort();
	struct pass pass = {.passphrase = passphrase};
	EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, give_passphrase, &pass);
	BIO_free(bio);
	if (pkey)
		return key_of(pkey, rsa_bits_min, out, err);
	if (pass.asked)
		return crypto_err(err, ERR_DENIED,
				  passphrase.n ? "the passphrase of the private key is wrong"
					       : "the private key needs a passphrase");
	return crypto_err(err, ERR_SYNTAX, "not a private key in PEM");
}

bool key_generate(enum key_type type, unsigned rsa_bits, struct key **out, struct err *err)
{
	ERR_clear_error();
	EVP_PKEY *pkey = NULL;
	switch (type) {
	case KEY_EC_P256:
		pkey = EVP_EC_gen("P-256");
		break;
	case KEY_EC_P384:
		pkey = EVP_EC_gen("P-384");
		break;
	case KEY_ED25519:
		pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
		break;
	case KEY_RSA:
		if (rsa_bits < RSA_BITS_MIN || rsa_bits > RSA_BITS_MAX)
			return err_set(err, ERR_LIMIT, "RSA keys must have %d to %d bits", RSA_BITS_MIN,
				       RSA_BITS_MAX);
		pkey = EVP_RSA_gen(rsa_bits);
		break;
	}
	if (!pkey)
		return crypto_err(err, ERR_TEMP, "a key cannot be generated");
	return key_of(pkey, RSA_BITS_MIN, out, err);
}

void key_free(struct key *key)
{
	if (!key)
		return;
	EVP_PKEY_free(key->pkey); /* cleanses the private part */
	free(key);
}

const unsigned char *key_id(const struct key *key)
{
	return key->id;
}

enum key_type key_type(const struct key *key)
{
	return key->type;
}

unsigned key_bits(const struct key *key)
{
	return (unsigned)EVP_PKEY_get_bits(key->pkey);
}

bool key_write_pem(const struct key *key, struct str passphrase, struct buf *out, struct err *err)
{
	ERR_clear_error();
	BIO *bio = BIO_new(BIO_s_secmem());
	if (!bio)
		abort();
	const EVP_CIPHER *cipher = passphrase.n ? EVP_aes_256_cbc() : NULL;
	struct pass pass = {.passphrase = passphrase};
	bool done = PEM_write_bio_PKCS8PrivateKey(bio, key->pkey, cipher, NULL, 0,
						  cipher ? give_passphrase : NULL, &pass) == 1;
	if (done) {
		char *p;
		long n = BIO_get_mem_data(bio, &p);
		buf_add_bytes(out, p, (size_t)n);
	}
	BIO_free(bio);
	return done || crypto_err(err, ERR_TEMP, "the private key cannot be written");
}

bool key_public_der(const struct key *key, struct buf *out, struct err *err)
{
	unsigned char *der = NULL;
	int n = i2d_PUBKEY(key->pkey, &der);
	if (n <= 0)
		return crypto_err(err, ERR_TEMP, "the public key cannot be encoded");
	buf_add_bytes(out, der, (size_t)n);
	OPENSSL_free(der);
	return true;
}

bool key_public_info(struct str public_der, enum key_type *out_type, unsigned *out_bits, struct err *err)
{
	const unsigned char *p = (const unsigned char *)public_der.p;
	struct err other;
	ERR_clear_error();
	EVP_PKEY *pkey = public_der.n > 0 && public_der.n <= PEM_MAX
				 ? d2i_PUBKEY(NULL, &p, (long)public_der.n)
				 : NULL;
	if (!pkey)
		return crypto_err(err, ERR_SYNTAX, "not a public key");
	bool known = EVP_PKEY_is_a(pkey, "RSA") || accepted(pkey, RSA_BITS_MIN, out_type, &other);
	if (EVP_PKEY_is_a(pkey, "RSA"))
		*out_type = KEY_RSA;
	*out_bits = (unsigned)EVP_PKEY_get_bits(pkey);
	EVP_PKEY_free(pkey);
	return known || err_set(err, ERR_SYNTAX, "a public key of another kind");
}

static bool set_padding(EVP_PKEY_CTX *ctx, const struct sign_form_row *row)
{
	if (!row->pss)
		return true;
	return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) > 0 &&
	       EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) > 0;
}

static bool sign_with(EVP_MD_CTX *ctx, EVP_PKEY *pkey, const struct sign_form_row *row, struct str text,
		      struct buf *sig)
{
	EVP_PKEY_CTX *pctx; /* owned by ctx */
	size_t n = 0;
	const unsigned char *p = (const unsigned char *)(text.n ? text.p : "");
	if (EVP_DigestSignInit_ex(ctx, &pctx, row->md, NULL, NULL, pkey, NULL) <= 0 ||
	    !set_padding(pctx, row) || EVP_DigestSign(ctx, NULL, &n, p, text.n) <= 0)
		return false;
	unsigned char *room = (unsigned char *)buf_room(sig, n);
	if (!room || EVP_DigestSign(ctx, room, &n, p, text.n) <= 0)
		return false;
	sig->n += n;
	return true;
}

bool key_sign(const struct key *key, enum sign_form form, struct str text, struct buf *sig,
	      struct err *err)
{
	const struct sign_form_row *row = sign_form_row(form);
	if (!row || !EVP_PKEY_is_a(key->pkey, row->key_type))
		return err_set(err, ERR_CONFLICT, "this key cannot make a signature of that kind");
	ERR_clear_error();
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	if (!ctx)
		abort();
	bool done = sign_with(ctx, key->pkey, row, text, sig);
	EVP_MD_CTX_free(ctx);
	return done || crypto_err(err, ERR_TEMP, "signing failed");
}

bool key_verify(struct str public_der, enum sign_form form, struct str text, struct str sig,
		bool *out_right, struct err *err)
{
	const struct sign_form_row *row = sign_form_row(form);
	const unsigned char *p = (const unsigned char *)public_der.p;
	bool fits = public_der.n > 0 && public_der.n <= PEM_MAX;
	ERR_clear_error();
	EVP_PKEY *pkey = fits ? d2i_PUBKEY(NULL, &p, (long)public_der.n) : NULL;
	if (!pkey)
		return crypto_err(err, ERR_SYNTAX, "not a public key");
	if (!row || !EVP_PKEY_is_a(pkey, row->key_type)) {
		EVP_PKEY_free(pkey);
		return err_set(err, ERR_CONFLICT, "this key cannot have made a signature of that kind");
	}
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	if (!ctx)
		abort();
	EVP_PKEY_CTX *pctx;
	bool ready = EVP_DigestVerifyInit_ex(ctx, &pctx, row->md, NULL, NULL, pkey, NULL) > 0 &&
		     set_padding(pctx, row);
	if (ready)
		*out_right = EVP_DigestVerify(ctx, (const unsigned char *)(sig.n ? sig.p : ""), sig.n,
					      (const unsigned char *)(text.n ? text.p : ""), text.n) == 1;
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(pkey);
	if (!ready)
		return crypto_err(err, ERR_TEMP, "the signature cannot be checked");
	ERR_clear_error();
	return true;
}
