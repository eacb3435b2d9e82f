/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/write.h: values in responses (RFC 9051 4). Only these put octets that others chose into a
 * response, and what they write cannot end a line early.
 */
#pragma once
#include "base/buf.h"
#include "store/mailbox.h"

/* string: quoted when it can be, else a literal. utf8: octets above 0x7f may stand in quotes. */
void write_string(struct buf *b, struct str s, bool utf8);
void write_nstring(struct buf *b, struct str s, bool utf8); /* p NULL: NIL */
void write_astring(struct buf *b, struct str s, bool utf8);
/* utf8 false: modified UTF-7 (RFC 3501 5.1.3). */
void write_mailbox(struct buf *b, struct str name, bool utf8);
/* "(\Seen kw)"; names in bit order */
void write_flags(struct buf *b, unsigned flags, uint32_t keywords, const struct str *names, size_t names_n);
/* "1:3,7", "" when empty */
void write_uid_set(struct buf *b, struct uid_set s);
/* Free text of a response: controls become spaces. */
void write_text(struct buf *b, struct str s);
/* Room for a response of at most 256 octets put together with the functions below. */
char *write_room(struct buf *b);
static inline char *put(char *p, const char *s, size_t n)
{
	__builtin_memcpy(p, s, n);
	return p + n;
}
char *put_u64(char *p, uint64_t v);
