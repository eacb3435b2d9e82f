/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* RFC 5092, RFC 4467 */
#include "imap/url.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const struct {
	const char *in;
	const char *user, *mailbox; /* NULL: not in it */
	unsigned uidvalidity, uid;
	const char *access, *token;
} good[] = {
	{"/INBOX/;UID=20", NULL, "INBOX", 0, 20},
	{"/inbox;uidvalidity=385759045/;uid=20/;section=HEADER", NULL, "INBOX", 385759045, 20},
	{";UID=20/;section=1.2.mime", NULL, NULL, 0, 20},
	{"/;UID=20", NULL, NULL, 0, 20},
	{"imap://joe@example.com/INBOX/;uid=20/;section=1.2", "joe", "INBOX", 0, 20},
	{"imap://joe%40a.b;AUTH=*@example.com:143/a/%ed%95%9c/;uid=20/;partial=0.1024", "joe@a.b",
	 "a/\xed\x95\x9c", 0, 20},
	{"imap://[::1]/a/;uid=20/;section=header.fields%20(from%20to)/;partial=5", NULL, "a", 0, 20},
	{"imap://joe@example.com/INBOX/;uid=20/;section=1.2;urlauth=submit+fred", "joe", "INBOX", 0, 20,
	 "submit+fred"},
	{"imap://joe@e.com/INBOX/;uid=20;expire=2027-01-01T00:00:00.5+09:00;urlauth=user+fred:INTERNAL:"
	 "91354a473744909de610943775f92038", "joe", "INBOX", 0, 20, "user+fred",
	 "91354a473744909de610943775f92038"},
};

static const char *const bad[] = {
	"",
	"/",
	"/INBOX",
	"/INBOX/;UID=0",
	"/INBOX/;UID=4294967296",
	"/INBOX/;UID=1x",
	"imap://",
	"imap:///INBOX/;UID=1",
	"imap://h/;UID=1",
	"imap://h",
	"/a%zz/;UID=1",
	"/a%00/;UID=1",
	"/a%ff/;UID=1",
	"/a%0d/;UID=1",
	"/a/;UID=1/;SECTION=nope",
	"/a/;UID=1/;SECTION=1]",
	"/a/;UID=1/;PARTIAL=1.0",
	"/a/;UID=1/;PARTIAL=x",
	"/a/;UID=1;EXPIRE=2027-01-01T00:00:00Z",
	"/a/;UID=1;EXPIRE=2027-13-01T00:00:00Z;URLAUTH=anonymous",
	"/a/;UID=1;URLAUTH=",
	"/a/;UID=1;URLAUTH=anonymous:INTERNAL:12",
	"imap://h:99999/a/;UID=1",
	"/a?SUBJECT%20x",
	"/a;UIDVALIDITY=0/;UID=1",
};

static void parsed(void **state)
{
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		ARENA_SCOPED a = arena_new();
		struct imap_url u;
		if (!imap_url_parse(str_of(good[i].in), a, &u))
			fail_msg("refused: %s", good[i].in);
		assert_true(str_eq(u.user, str_of(good[i].user)) && !u.user.p == !good[i].user);
		assert_true(str_eq(u.mailbox, str_of(good[i].mailbox)) && !u.mailbox.p == !good[i].mailbox);
		assert_int_equal(u.uidvalidity, good[i].uidvalidity);
		assert_int_equal(u.uid, good[i].uid);
		assert_true(str_eq(u.access, str_of(good[i].access)));
		assert_true(str_eq(u.token, str_of(good[i].token)));
	}
}

static void parts(void **state)
{
	ARENA_SCOPED a = arena_new();
	struct imap_url u;

	assert_true(imap_url_parse(
		STR("imap://j@h:143/a/;uid=2/;section=1.2.header.fields%20(to)/;partial=3.4;"
		    "expire=1970-01-02T00:00:00Z;urlauth=anonymous"),
		a, &u));
	assert_int_equal(u.port, 143);
	assert_int_equal(u.section.path_n, 2);
	assert_int_equal(u.section.kind, SECTION_HEADER_FIELDS);
	assert_true(u.partial && u.at == 3 && u.n == 4);
	assert_int_equal(u.expire, 86400);
	assert_true(str_ends(u.rump, STR(";urlauth=anonymous")));
}

static void refused(void **state)
{
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		ARENA_SCOPED a = arena_new();
		struct imap_url u;
		if (imap_url_parse(str_of(bad[i]), a, &u))
			fail_msg("taken: %s", bad[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parsed), cmocka_unit_test(parts), cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
