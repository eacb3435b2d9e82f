/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Reading certificates, for lists, warnings before expiry and the choice by name. */
#include "base/arena.h"
#include "crypto/crypto_int.h"
#include "crypto/hash.h"
#include "crypto/tls_int.h"
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CERTIFICATE_PEM_MAX = 256 * 1024, CHAIN_MAX = 16, NAMES_MAX = 1000 };

static int no_passphrase(char *out, int size, int writing, void *arg)
{
	(void)out, (void)size, (void)writing, (void)arg;
	return -1;
}

static X509 *read_one(BIO *bio, OSSL_LIB_CTX *libctx)
{
	X509 *x = X509_new_ex(libctx, NULL);
	if (!x)
		abort();
	if (!PEM_read_bio_X509(bio, &x, no_passphrase, NULL)) {
		X509_free(x);
		return NULL;
	}
	return x;
}

/* The end of the file is told apart from a damaged certificate by the reason. */
static bool read_chain(BIO *bio, OSSL_LIB_CTX *libctx, STACK_OF(X509) * chain, struct err *err)
{
	X509 *x;
	while ((x = read_one(bio, libctx)) != NULL) {
		if (sk_X509_num(chain) >= CHAIN_MAX) {
			X509_free(x);
			return err_set(err, ERR_LIMIT, "more than %d certificates in a chain",
				       CHAIN_MAX + 1);
		}
		if (sk_X509_push(chain, x) <= 0)
			abort();
	}
	if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		return crypto_err(err, ERR_SYNTAX, "a certificate of the chain cannot be read");
	ERR_clear_error();
	return true;
}

bool cert_read(struct str pem, OSSL_LIB_CTX *libctx, X509 **out_cert, STACK_OF(X509) * *out_chain,
	       struct err *err)
{
	if (pem.n == 0 || pem.n > CERTIFICATE_PEM_MAX)
		return err_set(err, ERR_SYNTAX, "not a certificate in PEM");
	ERR_clear_error();
	BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
	STACK_OF(X509) *chain = sk_X509_new_null();
	if (!bio || !chain)
		abort();
	X509 *cert = read_one(bio, libctx);
	bool done = cert ? read_chain(bio, libctx, chain, err)
			 : crypto_err(err, ERR_SYNTAX, "not a certificate in PEM");
	BIO_free(bio);
	if (done && !X509_get0_pubkey(cert))
		done = crypto_err(err, ERR_SYNTAX, "the public key of the certificate cannot be read");
	if (!done) {
		X509_free(cert);
		sk_X509_pop_free(chain, X509_free);
		return false;
	}
	*out_cert = cert;
	*out_chain = chain;
	return true;
}

static int64_t unix_time(const ASN1_TIME *t)
{
	struct tm tm;
	return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static struct str name_line(struct arena *a, X509_NAME *name)
{
	BIO *bio = BIO_new(BIO_s_mem());
	if (!bio)
		abort();
	char *p;
	X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB);
	long n = BIO_get_mem_data(bio, &p);
	struct str line = arena_str(a, (struct str){p, n > 0 ? (size_t)n : 0});
	BIO_free(bio);
	return line;
}

void cert_names(struct arena *a, X509 *cert, struct str **out, size_t *out_n)
{
	GENERAL_NAMES *all = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	int n = all ? sk_GENERAL_NAME_num(all) : 0;
	n = n > NAMES_MAX ? NAMES_MAX : n;
	struct str *names = arena_array(a, (size_t)n + 1, sizeof *names);
	size_t count = 0;
	for (int i = 0; i < n; i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(all, i);
		if (name->type != GEN_DNS)
			continue;
		struct str s = {(const char *)ASN1_STRING_get0_data(name->d.dNSName),
				(size_t)ASN1_STRING_length(name->d.dNSName)};
		if (s.n > 0 && s.n <= 255 && !str_has_ctl(s))
			names[count++] = arena_lower(a, s);
	}
	GENERAL_NAMES_free(all);
	ERR_clear_error(); /* a damaged extension is one without names */
	*out = names;
	*out_n = count;
}

static bool fingerprint(X509 *cert, unsigned char *out, struct err *err)
{
	unsigned int n;
	return X509_digest(cert, EVP_sha256(), out, &n) == 1 ||
	       crypto_err(err, ERR_SYNTAX, "the certificate cannot be hashed");
}

static bool facts_of(struct arena *a, X509 *cert, struct cert_facts *out, struct err *err)
{
	EVP_PKEY *pub = X509_get0_pubkey(cert);
	enum key_type type;
	if (!spki_id(pub, out->key_id, err) || !fingerprint(cert, out->fingerprint, err))
		return false;
	struct err other;
	if (!pkey_accepted(pub, &type, &other))
		out->key = "other";
	else if (type == KEY_RSA)
		out->key = arena_cstr(a, arena_fmt(a, "RSA %d", EVP_PKEY_get_bits(pub)));
	else
		out->key = key_type_name(type);
	cert_names(a, cert, &out->names, &out->name_count);
	out->subject = name_line(a, X509_get_subject_name(cert));
	out->issuer = name_line(a, X509_get_issuer_name(cert));
	out->not_before = unix_time(X509_get0_notBefore(cert));
	out->not_after = unix_time(X509_get0_notAfter(cert));
	return true;
}

bool cert_facts(struct arena *a, struct str pem, struct cert_facts *out, struct err *err)
{
	X509 *cert;
	STACK_OF(X509) * chain;
	if (!cert_read(pem, NULL, &cert, &chain, err))
		return false;
	*out = (struct cert_facts){.chain_count = 1 + (size_t)sk_X509_num(chain)};
	bool done = facts_of(a, cert, out, err);
	X509_free(cert);
	sk_X509_pop_free(chain, X509_free);
	return done;
}

bool cert_name_matches(struct str pattern, struct str name)
{
	if (name.n && name.p[name.n - 1] == '.')
		name.n--;
	if (!str_starts(pattern, STR("*.")))
		return name.n > 0 && str_eq_nocase(pattern, name);
	size_t dot = str_find_byte(name, '.');
	/* One label for the star, and never a whole top-level domain. */
	if (dot == STR_NPOS || dot == 0 || !str_has_byte(str_from(pattern, 2), '.'))
		return false;
	return str_eq_nocase(str_from(pattern, 1), str_from(name, dot));
}
