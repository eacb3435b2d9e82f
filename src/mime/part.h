/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * mime/part.h: parts by IMAP section (RFC 9051 6.4.5, RFC 3516), and content transfer decoding
 * (RFC 2045 6) that takes what is out there.
 */
#pragma once
#include "base/err.h"
#include "mime/message.h"

struct buf;

enum section_kind {
	SECTION_WHOLE,        /* BODY[], BODY[1.2] */
	SECTION_HEADER,       /* HEADER; of a message */
	SECTION_HEADER_FIELDS,
	SECTION_HEADER_FIELDS_NOT,
	SECTION_TEXT,
	SECTION_MIME,         /* only with a part number */
};
struct section {
	const uint32_t *path; /* part numbers */
	size_t path_n;
	enum section_kind kind;
	const struct str *fields; /* HEADER.FIELDS names */
	size_t field_n;
};
enum { SECTION_PATH_MAX = 100 };

/* NULL: no such part. path_n 0 is the message. "1" of a message that is not multipart is its body. */
const struct mime_part *mime_find(const struct mime_message *m, const uint32_t *path, size_t path_n);
/* The octets of a section. HEADER.FIELDS are put together in scratch (with the empty line), all else
 * is a view of the message. false: no such section (IMAP answers NIL or an empty string). */
bool mime_section(const struct mime_message *m, const struct section *s, struct buf *scratch,
		  struct str *out);

/* Streaming decoder: any cut of the input gives the same output. Tolerant: what is not of the
 * encoding is passed over (base64, uuencode) or taken literally (quoted-printable). */
struct mime_decoder {
	enum mime_encoding encoding;
	unsigned state, n;
	uint32_t bits;
	char held[80];
	size_t held_n;
	bool damaged; /* something was not of the encoding */
};
void mime_decoder_init(struct mime_decoder *d, enum mime_encoding encoding);
/* Appends to out; out->max is the limit, out->failed tells that it was reached. */
void mime_decoder_feed(struct mime_decoder *d, struct str in, struct buf *out);
void mime_decoder_end(struct mime_decoder *d, struct buf *out);

/* The decoded content of a leaf (BINARY[...]). false with ERR_LIMIT at max octets (0: none), or
 * ERR_SYNTAX for an unknown encoding (RFC 3516 UNKNOWN-CTE). */
bool mime_decode_part(const struct mime_message *m, const struct mime_part *p, size_t max, struct buf *out,
		      struct err *err) MUST_CHECK;
/* Its size only, without keeping it (BINARY.SIZE). */
bool mime_decoded_size(const struct mime_message *m, const struct mime_part *p, uint64_t *out,
		       struct err *err) MUST_CHECK;
