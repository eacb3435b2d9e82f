/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * The grammar of RFC 5321 4.1.2 with the extensions of RFC 6531 3.3, one function per rule. The
 * local-part is unquoted into the arena only when it was quoted; all else are views of the input.
 */
#include "mail/address.h"
#include "base/arena.h"
#include "base/codec.h"
#include <arpa/inet.h>
#include <idn2.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* One UTF8-non-ascii character (RFC 6531 3.3), or nothing. C1 controls have no place in an address. */
static bool scan_utf8_non_ascii(struct scan *s)
{
	uint32_t cp;
	size_t n = scan_peek(s) >= 0x80 ? utf8_decode(scan_rest(s), &cp) : 0;
	return n > 0 && cp >= 0xa0 && scan_skip(s, n);
}

static bool scan_atext(struct scan *s, int flags)
{
	int c = scan_peek(s);
	if (c >= 0 && c < 0x80 && ascii_is((unsigned char)c, ASCII_ATEXT)) return scan_skip(s, 1);
	return (flags & ADDRESS_UTF8) && scan_utf8_non_ascii(s);
}

/* Dot-string = Atom *("." Atom) */
static bool scan_dot_string(struct scan *s, int flags, struct str *out)
{
	struct scan t = *s;
	do {
		if (!scan_atext(&t, flags)) return false;
		while (scan_atext(&t, flags)) {}
	} while (scan_byte(&t, '.'));
	*out = (struct str){s->p, (size_t)(t.p - s->p)};
	*s = t;
	return true;
}

/* QcontentSMTP = qtextSMTP / quoted-pairSMTP; appends what it stands for. */
static bool scan_qcontent(struct scan *s, int flags, char *out, size_t *n)
{
	const char *from = s->p;
	int c = scan_peek(s);
	if (c == '\\') {
		int q = scan_peek_at(s, 1);
		if (q < 32 || q > 126) return false;
		from++;
		if (!scan_skip(s, 2)) return false;
	} else if (c >= 32 && c <= 126 && c != '"') {
		if (!scan_skip(s, 1)) return false;
	} else if (!(flags & ADDRESS_UTF8) || !scan_utf8_non_ascii(s)) {
		return false;
	}
	memcpy(out + *n, from, (size_t)(s->p - from));
	*n += (size_t)(s->p - from);
	return true;
}

/* Quoted-string = DQUOTE *QcontentSMTP DQUOTE */
static bool scan_quoted_string(struct scan *s, struct arena *a, int flags, struct str *out)
{
	struct scan t = *s;
	if (!scan_byte(&t, '"')) return false;
	/* A longer one is over every limit; so the copy is never longer than an address may be. */
	struct str most = str_sub(scan_rest(&t), 0, 2 * ADDRESS_LOCAL_MAX + 8);
	t.end = most.p + most.n;
	char *p = arena_alloc(a, most.n + 1);
	size_t n = 0;
	while (scan_qcontent(&t, flags, p, &n)) {}
	if (!scan_byte(&t, '"')) return false;
	s->p = t.p;
	*out = (struct str){p, n};
	return true;
}

static bool is_ldh(int c)
{
	return c == '-' ||
		(c >= 0 && c < 0x80 && ascii_is((unsigned char)c, ASCII_UPPER | ASCII_LOWER | ASCII_DIGIT));
}

/* sub-domain = Let-dig [Ldh-str], or U-label */
static bool scan_sub_domain(struct scan *s, bool utf8)
{
	struct scan t = *s;
	while (is_ldh(scan_peek(&t)) ? scan_skip(&t, 1) : utf8 && scan_utf8_non_ascii(&t)) {}
	struct str label = {s->p, (size_t)(t.p - s->p)};
	/* 63 octets is the limit of the A-label; libidn2 checks that of a U-label. */
	if (label.n == 0 || label.n > (utf8 ? 252 : 63)) return false;
	if (label.p[0] == '-' || label.p[label.n - 1] == '-') return false;
	*s = t;
	return true;
}

/* Domain = sub-domain *("." sub-domain) */
static bool scan_domain(struct scan *s, bool utf8, struct str *out)
{
	struct scan t = *s;
	do {
		if (!scan_sub_domain(&t, utf8)) return false;
	} while (scan_byte(&t, '.'));
	*out = (struct str){s->p, (size_t)(t.p - s->p)};
	*s = t;
	return true;
}

static bool ip_valid(int family, struct str text)
{
	char cstr[INET6_ADDRSTRLEN + 1];
	unsigned char addr[sizeof(struct in6_addr)];
	if (text.n == 0 || text.n >= sizeof cstr || memchr(text.p, 0, text.n)) return false;
	memcpy(cstr, text.p, text.n);
	cstr[text.n] = 0;
	return inet_pton(family, cstr, addr) == 1;
}

struct str domain_literal_ip(struct str domain)
{
	if (domain.n < 2 || domain.p[0] != '[' || domain.p[domain.n - 1] != ']') return STR_NONE;
	struct str inner = str_sub(domain, 1, domain.n - 2);
	if (str_starts_nocase(inner, STR("IPv6:"))) {
		inner = str_from(inner, 5);
		return ip_valid(AF_INET6, inner) ? inner : STR_NONE;
	}
	return ip_valid(AF_INET, inner) ? inner : STR_NONE;
}

/* General-address-literal = Standardized-tag ":" 1*dcontent (RFC 5321 4.1.3) */
static bool general_literal(struct str inner)
{
	size_t colon = str_find_byte(inner, ':');
	if (colon == STR_NPOS || colon == 0 || colon + 1 == inner.n) return false;
	for (size_t i = 0; i < colon; i++)
		if (!is_ldh((unsigned char)inner.p[i])) return false;
	if (inner.p[colon - 1] == '-') return false;
	for (size_t i = colon + 1; i < inner.n; i++) {
		unsigned char c = (unsigned char)inner.p[i];
		if (c < 33 || c > 126 || c == '[' || c == '\\' || c == ']') return false;
	}
	return !str_eq_nocase(str_sub(inner, 0, colon), STR("IPv6"));
}

/* address-literal = "[" ( IPv4 / IPv6 / General ) "]" */
static bool scan_literal(struct scan *s, struct str *out)
{
	size_t close = str_find_byte(scan_rest(s), ']');
	if (scan_peek(s) != '[' || close == STR_NPOS) return false;
	struct str whole = str_sub(scan_rest(s), 0, close + 1);
	if (domain_literal_ip(whole).n == 0 && !general_literal(str_sub(whole, 1, whole.n - 2))) return false;
	*out = whole;
	return scan_skip(s, whole.n);
}

/* A-d-l = At-domain *( "," At-domain ), followed by ":" */
static bool scan_source_route(struct scan *s, bool utf8)
{
	struct scan t = *s;
	struct str domain;
	do {
		if (!scan_byte(&t, '@')) return false;
		if (!scan_domain(&t, utf8, &domain) && !scan_literal(&t, &domain)) return false;
	} while (scan_byte(&t, ','));
	if (!scan_byte(&t, ':')) return false;
	*s = t;
	return true;
}

static bool check_lengths(const struct path *p, struct err *err)
{
	if (p->address.local.n > ADDRESS_LOCAL_MAX) return err_set(err, ERR_LIMIT, "local-part too long");
	if (p->address.domain.n > ADDRESS_DOMAIN_MAX) return err_set(err, ERR_LIMIT, "domain too long");
	if (p->text.n > ADDRESS_MAX) return err_set(err, ERR_LIMIT, "address too long");
	return true;
}

/* Mailbox = Local-part "@" ( Domain / address-literal ) */
static bool scan_mailbox(struct scan *s, struct arena *a, int flags, struct path *out, struct err *err)
{
	bool utf8 = flags & ADDRESS_UTF8;
	struct scan t = *s;
	struct path p = {.source_route = out->source_route};
	if (!scan_dot_string(&t, flags, &p.address.local) &&
		!scan_quoted_string(&t, a, flags, &p.address.local))
		return err_set(err, ERR_SYNTAX, "bad local-part in address");
	if (scan_byte(&t, '@')) {
		if (scan_literal(&t, &p.address.domain)) p.literal = true;
		else if (!scan_domain(&t, utf8, &p.address.domain))
			return err_set(err, ERR_SYNTAX, "bad domain in address");
	} else if (!(flags & ADDRESS_NO_DOMAIN) &&
		   !((flags & ADDRESS_POSTMASTER) && str_eq_nocase(p.address.local, STR("postmaster")))) {
		return err_set(err, ERR_SYNTAX, "address without a domain");
	}
	p.text = (struct str){s->p, (size_t)(t.p - s->p)};
	p.utf8 = !str_is_ascii(p.text);
	if (!check_lengths(&p, err)) return false;
	struct str ascii;
	if (!str_is_ascii(p.address.domain) && !domain_canonical(a, p.address.domain, &ascii, err))
		return false;
	*out = p;
	*s = t;
	return true;
}

bool address_scan_path(struct scan *s, struct arena *a, int flags, struct path *out, struct err *err)
{
	struct scan t = *s;
	struct path p = {0};
	if (!scan_byte(&t, '<')) {
		if (!(flags & ADDRESS_NO_BRACKETS)) return err_set(err, ERR_SYNTAX, "address not in < >");
		if (!scan_mailbox(&t, a, flags, &p, err)) return false;
		*s = t;
		*out = p;
		return true;
	}
	if (scan_peek(&t) == '>' && (flags & ADDRESS_NULL)) {
		p.null = true;
		p.text = (struct str){t.p, 0};
	} else {
		p.source_route = scan_source_route(&t, flags & ADDRESS_UTF8);
		if (!scan_mailbox(&t, a, flags, &p, err)) return false;
	}
	if (!scan_byte(&t, '>')) return err_set(err, ERR_SYNTAX, "bad characters in address");
	*s = t;
	*out = p;
	return true;
}

bool address_parse(struct arena *a, struct str text, int flags, struct address *out, struct err *err)
{
	struct scan s = scan_of(text);
	struct path p = {0};
	if (text.n == 0 && (flags & ADDRESS_NULL)) {
		*out = (struct address){0};
		return true;
	}
	if (!scan_mailbox(&s, a, flags, &p, err)) return false;
	if (!scan_end(&s)) return err_set(err, ERR_SYNTAX, "bad characters in address");
	*out = p.address;
	return true;
}

static bool is_dot_string(struct str local)
{
	struct scan s = scan_of(local);
	struct str out;
	return scan_dot_string(&s, ADDRESS_UTF8, &out) && scan_end(&s);
}

void address_format(struct buf *out, struct address addr)
{
	if (addr.local.n == 0 && addr.domain.n == 0) return;
	if (is_dot_string(addr.local)) {
		buf_add(out, addr.local);
	} else {
		buf_byte(out, '"');
		for (size_t i = 0; i < addr.local.n; i++) {
			char c = addr.local.p[i];
			if (c == '"' || c == '\\') buf_byte(out, '\\');
			/* Cannot come out of our parsers; a line must not be forged all the same. */
			buf_byte(out, c == '\r' || c == '\n' || c == 0 ? '?' : c);
		}
		buf_byte(out, '"');
	}
	if (addr.domain.n == 0) return;
	buf_byte(out, '@');
	buf_add(out, addr.domain);
}

struct str address_str(struct arena *a, struct address addr)
{
	BUF_SCOPED b = {0};
	address_format(&b, addr);
	return arena_str(a, buf_str(&b));
}

bool address_is_null(struct address addr)
{
	return addr.local.n == 0 && addr.domain.n == 0;
}

bool address_is_utf8(struct address addr)
{
	return !str_is_ascii(addr.local) || !str_is_ascii(addr.domain);
}

bool address_eq(struct address x, struct address y)
{
	return str_eq(x.local, y.local) && str_eq_nocase(x.domain, y.domain);
}

/* NFC (RFC 6531 3.1), and case folding where the caller's policy wants it. */
static bool map_local(struct arena *a, struct str local, int flags, struct str *out, struct err *err)
{
	if (str_is_ascii(local)) {
		*out = (flags & ADDRESS_FOLD) ? arena_lower(a, local) : local;
		return true;
	}
	utf8proc_uint8_t *mapped = NULL;
	int options = UTF8PROC_STABLE | UTF8PROC_COMPOSE | ((flags & ADDRESS_FOLD) ? UTF8PROC_CASEFOLD : 0);
	utf8proc_ssize_t n =
		utf8proc_map((const utf8proc_uint8_t *)local.p, (utf8proc_ssize_t)local.n, &mapped,
					  (utf8proc_option_t)options);
	if (n < 0) return err_set(err, ERR_SYNTAX, "local-part is not valid UTF-8");
	*out = arena_str(a, (struct str){(const char *)mapped, (size_t)n});
	free(mapped);
	return true;
}

bool address_canonical(struct arena *a, struct address addr, int flags, struct address *out, struct err *err)
{
	struct address c = {0};
	if (addr.domain.n > 0 && !domain_canonical(a, addr.domain, &c.domain, err)) return false;
	if (!map_local(a, addr.local, flags, &c.local, err)) return false;
	*out = c;
	return true;
}

bool domain_valid(struct str domain, bool utf8)
{
	struct scan s = scan_of(domain);
	struct str out;
	return domain.n <= ADDRESS_DOMAIN_MAX && scan_domain(&s, utf8, &out) && scan_end(&s);
}

bool domain_canonical(struct arena *a, struct str domain, struct str *out, struct err *err)
{
	struct str literal;
	struct scan s = scan_of(domain);
	if (scan_literal(&s, &literal) && scan_end(&s)) {
		*out = arena_lower(a, domain);
		return true;
	}
	if (str_is_ascii(domain)) {
		if (domain.n > 1 && domain.p[domain.n - 1] == '.') domain.n--;
		if (!domain_valid(domain, false)) return err_set(err, ERR_SYNTAX, "not a domain name");
		*out = arena_lower(a, domain);
		return true;
	}
	const char *u8 = arena_cstr(a, domain);
	if (!u8 || domain.n > 4 * ADDRESS_DOMAIN_MAX || !utf8_valid(domain))
		return err_set(err, ERR_SYNTAX, "not a domain name");
	uint8_t *ascii = NULL;
	int rc = idn2_lookup_u8((const uint8_t *)u8, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
	struct str got = rc == IDN2_OK ? arena_str(a, str_of((const char *)ascii)) : STR_NONE;
	idn2_free(ascii);
	if (rc != IDN2_OK) {
		err_set(err, ERR_SYNTAX, "not an internationalized domain name");
		return err_cause(err, "idn2: %s", idn2_strerror(rc));
	}
	if (got.n > 1 && got.p[got.n - 1] == '.') got.n--;
	if (!domain_valid(got, false)) return err_set(err, ERR_SYNTAX, "not a domain name");
	*out = arena_lower(a, got);
	return true;
}

struct str domain_display(struct arena *a, struct str domain)
{
	const char *ascii = arena_cstr(a, domain);
	char *u8 = NULL;
	if (!ascii || str_find_nocase(domain, STR("xn--")) == STR_NPOS) return domain;
	if (idn2_to_unicode_8z8z(ascii, &u8, 0) != IDN2_OK) return domain;
	struct str out = arena_str(a, str_of(u8));
	idn2_free(u8);
	return out;
}

bool local_split_detail(struct str local, char delimiter, struct str *out_user, struct str *out_detail)
{
	size_t at = str_find_byte(local, delimiter);
	if (at == STR_NPOS || at == 0) return false;
	*out_user = str_sub(local, 0, at);
	*out_detail = str_from(local, at + 1);
	return true;
}
