/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Reading with jansson. A struct json_doc or json_value is never defined: it is jansson's
 * json_t under a name of ours. The depth is checked before parsing, since jansson's own limit
 * (2048) is generous with our stack.
 */
#include "json/json.h"

#include <jansson.h>

static const json_t *inner(const struct json_value *v)
{
	return (const json_t *)(const void *)v;
}

static const struct json_value *outer(const json_t *v)
{
	return (const struct json_value *)(const void *)v;
}

/* Brackets outside strings; what jansson refuses later may be miscounted, never undercounted. */
static bool too_deep(struct str text)
{
	size_t depth = 0;
	bool in_string = false;
	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];
		if (in_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
		} else if (c == '"') {
			in_string = true;
		} else if (c == '[' || c == '{') {
			if (++depth > JSON_DEPTH_MAX)
				return true;
		} else if ((c == ']' || c == '}') && depth > 0) {
			depth--;
		}
	}
	return false;
}

bool json_doc_parse(struct str text, size_t max, struct json_doc **out, struct err *err)
{
	if (text.n > max)
		return err_set(err, ERR_LIMIT, "JSON is larger than %zu bytes", max);
	if (too_deep(text))
		return err_set(err, ERR_LIMIT, "JSON is nested deeper than %d", JSON_DEPTH_MAX);
	json_error_t why;
	json_t *root = json_loadb(text.n ? text.p : "", text.n,
				  JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
	if (!root)
		return err_set(err, ERR_SYNTAX, "JSON, byte %d: %s", why.position, why.text);
	*out = (struct json_doc *)(void *)root;
	return true;
}

void json_doc_free(struct json_doc *doc)
{
	json_decref((json_t *)(void *)doc);
}

const struct json_value *json_doc_root(const struct json_doc *doc)
{
	return (const struct json_value *)(const void *)doc;
}

enum json_type json_value_type(const struct json_value *v)
{
	if (!v)
		return JSON_TYPE_NULL;
	switch (json_typeof(inner(v))) {
	case JSON_OBJECT:
		return JSON_TYPE_OBJECT;
	case JSON_ARRAY:
		return JSON_TYPE_ARRAY;
	case JSON_STRING:
		return JSON_TYPE_STR;
	case JSON_INTEGER:
		return JSON_TYPE_INT;
	case JSON_REAL:
		return JSON_TYPE_REAL;
	case JSON_TRUE:
	case JSON_FALSE:
		return JSON_TYPE_BOOL;
	case JSON_NULL:
		break;
	}
	return JSON_TYPE_NULL;
}

const struct json_value *json_value_member(const struct json_value *object, const char *name)
{
	return object ? outer(json_object_get(inner(object), name)) : NULL;
}

size_t json_value_count(const struct json_value *v)
{
	switch (json_value_type(v)) {
	case JSON_TYPE_ARRAY:
		return json_array_size(inner(v));
	case JSON_TYPE_OBJECT:
		return json_object_size(inner(v));
	case JSON_TYPE_NULL:
	case JSON_TYPE_BOOL:
	case JSON_TYPE_INT:
	case JSON_TYPE_REAL:
	case JSON_TYPE_STR:
		break;
	}
	return 0;
}

const struct json_value *json_value_item(const struct json_value *array, size_t i)
{
	return array ? outer(json_array_get(inner(array), i)) : NULL;
}

void json_value_each(const struct json_value *object,
		     bool (*fn)(void *context, struct str name, const struct json_value *v), void *context)
{
	if (json_value_type(object) != JSON_TYPE_OBJECT)
		return;
	json_t *o = (json_t *)(void *)object;
	for (void *it = json_object_iter(o); it; it = json_object_iter_next(o, it)) {
		if (!fn(context, str_of(json_object_iter_key(it)), outer(json_object_iter_value(it))))
			return;
	}
}

bool json_value_str(const struct json_value *v, struct str *out)
{
	if (json_value_type(v) != JSON_TYPE_STR)
		return false;
	*out = (struct str){json_string_value(inner(v)), json_string_length(inner(v))};
	return true;
}

bool json_value_int(const struct json_value *v, int64_t *out)
{
	if (json_value_type(v) != JSON_TYPE_INT)
		return false;
	*out = json_integer_value(inner(v));
	return true;
}

bool json_value_bool(const struct json_value *v, bool *out)
{
	if (json_value_type(v) != JSON_TYPE_BOOL)
		return false;
	*out = json_is_true(inner(v));
	return true;
}

struct str json_value_str_or(const struct json_value *v, struct str otherwise)
{
	(void)json_value_str(v, &otherwise);
	return otherwise;
}

int64_t json_value_int_or(const struct json_value *v, int64_t otherwise)
{
	(void)json_value_int(v, &otherwise);
	return otherwise;
}

bool json_value_bool_or(const struct json_value *v, bool otherwise)
{
	(void)json_value_bool(v, &otherwise);
	return otherwise;
}

static int print_part(const char *p, size_t n, void *out)
{
	buf_add_bytes(out, p, n);
	return 0;
}

void json_value_print(const struct json_value *v, struct buf *out)
{
	json_dump_callback(inner(v), print_part, out, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_ENCODE_ANY);
	buf_byte(out, '\n');
}
