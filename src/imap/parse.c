/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/parse.c: strings, numbers, mailbox names, flags and dates of commands. Sets are in
 * parse_set.c. Rules are quoted from RFC 9051 section 9.
 */
#include "imap/parse.h"
#include "base/buf.h"
#include "base/codec.h"
#include "mail/date.h"
#include "mime/text.h"
#include "mime/words.h"
#include <string.h>

struct parse parse_of(struct str text, struct arena *a, bool utf8)
{
	struct scan s = scan_of(text);

	return (struct parse){.s = s, .a = a, .utf8 = utf8, .why = "Unknown syntax", .why_at = s.p};
}

bool parse_fail(struct parse *p, const char *why)
{
	if (!p->why_at || p->s.p >= p->why_at) {
		p->why = why;
		p->why_at = p->s.p;
	}
	return false;
}

/* ATOM-CHAR = <any CHAR except atom-specials>; ASTRING-CHAR also has "]", a tag neither "+" */
enum { C_ATOM = 1, C_ASTRING = 2, C_TAG = 4 };
static const unsigned char classes[256] = {
	['!'] = 7,         ['#' ... '$'] = 7,          ['&' ... '\''] = 7,        [','] = 7,
	['-' ... '['] = 7, ['+'] = C_ATOM | C_ASTRING, [']'] = C_ASTRING | C_TAG, ['^' ... 'z'] = 7,
	['|' ... '~'] = 7,
};

static bool atom_char(unsigned char c) { return classes[c] & C_ATOM; }
static bool astring_char(unsigned char c) { return classes[c] & C_ASTRING; }
static bool tag_char(unsigned char c) { return classes[c] & C_TAG; }

bool parse_end(struct parse *p)
{
	return scan_end(&p->s) || parse_fail(p, "Too many arguments");
}

bool parse_sp(struct parse *p)
{
	return scan_byte(&p->s, ' ') ||
	       parse_fail(p, scan_end(&p->s) ? "Too few arguments" : "Missing space");
}

bool parse_char(struct parse *p, char c)
{
	if (scan_byte(&p->s, c))
		return true;
	switch (c) {
	case '(':
		return parse_fail(p, "Missing opening parenthesis");
	case ')':
		return parse_fail(p, "Missing closing parenthesis");
	}
	return parse_fail(p, "Unexpected character");
}

bool parse_word(struct parse *p, struct str word)
{
	struct scan at = p->s;

	if (scan_lit_nocase(&p->s, word) && (scan_end(&p->s) || !atom_char((unsigned char)scan_peek(&p->s))))
		return true;
	p->s = at;
	return parse_fail(p, "Unknown word");
}

/* tag = 1*<any ASTRING-CHAR except "+"> */
bool parse_tag(struct parse *p, struct str *out)
{
	struct str t = scan_while(&p->s, tag_char);

	if (!t.n)
		return parse_fail(p, "Missing tag");
	*out = t;
	return true;
}

/* atom = 1*ATOM-CHAR */
bool parse_atom(struct parse *p, struct str *out)
{
	struct str t = scan_while(&p->s, atom_char);

	if (!t.n)
		return parse_fail(p, "Missing atom");
	*out = t;
	return true;
}

/* quoted = DQUOTE *QUOTED-CHAR DQUOTE
 * QUOTED-CHAR = <any TEXT-CHAR except quoted-specials> / "\" quoted-specials / UTF8-2 / -3 / -4
 * Octets above 0x7f pass here; who uses the string says what charset they must be. */
static bool parse_quoted(struct parse *p, struct str *out)
{
	struct scan at = p->s;

	if (!scan_byte(&p->s, '"'))
		return parse_fail(p, "Missing string");
	const char *start = p->s.p, *q = start;
	size_t escapes = 0;
	for (; q < p->s.end && *q != '"'; q++) {
		if (*q == '\\') {
			escapes++;
			if (++q == p->s.end || (*q != '"' && *q != '\\'))
				goto bad;
		} else if (*q == '\r' || *q == '\n' || *q == '\0') {
			goto bad;
		}
	}
	if (q == p->s.end)
		goto bad;
	size_t n = (size_t)(q - start);
	p->s.p = q + 1;
	if (!escapes) {
		*out = (struct str){start, n};
		return true;
	}
	char *to = arena_alloc(p->a, n - escapes);
	size_t k = 0;
	for (size_t i = 0; i < n; i++) {
		if (start[i] == '\\')
			i++;
		to[k++] = start[i];
	}
	*out = (struct str){to, k};
	return true;
bad:
	p->s = at;
	return parse_fail(p, "Invalid quoted string");
}

/* literal = "{" number64 ["+"] "}" CRLF *CHAR8
 * literal8 is APPEND's alone, which does not have it in its text. */
static bool parse_literal(struct parse *p, struct str *out)
{
	struct scan at = p->s;
	uint64_t n;
	struct str t;

	if (!scan_byte(&p->s, '{') || !scan_u64(&p->s, UINT32_MAX, &n))
		goto bad;
	scan_byte(&p->s, '+');
	if (!scan_byte(&p->s, '}'))
		goto bad;
	scan_byte(&p->s, '\r');
	if (!scan_byte(&p->s, '\n') || !scan_take(&p->s, n, &t))
		goto bad;
	if (str_has_byte(t, '\0'))
		goto bad;
	*out = t;
	return true;
bad:
	p->s = at;
	return parse_fail(p, "Invalid literal");
}

/* string = quoted / literal */
bool parse_string(struct parse *p, struct str *out)
{
	return scan_peek(&p->s) == '{' ? parse_literal(p, out) : parse_quoted(p, out);
}

/* astring = 1*ASTRING-CHAR / string */
bool parse_astring(struct parse *p, struct str *out)
{
	struct str t = scan_while(&p->s, astring_char);

	if (!t.n)
		return parse_string(p, out);
	*out = t;
	return true;
}

/* nstring = string / nil */
bool parse_nstring(struct parse *p, struct str *out)
{
	if (parse_word(p, STR("NIL"))) {
		*out = STR_NONE;
		return true;
	}
	if (!parse_string(p, out))
		return false;
	if (!out->p)
		*out = STR("");
	return true;
}

bool parse_number(struct parse *p, uint32_t *out)
{
	return scan_u32(&p->s, UINT32_MAX, out) || parse_fail(p, "Missing number");
}

/* nz-number = digit-nz *DIGIT; more zeros in front are taken */
bool parse_nz_number(struct parse *p, uint32_t *out)
{
	struct scan at = p->s;

	if (parse_number(p, out) && *out)
		return true;
	p->s = at;
	return parse_fail(p, "Missing number above zero");
}

bool parse_number64(struct parse *p, uint64_t *out)
{
	return scan_u64(&p->s, INT64_MAX, out) || parse_fail(p, "Missing number");
}

/* ---- mailbox names ---------------------------------------------------------------------- */

bool mailbox_decode(struct parse *p, struct str raw, bool pattern, struct str *out)
{
	BUF_SCOPED b = {};

	if (p->utf8 || (pattern && !str_has_byte(raw, '&'))) {
		if (!utf8_valid(raw) || (!p->utf8 && !str_is_ascii(raw)))
			return false;
		*out = text_nfc_str(p->a, raw);
	} else if (str_has_byte(raw, '&') || !str_is_ascii(raw)) {
		if (!mutf7_decode(&b, raw))
			return false;
		*out = text_nfc_str(p->a, arena_str(p->a, buf_str(&b)));
	} else {
		*out = raw;
	}
	if (out->n > MAILBOX_NAME_MAX || str_has_ctl(*out))
		return false;
	return true;
}

/* mailbox = "INBOX" / astring; "INBOX" without case, also as first level of a name (5.1) */
static struct str inbox_in_capitals(struct arena *a, struct str name)
{
	struct str inbox = STR("INBOX");

	if (!str_starts_nocase(name, inbox) || (name.n > inbox.n && name.p[inbox.n] != '/'))
		return name;
	return name.n == inbox.n ? inbox : arena_cat(a, inbox, str_from(name, inbox.n));
}

struct str mailbox_of_text(struct arena *a, struct str utf8)
{
	return inbox_in_capitals(a, text_nfc_str(a, utf8));
}

bool parse_mailbox(struct parse *p, struct str *out)
{
	struct scan at = p->s;
	struct str raw, name;

	if (!parse_astring(p, &raw))
		return false;
	if (!mailbox_decode(p, raw, false, &name)) {
		p->s = at;
		p->bad_name = true;
		return parse_fail(p, p->utf8 ? "Mailbox name is not valid UTF-8"
					     : "Mailbox name is not valid modified UTF-7");
	}
	*out = inbox_in_capitals(p->a, name);
	return true;
}

/* ---- literals --------------------------------------------------------------------------- */

bool literal_at_end(struct str line, struct literal *out, size_t *out_start)
{
	*out = (struct literal){};
	if (!str_ends(line, STR("}")))
		return false;
	size_t i = line.n - 1;
	if (i && line.p[i - 1] == '+') {
		out->nonsync = true;
		i--;
	}
	size_t digits_end = i;
	while (i && ascii_is((unsigned char)line.p[i - 1], ASCII_DIGIT))
		i--;
	struct str digits = str_sub(line, i, digits_end - i);
	if (!digits.n || !i || line.p[i - 1] != '{')
		return false;
	i--;
	if (i && line.p[i - 1] == '~') {
		out->binary = true;
		i--;
	}
	if (digits.n > PARSE_LITERAL_DIGITS || !str_u64(digits, UINT32_MAX, &out->n))
		out->too_big = true;
	*out_start = i;
	return true;
}

/* ---- flags ------------------------------------------------------------------------------ */

static const struct {
	struct str name;
	unsigned flag;
} flag_names[] = {
	{{"\\Seen", 5}, FLAG_SEEN},       {{"\\Answered", 9}, FLAG_ANSWERED},
	{{"\\Flagged", 8}, FLAG_FLAGGED}, {{"\\Deleted", 8}, FLAG_DELETED},
	{{"\\Draft", 6}, FLAG_DRAFT},     {{"$Forwarded", 10}, FLAG_FORWARDED},
	{{"\\Recent", 7}, FLAG_RECENT},
};

unsigned flag_of_name(struct str name)
{
	for (size_t i = 0; i < sizeof(flag_names) / sizeof(*flag_names); i++)
		if (str_eq_nocase(name, flag_names[i].name))
			return flag_names[i].flag;
	return 0;
}

bool parse_keyword(struct parse *p, struct str *out)
{
	struct scan at = p->s;

	if (!parse_atom(p, out))
		return parse_fail(p, "Missing keyword");
	if (out->n <= KEYWORD_MAX)
		return true;
	p->s = at;
	return parse_fail(p, "Keyword is too long");
}

/* flag = "\Answered" / "\Flagged" / "\Deleted" / "\Seen" / "\Draft" / flag-keyword / flag-extension
 * There is no flag-extension that we could keep. */
static bool parse_flag(struct parse *p, struct flag_list *out, size_t *cap)
{
	struct scan at = p->s;
	struct str name;
	bool system = scan_byte(&p->s, '\\');

	if (!(system ? parse_atom(p, &name) : parse_keyword(p, &name)))
		goto bad;
	if (system)
		name = (struct str){name.p - 1, name.n + 1};
	unsigned flag = flag_of_name(name);
	if (system && (!flag || flag == FLAG_RECENT))
		goto bad;
	out->flags |= flag;
	if (flag)
		return true;
	for (size_t i = 0; i < out->keywords_n; i++)
		if (str_eq_nocase(out->keywords[i], name))
			return true;
	struct str *k = arena_grow(p->a, (struct str *)(uintptr_t)out->keywords, out->keywords_n, cap,
				   sizeof(*k));
	k[out->keywords_n++] = name;
	out->keywords = k;
	return true;
bad:
	p->s = at;
	return parse_fail(p, "Invalid flag");
}

/* flag-list = "(" [flag *(SP flag)] ")" */
bool parse_flag_list(struct parse *p, struct flag_list *out)
{
	struct scan at = p->s;
	size_t cap = 0;

	*out = (struct flag_list){};
	if (!parse_char(p, '('))
		return false;
	if (scan_byte(&p->s, ')'))
		return true;
	do {
		if (!parse_flag(p, out, &cap))
			goto bad;
	} while (scan_byte(&p->s, ' '));
	if (parse_char(p, ')'))
		return true;
bad:
	p->s = at;
	return false;
}

/* store-att-flags = ... (flag-list / (flag *(SP flag))) */
bool parse_store_flags(struct parse *p, struct flag_list *out)
{
	struct scan at = p->s;
	size_t cap = 0;

	if (scan_peek(&p->s) == '(')
		return parse_flag_list(p, out);
	*out = (struct flag_list){};
	do {
		if (!parse_flag(p, out, &cap)) {
			p->s = at;
			return false;
		}
	} while (scan_byte(&p->s, ' '));
	return true;
}

/* ---- dates ------------------------------------------------------------------------------ */

static bool digits(struct scan *s, size_t min, size_t max, uint32_t *out)
{
	uint32_t v = 0;
	size_t n = 0;

	for (; n < max && ascii_is((unsigned char)scan_peek_at(s, n), ASCII_DIGIT) &&
	       scan_peek_at(s, n) >= 0;
	     n++)
		v = v * 10 + (uint32_t)(scan_peek_at(s, n) - '0');
	if (n < min)
		return false;
	s->p += n;
	*out = v;
	return true;
}

static int days_in_month(int year, int month)
{
	static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return month == 2 && leap ? 29 : days[month - 1];
}

/* date-day "-" date-month "-" date-year */
static bool day_month_year(struct scan *s, size_t day_digits, struct date_civil *out)
{
	uint32_t day, year;
	struct str name;

	if (!digits(s, day_digits, 2, &day) || !scan_byte(s, '-') || !scan_take(s, 3, &name) ||
	    !scan_byte(s, '-') || !digits(s, 4, 4, &year))
		return false;
	int month = date_month_of_name(name);
	if (!month || year < 1 || day < 1 || (int)day > days_in_month((int)year, month))
		return false;
	*out = (struct date_civil){.year = (int)year, .month = month, .day = (int)day};
	return true;
}

/* date = date-text / DQUOTE date-text DQUOTE */
bool parse_date(struct parse *p, int32_t *out_day)
{
	struct scan at = p->s;
	struct date_civil c;
	bool quoted = scan_byte(&p->s, '"');

	if (!day_month_year(&p->s, 1, &c) || (quoted && !scan_byte(&p->s, '"'))) {
		p->s = at;
		return parse_fail(p, "Invalid date");
	}
	*out_day = (int32_t)(date_of_civil(&c, 0) / 86400);
	return true;
}

/* date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE
 * date-day-fixed = (SP DIGIT) / 2DIGIT */
bool parse_date_time(struct parse *p, int64_t *out_unix)
{
	struct scan at = p->s;
	struct date_civil c;
	uint32_t hour, minute, second, zone;
	bool ok = scan_byte(&p->s, '"');

	ok = ok && (scan_byte(&p->s, ' ') ? day_month_year(&p->s, 1, &c) : day_month_year(&p->s, 2, &c));
	ok = ok && scan_byte(&p->s, ' ') && digits(&p->s, 2, 2, &hour) && scan_byte(&p->s, ':') &&
	     digits(&p->s, 2, 2, &minute) && scan_byte(&p->s, ':') && digits(&p->s, 2, 2, &second) &&
	     scan_byte(&p->s, ' ');
	ok = ok && hour < 24 && minute < 60 && second <= 60;
	bool minus = ok && scan_byte(&p->s, '-');
	ok = ok && (minus || scan_byte(&p->s, '+')) && digits(&p->s, 4, 4, &zone) && zone % 100 < 60 &&
	     scan_byte(&p->s, '"');
	if (!ok) {
		p->s = at;
		return parse_fail(p, "Invalid date and time");
	}
	c.hour = (int)hour;
	c.minute = (int)minute;
	c.second = (int)second;
	int offset = (int)(zone / 100 * 60 + zone % 100);
	*out_unix = date_of_civil(&c, minus ? -offset : offset);
	return true;
}
