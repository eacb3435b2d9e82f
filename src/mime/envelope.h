/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * mime/envelope.h: a message's ENVELOPE, BODY and BODYSTRUCTURE as IMAP writes them (RFC 3501 and
 * RFC 9051 7.4.2 / 7.5.2), parentheses included, ready to be sent; the index keeps them so.
 *
 * Strings are quoted when they can be (no CR, LF, NUL, octet above 0x7f, at most 1,024 long), else
 * literals "{n}CRLF...". NULs become '?' (0x80 in the wild), since no IMAP string may hold one.
 */
#pragma once
#include "base/buf.h"
#include "mime/message.h"

void mime_render_envelope(struct buf *out, struct str header);
void mime_render_bodystructure(struct buf *out, const struct mime_message *m);
void mime_render_body(struct buf *out, const struct mime_message *m);
/* BODYSTRUCTURE of one part. */
void mime_render_part_structure(struct buf *out, const struct mime_message *m, const struct mime_part *p);
/* nstring, as used in them: s.p NULL gives NIL. */
void imap_render_nstring(struct buf *out, struct str s);
