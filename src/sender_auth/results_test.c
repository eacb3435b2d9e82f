/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/testing.h"
#include "base/arena.h"
#include "sender_auth/results.h"

/* wanted: "id|method=result,property...;..." or NULL for refused */
static void parse_test(void **state)
{
	static const struct {
		const char *in, *wanted;
	} cases[] = {
		/* RFC 8601 appendix B */
		{"example.org 1; none", "example.org|"},
		{"example.com;\r\n          spf=pass smtp.mailfrom=example.net",
		 "example.com|spf=pass,smtp.mailfrom=example.net;"},
		{"example.com;\r\n  auth=pass (cram-md5) smtp.auth=sender@example.net;\r\n  spf=pass "
		 "smtp.mailfrom=example.net",
		 "example.com|auth=pass,smtp.auth=sender@example.net;spf=pass,smtp.mailfrom=example."
		 "net;"},
		{"example.com;\r\n dkim=pass reason=\"good signature\" "
		 "header.i=@mail-router.example.net;",
		 "example.com|dkim=pass,header.i=@mail-router.example.net;"},
		{"foo.example.net (foobar) 1 (baz);\r\n    dkim (Because I like it) / 1 (One yay) = "
		 "(wait for it) fail\r\n"
		 "      policy (A dot can go here) . (like that) expired\r\n"
		 "      (this surprised me) = (as I wasn't expecting it) 1362471462",
		 "foo.example.net|dkim=fail,policy.expired=1362471462;"},
		{"(com(me)nt \\) ) \"a b\" ; SPF=Pass", "a b|spf=pass;"},
		{"a; spf=pass smtp.mailfrom=\"x y\"@b", "a|spf=pass,smtp.mailfrom=x y@b;"},
		{"", NULL},
		{"; spf=pass", NULL},
		{"a; spf", NULL},
		{"a; spf=", NULL},
		{"a (b; spf=pass", NULL},
		{"a; spf=pass smtp.=x", NULL},
		{"a; spf=pass \"", NULL},
		{"a; spf=pass x", NULL},
		{"a b", NULL},
		{"a;;", "a|"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		ARENA_SCOPED a = arena_new();
		BUF_SCOPED got = {0};
		struct auth_results r;
		struct err err;
		bool good = auth_results_parse(a, str_of(cases[i].in), &r, &err);
		assert_case(cases[i].in, good == (cases[i].wanted != NULL));
		if (!good)
			continue;
		buf_fmt(&got, "%.*s|", STR_ARG(r.authserv_id));
		for (size_t n = 0; n < r.n; n++) {
			buf_fmt(&got, "%.*s=%.*s", STR_ARG(r.at[n].method), STR_ARG(r.at[n].result));
			for (size_t p = 0; p < r.at[n].property_n; p++)
				buf_fmt(&got, ",%.*s.%.*s=%.*s", STR_ARG(r.at[n].properties[p].type),
					STR_ARG(r.at[n].properties[p].name),
					STR_ARG(r.at[n].properties[p].value));
			buf_byte(&got, ';');
		}
		assert_str(cases[i].in, buf_str(&got), str_of(cases[i].wanted));
	}
}

static void write_test(void **state)
{
	struct auth_result r[2] = {
		{.method = STR("spf"), .result = STR("pass"), .comment = STR("a ) b")},
		{.method = STR("dkim"), .result = STR("fail"), .reason = STR("body \"changed\"\r\nBcc: x")},
	};
	BUF_SCOPED out = {0};
	auth_result_add_property(&r[0], "smtp", "mailfrom", STR("a@example.com"));
	auth_result_add_property(&r[1], "header", "d", STR("a=b"));
	auth_results_write(&out, STR("mx.example.org"), r, 2);
	assert_str("two", buf_str(&out),
		   STR("Authentication-Results: mx.example.org;\r\n\tspf=pass (a \\) b) "
		       "smtp.mailfrom=a@example.com;\r\n"
		       "\tdkim=fail reason=\"body \\\"changed\\\"??Bcc: x\" header.d=\"a=b\"\r\n"));
	buf_clear(&out);
	auth_results_write(&out, STR("mx.example.org"), NULL, 0);
	assert_str("none", buf_str(&out), STR("Authentication-Results: mx.example.org; none\r\n"));
}

/* CVE-2022-48521 and the like: ours is ours however it is dressed. */
static void names_test(void **state)
{
	static const struct {
		const char *in;
		bool ours;
	} cases[] = {
		{"mx.example.org; none", true},
		{" MX.Example.ORG ; x", true},
		{"(a (b)) mx.example.org;", true},
		{"\"mx.example.org\"; garbage", true},
		{"\r\n\tmx.example.org;", true},
		{"mx.example.org 1;", true},
		{"mx.example.org.evil; spf=pass", false},
		{"evil(mx.example.org); x", false},
		{"", false},
		{"mx.example.org(c); x", true},
	};
	ARENA_SCOPED a = arena_new();
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_case(cases[i].in, auth_results_names(a, str_of(cases[i].in),
							    STR("mx.example.org")) == cases[i].ours);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parse_test), cmocka_unit_test(write_test), cmocka_unit_test(names_test),
	};
	return RUN_TESTS(tests);
}
