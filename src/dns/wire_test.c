/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/testing.h"
#include "base/arena.h"
#include "base/codec.h"
#include "dns/wire.h"

static void query_test(void **state)
{
	BUF_SCOPED b = {0}, hex = {0};
	dns_wire_query(&b, 0x1234, STR("a.bc"), DNS_MX, true);
	hex_encode(&hex, buf_str(&b));
	assert_str("query", buf_str(&hex), STR("123401200001000000000001" "0161026263" "00" "000f0001"
					       "00" "0029" "04d0" "00000000" "0000"));
	buf_clear(&b);
	buf_clear(&hex);
	dns_wire_query(&b, 0x1234, STR("a.bc"), DNS_MX, false);
	hex_encode(&hex, buf_str(&b));
	assert_str("without EDNS", buf_str(&hex),
		   STR("123401200001000000000000"
		       "0161026263"
		       "00"
		       "000f0001"));
}

/* Q: the question "a.bc" MX is at octet 12; answers follow at 22. */
#define HEAD(flags, an, ns) "1234" flags "0001" an ns "0000" "016102626300" "000f0001"

static void answer_test(void **state)
{
	static const struct {
		const char *name, *hex;
		bool understood;
		enum dns_status status;
		size_t n;
		int flags;
		uint32_t ttl;
		const char *host;
	} cases[] = {
		{"found",
		 HEAD("8180", "0001", "0000") "c00c000f0001000000050006"
					      "000a"
					      "014dc00e",
		 true, DNS_FOUND, 1, 0, 5, "m.bc"},
		{"ad", HEAD("81a0", "0000", "0000"), true, DNS_NODATA, 0, DNS_WIRE_AD, 60, NULL},
		{"truncated", HEAD("8380", "0000", "0000"), true, DNS_SERVFAIL, 0, DNS_WIRE_TRUNCATED, 0,
		 NULL},
		{"nxdomain", HEAD("8183", "0000", "0000"), true, DNS_NXDOMAIN, 0, 0, 60, NULL},
		{"formerr", HEAD("8181", "0000", "0000"), true, DNS_SERVFAIL, 0, DNS_WIRE_NO_EDNS, 0, NULL},
		{"servfail", HEAD("8182", "0000", "0000"), true, DNS_SERVFAIL, 0, 0, 0, NULL},
		{"alias",
		 HEAD("8180", "0001", "0000") "c00c00050001000000050004"
					      "017803"
					      "6d"
					      "7800",
		 false, 0, 0, 0, 0, NULL},
		{"alias only",
		 HEAD("8180", "0001", "0000") "c00c0005000100000005"
					      "0003"
					      "017800",
		 true, DNS_NODATA, 0, DNS_WIRE_ALIAS, 5, NULL},
		{"loop",
		 HEAD("8180", "0001", "0000") "c00c0005000100000005"
					      "0002"
					      "c00c",
		 true, DNS_SERVFAIL, 0, 0, 5, NULL},
		{"foreign record",
		 HEAD("8180", "0001", "0000") "0178"
					      "00"
					      "000f0001000000050003"
					      "000a"
					      "00",
		 true, DNS_NODATA, 0, 0, 60, NULL},
		{"a query", HEAD("0180", "0000", "0000"), false, 0, 0, 0, 0, NULL},
		{"other question",
		 "12348180000100000000000"
		 "0"
		 "016202626300"
		 "000f0001",
		 false, 0, 0, 0, 0, NULL},
		{"pointer to itself", HEAD("8180", "0001", "0000") "c016", false, 0, 0, 0, 0, NULL},
		{"pointer ahead", HEAD("8180", "0001", "0000") "c0ff", false, 0, 0, 0, 0, NULL},
		{"rdata too long",
		 HEAD("8180", "0001", "0000") "c00c000f0001000000050009"
					      "000a00",
		 false, 0, 0, 0, 0, NULL},
		{"rdata left over",
		 HEAD("8180", "0001", "0000") "c00c000f0001000000050004"
					      "000a0000",
		 false, 0, 0, 0, 0, NULL},
		{"short", "1234", false, 0, 0, 0, 0, NULL},
		{"more than said", HEAD("8180", "ffff", "0000"), false, 0, 0, 0, 0, NULL},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		ARENA_SCOPED a = arena_new();
		BUF_SCOPED packet = {0};
		struct dns_answer got;
		struct dns_wire_info info;
		struct err err;
		const char *name = cases[i].name;
		assert_case(name, hex_decode(&packet, str_of(cases[i].hex)));
		bool understood =
			dns_wire_answer(a, buf_str(&packet), STR("a.bc"), DNS_MX, &got, &info, &err);
		assert_case(name, understood == cases[i].understood);
		if (!understood)
			continue;
		assert_case(name, got.status == cases[i].status);
		assert_case(name, got.n == cases[i].n);
		assert_case(name, info.flags == cases[i].flags);
		assert_case(name, got.ttl == cases[i].ttl);
		if (cases[i].host)
			assert_str(name, got.at[0].name, str_of(cases[i].host));
	}
}

/* RFC 2308 5: TTL of the SOA against its minimum. */
static void negative_ttl_test(void **state)
{
	ARENA_SCOPED a = arena_new();
	BUF_SCOPED packet = {0};
	struct dns_answer got;
	struct dns_wire_info info;
	struct err err;
	assert_true(hex_decode(&packet, STR(HEAD("8183", "0000", "0001") "c00c0006000100000e100016" "0000"
						"00000001000000020000000300000004" "0000001e")));
	assert_true(dns_wire_answer(a, buf_str(&packet), STR("a.bc"), DNS_MX, &got, &info, &err));
	assert_int_equal(got.ttl, 30);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(query_test),
		cmocka_unit_test(answer_test),
		cmocka_unit_test(negative_ttl_test),
	};
	return RUN_TESTS(tests);
}
