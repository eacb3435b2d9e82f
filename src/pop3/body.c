/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* pop3/body.c: a line at a time, found by memchr; what is between is copied as it stands. */
#include "pop3/pop3_int.h"
#include <string.h>

void pop3_body_init(struct pop3_body *s, bool limited, uint32_t lines)
{
	*s = (struct pop3_body){
		.limited = limited, .in_header = true, .lines_left = lines, .bol = true, .line_empty = true,
	};
}

/* The line that ended: does TOP need more? RFC 1939 7: the header, the blank line, then the lines. */
static void count_line(struct pop3_body *s)
{
	if (s->in_header && s->line_empty)
		s->in_header = false;
	else if (!s->in_header && s->lines_left)
		s->lines_left--;
	s->over = s->limited && !s->in_header && !s->lines_left;
}

/* All of a line, or as much as there is of it. */
static void feed_line(struct pop3_body *s, struct str text, bool ends, struct buf *out)
{
	if (s->bol && text.p[0] == '.')
		buf_byte(out, '.');
	buf_add(out, text);
	size_t n = text.n - ends;
	s->line_empty = s->line_empty && (n == 0 || (n == 1 && text.p[0] == '\r'));
	s->last = text.p[text.n - 1];
	s->bol = ends;
	if (!ends)
		return;
	count_line(s);
	s->line_empty = true;
}

void pop3_body_feed(struct pop3_body *s, struct str text, struct buf *out)
{
	while (text.n && !s->over) {
		const char *end = memchr(text.p, '\n', text.n);
		size_t n = end ? (size_t)(end - text.p) + 1 : text.n;
		feed_line(s, str_sub(text, 0, n), end != NULL, out);
		text = str_from(text, n);
	}
}

void pop3_body_end(struct pop3_body *s, struct buf *out)
{
	if (!s->bol)
		buf_add(out, s->last == '\r' ? STR("\n") : STR("\r\n"));
	buf_add(out, STR(".\r\n"));
}
