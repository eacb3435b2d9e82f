/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* imap/metadata.h: arguments of GETMETADATA and SETMETADATA (RFC 5464), entry names, and the response. */
#pragma once
#include "imap/imap_int.h"

enum { METADATA_NAMES_MAX = 200, METADATA_NAME_MAX = 255, METADATA_VALUE_MAX = 32 * 1024 };

struct metadata_args {
	struct str mailbox;      /* empty: the server's */
	bool has_maxsize;
	uint32_t maxsize;
	unsigned depth;          /* 0, 1, or UINT_MAX for infinity */
	struct metadata_entry *e; /* of SETMETADATA with values */
	size_t n;
	bool list;               /* the names stood in parentheses */
};
bool parse_getmetadata(struct parse *p, struct metadata_args *out);
bool parse_setmetadata(struct parse *p, struct metadata_args *out);
/* entries = entry / "(" entry *(SP entry) ")"; also of LIST (RFC 9590) */
bool parse_metadata_names(struct parse *p, struct metadata_args *out);

/* "* METADATA INBOX (/shared/comment "x")" with what is there of the names, NIL for what is not when
 * all is set. *out_longest: the longest value that was left out for maxsize, or 0. */
bool metadata_write(struct imap *s, const struct metadata_args *args, bool all, uint32_t *out_longest,
		    struct err *err) MUST_CHECK;
