/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Foreign hands, lost indexes, UIDs (DURABILITY tests 5 and 7). */
#include "store/testing.h"
#include <dirent.h>
#include <signal.h>
#include <sys/wait.h>

#define MAIL(n) STR("Subject: " n "\r\n\r\nbody " n "\r\n")

static struct view_changes refresh_still(struct bed *b, struct view *v)
{
	usleep(15000); /* mtimes rest */
	return bed_refresh(b, v, false);
}

static void reindex(struct bed *b)
{
	struct err err;

	assert_done(account_reindex(b->account, NULL, NULL, &err), err);
}

/* What a client could tell apart: all of it must survive a new index. */
static struct str picture(struct bed *b, const char *mailbox)
{
	BUF_SCOPED out = {0};
	struct mailbox_status s;
	struct err err;
	struct msg m;

	assert_done(mailbox_status(b->account, str_of(mailbox), &s, &err), err);
	buf_fmt(&out, "%u %u %u %u %u %llu %s\n", s.messages, s.unseen, s.deleted, s.uidnext,
		s.uidvalidity, (unsigned long long)s.size, s.mailbox_id);
	struct view *v = bed_view(b, mailbox);
	for (uint32_t seq = 1; view_msg(v, seq, &m); seq++) {
		struct msg_details d;
		assert_done(view_details(v, m.uid, b->ar, &d, &err), err);
		buf_fmt(&out, "%u %x %x %u %lld %s\n", m.uid, m.flags & ~FLAG_RECENT, m.keywords, m.size,
			(long long)d.internaldate, d.email_id);
	}
	struct str *names;
	size_t n;
	view_keywords(v, b->ar, &names, &n);
	for (size_t i = 0; i < n; i++)
		buf_fmt(&out, "%.*s\n", STR_ARG(names[i]));
	view_close(v);
	struct quota_use q;
	assert_done(account_quota(b->account, &q, &err), err);
	buf_fmt(&out, "%llu %llu\n", (unsigned long long)q.bytes, (unsigned long long)q.messages);
	return arena_str(b->ar, buf_str(&out));
}

static void add_keyword(struct bed *b, struct view *v, uint32_t uid, const char *name)
{
	struct uid_range r = {uid, uid};
	struct str keyword = str_of(name);
	struct flag_change c = {.op = FLAGS_ADD, .keywords = &keyword, .keywords_n = 1};
	struct uid_set modified;
	uint64_t modseq;
	struct err err;

	assert_done(view_store_flags(v, (struct uid_set){&r, 1}, &c, b->ar, &modified, &modseq, &err),
		    err);
}

static void test_rebuild_is_exact(void **state)
{
	struct bed *b = *state;
	struct err err;

	for (int i = 0; i < 250; i++)
		bed_place(b, i % 3 ? "INBOX" : "일", MAIL("x"));
	struct view *v = bed_view(b, "INBOX");
	bed_flag(b, v, 10, 60, FLAGS_ADD, FLAG_SEEN | FLAG_FLAGGED);
	bed_flag(b, v, 50, 70, FLAGS_ADD, FLAG_DELETED);
	add_keyword(b, v, 5, "work");
	add_keyword(b, v, 6, "$Label1");
	bed_expunge(v, 1, 3);
	bed_expunge(v, 166, 166); /* the highest */
	bed_shell(b, "printf 'a\\nb\\n' >new/foreign.1; printf 'x\\r\\n' >'cur/foreign.2,S=3,W=3:2,FS'");
	refresh_still(b, v);
	struct copied c;
	struct uid_range r = {100, 110};
	assert_done(view_copy(v, (struct uid_set){&r, 1}, STR("INBOX"), b->ar, &c, &err), err);
	bed_check(b);

	struct str inbox = picture(b, "INBOX"), other = picture(b, "일");
	reindex(b);
	assert_str("after", picture(b, "INBOX"), inbox);
	assert_str("after", picture(b, "일"), other);
	bed_check(b);

	/* Also when somebody just deletes the file, leaving its WAL (trap 8). */
	bed_shell(b, "rm index.db");
	assert_str("rm", picture(b, "INBOX"), inbox);
	bed_place(b, "INBOX", MAIL("y"));
	bed_check(b);
	/* Or spoils it. */
	inbox = picture(b, "INBOX");
	bed_shell(b, "head -c 100000 /dev/urandom >index.db; rm -f index.db-wal index.db-shm");
	pool_close_idle(b->store, -1);
	assert_str("spoiled", picture(b, "INBOX"), inbox);

	/* The view's snapshot is of another index: taken anew. */
	bed_refresh(b, v, false);
	assert_int_equal(view_count(v), 176);
	struct view_facts f;
	view_facts(v, &f);
	assert_true(f.modseq_known_since > 0 && f.modseq_known_since <= f.highestmodseq);
	view_close(v);
	bed_check(b);
}

static uint64_t highest(struct bed *b)
{
	struct view *v = bed_view(b, "INBOX");
	struct view_facts f;

	view_facts(v, &f);
	view_close(v);
	return f.highestmodseq;
}

/* The clock goes back an hour: each change is still above the one before, also in a new process and
 * with a new index, and a message placed before is not placed again. */
static void test_clock_set_back(void **state)
{
	const int64_t hour_us = 3600 * 1000000LL;
	struct bed *b = *state;
	struct str content = MAIL("one");
	struct new_message m = message_of(&content);
	struct err err;

	assert_done(mailbox_place(b->account, STR("INBOX"), &m, 1, false, &err), err);
	uint64_t first = highest(b);
	clock_test_shift(-hour_us);
	struct view *v = bed_view(b, "INBOX");
	uint64_t second = bed_flag(b, v, 1, 1, FLAGS_ADD, FLAG_SEEN);
	view_close(v);
	assert_true(second > first);
	bed_close(b);
	bed_open(b);
	bed_shell(b, "rm index.db*");
	assert_true(highest(b) >= second);
	v = bed_view(b, "INBOX");
	assert_true(bed_flag(b, v, 1, 1, FLAGS_ADD, FLAG_FLAGGED) > second);
	view_close(v);

	uint32_t uid = m.uid;
	m.uid = 0;
	m.maybe_there = true;
	assert_done(mailbox_place(b->account, STR("INBOX"), &m, 1, false, &err), err);
	assert_int_equal(m.uid, uid);
	clock_test_shift(hour_us);
	bed_check(b);
}

/* The highest UID is expunged, then the index lost: it is not given again. */
static void test_uid_is_not_reused(void **state)
{
	struct bed *b = *state;

	for (int i = 0; i < 10; i++)
		bed_place(b, "INBOX", MAIL("x"));
	struct view *v = bed_view(b, "INBOX");
	bed_expunge(v, 10, 10);
	reindex(b);
	assert_int_equal(bed_place(b, "INBOX", MAIL("new")), 11);
	view_close(v);

	/* Power loss: UIDs may leap, but not fall back. */
	bed_close(b);
	setenv("PABAL_BOOT_ID", "another", 1);
	b->o.cold = true;
	bed_open(b);
	unsetenv("PABAL_BOOT_ID");
	uint32_t uid = bed_place(b, "INBOX", MAIL("new"));
	assert_true(uid > 11 && uid <= 11 + 2 * UID_BLOCK);
	bed_check(b);
}

static void test_ceiling(void **state)
{
	struct bed *b = *state;
	struct str content = MAIL("x");
	struct new_message *m = malloc(500 * sizeof(*m));
	struct err err;
	struct state s;
	char path[128];

	snprintf(path, sizeof(path), "%s/mail/example.org/test1/Maildir", b->path);
	FD_SCOPED dir = open(path, O_RDONLY | O_DIRECTORY);
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 500; i++)
			m[i] = message_of(&content);
		assert_done(mailbox_place(b->account, STR("INBOX"), m, 500, false, &err), err);
		assert_done(state_read(dir, &s, &err), err);
		assert_int_equal(s.uidnext, 1 + 500 * (round + 1));
		assert_true(s.uidnext <= s.ceiling && s.ceiling <= s.promise);
	}
	free(m);
	bed_check(b);
}

static void test_foreign_changes(void **state)
{
	struct bed *b = *state;
	struct msg m;
	struct str content;
	struct err err;

	for (int i = 0; i < 6; i++)
		bed_place(b, "INBOX", MAIL("x"));
	struct view *v = bed_view(b, "INBOX");
	refresh_still(b, v);

	/* Flags by renaming; a keyword letter that no map has. */
	bed_shell(b, "f=$(ls cur | sed -n 2p); mv \"cur/$f\" \"cur/${f}FSc\"");
	struct view_changes c = refresh_still(b, v);
	assert_int_equal(c.changed_n, 1);
	assert_true(view_msg(v, c.changed[0], &m));
	assert_int_equal(m.flags & ~FLAG_RECENT, FLAG_SEEN | FLAG_FLAGGED);
	assert_int_equal(m.keywords, 4);
	assert_true(c.keywords_grew);

	/* Gone. */
	bed_shell(b, "rm \"cur/$(ls cur | sed -n 3p)\"");
	c = refresh_still(b, v);
	assert_int_equal(c.expunged_n, 1);
	assert_int_equal(c.exists, 5);

	/* A file with our tag and a UID that was expunged: a new one (trap 7). */
	bed_shell(b, "cp -p \"cur/$(ls cur | sed -n 1p)\" keep");
	assert_true(view_msg(v, 1, &m));
	uint32_t gone_uid = m.uid;
	bed_shell(b, "f=$(ls cur | sed -n 1p); mv \"cur/$f\" \"$f\"; echo \"$f\" >name");
	c = refresh_still(b, v);
	assert_int_equal(c.expunged_n, 1);
	bed_shell(b, "f=$(cat name); mv \"$f\" \"cur/$f\"; rm name keep");
	c = refresh_still(b, v);
	assert_int_equal(c.exists, 5);
	assert_int_equal(view_seq(v, gone_uid), 0);
	assert_true(view_msg(v, 5, &m));
	assert_int_equal(m.uid, 7);

	/* A copy within the mailbox claims a UID twice: the first keeps it. */
	bed_shell(b, "f=$(ls cur | sed -n 2p); ln \"cur/$f\" \"cur/0first${f#?}\"; ln \"cur/$f\" "
		     "\"cur/zlast${f#?}\"");
	c = refresh_still(b, v);
	assert_int_equal(c.exists, 7);
	assert_int_equal(c.expunged_n, 0);
	assert_int_equal(c.changed_n, 0);
	bed_check(b);
	struct str before = picture(b, "INBOX");
	reindex(b);
	assert_str("after", picture(b, "INBOX"), before);

	/* Into another mailbox: the tag is not its. */
	bed_shell(b, "mkdir -p .other/cur .other/new .other/tmp && cp -l cur/* .other/cur/");
	struct view *w = bed_view(b, "other");
	assert_int_equal(view_count(w), 7);
	assert_true(view_msg(w, 1, &m));
	assert_int_equal(m.uid, 1);
	view_close(w);
	bed_check(b);

	/* Written to in place: a new message. */
	assert_true(view_msg(v, 1, &m));
	gone_uid = m.uid;
	bed_shell(b, "f=$(ls cur/*,U=*,M=* | head -1); for f in cur/*,U=2,M=*; do sed -i.bak s/x/y/ "
		     "\"$f\"; rm \"$f.bak\"; done");
	if (!view_message(v, 2, b->ar, &content, &err))
		assert_int_equal(err.kind, ERR_GONE);
	c = refresh_still(b, v);
	reindex(b);
	bed_check(b);
	view_close(v);
}

static void test_edited_in_place(void **state)
{
	struct bed *b = *state;
	struct str content;
	struct err err;

	bed_place(b, "INBOX", MAIL("x"));
	struct view *v = bed_view(b, "INBOX");
	bed_shell(b, "for f in cur/*; do printf 'Subject: yyyyy\\r\\n' >\"$f\"; done");
	assert_false(view_message(v, 1, b->ar, &content, &err));
	assert_int_equal(err.kind, ERR_GONE);
	struct view_changes c = bed_refresh(b, v, false);
	assert_int_equal(c.expunged_n, 1);
	assert_int_equal(c.exists, 1);
	struct msg m;
	assert_true(view_msg(v, 1, &m));
	assert_int_equal(m.uid, 2);
	assert_int_equal(m.size, 16);
	assert_done(view_message(v, 2, b->ar, &content, &err), err);
	bed_check(b);
	view_close(v);
}

/* Files that cannot be messages, and names that fit nowhere. */
static void test_odd_files(void **state)
{
	struct bed *b = *state;
	struct msg m;

	bed_shell(b, "mkdir cur/dir new/dir; ln -s /etc/passwd new/link; mkfifo new/pipe; : >new/empty;"
		     "printf 'x\\n' >new/$(printf 'a%.0s' $(seq 1 250)); printf 'x\\n' >'new/a "
		     "b,c=d,S=999:2,Tz';"
		     "printf 'x\\n' >new/.hidden; printf 'x\\n' >'new/,S=2'");
	struct view *v = bed_view(b, "INBOX");
	assert_int_equal(view_count(v), 3);
	usleep(15000);
	bed_refresh(b, v, false);
	bool tz = false;
	for (uint32_t seq = 1; view_msg(v, seq, &m); seq++)
		tz |= (m.flags & FLAG_DELETED) && m.keywords == UINT32_C(1) << 25 && m.size == 3;
	assert_true(tz);
	view_close(v);
	bed_check(b);
	bed_shell(b, "rmdir cur/dir new/dir; rm new/link new/pipe");
}

/* Sets and clears \Seen of every file, until killed. */
static void rename_without_rest(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY);

	for (;;) {
		DIR *d = opendir(path);
		struct dirent *e;
		char to[300];
		while (d && (e = readdir(d))) {
			size_t n = strlen(e->d_name);
			if (e->d_name[0] == '.')
				continue;
			snprintf(to, sizeof(to), "%s%s", e->d_name, e->d_name[n - 1] == 'S' ? "" : "S");
			if (e->d_name[n - 1] == 'S')
				to[n - 1] = 0;
			renameat(fd, e->d_name, fd, to);
		}
		if (d)
			closedir(d);
	}
}

/* While another program renames flags without rest, nothing is expunged (trap 12). */
static void test_renaming_storm(void **state)
{
	struct bed *b = *state;
	struct str content = MAIL("x");
	struct err err;

	for (int i = 0; i < 40; i++) {
		struct new_message m[10];
		for (int k = 0; k < 10; k++)
			m[k] = message_of(&content);
		assert_done(mailbox_place(b->account, STR("INBOX"), m, 10, false, &err), err);
	}
	char path[128];
	snprintf(path, sizeof(path), "%s/mail/example.org/test1/Maildir/cur", b->path);
	struct view *v = bed_view(b, "INBOX");
	pid_t pid = fork();
	if (pid == 0)
		rename_without_rest(path);
	for (int i = 0; i < 40; i++) {
		struct view_changes c = bed_refresh(b, v, false);
		assert_int_equal(c.exists, 400);
		assert_int_equal(c.expunged_n, 0);
		if (i % 10 == 0)
			bed_flag(b, v, 1, 100, i % 20 ? FLAGS_ADD : FLAGS_REMOVE, FLAG_FLAGGED);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	struct view_changes c = refresh_still(b, v);
	assert_int_equal(c.exists, 400);
	view_close(v);
	bed_check(b);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = {
		T(test_rebuild_is_exact), T(test_clock_set_back),  T(test_uid_is_not_reused),
		T(test_ceiling),          T(test_foreign_changes), T(test_edited_in_place),
		T(test_odd_files),        T(test_renaming_storm),
	};
	return RUN_TESTS(tests);
}
