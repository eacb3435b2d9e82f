/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* How sessions end, and what waits in them then. */
#include "imap/imap.h"
#include "imap/served_fake.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct fake_server *server;

static int setup(void **state)
{
	server = fake_server_new("imap {\nmax_errors = 3\n}\n");
	return 0;
}
static int teardown(void **state)
{
	fake_server_free(server);
	return 0;
}

static struct conn *begin(void) { return fake_login(server, &imap_protocol, "user@example.org", "t"); }

static void say(struct conn *c, const char *text, struct buf *got)
{
	buf_clear(got);
	buf_add(&c->in, str_of(text));
	fake_settle(c, got, 5000);
}

static bool has(const struct buf *got, const char *text)
{
	return str_find(buf_str(got), str_of(text)) != STR_NPOS;
}

/* The role stops: at once between commands and in IDLE. */
static void drained(void **state)
{
	static const char *const before[] = {"a NOOP\r\n", "a SELECT INBOX\r\nb IDLE\r\n", "a IDLE\r\n"};
	BUF_SCOPED got = {};

	for (size_t i = 0; i < sizeof(before) / sizeof(*before); i++) {
		struct conn *c = begin();
		say(c, before[i], &got);
		buf_clear(&got);
		fake_run(c, WAKE_DRAIN, &got);
		assert_true(c->closed && has(&got, "* BYE [UNAVAILABLE]"));
		fake_free(c);
	}
}

/* RFC 9051 5.4: the autologout timer, at least 30 minutes; also in IDLE. */
static void idle_for_too_long(void **state)
{
	static const char *const before[] = {"a NOOP\r\n", "a IDLE\r\n", "a LOGIN {100}\r\nabc"};
	BUF_SCOPED got = {};

	for (size_t i = 0; i < sizeof(before) / sizeof(*before); i++) {
		struct conn *c = begin();
		say(c, before[i], &got);
		assert_int_equal(c->deadline_ms, 30 * 60 * 1000);
		buf_clear(&got);
		fake_run(c, WAKE_DEADLINE, &got);
		assert_true(c->closed && has(&got, "* BYE "));
		fake_free(c);
	}
}

static void too_many_errors(void **state)
{
	BUF_SCOPED got = {};
	struct conn *c = begin();

	say(c, "a FOO\r\nb FOO\r\nc NOOP\r\nd FOO\r\ne FOO\r\n", &got);
	assert_false(c->closed);
	say(c, "f FOO\r\ng NOOP\r\n", &got);
	assert_true(c->closed && has(&got, "* BYE Too many errors") && !has(&got, "g OK"));
	fake_free(c);
}

/* The client goes away while its message is on the way to the disk: the journal may still read it. */
static void gone_in_append(void **state)
{
	BUF_SCOPED text = {};
	BUF_SCOPED got = {};

	for (size_t size = 100; size <= 2000000; size *= 20) {
		struct conn *c = begin();
		buf_clear(&text);
		buf_fmt(&text, "a APPEND INBOX {%zu+}\r\nSubject: x\r\n\r\n", size + 14);
		while (size--)
			buf_byte(&text, 'x');
		size = text.n;
		buf_add(&text, STR("\r\n"));
		buf_add(&c->in, buf_str(&text));
		fake_settle(c, &got, 0);
		fake_run(c, WAKE_GONE, &got);
		assert_true(c->closed);
		fake_free(c);
	}
	struct conn *c = begin();
	say(c, "a NOOP\r\n", &got);
	assert_true(has(&got, "a OK"));
	fake_free(c);
}

/* What is half a command costs its sender, and nothing stays of it. */
static void cut_off(void **state)
{
	static const char *const parts[] = {
		"a",
		"a SELECT {5}\r\nIN",
		"a APPEND INBOX {500}\r\nSubject: ",
		"a APPEND INBOX {20+}\r\n01234567890123456789",
		"a IDLE",
		"a IDLE\r\nDON",
	};
	BUF_SCOPED got = {};

	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		struct conn *c = begin();
		say(c, parts[i], &got);
		c->eof = true;
		fake_run(c, WAKE_INPUT, &got);
		assert_true(c->closed);
		fake_free(c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(drained),         cmocka_unit_test(idle_for_too_long),
		cmocka_unit_test(too_many_errors), cmocka_unit_test(gone_in_append),
		cmocka_unit_test(cut_off),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
