/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Decoding goes from word to word. Octets of adjacent words of one charset and encoding are put together
 * before they are decoded, since many writers cut in the middle of a character (or of a base64 group).
 */
#include "mime/words.h"
#include "base/arena.h"
#include "base/codec.h"
#include "base/scan.h"
#include "mail/header.h"
#include "mime/charset.h"
#include "mime/mime_int.h"
#include "mime/part.h"
#include "mime/text.h"

/* encoded-word = "=?" charset "?" encoding "?" encoded-text "?=" (RFC 2047 2) */
struct encoded_word {
	struct str charset, text;
	enum mime_encoding encoding;
};

static bool is_charset(unsigned char c)
{
	return c > 32 && c < 127 && c != '?' && c != '=';
}

/* 75 characters are allowed and whole subjects in one word are seen. */
enum { TEXT_LOOKED_AT = 8192 };

/* The text may hold blanks and "?", which it should not. */
static bool scan_encoded_word(struct scan *s, struct encoded_word *out)
{
	struct scan t = *s;
	struct encoded_word w;
	if (!scan_lit(&t, STR("=?"))) return false;
	w.charset = scan_while(&t, is_charset);
	if (w.charset.n == 0 || !scan_byte(&t, '?')) return false;
	if (scan_byte_nocase(&t, 'B')) w.encoding = MIME_BASE64;
	else if (scan_byte_nocase(&t, 'Q')) w.encoding = MIME_QP;
	else return false;
	if (!scan_byte(&t, '?')) return false;
	size_t end = str_find(str_sub(scan_rest(&t), 0, TEXT_LOOKED_AT), STR("?="));
	if (end == STR_NPOS || !scan_take(&t, end, &w.text) || !scan_skip(&t, 2)) return false;
	*out = w;
	*s = t;
	return true;
}

/* The Q encoding (RFC 2047 4.2): "_" is a space, "=XX" an octet, all else itself. */
static void add_q(struct buf *out, struct str text)
{
	struct scan s = scan_of(text);
	while (!scan_end(&s)) {
		char c = *s.p++, octet;
		if (c == '=' && lex_hex_octet(&s, &octet)) buf_byte(out, octet);
		else buf_byte(out, c == '_' ? ' ' : c);
	}
}

static void blanks_between(struct scan *s)
{
	while (scan_peek(s) == ' ' || scan_peek(s) == '\t') s->p++;
}

/* A run of encoded words at the scan, blanks between them dropped (RFC 2047 6.2). */
static bool decode_run(struct scan *s, struct buf *out)
{
	struct encoded_word w, next;
	if (!scan_encoded_word(s, &w)) return false;
	for (bool more = true; more;) {
		BUF_SCOPED octets = {0};
		struct mime_decoder d;
		mime_decoder_init(&d, MIME_BASE64);
		do {
			if (w.encoding == MIME_BASE64) mime_decoder_feed(&d, w.text, &octets);
			else add_q(&octets, w.text);
			struct scan t = *s;
			blanks_between(&t);
			more = scan_encoded_word(&t, &next);
			if (!more) break;
			*s = t;
			bool same = next.encoding == w.encoding && str_eq_nocase(next.charset, w.charset);
			w.text = next.text;
			if (!same) break;
		} while (true);
		if (w.encoding == MIME_BASE64) mime_decoder_end(&d, &octets);
		charset_decode(out, w.charset, buf_str(&octets));
		w = next;
	}
	return true;
}

/* From offset on: C0 controls and DEL to blanks, so that no value breaks a line or a list. */
static void controls_to_blanks(struct buf *out, size_t from)
{
	for (size_t i = from; i < out->n; i++) {
		unsigned char c = (unsigned char)out->p[i];
		if (c < 32 || c == 127) out->p[i] = ' ';
	}
}

void words_decode(struct buf *out, struct str body)
{
	size_t before = out->n;
	BUF_SCOPED line = {0};
	header_unfold(&line, body);
	struct scan s = scan_of(buf_str(&line));
	while (!scan_end(&s)) {
		if (decode_run(&s, out)) continue;
		const char *from = s.p++;
		while (!scan_end(&s) && !(s.p[0] == '=' && scan_peek_at(&s, 1) == '?')) s.p++;
		charset_decode(out, STR_NONE, (struct str){from, (size_t)(s.p - from)});
	}
	controls_to_blanks(out, before);
}

struct str words_decode_str(struct arena *a, struct str body)
{
	BUF_SCOPED b = {0};
	words_decode(&b, str_trim(body));
	return arena_str(a, text_nfc_str(a, str_trim(buf_str(&b))));
}

static bool is_printable(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < 32 || (unsigned char)s.p[i] > 126) return false;
	return true;
}

/* What may stand in a Q word anywhere, phrases included (RFC 2047 5 (3)). */
static bool is_q_plain(unsigned char c)
{
	return ascii_is(c, ASCII_UPPER | ASCII_LOWER | ASCII_DIGIT) || c == '!' || c == '*' || c == '+' ||
		c == '-' ||
	       c == '/';
}

enum { LINE_MAX_COLUMN = 76, WORD_OVERHEAD = 12, WORD_TEXT_MAX = 75 - WORD_OVERHEAD };

/* Encoded length of text. */
static size_t q_length(struct str text)
{
	size_t n = 0;
	for (size_t i = 0; i < text.n; i++)
		n += is_q_plain((unsigned char)text.p[i]) || text.p[i] == ' ' ? 1 : 3;
	return n;
}

static size_t b_length(struct str text)
{
	return (text.n + 2) / 3 * 4;
}

static void put_q(struct buf *out, struct str text)
{
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];
		if (is_q_plain(c)) buf_byte(out, (char)c);
		else if (c == ' ') buf_byte(out, '_');
		else buf_fmt(out, "=%02X", c);
	}
}

/* As many whole characters as fit into room. */
static struct str characters_that_fit(struct str text, bool q, size_t room)
{
	size_t n = 0, coded = 0;
	while (n < text.n) {
		uint32_t cp;
		size_t more = utf8_decode(str_from(text, n), &cp);
		if (more == 0) more = 1;
		coded = q ? coded + q_length(str_sub(text, n, more)) : (n + more + 2) / 3 * 4;
		if (coded > room) break;
		n += more;
	}
	return str_sub(text, 0, n);
}

static void put_encoded_words(struct buf *out, struct str text, size_t column)
{
	bool q = q_length(text) <= b_length(text);
	bool first = true;
	while (text.n > 0) {
		size_t room = column + WORD_OVERHEAD < LINE_MAX_COLUMN
			? LINE_MAX_COLUMN - WORD_OVERHEAD - column : 0;
		if (room > WORD_TEXT_MAX) room = WORD_TEXT_MAX;
		struct str piece = characters_that_fit(text, q, room);
		if (piece.n == 0 || !first) {
			buf_add(out, STR("\r\n "));
			piece = characters_that_fit(text, q, WORD_TEXT_MAX);
		}
		buf_add(out, q ? STR("=?UTF-8?Q?") : STR("=?UTF-8?B?"));
		if (q) put_q(out, piece);
		else base64_encode(out, piece);
		buf_add(out, STR("?="));
		text = str_from(text, piece.n);
		first = false;
		column = LINE_MAX_COLUMN;
	}
}

/* Plain text folded at blanks. */
static void put_folded(struct buf *out, struct str text, size_t column)
{
	while (text.n > 0) {
		size_t blank = str_find_byte(str_from(text, 1), ' ');
		struct str word = blank == STR_NPOS ? text : str_sub(text, 0, blank + 1);
		if (word.p[0] == ' ' && column + word.n > LINE_MAX_COLUMN && str_trim(word).n > 0) {
			buf_add(out, STR("\r\n"));
			column = 0;
		}
		buf_add(out, word);
		column += word.n;
		text = str_from(text, word.n);
	}
}

void words_encode(struct buf *out, struct str utf8, size_t column)
{
	if (is_printable(utf8) && str_find(utf8, STR("=?")) == STR_NPOS) put_folded(out, utf8, column);
	else put_encoded_words(out, utf8, column);
}

void words_encode_phrase(struct buf *out, struct str utf8, size_t column)
{
	bool atoms = utf8.n > 0 && utf8.p[0] != ' ' && utf8.p[utf8.n - 1] != ' ';
	for (size_t i = 0; i < utf8.n && atoms; i++)
		atoms = ascii_is((unsigned char)utf8.p[i], ASCII_ATEXT) ||
			(utf8.p[i] == ' ' && utf8.p[i - 1] != ' ');
	if (!is_printable(utf8) || str_find(utf8, STR("=?")) != STR_NPOS) {
		put_encoded_words(out, utf8, column);
		return;
	}
	if (!atoms) buf_byte(out, '"');
	for (size_t i = 0; i < utf8.n; i++) {
		if (utf8.p[i] == '"' || utf8.p[i] == '\\') buf_byte(out, '\\');
		buf_byte(out, utf8.p[i]);
	}
	if (!atoms) buf_byte(out, '"');
}
