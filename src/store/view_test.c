/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "store/testing.h"
#include "mime/summary.h"

#define MAIL(n) STR("From: a@example.org\r\nSubject: " n "\r\n\r\nbody " n "\r\n")

static void test_place_and_read(void **state)
{
	struct bed *b = *state;
	struct err err;
	struct view *v = bed_view(b, "inbox");

	assert_int_equal(view_count(v), 0);
	assert_int_equal(bed_place(b, "INBOX", MAIL("one")), 1);
	assert_int_equal(bed_place(b, "INBOX", MAIL("two")), 2);
	assert_int_equal(view_count(v), 0); /* until refreshed */
	struct view_changes c = bed_refresh(b, v, false);
	assert_int_equal(c.exists, 2);
	assert_true(c.exists_grew);
	assert_int_equal(c.recent, 2);
	assert_int_equal(c.changed_n, 0);

	struct msg m;
	assert_true(view_msg(v, 2, &m));
	assert_int_equal(m.uid, 2);
	assert_int_equal(m.size, MAIL("two").n);
	assert_int_equal(m.flags, FLAG_RECENT);
	assert_false(view_msg(v, 3, &m));
	assert_false(view_msg(v, 0, &m));
	assert_int_equal(view_seq(v, 2), 2);
	assert_int_equal(view_seq(v, 9), 0);
	assert_int_equal(view_seq_at_least(v, 2), 2);
	assert_int_equal(view_seq_at_least(v, 3), 3);

	struct str content;
	assert_done(view_message(v, 1, b->ar, &content, &err), err);
	assert_str("content", content, MAIL("one"));
	int fd;
	uint64_t size;
	assert_done(view_message_fd(v, 2, &fd, &size, &err), err);
	assert_int_equal(size, MAIL("two").n);
	close(fd);

	struct msg_details d;
	for (int i = 0; i < 2; i++) {
		assert_done(view_details(v, 1, b->ar, &d, &err), err);
		struct summary s;
		assert_done(summary_decode(d.summary, &s, &err), err);
		assert_str("subject", s.subject, STR("one"));
		assert_int_equal(d.internaldate, 1700000000);
		assert_int_equal(strlen(d.email_id), 32);
		bed_refresh(b, v, false); /* stores it */
	}

	struct view_facts f;
	view_facts(v, &f);
	assert_int_equal(f.uidnext, 3);
	assert_int_equal(f.first_unseen, 1);
	assert_true(f.uidvalidity > 0 && f.highestmodseq > 0 && !f.read_only);
	assert_int_equal(strlen(f.mailbox_id), 16);

	/* A second session has nothing recent; nor has one after it. */
	struct view *w = bed_view(b, "INBOX");
	assert_true(view_msg(w, 1, &m));
	assert_int_equal(m.flags, 0);
	view_close(w);
	view_close(v);
	bed_check(b);
}

static void test_flags(void **state)
{
	struct bed *b = *state;
	struct err err;
	struct msg m;

	for (int i = 0; i < 5; i++)
		bed_place(b, "INBOX", MAIL("x"));
	struct view *v = bed_view(b, "INBOX"), *w = bed_view(b, "INBOX");
	uint64_t modseq = bed_flag(b, v, 2, 3, FLAGS_ADD, FLAG_SEEN);
	struct view_changes c = bed_refresh(b, v, false);
	assert_int_equal(c.changed_n, 2);
	assert_int_equal(c.changed[0], 2);
	assert_true(view_msg(v, 2, &m) && m.flags & FLAG_SEEN && m.modseq == modseq);
	c = bed_refresh(b, w, true);
	assert_int_equal(c.changed_n, 2);
	assert_int_equal(bed_refresh(b, w, true).changed_n, 0);

	/* The same again changes nothing. */
	bed_flag(b, v, 2, 2, FLAGS_ADD, FLAG_SEEN);
	assert_int_equal(bed_refresh(b, v, false).changed_n, 0);
	bed_flag(b, v, 2, 2, FLAGS_SET, FLAG_FLAGGED | FLAG_DELETED);
	bed_refresh(b, v, false);
	assert_true(view_msg(v, 2, &m));
	assert_int_equal(m.flags & ~FLAG_RECENT, FLAG_FLAGGED | FLAG_DELETED);
	bed_flag(b, v, 2, 2, FLAGS_REMOVE, FLAG_FLAGGED);

	/* UNCHANGEDSINCE (RFC 7162 3.1.3). */
	struct uid_range all = {1, 5};
	struct str keyword = STR("$Label1");
	struct flag_change change = {.op = FLAGS_ADD,
				     .keywords = &keyword,
				     .keywords_n = 1,
				     .conditional = true,
				     .unchanged_since = modseq};
	struct uid_set modified;
	uint64_t now;
	assert_done(view_store_flags(v, (struct uid_set){&all, 1}, &change, b->ar, &modified, &now, &err),
		    err);
	assert_int_equal(modified.n, 1);
	assert_int_equal(modified.r[0].first, 2);
	assert_int_equal(modified.r[0].last, 2);
	c = bed_refresh(b, v, false);
	assert_true(c.keywords_grew);
	struct str *names;
	size_t n;
	view_keywords(v, b->ar, &names, &n);
	assert_int_equal(n, 1);
	assert_str("keyword", names[0], keyword);
	assert_true(view_msg(v, 1, &m));
	assert_int_equal(m.keywords, 1);

	struct mailbox_status s;
	assert_done(mailbox_status(b->account, STR("INBOX"), &s, &err), err);
	assert_int_equal(s.messages, 5);
	assert_int_equal(s.unseen, 4);
	assert_int_equal(s.deleted, 1);
	assert_int_equal(s.uidnext, 6);
	view_close(v);
	view_close(w);
	bed_check(b);
}

static void test_expunge_and_hold(void **state)
{
	struct bed *b = *state;
	struct err err;

	for (int i = 0; i < 300; i++)
		bed_place(b, "INBOX", MAIL("x"));
	struct view *v = bed_view(b, "INBOX"), *w = bed_view(b, "INBOX");
	struct view_facts before;
	view_facts(w, &before);
	bed_flag(b, v, 100, 199, FLAGS_ADD, FLAG_DELETED);
	struct uid_range r = {150, 250};
	uint64_t modseq;
	assert_done(view_expunge(v, (struct uid_set){&r, 1}, true, &modseq, &err), err);
	struct view_changes c = bed_refresh(b, v, false);
	assert_int_equal(c.expunged_n, 50);
	assert_int_equal(c.expunged[0], 199); /* highest first */
	assert_int_equal(c.expunged[49], 150);
	assert_int_equal(c.vanished.n, 1);
	assert_int_equal(c.exists, 250);

	c = bed_refresh(b, w, true);
	assert_int_equal(c.expunged_n, 0);
	assert_int_equal(c.exists, 300);
	assert_int_equal(c.changed_n, 50); /* the others with \Deleted */
	bed_place(b, "INBOX", MAIL("new"));
	c = bed_refresh(b, w, true);
	assert_int_equal(c.exists, 301);
	assert_int_equal(view_seq(w, 301), 301);
	c = bed_refresh(b, w, false);
	assert_int_equal(c.expunged_n, 50);
	assert_int_equal(c.exists, 251);
	assert_false(c.exists_grew);

	/* Gone messages have no content. */
	struct str content;
	assert_false(view_message(w, 160, b->ar, &content, &err));
	assert_int_equal(err.kind, ERR_GONE);

	struct uid_range all = {1, UINT32_MAX};
	struct uid_set gone;
	assert_done(view_vanished(v, before.highestmodseq, (struct uid_set){&all, 1}, b->ar, &gone, &err),
		    err);
	assert_int_equal(uids_count(gone), 50);
	assert_int_equal(gone.r[0].first, 150);
	assert_done(view_vanished(v, modseq, (struct uid_set){&all, 1}, b->ar, &gone, &err), err);
	assert_int_equal(gone.n, 0);
	assert_done(view_vanished(v, 0, (struct uid_set){&all, 1}, b->ar, &gone, &err), err);
	assert_int_equal(uids_count(gone), 50);
	view_close(v);
	view_close(w);
	bed_check(b);
}

static void test_copy_move(void **state)
{
	struct bed *b = *state;
	struct err err;
	struct copied out;
	struct msg m;

	for (int i = 0; i < 10; i++)
		bed_place(b, "INBOX", MAIL("x"));
	struct view *v = bed_view(b, "INBOX");
	struct uid_range r = {3, 5};
	struct uid_set set = {&r, 1};
	assert_false(view_copy(v, set, STR("none"), b->ar, &out, &err));
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	assert_done(mailbox_create(b->account, STR("보관/2026"), USE_NONE, &err), err);

	struct str keyword = STR("work");
	struct flag_change change = {
		.op = FLAGS_SET, .flags = FLAG_SEEN, .keywords = &keyword, .keywords_n = 1};
	struct uid_set modified;
	uint64_t modseq;
	assert_done(view_store_flags(v, set, &change, b->ar, &modified, &modseq, &err), err);
	assert_done(view_copy(v, set, STR("보관/2026"), b->ar, &out, &err), err);
	assert_int_equal(out.src.r[0].first, 3);
	assert_int_equal(out.dst.r[0].first, 1);
	assert_int_equal(out.dst.r[0].last, 3);
	struct view *w = bed_view(b, "보관/2026");
	assert_int_equal(view_count(w), 3);
	assert_true(view_msg(w, 1, &m) && m.flags & FLAG_SEEN && m.keywords == 1);

	/* Into the same mailbox. */
	assert_done(view_copy(v, set, STR("INBOX"), b->ar, &out, &err), err);
	assert_int_equal(out.dst.r[0].first, 11);
	assert_int_equal(bed_refresh(b, v, false).exists, 13);
	assert_done(view_move(v, set, STR("INBOX"), b->ar, &out, &err), err);
	assert_int_equal(out.dst.r[0].first, 14);
	struct view_changes c = bed_refresh(b, v, false);
	assert_int_equal(c.exists, 13);
	assert_int_equal(c.expunged_n, 3);

	struct uid_range two = {1, 2};
	assert_done(view_move(v, (struct uid_set){&two, 1}, STR("보관/2026"), b->ar, &out, &err), err);
	assert_int_equal(uids_count(out.dst), 2);
	assert_int_equal(bed_refresh(b, w, false).exists, 5);
	assert_int_equal(bed_refresh(b, v, false).exists, 11);
	struct str content;
	assert_done(view_message(w, 5, b->ar, &content, &err), err);
	assert_str("content", content, MAIL("x"));

	struct quota_use q;
	assert_done(account_quota(b->account, &q, &err), err);
	assert_int_equal(q.messages, 16);
	assert_int_equal(q.bytes, 16 * MAIL("x").n);
	view_close(v);
	view_close(w);
	bed_check(b);
}

struct done_flag {
	int fd;
};
static void on_done(void *ctx, const struct err *err)
{
	struct done_flag *f = ctx;
	char c = err ? 'x' : 'o';
	assert_int_equal(write(f->fd, &c, 1), 1);
}

static void test_append(void **state)
{
	struct bed *b = *state;
	struct err err;
	int fds[2];
	char c;
	assert_int_equal(pipe(fds), 0);
	struct done_flag f = {fds[1]};
	uint32_t uidvalidity;
	char *large = malloc(2 << 20);
	memset(large, 'x', 2 << 20);
	static const size_t sizes[] = {10, 70000, 1 << 20, 2 << 20};

	for (size_t i = 0; i < 4; i++) {
		struct str content = {large, sizes[i]};
		struct str keyword = STR("$Forwarded");
		struct new_message m = message_of(&content);
		m.flags = FLAG_SEEN;
		m.keywords = &keyword;
		m.keywords_n = 1;
		assert_done(mailbox_append(b->account, STR("INBOX"), &m, &uidvalidity, on_done, &f, &err),
			    err);
		assert_int_equal(m.uid, i + 1);
		assert_int_equal(read(fds[0], &c, 1), 1);
		assert_int_equal(c, 'o');
	}
	struct str small = STR("x");
	struct new_message m = message_of(&small);
	assert_false(mailbox_append(b->account, STR("none"), &m, &uidvalidity, on_done, &f, &err));
	assert_int_equal(err.kind, ERR_NOT_FOUND);

	/* From a file. */
	FILE *file = tmpfile();
	fwrite(large, 1, 100000, file);
	fflush(file);
	struct str head = STR("Subject: x\r\n\r\n");
	m = message_of(&head);
	m.file_fd = fileno(file);
	m.file_size = 100000;
	assert_done(mailbox_append(b->account, STR("INBOX"), &m, &uidvalidity, on_done, &f, &err), err);
	assert_int_equal(read(fds[0], &c, 1), 1);
	fclose(file);

	struct view *v = bed_view(b, "INBOX");
	struct msg msg;
	assert_true(view_msg(v, 5, &msg));
	assert_int_equal(msg.size, 100000 + head.n);
	assert_true(view_msg(v, 1, &msg));
	assert_int_equal(msg.flags & ~FLAG_RECENT, FLAG_SEEN | FLAG_FORWARDED);
	view_close(v);
	bed_check(b);
	free(large);
	close(fds[0]);
	close(fds[1]);
}

static void test_quota(void **state)
{
	struct bed *b = *state;
	struct account_facts f = {
		.id = 1, .address = STR("test1@example.org"), .language = STR("ko"), .quota_messages = 2};
	struct account *a;
	struct err err;

	assert_done(account_open(b->store, &f, &a, &err), err);
	struct str content = MAIL("x");
	struct new_message m[3] = {message_of(&content), message_of(&content), message_of(&content)};
	assert_done(mailbox_place(a, STR("INBOX"), m, 3, false, &err), err);
	assert_int_equal(m[0].err.kind, ERR_NONE);
	assert_int_equal(m[1].err.kind, ERR_NONE);
	assert_int_equal(m[2].err.kind, ERR_QUOTA);
	struct new_message more = message_of(&content);
	assert_false(mailbox_place(a, STR("INBOX"), &more, 1, false, &err));
	assert_int_equal(err.kind, ERR_QUOTA);
	assert_done(mailbox_place(a, STR("INBOX"), &more, 1, true, &err), err);
	account_close(a);
	bed_check(b);
	bed_shell(b, "test -z \"$(ls tmp)\"");
}

static int told;
static void on_told(void *ctx)
{
	__atomic_add_fetch((int *)ctx, 1, __ATOMIC_SEQ_CST);
}

static bool was_told(int n)
{
	for (int i = 0; i < 300 && __atomic_load_n(&told, __ATOMIC_SEQ_CST) < n; i++)
		usleep(10000);
	return __atomic_load_n(&told, __ATOMIC_SEQ_CST) >= n;
}

static void test_watch(void **state)
{
	struct bed *b = *state;
	struct view *v = bed_view(b, "INBOX");

	__atomic_store_n(&told, 0, __ATOMIC_SEQ_CST);
	view_watch(v, on_told, &told);
	usleep(30000);
	assert_int_equal(__atomic_load_n(&told, __ATOMIC_SEQ_CST), 0);
	bed_place(b, "INBOX", MAIL("x"));
	assert_true(was_told(1));
	assert_int_equal(bed_refresh(b, v, false).exists, 1);
	usleep(50000); /* inotify's own words about that delivery */
	bed_refresh(b, v, false);
	/* A program of somebody else delivers. */
	int before = __atomic_load_n(&told, __ATOMIC_SEQ_CST);
	bed_shell(b, "printf 'Subject: y\\n\\nbody\\n' >tmp/1.foreign && mv tmp/1.foreign new/1.foreign");
	assert_true(was_told(before + 1));
	struct view_changes c = bed_refresh(b, v, false);
	assert_int_equal(c.exists, 2);

	/* LF files come out with CRLF. */
	struct msg m;
	struct str content;
	struct err err;
	assert_true(view_msg(v, 2, &m));
	assert_int_equal(m.size, 20);
	assert_done(view_message(v, m.uid, b->ar, &content, &err), err);
	assert_str("content", content, STR("Subject: y\r\n\r\nbody\r\n"));
	int fd;
	uint64_t size;
	char text[32];
	assert_done(view_message_fd(v, m.uid, &fd, &size, &err), err);
	assert_int_equal(size, 20);
	assert_int_equal(read(fd, text, sizeof(text)), 20);
	close(fd);

	/* What happened before the watch is told at once. */
	view_watch(v, NULL, NULL);
	bed_place(b, "INBOX", MAIL("x"));
	__atomic_store_n(&told, 0, __ATOMIC_SEQ_CST);
	view_watch(v, on_told, &told);
	assert_int_equal(__atomic_load_n(&told, __ATOMIC_SEQ_CST), 1);
	view_close(v);
	bed_check(b);
}

static uint64_t seven(void *ctx, struct str journal)
{
	(void)ctx;
	(void)journal;
	return 7;
}

/* A watermark is the first number that is not settled. */
static void test_settled_of_others(void **state)
{
	struct bed *b = *state;
	struct account *a = b->account;
	struct cold c = {.seq = 6};
	struct err err;

	bed_place(b, "INBOX", STR("Subject: a\r\n\r\n"));
	b->store->o.watermark = seven;
	assert_done(account_lock(a, USE_READ, &err), err);
	assert_done(account_index(a, &err) && index_begin(a->hot->index, &err) &&
			    index_journal(a->hot->index, STR("mailbox-7"), &c.journal, &err) &&
			    index_commit(a->hot->index, &err),
		    err);
	assert_true(is_settled(b->store, a->hot->index, &c));
	c.seq = 7;
	assert_false(is_settled(b->store, a->hot->index, &c));
	account_unlock(a);
	b->store->o.watermark = NULL;
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = {
		T(test_place_and_read), T(test_flags),  T(test_expunge_and_hold),
		T(test_copy_move),      T(test_append), T(test_quota),
		T(test_watch),     T(test_settled_of_others)};
	return RUN_TESTS(tests);
}
