/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Writing JSON straight into a buffer: runs of plain bytes are copied whole. */
#include "base/codec.h"
#include "json/json.h"

#include <assert.h>

void json_write_init(struct json_writer *w, struct buf *out)
{
	*w = (struct json_writer){.out = out};
}

/* The comma before a value or name, where one is due. */
static void item(struct json_writer *w)
{
	uint64_t bit = 1ULL << w->depth;
	if (w->after_name) {
		w->after_name = false;
		return;
	}
	if (w->has_items & bit)
		buf_byte(w->out, ',');
	w->has_items |= bit;
}

static void open(struct json_writer *w, char c)
{
	item(w);
	buf_byte(w->out, c);
	w->depth++;
	assert(w->depth < JSON_DEPTH_MAX);
	w->has_items &= ~(1ULL << w->depth);
}

static void close(struct json_writer *w, char c)
{
	assert(w->depth > 0 && !w->after_name);
	w->depth--;
	buf_byte(w->out, c);
}

void json_write_object_begin(struct json_writer *w)
{
	open(w, '{');
}

void json_write_object_end(struct json_writer *w)
{
	close(w, '}');
}

void json_write_array_begin(struct json_writer *w)
{
	open(w, '[');
}

void json_write_array_end(struct json_writer *w)
{
	close(w, ']');
}

static void escape(struct buf *out, unsigned char c)
{
	switch (c) {
	case '"':
		buf_add(out, STR("\\\""));
		return;
	case '\\':
		buf_add(out, STR("\\\\"));
		return;
	case '\n':
		buf_add(out, STR("\\n"));
		return;
	case '\r':
		buf_add(out, STR("\\r"));
		return;
	case '\t':
		buf_add(out, STR("\\t"));
		return;
	default:
		buf_fmt(out, "\\u%04x", c);
	}
}

void json_quote(struct buf *out, struct str s)
{
	buf_byte(out, '"');
	size_t plain = 0; /* start of the run not yet copied */
	for (size_t i = 0; i < s.n;) {
		unsigned char c = (unsigned char)s.p[i];
		if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
			i++;
			continue;
		}
		uint32_t cp;
		size_t n = c < 0x80 ? 0 : utf8_decode(str_from(s, i), &cp);
		if (n > 0) {
			i += n;
			continue;
		}
		buf_add(out, str_sub(s, plain, i - plain));
		if (c >= 0x80)
			buf_add(out, STR("\xef\xbf\xbd")); /* U+FFFD */
		else
			escape(out, c);
		plain = ++i;
	}
	buf_add(out, str_from(s, plain));
	buf_byte(out, '"');
}

void json_write_name(struct json_writer *w, struct str name)
{
	assert(!w->after_name);
	item(w);
	json_quote(w->out, name);
	buf_byte(w->out, ':');
	w->after_name = true;
}

void json_write_str(struct json_writer *w, struct str s)
{
	item(w);
	json_quote(w->out, s);
}

void json_write_int(struct json_writer *w, int64_t v)
{
	item(w);
	if (v < 0)
		buf_byte(w->out, '-');
	buf_u64(w->out, v < 0 ? -(uint64_t)v : (uint64_t)v);
}

void json_write_u64(struct json_writer *w, uint64_t v)
{
	item(w);
	buf_u64(w->out, v);
}

void json_write_bool(struct json_writer *w, bool v)
{
	item(w);
	buf_add(w->out, v ? STR("true") : STR("false"));
}

void json_write_null(struct json_writer *w)
{
	item(w);
	buf_add(w->out, STR("null"));
}

void json_write_raw(struct json_writer *w, struct str json)
{
	item(w);
	buf_add(w->out, json);
}

void json_write_member_str(struct json_writer *w, const char *name, struct str s)
{
	json_write_name(w, str_of(name));
	json_write_str(w, s);
}

void json_write_member_cstr(struct json_writer *w, const char *name, const char *s)
{
	json_write_name(w, str_of(name));
	if (s)
		json_write_str(w, str_of(s));
	else
		json_write_null(w);
}

void json_write_member_int(struct json_writer *w, const char *name, int64_t v)
{
	json_write_name(w, str_of(name));
	json_write_int(w, v);
}

void json_write_member_bool(struct json_writer *w, const char *name, bool v)
{
	json_write_name(w, str_of(name));
	json_write_bool(w, v);
}
