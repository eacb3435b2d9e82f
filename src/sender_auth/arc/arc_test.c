/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "sender_auth/suite_testing.h"
#include "crypto/key.h"
#include "mail/header.h"
#include "sender_auth/arc/arc.h"
#include "sender_auth/dkim/record.h"
#include "sender_auth/tag_list.h"

static void validate(struct arena *a, struct dns_resolver *r, struct str message, struct arc_verdict *out)
{
	size_t header = header_length(message);
	struct arc_check *c = arc_check_new(a, str_sub(message, 0, header));
	for (size_t at = header; at < message.n; at += 7)
		arc_check_body(c, str_sub(message, at, 7));
	arc_check_end(c, r, out);
	arc_check_free(c);
}

struct scenario {
	struct suite *suite;
	struct dns_resolver *resolver;
	const struct json_value *json;
};

static bool add_text(void *context, struct str name, const struct json_value *text)
{
	struct err err;
	if (!dns_table_add(context, name, STR("TXT"), json_value_str_or(text, STR("")), &err))
		fail_msg("%s", err.text);
	return true;
}

static struct str crlf(struct arena *a, struct str text)
{
	BUF_SCOPED b = {0};
	dkim_to_crlf(text, &b);
	return arena_str(a, buf_str(&b));
}

static bool validate_case(void *context, struct str name, const struct json_value *test)
{
	struct scenario *s = context;
	struct arc_verdict got;
	struct str want = arena_lower(s->suite->a, suite_str(test, "cv"));
	validate(s->suite->a, s->resolver, crlf(s->suite->a, suite_str(test, "message")), &got);
	struct str status = str_of(arc_status_name(got.status));
	/* the suite wants nothing in particular of a chain that says itself that it failed */
	bool right = want.n > 0 ? str_eq(status, want) : got.status == ARC_FAIL;
	suite_result(s->suite, name, right,
		     arena_fmt(s->suite->a, "%.*s (%.*s)", STR_ARG(status), STR_ARG(got.reason)), want);
	return true;
}

/* Is the value of each tag the same, white space apart? */
static bool same_tags(struct arena *a, struct str got, struct str want)
{
	struct tag_list x, y;
	struct err err;
	if (!tag_list_parse(got, &x, &err) || !tag_list_parse(want, &y, &err) || x.n != y.n)
		return false;
	for (size_t i = 0; i < y.n; i++) {
		const char *name = arena_cstr(a, y.at[i].name);
		if (!tag_list_find(&x, name) || !str_eq(tag_value_packed(a, tag_list_value(&x, name)),
							tag_value_packed(a, y.at[i].value)))
			return false;
	}
	return true;
}

static struct str sealed(struct arena *a, struct str message, const struct arc_signer *signer,
			 enum arc_status status)
{
	BUF_SCOPED out = {0};
	struct err err;
	size_t header = header_length(message);
	struct arc_seal *s = arc_seal_new(a, signer);
	arc_seal_body(s, str_from(message, header));
	if (!arc_seal_end(s, str_sub(message, 0, header), status, &out, &err))
		fail_msg("%s", err.text);
	arc_seal_free(s);
	buf_add(&out, message);
	return arena_str(a, buf_str(&out));
}

static bool sign_case(void *context, struct str name, const struct json_value *test)
{
	struct scenario *s = context;
	struct arena *a = s->suite->a;
	struct key *key;
	struct err err;
	struct header_field seal, message, results;
	enum arc_status status = ARC_NONE;
	int64_t time = json_value_int_or(json_value_member(test, "t"), 0);
	if (!dkim_key_load(suite_str(s->json, "privatekey"), STR(""), &key, &err))
		fail_msg("%s", err.text);
	struct arc_signer signer = {
		.domain = suite_str(s->json, "domain"),
		.selector = suite_str(s->json, "sel"),
		.authserv_id = suite_str(test, "srv-id"),
		.headers = suite_str(test, "sig-headers"),
		.time = time,
		.sign = dkim_sign_with_key,
		.context = key,
	};
	struct str in = crlf(a, suite_str(test, "message"));
	(void)arc_status_recorded(a, str_sub(in, 0, header_length(in)), signer.authserv_id, &status);
	struct str out = sealed(a, in, &signer, status);
	key_free(key);
	bool right = header_find(out, STR("ARC-Seal"), &seal) &&
		     header_find(out, STR("ARC-Message-Signature"), &message) &&
		     header_find(out, STR("ARC-Authentication-Results"), &results);
	right = right && same_tags(a, seal.body, suite_str(test, "AS")) &&
		same_tags(a, message.body, suite_str(test, "AMS"));
	right = right &&
		str_eq(tag_value_packed(a, results.body), tag_value_packed(a, suite_str(test, "AAR")));
	suite_result(s->suite, name, right, str_sub(out, 0, 1200), suite_str(test, "AS"));
	return true;
}

static void run_suite(const char *file, const char *name,
		      bool (*one)(void *, struct str, const struct json_value *))
{
	ARENA_SCOPED a = arena_new();
	JSON_DOC_SCOPED doc = suite_json(a, file);
	struct suite suite = {.name = name, .a = a};
	const struct json_value *root = json_doc_root(doc);
	if (!doc)
		return;
	for (size_t i = 0; i < json_value_count(root); i++) {
		const struct json_value *scenario = json_value_item(root, i);
		struct scenario s = {&suite, dns_table_new(), scenario};
		json_value_each(json_value_member(scenario, "txt-records"), add_text, s.resolver);
		json_value_each(json_value_member(scenario, "tests"), one, &s);
		dns_resolver_free(s.resolver);
	}
	suite_end(&suite);
}

static void validate_suite_test(void **state)
{
	run_suite("arc/cases/validate.json", "arc/validate", validate_case);
}

static void sign_suite_test(void **state)
{
	run_suite("arc/cases/sign.json", "arc/sign", sign_case);
}

/* Three hops seal one after the other; then somebody changes the subject. */
static void chain_test(void **state)
{
	ARENA_SCOPED a = arena_new();
	struct key *key;
	struct err err;
	struct str record,
		message = STR("From: a@example.com\r\nSubject: x\r\nTo: b@example.com\r\n\r\nbody\r\n");
	struct arc_verdict got;
	assert_true(key_generate(KEY_RSA, 2048, &key, &err));
	assert_true(dkim_record_text(a, key, &record, &err));
	struct dns_resolver *r = dns_table_new();
	assert_true(dns_table_add(r, STR("s._domainkey.example.net"), STR("TXT"), record, &err));
	struct arc_signer signer = {
		.domain = STR("example.net"),
		.selector = STR("s"),
		.authserv_id = STR("mx.example.net"),
		.time = 1000,
		.sign = dkim_sign_with_key,
		.context = key,
	};
	validate(a, r, message, &got);
	assert_int_equal(got.status, ARC_NONE);
	for (unsigned i = 1; i <= 3; i++) {
		message = arena_cat(
			a, STR("Authentication-Results: mx.example.net; spf=pass smtp.mailfrom=a@b\r\n"),
			message);
		message = sealed(a, message, &signer, got.status);
		validate(a, r, message, &got);
		assert_str("reason", got.reason, STR(""));
		assert_int_equal(got.status, ARC_PASS);
		assert_int_equal(got.n, i);
		assert_str("domain", got.sets[i - 1].domain, STR("example.net"));
	}
	size_t at = str_find(message, STR("Subject: x"));
	struct str changed = arena_fmt(a, "%.*sSubject: y%.*s", (int)at, message.p,
				       STR_ARG(str_from(message, at + 10)));
	validate(a, r, changed, &got);
	assert_int_equal(got.status, ARC_FAIL);
	/* sealed once as failed, and then no more (5.1.2) */
	struct str once = sealed(a, changed, &signer, ARC_FAIL);
	validate(a, r, once, &got);
	assert_true(got.sealed_failed && got.n == 4);
	assert_str("left alone", sealed(a, once, &signer, ARC_FAIL), once);
	dns_resolver_free(r);
	key_free(key);
}

/* 4.2.1: fifty sets, and no more */
static void limit_test(void **state)
{
	ARENA_SCOPED a = arena_new();
	struct key *key;
	struct err err;
	assert_true(key_generate(KEY_ED25519, 0, &key, &err));
	struct arc_signer signer = {
		.domain = STR("example.net"),
		.selector = STR("s"),
		.authserv_id = STR("mx.example.net"),
		.time = 1000,
		.algorithm = DKIM_ED25519_SHA256,
		.sign = dkim_sign_with_key,
		.context = key,
		.headers = STR("from"),
	};
	struct str message = STR("From: a@example.com\r\n\r\n");
	for (unsigned i = 0; i < ARC_SETS_MAX; i++) {
		struct str next = sealed(a, message, &signer, ARC_PASS);
		assert_true(next.n > message.n);
		message = next;
	}
	assert_str("no more", sealed(a, message, &signer, ARC_PASS), message);
	key_free(key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chain_test),
		cmocka_unit_test(limit_test),
		cmocka_unit_test(validate_suite_test),
		cmocka_unit_test(sign_suite_test),
	};
	return RUN_TESTS(tests);
}
