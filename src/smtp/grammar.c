/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "smtp/grammar.h"
#include "base/arena.h"
#include "base/codec.h"

static bool is_letter(unsigned char c)
{
	return ascii_is(c, ASCII_UPPER | ASCII_LOWER);
}

bool smtp_command_parse(struct str line, struct smtp_command *out)
{
	struct scan s = scan_of(line);
	for (size_t i = 0; i < line.n; i++)
		if (ascii_is((unsigned char)line.p[i], ASCII_CTL) && line.p[i] != '\t')
			return false;
	struct str verb = scan_while(&s, is_letter);
	if (verb.n == 0 || (!scan_end(&s) && scan_peek(&s) != ' '))
		return false;
	*out = (struct smtp_command){verb, str_trim(scan_rest(&s))};
	return true;
}

/* esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-") */
static bool scan_keyword(struct scan *s, struct str *out)
{
	struct scan t = *s;
	while (scan_peek(&t) >= 0 &&
	       (ascii_is((unsigned char)scan_peek(&t), ASCII_UPPER | ASCII_LOWER | ASCII_DIGIT) ||
		(scan_peek(&t) == '-' && t.p > s->p)))
		t.p++;
	*out = (struct str){s->p, (size_t)(t.p - s->p)};
	if (out->n == 0)
		return false;
	*s = t;
	return true;
}

/* esmtp-value = 1*(%d33-60 / %d62-126 / UTF8-non-ascii) (RFC 6531 3.3). AUTH=, ENVID= and ORCPT= of
 * some senders hold "=" too, which hurts nobody. */
static bool is_value(unsigned char c)
{
	return c > 32 && c != 127;
}

bool smtp_scan_params(struct scan *s, struct smtp_params *out)
{
	struct scan t = *s;
	*out = (struct smtp_params){0};
	for (;;) {
		while (scan_byte(&t, ' '))
			;
		if (scan_end(&t))
			break;
		if (out->n == SMTP_PARAMS_MAX)
			return false;
		struct smtp_param *p = &out->v[out->n++];
		if (!scan_keyword(&t, &p->keyword))
			return false;
		if (scan_byte(&t, '=')) {
			p->has_value = true;
			p->value = scan_while(&t, is_value);
			if (p->value.n == 0 || !utf8_valid(p->value))
				return false;
		}
		if (!scan_end(&t) && scan_peek(&t) != ' ')
			return false;
	}
	*s = t;
	return true;
}

bool smtp_parse_path(struct str args, struct str keyword, struct arena *a, int flags, struct path *out,
		     struct smtp_params *out_params, struct err *err)
{
	struct scan s = scan_of(args);
	if (!scan_lit_nocase(&s, keyword) || !scan_byte(&s, ':'))
		return err_set(err, ERR_SYNTAX, "syntax: %.*s:<address>", STR_ARG(keyword));
	scan_blanks(&s); /* "FROM: <a@b>" of many clients */
	if (!address_scan_path(&s, a, flags, out, err))
		return false;
	if (!scan_end(&s) && scan_peek(&s) != ' ')
		return err_set(err, ERR_SYNTAX, "syntax error after the address");
	if (!smtp_scan_params(&s, out_params))
		return err_set(err, ERR_SYNTAX, "syntax error in the parameters");
	return true;
}

static bool is_helo(unsigned char c)
{
	return c > 32 && c != 127 && c != '(' && c != ')' && c != '<' && c != '>' && c != '@' &&
	       c != ',' && c != ';' && c != '\\' && c != '"';
}

bool smtp_helo_parse(struct str args, struct str *out)
{
	struct scan s = scan_of(args);
	*out = scan_while(&s, is_helo);
	return out->n > 0 && out->n <= SMTP_HELO_MAX && scan_end(&s) && utf8_valid(*out);
}

bool smtp_bdat_parse(struct str args, uint64_t *out_size, bool *out_last)
{
	struct scan s = scan_of(args);
	*out_last = false;
	if (!scan_u64(&s, INT64_MAX, out_size))
		return false;
	if (scan_end(&s))
		return true;
	if (!scan_byte(&s, ' '))
		return false;
	scan_blanks(&s);
	*out_last = str_eq_nocase(scan_rest(&s), STR("LAST"));
	return *out_last;
}

/* sasl-mech = 1*20mech-char (RFC 4422 3.1) */
static bool is_mechanism(unsigned char c)
{
	return ascii_is(c, ASCII_UPPER | ASCII_LOWER | ASCII_DIGIT) || c == '-' || c == '_';
}

bool smtp_auth_parse(struct str args, struct str *out_mechanism, struct str *out_initial)
{
	struct scan s = scan_of(args);
	*out_mechanism = scan_while(&s, is_mechanism);
	*out_initial = STR_NONE;
	if (out_mechanism->n == 0 || out_mechanism->n > 20)
		return false;
	if (scan_end(&s))
		return true;
	if (!scan_byte(&s, ' '))
		return false;
	scan_blanks(&s);
	*out_initial = scan_rest(&s);
	return true;
}

bool smtp_auth_decode(struct str text, bool initial, struct buf *out)
{
	if (initial && str_eq(text, STR("=")))
		return true;
	return base64_decode(out, text);
}
