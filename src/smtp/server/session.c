/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* A session: greeting, command lines, the states between them, the end. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"
#include "smtp/server/server_int.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- small things that all verbs use ---- */

struct buf *smtp_out(struct smtp_session *s)
{
	return conn_out(s->conn);
}

struct str smtp_hostname(const struct smtp_session *s)
{
	return config_str(s->config, SETTING_HOSTNAME);
}

bool smtp_is(const struct smtp_session *s, enum smtp_kind kind)
{
	return s->listener->kind == kind;
}

void smtp_close(struct smtp_session *s, const char *status, const char *why)
{
	smtp_reply(smtp_out(s), 421, status, "%.*s %s", STR_ARG(smtp_hostname(s)), why);
	s->state = SMTP_STATE_CLOSE;
}

static void count_error(struct smtp_session *s)
{
	s->errors++;
	if (s->errors < config_int(s->config, SETTING_SMTP_MAX_ERRORS) || s->state == SMTP_STATE_CLOSE)
		return;
	log_event(LOG_INFO, "smtp.errors", K_STR(peer, buf_str(&s->peer_text)), K_INT(count, s->errors));
	smtp_close(s, "4.7.0", "too many errors");
}

void smtp_error(struct smtp_session *s, unsigned code, const char *status, const char *fmt, ...)
{
	char text[400];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	smtp_reply(smtp_out(s), code, status, "%s", text);
	if (code >= 500)
		count_error(s);
}

void smtp_refuse(struct smtp_session *s, enum outcome o, struct str extra)
{
	smtp_reply_outcome(smtp_out(s), o, extra);
	if (outcome_row(o)->reply_code >= 500)
		count_error(s);
}

void smtp_greet(struct smtp_session *s)
{
	smtp_reply(smtp_out(s), 220, NULL, "%.*s %s pabal", STR_ARG(smtp_hostname(s)),
		   smtp_is(s, SMTP_LMTP) ? "LMTP" : "ESMTP");
}

void smtp_forget(struct smtp_session *s)
{
	smtp_tx_drop(s);
}

void smtp_peer_changed(struct smtp_session *s)
{
	const struct smtp_listener *l = s->listener;
	const struct networks *mine = config_networks(s->config, SETTING_MYNETWORKS);
	const struct networks *plain = config_networks(s->config, SETTING_AUTH_PLAINTEXT_NETWORKS);
	bool ip = s->peer.len > 0;
	s->trusted = smtp_is(s, SMTP_LMTP) || smtp_is(s, SMTP_LOCAL) ||
		     (smtp_is(s, SMTP_MX) && ip && networks_match(mine, &s->peer.addr.sa));
	s->plain_auth = ip && (networks_match(plain, &s->peer.addr.sa) ||
			       net_networks_have(l->plaintext_auth_from, &s->peer));
}

/* ---- beginning and end ---- */

static struct smtp_session *session_new(struct conn *c)
{
	struct smtp_session *s = mem_new(struct smtp_session);
	const struct conn_facts *f = conn_facts(c);
	s->conn = c;
	s->server = conn_owner(c);
	s->listener = f->listener;
	s->config = s->server->config(s->server->ctx);
	s->peer = f->peer;
	s->peer_port = f->peer_port;
	if (f->peer.len)
		buf_add(&s->peer_text, f->peer_text);
	smtp_peer_changed(s);
	s->xclient = net_networks_have(s->listener->xclient_from, &s->peer);
	conn_session_set(c, s);
	conn_input_limit(c, INPUT_COMMAND);
	return s;
}

static void smtp_end(struct conn *c)
{
	struct smtp_session *s = conn_session(c);
	if (!s)
		return;
	const struct conn_facts *f = conn_facts(c);
	log_event(LOG_INFO, "smtp.session", K_STR(service, f->service),
		  K_STR(peer, buf_str(&s->peer_text)), K_STR(helo, buf_str(&s->helo)),
		  K_STR(account, buf_str(&s->account)), K_STR(tls, f->tls_version),
		  K_INT(count, s->messages), K_INT(line, s->commands));
	smtp_auth_abandon(s);
	smtp_tx_drop(s);
	buf_free(&s->peer_text);
	buf_free(&s->peer_name);
	buf_free(&s->helo);
	buf_free(&s->account);
	buf_free(&s->mechanism);
	buf_free(&s->local_command);
	buf_free(&s->local_directory);
	secret_wipe(s->ticket.p, s->ticket.n);
	buf_free(&s->ticket);
	config_unref((struct config *)s->config);
	free(s);
}

/* RFC 3207 4.2: after the handshake the session begins anew, without a greeting. */
static void after_tls(struct smtp_session *s)
{
	s->greeted = s->esmtp = false;
	buf_clear(&s->helo);
	buf_clear(&s->account);
	smtp_forget(s);
	s->state = SMTP_STATE_COMMAND;
	s->acted = true;
}

static void on_start(struct smtp_session *s)
{
	if (s->state == SMTP_STATE_STARTTLS) {
		after_tls(s);
		return;
	}
	conn_deadline(s->conn, config_duration_ms(s->config, SETTING_SMTP_TIMEOUT_GREETING));
	smtp_greet(s);
}

static void on_deadline(struct smtp_session *s)
{
	if (s->state == SMTP_STATE_AUTH_DELAY) {
		s->state = SMTP_STATE_AUTH_WAIT; /* and its answer is there */
		return;
	}
	if (s->state == SMTP_STATE_PRESSURE) {
		s->state = SMTP_STATE_COMMAND;
		return;
	}
	log_event(LOG_INFO, "smtp.timeout", K_STR(peer, buf_str(&s->peer_text)), K_INT(state, s->state));
	smtp_close(s, "4.4.2", "timeout, closing connection");
}

/* Nothing is begun any more; what is under way ends first. */
static void on_drain(struct smtp_session *s)
{
	s->draining = true;
}

static bool at_boundary(const struct smtp_session *s)
{
	return s->state == SMTP_STATE_COMMAND && !s->tx;
}

/* ---- commands ---- */

/* Browsers and the like, tricked into talking to us. */
static bool is_foreign_protocol(struct str line)
{
	static const char *const words[] = {"GET ", "POST ", "PUT ", "CONNECT ", "OPTIONS ", "HEAD "};
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (str_starts(line, str_of(words[i])))
			return true;
	return false;
}

static void refuse_line(struct smtp_session *s, struct str line)
{
	if (is_foreign_protocol(line))
		smtp_close(s, "4.7.0", "this is not a web server");
	else
		smtp_error(s, 500, "5.5.2", "command not recognised");
}

static bool state_allows(struct smtp_session *s, const struct smtp_verb *v, struct str args)
{
	bool lmtp = smtp_is(s, SMTP_LMTP);
	if (((v->flags & VERB_LMTP) && !lmtp) || ((v->flags & VERB_NOT_LMTP) && lmtp) ||
	    ((v->flags & VERB_LOCAL) && !smtp_is(s, SMTP_LOCAL))) {
		smtp_error(s, 500, "5.5.1", "%.*s is not spoken here", STR_ARG(v->name));
		return false;
	}
	if (s->listener->tls == SMTP_TLS_REQUIRED && !conn_tls(s->conn) && !(v->flags & VERB_FREE)) {
		smtp_refuse(s, OUTCOME_ENCRYPTION_REQUIRED, STR_NONE);
		return false;
	}
	if ((v->flags & VERB_HELO) && !s->greeted) {
		smtp_error(s, 503, "5.5.1", "say %s first", lmtp ? "LHLO" : "EHLO");
		return false;
	}
	if ((v->flags & VERB_NO_ARGS) && args.n) {
		smtp_error(s, 501, "5.5.4", "%.*s takes no arguments", STR_ARG(v->name));
		return false;
	}
	return true;
}

static void on_command(struct smtp_session *s, struct str line)
{
	struct smtp_command command;
	s->acted = s->first_seen = true;
	if (++s->commands > config_int(s->config, SETTING_SMTP_MAX_COMMANDS)) {
		smtp_close(s, "4.7.0", "too many commands");
		return;
	}
	if (!smtp_command_parse(line, &command)) {
		refuse_line(s, line);
		return;
	}
	const struct smtp_verb *v = smtp_verb_find(command.verb);
	if (!v)
		refuse_line(s, line);
	else if (state_allows(s, v, command.args))
		v->run(s, command.args);
}

/* ---- lines ---- */

/* Where a line may end at the latest, its CRLF included. */
static size_t line_limit(const struct smtp_session *s, struct str in)
{
	size_t max = config_size(s->config, SETTING_SMTP_MAX_LINE);
	bool auth = s->state == SMTP_STATE_AUTH_LINE || str_starts_nocase(in, STR("AUTH "));
	size_t wide = AUTH_LINE_MAX + 64;
	max = auth && max < wide ? wide : max;
	return max < INPUT_COMMAND ? max : INPUT_COMMAND;
}

/* CRLF, and nothing else, ends a line (STYLE 7). */
static bool find_line(struct str in, size_t *out_n)
{
	size_t from = 0;
	for (;;) {
		size_t lf = str_find_byte(str_from(in, from), '\n');
		if (lf == STR_NPOS)
			return false;
		lf += from;
		if (lf > 0 && in.p[lf - 1] == '\r') {
			*out_n = lf + 1;
			return true;
		}
		from = lf + 1;
	}
}

static void line_too_long(struct smtp_session *s)
{
	if (s->state == SMTP_STATE_AUTH_LINE) {
		smtp_auth_abandon(s);
		s->state = SMTP_STATE_COMMAND;
		smtp_error(s, 500, "5.5.6", "authentication exchange line is too long");
	} else {
		smtp_error(s, 500, "5.5.2", "line too long");
	}
	s->acted = true;
}

/* Octets of a line that was refused already are passed over to its end. */
static bool skip_line(struct smtp_session *s, struct str in)
{
	size_t n;
	if (find_line(in, &n)) {
		conn_consume(s->conn, n);
		s->skipping = false;
		return true;
	}
	conn_consume(s->conn, in.n && in.p[in.n - 1] == '\r' ? in.n - 1 : in.n);
	return false;
}

/* Placing is slower than accepting: a sender that waits a little comes to no harm, one that is told 452
 * may come again in half an hour. */
static bool must_wait(struct smtp_session *s, struct str line)
{
	const struct smtp_services *v = &s->server->services;
	if (s->state != SMTP_STATE_COMMAND || s->tx || !str_starts_nocase(line, STR("MAIL ")) ||
	    s->pressed_ms >= PRESSURE_WAIT_MS || !v->pressure || v->pressure(v->ctx) < 2) {
		s->pressed_ms = 0;
		return false;
	}
	s->pressed_ms += PRESSURE_STEP_MS;
	s->state = SMTP_STATE_PRESSURE;
	conn_deadline(s->conn, PRESSURE_STEP_MS);
	return true;
}

/* False: there is no whole line. */
static bool take_line(struct smtp_session *s)
{
	struct str in = conn_input(s->conn);
	size_t n;
	if (s->skipping)
		return skip_line(s, in);
	bool whole = find_line(in, &n);
	size_t max = line_limit(s, in);
	if (whole && n <= max) {
		struct str line = str_sub(in, 0, n - 2);
		if (must_wait(s, line))
			return false;
		if (s->state == SMTP_STATE_AUTH_LINE) {
			smtp_auth_response(s, line);
			secret_wipe((char *)line.p, line.n);
		} else {
			on_command(s, line);
		}
		conn_consume(s->conn, n);
		return true;
	}
	if (!whole && in.n < max)
		return false;
	line_too_long(s);
	if (whole)
		conn_consume(s->conn, n);
	else
		s->skipping = true;
	return true;
}

/* ---- the loop ---- */

static bool auth_answered(const struct smtp_session *s)
{
	return s->auth && atomic_load(&s->auth->answered);
}

static bool tx_answered(const struct smtp_session *s)
{
	return s->tx && atomic_load(&s->tx->answered);
}

/* One step. False: something must come from outside before the next. */
static bool step(struct smtp_session *s)
{
	switch (s->state) {
	case SMTP_STATE_COMMAND:
		if (s->draining && at_boundary(s)) {
			smtp_close(s, "4.3.2", "shutting down, closing connection");
			return true;
		}
		return take_line(s);
	case SMTP_STATE_AUTH_LINE: return take_line(s);
	case SMTP_STATE_AUTH_WAIT:
		if (!auth_answered(s))
			return false;
		smtp_auth_answered(s);
		return true;
	case SMTP_STATE_AUTH_DELAY:
	case SMTP_STATE_PRESSURE: return false;
	case SMTP_STATE_DATA:
		if (!smtp_content_data(s))
			return false;
		smtp_content_end(s);
		return true;
	case SMTP_STATE_BDAT:
		if (conn_input(s->conn).n == 0 && s->chunk_left > 0)
			return false;
		smtp_bdat_more(s);
		return s->state != SMTP_STATE_BDAT;
	case SMTP_STATE_ACCEPT:
		if (!tx_answered(s))
			return false;
		smtp_content_answered(s);
		return true;
	case SMTP_STATE_STARTTLS:
	case SMTP_STATE_CLOSE: break;
	}
	return false;
}

static int64_t command_timeout(const struct smtp_session *s)
{
	int64_t ms = config_duration_ms(s->config, SETTING_SMTP_TIMEOUT_COMMAND);
	const struct smtp_services *v = &s->server->services;
	if (v->pressure && v->pressure(v->ctx) > 0 && ms > PRESSURE_TIMEOUT_MS)
		return PRESSURE_TIMEOUT_MS;
	return ms;
}

static unsigned park(struct smtp_session *s)
{
	unsigned input = PARK_INPUT;
	switch (s->state) {
	case SMTP_STATE_COMMAND:
	case SMTP_STATE_AUTH_LINE:
		if (conn_eof(s->conn))
			return PARK_CLOSE;
		if (s->acted)
			conn_deadline(s->conn, command_timeout(s));
		s->acted = false;
		return input;
	case SMTP_STATE_DATA:
	case SMTP_STATE_BDAT:
		if (conn_eof(s->conn))
			return PARK_CLOSE;
		conn_deadline(s->conn, config_duration_ms(s->config, SETTING_SMTP_TIMEOUT_DATA));
		return input;
	case SMTP_STATE_AUTH_WAIT:
	case SMTP_STATE_AUTH_DELAY:
	case SMTP_STATE_PRESSURE:
	case SMTP_STATE_ACCEPT: return PARK_EVENT;
	case SMTP_STATE_STARTTLS: return PARK_STARTTLS;
	case SMTP_STATE_CLOSE: break;
	}
	return PARK_CLOSE;
}

static unsigned smtp_run(struct conn *c, enum wake wake)
{
	struct smtp_session *s = conn_session(c);
	if (!s)
		s = session_new(c);
	switch (wake) {
	case WAKE_GONE: return PARK_CLOSE;
	case WAKE_START: on_start(s); break;
	case WAKE_DEADLINE: on_deadline(s); break;
	case WAKE_DRAIN: on_drain(s); break;
	case WAKE_INPUT:
	case WAKE_OUTPUT:
	case WAKE_EVENT: break;
	}
	while (step(s))
		if (conn_out_pending(c) > CONN_OUT_HIGH)
			return s->state == SMTP_STATE_CLOSE ? PARK_CLOSE : PARK_OUTPUT;
	return park(s);
}

const struct protocol smtp_protocol = {"smtp", smtp_run, smtp_end};
