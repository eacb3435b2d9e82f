/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/append_take.c: messages that come in as literals of APPEND and REPLACE.
 *
 * When the reader meets a literal that is a message, or a piece of one, what is before it is parsed
 * and checked, so that a client that waits for "+" learns of a missing mailbox or a full quota
 * before it sends; then the octets go into struct append, past the command's text.
 */
#include "imap/append_take.h"
#include "base/mem.h"
#include "config/config.h"
#include "imap/stream.h"
#include <stdlib.h>

/* Of one command, in units of imap.max_append: messages wait in memory until all are there. */
enum { TOTAL_IN_LIMITS = 4 };

void append_free(struct append *a)
{
	if (!a)
		return;
	for (size_t i = 0; i < a->messages_n; i++)
		octets_fini(&a->messages[i]);
	free(a->messages);
	free(a->texts);
	free(a);
}

uint64_t append_limit(const struct imap *s)
{
	return config_size(s->served->config, SETTING_IMAP_MAX_APPEND);
}

bool append_over_quota(struct imap *s, uint64_t size, size_t messages)
{
	struct quota_use q;
	struct err err;

	if (!account_is_limited(imap_account(s)) || !account_quota(imap_account(s), &q, &err))
		return false; /* the store will say */
	return (q.bytes_max && (q.bytes >= q.bytes_max || size > q.bytes_max - q.bytes)) ||
	       (q.messages_max && (q.messages >= q.messages_max || messages > q.messages_max - q.messages));
}

bool append_mailbox_missing(struct imap *s, struct str name)
{
	struct err err;

	return !mailbox_exists(imap_account(s), name, &err) && err.kind == ERR_NOT_FOUND;
}

/* Octets of the message that the literal goes on with. */
static uint64_t so_far(const struct append *a, const struct append_args *args)
{
	return a && a->messages_n == args->items_n ? a->messages[a->messages_n - 1].size : 0;
}

/* Refusals that need not wait for the octets. */
static bool refused(struct imap *s, const struct append_args *args, const struct literal *l)
{
	const struct append_item *item = &args->items[args->items_n - 1];
	const struct append *a = s->append;
	uint64_t limit = append_limit(s), total = a ? a->total : 0;

	if (item->utf8 && !(s->enabled & (ENABLED_UTF8 | ENABLED_REV2)))
		imap_bad(s, "UTF8 is not enabled");
	else if (l->too_big || l->n > limit || so_far(a, args) > limit - l->n)
		imap_no(s, "TOOBIG", "Message is larger than APPENDLIMIT");
	else if (total + l->n > TOTAL_IN_LIMITS * limit)
		imap_no(s, "TOOBIG", "Messages are too large together");
	else if (l->n == 0 && !item->catenate)
		imap_no(s, "", "APPEND was cancelled"); /* RFC 3502 6.3.11: an empty literal */
	else if (append_mailbox_missing(s, args->mailbox))
		imap_no(s, "TRYCREATE", "No such mailbox");
	else if (append_over_quota(s, total + l->n, args->items_n))
		imap_no(s, "OVERQUOTA", "No room left in the account");
	else
		return false;
	return true;
}

/* tag SP ["UID" SP] ("APPEND" / "REPLACE") SP */
static bool parse_head(struct parse *p, struct command *out)
{
	struct str word;

	*out = (struct command){};
	if (!parse_tag(p, &out->tag) || !parse_sp(p) || !parse_atom(p, &word))
		return false;
	out->uid = str_eq_nocase(word, STR("UID"));
	if (out->uid && (!parse_sp(p) || !parse_atom(p, &word)))
		return false;
	out->row = command_find(word);
	return out->row && (out->row->fn == cmd_append || (out->row->fn == cmd_replace)) && parse_sp(p);
}

static void expect_text(struct append *a, const struct append_args *args, const struct literal *l,
			struct store *store)
{
	while (a->messages_n < args->items_n) {
		a->messages = mem_resize_array(a->messages, a->messages_n + 1, sizeof(*a->messages));
		octets_init(&a->messages[a->messages_n++], store);
	}
	if (a->texts_n % 64 == 0)
		a->texts = mem_resize_array(a->texts, a->texts_n + 64, sizeof(*a->texts));
	struct append_text *t = &a->texts[a->texts_n++];
	*t = (struct append_text){.at = a->messages[a->messages_n - 1].size, .n = l->n, .binary = l->binary};
	a->total += l->n;
	a->taking = true;
}

enum append_answer append_wants(struct imap *s, struct str text, const struct literal *l)
{
	struct parse p = parse_of(text, s->scratch, imap_utf8(s));
	struct append_args args;
	struct command c;
	enum append_answer answer = APPEND_NOT;

	if (parse_head(&p, &c) && !parse_append(&p, c.row->fn == cmd_replace, &args) && args.at_literal) {
		s->command = c;
		answer = refused(s, &args, l) ? APPEND_REFUSED : APPEND_TAKES;
		s->command = (struct command){};
	}
	if (answer == APPEND_TAKES) {
		if (!s->append)
			s->append = mem_new(struct append);
		expect_text(s->append, &args, l, s->served->store);
	}
	arena_reset(s->scratch);
	return answer;
}

void append_take(struct imap *s)
{
	struct append *a = s->append;
	struct str in = imap_in(s);

	if (in.n > s->reader.left)
		in.n = (size_t)s->reader.left;
	if (!in.n)
		return;
	a->texts[a->texts_n - 1].has_nul |= str_has_byte(in, '\0');
	octets_add(&a->messages[a->messages_n - 1], in);
	s->reader.left -= in.n;
	imap_consume(s, in.n);
}

bool append_taking(const struct imap *s) { return s->append && s->append->taking; }

void append_taken(struct imap *s)
{
	s->append->taking = false;
	reader_diverted(&s->reader);
}
