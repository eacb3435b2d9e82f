/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* sender_auth/spf/spf_int.h: the parsed record, macros, one evaluation. */
#pragma once
#include "base/err.h"
#include "dns/resolver.h"
#include "sender_auth/spf/spf.h"

enum spf_mechanism {
	SPF_ALL, SPF_INCLUDE, SPF_A, SPF_MX, SPF_PTR, SPF_IP4, SPF_IP6, SPF_EXISTS,
};
struct spf_directive {
	enum spf_result qualifier;
	enum spf_mechanism mechanism;
	struct str domain;    /* domain-spec; empty: the current domain */
	unsigned char network[16];
	unsigned bits4, bits6;
	struct str text;
};
struct spf_record {
	struct spf_directive *at;
	size_t n;
	struct str redirect, exp; /* domain-spec; p == NULL: not there */
};

/* record (RFC 7208 4.5, 12), "v=spf1" included. ERR_SYNTAX, ERR_LIMIT. */
bool spf_record_parse(struct arena *a, struct str text, struct spf_record *out, struct err *err) MUST_CHECK;
/* "v=spf1" alone or before a space, any case. */
bool spf_is_record(struct str text);

enum spf_macro_kind {
	SPF_MACRO_DOMAIN, /* domain-spec */
	SPF_MACRO_STRING, /* macro-string of an unknown modifier */
	SPF_MACRO_EXPLAIN,/* explain-string: blanks, and the letters c r t */
};
bool spf_macro_valid(struct str s, enum spf_macro_kind kind);

/* What one check_host() with all that it includes shares. */
struct spf_run {
	struct dns_resolver *resolver;
	struct arena *a;
	const struct spf_request *request;
	struct str ip;             /* 4 or 16 octets */
	struct str sender, local, sender_domain;
	int64_t deadline_ms;
	unsigned lookups, void_lookups, depth;
	struct str reason, term;
};
/* A valid macro string for the current domain. false: it needs a local-part that is not ASCII, and
 * so matches nothing (RFC 8616 4). For a domain: cut from the left to 253 octets (7.3). */
bool spf_macro_expand(struct spf_run *run, struct str s, struct str domain, enum spf_macro_kind kind,
		      struct str *out);
/* PTR names that lead back to the address (5.5); at most SPF_NAMES_MAX. */
size_t spf_validated_names(struct spf_run *run, struct str *out, enum dns_status *out_status);
bool spf_is_below(struct str name, struct str domain); /* the same, or under it */
