/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * sender_auth/tag_list.h: "tag=value; tag=value" (RFC 6376 3.2), the form of signatures, key records
 * and ARC fields. Strict: a tag twice or anything outside the grammar makes the list invalid.
 * Octets above 0x7f are let through in values (RFC 8616). Views of the input.
 */
#pragma once
#include "base/err.h"

struct arena;

enum { TAG_LIST_MAX = 64 }; /* tags in one list */

struct tag {
	struct str name;
	struct str value; /* without the white space around it; folds inside are as they were */
	struct str whole; /* all between "=" and ";" or the end */
};
struct tag_list {
	struct tag at[TAG_LIST_MAX];
	size_t n;
};

bool tag_list_parse(struct str text, struct tag_list *out, struct err *err) MUST_CHECK;
/* NULL: not there. Names are compared with case. */
const struct tag *tag_list_find(const struct tag_list *list, const char *name);
/* The value, or p == NULL. */
struct str tag_list_value(const struct tag_list *list, const char *name);

/* Without SP, HTAB, CR, LF anywhere. */
struct str tag_value_packed(struct arena *a, struct str value);
/* base64string with FWS anywhere; ERR_SYNTAX. */
bool tag_value_base64(struct arena *a, struct str value, struct str *out, struct err *err) MUST_CHECK;
/* dkim-quoted-printable (2.11). */
bool tag_value_qp(struct arena *a, struct str value, struct str *out, struct err *err) MUST_CHECK;
/* Is the word among those between separators, with white space around them? */
bool tag_value_has(struct str value, char separator, struct str word);
