/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * mime/charset.h: everything to UTF-8, with the rules that Korean mail needs.
 *
 * Labels lie: all names of EUC-KR and KS C 5601 mean CP949 (its superset), gb2312 means GB18030,
 * iso-8859-1 means windows-1252 (as WHATWG does), and unlabelled or mislabelled 8-bit text is
 * sniffed: UTF-8, else CP949 with Hangul, else windows-1252.
 *
 * iconv descriptors are opened in advance, because iconv_open needs files that the sandbox takes
 * away: charset_preload() is called once, before sandbox and threads, in mailbox and queue. They
 * are the process's (the one exception to "no globals" in this module); each is guarded by a lock
 * of class LEAF while it converts. Without preload they are opened on demand (tests, tools).
 */
#pragma once
#include "base/buf.h"

void charset_preload(void);
unsigned charset_count(void); /* of names that preload opens */

/* Is this label one we can decode? For SEARCH CHARSET (NO [BADCHARSET]). */
bool charset_known(struct str label);
/* Canonical name ("CP949") of a label, empty when unknown. Static. */
struct str charset_canonical(struct str label);

/* Appends text as valid UTF-8. Never fails: what cannot be decoded becomes U+FFFD. label empty, unknown
 * or not to be believed: sniffed. NUL stays. Limits: out->max. */
void charset_decode(struct buf *out, struct str label, struct str text);
/* Strict, for SEARCH: false when the text is not valid in the charset. */
bool charset_decode_strict(struct buf *out, struct str label, struct str text)
	__attribute__((warn_unused_result));
/* Without label. Returns the static name of what it took it for. */
const char *charset_sniff(struct str text);
