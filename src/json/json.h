/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * json/json.h: JSON (RFC 8259, I-JSON: RFC 7493).
 *
 * Writing goes straight into a buf and cannot fail (but for the buf's own limit); bytes that are
 * not UTF-8 become U+FFFD. Reading is strict: duplicate names, invalid UTF-8, unpaired
 * surrogates, NUL in names and anything after the value are refused. Any process; no locks.
 * Names here begin with json_write_, json_doc_ and json_value_: jansson owns the others.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"

enum { JSON_DEPTH_MAX = 64 };

struct json_writer {
	struct buf *out;
	unsigned depth;
	uint64_t has_items; /* bit per depth: a comma is due */
	bool after_name;
};

void json_write_init(struct json_writer *w, struct buf *out);
void json_write_object_begin(struct json_writer *w);
void json_write_object_end(struct json_writer *w);
void json_write_array_begin(struct json_writer *w);
void json_write_array_end(struct json_writer *w);
void json_write_name(struct json_writer *w, struct str name);
void json_write_str(struct json_writer *w, struct str s);
void json_write_int(struct json_writer *w, int64_t v);
void json_write_u64(struct json_writer *w, uint64_t v);
void json_write_bool(struct json_writer *w, bool v);
void json_write_null(struct json_writer *w);
void json_write_raw(struct json_writer *w, struct str json); /* one whole value, trusted */
/* name and value at once */
void json_write_member_str(struct json_writer *w, const char *name, struct str s);
void json_write_member_cstr(struct json_writer *w, const char *name, const char *s); /* NULL: null */
void json_write_member_int(struct json_writer *w, const char *name, int64_t v);
void json_write_member_bool(struct json_writer *w, const char *name, bool v);
/* Just the quoted, escaped string. */
void json_quote(struct buf *out, struct str s);

enum json_type { JSON_TYPE_NULL, JSON_TYPE_BOOL, JSON_TYPE_INT, JSON_TYPE_REAL, JSON_TYPE_STR,
		 JSON_TYPE_ARRAY, JSON_TYPE_OBJECT };
struct json_doc;
struct json_value; /* lives as long as its document */

/* At most max bytes and JSON_DEPTH_MAX levels: ERR_LIMIT. Grammar: ERR_SYNTAX. Copies. */
bool json_doc_parse(struct str text, size_t max, struct json_doc **out, struct err *err) MUST_CHECK;
void json_doc_free(struct json_doc *doc); /* accepts NULL */
static inline void json_doc_free_p(struct json_doc **d) { json_doc_free(*d); }
#define JSON_DOC_SCOPED __attribute__((cleanup(json_doc_free_p))) struct json_doc *

const struct json_value *json_doc_root(const struct json_doc *doc);
/* Every function accepts NULL as the value, so lookups chain: absent is JSON_TYPE_NULL. */
enum json_type json_value_type(const struct json_value *v);
const struct json_value *json_value_member(const struct json_value *object, const char *name);
size_t json_value_count(const struct json_value *v); /* items or members */
const struct json_value *json_value_item(const struct json_value *array, size_t i);
/* Calls each member; stops when fn returns false. */
void json_value_each(const struct json_value *object,
		     bool (*fn)(void *context, struct str name, const struct json_value *v), void *context);
bool json_value_str(const struct json_value *v, struct str *out); /* false: another type */
bool json_value_int(const struct json_value *v, int64_t *out);
bool json_value_bool(const struct json_value *v, bool *out);
/* Indented, with a line end: what --json shows. */
void json_value_print(const struct json_value *v, struct buf *out);
/* With a fallback for absent or of another type. */
struct str json_value_str_or(const struct json_value *v, struct str otherwise);
int64_t json_value_int_or(const struct json_value *v, int64_t otherwise);
bool json_value_bool_or(const struct json_value *v, bool otherwise);
