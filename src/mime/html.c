/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* A walk from "<" to "<" and "&" to "&"; nothing is remembered but the place. */
#include "base/codec.h"
#include "base/scan.h"
#include "mime/text.h"

static const struct {
	const char *name;
	uint32_t cp;
} entities[] = {
	{"amp", '&'}, {"lt", '<'}, {"gt", '>'}, {"quot", '"'}, {"apos", '\''}, {"nbsp", 0xa0}, {"copy", 0xa9},
	{"reg", 0xae}, {"trade", 0x2122}, {"euro", 0x20ac}, {"cent", 0xa2}, {"pound", 0xa3}, {"yen", 0xa5},
	{"sect", 0xa7}, {"para", 0xb6}, {"deg", 0xb0}, {"plusmn", 0xb1}, {"times", 0xd7}, {"divide", 0xf7},
	{"frac12", 0xbd}, {"frac14", 0xbc}, {"middot", 0xb7}, {"bull", 0x2022}, {"hellip", 0x2026},
	{"ndash", 0x2013}, {"mdash", 0x2014}, {"lsquo", 0x2018}, {"rsquo", 0x2019}, {"sbquo", 0x201a},
	{"ldquo", 0x201c}, {"rdquo", 0x201d}, {"bdquo", 0x201e}, {"laquo", 0xab}, {"raquo", 0xbb},
	{"lsaquo", 0x2039}, {"rsaquo", 0x203a}, {"larr", 0x2190}, {"uarr", 0x2191}, {"rarr", 0x2192},
	{"darr", 0x2193}, {"shy", 0xad}, {"zwnj", 0x200c}, {"zwj", 0x200d}, {"ensp", 0x2002},
	{"emsp", 0x2003},
	{"thinsp", 0x2009}, {"iexcl", 0xa1}, {"iquest", 0xbf}, {"szlig", 0xdf}, {"aelig", 0xe6},
	{"AElig", 0xc6},
	{"oslash", 0xf8}, {"Oslash", 0xd8}, {"aring", 0xe5}, {"Aring", 0xc5}, {"ccedil", 0xe7},
	{"Ccedil", 0xc7},
	{"ntilde", 0xf1}, {"Ntilde", 0xd1}, {"agrave", 0xe0}, {"Agrave", 0xc0}, {"aacute", 0xe1},
	{"Aacute", 0xc1},
	{"acirc", 0xe2}, {"Acirc", 0xc2}, {"atilde", 0xe3}, {"Atilde", 0xc3}, {"auml", 0xe4}, {"Auml", 0xc4},
	{"egrave", 0xe8}, {"Egrave", 0xc8}, {"eacute", 0xe9}, {"Eacute", 0xc9}, {"ecirc", 0xea},
	{"Ecirc", 0xca},
	{"euml", 0xeb}, {"Euml", 0xcb}, {"igrave", 0xec}, {"iacute", 0xed}, {"Iacute", 0xcd}, {"icirc", 0xee},
	{"iuml", 0xef}, {"ograve", 0xf2}, {"oacute", 0xf3}, {"Oacute", 0xd3}, {"ocirc", 0xf4},
	{"Ocirc", 0xd4},
	{"otilde", 0xf5}, {"Otilde", 0xd5}, {"ouml", 0xf6}, {"Ouml", 0xd6}, {"ugrave", 0xf9},
	{"uacute", 0xfa},
	{"Uacute", 0xda}, {"ucirc", 0xfb}, {"uuml", 0xfc}, {"Uuml", 0xdc}, {"yacute", 0xfd}, {"yuml", 0xff},
};

static bool is_alnum(unsigned char c)
{
	return ascii_is(c, ASCII_UPPER | ASCII_LOWER | ASCII_DIGIT);
}

/* "#" digits / "#x" hex digits; what is no character becomes U+FFFD */
static bool numeric_entity(struct scan *s, uint32_t *out)
{
	struct scan t = *s;
	if (!scan_byte(&t, '#')) return false;
	uint32_t v = 0, base = scan_byte_nocase(&t, 'x') ? 16 : 10;
	const char *from = t.p;
	for (int c; (c = scan_peek(&t)) >= 0; t.p++) {
		uint32_t digit = c >= '0' && c <= '9' ? (uint32_t)c - '0' : (uint32_t)(c | 32) - 'a' + 10;
		if (!is_alnum((unsigned char)c) || digit >= base) break;
		v = v < 0x110000 ? v * base + digit : v;
	}
	if (t.p == from) return false;
	bool character = v > 0 && v < 0x110000 && !(v >= 0xd800 && v < 0xe000);
	*out = character ? v : 0xfffd;
	scan_byte(&t, ';');
	*s = t;
	return true;
}

static void entity(struct scan *s, struct buf *out)
{
	uint32_t cp;
	struct scan t = *s;
	t.p++; /* "&" */
	if (numeric_entity(&t, &cp)) {
		utf8_encode(out, cp);
		*s = t;
		return;
	}
	struct str name = scan_while(&t, is_alnum);
	bool closed = scan_byte(&t, ';');
	for (size_t i = 0; closed && i < sizeof entities / sizeof entities[0]; i++) {
		if (!str_eq(name, str_of(entities[i].name))) continue;
		utf8_encode(out, entities[i].cp);
		*s = t;
		return;
	}
	buf_byte(out, *s->p++);
}

static bool is_one_of(struct str name, const char *const *names)
{
	for (; *names; names++)
		if (str_eq_nocase(name, str_of(*names))) return true;
	return false;
}

/* Passes an attribute value; it is the view that is returned. */
static struct str attribute_value(struct scan *s)
{
	int quote = scan_peek(s);
	if (quote == '"' || quote == '\'') {
		s->p++;
		struct str v = scan_until_byte(s, (char)quote);
		scan_byte(s, (char)quote);
		return v;
	}
	const char *from = s->p;
	while (!scan_end(s) && !ascii_is((unsigned char)*s->p, ASCII_SPACE | ASCII_CTL) && *s->p != '>')
		s->p++;
	return (struct str){from, (size_t)(s->p - from)};
}

static void text_run(struct buf *out, struct str text);

/* Attributes up to and with ">"; alt is text. */
static void attributes(struct scan *s, struct buf *out)
{
	while (!scan_end(s) && !scan_byte(s, '>')) {
		struct str name = scan_while(s, is_alnum);
		if (name.n == 0) {
			s->p++;
			continue;
		}
		struct scan t = *s;
		scan_blanks(&t);
		if (!scan_byte(&t, '=')) continue;
		scan_blanks(&t);
		*s = t;
		struct str value = attribute_value(s);
		if (str_eq_nocase(name, STR("alt"))) text_run(out, value);
	}
}

/* "<script>" and its like: to the end tag, or to the end of all. */
static void skip_element(struct scan *s, struct str name)
{
	while (!scan_end(s)) {
		scan_until_byte(s, '<');
		if (!scan_byte(s, '<') || !scan_byte(s, '/')) continue;
		struct scan t = *s;
		if (!scan_lit_nocase(&t, name)) continue;
		scan_until_byte(&t, '>');
		scan_byte(&t, '>');
		*s = t;
		return;
	}
}

static void tag(struct scan *s, struct buf *out)
{
	static const char *const blocks[] = {
		"p", "div", "br", "tr", "li", "ul", "ol", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "table",
			"pre",
		"blockquote", "title", "section", "article", "dt", "dd", "option", NULL,
	};
	static const char *const cells[] = {"td", "th", NULL};
	static const char *const hidden[] = {"script", "style", NULL};
	struct scan t = *s;
	t.p++; /* "<" */
	if (scan_lit(&t, STR("!--"))) {
		size_t end = str_find(scan_rest(&t), STR("-->"));
		s->p = end == STR_NPOS ? s->end : t.p + end + 3;
		return;
	}
	bool closing = scan_byte(&t, '/');
	struct str name = scan_while(&t, is_alnum);
	if (name.n == 0 && scan_peek(&t) != '!' && scan_peek(&t) != '?') {
		buf_byte(out, *s->p++); /* "<" in text */
		return;
	}
	if (is_one_of(name, blocks)) buf_byte(out, '\n');
	else if (is_one_of(name, cells)) buf_byte(out, ' ');
	attributes(&t, out);
	*s = t;
	if (!closing && is_one_of(name, hidden)) skip_element(s, name);
}

/* Text with entities, no tags. */
static void text_run(struct buf *out, struct str text)
{
	struct scan s = scan_of(text);
	while (!scan_end(&s)) {
		buf_add(out, scan_until_byte(&s, '&'));
		if (!scan_end(&s)) entity(&s, out);
	}
}

void text_of_html(struct buf *out, struct str html)
{
	struct scan s = scan_of(html);
	while (!scan_end(&s) && !out->failed) {
		text_run(out, scan_until_byte(&s, '<'));
		if (!scan_end(&s)) tag(&s, out);
	}
}
