/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "sender_auth/tag_list.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/codec.h"

static bool is_white(unsigned char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* tag-name = ALPHA *ALNUMPUNC */
static bool name_valid(struct str s)
{
	if (s.n == 0 || !ascii_is((unsigned char)s.p[0], ASCII_UPPER | ASCII_LOWER))
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (!ascii_is((unsigned char)s.p[i], ASCII_UPPER | ASCII_LOWER | ASCII_DIGIT) &&
		    s.p[i] != '_')
			return false;
	}
	return true;
}

/* tag-value: VALCHAR with white space inside; ";" cannot be in it */
static bool value_valid(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (!is_white(c) && (c < 0x21 || c == 0x7f))
			return false;
	}
	return true;
}

bool tag_list_parse(struct str text, struct tag_list *out, struct err *err)
{
	out->n = 0;
	for (struct str rest = text; rest.p;) {
		struct str spec = str_cut(&rest, ';');
		if (str_trim(spec).n == 0 && !rest.p && out->n > 0)
			break; /* the ";" at the end */
		size_t eq = str_find_byte(spec, '=');
		if (eq == STR_NPOS)
			return err_set(err, ERR_SYNTAX, "a tag without \"=\"");
		struct tag tag = {
			.name = str_trim(str_sub(spec, 0, eq)), .whole = str_from(spec, eq + 1),
		};
		tag.value = str_trim(tag.whole);
		if (!name_valid(tag.name) || !value_valid(tag.value))
			return err_set(err, ERR_SYNTAX, "a malformed tag");
		for (size_t i = 0; i < out->n; i++) {
			if (str_eq(out->at[i].name, tag.name))
				return err_set(err, ERR_SYNTAX, "tag %.*s= twice",
					       (int)(tag.name.n < 20 ? tag.name.n : 20), tag.name.p);
		}
		if (out->n == TAG_LIST_MAX)
			return err_set(err, ERR_LIMIT, "more than %d tags", TAG_LIST_MAX);
		out->at[out->n++] = tag;
	}
	return true;
}

const struct tag *tag_list_find(const struct tag_list *list, const char *name)
{
	for (size_t i = 0; i < list->n; i++) {
		if (str_eq(list->at[i].name, str_of(name)))
			return &list->at[i];
	}
	return NULL;
}

struct str tag_list_value(const struct tag_list *list, const char *name)
{
	const struct tag *tag = tag_list_find(list, name);
	if (!tag)
		return STR_NONE;
	return tag->value.p ? tag->value : STR("");
}

struct str tag_value_packed(struct arena *a, struct str value)
{
	char *p = arena_alloc(a, value.n + 1);
	size_t n = 0;
	for (size_t i = 0; i < value.n; i++) {
		if (!is_white((unsigned char)value.p[i]))
			p[n++] = value.p[i];
	}
	return (struct str){p, n};
}

bool tag_value_base64(struct arena *a, struct str value, struct str *out, struct err *err)
{
	BUF_SCOPED octets = {0};
	if (!base64_decode(&octets, tag_value_packed(a, value)))
		return err_set(err, ERR_SYNTAX, "not base64");
	*out = arena_str(a, buf_str(&octets));
	return true;
}

bool tag_value_qp(struct arena *a, struct str value, struct str *out, struct err *err)
{
	BUF_SCOPED octets = {0};
	value = tag_value_packed(a, value);
	for (size_t i = 0; i < value.n; i++) {
		if (value.p[i] != '=') {
			buf_byte(&octets, value.p[i]);
			continue;
		}
		if (!hex_decode(&octets, str_sub(value, i + 1, 2)) || value.n - i < 3)
			return err_set(err, ERR_SYNTAX, "not quoted-printable");
		i += 2;
	}
	*out = arena_str(a, buf_str(&octets));
	return true;
}

bool tag_value_has(struct str value, char separator, struct str word)
{
	for (struct str rest = value; rest.p;) {
		if (str_eq(str_trim(str_cut(&rest, separator)), word))
			return true;
	}
	return false;
}
