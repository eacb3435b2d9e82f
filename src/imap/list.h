/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* imap/list.h: LIST and LSUB: arguments (RFC 9051 6.3.9, RFC 5258, 5819, 6154) and pattern matching. */
#pragma once
#include "imap/metadata.h"

enum list_select {
	LIST_SELECT_SUBSCRIBED = 1,
	LIST_SELECT_REMOTE = 2,
	LIST_SELECT_RECURSIVE = 4,
	LIST_SELECT_SPECIAL_USE = 8,
};
enum list_return {
	LIST_RETURN_SUBSCRIBED = 1,
	LIST_RETURN_CHILDREN = 2,
	LIST_RETURN_STATUS = 4,
	LIST_RETURN_SPECIAL_USE = 8,
	LIST_RETURN_MYRIGHTS = 16, /* RFC 8440 */
	LIST_RETURN_METADATA = 32, /* RFC 9590 */
};
enum { LIST_PATTERNS_MAX = 100, LIST_PATTERN_MAX = 1024 };
struct list_args {
	bool extended;         /* more than RFC 3501 had */
	unsigned select;       /* enum list_select */
	unsigned returns;      /* enum list_return */
	unsigned status_items; /* of LIST_RETURN_STATUS */
	struct metadata_args metadata; /* of LIST_RETURN_METADATA */
	struct str reference;
	struct str *patterns;  /* reference put in front; UTF-8 */
	size_t patterns_n;
	bool ask_delimiter;    /* LIST "" "" */
};
bool parse_list(struct parse *p, struct list_args *out);
bool parse_lsub(struct parse *p, struct list_args *out);

/* "*" is anything, "%" anything but the delimiter; INBOX without case. Linear in |pattern| x |name|. */
bool list_matches(struct str pattern, struct str name);
/* Does pattern match name, or a name above it? *out_prefix is the shortest of those. */
bool list_matches_parent(struct str pattern, struct str name, struct str *out_parent);
