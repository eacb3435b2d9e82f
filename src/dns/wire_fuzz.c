/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/arena.h"
#include "dns/wire.h"
#include <stdlib.h>

/* The first octet chooses what was asked. What is understood keeps the promises of the header. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum dns_type types[] = {DNS_A, DNS_MX, DNS_TXT, DNS_PTR, DNS_SRV, DNS_TLSA, DNS_CNAME};
	ARENA_SCOPED a = arena_new();
	struct dns_answer answer;
	struct dns_wire_info info;
	struct err err;
	if (size < 1)
		return 0;
	struct str packet = {(const char *)data + 1, size - 1};
	enum dns_type type = types[data[0] % (sizeof types / sizeof *types)];
	if (!dns_wire_answer(a, packet, STR("example.com"), type, &answer, &info, &err))
		return 0;
	if ((answer.n > 0) != (answer.status == DNS_FOUND) || answer.ttl > INT32_MAX)
		abort();
	for (size_t i = 0; i < answer.n; i++) {
		if (type == DNS_A && answer.at[i].data.n != 4)
			abort();
	}
	return 0;
}
