/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * sender_auth/spf/spf.h: check_host() of RFC 7208, with RFC 8616 for international addresses.
 *
 * Blocks while the resolver does; touches nothing else. The record is parsed whole before anything
 * is looked up, so that a mistake anywhere is a permerror. Results live in the arena.
 */
#pragma once
#include "base/str.h"

struct arena;
struct dns_resolver;

enum spf_result {
	SPF_NONE, SPF_NEUTRAL, SPF_PASS, SPF_FAIL, SPF_SOFTFAIL, SPF_TEMPERROR, SPF_PERMERROR,
};
const char *spf_result_name(enum spf_result r); /* "softfail" */
bool spf_result_parse(struct str s, enum spf_result *out); /* any case */

enum {
	SPF_LOOKUPS_MAX = 10,      /* terms that look something up, RFC 7208 4.6.4 */
	SPF_VOID_LOOKUPS_MAX = 2,  /* of them without result */
	SPF_NAMES_MAX = 10,        /* of one MX or PTR answer */
	SPF_TIME_MS = 20000,       /* of one check, but for the last question's own limit */
	SPF_TERMS_MAX = 1000,
	SPF_RECORD_MAX = 16384,    /* octets */
	SPF_EXPLANATION_MAX = 512, /* octets kept of what a domain says */
};

struct spf_request {
	struct str ip;        /* 4 or 16 octets; IPv4 in IPv6 counts as IPv4 */
	struct str helo;
	struct str mail_from; /* reverse-path without brackets; empty: postmaster@helo (2.4) */
	struct str receiver;  /* our host name, for %{r} */
};

struct spf_verdict {
	enum spf_result result;
	struct str domain;      /* that was checked; "" when there was none */
	struct str term;        /* the mechanism that decided, as it stands in the record */
	struct str reason;      /* for errors: what is wrong, for the log and people; static or arena */
	struct str explanation; /* fail only: the domain's text, printable ASCII on one line; may be empty */
	unsigned lookups, void_lookups;
};

/* The MAIL FROM identity, the one that DMARC uses (RFC 9989 4.4.2). */
void spf_check(struct dns_resolver *r, struct arena *a, const struct spf_request *q, struct spf_verdict *out);
/* The HELO identity (2.3). */
void spf_check_helo(struct dns_resolver *r, struct arena *a, const struct spf_request *q,
		    struct spf_verdict *out);
