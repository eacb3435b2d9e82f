/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "sender_auth/suite_testing.h"
#include "policy/mta_sts.h"

static void record_test(void **state)
{
	static const struct {
		const char *in, *id; /* NULL: refused */
	} cases[] = {
		{"v=STSv1; id=20160831085700Z;", "20160831085700Z"},
		{"v=STSv1;id=a", "a"},
		{"v=STSv1 ;\tid=a ; x=y", "a"},
		{"v=STSv1; x=y; id=b", "b"},
		{"v=STSv1; id=a; id=b", "a"},
		{"v=STSv1; id=12345678901234567890123456789012", "12345678901234567890123456789012"},
		{"v=STSv1; id=123456789012345678901234567890123", NULL},
		{"v=STSv1; id=a b", NULL},
		{"v=STSv1;", NULL},
		{"V=STSv1; id=a", NULL},
		{"v=STSv1 id=a", NULL},
		{"v=STSv1; id=a;;", NULL},
		{"v=STSv1; id=a; =b", NULL},
		{" v=STSv1; id=a", NULL},
		{"", NULL},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct str id;
		struct err err;
		bool good = mta_sts_record_parse(str_of(cases[i].in), &id, &err);
		assert_case(cases[i].in, good == (cases[i].id != NULL));
		if (good)
			assert_str(cases[i].in, id, str_of(cases[i].id));
	}
}

static void policy_test(void **state)
{
	static const struct {
		const char *in;
		bool good;
	} cases[] = {
		{"version: STSv1\nmode: enforce\nmx: mail.example.com\nmx: *.example.net\nmax_age: "
		 "123456\n",
		 true},
		{"version: STSv1\r\nmode: none\r\nmax_age: 1\r\n", true},
		{"version: STSv1\nmode: none\nmax_age: 1\nmode: enforce", true}, /* the first counts */
		{"version: STSv1\nmode: none\nmax_age: 9999999999", true},
		{"version: STSv1\nmode: none\nmax_age: -1", false},
		{"version: STSv1\n\nmode: none\nmax_age: 1", false},
		{"version: STSv1\nmode: Enforce\nmx: a.b\nmax_age: 1", false},
		{"version: STSv1\nmode: enforce\nmx: a b\nmax_age: 1", false},
		{"junk\nversion: STSv1", false},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		ARENA_SCOPED a = arena_new();
		struct mta_sts_policy p;
		struct err err;
		assert_case(cases[i].in,
			    mta_sts_policy_parse(a, str_of(cases[i].in), &p, &err) == cases[i].good);
		assert_case(cases[i].in, !cases[i].good || p.max_age_s <= MTA_STS_MAX_AGE);
	}
	ARENA_SCOPED a = arena_new();
	BUF_SCOPED many = {0};
	struct mta_sts_policy p;
	struct err err;
	buf_add(&many, STR("version: STSv1\nmode: enforce\nmax_age: 1\n"));
	for (int i = 0; i < MTA_STS_MX_MAX; i++)
		buf_add(&many, STR("mx: a.b\n"));
	assert_true(mta_sts_policy_parse(a, buf_str(&many), &p, &err));
	buf_add(&many, STR("mx: a.b\n"));
	assert_false(mta_sts_policy_parse(a, buf_str(&many), &p, &err));
}

static void run_list(struct suite *suite, const struct json_value *list, bool policy, bool want)
{
	for (size_t i = 0; i < json_value_count(list); i++) {
		struct str text = json_value_str_or(json_value_item(list, i), STR("")), id;
		struct mta_sts_policy p;
		struct err err;
		bool good = policy ? mta_sts_policy_parse(suite->a, text, &p, &err)
				   : mta_sts_record_parse(text, &id, &err);
		suite_result(suite, text, good == want, good ? STR("good") : str_of(err.text),
			     want ? STR("good") : STR("bad"));
	}
}

static void suite_test(void **state)
{
	ARENA_SCOPED a = arena_new();
	JSON_DOC_SCOPED doc = suite_json(a, "tls-policy/mta-sts.json");
	struct suite suite = {.name = "tls-policy/mta-sts", .a = a};
	const struct json_value *root = json_doc_root(doc);
	if (!doc)
		return;
	run_list(&suite, json_value_member(root, "record_ok"), false, true);
	run_list(&suite, json_value_member(root, "record_bad"), false, false);
	run_list(&suite, json_value_member(root, "policy_ok"), true, true);
	run_list(&suite, json_value_member(root, "policy_bad"), true, false);
	const struct json_value *matches = json_value_member(root, "mx_match");
	for (size_t i = 0; i < json_value_count(matches); i++) {
		const struct json_value *m = json_value_item(matches, i);
		struct str pattern = json_value_str_or(json_value_item(m, 0), STR(""));
		struct str host = json_value_str_or(json_value_item(m, 1), STR(""));
		bool want = json_value_bool_or(json_value_item(m, 2), false);
		struct mta_sts_policy p = {.mode = MTA_STS_ENFORCE, .mx = &pattern, .mx_n = 1};
		bool got = mta_sts_policy_has(&p, host);
		suite_result(&suite, host, got == want, pattern, want ? STR("match") : STR("no match"));
	}
	suite_end(&suite);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(record_test), cmocka_unit_test(policy_test), cmocka_unit_test(suite_test),
	};
	return RUN_TESTS(tests);
}
