/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "sender_auth/suite_testing.h"
#include "base/mem.h"
#include "crypto/key.h"
#include "mail/header.h"
#include "sender_auth/dkim/record.h"
#include "sender_auth/incoming.h"

enum { NOW = 1790000000 };

static const char zone[] =
	"{\"good.example\": [[\"TXT\", \"v=spf1 ip4:192.0.2.1 -all\"]],"
	"\"_dmarc.good.example\": [[\"TXT\", \"v=DMARC1; p=reject\"]],"
	"\"_dmarc.testing.example\": [[\"TXT\", \"v=DMARC1; p=reject; t=y\"]],"
	"\"_dmarc.none.example\": [[\"TXT\", \"v=DMARC1; p=none\"]],"
	"\"sub.good.example\": [[\"A\", \"192.0.2.9\"]],"
	"\"_dmarc.temp.example\": [[\"TIMEOUT\"]],"
	"\"helo.good.example\": [[\"TXT\", \"v=spf1 a -all\"], [\"A\", \"192.0.2.1\"]]}";

static void run(struct arena *a, struct dns_resolver *r, const struct incoming_options *o, const char *text,
		struct incoming_verdict *out)
{
	struct str message = str_of(text);
	size_t n = header_length(message);
	struct incoming *i = incoming_new(a, o, str_sub(message, 0, n));
	incoming_body(i, str_from(message, n));
	incoming_end(i, r, out);
	incoming_free(i);
}

static struct dns_resolver *zone_of(const char *json)
{
	JSON_DOC_SCOPED doc = NULL;
	struct err err;
	assert_true(json_doc_parse(str_of(json), 65536, &doc, &err));
	return suite_zone(json_doc_root(doc));
}

static void verdict_test(void **state)
{
	static const struct {
		const char *name, *mail_from, *header;
		const char *words;
		enum dmarc_policy wanted;
		bool several;
	} cases[] = {
		{"pass", "a@good.example", "From: a@good.example\r\n\r\n",
		 "spf=pass dkim=none dmarc=pass", DMARC_POLICY_NONE, false},
		{"relaxed alignment", "a@good.example", "From: a@sub.good.example\r\n\r\n",
		 "spf=pass dkim=none dmarc=pass", DMARC_POLICY_NONE, false},
		{"bounce", "", "From: a@good.example\r\n\r\n", "spf=pass dkim=none dmarc=pass",
		 DMARC_POLICY_NONE, false},
		{"not aligned", "a@other.example", "From: a@good.example\r\n\r\n",
		 "spf=none dkim=none dmarc=fail", DMARC_POLICY_REJECT, false},
		{"t=y", "a@other.example", "From: a@testing.example\r\n\r\n",
		 "spf=none dkim=none dmarc=fail", DMARC_POLICY_QUARANTINE, false},
		{"p=none", "a@other.example", "From: a@none.example\r\n\r\n",
		 "spf=none dkim=none dmarc=fail", DMARC_POLICY_NONE, false},
		{"no record", "a@other.example", "From: a@other.example\r\n\r\n",
		 "spf=none dkim=none dmarc=none", DMARC_POLICY_NONE, false},
		{"no answer", "a@other.example", "From: a@temp.example\r\n\r\n",
		 "spf=none dkim=none dmarc=temperror", DMARC_POLICY_NONE, false},
		{"no From", "a@good.example", "To: x\r\n\r\n", "spf=pass dkim=none dmarc=permerror",
		 DMARC_POLICY_NONE, false},
		{"no header", "a@good.example", "", "spf=pass dkim=none dmarc=permerror",
		 DMARC_POLICY_NONE, false},
		{"two From", "a@good.example", "From: a@good.example\r\nFrom: b@x.example\r\n\r\n",
		 "spf=pass dkim=none dmarc=permerror", DMARC_POLICY_NONE, true},
	};
	struct dns_resolver *r = zone_of(zone);
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		ARENA_SCOPED a = arena_new();
		BUF_SCOPED words = {0};
		struct incoming_options o = {
			.authserv_id = STR("mx.here.example"), .ip = {"\xc0\0\2\1", 4},
			.helo = STR("helo.good.example"), .mail_from = str_of(cases[i].mail_from),
			.receiver = STR("mx.here.example"), .now_unix = NOW,
		};
		struct incoming_verdict v;
		run(a, r, &o, cases[i].header, &v);
		incoming_words(&words, &v);
		if (!str_eq(buf_str(&words), str_of(cases[i].words)))
			print_error("%s: %.*s\n", cases[i].name, STR_ARG(buf_str(&words)));
		assert_case(cases[i].name, str_eq(buf_str(&words), str_of(cases[i].words)));
		assert_case(cases[i].name,
			    v.wanted == cases[i].wanted && v.several_authors == cases[i].several);
	}
	dns_resolver_free(r);
}

/* What the peer says stands in the field quoted, and cannot make one of its own. */
static void field_test(void **state)
{
	ARENA_SCOPED a = arena_new();
	BUF_SCOPED out = {0};
	struct dns_resolver *r = zone_of("{}");
	struct incoming_options o = {
		.authserv_id = STR("mx.here.example"), .ip = {"\xc0\0\2\1", 4}, .helo = STR("x"),
		.mail_from = STR("a;dmarc=pass\r\nX: y@b.example"), .now_unix = NOW,
	};
	struct incoming_verdict v;
	(void)state;
	run(a, r, &o, "From: a@b.example\r\n\r\n", &v);
	incoming_field(&out, &o, &v);
	struct str field = buf_str(&out);
	assert_true(str_starts(field, STR("Authentication-Results: mx.here.example;\r\n\t")));
	assert_true(str_ends(field, STR("\r\n")) && str_find(field, STR("\r\nX:")) == STR_NPOS);
	assert_true(str_find(field, STR("smtp.mailfrom=\"a;dmarc=pass??X: y@b.example\"")) != STR_NPOS);
	assert_true(incoming_field_is_ours(a, STR(" (c) MX.here.EXAMPLE 1; spf=pass"), o.authserv_id));
	assert_false(incoming_field_is_ours(a, STR(" mx.here.example.org; spf=pass"), o.authserv_id));
	dns_resolver_free(r);
}

/* A chain that holds, sealed by somebody: it counts where that somebody is trusted. */
static void forwarder_test(void **state)
{
	ARENA_SCOPED a = arena_new();
	BUF_SCOPED sealed = {0};
	struct key *key;
	struct str record = STR_NONE;
	struct err err = {0};
	struct dns_resolver *r = zone_of(zone);
	(void)state;
	assert_true(key_generate(KEY_ED25519, 0, &key, &err));
	assert_true(dkim_record_text(a, key, &record, &err));
	assert_true(dns_table_add(r, STR("s._domainkey.list.example"), STR("TXT"), record, &err));
	struct str header =
		STR("Authentication-Results: list.example; dmarc=pass header.from=good.example\r\n"
		    "From: a@good.example\r\nSubject: [list] x\r\n\r\n");
	struct arc_signer signer = {.domain = STR("list.example"), .selector = STR("s"),
				    .authserv_id = STR("list.example"), .algorithm = DKIM_ED25519_SHA256,
				    .time = NOW, .sign = dkim_sign_with_key, .context = key};
	struct arc_seal *s = arc_seal_new(a, &signer);
	arc_seal_body(s, STR("text\r\n"));
	assert_true(arc_seal_end(s, header, ARC_NONE, &sealed, &err));
	arc_seal_free(s);
	buf_add(&sealed, header);
	buf_add(&sealed, STR("text\r\n"));
	const struct str trusted[] = {STR("other.example"), STR("LIST.example")};
	for (size_t n = 0; n <= 2; n++) {
		struct incoming_options o = {.authserv_id = STR("mx"), .ip = {"\xc0\0\2\7", 4},
					     .helo = STR("list.example"), .mail_from = STR("l@list.example"),
					     .forwarders = trusted, .forwarders_n = n, .now_unix = NOW};
		struct incoming_verdict v;
		run(a, r, &o, arena_cstr(a, buf_str(&sealed)), &v);
		assert_int_equal(v.dmarc.result, DMARC_FAIL);
		assert_int_equal(v.forwarded, n == 2);
		assert_int_equal(v.wanted, n == 2 ? DMARC_POLICY_NONE : DMARC_POLICY_REJECT);
	}
	key_free(key);
	dns_resolver_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(verdict_test),
		cmocka_unit_test(field_test),
		cmocka_unit_test(forwarder_test),
	};
	return cmocka_run_group_tests_name("sender_auth/incoming", tests, NULL, NULL);
}
