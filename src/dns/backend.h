/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* dns/backend.h: what a back end of the resolver is; other modules make their own of it. */
#pragma once
#include "dns/resolver.h"

struct dns_resolver {
	/* name is valid, in lower case, without final dot; out is zeroed, canonical is name */
	void (*query)(struct dns_resolver *r, struct arena *a, struct str name, enum dns_type type,
		      struct dns_answer *out);
	void (*free)(struct dns_resolver *r);
};
