/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* imap/url.c: see imap/url.h. Rules are quoted from RFC 5092 section 11. */
#include "imap/url.h"
#include "base/codec.h"
#include "mail/date.h"

/* uchar = unreserved / sub-delims-sh / pct-encoded, with "%" for the last; achar = uchar / "&" / "=";
 * bchar = achar / ":" / "@" / "/" */
static bool achar(unsigned char c)
{
	return ascii_is(c, ASCII_UPPER | ASCII_LOWER | ASCII_DIGIT) ||
	       (c && str_has_byte(STR("-._~!$'()*+,%&="), (char)c));
}
static bool bchar(unsigned char c) { return achar(c) || c == ':' || c == '@' || c == '/'; }
/* enc-user has "@" encoded; clients leave it as it is. */
static bool access_char(unsigned char c) { return achar(c) || c == '@'; }
static bool hostchar(unsigned char c) { return achar(c) || c == '[' || c == ']' || c == ':'; }

/* Percent signs taken out; UTF-8 without controls. */
static bool decode(struct str in, struct arena *a, struct str *out)
{
	char *to = arena_alloc(a, in.n + 1);
	size_t n = 0;

	for (size_t i = 0; i < in.n; i++) {
		BUF_SCOPED octet = {};
		if (in.p[i] != '%') {
			to[n++] = in.p[i];
			continue;
		}
		if (in.n - i < 3 || !hex_decode(&octet, str_sub(in, i + 1, 2)))
			return false;
		to[n++] = octet.p[0];
		i += 2;
	}
	*out = (struct str){to, n};
	return utf8_valid(*out) && !str_has_ctl(*out);
}

/* iserver = [iuserinfo "@"] host [":" port]; iuserinfo = enc-user [iauth] / [enc-user] iauth */
static bool server(struct scan *s, struct arena *a, struct imap_url *out)
{
	struct str authority = scan_until_byte(s, '/');
	size_t at = str_find_last_byte(authority, '@');

	if (at != STR_NPOS) {
		struct str user = str_sub(authority, 0, at);
		size_t auth = str_find_byte(user, ';');
		if (auth != STR_NPOS) {
			if (!str_starts_nocase(str_from(user, auth), STR(";AUTH=")))
				return false;
			user = str_sub(user, 0, auth);
		}
		if (user.n && !decode(user, a, &out->user))
			return false;
		authority = str_from(authority, at + 1);
	}
	size_t colon = str_find_last_byte(authority, ':');
	uint64_t port = 0;
	if (colon != STR_NPOS && authority.p[authority.n - 1] != ']') {
		if (!str_u64(str_from(authority, colon + 1), 65535, &port))
			return false;
		authority = str_sub(authority, 0, colon);
	}
	struct scan rest = scan_of(authority);
	scan_while(&rest, hostchar);
	out->port = (uint32_t)port;
	out->host = authority;
	return authority.n && scan_end(&rest);
}

/* imailbox-ref = enc-mailbox [uidvalidity]; the "/" before ";UID=" is no part of the name */
static bool mailbox(struct scan *s, struct arena *a, struct imap_url *out)
{
	struct str raw = scan_while(s, bchar), name;

	if (str_ends(raw, STR("/")) && scan_peek(s) == ';')
		raw.n--;
	if (!raw.n || !decode(raw, a, &name) || name.n > MAILBOX_NAME_MAX)
		return false;
	out->mailbox = mailbox_of_text(a, name);
	if (scan_lit_nocase(s, STR(";UIDVALIDITY=")) &&
	    (!scan_u32(s, UINT32_MAX, &out->uidvalidity) || !out->uidvalidity))
		return false;
	scan_byte(s, '/');
	return true;
}

/* enc-section: the inside of BODY[...] */
static bool section(struct scan *s, struct arena *a, struct imap_url *out)
{
	struct str raw = scan_while(s, bchar), text;

	if (str_ends(raw, STR("/")) && scan_peek(s) == ';') {
		raw.n--;
		s->p--;
	}
	if (!decode(raw, a, &text))
		return false;
	struct str inside = arena_fmt(a, "[%.*s]", STR_ARG(text));
	struct parse p = parse_of(inside, a, true);
	out->has_section = true;
	return parse_section(&p, false, &out->section) && scan_end(&p.s);
}

/* partial-range = number ["." nz-number] */
static bool partial(struct scan *s, struct imap_url *out)
{
	out->partial = true;
	return scan_u64(s, INT64_MAX, &out->at) &&
	       (!scan_byte(s, '.') || (scan_u64(s, INT64_MAX, &out->n) && out->n));
}

static bool digits(struct scan *s, size_t n, int min, int max, int *out)
{
	struct str t;
	uint64_t v;

	if (!scan_take(s, n, &t) || !str_u64(t, (uint64_t)max, &v) || v < (uint64_t)min)
		return false;
	*out = (int)v;
	return true;
}

/* time-offset = "Z" / ("+" / "-") time-hour ":" time-minute (RFC 3339 5.6) */
static bool time_offset(struct scan *s, int *out_min)
{
	int hour, minute;

	*out_min = 0;
	if (scan_byte_nocase(s, 'Z'))
		return true;
	bool minus = scan_byte(s, '-');
	if (!minus && !scan_byte(s, '+'))
		return false;
	if (!digits(s, 2, 0, 23, &hour) || !scan_byte(s, ':') || !digits(s, 2, 0, 59, &minute))
		return false;
	*out_min = minus ? -(hour * 60 + minute) : hour * 60 + minute;
	return true;
}

/* expire = ";EXPIRE=" date-time (RFC 3339 5.6) */
static bool expire(struct scan *s, struct imap_url *out)
{
	struct date_civil c = {};
	int offset;

	if (!digits(s, 4, 1970, 9999, &c.year) || !scan_byte(s, '-') || !digits(s, 2, 1, 12, &c.month) ||
	    !scan_byte(s, '-') || !digits(s, 2, 1, 31, &c.day) || !scan_byte_nocase(s, 'T'))
		return false;
	if (!digits(s, 2, 0, 23, &c.hour) || !scan_byte(s, ':') || !digits(s, 2, 0, 59, &c.minute) ||
	    !scan_byte(s, ':') || !digits(s, 2, 0, 60, &c.second))
		return false;
	if (scan_byte(s, '.') && !scan_while_class(s, ASCII_DIGIT).n)
		return false;
	if (!time_offset(s, &offset))
		return false;
	out->expire = date_of_civil(&c, offset);
	return out->expire > 0;
}

/* iurlauth-rump = [expire] ";URLAUTH=" access
 * iua-verifier = ":" uauth-mechanism ":" enc-urlauth */
static bool urlauth(struct scan *s, struct str text, struct arena *a, struct imap_url *out)
{
	struct str access = scan_while(s, access_char);

	if (!access.n || !decode(access, a, &out->access))
		return false;
	out->rump = str_sub(text, 0, (size_t)(s->p - text.p));
	if (scan_end(s))
		return true;
	if (!scan_byte(s, ':'))
		return false;
	out->mechanism = scan_while(s, achar);
	if (!out->mechanism.n || !scan_byte(s, ':'))
		return false;
	out->token = scan_while_class(s, ASCII_XDIGIT);
	return out->token.n >= 32;
}

/* iuid = "/" iuid-only; iuid-only = ";UID=" nz-number, then sections, partial, authorization */
static bool message(struct scan *s, struct str text, struct arena *a, struct imap_url *out)
{
	if (!scan_lit_nocase(s, STR(";UID=")) || !scan_u32(s, UINT32_MAX, &out->uid) || !out->uid)
		return false;
	if (scan_lit_nocase(s, STR("/;SECTION=")) || scan_lit_nocase(s, STR(";SECTION=")))
		if (!section(s, a, out))
			return false;
	if (scan_lit_nocase(s, STR("/;PARTIAL=")) || scan_lit_nocase(s, STR(";PARTIAL=")))
		if (!partial(s, out))
			return false;
	if (scan_lit_nocase(s, STR(";EXPIRE=")) && !expire(s, out))
		return false;
	if (scan_lit_nocase(s, STR(";URLAUTH=")) && !urlauth(s, text, a, out))
		return false;
	return scan_end(s) && (!out->expire || out->access.p);
}

bool imap_url_parse(struct str text, struct arena *a, struct imap_url *out)
{
	struct scan s = scan_of(text);

	*out = (struct imap_url){.section = {.kind = SECTION_WHOLE}};
	if (text.n > IMAP_URL_MAX)
		return false;
	if (scan_lit_nocase(&s, STR("imap://")) && (!server(&s, a, out) || scan_peek(&s) != '/'))
		return false;
	if (scan_byte(&s, '/') && scan_peek(&s) != ';' && !mailbox(&s, a, out))
		return false;
	return (out->mailbox.p || !out->host.p) && message(&s, text, a, out);
}
