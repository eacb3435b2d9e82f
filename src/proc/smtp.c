/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * proc/smtp.c: the smtp role, a door. Identity: pabal-smtp. Sandbox: its own journal; no socket() nor
 * connect(). Descriptors: listeners of smtp, submission, submissions, lmtp. Messages: SASL and
 * look-ups to auth, questions to dns, texts to sign to keys, journal positions to queue. Threads: net,
 * the journal's writer, a reader per channel.
 *
 * The 250 of a message is the journal's word (journal_done); what queue is told is a position, one
 * message per burst. Look-ups are cached; auth says when to forget, and a lost channel forgets all.
 */
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "journal/journal.h"
#include "mail/envelope.h"
#include "proc/dns_channel.h"
#include "proc/door_int.h"
#include "proc/lookup_cache.h"
#include "queue/record.h"
#include "sender_auth/public_suffix.h"
#include "smtp/server.h"
#include <pwd.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { LOOKUP_WAIT_MS = 5000, CACHE_LOCAL_S = 60, CACHE_OTHER_S = 2, TICK_MS = 1000 };

struct smtp_role {
	struct role *role;
	struct door_tls tls;
	struct door_auth auth;
	struct smtp_server server;
	struct journal *journal;
	int journal_fd;
	_Atomic uint64_t accepted, told, settled_seq;
	atomic_bool tell_due, settle_due;
	atomic_int pressure;
	_Atomic uint64_t messages;
	const struct smtp_users *users;  /* NULL: all */
	struct public_suffixes *suffixes;
	struct lookup_cache *recipients; /* verdict and canonical address by address */
	struct lookup_cache *senders;    /* those who may: ticket by account, address and ticket */
};

/* ---- look-ups ----------------------------------------------------------------------------------- */

static void forget(struct smtp_role *s)
{
	lookup_cache_forget(s->recipients);
	lookup_cache_forget(s->senders);
}

static bool ask(struct smtp_role *s, const struct message *q, struct arena *a, struct message *r)
{
	struct channel *ch = role_channel(s->role, CHANNEL_LOOKUP, ROLE_AUTH, 0);
	struct err err = {0};

	net_block_begin(s->role->net);
	bool good = channel_call(ch, q, LOOKUP_WAIT_MS, a, r, &err);
	net_block_end(s->role->net);
	if (!good)
		log_err(LOG_WARN, "smtp.lookup.failed", &err);
	return good;
}

static enum rcpt_verdict rcpt(void *ctx, struct str address, struct arena *a, struct str *out_canonical)
{
	struct smtp_role *s = ctx;
	struct message q = {.type = MSG_rcpt_lookup, .rcpt_lookup.address = address}, r;
	uint64_t generation = lookup_cache_generation(s->recipients);
	enum rcpt_verdict v;
	struct str known;

	if (address.n > 320)
		return RCPT_UNKNOWN;
	struct str domain = lookup_cache_domain(address);
	if (domain.n && lookup_cache_get(s->recipients, domain, a, &known)) {
		*out_canonical = arena_str(a, address);
		return RCPT_REMOTE;
	}
	if (lookup_cache_get(s->recipients, address, a, &known)) {
		*out_canonical = str_from(known, 1);
		return (enum rcpt_verdict)known.p[0];
	}
	if (!ask(s, &q, a, &r))
		return RCPT_TEMP;
	v = r.rcpt_lookup_result.code <= RCPT_FORWARD ? (enum rcpt_verdict)r.rcpt_lookup_result.code
						      : RCPT_TEMP;
	*out_canonical = r.rcpt_lookup_result.canonical;
	if (v == RCPT_REMOTE && domain.n && str_eq(*out_canonical, address)) {
		lookup_cache_put(s->recipients, generation, domain, STR_NONE, CACHE_LOCAL_S);
	} else if (v != RCPT_TEMP) {
		char first = (char)v;
		lookup_cache_put(s->recipients, generation, address,
				 arena_cat(a, (struct str){&first, 1}, *out_canonical),
				 v == RCPT_LOCAL ? CACHE_LOCAL_S : CACHE_OTHER_S);
	}
	return v;
}

static int sender(void *ctx, const struct smtp_sender *who, struct arena *a, struct str *out_ticket)
{
	struct message q = {.type = MSG_sender_check,
			    .sender_check = {who->account, who->address, who->ticket}}, r;

	if (who->account.n > 320 || who->address.n > 320 || who->ticket.n > 512)
		return 0;
	struct smtp_role *s = ctx;
	uint64_t generation = lookup_cache_generation(s->senders);
	struct str key = arena_fmt(a, "%.*s %.*s %.*s", STR_ARG(who->account), STR_ARG(who->address),
				   STR_ARG(who->ticket)), known;
	if (lookup_cache_get(s->senders, key, a, &known)) { /* yes, with this ticket */
		*out_ticket = known;
		return 1;
	}
	if (!ask(ctx, &q, a, &r))
		return 2;
	*out_ticket = r.sender_check_result.ticket;
	if (r.sender_check_result.code == 1)
		lookup_cache_put(s->senders, generation, key, *out_ticket, CACHE_LOCAL_S);
	return (int)r.sender_check_result.code;
}

static struct dns_resolver *resolver(void *ctx)
{
	struct smtp_role *s = ctx;
	CONFIG_SCOPED c = role_config(s->role);

	return dns_channel_new(s->role, config_duration_ms(c, SETTING_SENDER_AUTH_TIMEOUT));
}

/* ---- the journal ---------------------------------------------------------------------------------- */

struct side {
	int fd;
	char name[JOURNAL_SIDE_NAME];
};
struct accepting {
	struct smtp_role *smtp;
	struct buf head;
	struct side *side;
	void (*done)(void *ctx, const struct err *err);
	void *ctx;
};

static void tell_queue(void *ctx)
{
	struct smtp_role *s = ctx;
	struct message m = {.type = MSG_accepted};

	atomic_store(&s->tell_due, false);
	m.accepted.seq = atomic_load(&s->accepted);
	/* A queue that is away reads the journal when it is back. */
	if (channel_post(role_channel(s->role, CHANNEL_ACCEPTED, ROLE_QUEUE, 0), &m))
		atomic_store(&s->told, m.accepted.seq);
}

static void tell_soon(struct smtp_role *s)
{
	if (!atomic_exchange(&s->tell_due, true))
		net_run(s->role->net, tell_queue, s);
}

/* On the journal's writer thread, or inside accept_message(). */
static void on_durable(void *ctx, uint64_t seq, const struct err *err)
{
	struct accepting *w = ctx;
	struct smtp_role *s = w->smtp;

	if (!err) {
		atomic_store(&s->accepted, seq); /* calls come in order */
		atomic_fetch_add(&s->messages, 1);
		tell_soon(s);
	}
	w->done(w->ctx, err);
	buf_free(&w->head);
	free(w->side);
	free(w);
}

static bool accept_message(void *ctx, const struct envelope *e, struct str content, void *side,
			   void (*done)(void *done_ctx, const struct err *err), void *done_ctx,
			   struct err *err)
{
	struct smtp_role *s = ctx;
	struct accepting *w = mem_new(struct accepting);
	uint64_t seq;
	bool good;

	*w = (struct accepting){.smtp = s, .side = side, .done = done, .ctx = done_ctx};
	message_record_head(&w->head, e);
	struct iovec parts[] = {{w->head.p, w->head.n}, {(void *)(uintptr_t)content.p, content.n}};
	if (w->side) {
		good = journal_side_finish(s->journal, w->side->fd, err);
		fd_close(&w->side->fd); /* an open one would keep its blocks for ever */
		good = good &&
		       journal_append_side(s->journal, JOURNAL_MESSAGE, parts, 2, w->side->name,
					   on_durable, w, &seq, err);
		if (!good)
			journal_side_discard(s->journal, w->side->name);
	} else {
		good = journal_append_here(s->journal, JOURNAL_MESSAGE, parts, 2, on_durable, w, &seq, err);
	}
	if (good)
		return true;
	buf_free(&w->head);
	free(w->side);
	free(w);
	return false;
}

static bool side_begin(void *ctx, void **out, struct err *err)
{
	struct smtp_role *s = ctx;
	struct side *side = mem_new(struct side);

	if (!journal_side_create(s->journal, &side->fd, side->name, err)) {
		free(side);
		return false;
	}
	*out = side;
	return true;
}

static bool side_write(void *ctx, void *side, struct str bytes, struct err *err)
{
	(void)ctx;
	return file_write_all(((struct side *)side)->fd, bytes.p, bytes.n, err);
}

static void side_discard(void *ctx, void *side)
{
	struct smtp_role *s = ctx;
	struct side *f = side;

	fd_close(&f->fd);
	journal_side_discard(s->journal, f->name);
	free(f);
}

static int pressure(void *ctx)
{
	struct smtp_role *s = ctx;
	int level = atomic_load(&s->pressure);
	unsigned fill = journal_fill(s->journal);

	if (fill >= 90)
		return 2;
	return level == 0 && fill >= 60 ? 1 : level;
}

/* queue has made all below seq durable elsewhere: segments can be used again. */
static void settle(void *ctx)
{
	struct smtp_role *s = ctx;
	struct err err = {0};

	atomic_store(&s->settle_due, false);
	uint64_t seq = atomic_load(&s->settled_seq);
	if (seq > journal_watermark(s->journal) && !journal_checkpoint(s->journal, seq, STR_NONE, &err))
		log_err(LOG_ERROR, "smtp.checkpoint.failed", &err);
}

static void smtp_on_message(void *ctx, struct channel *ch, uint64_t id, struct message *m)
{
	struct peer *p = ctx;
	struct smtp_role *s = p->role->state;
	struct message done = {.type = MSG_invalidated};

	if (m->type == MSG_invalidate) {
		forget(s);
		(void)channel_reply(ch, id, &done);
	} else if (m->type == MSG_pressure) {
		atomic_store(&s->pressure, m->pressure.level <= 2 ? (int)m->pressure.level : 2);
	} else if (m->type == MSG_settled) {
		atomic_store(&s->settled_seq, m->settled.seq);
		if (!atomic_exchange(&s->settle_due, true))
			net_run(s->role->net, settle, s);
	}
}

static void smtp_on_lost(void *ctx, struct channel *ch)
{
	struct peer *p = ctx;
	struct smtp_role *s = p->role->state;

	(void)ch;
	if (p->kind == CHANNEL_LOOKUP)
		forget(s);
	if (p->kind == CHANNEL_ACCEPTED)
		atomic_store(&s->pressure, 0); /* the journal's fill is the limit meanwhile */
}

/* A queue that was started again hears the position even if no message comes. */
static void tick(void *ctx)
{
	struct smtp_role *s = ctx;

	uint64_t accepted = atomic_load(&s->accepted);

	if (accepted > 0 && accepted >= atomic_load(&s->settled_seq)) /* all below that is settled */
		tell_soon(s);
}

/* ---- life --------------------------------------------------------------------------------------- */

static const struct config *config_now(void *ctx)
{
	struct smtp_role *s = ctx;
	return role_config(s->role);
}

static struct tls_context *tls_now(void *ctx)
{
	struct smtp_role *s = ctx;
	return door_tls(&s->tls);
}

static void *smtp_create(struct role *r)
{
	struct smtp_role *s = mem_new(struct smtp_role);

	s->role = r;
	s->recipients = lookup_cache_new();
	s->senders = lookup_cache_new();
	door_tls_init(&s->tls, r);
	return s;
}

static void smtp_on_master(struct role *r, struct message *m)
{
	struct smtp_role *s = r->state;
	(void)door_tls_on_master(&s->tls, m);
}

static bool open_journal(struct smtp_role *s, struct sandbox *box, struct err *err)
{
	struct role *r = s->role;
	CONFIG_SCOPED c = role_config(r);

	if (!role_open_dir(r, box, role_journal_path(r, ROLE_SMTP, r->index), SANDBOX_WRITE,
			   &s->journal_fd, err))
		return false;
	struct journal_options o = {
		.dirfd = s->journal_fd,
		.name = r->name,
		.segment_bytes = config_size(c, SETTING_JOURNAL_SEGMENT_SIZE),
		.segments_max = (unsigned)config_int(c, SETTING_JOURNAL_SEGMENTS),
		.reserve_bytes = config_size(c, SETTING_SMTP_RESERVE_DISK),
	};
	if (!journal_open(&o, NULL, NULL, &s->journal, err))
		return false;
	atomic_store(&s->accepted, journal_committed(s->journal));
	return true;
}

/* "kim", "1000", "1000-1999". Names are looked up here, where /etc/passwd can still be read. */
static bool read_user(struct arena *a, struct str item, struct smtp_user_range *out)
{
	struct str last = item, first = str_cut(&last, '-');
	uint64_t from, to;

	if (str_u64(item, UINT32_MAX, &from)) {
		*out = (struct smtp_user_range){(uint32_t)from, (uint32_t)from};
		return true;
	}
	if (last.p && str_u64(first, UINT32_MAX, &from) && str_u64(last, UINT32_MAX, &to)) {
		*out = (struct smtp_user_range){(uint32_t)from, (uint32_t)to};
		return true;
	}
	const char *name = arena_cstr(a, item);
	struct passwd *pw = name ? getpwnam(name) : NULL;
	if (!pw)
		return false;
	*out = (struct smtp_user_range){pw->pw_uid, pw->pw_uid};
	return true;
}

/* Who is not known may not: a name that is misspelt opens nothing. */
static void read_users(struct smtp_role *s)
{
	struct arena *a = s->role->arena;
	CONFIG_SCOPED c = role_config(s->role);
	struct config_list items = config_list(c, SETTING_SENDMAIL_ALLOW);
	struct smtp_users *users = arena_new_of(a, struct smtp_users);

	users->v = arena_array(a, items.n + 1, sizeof(*users->v));
	for (size_t i = 0; i < items.n; i++) {
		if (str_eq(items.v[i], STR("*")))
			return;
		if (read_user(a, items.v[i], &users->v[users->n]))
			users->n++;
		else
			log_event(LOG_WARN, "smtp.local.unknown_user", K_CSTR(setting, "sendmail.allow"),
				  K_STR(user, items.v[i]));
	}
	s->users = users;
}

static bool smtp_prepare(struct role *r, struct sandbox *box, struct err *err)
{
	struct smtp_role *s = r->state;

	CONFIG_SCOPED c = role_config(r);

	read_users(s);
	lookup_cache_configured(s->recipients, c);
	s->suffixes = public_suffixes_open(); /* a file */
	lookup_cache_configured(s->senders, c);
	return preload(PRELOAD_TLS, err) && door_tls_prepare(&s->tls, err) && open_journal(s, box, err);
}

static enum smtp_kind kind_of(enum listener_service service)
{
	if (service == SERVICE_LMTP)
		return SMTP_LMTP;
	if (service == SERVICE_LOCAL)
		return SMTP_LOCAL;
	return service == SERVICE_SMTP ? SMTP_MX : SMTP_SUBMISSION;
}

static enum smtp_tls_mode mode_of(enum listener_tls tls)
{
	switch (tls) {
	case LISTENER_TLS_NONE: return SMTP_TLS_NONE;
	case LISTENER_TLS_MAY: return SMTP_TLS_MAY;
	case LISTENER_TLS_REQUIRED:
	case LISTENER_TLS_IMPLICIT: return SMTP_TLS_REQUIRED;
	}
	return SMTP_TLS_REQUIRED;
}

static void fill_listener(void *ctx, const struct listener *l, struct net_listener *n)
{
	struct smtp_role *s = ctx;
	struct arena *a = n->arena;
	CONFIG_SCOPED c = role_config(s->role);
	struct smtp_listener *p = arena_new_of(a, struct smtp_listener);

	p->kind = kind_of(l->service);
	p->tls = mode_of(l->tls);
	p->plaintext_auth_from = door_networks(a, &l->plaintext_auth_from,
					       config_networks(c, SETTING_AUTH_PLAINTEXT_NETWORKS));
	p->users = s->users;
	p->xclient_from = door_networks(a, &l->xclient_from, NULL);
	n->protocol = &smtp_protocol;
	n->owner = &s->server;
	n->listener = p;
	n->per_source_max = (unsigned)config_int(c, SETTING_SMTP_MAX_CONNECTIONS_PER_SOURCE);
	n->per_source_rate = (unsigned)config_int(c, SETTING_SMTP_RATE_CONNECTIONS);
	n->exempt = door_networks(a, config_networks(c, SETTING_MYNETWORKS), NULL);
	n->busy_text = "421 4.7.0 Too many connections, try again later\r\n";
}

static void certificate_arrived(void *ctx)
{
	struct smtp_role *s = ctx;
	struct err err = {0};

	if (!door_listen(s->role, &s->tls, fill_listener, s, &err))
		log_err(LOG_ERROR, "door.listen.failed", &err);
}

static bool smtp_start(struct role *r, struct err *err)
{
	struct smtp_role *s = r->state;

	s->server = (struct smtp_server){
		.services = {.ctx = s,
			     .rcpt = rcpt,
			     .sender = sender,
			     .accept = accept_message,
			     .side_begin = side_begin,
			     .side_write = side_write,
			     .side_discard = side_discard,
			     .resolver = role_channel(r, CHANNEL_DNS, ROLE_DNS, 0) ? resolver : NULL,
			     .suffixes = s->suffixes,
			     .pressure = pressure},
		.limits = smtp_limits_new(),
		.config = config_now,
		.tls = tls_now,
		.ctx = s,
	};
	s->tls.arrived = certificate_arrived;
	s->tls.arrived_ctx = s;
	door_auth_init(&s->auth, r, &s->server.services.auth);
	net_timer(r->net, TICK_MS, tick, s);
	return journal_start(s->journal, err) && door_listen(r, &s->tls, fill_listener, s, err);
}

static void smtp_configured(struct role *r)
{
	struct smtp_role *s = r->state;

	door_auth_configured(&s->auth);
	door_tls_configured(&s->tls);
	forget(s);
}

static void smtp_listeners_changed(struct role *r, struct role_listener *old, size_t old_n)
{
	struct smtp_role *s = r->state;

	door_listen_again(r, &s->tls, fill_listener, s, old, old_n);
}

static void smtp_status(struct role *r, struct json_writer *w)
{
	struct smtp_role *s = r->state;

	json_write_member_int(w, "messages", (int64_t)atomic_load(&s->messages));
	role_journal_status(s->journal, w);
	json_write_member_int(w, "pressure", pressure(s));
}

const struct role_form role_form_smtp = {
	.calls = SANDBOX_FILES | SANDBOX_CONNECTED,
	.net = true,
	.create = smtp_create,
	.prepare = smtp_prepare,
	.start = smtp_start,
	.on_master = smtp_on_master,
	.on_message = smtp_on_message,
	.on_lost = smtp_on_lost,
	.configured = smtp_configured,
	.listeners_changed = smtp_listeners_changed,
	.status = smtp_status,
};
