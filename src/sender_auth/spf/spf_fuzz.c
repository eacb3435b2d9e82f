/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/arena.h"
#include "dns/table.h"
#include "sender_auth/spf/spf.h"
#include <stdlib.h>

/* The input is the record of the sender's domain and the text that explains it. Whatever it says,
 * the limits hold and nothing leaves that could break a line. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str input = {(const char *)data, size};
	struct str record = str_cut(&input, '\n');
	ARENA_SCOPED a = arena_new();
	struct dns_resolver *r = dns_table_new();
	struct spf_verdict v;
	struct err err;
	struct spf_request q = {.ip = STR("\xc0\0\x02\x01"), .helo = STR("mx.example"),
				.mail_from = STR("some.one@a.example")};
	if (!dns_table_add(r, STR("a.example"), STR("TXT"), arena_cat(a, STR("v=spf1 "), record), &err) ||
	    !dns_table_add(r, STR("b.example"), STR("TXT"), input, &err) ||
	    !dns_table_add(r, STR("a.example"), STR("MX"), STR("0 b.example"), &err) ||
	    !dns_table_add(r, STR("1.2.0.192.in-addr.arpa"), STR("PTR"), STR("b.example"), &err) ||
	    !dns_table_add(r, STR("b.example"), STR("A"), STR("192.0.2.1"), &err))
		abort();
	spf_check(r, a, &q, &v);
	if (v.lookups > SPF_LOOKUPS_MAX || v.void_lookups > SPF_VOID_LOOKUPS_MAX + 1)
		abort();
	if (str_has_ctl(v.explanation) || str_has_ctl(v.reason) || v.explanation.n > SPF_EXPLANATION_MAX)
		abort();
	dns_resolver_free(r);
	return 0;
}
