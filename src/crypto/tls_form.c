/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Recognised by length first, so each check below looks at fixed offsets only. */
#include "crypto/tls_form.h"
#include "crypto/crypto_int.h"
#include <string.h>

enum {
	SPACES = 64,
	RANDOMS = 64,      /* client's and server's */
	CURVE_NAMED = 3,   /* RFC 8422 5.4: ECCurveType named_curve */
	CONTEXT_SIZE = 34, /* with the 0 that ends it */
};

static const char context[CONTEXT_SIZE] = "TLS 1.3, server CertificateVerify";

static bool is_certificate_verify(struct str text)
{
	if (text.n != SPACES + CONTEXT_SIZE + 32 && text.n != SPACES + CONTEXT_SIZE + 48)
		return false;
	for (size_t i = 0; i < SPACES; i++)
		if (text.p[i] != ' ')
			return false;
	return memcmp(text.p + SPACES, context, CONTEXT_SIZE) == 0;
}

/* RFC 8422 5.1.1 and 5.4.1: named group and the length of its point. */
static const struct {
	unsigned group;
	size_t point;
	bool uncompressed; /* the point begins with 4 */
} curves[] = {
	{23, 65, true},  /* secp256r1 */
	{24, 97, true},  /* secp384r1 */
	{25, 133, true}, /* secp521r1 */
	{29, 32, false}, /* x25519 */
	{30, 56, false}, /* x448 */
};

static bool is_server_key_exchange(struct str text)
{
	if (text.n < RANDOMS + 4)
		return false;
	const unsigned char *block = (const unsigned char *)text.p + RANDOMS;
	if (block[0] != CURVE_NAMED)
		return false;
	unsigned group = (unsigned)block[1] << 8 | block[2];
	for (size_t i = 0; i < sizeof curves / sizeof *curves; i++) {
		if (curves[i].group != group)
			continue;
		return block[3] == curves[i].point && text.n == RANDOMS + 4 + curves[i].point &&
		       (!curves[i].uncompressed || block[4] == 4);
	}
	return false;
}

enum tls_form tls_form_of(struct str text)
{
	if (text.n > TLS_FORM_TEXT_MAX)
		return TLS_FORM_NONE;
	if (is_certificate_verify(text))
		return TLS_FORM_13_CERTIFICATE_VERIFY;
	if (is_server_key_exchange(text))
		return TLS_FORM_12_SERVER_KEY_EXCHANGE;
	return TLS_FORM_NONE;
}

bool tls_form_check(struct str text, enum sign_form form, struct err *err)
{
	const struct sign_form_row *row = sign_form_row(form);
	if (!row)
		return err_set(err, ERR_DENIED, "no such signature algorithm");
	switch (tls_form_of(text)) {
	case TLS_FORM_NONE:
		return err_set(err, ERR_DENIED, "the text is not of a TLS handshake of a server");
	case TLS_FORM_13_CERTIFICATE_VERIFY:
		/* RFC 8446 4.2.3: PKCS #1 v1.5 is for certificates only. */
		if (strcmp(row->key_type, "RSA") == 0 && !row->pss)
			return err_set(err, ERR_DENIED, "TLS 1.3 has no PKCS #1 v1.5 signatures");
		return true;
	case TLS_FORM_12_SERVER_KEY_EXCHANGE:
		return true;
	}
	return false;
}

bool tls_form_sign(const struct key *key, enum sign_form form, struct str text, struct buf *sig,
		   struct err *err)
{
	return tls_form_check(text, form, err) && key_sign(key, form, text, sig, err);
}
