/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/cmd_append.c: APPEND (RFC 9051 6.3.12; UTF8 RFC 6855 4; literal8 RFC 3516 4.4).
 *
 * The message's octets never stand in the command's text: when the reader meets the literal that
 * is the message, what is before it is parsed and checked, so that a client that waits for "+"
 * learns of a missing mailbox or a full quota before it sends; then the octets go to memory up to
 * MEMORY_MAX, beyond that to an anonymous file. OK follows when the store says it is durable.
 */
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "config/config.h"
#include "imap/imap_int.h"
#include "net/pending.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MEMORY_MAX = 1 << 20 };

struct append {
	struct buf memory;
	int fd;            /* -1: all is in memory */
	uint64_t size;
	bool binary;       /* literal8: may hold NUL */
	bool has_nul;
	bool failed;       /* the file could not be written */
	struct str content;
	struct new_message message;
	uint32_t uidvalidity;
};

struct append_args {
	struct str mailbox;
	struct flag_list flags;
	bool has_date, utf8;
	int64_t date;
};

void append_free(struct append *a)
{
	if (!a)
		return;
	buf_free(&a->memory);
	fd_close(&a->fd);
	free(a);
}

/* tag SP "APPEND" SP mailbox [SP flag-list] [SP date-time] SP (literal / "UTF8" SP "(" literal8 ")"),
 * up to the literal */
static bool parse_append(struct parse *p, struct append_args *out)
{
	*out = (struct append_args){};
	if (!parse_mailbox(p, &out->mailbox) || !parse_sp(p))
		return false;
	if (scan_peek(&p->s) == '(' && (!parse_flag_list(p, &out->flags) || !parse_sp(p)))
		return false;
	if (scan_peek(&p->s) == '"') {
		if (!parse_date_time(p, &out->date) || !parse_sp(p))
			return false;
		out->has_date = true;
	}
	if (parse_word(p, STR("UTF8"))) {
		out->utf8 = true;
		return parse_sp(p) && parse_char(p, '(');
	}
	return true;
}

static bool over_quota(struct imap *s, uint64_t size)
{
	struct quota_use q;
	struct err err;

	if (!account_quota(imap_account(s), &q, &err))
		return false; /* the store will say */
	return (q.bytes_max && (q.bytes >= q.bytes_max || size > q.bytes_max - q.bytes)) ||
	       (q.messages_max && q.messages >= q.messages_max);
}

static bool mailbox_is_there(struct imap *s, struct str name, struct err *err)
{
	struct mailbox_status st;

	return mailbox_status(imap_account(s), name, &st, err);
}

/* Refusals that need not wait for the octets. */
static bool refused(struct imap *s, const struct append_args *args, const struct literal *l)
{
	struct err err;

	if (args->utf8 && !(s->enabled & (ENABLED_UTF8 | ENABLED_REV2)))
		imap_bad(s, "UTF8 is not enabled");
	else if (l->too_big || l->n > config_size(s->served->config, SETTING_IMAP_MAX_APPEND))
		imap_no(s, "TOOBIG", "Message is larger than APPENDLIMIT");
	else if (l->n == 0)
		imap_no(s, "", "APPEND was cancelled"); /* RFC 3502: an empty literal */
	else if (!mailbox_is_there(s, args->mailbox, &err) && err.kind == ERR_NOT_FOUND)
		imap_no(s, "TRYCREATE", "No such mailbox");
	else if (over_quota(s, l->n))
		imap_no(s, "OVERQUOTA", "No room left in the account");
	else
		return false;
	return true;
}

bool append_wants(struct imap *s, struct str text, const struct literal *l)
{
	struct parse p = parse_of(text, s->arena, imap_utf8(s));
	struct append_args args;
	struct str tag, word;

	if (s->append) /* one message is there already */
		return false;
	if (!parse_tag(&p, &tag) || !parse_sp(&p) || !parse_atom(&p, &word) ||
	    !str_eq_nocase(word, STR("APPEND")) || !parse_sp(&p) || !parse_append(&p, &args) ||
	    !scan_end(&p.s))
		return false;
	s->command = (struct command){.tag = tag, .row = command_find(word)};
	if (refused(s, &args, l)) {
		s->refused = true;
		return true;
	}
	struct append *a = mem_new(struct append);
	a->fd = -1;
	a->binary = l->binary;
	s->append = a;
	s->command = (struct command){};
	return true;
}

static bool to_file(struct append *a, struct str octets)
{
	struct err err;

	if (a->fd < 0) {
		a->fd = memfd_create("append", MFD_CLOEXEC);
		if (a->fd < 0 || !file_write_all(a->fd, a->memory.p, a->memory.n, &err))
			return false;
		buf_free(&a->memory);
	}
	return file_write_all(a->fd, octets.p, octets.n, &err);
}

void append_take(struct imap *s)
{
	struct append *a = s->append;
	struct str in = conn_input(s->conn);

	if (in.n > s->reader.left)
		in.n = (size_t)s->reader.left;
	if (!in.n)
		return;
	a->has_nul |= str_has_byte(in, '\0');
	a->size += in.n;
	if (a->fd < 0 && a->memory.n + in.n <= MEMORY_MAX)
		buf_add(&a->memory, in);
	else if (!a->failed && !to_file(a, in))
		a->failed = true;
	s->reader.left -= in.n;
	conn_consume(s->conn, in.n);
}

/* Behind the literal's header, which is what is left of it in the text. */
static bool parse_rest(struct parse *p, const struct append_args *args)
{
	struct literal l;
	size_t at;
	struct str line = scan_until_byte(&p->s, '\n');

	if (str_ends(line, STR("\r")))
		line.n--;
	if (!literal_at_end(line, &l, &at) || at != 0 || !scan_byte(&p->s, '\n'))
		return parse_fail(p, "Missing message");
	return (!args->utf8 || parse_char(p, ')')) && parse_end(p);
}

static void release(void *append) { append_free(append); }

static enum step begin(struct imap *s, struct command *c)
{
	struct append *a = s->append;
	struct append_args args;
	struct err err;

	if (!parse_append(&c->p, &args) || !parse_rest(&c->p, &args) || !a)
		return imap_bad_syntax(s, &c->p);
	if (a->has_nul && !a->binary)
		return imap_bad(s, "NUL octets need a literal8");
	if (a->failed)
		return imap_no(s, "UNAVAILABLE", "No room for the message now");
	a->content = buf_str(&a->memory);
	a->message = (struct new_message){
		.id = id_new(),
		.parts = &a->content,
		.parts_n = a->fd < 0,
		.file_fd = a->fd,
		.file_size = a->fd < 0 ? 0 : a->size,
		.flags = args.flags.flags,
		.keywords = args.flags.keywords,
		.keywords_n = args.flags.keywords_n,
		.internaldate = args.has_date ? args.date : clock_wall_s(),
	};
	/* The journal may refer to the content until it is durable, even when the client goes away. */
	s->pending = pending_new(s->conn);
	pending_release(s->pending, release, a);
	s->append = NULL;
	if (!mailbox_append(imap_account(s), args.mailbox, &a->message, &a->uidvalidity, pending_done,
			    s->pending, &err)) {
		pending_unasked(s->pending);
		s->pending = NULL;
		return err.kind == ERR_NOT_FOUND ? imap_no(s, "TRYCREATE", "No such mailbox")
						 : imap_fail(s, &err);
	}
	c->state = a;
	return STEP_EVENT;
}

enum step cmd_append(struct imap *s, struct command *c)
{
	struct err outcome;

	if (!c->state)
		return begin(s, c);
	if (!pending_ready(s->pending, &outcome))
		return STEP_EVENT;
	const struct append *a = c->state;
	struct str code = arena_fmt(s->arena, "APPENDUID %u %u", a->uidvalidity, a->message.uid);
	pending_drop(s->pending);
	s->pending = NULL;
	return outcome.kind == ERR_NONE ? imap_ok_code(s, code, "APPEND completed") : imap_fail(s, &outcome);
}
