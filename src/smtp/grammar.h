/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * smtp/grammar.h: the command lines of RFC 5321 4.1 and of its extensions. All results are views
 * of the line, or live in the arena where one is asked for. Nothing blocks or locks.
 */
#pragma once
#include "base/err.h"
#include "base/scan.h"
#include "mail/address.h"

struct arena;

struct smtp_command {
	struct str verb; /* as written */
	struct str args; /* without blanks around */
};
/* line: without CRLF. False: it begins with no word, or has a control character. */
bool smtp_command_parse(struct str line, struct smtp_command *out);

/* Mail-parameters = esmtp-param *(SP esmtp-param) (RFC 5321 4.1.2) */
enum { SMTP_PARAMS_MAX = 16 };
struct smtp_param {
	struct str keyword, value;
	bool has_value;
};
struct smtp_params {
	struct smtp_param v[SMTP_PARAMS_MAX];
	size_t n;
};
bool smtp_scan_params(struct scan *s, struct smtp_params *out);

/* "FROM:" Reverse-path [SP Mail-parameters], and "TO:" Forward-path [SP Rcpt-parameters]. flags:
 * enum address_flags. ERR_SYNTAX or ERR_LIMIT; the text is fit for the reply. */
bool smtp_parse_path(struct str args, struct str keyword, struct arena *a, int flags, struct path *out,
		     struct smtp_params *out_params, struct err *err) MUST_CHECK;

/* The argument of EHLO, HELO, LHLO: a Domain or address-literal; more is let pass (see
 * docs/deviations.md), but nothing that could not stand in a field. */
enum { SMTP_HELO_MAX = 255 };
bool smtp_helo_parse(struct str args, struct str *out);

/* chunk-size = 1*DIGIT, [SP end-marker] (RFC 3030 2) */
bool smtp_bdat_parse(struct str args, uint64_t *out_size, bool *out_last);

/* "AUTH" SP mechanism [SP initial-response] (RFC 4954 4). initial.p is NULL when there is none. */
bool smtp_auth_parse(struct str args, struct str *out_mechanism, struct str *out_initial);
/* base64, or "=" for an empty initial response. Wiped by the caller. */
bool smtp_auth_decode(struct str text, bool initial, struct buf *out);
