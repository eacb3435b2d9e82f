/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "smtp/reply.h"
#include "base/codec.h"
#include <stdio.h>

enum { LINE_MAX_BYTES = 510 };

/* What was added since at becomes one clean line. */
static void finish(struct buf *out, size_t at)
{
	if (out->n - at > LINE_MAX_BYTES)
		out->n = at + LINE_MAX_BYTES;
	for (size_t i = at; i < out->n; i++)
		if (ascii_is((unsigned char)out->p[i], ASCII_CTL) || (unsigned char)out->p[i] > 0x7e)
			out->p[i] = '?';
	buf_add(out, STR("\r\n"));
}

static void add_formatted(struct buf *out, const char *fmt, va_list ap)
{
	char text[LINE_MAX_BYTES + 1];
	int n = vsnprintf(text, sizeof text, fmt, ap);
	buf_add_bytes(out, text, n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

void smtp_reply(struct buf *out, unsigned code, const char *status, const char *fmt, ...)
{
	size_t at = out->n;
	va_list ap;
	buf_u64(out, code);
	buf_byte(out, ' ');
	if (status) {
		buf_add(out, str_of(status));
		buf_byte(out, ' ');
	}
	va_start(ap, fmt);
	add_formatted(out, fmt, ap);
	va_end(ap);
	finish(out, at);
}

void smtp_reply_line(struct buf *out, unsigned code, enum smtp_reply_more more, const char *fmt, ...)
{
	size_t at = out->n;
	va_list ap;
	buf_u64(out, code);
	buf_byte(out, more == SMTP_REPLY_MORE ? '-' : ' ');
	va_start(ap, fmt);
	add_formatted(out, fmt, ap);
	va_end(ap);
	finish(out, at);
}

void smtp_reply_outcome(struct buf *out, enum outcome o, struct str extra)
{
	size_t at = out->n;
	outcome_reply(out, o, extra);
	finish(out, at);
}

void smtp_reply_challenge(struct buf *out, struct str challenge)
{
	buf_add(out, STR("334 "));
	base64_encode(out, challenge);
	buf_add(out, STR("\r\n"));
}
