/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "sender_auth/suite_testing.h"
#include "sender_auth/dmarc/dmarc.h"

/* "pass:example.com" */
static struct str split(struct str s, struct str *domain)
{
	*domain = s;
	return str_cut(domain, ':');
}

static void suite_test(void **state)
{
	ARENA_SCOPED a = arena_new();
	JSON_DOC_SCOPED doc = suite_json(a, "dmarc/cases.json");
	JSON_DOC_SCOPED zone = doc ? suite_json(a, "dmarc/zone.json") : NULL;
	struct suite suite = {.name = "dmarc", .a = a};
	if (!zone)
		return;
	struct dns_resolver *r = suite_zone(json_value_member(json_doc_root(zone), "records"));
	const struct json_value *root = json_doc_root(doc);
	for (size_t i = 0; i < json_value_count(root); i++) {
		const struct json_value *test = json_value_item(root, i),
					*list = json_value_member(test, "dkim");
		struct dmarc_dkim dkim[4];
		struct dmarc_request q = {.author_domain = suite_str(test, "from"), .dkim = dkim};
		struct dmarc_verdict got;
		assert_true(spf_result_parse(split(suite_str(test, "spf"), &q.spf_domain), &q.spf));
		for (; q.dkim_n < json_value_count(list); q.dkim_n++) {
			struct str text = json_value_str_or(json_value_item(list, q.dkim_n), STR(""));
			assert_true(dkim_result_parse(split(text, &dkim[q.dkim_n].domain),
						      &dkim[q.dkim_n].result));
		}
		dmarc_check(r, a, &q, &got);
		struct str result = arena_fmt(a, "%s %s", dmarc_result_name(got.result),
					      got.has_policy ? dmarc_policy_name(got.policy) : "null");
		struct str want = arena_fmt(
			a, "%.*s %.*s", STR_ARG(suite_str(test, "result")),
			STR_ARG(json_value_str_or(json_value_member(test, "policy"), STR("null"))));
		suite_result(&suite, suite_str(test, "id"), str_eq(result, want), result, want);
	}
	dns_resolver_free(r);
	suite_end(&suite);
}

/* "p sp np" or NULL: not usable */
static void record_test(void **state)
{
	static const struct {
		const char *in, *wanted;
	} cases[] = {
		{"v=DMARC1; p=reject", "reject reject reject"},
		{"v=DMARC1;p=none;sp=reject", "none reject reject"},
		{"v=DMARC1; p=none; np=reject", "none none reject"},
		{"v=DMARC1; P=Reject", "reject reject reject"},
		{" v = DMARC1 ; p = quarantine ; ", "quarantine quarantine quarantine"},
		{"v=DMARC1", NULL},
		{"v=DMARC1; p=x", NULL},
		{"v=DMARC1; p=x; rua=mailto:a@b", "none none none"},
		{"v=DMARC1; p=reject; sp=x; rua=mailto:a@b", "none none none"},
		{"v=DMARC1; rua=mailto:a@b", "none none none"},
		{"v=DMARC1; p=x; rua=nonsense", NULL},
		{"p=reject; v=DMARC1", NULL},
		{"v=DMARC2; p=reject", NULL},
		{"v=dmarc1; p=reject", NULL},
		{"", NULL},
		{"v=DMARC1 p=reject", NULL},
		{"v=DMARC1; p=reject; junk; x=; =y;;", "reject reject reject"},
		/* the Korean guide's (R138) */
		{"v=DMARC1; p=quarantine; pct=10; rua=mailto:dmarcmail@test.com; sp=quarantine; aspf=s;",
		 "quarantine quarantine quarantine"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		ARENA_SCOPED a = arena_new();
		struct dmarc_record r;
		struct err err;
		bool good = dmarc_record_parse(str_of(cases[i].in), &r, &err);
		assert_case(cases[i].in, good == (cases[i].wanted != NULL));
		if (good)
			assert_str(cases[i].in,
				   arena_fmt(a, "%s %s %s", dmarc_policy_name(r.p),
					     dmarc_policy_name(r.sp), dmarc_policy_name(r.np)),
				   str_of(cases[i].wanted));
	}
	struct dmarc_record r;
	struct err err;
	assert_true(dmarc_record_parse(str_of(cases[17].in), &r, &err));
	assert_true(r.strict_spf && !r.strict_dkim && r.has_percent && r.percent == 10);
}

static void addresses_test(void **state)
{
	ARENA_SCOPED a = arena_new();
	struct str got[DMARC_URIS_MAX];
	assert_int_equal(
		dmarc_report_addresses(a, STR("mailto:a@b.c!10m, https://x.y/, MAILTO:d%2Ce@f"), got), 2);
	assert_str("size", got[0], STR("a@b.c"));
	assert_str("percent", got[1], STR("d,e@f"));
	BUF_SCOPED many = {0};
	for (int i = 0; i < 50; i++)
		buf_fmt(&many, "mailto:a%d@b,", i);
	assert_int_equal(dmarc_report_addresses(a, buf_str(&many), got), DMARC_URIS_MAX);
}

/* RFC 9989 4.10: eight questions however deep; and what temporary errors come to. */
static void walk_test(void **state)
{
	static const char zone[] =
		"{\"_dmarc.example.com\": [[\"TXT\", \"v=DMARC1; p=reject; np=quarantine\"]],"
		"\"_dmarc.slow.org\": [[\"TIMEOUT\"]], \"_dmarc.half.slow.org\": [[\"TXT\", \"v=DMARC1; "
		"p=reject\"]], "
		"\"sub.example.com\": [[\"A\", \"192.0.2.1\"]],"
		"\"_dmarc.n.example.net\": [[\"TXT\", \"v=DMARC1; p=none; psd=n\"]],"
		"\"_dmarc.example.net\": [[\"TXT\", \"v=DMARC1; p=reject\"]],"
		"\"_dmarc.psd\": [[\"TXT\", \"v=DMARC1; p=reject; psd=y\"]],"
		"\"_dmarc.mid.example.com\": [[\"TXT\", \"v=DMARC1; p=none\"]]}";
	static const struct {
		const char *from, *spf, *wanted; /* result policy policy-domain organization */
		unsigned queries;
	} cases[] = {
		{"a.b.c.d.e.f.g.h.i.j.mail.example.com", "fail:x",
		 "fail quarantine example.com example.com", 8},
		{"sub.example.com", "fail:x", "fail reject example.com example.com", 3},
		{"gone.example.com", "fail:x", "fail quarantine example.com example.com", 3},
		{"x.mid.example.com", "pass:other.example.com", "pass quarantine example.com example.com",
		 7},
		{"mid.example.com", "pass:example.com", "pass none mid.example.com example.com", 5},
		{"half.slow.org", "pass:half.slow.org", "pass reject half.slow.org half.slow.org", 2},
		{"half.slow.org", "pass:slow.org", "temperror reject half.slow.org half.slow.org", 2},
		{"half.slow.org", "pass:fast.net", "fail reject half.slow.org half.slow.org", 2},
		{"slow.org", "pass:slow.org", "temperror -  slow.org", 1},
		{"example.com", "temperror:example.com", "temperror reject example.com example.com", 2},
		{"example.com", "temperror:example.net", "fail reject example.com example.com", 2},
		{"x.n.example.net", "pass:example.net", "fail none n.example.net n.example.net", 4},
		{"n.example.net", "pass:y.n.example.net", "pass none n.example.net n.example.net", 3},
		{"a.psd", "pass:b.psd", "fail reject psd a.psd", 4},
		{"psd", "pass:psd", "pass reject psd psd", 1},
		{"nothing.kr", "pass:nothing.kr", "none -  nothing.kr", 2},
	};
	JSON_DOC_SCOPED doc = NULL;
	struct err err;
	ARENA_SCOPED a = arena_new();
	assert_true(json_doc_parse(str_of(zone), 65536, &doc, &err));
	struct dns_resolver *r = suite_zone(json_doc_root(doc));
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct dmarc_request q = {.author_domain = str_of(cases[i].from)};
		struct dmarc_verdict got;
		assert_true(spf_result_parse(split(str_of(cases[i].spf), &q.spf_domain), &q.spf));
		dmarc_check(r, a, &q, &got);
		assert_str(cases[i].from, arena_fmt(a, "%s %s %.*s %.*s", dmarc_result_name(got.result),
						    got.has_policy ? dmarc_policy_name(got.policy) : "-",
						    STR_ARG(got.policy_domain), STR_ARG(got.organization)),
			   str_of(cases[i].wanted));
		assert_int_equal(got.queries, cases[i].queries);
	}
	/* by the list: a.example.com and b.example.com are one, a.co.kr and b.co.kr are not */
	struct dmarc_request q = {.author_domain = STR("a.example.com"), .spf = SPF_PASS,
				  .spf_domain = STR("b.example.com"), .use_suffixes = true};
	struct dmarc_verdict got;
	dmarc_check(r, a, &q, &got);
	assert_int_equal(got.result, DMARC_PASS);
	assert_int_equal(got.queries, 2);
	dns_resolver_free(r);
}

/* wanted NULL: refused (CVE-2019-16378, CVE-2021-34555) */
static void author_test(void **state)
{
	static const struct {
		const char *in, *wanted;
	} cases[] = {
		{"From: a@Example.COM\r\n\r\n", "example.com"},
		{"From: \"x, y@evil\" <a@b.c>\r\n", "b.c"},
		{"From: a@b.c, d@b.c\r\n", "b.c"},
		{"From: a@b.c, d@e.f\r\n", NULL},
		{"From: a@b.c\r\nFrom: a@b.c\r\n", NULL},
		{"To: a@b.c\r\n", NULL},
		{"From: \r\n", NULL},
		{"From: a\r\n", NULL},
		{"From: undisclosed:;\r\n", NULL},
		{"From: g: a@b.c, d@b.c;\r\n", "b.c"},
		{"From: a@[192.0.2.1]\r\n", NULL},
		{"From: a@b..c\r\n", NULL},
		{"From: a@\xea\xb0\x80.example\r\n", "xn--o39a.example"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		ARENA_SCOPED a = arena_new();
		struct str got;
		struct err err;
		bool good = dmarc_author_domain(a, str_of(cases[i].in), &got, &err);
		assert_case(cases[i].in, good == (cases[i].wanted != NULL));
		if (good)
			assert_str(cases[i].in, got, str_of(cases[i].wanted));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(record_test), cmocka_unit_test(addresses_test), cmocka_unit_test(walk_test),
		cmocka_unit_test(author_test), cmocka_unit_test(suite_test),
	};
	return RUN_TESTS(tests);
}
