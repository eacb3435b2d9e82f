/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Replies out of what people paste. A log may be long: each line is explained in scratch memory, and
 * only the first of its kind is explained again for keeping.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "explain/explain_int.h"

#include <string.h>

enum { RECIPIENTS_BYTES_MAX = 400, JOINED_LINES_MAX = 40, SHORT_PASTE_LINES = 12 };

/* Collecting ------------------------------------------------------------------------------ */

static bool same_kind(const struct explanation *x, const struct explanation *y)
{
	bool same = x->code == y->code && status_eq(x->status, y->status) && x->basis == y->basis &&
		    str_eq(x->rule, y->rule) && str_eq(x->host.en, y->host.en);
	/* What is in no table is told apart by its text. */
	return same && (x->basis != EXPLAIN_BY_NOTHING || str_eq(x->reply, y->reply));
}

static bool holds_address(struct str list, struct str address)
{
	while (list.n > 0) {
		if (str_eq_nocase(str_trim(str_cut(&list, ',')), address))
			return true;
	}
	return false;
}

static void add_recipient(struct collector *c, struct explain_item *item, struct str recipient)
{
	if (recipient.n == 0 || holds_address(item->recipients, recipient) ||
	    item->recipients.n + recipient.n > RECIPIENTS_BYTES_MAX)
		return;
	item->recipients = item->recipients.n == 0 ? arena_str(c->a, recipient)
						   : arena_fmt(c->a, "%.*s, %.*s", STR_ARG(item->recipients),
							       STR_ARG(recipient));
}

static struct explain_item *find_item(struct collector *c, const struct explanation *x)
{
	for (size_t i = 0; i < c->report->n; i++) {
		struct explain_item *item = &c->report->items[i];
		if (same_kind(&item->why, x) && str_eq(item->action, c->action))
			return item;
	}
	return NULL;
}

static struct explain_item *new_item(struct collector *c, struct str reply, struct str host)
{
	struct explain_report *r = c->report;
	r->items = arena_grow(c->a, r->items, r->n, &c->cap, sizeof *r->items);
	struct explain_item *item = &r->items[r->n++];
	*item = (struct explain_item){.action = c->action, .remote_mta = arena_str(c->a, host)};
	explain_reply(c->e, reply, host, c->a, &item->why);
	/* "Action: failed" behind a 4xx: whoever sent it has given up. */
	if (str_eq(c->action, STR("failed")) && item->why.kind != EXPLAIN_KIND_OK &&
	    item->why.kind != EXPLAIN_KIND_PERM) {
		item->why.kind = EXPLAIN_KIND_PERM;
		item->why.message = EXPLAIN_MESSAGE_GIVE_UP;
	}
	return item;
}

bool collector_add(struct collector *c, struct str reply, struct str host, struct str recipient, bool any)
{
	struct explanation x;
	host = host.n > 0 ? host : c->host;
	explain_reply(c->e, reply, host, c->scratch, &x);
	bool is_reply = x.code != 0 || x.status.class != 0 || (any && x.basis == EXPLAIN_BY_WORDING);
	if (is_reply) {
		struct explain_item *item = find_item(c, &x);
		if (!item && c->report->n == EXPLAIN_ITEMS_MAX)
			c->report->more++;
		else if (!item)
			item = new_item(c, reply, host);
		if (item) {
			item->count++;
			add_recipient(c, item, explain_clean(c->scratch, recipient, 254));
		}
	}
	return is_reply;
}

/* Lines ----------------------------------------------------------------------------------- */

/* The value of key= in a line of "key=value" pairs: "quoted" or up to a blank or comma. */
static struct str value_of(struct str line, struct str key)
{
	size_t at = 0;
	while ((at = str_find(str_from(line, at), key)) != STR_NPOS) {
		at = (size_t)(str_from(line, at).p - line.p);
		if (at == 0 || line.p[at - 1] == ' ' || line.p[at - 1] == ',')
			break;
		return STR("");
	}
	if (at == STR_NPOS)
		return STR("");
	struct str rest = str_from(line, at + key.n);
	if (str_starts(rest, STR("\""))) {
		size_t end = str_find_byte(str_from(rest, 1), '"');
		return str_sub(rest, 1, end);
	}
	for (size_t i = 0; i < rest.n; i++) {
		if (rest.p[i] == ' ' || rest.p[i] == ',')
			return str_sub(rest, 0, i);
	}
	return rest;
}

static struct str inside_brackets(struct str s)
{
	size_t open = str_find_byte(s, '('), close = str_find_last_byte(s, ')');
	if (open == STR_NPOS)
		return STR("");
	return str_sub(s, open + 1, close == STR_NPOS || close < open ? STR_NPOS : close - open - 1);
}

/* Postfix: "to=<a@b>, relay=mx[192.0.2.1]:25, ..., dsn=4.4.1, status=deferred (why)". */
static bool add_postfix(struct collector *c, struct str line)
{
	size_t at = str_find(line, STR(" status="));
	struct str dsn = value_of(line, STR("dsn="));
	if (at == STR_NPOS || dsn.n == 0)
		return false;
	struct str why = inside_brackets(str_from(line, at));
	struct reply_form form;
	if (str_starts(str_from(line, at), STR(" status=sent")) || why.n == 0)
		return true;
	reply_form_of(c->scratch, explain_clean(c->scratch, why, EXPLAIN_TEXT_MAX), &form);
	struct str reply = form.sure ? why : arena_fmt(c->scratch, "%.*s %.*s", STR_ARG(dsn), STR_ARG(why));
	struct str host = explain_find_host(line);
	return collector_add(c, reply, host, explain_find_recipient(c->scratch, line), false);
}

/* Our own lines: code=550 status=5.1.1 why="..." or reply="550 5.1.1 ...". */
static bool add_pairs(struct collector *c, struct str line)
{
	struct str reply = value_of(line, STR("reply=")), code = value_of(line, STR("code="));
	struct str rcpt = value_of(line, STR("rcpt="));
	uint64_t n;
	if (reply.n > 0)
		return collector_add(c, reply, explain_find_host(line), rcpt, false);
	if (code.n != 3 || !str_u64(code, 599, &n) || n < 400)
		return false;
	struct str status = value_of(line, STR("status=")), why = value_of(line, STR("why="));
	reply = arena_fmt(c->scratch, "%.*s %.*s %.*s", STR_ARG(code), STR_ARG(status), STR_ARG(why));
	return collector_add(c, reply, STR(""), rcpt, false);
}

/* qmail writes blanks as underscores: "failure: 192.0.2.1_..._Remote_host_said:_550_5.1.1_..." */
static struct str without_underscores(struct collector *c, struct str line)
{
	if (str_find(line, STR("_said:_")) == STR_NPOS && str_find(line, STR("failure:_")) == STR_NPOS &&
	    str_find(line, STR("failure: ")) == STR_NPOS && str_find(line, STR("deferral: ")) == STR_NPOS)
		return line;
	line = arena_str(c->scratch, str_sub(line, 0, EXPLAIN_TEXT_MAX));
	char *p = (char *)line.p;
	for (size_t i = 0; i < line.n; i++)
		p[i] = p[i] == '_' ? ' ' : p[i];
	return line;
}

static void add_line(struct collector *c, struct str line)
{
	struct reply_form form;
	if (add_postfix(c, line) || add_pairs(c, line))
		return;
	line = without_underscores(c, line);
	reply_form_of(c->scratch, explain_clean(c->scratch, line, EXPLAIN_TEXT_MAX), &form);
	bool accepted = form.code / 100 == 2 || form.code / 100 == 3 ||
			(form.code == 0 && form.status.class == 2);
	bool wanted = form.sure && (!accepted || c->report->lines <= 1);
	if (wanted)
		(void)collector_add(c, line, explain_find_host(line),
				    explain_find_recipient(c->scratch, line), false);
}

/* "<<< ", "> ", "S: " and the like before a line of a transcript. */
static struct str without_mark(struct str line)
{
	static const char *const marks[] = {"<<<", "<<", "<-", "S:", ">"};
	line = str_trim(line);
	for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
		if (str_starts(line, str_of(marks[i])))
			return str_trim(str_from(line, str_of(marks[i]).n));
	}
	return line;
}

static bool begins_with_code(struct str line, char *out_sep)
{
	if (line.n < 4 || line.p[0] < '2' || line.p[0] > '5' ||
	    !ascii_is((unsigned char)line.p[1], ASCII_DIGIT) ||
	    !ascii_is((unsigned char)line.p[2], ASCII_DIGIT) || (line.p[3] != '-' && line.p[3] != ' '))
		return false;
	*out_sep = line.p[3];
	return true;
}

/* What a client said, or a heading: never a part of the reply above it. */
static bool is_other(struct str line)
{
	return line.n == 0 || str_starts(line, STR(">>>")) || str_starts(line, STR("...")) ||
	       str_starts(line, STR("---")) || str_starts(line, STR("C:")) || line.p[0] == '<';
}

/* The line at the front of *rest and those that go on it: "550-", "550-", "550 ", or, in text that was
 * wrapped, lines without a code of their own. */
static struct str take_lines(struct collector *c, struct str *rest, bool wrapped)
{
	struct str raw = str_cut(rest, '\n'), line = without_mark(raw);
	BUF_SCOPED joined = {.max = EXPLAIN_TEXT_MAX};
	char sep, next_sep;
	c->report->lines++;
	if (!begins_with_code(line, &sep))
		return str_trim(raw);
	buf_add(&joined, line);
	for (unsigned n = 0; rest->n > 0 && n < JOINED_LINES_MAX; n++) {
		struct str after = *rest, raw_next = str_cut(&after, '\n'), next = without_mark(raw_next);
		bool coded = begins_with_code(next, &next_sep);
		bool goes_on = coded ? sep == '-' && str_eq(str_sub(next, 0, 3), str_sub(line, 0, 3))
				     : wrapped && !is_other(str_trim(raw_next));
		if (!goes_on)
			break;
		buf_byte(&joined, ' ');
		buf_add(&joined, next);
		sep = coded ? next_sep : sep;
		*rest = after;
		c->report->lines++;
	}
	return joined.failed ? line : arena_str(c->scratch, buf_str(&joined));
}

void collect_lines(struct collector *c, struct str text, bool wrapped)
{
	struct str rest = text;
	while (rest.n > 0) {
		struct str line = take_lines(c, &rest, wrapped);
		if (line.n > 0)
			add_line(c, line);
		arena_reset(c->scratch);
	}
}

static size_t count_lines(struct str s, size_t max)
{
	size_t n = 0;
	while (s.n > 0 && n < max)
		n += str_trim(str_cut(&s, '\n')).n > 0;
	return n;
}

void explain_paste(const struct explain *e, struct str text, struct arena *a, struct explain_report *out)
{
	ARENA_SCOPED scratch = arena_new();
	struct collector c = {.e = e, .a = a, .scratch = scratch, .report = out};
	size_t lines = count_lines(text, SHORT_PASTE_LINES + 1);
	*out = (struct explain_report){.kind = lines > 1 ? EXPLAIN_PASTE_LOG : EXPLAIN_PASTE_REPLY};
	if (lines > 1 && collect_message(&c, text)) {
		out->kind = EXPLAIN_PASTE_BOUNCE;
		return;
	}
	collect_lines(&c, text, lines <= SHORT_PASTE_LINES);
	/* No code anywhere: perhaps a wording that is known. */
	if (out->n == 0 && lines <= SHORT_PASTE_LINES)
		(void)collector_add(&c, text, explain_find_host(text), explain_find_recipient(a, text), true);
	if (out->n == 1 && out->items[0].count == 1 && lines <= SHORT_PASTE_LINES)
		out->kind = EXPLAIN_PASTE_REPLY;
}
