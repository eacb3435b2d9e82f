/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "mime/mime_int.h"

static bool is_blank(int c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* comment = "(" *([FWS] ccontent) [FWS] ")"; nested ones are kept as they are */
static void comment(struct scan *s, struct buf *out)
{
	int depth = 0;
	while (!scan_end(s)) {
		char c = *s->p++;
		if (c == '(' && depth++ == 0) continue;
		if (c == ')' && --depth == 0) return;
		if (c == '\\' && !scan_end(s)) c = *s->p++;
		if (out && c != '\r' && c != '\n') buf_byte(out, c);
	}
}

void lex_cfws_keep(struct scan *s, struct buf *out)
{
	for (int c; (c = scan_peek(s)) >= 0;) {
		if (is_blank(c)) {
			s->p++;
		} else if (c == '(') {
			if (out && out->n > 0) buf_byte(out, ' ');
			comment(s, out);
		} else {
			return;
		}
	}
}

void lex_cfws(struct scan *s)
{
	lex_cfws_keep(s, NULL);
}

bool lex_quoted(struct scan *s, struct buf *out)
{
	if (!scan_byte(s, '"')) return false;
	while (!scan_end(s)) {
		const char *from = s->p;
		while (s->p < s->end && *s->p != '"' && *s->p != '\\' && *s->p != '\r' && *s->p != '\n')
			s->p++;
		buf_add_bytes(out, from, (size_t)(s->p - from));
		if (scan_end(s)) break;
		char c = *s->p++;
		if (c == '"') break;
		/* A fold inside is removed, the blanks after it stay (RFC 5322 3.2.4). */
		if (c == '\\' && !scan_end(s)) buf_byte(out, *s->p++);
	}
	return true;
}

static int hex_value(int c)
{
	if (c >= '0' && c <= '9') return c - '0';
	if (c >= 'A' && c <= 'F') return c - 'A' + 10;
	if (c >= 'a' && c <= 'f') return c - 'a' + 10;
	return -1;
}

bool lex_hex_octet(struct scan *s, char *out)
{
	int high = hex_value(scan_peek_at(s, 0)), low = hex_value(scan_peek_at(s, 1));
	if (high < 0 || low < 0) return false;
	*out = (char)(high << 4 | low);
	return scan_skip(s, 2);
}

/* token := 1*<any CHAR except SPACE, CTLs, or tspecials> */
static bool is_token(unsigned char c)
{
	switch (c) {
	case '(': case ')': case '<': case '>': case '@': case ',': case ';': case ':': case '\\': case '"':
	case '/': case '[': case ']': case '?': case '=': case 127:
		return false;
	}
	return c > 32;
}

struct str lex_token(struct scan *s)
{
	return scan_while(s, is_token);
}
