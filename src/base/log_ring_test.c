/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/log_ring.h"
#include "base/testing.h"
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct bed {
	int fd, wake;
	struct log_ring *writer, *reader; /* two mappings, as in two processes */
};

static int set_up(void **state)
{
	static struct bed b;
	struct err err;

	b.fd = log_ring_new();
	b.wake = log_ring_wake_new();
	assert_true(b.fd >= 0 && b.wake >= 0);
	assert_true(log_ring_open(b.fd, b.wake, &b.writer, &err));
	assert_true(log_ring_open(b.fd, b.wake, &b.reader, &err));
	*state = &b;
	return 0;
}

static int tear_down(void **state)
{
	struct bed *b = *state;

	log_ring_close(b->writer);
	log_ring_close(b->reader);
	close(b->fd);
	close(b->wake);
	return 0;
}

static bool awake(const struct bed *b)
{
	struct pollfd p = {.fd = b->wake, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

static void one_line(void **state)
{
	struct bed *b = *state;
	char out[100];

	assert_int_equal(log_ring_peek(b->reader, out, sizeof(out)), 0);
	assert_true(log_ring_put(b->writer, STR("hello")));
	assert_false(awake(b)); /* nobody sleeps */
	assert_int_equal(log_ring_peek(b->reader, out, sizeof(out)), 6);
	assert_memory_equal(out, "hello\n", 6);
	assert_int_equal(log_ring_peek(b->reader, out, sizeof(out)), 6); /* not taken yet */
	log_ring_take(b->reader, 6);
	assert_int_equal(log_ring_peek(b->reader, out, sizeof(out)), 0);
}

static void whole_lines(void **state)
{
	struct bed *b = *state;
	char out[10];

	assert_true(log_ring_put(b->writer, STR("abcdef")) && log_ring_put(b->writer, STR("gh")));
	assert_int_equal(log_ring_peek(b->reader, out, 8), 7);
	log_ring_take(b->reader, 7);
	assert_int_equal(log_ring_peek(b->reader, out, 2), 2); /* one that is longer than the room */
}

static void sleeping(void **state)
{
	struct bed *b = *state;
	char out[100];
	uint64_t count;

	assert_true(log_ring_sleep(b->reader));
	assert_true(log_ring_put(b->writer, STR("x")) && log_ring_put(b->writer, STR("y")));
	assert_true(awake(b));
	assert_int_equal(read(b->wake, &count, sizeof(count)), (int)sizeof(count));
	assert_int_equal(count, 1); /* woken once */
	assert_false(log_ring_sleep(b->reader)); /* lines are there */
	log_ring_take(b->reader, log_ring_peek(b->reader, out, sizeof(out)));
	assert_true(log_ring_sleep(b->reader));
}

static void full_and_room_again(void **state)
{
	struct bed *b = *state;
	static char out[LOG_RING_BYTES];
	char line[100];
	size_t n = 0;

	memset(line, 'x', sizeof(line));
	while (log_ring_put(b->writer, (struct str){line, sizeof(line)}))
		n++;
	assert_true(n > 40000 && n * 101 <= LOG_RING_BYTES);
	log_ring_take(b->reader, log_ring_peek(b->reader, out, sizeof(out)));
	assert_true(log_ring_put(b->writer, STR("room")));
	assert_int_equal(log_ring_peek(b->reader, out, sizeof(out)), 5);
}

/* Many times round, and what a line says is what was written. */
static void around(void **state)
{
	struct bed *b = *state;
	static char out[8192];
	char line[64];
	unsigned written = 0, seen = 0;

	while (seen < 400000) {
		for (int i = 0; i < 100; i++) {
			int n = snprintf(line, sizeof(line), "%u %.*s", written, (int)(written % 40),
					 "----------------------------------------");
			assert_true(log_ring_put(b->writer, (struct str){line, (size_t)n}));
			written++;
		}
		size_t n;
		while ((n = log_ring_peek(b->reader, out, sizeof(out)))) {
			struct str rest = {out, n};
			while (rest.n) {
				struct str one = str_cut(&rest, '\n'), number = str_cut(&one, ' ');
				uint64_t v;
				assert_true(str_u64(number, UINT32_MAX, &v) && v == seen);
				assert_int_equal(one.n, seen % 40);
				seen++;
			}
			log_ring_take(b->reader, n);
		}
	}
}

/* A writer or a reader that was captured: whatever the numbers say, all stays inside. */
static void hostile_numbers(void **state)
{
	static const uint64_t bad[] = {
		UINT64_MAX, UINT64_MAX - 5, UINT64_C(1) << 63, LOG_RING_BYTES + 1, 1, 4097};
	struct bed *b = *state;
	static char out[65536];
	uint64_t *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd, 0);

	assert_true(shared != MAP_FAILED);
	for (size_t place = 0; place <= 16; place++)
		for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
			shared[place] = bad[i];
			(void)log_ring_put(b->writer, STR("line"));
			size_t n = log_ring_peek(b->reader, out, sizeof(out));
			assert_true(n <= sizeof(out));
			log_ring_take(b->reader, n);
			(void)log_ring_sleep(b->reader);
		}
	munmap(shared, 4096);
}

static void one_that_could_shrink(void **state)
{
	struct bed *b = *state;
	struct log_ring *r;
	struct err err;
	int fd = memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_int_equal(ftruncate(fd, 4096 + LOG_RING_BYTES), 0);
	assert_false(log_ring_open(fd, b->wake, &r, &err));
	close(fd);
}

enum { THREADS = 4, EACH = 50000 };

static void *write_lines(void *ctx)
{
	struct bed *b = ctx;

	for (int i = 0; i < EACH; i++)
		while (!log_ring_put(b->writer, STR("a line of some length, as they are in life")))
			sched_yield();
	return NULL;
}

static void threads(void **state)
{
	struct bed *b = *state;
	static char out[65536];
	pthread_t t[THREADS];
	size_t seen = 0;

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, write_lines, b), 0);
	while (seen < (size_t)THREADS * EACH) {
		size_t n = log_ring_peek(b->reader, out, sizeof(out));
		for (size_t i = 0; i < n; i++)
			seen += out[i] == '\n';
		log_ring_take(b->reader, n);
		uint64_t count;
		if (n == 0 && log_ring_sleep(b->reader)) {
			struct pollfd p = {.fd = b->wake, .events = POLLIN};
			assert_int_equal(poll(&p, 1, 20000), 1); /* a wake-up is never lost */
			assert_true(read(b->wake, &count, sizeof(count)) > 0);
		}
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_line, set_up, tear_down),
		cmocka_unit_test_setup_teardown(whole_lines, set_up, tear_down),
		cmocka_unit_test_setup_teardown(sleeping, set_up, tear_down),
		cmocka_unit_test_setup_teardown(full_and_room_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(around, set_up, tear_down),
		cmocka_unit_test_setup_teardown(hostile_numbers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_that_could_shrink, set_up, tear_down),
		cmocka_unit_test_setup_teardown(threads, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
