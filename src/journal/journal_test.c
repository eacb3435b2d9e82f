/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/log.h"
#include "journal/journal.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* A journal in a directory of its own. */
struct fixture {
	char path[64];
	int dirfd;
	struct journal_options o;
	struct buf seen; /* "seq:content " of what was replayed or read */
	int records;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	strcpy(f->path, "/tmp/pabal-journal-XXXXXX");
	assert_non_null(mkdtemp(f->path));
	f->dirfd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	f->o = (struct journal_options){.dirfd = f->dirfd,
					.name = "test",
					.segment_bytes = 128 * 1024,
					.segments_max = 4,
					.wait_ms = 50};
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	char cmd[100];
	snprintf(cmd, sizeof cmd, "rm -rf %s", f->path);
	assert_int_equal(system(cmd), 0);
	close(f->dirfd);
	buf_free(&f->seen);
	free(f);
	return 0;
}

static bool note(void *ctx, const struct journal_record *r, struct err *err)
{
	(void)err;
	struct fixture *f = ctx;
	f->records++;
	buf_fmt(&f->seen, "%llu:%.*s%s%s ", (unsigned long long)r->seq,
		(int)(r->content.n > 20 ? 20 : r->content.n), r->content.p, r->side ? "+" : "",
		r->side ? r->side : "");
	return true;
}

static struct journal *open_journal(struct fixture *f)
{
	struct err err = {0};
	struct journal *j = NULL;
	buf_clear(&f->seen);
	f->records = 0;
	if (!journal_open(&f->o, note, f, &j, &err) || !journal_start(j, &err))
		fail_msg("%s: %s", err.text, err.cause);
	return j;
}

static bool put(struct journal *j, const char *text, uint64_t *seq, struct err *err)
{
	return journal_append_wait(j, JOURNAL_MESSAGE,
				   &(struct iovec){(void *)(uintptr_t)text, strlen(text)}, 1, seq, err);
}

static void expect_seen(struct fixture *f, const char *want)
{
	buf_byte(&f->seen, 0);
	assert_string_equal(f->seen.p, want);
}

static void acknowledged_records_are_replayed(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};
	struct journal *j = open_journal(f);
	uint64_t seq;
	assert_true(put(j, "one", &seq, &err));
	assert_int_equal(seq, 1);
	assert_true(put(j, "two", &seq, &err));
	assert_int_equal(journal_committed(j), 2);
	journal_close(j);
	j = open_journal(f);
	expect_seen(f, "1:one 2:two ");
	assert_true(put(j, "three", &seq, &err));
	assert_int_equal(seq, 3);
	journal_close(j);
	journal_close(open_journal(f));
	expect_seen(f, "1:one 2:two 3:three ");
}

static void below_a_checkpoint_nothing_is_replayed(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};
	struct journal *j = open_journal(f);
	assert_true(put(j, "one", NULL, &err) && put(j, "two", NULL, &err) &&
		    put(j, "three", NULL, &err));
	assert_true(journal_checkpoint(j, 3, STR("extra"), &err));
	assert_false(journal_checkpoint(j, 2, STR(""), &err)); /* backwards */
	assert_false(journal_checkpoint(j, 9, STR(""), &err)); /* not committed */
	journal_close(j);
	j = open_journal(f);
	expect_seen(f, "3:three ");
	uint64_t p;
	assert_true(str_eq(journal_last_checkpoint(j, &p), STR("extra")));
	assert_int_equal(p, 3);
	journal_close(j);
}

/* DURABILITY test 3: many times around, with content that is a byte-for-byte copy of a segment. */
static void recycled_segments_bring_nothing_back(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};
	struct journal *j = open_journal(f);
	static char big[30000];
	memset(big, 'x', sizeof big - 1);
	uint64_t seq = 0;
	for (int i = 0; i < 60; i++) {
		if (i == 30) { /* a message whose text is what lies in a segment */
			FD_SCOPED fd = openat(f->dirfd, "seg-00000000", O_RDONLY);
			assert_true(pread(fd, big, sizeof big, 0) == sizeof big);
			struct iovec v = {big, sizeof big};
			assert_true(journal_append_wait(j, JOURNAL_MESSAGE, &v, 1, &seq, &err));
		} else {
			big[0] = (char)('A' + i % 26);
			big[1] = 0;
			assert_true(journal_append_wait(j, JOURNAL_MESSAGE,
							&(struct iovec){big, sizeof big}, 1, &seq, &err));
		}
		assert_true(journal_checkpoint(j, seq, STR(""), &err));
	}
	journal_close(j);
	j = open_journal(f);
	char want[64];
	snprintf(want, sizeof want, "%llu:", (unsigned long long)seq);
	assert_int_equal(strncmp(f->seen.p, want, strlen(want)), 0);
	assert_int_equal(f->records, 1);
	journal_close(j);
}

static void full_refuses_and_a_checkpoint_frees(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};
	struct journal *j = open_journal(f);
	static char big[60000];
	uint64_t seq = 0, last = 0;
	int n = 0;
	while (journal_append_wait(j, JOURNAL_MESSAGE, &(struct iovec){big, sizeof big}, 1, &seq, &err)) {
		last = seq;
		assert_true(++n < 20);
	}
	assert_int_equal(err.kind, ERR_LIMIT);
	assert_true(journal_checkpoint(j, last, STR(""), &err));
	assert_true(put(j, "again", &seq, &err));
	journal_close(j);
	journal_close(open_journal(f));
	assert_non_null(memmem(f->seen.p, f->seen.n, ":again", 6));
	assert_false(put(j = open_journal(f), "x", &seq, &err) && seq <= last);
	struct iovec huge = {big, sizeof big};
	struct iovec parts[] = {huge, huge, huge};
	assert_false(journal_append_wait(j, JOURNAL_MESSAGE, parts, 3, &seq,
					 &err)); /* larger than a segment */
	assert_int_equal(err.kind, ERR_LIMIT);
	journal_close(j);
}

static void count_written(void *ctx, uint64_t seq, const struct err *err)
{
	(void)seq;
	atomic_fetch_add((atomic_int *)ctx, err ? 1000 : 1);
}

static void half_full(void *ctx)
{
	atomic_fetch_add((atomic_int *)ctx, 1);
}

/* The writer waits for a free segment: the checkpoint that makes one free wakes it. */
static void a_checkpoint_wakes_who_waits_for_room(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};
	static char big[60000];
	atomic_int asked = 0;
	f->o.wait_ms = 60000;
	f->o.half_full = half_full;
	f->o.half_full_ctx = &asked;
	struct journal *j = open_journal(f);
	atomic_int written = 0;
	for (int n = 0; n < 16; n++)
		assert_true(journal_append(j, JOURNAL_MESSAGE, &(struct iovec){big, sizeof big}, 1,
					   count_written, &written, NULL, &err));
	while (written < 8) /* two fit a segment */
		usleep(1000);
	usleep(20000); /* that it waits, if it does */
	assert_int_equal(written, 8);
	int64_t start = clock_mono_ms();
	assert_true(journal_checkpoint(j, journal_committed(j) + 1, STR(""), &err));
	while (written < 14)
		usleep(1000);
	assert_true(clock_mono_ms() - start < 30000);
	assert_true(asked > 0);
	assert_true(journal_checkpoint(j, journal_committed(j) + 1, STR(""), &err));
	while (written < 16)
		usleep(1000);
	journal_close(j);
}

static void side_files_live_as_long_as_their_record(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};
	struct journal *j = open_journal(f);
	char name[JOURNAL_SIDE_NAME], orphan[JOURNAL_SIDE_NAME];
	int fd = -1, fd2 = -1;
	assert_true(journal_side_create(j, &fd, name, &err) &&
		    journal_side_create(j, &fd2, orphan, &err));
	assert_true(write(fd, "body", 4) == 4);
	assert_true(journal_side_finish(j, fd, &err));
	uint64_t seq;
	assert_true(journal_append_side(j, JOURNAL_MESSAGE, &(struct iovec){(char[]){"head"}, 4}, 1, name,
					NULL, NULL, &seq, &err));
	journal_close(j);
	j = open_journal(f);
	char want[80];
	snprintf(want, sizeof want, "1:head+%s ", name);
	expect_seen(f, want);
	assert_int_equal(faccessat(f->dirfd, name, F_OK, 0), 0);
	assert_int_not_equal(faccessat(f->dirfd, orphan, F_OK, 0), 0);
	assert_true(journal_checkpoint(j, 2, STR(""), &err));
	assert_int_not_equal(faccessat(f->dirfd, name, F_OK, 0), 0);
	close(fd);
	close(fd2);
	journal_close(j);
}

static void a_reader_follows_up_to_what_it_was_told(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};
	struct journal *j = open_journal(f);
	struct journal_reader *r;
	assert_true(journal_reader_open(f->dirfd, "test", &r, &err));
	assert_true(put(j, "one", NULL, &err) && put(j, "two", NULL, &err));
	buf_clear(&f->seen);
	assert_true(journal_reader_each(r, 1, 1, note, f, &err));
	expect_seen(f, "1:one ");
	for (int i = 3; i <= 40; i++) {
		static char big[15000];
		snprintf(big, sizeof big, "m%d", i);
		assert_true(journal_append_wait(j, JOURNAL_MESSAGE, &(struct iovec){big, sizeof big}, 1,
						NULL, &err));
		buf_clear(&f->seen);
		assert_true(journal_reader_each(r, (uint64_t)i - 1, (uint64_t)i, note, f, &err));
		char want[40];
		snprintf(want, sizeof want, "%d:m%d", i, i);
		assert_non_null(memmem(f->seen.p, f->seen.n, want, strlen(want)));
		assert_true(journal_checkpoint(j, (uint64_t)i - 1, STR(""), &err));
	}
	uint64_t watermark, last;
	assert_true(journal_reader_bounds(r, &watermark, &last, &err));
	assert_int_equal(watermark, 39);
	assert_int_equal(last, 40);
	journal_reader_close(r);
	journal_close(j);
}

/* A checkpoint repeats the last number: a segment that begins with one has the first number of a record that
 * is in the segment before. */
static void a_reader_begins_before_a_checkpoint(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};
	struct journal *j = open_journal(f);
	assert_true(put(j, "one", NULL, &err) && put(j, "two", NULL, &err));
	journal_close(j);
	for (int lives = 0; lives < 2; lives++) {
		j = open_journal(f);
		assert_true(journal_checkpoint(j, 2, STR(""), &err));
		struct journal_reader *r;
		assert_true(journal_reader_open(f->dirfd, "test", &r, &err));
		buf_clear(&f->seen);
		assert_true(journal_reader_each(r, 2, 2, note, f, &err));
		expect_seen(f, "2:two ");
		journal_reader_close(r);
		journal_close(j);
	}
}

static void a_flipped_bit_costs_one_record(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};
	struct journal *j = open_journal(f);
	assert_true(put(j, "one", NULL, &err) && put(j, "two", NULL, &err) &&
		    put(j, "three", NULL, &err));
	journal_close(j);
	FD_SCOPED fd = openat(f->dirfd, "seg-00000000", O_RDWR);
	char c;
	assert_true(pread(fd, &c, 1, 2 * 4096 + 32) == 1 && c == 't');
	c ^= 1;
	assert_true(pwrite(fd, &c, 1, 2 * 4096 + 32) == 1);
	j = open_journal(f);
	expect_seen(f, "1:one 3:three ");
	/* kept for the operator once its good records are settled, not recycled */
	assert_true(journal_checkpoint(j, 4, STR(""), &err));
	assert_int_not_equal(faccessat(f->dirfd, "seg-00000000", F_OK, 0), 0);
	journal_close(j);
}

struct tally {
	struct lock lock;
	struct cond cond;
	uint64_t last;
	int done, failed;
};

static void count(void *ctx, uint64_t seq, const struct err *err)
{
	struct tally *t = ctx;
	LOCK_SCOPED(&t->lock);
	assert_true(err || seq > t->last); /* in order */
	if (!err)
		t->last = seq;
	t->done++;
	t->failed += err != NULL;
	cond_signal(&t->cond);
}

struct appender {
	struct journal *j;
	struct tally *t;
};

static void *append_many(void *arg)
{
	struct appender *a = arg;
	for (int i = 0; i < 200; i++) {
		struct err err = {0};
		struct iovec part = {(char[]){"hello"}, 5};
		assert_true(i % 2 ? journal_append(a->j, JOURNAL_MESSAGE, &part, 1, count, a->t, NULL, &err)
				  : journal_append_here(a->j, JOURNAL_MESSAGE, &part, 1, count, a->t, NULL,
							&err));
	}
	return NULL;
}

static void many_threads_share_syncs(void **state)
{
	struct fixture *f = *state;
	f->o.segment_bytes = 1024 * 1024;
	struct journal *j = open_journal(f);
	struct tally t = {0};
	lock_init(&t.lock, LOCK_LEAF);
	cond_init(&t.cond);
	struct appender a = {j, &t};
	pthread_t threads[4];
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, append_many, &a);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	lock_take(&t.lock);
	while (t.done < 800)
		cond_wait(&t.cond, &t.lock);
	lock_drop(&t.lock);
	assert_int_equal(t.failed, 0);
	assert_int_equal(journal_committed(j), 800);
	journal_close(j);
	cond_fini(&t.cond);
	lock_fini(&t.lock);
}

#ifdef PABAL_FAULTS
/* A refused record never comes back, an acknowledged one always does, whichever operation fails. */
static void a_failed_operation_voids_its_batch(void **state)
{
	(void)state;
	for (int n = 1; n < 14; n++) {
		void *s;
		set_up(&s);
		struct fixture *f = s;
		char rule[40], want[200] = "";
		snprintf(rule, sizeof rule, "eio:%d", n);
		struct journal *j = open_journal(f);
		struct err err = {0};
		struct journal_reader *r;
		assert_true(put(j, "first", NULL, &err));
		assert_true(journal_reader_open(f->dirfd, "test", &r, &err));
		assert_true(journal_reader_each(r, 1, 1, note, f, &err)); /* and stops there */
		setenv("PABAL_FAULT", rule, 1);
		file_faults_init("test");
		for (int i = 0; i < 5; i++) {
			char text[20];
			uint64_t seq;
			snprintf(text, sizeof text, "m%d", i);
			if (put(j, text, &seq, &err))
				snprintf(want + strlen(want), sizeof want - strlen(want), "%llu:%s ",
					 (unsigned long long)seq, text);
		}
		setenv("PABAL_FAULT", "", 1);
		file_faults_init("test");
		assert_true(put(j, "last", NULL, &err));
		assert_true(journal_reader_each(r, 2, 7, note, f, &err));
		journal_reader_close(r);
		assert_non_null(memmem(f->seen.p, f->seen.n, want, strlen(want)));
		assert_int_equal(f->seen.n, strlen("1:first ") + strlen(want) + strlen("7:last "));
		buf_clear(&f->seen);
		journal_close(j);
		journal_close(open_journal(f));
		assert_non_null(memmem(f->seen.p, f->seen.n, want, strlen(want)));
		assert_int_equal(f->seen.n, strlen("1:first ") + strlen(want) + strlen("7:last "));
		tear_down(&s);
	}
}

/* Killed before each operation in turn: what was acknowledged is there, once. */
static void killed_at_each_step(void **state)
{
	(void)state;
	bool ended = false;
	for (int n = 1; !ended && n < 60; n++) {
		void *s;
		set_up(&s);
		struct fixture *f = s;
		int told[2];
		assert_int_equal(pipe(told), 0);
		pid_t pid = fork();
		if (pid == 0) {
			char rule[40];
			snprintf(rule, sizeof rule, "kill:%d", n);
			setenv("PABAL_FAULT", rule, 1);
			file_faults_init("test");
			struct journal *j = open_journal(f);
			struct err err = {0};
			for (char c = 'a'; c < 'i'; c++) {
				char text[2] = {c, 0};
				uint64_t seq;
				if (!put(j, text, &seq, &err) || write(told[1], &c, 1) != 1)
					_exit(3);
				if (c == 'd' && !journal_checkpoint(j, 3, STR(""), &err))
					_exit(4);
			}
			_exit(0);
		}
		close(told[1]);
		char acknowledged[20] = "";
		ssize_t k = 0, got;
		while ((got = read(told[0], acknowledged + k, 1)) > 0)
			k += got;
		close(told[0]);
		int status;
		waitpid(pid, &status, 0);
		ended = WIFEXITED(status) && WEXITSTATUS(status) == 0;
		assert_true(ended || WIFSIGNALED(status));
		journal_close(open_journal(f));
		for (ssize_t i = k >= 4 ? 2 : 0 /* the checkpoint may have come */; i < k; i++) {
			char want[8] = {'0' + (char)i + 1, ':', acknowledged[i], ' '};
			assert_non_null(memmem(f->seen.p, f->seen.n, want, 4));
		}
		assert_true(f->seen.n <= 4 * (size_t)(k + 1));
		tear_down(&s);
	}
	assert_true(ended);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		T(acknowledged_records_are_replayed),
		T(below_a_checkpoint_nothing_is_replayed),
		T(recycled_segments_bring_nothing_back),
		T(full_refuses_and_a_checkpoint_frees),
		T(a_checkpoint_wakes_who_waits_for_room),
		T(side_files_live_as_long_as_their_record),
		T(a_reader_follows_up_to_what_it_was_told),
		T(a_reader_begins_before_a_checkpoint),
		T(a_flipped_bit_costs_one_record),
		T(many_threads_share_syncs),
#ifdef PABAL_FAULTS
		cmocka_unit_test(a_failed_operation_voids_its_batch),
		cmocka_unit_test(killed_at_each_step),
#endif
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
