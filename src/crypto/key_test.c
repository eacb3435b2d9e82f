/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "crypto/key.h"
#include "base/arena.h"
#include "base/buf.h"
#include "crypto/selfsigned.h"
#include "crypto/tls.h"
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static const struct {
	const char *name;
	enum key_type type;
	enum sign_form right[3], wrong;
} kinds[] = {
	{"P-256",
	 KEY_EC_P256,
	 {SIGN_ECDSA_SHA256, SIGN_ECDSA_SHA384, SIGN_ECDSA_SHA512},
	 SIGN_RSA_PSS_SHA256},
	{"P-384", KEY_EC_P384, {SIGN_ECDSA_SHA384}, SIGN_ED25519},
	{"Ed25519", KEY_ED25519, {SIGN_ED25519}, SIGN_ECDSA_SHA256},
	{"RSA",
	 KEY_RSA,
	 {SIGN_RSA_PSS_SHA256, SIGN_RSA_PKCS1_SHA256, SIGN_RSA_PSS_SHA512},
	 SIGN_ECDSA_SHA256},
};

static void check_signatures(const struct key *key, const enum sign_form *forms, enum sign_form wrong)
{
	struct err err;
	BUF_SCOPED der = {0};
	assert_true(key_public_der(key, &der, &err));
	for (size_t i = 0; i < 3 && forms[i]; i++) {
		BUF_SCOPED sig = {0};
		bool right = false;
		assert_true(key_sign(key, forms[i], STR("some text"), &sig, &err));
		assert_true(key_verify(buf_str(&der), forms[i], STR("some text"), buf_str(&sig), &right,
				       &err));
		assert_true(right);
		assert_true(key_verify(buf_str(&der), forms[i], STR("some test"), buf_str(&sig), &right,
				       &err));
		assert_false(right);
	}
	BUF_SCOPED none = {0};
	assert_false(key_sign(key, wrong, STR("x"), &none, &err));
	assert_int_equal(err.kind, ERR_CONFLICT);
	assert_false(key_sign(key, 0, STR("x"), &none, &err));
	assert_false(key_sign(key, 77, STR("x"), &none, &err));
	assert_int_equal(none.n, 0);
}

static void test_kinds(void **state)
{
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		struct err err;
		struct key *key, *again;
		assert_true(key_generate(kinds[i].type, 2048, &key, &err));
		assert_int_equal(key_type(key), kinds[i].type);
		check_signatures(key, kinds[i].right, kinds[i].wrong);

		BUF_SCOPED plain = {0}, sealed = {0};
		assert_true(key_write_pem(key, STR_NONE, &plain, &err));
		assert_true(key_write_pem(key, STR("secret words"), &sealed, &err));
		assert_true(str_starts(buf_str(&sealed), STR("-----BEGIN ENCRYPTED PRIVATE KEY")));
		assert_true(key_load(buf_str(&plain), STR_NONE, &again, &err));
		assert_memory_equal(key_id(key), key_id(again), KEY_ID_SIZE);
		key_free(again);
		assert_true(key_load(buf_str(&sealed), STR("secret words"), &again, &err));
		assert_memory_equal(key_id(key), key_id(again), KEY_ID_SIZE);
		key_free(again);
		assert_false(key_load(buf_str(&sealed), STR_NONE, &again, &err));
		assert_int_equal(err.kind, ERR_DENIED);
		assert_false(key_load(buf_str(&sealed), STR("other words"), &again, &err));
		assert_int_equal(err.kind, ERR_DENIED);
		key_free(key);
	}
	key_free(NULL);
}

static void load_pkey(EVP_PKEY *pkey, enum err_kind want)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *p;
	assert_int_equal(PEM_write_bio_PrivateKey_traditional(bio, pkey, NULL, NULL, 0, NULL, NULL), 1);
	long n = BIO_get_mem_data(bio, &p);
	struct err err = {0};
	struct key *key = NULL;
	assert_int_equal(key_load((struct str){p, (size_t)n}, STR_NONE, &key, &err), want == ERR_NONE);
	assert_int_equal(err.kind, want);
	key_free(key);
	BIO_free(bio);
	EVP_PKEY_free(pkey);
}

static void test_load(void **state)
{
	load_pkey(EVP_EC_gen("P-256"), ERR_NONE); /* SEC1 */
	load_pkey(EVP_RSA_gen(2048), ERR_NONE);   /* PKCS #1 */
	load_pkey(EVP_RSA_gen(1024), ERR_LIMIT);
	load_pkey(EVP_EC_gen("P-521"), ERR_LIMIT);
	load_pkey(EVP_EC_gen("secp256k1"), ERR_LIMIT);
	static const char *const bad[] = {
		"",
		"x",
		"-----BEGIN PRIVATE KEY-----\n",
		"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
		"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct err err;
		struct key *key;
		assert_false(key_load(str_of(bad[i]), STR_NONE, &key, &err));
		assert_int_equal(err.kind, ERR_SYNTAX);
	}
}

static void test_selfsigned(void **state)
{
	struct err err;
	struct str names[] = {STR("Mail.example.org"), STR("*.example.org"), STR("127.0.0.1"),
			      STR("::1")};
	BUF_SCOPED key_pem = {0}, cert_pem = {0};
	ARENA_SCOPED a = arena_new();
	struct cert_facts facts;
	struct key *key;
	assert_true(selfsigned_make(names, 4, &key_pem, &cert_pem, &err));
	assert_true(cert_facts(a, buf_str(&cert_pem), &facts, &err));
	assert_int_equal(facts.name_count, 2);
	assert_true(str_eq(facts.names[0], STR("mail.example.org")));
	assert_true(str_eq(facts.names[1], STR("*.example.org")));
	assert_true(str_eq(facts.subject, STR("CN=Mail.example.org")));
	assert_true(str_eq(facts.issuer, facts.subject));
	assert_string_equal(facts.key, "EC P-256");
	assert_int_equal(facts.chain_count, 1);
	assert_true(facts.not_before < time(NULL));
	assert_true(facts.not_after > time(NULL) + 3652LL * 86400);
	assert_true(key_load(buf_str(&key_pem), STR_NONE, &key, &err));
	assert_memory_equal(key_id(key), facts.key_id, KEY_ID_SIZE);
	key_free(key);

	BIO *bio = BIO_new_mem_buf(cert_pem.p, (int)cert_pem.n);
	X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	assert_int_equal(X509_check_host(cert, "mail.example.org", 0, 0, NULL), 1);
	assert_int_equal(X509_check_ip_asc(cert, "127.0.0.1", 0), 1);
	assert_int_equal(X509_check_ip_asc(cert, "::1", 0), 1);
	assert_int_equal(X509_check_ip_asc(cert, "::2", 0), 0);
	X509_free(cert);
	BIO_free(bio);
}

static void test_selfsigned_bad(void **state)
{
	static const char *const bad[] = {
		"",
		"a,DNS:evil.example",
		"a b",
		"a..b",
		"-a.example",
		"a\nb",
		"*.*.example",
		"a*.example",
		"x/y",
		"\xed\x95\x9c",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example",
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct err err;
		struct str name = str_of(bad[i]);
		BUF_SCOPED key_pem = {0}, cert_pem = {0};
		assert_false(selfsigned_make(&name, 1, &key_pem, &cert_pem, &err));
		assert_int_equal(err.kind, ERR_SYNTAX);
		assert_int_equal(key_pem.n, 0);
	}
}

static void test_names(void **state)
{
	static const struct {
		const char *pattern, *name;
		bool want;
	} cases[] = {
		{"mail.example.org", "mail.example.org", true},
		{"mail.example.org", "MAIL.example.ORG", true},
		{"mail.example.org", "mail.example.org.", true},
		{"mail.example.org", "example.org", false},
		{"*.example.org", "mail.example.org", true},
		{"*.example.org", "a.b.example.org", false},
		{"*.example.org", "example.org", false},
		{"*.example.org", ".example.org", false},
		{"*.org", "example.org", false},
		{"*", "x", false},
		{"", "", false},
		{"x", "", false},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_int_equal(cert_name_matches(str_of(cases[i].pattern), str_of(cases[i].name)),
				 cases[i].want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),      cmocka_unit_test(test_load),
		cmocka_unit_test(test_selfsigned), cmocka_unit_test(test_selfsigned_bad),
		cmocka_unit_test(test_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
