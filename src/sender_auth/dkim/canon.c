/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Canonical forms (RFC 6376 3.4). The body goes through a small state machine that holds back what
 * may turn out to be trailing: line ends, and in relaxed form blanks.
 */
#include "sender_auth/dkim/dkim_int.h"
#include "base/arena.h"
#include "base/mem.h"
#include "crypto/hash.h"

#include <stdlib.h>
#include <string.h>

bool dkim_fields_read(struct arena *a, struct str header, struct dkim_fields *out, struct err *err)
{
	struct scan s = scan_of(header);
	struct header_field f;
	size_t cap = 0;
	*out = (struct dkim_fields){0};
	if (header.n > DKIM_HEADER_MAX)
		return err_set(err, ERR_LIMIT, "the header is longer than %d octets", DKIM_HEADER_MAX);
	while (header_next(&s, &f)) {
		if (out->n == DKIM_FIELDS_MAX)
			return err_set(err, ERR_LIMIT, "more than %d header fields", DKIM_FIELDS_MAX);
		out->at = arena_grow(a, out->at, out->n, &cap, sizeof *out->at);
		out->at[out->n++] = f;
	}
	return true;
}

/* What stands between the colon and the end of the field. */
static struct str raw_value(const struct header_field *f)
{
	struct str v = str_from(f->raw, f->name.n);
	return str_from(v, str_find_byte(v, ':') + 1);
}

static struct str without_line_end(struct str s)
{
	if (str_ends(s, STR("\n")))
		s.n--;
	if (str_ends(s, STR("\r")))
		s.n--;
	return s;
}

/* Unfolds, turns runs of blanks into one space, and leaves none at the ends: *pending and *started
 * go on from one piece to the next. */
static void put_relaxed(struct buf *out, struct str s, bool *pending, bool *started)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		bool line_end = c == '\n' || (c == '\r' && i + 1 < s.n && s.p[i + 1] == '\n');
		if (c == ' ' || c == '\t') {
			*pending = true;
			continue;
		}
		if (line_end)
			continue;
		if (*pending && *started)
			buf_byte(out, ' ');
		*pending = false;
		*started = true;
		buf_byte(out, c);
	}
}

static void put_name(struct buf *out, const struct header_field *f)
{
	for (size_t i = 0; i < f->name.n; i++)
		buf_byte(out, ascii_lower(f->name.p[i]));
	buf_byte(out, ':');
}

void dkim_canon_field(struct buf *out, const struct header_field *f, enum dkim_canon canon)
{
	bool pending = false, started = false;
	if (canon == DKIM_SIMPLE) {
		buf_add(out, without_line_end(f->raw));
	} else {
		put_name(out, f);
		put_relaxed(out, without_line_end(raw_value(f)), &pending, &started);
	}
	buf_add(out, STR("\r\n"));
}

void dkim_canon_signature(struct buf *out, const struct header_field *f, struct str b_whole,
			  enum dkim_canon canon)
{
	bool pending = false, started = false;
	struct str raw = without_line_end(f->raw), value = without_line_end(raw_value(f));
	struct str *from = canon == DKIM_SIMPLE ? &raw : &value;
	size_t at = (size_t)(b_whole.p - from->p);
	struct str before = str_sub(*from, 0, at), after = str_from(*from, at + b_whole.n);
	if (canon == DKIM_SIMPLE) {
		buf_add(out, before);
		buf_add(out, after);
		return;
	}
	put_name(out, f);
	put_relaxed(out, before, &pending, &started);
	put_relaxed(out, after, &pending, &started);
}

void dkim_canon_header(struct buf *out, struct arena *a, const struct dkim_fields *fields,
		       const struct str *names, size_t n, enum dkim_canon canon)
{
	bool *used = arena_zalloc(a, fields->n + 1);
	for (size_t i = 0; i < n; i++) {
		for (size_t k = fields->n; k-- > 0;) {
			if (used[k] || !str_eq_nocase(fields->at[k].name, names[i]))
				continue;
			used[k] = true;
			dkim_canon_field(out, &fields->at[k], canon);
			break;
		}
	}
}

enum { BODY_CHUNK = 4096 };

struct dkim_body {
	struct hash *hash;
	enum dkim_canon canon;
	uint64_t limit, length; /* length: octets of the canonical body so far */
	uint64_t line_ends;     /* held back */
	bool blank, cr;         /* held back: blanks (relaxed), a CR that may begin a line end */
	size_t n;
	char out[BODY_CHUNK];
};

struct dkim_body *dkim_body_new(enum dkim_canon canon, uint64_t limit)
{
	struct dkim_body *b = mem_new(struct dkim_body);
	b->hash = hash_new(HASH_SHA256);
	b->canon = canon;
	b->limit = limit;
	return b;
}

void dkim_body_free(struct dkim_body *b)
{
	if (!b)
		return;
	hash_free(b->hash);
	free(b);
}

static void flush(struct dkim_body *b)
{
	uint64_t hashed = b->length - b->n;
	uint64_t left = hashed < b->limit ? b->limit - hashed : 0;
	hash_add(b->hash, (struct str){b->out, b->n < left ? b->n : (size_t)left});
	b->n = 0;
}

static inline void put(struct dkim_body *b, char c)
{
	if (b->n == BODY_CHUNK)
		flush(b);
	b->out[b->n++] = c;
	b->length++;
}

static inline void put_held(struct dkim_body *b)
{
	for (; b->line_ends > 0; b->line_ends--) {
		put(b, '\r');
		put(b, '\n');
	}
	if (b->blank)
		put(b, ' ');
	b->blank = false;
}

static inline void put_octet(struct dkim_body *b, char c)
{
	if (b->canon == DKIM_RELAXED && (c == ' ' || c == '\t')) {
		b->blank = true;
		return;
	}
	put_held(b);
	put(b, c);
}

/* How many octets from p on are plain: nothing to hold back, nothing to change. */
static size_t plain_run(const char *p, size_t n, enum dkim_canon canon)
{
	size_t i = 0;
	if (canon == DKIM_SIMPLE) {
		const char *cr = memchr(p, '\r', n);
		return cr ? (size_t)(cr - p) : n;
	}
	while (i < n && p[i] != '\r' && p[i] != ' ' && p[i] != '\t')
		i++;
	return i;
}

static void put_run(struct dkim_body *b, const char *p, size_t n)
{
	put_held(b);
	while (n > 0) {
		if (b->n == BODY_CHUNK)
			flush(b);
		size_t some = n < BODY_CHUNK - b->n ? n : BODY_CHUNK - b->n;
		memcpy(b->out + b->n, p, some);
		b->n += some;
		b->length += some;
		p += some;
		n -= some;
	}
}

void dkim_body_add(struct dkim_body *b, struct str chunk)
{
	for (size_t i = 0; i < chunk.n;) {
		char c = chunk.p[i];
		if (b->cr) {
			b->cr = false;
			if (c == '\n') {
				b->line_ends++;
				b->blank = false;
				i++;
				continue;
			}
			put_octet(b, '\r');
		}
		size_t run = plain_run(chunk.p + i, chunk.n - i, b->canon);
		if (run > 0) {
			put_run(b, chunk.p + i, run);
			i += run;
			continue;
		}
		if (c == '\r')
			b->cr = true;
		else
			put_octet(b, c);
		i++;
	}
}

void dkim_body_end(struct dkim_body *b, unsigned char out[32], uint64_t *out_length)
{
	if (b->cr)
		put_octet(b, '\r');
	b->cr = b->blank = false;
	b->line_ends = b->length > 0 || b->canon == DKIM_SIMPLE;
	put_held(b);
	flush(b);
	hash_end(b->hash, out);
	*out_length = b->length;
}

void dkim_to_crlf(struct str text, struct buf *out)
{
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] == '\n' && (i == 0 || text.p[i - 1] != '\r'))
			buf_byte(out, '\r');
		buf_byte(out, text.p[i]);
	}
}
