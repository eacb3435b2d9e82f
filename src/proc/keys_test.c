/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* A door gets signatures of handshakes, as many as it accepted connections, and nothing else. */
#include "crypto/tls.h"
#include "crypto/tls_form.h"
#include "proc/keys_int.h"
#include "proc/role_int.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

struct fixture {
	struct keys_role *keys;
	struct key *key;
	struct peer door, other;
	char text[130];
};

static void load(struct fixture *f, struct key *const keys[], size_t n, uint32_t generation)
{
	BUF_SCOPED all = {0};
	struct err err;

	for (size_t i = 0; i < n; i++) {
		BUF_SCOPED pem = {0};
		assert_true(key_write_pem(keys[i], STR_NONE, &pem, &err));
		pem_chain_add(&all, buf_str(&pem));
	}
	assert_true(keys_load(f->keys, buf_str(&all), generation, &err));
}

static int set_up(void **state)
{
	static struct fixture f;
	struct err err;

	memset(&f, 0, sizeof(f));
	tls_init();
	f.keys = keys_create(NULL);
	assert_true(key_generate(KEY_EC_P256, 0, &f.key, &err));
	load(&f, &f.key, 1, 1);
	/* RFC 8446 4.4.3: 64 spaces, the context string, 0, a hash of 32 bytes */
	memset(f.text, ' ', 64);
	memcpy(f.text + 64, "TLS 1.3, server CertificateVerify", 34);
	memset(f.text + 98, 7, 32);
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	key_free(f->key);
	keys_free(f->keys);
	return 0;
}

static bool sign(struct fixture *f, struct peer *door, const struct key *key, uint32_t form, struct str text,
		 enum err_kind *out)
{
	struct msg_sign m = {.key = {(const char *)key_id(key), KEY_ID_SIZE}, .form = form, .text = text};
	BUF_SCOPED sig = {0};
	struct err err = {0};
	bool good = keys_sign(f->keys, door, &m, &sig, &err);

	*out = err.kind;
	return good && sig.n > 0;
}

static void handshakes_only(void **state)
{
	struct fixture *f = *state;
	enum err_kind kind;
	struct str text = {f->text, 130};
	char client[130];

	assert_true(sign(f, &f->door, f->key, SIGN_ECDSA_SHA256, text, &kind));
	const struct str others[] = {
		STR_NONE, STR("hello"), {f->text, 129}, {f->text, 98},
		STR("DKIM-Signature: v=1; a=ecdsa; d=example.org; s=x; b="),
	};
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		assert_false(sign(f, &f->door, f->key, SIGN_ECDSA_SHA256, others[i], &kind));
		assert_int_equal(kind, ERR_DENIED);
	}
	memcpy(client, f->text, 130);
	memcpy(client + 64, "TLS 1.3, client CertificateVerify", 33);
	assert_false(sign(f, &f->door, f->key, SIGN_ECDSA_SHA256, (struct str){client, 130}, &kind));
	assert_false(sign(f, &f->door, f->key, 77, text, &kind));
	assert_false(sign(f, &f->door, f->key, SIGN_RSA_PSS_SHA256, text, &kind));
}

static void as_many_as_connections(void **state)
{
	struct fixture *f = *state;
	struct str text = {f->text, 130};
	enum err_kind kind = ERR_NONE;
	unsigned n = 0;

	while (sign(f, &f->door, f->key, SIGN_ECDSA_SHA256, text, &kind))
		n++;
	assert_int_equal(n, 256);
	assert_int_equal(kind, ERR_LIMIT);
	assert_true(sign(f, &f->other, f->key, SIGN_ECDSA_SHA256, text, &kind)); /* a door of its own */
	keys_credit(f->keys, &f->door, 2);
	assert_true(sign(f, &f->door, f->key, SIGN_ECDSA_SHA256, text, &kind));
	assert_true(sign(f, &f->door, f->key, SIGN_ECDSA_SHA256, text, &kind));
	assert_false(sign(f, &f->door, f->key, SIGN_ECDSA_SHA256, text, &kind));
	/* Refused ones count as well: guessing is no way around. */
	keys_credit(f->keys, &f->door, 1);
	assert_false(sign(f, &f->door, f->key, SIGN_ECDSA_SHA256, STR("x"), &kind));
	assert_int_equal(kind, ERR_DENIED);
	assert_false(sign(f, &f->door, f->key, SIGN_ECDSA_SHA256, text, &kind));
	assert_int_equal(kind, ERR_LIMIT);
}

/* The former key lives until the next but one, so that doors can change over. */
static void changing_over(void **state)
{
	struct fixture *f = *state;
	struct str text = {f->text, 130};
	struct key *second, *third;
	enum err_kind kind;
	struct err err;

	assert_true(key_generate(KEY_EC_P256, 0, &second, &err));
	assert_true(key_generate(KEY_EC_P256, 0, &third, &err));
	assert_false(sign(f, &f->door, second, SIGN_ECDSA_SHA256, text, &kind));
	assert_int_equal(kind, ERR_NOT_FOUND);
	load(f, &second, 1, 2);
	assert_true(sign(f, &f->door, second, SIGN_ECDSA_SHA256, text, &kind));
	assert_true(sign(f, &f->door, f->key, SIGN_ECDSA_SHA256, text, &kind));
	load(f, &third, 1, 3);
	assert_true(sign(f, &f->door, second, SIGN_ECDSA_SHA256, text, &kind));
	assert_false(sign(f, &f->door, f->key, SIGN_ECDSA_SHA256, text, &kind));
	assert_false(keys_load(f->keys, STR("# chain\nnot a key\n"), 4, &err)); /* changes nothing */
	assert_true(sign(f, &f->door, third, SIGN_ECDSA_SHA256, text, &kind));
	key_free(second);
	key_free(third);
}

static void chains_in_one_buffer(void **state)
{
	BUF_SCOPED all = {0};
	struct str rest, one;

	pem_chain_add(&all, STR("a\nb"));
	pem_chain_add(&all, STR("c\n"));
	rest = buf_str(&all);
	assert_true(pem_chain_next(&rest, &one));
	assert_true(str_eq(one, STR("a\nb\n")));
	assert_true(pem_chain_next(&rest, &one));
	assert_true(str_eq(one, STR("c\n")));
	assert_false(pem_chain_next(&rest, &one));
	rest = STR("no mark");
	assert_false(pem_chain_next(&rest, &one));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(handshakes_only, set_up, tear_down),
		cmocka_unit_test_setup_teardown(as_many_as_connections, set_up, tear_down),
		cmocka_unit_test_setup_teardown(changing_over, set_up, tear_down),
		cmocka_unit_test(chains_in_one_buffer),
	};
	return cmocka_run_group_tests_name("proc/keys", tests, NULL, NULL);
}
