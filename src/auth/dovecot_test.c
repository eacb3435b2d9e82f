/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Lines of Dovecot's authentication protocol; whole dialogues are in tests/server/test_postfix.py. */
#include "auth/dovecot.h"
#include "auth/sasl.h"
#include "base/codec.h"
#include "base/testing.h"

static void test_lines(void **state)
{
	static const struct {
		const char *line;
		enum dovecot_verb verb;
		uint32_t id;
		const char *mechanism, *peer, *response; /* response NULL: none */
		bool secured;
	} cases[] = {
		{"AUTH\t1\tPLAIN\tservice=smtp\tnologin\tlip=192.0.2.2\trip=192.0.2.1\tsecured\tresp=eA="
		 "=",
		 DOVECOT_AUTH, 1, "PLAIN", "192.0.2.1", "x", true},
		{"AUTH\t4294967295\tLOGIN\tservice=smtp", DOVECOT_AUTH, 4294967295u, "LOGIN", "", NULL,
		 false},
		{"AUTH\t2\tPLAIN\tsecured=tls\tresp=", DOVECOT_AUTH, 2, "PLAIN", "", "", true},
		{"AUTH\t3\tPLAIN\tnew=1\t\trip=::1", DOVECOT_AUTH, 3, "PLAIN", "::1", NULL, false},
		{"CONT\t7\teHk=", DOVECOT_CONT, 7, "", "", "xy", false},
		{"CONT\t7\t", DOVECOT_CONT, 7, "", "", "", false},
		{"CANCEL\t8", DOVECOT_CANCEL, 8, "", "", NULL, false},
		{"CPID\t77", DOVECOT_CPID, 0, "", "", NULL, false},
		{"", DOVECOT_OTHER, 0, "", "", NULL, false},
		{"NEW\tx", DOVECOT_OTHER, 0, "", "", NULL, false},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct dovecot_request r;
		struct err err = {0};
		const char *line = cases[i].line;
		assert_case(line, dovecot_request_parse(str_of(line), &r, &err));
		assert_case(line, r.verb == cases[i].verb && r.id == cases[i].id &&
					  r.secured == cases[i].secured);
		assert_str(line, r.mechanism, str_of(cases[i].mechanism));
		assert_str(line, r.peer, str_of(cases[i].peer));
		assert_case(line, r.has_response == (cases[i].response != NULL));
		assert_str(line, buf_str(&r.response), str_of(cases[i].response));
		dovecot_request_free(&r);
	}
}

static void test_refused(void **state)
{
	static const char *const bad[] = {
		"AUTH",
		"AUTH\t",
		"AUTH\t1",
		"AUTH\t1\t",
		"AUTH\tx\tPLAIN",
		"AUTH\t4294967296\tPLAIN",
		"AUTH\t1\t123456789012345678901234567890123",
		"AUTH\t1\tPLAIN\tresp=*",
		"AUTH\t1\tPLAIN\tresp=eA==\tmore",
		"CONT",
		"CONT\t1\t***",
		"CANCEL",
		"VERSION",
		"VERSION\tx",
		"VERSION\t1001",
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct dovecot_request r;
		struct err err = {0};
		assert_case(bad[i],
			    !dovecot_request_parse(str_of(bad[i]), &r, &err) && err.kind == ERR_SYNTAX);
		dovecot_request_free(&r);
	}
	/* A response longer than any mechanism's. */
	BUF_SCOPED line = {0};
	BUF_SCOPED raw = {0};
	struct dovecot_request r;
	struct err err = {0};
	buf_add(&line, STR("CONT\t1\t"));
	for (int i = 0; i <= SASL_MESSAGE_MAX; i++)
		buf_byte(&raw, 'x');
	base64_encode(&line, buf_str(&raw));
	assert_false(dovecot_request_parse(buf_str(&line), &r, &err));
	dovecot_request_free(&r);
}

static void test_escape(void **state)
{
	BUF_SCOPED out = {0};
	dovecot_escape(&out, (struct str){"a\tb\nc\rd\0e\001f", 11});
	assert_str("escaped", buf_str(&out), STR("a\001tb\001nc\001rd\0010e\0011f"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines), cmocka_unit_test(test_refused), cmocka_unit_test(test_escape),
	};
	return RUN_TESTS(tests);
}
