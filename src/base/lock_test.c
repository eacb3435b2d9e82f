/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/lock.h"
#include "base/clock.h"
#include "base/testing.h"
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 4, ROUNDS = 2000 };

struct shared {
	struct lock lock;
	struct cond cond;
	int count; /* guarded by lock */
};

static void *count_up(void *arg)
{
	struct shared *s = arg;

	for (int i = 0; i < ROUNDS; i++) {
		LOCK_SCOPED(&s->lock);
		lock_held(&s->lock);
		s->count++;
		cond_signal(&s->cond);
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct shared s = {0};
	pthread_t threads[THREADS];

	lock_init(&s.lock, LOCK_QUEUE);
	cond_init(&s.cond);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count_up, &s), 0);
	lock_take(&s.lock);
	while (s.count < THREADS * ROUNDS)
		cond_wait(&s.cond, &s.lock);
	lock_drop(&s.lock);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(s.count, THREADS * ROUNDS);
	cond_fini(&s.cond);
	lock_fini(&s.lock);
}

static void test_wait_until(void **state)
{
	struct shared s = {0};

	lock_init(&s.lock, LOCK_LEAF);
	cond_init(&s.cond);
	lock_take(&s.lock);
	int64_t until = clock_mono_us() + 2000;
	while (cond_wait_until(&s.cond, &s.lock, until))
		;
	assert_true(clock_mono_us() >= until);
	assert_false(cond_wait_until(&s.cond, &s.lock, -1));
	lock_drop(&s.lock);
	cond_fini(&s.cond);
	lock_fini(&s.lock);
}

#ifdef PABAL_DEBUG

static struct lock outer, inner, same;

static void wrong_order(void)
{
	lock_take(&inner);
	lock_take(&outer);
}

static void same_class(void)
{
	lock_take(&inner);
	lock_take(&same);
}

static void not_held(void)
{
	lock_held(&outer);
}

static void twice_dropped(void)
{
	lock_take(&outer);
	lock_drop(&outer);
	lock_drop(&outer);
}

static void right_order(void)
{
	lock_take(&outer);
	lock_take(&inner);
	lock_drop(&outer);
	lock_drop(&inner);
}

static int run_apart(void (*what)(void))
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		const struct rlimit none = {0};
		setrlimit(RLIMIT_CORE, &none);
		signal(SIGABRT, SIG_DFL); /* cmocka's handler would jump out of the child */
		if (!freopen("/dev/null", "w", stderr))
			_exit(2);
		what();
		_exit(0);
	}
	assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void test_order(void **state)
{
	lock_init(&outer, LOCK_ACCOUNT);
	lock_init(&inner, LOCK_INDEX);
	lock_init(&same, LOCK_INDEX);
	assert_int_equal(run_apart(right_order), 0);
	assert_int_equal(run_apart(wrong_order), SIGABRT);
	assert_int_equal(run_apart(same_class), SIGABRT);
	assert_int_equal(run_apart(not_held), SIGABRT);
	assert_int_equal(run_apart(twice_dropped), SIGABRT);
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads), cmocka_unit_test(test_wait_until),
#ifdef PABAL_DEBUG
		cmocka_unit_test(test_order),
#endif
	};
	return RUN_TESTS(tests);
}
