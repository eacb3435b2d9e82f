/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * proc/auth.c: the auth role. Identity: pabal-auth. Sandbox: the directory's files. Descriptors:
 * control socket. Messages: SASL of the doors (auth_login.c), look-ups of smtp and queue;
 * tickets go to mailbox. Threads: a reader per channel, hashing (auth/verdict.h), control; with a
 * database server those that ask it (auth_pool.c), and sockets to it.
 *
 * The directory's only writer. After a change every cache has forgotten before the command that
 * made it is answered; sessions of an account whose password, state or protocols changed end.
 */

#include "proc/auth_int.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/secret.h"
#include "directory/control.h"
#include <stdlib.h>
#include <string.h>

enum {
	QUOTA_WAIT_MS = 500,
	FORGET_WAIT_MS = 1000,
	LOGIN_AGE_S = 24 * 3600 /* of a login that asks for other domains */
};

static void *auth_create(struct role *r)
{
	struct auth_role *a = mem_new(struct auth_role);

	a->role = r;
	a->attempts = map_new();
	lock_init(&a->lock, LOCK_PROC);
	return a;
}

static void auth_on_master(struct role *r, struct message *m)
{
	struct auth_role *a = r->state;

	if (m->type == MSG_role_mac_key && m->role_mac_key.key.n == TICKET_KEY_SIZE)
		memcpy(a->mac_key.k, m->role_mac_key.key.p, TICKET_KEY_SIZE);
}

static bool auth_prepare(struct role *r, struct sandbox *s, struct err *err)
{
	struct auth_role *a = r->state;
	CONFIG_SCOPED c = role_config(r);
	int dir;

	return preload(PRELOAD_SQLITE | PRELOAD_TLS, err) && directory_preload(c, err) &&
	       role_open_dir(r, s, config_path(c, SETTING_DIRECTORY_DIR), SANDBOX_WRITE, &dir, err) &&
	       directory_open(c, &a->directory, err) && auth_pool_prepare(a, s, err);
}

static void set_limits(const struct config *c, struct verdict_limits *l)
{
	verdict_limits_default(l);
	l->threads = (unsigned)config_int(c, SETTING_AUTH_HASH_THREADS);
	l->queue_max = (unsigned)config_int(c, SETTING_AUTH_HASH_QUEUE);
	l->cache_age_s = (unsigned)(config_duration_ms(c, SETTING_AUTH_CACHE_TIME) / 1000);
	l->failures_account = (unsigned)config_int(c, SETTING_AUTH_LOCKOUT_FAILURES);
	l->failures_window_s = (unsigned)(config_duration_ms(c, SETTING_AUTH_LOCKOUT_WINDOW) / 1000);
	l->lock_account_s = (unsigned)(config_duration_ms(c, SETTING_AUTH_LOCKOUT_DURATION) / 1000);
	l->failure_delay_ms = (unsigned)config_duration_ms(c, SETTING_AUTH_FAILURE_DELAY);
	if (l->cache_age_s == 0)
		l->cache_max = 0;
	if (l->failure_delay_max_ms < l->failure_delay_ms)
		l->failure_delay_max_ms = l->failure_delay_ms;
}

/* ---- look-ups ----------------------------------------------------------------------------------- */

enum { CODE_UNKNOWN, CODE_LOCAL, CODE_REMOTE, CODE_TEMP, CODE_DISABLED, CODE_OVER_QUOTA,
       CODE_FORWARD }; /* enum rcpt_verdict */

/* What nobody can deliver yet is not accepted: a remote destination behind an alias of ours. */
static uint32_t code_of(const struct directory_resolution *r)
{
	switch (r->kind) {
	case DIRECTORY_LOCAL:
		for (size_t i = 0; i < r->n; i++)
			if (r->v[i].kind == DIRECTORY_REMOTE)
				return CODE_FORWARD;
		return CODE_LOCAL;
	case DIRECTORY_REMOTE: return r->by_alias ? CODE_FORWARD : CODE_REMOTE;
	case DIRECTORY_UNKNOWN: return CODE_UNKNOWN;
	case DIRECTORY_DISABLED: return CODE_DISABLED;
	}
	return CODE_TEMP;
}

static uint32_t code_of_error(const struct err *err)
{
	if (err->kind == ERR_SYNTAX)
		return CODE_UNKNOWN;
	log_err(LOG_ERROR, "auth.lookup.failed", err);
	return CODE_TEMP;
}

static void reply_rcpt(struct channel *ch, uint64_t id, uint32_t code, struct str canonical)
{
	struct message m = {.type = MSG_rcpt_lookup_result, .rcpt_lookup_result = {code, canonical}};

	(void)channel_reply(ch, id, &m);
}

/* mailbox knows how full an account is; asked only where there is a quota. */
struct quota_question {
	struct channel *ch;
	uint64_t id;
	struct str canonical;
	char address[];
};

static void on_quota(void *ctx, struct message *reply, const struct err *err)
{
	struct quota_question *q = ctx;
	bool full = reply && reply->quota_result.code == 1;

	(void)err; /* not known: queue decides when it delivers */
	reply_rcpt(q->ch, q->id, full ? CODE_OVER_QUOTA : CODE_LOCAL, q->canonical);
	free(q);
}

static bool ask_quota(struct auth_role *a, struct channel *ch, uint64_t id,
		      const struct directory_recipient *r)
{
	struct channel *to =
		role_channel(a->role, CHANNEL_TICKET, ROLE_MAILBOX, role_mailbox_of(a->role, r->address));
	struct quota_question *q = mem_zalloc(sizeof(*q) + r->address.n);
	struct err err;

	memcpy(q->address, r->address.p, r->address.n);
	*q = (struct quota_question){ch, id, {q->address, r->address.n}};
	struct message m = {.type = MSG_quota,
			    .quota = {(uint64_t)r->account_id, r->address, r->language,
				      (uint64_t)r->quota_bytes, (uint64_t)r->quota_messages}};
	if (channel_call_async(to, &m, QUOTA_WAIT_MS, on_quota, q, &err))
		return true;
	free(q);
	return false;
}

static void on_rcpt(struct auth_role *a, struct directory *d, struct channel *ch, uint64_t id,
		    struct str address)
{
	ARENA_SCOPED arena = arena_new();
	struct directory_resolution r;
	struct err err = {0};

	if (!directory_resolve(d, address, arena, &r, &err)) {
		reply_rcpt(ch, id, code_of_error(&err), STR_NONE);
		return;
	}
	uint32_t code = code_of(&r);
	bool limited = r.n == 1 && (r.v[0].quota_bytes > 0 || r.v[0].quota_messages > 0);
	if (code == CODE_LOCAL && limited && ask_quota(a, ch, id, &r.v[0]))
		return;
	reply_rcpt(ch, id, code, r.n == 1 ? r.v[0].address : address);
}

/* A login's ticket, and the account may use an address in that domain: one for that domain. */
static void widen_ticket(struct auth_role *a, const struct msg_sender_check *m, struct buf *out)
{
	ARENA_SCOPED arena = arena_new();
	struct ticket t;
	struct err ignored;
	struct str mac, own = m->account, other = m->address;

	(void)str_cut(&own, '@');
	other = str_from(other, str_find_last_byte(other, '@') + 1);
	if (!ticket_unpack(m->ticket, &t, &mac) || !str_eq(t.domain, own))
		return;
	t.address = m->account;
	if (!ticket_verify(&a->mac_key, &t, mac, clock_wall_s(), LOGIN_AGE_S) ||
	    !directory_fold_domain(arena, other, &t.domain, &ignored))
		return;
	ticket_pack(out, &a->mac_key, &t);
}

static void on_sender(struct auth_role *a, struct directory *d, struct channel *ch, uint64_t id,
		      const struct msg_sender_check *m)
{
	struct message reply = {.type = MSG_sender_check_result, .sender_check_result.code = 2};
	BUF_SCOPED ticket = {0};
	struct err err = {0};
	bool may;

	if (directory_may_send_as(d, m->account, m->address, &may, &err)) {
		reply.sender_check_result.code = may;
		if (may)
			widen_ticket(a, m, &ticket);
		if (ticket.n <= TICKET_PACKED_MAX)
			reply.sender_check_result.ticket = buf_str(&ticket);
	} else if (err.kind == ERR_SYNTAX) {
		reply.sender_check_result.code = 0;
	} else {
		log_err(LOG_ERROR, "auth.lookup.failed", &err);
	}
	(void)channel_reply(ch, id, &reply);
}

static char kind_letter(enum directory_kind kind)
{
	switch (kind) {
	case DIRECTORY_LOCAL: return 'L';
	case DIRECTORY_REMOTE: return 'R';
	case DIRECTORY_UNKNOWN: return 'U';
	case DIRECTORY_DISABLED: return 'D';
	}
	return 'U';
}

static void on_resolve(struct directory *d, struct channel *ch, uint64_t id, struct str address)
{
	struct message reply = {.type = MSG_resolve_result};
	ARENA_SCOPED arena = arena_new();
	BUF_SCOPED list = {.max = 61440};
	struct directory_resolution r;
	struct err err = {0};

	if (directory_resolve(d, address, arena, &r, &err)) {
		for (size_t i = 0; i < r.n; i++) {
			BUF_SCOPED item = {0};
			buf_byte(&item, kind_letter(r.v[i].kind));
			buf_add(&item, r.v[i].address);
			buf_le_str(&list, buf_str(&item));
		}
		reply.resolve_result.code = list.failed ? CODE_TEMP : CODE_LOCAL;
		reply.resolve_result.list = list.failed ? STR_NONE : buf_str(&list);
	} else {
		reply.resolve_result.code = code_of_error(&err);
	}
	(void)channel_reply(ch, id, &reply);
}

static void on_facts(struct auth_role *a, struct directory *d, struct channel *ch, uint64_t id,
		     struct str address)
{
	struct message reply = {.type = MSG_account_facts_result};
	struct msg_account_facts_result *f = &reply.account_facts_result;
	ARENA_SCOPED arena = arena_new();
	CONFIG_SCOPED c = role_config(a->role);
	struct account account;
	struct err err = {0};
	struct str folded;

	if (!directory_fold_address(arena, address, &folded, &err) ||
	    !account_find(d, folded, arena, &account, &err)) {
		f->code = code_of_error(&err);
	} else if (account.id) {
		int64_t bytes, messages;
		account_effective_quota(c, &account, &bytes, &messages);
		*f = (struct msg_account_facts_result){
			.code = CODE_LOCAL,
			.account_id = (uint64_t)account.id,
			.account = account.address,
			.language = account.language.n ? account.language : config_str(c, SETTING_LANGUAGE),
			.quota_bytes = (uint64_t)bytes,
			.quota_messages = (uint64_t)messages,
			.enabled = account.enabled && account.domain_enabled,
			.display_name = account.display_name,
		};
	}
	(void)channel_reply(ch, id, &reply);
}

static void answer_lookup(struct auth_role *a, struct directory *d, struct channel *ch, uint64_t id,
			  const struct message *m)
{
	if (m->type == MSG_rcpt_lookup)
		on_rcpt(a, d, ch, id, m->rcpt_lookup.address);
	else if (m->type == MSG_sender_check)
		on_sender(a, d, ch, id, &m->sender_check);
	else if (m->type == MSG_resolve)
		on_resolve(d, ch, id, m->resolve.address);
	else if (m->type == MSG_account_facts)
		on_facts(a, d, ch, id, m->account_facts.account);
}

/* A look-up that waits for the database server: the message as bytes. */
struct lookup_question {
	struct question q;
	struct channel *ch;
	uint64_t id;
	struct buf bytes;
};

static void run_lookup(struct auth_role *a, struct directory *d, struct question *q)
{
	struct lookup_question *l = (struct lookup_question *)q;
	ARENA_SCOPED arena = arena_new();
	struct message m;

	if (message_decode(buf_str(&l->bytes), NULL, 0, arena, &m))
		answer_lookup(a, d, l->ch, l->id, &m);
	buf_free(&l->bytes);
	free(l);
}

static void say_temporary(struct channel *ch, uint64_t id, enum message_type asked)
{
	struct message m = {.type = message_reply(asked)};

	if (asked == MSG_rcpt_lookup)
		m.rcpt_lookup_result.code = CODE_TEMP;
	else if (asked == MSG_sender_check)
		m.sender_check_result.code = 2;
	else if (asked == MSG_resolve)
		m.resolve_result.code = CODE_TEMP;
	else
		m.account_facts_result.code = CODE_TEMP;
	(void)channel_reply(ch, id, &m);
}

static void look_up(struct auth_role *a, struct channel *ch, uint64_t id, const struct message *m)
{
	int fds[MESSAGE_FDS_MAX], n = 0;

	if (!a->pool) {
		answer_lookup(a, a->directory, ch, id, m);
		return;
	}
	struct lookup_question *l = mem_new(struct lookup_question);
	*l = (struct lookup_question){.q.run = run_lookup, .ch = ch, .id = id};
	if (message_encode(m, &l->bytes, fds, &n) && auth_ask(a, &l->q))
		return;
	say_temporary(ch, id, m->type);
	buf_free(&l->bytes);
	free(l);
}

static void auth_on_message(void *ctx, struct channel *ch, uint64_t id, struct message *m)
{
	struct peer *p = ctx;
	struct auth_role *a = p->role->state;

	if (p->kind == CHANNEL_LOOKUP) {
		lock_take(&a->lock);
		a->lookups++;
		lock_drop(&a->lock);
	}
	if (m->type == MSG_auth_begin)
		auth_on_begin(a, p, id, &m->auth_begin);
	else if (m->type == MSG_auth_step)
		auth_on_step(a, p, id, &m->auth_step);
	else if (m->type == MSG_auth_cancel)
		auth_on_cancel(a, p, m->auth_cancel.attempt);
	else
		look_up(a, ch, id, m);
}

static void auth_on_lost(void *ctx, struct channel *ch)
{
	struct peer *p = ctx;

	(void)ch;
	if (p->kind == CHANNEL_LOGIN)
		auth_door_lost(p->role->state, p);
}

/* ---- changes ------------------------------------------------------------------------------------ */

/* Returns when all caches are empty: the next look-up of any role is of the directory as it is now. A dead
 * role forgets by dying; one that hangs gets the word too, and is not waited for beyond the time. */
static void forget_everywhere(struct role *r)
{
	struct message q = {.type = MSG_invalidate}, reply;
	int64_t end = clock_mono_ms() + FORGET_WAIT_MS;
	ARENA_SCOPED arena = arena_new();
	struct err ignored;

	for (struct peer *p = r->peers; p < r->peers + r->peers_n; p++) {
		int64_t left = end - clock_mono_ms();
		if (p->kind == CHANNEL_LOOKUP)
			(void)!channel_call(p->ch, &q, left > 0 ? left : 0, arena, &reply, &ignored);
	}
}

/* Sessions of an account, or of "@domain". */
static void end_sessions(struct auth_role *a, struct str account)
{
	struct message m = {.type = MSG_account_end, .account_end.account = account};

	for (struct peer *p = a->role->peers; p < a->role->peers + a->role->peers_n; p++)
		if (p->kind == CHANNEL_TICKET)
			(void)channel_post(p->ch, &m); /* the sessions of a dead one have ended */
	if (account.n && account.p[0] != '@')
		verdict_account_forget(a->verdicts, account);
}

static bool has(const struct json_value *request, const char *name)
{
	return json_value_type(json_value_member(request, name)) != JSON_TYPE_NULL;
}

static void end_where_needed(struct auth_role *a, struct str request_json)
{
	JSON_DOC_SCOPED doc = NULL;
	ARENA_SCOPED arena = arena_new();
	struct err err;
	struct str folded;

	if (!json_doc_parse(request_json, DIRECTORY_CONTROL_MAX, &doc, &err))
		return;
	const struct json_value *in = json_doc_root(doc);
	struct str verb = json_value_str_or(json_value_member(in, "verb"), STR_NONE);
	bool set = str_eq(verb, STR("account.set")) && (has(in, "password") || has(in, "enabled") ||
							has(in, "protocols") || has(in, "intranet_only"));
	if ((set || str_eq(verb, STR("account.remove"))) &&
	    directory_fold_address(arena, json_value_str_or(json_value_member(in, "address"), STR_NONE),
				   &folded, &err))
		end_sessions(a, folded);
	if (((str_eq(verb, STR("domain.set")) && has(in, "enabled")) ||
	     str_eq(verb, STR("domain.remove"))) &&
	    directory_fold_domain(arena, json_value_str_or(json_value_member(in, "name"), STR_NONE),
				  &folded, &err))
		end_sessions(a, arena_cat(arena, STR("@"), folded));
}

static void on_control(void *ctx, struct str request, struct buf *reply)
{
	struct auth_role *a = ctx;

	if (!directory_control(auth_control_directory(a), request, reply))
		return;
	end_where_needed(a, request);
	forget_everywhere(a->role);
}

/* ---- life --------------------------------------------------------------------------------------- */

static bool auth_start(struct role *r, struct err *err)
{
	struct auth_role *a = r->state;
	CONFIG_SCOPED c = role_config(r);
	struct control control = {.fn = on_control, .ctx = a};
	struct verdict_limits limits;

	set_limits(c, &limits);
	random_bytes(a->fake_secret, sizeof(a->fake_secret));
	a->verdicts = verdict_engine_new(&limits, auth_on_verdict, a);
	return auth_pool_start(a, err) && control_listen(r, &control, err);
}

static void auth_configured(struct role *r)
{
	struct auth_role *a = r->state;
	CONFIG_SCOPED c = role_config(r);

	auth_pool_configured(a, c);
	forget_everywhere(r);
}

static bool auth_drained(struct role *r)
{
	(void)r; /* those who ask have ended before */
	return true;
}

static void write_directory_status(struct auth_role *a, struct json_writer *w)
{
	struct directory_stats d;

	if (!a->pool)
		return;
	directory_stats(a->directory, &d);
	json_write_member_bool(w, "database_away", d.away);
	json_write_member_int(w, "database_questions", (int64_t)d.asked);
	json_write_member_int(w, "database_questions_waiting", auth_pool_waiting(a));
	json_write_member_int(w, "database_answers_remembered", (int64_t)d.remembered);
	json_write_member_int(w, "database_answers_stale", (int64_t)d.stale);
}

static void auth_status(struct role *r, struct json_writer *w)
{
	struct auth_role *a = r->state;
	struct verdict_stats s;

	verdict_stats(a->verdicts, &s);
	lock_take(&a->lock);
	json_write_member_int(w, "logins", (int64_t)a->logins);
	json_write_member_int(w, "login_failures", (int64_t)a->failures);
	json_write_member_int(w, "lookups", (int64_t)a->lookups);
	json_write_member_int(w, "attempts", (int64_t)map_count(a->attempts));
	lock_drop(&a->lock);
	json_write_member_int(w, "passwords_waiting", s.waiting);
	json_write_member_int(w, "passwords_cached", (int64_t)s.cached);
	json_write_member_int(w, "passwords_hashed", (int64_t)s.hashed);
	json_write_member_int(w, "passwords_busy", (int64_t)s.busy);
	write_directory_status(a, w);
}

const struct role_form role_form_auth = {
	.calls = SANDBOX_FILES | SANDBOX_CONNECTED,
	.create = auth_create,
	.prepare = auth_prepare,
	.start = auth_start,
	.on_master = auth_on_master,
	.on_message = auth_on_message,
	.on_lost = auth_on_lost,
	.configured = auth_configured,
	.drained = auth_drained,
	.status = auth_status,
};
