/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* The conversations of tests/imap-login, and what does not fit into one. */
#include "imap/conversation.h"
#include "imap/door_fake.h"
#include "imap/imap.h"

static struct conn *begin(void *ctx) { return fake_door_conn(ctx, &imap_login_protocol); }

static void one(void **path)
{
	struct fake_door *f = fake_door_new("");

	talk_file(*path, begin, f);
	fake_door_free(f);
}

static void say(struct conn *c, const char *line, struct buf *got)
{
	buf_add(&c->in, str_of(line));
	fake_settle(c, got, 1000);
}

/* RFC 9051 6.2.2, PROCESSES C2: what goes along, and that input behind the login stays. */
static void hand_over(void **state)
{
	struct fake_door *f = fake_door_new("auth {\nplaintext_networks = {\"192.0.2.0/24\"}\n}\n");
	struct conn *c = fake_door_conn(f, &imap_login_protocol);
	BUF_SCOPED got = {};

	say(c, "i ID (\"name\" \"x\")\r\nt1 LOGIN user secret\r\nt2 SELECT INBOX\r\n", &got);
	assert_true(c->closed);
	assert_true(str_eq(buf_str(&f->record), STR("user@example.org t1 (\"name\" \"x\")")));
	assert_true(str_eq(buf_str(&c->in), STR("t2 SELECT INBOX\r\n")));
	fake_free(c);
	fake_door_free(f);
}

/* R56, R70: networks that are named, and listeners that want TLS all the same. */
static void networks(void **state)
{
	struct fake_door *f = fake_door_new("auth {\nplaintext_networks = {\"192.0.2.0/24\"}\n}\n");
	static const struct {
		int tls;
		uint32_t peer;
		bool disabled, starttls;
	} cases[] = {
		{DOOR_TLS_MAY, 0x010200c0, false, true},
		{DOOR_TLS_MAY, 0x01020304, true, true},
		{DOOR_TLS_REQUIRED, 0x010200c0, true, true},
		{DOOR_TLS_NONE, 0x010200c0, false, false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		BUF_SCOPED got = {};
		f->listener.tls = cases[i].tls;
		struct conn *c = fake_door_conn(f, &imap_login_protocol);
		c->facts.peer.addr.v4.sin_addr.s_addr = cases[i].peer;
		fake_settle(c, &got, 0);
		assert_int_equal(str_find(buf_str(&got), STR("LOGINDISABLED")) != STR_NPOS,
				 cases[i].disabled);
		assert_int_equal(str_find(buf_str(&got), STR("STARTTLS")) != STR_NPOS, cases[i].starttls);
		fake_free(c);
	}
	fake_door_free(f);
}

/* The time to log in ends, and the server's stopping. */
static void ends(void **state)
{
	struct fake_door *f = fake_door_new("imap {\ntimeout_login = 100ms\n}\n");
	struct conn *c = fake_door_conn(f, &imap_login_protocol);
	BUF_SCOPED got = {};

	fake_settle(c, &got, 0);
	assert_in_range(c->deadline_ms, 1, 100);
	usleep(110 * 1000);
	buf_clear(&got);
	fake_run(c, WAKE_DEADLINE, &got);
	assert_true(c->closed && str_starts(buf_str(&got), STR("* BYE ")));
	fake_free(c);
	c = fake_door_conn(f, &imap_login_protocol);
	fake_settle(c, &got, 0);
	buf_clear(&got);
	fake_run(c, WAKE_DRAIN, &got);
	assert_true(c->closed && str_starts(buf_str(&got), STR("* BYE [UNAVAILABLE]")));
	fake_free(c);
	fake_door_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hand_over),
		cmocka_unit_test(networks),
		cmocka_unit_test(ends),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	return talk_directory("tests/imap-login", one) + failed;
}
