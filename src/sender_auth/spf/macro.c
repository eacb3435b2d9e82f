/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Macros (RFC 7208 section 7). One function reads the next piece of a macro string; validation and
 * expansion both walk over the pieces.
 */
#include "sender_auth/spf/spf_int.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/scan.h"

#include <arpa/inet.h>

enum { PARTS_MAX = 128, EXPANSION_MAX = 8192, DIGITS_MAX = 128 };

struct piece {
	struct str literal; /* when letter is 0 */
	char letter;        /* lower case */
	bool escape;        /* it was upper case */
	unsigned parts;     /* right-hand parts to keep; 0: all */
	bool reverse;
	struct str delimiters;
};

static bool is_delimiter(unsigned char c)
{
	return c == '.' || c == '-' || c == '+' || c == ',' || c == '/' || c == '_' || c == '=';
}

static bool is_letter(int c, enum spf_macro_kind kind)
{
	const char *letters = kind == SPF_MACRO_EXPLAIN ? "slodiphvcrt" : "slodiphv";
	return c > 0 && str_has_byte(str_of(letters), ascii_lower((char)c));
}

/* *DIGIT: none, or a number that is not 0; what is beyond any count of parts counts as all. */
static bool read_parts(struct scan *s, unsigned *out)
{
	struct str digits = scan_while_class(s, ASCII_DIGIT);
	unsigned n = 0;
	for (size_t i = 0; i < digits.n; i++)
		n = n >= DIGITS_MAX ? DIGITS_MAX : n * 10 + (unsigned)(digits.p[i] - '0');
	*out = n;
	return digits.n == 0 || n > 0;
}

/* macro-expand (7.1), behind "%" */
static bool read_macro(struct scan *s, enum spf_macro_kind kind, struct piece *out)
{
	if (scan_byte(s, '%'))
		out->literal = STR("%");
	else if (scan_byte(s, '_'))
		out->literal = STR(" ");
	else if (scan_byte(s, '-'))
		out->literal = STR("%20");
	else if (!scan_byte(s, '{') || !is_letter(scan_peek(s), kind))
		return false;
	else {
		char c = *s->p++;
		out->letter = ascii_lower(c);
		out->escape = c != out->letter;
		if (!read_parts(s, &out->parts))
			return false;
		out->reverse = scan_byte_nocase(s, 'r');
		out->delimiters = scan_while(s, is_delimiter);
		return scan_byte(s, '}');
	}
	return true;
}

static bool read_piece(struct scan *s, enum spf_macro_kind kind, struct piece *out)
{
	*out = (struct piece){0};
	if (scan_byte(s, '%'))
		return read_macro(s, kind, out);
	const char *start = s->p;
	while (s->p < s->end && *s->p != '%') {
		unsigned char c = (unsigned char)*s->p;
		if (c < (kind == SPF_MACRO_EXPLAIN ? 0x20 : 0x21) || c > 0x7e)
			return false;
		s->p++;
	}
	out->literal = (struct str){start, (size_t)(s->p - start)};
	return true;
}

/* "." toplabel [ "." ] at the end of a literal (7.1) */
static bool ends_in_toplabel(struct str s)
{
	bool alpha = false, hyphen = false;
	if (str_ends(s, STR(".")))
		s = str_sub(s, 0, s.n - 1);
	size_t i = s.n;
	for (; i > 0 && s.p[i - 1] != '.'; i--) {
		unsigned char c = (unsigned char)s.p[i - 1];
		if (!ascii_is(c, ASCII_UPPER | ASCII_LOWER | ASCII_DIGIT) && c != '-')
			return false;
		alpha = alpha || ascii_is(c, ASCII_UPPER | ASCII_LOWER);
		hyphen = hyphen || c == '-';
	}
	if (i == 0 || i == s.n || s.p[i] == '-' || s.p[s.n - 1] == '-')
		return false;
	return alpha || hyphen;
}

bool spf_macro_valid(struct str text, enum spf_macro_kind kind)
{
	struct scan s = scan_of(text);
	struct piece piece = {0};
	bool literal = true;
	while (!scan_end(&s)) {
		literal = scan_peek(&s) != '%';
		if (!read_piece(&s, kind, &piece))
			return false;
	}
	if (kind != SPF_MACRO_DOMAIN)
		return true;
	return text.n > 0 && (!literal || ends_in_toplabel(piece.literal));
}

static void put_readable_ip(struct buf *out, struct str ip)
{
	char text[INET6_ADDRSTRLEN] = "";
	inet_ntop(ip.n == 4 ? AF_INET : AF_INET6, ip.p, text, sizeof text);
	buf_add(out, str_of(text));
}

/* %{i}: IPv4 as usual, IPv6 as 32 nibbles with dots (7.3) */
static void put_dotted_ip(struct buf *out, struct str ip)
{
	if (ip.n == 4) {
		put_readable_ip(out, ip);
		return;
	}
	for (size_t i = 0; i < ip.n; i++)
		buf_fmt(out, "%s%x.%x", i ? "." : "", (unsigned char)ip.p[i] >> 4, ip.p[i] & 15);
}

bool spf_is_below(struct str name, struct str domain)
{
	if (str_ends(domain, STR(".")))
		domain = str_sub(domain, 0, domain.n - 1);
	return str_eq_nocase(name, domain) ||
	       (name.n > domain.n && name.p[name.n - domain.n - 1] == '.' && str_ends_nocase(name, domain));
}

/* %{p}: the domain itself if it is among them, else one below it, else any (7.3) */
static struct str validated_name(struct spf_run *run, struct str domain)
{
	struct str names[SPF_NAMES_MAX];
	enum dns_status ignored;
	size_t n = spf_validated_names(run, names, &ignored), best = 0;
	if (n == 0)
		return STR("unknown");
	for (size_t i = n; i-- > 0;) {
		if (spf_is_below(names[i], domain))
			best = i;
	}
	for (size_t i = 0; i < n; i++) {
		if (str_eq_nocase(names[i], domain))
			return names[i];
	}
	return names[best];
}

static void put_value(struct spf_run *run, char letter, struct str domain, struct buf *out)
{
	switch (letter) {
	case 's':
		buf_add(out, run->sender);
		break;
	case 'l':
		buf_add(out, run->local);
		break;
	case 'o':
		buf_add(out, run->sender_domain);
		break;
	case 'd':
		buf_add(out, domain);
		break;
	case 'i':
		put_dotted_ip(out, run->ip);
		break;
	case 'p':
		buf_add(out, validated_name(run, domain));
		break;
	case 'h':
		buf_add(out, run->request->helo);
		break;
	case 'v':
		buf_add(out, run->ip.n == 4 ? STR("in-addr") : STR("ip6"));
		break;
	case 'c':
		put_readable_ip(out, run->ip);
		break;
	case 'r':
		buf_add(out, run->request->receiver.n ? run->request->receiver : STR("unknown"));
		break;
	case 't':
		buf_fmt(out, "%lld", (long long)clock_wall_s());
		break;
	default:
		break;
	}
}

static bool is_unreserved(unsigned char c)
{
	return ascii_is(c, ASCII_UPPER | ASCII_LOWER | ASCII_DIGIT) || c == '-' || c == '.' || c == '_' ||
	       c == '~';
}

static void put_escaped(struct buf *out, struct str s, bool escape)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (escape && !is_unreserved(c))
			buf_fmt(out, "%%%02X", c);
		else
			buf_byte(out, (char)c);
	}
}

/* Splits at the delimiters, reverses, keeps the right-hand parts, joins with dots. More than
 * PARTS_MAX parts: those on the left stay one. */
static void put_transformed(struct buf *out, struct str value, const struct piece *m)
{
	struct str parts[PARTS_MAX], delimiters = m->delimiters.n ? m->delimiters : STR(".");
	size_t n = 0, end = value.n;
	for (size_t i = value.n; i-- > 0 && n < PARTS_MAX - 1;) {
		if (!str_has_byte(delimiters, value.p[i]))
			continue;
		parts[n++] = str_sub(value, i + 1, end - i - 1);
		end = i;
	}
	parts[n++] = str_sub(value, 0, end);
	/* parts[] is now from right to left, which is the reversed order */
	size_t keep = m->parts > 0 && m->parts < n ? m->parts : n;
	for (size_t i = 0; i < keep; i++) {
		if (i > 0)
			buf_byte(out, '.');
		/* reversed: the last of the reversed list are the first ones of the text */
		put_escaped(out, m->reverse ? parts[n - keep + i] : parts[keep - 1 - i], m->escape);
	}
}

/* 7.3: at most 253 octets, whole labels go from the left */
static struct str fit_domain(struct str s)
{
	if (str_ends(s, STR(".")))
		s = str_sub(s, 0, s.n - 1);
	while (s.n > DNS_NAME_MAX) {
		size_t dot = str_find_byte(s, '.');
		if (dot == STR_NPOS)
			break;
		s = str_from(s, dot + 1);
	}
	return s;
}

bool spf_macro_expand(struct spf_run *run, struct str text, struct str domain, enum spf_macro_kind kind,
		      struct str *out)
{
	BUF_SCOPED result = {.max = EXPANSION_MAX}, value = {0};
	struct scan s = scan_of(text);
	while (!scan_end(&s)) {
		struct piece piece;
		if (!read_piece(&s, kind, &piece))
			return false;
		if (!piece.letter) {
			buf_add(&result, piece.literal);
			continue;
		}
		if ((piece.letter == 's' || piece.letter == 'l') && !str_is_ascii(run->local))
			return false;
		buf_clear(&value);
		put_value(run, piece.letter, domain, &value);
		put_transformed(&result, buf_str(&value), &piece);
	}
	if (result.failed)
		return false;
	*out = arena_str(run->a, buf_str(&result));
	if (kind == SPF_MACRO_DOMAIN)
		*out = fit_domain(*out);
	return true;
}
