/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* sender_auth/arc/arc_int.h: the sets of a header. */
#pragma once
#include "sender_auth/arc/arc.h"
#include "sender_auth/dkim/dkim_int.h"

struct arc_fields {
	const struct header_field *results, *message, *seal; /* AAR, AMS, AS */
	struct dkim_signature ams, as;
	struct str text; /* of the AAR, behind "i=N;" */
};
struct arc_chain {
	struct arc_fields *at; /* instance 1 first; ARC_SETS_MAX of them */
	unsigned n;            /* the highest instance */
};
/* Finds and parses all. ERR_SYNTAX: the structure or a field is not right (5.2 step 2 and 3); n is
 * then the highest instance that could be read. */
bool arc_chain_read(struct arena *a, const struct dkim_fields *fields, struct arc_chain *out,
		    struct err *err) MUST_CHECK;
/* What a seal of instance n covers, up to its "b=": sets 1 to n (5.1.1). */
void arc_seal_text(struct buf *out, const struct arc_chain *chain, unsigned n);
