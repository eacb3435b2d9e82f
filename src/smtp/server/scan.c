/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Text of a message on its way in: dots removed, the end found, line ends looked at.
 *
 * Only CRLF ends a line and only CRLF.CRLF ends the data (RFC 5321 4.1.1.4; the first CRLF may be that
 * of the DATA command). A line is searched for LF and CR with memchr, whole runs are appended.
 * A CR at the end of what is there is left for the next call, so no state but "at the start of a
 * line" is carried over.
 */
#include "smtp/server/server_int.h"
#include <string.h>

struct run {
	struct smtp_text *t;
	struct buf *out;
	const char *from; /* not appended yet */
};

static void flush(struct run *r, const char *to)
{
	struct str s = {r->from, (size_t)(to - r->from)};
	r->from = to;
	if (s.n == 0)
		return;
	if (!memchr(s.p, 0, s.n)) {
		buf_add(r->out, s);
		return;
	}
	r->t->bare = true;
	if (!r->t->normalise) {
		buf_add(r->out, s);
		return;
	}
	for (struct str rest = s; rest.p;)
		buf_add(r->out, str_cut(&rest, 0));
}

/* A CR or LF alone, at p. */
static void alone(struct run *r, const char *p)
{
	r->t->bare = true;
	if (!r->t->normalise)
		return;
	flush(r, p);
	buf_add(r->out, STR("\r\n"));
	r->from = p + 1;
}

static void line_more(struct smtp_text *t, size_t n)
{
	t->line += n;
	if (t->line > t->longest)
		t->longest = t->line;
}

/* Looks at [p, end) up to and with the next line end. Returns where to go on; *out_open: no line end
 * was there, or the last octet is a CR whose fellow has not come. */
static const char *scan_line(struct run *r, const char *p, const char *end, bool *out_open)
{
	const char *lf = memchr(p, '\n', (size_t)(end - p));
	const char *stop = lf ? lf : end;
	const char *cr = memchr(p, '\r', (size_t)(stop - p));
	*out_open = false;
	while (cr) {
		if (lf && cr + 1 == lf) {
			line_more(r->t, (size_t)(lf + 1 - p));
			r->t->line = 0;
			r->t->line_start = true;
			return lf + 1;
		}
		if (cr + 1 == end) {
			line_more(r->t, (size_t)(cr - p));
			*out_open = true;
			return cr;
		}
		alone(r, cr);
		cr = memchr(cr + 1, '\r', (size_t)(stop - cr - 1));
	}
	if (lf) {
		alone(r, lf);
		stop = lf + 1;
	} else {
		*out_open = true;
	}
	line_more(r->t, (size_t)(stop - p));
	return stop;
}

size_t smtp_text_scan(struct smtp_text *t, struct str in, struct buf *out, bool *out_end)
{
	const char *p = in.p, *end = in.p + in.n;
	struct run r = {t, out, p};
	bool open = false;
	*out_end = false;
	while (p < end && !open) {
		if (t->line_start && *p == '.') {
			size_t left = (size_t)(end - p);
			if (left < 2 || (left < 3 && p[1] == '\r'))
				break;
			flush(&r, p);
			if (p[1] == '\r' && p[2] == '\n') {
				*out_end = true;
				return (size_t)(p + 3 - in.p);
			}
			r.from = ++p; /* RFC 5321 4.5.2: the first dot goes */
		}
		t->line_start = false;
		p = scan_line(&r, p, end, &open);
	}
	flush(&r, p);
	return (size_t)(p - in.p);
}

/* The CR that ended the chunk before, appended already, and what follows it. */
static const char *after_cr(struct run *r, const char *p)
{
	r->t->cr = false;
	if (*p != '\n') {
		r->t->bare = true;
		if (r->t->normalise)
			buf_byte(r->out, '\n');
		return p;
	}
	r->t->line = 0;
	return p + 1;
}

size_t smtp_text_chunk(struct smtp_text *t, struct str in, bool ends, struct buf *out)
{
	const char *p = in.p, *end = in.p + in.n;
	struct run r = {t, out, p};
	bool open = false;
	if (t->cr && p < end)
		p = after_cr(&r, p);
	while (p < end && !open)
		p = scan_line(&r, p, end, &open);
	if (p < end && ends) {
		t->cr = true;
		line_more(t, 1);
		p = end;
	}
	flush(&r, p);
	return (size_t)(p - in.p);
}
