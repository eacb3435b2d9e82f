/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Words are collected until the character that says what they were: "<" a display-name, "@" a
 * local-part, ":" a group's name, "," or the end a lone word. What follows an address and fits
 * nowhere is passed over up to the next comma.
 */
#include "mime/address_list.h"
#include "base/arena.h"
#include "mime/mime_int.h"
#include "mime/words.h"
#include <string.h>

struct word {
	struct str text;
	bool quoted;
	bool blank_before; /* white space or a comment stands before it */
};
enum { WORDS_MAX = 1000 };

struct reader {
	struct scan s;
	struct arena *a;
	struct address_list *out;
	size_t cap;
	bool in_group;
	struct word *words;
	size_t word_n, word_cap;
	struct buf comment; /* the last one, for "a@b (Name)" */
};

static void add_item(struct reader *r, struct address_item item)
{
	struct address_list *l = r->out;
	if (l->n == ADDRESS_LIST_MAX) {
		l->broken = true;
		r->s.p = r->s.end;
		return;
	}
	if (l->n == r->cap) l->at = arena_grow(r->a, l->at, l->n, &r->cap, sizeof *l->at);
	l->at[l->n++] = item;
}

/* Skips blanks and comments; true when there was something. */
static bool blanks(struct reader *r)
{
	const char *from = r->s.p;
	size_t before = r->comment.n;
	BUF_SCOPED text = {0};
	lex_cfws_keep(&r->s, &text);
	if (text.n > 0) {
		buf_consume(&r->comment, before);
		buf_add(&r->comment, buf_str(&text));
	}
	return r->s.p > from;
}

/* An encoded word that holds specials (commas are common) is still one word (RFC 2047 5). */
static bool encoded_word(struct scan *s, struct str *out)
{
	struct str rest = str_sub(scan_rest(s), 0, 512);
	if (!str_starts(rest, STR("=?"))) return false;
	int marks = 0;
	for (size_t i = 2; i + 1 < rest.n; i++) {
		unsigned char c = (unsigned char)rest.p[i];
		if (c <= ' ' || c == '"') return false;
		if (c != '?') continue;
		if (++marks == 3) return rest.p[i + 1] == '=' && scan_take(s, i + 2, out);
	}
	return false;
}

/* atext and more: whatever is not one of the characters that part things here. */
static bool is_word(unsigned char c)
{
	return c > 32 && c != 127 && !memchr("\"(),:;<>@", c, 9);
}

/* One atom or quoted-string; false at a special or the end. */
static bool word(struct reader *r, bool blank_before)
{
	struct word w = {.blank_before = blank_before};
	BUF_SCOPED b = {0};
	if (lex_quoted(&r->s, &b)) {
		w.quoted = true;
		w.text = arena_str(r->a, buf_str(&b));
	} else if (!encoded_word(&r->s, &w.text)) {
		w.text = scan_while(&r->s, is_word);
		if (w.text.n == 0) return false;
	}
	if (r->word_n == WORDS_MAX) return true;
	if (r->word_n == r->word_cap)
		r->words = arena_grow(r->a, r->words, r->word_n, &r->word_cap, sizeof *r->words);
	r->words[r->word_n++] = w;
	return true;
}

static void words_until_special(struct reader *r)
{
	r->word_n = 0;
	bool blank = blanks(r);
	while (word(r, blank)) blank = blanks(r);
}

/* phrase: one blank where there were blanks */
static struct str phrase(struct reader *r, size_t n)
{
	BUF_SCOPED b = {0};
	if (n == 0) return STR_NONE;
	for (size_t i = 0; i < n; i++) {
		if (i > 0 && r->words[i].blank_before) buf_byte(&b, ' ');
		buf_add(&b, r->words[i].text);
	}
	return arena_str(r->a, b.n > 0 ? buf_str(&b) : STR(""));
}

/* The words that make a local-part: the last, and those joined to it by dots (obs-local-part has
 * blanks around them). Returns how many words before it are left. */
static size_t local_part(struct reader *r, struct str *out)
{
	size_t from = r->word_n;
	while (from > 0) {
		from--;
		if (from == 0) break;
		struct str w = r->words[from].text, before = r->words[from - 1].text;
		bool dotted = (w.n > 0 && w.p[0] == '.' && !r->words[from].quoted) ||
			      (before.n > 0 && before.p[before.n - 1] == '.' && !r->words[from - 1].quoted);
		if (r->words[from].blank_before && !dotted) break;
	}
	BUF_SCOPED b = {0};
	for (size_t i = from; i < r->word_n; i++) buf_add(&b, r->words[i].text);
	*out = r->word_n > 0 ? arena_str(r->a, b.n > 0 ? buf_str(&b) : STR("")) : STR_NONE;
	return from;
}

static bool is_domain(unsigned char c)
{
	return c > 32 && c != 127 && !memchr("\"(),:;<>@[]\\", c, 12);
}

/* domain = dot-atom / domain-literal, with blanks and comments around the dots (obs-domain) */
static struct str domain(struct reader *r)
{
	BUF_SCOPED b = {0};
	blanks(r);
	if (scan_peek(&r->s) == '[') {
		while (!scan_end(&r->s)) {
			char c = *r->s.p++;
			if (c != '\r' && c != '\n') buf_byte(&b, c);
			if (c == ']') break;
		}
		return arena_str(r->a, buf_str(&b));
	}
	for (;;) {
		struct str part = scan_while(&r->s, is_domain);
		if (part.n == 0) break;
		buf_add(&b, part);
		if (!blanks(r)) continue;
		if (b.p[b.n - 1] != '.' && scan_peek(&r->s) != '.') break;
	}
	return b.n > 0 ? arena_str(r->a, buf_str(&b)) : STR_NONE;
}

/* obs-route = "@" domain *("," "@" domain) ":" */
static struct str route(struct reader *r)
{
	struct scan before = r->s;
	BUF_SCOPED b = {0};
	do {
		blanks(r);
		if (scan_peek(&r->s) == ',') continue;
		if (!scan_byte(&r->s, '@')) break;
		struct str d = domain(r);
		if (b.n > 0) buf_byte(&b, ',');
		buf_byte(&b, '@');
		buf_add(&b, d);
		blanks(r);
		if (scan_byte(&r->s, ':')) return arena_str(r->a, buf_str(&b));
	} while (scan_byte(&r->s, ','));
	r->s = before;
	return STR_NONE;
}

/* angle-addr = "<" [obs-route] addr-spec ">" */
static void angle_addr(struct reader *r, struct address_item *item)
{
	blanks(r);
	if (scan_peek(&r->s) == '@') item->route = route(r);
	words_until_special(r);
	if (r->word_n > 0) {
		BUF_SCOPED b = {0};
		for (size_t i = 0; i < r->word_n; i++) {
			if (r->words[i].quoted || i == 0 || !r->words[i].blank_before) {
				buf_add(&b, r->words[i].text);
				continue;
			}
			bool dotted = r->words[i].text.p[0] == '.' || (b.n > 0 && b.p[b.n - 1] == '.');
			if (!dotted) {
				buf_byte(&b, ' ');
				r->out->broken = true;
			}
			buf_add(&b, r->words[i].text);
		}
		item->local = arena_str(r->a, b.n > 0 ? buf_str(&b) : STR(""));
	}
	if (scan_byte(&r->s, '@')) item->domain = domain(r);
	blanks(r);
	if (!scan_byte(&r->s, '>')) {
		r->out->broken = true;
		/* To the ">" that was meant, if it comes before the next address. */
		struct scan t = r->s;
		while (!scan_end(&t) && *t.p != '>' && *t.p != ',') t.p++;
		r->s = t;
		scan_byte(&r->s, '>');
	}
	if (!item->local.p || !item->domain.p) r->out->broken = true;
}

static void pass_to_comma(struct reader *r)
{
	blanks(r);
	while (!scan_end(&r->s)) {
		int c = scan_peek(&r->s);
		if (c == ',' || (c == ';' && r->in_group)) return;
		r->out->broken = true;
		BUF_SCOPED drop = {0};
		if (c == '(') blanks(r);
		else if (!lex_quoted(&r->s, &drop)) r->s.p++;
	}
}

/* "a@b" was read up to the end of its domain; name words may stand before it. */
static void addr_spec(struct reader *r)
{
	struct address_item item = {.kind = ADDRESS_ITEM_MAILBOX};
	size_t left = local_part(r, &item.local);
	item.name = phrase(r, left);
	if (left > 0) r->out->broken = true;
	buf_clear(&r->comment);
	item.domain = domain(r);
	blanks(r);
	if (scan_peek(&r->s) == '<') {
		/* a@b <c@d>: the first is meant as a name, wrongly without quotes */
		struct address_item real = {.kind = ADDRESS_ITEM_MAILBOX};
		real.name = arena_fmt(r->a, "%.*s%s%.*s@%.*s", STR_ARG(item.name), item.name.n > 0 ? " " : "",
				      STR_ARG(item.local), STR_ARG(item.domain));
		r->s.p++;
		angle_addr(r, &real);
		r->out->broken = true;
		add_item(r, real);
		return;
	}
	if (!item.local.p || !item.domain.p) r->out->broken = true;
	if (!item.name.p && r->comment.n > 0) item.name = arena_str(r->a, buf_str(&r->comment));
	add_item(r, item);
}

static void end_group(struct reader *r)
{
	if (r->in_group) add_item(r, (struct address_item){.kind = ADDRESS_ITEM_GROUP_END});
	r->in_group = false;
}

/* address = mailbox / group */
static void address(struct reader *r)
{
	struct address_item item = {.kind = ADDRESS_ITEM_MAILBOX};
	buf_clear(&r->comment);
	words_until_special(r);
	int c = scan_peek(&r->s);
	if (c == '<') {
		item.name = phrase(r, r->word_n);
		r->s.p++;
		angle_addr(r, &item);
		blanks(r);
		if (!item.name.p && r->comment.n > 0) item.name = arena_str(r->a, buf_str(&r->comment));
		add_item(r, item);
	} else if (c == '@') {
		r->s.p++;
		addr_spec(r);
	} else if (c == ':' && !r->in_group) {
		r->s.p++;
		item.kind = ADDRESS_ITEM_GROUP_START;
		item.name = phrase(r, r->word_n);
		r->in_group = true;
		add_item(r, item);
		return;
	} else if (r->word_n > 0) {
		/* A lone word is a login on the sender's machine, several are a name. */
		struct str lone;
		if (local_part(r, &lone) > 0) item.name = phrase(r, r->word_n);
		else item.local = lone;
		if (!item.name.p && r->comment.n > 0) item.name = arena_str(r->a, buf_str(&r->comment));
		r->out->broken = true;
		add_item(r, item);
	}
	pass_to_comma(r);
}

void address_list_parse(struct arena *a, struct str body, struct address_list *out)
{
	*out = (struct address_list){0};
	struct reader r = {.s = scan_of(body), .a = a, .out = out};
	for (blanks(&r); !scan_end(&r.s); blanks(&r)) {
		if (scan_byte(&r.s, ',')) continue;
		if (scan_byte(&r.s, ';')) {
			end_group(&r);
			continue;
		}
		const char *from = r.s.p;
		address(&r);
		/* Nothing fitted: one character is given up, so that we get on. */
		if (r.s.p == from) {
			out->broken = true;
			r.s.p++;
		}
	}
	end_group(&r);
	buf_free(&r.comment);
}

size_t address_list_mailboxes(struct arena *a, const struct address_list *list, struct address **out)
{
	size_t n = 0;
	struct address *at = arena_array(a, list->n + 1, sizeof *at);
	for (size_t i = 0; i < list->n; i++) {
		const struct address_item *it = &list->at[i];
		if (it->kind == ADDRESS_ITEM_MAILBOX && it->local.n > 0 && it->domain.n > 0)
			at[n++] = (struct address){it->local, it->domain};
	}
	*out = at;
	return n;
}

struct str address_item_addr(struct arena *a, const struct address_item *item)
{
	if (item->kind != ADDRESS_ITEM_MAILBOX || !item->local.p || !item->domain.p) return STR_NONE;
	return arena_fmt(a, "%.*s@%.*s", STR_ARG(item->local), STR_ARG(item->domain));
}

static void display_mailbox(struct buf *out, const struct address_item *it)
{
	bool addr = it->local.n > 0 || it->domain.n > 0;
	size_t before = out->n;
	if (it->name.n > 0) words_decode(out, it->name);
	if (!addr) return;
	bool named = out->n > before;
	if (named) buf_add(out, STR(" <"));
	words_decode(out, it->local);
	if (it->domain.n > 0) {
		buf_byte(out, '@');
		words_decode(out, it->domain);
	}
	if (named) buf_byte(out, '>');
}

void address_list_display(struct buf *out, const struct address_list *list)
{
	bool comma = false;
	for (size_t i = 0; i < list->n; i++) {
		const struct address_item *it = &list->at[i];
		if (it->kind == ADDRESS_ITEM_GROUP_END) {
			buf_byte(out, ';');
			continue;
		}
		if (comma) buf_add(out, STR(", "));
		comma = it->kind == ADDRESS_ITEM_MAILBOX;
		if (it->kind == ADDRESS_ITEM_MAILBOX) {
			display_mailbox(out, it);
		} else {
			words_decode(out, it->name);
			buf_add(out, STR(": "));
		}
	}
}
