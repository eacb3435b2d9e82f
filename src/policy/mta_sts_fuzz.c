/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/arena.h"
#include "policy/mta_sts.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str in = {(const char *)data, size}, id;
	ARENA_SCOPED a = arena_new();
	struct mta_sts_policy p;
	struct err err;
	if (mta_sts_record_parse(in, &id, &err) && (id.n == 0 || id.n > MTA_STS_ID_MAX))
		abort();
	if (mta_sts_policy_parse(a, in, &p, &err)) {
		if (p.max_age_s > MTA_STS_MAX_AGE || (p.mode != MTA_STS_NONE && p.mx_n == 0))
			abort();
		if (p.mx_n > 0 && p.mx[0].p[0] != '*' && !mta_sts_policy_has(&p, p.mx[0]))
			abort();
	}
	return 0;
}
