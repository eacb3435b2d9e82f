/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/fetch_section.c: where a section's octets come from: a whole message and its text straight
 * from the file, header fields from its first octets, all else from the parsed message.
 */
#include "imap/fetch_section.h"
#include "base/file.h"
#include "imap/stream.h"
#include <fcntl.h>

enum { COPY_MAX = 64 * 1024 }; /* longer ranges are left to the kernel */

static void label(struct buf *b, const struct fetch_section *f)
{
	buf_add(b, f->label);
	buf_byte(b, ' ');
}

/* The part of n octets that "<at.n>" wants. */
static void cut(const struct fetch_section *f, uint64_t *at, uint64_t *n)
{
	*at = 0;
	if (!f->partial)
		return;
	*at = f->at < *n ? f->at : *n;
	*n -= *at;
	if (*n > f->n)
		*n = f->n;
}

static void literal_header(struct buf *b, uint64_t n, bool binary)
{
	if (binary)
		buf_byte(b, '~');
	buf_byte(b, '{');
	buf_u64(b, n);
	buf_add(b, STR("}\r\n"));
}

static bool write_octets(struct imap *s, const struct fetch_section *f, struct str octets, bool is)
{
	struct buf *b = imap_out(s);
	uint64_t at, n = octets.n;

	label(b, f);
	if (!is) {
		buf_add(b, STR("NIL"));
		return true;
	}
	cut(f, &at, &n);
	octets = str_sub(octets, at, n);
	literal_header(b, n, f->how == FETCH_DECODED && str_has_byte(octets, '\0'));
	buf_add(b, octets);
	return true;
}

/* Octets start.. of the file, n of them before cutting. */
static bool write_range(struct imap *s, struct content *c, const struct fetch_section *f, uint64_t start,
			uint64_t n, bool *files, struct err *err)
{
	struct buf *b = imap_out(s);
	uint64_t at;

	cut(f, &at, &n);
	label(b, f);
	literal_header(b, n, false);
	if (n <= COPY_MAX) {
		char *p = buf_room(b, n);
		if (n && !file_pread_all(c->fd, p, n, (off_t)(start + at), err))
			return false;
		b->n += n;
		return true;
	}
	int fd = fcntl(c->fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return err_sys(err, "dup of a message");
	*files = true;
	return imap_out_file(s, fd, (off_t)(start + at), n, err);
}

static bool write_whole(struct imap *s, struct content *c, const struct fetch_section *f, bool *files,
			struct err *err)
{
	return content_open(c, err) && write_range(s, c, f, 0, c->file_size, files, err);
}

static bool write_body_text(struct imap *s, struct content *c, const struct fetch_section *f, bool *files,
			    struct err *err)
{
	struct str header;

	return content_header(c, &header, err) && content_open(c, err) &&
	       write_range(s, c, f, header.n, c->file_size - header.n, files, err);
}

/* A header parsed on its own is a message without a body. */
static bool write_header(struct imap *s, struct content *c, const struct fetch_section *f, struct err *err)
{
	BUF_SCOPED scratch = {};
	struct str header, out = STR_NONE;

	if (!content_header(c, &header, err))
		return false;
	if (f->section.kind == SECTION_HEADER)
		return write_octets(s, f, header, true);
	struct mime_message *m = mime_parse(s->scratch, header);
	bool is = mime_section(m, &f->section, &scratch, &out);
	return write_octets(s, f, out, is);
}

static bool write_section(struct imap *s, struct content *c, const struct fetch_section *f, struct err *err)
{
	BUF_SCOPED scratch = {};
	const struct mime_message *m;
	struct str out = STR_NONE;

	if (!content_mime(c, &m, err))
		return false;
	bool is = mime_section(m, &f->section, &scratch, &out);
	return write_octets(s, f, out, is);
}

/* RFC 3516 4.2: what has parts has no encoding of its own and stays as it is. */
static bool write_decoded(struct imap *s, struct content *c, const struct fetch_section *f, struct err *err)
{
	BUF_SCOPED decoded = {};
	const struct mime_message *m;
	struct buf *b = imap_out(s);
	uint64_t size = 0;

	if (!content_mime(c, &m, err))
		return false;
	const struct mime_part *p = mime_find(m, f->section.path, f->section.path_n);
	bool leaf = p && f->section.path_n && p->kind == MIME_LEAF;
	struct str raw = !p ? STR_NONE : !f->section.path_n ? m->data : mime_part_body(m, p);
	if (f->how == FETCH_DECODED_SIZE) {
		if (leaf && !mime_decoded_size(m, p, &size, err))
			return false;
		label(b, f);
		buf_u64(b, leaf ? size : raw.n);
		return true;
	}
	if (!leaf)
		return write_octets(s, f, raw, p != NULL);
	return mime_decode_part(m, p, 0, &decoded, err) && write_octets(s, f, buf_str(&decoded), true);
}

bool fetch_section_write(struct imap *s, struct content *c, const struct fetch_section *f, bool *files,
			 struct err *err)
{
	if (f->how != FETCH_OCTETS)
		return write_decoded(s, c, f, err);
	if (f->section.path_n)
		return write_section(s, c, f, err);
	switch (f->section.kind) {
	case SECTION_WHOLE:
		return write_whole(s, c, f, files, err);
	case SECTION_TEXT:
		return write_body_text(s, c, f, files, err);
	case SECTION_HEADER:
	case SECTION_HEADER_FIELDS:
	case SECTION_HEADER_FIELDS_NOT:
		return write_header(s, c, f, err);
	case SECTION_MIME:
		break;
	}
	return write_section(s, c, f, err);
}
