/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * mail/address.h: an address as SMTP knows it (RFC 5321 4.1.2, 4.1.3; RFC 6531 3.3).
 *
 * The local-part is kept unquoted ("a b"@c has the local-part `a b`); address_format puts the
 * quotes back where the grammar wants them. No function here blocks or locks; everything that
 * is returned lives in the arena given or is a view of the input, "either" where not said.
 *
 * Header fields (RFC 5322) have another grammar: mime/address_list.h.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/scan.h"

struct arena;

struct address {
	struct str local;  /* unquoted; empty for the null reverse-path */
	struct str domain; /* as given, or "[literal]" with its brackets; empty for <> and <postmaster> */
};

/* RFC 5321 4.5.3.1: octets. A path is the address and its two angle brackets. */
enum { ADDRESS_LOCAL_MAX = 64, ADDRESS_DOMAIN_MAX = 255, ADDRESS_MAX = 254 };

enum address_flags {
	ADDRESS_UTF8 = 1,        /* SMTPUTF8 was said: octets above 0x7f are allowed (valid UTF-8 only) */
	ADDRESS_NULL = 2,        /* "<>" is allowed (MAIL FROM) */
	ADDRESS_POSTMASTER = 4,  /* "<postmaster>" without domain is allowed (RCPT TO), any case */
	ADDRESS_NO_DOMAIN = 8,   /* a local-part alone is allowed (local senders, command line) */
	ADDRESS_NO_BRACKETS = 16,/* path without < >: seen from old clients; also "<" SP is refused as ever */
};

struct path {
	struct address address;
	struct str text;   /* what stood between < and >, source route removed */
	bool null;         /* <> */
	bool source_route; /* "@a,@b:" stood before it and was dropped (RFC 5321 appendix C) */
	bool literal;      /* domain is an address literal */
	bool utf8;         /* an octet above 0x7f is in it */
};

/* Path or Reverse-path, at the scan; the scan stands behind ">" afterwards and where it was on
 * failure. ERR_SYNTAX, or ERR_LIMIT for a part that is too long. */
bool address_scan_path(struct scan *s, struct arena *a, int flags, struct path *out,
		       struct err *err) MUST_CHECK;
/* Mailbox, the whole of text, without brackets. */
bool address_parse(struct arena *a, struct str text, int flags, struct address *out,
		   struct err *err) MUST_CHECK;

/* Wire form without brackets: quotes the local-part when it is not a Dot-string. */
void address_format(struct buf *out, struct address addr);
struct str address_str(struct arena *a, struct address addr);
bool address_is_null(struct address addr); /* both parts empty */
bool address_is_utf8(struct address addr); /* needs SMTPUTF8 as it stands */

/* Same mailbox: local-parts octet for octet (canonical forms are NFC), domains without case. */
bool address_eq(struct address x, struct address y);

/* The form that is compared and stored: domain_canonical of the domain, local-part in NFC and,
 * with ADDRESS_FOLD, in lower case (the policy of our own domains; never for foreign ones). */
enum address_canonical_flags { ADDRESS_FOLD = 1 };
bool address_canonical(struct arena *a, struct address addr, int flags, struct address *out,
		       struct err *err) MUST_CHECK;

/* Lower-case A-labels (IDNA2008 by libidn2, U+3002 counts as dot), a final dot removed. Literals
 * come back in lower case. ERR_SYNTAX when it is no domain. */
bool domain_canonical(struct arena *a, struct str domain, struct str *out, struct err *err) MUST_CHECK;
/* U-labels for people to read; the input itself when it cannot be converted. */
struct str domain_display(struct arena *a, struct str domain);
/* RFC 5321 Domain syntax: LDH labels 1-63, 255 in all; with utf8 also U-labels. No final dot. */
bool domain_valid(struct str domain, bool utf8);
/* "[192.0.2.1]", "[IPv6:2001:db8::1]": the address text inside, empty when it is none of the two. */
struct str domain_literal_ip(struct str domain);

/* user+detail -> user, detail (without the delimiter). false: no delimiter, or nothing before it. */
bool local_split_detail(struct str local, char delimiter, struct str *out_user, struct str *out_detail);

/* RFC 3461 4 xtext. Decoding refuses what is not xtext (ERR_SYNTAX). */
void xtext_encode(struct buf *out, struct str in);
bool xtext_decode(struct arena *a, struct str in, struct str *out, struct err *err) MUST_CHECK;
/* RFC 6533 3 utf-8-addr-unitext / utf-8-addr-xtext: "\x{HEX}" escapes to UTF-8, and back (ascii
 * only: what goes into an ORCPT to a hop without SMTPUTF8). */
bool utf8_addr_decode(struct arena *a, struct str in, struct str *out, struct err *err) MUST_CHECK;
void utf8_addr_encode(struct buf *out, struct str in, bool ascii_only);
