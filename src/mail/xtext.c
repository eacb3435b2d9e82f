/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Encodings of values in DSN parameters: xtext (RFC 3461 4) and the two of RFC 6533 3. What is
 * decoded ends up in header fields, so control characters are refused here already.
 */
#include "base/arena.h"
#include "base/codec.h"
#include "mail/address.h"

static const char hex_digits[] = "0123456789ABCDEF";

/* RFC 3461: "hexchar = ASCII "+" immediately followed by two upper case hexadecimal digits" */
static int hex_upper(int c)
{
	if (c >= '0' && c <= '9') return c - '0';
	if (c >= 'A' && c <= 'F') return c - 'A' + 10;
	return -1;
}

/* xchar = any ASCII CHAR between "!" (33) and "~" (126) inclusive, except for "+" and "=" */
static bool is_xchar(unsigned char c)
{
	return c >= '!' && c <= '~' && c != '+' && c != '=';
}

void xtext_encode(struct buf *out, struct str in)
{
	for (size_t i = 0; i < in.n; i++) {
		unsigned char c = (unsigned char)in.p[i];
		if (is_xchar(c)) {
			buf_byte(out, (char)c);
		} else {
			buf_byte(out, '+');
			buf_byte(out, hex_digits[c >> 4]);
			buf_byte(out, hex_digits[c & 15]);
		}
	}
}

bool xtext_decode(struct arena *a, struct str in, struct str *out, struct err *err)
{
	char *p = arena_alloc(a, in.n + 1);
	size_t n = 0;
	struct scan s = scan_of(in);
	while (!scan_end(&s)) {
		int c = scan_peek(&s);
		if (c == '+') {
			int high = hex_upper(scan_peek_at(&s, 1)), low = hex_upper(scan_peek_at(&s, 2));
			if (high < 0 || low < 0 || !scan_skip(&s, 3))
				return err_set(err, ERR_SYNTAX, "bad xtext");
			c = high << 4 | low;
			if (c < 0x20 || c == 0x7f)
				return err_set(err, ERR_SYNTAX, "control character in xtext");
		} else if (!is_xchar((unsigned char)c) || !scan_skip(&s, 1)) {
			return err_set(err, ERR_SYNTAX, "bad xtext");
		}
		p[n++] = (char)c;
	}
	*out = (struct str){p, n};
	return true;
}

/* QCHAR = %x21-2a / %x2c-3c / %x3e-5b / %x5d-7e (RFC 6533 3) */
static bool is_qchar(uint32_t c)
{
	return c >= 0x21 && c <= 0x7e && c != '+' && c != '=' && c != '\\';
}

/* EmbeddedUnicodeChar = %x5C.78 "{" HEXPOINT "}" */
static bool scan_embedded(struct scan *s, uint32_t *out)
{
	struct scan t = *s;
	uint32_t cp = 0;
	int digits = 0;
	if (!scan_lit(&t, STR("\\x{"))) return false;
	for (int d; (d = hex_upper(scan_peek(&t))) >= 0; digits++) {
		if (digits == 6 || !scan_skip(&t, 1)) return false;
		cp = cp << 4 | (uint32_t)d;
	}
	if (digits < 2 || !scan_byte(&t, '}')) return false;
	*out = cp;
	*s = t;
	return true;
}

bool utf8_addr_decode(struct arena *a, struct str in, struct str *out, struct err *err)
{
	BUF_SCOPED b = {0};
	struct scan s = scan_of(in);
	while (!scan_end(&s)) {
		uint32_t cp;
		if (scan_embedded(&s, &cp)) {
			if (cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || cp > 0x10ffff ||
				(cp >= 0xd800 && cp <= 0xdfff))
				return err_set(err, ERR_SYNTAX, "bad character in utf-8 address");
		} else {
			size_t n = utf8_decode(scan_rest(&s), &cp);
			if (n == 0 || !(is_qchar(cp) || cp >= 0xa0) || !scan_skip(&s, n))
				return err_set(err, ERR_SYNTAX, "bad character in utf-8 address");
		}
		utf8_encode(&b, cp);
	}
	*out = arena_str(a, buf_str(&b));
	return true;
}

void utf8_addr_encode(struct buf *out, struct str in, bool ascii_only)
{
	struct scan s = scan_of(in);
	while (!scan_end(&s)) {
		uint32_t cp;
		size_t n = utf8_decode(scan_rest(&s), &cp);
		if (n == 0) {
			cp = 0xfffd;
			n = 1;
		}
		if (is_qchar(cp) || (cp >= 0xa0 && !ascii_only)) utf8_encode(out, cp);
		else buf_fmt(out, "\\x{%02X}", (unsigned)cp);
		if (!scan_skip(&s, n)) return;
	}
}
