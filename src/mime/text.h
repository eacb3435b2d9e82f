/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * mime/text.h: text as people read it and as SEARCH compares it.
 *
 * Normal form for search: NFC after width folding (full-width ASCII, half-width Katakana and
 * Hangul), case folded, zero-width characters removed, every run of white space one space. Both
 * the needle and the hay go through text_normalise; then matching is a plain substring search.
 */
#pragma once
#include "base/buf.h"
#include "mime/message.h"

/* utf8 must be valid (charset_decode gives such). */
void text_normalise(struct buf *out, struct str utf8);
struct str text_normalised(struct arena *a, struct str utf8);
void text_nfc(struct buf *out, struct str utf8);
struct str text_nfc_str(struct arena *a, struct str utf8); /* the input itself when it is NFC already */
/* What i;unicode-casemap (RFC 5051) compares: title case, decomposed; but precomposed Hangul stays. */
struct str text_collation_key(struct arena *a, struct str utf8);
/* At most max octets, never inside a character. */
struct str utf8_cut(struct str utf8, size_t max);

/* HTML to text: tags out, script and style dropped, entities decoded, blocks become line ends, alt
 * texts kept. Linear in its input, keeps no tree. utf8 in, utf8 out. */
void text_of_html(struct buf *out, struct str html);

enum text_scope {
	TEXT_HEADER = 1,  /* all header fields of the message, names and decoded bodies */
	TEXT_BODY = 2,    /* text parts, headers of parts and of messages inside, attachment names */
};
enum { TEXT_PART_MAX = 8 << 20 }; /* decoded octets of one part that are looked at */

/* What SEARCH TEXT (both) and BODY match in, decoded and not normalised; out->max limits it. Parts are
 * separated by line ends so that no match spans two. */
void text_extract(struct buf *out, const struct mime_message *m, int scope);
/* The same, normalised. */
void text_extract_normalised(struct buf *out, const struct mime_message *m, int scope);
/* Decoded text of one part: text/plain as it is, text/html by text_of_html. false: not text. */
bool text_of_part(struct buf *out, const struct mime_message *m, const struct mime_part *p);
/* First words of the body for lists (RFC 8970 PREVIEW): at most 200 characters, one line. */
void text_preview(struct buf *out, const struct mime_message *m);
