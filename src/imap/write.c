/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* imap/write.c: see imap/write.h. */
#include "imap/write.h"
#include "base/codec.h"
#include "mime/words.h"
#include <string.h>

enum { QUOTED_MAX = 1024 };

static bool may_quote(struct str s, bool utf8)
{
	bool high = false;

	if (s.n > QUOTED_MAX)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c == '\r' || c == '\n' || c == '\0')
			return false;
		high |= c >= 0x80;
	}
	return !high || (utf8 && utf8_valid(s));
}

void write_string(struct buf *b, struct str s, bool utf8)
{
	if (!may_quote(s, utf8)) {
		buf_byte(b, '{');
		buf_u64(b, s.n);
		buf_add(b, STR("}\r\n"));
		size_t at = b->n;
		buf_add(b, s);
		/* No IMAP string holds NUL (RFC 9051 9, CHAR8). */
		for (char *p = b->p + at; (p = memchr(p, '\0', (size_t)(b->p + b->n - p))); p++)
			*p = '?';
		return;
	}
	buf_byte(b, '"');
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '"' || s.p[i] == '\\')
			buf_byte(b, '\\');
		buf_byte(b, s.p[i]);
	}
	buf_byte(b, '"');
}

void write_nstring(struct buf *b, struct str s, bool utf8)
{
	if (s.p)
		write_string(b, s, utf8);
	else
		buf_add(b, STR("NIL"));
}

static bool is_atom(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (!ascii_is((unsigned char)c, ASCII_UPPER | ASCII_LOWER | ASCII_DIGIT) && c != '-' &&
		    c != '_' && c != '.' && c != '/' && c != '$')
			return false;
	}
	return s.n && !str_eq_nocase(s, STR("NIL"));
}

void write_astring(struct buf *b, struct str s, bool utf8)
{
	if (is_atom(s))
		buf_add(b, s);
	else
		write_string(b, s, utf8);
}

void write_mailbox(struct buf *b, struct str name, bool utf8)
{
	BUF_SCOPED m = {};

	if (!utf8 && (str_has_byte(name, '&') || !str_is_ascii(name)) && mutf7_encode(&m, name))
		name = buf_str(&m);
	write_astring(b, name, utf8);
}

/* ---- the fast lines --------------------------------------------------------------------- */

char *write_room(struct buf *b) { return buf_room(b, 256); }

char *put_u64(char *p, uint64_t v)
{
	char t[20];
	size_t n = 0;

	do
		t[n++] = (char)('0' + v % 10);
	while (v /= 10);
	while (n)
		*p++ = t[--n];
	return p;
}

static const struct {
	unsigned flag;
	unsigned n;
	char word[12];
} flag_words[] = {
	{FLAG_ANSWERED, 10, "\\Answered "}, {FLAG_FLAGGED, 9, "\\Flagged "}, {FLAG_DELETED, 9, "\\Deleted "},
	{FLAG_SEEN, 6, "\\Seen "},          {FLAG_DRAFT, 7, "\\Draft "},     {FLAG_RECENT, 8, "\\Recent "},
	{FLAG_FORWARDED, 11, "$Forwarded "},
};

void write_flags(struct buf *b, unsigned flags, uint32_t keywords, const struct str *names, size_t names_n)
{
	char *start = buf_room(b, 128), *p = start;

	*p++ = '(';
	for (size_t i = 0; i < sizeof(flag_words) / sizeof(*flag_words); i++)
		if (flags & flag_words[i].flag)
			p = put(p, flag_words[i].word, flag_words[i].n);
	if (p[-1] == ' ' && !keywords)
		p--;
	b->n += (size_t)(p - start);
	if (keywords) {
		for (size_t i = 0; i < names_n; i++)
			if (keywords & UINT32_C(1) << i) {
				buf_add(b, names[i]);
				buf_byte(b, ' ');
			}
		if (b->p[b->n - 1] == ' ')
			b->n--;
	}
	buf_byte(b, ')');
}

void write_uid_set(struct buf *b, struct uid_set s)
{
	for (size_t i = 0; i < s.n; i++) {
		char *start = buf_room(b, 32), *p = start;
		if (i)
			*p++ = ',';
		p = put_u64(p, s.r[i].first);
		if (s.r[i].last != s.r[i].first) {
			*p++ = ':';
			p = put_u64(p, s.r[i].last);
		}
		b->n += (size_t)(p - start);
	}
}

void write_text(struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		buf_byte(b, ascii_is((unsigned char)s.p[i], ASCII_CTL) ? ' ' : s.p[i]);
}
