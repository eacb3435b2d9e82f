/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * sender_auth/dkim/dkim.h: words that signing and verifying share (RFC 6376, 8301, 8463, 8616).
 */
#pragma once
#include "base/err.h"

enum dkim_result {
	DKIM_NONE, DKIM_PASS, DKIM_FAIL, DKIM_POLICY, DKIM_NEUTRAL, DKIM_TEMPERROR, DKIM_PERMERROR,
};
const char *dkim_result_name(enum dkim_result r); /* as in Authentication-Results: "permerror" */
bool dkim_result_parse(struct str s, enum dkim_result *out); /* any case */

enum dkim_algorithm { DKIM_RSA_SHA256, DKIM_ED25519_SHA256 };
const char *dkim_algorithm_name(enum dkim_algorithm a); /* "rsa-sha256" */

enum dkim_canon { DKIM_SIMPLE, DKIM_RELAXED };

enum {
	DKIM_SIGNATURES_MAX = 10,     /* verified in one message */
	DKIM_REPORTED_MAX = 100,      /* named in the results */
	DKIM_FIELD_MAX = 16384,       /* octets of a signature field */
	DKIM_HEADER_NAMES_MAX = 500,  /* in h= */
	DKIM_FIELDS_MAX = 2000,       /* header fields of a message; more: nothing is verified */
	DKIM_HEADER_MAX = 1 << 20,    /* octets of the header */
	DKIM_KEY_RECORD_MAX = 16384,
	DKIM_RSA_BITS_MIN = 1024, DKIM_RSA_BITS_GOOD = 2048, DKIM_RSA_BITS_MAX = 8192, /* RFC 8301 3.2 */
	DKIM_CLOCK_SKEW_S = 300,
};

/* CR LF wherever a line ends, for text that comes from a file: verification is about the octets
 * on the wire. */
struct buf;
void dkim_to_crlf(struct str text, struct buf *out);
