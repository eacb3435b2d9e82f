/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/reader.c: a machine of five modes. Throwing away keeps the first line of the command, so
 * that its tag can be answered.
 */
#include "imap/reader.h"
#include "base/secret.h"
#include <string.h>

enum mode {
	LINE,          /* collecting a line */
	LITERAL,       /* collecting a literal's octets */
	DIVERTED,      /* the caller takes them */
	DROP_LINE,     /* throwing away up to the line end */
	DROP_LITERAL,  /* throwing away octets, then a line */
};

void reader_init(struct reader *r, size_t max) { *r = (struct reader){.max = max, .mode = LINE}; }

void reader_done(struct reader *r)
{
	if (r->text.p)
		secret_wipe(r->text.p, r->text.n);
	buf_free(&r->text);
	reader_init(r, r->max);
}

void reader_fini(struct reader *r) { reader_done(r); }

/* The end of the last line without CRLF. */
static struct str line_without_end(struct str line)
{
	line.n--;
	if (line.n && line.p[line.n - 1] == '\r')
		line.n--;
	return line;
}

/* A whole line is in text, its end included. */
static enum reader_event line_complete(struct reader *r)
{
	struct str line = line_without_end(str_from(buf_str(&r->text), r->line_at));

	if (!r->plain && literal_at_end(line, &r->literal, &r->literal_start)) {
		r->literal_start += r->line_at;
		return READER_LITERAL;
	}
	r->text.n = r->line_at + line.n;
	return READER_COMMAND;
}

static void take(struct reader *r, struct str *in, size_t n)
{
	buf_add(&r->text, str_sub(*in, 0, n));
	*in = str_from(*in, n);
}

static void keep_tail(struct reader *r, struct str s)
{
	size_t keep = sizeof(r->tail);

	if (s.n >= keep) {
		s = str_from(s, s.n - keep);
		r->tail_n = 0;
	} else if (r->tail_n + s.n > keep) {
		size_t off = r->tail_n + s.n - keep;
		memmove(r->tail, r->tail + off, r->tail_n - off);
		r->tail_n -= (unsigned)off;
	}
	if (s.n)
		memcpy(r->tail + r->tail_n, s.p, s.n);
	r->tail_n += (unsigned)s.n;
}

static void start_drop_line(struct reader *r)
{
	r->mode = DROP_LINE;
	r->tail_n = 0;
	keep_tail(r, str_from(buf_str(&r->text), r->line_at));
}

static enum reader_event feed_line(struct reader *r, struct str *in)
{
	size_t end = str_find_byte(*in, '\n');
	size_t n = end == STR_NPOS ? in->n : end + 1;

	if (n > r->max - r->text.n) {
		take(r, in, r->max - r->text.n);
		start_drop_line(r);
		return READER_MORE;
	}
	take(r, in, n);
	return end == STR_NPOS ? READER_MORE : line_complete(r);
}

/* Past the limit: the line is thrown away, and a literal behind it too if it comes unasked, else it
 * would be read as commands. */
static enum reader_event drop_line(struct reader *r, struct str *in)
{
	size_t end = str_find_byte(*in, '\n');
	struct literal next;
	size_t at;

	if (end == STR_NPOS) {
		keep_tail(r, *in);
		*in = str_from(*in, in->n);
		return READER_MORE;
	}
	keep_tail(r, str_sub(*in, 0, end + 1));
	*in = str_from(*in, end + 1);
	struct str tail = line_without_end((struct str){r->tail, r->tail_n});
	if (!r->plain && literal_at_end(tail, &next, &at) && next.nonsync && !next.too_big) {
		r->left = next.n;
		r->mode = next.n ? DROP_LITERAL : DROP_LINE;
		r->tail_n = 0;
		return READER_MORE;
	}
	size_t first = str_find_byte(buf_str(&r->text), '\n');
	if (first != STR_NPOS)
		r->text.n = line_without_end(str_sub(buf_str(&r->text), 0, first + 1)).n;
	return READER_TOO_LONG;
}

enum reader_event reader_feed(struct reader *r, struct str input, size_t *out_used)
{
	struct str in = input;
	enum reader_event e = READER_MORE;

	while (in.n && e == READER_MORE) {
		size_t n = r->left < in.n ? (size_t)r->left : in.n;
		switch ((enum mode)r->mode) {
		case LINE:
			e = feed_line(r, &in);
			break;
		case LITERAL:
			take(r, &in, n);
			r->left -= n;
			if (!r->left) {
				r->mode = LINE;
				r->line_at = r->text.n;
			}
			break;
		case DIVERTED:
			*out_used = input.n - in.n;
			return READER_MORE;
		case DROP_LINE:
			e = drop_line(r, &in);
			break;
		case DROP_LITERAL:
			in = str_from(in, n);
			r->left -= n;
			if (!r->left) {
				r->mode = DROP_LINE;
				r->tail_n = 0;
			}
			break;
		}
	}
	*out_used = input.n - in.n;
	return e;
}

static void start_literal(struct reader *r, enum mode mode)
{
	r->left = r->literal.n;
	r->mode = mode;
}

bool reader_accept(struct reader *r)
{
	if (r->literal.too_big || r->literal.n > r->max - r->text.n)
		return false;
	start_literal(r, LITERAL);
	if (!r->left) {
		r->mode = LINE;
		r->line_at = r->text.n;
	}
	return true;
}

void reader_divert(struct reader *r) { start_literal(r, DIVERTED); }

void reader_diverted(struct reader *r)
{
	r->left = 0;
	r->mode = LINE;
	r->line_at = r->text.n;
}

void reader_refuse(struct reader *r)
{
	if (!r->literal.nonsync) {
		reader_done(r);
		return;
	}
	r->tail_n = 0;
	start_literal(r, r->literal.n ? DROP_LITERAL : DROP_LINE);
}
