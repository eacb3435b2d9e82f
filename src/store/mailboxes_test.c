/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "store/testing.h"

#define MAIL STR("Subject: x\r\n\r\nbody\r\n")

/* name, then S subscribed, C children, N noselect, X nonexistent, and the use as a digit */
static struct str listed(struct bed *b)
{
	BUF_SCOPED out = {0};
	struct mailbox_entry *e;
	size_t n;
	struct err err;

	assert_done(mailbox_list(b->account, b->ar, &e, &n, &err), err);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(strlen(e[i].mailbox_id), e[i].attrs & MAILBOX_NONEXISTENT ? 0 : 16);
		buf_fmt(&out, "%.*s %s%s%s%s%d|", STR_ARG(e[i].name),
			e[i].attrs & MAILBOX_SUBSCRIBED ? "S" : "",
			e[i].attrs & MAILBOX_HAS_CHILDREN ? "C" : "",
			e[i].attrs & MAILBOX_NOSELECT ? "N" : "",
			e[i].attrs & MAILBOX_NONEXISTENT ? "X" : "", e[i].use);
	}
	return arena_str(b->ar, buf_str(&out));
}

static void create(struct bed *b, const char *name, enum special_use use)
{
	struct err err;

	assert_done(mailbox_create(b->account, str_of(name), use, &err), err);
}

static void test_list(void **state)
{
	struct bed *b = *state;
	struct err err;

	assert_str("new", listed(b), STR("INBOX S0|"));
	create(b, "a/b/c/", USE_NONE);
	create(b, "a.b", USE_NONE);
	create(b, "가나", USE_NONE);
	create(b, "Sent Items", USE_NONE);
	create(b, "Gesendet", USE_SENT);
	assert_done(mailbox_subscribe(b->account, STR("a/b/c"), true, &err), err);
	assert_done(mailbox_subscribe(b->account, STR("gone/x"), true, &err), err);
	assert_str("list", listed(b),
		   STR("INBOX S0|Gesendet 6"
		       "|Sent Items 0|a CNX0|a/b CNX0|a/b/c S0|a.b 0|gone/x SX0|가나 0|"));
	assert_done(mailbox_subscribe(b->account, STR("gone/x"), false, &err), err);
	assert_done(mailbox_subscribe(b->account, STR("inbox"), false, &err), err);
	/* Made by other programs, in UTF-8, and one without a state. */
	bed_shell(b,
		  "mkdir -p '.받은 것/cur' '.받은 것/new' '.받은 것/tmp' .noise .x..y/cur; touch .file");
	assert_str(
		"list", listed(b),
		STR("INBOX 0|Gesendet 6|Sent Items 0|a CNX0|a/b CNX0|a/b/c S0|a.b 0|가나 0|받은 것 0|"));
	struct mailbox_status s;
	assert_done(mailbox_status(b->account, STR("받은 것"), &s, &err), err);
	assert_int_equal(bed_place(b, "받은 것", MAIL), 1);
	bed_check(b);
}

static void test_create_refused(void **state)
{
	struct bed *b = *state;
	static const struct {
		const char *name;
		enum special_use use;
		enum err_kind kind;
	} cases[] = {
		{"INBOX", USE_NONE, ERR_EXISTS}, {"inbox", USE_NONE, ERR_EXISTS},
		{"x", USE_NONE, ERR_EXISTS},     {"x/", USE_NONE, ERR_EXISTS},
		{"", USE_NONE, ERR_SYNTAX},      {"a//b", USE_NONE, ERR_SYNTAX},
		{"a*", USE_NONE, ERR_SYNTAX},    {"a%", USE_NONE, ERR_SYNTAX},
		{"a\x01", USE_NONE, ERR_SYNTAX}, {"other", USE_JUNK, ERR_CONFLICT},
	};
	struct err err;

	create(b, "x", USE_JUNK);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_false(mailbox_create(b->account, str_of(cases[i].name), cases[i].use, &err));
		assert_int_equal(err.kind, cases[i].kind);
	}
	bed_shell(b, "test -z \"$(ls -d pabal-new-* 2>/dev/null)\"");
}

static void test_special(void **state)
{
	struct bed *b = *state;
	struct err err;
	struct str name;

	assert_done(mailbox_special(b->account, USE_TRASH, b->ar, &name, &err), err);
	assert_str("made", name, STR("휴지통"));
	create(b, "Deleted Items", USE_NONE);
	assert_done(mailbox_special(b->account, USE_TRASH, b->ar, &name, &err), err);
	assert_str("again", name, STR("휴지통"));
	create(b, "정크 메일", USE_NONE);
	assert_done(mailbox_special(b->account, USE_JUNK, b->ar, &name, &err), err);
	assert_str("known", name, STR("정크 메일"));
	assert_false(mailbox_special(b->account, USE_ALL, b->ar, &name, &err));
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	assert_str("list", listed(b), STR("INBOX S0|Deleted Items 0|정크 메일 5|휴지통 S7|"));
}

static void test_special_all(void **state)
{
	struct bed *b = *state;
	struct err err;

	create(b, "정크 메일", USE_NONE);
	assert_done(mailbox_special_all(b->account, &err), err);
	assert_str("made", listed(b),
		   STR("INBOX S0|보관함 S2|보낸편지함 S6|임시보관함 S3|정크 메일 5|휴지통 S7|"));
	/* Once only, also in another process. */
	assert_done(mailbox_delete(b->account, STR("휴지통"), &err), err);
	assert_done(mailbox_special_all(b->account, &err), err);
	bed_close(b);
	bed_open(b);
	assert_done(mailbox_special_all(b->account, &err), err);
	assert_str("kept", listed(b), STR("INBOX S0|보관함 S2|보낸편지함 S6|임시보관함 S3|정크 메일 5|휴지통 SX0|"));
}

static void test_delete(void **state)
{
	struct bed *b = *state;
	struct err err;
	struct view_changes c;

	create(b, "a", USE_NONE);
	create(b, "a/b", USE_NONE);
	bed_place(b, "a", MAIL);
	struct mailbox_status old, s;
	assert_done(mailbox_status(b->account, STR("a"), &old, &err), err);
	struct view *v = bed_view(b, "a");
	assert_done(mailbox_delete(b->account, STR("a"), &err), err);
	assert_str("list", listed(b), STR("INBOX S0|a CNX0|a/b 0|"));
	assert_false(view_refresh(v, false, b->ar, &c, &err));
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	view_close(v);
	assert_false(mailbox_delete(b->account, STR("a"), &err));
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	assert_false(mailbox_delete(b->account, STR("INBOX"), &err));
	assert_int_equal(err.kind, ERR_DENIED);

	/* The same name again is another mailbox (RFC 9051 2.3.1.1). */
	create(b, "a", USE_NONE);
	assert_done(mailbox_status(b->account, STR("a"), &s, &err), err);
	assert_int_equal(s.messages, 0);
	assert_true(s.uidvalidity > old.uidvalidity);
	assert_string_not_equal(s.mailbox_id, old.mailbox_id);
	struct quota_use q;
	assert_done(account_quota(b->account, &q, &err), err);
	assert_int_equal(q.messages, 0);
	bed_shell(b, "test -z \"$(ls -d pabal-trash-* 2>/dev/null)\"");
	bed_check(b);
}

static void test_rename(void **state)
{
	struct bed *b = *state;
	struct err err;
	struct mailbox_status before, after;

	create(b, "a", USE_NONE);
	create(b, "a/x", USE_NONE);
	create(b, "ab", USE_NONE);
	bed_place(b, "a/x", MAIL);
	assert_done(mailbox_status(b->account, STR("a/x"), &before, &err), err);
	struct view *v = bed_view(b, "a/x");
	assert_done(mailbox_rename(b->account, STR("a"), STR("새/이름"), &err), err);
	assert_str("list", listed(b), STR("INBOX S0|ab 0|새 CNX0|새/이름 C0|새/이름/x 0|"));
	assert_done(mailbox_status(b->account, STR("새/이름/x"), &after, &err), err);
	assert_int_equal(after.messages, 1);
	assert_int_equal(after.uidvalidity, before.uidvalidity);
	assert_string_equal(after.mailbox_id, before.mailbox_id);
	/* A session goes on. */
	bed_place(b, "새/이름/x", MAIL);
	assert_int_equal(bed_refresh(b, v, false).exists, 2);
	bed_flag(b, v, 1, 2, FLAGS_ADD, FLAG_SEEN);
	view_close(v);

	static const struct {
		const char *from, *to;
		enum err_kind kind;
	} cases[] = {
		{"none", "y", ERR_NOT_FOUND}, {"ab", "새/이름", ERR_EXISTS}, {"ab", "INBOX", ERR_EXISTS},
		{"ab", "ab/c", ERR_CONFLICT}, {"ab", "y*", ERR_SYNTAX},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_false(
			mailbox_rename(b->account, str_of(cases[i].from), str_of(cases[i].to), &err));
		assert_int_equal(err.kind, cases[i].kind);
	}

	/* INBOX stays, empty. */
	bed_place(b, "INBOX", MAIL);
	bed_place(b, "INBOX", MAIL);
	assert_done(mailbox_rename(b->account, STR("INBOX"), STR("old"), &err), err);
	assert_done(mailbox_status(b->account, STR("INBOX"), &after, &err), err);
	assert_int_equal(after.messages, 0);
	assert_done(mailbox_status(b->account, STR("old"), &after, &err), err);
	assert_int_equal(after.messages, 2);
	bed_check(b);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = {
		T(test_list),        T(test_create_refused), T(test_special),
		T(test_special_all), T(test_delete),         T(test_rename),
	};
	return RUN_TESTS(tests);
}
