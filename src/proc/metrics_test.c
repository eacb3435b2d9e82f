/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Requests (RFC 9112), and the status as OpenMetrics. A real parser reads a real server's in tests/server. */
#include "json/json.h"
#include "proc/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void test_requests(void **state)
{
	static const struct {
		const char *in;
		enum metrics_request want;
	} cases[] = {
		{"", METRICS_MORE},
		{"GET /metrics HTTP/1.1\r\n", METRICS_MORE},
		{"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", METRICS_GET},
		{"GET /metrics HTTP/1.0\r\n\r\n", METRICS_GET},
		{"GET /metrics?name[]=x HTTP/1.1\r\n\r\n", METRICS_GET},
		{"HEAD /metrics HTTP/1.1\r\n\r\nrest", METRICS_HEAD},
		{"GET / HTTP/1.1\r\n\r\n", METRICS_NOT_FOUND},
		{"GET /metricsx HTTP/1.1\r\n\r\n", METRICS_NOT_FOUND},
		{"POST /metrics HTTP/1.1\r\n\r\n", METRICS_BAD_METHOD},
		{"GET /metrics HTTP/2\r\n\r\n", METRICS_BAD},
		{"GET /metrics\r\n\r\n", METRICS_BAD},
		{"\r\n\r\n", METRICS_BAD},
		{"GET  /metrics HTTP/1.1\r\n\r\n", METRICS_BAD},
		{"GET /metrics HTTP/1.1\nx\r\n\r\n", METRICS_BAD},
		{"EHLO x\r\n\r\n", METRICS_BAD},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		if (metrics_request_read(str_of(cases[i].in)) != cases[i].want)
			fail_msg("%s", cases[i].in);
	static char large[METRICS_HEAD_MAX + 1];
	memset(large, 'x', sizeof large);
	assert_int_equal(METRICS_TOO_LARGE, metrics_request_read((struct str){large, sizeof large}));
	assert_int_equal(METRICS_MORE, metrics_request_read((struct str){large, METRICS_HEAD_MAX - 1}));
}

static void test_text(void **state)
{
	static const char status[] =
		"{\"uptime_s\":5,\"roles\":[{\"name\":\"smtp-0\",\"role\":\"smtp\",\"state\":\"ready\","
		"\"restarts\":2,"
		"\"detail\":{\"pss_kib\":3,\"events\":[[\"smtp.accept\",\"service\",\"smtp\",7],"
		"[\"x\\\"\\\\\\n\\u0001\",\"\",\"\",1],[\"smtp.rcpt.refuse\",\"rule\",\"no_relay\",-4]],"
		"\"journal_sync\":{\"bounds_us\":[100,1000],\"counts\":[1,2,3],\"sum_us\":1500000}}},"
		"{\"name\":\"queue\",\"role\":\"queue\",\"state\":\"down\",\"detail\":{\"oldest_s\":9}}]"
		"}";
	static const char *const wanted[] = {
		"pabal_uptime_seconds 5\n",
		"pabal_role_up{process=\"smtp-0\"} 1\npabal_role_up{process=\"queue\"} 0\n",
		"# TYPE pabal_role_restarts counter\n# HELP pabal_role_restarts Times that the process "
		"was started again.\n"
		"pabal_role_restarts_total{process=\"smtp-0\"} 2\n",
		"pabal_role_memory_bytes{process=\"smtp-0\"} 3072\n",
		"pabal_queue_oldest_seconds{process=\"queue\"} 9\n",
		"pabal_messages_accepted_total{process=\"smtp-0\",service=\"smtp\"} 7\n",
		"pabal_recipients_refused_total{process=\"smtp-0\",reason=\"no_relay\"} 0\n",
		"pabal_events_total{process=\"smtp-0\",event=\"x\\\"\\\\\\n_\",by=\"\",value=\"\"} 1\n",
		"pabal_journal_sync_seconds_bucket{process=\"smtp-0\",le=\"0.0001\"} 1\n"
		"pabal_journal_sync_seconds_bucket{process=\"smtp-0\",le=\"0.001\"} 3\n"
		"pabal_journal_sync_seconds_bucket{process=\"smtp-0\",le=\"+Inf\"} 6\n"
		"pabal_journal_sync_seconds_count{process=\"smtp-0\"} 6\n"
		"pabal_journal_sync_seconds_sum{process=\"smtp-0\"} 1.500000\n",
	};
	JSON_DOC_SCOPED doc = NULL;
	BUF_SCOPED out = {0};
	struct err err;
	assert_true(json_doc_parse(STR(status), sizeof status, &doc, &err));
	metrics_write(json_doc_root(doc), &out);
	for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
		if (str_find(buf_str(&out), str_of(wanted[i])) == STR_NPOS)
			fail_msg("%s\nnot in\n%.*s", wanted[i], (int)out.n, out.p);
	assert_true(str_ends(buf_str(&out), STR("\n# EOF\n")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_requests), cmocka_unit_test(test_text)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
