/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "sender_auth/suite_testing.h"
#include "sender_auth/spf/spf.h"
#include "sender_auth/spf/spf_int.h"

#include <arpa/inet.h>

static struct str ip_of(struct arena *a, struct str text)
{
	char bytes[16];
	if (inet_pton(AF_INET, arena_cstr(a, text), bytes) == 1)
		return arena_str(a, (struct str){bytes, 4});
	assert_int_equal(inet_pton(AF_INET6, arena_cstr(a, text), bytes), 1);
	return arena_str(a, (struct str){bytes, 16});
}

struct scenario {
	struct suite *suite;
	struct dns_resolver *resolver;
};

static bool is_wanted(const struct json_value *wanted, struct str got)
{
	if (json_value_type(wanted) == JSON_TYPE_STR)
		return str_eq(json_value_str_or(wanted, STR("")), got);
	for (size_t i = 0; i < json_value_count(wanted); i++) {
		if (str_eq(json_value_str_or(json_value_item(wanted, i), STR("")), got))
			return true;
	}
	return false;
}

static bool run_case(void *context, struct str name, const struct json_value *test)
{
	struct scenario *s = context;
	struct arena *a = s->suite->a;
	struct spf_verdict got;
	struct spf_request q = {
		.ip = ip_of(a, suite_str(test, "host")), .helo = suite_str(test, "helo"),
		.mail_from = suite_str(test, "mailfrom"), .receiver = STR("receiver.example"),
	};
	spf_check(s->resolver, a, &q, &got);
	struct str result = str_of(spf_result_name(got.result));
	const struct json_value *wanted = json_value_member(test, "result");
	struct str explanation = suite_str(test, "explanation");
	bool right = is_wanted(wanted, result);
	if (explanation.n > 0 && !str_eq(explanation, STR("DEFAULT")))
		right = right && str_eq(explanation, got.explanation);
	else if (explanation.n > 0)
		right = right && got.explanation.n == 0;
	suite_result(s->suite, name, right,
		     arena_fmt(a, "%.*s %.*s (%.*s)", STR_ARG(result), STR_ARG(got.explanation),
			       STR_ARG(got.reason)),
		     arena_fmt(a, "%.*s %.*s", STR_ARG(json_value_str_or(wanted, STR("one of several"))),
			       STR_ARG(explanation)));
	return true;
}

static void suite_test(void **state)
{
	ARENA_SCOPED a = arena_new();
	JSON_DOC_SCOPED doc = suite_json(a, "spf/cases/rfc7208.json");
	struct suite suite = {.name = "spf/rfc7208", .a = a};
	const struct json_value *root = json_doc_root(doc);
	if (!doc)
		return;
	for (size_t i = 0; i < json_value_count(root); i++) {
		const struct json_value *scenario = json_value_item(root, i);
		struct scenario s = {&suite, suite_zone(json_value_member(scenario, "zone"))};
		json_value_each(json_value_member(scenario, "tests"), run_case, &s);
		dns_resolver_free(s.resolver);
	}
	suite_end(&suite);
}

/* RFC 7208 7.4 and appendix A */
static void macro_test(void **state)
{
	static const struct {
		const char *in, *wanted;
		bool v6;
	} cases[] = {
		{"%{s}", "strong-bad@email.example.com", false},
		{"%{o}", "email.example.com", false},
		{"%{d}", "email.example.com", false},
		{"%{d4}", "email.example.com", false},
		{"%{d3}", "email.example.com", false},
		{"%{d2}", "example.com", false},
		{"%{d1}", "com", false},
		{"%{dr}", "com.example.email", false},
		{"%{d2r}", "example.email", false},
		{"%{l}", "strong-bad", false},
		{"%{l-}", "strong.bad", false},
		{"%{lr}", "strong-bad", false},
		{"%{lr-}", "bad.strong", false},
		{"%{l1r-}", "strong", false},
		{"%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com", false},
		{"%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com", false},
		{"%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net", false},
		{"%{ir}.%{v}._spf.%{d2}",
		 "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com",
		 true},
		{"%{d99999999999999999999}", "email.example.com", false},
		{"%{S}", "strong-bad%40email.example.com", false},
		{"a%%b%_c%-d.e", "a%b c%20d.e", false},
		{"%{p}", "unknown", false},
	};
	struct dns_resolver *r = dns_table_new();
	ARENA_SCOPED a = arena_new();
	struct spf_request q = {.helo = STR("mx.example.org")};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct spf_run run = {
			.resolver = r,
			.a = a,
			.request = &q,
			.sender = STR("strong-bad@email.example.com"),
			.local = STR("strong-bad"),
			.sender_domain = STR("email.example.com"),
			.ip = ip_of(a, cases[i].v6 ? STR("2001:db8::cb01") : STR("192.0.2.3")),
			.deadline_ms = INT64_MAX,
		};
		struct str got;
		assert_case(cases[i].in, spf_macro_expand(&run, str_of(cases[i].in), STR("email.example.com"),
							  SPF_MACRO_STRING, &got));
		assert_str(cases[i].in, got, str_of(cases[i].wanted));
	}
	dns_resolver_free(r);
}

/* Each breaks one rule of the grammar, or is right at its edge. */
static void record_test(void **state)
{
	static const struct {
		const char *in;
		bool valid;
	} cases[] = {
		{"v=spf1", true},
		{"v=spf1 ", true},
		{"v=spf1  a  -all ", true},
		{"V=SPF1 -ALL", true},
		{"v=spf1 a/24//64 mx:a.b/0//0", true},
		{"v=spf1 a/33", false},
		{"v=spf1 a//129", false},
		{"v=spf1 a/024", false},
		{"v=spf1 a//", false},
		{"v=spf1 a:", false},
		{"v=spf1 a:com", false},
		{"v=spf1 a:b.123", false},
		{"v=spf1 a:b.1-3", true},
		{"v=spf1 a:b.c.", true},
		{"v=spf1 a:b.-c", false},
		{"v=spf1 ip4:1.2.3.4", true},
		{"v=spf1 ip4:1.2.3", false},
		{"v=spf1 ip4:1.2.3.4/33", false},
		{"v=spf1 ip4:1.2.3.4//32", false},
		{"v=spf1 ip6:::1/128", true},
		{"v=spf1 ip6::1/", false},
		{"v=spf1 ip4 a", false},
		{"v=spf1 include", false},
		{"v=spf1 all:b.c", false},
		{"v=spf1 all.", false},
		{"v=spf1 exists:%{i}.b.c", true},
		{"v=spf1 exists:%{d}", true},
		{"v=spf1 exists:%{c}.b.c", false},
		{"v=spf1 exists:%{d0}.b.c", false},
		{"v=spf1 exists:%{dq}.b.c", false},
		{"v=spf1 exists:%d.b.c", false},
		{"v=spf1 exists:%", false},
		{"v=spf1 exists:%{d", false},
		{"v=spf1 exists:%%", true},
		{"v=spf1 redirect=b.c redirect=b.c", false},
		{"v=spf1 exp=b.c exp=b.c", false},
		{"v=spf1 redirect=", false},
		{"v=spf1 x=", true},
		{"v=spf1 x=%{q}", false},
		{"v=spf1 1=x", false},
		{"v=spf1 -x=y", false},
		{"v=spf1 =y", false},
		{"v=spf1 moo", false},
		{"v=spf1 a\t-all", false},
		{"v=spf1 a:b\xc3\xa4.c", false},
		{"v=spf1 --all", false},
	};
	ARENA_SCOPED a = arena_new();
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct spf_record record;
		struct err err;
		assert_case(cases[i].in,
			    spf_record_parse(a, str_of(cases[i].in), &record, &err) == cases[i].valid);
	}
	BUF_SCOPED many = {0};
	struct spf_record record;
	struct err err;
	buf_add(&many, STR("v=spf1"));
	for (int i = 0; i < SPF_TERMS_MAX; i++)
		buf_add(&many, STR(" a"));
	assert_true(spf_record_parse(a, buf_str(&many), &record, &err));
	buf_add(&many, STR(" a"));
	assert_false(spf_record_parse(a, buf_str(&many), &record, &err));
	assert_int_equal(err.kind, ERR_LIMIT);
}

static const char limits_zone[] =
	"{\"loop.example\": [[\"TXT\", \"v=spf1 include:loop.example -all\"]],"
	"\"turn.example\": [[\"TXT\", \"v=spf1 redirect=turn.example\"]],"
	"\"two.example\": [[\"TXT\", \"v=spf1 a:v1.example a:v2.example ip4:192.0.2.1 -all\"]],"
	"\"three.example\": [[\"TXT\", \"v=spf1 a:v1.example a:v2.example a:v3.example ip4:192.0.2.1 "
	"-all\"]],"
	"\"slow.example\": [[\"TIMEOUT\"]], \"usesslow.example\": [[\"TXT\", \"v=spf1 a:slow.example "
	"-all\"]],"
	"\"bogus.example\": [[\"BOGUS\"]],"
	"\"exp.example\": [[\"TXT\", \"v=spf1 exp=why.example -all\"]],"
	"\"why.example\": [[\"TXT\", \"%{i} may not\"]],"
	"\"xn--bcher-kva.example\": [[\"TXT\", \"v=spf1 ip4:192.0.2.1 -all\"]],"
	"\"local.example\": [[\"TXT\", \"v=spf1 exists:%{l}.local.example ?all\"]],"
	"\"testtest.com\": [[\"TXT\", \"v=spf1 ip4:1.2.3.4 ip4:23.21.22.1 ~all\"]]}";

/* 4.6.4, RFC 8616 4, the records of the Korean guides (R136) */
static void limits_test(void **state)
{
	static const struct {
		const char *mail_from, *helo, *ip, *result, *explanation;
	} cases[] = {
		{"a@loop.example", "", "192.0.2.1", "permerror", ""},
		{"a@turn.example", "", "192.0.2.1", "permerror", ""},
		{"a@two.example", "", "192.0.2.1", "pass", ""},
		{"a@two.example", "", "::ffff:192.0.2.1", "pass", ""},
		{"a@three.example", "", "192.0.2.1", "permerror", ""},
		{"a@usesslow.example", "", "192.0.2.1", "temperror", ""},
		{"a@bogus.example", "", "192.0.2.1", "temperror", ""},
		{"a@exp.example", "", "192.0.2.1", "fail", "192.0.2.1 may not"},
		{"a@b\xc3\xbc"
		 "cher.example",
		 "", "192.0.2.1", "pass", ""},
		{"\xea\xb0\x80@local.example", "", "192.0.2.1", "neutral", ""},
		{"", "two.example", "192.0.2.1", "pass", ""},
		{"two.example", "", "192.0.2.1", "pass", ""},
		{"@two.example", "", "192.0.2.1", "pass", ""},
		{"a@", "x.example", "192.0.2.1", "none", ""},
		{"a@none.example", "", "192.0.2.1", "none", ""},
		{"a@testtest.com", "", "1.2.3.4", "pass", ""},
		{"a@testtest.com", "", "23.21.22.1", "pass", ""},
		{"a@testtest.com", "", "23.21.22.2", "softfail", ""},
	};
	JSON_DOC_SCOPED doc = NULL;
	struct err err;
	ARENA_SCOPED a = arena_new();
	assert_true(json_doc_parse(str_of(limits_zone), 65536, &doc, &err));
	struct dns_resolver *r = suite_zone(json_doc_root(doc));
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct spf_verdict got;
		struct spf_request q = {
			.ip = ip_of(a, str_of(cases[i].ip)), .helo = str_of(cases[i].helo),
			.mail_from = str_of(cases[i].mail_from),
		};
		spf_check(r, a, &q, &got);
		assert_str(cases[i].mail_from, str_of(spf_result_name(got.result)), str_of(cases[i].result));
		assert_str(cases[i].mail_from, got.explanation, str_of(cases[i].explanation));
	}
	dns_resolver_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(macro_test), cmocka_unit_test(record_test), cmocka_unit_test(limits_test),
		cmocka_unit_test(suite_test),
	};
	return RUN_TESTS(tests);
}
