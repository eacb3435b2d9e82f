/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "mail/dsn.h"
#include "base/arena.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include <string.h>
#include <time.h>

static struct recipient rcpts[] = {
	{.forward_path = {"Bob@Example.com", 15}, .address = {{"Bob", 3}, {"example.com", 11}},
	 .orcpt = {"rfc822;orig@x", 13}},
	{.forward_path = {"한@한글.kr", 14}, .address = {{"한", 3}, {"xn--bj0bj06e.kr", 15}}},
};
static struct envelope env = {
	.id = {"0123456789abcdefgh"}, .received_us = 1764000000000000, .rcpt = rcpts, .rcpt_n = 2,
	.reverse_path = {{"alice", 5}, {"b.example", 9}}, .envid = {"QQ314", 5},
};
static const struct str content = {"Message-ID: <1@x>\r\nSubject: s\r\n\r\nbody text\r\n", 44};

static struct dsn sample(const struct dsn_recipient *r, size_t n)
{
	return (struct dsn){.envelope = &env, .rcpt = r, .rcpt_n = n, .reporting_mta = STR("mx.example"),
		.from_domain = STR("b.example"), .postmaster = STR("postmaster@b.example"),
		.now_unix = 1764000100,
		.content = content, .content_max = 1000};
}

static void check(struct str got, const char *wanted)
{
	if (str_find(got, str_of(wanted)) == STR_NPOS)
		fail_msg("missing \"%s\" in:\n%.*s", wanted, STR_ARG(got));
}

static void failed_test(void **state)
{
	const struct dsn_recipient r[] = {
		{.rcpt = &rcpts[0], .action = DSN_FAILED, .outcome = OUTCOME_NO_SUCH_USER,
		 .diagnostic = STR("550 5.1.1 no\r\nsuch user"), .remote_mta = STR("mx.other.example")},
		{.rcpt = &rcpts[1], .action = DSN_DELAYED, .outcome = OUTCOME_NO_ANSWER,
			.will_retry_until_unix = 1764100000},
	};
	struct dsn d = sample(r, 2);
	BUF_SCOPED b = {0};
	bool utf8;
	dsn_write(&b, &d, &utf8);
	assert_false(utf8);
	struct str got = buf_str(&b);
	assert_true(str_is_ascii(got));
	check(got, "From: Mail Delivery System <MAILER-DAEMON@b.example>\r\nTo: <alice@b.example>\r\n");
	check(got, "\r\nAuto-Submitted: auto-replied\r\n"); /* RFC 3834 5 */
	check(got, "\r\nReferences: <1@x>\r\n");
	check(got, "multipart/report; report-type=delivery-status;"); /* RFC 6522 3 */
	check(got, "Recipient: Bob@Example.com\r\n");
	check(got, "Reason: no such mailbox here (5.1.1)\r\n");
	/* RFC 3464 2.2, 2.3 */
	check(got, "\r\n\r\nOriginal-Envelope-Id: QQ314\r\nReporting-MTA: dns; mx.example\r\n"
		   "Arrival-Date: Mon, 24 Nov 2025 16:00:00 +0000\r\n\r\n"
		   "Original-Recipient: rfc822; orig@x\r\nFinal-Recipient: rfc822; Bob@example.com\r\n"
		   	"Action: failed\r\n"
		   "Status: 5.1.1\r\nRemote-MTA: dns; mx.other.example\r\n"
		   "Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n\r\n");
	/* RFC 6533 3 */
	check(got, "\r\nFinal-Recipient: utf-8; \\x{D55C}@xn--bj0bj06e.kr\r\nAction: delayed\r\nStatus: "
		"4.4.1\r\n");
	check(got, "\r\nWill-Retry-Until: ");
	check(got, "Content-Type: message/rfc822\r\nContent-Description: Undelivered message\r\n\r\n"
		"Message-ID: <1@x>");
	check(got, "body text\r\n\r\n--");
	for (struct str rest = got; rest.p && rest.n > 0;) assert_true(str_cut(&rest, '\n').n <= 999);
}

/* RFC 3461 4.3, and what is too long or cannot travel */
static void content_test(void **state)
{
	const struct dsn_recipient failed =
		{.rcpt = &rcpts[0], .action = DSN_FAILED, .outcome = OUTCOME_EXPIRED};
	const struct dsn_recipient done =
		{.rcpt = &rcpts[0], .action = DSN_DELIVERED, .outcome = OUTCOME_DELIVERED};
	static char long_line[1500];
	memset(long_line, 'x', sizeof long_line);
	memcpy(long_line, "A: b\r\n\r\n", 8);
	const struct {
		const struct dsn_recipient *r;
		struct str content;
		size_t max;
		enum envelope_ret ret;
		const char *type;
		bool body;
	} cases[] = {
		{&failed, content, 1000, ENVELOPE_RET_FULL, "message/rfc822", true},
		{&failed, content, 1000, ENVELOPE_RET_HDRS, "text/rfc822-headers", false},
		{&failed, content, 10, ENVELOPE_RET_FULL, "text/rfc822-headers", false},
		{&done, content, 1000, ENVELOPE_RET_FULL, "text/rfc822-headers", false},
		{&failed, {long_line, sizeof long_line}, 9999, ENVELOPE_RET_FULL, "text/rfc822-headers",
			false},
		{&failed, {"A: b\r\n\r\nbody text\n", 18}, 9999, ENVELOPE_RET_FULL, "text/rfc822-headers",
			false},
		{&failed, {"A: \xed\x95\x9c\r\n\r\nbody text\r\n", 20}, 9999, ENVELOPE_RET_FULL,
			"message/global", true},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct dsn d = sample(cases[i].r, 1);
		struct envelope e = env;
		BUF_SCOPED b = {0}, type = {0};
		bool utf8;
		e.ret = cases[i].ret;
		d.envelope = &e;
		d.content = cases[i].content;
		d.content_max = cases[i].max;
		dsn_write(&b, &d, &utf8);
		buf_fmt(&type, "Content-Type: %s\r\n%c", cases[i].type, 0);
		check(buf_str(&b), type.p);
		assert_int_equal(str_find(buf_str(&b), STR("body text")) != STR_NPOS, cases[i].body);
	}
}

static void smtputf8_test(void **state)
{
	const struct dsn_recipient r =
		{.rcpt = &rcpts[1], .action = DSN_FAILED, .outcome = OUTCOME_NO_SUCH_USER};
	struct envelope e = env;
	e.reverse_path.local = STR("앨리스");
	struct dsn d = sample(&r, 1);
	d.envelope = &e;
	BUF_SCOPED b = {0};
	bool utf8;
	dsn_write(&b, &d, &utf8);
	assert_true(utf8);
	check(buf_str(&b), "Content-Type: message/global-delivery-status\r\n");
	check(buf_str(&b), "Final-Recipient: utf-8; 한@xn--bj0bj06e.kr\r\n");
}

int main(void)
{
	setenv("TZ", "UTC", 1);
	tzset();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(failed_test), cmocka_unit_test(content_test),
			cmocka_unit_test(smtputf8_test),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
