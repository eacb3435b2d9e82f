/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/testing.h"
#include <string.h>
#include "base/arena.h"
#include "dns/cache.h"
#include "dns/server.h"
#include "dns/table.h"
#include "json/json.h"

static void names_test(void **state)
{
	char longest[256];
	memset(longest, 'a', sizeof longest);
	for (size_t i = 62; i < sizeof longest; i += 63)
		longest[i] = '.';
	const struct {
		const char *name;
		struct str in;
		bool valid;
	} cases[] = {
		{"plain", STR("example.com"), true}, {"final dot", STR("example.com."), true},
		{"one label", STR("com"), true}, {"empty", STR(""), false}, {"root", STR("."), false},
		{"empty label", STR("a..b"), false}, {"leading dot", STR(".a"), false},
		{"any octet", STR("a b\0c\xff.d"), true}, {"two final dots", STR("a.."), false},
		{"253", {longest + 3, 253}, true}, {"254", {longest + 2, 254}, false},
		{"63", STR("123456789012345678901234567890123456789012345678901234567890123.a"), true},
		{"64", STR("1234567890123456789012345678901234567890123456789012345678901234.a"), false},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_case(cases[i].name, dns_name_valid(cases[i].in) == cases[i].valid);
}

static void reverse_test(void **state)
{
	ARENA_SCOPED a = arena_new();
	assert_str("IPv4", dns_reverse_name(a, STR("\x01\x02\x03\x04")), STR("4.3.2.1.in-addr.arpa"));
	assert_str("IPv6", dns_reverse_name(a, STR("\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x0a")),
		   STR("a.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"));
}

static const char zone[] =
	"{\"a.example\": [[\"A\", \"192.0.2.1\"], [\"A\", \"192.0.2.2\"], [\"TXT\", [\"one \", \"two\"]]],"
	"\"mx.example\": [[\"MX\", [10, \"Mail.Example.\"]], [\"MX\", \"20 b.example\"], [\"SPF\", \"x\"]],"
	"\"alias.example\": [[\"CNAME\", \"A.example.\"]], \"loop.example\": [[\"CNAME\", \"loop.example\"]],"
	"\"x.deep.example\": [[\"AAAA\", \"2001:db8::1\"]], \"slow.example\": [[\"TIMEOUT\"]],"
	"\"bad.example\": [[\"SERVFAIL\"]], \"gone.example\": [[\"NXDOMAIN\"]],"
	"\"_25._tcp.mx.example\": [[\"TLSA\", \"3 1 1 00ff\"]]}";

static struct dns_resolver *table(void)
{
	JSON_DOC_SCOPED doc = NULL;
	struct err err;
	struct dns_resolver *r = dns_table_new();
	assert_true(json_doc_parse(str_of(zone), 65536, &doc, &err));
	assert_true(dns_table_add_json(r, json_doc_root(doc), &err));
	return r;
}

static void table_test(void **state)
{
	static const struct {
		const char *name;
		enum dns_type type;
		enum dns_status status;
		size_t n;
	} cases[] = {
		{"a.example", DNS_A, DNS_FOUND, 2}, {"A.Example.", DNS_TXT, DNS_FOUND, 1},
		{"a.example", DNS_MX, DNS_NODATA, 0}, {"alias.example", DNS_A, DNS_FOUND, 2},
		{"alias.example", DNS_MX, DNS_NODATA, 0}, {"loop.example", DNS_A, DNS_SERVFAIL, 0},
		{"deep.example", DNS_A, DNS_NODATA, 0}, {"nothing.example", DNS_A, DNS_NXDOMAIN, 0},
		{"slow.example", DNS_A, DNS_TIMEOUT, 0}, {"bad.example", DNS_A, DNS_SERVFAIL, 0},
		{"gone.example", DNS_A, DNS_NXDOMAIN, 0}, {"a..example", DNS_A, DNS_NXDOMAIN, 0},
		{"_25._tcp.mx.example", DNS_TLSA, DNS_FOUND, 1}, {"alias.example", DNS_CNAME, DNS_FOUND, 1},
	};
	struct dns_resolver *r = table();
	ARENA_SCOPED a = arena_new();
	struct dns_answer got;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		dns_query(r, a, str_of(cases[i].name), cases[i].type, &got);
		assert_case(cases[i].name, got.status == cases[i].status);
		assert_case(cases[i].name, got.n == cases[i].n);
	}
	dns_query(r, a, STR("mx.example"), DNS_MX, &got);
	assert_int_equal(got.at[0].preference, 10);
	assert_str("host", got.at[0].name, STR("mail.example"));
	dns_query(r, a, STR("alias.example"), DNS_TXT, &got);
	assert_str("text", got.at[0].data, STR("one two"));
	assert_str("canonical", got.canonical, STR("a.example"));
	dns_query(r, a, STR("_25._tcp.mx.example"), DNS_TLSA, &got);
	assert_str("tlsa", got.at[0].data, STR("\0\xff"));
	assert_int_equal(got.at[0].usage, 3);
	dns_resolver_free(r);
}

static void cache_test(void **state)
{
	struct dns_resolver *inner = table();
	struct dns_cache *cache = dns_cache_new(4096);
	struct dns_resolver *r = dns_cached_new(cache, inner);
	ARENA_SCOPED a = arena_new();
	struct dns_answer got;
	for (int i = 0; i < 3; i++) {
		dns_query(r, a, STR("a.example"), DNS_TXT, &got);
		assert_str("kept", got.at[0].data, STR("one two"));
		assert_true(got.ttl <= 300 && got.ttl > 290);
		dns_query(r, a, STR("A.EXAMPLE"), DNS_TXT, &got);
		dns_query(r, a, STR("nothing.example"), DNS_A, &got);
		assert_int_equal(got.status, DNS_NXDOMAIN);
		dns_query(r, a, STR("slow.example"), DNS_A, &got);
		assert_int_equal(got.status, DNS_TIMEOUT);
	}
	assert_int_equal(dns_table_queries(inner), 3);
	assert_int_equal(dns_cache_count(cache), 3);
	/* TTL 0 is never kept; the limit on bytes pushes the oldest out. */
	struct dns_answer zero = {.status = DNS_NODATA};
	dns_cache_put(cache, STR("zero.example"), DNS_A, &zero);
	assert_false(dns_cache_get(cache, a, STR("zero.example"), DNS_A, &got));
	struct dns_answer some = {.status = DNS_NODATA, .ttl = 60};
	for (int i = 0; i < 100; i++)
		dns_cache_put(cache, arena_fmt(a, "n%d.example", i), DNS_A, &some);
	assert_true(dns_cache_count(cache) < 20);
	assert_true(dns_cache_get(cache, a, STR("n99.example"), DNS_A, &got));
	assert_false(dns_cache_get(cache, a, STR("a.example"), DNS_TXT, &got));
	dns_cache_flush(cache);
	assert_int_equal(dns_cache_count(cache), 0);
	dns_resolver_free(r);
	dns_cache_free(cache);
	dns_resolver_free(inner);
}

static void server_test(void **state)
{
	static const struct {
		const char *in, *wanted; /* NULL: refused */
		bool loopback;
	} cases[] = {
		{"192.0.2.1", "192.0.2.1@53", false}, {"127.0.0.1:5353", "127.0.0.1@5353", true},
		{"localhost:99", "127.0.0.1@99", true}, {"::1", "::1@53", true},
		{"[2001:db8::1]:5353", "2001:db8::1@5353", false}, {"[::1]", "::1@53", true},
		{" 192.0.2.1 ", "192.0.2.1@53", false},
		{"", NULL, false}, {"192.0.2.1:", NULL, false}, {"192.0.2.1:0", NULL, false},
		{"192.0.2.1:65536", NULL, false}, {"[::1", NULL, false}, {"[::1]5", NULL, false},
		{"ns.example.com", NULL, false}, {"1.2.3", NULL, false},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct dns_server s;
		struct err err;
		char text[DNS_SERVER_TEXT_MAX];
		bool good = dns_server_parse(str_of(cases[i].in), &s, &err);
		assert_case(cases[i].in, good == (cases[i].wanted != NULL));
		if (!good)
			continue;
		dns_server_text(&s, text);
		assert_str(cases[i].in, str_of(text), str_of(cases[i].wanted));
		assert_case(cases[i].in, s.loopback == cases[i].loopback);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_test), cmocka_unit_test(reverse_test), cmocka_unit_test(table_test),
		cmocka_unit_test(cache_test), cmocka_unit_test(server_test),
	};
	return RUN_TESTS(tests);
}
