/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * proc/mailbox.c: the mailbox role. Identity: vmail. Sandbox: mail store, its journal; no socket() nor
 * connect(). Descriptors: connections after login, from login. Messages: tickets from auth, hand-overs
 * from login, notices and settle requests among those who write mail. Threads: net, journal writer,
 * readers.
 *
 * Nothing is done for an account without a ticket of auth's: good once, for 10 s. Sessions are kept
 * in a list, so that those of an account that was disabled end at once.
 */
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "imap/imap.h"
#include "journal/journal.h"
#include "net/net.h"
#include "pop3/pop3.h"
#include "proc/mailbox_int.h"
#include "proc/settle_int.h"
#include "store/served.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { SUSPECT_CRASHES = 2 };
enum { TAKEN, TAKEN_NO, TAKEN_TOO_MANY }; /* codes of handover_taken */

struct session {
	struct served served; /* first: what the protocol sees */
	struct mailbox_role *mailbox;
	const struct protocol *protocol;
	struct conn *conn;
	atomic_bool ended;    /* the account was disabled */
	struct session *next, **prev; /* guarded by mailbox->lock */
};
struct mailbox_role {
	struct role *role;
	struct store *store;
	struct journal *journal;
	int mail_fd, journal_fd;
	struct settle_table settle;
	struct ticket_table *tickets;
	struct lock lock;
	/* guarded by lock */
	struct session *sessions;
	unsigned sessions_n;
	struct map *suspects; /* int64_t *: when it was at work in its last crash, by account */
	uint64_t handovers, refused;
};

/* ---- the store's services ------------------------------------------------------------------------- */

static bool checkpoint(struct mailbox_role *m, struct err *err)
{
	if (!store_checkpoint(m->store, 0, STR_NONE, err))
		return false;
	settle_announce(&m->settle, journal_watermark(m->journal));
	return true;
}

static bool settle(void *ctx, struct str journal, uint64_t seq, struct err *err)
{
	struct mailbox_role *m = ctx;
	bool own = str_eq(journal, str_of(m->role->name));

	if ((own || journal.n == 0) && !checkpoint(m, err))
		return false;
	return own || settle_ask(&m->settle, journal, seq, err);
}

static uint64_t watermark(void *ctx, struct str journal)
{
	struct mailbox_role *m = ctx;

	if (str_eq(journal, str_of(m->role->name)))
		return journal_watermark(m->journal);
	return settle_watermark(&m->settle, journal);
}

static void changed(void *ctx, struct str account, struct str mailbox)
{
	struct mailbox_role *m = ctx;
	settle_notice(m->role, account, mailbox);
}

/* Every journal.checkpoint, when something is not settled. */
static void tick(void *ctx)
{
	struct mailbox_role *m = ctx;
	struct err err = {0};

	if (journal_watermark(m->journal) <= journal_committed(m->journal) && !checkpoint(m, &err))
		log_err(LOG_ERROR, "mailbox.checkpoint.failed", &err);
}

/* ---- sessions ------------------------------------------------------------------------------------- */

static const struct protocol *protocol_of(struct str service)
{
	if (str_starts(service, STR("imap")))
		return &imap_protocol;
	return str_starts(service, STR("pop3")) ? &pop3_protocol : NULL;
}

static unsigned say_ended(struct conn *c, const struct session *s)
{
	buf_add(conn_out(c), s->protocol == &imap_protocol
				     ? STR("* BYE The account was changed, log in again\r\n")
				     : STR("-ERR [AUTH] The account was changed, log in again\r\n"));
	return PARK_CLOSE;
}

/* Into the list before it runs, so that the limit is exact. False: too many of this account. */
static bool enter(struct session *s, unsigned most)
{
	struct mailbox_role *m = s->mailbox;
	unsigned n = 0;

	LOCK_SCOPED(&m->lock);
	for (struct session *o = m->sessions; o; o = o->next)
		n += str_eq(o->served.address, s->served.address);
	if (n >= most)
		return false;
	s->next = m->sessions;
	s->prev = &m->sessions;
	if (s->next)
		s->next->prev = &s->next;
	m->sessions = s;
	m->sessions_n++;
	return true;
}

static void leave(struct session *s)
{
	struct mailbox_role *m = s->mailbox;

	LOCK_SCOPED(&m->lock);
	*s->prev = s->next;
	if (s->next)
		s->next->prev = s->prev;
	m->sessions_n--;
}

/* The first run, or the end without one. */
static void connect_session(struct session *s, struct conn *c)
{
	LOCK_SCOPED(&s->mailbox->lock);
	s->conn = conn_ref(c);
	conn_session_set(c, &s->served);
}

static unsigned session_run(struct conn *c, enum wake wake)
{
	struct session *s = conn_owner(c);

	if (!s->conn)
		connect_session(s, c);
	log_context(STR_NONE, STR_NONE, s->served.address); /* names the account in crash notes */
	if (atomic_load(&s->ended))
		return say_ended(c, s);
	return s->protocol->run(c, wake);
}

static void session_end(struct conn *c)
{
	struct session *s = conn_owner(c);

	if (!s->conn)
		connect_session(s, c);
	struct conn *held = s->conn;
	leave(s);
	s->protocol->end(c); /* calls release: s is gone */
	conn_unref(held);
}

static const struct protocol session_protocol = {"served", session_run, session_end};

static void release(struct served *served)
{
	account_close(served->account);
	config_unref((struct config *)(uintptr_t)served->config);
	arena_free(served->arena);
}

/* "user@domain", or all of "@domain". */
static bool is_of(struct str address, struct str account)
{
	if (account.n && account.p[0] == '@')
		return str_ends_nocase(address, account);
	return str_eq_nocase(address, account);
}

static void end_sessions(struct mailbox_role *m, struct str account)
{
	unsigned n = 0;

	LOCK_SCOPED(&m->lock);
	for (struct session *s = m->sessions; s; s = s->next)
		if (is_of(s->served.address, account)) {
			atomic_store(&s->ended, true);
			if (s->conn)
				conn_wake(s->conn);
			n++;
		}
	if (n)
		log_event(LOG_INFO, "mailbox.sessions.ended", K_STR(account, account), K_INT(count, n));
}

/* ---- hand-over ------------------------------------------------------------------------------------ */

struct handover { /* copied from the message, for a worker */
	struct mailbox_role *mailbox;
	struct channel *ch;
	uint64_t id;
	struct arena *arena;
	struct msg_handover m;
};

static void answer(struct mailbox_role *m, struct channel *ch, uint64_t id, uint32_t code)
{
	struct message r = {.type = MSG_handover_taken, .handover_taken.code = code};

	(void)channel_reply(ch, id, &r);
	LOCK_SCOPED(&m->lock);
	*(code ? &m->refused : &m->handovers) += 1;
}

/* The session takes the arena. */
static struct session *session_new(struct handover *h, const struct protocol *p, struct account *account)
{
	struct session *s = arena_new_of(h->arena, struct session);

	s->mailbox = h->mailbox;
	s->protocol = p;
	s->served = (struct served){
		.arena = h->arena, .store = h->mailbox->store, .account = account,
		.config = role_config(h->mailbox->role), .address = h->m.account, .tag = h->m.tag,
		.final_data = h->m.final_data, .client_id = h->m.client_id, .peer = h->m.peer,
		.tls_version = h->m.tls_version, .tls_cipher = h->m.tls_cipher, .session = h->m.session,
		.release = release,
	};
	return s;
}

static bool adopt(struct handover *h, struct session *s, struct err *err)
{
	struct conn_facts f = {
		.id = h->m.session,
		.peer_text = h->m.peer,
		.peer_port = (uint16_t)h->m.peer_port,
		.local_port = (uint16_t)h->m.local_port,
		.service = h->m.service,
		.tls_version = h->m.tls_version,
		.tls_cipher = h->m.tls_cipher,
	};

	return net_adopt(h->mailbox->role->net, h->m.socket, &session_protocol, s, &f, h->m.input,
			 h->m.account, err);
}

static bool open_account(struct handover *h, const struct ticket_facts *t, struct account **out)
{
	struct account_facts f = {t->account_id, t->account, t->language, t->quota_bytes, t->quota_messages};
	struct err err = {0};

	if (!account_open(h->mailbox->store, &f, out, &err)) {
		log_err(LOG_ERROR, "mailbox.account.failed", &err);
		return false;
	}
	/* Without them mail programs make their own, each under another name. */
	if (str_starts(h->m.service, STR("imap")) && !mailbox_special_all(*out, &err))
		log_err(LOG_WARN, "mailbox.special.failed", &err);
	return true;
}

/* Takes the account, whatever comes of it; the code for the door. On TAKEN the session has the
 * hand-over's arena and may have ended already. */
static uint32_t begin_session(struct handover *h, struct session *s)
{
	CONFIG_SCOPED c = role_config(h->mailbox->role);
	struct err err = {0};

	if (!enter(s, (unsigned)config_int(c, SETTING_IMAP_MAX_CONNECTIONS_PER_ACCOUNT))) {
		account_close(s->served.account);
		config_unref((struct config *)(uintptr_t)s->served.config);
		return TAKEN_TOO_MANY;
	}
	if (adopt(h, s, &err))
		return TAKEN;
	log_err(LOG_ERROR, "mailbox.adopt.failed", &err);
	leave(s);
	account_close(s->served.account);
	config_unref((struct config *)(uintptr_t)s->served.config);
	return TAKEN_NO;
}

/* On a worker: opening an account may wait for the disk. */
static void take_over(void *ctx)
{
	struct handover *h = ctx;
	struct mailbox_role *m = h->mailbox;
	struct channel *ch = h->ch;
	const struct protocol *p = protocol_of(h->m.service);
	uint64_t id = h->id;
	struct ticket_facts t;
	struct account *account;
	uint32_t code = TAKEN_NO;

	log_context(STR_NONE, STR_NONE, h->m.account);
	if (!p || !ticket_take(m->tickets, h->m.ticket, h->m.account, h->arena, &t)) {
		log_event(LOG_ERROR, "mailbox.handover.no_ticket", K_STR(account, h->m.account),
			  K_STR(peer, h->m.peer));
	} else if (open_account(h, &t, &account)) {
		h->m.account = t.account;
		code = begin_session(h, session_new(h, p, account));
	}
	if (code != TAKEN) {
		fd_close(&h->m.socket);
		arena_free(h->arena);
	}
	answer(m, ch, id, code);
	log_context_clear();
}

static void on_handover(struct mailbox_role *m, struct channel *ch, uint64_t id, struct msg_handover *in)
{
	struct arena *a = arena_new();
	struct handover *h = arena_new_of(a, struct handover);

	*h = (struct handover){m, ch, id, a, *in};
	in->socket = -1;
	struct str *texts[] = {&h->m.service,    &h->m.ticket,    &h->m.account, &h->m.tag,
			       &h->m.final_data, &h->m.peer,      &h->m.local,   &h->m.tls_version,
			       &h->m.tls_cipher, &h->m.client_id, &h->m.input};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		*texts[i] = arena_str(a, *texts[i]);
	net_run(m->role->net, take_over, h);
}

/* ---- other messages -------------------------------------------------------------------------------- */

static bool is_suspect(struct mailbox_role *m, struct str account)
{
	CONFIG_SCOPED c = role_config(m->role);
	LOCK_SCOPED(&m->lock);
	const int64_t *last = map_get(m->suspects, account);
	return last && clock_mono_ms() < *last + config_duration_ms(c, SETTING_PROCESS_SET_ASIDE);
}

static void on_ticket(struct mailbox_role *m, struct channel *ch, uint64_t id, const struct msg_ticket *t)
{
	struct message r = {.type = MSG_ticket_taken};

	if (is_suspect(m, t->account)) {
		log_event(LOG_WARN, "mailbox.account.set_aside", K_STR(account, t->account));
		r.ticket_taken.code = 1;
	} else if (!ticket_add(m->tickets, t)) {
		r.ticket_taken.code = 2;
	}
	(void)channel_reply(ch, id, &r);
}

struct question { /* settle or quota, for a worker */
	struct mailbox_role *mailbox;
	struct channel *ch;
	uint64_t id;
	struct arena *arena;
	struct account_facts facts;
};

static struct question *question_new(struct mailbox_role *m, struct channel *ch, uint64_t id)
{
	struct arena *a = arena_new();
	struct question *q = arena_new_of(a, struct question);

	*q = (struct question){.mailbox = m, .ch = ch, .id = id, .arena = a};
	return q;
}

static void answer_settle(void *ctx)
{
	struct question *q = ctx;
	struct message r = {.type = MSG_settle_done};
	struct err err = {0};

	if (!checkpoint(q->mailbox, &err)) {
		log_err(LOG_ERROR, "mailbox.checkpoint.failed", &err);
		r.settle_done.code = 1;
	}
	r.settle_done.watermark = journal_watermark(q->mailbox->journal);
	(void)channel_reply(q->ch, q->id, &r);
	arena_free(q->arena);
}

static void answer_quota(void *ctx)
{
	struct question *q = ctx;
	struct message r = {.type = MSG_quota_result, .quota_result.code = 3};
	struct account *account;
	struct quota_use use;
	struct err err = {0};

	if (account_open(q->mailbox->store, &q->facts, &account, &err)) {
		if (account_quota(account, &use, &err))
			r.quota_result.code = (use.bytes_max && use.bytes >= use.bytes_max) ||
					      (use.messages_max && use.messages >= use.messages_max);
		account_close(account);
	}
	if (err.kind != ERR_NONE)
		log_err(LOG_ERROR, "mailbox.quota.failed", &err);
	(void)channel_reply(q->ch, q->id, &r);
	arena_free(q->arena);
}

static void on_quota(struct mailbox_role *m, struct channel *ch, uint64_t id, const struct msg_quota *in)
{
	struct question *q = question_new(m, ch, id);

	q->facts = (struct account_facts){in->account_id, arena_str(q->arena, in->account),
					  arena_str(q->arena, in->language), in->quota_bytes,
					  in->quota_messages};
	net_run(m->role->net, answer_quota, q);
}

struct notice {
	struct mailbox_role *mailbox;
	struct arena *arena;
	struct str account, name;
};

static void take_notice(void *ctx)
{
	struct notice *n = ctx;

	store_notice(n->mailbox->store, n->account, n->name);
	arena_free(n->arena);
}

static void on_notice(struct mailbox_role *m, const struct msg_notice *in)
{
	struct arena *a = arena_new();
	struct notice *n = arena_new_of(a, struct notice);

	*n = (struct notice){m, a, arena_str(a, in->account), arena_str(a, in->mailbox)};
	net_run(m->role->net, take_notice, n);
}

static void role_mailbox_on_message(void *ctx, struct channel *ch, uint64_t id, struct message *m)
{
	struct peer *p = ctx;
	struct mailbox_role *mb = p->role->state;

	if (m->type == MSG_handover)
		on_handover(mb, ch, id, &m->handover);
	else if (m->type == MSG_ticket)
		on_ticket(mb, ch, id, &m->ticket);
	else if (m->type == MSG_quota)
		on_quota(mb, ch, id, &m->quota);
	else if (m->type == MSG_account_end)
		end_sessions(mb, m->account_end.account);
	else if (m->type == MSG_notice)
		on_notice(mb, &m->notice);
	else if (m->type == MSG_watermark)
		settle_note(&mb->settle, p->other, p->index, m->watermark.seq);
	else if (m->type == MSG_settle)
		net_run(mb->role->net, answer_settle, question_new(mb, ch, id));
}

static void role_mailbox_on_master(struct role *r, struct message *m)
{
	struct mailbox_role *mb = r->state;

	if (m->type != MSG_role_suspect || m->role_suspect.crashes < SUSPECT_CRASHES ||
	    m->role_suspect.account.n == 0)
		return;
	int64_t *last = mem_new(int64_t);
	*last = clock_mono_ms() - m->role_suspect.age_ms;
	LOCK_SCOPED(&mb->lock);
	free(map_put(mb->suspects, m->role_suspect.account, last));
}

/* ---- life --------------------------------------------------------------------------------------- */

static void *role_mailbox_create(struct role *r)
{
	struct mailbox_role *m = mem_new(struct mailbox_role);

	m->role = r;
	lock_init(&m->lock, LOCK_SESSION);
	m->suspects = map_new();
	m->tickets = ticket_table_new();
	settle_init(&m->settle, r);
	return m;
}

static bool replay_one(void *ctx, const struct journal_record *rec, struct err *err)
{
	struct mailbox_role *m = ctx;

	if (rec->type != JOURNAL_DONE && rec->type != JOURNAL_APPEND)
		return true;
	return store_replay(m->store, rec->seq, rec->type == JOURNAL_APPEND, rec->content, NULL, NULL, err);
}

/* Unsettled records of a journal, read beside its writer, which has not started. */
static bool replay(struct mailbox_role *m, int dir, const char *name, struct journal *j, struct err *err)
{
	struct journal_reader *reader;

	if (!journal_reader_open(dir, name, &reader, err))
		return false;
	bool good = journal_reader_each(reader, journal_watermark(j), journal_committed(j), replay_one, m,
					err);
	journal_reader_close(reader);
	return good;
}

static void checkpoint_early(void *ctx)
{
	struct mailbox_role *m = ctx;
	net_run(m->role->net, tick, m);
}

static struct journal_options journal_opts(struct mailbox_role *m, const struct config *c, int dir,
					   const char *name)
{
	return (struct journal_options){
		.dirfd = dir,
		.name = name,
		.segment_bytes = config_size(c, SETTING_JOURNAL_SEGMENT_SIZE),
		.segments_max = (unsigned)config_int(c, SETTING_JOURNAL_SEGMENTS),
		/* Less than smtp leaves: what is there can still be moved and removed. */
		.reserve_bytes = config_size(c, SETTING_SMTP_RESERVE_DISK) / 2,
		.half_full = checkpoint_early,
		.half_full_ctx = m,
	};
}

static bool is_empty(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	bool empty = d;

	while (empty && (e = readdir(d)))
		empty = e->d_name[0] == '.';
	if (d)
		closedir(d);
	return empty;
}

/* The journal of a process that runs no more (fewer are configured): what is not settled is looked
 * after, then it is marked as settled, so that it is never looked at again. */
static bool drain_orphan(struct mailbox_role *m, const struct config *c, const char *name, struct err *err)
{
	char path[4096];
	struct journal *j;

	snprintf(path, sizeof(path), "%s/%s", config_path(c, SETTING_JOURNAL_DIR), name);
	FD_SCOPED dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct journal_options o = journal_opts(m, c, dir, name);
	if (dir < 0)
		return err_sys(err, "open %s", path);
	/* Never used; or a process of a single account's, which is just starting. */
	if (is_empty(path) || flock(dir, LOCK_EX | LOCK_NB) < 0)
		return true;
	if (!journal_open(&o, NULL, NULL, &j, err))
		return false;
	uint64_t last = journal_committed(j);
	bool good = last < journal_watermark(j) || /* nothing is open */
		    (replay(m, dir, name, j, err) && file_syncfs(m->mail_fd) == 0 && journal_start(j, err) &&
		     journal_checkpoint(j, last + 1, STR_NONE, err));
	journal_close(j);
	if (good)
		log_event(LOG_INFO, "mailbox.orphan.drained", K_CSTR(journal, name));
	return good;
}

static bool drain_orphans(struct mailbox_role *m, const struct config *c, struct err *err)
{
	DIR *d = m->role->index == 0 ? opendir(config_path(c, SETTING_JOURNAL_DIR)) : NULL;
	struct dirent *e;
	uint64_t number;
	bool good = true;

	while (good && d && (e = readdir(d))) {
		struct str name = str_of(e->d_name);
		if (!str_starts(name, STR("mailbox-")) || !str_u64(str_from(name, 8), 100000, &number) ||
		    role_mailbox_runs(m->role, (unsigned)number))
			continue;
		good = drain_orphan(m, c, e->d_name, err);
	}
	if (d)
		closedir(d);
	return good;
}

static bool open_store(struct mailbox_role *m, const struct config *c, struct err *err)
{
	struct arena *a = m->role->arena;
	struct store_options o = {
		.root_fd = m->mail_fd,
		.root_path = arena_cstr(a, str_of(config_path(c, SETTING_MAIL_DIR))),
		.template = arena_cstr(a, arena_cat(a, config_str(c, SETTING_MAIL_HOME), STR("/Maildir"))),
		.journal = m->journal,
		.journal_name = m->role->name,
		.settle = settle,
		.watermark = watermark,
		.changed = changed,
		.ctx = m,
		.handles_max = (unsigned)config_int(c, SETTING_STORE_INDEX_HANDLES),
		.cold = m->role->cold,
	};
	return store_new(&o, &m->store, err);
}

static bool role_mailbox_prepare(struct role *r, struct sandbox *s, struct err *err)
{
	struct mailbox_role *m = r->state;
	CONFIG_SCOPED c = role_config(r);

	if (!preload(PRELOAD_CHARSETS | PRELOAD_SQLITE, err) ||
	    !role_open_dir(r, s, config_path(c, SETTING_MAIL_DIR), SANDBOX_WRITE, &m->mail_fd, err) ||
	    !role_open_dir(r, s, role_journal_path(r, ROLE_MAILBOX, r->index), SANDBOX_WRITE,
			   &m->journal_fd, err))
		return false;
	if (flock(m->journal_fd, LOCK_EX) < 0) /* for our life; mailbox-0 may just be draining it */
		return err_sys(err, "flock of the journal");
	struct journal_options o = journal_opts(m, c, m->journal_fd, r->name);
	o.numbers_by_clock = true;
	return journal_open(&o, NULL, NULL, &m->journal, err) && open_store(m, c, err) &&
	       replay(m, m->journal_fd, r->name, m->journal, err) && drain_orphans(m, c, err);
}

static bool role_mailbox_start(struct role *r, struct err *err)
{
	struct mailbox_role *m = r->state;
	CONFIG_SCOPED c = role_config(r);

	net_timer(r->net, config_duration_ms(c, SETTING_JOURNAL_CHECKPOINT), tick, m);
	return journal_start(m->journal, err);
}

static void role_mailbox_stop(struct role *r)
{
	struct mailbox_role *m = r->state;
	struct err err = {0};

	if (!store_checkpoint(m->store, 0, STR_NONE, &err))
		log_err(LOG_ERROR, "mailbox.checkpoint.failed", &err);
}

static void role_mailbox_status(struct role *r, struct json_writer *w)
{
	struct mailbox_role *m = r->state;

	lock_take(&m->lock);
	json_write_member_int(w, "sessions", m->sessions_n);
	json_write_member_int(w, "handovers", (int64_t)m->handovers);
	json_write_member_int(w, "handovers_refused", (int64_t)m->refused);
	lock_drop(&m->lock);
	role_journal_status(m->journal, w);
}

const struct role_form role_form_mailbox = {
	.calls = SANDBOX_FILES | SANDBOX_WATCH | SANDBOX_CONNECTED,
	.net = true,
	.create = role_mailbox_create,
	.prepare = role_mailbox_prepare,
	.start = role_mailbox_start,
	.on_master = role_mailbox_on_master,
	.on_message = role_mailbox_on_message,
	.stop = role_mailbox_stop,
	.status = role_mailbox_status,
};
