/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "sender_auth/suite_testing.h"
#include "base/codec.h"
#include "crypto/hash.h"
#include "crypto/key.h"
#include "sender_auth/dkim/dkim_int.h"
#include "sender_auth/dkim/record.h"
#include "sender_auth/dkim/sign.h"
#include "sender_auth/dkim/verify.h"

static void verify(struct arena *a, struct dns_resolver *r, struct str message, int64_t now,
		   struct dkim_verdicts *out)
{
	size_t header = header_length(message);
	struct dkim_verify *v = dkim_verify_new(a, str_sub(message, 0, header), NULL);
	/* in pieces of odd sizes, as a socket would give it */
	for (size_t at = header, size = 1; at < message.n; at += size, size = size % 97 + 3)
		dkim_verify_body(v, str_sub(message, at, size));
	dkim_verify_end(v, r, now, out);
	dkim_verify_free(v);
}

/* RFC 6376 3.4.5 and the empty bodies of 3.4.3, 3.4.4 */
static void body_test(void **state)
{
	static const struct {
		const char *name, *in, *relaxed, *simple; /* what is hashed */
	} cases[] = {
		{"3.4.5", " C \r\nD \t E\r\n\r\n\r\n", " C\r\nD E\r\n", " C \r\nD \t E\r\n"},
		{"empty", "", "", "\r\n"},
		{"one CRLF", "\r\n", "", "\r\n"},
		{"blanks", " \t \r\n", "", " \t \r\n"},
		{"no CRLF at the end", "a", "a\r\n", "a\r\n"},
		{"blank at the end", "a ", "a\r\n", "a \r\n"},
		{"many at the end", "a\r\n\r\n\r\n", "a\r\n", "a\r\n"},
		{"blank lines at the end", "a\r\n \r\n\t\r\n", "a\r\n", "a\r\n \r\n\t\r\n"},
		{"inside", "a\r\n\r\n b\r\n", "a\r\n\r\n b\r\n", "a\r\n\r\n b\r\n"},
		{"bare CR", "a\rb\r", "a\rb\r\r\n", "a\rb\r\r\n"},
		{"CR CR LF", "a\r\r\n", "a\r\r\n", "a\r\r\n"},
		{"bare LF", "a\nb\r\n", "a\nb\r\n", "a\nb\r\n"},
		{"blank before CR", "a \rb", "a \rb\r\n", "a \rb\r\n"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		for (int canon = DKIM_SIMPLE; canon <= DKIM_RELAXED; canon++) {
			struct str in = str_of(cases[i].in);
			struct str want = str_of(canon == DKIM_RELAXED ? cases[i].relaxed : cases[i].simple);
			unsigned char wanted[32], got[32];
			uint64_t length;
			hash_once(HASH_SHA256, want, wanted);
			for (size_t size = 1; size < 4; size++) {
				struct dkim_body *b = dkim_body_new(canon, UINT64_MAX);
				for (size_t at = 0; at < in.n; at += size)
					dkim_body_add(b, str_sub(in, at, size));
				dkim_body_end(b, got, &length);
				dkim_body_free(b);
				assert_case(cases[i].name, length == want.n);
				assert_case(cases[i].name, memcmp(got, wanted, sizeof got) == 0);
			}
		}
	}
}

/* l= cuts where it says, across the pieces in which octets are held back. */
static void body_limit_test(void **state)
{
	char text[10000], canonical[10000];
	size_t n = 0;
	for (size_t i = 0; i < sizeof text; i++)
		text[i] = i % 50 == 48 ? '\r' : i % 50 == 49 ? '\n' : (char)('a' + i % 26);
	memcpy(canonical, text, n = sizeof text);
	for (size_t limit = 0; limit < n; limit += 777) {
		unsigned char wanted[32], got[32];
		uint64_t length;
		struct dkim_body *b = dkim_body_new(DKIM_RELAXED, limit);
		dkim_body_add(b, (struct str){text, sizeof text});
		dkim_body_end(b, got, &length);
		dkim_body_free(b);
		hash_once(HASH_SHA256, (struct str){canonical, limit}, wanted);
		assert_int_equal(length, sizeof text);
		assert_memory_equal(got, wanted, 32);
	}
}

/* RFC 6376 3.4.5 */
static void header_test(void **state)
{
	static const struct {
		const char *in, *relaxed, *simple;
	} cases[] = {
		{"A: X\r\n", "a:X\r\n", "A: X\r\n"},
		{"B : Y\t\r\n\tZ  \r\n", "b:Y Z\r\n", "B : Y\t\r\n\tZ  \r\n"},
		{"Subject:\r\n", "subject:\r\n", "Subject:\r\n"},
		{"Subject:  \r\n", "subject:\r\n", "Subject:  \r\n"},
		{"X: a\r\n \r\n b\r\n", "x:a b\r\n", "X: a\r\n \r\n b\r\n"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct scan s = scan_of(str_of(cases[i].in));
		struct header_field f;
		BUF_SCOPED relaxed = {0}, simple = {0};
		assert_case(cases[i].in, header_next(&s, &f));
		dkim_canon_field(&relaxed, &f, DKIM_RELAXED);
		dkim_canon_field(&simple, &f, DKIM_SIMPLE);
		assert_str(cases[i].in, buf_str(&relaxed), str_of(cases[i].relaxed));
		assert_str(cases[i].in, buf_str(&simple), str_of(cases[i].simple));
	}
}

static void tag_list_test(void **state)
{
	static const struct {
		const char *in;
		bool valid;
		size_t n;
	} cases[] = {
		{"a=b", true, 1},
		{"a=b;", true, 1},
		{" a = b ; c=d ; ", true, 2},
		{"a=\r\n b\r\n c;d=", true, 2},
		{"a=b;;c=d", false, 0},
		{"a=b;a=c", false, 0},
		{"A=b;a=c", true, 2},
		{"", false, 0},
		{";", false, 0},
		{"a", false, 0},
		{"=b", false, 0},
		{"1a=b", false, 0},
		{"a_1=b", true, 1},
		{"a-b=c", false, 0},
		{"a=b\x01", false, 0},
		{"a=\xc3\xa4", true, 1},
		{"a==", true, 1},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct tag_list tags;
		struct err err;
		assert_case(cases[i].in, tag_list_parse(str_of(cases[i].in), &tags, &err) == cases[i].valid);
		assert_case(cases[i].in, !cases[i].valid || tags.n == cases[i].n);
	}
	BUF_SCOPED many = {0};
	struct tag_list tags;
	struct err err;
	for (int i = 0; i < TAG_LIST_MAX; i++)
		buf_fmt(&many, "t%d=x;", i);
	assert_true(tag_list_parse(buf_str(&many), &tags, &err));
	buf_add(&many, STR("more=x"));
	assert_false(tag_list_parse(buf_str(&many), &tags, &err));
}

/* RFC 8463 appendix A */
#define RFC8463_BODY                                                                                      \
	"From: Joe SixPack <joe@football.example.com>\r\nTo: Suzie Q <suzie@shopping.example.net>\r\n"    \
	"Subject: Is dinner ready?\r\nDate: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n"                    \
	"Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n\r\n"                            \
	"Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n"
static const char rfc8463[] =
	"DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n"
	" d=football.example.com; i=@football.example.com;\r\n"
	" q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n"
	" subject : date : message-id : from : subject : date;\r\n"
	" bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"
	" b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus\r\n"
	" Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==\r\n"
	"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n"
	" d=football.example.com; i=@football.example.com;\r\n"
	" q=dns/txt; s=test; t=1528637909; h=from : to : subject :\r\n"
	" date : message-id : from : subject : date;\r\n"
	" bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"
	" b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3\r\n"
	" DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz\r\n"
	" dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=\r\n" RFC8463_BODY;

static struct dns_resolver *rfc8463_zone(void)
{
	struct dns_resolver *r = dns_table_new();
	struct err err;
	assert_true(dns_table_add(
		r, STR("brisbane._domainkey.football.example.com"), STR("TXT"),
		STR("v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="), &err));
	assert_true(dns_table_add(
		r, STR("test._domainkey.football.example.com"), STR("TXT"),
		STR("v=DKIM1; k=rsa; "
		    "p="
		    "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2"
		    "jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/"
		    "8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2"
		    "EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB"),
		&err));
	return r;
}

static void rfc8463_test(void **state)
{
	ARENA_SCOPED a = arena_new();
	struct dns_resolver *r = rfc8463_zone();
	struct dkim_verdicts got;
	verify(a, r, str_of(rfc8463), 1528637909, &got);
	assert_int_equal(got.n, 2);
	assert_str("ed25519", got.at[0].reason, STR(""));
	assert_int_equal(got.at[0].result, DKIM_PASS);
	assert_str("rsa", got.at[1].reason, STR(""));
	assert_int_equal(got.at[1].result, DKIM_PASS);
	assert_int_equal(got.at[1].key_bits, 1024);
	assert_str("b", got.at[1].signature, STR("F45dVWDf"));
	dns_resolver_free(r);
}

/* Keys of this test, the public halves in a table. */
struct keys {
	struct key *rsa, *ed25519;
	struct dns_resolver *zone;
};

static void publish(struct keys *k, const char *selector, const struct key *key)
{
	ARENA_SCOPED a = arena_new();
	struct str text;
	struct err err;
	assert_true(dkim_record_text(a, key, &text, &err));
	assert_true(dns_table_add(k->zone, arena_fmt(a, "%s._domainkey.example.com", selector),
				  STR("TXT"), text, &err));
}

static int keys_set_up(void **state)
{
	struct keys *k = calloc(1, sizeof *k);
	struct err err;
	assert_true(key_generate(KEY_RSA, 2048, &k->rsa, &err));
	assert_true(key_generate(KEY_ED25519, 0, &k->ed25519, &err));
	k->zone = dns_table_new();
	publish(k, "r", k->rsa);
	publish(k, "e", k->ed25519);
	*state = k;
	return 0;
}

static int keys_tear_down(void **state)
{
	struct keys *k = *state;
	key_free(k->rsa);
	key_free(k->ed25519);
	dns_resolver_free(k->zone);
	free(k);
	return 0;
}

static struct str sign(struct arena *a, struct str message, const struct dkim_signer *signers, size_t n)
{
	struct dkim_sign *s = dkim_sign_new(a, signers, n);
	size_t header = header_length(message);
	BUF_SCOPED out = {0};
	struct err err;
	for (size_t at = header; at < message.n; at += 5)
		dkim_sign_body(s, str_sub(message, at, 5));
	if (!dkim_sign_end(s, str_sub(message, 0, header), &out, &err))
		fail_msg("%s", err.text);
	dkim_sign_free(s);
	buf_add(&out, message);
	return arena_str(a, buf_str(&out));
}

#define FOLDED                                                                                           \
	"Received: x\r\nFrom: a@example.com\r\nSubject: =?utf-8?B?7Iuc7ZeY?=\r\n\tfolded \r\nTo: "       \
	"b@c\r\n"                                                                                        \
	"To: d@e\r\n\r\na  b \r\n\r\n.\r\n no end"
static void sign_test(void **state)
{
	struct keys *k = *state;
	static const char *const messages[] = {
		RFC8463_BODY,
		"From: a@example.com\r\n\r\n",
		"From: a@example.com\r\nTo: b@example.com\r\n\r\n\r\n\r\n",
		FOLDED,
	};
	for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
		for (int canon = 0; canon < 4; canon++) {
			ARENA_SCOPED a = arena_new();
			struct dkim_signer signers[] = {
				{.domain = STR("example.com"),
				 .selector = STR("r"),
				 .algorithm = DKIM_RSA_SHA256,
				 .header_canon = canon & 1,
				 .body_canon = canon >> 1,
				 .time = 1000,
				 .lifetime_s = 500,
				 .identity = STR("hong gil=dong@mail.example.com"),
				 .sign = dkim_sign_with_key,
				 .context = k->rsa},
				{.domain = STR("example.com"),
				 .selector = STR("e"),
				 .algorithm = DKIM_ED25519_SHA256,
				 .header_canon = canon >> 1,
				 .body_canon = canon & 1,
				 .sign = dkim_sign_with_key,
				 .context = k->ed25519,
				 .headers = STR("Received:To"),
				 .oversign = STR("-")},
			};
			struct dkim_verdicts got;
			struct str signed_ = sign(a, str_of(messages[i]), signers, 2);
			verify(a, k->zone, signed_, 1200, &got);
			assert_int_equal(got.n, 2);
			for (size_t n = 0; n < 2; n++) {
				assert_str(messages[i], got.at[n].reason, STR(""));
				assert_int_equal(got.at[n].result, DKIM_PASS);
			}
			assert_str("i=", got.at[0].identity, STR("hong gil=dong@mail.example.com"));
			assert_int_equal(got.at[0].expires, 1500);
			assert_int_equal(got.at[1].time, -1);
			for (struct str rest = str_sub(signed_, 0, header_length(signed_)); rest.p;)
				assert_true(str_cut(&rest, '\n').n <= 79);
		}
	}
}

/* What changes a signed message makes it fail; what oversigning and the dates are for. */
static void tamper_test(void **state)
{
	struct keys *k = *state;
	static const struct {
		const char *name, *from, *to; /* replaced once in the signed message */
		int64_t now;
		enum dkim_result wanted;
	} cases[] = {
		{"nothing", "", "", 1200, DKIM_PASS},
		{"body", "hungry", "Hungry", 1200, DKIM_FAIL},
		{"subject", "Is dinner", "is dinner", 1200, DKIM_FAIL},
		{"blanks", "the game.  Are", "the game. \tAre", 1200, DKIM_PASS},
		{"a second From", "To: Suzie", "From: x@y\r\nTo: Suzie", 1200, DKIM_FAIL},
		{"a Cc that was not there", "To: Suzie", "Cc: x@y\r\nTo: Suzie", 1200, DKIM_FAIL},
		{"an unsigned field", "To: Suzie", "X-Spam: no\r\nTo: Suzie", 1200, DKIM_PASS},
		{"expired", "", "", 1801, DKIM_FAIL},
		{"within skew", "", "", 1700, DKIM_PASS},
		{"from the future", "", "", 600, DKIM_FAIL},
		{"other domain", "d=example.com", "d=example.org", 1200, DKIM_PERMERROR},
		{"sub-domain key", "s=r;", "s=q;", 1200, DKIM_PERMERROR},
		{"version", "v=1;", "v=2;", 1200, DKIM_PERMERROR},
		{"l", "v=1;", "v=1; l=5;", 1200, DKIM_FAIL},
		{"sha1", "a=rsa-sha256", "a=rsa-sha1", 1200, DKIM_PERMERROR},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		ARENA_SCOPED a = arena_new();
		struct dkim_signer signer = {
			.domain = STR("example.com"),
			.selector = STR("r"),
			.algorithm = DKIM_RSA_SHA256,
			.header_canon = DKIM_RELAXED,
			.body_canon = DKIM_RELAXED,
			.time = 1000,
			.lifetime_s = 500,
			.sign = dkim_sign_with_key,
			.context = k->rsa,
		};
		struct str m = sign(a, STR(RFC8463_BODY), &signer, 1);
		size_t at = str_find(m, str_of(cases[i].from));
		struct dkim_verdicts got;
		assert_case(cases[i].name, at != STR_NPOS);
		m = arena_fmt(a, "%.*s%s%.*s", (int)at, m.p, cases[i].to,
			      STR_ARG(str_from(m, at + strlen(cases[i].from))));
		verify(a, k->zone, m, cases[i].now, &got);
		assert_str(cases[i].name, str_of(dkim_result_name(got.at[0].result)),
			   str_of(dkim_result_name(cases[i].wanted)));
	}
}

/* What a signer cannot write is refused before the key is asked. */
static void sign_refusal_test(void **state)
{
	struct keys *k = *state;
	static const struct {
		const char *name, *message, *domain, *selector, *identity;
	} cases[] = {
		{"no From", "To: a@b\r\n\r\n", "example.com", "r", ""},
		{"domain", "From: a@b\r\n\r\n", "example..com", "r", ""},
		{"line break", "From: a@b\r\n\r\n", "example.com\r\n", "r", ""},
		{"tag in the selector", "From: a@b\r\n\r\n", "example.com", "r; l=0", ""},
		{"identity", "From: a@b\r\n\r\n", "example.com", "r", "a@notexample.com"},
		{"identity without @", "From: a@b\r\n\r\n", "example.com", "r", "example.com"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		ARENA_SCOPED a = arena_new();
		struct dkim_signer signer = {
			.domain = str_of(cases[i].domain), .selector = str_of(cases[i].selector),
			.identity = str_of(cases[i].identity), .sign = dkim_sign_with_key, .context = k->rsa,
		};
		BUF_SCOPED out = {0};
		struct err err;
		struct dkim_sign *s = dkim_sign_new(a, &signer, 1);
		assert_case(cases[i].name,
			    !dkim_sign_end(s, str_of(cases[i].message), &out, &err) && out.n == 0);
		dkim_sign_free(s);
	}
}

/* Key records: what 3.6.1 allows and what not. */
static void key_test(void **state)
{
#define ED "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
	static const struct {
		const char *in;
		enum err_kind wanted;
	} cases[] = {
		{"v=DKIM1; k=ed25519; p=" ED, ERR_NONE},
		{"k=ed25519; p=" ED, ERR_NONE},
		{"k=ed25519; v=DKIM1; p=" ED, ERR_SYNTAX},
		{"v=DKIM2; k=ed25519; p=" ED, ERR_SYNTAX},
		{"v=DKIM1; k=ed25519; p=", ERR_SYNTAX},
		{"v=DKIM1; k=ed25519", ERR_SYNTAX},
		{"v=DKIM1; p=" ED, ERR_SYNTAX},
		{"v=DKIM1; k=ed25519; s=email; p=" ED, ERR_NONE},
		{"v=DKIM1; k=ed25519; s=chat:*; p=" ED, ERR_NONE},
		{"v=DKIM1; k=ed25519; s=chat; p=" ED, ERR_SYNTAX},
		{"v=DKIM1; k=ed25519; h=sha1:sha256; p=" ED, ERR_NONE},
		{"v=DKIM1; k=ed25519; h=sha1; p=" ED, ERR_SYNTAX},
		{"v=DKIM1; k=ed25519; p=MCowBQYDK2VwAyEA3SUqa9UbfciWkk7tlcJ9P1VD5pXAasg0JUn/OgjVbKE=",
		 ERR_SYNTAX},
		{"v=DKIM1; k=ed25519; p= 11qYAYKxCrfVS/7TyWQHOg7h\r\n cvPapiMlrwIaaPcHURo= ;", ERR_NONE},
		{"\"\"", ERR_SYNTAX},
		{"", ERR_SYNTAX},
	};
	ARENA_SCOPED a = arena_new();
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct dkim_public_key key;
		struct err err = {0};
		bool good = dkim_key_parse(a, str_of(cases[i].in), DKIM_ED25519_SHA256, &key, &err);
		assert_case(cases[i].in, good == (cases[i].wanted == ERR_NONE) &&
						 (good || err.kind == cases[i].wanted));
	}
}

static void suite_test(void **state)
{
	ARENA_SCOPED a = arena_new();
	JSON_DOC_SCOPED doc = suite_json(a, "dkim/cases.json");
	JSON_DOC_SCOPED zone = doc ? suite_json(a, "dkim/zone.json") : NULL;
	struct suite suite = {.name = "dkim", .a = a};
	if (!zone)
		return;
	struct dns_resolver *r = suite_zone(json_value_member(json_doc_root(zone), "records"));
	const struct json_value *root = json_doc_root(doc);
	for (size_t i = 0; i < json_value_count(root); i++) {
		const struct json_value *test = json_value_item(root, i);
		struct str file = suite_str(test, "file"), message, want = suite_str(test, "want");
		BUF_SCOPED crlf = {0};
		struct dkim_verdicts got;
		assert_true(suite_read(a, arena_cstr(a, arena_cat(a, STR("dkim/corpus/"), file)), &message));
		dkim_to_crlf(message, &crlf);
		/* the recorded messages are old: a moment before they expire */
		uint64_t now = 1700000000;
		const struct json_value *sig = json_value_item(json_value_member(test, "sigs"), 0);
		struct str x = suite_str(sig, "x");
		if (x.n > 0 && str_u64(x, INT32_MAX, &now) && str_eq(want, STR("pass")))
			now--;
		verify(a, r, buf_str(&crlf), (int64_t)now, &got);
		bool right = str_eq(want, STR("pass")) ? got.result == DKIM_PASS
			     : str_eq(want, STR("fail")) ? got.result == DKIM_FAIL
							 : got.result != DKIM_PASS;
		if (str_eq(want, STR("pass"))) {
			for (size_t n = 0; n < got.n; n++)
				right = right && got.at[n].result == DKIM_PASS;
		}
		suite_result(&suite, file, right,
			     arena_fmt(a, "%s (%.*s)", dkim_result_name(got.result),
				       STR_ARG(got.n ? got.at[0].reason : STR(""))), want);
	}
	dns_resolver_free(r);
	suite_end(&suite);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(body_test), cmocka_unit_test(body_limit_test), cmocka_unit_test(header_test),
		cmocka_unit_test(tag_list_test), cmocka_unit_test(rfc8463_test),
		cmocka_unit_test_setup_teardown(sign_test, keys_set_up, keys_tear_down),
		cmocka_unit_test_setup_teardown(tamper_test, keys_set_up, keys_tear_down),
		cmocka_unit_test_setup_teardown(sign_refusal_test, keys_set_up, keys_tear_down),
		cmocka_unit_test(key_test), cmocka_unit_test(suite_test),
	};
	return RUN_TESTS(tests);
}
