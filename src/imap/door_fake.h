/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/door_fake.h: for tests and fuzz targets alone: an auth role and a mailbox role to log in to.
 *
 * PLAIN, LOGIN and SCRAM-SHA-256 (which answers one challenge and then refuses). user/secret is right,
 * denied/secret may not, temp/anything is later, lost/secret gets no mailbox process; all else is
 * wrong, and told 20 ms later.
 */
#pragma once
#include "auth/client.h"
#include "config/config.h"
#include "imap/served_fake.h"

struct fake_door {
	struct door door;
	struct config *config;
	struct door_listener listener;
	bool tls; /* there is a certificate */
	struct buf login_user;
	struct buf record; /* of the last hand-over: "account tag client_id" */
	char mechanism[32];
};

static inline void fake_answer(auth_done *done, void *ctx, enum auth_outcome outcome, struct str data,
			       struct str user, uint32_t delay_ms)
{
	const struct auth_result r = {
		.outcome = outcome,
		.data = data,
		.account = outcome == AUTH_SUCCESS ? STR("user@example.org") : STR_NONE,
		.user = user,
		.ticket = STR("0123456789abcdef"),
		.delay_ms = delay_ms,
	};

	done(ctx, &r);
}

static inline void fake_verdict(auth_done *done, void *ctx, struct str user, struct str password)
{
	bool right = str_eq(password, STR("secret"));

	if (str_eq(user, STR("temp")))
		fake_answer(done, ctx, AUTH_TEMP, STR_NONE, user, 0);
	else if (str_eq(user, STR("denied")) && right)
		fake_answer(done, ctx, AUTH_DENIED, STR_NONE, user, 0);
	else if ((str_eq(user, STR("user")) || str_eq(user, STR("lost"))) && right)
		fake_answer(done, ctx, AUTH_SUCCESS, STR_NONE, user, 0);
	else
		fake_answer(done, ctx, AUTH_WRONG, STR_NONE, user, 20);
}

static inline void fake_plain(auth_done *done, void *ctx, struct str message)
{
	struct str rest = message;

	str_cut(&rest, '\0');
	struct str user = str_cut(&rest, '\0');
	if (!rest.p)
		fake_answer(done, ctx, AUTH_SYNTAX, STR_NONE, STR_NONE, 0);
	else
		fake_verdict(done, ctx, user, rest);
}

static inline void fake_step(void *ctx, uint64_t attempt, struct str response, auth_done *done,
			     void *done_ctx)
{
	struct fake_door *f = ctx;

	(void)attempt;
	if (str_eq(str_of(f->mechanism), STR("PLAIN"))) {
		fake_plain(done, done_ctx, response);
	} else if (str_eq(str_of(f->mechanism), STR("LOGIN")) && !f->login_user.n) {
		buf_add(&f->login_user, response);
		fake_answer(done, done_ctx, AUTH_CHALLENGE, STR("Password:"), STR_NONE, 0);
	} else if (str_eq(str_of(f->mechanism), STR("LOGIN"))) {
		fake_verdict(done, done_ctx, buf_str(&f->login_user), response);
	} else {
		fake_answer(done, done_ctx, AUTH_WRONG, STR_NONE, STR_NONE, 0);
	}
}

static inline uint64_t fake_begin(void *ctx, struct conn *c, struct str mechanism,
				  const struct str *initial, auth_done *done, void *done_ctx)
{
	struct fake_door *f = ctx;

	(void)c;
	snprintf(f->mechanism, sizeof(f->mechanism), "%.*s", STR_ARG(mechanism));
	for (char *p = f->mechanism; *p; p++)
		*p = ascii_upper(*p);
	buf_clear(&f->login_user);
	if (initial)
		fake_step(ctx, 1, *initial, done, done_ctx);
	else
		fake_answer(done, done_ctx, AUTH_CHALLENGE,
			    str_eq_nocase(mechanism, STR("LOGIN")) ? STR("Username:") : STR(""), STR_NONE, 0);
	return 1;
}

static inline void fake_cancel(void *ctx, uint64_t attempt)
{
	(void)ctx;
	(void)attempt;
}

static inline struct str fake_mechanisms(void *ctx)
{
	(void)ctx;
	return STR("SCRAM-SHA-256 PLAIN LOGIN");
}

static inline const struct config *fake_config(void *ctx)
{
	struct fake_door *f = ctx;

	return config_ref(f->config);
}

static inline struct tls_context *fake_tls(void *ctx)
{
	struct fake_door *f = ctx;

	return f->tls ? ctx : NULL; /* never looked into */
}

static inline void fake_hand_over(void *ctx, struct conn *c, const struct handover_record *r,
			   void (*done)(void *done_ctx, const struct err *err), void *done_ctx)
{
	struct fake_door *f = ctx;
	struct err err;

	(void)c;
	if (!r->ticket.n || str_eq(r->tag, STR("lost"))) {
		err_set(&err, ERR_TEMP, "no mailbox process");
		done(done_ctx, &err);
		return;
	}
	buf_clear(&f->record);
	buf_fmt(&f->record, "%.*s %.*s %.*s", STR_ARG(r->account), STR_ARG(r->tag), STR_ARG(r->client_id));
	done(done_ctx, NULL);
}

static inline struct fake_door *fake_door_new(const char *settings)
{
	struct fake_door *f = mem_new(struct fake_door);
	BUF_SCOPED problems = {};
	struct err err;

	f->tls = true;
	f->listener.tls = DOOR_TLS_MAY;
	f->door = (struct door){
		.auth = {f, fake_mechanisms, fake_begin, fake_step, fake_cancel},
		.ctx = f,
		.config = fake_config,
		.tls = fake_tls,
		.hand_over = fake_hand_over,
	};
	fake_must(config_parse("/tmp/test.conf", str_of(settings), &problems, &f->config, &err), &err);
	return f;
}

static inline void fake_door_free(struct fake_door *f)
{
	config_unref(f->config);
	buf_free(&f->login_user);
	buf_free(&f->record);
	free(f);
}

static inline struct conn *fake_door_conn(struct fake_door *f, const struct protocol *p)
{
	struct conn *c = fake_new(p, &f->door, NULL);

	c->facts.listener = &f->listener;
	c->facts.service = STR("test");
	c->facts.peer.len = sizeof(c->facts.peer.addr.v4);
	c->facts.peer.addr.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = 0x010200c0};
	return c;
}
