/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * dns/table.h: a resolver that answers from memory, for tests. A name that stands in the table, or
 * above one that does, exists; CNAMEs are followed; everything is insecure unless said otherwise.
 */
#pragma once
#include "base/err.h"
#include "dns/resolver.h"

struct json_value;

struct dns_resolver *dns_table_new(void);
/* One record in zone-file notation: "TXT", "v=spf1 -all"; "MX", "10 mail.example.com"; "A",
 * "192.0.2.1". The types TIMEOUT, SERVFAIL, BOGUS, NXDOMAIN (without data) make every question
 * for that name end so. */
bool dns_table_add(struct dns_resolver *r, struct str name, struct str type, struct str data,
		   struct err *err) MUST_CHECK;
/* {"name": [["TXT", "one" or ["of", "strings"]], ["MX", [10, "host"]], ["TIMEOUT"]]}. Types that
 * dns_type lacks are passed over. */
bool dns_table_add_json(struct dns_resolver *r, const struct json_value *zone, struct err *err) MUST_CHECK;
void dns_table_set_secure(struct dns_resolver *r, bool secure);
unsigned dns_table_queries(const struct dns_resolver *r); /* asked so far */
