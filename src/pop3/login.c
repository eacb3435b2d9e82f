/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * pop3/login.c: the AUTHORIZATION state (RFC 1939 4), in the login role. The +OK of a success is
 * written by the session after login. The language goes with the hand-over, as client id.
 */
#include "auth/login.h"
#include "base/codec.h"
#include "base/mem.h"
#include "base/secret.h"
#include "config/config.h"
#include "pop3/pop3_int.h"
#include <stdlib.h>

enum { RESPONSE_MAX = 12288 };

struct pop3_login {
	struct login login;
	struct conn *conn;
	struct buf user;
	enum pop3_language language;
	unsigned errors;
	bool greeted, closing, draining, starttls;
};

typedef void login_command(struct pop3_login *s, struct str argument);

static struct buf *out(struct pop3_login *s) { return conn_out(s->conn); }

static void ok(struct pop3_login *s, enum pop3_text t) { pop3_ok(out(s), s->language, t); }

static void err(struct pop3_login *s, enum pop3_text t)
{
	pop3_err(out(s), s->language, t);
	if (++s->errors < (unsigned)config_int(s->login.config, SETTING_IMAP_MAX_ERRORS))
		return;
	pop3_err(out(s), s->language, POP3_TOO_MANY_ERRORS);
	s->closing = true;
}

/* ---- commands --------------------------------------------------------------------------- */

static void on_capa(struct pop3_login *s, struct str argument)
{
	struct buf *b = out(s);

	(void)argument;
	ok(s, POP3_CAPABILITIES);
	buf_add(b, STR("TOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nUTF8 USER\r\nLANG\r\n"));
	if (login_starttls_offered(&s->login))
		buf_add(b, STR("STLS\r\n"));
	if (login_password_allowed(&s->login)) {
		buf_add(b, STR("USER\r\nSASL "));
		login_mechanisms(&s->login, STR(""), STR(" "), b);
		buf_add(b, STR("\r\n"));
	}
	buf_add(b, STR("IMPLEMENTATION pabal\r\n.\r\n"));
}

static void on_quit(struct pop3_login *s, struct str argument)
{
	(void)argument;
	ok(s, POP3_BYE);
	s->closing = true;
}

static void on_stls(struct pop3_login *s, struct str argument)
{
	(void)argument;
	if (!login_starttls_offered(&s->login)) {
		err(s, POP3_NO_TLS);
		return;
	}
	ok(s, POP3_BEGIN_TLS);
	s->starttls = true;
}

static bool password_refused(struct pop3_login *s)
{
	if (login_password_allowed(&s->login))
		return false;
	err(s, POP3_NEED_TLS);
	return true;
}

static void on_user(struct pop3_login *s, struct str argument)
{
	if (password_refused(s))
		return;
	if (!argument.n) {
		err(s, POP3_ARGUMENTS);
		return;
	}
	buf_clear(&s->user);
	buf_add(&s->user, argument);
	ok(s, POP3_SEND_PASS);
}

/* The rest of the line is the password, blanks included (RFC 1939 7). */
static void on_pass(struct pop3_login *s, struct str argument)
{
	if (password_refused(s))
		return;
	if (!s->user.n) {
		err(s, POP3_USER_FIRST);
		return;
	}
	if (str_has_byte(argument, '\0')) {
		err(s, POP3_ARGUMENTS);
		return;
	}
	login_password(&s->login, buf_str(&s->user), argument);
	buf_clear(&s->user);
}

/* "AUTH" [SP mechanism [SP initial-response]] (RFC 5034 4); without one they are listed. */
static void on_auth(struct pop3_login *s, struct str argument)
{
	struct str initial = STR_NONE, mechanism = argument;
	BUF_SCOPED data = {};

	if (password_refused(s))
		return;
	if (!argument.n) {
		ok(s, POP3_MECHANISMS);
		login_mechanisms(&s->login, STR(""), STR("\r\n"), out(s));
		buf_add(out(s), STR("\r\n.\r\n"));
		return;
	}
	mechanism = pop3_keyword(argument, &initial);
	if (!login_mechanism_offered(&s->login, mechanism)) {
		err(s, POP3_NO_MECHANISM);
		return;
	}
	if (initial.n && !str_eq(initial, STR("=")) && !base64_decode(&data, initial)) {
		err(s, POP3_BAD_DATA);
		return;
	}
	struct str octets = data.n ? buf_str(&data) : STR("");
	login_begin(&s->login, mechanism, initial.n ? &octets : NULL);
	if (data.p)
		secret_wipe(data.p, data.n);
}

/* RFC 6856 2: messages are always sent as they are, so there is nothing to switch. */
static void on_utf8(struct pop3_login *s, struct str argument)
{
	if (argument.p)
		err(s, POP3_ARGUMENTS);
	else
		ok(s, POP3_UTF8);
}

static void on_lang(struct pop3_login *s, struct str argument)
{
	pop3_lang(out(s), argument, &s->language);
	buf_clear(&s->login.client_id);
	buf_add(&s->login.client_id, s->language == POP3_KOREAN ? STR("ko") : STR("en"));
}

static const struct {
	const char *word;
	login_command *fn;
} commands[] = {
	{"CAPA", on_capa}, {"QUIT", on_quit}, {"STLS", on_stls}, {"USER", on_user},
	{"PASS", on_pass}, {"AUTH", on_auth}, {"UTF8", on_utf8}, {"LANG", on_lang},
};
static const char *const later[] = {"STAT", "LIST", "RETR", "DELE", "NOOP", "RSET", "TOP", "UIDL"};

static void command(struct pop3_login *s, struct str line)
{
	struct str rest;
	struct str word = pop3_keyword(line, &rest);

	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (str_eq_nocase(word, str_of(commands[i].word))) {
			commands[i].fn(s, rest);
			return;
		}
	for (size_t i = 0; i < sizeof(later) / sizeof(*later); i++)
		if (str_eq_nocase(word, str_of(later[i]))) {
			err(s, POP3_LOGIN_FIRST);
			return;
		}
	err(s, POP3_UNKNOWN);
}

/* ---- the dialogue ----------------------------------------------------------------------- */

static void challenge(struct pop3_login *s, struct str data)
{
	buf_add(out(s), STR("+ "));
	base64_encode(out(s), data);
	buf_add(out(s), STR("\r\n"));
}

static void refused(struct pop3_login *s, enum auth_outcome outcome)
{
	switch (outcome) {
	case AUTH_WRONG:
		err(s, POP3_WRONG);
		break;
	case AUTH_DENIED:
		err(s, POP3_DENIED);
		break;
	case AUTH_SYNTAX:
		err(s, POP3_BAD_DATA);
		break;
	case AUTH_CHALLENGE:
	case AUTH_SUCCESS:
	case AUTH_TEMP:
		pop3_err(out(s), s->language, POP3_TEMPORARY);
		break;
	}
	if (s->login.failures >= LOGIN_FAILURES_MAX)
		s->closing = true;
}

static void line(struct pop3_login *s, struct str text)
{
	if (s->login.state != LOGIN_RESPONSE)
		command(s, text);
	else if (!login_response(&s->login, text))
		err(s, str_eq(text, STR("*")) ? POP3_CANCELLED : POP3_BAD_DATA);
}

static bool take_input(struct pop3_login *s)
{
	size_t max = s->login.state == LOGIN_RESPONSE ? RESPONSE_MAX : 4096 - 2;
	struct str text;
	size_t used;

	switch (pop3_line(conn_input(s->conn), max, &text, &used)) {
	case POP3_LINE_MORE:
		return false;
	case POP3_LINE_LONG:
		err(s, POP3_TOO_LONG);
		s->closing = true;
		return false;
	case POP3_LINE_READY:
		line(s, text);
		conn_consume(s->conn, used);
		return true;
	}
	return false;
}

static unsigned park(struct pop3_login *s)
{
	if (s->closing)
		return PARK_CLOSE;
	if (s->starttls) {
		s->starttls = false;
		buf_clear(&s->user);
		conn_start_tls(s->conn, s->login.door->tls(s->login.door->ctx));
		return PARK_STARTTLS;
	}
	if (s->login.state == LOGIN_WAITING)
		return PARK_EVENT;
	if (conn_eof(s->conn))
		return PARK_CLOSE;
	if (s->draining) {
		pop3_err(out(s), s->language, POP3_SHUTDOWN);
		return PARK_CLOSE;
	}
	login_arm(&s->login);
	return PARK_INPUT;
}

static unsigned go(struct pop3_login *s, enum wake wake)
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
			pop3_err(out(s), s->language, POP3_LOGIN_LATE);
			return PARK_CLOSE;
		}
		wake = WAKE_INPUT;
		if (s->closing || s->starttls || s->login.state == LOGIN_WAITING || !take_input(s))
			return park(s);
	}
}

static struct pop3_login *login_new(struct conn *c)
{
	struct pop3_login *s = mem_new(struct pop3_login);

	s->conn = c;
	login_init(&s->login, c, 0);
	s->login.ends_ms += config_duration_ms(s->login.config, SETTING_IMAP_TIMEOUT_LOGIN);
	conn_session_set(c, s);
	return s;
}

static unsigned login_run(struct conn *c, enum wake wake)
{
	struct pop3_login *s = conn_session(c);

	if (wake == WAKE_GONE)
		return PARK_CLOSE;
	if (!s)
		s = login_new(c);
	if (!s->greeted) {
		ok(s, POP3_READY);
		s->greeted = true;
	}
	if (wake == WAKE_DRAIN)
		s->draining = true;
	return go(s, wake);
}

static void login_end(struct conn *c)
{
	struct pop3_login *s = conn_session(c);

	if (!s)
		return;
	login_fini(&s->login);
	buf_free(&s->user);
	free(s);
	conn_session_set(c, NULL);
}

const struct protocol pop3_login_protocol = {.name = "pop3-login", .run = login_run, .end = login_end};
