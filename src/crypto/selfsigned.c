/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* X.509 v3 with the extensions clients look at, SHA-256. */
#include "crypto/selfsigned.h"
#include "base/arena.h"
#include "base/ids.h"
#include "crypto/crypto_int.h"
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_BYTES = 253, NAMES_MAX = 100, DAY = 86400 };

/* LDH labels, an underscore too, "*" as the first label. What would end the value in an
 * extension's text (commas, colons) is refused with the rest. */
static bool is_dns_name(struct str name)
{
	if (name.n == 0 || name.n > NAME_MAX_BYTES)
		return false;
	struct str rest = str_starts(name, STR("*.")) ? str_from(name, 2) : name;
	while (rest.p) {
		struct str label = str_cut(&rest, '.');
		if (label.n == 0 || label.n > 63 || label.p[0] == '-' || label.p[label.n - 1] == '-')
			return false;
		for (size_t i = 0; i < label.n; i++)
			if (!ascii_is((unsigned char)label.p[i],
				      ASCII_UPPER | ASCII_LOWER | ASCII_DIGIT) &&
			    label.p[i] != '-' && label.p[i] != '_')
				return false;
	}
	return true;
}

static bool is_address(const char *text)
{
	unsigned char a[16];
	return inet_pton(AF_INET, text, a) == 1 || inet_pton(AF_INET6, text, a) == 1;
}

static bool names_text(struct arena *a, const struct str *names, size_t n, struct str *out,
		       struct err *err)
{
	if (n == 0 || n > NAMES_MAX)
		return err_set(err, ERR_SYNTAX, "a certificate needs 1 to %d names", NAMES_MAX);
	struct str text = STR_NONE;
	for (size_t i = 0; i < n; i++) {
		const char *name = arena_cstr(a, names[i]);
		bool address = name && is_address(name);
		if (!address && !is_dns_name(names[i]))
			return err_set(err, ERR_SYNTAX, "name %zu cannot stand in a certificate", i + 1);
		text = arena_fmt(a, "%.*s%s%s:%s", STR_ARG(text), i ? "," : "", address ? "IP" : "DNS",
				 name);
	}
	*out = text;
	return true;
}

static bool extension(X509 *cert, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
	X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	bool done = ext && X509_add_ext(cert, ext, -1) == 1;
	X509_EXTENSION_free(ext);
	return done;
}

/* RFC 5280 4.1.2.2: positive, at most 20 bytes. */
static bool random_serial(X509 *cert)
{
	unsigned char bytes[16];
	random_bytes(bytes, sizeof bytes);
	bytes[0] = (unsigned char)((bytes[0] & 0x7f) | 0x40);
	BIGNUM *n = BN_bin2bn(bytes, sizeof bytes, NULL);
	bool done = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert)) != NULL;
	BN_free(n);
	return done;
}

/* RFC 5280: a common name has at most 64 characters; the names that count are in the extension. */
static bool fill(X509 *cert, EVP_PKEY *pkey, struct str first, const char *names)
{
	X509_NAME *subject = X509_get_subject_name(cert);
	int n = first.n > 64 ? 64 : (int)first.n;
	return X509_set_version(cert, X509_VERSION_3) == 1 && random_serial(cert) &&
	       X509_gmtime_adj(X509_getm_notBefore(cert), -DAY) != NULL &&
	       X509_time_adj_ex(X509_getm_notAfter(cert), SELFSIGNED_DAYS, 0, NULL) != NULL &&
	       X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)first.p, n,
					  -1, 0) == 1 &&
	       X509_set_issuer_name(cert, subject) == 1 && X509_set_pubkey(cert, pkey) == 1 &&
	       extension(cert, NID_subject_alt_name, names) &&
	       extension(cert, NID_basic_constraints, "critical,CA:FALSE") &&
	       extension(cert, NID_key_usage, "critical,digitalSignature") &&
	       extension(cert, NID_ext_key_usage, "serverAuth") &&
	       extension(cert, NID_subject_key_identifier, "hash") &&
	       X509_sign(cert, pkey, EVP_sha256()) > 0;
}

static bool write_certificate(X509 *cert, struct buf *out)
{
	BIO *bio = BIO_new(BIO_s_mem());
	if (!bio)
		abort();
	bool done = PEM_write_bio_X509(bio, cert) == 1;
	if (done) {
		char *p;
		long n = BIO_get_mem_data(bio, &p);
		buf_add_bytes(out, p, (size_t)n);
	}
	BIO_free(bio);
	return done;
}

static bool make(struct key *key, struct str first, struct str names, struct arena *a,
		 struct buf *cert_pem)
{
	X509 *cert = X509_new();
	if (!cert)
		abort();
	bool done = fill(cert, key_evp(key), first, arena_cstr(a, names)) &&
		    write_certificate(cert, cert_pem);
	X509_free(cert);
	return done;
}

bool selfsigned_make(const struct str *names, size_t n, struct buf *key_pem, struct buf *cert_pem,
		     struct err *err)
{
	ARENA_SCOPED a = arena_new();
	struct str text;
	struct key *key;
	if (!names_text(a, names, n, &text, err) || !key_generate(KEY_EC_P256, 0, &key, err))
		return false;
	ERR_clear_error();
	bool done = make(key, names[0], text, a, cert_pem);
	if (!done)
		crypto_err(err, ERR_TEMP, "the certificate cannot be made");
	done = done && key_write_pem(key, STR_NONE, key_pem, err);
	key_free(key);
	return done;
}
