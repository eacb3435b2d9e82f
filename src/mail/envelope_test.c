/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "mail/envelope.h"
#include "base/arena.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>

static struct recipient rcpts[] = {
	{.forward_path = {"Bob@Example.com", 15}, .address = {{"Bob", 3}, {"example.com", 11}},
	 .orcpt = {"rfc822;bob@x", 12}, .notify = NOTIFY_FAILURE | NOTIFY_DELAY},
	{.forward_path = {"postmaster", 10}, .address = {{"postmaster", 10}, {"", 0}}},
};

static struct envelope sample(void)
{
	struct envelope e = {
		.id = id_new(), .received_us = 1764000000123456, .origin = ENVELOPE_SUBMISSION,
		.reverse_path = {STR("a"), STR("b.example")}, .reverse_path_text = STR("a@B.example"),
		.rcpt = rcpts, .rcpt_n = 2, .ret = ENVELOPE_RET_HDRS, .envid = STR("QQ 314"),
		.body = ENVELOPE_8BITMIME, .smtputf8 = true, .requiretls = true, .size_bytes = 5000000000,
		.account = STR("a@b.example"), .auth_mech = STR("PLAIN"), .submission_mac = {"\0\r\n\xff", 4},
		.peer = {
			.address = STR("2001:db8::1"), .port = 50000, .name = STR("c.example"),
			.helo = STR("[x]"),
			.esmtp = true, .tls_version = STR("TLSv1.3"), .tls_cipher = STR("X"),
			.tls_client = STR("y"),
		},
		.listener = 3,
		.has_uid = true,
		.uid = 0,
	};
	return e;
}

static void round_trip_test(void **state)
{
	ARENA_SCOPED a = arena_new();
	struct envelope e = sample(), d, c;
	struct err err;
	BUF_SCOPED b = {0}, again = {0};
	envelope_encode(&b, &e);
	assert_true(envelope_decode(buf_str(&b), a, &d, &err));
	envelope_copy(a, &d, &c);
	envelope_encode(&again, &c);
	assert_true(str_eq(buf_str(&b), buf_str(&again)));
	assert_int_equal(d.rcpt_n, 2);
	assert_int_equal(d.rcpt[0].notify, NOTIFY_FAILURE | NOTIFY_DELAY);
	assert_true(d.smtputf8 && d.requiretls && d.peer.esmtp);
	assert_int_equal(d.size_bytes, 5000000000);
	assert_int_equal(d.peer.port, 50000);
	assert_true(d.has_uid && d.uid == 0);
	assert_true(str_eq(d.submission_mac, e.submission_mac));
}

/* Every cut is refused, and a record of a newer version is passed over. */
static void hostile_test(void **state)
{
	ARENA_SCOPED a = arena_new();
	struct envelope e = sample(), d;
	struct err err;
	BUF_SCOPED b = {0};
	envelope_encode(&b, &e);
	size_t whole = b.n, accepted = 0;
	for (size_t n = 0; n < whole; n++)
		accepted += envelope_decode(str_sub(buf_str(&b), 0, n), a, &d, &err);
	/* Only cuts between records, behind the id, are well-formed. */
	assert_in_range(accepted, 1, 26);
	buf_le16(&b, 9999);
	buf_le_str(&b, STR("what will be"));
	assert_true(envelope_decode(buf_str(&b), a, &d, &err));
	assert_int_equal(d.rcpt_n, 2);
	buf_le16(&b, 9); /* ENVID */
	buf_le_str(&b, STR("a\r\nb"));
	assert_false(envelope_decode(buf_str(&b), a, &d, &err));
	assert_int_equal(err.kind, ERR_CORRUPT);
	b.p[3] = 2;
	assert_false(envelope_decode(buf_str(&b), a, &d, &err));
}

static void rcpt_limit_test(void **state)
{
	for (size_t n = ENVELOPE_RCPT_MAX; n <= ENVELOPE_RCPT_MAX + 1; n++) {
		ARENA_SCOPED a = arena_new();
		struct envelope e = sample(), d;
		struct err err;
		e.rcpt = arena_array(a, n, sizeof e.rcpt[0]);
		e.rcpt_n = n;
		for (size_t i = 0; i < n; i++) e.rcpt[i] = rcpts[1];
		BUF_SCOPED b = {0};
		envelope_encode(&b, &e);
		assert_int_equal(envelope_decode(buf_str(&b), a, &d, &err), n <= ENVELOPE_RCPT_MAX);
	}
}

/* RFC 3461 4.1-4.3 */
static void params_test(void **state)
{
	ARENA_SCOPED a = arena_new();
	unsigned bits;
	enum envelope_ret ret;
	struct str got;
	struct err err;
	BUF_SCOPED b = {0};
	assert_true(notify_parse(STR("success,FAILURE"), &bits));
	assert_int_equal(bits, NOTIFY_SUCCESS | NOTIFY_FAILURE);
	notify_format(&b, bits);
	assert_true(str_eq(buf_str(&b), STR("SUCCESS,FAILURE")));
	assert_true(notify_parse(STR("NEVER"), &bits));
	static const char *const bad[] =
		{"", "NEVER,DELAY", "X", "DELAY,", ",DELAY", "DELAY,DELAY", "DELAY DELAY"};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(notify_parse(str_of(bad[i]), &bits));
	assert_true(ret_parse(STR("hdrs"), &ret) && ret == ENVELOPE_RET_HDRS);
	assert_false(ret_parse(STR("HEADERS"), &ret));

	assert_true(orcpt_parse(a, STR("rfc822;Bob+2Bx@Example.com"), false, &got, &err));
	assert_true(str_eq(got, STR("rfc822;Bob+x@Example.com")));
	buf_clear(&b);
	orcpt_format(&b, got, false);
	assert_true(str_eq(buf_str(&b), STR("rfc822;Bob+2Bx@Example.com")));
	/* RFC 6533 3 */
	assert_true(orcpt_parse(a, STR("utf-8;\\x{D55C}@b"), false, &got, &err));
	assert_true(str_eq(got, STR("utf-8;한@b")));
	static const char *const bad_orcpt[] =
		{"", "rfc822", "rfc822;", ";a@b", "r c;a@b", "rfc822;a b", "utf-8;한@b"};
	for (size_t i = 0; i < sizeof bad_orcpt / sizeof bad_orcpt[0]; i++)
		assert_false(orcpt_parse(a, str_of(bad_orcpt[i]), false, &got, &err));
	assert_true(orcpt_parse(a, STR("utf-8;한@b"), true, &got, &err));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip_test), cmocka_unit_test(hostile_test),
			cmocka_unit_test(rcpt_limit_test),
		cmocka_unit_test(params_test),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
