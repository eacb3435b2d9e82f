/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/login.c: IMAP before login, in the login role: a handful of commands, STARTTLS, and an
 * authentication that ends in the hand-over (auth/login.h). The tagged OK of a success is written
 * by the session after login.
 */
#include "auth/login.h"
#include "base/codec.h"
#include "base/mem.h"
#include "base/secret.h"
#include "config/config.h"
#include "imap/imap_int.h"
#include <stdlib.h>

enum {
	LINE_MAX_BEFORE = 4096,      /* a command, literals included (PROCESSES C8) */
	RESPONSE_MAX = 12288 + 2,    /* a line of SASL data */
	CLIENT_ID_MAX = 1024,
};

struct imap_login {
	struct login login;
	struct conn *conn;
	struct arena *arena; /* of the command */
	struct reader reader;
	struct str tag;      /* of the command, in the reader's text */
	unsigned errors;
	bool greeted, closing, draining, refused, starttls;
};

typedef void login_command(struct imap_login *s, struct parse *p);

/* ---- replies ---------------------------------------------------------------------------- */

static void reply(struct imap_login *s, struct str tag, const char *text)
{
	struct buf *b = conn_out(s->conn);

	buf_add(b, tag.n ? tag : STR("*"));
	buf_byte(b, ' ');
	buf_add(b, str_of(text));
	buf_add(b, STR("\r\n"));
}

static void bad(struct imap_login *s, const char *text)
{
	struct buf *b = conn_out(s->conn);

	buf_add(b, s->tag.n ? s->tag : STR("*"));
	buf_add(b, STR(" BAD "));
	buf_add(b, str_of(text));
	buf_add(b, STR("\r\n"));
	if (++s->errors >= (unsigned)config_int(s->login.config, SETTING_IMAP_MAX_ERRORS)) {
		reply(s, STR_NONE, "BYE Too many errors");
		s->closing = true;
	}
}

static void write_capabilities(struct imap_login *s, struct buf *b)
{
	capability_write(b, CAPABILITY_LOGIN, 0);
	if (login_starttls_offered(&s->login))
		buf_add(b, STR(" STARTTLS"));
	if (!login_password_allowed(&s->login))
		buf_add(b, STR(" LOGINDISABLED"));
	login_mechanisms(&s->login, STR(" AUTH="), STR(""), b);
}

static void greet(struct imap_login *s)
{
	struct buf *b = conn_out(s->conn);

	buf_add(b, STR("* OK [CAPABILITY "));
	write_capabilities(s, b);
	buf_add(b, STR("] pabal ready\r\n"));
	s->greeted = true;
}

/* ---- commands --------------------------------------------------------------------------- */

static void on_capability(struct imap_login *s, struct parse *p)
{
	struct buf *b = conn_out(s->conn);

	if (!parse_end(p)) {
		bad(s, p->why);
		return;
	}
	buf_add(b, STR("* CAPABILITY "));
	write_capabilities(s, b);
	buf_add(b, STR("\r\n"));
	reply(s, s->tag, "OK CAPABILITY completed");
}

static void on_noop(struct imap_login *s, struct parse *p)
{
	(void)p;
	reply(s, s->tag, "OK NOOP completed");
}

static void on_logout(struct imap_login *s, struct parse *p)
{
	(void)p;
	reply(s, STR_NONE, "BYE Logging out");
	reply(s, s->tag, "OK LOGOUT completed");
	s->closing = true;
}

static void on_id(struct imap_login *s, struct parse *p)
{
	struct str params = str_sub(scan_rest(&p->s), 0, CLIENT_ID_MAX);

	if (!params.n) {
		bad(s, "Missing ID parameters");
		return;
	}
	buf_clear(&s->login.client_id);
	buf_add(&s->login.client_id, params);
	reply(s, STR_NONE, "ID (\"name\" \"pabal\")");
	reply(s, s->tag, "OK ID completed");
}

static void on_starttls(struct imap_login *s, struct parse *p)
{
	if (!parse_end(p)) {
		bad(s, p->why);
	} else if (conn_tls(s->conn)) {
		bad(s, "TLS is on already");
	} else if (!login_starttls_offered(&s->login)) {
		bad(s, "TLS is not available");
	} else {
		reply(s, s->tag, "OK Begin TLS negotiation now");
		s->starttls = true;
	}
}

static bool password_refused(struct imap_login *s)
{
	if (login_password_allowed(&s->login))
		return false;
	reply(s, s->tag, "NO [PRIVACYREQUIRED] Encryption is needed to log in: use STARTTLS");
	return true;
}

static void keep_tag(struct imap_login *s)
{
	buf_clear(&s->login.tag);
	buf_add(&s->login.tag, s->tag);
}

/* "LOGIN" SP userid SP password */
static void on_login(struct imap_login *s, struct parse *p)
{
	struct str user, password;

	if (!parse_astring(p, &user) || !parse_sp(p) || !parse_astring(p, &password) || !parse_end(p)) {
		bad(s, p->why);
		return;
	}
	if (password_refused(s))
		return;
	keep_tag(s);
	login_password(&s->login, user, password);
}

static bool base64_char(unsigned char c)
{
	return ascii_is(c, ASCII_UPPER | ASCII_LOWER | ASCII_DIGIT) || c == '+' || c == '/' || c == '=';
}

/* "AUTHENTICATE" SP auth-type [SP (base64 / "=")] (RFC 4959) */
static void on_authenticate(struct imap_login *s, struct parse *p)
{
	struct str mechanism, initial = STR_NONE;
	BUF_SCOPED data = {};

	if (!parse_atom(p, &mechanism) ||
	    (scan_byte(&p->s, ' ') && !(initial = scan_while(&p->s, base64_char)).n) || !parse_end(p)) {
		bad(s, p->why);
		return;
	}
	if (password_refused(s))
		return;
	if (!login_mechanism_offered(&s->login, mechanism)) {
		reply(s, s->tag, "NO [CANNOT] Mechanism is not supported");
		return;
	}
	if (initial.n && !str_eq(initial, STR("=")) && !base64_decode(&data, initial)) {
		bad(s, "Invalid base64");
		return;
	}
	struct str octets = data.n ? buf_str(&data) : STR("");
	keep_tag(s);
	login_begin(&s->login, mechanism, initial.n ? &octets : NULL);
	if (data.p)
		secret_wipe(data.p, data.n);
}

static const struct {
	const char *name;
	login_command *fn;
	bool bare;
} commands[] = {
	{"CAPABILITY", on_capability, true}, {"NOOP", on_noop, true},        {"LOGOUT", on_logout, true},
	{"STARTTLS", on_starttls, true},     {"ID", on_id, false},           {"LOGIN", on_login, false},
	{"AUTHENTICATE", on_authenticate, false},
};

static void command(struct imap_login *s)
{
	struct parse p = parse_of(buf_str(&s->reader.text), s->arena, false);
	struct str name;

	s->tag = STR_NONE;
	if (!parse_tag(&p, &s->tag) || !parse_sp(&p) || !parse_atom(&p, &name)) {
		bad(s, "Missing tag or command");
		return;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
		if (!str_eq_nocase(name, str_of(commands[i].name)))
			continue;
		if (commands[i].bare ? !parse_end(&p) : !parse_sp(&p))
			bad(s, p.why);
		else
			commands[i].fn(s, &p);
		return;
	}
	bad(s, command_find(name) ? "Log in first" : "Unknown command");
}

/* ---- the dialogue ----------------------------------------------------------------------- */

static void challenge(struct imap_login *s, struct str data)
{
	struct buf *b = conn_out(s->conn);

	buf_add(b, STR("+ "));
	base64_encode(b, data);
	buf_add(b, STR("\r\n"));
	s->reader.plain = true;
	s->reader.max = RESPONSE_MAX;
}

static void refused(struct imap_login *s, enum auth_outcome outcome)
{
	const char *text = "NO [UNAVAILABLE] Try again later";

	if (outcome == AUTH_WRONG)
		text = "NO [AUTHENTICATIONFAILED] Authentication failed";
	else if (outcome == AUTH_DENIED)
		text = "NO [AUTHORIZATIONFAILED] This account may not log in here";
	else if (outcome == AUTH_SYNTAX)
		text = "BAD Invalid authentication data";
	reply(s, buf_str(&s->login.tag), text);
	if (s->login.failures < LOGIN_FAILURES_MAX)
		return;
	reply(s, STR_NONE, "BYE Too many failed logins");
	s->closing = true;
}

static void response(struct imap_login *s)
{
	if (login_response(&s->login, buf_str(&s->reader.text)))
		return;
	bool cancelled = str_eq(buf_str(&s->reader.text), STR("*"));
	s->tag = buf_str(&s->login.tag);
	bad(s, cancelled ? "Authentication was cancelled" : "Invalid base64");
}

static void literal(struct imap_login *s)
{
	if (s->reader.literal.too_big && s->reader.literal.nonsync) {
		reply(s, STR_NONE, "BYE [TOOBIG] Literal is too big");
		s->closing = true;
	} else if (reader_accept(&s->reader)) {
		if (!s->reader.literal.nonsync)
			reply(s, STR("+"), "OK");
	} else {
		struct parse p = parse_of(buf_str(&s->reader.text), s->arena, false);
		if (!parse_tag(&p, &s->tag))
			s->tag = STR_NONE;
		bad(s, "[TOOBIG] Literal is too big");
		s->refused = s->reader.literal.nonsync;
		reader_refuse(&s->reader);
	}
}

static void too_long(struct imap_login *s)
{
	struct parse p = parse_of(buf_str(&s->reader.text), s->arena, false);

	if (s->refused) {
		s->refused = false;
		return;
	}
	if (s->login.state == LOGIN_RESPONSE) {
		login_response(&s->login, STR("*"));
		s->tag = buf_str(&s->login.tag);
	} else if (!parse_tag(&p, &s->tag)) {
		s->tag = STR_NONE;
	}
	bad(s, "[TOOBIG] Command is too long");
}

/* Back to the state between commands. */
static void finish(struct imap_login *s)
{
	reader_done(&s->reader);
	s->reader.max = LINE_MAX_BEFORE;
	s->tag = STR_NONE;
	arena_release(s->arena);
}

/* true: more may be there. */
static bool take_input(struct imap_login *s)
{
	size_t used;
	enum reader_event e = reader_feed(&s->reader, conn_input(s->conn), &used);

	switch (e) {
	case READER_MORE:
		break;
	case READER_LITERAL:
		literal(s);
		break;
	case READER_TOO_LONG:
		too_long(s);
		finish(s);
		break;
	case READER_COMMAND:
		if (s->login.state == LOGIN_RESPONSE)
			response(s);
		else
			command(s);
		finish(s);
		break;
	}
	conn_consume(s->conn, used);
	return e != READER_MORE;
}

static unsigned park(struct imap_login *s)
{
	if (s->closing)
		return PARK_CLOSE;
	if (s->starttls) {
		s->starttls = false;
		conn_start_tls(s->conn, s->login.door->tls(s->login.door->ctx));
		return PARK_STARTTLS;
	}
	if (s->login.state == LOGIN_WAITING)
		return PARK_EVENT;
	if (conn_eof(s->conn))
		return PARK_CLOSE;
	if (s->draining) {
		reply(s, STR_NONE, "BYE [UNAVAILABLE] Server is shutting down");
		return PARK_CLOSE;
	}
	login_arm(&s->login);
	return PARK_INPUT;
}

static unsigned go(struct imap_login *s, enum wake wake)
{
	struct auth_result result;

	for (;;) {
		switch (login_poll(&s->login, wake, &result)) {
		case LOGIN_NOTHING:
			break;
		case LOGIN_CHALLENGE:
			challenge(s, result.data);
			break;
		case LOGIN_REFUSED:
			refused(s, result.outcome);
			break;
		case LOGIN_TAKEN:
			return login_park_taken(&s->login);
		case LOGIN_TIMEOUT:
			reply(s, STR_NONE, "BYE Login took too long");
			return PARK_CLOSE;
		}
		wake = WAKE_INPUT;
		if (s->closing || s->starttls || s->login.state == LOGIN_WAITING || !take_input(s))
			return park(s);
	}
}

static struct imap_login *login_new(struct conn *c)
{
	struct imap_login *s = mem_new(struct imap_login);

	s->conn = c;
	s->arena = arena_new();
	reader_init(&s->reader, LINE_MAX_BEFORE);
	login_init(&s->login, c, 0);
	s->login.ends_ms += config_duration_ms(s->login.config, SETTING_IMAP_TIMEOUT_LOGIN);
	conn_session_set(c, s);
	return s;
}

static unsigned login_run(struct conn *c, enum wake wake)
{
	struct imap_login *s = conn_session(c);

	if (wake == WAKE_GONE)
		return PARK_CLOSE;
	if (!s)
		s = login_new(c);
	if (!s->greeted)
		greet(s);
	if (wake == WAKE_DRAIN)
		s->draining = true;
	return go(s, wake);
}

static void login_end(struct conn *c)
{
	struct imap_login *s = conn_session(c);

	if (!s)
		return;
	login_fini(&s->login);
	reader_fini(&s->reader);
	arena_free(s->arena);
	free(s);
	conn_session_set(c, NULL);
}

const struct protocol imap_login_protocol = {.name = "imap-login", .run = login_run, .end = login_end};
