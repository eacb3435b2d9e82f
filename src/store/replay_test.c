/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Recovery after power loss: what the journal says is compared with what the disk kept. */
#include "store/testing.h"
#include <signal.h>
#include <sys/wait.h>

struct recovery {
	struct bed *b;
	unsigned records, asked;
	bool none;                /* the content is not to be had */
	bool lost;                /* no record reached the disk */
	const struct id *planned; /* an action 1 that has no DONE */
};

#define MAIL(n) STR("Subject: " n "\r\n\r\nbody " n "\r\n")

static bool content_of(void *ctx, struct id id, uint32_t action, struct buf *out, struct err *err)
{
	struct recovery *r = ctx;

	(void)id;
	assert_int_equal(action, 1);
	r->asked++;
	if (r->none)
		return err_set(err, ERR_NOT_FOUND, "no such record");
	buf_add(out, MAIL("one"));
	return true;
}

struct kept {
	struct str content;
	uint64_t seq;
	bool is_append;
};
struct kept_list {
	struct arena *ar;
	struct kept at[16];
	size_t n;
};

static bool keep(void *ctx, const struct journal_record *r, struct err *err)
{
	struct kept_list *l = ctx;

	(void)err;
	if (r->type != JOURNAL_DONE && r->type != JOURNAL_APPEND)
		return true;
	assert_true(l->n < 16);
	l->at[l->n++] = (struct kept){arena_str(l->ar, r->content), r->seq, r->type == JOURNAL_APPEND};
	return true;
}

/* A new boot: the journal is read, the store replays, then everything opens. */
static void power_loss(struct bed *b, struct recovery *r, const char *boot)
{
	struct kept_list l = {.ar = b->ar};
	struct err err;

	setenv("PABAL_BOOT_ID", boot, 1);
	b->o.cold = true;
	bed_journal_open(b, keep, &l);
	assert_done(journal_start(b->journal, &err), err);
	bed_store_open(b);
	if (r->planned)
		assert_done(store_replay_planned(b->store, STR("test1@example.org"), *r->planned, 1,
						 content_of, r, &err),
			    err);
	for (size_t i = 0; i < l.n && !r->lost; i++) {
		r->records++;
		assert_done(store_replay(b->store, l.at[i].seq, l.at[i].is_append, l.at[i].content,
					 content_of, r, &err),
			    err);
	}
	unsetenv("PABAL_BOOT_ID");
	b->account = bed_account(b, "test1@example.org");
}

static void on_done(void *ctx, const struct err *err)
{
	assert_null(err);
	__atomic_store_n((int *)ctx, 1, __ATOMIC_SEQ_CST);
}

static void append(struct bed *b, struct str content)
{
	struct new_message m = message_of(&content);
	uint32_t uidvalidity;
	struct err err;
	int done = 0;

	m.flags = FLAG_DRAFT;
	assert_done(mailbox_append(b->account, STR("INBOX"), &m, &uidvalidity, on_done, &done, &err),
		    err);
	while (!__atomic_load_n(&done, __ATOMIC_SEQ_CST))
		usleep(1000);
}

static void assert_content(struct bed *b, struct view *v, uint32_t uid, struct str want)
{
	struct str content;
	struct err err;

	assert_done(view_message(v, uid, b->ar, &content, &err), err);
	assert_str("content", content, want);
}

static void test_empty_short_missing(void **state)
{
	struct bed *b = *state;
	struct recovery r = {.b = b};

	assert_int_equal(bed_place(b, "INBOX", MAIL("one")), 1);
	append(b, MAIL("two"));
	assert_int_equal(bed_place(b, "INBOX", MAIL("one")), 3);
	append(b, MAIL("four"));
	assert_int_equal(bed_place(b, "INBOX", MAIL("one")), 5);
	struct view *v = bed_view(b, "INBOX");
	bed_flag(b, v, 1, 1, FLAGS_ADD, FLAG_SEEN);
	view_close(v);
	bed_close(b);

	/* Empty, short, wrong, gone, and good. */
	bed_shell(b, ": >\"$(ls cur/*,U=1,*)\"; printf Sub >\"$(ls cur/*,U=2,*)\"; rm cur/*,U=3,*;"
		     "f=\"$(ls cur/*,U=4,*)\"; n=$(stat -c%s \"$f\"); head -c $n /dev/zero >\"$f\"");
	power_loss(b, &r, "boot-2");
	assert_int_equal(r.records, 5);
	assert_int_equal(r.asked, 2);
	v = bed_view(b, "INBOX");
	assert_int_equal(view_count(v), 5);
	assert_content(b, v, 1, MAIL("one"));
	assert_content(b, v, 2, MAIL("two"));
	assert_content(b, v, 3, MAIL("one"));
	assert_content(b, v, 4, MAIL("four"));
	assert_content(b, v, 5, MAIL("one"));
	struct msg m;
	assert_true(view_msg(v, 1, &m));
	assert_int_equal(m.flags & ~FLAG_RECENT, FLAG_SEEN); /* as it was found */
	assert_true(view_msg(v, 2, &m));
	assert_int_equal(m.flags & ~FLAG_RECENT, FLAG_DRAFT);
	struct view_facts f;
	view_facts(v, &f);
	assert_true(f.uidnext > 1000);
	assert_int_equal(f.modseq_known_since, f.highestmodseq);
	view_close(v);
	bed_check(b);

	/* Settled now: a second power loss has nothing to do. */
	struct err err;
	assert_done(store_checkpoint(b->store, 0, STR_NONE, &err), err);
	bed_close(b);
	r = (struct recovery){.b = b};
	power_loss(b, &r, "boot-3");
	assert_int_equal(r.records, 0);
	bed_check(b);
}

/* An APPEND whose record never came: its empty file is put aside, not shown. */
static void test_set_aside(void **state)
{
	struct bed *b = *state;
	struct recovery r = {.b = b, .none = true};
	struct err err;

	bed_place(b, "INBOX", MAIL("one"));
	bed_place(b, "INBOX", MAIL("two"));
	assert_done(store_checkpoint(b->store, 0, STR_NONE, &err), err);
	bed_close(b);
	bed_shell(b, ": >\"$(ls cur/*,U=2,*)\"");
	power_loss(b, &r, "boot-2");
	struct view *v = bed_view(b, "INBOX");
	assert_int_equal(view_count(v), 1);
	assert_content(b, v, 1, MAIL("one"));
	view_close(v);
	bed_check(b);
	bed_shell(b, "test \"$(ls pabal-aside | wc -l)\" = 1");
}

/* The same, with the length that it had: zeros (seen on ext4). */
static void test_zeros_set_aside(void **state)
{
	struct bed *b = *state;
	struct recovery r = {.b = b, .lost = true};

	bed_place(b, "INBOX", MAIL("one"));
	bed_place(b, "INBOX", MAIL("two"));
	bed_close(b);
	bed_shell(b, "f=\"$(ls cur/*,U=2,*)\"; n=$(stat -c%s \"$f\"); head -c $n /dev/zero >\"$f\"");
	power_loss(b, &r, "boot-2");
	struct view *v = bed_view(b, "INBOX");
	assert_int_equal(view_count(v), 1);
	assert_content(b, v, 1, MAIL("one"));
	view_close(v);
	bed_check(b);
	bed_shell(b, "test \"$(ls pabal-aside | wc -l)\" = 1");
}

/* Placed, its DONE lost, its data too: made again before anybody sees it, then adopted. */
static void test_planned_zeros(void **state)
{
	struct bed *b = *state;
	struct str content = MAIL("one");
	struct new_message m = message_of(&content);
	struct recovery r = {.b = b, .lost = true, .planned = &m.id};
	struct err err;

	m.action = 1;
	assert_done(mailbox_place(b->account, STR("INBOX"), &m, 1, false, &err), err);
	bed_close(b);
	bed_shell(b, "f=\"$(ls cur/*)\"; n=$(stat -c%s \"$f\"); head -c $n /dev/zero >\"$f\"");
	power_loss(b, &r, "boot-2");
	assert_int_equal(r.asked, 1);
	struct view *v = bed_view(b, "INBOX");
	assert_int_equal(view_count(v), 1);
	assert_content(b, v, 1, MAIL("one"));
	view_close(v);
	uint32_t uid = m.uid;
	m.uid = 0;
	m.maybe_there = true;
	assert_done(mailbox_place(b->account, STR("INBOX"), &m, 1, false, &err), err);
	assert_int_equal(m.uid, uid);
	bed_check(b);
}

/* What a client removed with OK does not come back, and what it copied is whole. */
static void test_young_and_gone(void **state)
{
	struct bed *b = *state;
	struct recovery r = {.b = b};
	struct copied c;
	struct err err;

	for (int i = 0; i < 4; i++)
		bed_place(b, "INBOX", MAIL("one"));
	assert_done(mailbox_create(b->account, STR("x"), USE_NONE, &err), err);
	struct view *v = bed_view(b, "INBOX");
	bed_expunge(v, 1, 1);
	struct uid_range two = {2, 2}, three = {3, 3};
	assert_done(view_move(v, (struct uid_set){&two, 1}, STR("x"), b->ar, &c, &err), err);
	assert_done(view_copy(v, (struct uid_set){&three, 1}, STR("x"), b->ar, &c, &err), err);
	view_close(v);
	bed_close(b);
	power_loss(b, &r, "boot-2");
	v = bed_view(b, "INBOX");
	assert_int_equal(view_count(v), 2);
	view_close(v);
	v = bed_view(b, "x");
	assert_int_equal(view_count(v), 2);
	assert_content(b, v, 1, MAIL("one"));
	view_close(v);
	bed_check(b);
}

/* The queue died after the rename: the same action again places nothing. */
static void test_placed_again(void **state)
{
	struct bed *b = *state;
	struct str content = MAIL("one");
	struct new_message m = message_of(&content), again;
	struct err err;

	assert_done(mailbox_place(b->account, STR("INBOX"), &m, 1, false, &err), err);
	bed_close(b);
	bed_open(b);
	again = m;
	again.uid = 0;
	assert_done(mailbox_place(b->account, STR("INBOX"), &again, 1, false, &err), err);
	assert_int_equal(again.uid, m.uid);
	again.action = 2; /* another action of the same message */
	assert_done(mailbox_place(b->account, STR("INBOX"), &again, 1, false, &err), err);
	assert_int_not_equal(again.uid, m.uid);
	struct view *v = bed_view(b, "INBOX");
	assert_int_equal(view_count(v), 2);
	view_close(v);
	bed_check(b);
	bed_shell(b, "test -z \"$(ls tmp)\"");
}

/* Killed before DONE reached the disk: its number is given to no other record, and what was placed
 * can be removed at once. */
static void test_lost_number(void **state)
{
	struct bed *b = *state;
	uint64_t modseq;
	struct err err;

	bed_close(b);
	pid_t pid = fork();
	if (pid == 0) {
		bed_open(b);
		for (int i = 0; i < 20; i++)
			bed_place(b, "INBOX", MAIL("one"));
		kill(getpid(), SIGKILL);
	}
	waitpid(pid, NULL, 0);
	bed_open(b);
	struct view *v = bed_view(b, "INBOX");
	assert_int_equal(view_count(v), 20);
	struct uid_range all = {1, 20};
	int64_t began = clock_mono_ms();
	assert_done(view_expunge(v, (struct uid_set){&all, 1}, false, &modseq, &err), err);
	assert_true(clock_mono_ms() - began < 5000);
	assert_int_equal(bed_refresh(b, v, false).exists, 0);
	view_close(v);
	bed_check(b);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = {
		T(test_empty_short_missing), T(test_set_aside),      T(test_zeros_set_aside),
		T(test_planned_zeros),       T(test_young_and_gone), T(test_placed_again),
		T(test_lost_number),
	};
	return RUN_TESTS(tests);
}
