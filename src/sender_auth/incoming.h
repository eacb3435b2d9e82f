/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * sender_auth/incoming.h: SPF, DKIM and DMARC of one message that a stranger hands in, and the
 * Authentication-Results field about it (RFC 8601). ARC only for forwarders that one trusts.
 *
 * The header is given first and must stay; the body is streamed; incoming_end asks the DNS and blocks
 * as the resolver does. Nothing is decided here but what DMARC's domain asks for: that is for who
 * asked. A question without answer is a temperror, never a pass and never a fail (RFC 9989 5.4).
 */
#pragma once
#include "base/buf.h"
#include "sender_auth/arc/arc.h"
#include "sender_auth/dkim/verify.h"
#include "sender_auth/dmarc/dmarc.h"

struct arena;
struct dns_resolver;
struct public_suffixes;

struct incoming_options {
	struct str authserv_id;
	struct str ip;        /* 4 or 16 octets; empty: not known, so no SPF */
	struct str helo, mail_from, receiver; /* as in struct spf_request */
	const struct str *forwarders; /* domains whose seals one trusts */
	size_t forwarders_n;
	bool check_arc;       /* also where nobody is trusted: it will be sealed */
	const struct public_suffixes *suffixes; /* for keys on a public suffix; may be NULL */
	int64_t now_unix;
};

struct incoming_verdict {
	struct spf_verdict spf;
	struct dkim_verdicts dkim;
	struct arc_verdict arc;
	bool has_author;          /* DMARC can be applied */
	bool several_authors;     /* more than one From field, or domains that differ: a known trick */
	struct str author_reason; /* why not */
	struct dmarc_verdict dmarc;
	/* What the author's domain wants done with it: DMARC fails, and no trusted forwarder sealed it. */
	enum dmarc_policy wanted;
	bool forwarded;           /* it fails, and one has */
};

struct incoming;
struct incoming *incoming_new(struct arena *a, const struct incoming_options *o, struct str header);
void incoming_body(struct incoming *i, struct str chunk);
void incoming_end(struct incoming *i, struct dns_resolver *r, struct incoming_verdict *out);
void incoming_free(struct incoming *i); /* accepts NULL; verdicts stay */

/* The field, with its CRLF, to stand on top. */
void incoming_field(struct buf *out, const struct incoming_options *o, const struct incoming_verdict *v);
/* Does an Authentication-Results field that came with mail claim to be ours (RFC 8601 5)? */
bool incoming_field_is_ours(struct arena *a, struct str body, struct str authserv_id);
/* "spf=pass dkim=pass dmarc=fail", for the log. */
void incoming_words(struct buf *out, const struct incoming_verdict *v);
