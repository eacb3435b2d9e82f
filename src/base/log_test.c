/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/log.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/log_ring.h"
#include "base/testing.h"
#include <string.h>
#include <unistd.h>

static struct str formatted(struct buf *b, const struct log_field *f, size_t n)
{
	buf_clear(b);
	log_format(b, INT64_C(1795514400123456), LOG_INFO, STR_NONE, "smtp.rcpt.reject", f, n);
	return buf_str(b);
}

static void test_line(void **state)
{
	BUF_SCOPED b = {0};
	struct log_field f[] = {K_CSTR(rcpt, "x@y"), K_INT(code, 550), K_CSTR(why, "no such mailbox"),
				K_INT(us, INT64_MIN)};

	log_context(STR("7f3a"), STR_NONE, STR("a@b"));
	assert_str("line", formatted(&b, f, 4),
		   STR("2026-11-24T10:00:00.123456Z info smtp.rcpt.reject sid=7f3a account=\"a@b\" "
		       "rcpt=\"x@y\" code=550 why=\"no such mailbox\" us=-9223372036854775808"));
	log_context_clear();
	assert_str("no context", formatted(&b, NULL, 0),
		   STR("2026-11-24T10:00:00.123456Z info smtp.rcpt.reject"));
	log_context(STR("a b\n"), STR_NONE, STR_NONE);
	assert_str("forged sid", formatted(&b, NULL, 0),
		   STR("2026-11-24T10:00:00.123456Z info smtp.rcpt.reject sid=\"a b\\n\""));
	log_context_clear();
}

static void test_dates(void **state)
{
	static const struct {
		int64_t s;
		const char *date;
	} cases[] = {
		{0, "1970-01-01T00:00:00"}, {951782400, "2000-02-29T00:00:00"},
		{951868799, "2000-02-29T23:59:59"}, {951868800, "2000-03-01T00:00:00"},
		{4107542400, "2100-03-01T00:00:00"}, {1735689599, "2024-12-31T23:59:59"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		BUF_SCOPED b = {0};
		log_format(&b, cases[i].s * 1000000, LOG_WARN, STR("smtp"), "e", NULL, 0);
		assert_str("date", str_sub(buf_str(&b), 0, 19), str_of(cases[i].date));
		assert_str("rest", str_from(buf_str(&b), 19), STR(".000000Z warn e role=smtp"));
	}
}

static void test_escapes(void **state)
{
	static const struct {
		struct str value, shown;
	} cases[] = {
		{STR(""), STR("why=\"\"")},
		{STR("a\"b\\c"), STR("why=\"a\\\"b\\\\c\"")},
		{STR("a\r\nb\tc"), STR("why=\"a\\r\\nb\\tc\"")},
		{STR("\0\x1b[31m\x7f"), STR("why=\"\\x00\\x1b[31m\\x7f\"")},
		{STR("\xed\x95\x9c"), STR("why=\"\xed\x95\x9c\"")},
		{STR("\xed\x95"), STR("why=\"\\xed\\x95\"")},
		{STR("\xc2\x9b" "1m"), STR("why=\"\\xc2\\x9b1m\"")},    /* a C1 control: CSI */
		{STR("\xe2\x80\xa8"), STR("why=\"\\xe2\\x80\\xa8\"")}, /* LINE SEPARATOR */
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		BUF_SCOPED b = {0};
		struct log_field f = K_STR(why, cases[i].value);
		assert_str("value", str_from(formatted(&b, &f, 1), 50), cases[i].shown);
	}
}

static void test_long_values(void **state)
{
	static char big[5000];
	BUF_SCOPED b = {0};
	struct log_field f[] = {K_STR(why, ((struct str){big, sizeof(big)})), K_INT(code, 1)};

	memset(big, 'a', sizeof(big));
	assert_true(str_ends(formatted(&b, f, 2), STR("a...\" code=1")));
	memset(big, '\n', sizeof(big)); /* two bytes each: the line itself is cut */
	struct log_field many[] = {f[0], f[0], f[0], f[0]};
	assert_true(formatted(&b, many, 4).n < 4096);
	assert_false(str_has_byte(buf_str(&b), '\n'));
}

/* The next line in the ring, without what stands before the level. */
static struct str next_line(struct log_ring *r, char *text, size_t room)
{
	struct str rest = {text, log_ring_peek(r, text, room)};
	struct str line = str_cut(&rest, '\n');

	if (line.n <= 28)
		return STR_NONE;
	log_ring_take(r, line.n + 1);
	return str_from(line, 28);
}

static void test_ring(void **state)
{
	static char text[4200];
	int fd = log_ring_new(), wake = log_ring_wake_new();
	struct log_ring *ring;
	struct err err = {0};

	assert_true(log_ring_open(fd, wake, &ring, &err));
	log_init("smtp", LOG_INFO);
	log_to_ring(ring);
	log_event(LOG_DEBUG, "not.shown");
	log_event(LOG_INFO, "shown", K_INT(count, 3));
	assert_str("event", next_line(ring, text, sizeof(text)), STR("info shown role=smtp count=3"));
	log_set_level(LOG_ERROR);
	log_audit("account.add", K_CSTR(account, "a@b"));
	assert_str("audit", next_line(ring, text, sizeof(text)),
		   STR("audit account.add role=smtp account=\"a@b\""));
	log_set_level(LOG_INFO);

	err_set(&err, ERR_QUOTA, "mailbox full");
	log_err(LOG_WARN, "failed", &err);
	assert_true(str_find(next_line(ring, text, sizeof(text)), STR("kind=\"quota\"")) != STR_NPOS);

	/* full: lines are counted, and told of when there is room */
	int sent = 0, seen = 0;
	for (; sent < 100000; sent++)
		log_event(LOG_INFO, "flood");
	while (next_line(ring, text, sizeof(text)).n)
		seen++;
	assert_true(seen > 0 && seen < sent);
	log_event(LOG_INFO, "room");
	assert_str("room", next_line(ring, text, sizeof(text)), STR("info room role=smtp"));
	char want[64];
	snprintf(want, sizeof(want), "warn log.lost role=smtp count=%d", sent - seen);
	assert_str("lost", next_line(ring, text, sizeof(text)), str_of(want));
	log_to_ring(NULL);
	log_ring_close(ring);
	close(fd);
	close(wake);
}

static uint64_t counted(const char *event, const char *key, const char *label)
{
	static struct log_count all[LOG_COUNTS_MAX];
	size_t n = log_counts(all);

	for (size_t i = 0; i < n; i++)
		if (!strcmp(all[i].event, event) && !strcmp(all[i].key, key) && !strcmp(all[i].label, label))
			return all[i].n;
	return 0;
}

/* Also what is not written; apart by rule, code or service. */
static void test_counts(void **state)
{
	log_set_level(LOG_ERROR);
	for (int i = 0; i < 3; i++)
		log_event(LOG_DEBUG, "count.one", K_STR(from, STR("a@b")));
	log_event(LOG_INFO, "count.two", K_CSTR(rule, "no_relay"), K_INT(code, 550));
	log_event(LOG_INFO, "count.two", K_INT(code, 451));
	log_event(LOG_INFO, "count.two", K_INT(code, 451), K_CSTR(service, "smtp"));
	log_event(LOG_INFO, "count.two", K_CSTR(service, "evil\"} 1"));
	log_set_level(LOG_INFO);
	assert_int_equal(3, counted("count.one", "", ""));
	assert_int_equal(1, counted("count.two", "rule", "no_relay"));
	assert_int_equal(2, counted("count.two", "code", "451"));
	assert_int_equal(1, counted("count.two", "service", "evil___1"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counts),      cmocka_unit_test(test_line),
		cmocka_unit_test(test_dates),       cmocka_unit_test(test_escapes),
		cmocka_unit_test(test_long_values), cmocka_unit_test(test_ring),
	};
	return RUN_TESTS(tests);
}
