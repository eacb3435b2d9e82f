/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * dns/wire.h: DNS messages (RFC 1035 section 4, RFC 6891), as far as a client needs them. The
 * answer is read as hostile: compression must point backwards, counts and lengths are checked.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "dns/resolver.h"

/* What a UDP answer may have without being cut into IP fragments. */
enum { DNS_UDP_SIZE = 1232 };

/* A query with RD and AD, and with EDNS0 if wanted. The name is valid. */
void dns_wire_query(struct buf *out, uint16_t id, struct str name, enum dns_type type, bool edns);

enum dns_wire_flags {
	DNS_WIRE_TRUNCATED = 1, /* TC: ask again by TCP */
	DNS_WIRE_AD = 2,        /* the server says it validated the answer */
	DNS_WIRE_ALIAS = 4,     /* only CNAMEs: out->canonical is to be asked for next */
	DNS_WIRE_NO_EDNS = 8,   /* FORMERR or NOTIMP: an old server, ask again without (RFC 6891 6.2.2) */
};
struct dns_wire_info {
	uint16_t id;
	int flags;
};
/* Reads the answer to a question for (name, type). out as in dns_query; secure is left alone.
 * ERR_SYNTAX: not a message, not an answer, or not to this question. */
bool dns_wire_answer(struct arena *a, struct str packet, struct str name, enum dns_type type,
		     struct dns_answer *out, struct dns_wire_info *info, struct err *err) MUST_CHECK;
