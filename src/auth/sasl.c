/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * One object per attempt. "state" says which call may come next; everything else fails the attempt. The
 * mechanisms are in sasl_plain.c and sasl_scram.c, one function per message of the client.
 */
#include "auth/sasl.h"
#include "auth/sasl_int.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	bool plaintext, binding;
	int scram;
} mechanisms[SASL_MECHANISM_COUNT] = {
	[SASL_PLAIN] = {"PLAIN", true, false, -1},
	[SASL_LOGIN] = {"LOGIN", true, false, -1},
	[SASL_SCRAM_SHA_1] = {"SCRAM-SHA-1", false, false, SCRAM_SHA_1},
	[SASL_SCRAM_SHA_256] = {"SCRAM-SHA-256", false, false, SCRAM_SHA_256},
	[SASL_SCRAM_SHA_1_PLUS] = {"SCRAM-SHA-1-PLUS", false, true, SCRAM_SHA_1},
	[SASL_SCRAM_SHA_256_PLUS] = {"SCRAM-SHA-256-PLUS", false, true, SCRAM_SHA_256},
};

const char *sasl_mechanism_name(enum sasl_mechanism m)
{
	return mechanisms[m].name;
}

bool sasl_mechanism_find(struct str name, enum sasl_mechanism *out)
{
	for (size_t i = 0; i < SASL_MECHANISM_COUNT; i++) {
		if (!str_eq_nocase(name, str_of(mechanisms[i].name)))
			continue;
		*out = (enum sasl_mechanism)i;
		return true;
	}
	return false;
}

bool sasl_mechanism_plaintext(enum sasl_mechanism m)
{
	return mechanisms[m].plaintext;
}

bool sasl_mechanism_needs_binding(enum sasl_mechanism m)
{
	return mechanisms[m].binding;
}

/* ---- shared by the mechanisms ---- */

enum sasl_step sasl_fail(struct sasl *s, struct err *err, enum err_kind kind, const char *text)
{
	s->state = SASL_STATE_DONE;
	secret_free(&s->password);
	err_set(err, kind, "%s", text);
	return SASL_FAILURE;
}

enum sasl_step sasl_send(struct sasl *s, struct str challenge, enum sasl_state next)
{
	buf_clear(&s->challenge);
	buf_add(&s->challenge, challenge);
	s->state = next;
	return SASL_CHALLENGE;
}

bool sasl_take_user(struct sasl *s, struct str name, struct err *err)
{
	BUF_SCOPED prepared = {0};
	if (name.n == 0 || name.n > SASL_USER_MAX)
		return err_set(err, ERR_SYNTAX, "the user name is empty or too long");
	if (!saslprep(name, true, &prepared, err))
		return false;
	if (prepared.n == 0 || prepared.n > SASL_USER_MAX)
		return err_set(err, ERR_SYNTAX, "the user name is empty or too long");
	buf_clear(&s->user);
	buf_add(&s->user, buf_str(&prepared));
	return true;
}

/* Nobody acts for others here: an authorization identity may only repeat the user. */
bool sasl_check_authzid(const struct sasl *s, struct str authzid, struct err *err)
{
	BUF_SCOPED prepared = {0};
	if (authzid.n == 0)
		return true;
	if (authzid.n > SASL_USER_MAX)
		return err_set(err, ERR_SYNTAX, "the authorization identity is too long");
	if (!saslprep(authzid, true, &prepared, err))
		return false;
	return str_eq_nocase(buf_str(&prepared), buf_str(&s->user)) ||
	       err_set(err, ERR_DENIED, "logging in for somebody else is not allowed");
}

/* ---- the machine ---- */

static enum sasl_step on_response(struct sasl *s, struct str response, struct err *err)
{
	switch (s->state) {
	case SASL_STATE_PLAIN:
		return sasl_plain_message(s, response, err);
	case SASL_STATE_LOGIN_USER:
		return sasl_login_user(s, response, err);
	case SASL_STATE_LOGIN_PASSWORD:
		return sasl_login_password(s, response, err);
	case SASL_STATE_SCRAM_FIRST:
		return sasl_scram_first(s, response, err);
	case SASL_STATE_SCRAM_FINAL:
		return sasl_scram_final(s, response, err);
	case SASL_STATE_SCRAM_END:
		if (response.n)
			return sasl_fail(s, err, ERR_SYNTAX, "the last response has to be empty");
		s->state = SASL_STATE_DONE;
		return SASL_SUCCESS;
	case SASL_STATE_VERDICT:
	case SASL_STATE_CREDENTIALS:
	case SASL_STATE_DONE:
		break;
	}
	return sasl_fail(s, err, ERR_CONFLICT, "a response out of order");
}

static enum sasl_step first_step(struct sasl *s, const struct sasl_start *start, struct err *err)
{
	bool login = s->mechanism == SASL_LOGIN;
	if (s->mechanism == SASL_PLAIN)
		s->state = SASL_STATE_PLAIN;
	else
		s->state = login ? SASL_STATE_LOGIN_USER : SASL_STATE_SCRAM_FIRST;
	if (start->has_initial)
		return sasl_step(s, start->initial, err);
	return sasl_send(s, login ? STR("Username:") : STR_NONE, s->state);
}

static void copy_binding(struct sasl *s, const struct sasl_start *start)
{
	const struct str values[] = {start->binding_exporter, start->binding_unique,
				     start->binding_server_end_point};
	for (size_t i = 0; i < SASL_BINDING_COUNT; i++)
		if (values[i].n <= SASL_BINDING_MAX)
			buf_add(&s->binding[i], values[i]);
}

enum sasl_step sasl_begin(const struct sasl_start *start, struct sasl **out, struct err *err)
{
	struct sasl *s = mem_zalloc(sizeof *s);
	*out = s;
	s->state = SASL_STATE_DONE;
	if (!sasl_mechanism_find(start->mechanism, &s->mechanism))
		return sasl_fail(s, err, ERR_NOT_FOUND, "this mechanism is not offered");
	s->scram_hash = mechanisms[s->mechanism].scram;
	s->plus = mechanisms[s->mechanism].binding;
	s->plus_offered = start->plus_offered;
	copy_binding(s, start);
	buf_add(&s->server_nonce, start->nonce);
	return first_step(s, start, err);
}

enum sasl_step sasl_step(struct sasl *s, struct str response, struct err *err)
{
	if (response.n > SASL_MESSAGE_MAX)
		return sasl_fail(s, err, ERR_SYNTAX, "the response is too long");
	return on_response(s, response, err);
}

enum sasl_step sasl_verdict(struct sasl *s, bool right, struct err *err)
{
	if (s->state != SASL_STATE_VERDICT)
		return sasl_fail(s, err, ERR_CONFLICT, "a verdict out of order");
	if (!right)
		return sasl_fail(s, err, ERR_DENIED, "user name or password is wrong");
	secret_free(&s->password);
	s->state = SASL_STATE_DONE;
	return SASL_SUCCESS;
}

enum sasl_step sasl_credentials(struct sasl *s, const struct scram_verifier *v, struct err *err)
{
	if (s->state != SASL_STATE_CREDENTIALS)
		return sasl_fail(s, err, ERR_CONFLICT, "credentials out of order");
	if (!v || (int)v->hash != s->scram_hash)
		return sasl_fail(s, err, ERR_TEMP, "temporary failure");
	s->verifier = *v;
	return sasl_scram_challenge(s);
}

void sasl_free(struct sasl *s)
{
	if (!s)
		return;
	secret_free(&s->password);
	buf_free(&s->user);
	buf_wipe(&s->challenge);
	buf_free(&s->gs2_header);
	buf_free(&s->client_first);
	buf_free(&s->server_first);
	buf_free(&s->nonce);
	buf_free(&s->server_nonce);
	for (size_t i = 0; i < SASL_BINDING_COUNT; i++)
		buf_free(&s->binding[i]);
	secret_wipe(s, sizeof *s);
	free(s);
}

enum sasl_mechanism sasl_mechanism(const struct sasl *s)
{
	return s->mechanism;
}

int sasl_scram_hash(const struct sasl *s)
{
	return s->scram_hash;
}

struct str sasl_challenge(const struct sasl *s)
{
	return buf_str(&s->challenge);
}

struct str sasl_user(const struct sasl *s)
{
	return buf_str(&s->user);
}

struct str sasl_password(const struct sasl *s)
{
	if (s->state != SASL_STATE_VERDICT)
		return STR_NONE;
	return (struct str){s->password.p, s->password.n};
}
