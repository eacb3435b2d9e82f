/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "sender_auth/results.h"
#include "base/arena.h"
#include "base/scan.h"

enum { FOLD_AT = 76, COMMENT_DEPTH_MAX = 32 };

/* --- writing --- */

/* token of RFC 2045 5.1, and "@", which pvalue has */
static bool is_plain(unsigned char c)
{
	return c > 0x20 && c < 0x7f && !str_has_byte(STR("()<>,;:\\\"/[]?="), (char)c);
}

static bool needs_quotes(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (!is_plain(c) && c < 0x80)
			return true;
	}
	return s.n == 0;
}

static char clean(char c)
{
	unsigned char u = (unsigned char)c;
	return u < 0x20 || u == 0x7f ? '?' : c;
}

static void put_value(struct buf *out, struct str s)
{
	bool quotes = needs_quotes(s);
	if (quotes)
		buf_byte(out, '"');
	for (size_t i = 0; i < s.n; i++) {
		if (quotes && (s.p[i] == '"' || s.p[i] == '\\'))
			buf_byte(out, '\\');
		buf_byte(out, clean(s.p[i]));
	}
	if (quotes)
		buf_byte(out, '"');
}

static void put_comment(struct buf *out, struct str s)
{
	buf_add(out, STR(" ("));
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '(' || s.p[i] == ')' || s.p[i] == '\\')
			buf_byte(out, '\\');
		buf_byte(out, clean(s.p[i]));
	}
	buf_byte(out, ')');
}

void auth_result_add_property(struct auth_result *r, const char *type, const char *name, struct str value)
{
	if (r->property_n < AUTH_PROPERTIES_MAX)
		r->properties[r->property_n++] = (struct auth_property){str_of(type), str_of(name), value};
}

/* A piece behind a blank, or on a new line when this one is full. */
static void put_piece(struct buf *out, size_t *line, struct buf *piece)
{
	if (out->n - *line + 1 + piece->n > FOLD_AT) {
		buf_add(out, STR("\r\n\t "));
		*line = out->n - 2;
	} else {
		buf_byte(out, ' ');
	}
	buf_add(out, buf_str(piece));
	buf_clear(piece);
}

static void write_result(struct buf *out, const struct auth_result *r)
{
	BUF_SCOPED piece = {0};
	size_t line = out->n + 2;
	buf_add(out, STR("\r\n\t"));
	buf_add(out, r->method);
	buf_byte(out, '=');
	buf_add(out, r->result);
	if (r->comment.n > 0) {
		put_comment(out, r->comment);
	}
	if (r->reason.n > 0) {
		buf_add(&piece, STR("reason="));
		put_value(&piece, r->reason);
		put_piece(out, &line, &piece);
	}
	for (size_t i = 0; i < r->property_n; i++) {
		const struct auth_property *p = &r->properties[i];
		buf_fmt(&piece, "%.*s.%.*s=", STR_ARG(p->type), STR_ARG(p->name));
		put_value(&piece, p->value);
		put_piece(out, &line, &piece);
	}
}

void auth_results_write(struct buf *out, struct str authserv_id, const struct auth_result *at, size_t n)
{
	buf_add(out, STR("Authentication-Results: "));
	put_value(out, authserv_id);
	for (size_t i = 0; i < n; i++) {
		buf_byte(out, ';');
		write_result(out, &at[i]);
	}
	if (n == 0)
		buf_add(out, STR("; none"));
	buf_add(out, STR("\r\n"));
}

/* --- reading --- */

static bool is_white(unsigned char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* [CFWS]; false for a comment that does not end */
static bool skip_cfws(struct scan *s)
{
	unsigned depth = 0;
	for (;;) {
		int c = scan_peek(s);
		if (c < 0)
			return depth == 0;
		if (c == '(' && ++depth > COMMENT_DEPTH_MAX)
			return false;
		if (c == '\\' && depth > 0)
			scan_skip(s, 1);
		else if (c == ')' && depth > 0)
			depth--;
		else if (depth == 0 && c != '(' && !is_white((unsigned char)c))
			return true;
		if (!scan_skip(s, 1))
			return false;
	}
}

static bool read_quoted(struct arena *a, struct scan *s, struct str *out)
{
	BUF_SCOPED text = {0};
	if (!scan_byte(s, '"'))
		return false;
	while (!scan_end(s)) {
		char c = *s->p++;
		if (c == '"') {
			*out = arena_str(a, buf_str(&text));
			return true;
		}
		if (c == '\\' && !scan_end(s))
			c = *s->p++;
		if (c != '\r' && c != '\n')
			buf_byte(&text, c);
	}
	return false;
}

/* Up to what ends a value: white space, ";" or a comment. Wider than the grammar, as seen. */
static bool is_value(unsigned char c)
{
	return c > 0x20 && c != 0x7f && c != ';' && c != '(' && c != '"';
}

static bool read_value(struct arena *a, struct scan *s, struct str *out)
{
	if (scan_peek(s) == '"') {
		/* the local-part of pvalue may be quoted: "a b"@c */
		if (!read_quoted(a, s, out))
			return false;
		if (scan_peek(s) == '@')
			*out = arena_cat(a, *out, scan_while(s, is_value));
		return true;
	}
	*out = scan_while(s, is_value);
	return out->n > 0;
}

static bool is_keyword(unsigned char c)
{
	return ascii_is(c, ASCII_UPPER | ASCII_LOWER | ASCII_DIGIT) || c == '-' || c == '_';
}

/* "=" with CFWS around */
static bool read_equals(struct scan *s)
{
	return skip_cfws(s) && scan_byte(s, '=') && skip_cfws(s);
}

static bool read_id(struct arena *a, struct scan *s, struct str *out)
{
	return skip_cfws(s) && read_value(a, s, out);
}

/* One of: reason "=" value; ptype "." property "=" pvalue */
static bool read_property(struct arena *a, struct scan *s, struct auth_result *r)
{
	struct str word = scan_while(s, is_keyword), value;
	struct auth_property p = {.type = word};
	if (word.n == 0 || !skip_cfws(s))
		return false;
	if (scan_byte(s, '.')) {
		if (!skip_cfws(s))
			return false;
		p.name = scan_while(s, is_keyword);
		if (p.name.n == 0 || !read_equals(s) || !read_value(a, s, &p.value))
			return false;
		if (r->property_n < AUTH_PROPERTIES_MAX)
			r->properties[r->property_n++] = p;
		return true;
	}
	if (!read_equals(s) || !read_value(a, s, &value))
		return false;
	if (str_eq_nocase(word, STR("reason")))
		r->reason = value;
	return true;
}

/* methodspec [ CFWS reasonspec ] *( CFWS propspec ) */
static bool read_result(struct arena *a, struct scan *s, struct auth_result *r)
{
	uint32_t version;
	const char *start = s->p;
	*r = (struct auth_result){.method = arena_lower(a, scan_while(s, is_keyword))};
	if (r->method.n == 0 || !skip_cfws(s))
		return false;
	if (scan_byte(s, '/') && (!skip_cfws(s) || !scan_u32(s, UINT32_MAX, &version)))
		return false;
	if (!read_equals(s))
		return false;
	r->result = arena_lower(a, scan_while(s, is_keyword));
	while (r->result.n > 0) {
		if (!skip_cfws(s))
			return false;
		if (scan_end(s) || scan_peek(s) == ';')
			break;
		if (!read_property(a, s, r))
			return false;
	}
	r->text = str_trim((struct str){start, (size_t)(s->p - start)});
	return r->result.n > 0;
}

bool auth_results_parse(struct arena *a, struct str body, struct auth_results *out, struct err *err)
{
	struct scan s = scan_of(body);
	size_t cap = 0;
	uint32_t version;
	*out = (struct auth_results){0};
	if (body.n > AUTH_RESULTS_FIELD_MAX)
		return err_set(err, ERR_LIMIT, "Authentication-Results longer than %d octets",
			       AUTH_RESULTS_FIELD_MAX);
	if (!read_id(a, &s, &out->authserv_id) || !skip_cfws(&s))
		return err_set(err, ERR_SYNTAX, "Authentication-Results without authserv-id");
	if (scan_u32(&s, UINT32_MAX, &version) && !skip_cfws(&s))
		return err_set(err, ERR_SYNTAX, "Authentication-Results: malformed version");
	while (scan_byte(&s, ';')) {
		if (!skip_cfws(&s))
			return err_set(err, ERR_SYNTAX, "Authentication-Results: malformed comment");
		if (scan_end(&s) || scan_peek(&s) == ';')
			continue; /* seen: a ";" at the end */
		struct scan at = s;
		if (scan_lit_nocase(&at, STR("none")) && skip_cfws(&at) && scan_end(&at))
			return true;
		if (out->n == AUTH_RESULTS_MAX)
			return err_set(err, ERR_LIMIT, "more than %d results", AUTH_RESULTS_MAX);
		out->at = arena_grow(a, out->at, out->n, &cap, sizeof *out->at);
		if (!read_result(a, &s, &out->at[out->n]))
			return err_set(err, ERR_SYNTAX, "Authentication-Results: malformed result");
		out->n++;
	}
	return scan_end(&s) || err_set(err, ERR_SYNTAX, "Authentication-Results: text behind the results");
}

bool auth_results_names(struct arena *a, struct str body, struct str authserv_id)
{
	struct scan s = scan_of(body);
	struct str id;
	return read_id(a, &s, &id) && str_eq_nocase(id, authserv_id);
}
