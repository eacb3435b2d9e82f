/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * mime/words.h: text in header fields: encoded words (RFC 2047), parameter values (RFC 2231), file
 * names, and mailbox names in modified UTF-7 (RFC 3501 5.1.3).
 *
 * Decoding takes the broken forms that are out there (facts: words in quotes, without blanks
 * between them, a character split between two words, 2047 in parameters, raw 8-bit text).
 */
#pragma once
#include "base/buf.h"
#include "mime/message.h"

/* Unfolded, decoded, valid UTF-8, control characters as spaces. body is the field's, still folded. */
void words_decode(struct buf *out, struct str body);
struct str words_decode_str(struct arena *a, struct str body); /* and NFC */
/* UTF-8 text as it may stand in an unstructured field or phrase: itself when printable ASCII (and no
 * "=?" in it), else UTF-8 B or Q words of at most 75 octets, characters never cut, folded with
 * CRLF SP. column: where the text starts in its line. */
void words_encode(struct buf *out, struct str utf8, size_t column);
/* A display-name: atom words, quoted-string or encoded words. */
void words_encode_phrase(struct buf *out, struct str utf8, size_t column);

/* A parameter in UTF-8: RFC 2231 continuations and charset, RFC 2047, raw 8-bit. false: none. */
bool param_decode(struct buf *out, struct mime_params params, struct str name);
/* ; name="ascii" or ; name*=UTF-8''..., continued (name*0*=) and folded when long. */
void param_encode(struct buf *out, struct str name, struct str utf8);

/* File name of a part: filename of Content-Disposition, else name of Content-Type; made safe. false: none. */
bool part_filename(struct buf *out, const struct mime_part *p);
/* NFC; path parts, controls, bidi overrides, final dots and blanks removed; at most 255 octets;
 * empty becomes "attachment". */
void filename_clean(struct buf *out, struct str utf8);

/* Modified UTF-7. Encoding wants valid UTF-8. Decoding is strict: only what encoding would have
 * produced is accepted (no two names for one mailbox); false otherwise. */
bool mutf7_encode(struct buf *out, struct str utf8) __attribute__((warn_unused_result));
bool mutf7_decode(struct buf *out, struct str in) __attribute__((warn_unused_result));
