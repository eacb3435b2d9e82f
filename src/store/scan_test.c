/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Changes of other programs to mailboxes that nobody has open are found. */
#include "store/testing.h"

static struct buf told;

static void changed(void *ctx, struct str account, struct str mailbox)
{
	(void)ctx;
	buf_fmt(&told, "%.*s %.*s\n", STR_ARG(account), STR_ARG(mailbox));
}

static bool tells(const char *text)
{
	return str_find(buf_str(&told), str_of(text)) != STR_NPOS;
}

/* A whole round, as if its time had come. */
static void round_of(struct scan *c)
{
	static int64_t now_ms;

	now_ms = (now_ms ? now_ms : clock_mono_ms()) + 2 * 3600 * 1000;
	buf_clear(&told);
	while (scan_step(c, now_ms) <= now_ms)
		;
}

static uint64_t messages_of(struct account *a)
{
	struct quota_use q;
	struct err err;

	assert_done(account_quota(a, &q, &err), err);
	return q.messages;
}

static void test_finds(void **state)
{
	struct bed *b = *state;
	struct err err;
	struct account *odd = bed_account(b, "a.b'c@example.org");
	struct str content = STR("Subject: x\r\n\r\nbody\r\n");
	struct new_message m = message_of(&content);

	b->o.changed = changed;
	for (int i = 0; i < 3; i++)
		bed_place(b, "INBOX", content);
	assert_done(mailbox_create(b->account, STR("work"), USE_NONE, &err), err);
	bed_place(b, "work", content);
	assert_done(mailbox_place(odd, STR("INBOX"), &m, 1, false, &err), err);
	account_close(odd);
	/* A server that has just been started. */
	bed_close(b);
	bed_journal_open(b, NULL, NULL);
	assert_done(journal_start(b->journal, &err), err);
	bed_store_open(b);
	assert_done(store_scan(b->store, 3600 * 1000, &err), err);

	struct scan *c = scan_new(b->store, 3600 * 1000);
	usleep(30000); /* longer than the tick of mtime */
	round_of(c);
	round_of(c);
	assert_int_equal(told.n, 0); /* what we did ourselves is known */
	bed_shell(b, "printf 'Subject: y\\n\\ny\\n' > new/1.M1P1.h; rm \"cur/$(ls cur | head -1)\"");
	bed_shell(b, "rm .work/cur/* && mkdir -p ../../a.b%27c/Maildir/.theirs/cur "
		     "../../a.b%27c/Maildir/.theirs/new ../../a.b%27c/Maildir/.theirs/tmp &&"
		     "printf 'Subject: z\\n\\nz\\n' > ../../a.b%27c/Maildir/.theirs/new/2.M1P1.h &&"
		     "ln -s ../../.. .loop && mkdir -p ../../never/Maildir/cur ../../never/Maildir/new");
	round_of(c);
	assert_true(tells("test1@example.org INBOX\n"));
	assert_true(tells("test1@example.org work\n"));
	assert_true(tells("a.b'c@example.org theirs\n"));
	assert_false(tells("never"));
	assert_false(tells("loop"));
	usleep(30000);
	round_of(c);
	round_of(c);
	assert_int_equal(told.n, 0);
	scan_free(c);

	/* The sums are right without anybody looking at the directories. */
	b->account = bed_account(b, "test1@example.org");
	assert_str("language", b->account->language, STR("ko"));
	assert_int_equal(messages_of(b->account), 3);
	bed_check(b);
	buf_free(&told);
}

static void test_templates(void **state)
{
	struct bed *b = *state;
	static const struct {
		const char *template;
		bool scanned;
	} cases[] = {{"%d/%n/Maildir", true}, {"%u", false}, {"%u/Maildir", true}, {"x/%n.%d/Maildir", false},
		     {"%d/%n", false}, {"a/b/%d/c/%n/Maildir", true}};
	const char *own = b->store->template;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		b->store->template = cases[i].template;
		struct scan *c = scan_new(b->store, 1000);
		assert_int_equal(scan_step(c, 0) != INT64_MAX, cases[i].scanned);
		scan_free(c);
	}
	b->store->template = own;
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = {T(test_finds), T(test_templates)};
	return RUN_TESTS(tests);
}
