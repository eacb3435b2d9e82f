/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "auth/password.h"
#include "base/buf.h"
#include <string.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define P "test123"
#define SHA512_SALTED                                                                                    \
	"$6$saltsalt$U5d2t4MFT.Hn/auqLjcfU6R/lm2Y71FvBwABEOht/UpRtNzcFvzGl/"                             \
	"oU6V38pYgY8ZpicOa.0ESff5jRNylZM."
#define YES "$y$j75$saltsaltsaltsalt$oSfKaV0SCE4nAO2b.KEL5qSI4jDPd/mhsTlumV/VPk1"

/* Made with other tools (crypt(3), hashlib, base64), so that a mistake here is seen. */
static const struct {
	const char *stored, *password, *scheme;
	bool weak;
} right[] = {
	/* crypt(3), bare */
	{"66cYg67xYO10M", P, "DES-CRYPT", true},
	{"$1$saltsalt$uODog0jKoMVYs4vDW7pRr.", P, "MD5-CRYPT", true},
	{"$5$saltsalt$1vMr6Y.NSWgo80DtsxecrUwQjENAgC8vtssUqfqEyK0", P, "SHA256-CRYPT", false},
	{SHA512_SALTED, P, "SHA512-CRYPT", false},
	{"$6$rounds=1000$saltsalt$EE.3uREttSJdn8FgriPUP7BjtasF8JQmnyi39yTnzKZir4Rg42MieG/"
	 "Ejim43mVqzZckeQ3f0AZ0mjVl7j3sJ0",
	 P, "SHA512-CRYPT", true},
	{"$2y$05$abcdefghijklmnopqrstuuiSxrCHLVwpmVwT4EU3KSeUZ1NHx9EI2", P, "BLF-CRYPT", true},
	{"$2a$05$abcdefghijklmnopqrstuuiSxrCHLVwpmVwT4EU3KSeUZ1NHx9EI2", P, "BLF-CRYPT", true},
	{"$2b$05$abcdefghijklmnopqrstuuiSxrCHLVwpmVwT4EU3KSeUZ1NHx9EI2", P, "BLF-CRYPT", true},
	{YES, P, "YESCRYPT", false},
	{"$y$j9T$saltsaltsaltsalt$hIjFEZsJT/NkoOrue3WKVA5g30o.VuUX6klIjrDr/p/", P, "YESCRYPT", false},
	/* with a scheme */
	{"{CRYPT}66cYg67xYO10M", P, "DES-CRYPT", true},
	{"{DES-CRYPT}66cYg67xYO10M", P, "DES-CRYPT", true},
	{"{CRYPT}" YES, P, "YESCRYPT", false},
	{"{CRYPT}" SHA512_SALTED, P, "SHA512-CRYPT", false},
	{"{SHA512-CRYPT}" SHA512_SALTED, P, "SHA512-CRYPT", false},
	{"{sha512-crypt}" SHA512_SALTED, P, "SHA512-CRYPT", false},
	{"{SHA512-CRYPT.b64}"
	 "JDYkc2FsdHNhbHQkVTVkMnQ0TUZULkhuL2F1cUxqY2ZVNlIvbG0yWTcxRnZCd0FCRU9odC9VcFJ0TnpjRnZ6R2"
	 "wvb1U2VjM4cFlnWThacGljT2EuMEVTZmY1alJOeWxaTS4=",
	 P, "SHA512-CRYPT", false},
	{"{SHA256-CRYPT}$5$saltsalt$1vMr6Y.NSWgo80DtsxecrUwQjENAgC8vtssUqfqEyK0", P, "SHA256-CRYPT",
	 false},
	{"{MD5-CRYPT}$1$saltsalt$uODog0jKoMVYs4vDW7pRr.", P, "MD5-CRYPT", true},
	{"{BLF-CRYPT}$2y$05$abcdefghijklmnopqrstuuiSxrCHLVwpmVwT4EU3KSeUZ1NHx9EI2", P, "BLF-CRYPT", true},
	{"{PLAIN}test123", P, "PLAIN", true},
	{"{CLEARTEXT}test123", P, "PLAIN", true},
	{"{PLAIN.b64}dGVzdDEyMw==", P, "PLAIN", true},
	{"{plain.HEX}74657374313233", P, "PLAIN", true},
	{"{PLAIN-MD5}cc03e747a6afbbcbf8be7668acfebee5", P, "PLAIN-MD5", true},
	{"{PLAIN-MD5.b64}zAPnR6avu8v4vnZorP6+5Q==", P, "PLAIN-MD5", true},
	{"{LDAP-MD5}zAPnR6avu8v4vnZorP6+5Q==", P, "LDAP-MD5", true},
	{"{SHA}cojt0Pw//L6ToM8G41aOKFIWh7w=", P, "SHA", true},
	{"{SHA1}cojt0Pw//L6ToM8G41aOKFIWh7w=", P, "SHA", true},
	{"{SHA.hex}7288edd0fc3ffcbe93a0cf06e3568e28521687bc", P, "SHA", true},
	{"{SHA}7288EDD0fc3ffcbe93a0cf06e3568e28521687bc", P, "SHA", true}, /* told by its length */
	{"{SHA256}7NcYcNGWMxapfjrDQIyYNa2M8PPBvHA1J8MCZVNPda4=", P, "SHA256", true},
	{"{SHA256.hex}ecd71870d1963316a97e3ac3408c9835ad8cf0f3c1bc703527c30265534f75ae", P, "SHA256",
	 true},
	{"{SHA512}2u9JU7l4M2XK1mFSI3IFBsxGxRZ80Wq1APpZeqCP+WTrJPsZaH8012Zfd4/LbFNY/"
	 "ApbgeFmLPkPc6JnHFP5kQ==",
	 P, "SHA512", true},
	{"{SMD5}yMtRpEhOOO9lQuan0UUgPmFiY2QxMjM0", P, "SMD5", true},
	{"{SSHA}l6M0Qlo6Cu8RRzfr5TGGxcTXN0JhYmNkMTIzNA==", P, "SSHA", true},
	{"{SSHA.hex}97a334425a3a0aef114737ebe53186c5c4d737426162636431323334", P, "SSHA", true},
	{"{SSHA256}yRA8PZX6bh5WJx1TqBk56DeAmIPoTBSu+J7bwVJZ7ephYmNkMTIzNA==", P, "SSHA256", true},
	{"{SSHA512}IRmjjYVXU2gBz3mUWpOXtDCTfJFPN8aa+"
	 "Z4kxOuwXDTC5xnQvBbgWe8NZnX54aY4jiscMux7PDLzlElUIRD5JGFiY2QxMjM0",
	 P, "SSHA512", true},
	{"{PBKDF2}$1$SaltSaltSaltSalt$5000$5983e28bf83b8b575910c96e596ce55b3976c34b", P, "PBKDF2", true},
	{"{SCRAM-SHA-1}4096,MDEyMzQ1Njc4OWFiY2RlZg==,yN6R9WvGzBf9Rj+ptfSwj+j8nZk=,"
	 "QMzcod5CQ6l3WB6hWNlNo3LEky8=",
	 P, "SCRAM-SHA-1", false},
	{"{SCRAM-SHA-256}4096,MDEyMzQ1Njc4OWFiY2RlZg==,JsXnIw2kt8ZoOnH5hbQyQI8EB1bgbSmN8syqS6ryIPQ=,"
	 "TVqhTIx5vpCULcAzcNjpXjfnfrLtWme1SfyvDGvW1D4=",
	 P, "SCRAM-SHA-256", false},
	/* the reference implementation's own tests of Argon2 */
	{"{ARGON2ID}$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
	 "password", "ARGON2ID", true},
	{"$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
	 "password", "ARGON2ID", true},
	{"{ARGON2I}$argon2i$v=19$m=256,t=2,p=2$c29tZXNhbHQ$T/XOJ2mh1/TIpJHfCdQan76Q5esCFVoT5MAeIM1Oq2E",
	 "password", "ARGON2I", true},
	{"{ARGON2I}$argon2i$m=256,t=2,p=2$c29tZXNhbHQ$tsEVYKap1h6scGt5ovl9aLRGOqOth+AMB+KwHpDFZPs",
	 "password", "ARGON2I", true}, /* version 1.0 has no "v=" */
	/* U. Drepper, "Unix crypt with SHA-256/512": published vectors */
	{"$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", "Hello world!", "SHA256-CRYPT",
	 false},
	{"$5$rounds=10000$saltstringsaltst$3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA", "Hello world!",
	 "SHA256-CRYPT", false},
	{"$5$rounds=1400$anotherlongsalts$Rx.j8H.h8HjEDGomFU8bDkXm3XIUnzyxf12oP84Bnq1",
	 "a very much longer text to encrypt.  This one even stretches over morethan one line.",
	 "SHA256-CRYPT", true},
	{"$5$rounds=77777$short$JiO1O3ZpDAxGJeaDIuqCoEFysAe1mZNJRs3pw0KQRd/",
	 "we have a short salt string but not a short password", "SHA256-CRYPT", false},
	{"$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/"
	 "O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
	 "Hello world!", "SHA512-CRYPT", false},
	{"$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/"
	 "UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs"
	 "/y3RnOaw5v.",
	 "Hello world!", "SHA512-CRYPT", false},
};

static void test_right(void **state)
{
	for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
		struct err err = {0};
		struct str stored = str_of(right[i].stored), password = str_of(right[i].password);
		if (password_verify(stored, password, &err) != PASSWORD_MATCH)
			fail_msg("%s: %s", right[i].stored, err.text);
		assert_int_equal(password_verify(stored, STR("Test123"), &err), PASSWORD_MISMATCH);
		assert_int_equal(password_verify(stored, STR_NONE, &err), PASSWORD_MISMATCH);
		assert_int_equal(password_verify(stored, (struct str){"test123\0x", 9}, &err),
				 PASSWORD_MISMATCH);
		assert_string_equal(password_scheme(stored), right[i].scheme);
		if (password_is_weak(stored) != right[i].weak)
			fail_msg("%s: weak", right[i].stored);
	}
}

static const struct {
	const char *stored;
	enum err_kind want;
} bad[] = {
	{"", ERR_SYNTAX},
	{"test123", ERR_SYNTAX},
	{"!", ERR_SYNTAX},
	{"*", ERR_SYNTAX},
	{"!$6$salt$x", ERR_SYNTAX},
	{"{NOSUCH}x", ERR_SYNTAX},
	{"{PLAIN", ERR_SYNTAX},
	{"{PLAIN.rot13}x", ERR_SYNTAX},
	{"{PLAIN.b64}!", ERR_SYNTAX},
	{"{}", ERR_SYNTAX},
	{"{CRYPT}", ERR_SYNTAX},
	{"{CRYPT}test123", ERR_SYNTAX},
	{"$2y$05$short", ERR_SYNTAX},
	{"$1$:$x", ERR_SYNTAX},
	{"66cYg67xYO10", ERR_SYNTAX},
	{"66cYg67xYO10:", ERR_SYNTAX},
	{"$7$scrypt", ERR_SYNTAX},
	{"$gy$j9T$x$y", ERR_SYNTAX},
	{"_J9..rasmBYk8r9AiWNc", ERR_SYNTAX},
	{"{SHA512-CRYPT}$5$saltsalt$1vMr6Y.NSWgo80DtsxecrUwQjENAgC8vtssUqfqEyK0", ERR_SYNTAX},
	{"{BLF-CRYPT}66cYg67xYO10M", ERR_SYNTAX},
	{"{SHA}AAAA", ERR_SYNTAX},
	{"{SHA256}zz", ERR_SYNTAX},
	{"{SSHA}cojt0Pw//L6ToM8G41aOKFIWh7w=", ERR_SYNTAX},
	{"{PLAIN-MD5}zAPnR6avu8v4vnZorP6+5Q==", ERR_SYNTAX},
	{"{PBKDF2}$1$salt$0$5983e28bf83b8b575910c96e596ce55b3976c34b", ERR_SYNTAX},
	{"{PBKDF2}$1$salt$100$5983", ERR_SYNTAX},
	{"{ARGON2ID}", ERR_SYNTAX},
	{"{ARGON2I}$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
	 ERR_SYNTAX},
	{"{ARGON2ID}$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ", ERR_SYNTAX},
	{"{SCRAM-SHA-256}4096,,,", ERR_SYNTAX},
	{"{SCRAM-SHA-256}x", ERR_SYNTAX},
	/* too costly */
	{"$6$rounds=999999999$saltsalt$U5d2t4MFT", ERR_LIMIT},
	{"$5$rounds=1000001$saltsalt$U5d2t4MFT", ERR_LIMIT},
	{"$2y$31$abcdefghijklmnopqrstuuiSxrCHLVwpmVwT4EU3KSeUZ1NHx9EI2", ERR_LIMIT},
	{"$y$jFT$saltsaltsaltsalt$oSfKaV0SCE4nAO2b.KEL5qSI4jDPd/mhsTlumV/VPk1", ERR_LIMIT},
	{"$y$jzT$saltsaltsaltsalt$oSfKaV0SCE4nAO2b.KEL5qSI4jDPd/mhsTlumV/VPk1", ERR_LIMIT},
	{"$y$j9z$saltsaltsaltsalt$oSfKaV0SCE4nAO2b.KEL5qSI4jDPd/mhsTlumV/VPk1", ERR_LIMIT},
	{"{PBKDF2}$1$salt$4000000000$5983e28bf83b8b575910c96e596ce55b3976c34b", ERR_LIMIT},
	{"{SCRAM-SHA-1}4000000000,MDEyMzQ1Njc4OWFiY2RlZg==,yN6R9WvGzBf9Rj+ptfSwj+j8nZk=,"
	 "QMzcod5CQ6l3WB6hWNlNo3LEky8=",
	 ERR_LIMIT},
	{"{ARGON2ID}$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/"
	 "uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
	 ERR_LIMIT},
	{"{ARGON2ID}$argon2id$v=19$m=256,t=4000000000,p=1$c29tZXNhbHQ$nf65EOgLrQMR/"
	 "uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
	 ERR_LIMIT},
	{"{ARGON2ID}$argon2id$v=19$m=65536,t=1,p=4096$c29tZXNhbHQ$nf65EOgLrQMR/"
	 "uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
	 ERR_LIMIT},
};

static void test_bad(void **state)
{
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct err err = {0};
		if (password_verify(str_of(bad[i].stored), STR(P), &err) != PASSWORD_BAD_HASH ||
		    err.kind != bad[i].want)
			fail_msg("%s: %s", bad[i].stored, err_kind_name(err.kind));
		assert_false(password_is_weak(str_of(bad[i].stored)) &&
			     password_scheme(str_of(bad[i].stored)) == NULL);
	}
}

/* 300 characters in the column of the classic set-up; 1024 is the end. */
static void test_long(void **state)
{
	struct err err;
	BUF_SCOPED stored = {0};
	buf_add(&stored, STR("{PLAIN}"));
	while (stored.n < 300)
		buf_byte(&stored, 'x');
	assert_int_equal(password_verify(buf_str(&stored), str_from(buf_str(&stored), 7), &err),
			 PASSWORD_MATCH);
	while (stored.n <= PASSWORD_STORED_MAX)
		buf_byte(&stored, 'x');
	assert_int_equal(password_verify(buf_str(&stored), STR("x"), &err), PASSWORD_BAD_HASH);
	buf_clear(&stored);
	while (stored.n < PASSWORD_MAX)
		buf_byte(&stored, 'p');
	BUF_SCOPED hash = {0};
	assert_true(password_hash(STR("SHA512-CRYPT"), buf_str(&stored), &hash, &err));
	assert_int_equal(password_verify(buf_str(&hash), buf_str(&stored), &err), PASSWORD_MATCH);
	buf_byte(&stored, 'p');
	assert_int_equal(password_verify(buf_str(&hash), buf_str(&stored), &err), PASSWORD_MISMATCH);
	password_burn(buf_str(&stored));
	assert_false(password_hash(STR(""), buf_str(&stored), &hash, &err));
	assert_int_equal(err.kind, ERR_SYNTAX);
}

static void test_new(void **state)
{
	static const struct {
		const char *scheme, *starts, *name;
		bool weak;
	} cases[] = {
		{"", "{CRYPT}$y$", "YESCRYPT", false},
		{"yescrypt", "{CRYPT}$y$", "YESCRYPT", false},
		{"SHA512-CRYPT", "{SHA512-CRYPT}$6$rounds=", "SHA512-CRYPT", false},
		{"SHA256-CRYPT", "{SHA256-CRYPT}$5$rounds=", "SHA256-CRYPT", false},
		{"BLF-CRYPT", "{BLF-CRYPT}$2y$10$", "BLF-CRYPT", false},
		{"ARGON2ID", "{ARGON2ID}$argon2id$v=19$", "ARGON2ID", false},
		{"PBKDF2", "{PBKDF2}$1$", "PBKDF2", false},
		{"SSHA512", "{SSHA512}", "SSHA512", true},
		{"SCRAM-SHA-1", "{SCRAM-SHA-1}", "SCRAM-SHA-1", false},
		{"SCRAM-SHA-256", "{SCRAM-SHA-256}", "SCRAM-SHA-256", false},
	};
	struct str password = STR("\xec\x95\x94\xed\x98\xb8 of 12"); /* Korean */
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct err err;
		BUF_SCOPED a = {0}, b = {0};
		assert_true(password_hash(str_of(cases[i].scheme), password, &a, &err));
		assert_true(password_hash(str_of(cases[i].scheme), password, &b, &err));
		assert_true(str_starts(buf_str(&a), str_of(cases[i].starts)));
		assert_false(str_eq(buf_str(&a), buf_str(&b)));
		assert_string_equal(password_scheme(buf_str(&a)), cases[i].name);
		assert_int_equal(password_is_weak(buf_str(&a)), cases[i].weak);
		assert_int_equal(password_verify(buf_str(&a), password, &err), PASSWORD_MATCH);
		assert_int_equal(password_verify(buf_str(&a), STR("other"), &err), PASSWORD_MISMATCH);
	}
}

static void test_refused(void **state)
{
	static const struct {
		const char *scheme, *password;
		enum err_kind want;
	} cases[] = {
		{"", "", ERR_SYNTAX},
		{"", "a\nb", ERR_SYNTAX},
		{"PLAIN", "abc", ERR_NOT_FOUND},
		{"SHA", "abc", ERR_NOT_FOUND},
		{"MD5-CRYPT", "abc", ERR_NOT_FOUND},
		{"CRYPT", "abc", ERR_NOT_FOUND},
		{"NOSUCH", "abc", ERR_NOT_FOUND},
		{"SCRAM-SHA-256", "\xff", ERR_SYNTAX},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct err err;
		BUF_SCOPED out = {0};
		buf_add(&out, STR("kept"));
		assert_false(
			password_hash(str_of(cases[i].scheme), str_of(cases[i].password), &out, &err));
		assert_int_equal(err.kind, cases[i].want);
		assert_true(str_eq(buf_str(&out), STR("kept")));
	}
}

static void test_plain(void **state)
{
	BUF_SCOPED out = {0};
	assert_true(password_plain(STR("{PLAIN.b64}dGVzdDEyMw=="), &out));
	assert_true(str_eq(buf_str(&out), STR(P)));
	assert_false(password_plain(STR("test123"), &out));
	assert_false(password_plain(STR("{SHA}cojt0Pw//L6ToM8G41aOKFIWh7w="), &out));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_right),   cmocka_unit_test(test_bad),
		cmocka_unit_test(test_long),    cmocka_unit_test(test_new),
		cmocka_unit_test(test_refused), cmocka_unit_test(test_plain),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
