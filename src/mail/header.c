/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Lines are found by memchr; a field is a line and the lines after it that begin with a blank. */
#include "mail/header.h"
#include <string.h>

/* The line at p with its end; the last one may lack it. */
static size_t line_length(const char *p, const char *end)
{
	const char *lf = memchr(p, '\n', (size_t)(end - p));
	return lf ? (size_t)(lf - p) + 1 : (size_t)(end - p);
}

static bool is_empty_line(const char *p, size_t n)
{
	return (n == 1 && p[0] == '\n') || (n == 2 && p[0] == '\r' && p[1] == '\n');
}

size_t header_length(struct str message)
{
	if (message.n == 0) return 0;
	const char *p = message.p, *end = p + message.n;
	while (p < end) {
		size_t n = line_length(p, end);
		p += n;
		if (is_empty_line(p - n, n)) break;
	}
	return (size_t)(p - message.p);
}

static bool is_ftext(unsigned char c)
{
	return c > 32 && c < 127 && c != ':';
}

/* ftext 1*; then blanks before the colon, which RFC 5322 4.5 knows. 0: no field line. */
static size_t name_length(const char *p, size_t n, size_t *out_colon)
{
	size_t i = 0, colon;
	while (i < n && is_ftext((unsigned char)p[i])) i++;
	for (colon = i; colon < n && (p[colon] == ' ' || p[colon] == '\t'); colon++) {}
	if (i == 0 || colon == n || p[colon] != ':') return 0;
	*out_colon = colon;
	return i;
}

static size_t field_length(const char *p, const char *end)
{
	const char *q = p;
	do q += line_length(q, end);
	while (q < end && (*q == ' ' || *q == '\t'));
	return (size_t)(q - p);
}

bool header_next(struct scan *s, struct header_field *out)
{
	while (s->p < s->end) {
		const char *p = s->p;
		size_t line = line_length(p, s->end), colon;
		if (is_empty_line(p, line)) {
			s->p += line;
			return false;
		}
		size_t name = name_length(p, line, &colon);
		if (name == 0) {
			s->p += line;
			continue;
		}
		size_t n = field_length(p, s->end), from = colon + 1, to = n;
		while (to > from && (p[to - 1] == '\n' || p[to - 1] == '\r')) to--;
		while (from < to && (p[from] == ' ' || p[from] == '\t')) from++;
		*out = (struct header_field){{p, name}, {p + from, to - from}, {p, n}};
		s->p += n;
		return true;
	}
	return false;
}

bool header_find(struct str header, struct str name, struct header_field *out)
{
	struct scan s = scan_of(header);
	struct header_field f;
	while (header_next(&s, &f)) {
		if (!str_eq_nocase(f.name, name)) continue;
		*out = f;
		return true;
	}
	return false;
}

bool header_find_last(struct str header, struct str name, struct header_field *out)
{
	struct scan s = scan_of(header);
	struct header_field f;
	bool found = false;
	while (header_next(&s, &f)) {
		if (!str_eq_nocase(f.name, name)) continue;
		*out = f;
		found = true;
	}
	return found;
}

unsigned header_count(struct str header, struct str name)
{
	struct scan s = scan_of(header);
	struct header_field f;
	unsigned n = 0;
	while (header_next(&s, &f)) n += str_eq_nocase(f.name, name);
	return n;
}

void header_unfold(struct buf *out, struct str body)
{
	if (body.n == 0) return;
	const char *p = body.p, *end = p + body.n;
	while (p < end) {
		size_t n = line_length(p, end), keep = n;
		if (keep > 0 && p[keep - 1] == '\n') {
			keep--;
			if (keep > 0 && p[keep - 1] == '\r') keep--;
		}
		buf_add_bytes(out, p, keep);
		p += n;
	}
}

bool header_name_valid(struct str name)
{
	for (size_t i = 0; i < name.n; i++)
		if (!is_ftext((unsigned char)name.p[i])) return false;
	return name.n > 0;
}
