/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * sender_auth/dmarc/dmarc.h: DMARC (RFC 9989), which also understands the records of RFC 7489.
 *
 * The organizational domain comes from the DNS tree walk (RFC 9989 4.10), or from the public suffix
 * list where a site wants that. Blocks while the resolver does. Results live in the arena.
 */
#pragma once
#include "base/err.h"
#include "sender_auth/dkim/dkim.h"
#include "sender_auth/spf/spf.h"

struct arena;
struct dns_resolver;
struct public_suffixes;

enum dmarc_policy { DMARC_POLICY_NONE, DMARC_POLICY_QUARANTINE, DMARC_POLICY_REJECT };
const char *dmarc_policy_name(enum dmarc_policy p);

enum dmarc_psd { DMARC_PSD_UNKNOWN, DMARC_PSD_YES, DMARC_PSD_NO };

enum {
	DMARC_RECORD_MAX = 16384, DMARC_WALK_MAX = 8, DMARC_URIS_MAX = 10,
	DMARC_TAGS_MAX = 64,
};

struct dmarc_record {
	enum dmarc_policy p, sp, np; /* filled in from each other where absent (4.7) */
	bool has_sp, has_np;
	bool testing;                /* t=y */
	bool strict_dkim, strict_spf;
	enum dmarc_psd psd;
	struct str rua, ruf;         /* as written; empty: none */
	struct str fo;               /* "0" where absent */
	unsigned percent;            /* pct=, of RFC 7489; 100 where absent; only for reports and people */
	bool has_percent;
	bool defaulted;              /* p, sp or np was bad: it counts as p=none because there is a rua */
};
/* Exactly "v=DMARC1" first (4.8); what is wrong in other tags is ignored. ERR_NOT_FOUND: no DMARC
 * record. ERR_SYNTAX: one that nothing can be done with (no p, no rua). */
bool dmarc_record_parse(struct str text, struct dmarc_record *out, struct err *err) MUST_CHECK;
/* The addresses of rua= or ruf=: mailto only, percent-decoded, "!10m" dropped. At most DMARC_URIS_MAX. */
size_t dmarc_report_addresses(struct arena *a, struct str list, struct str *out);

enum dmarc_result { DMARC_NONE, DMARC_PASS, DMARC_FAIL, DMARC_TEMPERROR, DMARC_PERMERROR };
const char *dmarc_result_name(enum dmarc_result r);

struct dmarc_dkim {
	enum dkim_result result;
	struct str domain;
};
struct dmarc_request {
	struct str author_domain; /* of From, A- or U-labels */
	enum spf_result spf;      /* of the MAIL FROM identity */
	struct str spf_domain;
	const struct dmarc_dkim *dkim;
	size_t dkim_n;
	/* Not NULL: the organizational domain comes from the list (discovery_method=psl). */
	const struct public_suffixes *suffixes;
	bool use_suffixes; /* the compiled list where suffixes is NULL */
};
struct dmarc_verdict {
	enum dmarc_result result;
	bool has_policy;
	enum dmarc_policy policy;     /* what the domain asks for, after sp, np and t */
	struct str author_domain;     /* A-labels */
	struct str policy_domain;     /* whose record it is */
	struct str organization;      /* organizational domain of the author domain */
	struct dmarc_record record;
	bool spf_aligned, dkim_aligned; /* aligned and pass */
	struct str reason;            /* for errors */
	unsigned queries;
};
void dmarc_check(struct dns_resolver *r, struct arena *a, const struct dmarc_request *q,
		 struct dmarc_verdict *out);

/* The one author domain of a header (RFC 9989 4.4.1, 11.5). ERR_SYNTAX: no From, several, an
 * address without domain, or domains that differ: DMARC cannot be applied. */
bool dmarc_author_domain(struct arena *a, struct str header, struct str *out, struct err *err) MUST_CHECK;
