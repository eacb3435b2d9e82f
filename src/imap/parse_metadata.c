/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* imap/parse_metadata.c: see imap/metadata.h. Rules are those of RFC 5464 section 5. */
#include "imap/metadata.h"
#include <limits.h>

/* entry = astring; slash-separated path, begins with "/"; no "*", "%", no octets outside %x20-7e,
 * no "//", no "/" at the end (section 3.2) */
static bool is_entry_name(struct str name)
{
	if (name.n < 2 || name.n > METADATA_NAME_MAX || name.p[0] != '/' || name.p[name.n - 1] == '/')
		return false;
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];
		if (c <= ' ' || c > '~' || c == '*' || c == '%' || (c == '/' && i && name.p[i - 1] == '/'))
			return false;
	}
	return true;
}

static bool is_known_tree(struct str name)
{
	return str_starts_nocase(name, STR("/private/")) || str_starts_nocase(name, STR("/shared/"));
}

/* What DEPTH may be asked of besides (RFC 5464 4.2.2). */
static bool is_whole_tree(struct str name)
{
	return str_eq_nocase(name, STR("/private")) || str_eq_nocase(name, STR("/shared"));
}

static bool entry_name(struct parse *p, bool may_be_tree, struct str *out)
{
	struct scan at = p->s;

	if (!parse_astring(p, out))
		return false;
	if (is_entry_name(*out) && (is_known_tree(*out) || (may_be_tree && is_whole_tree(*out))))
		return true;
	p->s = at;
	return parse_fail(p, "Invalid entry name");
}

static struct metadata_entry *new_entry(struct parse *p, struct metadata_args *out)
{
	if (out->n == METADATA_NAMES_MAX) {
		parse_fail(p, "Too many entries");
		return NULL;
	}
	if (!out->e)
		out->e = arena_array(p->a, METADATA_NAMES_MAX, sizeof(*out->e));
	out->e[out->n] = (struct metadata_entry){};
	return &out->e[out->n++];
}

bool parse_metadata_names(struct parse *p, struct metadata_args *out)
{
	struct metadata_entry *e;

	out->list = scan_byte(&p->s, '(');
	do {
		if (!(e = new_entry(p, out)) || !entry_name(p, true, &e->name))
			return false;
	} while (out->list && scan_byte(&p->s, ' '));
	return !out->list || parse_char(p, ')');
}

/* getmetadata-option = "DEPTH" SP ("0" / "1" / "infinity") / "MAXSIZE" SP number */
static bool option(struct parse *p, struct metadata_args *out)
{
	if (parse_word(p, STR("MAXSIZE"))) {
		out->has_maxsize = true;
		return parse_sp(p) && parse_number(p, &out->maxsize);
	}
	if (!parse_word(p, STR("DEPTH")) || !parse_sp(p))
		return parse_fail(p, "Unknown option");
	if (parse_word(p, STR("infinity")))
		out->depth = UINT_MAX;
	else if (parse_word(p, STR("1")))
		out->depth = 1;
	else if (!parse_word(p, STR("0")))
		return parse_fail(p, "Invalid DEPTH");
	return true;
}

static bool options(struct parse *p, struct metadata_args *out)
{
	do {
		if (!option(p, out))
			return false;
	} while (scan_byte(&p->s, ' '));
	return parse_char(p, ')');
}

/* "" is the server; all else a mailbox. */
static bool place(struct parse *p, struct metadata_args *out)
{
	if (scan_lit(&p->s, STR("\"\"")))
		out->mailbox = STR("");
	else if (!parse_mailbox(p, &out->mailbox))
		return false;
	return parse_sp(p);
}

/* "GETMETADATA" [SP options] SP mailbox SP entries. The RFC's examples have the options behind the
 * mailbox, and so do clients. */
bool parse_getmetadata(struct parse *p, struct metadata_args *out)
{
	*out = (struct metadata_args){};
	if (scan_byte(&p->s, '(') && (!options(p, out) || !parse_sp(p)))
		return false;
	if (!place(p, out))
		return false;
	if (scan_peek(&p->s) == '(' && scan_peek_at(&p->s, 1) != '/' && scan_peek_at(&p->s, 1) != '"' &&
	    scan_peek_at(&p->s, 1) != '{') {
		scan_byte(&p->s, '(');
		if (!options(p, out) || !parse_sp(p))
			return false;
	}
	return parse_metadata_names(p, out) && parse_end(p);
}

/* value = nstring / literal8 */
static bool value(struct parse *p, struct str *out)
{
	if (scan_peek(&p->s) == '~' && scan_peek_at(&p->s, 1) == '{')
		scan_byte(&p->s, '~');
	if (!parse_nstring(p, out))
		return false;
	return true;
}

/* "SETMETADATA" SP mailbox SP "(" entry SP value *(SP entry SP value) ")" */
bool parse_setmetadata(struct parse *p, struct metadata_args *out)
{
	struct metadata_entry *e;

	*out = (struct metadata_args){};
	if (!place(p, out) || !parse_char(p, '('))
		return false;
	do {
		if (!(e = new_entry(p, out)) || !entry_name(p, false, &e->name) || !parse_sp(p) ||
		    !value(p, &e->value))
			return false;
	} while (scan_byte(&p->s, ' '));
	return parse_char(p, ')') && parse_end(p);
}
