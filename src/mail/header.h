/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * mail/header.h: header fields of a message (RFC 5322 2.2) as views; nothing is allocated.
 *
 * Lines end in CRLF or LF. A line that is neither field nor continuation does not end the header
 * (mail in the wild has them): header_next passes over it, and an mbox "From " line at the top
 * likewise. Names are compared without case; blanks before the colon are obsolete but read
 * (RFC 5322 4.5).
 */
#pragma once
#include "base/buf.h"
#include "base/scan.h"

struct header_field {
	struct str name; /* without blanks and colon */
	struct str body; /* after the colon, leading blanks and the last line end removed, still folded */
	struct str raw;  /* the whole field with its line ends */
};

/* Length of the header with the empty line that ends it, i.e. where the body starts; the length of
 * the whole when there is no empty line. memchr-fast. */
size_t header_length(struct str message);
/* Iteration: struct scan s = scan_of(header); while (header_next(&s, &f)). Stops at the empty line
 * (behind it) and at the end. */
bool header_next(struct scan *s, struct header_field *out);
/* The first, last, of that name. */
bool header_find(struct str header, struct str name, struct header_field *out);
bool header_find_last(struct str header, struct str name, struct header_field *out);
unsigned header_count(struct str header, struct str name);

/* Appends body with line ends removed (RFC 5322 2.2.3: the blanks behind them stay). */
void header_unfold(struct buf *out, struct str body);
/* A valid field-name: 1*ftext. */
bool header_name_valid(struct str name);
