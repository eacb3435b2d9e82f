/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* auth/login.c: see auth/login.h. */
#include "auth/login.h"
#include "auth/attempt.h"
#include "auth/sasl.h"
#include "base/clock.h"
#include "base/codec.h"
#include "base/log.h"
#include "base/secret.h"
#include "config/config.h"
#include "net/pending.h"
#include <string.h>

void login_init(struct login *l, struct conn *c, int64_t timeout_ms)
{
	const struct door *door = conn_owner(c);

	*l = (struct login){.conn = c, .door = door, .config = door->config(door->ctx)};
	l->ends_ms = clock_mono_ms() + timeout_ms;
}

void login_fini(struct login *l)
{
	attempt_free(l->attempt);
	pending_drop(l->pending);
	buf_free(&l->tag);
	buf_free(&l->client_id);
	config_unref((struct config *)(uintptr_t)l->config);
	*l = (struct login){};
}

/* ---- what is offered -------------------------------------------------------------------- */

static const struct door_listener *listener_of(const struct login *l)
{
	static const struct door_listener may = {.tls = DOOR_TLS_MAY};
	const struct door_listener *listener = conn_facts(l->conn)->listener;

	return listener ? listener : &may;
}

bool login_password_allowed(const struct login *l)
{
	const struct door_listener *listener = listener_of(l);
	const struct conn_facts *f = conn_facts(l->conn);
	const struct sockaddr *peer = (const struct sockaddr *)&f->peer.addr;

	if (conn_tls(l->conn))
		return true;
	if (listener->tls == DOOR_TLS_REQUIRED || !f->peer.len)
		return false;
	return (listener->plaintext_auth_from && networks_match(listener->plaintext_auth_from, peer)) ||
	       networks_match(config_networks(l->config, SETTING_AUTH_PLAINTEXT_NETWORKS), peer);
}

bool login_starttls_offered(const struct login *l)
{
	return !conn_tls(l->conn) && listener_of(l)->tls != DOOR_TLS_NONE && l->door->tls(l->door->ctx);
}

static bool has_binding(const struct login *l)
{
	BUF_SCOPED data = {};

	return conn_tls(l->conn) && (conn_channel_binding(l->conn, STR("tls-exporter"), &data) ||
				     conn_channel_binding(l->conn, STR("tls-server-end-point"), &data));
}

void login_mechanisms(const struct login *l, struct str prefix, struct str sep, struct buf *out)
{
	struct str all = l->door->auth.mechanisms(l->door->auth.ctx);
	bool binding = has_binding(l), first = true;

	if (!login_password_allowed(l))
		return;
	while (all.p) {
		struct str name = str_cut(&all, ' ');
		for (int plus = str_starts(name, STR("SCRAM-")) && binding; name.n && plus >= 0; plus--) {
			if (!first)
				buf_add(out, sep);
			first = false;
			buf_add(out, prefix);
			buf_add(out, name);
			if (plus)
				buf_add(out, STR("-PLUS"));
		}
	}
}

bool login_mechanism_offered(const struct login *l, struct str mechanism)
{
	BUF_SCOPED all = {};

	login_mechanisms(l, STR(""), STR(" "), &all);
	struct str rest = buf_str(&all);
	while (rest.p)
		if (str_eq_nocase(str_cut(&rest, ' '), mechanism) && mechanism.n)
			return true;
	return false;
}

/* ---- an attempt ------------------------------------------------------------------------- */

static void drop_attempt(struct login *l)
{
	attempt_free(l->attempt);
	l->attempt = NULL;
	l->answered = false;
}

void login_begin(struct login *l, struct str mechanism, const struct str *initial)
{
	size_t n = mechanism.n < sizeof(l->mechanism) ? mechanism.n : sizeof(l->mechanism) - 1;

	drop_attempt(l);
	memcpy(l->mechanism, mechanism.p, n);
	l->mechanism[n] = '\0';
	l->state = LOGIN_WAITING;
	l->attempt = attempt_new(l->conn, &l->door->auth);
	attempt_begin(l->attempt, mechanism, initial);
}

void login_password(struct login *l, struct str user, struct str password)
{
	BUF_SCOPED b = {};

	buf_byte(&b, '\0');
	buf_add(&b, user);
	buf_byte(&b, '\0');
	buf_add(&b, password);
	struct str initial = buf_str(&b);
	login_begin(l, STR("PLAIN"), &initial);
	secret_wipe(b.p, b.n);
}

bool login_response(struct login *l, struct str line)
{
	BUF_SCOPED data = {};

	data.max = SASL_MESSAGE_MAX;
	if (!base64_decode(&data, line) || data.failed) {
		drop_attempt(l);
		l->state = LOGIN_COMMANDS;
		return false;
	}
	l->state = LOGIN_WAITING;
	l->answered = false;
	attempt_step(l->attempt, buf_str(&data));
	secret_wipe(data.p, data.n);
	return true;
}

static void log_outcome(const struct login *l, const struct auth_result *r)
{
	const struct conn_facts *f = conn_facts(l->conn);
	bool ok = r->outcome == AUTH_SUCCESS;

	log_event(LOG_INFO, ok ? "login.ok" : "login.fail", K_STR(service, f->service),
		  K_STR(peer, f->peer_text), K_STR(user, r->user), K_STR(account, r->account),
		  K_CSTR(mechanism, l->mechanism), K_STR(tls, f->tls_version), K_STR(why, r->why));
}

static void hand_over(struct login *l, const struct auth_result *r)
{
	const struct handover_record record = {
		.service = conn_facts(l->conn)->service,
		.ticket = r->ticket,
		.account = r->account,
		.tag = buf_str(&l->tag),
		.final_data = r->data,
		.client_id = buf_str(&l->client_id),
	};

	l->pending = pending_new(l->conn);
	l->door->hand_over(l->door->ctx, l->conn, &record, pending_done, l->pending);
}

static enum login_event refused(struct login *l, enum auth_outcome outcome)
{
	drop_attempt(l);
	l->state = LOGIN_COMMANDS;
	if (outcome != AUTH_TEMP)
		l->failures++;
	login_arm(l);
	return LOGIN_REFUSED;
}

static enum login_event poll_hand_over(struct login *l, struct auth_result *out)
{
	struct err err;

	if (!pending_ready(l->pending, &err))
		return LOGIN_NOTHING;
	pending_drop(l->pending);
	l->pending = NULL;
	if (err.kind == ERR_NONE)
		return LOGIN_TAKEN;
	log_err(LOG_WARN, "login.handover", &err);
	if (!conn_tls(l->conn)) /* the connection itself was given away, and told there */
		return LOGIN_TAKEN;
	*out = (struct auth_result){.outcome = AUTH_TEMP};
	return refused(l, AUTH_TEMP);
}

enum login_event login_poll(struct login *l, enum wake wake, struct auth_result *out)
{
	int64_t now = clock_mono_ms();

	if (l->pending)
		return poll_hand_over(l, out);
	if (l->state != LOGIN_WAITING)
		return wake == WAKE_DEADLINE && now >= l->ends_ms ? LOGIN_TIMEOUT : LOGIN_NOTHING;
	if (!attempt_answer(l->attempt, out))
		return LOGIN_NOTHING;
	if (!l->answered) {
		l->answered = true;
		l->deliver_ms = now + out->delay_ms;
	}
	if (now < l->deliver_ms) {
		conn_deadline(l->conn, l->deliver_ms - now);
		return LOGIN_NOTHING;
	}
	l->answered = false;
	if (out->outcome == AUTH_CHALLENGE) {
		l->state = LOGIN_RESPONSE;
		login_arm(l);
		return LOGIN_CHALLENGE;
	}
	log_outcome(l, out);
	if (out->outcome != AUTH_SUCCESS)
		return refused(l, out->outcome);
	conn_deadline(l->conn, 0);
	hand_over(l, out);
	return poll_hand_over(l, out);
}

unsigned login_park_taken(const struct login *l) { return conn_tls(l->conn) ? PARK_PUMP : PARK_CLOSE; }

void login_arm(struct login *l)
{
	int64_t left = l->ends_ms - clock_mono_ms();

	conn_deadline(l->conn, left > 1 ? left : 1);
}
