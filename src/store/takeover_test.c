/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Maildirs that other servers left (R62): UIDs by list, names that stay as they are. */
#include "store/testing.h"

#define MAIL "From: a@example.org\\nSubject: x\\n\\nbody\\n"
#define WIRE 41

static struct view *v;

static struct msg msg_of(uint32_t uid)
{
	struct msg m;

	assert_int_not_equal(view_seq(v, uid), 0);
	assert_true(view_msg(v, view_seq(v, uid), &m));
	return m;
}

static struct view_facts facts(void)
{
	struct view_facts f;

	view_facts(v, &f);
	return f;
}

/* The mailbox as a server finds it that starts now. */
static void again(struct bed *b, bool without_index)
{
	view_close(v);
	bed_close(b);
	if (without_index)
		bed_shell(b, "rm -f index.db*");
	bed_open(b);
	v = bed_view(b, "INBOX");
	bed_check(b);
}

static void begin(struct bed *b, const char *files)
{
	bed_close(b);
	bed_shell(b, "rm -rf * .[A-Za-z]* && mkdir cur new tmp");
	bed_shell(b, files);
	bed_open(b);
	v = bed_view(b, "INBOX");
	bed_check(b);
}

#define DOVECOT                                                                                        \
	"m() { printf '" MAIL "' > \"$1\"; };"                                                         \
	"m cur/100.M1P1.h,S=37,W=41:2,S; m cur/101.M2P1.h,S=37,W=41:2,FSa; m cur/102.M3P1.h:2,;"       \
	"m cur/103.M4P1.h,S=37,W=41:2,SR; m cur/104.M5P1.h,S=999,W=1000:2,; m new/105.M6P1.h,S=37,W=41;"  \
	"m cur/106.M7P1.h,S=37,W=41:2,;"                                                               \
	"printf '0 $Label1\\n' > dovecot-keywords;"                                                     \
	"printf '3 V1234567 N90 Gabc\\n7 :100.M1P1.h,S=37,W=41\\n8 W41 :101.M2P1.h,S=37,W=41\\n"         \
	"20 S37 W41 Pold-uidl :102.M3P1.h\\n21 :103.M4P1.h,S=37,W=41\\n30 :104.M5P1.h,S=999,W=1000\\n"    \
	"31 :gone.h\\n40 :105.M6P1.h,S=37,W=41\\n' > dovecot-uidlist"

static void test_dovecot(void **state)
{
	struct bed *b = *state;

	begin(b, DOVECOT);
	for (int round = 0; round < 3; round++) {
		assert_int_equal(facts().uidvalidity, 1234567);
		assert_int_equal(facts().uidnext, 91);
		assert_int_equal(view_count(v), 7);
		assert_int_equal(msg_of(7).flags, FLAG_SEEN);
		assert_int_equal(msg_of(8).flags, FLAG_SEEN | FLAG_FLAGGED);
		assert_int_equal(msg_of(8).keywords, 1);
		assert_int_equal(msg_of(21).flags, FLAG_SEEN | FLAG_ANSWERED);
		assert_int_equal(msg_of(30).size, WIRE);
		assert_int_equal(msg_of(20).size, WIRE);
		assert_int_equal(msg_of(40).size, WIRE);
		assert_int_not_equal(view_seq(v, 90), 0); /* was in no list */
		struct str *names;
		size_t n;
		view_keywords(v, b->ar, &names, &n);
		assert_int_equal(n, 1);
		assert_str("keyword", names[0], STR("$Label1"));
		struct pop3_uidl *uidls;
		struct err err;
		assert_done(view_pop3_uidls(v, b->ar, &uidls, &n, &err), err);
		assert_int_equal(n, 1);
		assert_int_equal(uidls[0].uid, 20);
		assert_str("UIDL", uidls[0].text, STR("old-uidl"));
		again(b, round == 1);
	}
	/* Names that can stay as they are do, so that backups and other programs know them. */
	bed_shell(b, "test -e cur/100.M1P1.h,S=37,W=41:2,S && test -e cur/102.M3P1.h:2,");
	view_close(v);
}

static void test_changes(void **state)
{
	struct bed *b = *state;
	struct uid_range r = {7, 20};
	struct copied c;
	struct err err;
	struct str content;
	struct msg_details one, two;

	begin(b, DOVECOT);
	bed_flag(b, v, 7, 8, FLAGS_ADD, FLAG_DELETED);
	bed_refresh(b, v, false);
	bed_shell(b, "test -e cur/100.M1P1.h,S=37,W=41:2,ST && test -e cur/101.M2P1.h,S=37,W=41:2,FSTa");
	assert_done(view_message(v, 8, b->ar, &content, &err), err);
	assert_int_equal(content.n, WIRE);
	assert_done(view_details(v, 8, b->ar, &one, &err), err);
	again(b, true);
	assert_int_equal(msg_of(8).flags, FLAG_SEEN | FLAG_FLAGGED | FLAG_DELETED);

	/* Copies and what is moved have names of ours; EMAILID stays. */
	assert_done(mailbox_create(b->account, STR("other"), USE_NONE, &err), err);
	assert_done(view_copy(v, (struct uid_set){&r, 1}, STR("other"), b->ar, &c, &err), err);
	assert_int_equal(uids_count(c.dst), 3);
	struct view *w = bed_view(b, "other");
	assert_done(view_details(w, c.dst.r[0].first + 1, b->ar, &two, &err), err);
	assert_string_equal(one.email_id, two.email_id);
	view_close(w);
	r = (struct uid_range){20, 21};
	assert_done(view_move(v, (struct uid_set){&r, 1}, STR("other"), b->ar, &c, &err), err);
	assert_done(view_copy(v, (struct uid_set){&(struct uid_range){8, 8}, 1}, STR("INBOX"), b->ar, &c,
			      &err),
		    err);
	assert_int_equal(c.dst.r[0].first, 91);
	bed_expunge(v, 7, 7);
	bed_check(b);
	again(b, true);
	assert_int_equal(view_count(v), 5);
	assert_int_equal(view_seq(v, 7) + view_seq(v, 20) + view_seq(v, 21), 0);

	/* Expunged, and its file back: that UID is not given again. */
	bed_shell(b, "printf '" MAIL "' > cur/106.M7P1.h,S=37,W=41:2,; printf '" MAIL
		     "' > cur/100.M1P1.h,S=37,W=41:2,S");
	again(b, false);
	bed_expunge(v, 90, 90);
	bed_shell(b, "printf '" MAIL "' > cur/106.M7P1.h,S=37,W=41:2,");
	bed_refresh(b, v, false);
	assert_int_equal(view_seq(v, 90), 0);
	bed_check(b);
	view_close(v);
}

/* Many files of another program: no renaming. */
static void test_many(void **state)
{
	struct bed *b = *state;
	struct uid_range all = {1, 1000};

	begin(b, "for i in $(seq 100 299); do printf '" MAIL "' > cur/$i.M1P1.h,S=37,W=41:2,S; done");
	uint32_t validity = facts().uidvalidity;
	assert_int_equal(view_count(v), 200);
	bed_shell(b, "test $(ls cur | grep -c U=) = 0 && test $(grep -c : pabal-uids) = 200");
	for (int round = 0; round < 2; round++) {
		again(b, round);
		assert_int_equal(facts().uidvalidity, validity);
		assert_int_equal(view_count(v), 200);
		for (uint32_t uid = 1; uid <= 200; uid++)
			assert_int_equal(view_seq(v, uid), uid);
	}
	/* Foreign hands on them: flags, gone, another content, one more. */
	bed_shell(b, "cd cur && mv 100.M1P1.h,S=37,W=41:2,S 100.M1P1.h,S=37,W=41:2,FS && rm 101.* &&"
		     "printf '" MAIL "' > 300.M1P1.h:2,");
	again(b, false);
	assert_int_equal(msg_of(1).flags, FLAG_SEEN | FLAG_FLAGGED);
	assert_int_equal(view_seq(v, 2), 0);
	assert_int_equal(view_count(v), 200);
	bed_shell(b, "echo more >> cur/102.M1P1.h,S=37,W=41:2,S");
	struct err err;
	struct copied c;
	assert_done(account_reindex(b->account, NULL, NULL, &err), err);
	bed_check(b);
	/* More of them: the list goes on. */
	bed_shell(b, "for i in $(seq 400 499); do printf '" MAIL "' > cur/$i.M1P1.h,S=37,W=41:2,S; done");
	again(b, false);
	assert_int_equal(view_count(v), 300);
	again(b, true);
	assert_int_equal(view_count(v), 300);
	assert_int_equal(msg_of(1).flags, FLAG_SEEN | FLAG_FLAGGED);
	assert_done(mailbox_create(b->account, STR("other"), USE_NONE, &err), err);
	assert_done(view_move(v, (struct uid_set){&all, 1}, STR("other"), b->ar, &c, &err), err);
	again(b, false);
	assert_int_equal(view_count(v), 0);
	view_close(v);
	v = bed_view(b, "other");
	assert_int_equal(view_count(v), 300);
	bed_check(b);
	view_close(v);
}

static void test_courier(void **state)
{
	struct bed *b = *state;

	begin(b,
	      "m() { printf '" MAIL "' > \"$1\"; }; m cur/100.M1P1.h,S=37:2,S; m cur/101.M2P1.h,S=37:2,;"
	      "mkdir -p .Sent/cur .Sent/new .Sent/tmp; printf 'INBOX.Sent\nINBOX.a.b\n' > "
	      "courierimapsubscribed;"
	      "printf '1 7654321 9\\n4 100.M1P1.h,S=37\\n8 101.M2P1.h,S=37\\n' > courierimapuiddb");
	for (int round = 0; round < 2; round++) {
		assert_int_equal(facts().uidvalidity, 7654321);
		assert_int_equal(facts().uidnext, 9);
		assert_int_equal(view_count(v), 2);
		assert_int_equal(msg_of(4).flags, FLAG_SEEN);
		assert_int_equal(msg_of(8).size, WIRE);
		again(b, true);
	}
	struct mailbox_entry *e;
	struct err err;
	size_t n;
	unsigned subscribed = 0;
	assert_done(mailbox_list(b->account, b->ar, &e, &n, &err), err);
	for (size_t i = 0; i < n; i++)
		if (str_eq(e[i].name, STR("INBOX")) || str_eq(e[i].name, STR("Sent")) ||
		    str_eq(e[i].name, STR("a/b")))
			subscribed += (e[i].attrs & MAILBOX_SUBSCRIBED) != 0;
	assert_int_equal(subscribed, 3);
	view_close(v);
}

/* A state that is lost is no reason to believe an old list. */
static void test_state_lost(void **state)
{
	struct bed *b = *state;

	begin(b, DOVECOT);
	view_close(v);
	bed_close(b);
	bed_shell(b, "rm pabal-state");
	bed_open(b);
	v = bed_view(b, "INBOX");
	assert_int_equal(view_count(v), 7);
	assert_int_not_equal(facts().uidvalidity, 1234567);
	view_close(v);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = {T(test_dovecot), T(test_changes), T(test_many), T(test_courier),
					   T(test_state_lost)};
	return RUN_TESTS(tests);
}
