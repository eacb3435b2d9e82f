/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Lexical tokens of structured header fields (RFC 5322 3.2, RFC 2045 5.1), lenient: for the files of
 * this folder only. Field bodies may be folded: CR and LF count as blanks.
 */
#pragma once
#include "base/buf.h"
#include "base/scan.h"
#include "mime/message.h"

/* Comments are skipped to this depth; deeper ones are skipped all the same, by counting. */
void lex_cfws(struct scan *s);
/* Copies the text of comments to out (separated by a blank), for "a@b (Name)". */
void lex_cfws_keep(struct scan *s, struct buf *out);
/* DQUOTE ... DQUOTE, unquoted and unfolded into out. An unclosed one goes to the end. */
bool lex_quoted(struct scan *s, struct buf *out);
/* RFC 2045 token; octets above 0x7f too. May be empty. */
struct str lex_token(struct scan *s);

/* 2HEXDIG of either case. */
bool lex_hex_octet(struct scan *s, char *out);

/* Parameters: *(";" attribute "=" value). */
void params_parse(struct scan *s, struct arena *a, struct mime_params *out, int *flags);
/* RFC 2231 3: pieces name*0, name*1* put together. A value that has charset or percent codes keeps
 * them and gets the name "name*" (as IMAP sends it, RFC 2231 6). They stand behind the others. */
struct mime_params params_joined(struct arena *a, struct mime_params params);
