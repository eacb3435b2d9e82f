/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Several processes and threads on one account (DURABILITY test 8): random operations, some killed.
 * Afterwards every content is there as often as it should be, UIDs never moved, and the index says
 * what a new one would.
 */
#include "store/testing.h"
#include <signal.h>
#include <sys/wait.h>

enum { PROCESSES = 3, ROUNDS = 120 };

static const char *const mailboxes[] = {"INBOX", "a", "b"};

/* Each process has its own journal; settling others' is not needed: syncfs is for all. */
static bool settle_all(void *ctx, struct str journal, uint64_t seq, struct err *err)
{
	struct bed *b = ctx;

	(void)journal;
	(void)seq;
	return store_checkpoint(b->store, 0, STR_NONE, err);
}
static uint64_t all_settled(void *ctx, struct str journal)
{
	(void)ctx;
	(void)journal;
	return UINT64_MAX; /* of other processes: they are told of nothing here */
}

static void open_process(struct bed *b, int number)
{
	char sub[128];

	snprintf(sub, sizeof(sub), "%s/journal-%d", b->path, number);
	mkdir(sub, 0700);
	b->journal_fd = open(sub, O_RDONLY | O_DIRECTORY);
	static const char *const names[] = {"zero", "one", "two"};
	b->journal_name = names[number];
	b->o = (struct store_options){.settle = settle_all, .watermark = all_settled, .ctx = b};
	bed_open(b);
}

static unsigned pick(unsigned *seed, unsigned n)
{
	*seed = *seed * 1103515245 + 12345;
	return (*seed >> 8) % n;
}

static bool tolerable(const struct err *err)
{
	return err->kind == ERR_GONE || err->kind == ERR_NOT_FOUND || err->kind == ERR_TEMP;
}

static void check_ascending(struct view *v)
{
	struct msg m;
	uint32_t last = 0;

	for (uint32_t seq = 1; view_msg(v, seq, &m); seq++) {
		assert_true(m.uid > last);
		last = m.uid;
	}
}

static void one_operation(struct bed *b, struct account *a, struct view **v, unsigned *seed)
{
	ARENA_SCOPED ar = arena_new();
	unsigned which = pick(seed, 3), other = pick(seed, 3);
	uint32_t count = view_count(v[which]), first = 1 + pick(seed, count + 1);
	struct uid_range r = {first, first + pick(seed, 5)};
	struct uid_set set = {&r, 1}, modified;
	struct view_changes changes;
	struct flag_change c = {.op = (enum flag_op)(1 + pick(seed, 2)), .flags = 1u << pick(seed, 5)};
	struct copied copied;
	struct err err;
	uint64_t modseq;
	bool ok = true;

	(void)b;
	switch (pick(seed, 9)) {
	case 0:
	case 1:
	case 2: {
		struct str content = arena_fmt(ar, "Subject: %u\r\n\r\nbody\r\n", pick(seed, 100000));
		struct new_message m = message_of(&content);
		ok = mailbox_place(a, str_of(mailboxes[which]), &m, 1, false, &err);
		break;
	}
	case 3:
	case 4:
		ok = view_store_flags(v[which], set, &c, ar, &modified, &modseq, &err);
		break;
	case 5:
		ok = view_copy(v[which], set, str_of(mailboxes[other]), ar, &copied, &err);
		break;
	case 6:
		ok = view_move(v[which], set, str_of(mailboxes[other]), ar, &copied, &err);
		break;
	case 7:
		ok = view_expunge(v[which], set, true, &modseq, &err);
		break;
	case 8: {
		struct str content;
		struct msg m;
		if (view_msg(v[which], 1 + pick(seed, count + 1), &m))
			ok = view_message(v[which], m.uid, ar, &content, &err);
		break;
	}
	}
	if (!ok && !tolerable(&err)) {
		print_error("%s (%s)\n", err.cause, err.where);
		fail();
	}
	assert_done(view_refresh(v[which], pick(seed, 2), ar, &changes, &err), err);
	check_ascending(v[which]);
}

struct worker {
	pthread_t thread;
	struct bed *b;
	unsigned seed;
	int rounds;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	struct view *v[3];
	struct err err;
	struct account *a = bed_account(w->b, "test1@example.org");

	for (int i = 0; i < 3; i++)
		assert_done(view_open(a, str_of(mailboxes[i]), false, &v[i], &err), err);
	for (int i = 0; i < w->rounds; i++)
		one_operation(w->b, a, v, &w->seed);
	for (int i = 0; i < 3; i++)
		view_close(v[i]);
	account_close(a);
	return NULL;
}

static void make_mailboxes(struct bed *b)
{
	struct err err;

	for (int i = 1; i < 3; i++)
		assert_done(mailbox_create(b->account, str_of(mailboxes[i]), USE_NONE, &err), err);
	for (int i = 0; i < 60; i++)
		bed_place(b, mailboxes[i % 3], STR("Subject: start\r\n\r\n"));
}

static void run_threads(struct bed *b, unsigned seed, int rounds)
{
	struct worker w[2];

	for (int i = 0; i < 2; i++) {
		w[i] = (struct worker){.b = b, .seed = seed + (unsigned)i * 7919, .rounds = rounds};
		assert_int_equal(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
	}
	for (int i = 0; i < 2; i++)
		pthread_join(w[i].thread, NULL);
}

static void test_threads(void **state)
{
	struct bed *b = *state;

	make_mailboxes(b);
	run_threads(b, 1, ROUNDS);
	bed_check(b);
}

static pid_t start(struct bed *b, int number, unsigned seed, int rounds)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	struct bed own = *b;
	own.store = NULL;
	own.account = NULL;
	own.ar = arena_new();
	open_process(&own, number);
	run_threads(&own, seed, rounds);
	bed_close(&own);
	_exit(0);
}

static void test_processes(void **state)
{
	struct bed *b = *state;
	pid_t pids[PROCESSES];

	make_mailboxes(b);
	bed_close(b); /* no threads while forking */
	for (int i = 0; i < PROCESSES; i++)
		pids[i] = start(b, i, (unsigned)i * 104729 + 3, ROUNDS);
	for (int i = 0; i < PROCESSES; i++) {
		int status;
		waitpid(pids[i], &status, 0);
		assert_int_equal(status, 0);
	}
	bed_open(b);
	bed_check(b);
}

/* One of them is killed again and again; the others and those that come after see whole mailboxes. */
static void test_killed(void **state)
{
	struct bed *b = *state;
	unsigned seed = 42;

	make_mailboxes(b);
	bed_close(b);
	for (int round = 0; round < 12; round++) {
		pid_t steady = start(b, 0, seed + (unsigned)round, 20);
		pid_t doomed = start(b, 1, seed * 3 + (unsigned)round, 100000);
		usleep(20000 + pick(&seed, 60000));
		kill(doomed, SIGKILL);
		waitpid(doomed, NULL, 0);
		int status;
		waitpid(steady, &status, 0);
		assert_int_equal(status, 0);
	}
	bed_open(b);
	bed_check(b);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = {T(test_threads), T(test_processes), T(test_killed)};
	return RUN_TESTS(tests);
}
