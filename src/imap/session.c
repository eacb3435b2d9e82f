/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/session.c: the life of a session after login: input to commands, commands to their
 * functions, and what to wait for next (net/conn.h).
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/config.h"
#include "imap/notify.h"
#include "imap/stream.h"
#include "net/pending.h"
#include <stdlib.h>

enum {
	LITERAL_RATE = 512,         /* octets per second at least, while a literal comes */
	LINE_INPUT = 16 * 1024,     /* read at once, at other times ... */
	APPEND_INPUT = 128 * 1024,  /* ... and while a message comes */
	COMMANDS_PER_TURN = 100,
};

static struct imap *session_of(struct conn *c) { return ((struct served *)conn_session(c))->protocol; }

static void command_release(struct imap *s)
{
	if (s->command.release)
		s->command.release(s->command.state);
	s->command.release = NULL;
}

static void command_end(struct imap *s)
{
	command_release(s);
	reader_done(&s->reader);
	append_free(s->append);
	s->append = NULL;
	s->command = (struct command){};
	s->running = false;
	s->expected = NULL;
	s->expected_n = s->expected_cap = 0;
	s->echo = s->echo_not = (struct uid_set){};
	arena_reset(s->arena);
	arena_release(s->scratch);
	arena_release(s->ahead);
	if (s->errors >= (unsigned)config_int(s->served->config, SETTING_IMAP_MAX_ERRORS))
		imap_bye(s, "Too many errors");
}

static const struct command_row *find_row(struct imap *s, struct parse *p)
{
	struct str name;

	if (!parse_atom(p, &name))
		return NULL;
	s->command.uid = str_eq_nocase(name, STR("UID"));
	if (s->command.uid && (!parse_sp(p) || !parse_atom(p, &name)))
		return NULL;
	const struct command_row *row = command_find(name);
	return row && s->command.uid && !(row->flags & COMMAND_UID) ? NULL : row;
}

/* command = tag SP (command-any / command-auth / command-select) CRLF
 * Arguments, if there are any, follow after a blank; the function finds the scan behind it. */
static enum step command_begin(struct imap *s)
{
	struct command *c = &s->command;
	struct parse p = parse_of(buf_str(&s->reader.text), s->arena, imap_utf8(s));

	s->running = true;
	if (!parse_tag(&p, &c->tag) || !parse_sp(&p)) {
		c->tag = STR_NONE;
		return imap_bad(s, "Missing tag or command");
	}
	const struct command_row *row = find_row(s, &p);
	if (!row)
		return imap_bad(s, "Unknown command");
	c->row = row;
	bool bare = row->flags & COMMAND_BARE || (row->flags & COMMAND_UID_BARE && !c->uid);
	bool none = row->flags & COMMAND_OPTIONAL && scan_end(&p.s);
	if (!none && (bare ? !parse_end(&p) : !parse_sp(&p)))
		return imap_bad_syntax(s, &p);
	if (row->flags & COMMAND_SELECTED && !s->view)
		return imap_bad(s, "No mailbox is selected");
	bool numbers = row->flags & COMMAND_UID && !(row->flags & COMMAND_UID_BARE) && !c->uid;
	if (numbers && s->enabled & ENABLED_UIDONLY) /* RFC 9586 3.1 */
		return imap_bad(s, "[UIDREQUIRED] Message numbers are not used after ENABLE UIDONLY");
	c->p = p;
	return row->fn(s, c);
}

static enum step command_too_long(struct imap *s)
{
	struct parse p = parse_of(buf_str(&s->reader.text), s->arena, false);

	s->running = true;
	if (s->refused) { /* answered when its literal was announced */
		s->refused = false;
		return STEP_DONE;
	}
	if (!parse_tag(&p, &s->command.tag))
		s->command.tag = STR_NONE;
	return imap_bad(s, "[TOOBIG] Command is too long");
}

/* A literal is announced: RFC 9051 4.3, RFC 7888. */
static void literal_begins(struct imap *s)
{
	struct reader *r = &s->reader;
	struct str text = str_sub(buf_str(&r->text), 0, r->literal_start);

	if (r->literal.too_big && r->literal.nonsync) {
		imap_bye(s, "[TOOBIG] Literal is too big");
		return;
	}
	enum append_answer answer = append_wants(s, text, &r->literal);
	if (answer == APPEND_REFUSED) {
		s->refused = r->literal.nonsync;
		append_free(s->append);
		s->append = NULL;
		reader_refuse(r);
		return;
	}
	if (answer == APPEND_TAKES) {
		reader_divert(r);
		if (r->left)
			imap_input_limit(s, APPEND_INPUT);
		else
			append_taken(s);
	} else if (!reader_accept(r)) {
		append_free(s->append);
		s->append = NULL;
		struct parse p = parse_of(text, s->arena, false);
		if (!parse_tag(&p, &s->command.tag))
			s->command.tag = STR_NONE;
		imap_bad(s, "[TOOBIG] Literal is too big");
		s->command = (struct command){};
		s->refused = r->literal.nonsync;
		reader_refuse(r);
		return;
	}
	conn_min_rate(s->conn, LITERAL_RATE);
	if (!r->literal.nonsync)
		buf_add(imap_out(s), STR("+ OK\r\n"));
}

static void idle_deadline(struct imap *s)
{
	conn_deadline(s->conn, config_duration_ms(s->served->config, SETTING_IMAP_TIMEOUT_IDLE));
}

static unsigned park_of(struct imap *s, enum step step)
{
	switch (step) {
	case STEP_DONE:
		break;
	case STEP_OUTPUT:
		idle_deadline(s);
		return PARK_OUTPUT;
	case STEP_AGAIN:
		return PARK_AGAIN;
	case STEP_EVENT:
		return PARK_EVENT;
	case STEP_IDLE:
		idle_deadline(s);
		return PARK_INPUT | PARK_EVENT;
	}
	command_end(s);
	return 0;
}

/* 0: there is more already. */
static unsigned wait_for_input(struct imap *s)
{
	if (imap_in(s).n)
		return 0;
	if (imap_eof(s))
		return PARK_CLOSE;
	if (s->draining && !s->reader.text.n) {
		imap_bye(s, "[UNAVAILABLE] Server is shutting down");
		return PARK_CLOSE;
	}
	/* Not while a command comes in whose numbers the client has chosen already. */
	if (s->notify && !s->reader.text.n && !notify_tell(s))
		return PARK_CLOSE;
	arena_release(s->arena);
	idle_deadline(s);
	return s->notify ? PARK_INPUT | PARK_EVENT : PARK_INPUT;
}

/* One command's worth of input. 0: go on. */
static unsigned next_command(struct imap *s)
{
	size_t used;

	if (append_taking(s)) {
		append_take(s);
		if (s->reader.left)
			return wait_for_input(s);
		imap_input_limit(s, LINE_INPUT);
		append_taken(s);
	}
	enum reader_event e = reader_feed(&s->reader, imap_in(s), &used);
	imap_consume(s, used);
	switch (e) {
	case READER_MORE:
		return wait_for_input(s);
	case READER_COMMAND:
	case READER_TOO_LONG:
		conn_min_rate(s->conn, 0);
		s->commands++;
		return park_of(s, e == READER_COMMAND ? command_begin(s) : command_too_long(s));
	case READER_LITERAL:
		literal_begins(s);
		break;
	}
	return 0;
}

static unsigned go(struct imap *s)
{
	s->turn_ends = 0;
	for (unsigned n = 0;; n++) {
		unsigned park = 0;
		if (s->closing)
			return PARK_CLOSE;
		if (n == COMMANDS_PER_TURN)
			return PARK_AGAIN;
		if (imap_out_pending(s) > CONN_OUT_HIGH)
			return PARK_OUTPUT;
		if (s->running)
			park = park_of(s, s->command.row->fn(s, &s->command));
		else
			park = next_command(s);
		if (s->closing)
			return PARK_CLOSE;
		if (park)
			return park;
	}
}

static void greet(struct imap *s)
{
	struct buf *b = imap_out(s);

	buf_add(b, s->served->tag.n ? s->served->tag : STR("*"));
	buf_add(b, STR(" OK [CAPABILITY "));
	capability_write(b, CAPABILITY_SESSION, config_size(s->served->config, SETTING_IMAP_MAX_APPEND));
	buf_add(b, STR("] Logged in\r\n"));
}

static struct imap *imap_new(struct conn *c, struct served *served)
{
	struct imap *s = mem_new(struct imap);

	s->conn = c;
	s->served = served;
	s->began_ms = clock_mono_ms();
	s->arena = arena_new();
	s->scratch = arena_new();
	s->ahead = arena_new();
	reader_init(&s->reader, (size_t)config_size(served->config, SETTING_IMAP_MAX_LINE));
	served->protocol = s;
	return s;
}

static unsigned on_deadline(struct imap *s)
{
	if (s->pending) { /* a commit takes long; the disk decides, not the client */
		idle_deadline(s);
		return PARK_EVENT;
	}
	imap_bye(s, "Disconnected for inactivity");
	return PARK_CLOSE;
}

static unsigned imap_run(struct conn *c, enum wake wake)
{
	struct served *served = conn_session(c);
	struct imap *s = served->protocol;
	unsigned park;

	if (!s) {
		if (wake == WAKE_GONE)
			return PARK_CLOSE;
		s = imap_new(c, served);
		greet(s);
	}
	switch (wake) {
	case WAKE_GONE:
		return PARK_CLOSE;
	case WAKE_DEADLINE:
		park = on_deadline(s);
		imap_flush(s, false);
		return park;
	case WAKE_DRAIN:
		s->draining = true;
		break;
	case WAKE_START:
	case WAKE_INPUT:
	case WAKE_OUTPUT:
	case WAKE_EVENT:
		break;
	}
	park = go(s);
	imap_flush(s, park & PARK_INPUT);
	return park;
}

/* The session's one line. */
static void log_end(const struct imap *s)
{
	log_event(LOG_INFO, "imap.end", K_STR(account, s->served->address), K_STR(peer, s->served->peer),
		  K_INT(count, s->commands), K_INT(ms, clock_mono_ms() - s->began_ms));
}

static void imap_end(struct conn *c)
{
	struct served *served = conn_session(c);
	struct imap *s = served ? session_of(c) : NULL;

	if (s) {
		log_end(s);
		command_release(s);
		pending_drop(s->pending);
		append_free(s->append);
		notify_free(s);
		imap_unselect(s);
		imap_zip_free(s);
		imap_set_saved(s, (struct uid_set){});
		reader_fini(&s->reader);
		arena_free(s->arena);
		arena_free(s->scratch);
		arena_free(s->ahead);
		free(s);
		served->protocol = NULL;
	}
	if (served)
		served->release(served);
	conn_session_set(c, NULL);
}

const struct protocol imap_protocol = {.name = "imap", .run = imap_run, .end = imap_end};
