/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * mime/message.h: the structure of a message (RFC 2045, 2046) in one pass, without copying it.
 *
 * Input is a complete message in memory; output a tree of parts with offsets into it. Octets are
 * never altered. Lines may end in CRLF or bare LF, mixed too. There is no malformed message: what
 * cannot be read as structure is content. Limits turn what lies beyond them into plain content and
 * leave a flag. Runs for each delivery, in mailbox and queue; no locks, no blocking.
 */
#pragma once
#include "base/str.h"

struct arena;

enum mime_encoding {
	MIME_7BIT, MIME_8BIT, MIME_BINARY, MIME_BASE64, MIME_QP, MIME_UUENCODE, MIME_ENCODING_UNKNOWN,
};
enum mime_kind {
	MIME_LEAF,
	MIME_MULTIPART, /* children: the parts; none at all without a boundary parameter */
	MIME_MESSAGE,   /* message/rfc822 or message/global: one child, the message inside */
};

struct mime_param {
	struct str name;  /* as written */
	struct str value; /* quotes and backslashes removed; RFC 2231 and 2047 not decoded: mime/words.h */
};
struct mime_params {
	const struct mime_param *at;
	size_t n;
};

struct mime_part {
	struct mime_part *parent, *first_child, *last_child, *next;
	unsigned number;  /* in preorder, 0 is the message itself */
	unsigned depth;   /* of nesting, 0 for the root */
	unsigned child_n;
	unsigned ordinal; /* 1.. among the siblings */
	enum mime_kind kind;
	bool is_message;  /* the root, or the child of a MIME_MESSAGE: has a message header */

	/* Offsets into the message. The header includes its empty line. */
	size_t header_start, body_start, body_end;
	uint32_t header_lines, body_lines; /* LF counted; a last line without LF counts not */
	bool has_nul; /* in the body of a leaf */
	bool has_8bit;

	struct str type, subtype;      /* as written; text/plain (message/rfc822 in digests) by default */
	struct mime_params params;     /* of Content-Type */
	enum mime_encoding encoding;
	struct str encoding_text;      /* as written; empty: no field */
	struct str id, description;    /* bodies, unfolded on rendering */
	struct str disposition;        /* token as written; empty: no field */
	struct mime_params disposition_params;
	struct str language, location, md5;
	bool has_type;                 /* a readable Content-Type was there */
};

enum mime_flags {
	MIME_TOO_DEEP = 1,      /* MIME_DEPTH_MAX reached: that part is a leaf */
	MIME_TOO_MANY = 2,      /* MIME_PARTS_MAX reached */
	MIME_HEADER_LONG = 4,   /* fields beyond MIME_HEADER_MAX were not looked at */
	MIME_PARAMS_MANY = 8,   /* parameters beyond MIME_PARAMS_MAX were dropped */
	MIME_BARE_LF = 16,      /* a line ended without CR somewhere */
	MIME_UNCLOSED = 32,     /* a multipart ended without its closing delimiter */
};
enum {
	MIME_DEPTH_MAX = 100,
	MIME_PARTS_MAX = 10000,
	MIME_HEADER_MAX = 1 << 20, /* octets of one part's header */
	MIME_PARAMS_MAX = 64,      /* parameters of one field */
	MIME_BOUNDARY_MAX = 1024,  /* RFC 2046 5.1.1 says 70 */
};

struct mime_message {
	struct str data;
	struct mime_part *root;
	unsigned part_n;
	int flags; /* enum mime_flags */
};

/* Part nodes come from the arena; strings in them are views of data where nothing had to be
 * unquoted. data must live as long. */
struct mime_message *mime_parse(struct arena *a, struct str data);

/* Preorder walk: NULL after the last. */
struct mime_part *mime_next(const struct mime_part *part);
struct str mime_part_header(const struct mime_message *m, const struct mime_part *p);
/* with the empty line */
struct str mime_part_body(const struct mime_message *m, const struct mime_part *p);   /* encoded */
bool mime_is(const struct mime_part *p, struct str type, struct str subtype); /* subtype empty: any */
/* By exact name, without case; p NULL: none. */
struct str mime_param(struct mime_params params, struct str name);

/* Field bodies on their own, for Sieve and others. Values come from the arena. */
bool mime_content_type_parse(struct arena *a, struct str body, struct str *out_type, struct str *out_subtype,
			     struct mime_params *out_params, int *flags);
bool mime_disposition_parse(struct arena *a, struct str body, struct str *out_value,
			    struct mime_params *out_params, int *flags);
