/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/arena.h"
#include "sender_auth/dmarc/dmarc.h"
#include <stdlib.h>

/* A record and a header. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str in = {(const char *)data, size};
	ARENA_SCOPED a = arena_new();
	struct dmarc_record r;
	struct str domain, addresses[DMARC_URIS_MAX];
	struct err err;
	if (dmarc_record_parse(in, &r, &err)) {
		if (r.p > DMARC_POLICY_REJECT || r.sp > DMARC_POLICY_REJECT || r.np > DMARC_POLICY_REJECT ||
		    r.percent > 100)
			abort();
		if (dmarc_report_addresses(a, r.rua, addresses) > DMARC_URIS_MAX)
			abort();
	}
	if (dmarc_author_domain(a, in, &domain, &err) && (domain.n == 0 || str_has_ctl(domain)))
		abort();
	return 0;
}
