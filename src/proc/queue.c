/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * proc/queue.c: the queue role. Identity: vmail. Sandbox: mail store, spool, its journal; the journals
 * of smtp to read; no socket() nor connect(). Descriptors: control socket. Messages: positions from
 * smtp, look-ups to auth, mail to relay, header blocks to keys, notices and settle requests among those
 * who write mail. Threads: those of queue/, a few workers, readers, control.
 */
#include "queue/queue.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scan.h"
#include "net/net.h"
#include "proc/lookup_cache.h"
#include "proc/queue_alarm.h"
#include "proc/queue_dkim.h"
#include "proc/queue_relay.h"
#include "proc/queue_sts.h"
#include "proc/settle_int.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
	LOOKUP_WAIT_MS = 10000,
	TICK_MS = 1000,
	DKIM_TICK_MS = 500,
	ALARM_TICK_MS = 1000,
	CACHE_S = 60,
	QUEUE_NICE = 5,
	DKIM_TABLE_MAX = 64 << 20,
};

struct suspicion {
	struct suspicion *next;
	struct str account, qid;
	unsigned crashes;
	uint64_t since;
};

struct queue_role {
	struct role *role;
	struct queue *queue;
	struct store *store;
	struct queue_dkim *dkim;
	struct sts *sts; /* NULL: not asked for */
	struct queue_alarm *alarm;
	int mail_fd, spool_fd, journal_fd;
	struct settle_table settle;
	struct lookup_cache *recipients, *accounts; /* by address; only what exists is remembered */
	struct suspicion *suspicions;               /* told before the queue is open */
	struct lock ages_lock;
	/* guarded by ages_lock: as of ages_ms */
	struct queue_ages ages;
	int64_t ages_ms;
	atomic_bool stopped;
};

/* ---- what auth knows ------------------------------------------------------------------------------ */

static bool ask(struct queue_role *q, const struct message *m, struct arena *a, struct message *r,
		struct err *err)
{
	return channel_call(role_channel(q->role, CHANNEL_LOOKUP, ROLE_AUTH, 0), m, LOOKUP_WAIT_MS, a, r,
			    err);
}

static enum destination_kind kind_of(char letter)
{
	switch (letter) {
	case 'L': return DESTINATION_LOCAL;
	case 'R': return DESTINATION_REMOTE;
	case 'D': return DESTINATION_DISABLED;
	}
	return DESTINATION_UNKNOWN;
}

static bool read_list(struct str list, struct arena *a, struct destination **out, size_t *out_n)
{
	struct scan s = scan_of(list);
	struct destination *v = NULL;
	size_t n = 0, cap = 0;
	struct str item;

	while (!scan_end(&s)) {
		if (!scan_le_str(&s, 1024, &item) || item.n == 0)
			return false;
		v = arena_grow(a, v, n + 1, &cap, sizeof(*v));
		v[n++] = (struct destination){kind_of(item.p[0]), str_from(item, 1)};
	}
	*out = v;
	*out_n = n;
	return true;
}

static bool resolve(void *ctx, struct str address, struct arena *a, struct destination **out, size_t *out_n,
		    struct err *err)
{
	struct queue_role *q = ctx;
	struct message m = {.type = MSG_resolve, .resolve.address = address}, r;
	uint64_t generation = lookup_cache_generation(q->recipients);
	struct str list;

	if (address.n > 320)
		return err_set(err, ERR_SYNTAX, "address too long");
	struct str domain = lookup_cache_domain(address);
	if (domain.n && lookup_cache_get(q->recipients, domain, a, &list)) {
		*out = arena_new_of(a, struct destination);
		**out = (struct destination){DESTINATION_REMOTE, arena_str(a, address)};
		*out_n = 1;
		return true;
	}
	if (lookup_cache_get(q->recipients, address, a, &list))
		return read_list(list, a, out, out_n) || err_set(err, ERR_CORRUPT, "bad list of recipients");
	if (!ask(q, &m, a, &r, err))
		return false;
	list = r.resolve_result.list;
	if (r.resolve_result.code == 3)
		return err_set(err, ERR_TEMP, "recipient could not be looked up");
	if (r.resolve_result.code == 0 || list.n == 0) { /* not even an address */
		*out = arena_new_of(a, struct destination);
		**out = (struct destination){DESTINATION_UNKNOWN, arena_str(a, address)};
		*out_n = 1;
		return true;
	}
	if (!read_list(list, a, out, out_n))
		return err_set(err, ERR_CORRUPT, "bad list of recipients");
	if (*out_n == 1 && (*out)[0].kind == DESTINATION_LOCAL)
		lookup_cache_put(q->recipients, generation, address, list, CACHE_S);
	else if (*out_n == 1 && (*out)[0].kind == DESTINATION_REMOTE && domain.n &&
		 str_eq((*out)[0].address, address))
		lookup_cache_put(q->recipients, generation, domain, STR_NONE, CACHE_S);
	return true;
}

static void facts_put(struct queue_role *q, uint64_t generation, struct str address,
		      const struct account_facts *f)
{
	BUF_SCOPED b = {0};

	buf_le64(&b, f->id);
	buf_le64(&b, f->quota_bytes);
	buf_le64(&b, f->quota_messages);
	buf_le_str(&b, f->language);
	buf_le_str(&b, f->address);
	lookup_cache_put(q->accounts, generation, address, buf_str(&b), CACHE_S);
}

static bool facts_get(struct queue_role *q, struct str address, struct arena *a, struct account_facts *out)
{
	struct str value;

	if (!lookup_cache_get(q->accounts, address, a, &value))
		return false;
	struct scan s = scan_of(value);
	return scan_le64(&s, &out->id) && scan_le64(&s, &out->quota_bytes) &&
	       scan_le64(&s, &out->quota_messages) && scan_le_str(&s, value.n, &out->language) &&
	       scan_le_str(&s, value.n, &out->address);
}

static bool account(void *ctx, struct str address, struct arena *a, struct account_facts *out,
		    bool *out_found, struct err *err)
{
	struct queue_role *q = ctx;
	struct message m = {.type = MSG_account_facts, .account_facts.account = address}, r;
	uint64_t generation = lookup_cache_generation(q->accounts);

	*out_found = false;
	if (address.n > 320)
		return true;
	if (facts_get(q, address, a, out)) {
		*out_found = true;
		return true;
	}
	if (!ask(q, &m, a, &r, err))
		return false;
	const struct msg_account_facts_result *f = &r.account_facts_result;
	if (f->code == 3)
		return err_set(err, ERR_TEMP, "account could not be looked up");
	*out_found = f->code == 1 && f->enabled;
	if (!*out_found)
		return true;
	*out = (struct account_facts){f->account_id, f->account, f->language, f->quota_bytes,
				      f->quota_messages};
	facts_put(q, generation, address, out);
	return true;
}

static void forget(struct queue_role *q)
{
	lookup_cache_forget(q->recipients);
	lookup_cache_forget(q->accounts);
}

/* ---- smtp ----------------------------------------------------------------------------------------- */

/* "smtp-1" */
static struct channel *channel_of(struct queue_role *q, struct str source)
{
	uint64_t index;

	if (!str_starts(source, STR("smtp-")) || !str_u64(str_from(source, 5), 1000, &index))
		return NULL;
	return role_channel(q->role, CHANNEL_ACCEPTED, ROLE_SMTP, (unsigned)index);
}

static void settled(void *ctx, struct str source, uint64_t seq)
{
	struct channel *ch = channel_of(ctx, source);
	struct message m = {.type = MSG_settled, .settled.seq = seq};

	if (ch)
		(void)channel_post(ch, &m); /* a smtp that is away hears the next one */
}

static void pressure(void *ctx, int level)
{
	struct queue_role *q = ctx;
	struct message m = {.type = MSG_pressure, .pressure.level = (uint32_t)level};

	for (struct peer *p = q->role->peers; p < q->role->peers + q->role->peers_n; p++)
		if (p->kind == CHANNEL_ACCEPTED)
			(void)channel_post(p->ch, &m);
}

static void tick(void *ctx)
{
	struct queue_role *q = ctx;

	queue_tick(q->queue);
	settle_announce(&q->settle, journal_watermark(queue_journal(q->queue)));
}

static void alarm_tick(void *ctx)
{
	struct queue_role *q = ctx;

	queue_alarm_tick(q->alarm, q->queue);
}

static void dkim_tick(void *ctx)
{
	struct queue_role *q = ctx;
	queue_dkim_tick(q->dkim);
}

static void checkpoint_due(void *ctx)
{
	struct queue_role *q = ctx;
	net_run(q->role->net, tick, q);
}

/* ---- the store's services -------------------------------------------------------------------------- */

static bool settle(void *ctx, struct str journal, uint64_t seq, struct err *err)
{
	struct queue_role *q = ctx;
	bool own = str_eq(journal, str_of(q->role->name));

	if ((own || journal.n == 0) && !queue_settle(q->queue, err))
		return false;
	return own || settle_ask(&q->settle, journal, seq, err);
}

static uint64_t watermark(void *ctx, struct str journal)
{
	struct queue_role *q = ctx;

	if (str_eq(journal, str_of(q->role->name)))
		return journal_watermark(queue_journal(q->queue));
	return settle_watermark(&q->settle, journal);
}

static void changed(void *ctx, struct str account_name, struct str mailbox)
{
	struct queue_role *q = ctx;
	settle_notice(q->role, account_name, mailbox);
}

static bool store_open(void *ctx, struct journal *j, struct store **out, struct err *err)
{
	struct queue_role *q = ctx;
	struct arena *a = q->role->arena;
	CONFIG_SCOPED c = role_config(q->role);
	struct store_options o = {
		.root_fd = q->mail_fd,
		.root_path = arena_cstr(a, str_of(config_path(c, SETTING_MAIL_DIR))),
		.template = arena_cstr(a, arena_cat(a, config_str(c, SETTING_MAIL_HOME), STR("/Maildir"))),
		.journal = j,
		.journal_name = q->role->name,
		.settle = settle,
		.watermark = watermark,
		.changed = changed,
		.ctx = q,
		.handles_max = (unsigned)config_int(c, SETTING_STORE_INDEX_HANDLES),
		.cold = q->role->cold,
	};

	if (!store_new(&o, &q->store, err))
		return false;
	*out = q->store;
	return true;
}

/* ---- messages --------------------------------------------------------------------------------------- */

struct settle_request {
	struct queue_role *queue;
	struct channel *ch;
	uint64_t id;
};

static void answer_settle(void *ctx)
{
	struct settle_request *s = ctx;
	struct message r = {.type = MSG_settle_done};
	struct err err = {0};

	if (!queue_settle(s->queue->queue, &err)) {
		log_err(LOG_ERROR, "queue.settle.failed", &err);
		r.settle_done.code = 1;
	}
	r.settle_done.watermark = journal_watermark(queue_journal(s->queue->queue));
	(void)channel_reply(s->ch, s->id, &r);
	free(s);
}

static void queue_on_message(void *ctx, struct channel *ch, uint64_t id, struct message *m)
{
	struct peer *p = ctx;
	struct queue_role *q = p->role->state;
	struct message done = {.type = MSG_invalidated};
	char name[32];

	if (m->type == MSG_accepted) {
		snprintf(name, sizeof(name), "smtp-%u", p->index);
		queue_accepted(q->queue, str_of(name), m->accepted.seq);
	} else if (m->type == MSG_invalidate) {
		forget(q);
		(void)channel_reply(ch, id, &done);
	} else if (m->type == MSG_watermark) {
		settle_note(&q->settle, p->other, p->index, m->watermark.seq);
	} else if (m->type == MSG_settle) {
		struct settle_request *s = mem_new(struct settle_request);
		*s = (struct settle_request){q, ch, id};
		net_run(q->role->net, answer_settle, s);
	}
}

static void queue_on_lost(void *ctx, struct channel *ch)
{
	struct peer *p = ctx;

	(void)ch;
	if (p->kind == CHANNEL_LOOKUP) /* what changes now is not told */
		forget(p->role->state);
}

/* A damaged table leaves the former one. */
static void take_dkim(struct queue_role *q, struct msg_role_dkim *m)
{
	BUF_SCOPED table = {0};
	struct err err = {0};
	int fd = m->table;

	m->table = -1;
	if ((fd >= 0 && !sealed_read(fd, DKIM_TABLE_MAX, &table, &err)) ||
	    !queue_dkim_load(q->dkim, buf_str(&table), &err))
		log_err(LOG_ERROR, "queue.dkim.table.failed", &err);
}

/* Suspects at the start only: what crashed this role is a matter of its next life. */
static void queue_on_master(struct role *r, struct message *m)
{
	struct queue_role *q = r->state;

	if (m->type == MSG_role_dkim)
		take_dkim(q, &m->role_dkim);
	if (m->type == MSG_server_facts)
		queue_alarm_restarts(q->alarm, m->server_facts.restarts_in_hour);
	if (m->type == MSG_role_certificates) {
		queue_alarm_certificates(q->alarm, m->role_certificates.pem);
		m->role_certificates.pem = -1;
	}
	if (m->type != MSG_role_suspect || q->queue)
		return;
	struct suspicion *s = arena_new_of(r->arena, struct suspicion);
	*s = (struct suspicion){q->suspicions, arena_str(r->arena, m->role_suspect.account),
				arena_str(r->arena, m->role_suspect.qid), m->role_suspect.crashes,
				m->role_suspect.since};
	q->suspicions = s;
}

/* ---- life ------------------------------------------------------------------------------------------- */

static void *queue_create(struct role *r)
{
	struct queue_role *q = mem_new(struct queue_role);

	q->role = r;
	lock_init(&q->ages_lock, LOCK_LEAF);
	settle_init(&q->settle, r);
	q->recipients = lookup_cache_new();
	q->accounts = lookup_cache_new();
	q->dkim = queue_dkim_new(r);
	q->alarm = queue_alarm_new(r);
	return q;
}

/* The journals of all smtp processes, also of those that ran before and run no more. */
static bool add_sources(struct queue_role *q, struct sandbox *s, const struct config *c, struct err *err)
{
	const char *parent = config_path(c, SETTING_JOURNAL_DIR);
	DIR *d = opendir(parent);
	struct dirent *e;
	bool good = d || err_sys(err, "open %s", parent);

	while (good && d && (e = readdir(d))) {
		uint64_t index;
		int fd;
		if (!str_starts(str_of(e->d_name), STR("smtp-")) ||
		    !str_u64(str_from(str_of(e->d_name), 5), 1000, &index))
			continue;
		const char *path = role_journal_path(q->role, ROLE_SMTP, (unsigned)index);
		good = role_open_dir(q->role, s, path, SANDBOX_READ, &fd, err) &&
		       queue_source_add(q->queue, arena_cstr(q->role->arena, str_of(e->d_name)), fd, err);
	}
	if (d)
		closedir(d);
	return good;
}

static bool read_shaping(const struct config *c, struct arena *a, struct str *out, struct err *err)
{
	BUF_SCOPED b = {0};
	const char *path = config_path(c, SETTING_SHAPING_FILE);

	*out = STR_NONE;
	if (!*path)
		return true;
	if (!file_read_whole(AT_FDCWD, path, 1 << 20, &b, err))
		return err_while(err, "reading %s", path);
	*out = arena_str(a, buf_str(&b));
	return true;
}

static bool queue_prepare(struct role *r, struct sandbox *s, struct err *err)
{
	struct queue_role *q = r->state;
	CONFIG_SCOPED c = role_config(r);
	struct arena *a = r->arena;

	/* Its threads inherit it. Where all want the cores, accepting and reading go first: what is accepted
	 * is safe, and a journal that fills holds accepting back. */
	errno = 0;
	if (nice(QUEUE_NICE) == -1 && errno)
		log_event(LOG_INFO, "queue.nice.fail", K_INT(errno, errno));
	lookup_cache_configured(q->recipients, c);
	lookup_cache_configured(q->accounts, c);
	if (!preload(PRELOAD_CHARSETS | PRELOAD_SQLITE, err) ||
	    !role_open_dir(r, s, config_path(c, SETTING_MAIL_DIR), SANDBOX_WRITE, &q->mail_fd, err) ||
	    !role_open_dir(r, s, config_path(c, SETTING_SPOOL_DIR), SANDBOX_WRITE, &q->spool_fd, err) ||
	    !role_open_dir(r, s, role_journal_path(r, ROLE_QUEUE, 0), SANDBOX_WRITE, &q->journal_fd, err))
		return false;
	struct queue_options o = {
		.journal = {
			.dirfd = q->journal_fd,
			.name = r->name,
			.segment_bytes = config_size(c, SETTING_JOURNAL_SEGMENT_SIZE),
			.numbers_by_clock = true,
			.segments_max = (unsigned)config_int(c, SETTING_JOURNAL_SEGMENTS),
		},
		.store_open = store_open,
		.spool_fd = q->spool_fd,
		.services = {q, resolve, account, settled, pressure, checkpoint_due},
		.hostname = arena_str(a, config_str(c, SETTING_HOSTNAME)),
		.postmaster = arena_fmt(a, "postmaster@%.*s", STR_ARG(config_str(c, SETTING_MYDOMAIN))),
		.over_quota_temp = config_enum(c, SETTING_STORE_OVER_QUOTA) == CONFIG_OVER_QUOTA_TEMP,
		.expire_s = config_duration_ms(c, SETTING_QUEUE_BOUNCE_AFTER) / 1000,
		.retry_s = (config_duration_ms(c, SETTING_QUEUE_RETRY_MIN) + 999) / 1000,
		.retry_max_s = config_duration_ms(c, SETTING_QUEUE_RETRY_MAX) / 1000,
		.default_tls = (enum relay_tls)config_enum(c, SETTING_RELAY_TLS),
		.explain = config_str(c, SETTING_EXPLAIN_FILE),
		.brake_recipients = (uint32_t)config_int(c, SETTING_QUEUE_BRAKE_RECIPIENTS),
		.max_messages = (uint64_t)config_int(c, SETTING_QUEUE_MAX_MESSAGES),
		.max_bytes = config_size(c, SETTING_QUEUE_MAX_BYTES),
		.source_address = config_str(c, SETTING_RELAY_SOURCE_ADDRESS),
		.cold = r->cold,
	};
	struct queue_route *routes;
	if (!relay_routes(c, a, &routes, &o.routes_n, err) || !read_shaping(c, a, &o.shaping, err))
		return false;
	o.routes = routes;
	if (config_bool(c, SETTING_RELAY_MTA_STS) && !sts_new(r, q->spool_fd, &q->sts, err))
		return false;
	if (config_bool(c, SETTING_RELAY_ENABLED))
		o.relay = relay_services_of(r, q->dkim, q->sts);
	queue_alarm_open(q->alarm, q->spool_fd, (const int[]){q->spool_fd, q->mail_fd, q->journal_fd}, 3);
	if (!queue_dkim_open(q->dkim, q->spool_fd, err) || !queue_open(&o, &q->queue, err))
		return false;
	for (const struct suspicion *p = q->suspicions; p; p = p->next)
		queue_suspect(q->queue, p->qid, p->account, p->crashes, p->since);
	return add_sources(q, s, c, err) && queue_recover(q->queue, err);
}

static void on_control(void *ctx, struct str request, struct buf *reply)
{
	struct queue_role *q = ctx;
	if (!queue_dkim_control(q->dkim, request, reply))
		queue_control(q->queue, request, reply);
}

static bool queue_role_start(struct role *r, struct err *err)
{
	struct queue_role *q = r->state;
	struct control control = {.fn = on_control, .ctx = q};

	CONFIG_SCOPED c = role_config(r);
	if (!queue_start(q->queue, err) ||
	    !store_scan(q->store, config_duration_ms(c, SETTING_STORE_SCAN_TIME), err))
		return false;
	net_timer(r->net, TICK_MS, tick, q);
	net_timer(r->net, DKIM_TICK_MS, dkim_tick, q);
	net_timer(r->net, ALARM_TICK_MS, alarm_tick, q);
	return control_listen(r, &control, err);
}

static bool queue_drained(struct role *r)
{
	(void)r; /* queue_stop finishes what is being placed */
	return true;
}

static void queue_role_stop(struct role *r)
{
	struct queue_role *q = r->state;

	queue_stop(q->queue);
}

static void queue_configured(struct role *r)
{
	forget(r->state);
}

static void write_ages(struct queue_role *q, struct json_writer *w)
{
	enum { KEPT_MS = 10000 };
	int64_t now = clock_mono_ms();

	lock_take(&q->ages_lock);
	bool old = !q->ages_ms || now - q->ages_ms > KEPT_MS;
	if (old)
		q->ages_ms = now;
	struct queue_ages ages = q->ages;
	lock_drop(&q->ages_lock);
	if (old) {
		queue_ages(q->queue, &ages);
		LOCK_SCOPED(&q->ages_lock);
		q->ages = ages;
	}
	json_write_member_int(w, "held", (int64_t)ages.held);
	json_write_member_int(w, "oldest_s", ages.oldest_s ? clock_wall_s() - (int64_t)ages.oldest_s : 0);
	json_write_member_int(w, "disk_free_bytes", (int64_t)ages.disk_free);
}

static void queue_status(struct role *r, struct json_writer *w)
{
	struct queue_role *q = r->state;
	struct journal *j = queue_journal(q->queue);
	struct queue_counts n;

	queue_counts(q->queue, &n);
	json_write_member_int(w, "waiting", (int64_t)n.waiting);
	json_write_member_int(w, "waiting_bytes", (int64_t)n.waiting_bytes);
	json_write_member_int(w, "deferred", (int64_t)n.deferred);
	json_write_member_int(w, "planned", (int64_t)n.planned);
	json_write_member_int(w, "placed", (int64_t)n.placed);
	json_write_member_int(w, "bounced", (int64_t)n.bounced);
	json_write_member_int(w, "relayed", (int64_t)n.relayed);
	write_ages(q, w);
	queue_alarm_status(q->alarm, w);
	role_journal_status(j, w);
}

const struct role_form role_form_queue = {
	.calls = SANDBOX_FILES | SANDBOX_WATCH | SANDBOX_CONNECTED,
	.net = true,
	.create = queue_create,
	.prepare = queue_prepare,
	.start = queue_role_start,
	.on_master = queue_on_master,
	.on_message = queue_on_message,
	.on_lost = queue_on_lost,
	.configured = queue_configured,
	.drained = queue_drained,
	.stop = queue_role_stop,
	.status = queue_status,
};
