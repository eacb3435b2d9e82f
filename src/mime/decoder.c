/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Content transfer decoding, cut anywhere: what cannot be decided yet is held. base64 holds up to
 * three characters, quoted-printable "=..." or blanks before a line end, uuencode its line.
 */
#include "mime/part.h"
#include "base/buf.h"
#include <string.h>

void mime_decoder_init(struct mime_decoder *d, enum mime_encoding encoding)
{
	memset(d, 0, sizeof *d);
	d->encoding = encoding;
}

/* 0-63; 64 "="; 65 blank; 66 anything else. */
static const unsigned char base64_values[256] = {
	66, 66, 66, 66, 66, 66, 66, 66, 66, 65, 65, 66, 66, 65, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66,
	66, 66, 66, 66, 66, 66, 66, 66, 65, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 62, 66, 66, 66, 63,
	52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 66, 66, 66, 64, 66, 66, 66, 0, 1, 2, 3, 4, 5, 6,
	7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 66, 66, 66, 66, 66,
	66, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48,
	49, 50, 51, [123 ... 255] = 66,
};

static unsigned char base64_value(unsigned char c)
{
	return base64_values[c];
}

/* The octets of an unfinished group of characters. */
static void base64_flush(struct mime_decoder *d, struct buf *out)
{
	if (d->n >= 2) buf_byte(out, (char)(d->bits >> (d->n == 2 ? 4 : 10)));
	if (d->n == 3) buf_byte(out, (char)(d->bits >> 2));
	if (d->n == 1) d->damaged = true;
	d->n = 0;
	d->bits = 0;
}

/* Near the limit of out: octet by octet, so that what fits is there. */
static void base64_feed_slowly(struct mime_decoder *d, struct str in, struct buf *out)
{
	for (size_t i = 0; i < in.n && !out->failed; i++) {
		unsigned char v = base64_value((unsigned char)in.p[i]);
		if (v == 66) d->damaged = true;
		if (v == 64) base64_flush(d, out);
		if (v >= 64) continue;
		d->bits = d->bits << 6 | v;
		if (++d->n < 4) continue;
		for (int shift = 16; shift >= 0; shift -= 8) buf_byte(out, (char)(d->bits >> shift));
		d->n = 0;
		d->bits = 0;
	}
}

static void base64_feed(struct mime_decoder *d, struct str in, struct buf *out)
{
	/* Never more than three octets for four characters. */
	size_t most = in.n / 4 * 3 + 6;
	char *to = out->max == 0 || (out->n < out->max && most <= out->max - out->n) ? buf_room(out, most)
		: NULL;
	if (!to) {
		base64_feed_slowly(d, in, out);
		return;
	}
	uint32_t bits = d->bits;
	unsigned n = d->n;
	for (size_t i = 0; i < in.n; i++) {
		unsigned char v = base64_values[(unsigned char)in.p[i]];
		if (v < 64) {
			bits = bits << 6 | v;
			if (++n < 4) continue;
			to[0] = (char)(bits >> 16);
			to[1] = (char)(bits >> 8);
			to[2] = (char)bits;
			to += 3;
			n = 0;
			bits = 0;
		} else if (v == 64) {
			d->bits = bits;
			d->n = n;
			out->n = (size_t)(to - out->p);
			base64_flush(d, out);
			to = out->p + out->n;
			n = 0;
			bits = 0;
		} else if (v == 66) {
			d->damaged = true;
		}
	}
	d->bits = bits;
	d->n = n;
	out->n = (size_t)(to - out->p);
}

static int hex_value(int c)
{
	if (c >= '0' && c <= '9') return c - '0';
	if (c >= 'A' && c <= 'F') return c - 'A' + 10;
	if (c >= 'a' && c <= 'f') return c - 'a' + 10;
	return -1;
}

static void qp_flush(struct mime_decoder *d, struct buf *out)
{
	buf_add_bytes(out, d->held, d->held_n);
	d->held_n = 0;
}

static bool qp_hold(struct mime_decoder *d, char c, struct buf *out)
{
	if (d->held_n == sizeof d->held) qp_flush(d, out); /* longer than any line may be: it is text */
	d->held[d->held_n++] = c;
	return true;
}

/* With something held: true when c is used up. */
static bool qp_continue(struct mime_decoder *d, char c, struct buf *out)
{
	char last = d->held[d->held_n - 1];
	bool escape = d->held[0] == '=';
	if (c == '\n') {
		/* Soft line break, or blanks before a line end, which are not there (RFC 2045 6.7 (3)). */
		bool text = escape && d->held_n == 2 && hex_value(last) >= 0, cr = last == '\r';
		if (text) qp_flush(d, out);
		d->held_n = 0;
		if (!escape || text) buf_add(out, cr ? STR("\r\n") : STR("\n"));
		return true;
	}
	if (last == '\r') {
		qp_flush(d, out);
		return false;
	}
	if (escape && d->held_n == 1 && hex_value(c) >= 0) return qp_hold(d, c, out);
	if (escape && d->held_n == 2 && hex_value(last) >= 0) {
		if (hex_value(c) >= 0) {
			d->held_n = 0;
			buf_byte(out, (char)(hex_value(last) << 4 | hex_value(c)));
			return true;
		}
		d->damaged = true;
		qp_flush(d, out);
		return false;
	}
	if (c == ' ' || c == '\t' || c == '\r') return qp_hold(d, c, out);
	if (escape) d->damaged = true;
	qp_flush(d, out);
	return false;
}

static void qp_feed(struct mime_decoder *d, struct str in, struct buf *out)
{
	size_t i = 0;
	while (i < in.n && !out->failed) {
		char c = in.p[i];
		if (d->held_n > 0) {
			if (qp_continue(d, c, out)) i++;
			continue;
		}
		size_t from = i;
		while (i < in.n && (c = in.p[i]) != '=' && c != ' ' && c != '\t') i++;
		buf_add_bytes(out, in.p + from, i - from);
		if (i < in.n) qp_hold(d, in.p[i++], out);
	}
}

static void qp_end(struct mime_decoder *d, struct buf *out)
{
	/* "=" at the very end is a soft line break, blanks there are not there. */
	bool text = d->held_n == 2 && d->held[0] == '=' && hex_value(d->held[1]) >= 0;
	if (text) qp_flush(d, out);
	d->held_n = 0;
}

enum { UU_BEFORE, UU_INSIDE, UU_AFTER };

static unsigned uu_value(char c)
{
	return ((unsigned char)c - 32u) & 63;
}

/* Length character, then groups of four; trailing blanks may have been cut off. */
static void uu_line(struct mime_decoder *d, struct str line, struct buf *out)
{
	if (d->state == UU_BEFORE) {
		if (str_starts(line, STR("begin "))) d->state = UU_INSIDE;
		return;
	}
	if (d->state != UU_INSIDE || line.n == 0) return;
	if (str_eq(str_trim(line), STR("end"))) {
		d->state = UU_AFTER;
		return;
	}
	unsigned n = uu_value(line.p[0]);
	if (line.p[0] < 32 || line.p[0] > 96) {
		d->damaged = true;
		return;
	}
	for (size_t i = 1; n > 0; i += 4) {
		uint32_t bits = 0;
		for (size_t k = i; k < i + 4; k++) bits = bits << 6 | (k < line.n ? uu_value(line.p[k]) : 0);
		for (int shift = 16; shift >= 0 && n > 0; shift -= 8, n--)
			buf_byte(out, (char)(bits >> shift));
	}
}

static void uu_feed(struct mime_decoder *d, struct str in, struct buf *out)
{
	for (size_t i = 0; i < in.n; i++) {
		char c = in.p[i];
		if (c == '\n') {
			uu_line(d, (struct str){d->held, d->held_n}, out);
			d->held_n = 0;
		} else if (c != '\r' && d->held_n < sizeof d->held) {
			d->held[d->held_n++] = c;
		}
	}
}

void mime_decoder_feed(struct mime_decoder *d, struct str in, struct buf *out)
{
	switch (d->encoding) {
	case MIME_BASE64: base64_feed(d, in, out); return;
	case MIME_QP: qp_feed(d, in, out); return;
	case MIME_UUENCODE: uu_feed(d, in, out); return;
	case MIME_7BIT:
	case MIME_8BIT:
	case MIME_BINARY:
	case MIME_ENCODING_UNKNOWN: break;
	}
	buf_add(out, in);
}

void mime_decoder_end(struct mime_decoder *d, struct buf *out)
{
	if (d->encoding == MIME_BASE64) {
		base64_flush(d, out);
	} else if (d->encoding == MIME_QP) {
		qp_end(d, out);
	} else if (d->encoding == MIME_UUENCODE) {
		uu_line(d, (struct str){d->held, d->held_n}, out);
		d->held_n = 0;
	}
}
