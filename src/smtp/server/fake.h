/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * smtp/server/fake.h: for session_test.c and session_fuzz.c: connections and services without a
 * thread or a socket. Defines the functions of net/conn.h that sessions call (so net's own are not
 * linked), a connection driven by fake_*(), and services that know a small domain:
 *
 *   test1, test2, alias1 (test1's), postmaster @example.org     local
 *   full@, off@, later@example.org                              over quota, disabled, temporary
 *   forward@example.org                                         leads elsewhere
 *   everything else @example.org, @localhost                    unknown; @localhost: as @example.org
 *   all other domains                                           remote
 *
 * Passwords are "secret"; the user "slow" is told so after two seconds, "down" that auth is away.
 */
#pragma once
#include "base/codec.h"
#include "base/mem.h"
#include "smtp/server/server_int.h"
#include <stdlib.h>
#include <string.h>

struct conn {
	struct conn_facts facts;
	struct smtp_server *server;
	struct arena *arena;
	void *session;
	struct buf in, out;
	size_t limit;
	bool eof, woken, closed, started;
	int64_t deadline_ms;
	uint32_t rate;
	unsigned refs, park;
};

const struct conn_facts *conn_facts(const struct conn *c) { return &c->facts; }
bool conn_tls(const struct conn *c) { return c->facts.tls_version.n > 0; }
void *conn_session(const struct conn *c) { return c->session; }
void conn_session_set(struct conn *c, void *session) { c->session = session; }
void *conn_owner(const struct conn *c) { return c->server; }
struct str conn_input(const struct conn *c)
{
	struct str s = buf_str(&c->in);
	if (s.n > c->limit)
		s.n = c->limit;
	return s;
}
void conn_consume(struct conn *c, size_t n) { buf_consume(&c->in, n); }
void conn_input_limit(struct conn *c, size_t max) { c->limit = max; }
bool conn_eof(const struct conn *c) { return c->eof && c->in.n <= c->limit; }
struct buf *conn_out(struct conn *c) { return &c->out; }
size_t conn_out_pending(const struct conn *c) { return c->out.n; }
void conn_deadline(struct conn *c, int64_t ms) { c->deadline_ms = ms; }
void conn_min_rate(struct conn *c, uint32_t rate) { c->rate = rate; }
void conn_start_tls(struct conn *c, struct tls_context *ctx)
{
	(void)c;
	(void)ctx;
}
void conn_wake(struct conn *c) { c->woken = true; }
struct conn *conn_ref(struct conn *c)
{
	c->refs++;
	return c;
}
void conn_unref(struct conn *c) { c->refs--; }
void conn_logged_in(struct conn *c, struct str key)
{
	(void)c;
	(void)key;
}
bool net_networks_have(struct net_networks l, const struct conn_addr *a)
{
	for (size_t i = 0; i < l.n; i++)
		if (a->len && a->addr.v4.sin_addr.s_addr == l.list[i].addr.addr.v4.sin_addr.s_addr)
			return true;
	return false;
}

/* ---- services ---- */

struct fake {
	struct smtp_server server;
	struct smtp_listener listener;
	const struct config *config;
	bool no_tls;
	int pressure;
	enum { ACCEPT_OK, ACCEPT_REFUSE, ACCEPT_FAIL, ACCEPT_HOLD } accept;
	bool side_fails;
	/* the message last taken */
	unsigned accepted;
	struct buf content, envelope;
	struct buf *sides; /* open ones; at most one per session here */
	unsigned sides_open;
	/* a commit that is held */
	void (*done)(void *ctx, const struct err *err);
	void *done_ctx;
	/* a login under way */
	struct buf user;
	char mechanism[24];
	unsigned steps;
	bool auth_held;
	auth_done *auth_done;
	void *auth_ctx;
};

static inline struct str fake_local(struct str address)
{
	size_t at = str_find_last_byte(address, '@');
	return at == STR_NPOS ? address : str_sub(address, 0, at);
}

static inline enum rcpt_verdict fake_rcpt(void *ctx, struct str address, struct arena *a, struct str *out)
{
	static const struct {
		const char *local;
		enum rcpt_verdict verdict;
	} users[] = {{"test1", RCPT_LOCAL},
		     {"test2", RCPT_LOCAL},
		     {"alias1", RCPT_LOCAL},
		     {"postmaster", RCPT_LOCAL},
		     {"full", RCPT_OVER_QUOTA},
		     {"off", RCPT_DISABLED},
		     {"later", RCPT_TEMP},
		     {"forward", RCPT_FORWARD},
		     {"\xec\x9a\xb0\xed\x8e\xb8", RCPT_LOCAL}};
	(void)ctx;
	size_t at = str_find_last_byte(address, '@');
	struct str domain = at == STR_NPOS ? STR("example.org") : str_from(address, at + 1),
		   local = fake_local(address);
	if (!str_eq_nocase(domain, STR("example.org")) && !str_eq_nocase(domain, STR("localhost")))
		return RCPT_REMOTE;
	struct str user, detail;
	if (!local_split_detail(local, '+', &user, &detail))
		user = local;
	for (size_t i = 0; i < sizeof users / sizeof *users; i++)
		if (str_eq_nocase(user, str_of(users[i].local))) {
			*out = arena_fmt(a, "%.*s@example.org", STR_ARG(arena_lower(a, local)));
			return users[i].verdict;
		}
	return RCPT_UNKNOWN;
}

static inline int fake_sender(void *ctx, const struct smtp_sender *who, struct arena *a,
			      struct str *out_ticket)
{
	struct str user, detail, local = fake_local(who->address);
	(void)ctx;
	if (!str_ends_nocase(who->address, STR("@example.org")))
		return 0;
	if (!local_split_detail(local, '+', &user, &detail))
		user = local;
	if (str_eq_nocase(user, STR("later")))
		return 2;
	if (str_eq_nocase(user, STR("alias1"))) {
		user = STR("test1");
		*out_ticket = arena_cat(a, who->ticket, STR(" for alias1"));
	}
	return str_eq_nocase(arena_fmt(a, "%.*s@example.org", STR_ARG(user)), who->account);
}

static inline void fake_answer(struct fake *f, struct auth_result r, auth_done *done, void *ctx)
{
	r.account_id = 7;
	r.ticket = STR("ticket");
	if (f->auth_held) {
		f->auth_done = done;
		f->auth_ctx = ctx;
		return;
	}
	done(ctx, &r);
}

static inline void fake_verdict(struct fake *f, struct str user, struct str password, auth_done *done,
				void *ctx)
{
	ARENA_SCOPED a = arena_new();
	struct auth_result r = {.user = user, .why = STR("password")};
	r.outcome = str_eq(user, STR("down"))         ? AUTH_TEMP
		    : str_eq(password, STR("secret")) ? AUTH_SUCCESS
						      : AUTH_WRONG;
	r.account = arena_fmt(a, "%.*s@example.org", STR_ARG(fake_local(user)));
	if (str_starts(user, STR("slow")))
		r.delay_ms = 2000;
	fake_answer(f, r, done, ctx);
}

static inline struct str fake_mechanisms(void *ctx)
{
	(void)ctx;
	return STR("PLAIN LOGIN SCRAM-SHA-256");
}

static inline void fake_response(struct fake *f, struct str in, auth_done *done, void *ctx)
{
	struct str rest = in;
	if (str_eq(str_of(f->mechanism), STR("PLAIN"))) {
		(void)str_cut(&rest, 0);
		struct str user = str_cut(&rest, 0);
		if (!rest.p)
			fake_answer(f, (struct auth_result){.outcome = AUTH_SYNTAX}, done, ctx);
		else
			fake_verdict(f, user, rest, done, ctx);
	} else if (str_eq(str_of(f->mechanism), STR("LOGIN")) && f->steps == 1) {
		buf_clear(&f->user);
		buf_add(&f->user, in);
		fake_answer(f, (struct auth_result){.outcome = AUTH_CHALLENGE, .data = STR("Password:")},
			    done, ctx);
	} else if (str_eq(str_of(f->mechanism), STR("LOGIN"))) {
		fake_verdict(f, buf_str(&f->user), in, done, ctx);
	} else if (f->steps == 1) {
		fake_answer(f, (struct auth_result){.outcome = AUTH_CHALLENGE, .data = STR("r=nonce")},
			    done, ctx);
	} else {
		fake_verdict(f, STR("test1"), in, done, ctx);
	}
}

static inline uint64_t fake_auth_begin(void *ctx, struct conn *c, struct str mechanism,
				       const struct str *initial, auth_done *done, void *done_ctx)
{
	struct fake *f = ctx;
	(void)c;
	memcpy(f->mechanism, mechanism.p, mechanism.n < 23 ? mechanism.n : 23);
	f->mechanism[mechanism.n < 23 ? mechanism.n : 23] = 0;
	f->steps = initial ? 1 : 0;
	if (initial)
		fake_response(f, *initial, done, done_ctx);
	else
		fake_answer(f,
			    (struct auth_result){.outcome = AUTH_CHALLENGE,
						 .data = str_eq(str_of(f->mechanism), STR("LOGIN"))
								 ? STR("Username:")
								 : STR_NONE},
			    done, done_ctx);
	return 1;
}

static inline void fake_auth_step(void *ctx, uint64_t attempt, struct str response, auth_done *done,
				  void *done_ctx)
{
	struct fake *f = ctx;
	(void)attempt;
	f->steps++;
	fake_response(f, response, done, done_ctx);
}

static inline void fake_auth_cancel(void *ctx, uint64_t attempt)
{
	struct fake *f = ctx;
	(void)attempt;
	if (f->auth_done) {
		auth_done *done = f->auth_done;
		f->auth_done = NULL;
		done(f->auth_ctx, &(struct auth_result){.outcome = AUTH_TEMP});
	}
}

static inline void fake_side_discard(void *ctx, void *side)
{
	struct fake *f = ctx;
	buf_free(side);
	free(side);
	f->sides_open--;
}

static inline bool fake_side_begin(void *ctx, void **out, struct err *err)
{
	struct fake *f = ctx;
	if (f->side_fails)
		return err_set(err, ERR_IO, "no room");
	*out = mem_new(struct buf);
	f->sides_open++;
	return true;
}

static inline bool fake_side_write(void *ctx, void *side, struct str bytes, struct err *err)
{
	(void)ctx;
	(void)err;
	buf_add(side, bytes);
	return true;
}

static inline void fake_take(struct fake *f, const struct envelope *e, struct str content, struct buf *side)
{
	struct buf *b = &f->envelope;
	f->accepted++;
	buf_clear(&f->content);
	buf_add(&f->content, content);
	if (side)
		buf_add(&f->content, buf_str(side));
	buf_clear(b);
	buf_fmt(b, "%s from=<%.*s>", envelope_origin_name(e->origin), STR_ARG(e->reverse_path_text));
	for (size_t i = 0; i < e->rcpt_n; i++) {
		buf_add(b, STR(" to=<"));
		address_format(b, e->rcpt[i].address);
		buf_byte(b, '>');
		if (e->rcpt[i].notify)
			buf_fmt(b, " notify=%u", e->rcpt[i].notify);
		if (e->rcpt[i].orcpt.n)
			buf_fmt(b, " orcpt=%.*s", STR_ARG(e->rcpt[i].orcpt));
	}
	buf_fmt(b, " body=%s%s%s", envelope_body_name(e->body), e->smtputf8 ? " utf8" : "",
		e->requiretls ? " tls" : "");
	if (e->envid.n)
		buf_fmt(b, " envid=%.*s", STR_ARG(e->envid));
	if (e->ret)
		buf_fmt(b, " ret=%d", e->ret);
	if (e->account.n)
		buf_fmt(b, " account=%.*s mech=%.*s mac=%.*s", STR_ARG(e->account), STR_ARG(e->auth_mech),
			STR_ARG(e->submission_mac));
	if (side)
		buf_add(b, STR(" side"));
	if (e->size_bytes != f->content.n)
		buf_fmt(b, " WRONG SIZE %llu for %zu", (unsigned long long)e->size_bytes, f->content.n);
}

static inline bool fake_accept(void *ctx, const struct envelope *e, struct str content, void *side,
			       void (*done)(void *done_ctx, const struct err *err), void *done_ctx,
			       struct err *err)
{
	struct fake *f = ctx;
	struct err later;
	err_set(&later, ERR_IO, "the disk is bad");
	if (f->accept != ACCEPT_REFUSE)
		fake_take(f, e, content, side);
	if (side)
		fake_side_discard(f, side);
	switch (f->accept) {
	case ACCEPT_OK: done(done_ctx, NULL); break;
	case ACCEPT_FAIL: done(done_ctx, &later); break;
	case ACCEPT_REFUSE: return err_set(err, ERR_LIMIT, "the journal is full");
	case ACCEPT_HOLD:
		f->done = done;
		f->done_ctx = done_ctx;
		break;
	}
	return true;
}

static inline int fake_pressure(void *ctx) { return ((struct fake *)ctx)->pressure; }
static inline const struct config *fake_config(void *ctx) { return config_ref(((struct fake *)ctx)->config); }
static inline struct tls_context *fake_tls(void *ctx)
{
	return ((struct fake *)ctx)->no_tls ? NULL : (struct tls_context *)ctx; /* never looked into */
}

static inline void fake_init(struct fake *f, const struct config *config)
{
	*f = (struct fake){.config = config};
	f->server = (struct smtp_server){
		.services = {.ctx = f, .rcpt = fake_rcpt, .sender = fake_sender, .accept = fake_accept,
			     .side_begin = fake_side_begin, .side_write = fake_side_write,
			     .side_discard = fake_side_discard, .pressure = fake_pressure,
			     .auth = {.ctx = f, .mechanisms = fake_mechanisms, .begin = fake_auth_begin,
				      .step = fake_auth_step, .cancel = fake_auth_cancel}},
		.limits = smtp_limits_new(), .config = fake_config, .tls = fake_tls, .ctx = f,
	};
}

static inline void fake_fini(struct fake *f)
{
	smtp_limits_free(f->server.limits);
	buf_free(&f->content);
	buf_free(&f->envelope);
	buf_free(&f->user);
}

/* ---- the connection ---- */

static inline void fake_run(struct conn *c, enum wake wake)
{
	for (int i = 0; i < 100000 && !c->closed; i++) {
		size_t before = c->in.n, limit = c->limit;
		c->park = smtp_protocol.run(c, wake);
		if (c->park & PARK_CLOSE) {
			c->closed = true;
			smtp_protocol.end(c);
			return;
		}
		if (c->park & PARK_STARTTLS) {
			c->facts.tls_version = STR("TLSv1.3");
			c->facts.tls_cipher = STR("TLS_AES_256_GCM_SHA384");
			buf_clear(&c->in);
			wake = WAKE_START;
		} else if ((c->park & PARK_EVENT) && c->woken) {
			c->woken = false;
			wake = WAKE_EVENT;
		} else if (c->park & PARK_OUTPUT) {
			c->out.n = 0;
			wake = WAKE_OUTPUT;
		} else if ((c->park & PARK_INPUT) && before > limit &&
			   (c->in.n < before || c->limit > limit)) {
			wake = WAKE_INPUT; /* net reads on when there is room */
		} else {
			return;
		}
	}
}

static inline void fake_open(struct conn *c, struct fake *f, const struct conn_addr *peer,
			     const char *peer_text, bool tls)
{
	*c = (struct conn){.server = &f->server, .refs = 1, .limit = 1 << 20};
	c->facts.id = 1;
	c->facts.listener = &f->listener;
	c->facts.service = STR("test");
	if (peer) {
		c->facts.peer = *peer;
		c->facts.peer_text = str_of(peer_text);
		c->facts.peer_port = 12345;
	}
	if (tls) {
		c->facts.tls_version = STR("TLSv1.3");
		c->facts.tls_cipher = STR("TLS_AES_256_GCM_SHA384");
	}
	fake_run(c, WAKE_START);
}

static inline void fake_feed(struct conn *c, struct str bytes)
{
	if (c->closed)
		return;
	buf_add(&c->in, bytes);
	if (c->park & PARK_INPUT)
		fake_run(c, WAKE_INPUT);
}

/* The client has gone, whatever is under way. */
static inline void fake_close(struct conn *c)
{
	if (!c->closed)
		fake_run(c, WAKE_GONE);
	buf_free(&c->in);
	buf_free(&c->out);
}
