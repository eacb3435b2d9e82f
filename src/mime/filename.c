/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Parameter values as text (RFC 2231, and what is written instead of it), and safe file names. */
#include "base/arena.h"
#include "base/codec.h"
#include "base/scan.h"
#include "mime/charset.h"
#include "mime/mime_int.h"
#include "mime/text.h"
#include "mime/words.h"

/* ext-octet = "%" 2HEXDIG; a "%" that is none is itself */
static void percent_decode(struct buf *out, struct str in)
{
	struct scan s = scan_of(in);
	while (!scan_end(&s)) {
		char c = *s.p++, octet;
		buf_byte(out, c == '%' && lex_hex_octet(&s, &octet) ? octet : c);
	}
}

/* extended-initial-value := [charset] "'" [language] "'" extended-other-values (RFC 2231 7) */
static void decode_extended(struct buf *out, struct str value)
{
	BUF_SCOPED octets = {0};
	struct str rest = value, charset = str_cut(&rest, '\'');
	if (rest.p && str_has_byte(rest, '\'')) {
		str_cut(&rest, '\'');
	} else {
		rest = value; /* the quotes were forgotten */
		charset = STR_NONE;
	}
	percent_decode(&octets, rest);
	charset_decode(out, charset, buf_str(&octets));
}

/* "%ED%95%9C.hwp" without any star: some web mailers do it. */
static bool decode_bare_percent(struct buf *out, struct str value)
{
	BUF_SCOPED octets = {0};
	if (!str_is_ascii(value) || !str_has_byte(value, '%')) return false;
	percent_decode(&octets, value);
	if (str_is_ascii(buf_str(&octets)) || !utf8_valid(buf_str(&octets))) return false;
	buf_add(out, buf_str(&octets));
	return true;
}

bool param_decode(struct buf *out, struct mime_params params, struct str name)
{
	ARENA_SCOPED a = arena_new();
	params = params_joined(a, params);
	struct str value = mime_param(params, arena_cat(a, name, STR("*")));
	if (value.p) {
		decode_extended(out, value);
		return true;
	}
	value = mime_param(params, name);
	if (!value.p) return false;
	if (!decode_bare_percent(out, value)) words_decode(out, value);
	return true;
}

static bool is_attribute_char(unsigned char c)
{
	return ascii_is(c, ASCII_UPPER | ASCII_LOWER | ASCII_DIGIT) || c == '.' || c == '-' || c == '_';
}

static void put_percent(struct buf *out, struct str text)
{
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];
		if (is_attribute_char(c)) buf_byte(out, (char)c);
		else buf_fmt(out, "%%%02X", c);
	}
}

static bool is_printable(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < 32 || (unsigned char)s.p[i] > 126) return false;
	return true;
}

void param_encode(struct buf *out, struct str name, struct str utf8)
{
	enum { PIECE_OCTETS = 16 }; /* 48 coded */
	if (is_printable(utf8) && utf8.n <= 60 && str_find(utf8, STR("=?")) == STR_NPOS) {
		buf_fmt(out, ";\r\n\t%.*s=\"", STR_ARG(name));
		for (size_t i = 0; i < utf8.n; i++) {
			if (utf8.p[i] == '"' || utf8.p[i] == '\\') buf_byte(out, '\\');
			buf_byte(out, utf8.p[i]);
		}
		buf_byte(out, '"');
		return;
	}
	if (utf8.n <= PIECE_OCTETS) {
		buf_fmt(out, ";\r\n\t%.*s*=UTF-8''", STR_ARG(name));
		put_percent(out, utf8);
		return;
	}
	for (unsigned k = 0; utf8.n > 0; k++) {
		struct str piece = utf8_cut(utf8, PIECE_OCTETS);
		if (piece.n == 0) piece = str_sub(utf8, 0, 1);
		buf_fmt(out, ";\r\n\t%.*s*%u*=%s", STR_ARG(name), k, k == 0 ? "UTF-8''" : "");
		put_percent(out, piece);
		utf8 = str_from(utf8, piece.n);
	}
}

bool part_filename(struct buf *out, const struct mime_part *p)
{
	BUF_SCOPED b = {0};
	if (!param_decode(&b, p->disposition_params, STR("filename")) &&
		!param_decode(&b, p->params, STR("name")))
		return false;
	filename_clean(out, buf_str(&b));
	return true;
}

/* Controls, and marks that turn the direction: "exe.hwp" shown for "pwh.exe". */
static bool is_hidden(uint32_t cp)
{
	return cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || cp == 0x061c || cp == 0x200b || cp == 0x200e ||
		cp == 0x200f ||
	       (cp >= 0x2028 && cp <= 0x202e) || (cp >= 0x2066 && cp <= 0x2069) || cp == 0xfeff;
}

static struct str last_path_part(struct str s)
{
	for (size_t i = s.n; i > 0; i--)
		if (s.p[i - 1] == '/' || s.p[i - 1] == '\\') return str_from(s, i);
	return s;
}

static struct str without_outer(struct str s)
{
	while (s.n > 0 && (s.p[s.n - 1] == '.' || s.p[s.n - 1] == ' ')) s.n--;
	while (s.n > 0 && s.p[0] == ' ') s = str_from(s, 1);
	return s;
}

/* Keeps a short extension. */
static void put_short_name(struct buf *out, struct str name)
{
	enum { NAME_MAX_OCTETS = 255, EXTENSION_MAX = 16 };
	size_t dot = str_find_last_byte(name, '.');
	if (name.n <= NAME_MAX_OCTETS) {
		buf_add(out, name);
	} else if (dot != STR_NPOS && name.n - dot <= EXTENSION_MAX) {
		buf_add(out, utf8_cut(name, NAME_MAX_OCTETS - (name.n - dot)));
		buf_add(out, str_from(name, dot));
	} else {
		buf_add(out, without_outer(utf8_cut(name, NAME_MAX_OCTETS)));
	}
}

void filename_clean(struct buf *out, struct str utf8)
{
	ARENA_SCOPED a = arena_new();
	BUF_SCOPED b = {0};
	struct scan s = scan_of(text_nfc_str(a, utf8));
	while (!scan_end(&s)) {
		uint32_t cp;
		size_t n = utf8_decode(scan_rest(&s), &cp);
		if (n > 0 && !is_hidden(cp)) utf8_encode(&b, cp);
		s.p += n ? n : 1;
	}
	struct str name = without_outer(last_path_part(without_outer(buf_str(&b))));
	put_short_name(out, name.n > 0 ? name : STR("attachment"));
}
