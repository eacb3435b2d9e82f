/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* proc/door_auth.c: struct auth_client over the LOGIN channel. Answers come on its reader thread. */
#include "base/log.h"
#include "base/mem.h"
#include "net/net.h"
#include "proc/door_int.h"
#include <stdlib.h>

/* A queue of password checks may be long (auth bounds it); a dead auth has 5 s to return. */
enum { WAIT_MS = 20000 };

struct asked {
	struct door_auth *door;
	auth_done *done;
	void *ctx;
	struct err err;
};

static void answer(void *ctx, struct message *reply, const struct err *err)
{
	struct asked *q = ctx;
	struct auth_result r = {.outcome = AUTH_TEMP};

	if (reply) {
		const struct msg_auth_result *m = &reply->auth_result;
		r = (struct auth_result){
			.outcome = m->result <= AUTH_SYNTAX ? (enum auth_outcome)m->result : AUTH_TEMP,
			.data = m->data,
			.account = m->account,
			.account_id = m->account_id,
			.user = m->user,
			.ticket = m->ticket,
			.delay_ms = m->delay_ms,
			.why = m->why,
		};
	} else {
		r.why = str_of(err->text);
	}
	q->done(q->ctx, &r);
	free(q);
}

static void answer_failure(void *ctx)
{
	struct asked *q = ctx;

	answer(q, NULL, &q->err);
}

/* The callback never comes inside the call: the session is not parked yet. */
static void ask(struct door_auth *d, const struct message *m, auth_done *done, void *ctx)
{
	struct channel *ch = role_channel(d->role, CHANNEL_LOGIN, ROLE_AUTH, 0);
	struct asked *q = mem_new(struct asked);

	*q = (struct asked){.door = d, .done = done, .ctx = ctx};
	if (!channel_call_async(ch, m, WAIT_MS, answer, q, &q->err))
		net_run(d->role->net, answer_failure, q);
}

enum listener_service door_service(const struct conn *c)
{
	return (enum listener_service)conn_facts(c)->kind;
}

static struct str mechanisms(void *ctx)
{
	struct door_auth *d = ctx;

	LOCK_SCOPED(&d->role->lock);
	return (struct str){d->mechanisms, d->mechanisms_n};
}

static uint64_t begin(void *ctx, struct conn *c, struct str mechanism, const struct str *initial,
		      auth_done *done, void *done_ctx)
{
	struct door_auth *d = ctx;
	const struct conn_facts *f = conn_facts(c);
	uint64_t attempt = atomic_fetch_add(&d->attempts, 1) + 1;
	BUF_SCOPED exporter = {0};
	BUF_SCOPED unique = {0};
	BUF_SCOPED endpoint = {0};
	bool exporter_there = conn_channel_binding(c, STR("tls-exporter"), &exporter);
	bool unique_there = conn_channel_binding(c, STR("tls-unique"), &unique);
	bool endpoint_there = conn_channel_binding(c, STR("tls-server-end-point"), &endpoint);
	struct message m = {.type = MSG_auth_begin};

	m.auth_begin = (struct msg_auth_begin){
		.attempt = attempt,
		.mechanism = str_sub(mechanism, 0, 32),
		.has_initial = initial != NULL,
		.initial = initial ? *initial : STR_NONE,
		.service = str_of(config_service_name(door_service(c))),
		.peer = f->peer_text,
		.tls = conn_tls(c),
		.plus_offered = exporter_there || unique_there || endpoint_there,
		.cb_exporter = buf_str(&exporter),
		.cb_unique = buf_str(&unique),
		.cb_endpoint = buf_str(&endpoint),
		.session = f->id,
	};
	ask(d, &m, done, done_ctx);
	return attempt;
}

static uint64_t begin_for(void *ctx, struct conn *c, const struct auth_origin *origin, struct str mechanism,
			  const struct str *initial, auth_done *done, void *done_ctx)
{
	struct door_auth *d = ctx;
	uint64_t attempt = atomic_fetch_add(&d->attempts, 1) + 1;
	struct message m = {.type = MSG_auth_begin};

	m.auth_begin = (struct msg_auth_begin){
		.attempt = attempt,
		.mechanism = str_sub(mechanism, 0, 32),
		.has_initial = initial != NULL,
		.initial = initial ? *initial : STR_NONE,
		.service = str_of(config_service_name(SERVICE_AUTH)),
		.peer = str_sub(origin->peer, 0, 64),
		.tls = origin->tls,
		.session = conn_facts(c)->id,
	};
	ask(d, &m, done, done_ctx);
	return attempt;
}

static void step(void *ctx, uint64_t attempt, struct str response, auth_done *done, void *done_ctx)
{
	struct message m = {.type = MSG_auth_step, .auth_step = {attempt, response}};

	ask(ctx, &m, done, done_ctx);
}

static void cancel(void *ctx, uint64_t attempt)
{
	struct door_auth *d = ctx;
	struct message m = {.type = MSG_auth_cancel, .auth_cancel.attempt = attempt};

	(void)channel_post(role_channel(d->role, CHANNEL_LOGIN, ROLE_AUTH, 0), &m);
}

void door_auth_configured(struct door_auth *d)
{
	CONFIG_SCOPED c = role_config(d->role);
	struct config_list list = config_list(c, SETTING_AUTH_MECHANISMS);
	struct buf text = {0};

	for (size_t i = 0; i < list.n; i++) {
		if (i)
			buf_byte(&text, ' ');
		for (size_t k = 0; k < list.v[i].n; k++)
			buf_byte(&text, ascii_upper(list.v[i].p[k]));
	}
	LOCK_SCOPED(&d->role->lock);
	/* The text before lives on: sessions may be reading it. Reloads are rare. */
	d->mechanisms = text.p;
	d->mechanisms_n = text.n;
}

void door_auth_init(struct door_auth *d, struct role *r, struct auth_client *out)
{
	d->role = r;
	door_auth_configured(d);
	*out = (struct auth_client){d, mechanisms, begin, step, cancel, begin_for};
}
