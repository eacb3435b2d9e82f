/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "mail/trace.h"
#include "base/arena.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include <string.h>
#include <time.h>

static struct recipient one = {.forward_path = {"b@c", 3}, .address = {{"b", 1}, {"c", 1}}};

static struct envelope sample(void)
{
	struct envelope e = {
		.received_us = 1764000000000000, .rcpt = &one, .rcpt_n = 1,
		.peer = {
			.address = STR("192.0.2.1"), .name = STR("mx.example"), .helo = STR("mx.example"),
			.esmtp = true, .tls_version = STR("TLSv1.3"),
			.tls_cipher = STR("TLS_AES_256_GCM_SHA384"),
		},
	};
	memcpy(e.id.c, "0123456789abcdefgh", ID_LEN);
	return e;
}

static void received_test(void **state)
{
	struct envelope e = sample();
	BUF_SCOPED b = {0};
	trace_received(&b, &e, STR("pabal.example"), 0);
	assert_true(str_eq(buf_str(&b), STR("Received: from mx.example (mx.example [192.0.2.1])\r\n"
		"\tby pabal.example with ESMTPS (TLSv1.3 TLS_AES_256_GCM_SHA384)\r\n"
		"\tid 0123456789abcdefgh for <b@c>; Mon, 24 Nov 2025 16:00:00 +0000\r\n")));
	buf_clear(&b);
	e.rcpt_n = 0;
	e.peer = (struct envelope_peer){.address = STR("::1"), .helo = STR("x\r\nBcc: (y)")};
	trace_received(&b, &e, STR("p"), 0);
	assert_true(str_eq(buf_str(&b), STR("Received: from x??Bcc:??y? (unknown [IPv6:::1])\r\n"
		"\tby p with SMTP id 0123456789abcdefgh; Mon, 24 Nov 2025 16:00:00 +0000\r\n")));
	buf_clear(&b);
	trace_received(&b, &e, STR("p"), TRACE_HIDE_CLIENT);
	assert_true(str_starts(buf_str(&b), STR("Received: by p with SMTP id ")));
}

/* RFC 3848, RFC 6531 4.3 */
static void protocol_test(void **state)
{
	static const struct {
		enum envelope_origin origin;
		bool esmtp, tls, auth, utf8;
		const char *wanted;
	} cases[] = {
		{ENVELOPE_MX, false, false, false, false, "SMTP"},
		{ENVELOPE_MX, true, false, false, false, "ESMTP"},
		{ENVELOPE_MX, true, true, false, false, "ESMTPS"},
		{ENVELOPE_SUBMISSION, true, true, true, false, "ESMTPSA"},
		{ENVELOPE_SUBMISSION, true, false, true, false, "ESMTPA"},
		{ENVELOPE_LMTP, true, false, false, false, "LMTP"},
		{ENVELOPE_LMTP, true, true, true, false, "LMTPSA"},
		{ENVELOPE_MX, true, true, true, true, "UTF8SMTPSA"},
		{ENVELOPE_LMTP, true, false, false, true, "UTF8LMTP"},
		{ENVELOPE_LOCAL, false, false, false, false, "local"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct envelope e = {.origin = cases[i].origin, .smtputf8 = cases[i].utf8,
			.account = cases[i].auth ? STR("a") : STR_NONE};
		e.peer.esmtp = cases[i].esmtp;
		if (cases[i].tls) e.peer.tls_version = STR("TLSv1.2");
		assert_true(str_eq(trace_protocol(&e), str_of(cases[i].wanted)));
	}
}

static void fields_test(void **state)
{
	BUF_SCOPED b = {0};
	trace_return_path(&b, (struct address){0});
	trace_return_path(&b, (struct address){STR("a b"), STR("c")});
	trace_delivered_to(&b, (struct address){STR("a"), STR("c")});
	trace_field(&b, STR("X"), STR(" a\r\nb  c "));
	assert_true(str_eq(buf_str(&b),
		STR("Return-Path: <>\r\nReturn-Path: <\"a b\"@c>\r\nDelivered-To: a@c\r\nX: a??b c\r\n")));
	buf_clear(&b);
	for (int i = 0; i < 40; i++) buf_add(&b, STR("word and "));
	BUF_SCOPED out = {0};
	trace_field(&out, STR("X-Long"), buf_str(&b));
	for (struct str rest = buf_str(&out); rest.p && rest.n > 0;)
		assert_true(str_cut(&rest, '\n').n <= 78);
	buf_clear(&b);
	message_id_new(&b, STR("a.example"));
	assert_true(b.p[0] == '<' && str_ends(buf_str(&b), STR("@a.example>")));
}

static void loop_test(void **state)
{
	struct str h = STR("Delivered-To: x@y\r\nReceived: 1\r\nDelivered-To: <B@한글.kr>\r\nReceived: 2\r\n"
		"\r\nReceived: 3\r\n");
	assert_int_equal(trace_count_hops(h), 2);
	assert_true(trace_was_delivered_to(h, (struct address){STR("b"), STR("xn--bj0bj06e.kr")}));
	assert_false(trace_was_delivered_to(h, (struct address){STR("b"), STR("y")}));
}

int main(void)
{
	setenv("TZ", "UTC", 1);
	tzset();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(received_test), cmocka_unit_test(protocol_test),
			cmocka_unit_test(fields_test),
		cmocka_unit_test(loop_test),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
