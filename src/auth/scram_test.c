/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "auth/scram.h"
#include "base/buf.h"
#include "base/codec.h"
#include <string.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* The verifiers behind the examples of RFC 5802 5 and RFC 7677 3, formatted; computed with Python. */
static const struct {
	enum scram_hash hash;
	const char *salt64, *want;
} made[] = {
	{SCRAM_SHA_1, "QSXCR+Q6sek8bf92",
	 "{SCRAM-SHA-1}4096,QSXCR+Q6sek8bf92,6dlGYMOdZcOPutkcNY8U2g7vK9Y=,D+CSWLOshSulAsxiupA+qs2/fTE="},
	{SCRAM_SHA_256, "W22ZaJ0SNY7soEsUEjb6gQ==",
	 "{SCRAM-SHA-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
	 "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="},
};

static void test_make(void **state)
{
	for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
		struct scram_verifier v, again;
		struct err err;
		BUF_SCOPED salt = {0}, out = {0};
		assert_true(base64_decode(&salt, str_of(made[i].salt64)));
		struct str s = buf_str(&salt);
		assert_true(scram_verifier_make(made[i].hash, STR("pencil"), 4096, &s, &v, &err));
		scram_verifier_format(&v, &out);
		assert_true(str_eq(buf_str(&out), str_of(made[i].want)));
		assert_true(scram_verifier_parse(buf_str(&out), &again, &err));
		assert_true(scram_verifier_matches(&again, STR("pencil")));
		assert_false(scram_verifier_matches(&again, STR("pencils")));
		assert_false(scram_verifier_matches(&again, STR("pencil\xff")));
	}
}

static void test_parse(void **state)
{
#define KEYS ",AAAAAAAAAAAAAAAAAAAAAAAAAAA=,AAAAAAAAAAAAAAAAAAAAAAAAAAA="
	static const struct {
		const char *text;
		enum err_kind want;
	} cases[] = {
		{"{SCRAM-SHA-1}1,c2FsdA==" KEYS, ERR_NONE},
		{"{scram-sha-1}4096,c2FsdA==" KEYS, ERR_NONE},
		{"{SCRAM-SHA-1}0,c2FsdA==" KEYS, ERR_LIMIT},
		{"{SCRAM-SHA-1}1000001,c2FsdA==" KEYS, ERR_LIMIT},
		{"{SCRAM-SHA-256}4096,c2FsdA==" KEYS, ERR_SYNTAX},
		{"{SCRAM-SHA-1}4096," KEYS, ERR_SYNTAX},
		{"{SCRAM-SHA-1}-1,c2FsdA==" KEYS, ERR_SYNTAX},
		{"{SCRAM-SHA-1}4096,c2FsdA==" KEYS ",", ERR_SYNTAX},
		{"{SCRAM-SHA-1}4096,c2FsdA==,,", ERR_SYNTAX},
		{"{SCRAM-SHA-1}", ERR_SYNTAX},
		{"4096,c2FsdA==" KEYS, ERR_SYNTAX},
		{"{SCRAM-SHA-256}4095,c2FsdA==,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,"
		 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		 ERR_LIMIT},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct scram_verifier v;
		struct err err = {0};
		if (scram_verifier_parse(str_of(cases[i].text), &v, &err) !=
			    (cases[i].want == ERR_NONE) ||
		    err.kind != cases[i].want)
			fail_msg("%s: %s", cases[i].text, err_kind_name(err.kind));
	}
}

static void test_fake(void **state)
{
	struct scram_verifier a, b, c, d;
	scram_verifier_fake(SCRAM_SHA_256, STR("secret"), STR("nobody@x"), 4096, &a);
	scram_verifier_fake(SCRAM_SHA_256, STR("secret"), STR("nobody@x"), 4096, &b);
	scram_verifier_fake(SCRAM_SHA_256, STR("secret"), STR("noone@x"), 4096, &c);
	scram_verifier_fake(SCRAM_SHA_256, STR("other"), STR("nobody@x"), 4096, &d);
	assert_int_equal(a.salt_n, 16);
	assert_memory_equal(a.salt, b.salt, 16);
	assert_memory_not_equal(a.salt, c.salt, 16);
	assert_memory_not_equal(a.salt, d.salt, 16);
}

/* RFC 4013 3 and further cases */
static const struct {
	const char *in, *want; /* NULL: refused */
	bool unassigned;
} preps[] = {
	{"I\xc2\xadX", "IX", true},
	{"user", "user", true},
	{"USER", "USER", true},
	{"\xc2\xaa", "a", true},
	{"\xe2\x85\xa8", "IX", true},
	{"\x07", NULL, true},
	{"\xd8\xa7\x31", NULL, true},
	{"a\xc2\xa0"
	 "b",
	 "a b", true}, /* no-break space */
	{"a\xe3\x80\x80"
	 "b",
	 "a b", true},                                                  /* ideographic space */
	{"\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab", "\xed\x95\x9c", true}, /* Hangul jamo compose */
	{"\xef\xbc\xa1", "A", true},                                    /* full width */
	{"\xed\x95\x9c", "\xed\x95\x9c", false},
	{"\xc3\x28", NULL, true},
	{"\xed\xa0\x80", NULL, true},
	{"\xff", NULL, true},
	{"\xee\x80\x80", NULL, true}, /* private use */
	{"\xef\xb7\x90", NULL, true},
	{"\xf0\x9f\xbf\xbe", NULL, true}, /* no characters */
	{"a\xe2\x80\x8e", NULL, true},    /* left-to-right mark */
	{"\x7f", NULL, true},
	{"a\tb", NULL, true},
	{"\xcd\xb8", "\xcd\xb8", true},
	{"\xcd\xb8", NULL, false}, /* U+0378 is not assigned */
	{"\xd7\x90\xd7\x91", "\xd7\x90\xd7\x91", true},
	{"\xd7\x90"
	 "a",
	 NULL, true},
	{"\xd7\x90"
	 "1\xd7\x90",
	 "\xd7\x90"
	 "1\xd7\x90",
	 true},
	{"", "", true},
	{"\xc2\xad", "", true},
};

static void test_saslprep(void **state)
{
	for (size_t i = 0; i < sizeof preps / sizeof *preps; i++) {
		struct err err = {0};
		BUF_SCOPED out = {0};
		bool done = saslprep(str_of(preps[i].in), preps[i].unassigned, &out, &err);
		if (done != (preps[i].want != NULL))
			fail_msg("%zu: %s", i, err.text);
		if (done)
			assert_true(str_eq(buf_str(&out), str_of(preps[i].want)));
		else
			assert_int_equal(err.kind, ERR_SYNTAX);
	}
	struct err err;
	BUF_SCOPED large = {0}, out = {0};
	while (large.n < 1025)
		buf_byte(&large, 'x');
	assert_false(saslprep(buf_str(&large), true, &out, &err));
	assert_int_equal(err.kind, ERR_LIMIT);
	/* the longest growth: U+FDFA becomes 18 characters */
	buf_clear(&large);
	for (int i = 0; i < 340; i++)
		buf_add(&large, STR("\xef\xb7\xba"));
	assert_true(saslprep(buf_str(&large), true, &out, &err));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_make),
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_fake),
		cmocka_unit_test(test_saslprep),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
