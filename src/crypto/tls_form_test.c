/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "crypto/tls_form.h"
#include "base/buf.h"
#include <string.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* RFC 8446 4.4.3, with a hash of 32 or 48 bytes */
static void certificate_verify(struct buf *out, const char *who, size_t hash)
{
	for (int i = 0; i < 64; i++)
		buf_byte(out, ' ');
	buf_fmt(out, "TLS 1.3, %s CertificateVerify", who);
	for (size_t i = 0; i <= hash; i++)
		buf_byte(out, i ? 'h' : '\0');
}

/* RFC 8422 5.4 */
static void key_exchange(struct buf *out, unsigned char type, unsigned group, size_t point, char first)
{
	for (int i = 0; i < 64; i++)
		buf_byte(out, (char)i);
	buf_byte(out, (char)type);
	buf_byte(out, (char)(group >> 8));
	buf_byte(out, (char)group);
	buf_byte(out, (char)point);
	buf_byte(out, first);
	for (size_t i = 1; i < point; i++)
		buf_byte(out, 'p');
}

static void check(struct buf *text, enum tls_form want)
{
	static const enum sign_form forms[] = {SIGN_ECDSA_SHA256, SIGN_RSA_PSS_SHA256,
					       SIGN_RSA_PKCS1_SHA256, 99};
	bool none = want == TLS_FORM_NONE;
	bool wanted[] = {!none, !none, want == TLS_FORM_12_SERVER_KEY_EXCHANGE, false};
	assert_int_equal(tls_form_of(buf_str(text)), want);
	for (size_t i = 0; i < 4; i++) {
		struct err err = {0};
		assert_int_equal(tls_form_check(buf_str(text), forms[i], &err), wanted[i]);
		assert_int_equal(err.kind, wanted[i] ? ERR_NONE : ERR_DENIED);
	}
}

static void test_certificate_verify(void **state)
{
	static const struct {
		const char *who;
		size_t hash;
		bool want;
	} cases[] = {
		{"server", 32, true},  {"server", 48, true},  {"server", 0, false},
		{"server", 20, false}, {"server", 31, false}, {"server", 33, false},
		{"server", 64, false}, {"client", 32, false}, {"client", 48, false},
		{"Server", 32, false},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		BUF_SCOPED text = {0};
		certificate_verify(&text, cases[i].who, cases[i].hash);
		check(&text, cases[i].want ? TLS_FORM_13_CERTIFICATE_VERIFY : TLS_FORM_NONE);
	}
	/* any fixed byte changed */
	for (size_t at = 0; at < 98; at++) {
		BUF_SCOPED text = {0};
		certificate_verify(&text, "server", 32);
		text.p[at] ^= 1;
		check(&text, TLS_FORM_NONE);
	}
}

static void test_key_exchange(void **state)
{
	static const struct {
		unsigned char type;
		unsigned group;
		size_t point;
		char first;
		bool want;
	} cases[] = {
		{3, 23, 65, 4, true},  {3, 24, 97, 4, true},        {3, 25, 133, 4, true},
		{3, 29, 32, 9, true},  {3, 30, 56, 9, true},        {3, 23, 65, 2, false},
		{3, 23, 64, 4, false}, {3, 23, 66, 4, false},       {3, 29, 65, 4, false},
		{3, 29, 31, 9, false}, {1, 23, 65, 4, false},       {2, 23, 65, 4, false},
		{3, 22, 65, 4, false}, {3, 256 + 23, 65, 4, false}, {3, 0, 32, 4, false},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		BUF_SCOPED text = {0};
		key_exchange(&text, cases[i].type, cases[i].group, cases[i].point, cases[i].first);
		check(&text, cases[i].want ? TLS_FORM_12_SERVER_KEY_EXCHANGE : TLS_FORM_NONE);
		buf_byte(&text, 'x');
		check(&text, TLS_FORM_NONE);
		text.n -= 2;
		check(&text, TLS_FORM_NONE);
	}
}

static void test_other(void **state)
{
	static const char *const texts[] = {
		"",
		"x",
		"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; b=",
		"{\"protected\":\"...\"}",
	};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		BUF_SCOPED text = {0};
		buf_add(&text, str_of(texts[i]));
		check(&text, TLS_FORM_NONE);
	}
	BUF_SCOPED large = {0};
	for (int i = 0; i < 100000; i++)
		buf_byte(&large, ' ');
	check(&large, TLS_FORM_NONE);
	for (size_t n = 0; n <= 300; n++) {
		large.n = n;
		check(&large, TLS_FORM_NONE);
	}
}

static void test_sign(void **state)
{
	struct err err;
	struct key *key;
	bool right = false;
	BUF_SCOPED text = {0}, der = {0}, sig = {0};
	assert_true(key_generate(KEY_EC_P256, 0, &key, &err));
	assert_true(key_public_der(key, &der, &err));
	certificate_verify(&text, "server", 32);
	assert_true(tls_form_sign(key, SIGN_ECDSA_SHA256, buf_str(&text), &sig, &err));
	assert_true(key_verify(buf_str(&der), SIGN_ECDSA_SHA256, buf_str(&text), buf_str(&sig), &right,
			       &err));
	assert_true(right);
	buf_clear(&sig);
	assert_false(tls_form_sign(key, SIGN_RSA_PSS_SHA256, buf_str(&text), &sig, &err));
	assert_int_equal(err.kind, ERR_CONFLICT);
	assert_false(tls_form_sign(key, SIGN_ECDSA_SHA256, STR("transfer all money"), &sig, &err));
	assert_int_equal(err.kind, ERR_DENIED);
	assert_int_equal(sig.n, 0);
	key_free(key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_certificate_verify),
		cmocka_unit_test(test_key_exchange),
		cmocka_unit_test(test_other),
		cmocka_unit_test(test_sign),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
