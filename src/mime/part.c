/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "mime/part.h"
#include "base/buf.h"
#include "mail/header.h"

/* Part i of a message: a child of its multipart, or the body itself (RFC 9051 6.4.5.1: every message
 * has part 1). */
static const struct mime_part *part_of_message(const struct mime_part *message, uint32_t i)
{
	if (message->kind != MIME_MULTIPART) return i == 1 ? message : NULL;
	const struct mime_part *c = message->first_child;
	while (c && c->ordinal != i) c = c->next;
	return c;
}

const struct mime_part *mime_find(const struct mime_message *m, const uint32_t *path, size_t path_n)
{
	if (path_n == 0) return m->root;
	const struct mime_part *p = part_of_message(m->root, path[0]);
	for (size_t i = 1; p && i < path_n; i++) {
		if (p->kind == MIME_MESSAGE) p = part_of_message(p->first_child, path[i]);
		else if (p->kind == MIME_MULTIPART) p = part_of_message(p, path[i]);
		else p = NULL;
	}
	return p;
}

static bool is_listed(const struct section *s, struct str name)
{
	for (size_t i = 0; i < s->field_n; i++)
		if (str_eq_nocase(s->fields[i], name)) return true;
	return false;
}

static void chosen_fields(struct str header, const struct section *s, struct buf *out)
{
	struct scan sc = scan_of(header);
	struct header_field f;
	bool wanted = s->kind == SECTION_HEADER_FIELDS;
	while (header_next(&sc, &f)) {
		if (is_listed(s, f.name) != wanted) continue;
		buf_add(out, f.raw);
		/* The last line of a message that ends in its header. */
		if (!str_ends(f.raw, STR("\n"))) buf_add(out, STR("\r\n"));
	}
	buf_add(out, STR("\r\n"));
}

bool mime_section(const struct mime_message *m, const struct section *s, struct buf *scratch, struct str *out)
{
	const struct mime_part *p = mime_find(m, s->path, s->path_n);
	if (!p) return false;
	if (s->kind == SECTION_WHOLE) {
		*out = s->path_n == 0 ? m->data : mime_part_body(m, p);
		return true;
	}
	if (s->kind == SECTION_MIME) {
		*out = mime_part_header(m, p);
		return s->path_n > 0;
	}
	/* HEADER and TEXT are those of a message: the whole one, or the one inside a message part. */
	if (s->path_n > 0) {
		if (p->kind != MIME_MESSAGE) return false;
		p = p->first_child;
	}
	if (s->kind == SECTION_TEXT) {
		*out = mime_part_body(m, p);
	} else if (s->kind == SECTION_HEADER) {
		*out = mime_part_header(m, p);
	} else {
		chosen_fields(mime_part_header(m, p), s, scratch);
		*out = buf_str(scratch);
	}
	return true;
}

static bool can_decode(const struct mime_part *p, struct err *err)
{
	/* Multiparts and messages are never encoded (RFC 2045 6.4), whatever they say. */
	if (p->kind != MIME_LEAF || p->encoding != MIME_ENCODING_UNKNOWN) return true;
	return err_set(err, ERR_SYNTAX, "unknown content transfer encoding");
}

static enum mime_encoding encoding_of(const struct mime_part *p)
{
	return p->kind == MIME_LEAF ? p->encoding : MIME_BINARY;
}

bool mime_decode_part(const struct mime_message *m, const struct mime_part *p, size_t max, struct buf *out,
		      struct err *err)
{
	if (!can_decode(p, err)) return false;
	struct mime_decoder d;
	size_t max_before = out->max;
	out->max = max ? out->n + max : 0;
	mime_decoder_init(&d, encoding_of(p));
	mime_decoder_feed(&d, mime_part_body(m, p), out);
	mime_decoder_end(&d, out);
	bool ok = !out->failed;
	out->max = max_before;
	out->failed = false;
	return ok || err_set(err, ERR_LIMIT, "the part is too large");
}

bool mime_decoded_size(const struct mime_message *m, const struct mime_part *p, uint64_t *out,
	struct err *err)
{
	if (!can_decode(p, err)) return false;
	enum { PIECE = 1 << 16 };
	struct str body = mime_part_body(m, p);
	struct mime_decoder d;
	BUF_SCOPED b = {0};
	uint64_t n = 0;
	mime_decoder_init(&d, encoding_of(p));
	for (size_t at = 0; at < body.n; at += PIECE) {
		mime_decoder_feed(&d, str_sub(body, at, PIECE), &b);
		n += b.n;
		buf_clear(&b);
	}
	mime_decoder_end(&d, &b);
	*out = n + b.n;
	return true;
}
