/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* R85: one alarm, one all-clear. Each case is a row of figures, a minute apart, and what is told. */
#include "policy/alarm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { START_S = 1795566000, DAY_S = 86400 };

struct told {
	char text[256];
	size_t n, step;
};

static void on_alarm(void *ctx, enum alarm_kind kind, bool on, int64_t value, int64_t limit)
{
	struct told *t = ctx;
	t->n += (size_t)snprintf(t->text + t->n, sizeof t->text - t->n, "%s%zu%c%s:%lld/%lld",
				 t->n ? " " : "", t->step, on ? '+' : '-', alarm_name(kind),
				 (long long)value, (long long)limit);
}

static void test_kinds(void **state)
{
	static const struct {
		const char *name;
		enum alarm_kind kind;
		int64_t limit;
		const char *figures; /* a number for each minute */
		const char *told;    /* step, + or -, name, value, limit */
	} cases[] = {
		{"age", ALARM_QUEUE_AGE, 100, "0 99 100 100 200 81 80 80 80 80 80 10",
		 "3+queue_age:100/100 10-queue_age:80/100"},
		{"it trembles", ALARM_QUEUE_AGE, 100,
		 "100 99 100 99 100 100 99 100 80 80 80 80 99 80 80 80 80 80",
		 "5+queue_age:100/100 17-queue_age:80/100"},
		{"off", ALARM_QUEUE_AGE, 0, "100 100 100", ""},
		{"growth", ALARM_QUEUE_GROWTH, 50, "10 20 59 60 61 62 10 10 10 10 10",
		 "4+queue_growth:51/50 10-queue_growth:0/50"},
		{"disk", ALARM_DISK, 90, "89 90 91 88 88 88 88 88 87 87 87 87 87",
		 "2+disk:91/90 12-disk:87/90"},
		{"certificate: days left", ALARM_CERTIFICATE, 14, "15 14 13 13 300 300 300 300 300",
		 "3+certificate:13/14 8-certificate:300/14"},
		{"restarts", ALARM_RESTARTS, 3, "0 2 3 3 3 2 2 2 2 2", "3+restarts:3/3 9-restarts:2/3"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct alarms a = {0};
		struct alarm_limits limits = {{0}};
		struct told t = {.n = 0};
		struct str rest = str_of(cases[i].figures);
		limits.at[cases[i].kind] = cases[i].limit;
		for (t.step = 0; rest.n; t.step++) {
			uint64_t v;
			assert_true(str_u64(str_cut(&rest, ' '), 1000000, &v));
			struct alarm_figures f = {.now_s = START_S + (int64_t)t.step * 60, .waiting = v,
						  .oldest_age_s = v, .disk_percent = (unsigned)v,
						  .restarts = (unsigned)v};
			f.certificate_until_s = f.now_s + (int64_t)v * DAY_S + 5;
			alarms_judge(&a, &limits, &f, on_alarm, &t);
		}
		if (strcmp(t.text, cases[i].told) != 0)
			fail_msg("%s: %s", cases[i].name, t.text);
	}
}

/* Of the last hour's attempts; few say nothing; a process that began anew is no failure. */
static void test_deferrals(void **state)
{
	struct alarms a = {0};
	struct alarm_limits limits = {{[ALARM_DEFERRALS] = 50}};
	struct told t = {.n = 0};
	for (t.step = 0; t.step < 100; t.step++) {
		struct alarm_figures f = {.now_s = START_S + (int64_t)t.step * 60, .attempts = t.step * 10,
					  .failures = t.step < 20 ? t.step * 10 : 200};
		if (t.step >= 90)
			f.attempts = f.failures = 1;
		alarms_judge(&a, &limits, &f, on_alarm, &t);
	}
	/* 50 attempts at 5; all fail until 20, then none: 200 of 490, which is 40 %, at 49 */
	assert_string_equal("6+deferrals:100/50 53-deferrals:37/50", t.text);
}

static void test_kept(void **state)
{
	struct alarms a = {0}, b = {0};
	BUF_SCOPED text = {0};
	a.v[ALARM_DISK].on = a.v[ALARM_QUEUE_AGE].on = true;
	a.v[ALARM_DISK].since_s = 7;
	alarms_save(&a, &text);
	buf_add(&text, STR("nonsense\ndisk x\n\nrestarts"));
	alarms_load(&b, buf_str(&text));
	assert_true(b.v[ALARM_DISK].on && b.v[ALARM_QUEUE_AGE].on && !b.v[ALARM_RESTARTS].on);
	assert_int_equal(7, b.v[ALARM_DISK].since_s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds), cmocka_unit_test(test_deferrals), cmocka_unit_test(test_kept),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
