/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* What SEARCH TEXT, SEARCH BODY and previews see of a message. */
#include "mime/text.h"
#include "base/arena.h"
#include "mail/header.h"
#include "mime/charset.h"
#include "mime/part.h"
#include "mime/words.h"

/* Where pieces of text go: as they are, or normalised, each ended by a line end. */
struct sink {
	struct buf *out;
	bool normalise;
};

static void sink_add(struct sink *k, struct str piece)
{
	if (k->out->failed || piece.n == 0) return;
	if (k->out->max) {
		/* What fits is worth having; the rest sets failed. */
		size_t room = k->out->max > k->out->n ? k->out->max - k->out->n : 0;
		if (piece.n > room) piece = utf8_cut(piece, room);
	}
	if (k->normalise) text_normalise(k->out, piece);
	else buf_add(k->out, piece);
	buf_byte(k->out, '\n');
}

static void add_fields(struct sink *k, struct str header)
{
	struct scan s = scan_of(header);
	struct header_field f;
	while (header_next(&s, &f) && !k->out->failed) {
		BUF_SCOPED line = {0};
		buf_fmt(&line, "%.*s: ", STR_ARG(f.name));
		words_decode(&line, f.body);
		sink_add(k, buf_str(&line));
	}
}

static bool is_text(const struct mime_part *p)
{
	/* Delivery reports and the like are text too (RFC 3464); so is what has lost its boundary. */
	return mime_is(p, STR("text"), STR_NONE) ||
		(p->kind == MIME_LEAF && mime_is(p, STR("message"), STR_NONE)) ||
	       (p->kind == MIME_MULTIPART && !p->first_child);
}

/* <meta charset=...> of a page that came without one. */
static struct str html_charset(struct str html)
{
	struct str top = str_sub(html, 0, 2048);
	size_t at = str_find_nocase(top, STR("charset="));
	if (at == STR_NPOS) return STR_NONE;
	struct str rest = str_from(top, at + 8);
	size_t n = 0;
	while (n < rest.n && (rest.p[n] == '"' || rest.p[n] == '\'')) n++;
	rest = str_from(rest, n);
	for (n = 0; n < rest.n && (ascii_is((unsigned char)rest.p[n], ASCII_ATEXT)); n++) {
		if (rest.p[n] == '\'') break;
	}
	return str_sub(rest, 0, n);
}

bool text_of_part(struct buf *out, const struct mime_message *m, const struct mime_part *p)
{
	if (!is_text(p)) return false;
	BUF_SCOPED octets = {.max = TEXT_PART_MAX}, utf8 = {0};
	struct str body = mime_part_body(m, p);
	if (p->encoding == MIME_BASE64 || p->encoding == MIME_QP || p->encoding == MIME_UUENCODE) {
		struct mime_decoder d;
		mime_decoder_init(&d, p->encoding);
		/* In pieces: a limit in the middle keeps what was before it. */
		for (size_t at = 0; at < body.n && !octets.failed; at += 1 << 16)
			mime_decoder_feed(&d, str_sub(body, at, 1 << 16), &octets);
		mime_decoder_end(&d, &octets);
		body = buf_str(&octets);
	} else {
		body = str_sub(body, 0, TEXT_PART_MAX);
	}
	struct str charset = mime_param(p->params, STR("charset"));
	bool html = mime_is(p, STR("text"), STR("html"));
	if (charset.n == 0 && html) charset = html_charset(body);
	if (!html) {
		charset_decode(out, charset, body);
		return true;
	}
	charset_decode(&utf8, charset, body);
	text_of_html(out, buf_str(&utf8));
	return true;
}

static void add_part(struct sink *k, const struct mime_message *m, const struct mime_part *p)
{
	BUF_SCOPED text = {0}, name = {0};
	if (p->parent) add_fields(k, mime_part_header(m, p));
	if (text_of_part(&text, m, p)) sink_add(k, buf_str(&text));
	if (part_filename(&name, p)) sink_add(k, buf_str(&name));
}

static void extract(struct sink *k, const struct mime_message *m, int scope)
{
	if (scope & TEXT_HEADER) add_fields(k, mime_part_header(m, m->root));
	if (!(scope & TEXT_BODY)) return;
	for (const struct mime_part *p = m->root; p && !k->out->failed; p = mime_next(p)) add_part(k, m, p);
}

void text_extract(struct buf *out, const struct mime_message *m, int scope)
{
	extract(&(struct sink){out, false}, m, scope);
}

void text_extract_normalised(struct buf *out, const struct mime_message *m, int scope)
{
	extract(&(struct sink){out, true}, m, scope);
}

static bool is_attachment(const struct mime_part *p)
{
	return str_eq_nocase(p->disposition, STR("attachment"));
}

static const struct mime_part *preview_part(const struct mime_message *m)
{
	const struct mime_part *html = NULL;
	for (const struct mime_part *p = m->root; p; p = mime_next(p)) {
		if (p->kind != MIME_LEAF || is_attachment(p)) continue;
		if (mime_is(p, STR("text"), STR("plain"))) return p;
		if (!html && mime_is(p, STR("text"), STR("html"))) html = p;
	}
	return html;
}

void text_preview(struct buf *out, const struct mime_message *m)
{
	enum { PREVIEW_CHARACTERS = 200 }; /* RFC 8970 3.1 */
	const struct mime_part *p = preview_part(m);
	BUF_SCOPED text = {0};
	if (!p || !text_of_part(&text, m, p)) return;
	size_t from = out->n, characters = 0;
	struct str rest = str_trim(buf_str(&text));
	for (size_t i = 0; i < rest.n; i++) {
		unsigned char c = (unsigned char)rest.p[i];
		bool starts = (c & 0xc0) != 0x80;
		bool blank = c <= 32 || c == 127;
		if (blank && (out->n == from || out->p[out->n - 1] == ' ')) continue;
		if (starts && characters++ == PREVIEW_CHARACTERS) break;
		buf_byte(out, blank ? ' ' : (char)c);
	}
}
