/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* imap/parse_list.c: arguments of LIST and LSUB, and their patterns (imap/list.h). */
#include "imap/imap_int.h"
#include "imap/list.h"

struct option {
	const char *word;
	unsigned bit;
};
static const struct option selects[] = {
	{"SUBSCRIBED", LIST_SELECT_SUBSCRIBED},
	{"REMOTE", LIST_SELECT_REMOTE},
	{"RECURSIVEMATCH", LIST_SELECT_RECURSIVE},
	{"SPECIAL-USE", LIST_SELECT_SPECIAL_USE},
};
static const struct option returns[] = {
	{"SUBSCRIBED", LIST_RETURN_SUBSCRIBED},
	{"CHILDREN", LIST_RETURN_CHILDREN},
	{"SPECIAL-USE", LIST_RETURN_SPECIAL_USE},
	{"STATUS", LIST_RETURN_STATUS},
	{"MYRIGHTS", LIST_RETURN_MYRIGHTS},
	{"METADATA", LIST_RETURN_METADATA},
};

static unsigned option(struct parse *p, const struct option *o, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (parse_word(p, str_of(o[i].word)))
			return o[i].bit;
	return 0;
}

/* list-select-opts = "(" [...] ")"; RECURSIVEMATCH stands not alone (RFC 5258 3) */
static bool select_options(struct parse *p, struct list_args *out)
{
	if (scan_byte(&p->s, ')'))
		return true;
	do {
		unsigned bit = option(p, selects, sizeof(selects) / sizeof(*selects));
		if (!bit)
			return parse_fail(p, "Unknown selection option");
		out->select |= bit;
	} while (scan_byte(&p->s, ' '));
	if (out->select & LIST_SELECT_RECURSIVE &&
	    !(out->select & (LIST_SELECT_SUBSCRIBED | LIST_SELECT_SPECIAL_USE)))
		return parse_fail(p, "RECURSIVEMATCH needs another selection option");
	return parse_char(p, ')');
}

static bool return_options(struct parse *p, struct list_args *out)
{
	if (!parse_word(p, STR("RETURN")) || !parse_sp(p) || !parse_char(p, '('))
		return false;
	if (scan_byte(&p->s, ')'))
		return true;
	do {
		unsigned bit = option(p, returns, sizeof(returns) / sizeof(*returns));
		if (!bit)
			return parse_fail(p, "Unknown return option");
		out->returns |= bit;
		if (bit == LIST_RETURN_STATUS && (!parse_sp(p) || !parse_status_items(p, &out->status_items)))
			return false;
		if (bit == LIST_RETURN_METADATA &&
		    (out->metadata.n || !parse_sp(p) || scan_peek(&p->s) != '(' ||
		     !parse_metadata_names(p, &out->metadata)))
			return parse_fail(p, "Invalid METADATA option");
	} while (scan_byte(&p->s, ' '));
	return parse_char(p, ')');
}

/* list-char = ATOM-CHAR / list-wildcards / resp-specials */
static bool list_char(unsigned char c)
{
	return c > ' ' && c < 0x7f && c != '(' && c != ')' && c != '{' && c != '"' && c != '\\';
}

/* list-mailbox = 1*list-char / string, to UTF-8 with the reference in front */
static bool add_pattern(struct parse *p, struct list_args *out, size_t *cap)
{
	struct str raw = scan_while(&p->s, list_char), name = STR_NONE;

	if (out->patterns_n == LIST_PATTERNS_MAX)
		return parse_fail(p, "Too many patterns");
	if (!raw.n && !parse_string(p, &raw))
		return false;
	if (raw.n > LIST_PATTERN_MAX)
		return parse_fail(p, "Pattern is too long");
	/* What no name can be written like matches none; nor does the empty pattern. */
	if (!mailbox_decode(p, raw, true, &name))
		name = STR_NONE;
	out->ask_delimiter = !raw.n;
	out->patterns = arena_grow(p->a, out->patterns, out->patterns_n, cap, sizeof(*out->patterns));
	out->patterns[out->patterns_n++] = name.n ? arena_cat(p->a, out->reference, name) : STR("");
	return true;
}

static bool reference(struct parse *p, struct list_args *out)
{
	struct str raw;

	if (!parse_astring(p, &raw))
		return false;
	return (raw.n <= LIST_PATTERN_MAX && mailbox_decode(p, raw, true, &out->reference)) ||
	       parse_fail(p, "Invalid reference");
}

/* "LIST" [SP list-select-opts] SP mailbox SP mbox-or-pat [SP list-return-opts] */
bool parse_list(struct parse *p, struct list_args *out)
{
	size_t cap = 0;

	*out = (struct list_args){};
	if (scan_byte(&p->s, '(')) {
		out->extended = true;
		if (!select_options(p, out) || !parse_sp(p))
			return false;
	}
	if (!reference(p, out) || !parse_sp(p))
		return false;
	if (scan_byte(&p->s, '(')) {
		out->extended = true;
		do {
			if (!add_pattern(p, out, &cap))
				return false;
		} while (scan_byte(&p->s, ' '));
		if (!parse_char(p, ')'))
			return false;
	} else if (!add_pattern(p, out, &cap)) {
		return false;
	}
	if (scan_byte(&p->s, ' ')) {
		out->extended = true;
		if (!return_options(p, out))
			return false;
	}
	out->ask_delimiter = out->ask_delimiter && !out->extended;
	return parse_end(p);
}

/* "LSUB" SP mailbox SP list-mailbox */
bool parse_lsub(struct parse *p, struct list_args *out)
{
	size_t cap = 0;

	*out = (struct list_args){};
	return reference(p, out) && parse_sp(p) && add_pattern(p, out, &cap) && parse_end(p);
}

/* ---- patterns --------------------------------------------------------------------------- */

static bool same(char pattern, char name, bool nocase)
{
	return nocase ? ascii_lower(pattern) == ascii_lower(name) : pattern == name;
}

/* Going on from the last wildcard when a later one failed is enough for "*"; "%" may have to give up
 * to a "*" before it. */
static bool matches(struct str pattern, struct str name, bool inbox)
{
	size_t p = 0, n = 0;
	size_t star_p = STR_NPOS, star_n = 0, percent_p = STR_NPOS, percent_n = 0;

	for (;;) {
		char c = p < pattern.n ? pattern.p[p] : '\0';
		if (p < pattern.n && c == '*') {
			star_p = ++p;
			star_n = n;
			percent_p = STR_NPOS;
			continue;
		}
		if (p < pattern.n && c == '%') {
			percent_p = ++p;
			percent_n = n;
			continue;
		}
		if (p == pattern.n && n == name.n)
			return true;
		if (p < pattern.n && n < name.n && same(c, name.p[n], inbox && n < 5)) {
			p++;
			n++;
			continue;
		}
		if (percent_p != STR_NPOS && percent_n < name.n && name.p[percent_n] != '/') {
			p = percent_p;
			n = ++percent_n;
		} else if (star_p != STR_NPOS && star_n < name.n) {
			p = star_p;
			n = ++star_n;
			percent_p = STR_NPOS;
		} else {
			return false;
		}
	}
}

bool list_matches(struct str pattern, struct str name)
{
	bool inbox = str_starts(name, STR("INBOX")) && (name.n == 5 || name.p[5] == '/');

	return matches(pattern, name, inbox);
}

bool list_matches_parent(struct str pattern, struct str name, struct str *out_parent)
{
	for (size_t i = 1; i < name.n; i++)
		if (name.p[i] == '/' && list_matches(pattern, str_sub(name, 0, i))) {
			*out_parent = str_sub(name, 0, i);
			return true;
		}
	return false;
}
