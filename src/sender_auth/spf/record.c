/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Terms are parted by spaces; each is read by itself. */
#include "sender_auth/spf/spf_int.h"
#include "base/arena.h"
#include "base/scan.h"

#include <arpa/inet.h>
#include <string.h>

static const struct {
	const char *name;
	enum spf_mechanism mechanism;
} mechanisms[] = {
	{"all", SPF_ALL}, {"include", SPF_INCLUDE}, {"a", SPF_A}, {"mx", SPF_MX}, {"ptr", SPF_PTR},
	{"ip4", SPF_IP4}, {"ip6", SPF_IP6}, {"exists", SPF_EXISTS},
};

bool spf_is_record(struct str text)
{
	return str_starts_nocase(text, STR("v=spf1")) && (text.n == 6 || text.p[6] == ' ');
}

static bool is_name_char(unsigned char c)
{
	return ascii_is(c, ASCII_UPPER | ASCII_LOWER | ASCII_DIGIT) || c == '-' || c == '_' || c == '.';
}

/* "/" ("0" / %x31-39 *DIGIT) at the end of *s, cut off. false: a number, and no good one. */
static bool cut_bits(struct str *s, struct str slash, unsigned max, unsigned *out)
{
	size_t digits = 0;
	uint64_t n;
	while (digits < s->n && ascii_is((unsigned char)s->p[s->n - 1 - digits], ASCII_DIGIT))
		digits++;
	struct str number = str_from(*s, s->n - digits), before = str_sub(*s, 0, s->n - digits);
	if (digits == 0 || !str_ends(before, slash))
		return true;
	if ((digits > 1 && number.p[0] == '0') || !str_u64(number, max, &n))
		return false;
	*out = (unsigned)n;
	*s = str_sub(before, 0, before.n - slash.n);
	return true;
}

/* dual-cidr-length (5.6) */
static bool cut_dual_cidr(struct str *s, struct spf_directive *d)
{
	return cut_bits(s, STR("//"), 128, &d->bits6) && cut_bits(s, STR("/"), 32, &d->bits4);
}

static bool take_domain(struct str args, bool optional, struct spf_directive *d)
{
	if (args.n == 0)
		return optional;
	if (args.p[0] != ':')
		return false;
	d->domain = str_from(args, 1);
	return spf_macro_valid(d->domain, SPF_MACRO_DOMAIN);
}

static bool take_network(struct str args, int family, unsigned max, unsigned *bits, struct spf_directive *d)
{
	char text[INET6_ADDRSTRLEN];
	if (!str_starts(args, STR(":")) || !cut_bits(&args, STR("/"), max, bits))
		return false;
	args = str_from(args, 1);
	if (args.n >= sizeof text || str_has_ctl(args))
		return false;
	memcpy(text, args.p, args.n);
	text[args.n] = 0;
	return inet_pton(family, text, d->network) == 1;
}

static bool read_arguments(struct str args, struct spf_directive *d)
{
	d->bits4 = 32;
	d->bits6 = 128;
	switch (d->mechanism) {
	case SPF_ALL:
		return args.n == 0;
	case SPF_INCLUDE:
	case SPF_EXISTS:
		return take_domain(args, false, d);
	case SPF_PTR:
		return take_domain(args, true, d);
	case SPF_A:
	case SPF_MX:
		return cut_dual_cidr(&args, d) && take_domain(args, true, d);
	case SPF_IP4:
		return take_network(args, AF_INET, 32, &d->bits4, d);
	case SPF_IP6:
		return take_network(args, AF_INET6, 128, &d->bits6, d);
	}
	return false;
}

/* directive = [ qualifier ] mechanism (4.6.1) */
static bool read_directive(struct str term, struct spf_directive *out)
{
	struct scan s = scan_of(term);
	*out = (struct spf_directive){.qualifier = SPF_PASS, .text = term};
	if (scan_byte(&s, '-'))
		out->qualifier = SPF_FAIL;
	else if (scan_byte(&s, '~'))
		out->qualifier = SPF_SOFTFAIL;
	else if (scan_byte(&s, '?'))
		out->qualifier = SPF_NEUTRAL;
	else
		scan_byte(&s, '+');
	struct str name = scan_while(&s, is_name_char);
	for (size_t i = 0; i < sizeof mechanisms / sizeof *mechanisms; i++) {
		if (!str_eq_nocase(name, str_of(mechanisms[i].name)))
			continue;
		out->mechanism = mechanisms[i].mechanism;
		return read_arguments(scan_rest(&s), out);
	}
	return false;
}

/* name = ALPHA *( ALPHA / DIGIT / "-" / "_" / "." ), then "=" */
static bool split_modifier(struct str term, struct str *name, struct str *value)
{
	struct scan s = scan_of(term);
	int first = scan_peek(&s);
	*name = scan_while(&s, is_name_char);
	if (first < 0 || !ascii_is((unsigned char)first, ASCII_UPPER | ASCII_LOWER) || !scan_byte(&s, '='))
		return false;
	*value = scan_rest(&s);
	return true;
}

static bool read_modifier(struct str name, struct str value, struct spf_record *out)
{
	struct str *known = str_eq_nocase(name, STR("redirect")) ? &out->redirect
			    : str_eq_nocase(name, STR("exp"))    ? &out->exp
								 : NULL;
	if (!known)
		return spf_macro_valid(value, SPF_MACRO_STRING);
	if (known->p) /* 6: at most once */
		return false;
	*known = value;
	return spf_macro_valid(value, SPF_MACRO_DOMAIN);
}

bool spf_record_parse(struct arena *a, struct str text, struct spf_record *out, struct err *err)
{
	size_t cap = 0, terms = 0;
	*out = (struct spf_record){0};
	if (text.n > SPF_RECORD_MAX)
		return err_set(err, ERR_LIMIT, "the SPF record is longer than %d octets", SPF_RECORD_MAX);
	for (struct str rest = str_from(text, 6); rest.p;) {
		struct str term = str_cut(&rest, ' '), name, value;
		struct spf_directive d;
		if (term.n == 0)
			continue;
		if (++terms > SPF_TERMS_MAX)
			return err_set(err, ERR_LIMIT, "the SPF record has more than %d terms",
				       SPF_TERMS_MAX);
		bool is_modifier = split_modifier(term, &name, &value);
		if (is_modifier ? !read_modifier(name, value, out) : !read_directive(term, &d))
			return err_set(err, ERR_SYNTAX, "syntax error in the SPF record at \"%.*s\"",
				       (int)(term.n < 60 ? term.n : 60), term.p);
		if (is_modifier)
			continue;
		out->at = arena_grow(a, out->at, out->n, &cap, sizeof *out->at);
		out->at[out->n++] = d;
	}
	return true;
}
