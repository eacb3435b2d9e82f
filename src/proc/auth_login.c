/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * proc/auth_login.c: SASL attempts. An attempt is known by its door and number; it is at work for
 * one message at a time, on the door's reader thread, a hashing thread, or the one that brings
 * mailbox's answer to a ticket. Whoever finishes a step answers the door.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/scan.h"
#include "auth/password.h"
#include "auth/scram.h"
#include "crypto/hash.h"
#include "proc/auth_int.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ATTEMPTS_MAX = 20000, ATTEMPT_LIFE_MS = 120000, TICKET_WAIT_MS = 5000 };
enum { RESULT_CHALLENGE, RESULT_SUCCESS, RESULT_WRONG, RESULT_TEMP, RESULT_DENIED, RESULT_SYNTAX };

struct attempt {
	struct question question; /* to the directory: who is this? */
	enum sasl_step asked_for; /* what goes on with the answer */
	struct auth_role *auth;
	struct peer *door;
	uint64_t number, session;
	char service[16], network[64], mechanism[32];
	struct sasl *sasl;
	struct arena *arena;    /* the account found */
	struct account account; /* id 0: none, or it may not log in here */
	const char *refused;    /* for the log: why it may not */
	struct str user;        /* as the client wrote it */
	struct str address;     /* canonical, also of an unknown user: what failures count on */
	int64_t not_before_us;
	unsigned char ticket[LOGIN_TICKET_SIZE];
	/* guarded by auth->lock */
	uint64_t request;       /* the door's question that waits; 0: not at work */
	int64_t last_ms;
	bool gone;              /* its door is: free it when the work ends */
};

/* ---- the table ---------------------------------------------------------------------------------- */

struct attempt_key {
	struct peer *door;
	uint64_t number;
};

static struct str key_of(const struct attempt_key *k)
{
	return (struct str){(const char *)k, sizeof(*k)};
}

static void attempt_free(struct attempt *t)
{
	sasl_free(t->sasl);
	arena_free(t->arena);
	free(t);
}

static void forget(struct auth_role *a, struct attempt *t)
{
	struct attempt_key k = {t->door, t->number};

	lock_held(&a->lock);
	if (map_get(a->attempts, key_of(&k)) == t)
		(void)map_remove(a->attempts, key_of(&k));
	attempt_free(t);
}

/* Those that no door has touched for long: it died, or is not ours any more. */
static void sweep(struct auth_role *a, int64_t now)
{
	struct map_iter it = {0};

	lock_held(&a->lock);
	while (map_next(a->attempts, &it)) {
		struct attempt *t = it.value;
		if (t->request == 0 && now - t->last_ms > ATTEMPT_LIFE_MS) {
			(void)map_remove(a->attempts, it.key);
			attempt_free(t);
		}
	}
}

void auth_door_lost(struct auth_role *a, struct peer *p)
{
	struct map_iter it = {0};

	LOCK_SCOPED(&a->lock);
	while (map_next(a->attempts, &it)) {
		struct attempt *t = it.value;
		if (t->door != p)
			continue;
		(void)map_remove(a->attempts, it.key);
		if (t->request)
			t->gone = true;
		else
			attempt_free(t);
	}
}

/* ---- answers -------------------------------------------------------------------------------------- */

static uint32_t delay_of(const struct attempt *t)
{
	int64_t left = t->not_before_us - clock_mono_us();

	return t->not_before_us == 0 || left <= 0 ? 0 : (uint32_t)(left / 1000 + 1);
}

/* The attempt has ended with this, or waits for the client's next message. */
static void answer(struct attempt *t, uint32_t result, struct str data, struct str ticket, const char *why)
{
	struct auth_role *a = t->auth;
	struct message m = {.type = MSG_auth_result};
	bool ended = result != RESULT_CHALLENGE;

	m.auth_result = (struct msg_auth_result){
		.attempt = t->number,
		.result = result,
		.data = data,
		.ticket = ticket,
		.delay_ms = delay_of(t),
		.user = str_sub(t->user, 0, 320),
		.why = str_of(why),
	};
	if (result == RESULT_SUCCESS) {
		m.auth_result.account = t->account.address;
		m.auth_result.account_id = (uint64_t)t->account.id;
	}
	lock_take(&a->lock);
	uint64_t request = t->request;
	t->request = 0;
	t->last_ms = clock_mono_ms();
	a->logins += result == RESULT_SUCCESS;
	a->failures += result == RESULT_WRONG;
	lock_drop(&a->lock);
	(void)channel_reply(t->door->ch, request, &m);
	lock_take(&a->lock);
	if (ended || t->gone)
		forget(a, t);
	lock_drop(&a->lock);
}

static void log_outcome(const struct attempt *t, enum log_level level, const char *event, const char *why)
{
	char sid[20];

	snprintf(sid, sizeof(sid), "%016llx", (unsigned long long)t->session);
	log_event(level, event, K_CSTR(sid, sid), K_CSTR(service, t->service), K_STR(user, t->user),
		  K_STR(account, t->account.address), K_CSTR(peer, t->network),
		  K_CSTR(mechanism, t->mechanism), K_CSTR(why, why));
}

static void fail(struct attempt *t, const struct err *err)
{
	uint32_t result = RESULT_TEMP;

	if (err->kind == ERR_DENIED)
		result = RESULT_WRONG;
	else if (err->kind == ERR_SYNTAX || err->kind == ERR_LIMIT)
		result = RESULT_SYNTAX;
	else if (err->kind == ERR_NOT_FOUND || err->kind == ERR_CONFLICT)
		result = RESULT_DENIED;
	const char *why = t->refused ? t->refused : err->text;
	log_outcome(t, LOG_INFO, result == RESULT_TEMP ? "auth.login.temporary" : "auth.login.failed", why);
	answer(t, result, STR_NONE, STR_NONE, err->text);
}

static void fail_with(struct attempt *t, enum err_kind kind, const char *text)
{
	struct err err = {0};

	err_set(&err, kind, "%s", text);
	fail(t, &err);
}

/* ---- success -------------------------------------------------------------------------------------- */

static void on_ticket_taken(void *ctx, struct message *reply, const struct err *err)
{
	struct attempt *t = ctx;

	if (!reply) {
		fail_with(t, ERR_TEMP, err->text);
	} else if (reply->ticket_taken.code) {
		fail_with(t, ERR_TEMP, "the account is set aside for a while");
	} else {
		log_outcome(t, LOG_INFO, "auth.login", "");
		answer(t, RESULT_SUCCESS, STR_NONE,
		       (struct str){(const char *)t->ticket, sizeof(t->ticket)}, "");
	}
}

/* auth itself tells mailbox: a captured door has only those who log in through it. */
static void give_ticket(struct attempt *t)
{
	struct role *r = t->auth->role;
	CONFIG_SCOPED c = role_config(r);
	struct message m = {.type = MSG_ticket};
	struct err err = {0};
	int64_t bytes, messages;

	login_ticket_new(t->ticket);
	account_effective_quota(c, &t->account, &bytes, &messages);
	m.ticket = (struct msg_ticket){
		.ticket = {(const char *)t->ticket, sizeof(t->ticket)},
		.account_id = (uint64_t)t->account.id,
		.account = t->account.address,
		.session = t->session,
		.language = t->account.language.n ? t->account.language : config_str(c, SETTING_LANGUAGE),
		.quota_bytes = (uint64_t)bytes,
		.quota_messages = (uint64_t)messages,
		.roles = (uint32_t)t->account.role,
		.display_name = str_sub(t->account.display_name, 0, 256),
	};
	struct channel *ch =
		role_channel(r, CHANNEL_TICKET, ROLE_MAILBOX, role_mailbox_of(r, t->account.address));
	if (!channel_call_async(ch, &m, TICKET_WAIT_MS, on_ticket_taken, t, &err))
		fail(t, &err);
}

/* What smtp keeps with the message: proof for a signature days later. */
static void give_mac(struct attempt *t)
{
	BUF_SCOPED packed = {0};
	char sid[20];
	int n = snprintf(sid, sizeof(sid), "%016llx", (unsigned long long)t->session);
	struct str rest = t->account.address;
	(void)str_cut(&rest, '@');
	struct ticket k = {
		.account_id = (uint64_t)t->account.id,
		.address = t->account.address,
		.domain = rest,
		.session = {sid, (size_t)n},
		.time_s = clock_wall_s(),
	};

	ticket_pack(&packed, &t->auth->mac_key, &k);
	log_outcome(t, LOG_INFO, "auth.login", "");
	answer(t, RESULT_SUCCESS, STR_NONE, buf_str(&packed), "");
}

static bool is_mailbox_service(const struct attempt *t)
{
	return str_starts(str_of(t->service), STR("imap")) || str_starts(str_of(t->service), STR("pop3"));
}

static void succeed(struct attempt *t)
{
	if (is_mailbox_service(t))
		give_ticket(t);
	else
		give_mac(t);
}

/* ---- the account ---------------------------------------------------------------------------------- */

static unsigned protocol_of(const struct attempt *t)
{
	if (str_starts(str_of(t->service), STR("imap")))
		return ACCOUNT_IMAP;
	return str_starts(str_of(t->service), STR("pop3")) ? ACCOUNT_POP3 : ACCOUNT_SUBMISSION;
}

static bool in_intranet(struct attempt *t)
{
	CONFIG_SCOPED c = role_config(t->auth->role);
	char text[64];
	struct sockaddr_storage s = {0};
	struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&s;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&s;

	snprintf(text, sizeof(text), "%s", t->network);
	text[strcspn(text, "/")] = 0;
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1)
		s.ss_family = AF_INET;
	else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1)
		s.ss_family = AF_INET6;
	return networks_match(config_networks(c, SETTING_INTRANET), (const struct sockaddr *)&s);
}

static const char *refusal(struct attempt *t)
{
	if (!t->account.id)
		return "unknown user";
	if (!t->account.enabled || !t->account.domain_enabled)
		return "account disabled";
	if (!(t->account.protocols & protocol_of(t)))
		return "protocol not allowed for this account";
	if (t->account.intranet_only && !in_intranet(t))
		return "account may log in from the intranet only";
	return NULL;
}

/* A name without domain is one of mydomain. False: the directory could not be asked. */
static bool find_account(struct attempt *t, struct directory *d, struct err *err)
{
	CONFIG_SCOPED c = role_config(t->auth->role);
	struct str user = arena_str(t->arena, sasl_user(t->sasl));

	t->user = user;
	if (!str_has_byte(user, '@'))
		user = arena_fmt(t->arena, "%.*s@%.*s", STR_ARG(user),
				 STR_ARG(config_str(c, SETTING_MYDOMAIN)));
	t->address = user;
	if (!directory_fold_address(t->arena, user, &t->address, err)) {
		t->address = arena_lower(t->arena, user);
		t->account = (struct account){0};
	} else if (!account_find(d, t->address, t->arena, &t->account, err)) {
		return false;
	}
	t->refused = refusal(t);
	if (t->refused)
		t->account.id = 0;
	return true;
}

/* ---- the machine ---------------------------------------------------------------------------------- */

static void advance(struct attempt *t, enum sasl_step step, struct err *err);

static void submit_password(struct attempt *t)
{
	struct verdict_request q = {
		.tag = (uint64_t)(uintptr_t)t,
		.account = t->address,
		.network = str_of(t->network),
		.stored = t->account.id ? t->account.password : STR_NONE, /* unknown: the same time */
		.password = sasl_password(t->sasl),
	};

	verdict_submit(t->auth->verdicts, &q);
}

void auth_on_verdict(void *ctx, const struct verdict *v)
{
	struct attempt *t = (struct attempt *)(uintptr_t)v->tag;
	struct err err = {0};

	(void)ctx;
	t->not_before_us = v->not_before_us;
	if (v->result == VERDICT_TEMP) {
		fail_with(t, ERR_TEMP, "too many logins at once");
		return;
	}
	if (v->result == VERDICT_WRONG && !t->refused)
		t->refused = verdict_why_name(v->why);
	if (v->result == VERDICT_RIGHT && t->account.id)
		auth_rehash(t->auth, &t->account, sasl_password(t->sasl));
	enum sasl_step step = sasl_verdict(t->sasl, v->result == VERDICT_RIGHT, &err);
	advance(t, step, &err);
}

static bool stored_verifier(struct attempt *t, enum scram_hash hash, struct scram_verifier *out)
{
	struct str stored = hash == SCRAM_SHA_1 ? t->account.scram_sha1 : t->account.scram_sha256;
	struct err err;
	BUF_SCOPED plain = {0};

	if (!t->account.id)
		return false;
	if (stored.n)
		return scram_verifier_parse(stored, out, &err) && out->hash == hash;
	return password_plain(t->account.password, &plain) &&
	       scram_verifier_make(hash, buf_str(&plain), SCRAM_ITERATIONS_MIN, NULL, out, &err);
}

static void give_credentials(struct attempt *t)
{
	enum scram_hash hash = (enum scram_hash)sasl_scram_hash(t->sasl);
	enum verdict_why locked = verdict_locked(t->auth->verdicts, t->address, str_of(t->network));
	struct str secret = {t->auth->fake_secret, sizeof(t->auth->fake_secret)};
	struct scram_verifier v;
	struct err err = {0};

	if (locked != VERDICT_WHY_NONE)
		t->refused = verdict_why_name(locked);
	if (locked != VERDICT_WHY_NONE || !stored_verifier(t, hash, &v)) {
		if (!t->refused)
			t->refused = "no SCRAM verifier stored";
		scram_verifier_fake(hash, secret, t->address, SCRAM_ITERATIONS, &v);
	}
	enum sasl_step step = sasl_credentials(t->sasl, &v, &err);
	advance(t, step, &err);
}

/* SCRAM decides here; PLAIN and LOGIN were counted by the engine. */
static void note_scram(struct attempt *t, bool right)
{
	if (sasl_scram_hash(t->sasl) >= 0 && t->address.n)
		t->not_before_us = verdict_note(t->auth->verdicts, t->address, str_of(t->network), right);
}

/* A database that refuses or does not know its own tables is no wrong password. */
static void run_find(struct auth_role *a, struct directory *d, struct question *q)
{
	struct attempt *t = (struct attempt *)q;
	struct err err = {0};

	(void)a;
	if (!find_account(t, d, &err)) {
		err.kind = ERR_TEMP;
		log_err(LOG_ERROR, "auth.lookup.failed", &err);
		fail(t, &err);
	} else if (t->asked_for == SASL_NEED_VERDICT) {
		submit_password(t);
	} else {
		give_credentials(t);
	}
}

static void advance(struct attempt *t, enum sasl_step step, struct err *err)
{
	switch (step) {
	case SASL_CHALLENGE: answer(t, RESULT_CHALLENGE, sasl_challenge(t->sasl), STR_NONE, ""); return;
	case SASL_NEED_VERDICT:
	case SASL_NEED_CREDENTIALS:
		t->asked_for = step;
		t->question.run = run_find;
		if (!auth_ask(t->auth, &t->question))
			fail_with(t, ERR_TEMP, "too many logins at once");
		return;
	case SASL_SUCCESS:
		if (!t->account.id) { /* cannot be: a fake verifier verifies nothing */
			fail_with(t, ERR_DENIED, "authentication failed");
			return;
		}
		note_scram(t, true);
		succeed(t);
		return;
	case SASL_FAILURE:
		if (err->kind == ERR_DENIED)
			note_scram(t, false);
		fail(t, err);
		return;
	}
}

/* ---- the door's messages ------------------------------------------------------------------------------ */

/* A host, or the /64 it is in: what one customer has. */
static void network_of(struct str peer, char *out, size_t room)
{
	char text[64];
	struct in6_addr a;

	snprintf(text, sizeof(text), "%.*s", STR_ARG(peer));
	if (inet_pton(AF_INET6, text, &a) == 1) {
		memset(a.s6_addr + 8, 0, 8);
		char net[INET6_ADDRSTRLEN];
		snprintf(out, room, "%s/64", inet_ntop(AF_INET6, &a, net, sizeof(net)));
	} else {
		snprintf(out, room, "%s", text);
	}
}

static void refuse(struct peer *p, uint64_t id, uint64_t number, uint32_t result, const char *why)
{
	struct message m = {.type = MSG_auth_result,
			    .auth_result = {.attempt = number, .result = result, .why = str_of(why)}};

	(void)channel_reply(p->ch, id, &m);
}

static struct attempt *attempt_new(struct auth_role *a, struct peer *p, uint64_t id,
				   const struct msg_auth_begin *m)
{
	struct attempt *t = mem_new(struct attempt);

	t->auth = a;
	t->door = p;
	t->number = m->attempt;
	t->session = m->session;
	t->request = id;
	t->last_ms = clock_mono_ms();
	t->arena = arena_new();
	snprintf(t->service, sizeof(t->service), "%.*s", STR_ARG(m->service));
	snprintf(t->mechanism, sizeof(t->mechanism), "%.*s", STR_ARG(m->mechanism));
	network_of(m->peer, t->network, sizeof(t->network));
	return t;
}

/* Asked again after a restart of ours it is new; while it is at work a second one is a door's lie. */
static bool enter(struct auth_role *a, struct attempt *t)
{
	struct attempt_key k = {t->door, t->number};

	LOCK_SCOPED(&a->lock);
	if (map_count(a->attempts) >= ATTEMPTS_MAX)
		sweep(a, t->last_ms);
	struct attempt *old = map_get(a->attempts, key_of(&k));
	if (map_count(a->attempts) >= ATTEMPTS_MAX || (old && old->request))
		return false;
	if (old)
		attempt_free(old);
	(void)map_put(a->attempts, key_of(&k), t);
	return true;
}

static bool offered(struct auth_role *a, struct str mechanism)
{
	CONFIG_SCOPED c = role_config(a->role);

	if (str_ends_nocase(mechanism, STR("-PLUS")))
		mechanism = str_sub(mechanism, 0, mechanism.n - 5);
	return config_list_has(c, SETTING_AUTH_MECHANISMS, mechanism);
}

void auth_on_begin(struct auth_role *a, struct peer *p, uint64_t id, const struct msg_auth_begin *m)
{
	struct err err = {0};
	struct sasl_start start = {
		.mechanism = m->mechanism,
		.has_initial = m->has_initial,
		.initial = m->initial,
		.binding_exporter = m->cb_exporter,
		.binding_unique = m->cb_unique,
		.binding_server_end_point = m->cb_endpoint,
		.plus_offered = m->plus_offered,
	};

	if (!offered(a, m->mechanism)) {
		refuse(p, id, m->attempt, RESULT_DENIED, "mechanism not offered");
		return;
	}
	struct attempt *t = attempt_new(a, p, id, m);
	if (!enter(a, t)) {
		attempt_free(t);
		refuse(p, id, m->attempt, RESULT_TEMP, "too many attempts");
		return;
	}
	enum sasl_step step = sasl_begin(&start, &t->sasl, &err);
	advance(t, step, &err);
}

void auth_on_step(struct auth_role *a, struct peer *p, uint64_t id, const struct msg_auth_step *m)
{
	struct attempt_key k = {p, m->attempt};
	struct err err = {0};

	lock_take(&a->lock);
	struct attempt *t = map_get(a->attempts, key_of(&k));
	bool busy = t && t->request;
	if (t && !busy)
		t->request = id;
	lock_drop(&a->lock);
	if (!t || busy) { /* we were started again in between, or the door lies */
		refuse(p, id, m->attempt, RESULT_TEMP, "no such attempt");
		return;
	}
	enum sasl_step step = sasl_step(t->sasl, m->response, &err);
	advance(t, step, &err);
}

void auth_on_cancel(struct auth_role *a, struct peer *p, uint64_t attempt)
{
	struct attempt_key k = {p, attempt};

	LOCK_SCOPED(&a->lock);
	struct attempt *t = map_get(a->attempts, key_of(&k));
	if (!t)
		return;
	if (t->request) {
		(void)map_remove(a->attempts, key_of(&k));
		t->gone = true;
	} else {
		forget(a, t);
	}
}
