/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* The clock is ours; a "box" collects verdicts and is waited for by event. */
#include "auth/verdict.h"
#include "auth/verdict_queue.h"
#include "base/buf.h"
#include "base/lock.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static _Atomic int64_t test_clock = 1000000000;
static int64_t clock_us(void)
{
	return test_clock;
}
static void seconds_pass(int64_t s)
{
	test_clock += s * 1000000;
}

struct box {
	struct lock lock;
	struct cond cond;
	unsigned n;
	struct verdict last; /* its views are gone */
	unsigned results[3], whys[8];
	uint64_t tags[4096];
};

static void on_verdict(void *ctx, const struct verdict *v)
{
	struct box *b = ctx;
	LOCK_SCOPED(&b->lock);
	b->tags[b->n++ % 4096] = v->tag;
	b->results[v->result]++;
	b->whys[v->why]++;
	b->last = *v;
	cond_broadcast(&b->cond);
}

static void box_wait(struct box *b, unsigned n)
{
	LOCK_SCOPED(&b->lock);
	while (b->n < n)
		cond_wait(&b->cond, &b->lock);
}

struct bench {
	struct verdict_engine *e;
	struct box box;
	struct verdict_limits limits;
};

static void bench_open(struct bench *t)
{
	memset(&t->box, 0, sizeof t->box);
	lock_init(&t->box.lock, LOCK_LEAF);
	cond_init(&t->box.cond);
	t->e = verdict_engine_new(&t->limits, on_verdict, &t->box);
}

static void bench_default(struct bench *t)
{
	verdict_limits_default(&t->limits);
	t->limits.threads = 2;
	t->limits.clock_us = clock_us;
	t->limits.failures_account = 3;
	t->limits.failures_network = 6;
	bench_open(t);
}

static void bench_close(struct bench *t)
{
	verdict_engine_free(t->e);
	cond_fini(&t->box.cond);
	lock_fini(&t->box.lock);
}

#define STORED "{SHA256}ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=" /* abc */
#define HOME "192.0.2.1"
#define AWAY "203.0.113.9"

static struct verdict ask_stored(struct bench *t, const char *account, const char *network,
				 const char *stored, const char *password)
{
	unsigned n = t->box.n + 1;
	struct verdict_request r = {.tag = n,
				    .account = str_of(account),
				    .network = str_of(network),
				    .stored = str_of(stored),
				    .password = str_of(password)};
	verdict_submit(t->e, &r);
	box_wait(&t->box, n);
	LOCK_SCOPED(&t->box.lock);
	assert_int_equal(t->box.last.tag, n);
	return t->box.last;
}

static struct verdict ask(struct bench *t, const char *account, const char *network, const char *password)
{
	return ask_stored(t, account, network, STORED, password);
}

static void test_answers(void **state)
{
	struct bench t;
	bench_default(&t);
	struct verdict v = ask(&t, "a@x", HOME, "abc");
	assert_int_equal(v.result, VERDICT_RIGHT);
	assert_true(v.weak);
	assert_int_equal(v.not_before_us, 0);
	v = ask(&t, "a@x", HOME, "abd");
	assert_int_equal(v.result, VERDICT_WRONG);
	assert_int_equal(v.why, VERDICT_WHY_PASSWORD);
	assert_int_equal(v.not_before_us, test_clock + 2000000);
	v = ask_stored(&t, "nobody@x", HOME, "", "abc");
	assert_int_equal(v.result, VERDICT_WRONG);
	assert_int_equal(v.why, VERDICT_WHY_UNKNOWN);
	v = ask_stored(&t, "b@x", AWAY, "!", "abc");
	assert_int_equal(v.result, VERDICT_WRONG);
	assert_int_equal(v.why, VERDICT_WHY_BAD_HASH);
	bench_close(&t);
}

static void test_cache(void **state)
{
	struct bench t;
	struct verdict_stats s;
	bench_default(&t);
	for (int i = 0; i < 3; i++)
		assert_int_equal(ask(&t, "a@x", HOME, "abc").result, VERDICT_RIGHT);
	verdict_stats(t.e, &s);
	assert_int_equal(s.hashed, 1);
	assert_int_equal(s.cached, 2);
	/* bound to the stored hash, the account, the password */
	assert_int_equal(ask_stored(&t, "a@x", HOME, "{PLAIN}new", "abc").result, VERDICT_WRONG);
	assert_int_equal(ask_stored(&t, "a@x", HOME, "", "abc").result, VERDICT_WRONG);
	assert_int_equal(ask_stored(&t, "b@x", HOME, "{PLAIN}new", "abc").result, VERDICT_WRONG);
	verdict_stats(t.e, &s);
	assert_int_equal(s.cached, 2);
	seconds_pass(3601);
	assert_int_equal(ask(&t, "a@x", HOME, "abc").result, VERDICT_RIGHT);
	verdict_stats(t.e, &s);
	assert_int_equal(s.cached, 2);
	assert_int_equal(s.hashed, 5);
	verdict_account_forget(t.e, STR("a@x"));
	assert_int_equal(ask(&t, "a@x", HOME, "abc").result, VERDICT_RIGHT);
	verdict_stats(t.e, &s);
	assert_int_equal(s.hashed, 6);
	bench_close(&t);
}

static void test_cache_bounded(void **state)
{
	struct bench t;
	struct verdict_stats s;
	verdict_limits_default(&t.limits);
	t.limits.cache_max = 2;
	t.limits.threads = 1;
	bench_open(&t);
	static const char *const names[] = {"a", "b", "c", "a",
					    "c"}; /* the second "a" has gone, "c" is there */
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(ask(&t, names[i], HOME, "abc").result, VERDICT_RIGHT);
	verdict_stats(t.e, &s);
	assert_int_equal(s.hashed, 4);
	assert_int_equal(s.cached, 1);
	bench_close(&t);
}

static void test_lock_account(void **state)
{
	struct bench t;
	struct verdict_lock_state l;
	bench_default(&t);
	ask(&t, "a@x", "n1", "1");
	ask(&t, "a@x", "n2", "2");
	verdict_account_state(t.e, STR("a@x"), &l);
	assert_false(l.locked);
	assert_int_equal(l.failures, 2);
	ask(&t, "a@x", "n3", "3"); /* counts across networks */
	verdict_account_state(t.e, STR("a@x"), &l);
	assert_true(l.locked);
	struct verdict v = ask(&t, "a@x", "n4", "abc"); /* right, but locked */
	assert_int_equal(v.result, VERDICT_WRONG);
	assert_int_equal(v.why, VERDICT_WHY_LOCKED_ACCOUNT);
	assert_int_equal(v.not_before_us, test_clock + 2000000);
	assert_int_equal(ask(&t, "b@x", "n4", "abc").result, VERDICT_RIGHT); /* only that account */
	assert_int_equal(verdict_locked(t.e, STR("a@x"), STR("n9")), VERDICT_WHY_LOCKED_ACCOUNT);
	seconds_pass(599);
	assert_int_equal(ask(&t, "a@x", "n4", "abc").result, VERDICT_WRONG);
	seconds_pass(1);
	assert_int_equal(ask(&t, "a@x", "n4", "abc").result, VERDICT_RIGHT);
	bench_close(&t);
}

static void test_unlock(void **state)
{
	struct bench t;
	bench_default(&t);
	for (int i = 0; i < 3; i++)
		verdict_note(t.e, STR("a@x"), STR("n1"), false); /* SCRAM */
	assert_int_equal(verdict_locked(t.e, STR("a@x"), STR("n2")), VERDICT_WHY_LOCKED_ACCOUNT);
	verdict_account_unlock(t.e, STR("a@x"));
	assert_int_equal(verdict_locked(t.e, STR("a@x"), STR("n2")), VERDICT_WHY_NONE);
	/* unknown accounts are locked like others */
	for (int i = 0; i < 3; i++)
		verdict_note(t.e, STR("nobody@x"), STR("n3"), false);
	assert_int_equal(ask_stored(&t, "nobody@x", "n4", "", "x").why, VERDICT_WHY_LOCKED_ACCOUNT);
	bench_close(&t);
}

/* Strangers cannot lock the owner out, and at home there is a bound too. */
static void test_known_network(void **state)
{
	struct bench t;
	bench_default(&t);
	assert_int_equal(ask(&t, "a@x", HOME, "abc").result, VERDICT_RIGHT);
	ask(&t, "a@x", AWAY, "1");
	ask(&t, "a@x", AWAY, "2");
	ask(&t, "a@x", HOME, "abc"); /* does not help the guesser */
	ask(&t, "a@x", AWAY, "3");
	assert_int_equal(ask(&t, "a@x", AWAY, "abc").why, VERDICT_WHY_LOCKED_ACCOUNT);
	assert_int_equal(ask(&t, "a@x", HOME, "abc").result, VERDICT_RIGHT);
	ask(&t, "a@x", HOME, "4");
	ask(&t, "a@x", HOME, "5");
	assert_int_equal(ask(&t, "a@x", HOME, "6").why, VERDICT_WHY_PASSWORD);
	assert_int_equal(ask(&t, "a@x", HOME, "abc").why, VERDICT_WHY_LOCKED_ACCOUNT);
	verdict_account_unlock(t.e, STR("a@x"));
	assert_int_equal(ask(&t, "a@x", HOME, "abc").result, VERDICT_RIGHT);
	/* a month later it is any network */
	seconds_pass(31 * 86400);
	for (int i = 0; i < 3; i++)
		verdict_note(t.e, STR("a@x"), STR(AWAY), false);
	assert_int_equal(verdict_locked(t.e, STR("a@x"), STR(HOME)), VERDICT_WHY_LOCKED_ACCOUNT);
	bench_close(&t);
}

static void test_window(void **state)
{
	struct bench t;
	struct verdict_lock_state l;
	bench_default(&t);
	ask(&t, "a@x", "n1", "1");
	ask(&t, "a@x", "n1", "2");
	seconds_pass(601);
	ask(&t, "a@x", "n1", "3");
	verdict_account_state(t.e, STR("a@x"), &l);
	assert_int_equal(l.failures, 1);
	bench_close(&t);
}

/* A telephone that was not told of the new password. */
static void test_same_again(void **state)
{
	struct bench t;
	struct verdict_stats s;
	struct verdict_lock_state l;
	bench_default(&t);
	for (int i = 0; i < 20; i++)
		assert_int_equal(ask(&t, "a@x", HOME, "old").why, VERDICT_WHY_PASSWORD);
	verdict_account_state(t.e, STR("a@x"), &l);
	assert_false(l.locked);
	assert_int_equal(l.failures, 1);
	verdict_stats(t.e, &s);
	assert_int_equal(s.hashed, 1);
	/* it became the password: another stored hash, another entry */
	assert_int_equal(ask_stored(&t, "a@x", HOME, "{PLAIN}old", "old").result, VERDICT_RIGHT);
	bench_close(&t);
}

static void test_lock_network(void **state)
{
	struct bench t;
	bench_default(&t);
	static const char *const names[] = {"a", "b", "c", "d", "e", "f"};
	assert_int_equal(ask(&t, "owner", AWAY, "abc").result, VERDICT_RIGHT);
	int64_t last = 0;
	for (size_t i = 0; i < 6; i++) {
		struct verdict v = ask(&t, names[i], AWAY, "spray");
		assert_int_equal(v.why, VERDICT_WHY_PASSWORD);
		assert_true(v.not_before_us >= last); /* slower and slower */
		last = v.not_before_us;
	}
	assert_int_equal(last, test_clock + 15000000);
	assert_int_equal(ask(&t, "g", AWAY, "abc").why, VERDICT_WHY_LOCKED_NETWORK);
	assert_int_equal(ask(&t, "owner", AWAY, "abc").result, VERDICT_RIGHT); /* known there */
	assert_int_equal(ask(&t, "g", HOME, "abc").result, VERDICT_RIGHT);
	bench_close(&t);
}

static void test_never_lock(void **state)
{
	struct bench t;
	verdict_limits_default(&t.limits);
	t.limits.failures_account = t.limits.failures_network = 0;
	bench_open(&t);
	for (int i = 0; i < 300; i++)
		verdict_note(t.e, STR("a@x"), STR("n"), false);
	assert_int_equal(ask(&t, "a@x", "n", "abc").result, VERDICT_RIGHT);
	bench_close(&t);
}

/* One thread is kept busy by a slow hash, so that the rest waits. */
static void slow(struct bench *t, uint64_t tag, const char *network)
{
	struct verdict_request r = {
		.tag = tag, .account = STR("slow@x"), .network = str_of(network), .password = STR("x")};
	verdict_submit(t->e, &r); /* unknown user: a yescrypt */
}

static void test_full(void **state)
{
	struct bench t;
	verdict_limits_default(&t.limits);
	t.limits.threads = 1;
	t.limits.queue_max = 8;
	t.limits.queue_network_max = 3;
	t.limits.failures_account = t.limits.failures_network = 0;
	bench_open(&t);
	static const char *const networks[] = {"n1", "n1", "n1", "n1", "n1", "n1", "n2",
					       "n3", "n4", "n5", "n6", "n7", "n8", "n9"};
	enum { N = sizeof networks / sizeof *networks };
	for (size_t i = 0; i < N; i++) {
		struct verdict_request r = {.account = str_of(networks[i]),
					    .network = str_of(networks[i]),
					    .password = str_sub(STR("0123456789abcdef"), i, 1)};
		verdict_submit(t.e, &r);
	}
	box_wait(&t.box, N);
	/* n1 had 3 waiting, and perhaps one or two that were taken meanwhile; 8 in all */
	assert_true(t.box.results[VERDICT_TEMP] >= 2);
	assert_true(t.box.results[VERDICT_WRONG] >= 8);
	assert_int_equal(t.box.results[VERDICT_TEMP], t.box.whys[VERDICT_WHY_BUSY]);
	bench_close(&t);
}

/* Everything is answered, at the end too. */
static void test_stop(void **state)
{
	struct bench t;
	bench_default(&t);
	for (uint64_t i = 0; i < 50; i++)
		slow(&t, i, "n");
	verdict_engine_free(t.e);
	assert_int_equal(t.box.n, 50);
	t.e = NULL;
	bench_close(&t);
}

/* Guesses sent at once: no more than the limit and one per thread are tried. */
static void test_burst(void **state)
{
	struct bench t;
	struct verdict_stats s;
	bench_default(&t);
	for (unsigned i = 0; i < 100; i++) {
		char password[16], network[16];
		snprintf(password, sizeof password, "p%u", i);
		snprintf(network, sizeof network, "n%u", i);
		struct verdict_request r = {.account = STR("a@x"),
					    .network = str_of(network),
					    .stored = STR(STORED),
					    .password = str_of(password)};
		verdict_submit(t.e, &r);
	}
	box_wait(&t.box, 100);
	verdict_stats(t.e, &s);
	assert_true(s.hashed <= 3 + 2);
	assert_int_equal(t.box.results[VERDICT_WRONG], 100);
	bench_close(&t);
}

/* ---- the queue itself ---- */

static void add(struct verdict_queue *q, const char *network, uint64_t tag, bool known)
{
	struct verdict_request r = {.tag = tag, .network = str_of(network)};
	verdict_queue_add(q, verdict_job_new(&r), known);
}

static void test_queue(void **state)
{
	struct verdict_queue q;
	verdict_queue_init(&q);
	for (uint64_t i = 0; i < 4; i++)
		add(&q, "flood", 100 + i, false);
	add(&q, "one", 1, false);
	add(&q, "two", 2, false);
	add(&q, "two", 3, false);
	for (uint64_t i = 0; i < 5; i++)
		add(&q, "home", 200 + i, true);
	assert_int_equal(verdict_queue_of_network(&q, STR("flood")), 4);
	/* the known first, each fifth turn for the others; these in turn by network */
	static const uint64_t want[] = {200, 201, 202, 203, 100, 204, 1, 2, 101, 3, 102, 103};
	for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
		struct verdict_job *j = verdict_queue_take(&q);
		assert_non_null(j);
		assert_int_equal(j->tag, want[i]);
		verdict_job_free(j);
	}
	assert_null(verdict_queue_take(&q));
	assert_int_equal(verdict_queue_of_network(&q, STR("flood")), 0);
	verdict_queue_fini(&q);
}

/* Many threads ask, note and look: for TSan. */
struct crowd {
	struct bench *t;
	unsigned number;
};

static void *crowd(void *arg)
{
	const struct crowd *c = arg;
	for (unsigned i = 0; i < 100; i++) {
		char account[16];
		struct verdict_lock_state l;
		struct verdict_stats s;
		snprintf(account, sizeof account, "a%u", i % 7);
		struct verdict_request r = {.account = str_of(account),
					    .network = STR("n"),
					    .stored = STR(STORED),
					    .password = i % 3 ? STR("abc") : STR("wrong")};
		verdict_submit(c->t->e, &r);
		verdict_note(c->t->e, str_of(account), STR("m"), i % 2);
		verdict_account_state(c->t->e, str_of(account), &l);
		verdict_stats(c->t->e, &s);
		if (i % 10 == c->number)
			verdict_account_forget(c->t->e, str_of(account));
		if (i % 13 == c->number)
			verdict_account_unlock(c->t->e, str_of(account));
	}
	return NULL;
}

static void test_crowd(void **state)
{
	struct bench t;
	struct crowd c[4];
	pthread_t threads[4];
	verdict_limits_default(&t.limits);
	t.limits.threads = 3;
	t.limits.cache_max = 3;
	t.limits.counters_max = 4;
	bench_open(&t);
	for (unsigned i = 0; i < 4; i++) {
		c[i] = (struct crowd){&t, i};
		assert_int_equal(pthread_create(&threads[i], NULL, crowd, &c[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	box_wait(&t.box, 400);
	bench_close(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),       cmocka_unit_test(test_cache),
		cmocka_unit_test(test_cache_bounded), cmocka_unit_test(test_lock_account),
		cmocka_unit_test(test_unlock),        cmocka_unit_test(test_known_network),
		cmocka_unit_test(test_window),        cmocka_unit_test(test_same_again),
		cmocka_unit_test(test_lock_network),  cmocka_unit_test(test_never_lock),
		cmocka_unit_test(test_full),          cmocka_unit_test(test_stop),
		cmocka_unit_test(test_burst),         cmocka_unit_test(test_queue),
		cmocka_unit_test(test_crowd),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
