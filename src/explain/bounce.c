/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Whole bounces. The machine part (message/delivery-status, RFC 3464 2; also when pasted alone) counts
 * first. Bounces without one (qmail, old Exim and sendmail, Exchange, portals) are read paragraph by
 * paragraph until the copy of the message begins.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "explain/explain_int.h"
#include "mail/header.h"
#include "mime/part.h"
#include "mime/text.h"
#include "mime/words.h"

enum { STATUS_PART_MAX = 1 << 20, TEXT_PART_MAX_READ = 256 << 10, GROUPS_MAX = 2000, FIELDS_LOOKED_AT = 60 };

/* Is it a message? ------------------------------------------------------------------------ */

static bool is_usual_field(struct str name)
{
	static const char *const names[] = {
		"received",           "from",         "to",          "subject",      "date",
		"message-id",         "content-type", "return-path", "mime-version", "delivered-to",
		"x-failed-recipients"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if (str_eq_nocase(name, str_of(names[i])))
			return true;
	}
	return false;
}

/* Its first line is a header field, or mbox's "From ", and two of the usual ones are there. */
static bool is_message(struct str text)
{
	struct scan s = scan_of(str_sub(text, 0, header_length(text)));
	struct header_field f;
	struct str first = str_cut(&text, '\n');
	size_t colon = str_find_byte(first, ':');
	unsigned usual = 0;
	if (!str_starts(first, STR("From ")) &&
	    (colon == STR_NPOS || !header_name_valid(str_sub(first, 0, colon))))
		return false;
	for (unsigned n = 0; n < FIELDS_LOOKED_AT && header_next(&s, &f); n++)
		usual += is_usual_field(f.name);
	return usual >= 2;
}

/* The machine part ------------------------------------------------------------------------ */

static struct str field_text(struct arena *a, struct str group, struct str name)
{
	struct header_field f;
	BUF_SCOPED b = {0};
	if (!header_find(group, name, &f))
		return STR("");
	header_unfold(&b, f.body);
	return arena_str(a, str_trim(buf_str(&b)));
}

/* "type; value" (RFC 3464 2.1.2): the value. */
static struct str field_value(struct arena *a, struct str group, struct str name)
{
	struct str text = field_text(a, group, name), rest = text;
	str_cut(&rest, ';');
	return rest.p ? str_trim(rest) : text;
}

/* Fields up to an empty line; *rest stands behind it. */
static struct str take_group(struct str *rest)
{
	while (rest->n > 0 && (rest->p[0] == '\r' || rest->p[0] == '\n'))
		*rest = str_from(*rest, 1);
	struct str group = *rest;
	while (rest->n > 0) {
		const char *line_start = rest->p;
		if (str_trim(str_cut(rest, '\n')).n == 0)
			return str_sub(group, 0, (size_t)(line_start - group.p));
	}
	return group;
}

static bool has_code(struct collector *c, struct str reply)
{
	struct reply_form form;
	reply_form_of(c->a, explain_clean(c->a, reply, EXPLAIN_TEXT_MAX), &form);
	return form.code != 0;
}

static bool copy_begins(struct str line)
{
	static const char *const signs[] = {
		"below this line is a copy",      "this is a copy of the message",
		"original message headers",       "original message follows",
		"message header follows",         "----- original message",
		"--- undelivered message",        "return-path: <",
		"a copy of the original message", "원본 메일"};
	for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
		if (str_find_nocase(line, str_of(signs[i])) != STR_NPOS)
			return true;
	}
	return false;
}

/* The next paragraph: lines up to an empty one; *out_ends: the copy of the message follows. */
static struct str take_paragraph(struct str *rest, bool *out_end)
{
	const char *start = NULL, *end = NULL;
	while (rest->n > 0) {
		struct str line = str_trim(str_cut(rest, '\n'));
		if (copy_begins(line)) {
			*out_end = true;
			break;
		}
		if (line.n == 0 && start)
			break;
		if (line.n > 0) {
			start = start ? start : line.p;
			end = line.p + line.n;
		}
	}
	return start ? (struct str){start, (size_t)(end - start)} : STR("");
}

static struct str only_line(struct collector *c, struct str paragraph)
{
	return explain_clean(c->a, paragraph, EXPLAIN_TEXT_MAX);
}

/* The paragraph of the words for people that names the recipient; empty: none. */
static struct str paragraph_about(struct collector *c, struct str words, struct str recipient)
{
	bool end = false;
	while (recipient.n > 0 && words.n > 0 && !end) {
		struct str paragraph = take_paragraph(&words, &end);
		if (str_find_nocase(paragraph, recipient) != STR_NPOS)
			return only_line(c, paragraph);
	}
	return STR("");
}

/* What the words for people tell: the first reply that they quote. */
struct notice {
	struct str words, quoted;
};

/* The reply of a recipient: Diagnostic-Code, with Status before it when it has no code of its own (facts
 * 2.4); else what the words for people quote, or say of the recipient, or Status with its comment. */
static struct str reply_of_group(struct collector *c, struct str group, struct str recipient,
				 const struct notice *notice)
{
	struct str diagnostic = field_value(c->a, group, STR("Diagnostic-Code"));
	struct str comment = field_text(c->a, group, STR("Status")), status = comment;
	status = str_cut(&comment, ' ');
	if (diagnostic.n > 0 && has_code(c, diagnostic))
		return diagnostic;
	if (diagnostic.n == 0 && notice->quoted.n > 0)
		return notice->quoted;
	if (diagnostic.n == 0)
		diagnostic = comment.n > 0 ? comment : paragraph_about(c, notice->words, recipient);
	return arena_fmt(c->a, "%.*s %.*s", STR_ARG(status), STR_ARG(diagnostic));
}

static void collect_group(struct collector *c, struct str group, const struct notice *notice)
{
	struct str recipient = field_value(c->a, group, STR("Original-Recipient"));
	struct str host = field_value(c->a, group, STR("Remote-MTA"));
	if (recipient.n == 0 || str_find_byte(recipient, '@') == STR_NPOS)
		recipient = field_value(c->a, group, STR("Final-Recipient"));
	c->action = arena_lower(c->a, field_text(c->a, group, STR("Action")));
	c->action = explain_clean(c->a, c->action, 40);
	(void)collector_add(c, reply_of_group(c, group, recipient, notice), host, recipient, true);
	c->action = STR("");
	arena_reset(c->scratch);
}

static void collect_status_part(struct collector *c, struct str body, const struct notice *notice)
{
	struct str rest = body;
	for (unsigned n = 0; rest.n > 0 && n < GROUPS_MAX; n++) {
		struct str group = take_group(&rest);
		if (header_count(group, STR("Final-Recipient")) ||
		    header_count(group, STR("Diagnostic-Code")) ||
		    (header_count(group, STR("Status")) && header_count(group, STR("Action"))))
			collect_group(c, group, notice);
		if (c->report->reporting_mta.n == 0) {
			c->report->reporting_mta =
				explain_clean(c->a, field_value(c->a, group, STR("Reporting-MTA")), 255);
			c->report->arrival =
				explain_clean(c->a, field_text(c->a, group, STR("Arrival-Date")), 80);
		}
	}
}

/* Words for people ------------------------------------------------------------------------ */

static bool has_coded_line(struct str text)
{
	while (text.n > 0) {
		struct str line = str_trim(str_cut(&text, '\n'));
		if (str_starts(line, STR("(reason: ")))
			return true;
		if (str_starts(line, STR("<<<")))
			line = str_trim(str_from(line, 3));
		if (line.n > 4 && (line.p[0] == '4' || line.p[0] == '5') &&
		    (line.p[3] == ' ' || line.p[3] == '-') &&
		    ascii_is((unsigned char)line.p[1], ASCII_DIGIT) &&
		    ascii_is((unsigned char)line.p[2], ASCII_DIGIT))
			return true;
	}
	return false;
}

/* The first reply that is quoted anywhere in the text; empty: none. */
static struct str quoted_reply(struct collector *c, struct str text)
{
	bool end = false;
	struct str rest = text;
	while (rest.n > 0 && !end) {
		struct str line = only_line(c, take_paragraph(&rest, &end));
		if (line.n > 0 && has_code(c, line))
			return line;
	}
	return STR("");
}

static void collect_paragraph(struct collector *c, struct str paragraph, struct str *recipient)
{
	struct str address = explain_find_recipient(c->a, paragraph);
	struct reply_form form;
	if (address.n > 0)
		*recipient = address;
	size_t before = c->report->n;
	if (has_coded_line(paragraph)) {
		c->host = explain_find_host(paragraph);
		collect_lines(c, paragraph, true);
		c->host = STR("");
	} else {
		struct str line = only_line(c, paragraph);
		reply_form_of(c->a, line, &form);
		if (form.sure)
			(void)collector_add(c, line, explain_find_host(line), *recipient, false);
	}
	if (c->report->n > before && c->report->items[before].recipients.n == 0)
		c->report->items[before].recipients = explain_clean(c->a, *recipient, 254);
	arena_reset(c->scratch);
}

static bool holds_any(struct str text, const char *const *signs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (str_find_nocase(text, str_of(signs[i])) != STR_NPOS)
			return true;
	}
	return false;
}

static void collect_words(struct collector *c, struct str text, struct str recipient)
{
	static const char *const delays[] = {"delayed",
					     "will be retried",
					     "will continue to be",
					     "not need to resend",
					     "still trying",
					     "warning message only",
					     "지연되",
					     "다시 시도합"};
	bool end = false;
	struct str rest = text;
	c->action = holds_any(text, delays, sizeof delays / sizeof *delays) ? STR("delayed") : STR("failed");
	while (rest.n > 0 && !end)
		collect_paragraph(c, take_paragraph(&rest, &end), &recipient);
	/* No code in it at all (portals): its wording as a whole. */
	end = false;
	rest = text;
	while (c->report->n == 0 && rest.n > 0 && !end) {
		struct str line = only_line(c, take_paragraph(&rest, &end));
		(void)collector_add(c, line, explain_find_host(line), recipient, true);
		arena_reset(c->scratch);
	}
}

/* The message ----------------------------------------------------------------------------- */

static bool is_status_part(const struct mime_part *p)
{
	return mime_is(p, STR("message"), STR("delivery-status")) ||
	       mime_is(p, STR("text"), STR("delivery-status")) ||
	       mime_is(p, STR("message"), STR("global-delivery-status"));
}

static bool is_inside_copy(const struct mime_part *p)
{
	for (const struct mime_part *up = p->parent; up; up = up->parent) {
		if (up->kind == MIME_MESSAGE)
			return true;
	}
	return false;
}

/* The words of the notice itself: its first text part, plain rather than HTML. */
static struct str words_of(struct collector *c, const struct mime_message *m)
{
	BUF_SCOPED plain = {.max = TEXT_PART_MAX_READ}, html = {.max = TEXT_PART_MAX_READ};
	for (const struct mime_part *p = m->root; p; p = mime_next(p)) {
		bool text = mime_is(p, STR("text"), STR("")) && !is_status_part(p) && !is_inside_copy(p) &&
			    !mime_is(p, STR("text"), STR("rfc822-headers"));
		struct buf *out = mime_is(p, STR("text"), STR("html")) ? &html : &plain;
		if (text && out->n == 0)
			(void)text_of_part(out, m, p);
	}
	return arena_str(c->a, str_trim(buf_str(&plain)).n > 0 ? buf_str(&plain) : buf_str(&html));
}

/* By its header: from <>, from a mail system, or a subject that says so. */
static bool looks_like_bounce(struct collector *c, struct str header)
{
	static const char *const senders[] = {"mailer-daemon", "postmaster", "mail delivery", "mailadmin"};
	static const char *const subjects[] = {
		"undeliver", "deliver",   "failure",  "returned mail", "delay",    "warning",
		"반송",      "전송 실패", "전송실패", "전달 실패",     "전달되지", "보내지 못",
		"수신 실패", "발송 실패", "발송실패", "배달",          "리턴",     "지연"};
	struct str from = field_text(c->a, header, STR("From"));
	struct header_field f;
	struct str subject =
		header_find(header, STR("Subject"), &f) ? words_decode_str(c->a, f.body) : STR("");
	return str_eq(field_text(c->a, header, STR("Return-Path")), STR("<>")) ||
	       header_count(header, STR("X-Failed-Recipients")) ||
	       holds_any(from, senders, sizeof senders / sizeof *senders) ||
	       holds_any(subject, subjects, sizeof subjects / sizeof *subjects);
}

/* Subject of the message that came back. */
static void find_subject(struct collector *c, const struct mime_message *m)
{
	struct header_field f;
	for (const struct mime_part *p = m->root; p && c->report->subject.n == 0; p = mime_next(p)) {
		struct str header = STR("");
		if (mime_is(p, STR("text"), STR("rfc822-headers")))
			header = mime_part_body(m, p);
		else if (p->is_message && p->parent)
			header = mime_part_header(m, p);
		if (header.n > 0 && header_find(header, STR("Subject"), &f))
			c->report->subject = explain_clean(c->a, words_decode_str(c->a, f.body), 300);
	}
}

static void collect_status_parts(struct collector *c, const struct mime_message *m,
				 const struct notice *notice)
{
	for (const struct mime_part *p = m->root; p; p = mime_next(p)) {
		BUF_SCOPED body = {0};
		struct err err = {0};
		/* Of one that is too long, the beginning. */
		if (is_status_part(p) && !is_inside_copy(p) && mime_decode_part(m, p, 0, &body, &err))
			collect_status_part(
				c, arena_str(c->a, str_sub(buf_str(&body), 0, STATUS_PART_MAX)), notice);
	}
}

static bool is_bare_status_part(struct str text)
{
	struct str group = take_group(&text);
	return header_count(group, STR("Reporting-MTA")) || header_count(group, STR("Final-Recipient")) ||
	       header_count(group, STR("Diagnostic-Code"));
}

bool collect_message(struct collector *c, struct str text)
{
	if (is_bare_status_part(text)) {
		collect_status_part(c, text, &(struct notice){0});
		return c->report->n > 0;
	}
	if (!is_message(text))
		return false;
	struct mime_message *m = mime_parse(c->a, text);
	struct str header = mime_part_header(m, m->root), words = words_of(c, m);
	/* A multipart without boundaries. */
	if (words.n == 0)
		words = str_sub(mime_part_body(m, m->root), 0, TEXT_PART_MAX_READ);
	struct notice notice = {words, quoted_reply(c, words)};
	find_subject(c, m);
	collect_status_parts(c, m, &notice);
	if (c->report->n == 0 && looks_like_bounce(c, header))
		collect_words(c, words, field_text(c->a, header, STR("X-Failed-Recipients")));
	return true;
}
