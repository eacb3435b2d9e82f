/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* imap/parse_append.c: see imap/append.h. */
#include "imap/append.h"

/* literal / literal8 of a message: its header and line end; the octets were taken elsewhere. */
static bool text_literal(struct parse *p, struct append_args *out)
{
	struct literal l;
	size_t at;

	if (scan_end(&p->s)) {
		out->at_literal = true;
		return false;
	}
	struct scan start = p->s;
	struct str line = scan_until_byte(&p->s, '\n');
	if (str_ends(line, STR("\r")))
		line.n--;
	if (literal_at_end(line, &l, &at) && at == 0 && scan_byte(&p->s, '\n')) {
		out->literals++;
		return true;
	}
	p->s = start;
	return parse_fail(p, "Missing message");
}

static struct append_part *new_part(struct parse *p, struct append_args *out, struct append_item *item)
{
	if (out->literals + out->urls >= APPEND_PARTS_MAX) {
		parse_fail(p, "Too many parts");
		return NULL;
	}
	item->parts = arena_grow(p->a, item->parts, item->parts_n, &item->parts_cap, sizeof(*item->parts));
	struct append_part *part = &item->parts[item->parts_n++];
	*part = (struct append_part){};
	return part;
}

static bool literal_part(struct parse *p, struct append_args *out, struct append_item *item)
{
	return new_part(p, out, item) && text_literal(p, out);
}

/* cat-part = text-literal / url; text-literal = "TEXT" SP literal; url = "URL" SP astring */
static bool cat_part(struct parse *p, struct append_args *out, struct append_item *item)
{
	if (parse_word(p, STR("TEXT")))
		return parse_sp(p) && literal_part(p, out, item);
	if (!parse_word(p, STR("URL")))
		return parse_fail(p, "Expected TEXT or URL");
	struct append_part *part = new_part(p, out, item);
	if (!part || !parse_sp(p) || !parse_astring(p, &part->url))
		return false;
	if (!part->url.p)
		part->url = STR("");
	out->urls++;
	return true;
}

/* append-data =/ "CATENATE" SP "(" cat-part *(SP cat-part) ")" */
static bool catenate(struct parse *p, struct append_args *out, struct append_item *item)
{
	item->catenate = true;
	if (!parse_sp(p) || !parse_char(p, '('))
		return false;
	do {
		if (!cat_part(p, out, item))
			return false;
	} while (scan_byte(&p->s, ' '));
	return parse_char(p, ')');
}

/* append-message = [flag-list SP] [date-time SP] append-data
 * append-data = literal / literal8 / "UTF8" SP "(" literal8 ")" / ... */
static bool append_message(struct parse *p, struct append_args *out)
{
	if (out->items_n == APPEND_MESSAGES_MAX)
		return parse_fail(p, "Too many messages");
	out->items = arena_grow(p->a, out->items, out->items_n, &out->items_cap, sizeof(*out->items));
	struct append_item *item = &out->items[out->items_n++];
	*item = (struct append_item){};
	if (scan_peek(&p->s) == '(' && (!parse_flag_list(p, &item->flags) || !parse_sp(p)))
		return false;
	if (scan_peek(&p->s) == '"') {
		if (!parse_date_time(p, &item->date) || !parse_sp(p))
			return false;
		item->has_date = true;
	}
	if (parse_word(p, STR("CATENATE")))
		return catenate(p, out, item);
	if (!parse_word(p, STR("UTF8")))
		return literal_part(p, out, item);
	item->utf8 = true;
	return parse_sp(p) && parse_char(p, '(') && literal_part(p, out, item) && parse_char(p, ')');
}

bool parse_append(struct parse *p, bool replace, struct append_args *out)
{
	*out = (struct append_args){.replace = replace};
	if (replace && (!parse_sequence_set(p, &out->set) || !parse_sp(p)))
		return false;
	if (!parse_mailbox(p, &out->mailbox) || !parse_sp(p))
		return false;
	do {
		if (!append_message(p, out))
			return false;
	} while (!replace && scan_byte(&p->s, ' '));
	return parse_end(p);
}
