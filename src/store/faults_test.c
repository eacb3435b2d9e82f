/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Every file operation in turn is the last one of a process, or fails with ENOSPC, EIO, EMFILE
 * (DURABILITY tests 4 and 9). What was reported done is done afterwards, what was not may be either,
 * nothing is there twice, and the index says what a new one would. Needs -Dfaults=true.
 */
#include "store/testing.h"
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#ifdef PABAL_FAULTS

enum step {
	PLACED,
	PLACED_NEW,
	APPENDED,
	FLAGGED,
	COPIED,
	MOVED,
	EXPUNGED,
	CREATED,
	RENAMED,
	DELETED,
	ALL_APPENDED,
	ANNOTATED,
	STEPS,
};
enum outcome { NOT_TRIED, FAILED, DONE };

/* Written by the child, read by the parent. */
struct report {
	enum outcome step[STEPS];
	uint32_t placed_uid;
	bool finished;
};

#define MAIL(n) STR("Subject: " n "\r\n\r\nbody\r\n")

static void on_done(void *ctx, const struct err *err)
{
	__atomic_store_n((int *)ctx, err ? 2 : 1, __ATOMIC_SEQ_CST);
}

static bool append(struct account *a, struct str content, struct err *err)
{
	struct new_message m = message_of(&content);
	uint32_t uidvalidity;
	int done = 0;

	if (!mailbox_append(a, STR("INBOX"), &m, &uidvalidity, on_done, &done, err))
		return false;
	while (!__atomic_load_n(&done, __ATOMIC_SEQ_CST))
		usleep(500);
	return done == 1;
}

static bool append_both(struct account *a, struct err *err)
{
	struct str content[2] = {MAIL("both one"), MAIL("both two")};
	struct new_message m[2] = {message_of(&content[0]), message_of(&content[1])};
	uint32_t uidvalidity;

	return mailbox_append_all(a, STR("x"), m, 2, &uidvalidity, err);
}

static bool annotate(struct account *a, struct err *err)
{
	struct metadata_entry e = {STR("/private/comment"), STR("said")};

	return mailbox_metadata_set(a, STR("INBOX"), &e, 1, err);
}

static unsigned annotations(struct bed *b)
{
	struct metadata_entry *e;
	struct err err;
	size_t n;

	assert_done(mailbox_metadata(b->account, STR("INBOX"), b->ar, &e, &n, &err), err);
	assert_true(!n || str_eq(e[0].value, STR("said")));
	return (unsigned)n;
}

static bool place(struct account *a, const char *mailbox, struct str content, uint32_t *out_uid,
		  struct err *err)
{
	struct new_message m = message_of(&content);

	if (!mailbox_place(a, str_of(mailbox), &m, 1, false, err))
		return false;
	*out_uid = m.uid;
	return true;
}

static void script(struct bed *b, struct report *r)
{
	struct account *a = b->account;
	struct uid_range one = {1, 1}, two = {2, 2}, three = {3, 3}, four = {4, 4};
	struct uid_set modified;
	struct flag_change seen = {.op = FLAGS_ADD, .flags = FLAG_SEEN};
	struct copied copied;
	struct view *v;
	struct err err;
	uint64_t modseq;
	uint32_t uid;

#define STEP(which, call) r->step[which] = (call) ? DONE : FAILED
	STEP(PLACED, place(a, "INBOX", MAIL("placed"), &r->placed_uid, &err));
	STEP(PLACED_NEW, place(a, "fresh", MAIL("fresh"), &uid, &err));
	STEP(APPENDED, append(a, MAIL("appended"), &err));
	if (view_open(a, STR("INBOX"), false, &v, &err)) {
		STEP(FLAGGED, view_store_flags(v, (struct uid_set){&one, 1}, &seen, b->ar, &modified,
					       &modseq, &err));
		STEP(COPIED, view_copy(v, (struct uid_set){&two, 1}, STR("x"), b->ar, &copied, &err));
		STEP(MOVED, view_move(v, (struct uid_set){&three, 1}, STR("x"), b->ar, &copied, &err));
		STEP(EXPUNGED, view_expunge(v, (struct uid_set){&four, 1}, false, &modseq, &err));
		view_close(v);
	}
	STEP(CREATED, mailbox_create(a, STR("made"), USE_NONE, &err));
	STEP(RENAMED, mailbox_rename(a, STR("y"), STR("z"), &err));
	STEP(DELETED, mailbox_delete(a, STR("w"), &err));
	STEP(ALL_APPENDED, append_both(a, &err));
	STEP(ANNOTATED, annotate(a, &err));
	r->finished = true;
}

/* How often that subject is in that mailbox; 0 when there is no such mailbox. */
static unsigned count_of(struct bed *b, const char *mailbox, const char *subject, unsigned *out_flags)
{
	struct view *v;
	struct err err;
	struct msg m;
	unsigned n = 0;

	if (!view_open(b->account, str_of(mailbox), true, &v, &err)) {
		assert_int_equal(err.kind, ERR_NOT_FOUND);
		return 0;
	}
	for (uint32_t seq = 1; view_msg(v, seq, &m); seq++) {
		struct str content;
		assert_done(view_message(v, m.uid, b->ar, &content, &err), err);
		struct str head = arena_fmt(b->ar, "Subject: %s\r\n", subject);
		if (str_starts(content, head)) {
			n++;
			if (out_flags)
				*out_flags = m.flags;
		}
	}
	view_close(v);
	return n;
}

static bool exists(struct bed *b, const char *mailbox)
{
	struct mailbox_status s;
	struct err err;

	return mailbox_status(b->account, str_of(mailbox), &s, &err);
}

/* Done means wanted; failed or not reported means one of both. */
static void expect(const char *what, enum outcome o, unsigned got, unsigned if_done, unsigned otherwise)
{
	bool fine = got == if_done || (o != DONE && got == otherwise);

	if (!fine) {
		print_error("%s: outcome %d, got %u\n", what, o, got);
		fail();
	}
}

static void verify(struct bed *b, const struct report *r)
{
	unsigned flags = 0;

	expect("placed", r->step[PLACED], count_of(b, "INBOX", "placed", NULL), 1, 0);
	expect("fresh", r->step[PLACED_NEW], count_of(b, "fresh", "fresh", NULL), 1, 0);
	expect("appended", r->step[APPENDED], count_of(b, "INBOX", "appended", NULL), 1, 0);
	assert_int_equal(count_of(b, "INBOX", "one", &flags), 1);
	expect("flagged", r->step[FLAGGED], (flags & FLAG_SEEN) != 0, 1, 0);
	assert_int_equal(count_of(b, "INBOX", "two", NULL), 1);
	expect("copied", r->step[COPIED], count_of(b, "x", "two", NULL), 1, 0);
	unsigned left = count_of(b, "INBOX", "three", NULL);
	expect("moved", r->step[MOVED], count_of(b, "x", "three", NULL), 1, 0);
	assert_int_equal(left + count_of(b, "x", "three", NULL), 1);
	expect("expunged", r->step[EXPUNGED], count_of(b, "INBOX", "four", NULL), 0, 1);
	expect("created", r->step[CREATED], exists(b, "made"), 1, 0);
	expect("renamed", r->step[RENAMED], exists(b, "z"), 1, 0);
	assert_int_equal(exists(b, "z") + exists(b, "y"), 1);
	expect("deleted", r->step[DELETED], exists(b, "w"), 0, 1);
	unsigned both = count_of(b, "x", "both one", NULL) + count_of(b, "x", "both two", NULL);
	if (r->step[ALL_APPENDED] == NOT_TRIED) /* the process may have ended between the two names */
		assert_true(both <= 2);
	else
		expect("both appended", r->step[ALL_APPENDED], both, 2, 0);
	expect("annotated", r->step[ANNOTATED], annotations(b), 1, 0);
	bed_check(b);
}

static void prepare(struct bed *b)
{
	static const char *const names[] = {"x", "y", "w"};
	struct err err;

	bed_place(b, "INBOX", MAIL("one"));
	bed_place(b, "INBOX", MAIL("two"));
	bed_place(b, "INBOX", MAIL("three"));
	bed_place(b, "INBOX", MAIL("four"));
	for (int i = 0; i < 3; i++)
		assert_done(mailbox_create(b->account, str_of(names[i]), USE_NONE, &err), err);
	bed_place(b, "w", MAIL("five"));
}

/* false: the fault was never reached. */
static bool round_of(const char *fault, unsigned n)
{
	struct report *r =
		mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	void *state;
	char rule[64];

	memset(r, 0, sizeof(*r));
	bed_setup(&state);
	struct bed *b = state;
	prepare(b);
	bed_close(b);
	snprintf(rule, sizeof(rule), "%s:%u", fault, n);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		log_init("test", LOG_ERROR);
		int null = open("/dev/null", O_WRONLY);
		log_to_fd(null);
		bed_open(b);
		setenv("PABAL_FAULT", rule, 1);
		file_faults_init("test");
		script(b, r);
		unsetenv("PABAL_FAULT");
		file_faults_init("test");
		/* The same process goes on, and sees what it should. */
		verify(b, r);
		bed_close(b);
		_exit(0);
	}
	int status;
	waitpid(pid, &status, 0);
	bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	bool reached = killed;
	for (int i = 0; i < STEPS; i++)
		reached |= r->step[i] == FAILED;
	if (!killed && status != 0) {
		print_error("%s: child ended with %x\n", rule, status);
		fail();
	}
	bed_open(b);
	verify(b, r);
	munmap(r, sizeof(*r));
	bed_teardown(&state);
	return reached;
}

/* Until no operation is left: some faults are borne without failing anything. */
static void all_rounds(const char *fault, unsigned step)
{
	unsigned quiet = 0, reached = 0, n;

	for (n = 1; quiet < 40 / step + 2; n += step) {
		bool hit = round_of(fault, n);
		quiet = hit ? 0 : quiet + 1;
		reached += hit;
	}
	print_message("%s: %u operations, %u made a step fail\n", fault, n, reached);
}

static void test_kill(void **state)
{
	all_rounds("kill", 2);
}

static void test_enospc(void **state)
{
	all_rounds("enospc", 3);
}

static void test_eio(void **state)
{
	all_rounds("eio", 3);
}

static void test_emfile(void **state)
{
	all_rounds("emfile", 4);
}

/* ---- a Maildir of another server -------------------------------------------------------- */
enum { FOREIGN = 70, LISTED = 5, LISTED_UID = 7 };
struct shown {
	uint32_t uid[FOREIGN]; /* by the number in the subject; 0: was not shown */
	uint32_t uidvalidity;
	bool failed;
};

static bool look(struct account *a, struct arena *ar, struct shown *out, struct err *err)
{
	struct view_facts f;
	struct view *v;
	struct msg m;

	if (!view_open(a, STR("INBOX"), true, &v, err))
		return false;
	view_facts(v, &f);
	out->uidvalidity = f.uidvalidity;
	for (uint32_t seq = 1; view_msg(v, seq, &m); seq++) {
		struct str content, subject;
		uint64_t number;
		assert_done(view_message(v, m.uid, ar, &content, err), *err);
		subject = str_sub(content, 9, str_find_byte(content, '\r') - 9);
		assert_true(str_u64(subject, FOREIGN - 1, &number));
		assert_int_equal(out->uid[number], 0);
		out->uid[number] = m.uid;
	}
	view_close(v);
	return true;
}

static void foreign(struct bed *b)
{
	bed_shell(b, "rm -rf * .[A-Za-z]*; mkdir cur new tmp; printf '3 V99 N50\n' > dovecot-uidlist;"
		     "for i in $(seq 0 69); do printf 'Subject: %d\n\nx\n' $i > cur/1$i.h:2,S; done;"
		     "for i in 0 1 2 3 4; do echo \"$((i + 7)) :1$i.h\" >> dovecot-uidlist; done;"
		     "mv cur/13.h:2,S cur/13.h; mv cur/14.h:2,S new/14.h");
}

/* What a client was shown stays, and what the lists say is shown. */
static void compare_shown(const struct shown *then, const struct shown *now)
{
	assert_int_equal(now->uidvalidity, 99);
	for (uint32_t i = 0; i < FOREIGN; i++) {
		assert_int_not_equal(now->uid[i], 0);
		if (i < LISTED)
			assert_int_equal(now->uid[i], LISTED_UID + i);
		else
			assert_true(now->uid[i] >= 50);
		if (then->uid[i])
			assert_int_equal(then->uid[i], now->uid[i]);
		for (uint32_t k = 0; k < i; k++) /* given to another one and taken away again: never */
			assert_true(!then->uid[i] || then->uid[i] != now->uid[k]);
	}
}

static void take_over(struct bed *b, const char *rule, struct shown *shown)
{
	struct account_facts f = {.id = 1, .address = STR("test1@example.org"), .language = STR("ko")};
	struct account *a;
	struct err err;

	bed_journal_open(b, NULL, NULL);
	assert_done(journal_start(b->journal, &err), err);
	bed_store_open(b);
	setenv("PABAL_FAULT", rule, 1);
	file_faults_init("test");
	if (account_open(b->store, &f, &a, &err))
		shown->failed = !look(a, b->ar, shown, &err);
	else
		shown->failed = true;
	_exit(0);
}

static bool takeover_round(const char *fault, unsigned n)
{
	struct shown *then =
		mmap(NULL, sizeof(*then), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct shown now;
	struct err err;
	void *state;
	char rule[64];
	int status;

	memset(then, 0, sizeof(*then));
	bed_setup(&state);
	struct bed *b = state;
	bed_close(b);
	foreign(b);
	snprintf(rule, sizeof(rule), "%s:%u", fault, n);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0)
		take_over(b, rule, then);
	waitpid(pid, &status, 0);
	bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	assert_true(killed || status == 0);
	bool reached = killed || then->failed;
	bed_open(b);
	for (int i = 0; i < 2; i++) {
		memset(&now, 0, sizeof(now));
		assert_done(look(b->account, b->ar, &now, &err), err);
		compare_shown(then, &now);
		bed_check(b);
		*then = now;
		bed_close(b);
		bed_shell(b, "rm -f index.db*");
		bed_open(b);
	}
	munmap(then, sizeof(*then));
	bed_teardown(&state);
	return reached;
}

static void test_takeover(void **state)
{
	static const char *const faults[] = {"kill", "enospc", "eio"};

	for (size_t i = 0; i < 3; i++) {
		unsigned quiet = 0, n;
		for (n = 1; quiet < 12; n += i ? 2 : 1)
			quiet = takeover_round(faults[i], n) ? 0 : quiet + 1;
		print_message("takeover, %s: %u operations\n", faults[i], n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_takeover),
		cmocka_unit_test(test_kill),
		cmocka_unit_test(test_enospc),
		cmocka_unit_test(test_eio),
		cmocka_unit_test(test_emfile),
	};
	return RUN_TESTS(tests);
}

#else

int main(void)
{
	return 77; /* skipped: this build has no faults */
}

#endif
