/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/testing.h"

#include "base/buf.h"
#include "base/embed.h"
#include "queue/shape.h"

#include <string.h>

static const int64_t second_us = 1000000, minute_us = 60 * 1000000LL, hour_us = 3600 * 1000000LL;
static const int64_t t0 = 1000 * 3600 * 1000000LL;

extern const struct embedded_file queue_shaping[];

static const char header[] =
	"group\tmx_suffix\tdomains\tmax_conn\tmsgs_per_conn\trcpts_per_msg\trate_per_min\t"
	"rate_per_hour\twarm_start_per_day\ttls\tbackoff_421\tblock_pause\n";
static const char table[] = "# a comment\n\n"
			    "big\t.big.example\tbig.kr,other.kr\t5\t20\t50\t60\t600\t0\trequire\t5m\t1h\n"
			    "default\t\t\t4\t10\t50\t0\t0\t0\tmay\t1m\t30m\n";

static struct shapes *shapes(const char *text)
{
	struct shapes *s = NULL;
	struct err err = {0};
	BUF_SCOPED b = {0};
	buf_add(&b, str_of(header));
	buf_add(&b, str_of(text));
	if (!shapes_new(buf_str(&b), &s, &err))
		print_error("%s\n", err.text);
	assert_non_null(s);
	return s;
}

static void test_builtin(void **state)
{
	(void)state;
	struct shapes *s;
	struct err err = {0};
	assert_true(shapes_new((struct str){(const char *)queue_shaping[0].bytes, queue_shaping[0].size},
			       &s, &err));
	assert_str("google", shape_of(s, STR("gmail-smtp-in.l.google.com"), STR("gmail.com"))->name,
		   STR("google"));
	assert_true(shape_of(s, STR("gmail-smtp-in.l.google.com"), STR("gmail.com"))->limits.tls_required);
	assert_int_equal(shape_of(s, STR("mx.nowhere.example"), STR("nowhere.example"))->active, 0);
	shapes_free(s);
}

static void test_groups(void **state)
{
	(void)state;
	struct shapes *s = shapes(table);
	static const struct {
		const char *mx, *domain, *name;
	} cases[] = {
		{"mx1.big.example", "a.kr", "big"},
		{"MX2.BIG.EXAMPLE", "b.kr", "big"},
		{"mx.elsewhere.kr", "big.kr", "big"},
		{"mx.elsewhere.kr", "OTHER.KR", "big"},
		{"notbig.example", "c.kr", "default:notbig.example"},
		{"mx.shared.kr", "d.kr", "default:mx.shared.kr"},
		{"mx.shared.kr", "e.kr", "default:mx.shared.kr"},
		{"", "f.kr", "default:f.kr"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_str(cases[i].mx, shape_of(s, str_of(cases[i].mx), str_of(cases[i].domain))->name,
			   str_of(cases[i].name));
	assert_true(shape_of(s, STR("x.big.example"), STR("a")) ==
		    shape_of(s, STR("y.big.example"), STR("b")));
	struct shape *route = shape_of_route(s, STR("*"));
	assert_str("route", route->name, STR("route:*"));
	assert_int_equal(route->limits.rate_per_min, 0);
	shapes_free(s);
}

static void test_bad_tables(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"", /* no row "default" */
		"default\t\t\t4\t10\t50\t0\t0\t0\tmay\t1m\n",
		"default\t\t\tx\t10\t50\t0\t0\t0\tmay\t1m\t30m\n",
		"default\t\t\t4\t10\t50\t0\t0\t0\tmay\t1\t30m\n",
		"default\t\t\t4\t10\t50\t0\t0\t0\tmay\t1m\t30d\n",
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct shapes *s = NULL;
		struct err err = {0};
		assert_case(bad[i], !shapes_new(str_of(bad[i]), &s, &err));
		assert_int_equal(err.kind, ERR_SYNTAX);
	}
}

/* Begins as many as may; returns how many. */
static int begin_all(struct shape *s, int64_t now, int most)
{
	int64_t wait;
	int n = 0;
	for (; n < most && shape_may_begin(s, now, &wait); n++)
		shape_begin(s, now);
	return n;
}

/* From two connections up by one for each that ends well while all are used, and no further. */
static void test_grows(void **state)
{
	(void)state;
	struct shapes *s = shapes(table);
	struct shape *d = shape_of(s, STR("mx.a.kr"), STR("a.kr"));
	assert_int_equal(begin_all(d, t0, 100), 2);
	for (int i = 0; i < 20; i++) {
		shape_end(d, SHAPE_OK, STR_NONE, t0);
		begin_all(d, t0, 100);
		assert_true(d->active <= 4);
	}
	assert_int_equal(d->active, 4);
	shape_end(d, SHAPE_CLOSED, STR("421 bye"), t0);
	assert_int_equal(begin_all(d, t0 + 2 * hour_us, 100), 0); /* three are under way, one is allowed */
	shapes_free(s);
}

static void test_rates(void **state)
{
	(void)state;
	struct shapes *s = shapes(table);
	struct shape *b = shape_of(s, STR("mx.big.example"), STR("x"));
	int sent = 0;
	/* 60 a minute and 600 an hour: over a long time the hour decides. */
	for (int64_t now = t0; now < t0 + 2 * hour_us; now += second_us) {
		int64_t wait;
		while (shape_may_begin(b, now, &wait)) {
			shape_begin(b, now);
			shape_end(b, SHAPE_OK, STR_NONE, now);
			sent++;
		}
		assert_true(wait > 0);
	}
	assert_in_range(sent, 1150, 1270);
	shapes_free(s);
}

static void test_pauses(void **state)
{
	(void)state;
	struct shapes *s = shapes(table);
	struct shape *b = shape_of(s, STR("mx.big.example"), STR("x"));
	int64_t wait, now = t0;
	/* Each in a row doubles; many at once count as one. */
	for (int k = 0; k < 8; k++) {
		int64_t want = 5 * minute_us << k;
		if (want > 4 * hour_us)
			want = 4 * hour_us;
		shape_end(b, SHAPE_CLOSED, STR("421 4.7.0 try later"), now);
		shape_end(b, SHAPE_CLOSED, STR("421 4.7.0 try later"), now);
		assert_false(shape_may_begin(b, now, &wait));
		assert_int_equal(wait, want);
		now += wait;
	}
	assert_string_equal(b->reason, "421 4.7.0 try later");
	shape_end(b, SHAPE_BLOCKED, STR("550 blocked"), now);
	assert_false(shape_may_begin(b, now, &wait));
	assert_int_equal(wait, 24 * hour_us);
	shapes_free(s);
}

static void test_slow_and_back(void **state)
{
	(void)state;
	struct shapes *s = shapes(table);
	struct shape *b = shape_of(s, STR("mx.big.example"), STR("x"));
	int64_t wait;
	assert_true(shape_may_begin(b, t0, &wait));
	shape_end(b, SHAPE_SLOW, STR("450 too many"), t0);
	assert_int_equal((int)(b->rate_factor * 10), 1);
	assert_int_equal(b->conn_now, 1);
	assert_true(b->paused_until_us <= t0); /* once: slower; again within the hour: a pause */
	shape_end(b, SHAPE_SLOW, STR("450 too many"), t0 + second_us);
	assert_true(b->paused_until_us <= t0);
	shape_end(b, SHAPE_SLOW, STR("450 too many"), t0 + 10 * minute_us);
	assert_int_equal(b->paused_until_us, t0 + 10 * minute_us + hour_us);
	double before = b->rate_factor;
	for (int64_t now = t0 + 2 * hour_us; now < t0 + 12 * hour_us; now += minute_us) {
		(void)shape_may_begin(b, now, &wait);
		assert_true(b->rate_factor >= before);
		before = b->rate_factor;
	}
	assert_true(b->rate_factor == 1);
	assert_string_equal(b->reason, "");
	shapes_free(s);
}

static void test_saved(void **state)
{
	(void)state;
	struct shapes *s = shapes(table), *again = shapes(table);
	BUF_SCOPED first = {0};
	BUF_SCOPED second = {0};
	shape_end(shape_of(s, STR("mx.big.example"), STR("x")), SHAPE_BLOCKED,
		  STR("550 your IP\tis blocked"), t0);
	shape_end(shape_of(s, STR("mx.a.kr"), STR("a.kr")), SHAPE_SLOW, STR("450 slow"), t0);
	(void)shape_of(s, STR("mx.rest.kr"), STR("rest.kr"));
	(void)shape_of_route(s, STR("*"));
	shape_end(shape_of_route(s, STR(".kr")), SHAPE_CLOSED, STR("421"), t0);
	shapes_save(s, &first);
	shapes_restore(again, buf_str(&first));
	struct shape *b = shape_of(again, STR("mx.big.example"), STR("x"));
	int64_t wait;
	assert_false(shape_may_begin(b, t0 + minute_us, &wait));
	assert_int_equal(wait, 59 * minute_us);
	assert_int_equal(b->hits, 1);
	assert_int_equal(b->limits.max_conn, 5);
	assert_int_equal(shape_of_route(again, STR(".kr"))->limits.max_conn, 20);
	shapes_save(again, &second);
	assert_int_equal(first.n, second.n);
	static const char *const damaged[] = {"",
					      "\n\n",
					      "x",
					      "big\t",
					      "big\t1\t2\t3\t4\t5",
					      "big\t-1\t2\t3\t4\t5\tx",
					      "\t1\t1\t1\t1\t1\tx\n",
					      "big\t1\t2\t3\t4\t99999999999999999999\tx"};
	for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++)
		shapes_restore(again, str_of(damaged[i]));
	shapes_free(s);
	shapes_free(again);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_builtin),       cmocka_unit_test(test_groups),
		cmocka_unit_test(test_bad_tables),    cmocka_unit_test(test_grows),
		cmocka_unit_test(test_rates),         cmocka_unit_test(test_pauses),
		cmocka_unit_test(test_slow_and_back), cmocka_unit_test(test_saved),
	};
	return RUN_TESTS(tests);
}
