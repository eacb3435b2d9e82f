/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Threads that would be long work: counted, not timed. */
#include "imap/thread.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

enum { MANY = 100000 };

static struct str run(struct arena *a, enum thread_algorithm how, unsigned n,
		      void (*make)(struct arena *a, unsigned i, struct summary *out), struct buf *out)
{
	struct threading t;

	threading_init(&t, how, false, a);
	for (unsigned i = 0; i < n; i++) {
		struct summary s = {.date_unix = 1000 + i};
		make(a, i, &s);
		threading_add(&t, i + 1, i + 1, 5, &s);
	}
	threading_write(&t, out);
	threading_fini(&t);
	return buf_str(out);
}

static unsigned count(struct str s, char c)
{
	unsigned n = 0;

	for (size_t i = 0; i < s.n; i++)
		n += s.p[i] == c;
	return n;
}

/* Each number once, parentheses in pairs. */
static void whole(struct str s, unsigned n)
{
	bool *seen = calloc(n + 1, sizeof(*seen));
	long depth = 0;

	for (size_t i = 0; i < s.n; i++) {
		depth += (s.p[i] == '(') - (s.p[i] == ')');
		assert_true(depth >= 0);
		if (s.p[i] < '0' || s.p[i] > '9')
			continue;
		unsigned v = 0;
		for (; s.p[i] >= '0' && s.p[i] <= '9'; i++)
			v = v * 10 + (unsigned)(s.p[i] - '0');
		i--;
		assert_true(v >= 1 && v <= n && !seen[v]);
		seen[v] = true;
	}
	assert_int_equal(depth, 0);
	for (unsigned i = 1; i <= n; i++)
		assert_true(seen[i]);
	free(seen);
}

static void same_subject(struct arena *a, unsigned i, struct summary *s) { s->base_subject = STR("lunch"); }

static void one_subject(void **state)
{
	static const enum thread_algorithm all[] = {THREAD_ORDEREDSUBJECT, THREAD_REFERENCES};

	for (size_t i = 0; i < 2; i++) {
		ARENA_SCOPED a = arena_new();
		BUF_SCOPED out = {};
		struct str s = run(a, all[i], MANY, same_subject, &out);
		whole(s, MANY);
		assert_int_equal(count(s, '('), i ? MANY + 1 : MANY);
	}
}

static void chained(struct arena *a, unsigned i, struct summary *s)
{
	s->message_id = arena_fmt(a, "<%u@x>", i);
	s->in_reply_to = arena_fmt(a, "<%u@x>", i - 1);
}

static void chained_backwards(struct arena *a, unsigned i, struct summary *s)
{
	s->message_id = arena_fmt(a, "<%u@x>", i);
	s->in_reply_to = arena_fmt(a, "<%u@x>", i + 1);
}

/* Pairs that are hung to the lower end of a long chain. */
static void chained_pairs(struct arena *a, unsigned i, struct summary *s)
{
	s->message_id = arena_fmt(a, "<%u@x>", i);
	s->references = i % 2 ? arena_fmt(a, "<%u@x> <%u@x>", i - 3, i - 1) : arena_fmt(a, "<%u@x>", i + 5);
}

/* Each message takes a parent away from the one before. */
static void quarrel(struct arena *a, unsigned i, struct summary *s)
{
	s->message_id = arena_fmt(a, "<%u@x>", i * 7919 % MANY);
	s->references = arena_fmt(a, "<%u@x> <%u@x> <%u@x>", i, i * 31 % MANY, (i * 17 + 3) % MANY);
}

static void all_missing(struct arena *a, unsigned i, struct summary *s)
{
	BUF_SCOPED refs = {};

	for (unsigned k = 0; k < 100; k++)
		buf_fmt(&refs, "%s<%u.%u@x>", k ? " " : "", i, k);
	s->references = arena_str(a, buf_str(&refs));
}

static void ring(struct arena *a, unsigned i, struct summary *s)
{
	s->message_id = arena_fmt(a, "<%u@x>", i % 10);
	s->references = arena_fmt(a, "<%u@x> <%u@x> <%u@x>", i % 10, (i + 1) % 10, i % 10);
}

static void long_work(void **state)
{
	static void (*const makers[])(struct arena *a, unsigned i, struct summary *out) = {
		chained, chained_backwards, chained_pairs, quarrel, ring, all_missing,
	};

	for (size_t i = 0; i < sizeof(makers) / sizeof(*makers); i++) {
		ARENA_SCOPED a = arena_new();
		BUF_SCOPED out = {};
		unsigned n = makers[i] == all_missing ? MANY / 5 : MANY;
		whole(run(a, i % 2 ? THREAD_REFS : THREAD_REFERENCES, n, makers[i], &out), n);
	}
}

/* A chain is one thread, written flat. */
static void flat(void **state)
{
	ARENA_SCOPED a = arena_new();
	BUF_SCOPED out = {};
	struct str s = run(a, THREAD_REFERENCES, 5, chained, &out);

	assert_true(str_eq(s, STR("(1 2 3 4 5)")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flat), cmocka_unit_test(one_subject), cmocka_unit_test(long_work),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
