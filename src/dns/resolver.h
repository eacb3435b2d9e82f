/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * dns/resolver.h: questions to the DNS and their answers.
 *
 * One interface, several back ends: libunbound (validating), a plain client of a recursive server
 * that is trusted, a table in memory (tests), a cache in front of another. dns_query blocks until
 * the answer or the back end's time limit; it has no way to fail: what went wrong is a status. A
 * resolver serves one thread at a time, but for the cache, which locks itself while it is read.
 *
 * Names are octets: labels parted by dots, no escapes on the way in, no final dot needed. On the
 * way out they are in lower case, a dot or backslash inside a label is \DDD.
 */
#pragma once
#include "base/str.h"

struct arena;
struct dns_resolver;

enum dns_type {
	DNS_A = 1, DNS_NS = 2, DNS_CNAME = 5, DNS_SOA = 6, DNS_PTR = 12, DNS_MX = 15, DNS_TXT = 16,
	DNS_AAAA = 28, DNS_SRV = 33, DNS_TLSA = 52,
};

enum dns_status {
	DNS_FOUND,
	DNS_NODATA,   /* the name exists, this type does not */
	DNS_NXDOMAIN, /* also: the name cannot exist (empty or long labels, more than 253 octets) */
	DNS_BOGUS,    /* signed, and the signature is wrong: never believed, temporary for a sender */
	DNS_SERVFAIL, /* an error, or an answer that makes no sense */
	DNS_TIMEOUT,
};
/* What RFC 7208, 6376, 9989 call a DNS error: try again later. */
static inline bool dns_is_error(enum dns_status s) { return s >= DNS_BOGUS; }
/* NXDOMAIN or an empty answer: a void look-up. */
static inline bool dns_is_void(enum dns_status s) { return s == DNS_NODATA || s == DNS_NXDOMAIN; }
const char *dns_status_name(enum dns_status s); /* "found", "nodata", ... */

struct dns_record {
	struct str data;     /* A: 4 octets; AAAA: 16; TXT: its strings joined; TLSA: the association data */
	struct str name;     /* MX, PTR, CNAME, NS, SRV: the host in lower case, empty for the root */
	uint16_t preference; /* MX; priority of SRV */
	uint16_t weight, port;             /* SRV */
	uint8_t usage, selector, matching; /* TLSA */
};

struct dns_answer {
	enum dns_status status;
	bool secure;          /* proven by DNSSEC, denials too */
	uint32_t ttl;         /* seconds; of negative answers too */
	struct str canonical; /* the name that has the records, after CNAMEs */
	const struct dns_record *at;
	size_t n;             /* more than 0 exactly when DNS_FOUND */
};

enum {
	DNS_NAME_MAX = 253, DNS_LABEL_MAX = 63,
	DNS_RECORDS_MAX = 1000, /* in one answer; more is DNS_SERVFAIL */
	DNS_ALIASES_MAX = 12,   /* CNAMEs in a row */
};

/* The answer lives in the arena. */
void dns_query(struct dns_resolver *r, struct arena *a, struct str name, enum dns_type type,
	       struct dns_answer *out);
void dns_resolver_free(struct dns_resolver *r); /* accepts NULL */

/* Labels of 1-63 octets, 253 in all, one final dot allowed. */
bool dns_name_valid(struct str name);
/* "4.3.2.1.in-addr.arpa", "…ip6.arpa" of 4 or 16 octets. */
struct str dns_reverse_name(struct arena *a, struct str address);
