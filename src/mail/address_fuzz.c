/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "mail/address.h"
#include "base/arena.h"
#include <stdlib.h>

/* What was accepted, formatted, is accepted again and the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ARENA_SCOPED a = arena_new();
	struct str in = {(const char *)data, size}, out;
	struct scan s = scan_of(in);
	struct path p;
	struct err err;
	struct address again, canonical;
	int flags = ADDRESS_UTF8 | ADDRESS_NULL | ADDRESS_POSTMASTER | ADDRESS_NO_BRACKETS;
	if (address_scan_path(&s, a, flags, &p, &err) && !p.null) {
		if (!address_parse(a, address_str(a, p.address), flags, &again, &err)) abort();
		if (!address_eq(p.address, again)) abort();
		if (address_canonical(a, p.address, ADDRESS_FOLD, &canonical, &err))
			address_str(a, canonical);
	}
	if (xtext_decode(a, in, &out, &err)) domain_display(a, out);
	if (domain_canonical(a, in, &out, &err) && !domain_canonical(a, out, &out, &err)) abort();
	if (utf8_addr_decode(a, in, &out, &err)) domain_display(a, out);
	return 0;
}
