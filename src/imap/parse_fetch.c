/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* imap/parse_fetch.c: the arguments of FETCH and UID FETCH (imap/fetch.h). */
#include "base/buf.h"
#include "imap/fetch.h"
#include "imap/write.h"

/* section-part = nz-number *("." nz-number) */
static bool section_part(struct parse *p, struct section *out)
{
	uint32_t path[SECTION_PATH_MAX];
	size_t n = 0;

	if (!ascii_is((unsigned char)scan_peek(&p->s), ASCII_DIGIT) || scan_end(&p->s))
		return true;
	do {
		if (n == SECTION_PATH_MAX)
			return parse_fail(p, "Section is too deep");
		if (!parse_nz_number(p, &path[n]))
			return false;
		n++;
	} while (scan_peek(&p->s) == '.' && ascii_is((unsigned char)scan_peek_at(&p->s, 1), ASCII_DIGIT) &&
		 scan_peek_at(&p->s, 1) >= 0 && scan_byte(&p->s, '.'));
	uint32_t *copy = arena_array(p->a, n, sizeof(*copy));
	for (size_t i = 0; i < n; i++)
		copy[i] = path[i];
	out->path = copy;
	out->path_n = n;
	return true;
}

/* header-list = "(" header-fld-name *(SP header-fld-name) ")" */
static bool header_list(struct parse *p, struct section *out)
{
	struct str *f = NULL;
	size_t n = 0, cap = 0;

	if (!parse_char(p, '('))
		return false;
	do {
		f = arena_grow(p->a, f, n, &cap, sizeof(*f));
		if (!parse_astring(p, &f[n]))
			return false;
		n++;
	} while (scan_byte(&p->s, ' '));
	out->fields = f;
	out->field_n = n;
	return parse_char(p, ')');
}

/* section-text = section-msgtext / "MIME"
 * section-msgtext = "HEADER" / "HEADER.FIELDS" [".NOT"] SP header-list / "TEXT" */
static bool section_text(struct parse *p, struct section *out)
{
	if (scan_lit_nocase(&p->s, STR("HEADER.FIELDS.NOT")))
		out->kind = SECTION_HEADER_FIELDS_NOT;
	else if (scan_lit_nocase(&p->s, STR("HEADER.FIELDS")))
		out->kind = SECTION_HEADER_FIELDS;
	else if (scan_lit_nocase(&p->s, STR("HEADER")))
		out->kind = SECTION_HEADER;
	else if (scan_lit_nocase(&p->s, STR("TEXT")))
		out->kind = SECTION_TEXT;
	else if (out->path_n && scan_lit_nocase(&p->s, STR("MIME")))
		out->kind = SECTION_MIME;
	else
		return parse_fail(p, "Invalid section");
	if (out->kind != SECTION_HEADER_FIELDS && out->kind != SECTION_HEADER_FIELDS_NOT)
		return true;
	return parse_sp(p) && header_list(p, out);
}

bool parse_section(struct parse *p, bool binary, struct section *out)
{
	*out = (struct section){.kind = SECTION_WHOLE};
	if (!parse_char(p, '[') || !section_part(p, out))
		return false;
	if (scan_byte(&p->s, ']'))
		return true;
	if (binary || (out->path_n && !scan_byte(&p->s, '.')))
		return parse_fail(p, "Invalid section");
	return section_text(p, out) && parse_char(p, ']');
}

/* partial = "<" number64 "." nz-number64 ">" */
static bool partial(struct parse *p, struct fetch_section *out)
{
	if (!scan_byte(&p->s, '<'))
		return true;
	out->partial = true;
	if (parse_number64(p, &out->at) && scan_byte(&p->s, '.') && parse_number64(p, &out->n) && out->n &&
	    scan_byte(&p->s, '>'))
		return true;
	return parse_fail(p, "Invalid partial");
}

static void label_section(struct buf *b, const struct section *s)
{
	static const char *const words[] = {
		[SECTION_WHOLE] = "",
		[SECTION_HEADER] = "HEADER",
		[SECTION_HEADER_FIELDS] = "HEADER.FIELDS (",
		[SECTION_HEADER_FIELDS_NOT] = "HEADER.FIELDS.NOT (",
		[SECTION_TEXT] = "TEXT",
		[SECTION_MIME] = "MIME",
	};

	for (size_t i = 0; i < s->path_n; i++) {
		if (i)
			buf_byte(b, '.');
		buf_u64(b, s->path[i]);
	}
	if (s->path_n && s->kind != SECTION_WHOLE)
		buf_byte(b, '.');
	buf_add(b, str_of(words[s->kind]));
	for (size_t i = 0; i < s->field_n; i++) {
		if (i)
			buf_byte(b, ' ');
		write_astring(b, s->fields[i], false);
	}
	if (s->field_n)
		buf_byte(b, ')');
}

static struct str label(struct arena *a, const char *word, const struct fetch_section *f)
{
	BUF_SCOPED b = {};

	buf_add(&b, str_of(word));
	buf_byte(&b, '[');
	label_section(&b, &f->section);
	buf_byte(&b, ']');
	if (f->partial) {
		buf_byte(&b, '<');
		buf_u64(&b, f->at);
		buf_byte(&b, '>');
	}
	return arena_str(a, buf_str(&b));
}

struct adding {
	struct fetch_args *args;
	size_t cap;
};

static struct fetch_section *add_section(struct parse *p, struct adding *to)
{
	struct fetch_args *f = to->args;

	if (f->sections_n == FETCH_SECTIONS_MAX) {
		parse_fail(p, "Too many sections");
		return NULL;
	}
	f->sections = arena_grow(p->a, f->sections, f->sections_n, &to->cap, sizeof(*f->sections));
	struct fetch_section *s = &f->sections[f->sections_n++];
	*s = (struct fetch_section){};
	return s;
}

/* "BODY" section [partial] / "BODY.PEEK" section [partial] / "BINARY" [".PEEK"] section-binary
 * [partial] / "BINARY.SIZE" section-binary */
static bool with_section(struct parse *p, struct adding *to, enum fetch_how how, bool peek)
{
	struct fetch_section *f = add_section(p, to);

	if (!f || !parse_section(p, how != FETCH_OCTETS, &f->section))
		return false;
	f->how = how;
	f->seen = !peek && how != FETCH_DECODED_SIZE;
	if (how != FETCH_DECODED_SIZE && !partial(p, f))
		return false;
	f->label = label(p->a,
			 how == FETCH_OCTETS    ? "BODY"
			 : how == FETCH_DECODED ? "BINARY"
						: "BINARY.SIZE",
			 f);
	return true;
}

/* RFC822, RFC822.HEADER, RFC822.TEXT of RFC 3501 */
static bool old_section(struct parse *p, struct adding *to, struct str word, enum section_kind kind,
			bool seen)
{
	struct fetch_section *f = add_section(p, to);

	if (!f)
		return false;
	f->section.kind = kind;
	f->seen = seen;
	f->label = word;
	return true;
}

static const struct {
	const char *word;
	unsigned items;
} plain_items[] = {
	{"UID", FETCH_UID},           {"FLAGS", FETCH_FLAGS},       {"INTERNALDATE", FETCH_INTERNALDATE},
	{"RFC822.SIZE", FETCH_SIZE},  {"ENVELOPE", FETCH_ENVELOPE}, {"BODYSTRUCTURE", FETCH_BODYSTRUCTURE},
	{"BODY", FETCH_BODY},         {"MODSEQ", FETCH_MODSEQ},     {"EMAILID", FETCH_EMAILID},
	{"THREADID", FETCH_THREADID}, {"SAVEDATE", FETCH_SAVEDATE},
};
static const struct {
	const char *word;
	unsigned items;
} macros[] = {
	{"ALL", FETCH_FLAGS | FETCH_INTERNALDATE | FETCH_SIZE | FETCH_ENVELOPE},
	{"FAST", FETCH_FLAGS | FETCH_INTERNALDATE | FETCH_SIZE},
	{"FULL", FETCH_FLAGS | FETCH_INTERNALDATE | FETCH_SIZE | FETCH_ENVELOPE | FETCH_BODY},
};

/* The atom in front of "[": letters, digits and dots. */
static bool item_char(unsigned char c)
{
	return ascii_is(c, ASCII_UPPER | ASCII_LOWER | ASCII_DIGIT) || c == '.';
}

/* "PREVIEW" [SP "(" preview-mod *(SP preview-mod) ")"]; preview-mod = "LAZY" (RFC 8970 6). It is made
 * at once in any case. */
static bool preview(struct parse *p, struct fetch_args *out)
{
	out->items |= FETCH_PREVIEW;
	if (!scan_lit_nocase(&p->s, STR(" (LAZY")))
		return true;
	p->s.p -= 4;
	do {
		if (!parse_word(p, STR("LAZY")))
			return parse_fail(p, "Unknown PREVIEW modifier");
	} while (scan_byte(&p->s, ' '));
	return parse_char(p, ')');
}

/* fetch-att */
static bool fetch_att(struct parse *p, struct adding *to)
{
	struct str w = scan_while(&p->s, item_char);

	if (scan_peek(&p->s) == '[') {
		if (str_eq_nocase(w, STR("BODY")))
			return with_section(p, to, FETCH_OCTETS, false);
		if (str_eq_nocase(w, STR("BODY.PEEK")))
			return with_section(p, to, FETCH_OCTETS, true);
		if (str_eq_nocase(w, STR("BINARY")))
			return with_section(p, to, FETCH_DECODED, false);
		if (str_eq_nocase(w, STR("BINARY.PEEK")))
			return with_section(p, to, FETCH_DECODED, true);
		if (str_eq_nocase(w, STR("BINARY.SIZE")))
			return with_section(p, to, FETCH_DECODED_SIZE, true);
	}
	if (str_eq_nocase(w, STR("PREVIEW")))
		return preview(p, to->args);
	if (str_eq_nocase(w, STR("RFC822")))
		return old_section(p, to, STR("RFC822"), SECTION_WHOLE, true);
	if (str_eq_nocase(w, STR("RFC822.HEADER")))
		return old_section(p, to, STR("RFC822.HEADER"), SECTION_HEADER, false);
	if (str_eq_nocase(w, STR("RFC822.TEXT")))
		return old_section(p, to, STR("RFC822.TEXT"), SECTION_TEXT, true);
	for (size_t i = 0; i < sizeof(plain_items) / sizeof(*plain_items); i++)
		if (str_eq_nocase(w, str_of(plain_items[i].word))) {
			to->args->items |= plain_items[i].items;
			return true;
		}
	return parse_fail(p, "Unknown FETCH item");
}

static bool macro(struct parse *p, struct fetch_args *out)
{
	for (size_t i = 0; i < sizeof(macros) / sizeof(*macros); i++)
		if (parse_word(p, str_of(macros[i].word))) {
			out->items |= macros[i].items;
			return true;
		}
	return false;
}

/* fetch-modifiers = SP "(" fetch-modifier *(SP fetch-modifier) ")", CHANGEDSINCE, VANISHED, PARTIAL */
static bool modifiers(struct parse *p, struct fetch_args *out)
{
	if (scan_end(&p->s))
		return true;
	if (!parse_sp(p) || !parse_char(p, '('))
		return false;
	do {
		if (parse_word(p, STR("CHANGEDSINCE"))) {
			if (!parse_sp(p) || !parse_number64(p, &out->changed_since))
				return false;
			out->has_changed_since = true;
		} else if (parse_word(p, STR("VANISHED"))) {
			out->vanished = true;
		} else if (parse_word(p, STR("PARTIAL"))) {
			if (out->has_partial || !parse_sp(p) || !parse_partial(p, &out->partial))
				return parse_fail(p, "Invalid PARTIAL");
			out->has_partial = true;
		} else {
			return parse_fail(p, "Unknown FETCH modifier");
		}
	} while (scan_byte(&p->s, ' '));
	if (out->vanished && !out->has_changed_since)
		return parse_fail(p, "VANISHED needs CHANGEDSINCE");
	return parse_char(p, ')');
}

bool parse_fetch_items(struct parse *p, struct fetch_args *out)
{
	struct adding to = {.args = out};

	*out = (struct fetch_args){};
	if (!parse_char(p, '('))
		return false;
	do {
		if (!fetch_att(p, &to))
			return false;
	} while (scan_byte(&p->s, ' '));
	return parse_char(p, ')');
}

bool parse_fetch(struct parse *p, struct fetch_args *out)
{
	struct adding to = {.args = out};

	*out = (struct fetch_args){};
	if (!parse_sequence_set(p, &out->set) || !parse_sp(p))
		return false;
	if (scan_byte(&p->s, '(')) {
		do {
			if (!macro(p, out) && !fetch_att(p, &to))
				return false;
		} while (scan_byte(&p->s, ' '));
		if (!parse_char(p, ')'))
			return false;
	} else if (!macro(p, out) && !fetch_att(p, &to)) {
		return false;
	}
	return modifiers(p, out) && parse_end(p);
}
