/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * sender_auth/dkim/form.h: is a text that somebody wants signed the input of a DKIM signature, or of
 * one of the two of an ARC set, and for whom (PROCESSES C1)? The keys role asks before it signs: whoever
 * reaches its channel gets signatures of headers for one domain and nothing else that the key could be
 * used for.
 *
 * The text is what dkim_sign and arc_seal hand to their callback, with relaxed header canonicalization:
 * canonical fields, each with CRLF, then "dkim-signature:v=1; ...; b=" ("arc-message-signature:",
 * "arc-seal:"). Hostile input; nothing is changed.
 */
#pragma once
#include "sender_auth/dkim/dkim.h"

struct arena;

enum { DKIM_FORM_MAX = 1 << 20, DKIM_FORM_AGE_S = 600 };

enum dkim_form_kind { DKIM_FORM_MAIL, DKIM_FORM_ARC_MESSAGE, DKIM_FORM_ARC_SEAL };
struct dkim_form {
	enum dkim_form_kind kind;
	struct str domain, selector; /* as written: in lower case, A-labels */
	enum dkim_algorithm algorithm;
	struct str from; /* body of the From field; of the last one where there are several; not of a seal */
	size_t from_n;
	int64_t time;
};
/* ERR_DENIED: it is none. That is also a signature that could be kept for later (t= more than
 * DKIM_FORM_AGE_S from now), one with l= or z=, a field in the block that h= does not name, or not in
 * its order. Views of text; the arena is for working. */
bool dkim_form_check(struct arena *a, struct str text, int64_t now_unix, struct dkim_form *out,
		     struct err *err) MUST_CHECK;
