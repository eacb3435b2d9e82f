/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* imap/reply.c: tagged replies, BYE, and the table from kinds of errors to response codes. */
#include "base/log.h"
#include "imap/imap_int.h"

void imap_untagged(struct imap *s, const char *line)
{
	struct buf *b = imap_out(s);

	buf_add(b, STR("* "));
	buf_add(b, str_of(line));
	buf_add(b, STR("\r\n"));
}

void imap_bye(struct imap *s, const char *text)
{
	if (s->closing)
		return;
	struct buf *b = imap_out(s);
	buf_add(b, STR("* BYE "));
	buf_add(b, str_of(text));
	buf_add(b, STR("\r\n"));
	s->closing = true;
}

static enum step tagged(struct imap *s, const char *word, struct str code, struct str text)
{
	struct buf *b = imap_out(s);

	buf_add(b, s->command.tag.n ? s->command.tag : STR("*"));
	buf_byte(b, ' ');
	buf_add(b, str_of(word));
	if (code.n) {
		buf_add(b, STR(" ["));
		buf_add(b, code);
		buf_byte(b, ']');
	}
	buf_byte(b, ' ');
	write_text(b, imap_text(s, text));
	buf_add(b, STR("\r\n"));
	return STEP_DONE;
}

/* Updates come before the tagged reply, so that it closes a consistent picture. */
static enum step after_update(struct imap *s, const char *word, struct str code, struct str text)
{
	const struct command_row *row = s->command.row;
	unsigned flags = row ? row->flags : 0;

	if (s->view && !(flags & COMMAND_BREAKS) &&
	    !imap_update(s, flags & COMMAND_HOLDS && !s->command.uid))
		return STEP_DONE;
	return tagged(s, word, code, text);
}

enum step imap_ok(struct imap *s, const char *text)
{
	s->errors = 0;
	return after_update(s, "OK", STR_NONE, str_of(text));
}

enum step imap_ok_code(struct imap *s, struct str code, const char *text)
{
	s->errors = 0;
	return after_update(s, "OK", code, str_of(text));
}

enum step imap_no(struct imap *s, const char *code, const char *text)
{
	return after_update(s, "NO", str_of(code), str_of(text));
}

enum step imap_bad(struct imap *s, const char *text)
{
	s->errors++;
	return tagged(s, "BAD", STR_NONE, str_of(text));
}

enum step imap_bad_syntax(struct imap *s, const struct parse *p)
{
	if (p->bad_name)
		return imap_no(s, "CANNOT", p->why);
	return imap_bad(s, p->why ? p->why : "Syntax error");
}

const char *imap_code_of(enum err_kind kind)
{
	switch (kind) {
	case ERR_NONE:
		return "";
	case ERR_SYNTAX:
	case ERR_CONFLICT:
		return "CANNOT";
	case ERR_LIMIT:
		return "LIMIT";
	case ERR_DENIED:
		return "NOPERM";
	case ERR_NOT_FOUND:
		return "NONEXISTENT";
	case ERR_EXISTS:
		return "ALREADYEXISTS";
	case ERR_QUOTA:
		return "OVERQUOTA";
	case ERR_TEMP:
	case ERR_IO:
		return "UNAVAILABLE";
	case ERR_CORRUPT:
		return "CORRUPTION";
	case ERR_GONE:
		return "EXPUNGEISSUED";
	}
	return "";
}

enum step imap_fail(struct imap *s, const struct err *err)
{
	if (err->kind == ERR_TEMP || err->kind == ERR_IO || err->kind == ERR_CORRUPT)
		log_err(LOG_WARN, "imap.fail", err); /* the role has set the context */
	const char *text = *err->text ? err->text : "Cannot be done";
	return after_update(s, "NO", str_of(imap_code_of(err->kind)), str_of(text));
}
