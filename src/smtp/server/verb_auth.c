/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* AUTH (RFC 4954): relays the exchange to auth, parked while that decides. */
#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"
#include "smtp/server/server_int.h"
#include <stdlib.h>
#include <string.h>

static void unref(struct smtp_auth *a)
{
	if (atomic_fetch_sub(&a->refs, 1) > 1)
		return;
	secret_wipe((char *)a->data.p, a->data.n);
	secret_wipe((char *)a->ticket.p, a->ticket.n);
	arena_free(a->arena);
	free(a);
}

void smtp_auth_abandon(struct smtp_session *s)
{
	struct smtp_auth *a = s->auth;
	if (!a)
		return;
	s->auth = NULL;
	s->server->services.auth.cancel(s->server->services.auth.ctx, a->attempt);
	unref(a);
}

/* On any thread; holds a reference of the object and of the connection. */
static void on_result(void *ctx, const struct auth_result *r)
{
	struct smtp_auth *a = ctx;
	struct conn *c = a->conn;
	a->outcome = r->outcome;
	a->delay_ms = r->delay_ms;
	a->data = arena_str(a->arena, r->data);
	a->account = arena_str(a->arena, r->account);
	a->ticket = arena_str(a->arena, r->ticket);
	a->user = arena_str(a->arena, r->user);
	a->why = arena_str(a->arena, r->why);
	atomic_store(&a->answered, true);
	conn_wake(c);
	unref(a);
	conn_unref(c);
}

static struct smtp_auth *expect_result(struct smtp_session *s, struct smtp_auth *a)
{
	atomic_store(&a->answered, false);
	atomic_fetch_add(&a->refs, 1);
	a->conn = conn_ref(s->conn);
	s->state = SMTP_STATE_AUTH_WAIT;
	conn_deadline(s->conn, config_duration_ms(s->config, SETTING_SMTP_TIMEOUT_COMMAND));
	return a;
}

static bool auth_allowed(struct smtp_session *s)
{
	if (!smtp_is(s, SMTP_SUBMISSION))
		smtp_error(s, 502, "5.5.1", "AUTH is not offered here");
	else if (s->account.n)
		smtp_error(s, 503, "5.5.1", "logged in already");
	else if (s->tx)
		smtp_error(s, 503, "5.5.1", "not within a transaction");
	else if (!smtp_auth_offered(s)) /* R90: a clear reply */
		smtp_error(s, 538, "5.7.11", "encryption required for login: say STARTTLS first");
	else
		return true;
	return false;
}

void verb_auth(struct smtp_session *s, struct str args)
{
	struct str mechanism, initial;
	struct smtp_services *v = &s->server->services;
	BUF_SCOPED bytes = {0};
	if (!auth_allowed(s))
		return;
	if (!smtp_auth_parse(args, &mechanism, &initial)) {
		smtp_error(s, 501, "5.5.4", "syntax: AUTH mechanism [initial-response]");
		return;
	}
	if (!smtp_mechanism_offered(s, mechanism)) {
		smtp_error(s, 504, "5.5.4", "mechanism not supported");
		return;
	}
	if (initial.p && !smtp_auth_decode(initial, true, &bytes)) {
		smtp_error(s, 501, "5.5.2", "not base64");
		return;
	}
	memcpy(s->mechanism_asked, mechanism.p, mechanism.n);
	s->mechanism_asked[mechanism.n] = 0;
	for (char *p = s->mechanism_asked; *p; p++)
		*p = ascii_upper(*p);
	struct smtp_auth *a = mem_new(struct smtp_auth);
	atomic_init(&a->refs, 1);
	a->arena = arena_new();
	s->auth = expect_result(s, a);
	struct str first = buf_str(&bytes);
	a->attempt = v->auth.begin(v->auth.ctx, s->conn, str_of(s->mechanism_asked),
				   initial.p ? &first : NULL, on_result, a);
	secret_wipe(bytes.p, bytes.n);
	secret_wipe((char *)args.p, args.n);
}

/* A line of the client: a response, or "*" (RFC 4954 4). */
void smtp_auth_response(struct smtp_session *s, struct str line)
{
	struct smtp_services *v = &s->server->services;
	BUF_SCOPED bytes = {0};
	bool cancel = str_eq(line, STR("*"));
	if (cancel || !smtp_auth_decode(line, false, &bytes)) {
		smtp_auth_abandon(s);
		s->state = SMTP_STATE_COMMAND;
		s->acted = true;
		smtp_error(s, 501, cancel ? "5.7.0" : "5.5.2", cancel ? "cancelled" : "not base64");
		return;
	}
	struct smtp_auth *a = expect_result(s, s->auth);
	v->auth.step(v->auth.ctx, a->attempt, buf_str(&bytes), on_result, a);
	secret_wipe(bytes.p, bytes.n);
}

static void logged_in(struct smtp_session *s, const struct smtp_auth *a)
{
	buf_clear(&s->account);
	buf_add(&s->account, a->account);
	buf_clear(&s->ticket);
	buf_add(&s->ticket, a->ticket);
	buf_clear(&s->mechanism);
	buf_add(&s->mechanism, str_of(s->mechanism_asked));
	conn_logged_in(s->conn, a->account);
	log_event(LOG_INFO, "smtp.login", K_STR(account, a->account), K_STR(user, a->user),
		  K_STR(mechanism, buf_str(&s->mechanism)), K_STR(peer, buf_str(&s->peer_text)),
		  K_STR(service, conn_facts(s->conn)->service));
	smtp_reply(smtp_out(s), 235, "2.7.0", "logged in");
}

static void not_logged_in(struct smtp_session *s, const struct smtp_auth *a)
{
	log_event(LOG_INFO, "smtp.login.fail", K_STR(user, a->user),
		  K_CSTR(mechanism, s->mechanism_asked), K_STR(peer, buf_str(&s->peer_text)),
		  K_STR(service, conn_facts(s->conn)->service), K_STR(why, a->why));
	switch (a->outcome) {
	case AUTH_TEMP: smtp_refuse(s, OUTCOME_AUTH_TEMP, STR_NONE); return;
	case AUTH_SYNTAX: smtp_error(s, 501, "5.5.2", "not a response of this mechanism"); return;
	case AUTH_WRONG:
	case AUTH_DENIED:
	case AUTH_CHALLENGE:
	case AUTH_SUCCESS: break;
	}
	smtp_refuse(s, OUTCOME_AUTH_FAILED, STR_NONE);
	if (++s->auth_failures >= config_int(s->config, SETTING_AUTH_MAX_FAILURES_PER_SESSION) &&
	    s->state != SMTP_STATE_CLOSE)
		smtp_close(s, "4.7.0", "too many failed logins");
}

/* The answer is there; first its delay, parked, so that a guesser's other sessions gain nothing. */
void smtp_auth_answered(struct smtp_session *s)
{
	struct smtp_auth *a = s->auth;
	if (a->delay_ms) {
		conn_deadline(s->conn, a->delay_ms);
		a->delay_ms = 0;
		s->state = SMTP_STATE_AUTH_DELAY;
		return;
	}
	if (a->outcome == AUTH_CHALLENGE) {
		smtp_reply_challenge(smtp_out(s), a->data);
		s->state = SMTP_STATE_AUTH_LINE;
		s->acted = true;
		return;
	}
	s->auth = NULL;
	s->state = SMTP_STATE_COMMAND;
	s->acted = true;
	if (a->outcome == AUTH_SUCCESS)
		logged_in(s, a);
	else
		not_logged_in(s, a);
	unref(a);
}
