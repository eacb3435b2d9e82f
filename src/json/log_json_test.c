/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* R87: lines as JSON, with our names and with those of the Elastic Common Schema. */
#include "json/json.h"
#include "json/log_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define T "2026-11-24T10:00:00.000001Z"

static void test_forms(void **state)
{
	static const struct {
		const char *line, *plain, *ecs;
	} cases[] = {
		{T " info smtp.accept role=smtp-0 sid=12 qid=0a peer=\"192.0.2.1\" from=\"a\\\"b@c\" "
		   "size=10",
		 "{\"@timestamp\":\"" T
		 "\",\"level\":\"info\",\"event\":\"smtp.accept\",\"role\":\"smtp-0\",\"sid\":\"12\","
		 "\"qid\":\"0a\",\"peer\":\"192.0.2.1\",\"from\":\"a\\\"b@c\",\"size\":10}",
		 "{\"@timestamp\":\"" T
		 "\",\"log.level\":\"info\",\"event.action\":\"smtp.accept\",\"ecs.version\":\"8.11.0\","
		 "\"service.name\":\"pabal\",\"event.dataset\":\"pabal.log\",\"event.outcome\":"
		 "\"success\","
		 "\"process.name\":\"smtp-0\",\"pabal.sid\":\"12\",\"pabal.qid\":\"0a\",\"source.ip\":"
		 "\"192.0.2.1\","
		 "\"email.from.address\":\"a\\\"b@c\",\"pabal.size\":10,\"trace.id\":\"0a\"}"},
		{T " audit admin.act user_id=0 ms=5 qid=1 qid=2 peer=\"mx.x\"",
		 "{\"@timestamp\":\"" T
		 "\",\"level\":\"audit\",\"event\":\"admin.act\",\"user_id\":0,\"ms\":5,\"qid\":\"1\","
		 "\"peer\":\"mx.x\"}",
		 "{\"@timestamp\":\"" T
		 "\",\"log.level\":\"audit\",\"event.action\":\"admin.act\",\"ecs.version\":\"8.11.0\","
		 "\"service.name\":\"pabal\",\"event.dataset\":\"pabal.audit\",\"event.outcome\":"
		 "\"unknown\",\"user.id\":\"0\","
		 "\"event.duration\":5000000,\"pabal.qid\":\"1\",\"destination.domain\":\"mx.x\",\"trace."
		 "id\":\"1\"}"},
		{"garbage", "{\"message\":\"garbage\"}", "{\"message\":\"garbage\"}"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		BUF_SCOPED plain = {0};
		BUF_SCOPED ecs = {0};
		json_log_line(&plain, str_of(cases[i].line), JSON_LOG_PLAIN);
		json_log_line(&ecs, str_of(cases[i].line), JSON_LOG_ECS);
		if (!str_eq(buf_str(&plain), str_of(cases[i].plain)))
			fail_msg("%.*s", (int)plain.n, plain.p);
		if (!str_eq(buf_str(&ecs), str_of(cases[i].ecs)))
			fail_msg("%.*s", (int)ecs.n, ecs.p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_forms)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
