/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "auth/sasl.h"
#include "auth/scram.h"
#include "base/buf.h"
#include "base/codec.h"
#include "crypto/hash.h"
#include <string.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define Z(literal) ((struct str){literal, sizeof(literal) - 1})
#define BINDING "0123456789abcdef0123456789abcdef"

/* ---- RFC 5802 5, RFC 7677 3 ---- */

static const struct {
	const char *mechanism;
	enum scram_hash hash;
	const char *salt, *nonce, *first, *challenge, *final, *end;
} examples[] = {
	{"SCRAM-SHA-1", SCRAM_SHA_1, "QSXCR+Q6sek8bf92", "3rfcNHYJY1ZVvWVs7j",
	 "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
	 "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
	 "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
	 "v=rmF9pqV8S7suAoZWja4dJRkFsKQ="},
	{"SCRAM-SHA-256", SCRAM_SHA_256, "W22ZaJ0SNY7soEsUEjb6gQ==", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
	 "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
	 "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
	 "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+"
	 "Ute9ytag9zjfMHgsqmmiz7AndVQ=",
	 "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
};

static void pencil(enum scram_hash hash, const char *salt64, struct scram_verifier *out)
{
	struct err err;
	BUF_SCOPED salt = {0};
	assert_true(base64_decode(&salt, str_of(salt64)));
	struct str s = buf_str(&salt);
	assert_true(scram_verifier_make(hash, STR("pencil"), 4096, &s, out, &err));
}

static void check_challenge(const struct sasl *s, const char *want)
{
	assert_true(str_eq(sasl_challenge(s), str_of(want)));
}

static void test_rfc_examples(void **state)
{
	for (size_t i = 0; i < 2 * sizeof examples / sizeof *examples; i++) {
		size_t e = i / 2;
		bool initial = i % 2; /* with an initial response, and without */
		struct sasl *s;
		struct err err;
		struct scram_verifier v;
		struct sasl_start start = {.mechanism = str_of(examples[e].mechanism),
					   .nonce = str_of(examples[e].nonce),
					   .has_initial = initial,
					   .initial = str_of(examples[e].first)};
		enum sasl_step step = sasl_begin(&start, &s, &err);
		if (!initial) {
			assert_int_equal(step, SASL_CHALLENGE);
			check_challenge(s, "");
			step = sasl_step(s, str_of(examples[e].first), &err);
		}
		assert_int_equal(step, SASL_NEED_CREDENTIALS);
		assert_true(str_eq(sasl_user(s), STR("user")));
		assert_int_equal(sasl_scram_hash(s), examples[e].hash);
		pencil(examples[e].hash, examples[e].salt, &v);
		assert_int_equal(sasl_credentials(s, &v, &err), SASL_CHALLENGE);
		check_challenge(s, examples[e].challenge);
		assert_int_equal(sasl_step(s, str_of(examples[e].final), &err), SASL_CHALLENGE);
		check_challenge(s, examples[e].end);
		assert_int_equal(sasl_step(s, STR_NONE, &err), SASL_SUCCESS);
		assert_true(str_eq(sasl_user(s), STR("user")));
		assert_int_equal(sasl_step(s, STR_NONE, &err), SASL_FAILURE);
		assert_int_equal(err.kind, ERR_CONFLICT);
		sasl_free(s);
	}
}

/* ---- SCRAM, first message ---- */

static const struct {
	const char *mechanism, *first;
	bool plus_offered;
	const char *user; /* NULL: refused with kind */
	enum err_kind kind;
} firsts[] = {
	{"SCRAM-SHA-256", "n,,n=user,r=abc", false, "user", 0},
	{"SCRAM-SHA-256", "y,,n=user,r=abc", false, "user", 0},
	{"SCRAM-SHA-256", "y,,n=user,r=abc", true, NULL, ERR_CONFLICT}, /* stripped by somebody */
	{"SCRAM-SHA-256", "n,,n=user,r=abc", true, "user", 0},
	{"SCRAM-SHA-256", "p=tls-exporter,,n=user,r=abc", true, NULL, ERR_SYNTAX},
	{"SCRAM-SHA-256-PLUS", "p=tls-exporter,,n=user,r=abc", true, "user", 0},
	{"SCRAM-SHA-1-PLUS", "p=tls-exporter,,n=user,r=abc", true, "user", 0},
	{"SCRAM-SHA-256-PLUS", "p=tls-unique,,n=user,r=abc", true, NULL, ERR_CONFLICT}, /* we have none */
	{"SCRAM-SHA-256-PLUS", "p=tls-nosuch,,n=user,r=abc", true, NULL, ERR_CONFLICT},
	{"SCRAM-SHA-256-PLUS", "n,,n=user,r=abc", true, NULL, ERR_SYNTAX},
	{"SCRAM-SHA-256-PLUS", "y,,n=user,r=abc", true, NULL, ERR_SYNTAX},
	{"SCRAM-SHA-1", "n,a=user,n=user,r=abc", false, "user", 0},
	{"SCRAM-SHA-1", "n,a=USER,n=user,r=abc", false, "user", 0},
	{"SCRAM-SHA-1", "n,a=admin,n=user,r=abc", false, NULL, ERR_DENIED},
	{"SCRAM-SHA-1", "n,a=,n=user,r=abc", false, "user", 0},
	{"SCRAM-SHA-1", "n,,n=a=2Cb=3Dc@x,r=abc", false, "a,b=c@x", 0},
	{"SCRAM-SHA-1", "n,,n=a=2Bb,r=abc", false, NULL, ERR_SYNTAX},
	{"SCRAM-SHA-1", "n,,n=a=,r=abc", false, NULL, ERR_SYNTAX},
	{"SCRAM-SHA-1", "n,,n=,r=abc", false, NULL, ERR_SYNTAX},
	{"SCRAM-SHA-1", "n,,n=user,r=", false, NULL, ERR_SYNTAX},
	{"SCRAM-SHA-1", "n,,n=user,r=a b", false, NULL, ERR_SYNTAX},
	{"SCRAM-SHA-1", "n,,n=user,r=a\x7f", false, NULL, ERR_SYNTAX},
	{"SCRAM-SHA-1", "n,,n=user", false, NULL, ERR_SYNTAX},
	{"SCRAM-SHA-1", "n,,m=x,n=user,r=abc", false, NULL, ERR_SYNTAX}, /* we understand none */
	{"SCRAM-SHA-1", "n,,n=user,r=abc,x=ext", false, "user", 0},
	{"SCRAM-SHA-1", "n,n=user,r=abc", false, NULL, ERR_SYNTAX},
	{"SCRAM-SHA-1", "n", false, NULL, ERR_SYNTAX},
	{"SCRAM-SHA-1", "", false, NULL, ERR_SYNTAX},
	{"SCRAM-SHA-1", "x,,n=user,r=abc", false, NULL, ERR_SYNTAX},
	{"SCRAM-SHA-1", "n,,n=\xff,r=abc", false, NULL, ERR_SYNTAX},
	{"SCRAM-SHA-1",
	 "n,,n=us\x01"
	 "er,r=abc",
	 false, NULL, ERR_SYNTAX},
	{"SCRAM-SHA-1", "n,,n=\xef\xbd\x95ser,r=abc", false, "user", 0}, /* SASLprep */
	{"scram-sha-1", "n,,n=user,r=abc", false, "user", 0},
};

static void test_first(void **state)
{
	for (size_t i = 0; i < sizeof firsts / sizeof *firsts; i++) {
		struct sasl *s;
		struct err err = {0};
		struct sasl_start start = {.mechanism = str_of(firsts[i].mechanism),
					   .has_initial = true,
					   .initial = str_of(firsts[i].first),
					   .binding_exporter = STR(BINDING),
					   .plus_offered = firsts[i].plus_offered};
		enum sasl_step step = sasl_begin(&start, &s, &err);
		if (step != (firsts[i].user ? SASL_NEED_CREDENTIALS : SASL_FAILURE) ||
		    err.kind != firsts[i].kind)
			fail_msg("%s: %s", firsts[i].first, err.text);
		if (firsts[i].user)
			assert_true(str_eq(sasl_user(s), str_of(firsts[i].user)));
		sasl_free(s);
	}
}

/* ---- SCRAM, last message: a client ---- */

struct client {
	struct str gs2, binding, first_bare;
	const char *password;
	bool break_proof;
};

static void final_message(const struct client *c, struct str server_first, enum scram_hash hash,
			  struct buf *out)
{
	enum hash_kind kind = hash == SCRAM_SHA_1 ? HASH_SHA1 : HASH_SHA256;
	size_t n = hash_size(kind);
	struct str rest = server_first, nonce = str_cut(&rest, ','), salt64 = str_cut(&rest, ',');
	uint64_t iterations;
	BUF_SCOPED salt = {0}, cb = {0}, auth = {0};
	assert_true(base64_decode(&salt, str_from(salt64, 2)));
	assert_true(str_u64(str_from(rest, 2), 1000000, &iterations));
	buf_add(&cb, c->gs2);
	buf_add(&cb, c->binding);
	buf_add(out, STR("c="));
	base64_encode(out, buf_str(&cb));
	buf_byte(out, ',');
	buf_add(out, nonce);
	buf_add(&auth, c->first_bare);
	buf_byte(&auth, ',');
	buf_add(&auth, server_first);
	buf_byte(&auth, ',');
	buf_add(&auth, buf_str(out));
	unsigned char salted[64], key[64], stored[64], sig[64];
	pbkdf2(kind, str_of(c->password), buf_str(&salt), (uint32_t)iterations, salted, n);
	hmac(kind, (struct str){(char *)salted, n}, STR("Client Key"), key);
	hash_once(kind, (struct str){(char *)key, n}, stored);
	hmac(kind, (struct str){(char *)stored, n}, buf_str(&auth), sig);
	for (size_t i = 0; i < n; i++)
		key[i] ^= sig[i];
	key[0] ^= c->break_proof;
	buf_add(out, STR(",p="));
	base64_encode(out, (struct str){(char *)key, n});
}

static const struct {
	const char *mechanism;
	struct client client;
	enum sasl_step want;
	enum err_kind kind;
} finals[] = {
	{"SCRAM-SHA-256", {Z("n,,"), Z(""), Z("n=u,r=abc"), "pencil", false}, SASL_CHALLENGE, 0},
	{"SCRAM-SHA-256", {Z("n,,"), Z(""), Z("n=u,r=abc"), "Pencil", false}, SASL_FAILURE, ERR_DENIED},
	{"SCRAM-SHA-256", {Z("n,,"), Z(""), Z("n=u,r=abc"), "pencil", true}, SASL_FAILURE, ERR_DENIED},
	{"SCRAM-SHA-1", {Z("n,,"), Z(""), Z("n=u,r=abc"), "pencil", false}, SASL_CHALLENGE, 0},
	{"SCRAM-SHA-256-PLUS",
	 {Z("p=tls-exporter,,"), Z(BINDING), Z("n=u,r=abc"), "pencil", false},
	 SASL_CHALLENGE,
	 0},
	{"SCRAM-SHA-1-PLUS",
	 {Z("p=tls-server-end-point,,"), Z("cert"), Z("n=u,r=abc"), "pencil", false},
	 SASL_CHALLENGE,
	 0},
	{"SCRAM-SHA-256-PLUS",
	 {Z("p=tls-exporter,,"), Z("0123"), Z("n=u,r=abc"), "pencil", false},
	 SASL_FAILURE,
	 ERR_CONFLICT}, /* another channel */
	{"SCRAM-SHA-256-PLUS",
	 {Z("p=tls-exporter,,"), Z("cert"), Z("n=u,r=abc"), "pencil", false},
	 SASL_FAILURE,
	 ERR_CONFLICT},
	{"SCRAM-SHA-256-PLUS",
	 {Z("p=tls-exporter,,"), Z(""), Z("n=u,r=abc"), "pencil", false},
	 SASL_FAILURE,
	 ERR_CONFLICT},
};

static void test_final(void **state)
{
	for (size_t i = 0; i < sizeof finals / sizeof *finals; i++) {
		struct sasl *s;
		struct err err = {0};
		struct scram_verifier v;
		const struct client *c = &finals[i].client;
		BUF_SCOPED first = {0}, final = {0};
		buf_add(&first, c->gs2);
		buf_add(&first, c->first_bare);
		struct sasl_start start = {.mechanism = str_of(finals[i].mechanism),
					   .has_initial = true,
					   .initial = buf_str(&first),
					   .binding_exporter = STR(BINDING),
					   .binding_server_end_point = STR("cert"),
					   .plus_offered = true};
		assert_int_equal(sasl_begin(&start, &s, &err), SASL_NEED_CREDENTIALS);
		pencil((enum scram_hash)sasl_scram_hash(s), "QSXCR+Q6sek8bf92", &v);
		assert_int_equal(sasl_credentials(s, &v, &err), SASL_CHALLENGE);
		final_message(c, sasl_challenge(s), v.hash, &final);
		if (sasl_step(s, buf_str(&final), &err) != finals[i].want || err.kind != finals[i].kind)
			fail_msg("%zu: %s", i, err.text);
		sasl_free(s);
	}
}

/* The binding named in the first message counts, not the one in the last. */
static void test_final_damaged(void **state)
{
	static const char *const bad[] = {
		"",
		"c=biws",
		"c=biws,r=abcSERVER",
		"c=biws,r=abcSERVER,p=",
		"c=biws,r=abcSERVER,p=!!!!",
		"c=biws,r=abcSERVER,p=AAAA",
		"r=abcSERVER,c=biws,p=AAAA",
		"c=biws,r=abc,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		"c=biws,r=abcSERVERx,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		"c=eSws,r=abcSERVER,p=AAAA",
		"c=,r=abcSERVER,p=AAAA",
		",,,",
		"p=",
		"c=biws,r=abcSERVER,p=AAAA,x",
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct sasl *s;
		struct err err;
		struct scram_verifier v;
		struct sasl_start start = {.mechanism = STR("SCRAM-SHA-256"),
					   .has_initial = true,
					   .initial = STR("n,,n=u,r=abc"),
					   .nonce = STR("SERVER")};
		assert_int_equal(sasl_begin(&start, &s, &err), SASL_NEED_CREDENTIALS);
		pencil(SCRAM_SHA_256, "QSXCR+Q6sek8bf92", &v);
		assert_int_equal(sasl_credentials(s, &v, &err), SASL_CHALLENGE);
		assert_int_equal(sasl_step(s, str_of(bad[i]), &err), SASL_FAILURE);
		assert_int_equal(sasl_step(s, str_of(bad[i]), &err), SASL_FAILURE);
		sasl_free(s);
	}
}

static void test_unknown_user(void **state)
{
	struct sasl *s;
	struct err err;
	struct scram_verifier v;
	struct client c = {Z("n,,"), Z(""), Z("n=nobody,r=abc"), "", false};
	struct sasl_start start = {.mechanism = STR("SCRAM-SHA-256"),
				   .has_initial = true,
				   .initial = STR("n,,n=nobody,r=abc")};
	BUF_SCOPED final = {0};
	assert_int_equal(sasl_begin(&start, &s, &err), SASL_NEED_CREDENTIALS);
	scram_verifier_fake(SCRAM_SHA_256, STR("secret"), sasl_user(s), SCRAM_ITERATIONS_MIN, &v);
	assert_int_equal(sasl_credentials(s, &v, &err), SASL_CHALLENGE);
	final_message(&c, sasl_challenge(s), v.hash, &final);
	assert_int_equal(sasl_step(s, buf_str(&final), &err), SASL_FAILURE);
	assert_int_equal(err.kind, ERR_DENIED);
	sasl_free(s);

	/* credentials that cannot be had, or of the other hash */
	for (int i = 0; i < 2; i++) {
		pencil(SCRAM_SHA_1, "QSXCR+Q6sek8bf92", &v);
		assert_int_equal(sasl_begin(&start, &s, &err), SASL_NEED_CREDENTIALS);
		assert_int_equal(sasl_credentials(s, i ? &v : NULL, &err), SASL_FAILURE);
		assert_int_equal(err.kind, ERR_TEMP);
		sasl_free(s);
	}
}

/* ---- PLAIN ---- */

static const struct {
	struct str message;
	const char *user, *password; /* NULL: refused with kind */
	enum err_kind kind;
} plains[] = {
	{Z("\0user@x\0secret"), "user@x", "secret", 0},
	{Z("user@x\0user@x\0secret"), "user@x", "secret", 0},
	{Z("USER@x\0user@x\0secret"), "user@x", "secret", 0},
	{Z("other\0user@x\0secret"), NULL, NULL, ERR_DENIED},
	{Z("\0\xed\x95\x9c@x\0\xec\x95\x94\xed\x98\xb8"), "\xed\x95\x9c@x", "\xec\x95\x94\xed\x98\xb8",
	 0},
	{Z("\0user@x\0\xff\xfe"), "user@x", "\xff\xfe",
	 0}, /* an old client's charset: compared as bytes */
	{Z("\0\0secret"), NULL, NULL, ERR_SYNTAX},
	{Z("\0user@x\0"), NULL, NULL, ERR_SYNTAX},
	{Z("\0user@x"), NULL, NULL, ERR_SYNTAX},
	{Z("user@x"), NULL, NULL, ERR_SYNTAX},
	{Z(""), NULL, NULL, ERR_SYNTAX},
	{Z("\0"), NULL, NULL, ERR_SYNTAX},
	{Z("\0\0"), NULL, NULL, ERR_SYNTAX},
	{Z("\0user@x\0sec\0ret"), NULL, NULL, ERR_SYNTAX},
	{Z("\0us\ner@x\0secret"), NULL, NULL, ERR_SYNTAX},
	{Z("\0\xff\0secret"), NULL, NULL, ERR_SYNTAX},
	{Z("\0\xc2\xad\0secret"), NULL, NULL, ERR_SYNTAX},
};

static void test_plain(void **state)
{
	for (size_t i = 0; i < sizeof plains / sizeof *plains; i++) {
		struct sasl *s;
		struct err err = {0};
		struct sasl_start start = {.mechanism = STR("PLAIN")};
		assert_int_equal(sasl_begin(&start, &s, &err), SASL_CHALLENGE);
		check_challenge(s, "");
		enum sasl_step step = sasl_step(s, plains[i].message, &err);
		if (step != (plains[i].user ? SASL_NEED_VERDICT : SASL_FAILURE) ||
		    err.kind != plains[i].kind)
			fail_msg("%zu: %s", i, err.text);
		if (plains[i].user) {
			assert_true(str_eq(sasl_user(s), str_of(plains[i].user)));
			assert_true(str_eq(sasl_password(s), str_of(plains[i].password)));
			assert_int_equal(sasl_verdict(s, true, &err), SASL_SUCCESS);
			assert_int_equal(sasl_password(s).n, 0);
		}
		assert_int_equal(sasl_verdict(s, true, &err), SASL_FAILURE);
		sasl_free(s);
	}
}

static void test_plain_wrong(void **state)
{
	struct sasl *s;
	struct err err;
	struct sasl_start start = {
		.mechanism = STR("plain"), .has_initial = true, .initial = Z("\0u\0p")};
	assert_int_equal(sasl_begin(&start, &s, &err), SASL_NEED_VERDICT);
	assert_int_equal(sasl_verdict(s, false, &err), SASL_FAILURE);
	assert_int_equal(err.kind, ERR_DENIED);
	assert_int_equal(sasl_password(s).n, 0);
	sasl_free(s);
	/* a response while the verdict is out */
	assert_int_equal(sasl_begin(&start, &s, &err), SASL_NEED_VERDICT);
	assert_int_equal(sasl_step(s, Z("\0u\0p"), &err), SASL_FAILURE);
	assert_int_equal(sasl_verdict(s, true, &err), SASL_FAILURE);
	sasl_free(s);
}

static void test_limits(void **state)
{
	struct err err;
	struct sasl *s;
	BUF_SCOPED big = {0};
	static const struct {
		size_t user, password;
		bool want;
	} cases[] = {
		{SASL_USER_MAX, SASL_PASSWORD_MAX, true},
		{SASL_USER_MAX + 1, 1, false},
		{1, SASL_PASSWORD_MAX + 1, false},
		{1, SASL_MESSAGE_MAX, false},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		buf_clear(&big);
		buf_byte(&big, '\0');
		for (size_t n = 0; n < cases[i].user; n++)
			buf_byte(&big, 'u');
		buf_byte(&big, '\0');
		for (size_t n = 0; n < cases[i].password; n++)
			buf_byte(&big, 'p');
		struct sasl_start start = {
			.mechanism = STR("PLAIN"), .has_initial = true, .initial = buf_str(&big)};
		assert_int_equal(sasl_begin(&start, &s, &err),
				 cases[i].want ? SASL_NEED_VERDICT : SASL_FAILURE);
		sasl_free(s);
	}
	sasl_free(NULL);
}

/* ---- LOGIN ---- */

static void test_login(void **state)
{
	struct sasl *s;
	struct err err;
	for (int i = 0; i < 2; i++) {
		struct sasl_start start = {
			.mechanism = STR("LOGIN"), .has_initial = i == 1, .initial = STR("user@x")};
		assert_int_equal(sasl_begin(&start, &s, &err), SASL_CHALLENGE);
		if (i == 0) {
			check_challenge(s, "Username:");
			assert_int_equal(sasl_step(s, Z("user@x\0"), &err), SASL_CHALLENGE);
		}
		check_challenge(s, "Password:");
		assert_int_equal(sasl_step(s, STR("secret"), &err), SASL_NEED_VERDICT);
		assert_true(str_eq(sasl_user(s), STR("user@x")));
		assert_true(str_eq(sasl_password(s), STR("secret")));
		assert_int_equal(sasl_verdict(s, true, &err), SASL_SUCCESS);
		sasl_free(s);
	}
	static const struct {
		struct str user, password;
	} bad[] = {
		{Z(""), Z("")},
		{Z("a\0b"), Z("")},
		{Z("u"), Z("")},
		{Z("u"), Z("a\0b")},
	};
	for (size_t i = 0; i < 4; i++) {
		struct sasl_start start = {.mechanism = STR("LOGIN")};
		assert_int_equal(sasl_begin(&start, &s, &err), SASL_CHALLENGE);
		if (sasl_step(s, bad[i].user, &err) == SASL_CHALLENGE)
			assert_int_equal(sasl_step(s, bad[i].password, &err), SASL_FAILURE);
		assert_int_equal(err.kind, ERR_SYNTAX);
		sasl_free(s);
	}
}

static void test_mechanisms(void **state)
{
	static const char *const none[] = {"ANONYMOUS", "EXTERNAL", "CRAM-MD5", "DIGEST-MD5",
					   "XOAUTH2",   "",         "PLAIN ",   "NTLM"};
	for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
		struct sasl *s;
		struct err err;
		struct sasl_start start = {
			.mechanism = str_of(none[i]), .has_initial = true, .initial = STR("x")};
		assert_int_equal(sasl_begin(&start, &s, &err), SASL_FAILURE);
		assert_int_equal(err.kind, ERR_NOT_FOUND);
		assert_int_equal(sasl_step(s, STR("x"), &err), SASL_FAILURE);
		sasl_free(s);
	}
	for (int i = 0; i < SASL_MECHANISM_COUNT; i++) {
		enum sasl_mechanism m;
		assert_true(sasl_mechanism_find(str_of(sasl_mechanism_name((enum sasl_mechanism)i)), &m));
		assert_int_equal(m, i);
		assert_int_equal(sasl_mechanism_plaintext(m), i == SASL_PLAIN || i == SASL_LOGIN);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc_examples), cmocka_unit_test(test_first),
		cmocka_unit_test(test_final),        cmocka_unit_test(test_final_damaged),
		cmocka_unit_test(test_unknown_user), cmocka_unit_test(test_plain),
		cmocka_unit_test(test_plain_wrong),  cmocka_unit_test(test_limits),
		cmocka_unit_test(test_login),        cmocka_unit_test(test_mechanisms),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
