/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Content-Type and Content-Disposition (RFC 2045 5.1, RFC 2183, RFC 2231). Values may hold what only
 * a quoted-string could: they then end at the next blank or semicolon.
 */
#include "base/arena.h"
#include "base/codec.h"
#include "mail/header.h"
#include "mime/mime_int.h"
#include <string.h>

static bool is_value(unsigned char c)
{
	return c > 32 && c != ';' && c != '"' && c != 127;
}

static struct str blank_trimmed(const char *from, const char *to)
{
	return str_trim((struct str){from, (size_t)(to - from)});
}

/* File names with blanks and no quotes are common; elsewhere a blank ends the value. */
static bool is_file_name(struct str name)
{
	return str_eq_nocase(name, STR("name")) || str_eq_nocase(name, STR("filename"));
}

/* value := token / quoted-string, with blanks and comments after it */
static struct str param_value(struct scan *s, struct arena *a, struct str name)
{
	BUF_SCOPED b = {0};
	if (lex_quoted(s, &b)) return arena_str(a, buf_str(&b));
	const char *from = s->p;
	struct str value = scan_while(s, is_value);
	size_t comment = str_find_byte(value, '(');
	if (comment != STR_NPOS && comment > 0) {
		/* "us-ascii(comment)" */
		s->p = from + comment;
		value = str_sub(value, 0, comment);
	}
	lex_cfws(s);
	if (scan_end(s) || scan_peek(s) == ';' || !is_file_name(name)) return value;
	scan_until_byte(s, ';');
	struct str raw = blank_trimmed(from, s->p);
	if (!str_has_byte(raw, '\n')) return raw;
	header_unfold(&b, raw);
	return arena_str(a, buf_str(&b));
}

/* parameter := attribute "=" value; false: nothing of the kind before the next semicolon */
static bool parameter(struct scan *s, struct arena *a, struct mime_param *out)
{
	lex_cfws(s);
	struct str name = lex_token(s);
	lex_cfws(s);
	if (name.n == 0 || !scan_byte(s, '=')) return false;
	lex_cfws(s);
	struct str value = param_value(s, a, name);
	*out = (struct mime_param){name, value};
	return true;
}

void params_parse(struct scan *s, struct arena *a, struct mime_params *out, int *flags)
{
	struct mime_param *at = NULL;
	size_t n = 0, cap = 0;
	lex_cfws(s);
	/* The first semicolon is missing at times: "text/plain charset=x". */
	scan_byte(s, ';');
	while (!scan_end(s)) {
		struct mime_param p;
		bool ok = parameter(s, a, &p);
		scan_until_byte(s, ';');
		scan_byte(s, ';');
		if (!ok) continue;
		if (n == MIME_PARAMS_MAX) {
			*flags |= MIME_PARAMS_MANY;
			break;
		}
		if (n == cap) at = arena_grow(a, at, n, &cap, sizeof *at);
		at[n++] = p;
	}
	*out = (struct mime_params){at, n};
}

/* content := type "/" subtype *(";" parameter) */
bool mime_content_type_parse(struct arena *a, struct str body, struct str *out_type, struct str *out_subtype,
			     struct mime_params *out_params, int *flags)
{
	struct scan s = scan_of(body);
	lex_cfws(&s);
	struct str type = lex_token(&s);
	lex_cfws(&s);
	if (type.n == 0 || !scan_byte(&s, '/')) return false;
	lex_cfws(&s);
	struct str subtype = lex_token(&s);
	if (subtype.n == 0) return false;
	params_parse(&s, a, out_params, flags);
	*out_type = type;
	*out_subtype = subtype;
	return true;
}

/* disposition := disposition-type *(";" disposition-parm) (RFC 2183 2) */
bool mime_disposition_parse(struct arena *a, struct str body, struct str *out_value,
			    struct mime_params *out_params, int *flags)
{
	struct scan s = scan_of(body);
	lex_cfws(&s);
	struct str value = lex_token(&s);
	if (value.n == 0) return false;
	params_parse(&s, a, out_params, flags);
	*out_value = value;
	return true;
}

struct str mime_param(struct mime_params params, struct str name)
{
	for (size_t i = 0; i < params.n; i++)
		if (str_eq_nocase(params.at[i].name, name)) return params.at[i].value;
	return STR_NONE;
}

/* section := "*" number; then perhaps "*" for an extended value (RFC 2231 7) */
struct piece {
	struct str name;    /* without section and star */
	uint32_t number;
	bool numbered, extended;
};

static struct piece piece_of(struct str name)
{
	struct piece pc = {.name = name};
	if (name.n > 1 && name.p[name.n - 1] == '*') {
		pc.extended = true;
		name.n--;
		pc.name = name;
	}
	size_t star = str_find_last_byte(name, '*');
	uint64_t v;
	if (star == STR_NPOS || star == 0 || !str_u64(str_from(name, star + 1), MIME_PARAMS_MAX, &v))
		return pc;
	pc.name = str_sub(name, 0, star);
	pc.number = (uint32_t)v;
	pc.numbered = true;
	return pc;
}

static bool find_piece(struct mime_params params, struct str name, uint32_t number, size_t *out_at)
{
	for (size_t i = 0; i < params.n; i++) {
		struct piece pc = piece_of(params.at[i].name);
		if (!pc.numbered || pc.number != number || !str_eq_nocase(pc.name, name)) continue;
		*out_at = i;
		return true;
	}
	return false;
}

/* Text of a plain piece inside an extended value has to look extended too. */
static void add_percent_coded(struct buf *out, struct str value)
{
	for (size_t i = 0; i < value.n; i++) {
		unsigned char c = (unsigned char)value.p[i];
		bool plain = c > 32 && c < 127 && c != '*' && c != '\'' && c != '%';
		if (plain) buf_byte(out, (char)c);
		else buf_fmt(out, "%%%02X", c);
	}
}

static struct mime_param join_pieces(struct arena *a, struct mime_params params, struct str name)
{
	BUF_SCOPED b = {0};
	bool extended = false;
	size_t at;
	for (uint32_t k = 0; find_piece(params, name, k, &at); k++)
		extended |= piece_of(params.at[at].name).extended;
	for (uint32_t k = 0; find_piece(params, name, k, &at); k++) {
		bool coded = piece_of(params.at[at].name).extended;
		if (k == 0 && extended && !coded) buf_add(&b, STR("''"));
		if (extended && !coded) add_percent_coded(&b, params.at[at].value);
		else buf_add(&b, params.at[at].value);
	}
	return (struct mime_param){extended ? arena_cat(a, name, STR("*")) : name, arena_str(a, buf_str(&b))};
}

struct mime_params params_joined(struct arena *a, struct mime_params params)
{
	bool any = false;
	for (size_t i = 0; i < params.n && !any; i++) any = piece_of(params.at[i].name).numbered;
	if (!any) return params;
	struct mime_param *out = arena_array(a, params.n, sizeof *out);
	size_t n = 0, zero;
	for (size_t i = 0; i < params.n; i++) {
		struct piece pc = piece_of(params.at[i].name);
		if (!pc.numbered || !find_piece(params, pc.name, 0, &zero)) out[n++] = params.at[i];
	}
	for (size_t i = 0; i < params.n; i++) {
		struct piece pc = piece_of(params.at[i].name);
		if (pc.numbered && find_piece(params, pc.name, 0, &zero) && zero == i)
			out[n++] = join_pieces(a, params, pc.name);
	}
	return (struct mime_params){out, n};
}
