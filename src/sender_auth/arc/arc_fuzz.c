/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/arena.h"
#include "dns/table.h"
#include "mail/header.h"
#include "sender_auth/arc/arc.h"
#include <stdlib.h>

/* No key can be found, so nothing passes; a message without ARC fields has no chain. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str message = {(const char *)data, size};
	ARENA_SCOPED a = arena_new();
	struct dns_resolver *r = dns_table_new();
	struct arc_verdict v;
	enum arc_status status;
	size_t header = header_length(message);
	struct arc_check *c = arc_check_new(a, str_sub(message, 0, header));
	arc_check_body(c, str_from(message, header));
	arc_check_end(c, r, &v);
	arc_check_free(c);
	if (v.status == ARC_PASS || v.n > ARC_SETS_MAX)
		abort();
	if (str_find_nocase(message, STR("ARC-")) == STR_NPOS && header <= DKIM_HEADER_MAX && v.n > 0)
		abort();
	(void)arc_status_recorded(a, str_sub(message, 0, header), STR("a"), &status);
	dns_resolver_free(r);
	return 0;
}
