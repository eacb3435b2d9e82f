/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * A table of rows is immutable and counted; what the DNS says about a key (struct sight) outlives it,
 * so that a reload forgets nothing. spool/dkim has a line per key that the DNS has answered with:
 * "DOMAIN SELECTOR ID TIME": after a restart signing goes on whatever the DNS does.
 */
#include "proc/queue_dkim.h"
#include "auth/ticket.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/file.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/scan.h"
#include "crypto/key.h"
#include "dns/resolver.h"
#include "mail/header.h"
#include "mime/address_list.h"
#include "net/net.h"
#include "proc/role_int.h"
#include "sender_auth/arc/arc.h"
#include "sender_auth/dkim/keyring.h"
#include "sender_auth/dkim/record.h"
#include "sender_auth/dkim/sign.h"
#include <arpa/inet.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
	DNS_WAIT_MS = 30000, SIGN_WAIT_MS = 30000,
	SLOWER = 60,          /* keys that are there are looked for so much more seldom */
	ASKED_AT_ONCE = 50,
	STATE_MAX = 4 << 20,
	CHUNK = 64 * 1024,
	INLINE_MAX = 49152,   /* as dkim_sign in messages.def */
	UNKNOWN_TRIES = 20, UNKNOWN_PAUSE_MS = 100, /* keys may get a new table a moment later than we */
	SIGNERS_MAX = 2,
	REQUEST_MAX = 4 << 20,
	MADE_MAX = 64,
};

#define MADE_US (30 * 1000000LL) /* made fields serve so long */
#define CHECKED_US (60 * 1000000LL) /* after pabal dkim check has seen a key: until our cache is over it */

enum sight_state { SIGHT_NEVER, SIGHT_TEMP, SIGHT_MISSING, SIGHT_ANSWERED };
struct sight { /* what the DNS says about one key; guarded by lock */
	bool seen;                /* it has been there */
	int64_t seen_unix, asked_unix, due_us;
	enum sight_state state;
	enum dkim_record_match match; /* ANSWERED */
	uint32_t ttl;
	bool asking;
};
struct row {
	struct row *next; /* of the same domain */
	struct dkim_row r;
	struct sight *sight;
};
struct table {
	atomic_uint refs;
	uint64_t generation;
	struct arena *arena;
	struct map *by_domain; /* the domain's first row */
	struct row *rows;
	size_t n;
};
/* The fields made for a message that goes to several destinations: one signature serves them all. */
struct made {
	struct id id;
	uint64_t size;
	uint32_t crc; /* of the content in memory */
	uint64_t generation; /* of the table */
	enum { MADE_NONE, MADE_SOON, MADE } state;
	int64_t since_us;
	struct buf fields;
};
struct queue_dkim {
	struct role *role;
	int spool_fd;
	struct lock lock;
	/* guarded by lock */
	struct table *table;
	struct map *sights; /* "DOMAIN SELECTOR ID" */
	bool changed;       /* spool/dkim is old */
	unsigned asking;
	struct made made[MADE_MAX];
	size_t made_next;
	struct cond made_ready;
	uint64_t signed_n, failed, left; /* messages */
};

struct queue_dkim *queue_dkim_new(struct role *r)
{
	struct queue_dkim *d = mem_new(struct queue_dkim);

	d->role = r;
	d->spool_fd = -1;
	d->sights = map_new();
	lock_init(&d->lock, LOCK_PROC);
	cond_init(&d->made_ready);
	return d;
}

/* ---- the table ------------------------------------------------------------------------------------ */

static void table_unref(struct table *t)
{
	if (!t || atomic_fetch_sub(&t->refs, 1) > 1)
		return;
	map_free(t->by_domain);
	arena_free(t->arena);
	free(t);
}

static struct table *table_ref(struct queue_dkim *d)
{
	LOCK_SCOPED(&d->lock);
	if (d->table)
		atomic_fetch_add(&d->table->refs, 1);
	return d->table;
}

static void table_unref_p(struct table **t)
{
	table_unref(*t);
}
#define TABLE_SCOPED __attribute__((cleanup(table_unref_p))) struct table *

static void put_name(struct buf *out, struct str domain, struct str selector, struct str id)
{
	buf_fmt(out, "%.*s %.*s ", STR_ARG(domain), STR_ARG(selector));
	for (size_t i = 0; i < id.n; i++)
		buf_fmt(out, "%02x", (unsigned char)id.p[i]);
}

/* With the lock. */
static struct sight *sight_of(struct queue_dkim *d, struct str name)
{
	struct sight *s = map_get(d->sights, name);
	if (!s) {
		s = mem_new(struct sight);
		map_put(d->sights, name, s);
	}
	return s;
}

static bool read_rows(struct queue_dkim *d, struct table *t, struct str text, struct err *err)
{
	struct scan s = scan_of(text);
	struct dkim_row r;
	size_t cap = 0;

	while (dkim_row_decode(&s, &r)) {
		BUF_SCOPED name = {0};
		t->rows = arena_grow(t->arena, t->rows, t->n, &cap, sizeof(*t->rows));
		put_name(&name, r.domain, r.selector, r.id);
		lock_take(&d->lock);
		t->rows[t->n++] = (struct row){.r = r, .sight = sight_of(d, buf_str(&name))};
		lock_drop(&d->lock);
	}
	for (size_t i = t->n; i-- > 0;) {
		struct row *w = &t->rows[i];
		w->next = map_put(t->by_domain, w->r.domain, w);
	}
	return scan_end(&s) || err_set(err, ERR_CORRUPT, "the table of DKIM keys is damaged");
}

bool queue_dkim_load(struct queue_dkim *d, struct str text, struct err *err)
{
	struct table *t = mem_new(struct table);

	atomic_init(&t->refs, 1);
	t->arena = arena_new();
	t->by_domain = map_new();
	if (!read_rows(d, t, arena_str(t->arena, text), err)) {
		table_unref(t);
		return false;
	}
	lock_take(&d->lock);
	struct table *old = d->table;
	t->generation = old ? old->generation + 1 : 1;
	d->table = t;
	lock_drop(&d->lock);
	table_unref(old);
	return true;
}

/* ---- spool/dkim ------------------------------------------------------------------------------------ */

bool queue_dkim_open(struct queue_dkim *d, int spool_fd, struct err *err)
{
	BUF_SCOPED text = {0};

	d->spool_fd = spool_fd;
	if (!file_read_whole(spool_fd, "dkim", STATE_MAX, &text, err)) {
		if (err->kind != ERR_NOT_FOUND)
			return false;
		err_clear(err);
		return true;
	}
	LOCK_SCOPED(&d->lock);
	for (struct str rest = buf_str(&text); rest.p;) {
		struct str line = str_cut(&rest, '\n');
		size_t at = str_find_last_byte(line, ' ');
		uint64_t when;
		if (at == STR_NPOS || !str_u64(str_from(line, at + 1), INT64_MAX, &when))
			continue;
		struct sight *s = sight_of(d, str_sub(line, 0, at));
		s->seen = true;
		s->seen_unix = (int64_t)when;
	}
	return true;
}

static void save(struct queue_dkim *d)
{
	BUF_SCOPED text = {0};
	struct map_iter it = {0};
	struct err err = {0};

	lock_take(&d->lock);
	bool due = d->changed;
	d->changed = false;
	while (due && map_next(d->sights, &it)) {
		const struct sight *s = it.value;
		if (s->seen)
			buf_fmt(&text, "%.*s %lld\n", STR_ARG(it.key), (long long)s->seen_unix);
	}
	lock_drop(&d->lock);
	if (due && !file_replace_whole(d->spool_fd, "dkim", buf_str(&text), 0600, &err))
		log_err(LOG_ERROR, "queue.dkim.state.failed", &err);
}

/* ---- what the DNS says ------------------------------------------------------------------------------ */

struct asked {
	struct queue_dkim *dkim;
	struct table *table;
	struct row *row;
	int64_t interval_us;
};

/* The best of what stands there: others' TXT records may be beside it. False: none, or damage. */
static bool best_match(const struct row *w, struct str records, enum dkim_record_match *out)
{
	ARENA_SCOPED a = arena_new();
	struct scan s = scan_of(records);
	struct str data, name;
	bool any = false;

	while (scan_skip(&s, 10) && scan_le_str(&s, 65535, &data) && scan_le_str(&s, 255, &name)) {
		enum dkim_record_match m =
			dkim_record_compare_public(a, data, w->r.algorithm, w->r.der);
		if (!any || m < *out)
			*out = m;
		any = true;
	}
	return any;
}

static bool is_gone(const struct sight *s)
{
	return s->state == SIGHT_MISSING || (s->state == SIGHT_ANSWERED && s->match != DKIM_RECORD_SAME);
}

/* With the lock. Says what changed: signing begins, or what was there is gone. */
static void learnt(struct queue_dkim *d, struct row *w, bool match)
{
	struct sight *s = w->sight;

	if (match && !s->seen)
		log_event(LOG_INFO, "queue.dkim.seen", K_STR(domain, w->r.domain),
			  K_STR(selector, w->r.selector));
	if (match) {
		d->changed |= !s->seen;
		s->seen = true;
		s->seen_unix = clock_wall_s();
	} else if (s->seen && !is_gone(s)) {
		log_event(LOG_ERROR, "queue.dkim.lost", K_STR(domain, w->r.domain),
			  K_STR(selector, w->r.selector),
			  K_CSTR(why, "the DNS has no longer the key that mail is signed with"));
	}
}

static void on_txt(void *ctx, struct message *reply, const struct err *err)
{
	struct asked *q = ctx;
	struct queue_dkim *d = q->dkim;
	struct sight *s = q->row->sight;
	enum dkim_record_match m = DKIM_RECORD_MALFORMED;
	bool known = reply && reply->type == MSG_dns_reply &&
		     !dns_is_error((enum dns_status)reply->dns_reply.status);
	bool any = known && best_match(q->row, reply->dns_reply.records, &m);
	bool match = any && m == DKIM_RECORD_SAME;

	(void)err;
	lock_take(&d->lock);
	if (known)
		learnt(d, q->row, match);
	s->state = !known ? SIGHT_TEMP : any ? SIGHT_ANSWERED : SIGHT_MISSING;
	s->match = m;
	s->ttl = reply && known ? reply->dns_reply.ttl : 0;
	s->asked_unix = clock_wall_s();
	s->due_us = clock_mono_us() + q->interval_us * (match ? SLOWER : 1);
	s->asking = false;
	d->asking--;
	lock_drop(&d->lock);
	table_unref(q->table);
	free(q);
}

static void ask(struct queue_dkim *d, struct table *t, struct row *w, int64_t interval_us)
{
	ARENA_SCOPED a = arena_new();
	struct channel *ch = role_channel(d->role, CHANNEL_DNS, ROLE_DNS, 0);
	struct message m = {.type = MSG_dns_query};
	struct asked *q = mem_new(struct asked);
	struct err err = {0};

	atomic_fetch_add(&t->refs, 1);
	*q = (struct asked){d, t, w, interval_us};
	m.dns_query.name = arena_fmt(a, "%.*s._domainkey.%.*s", STR_ARG(w->r.selector), STR_ARG(w->r.domain));
	m.dns_query.type = DNS_TXT;
	if (m.dns_query.name.n > 255 || !ch || !channel_call_async(ch, &m, DNS_WAIT_MS, on_txt, q, &err))
		on_txt(q, NULL, &err);
}

void queue_dkim_tick(struct queue_dkim *d)
{
	CONFIG_SCOPED c = role_config(d->role);
	TABLE_SCOPED t = table_ref(d);
	int64_t interval_us = config_duration_ms(c, SETTING_DKIM_CHECK_INTERVAL) * 1000;

	save(d);
	if (!role_channel(d->role, CHANNEL_DNS, ROLE_DNS, 0)) /* nothing that needs dns is configured */
		return;
	for (size_t i = 0; t && i < t->n; i++) {
		struct sight *s = t->rows[i].sight;
		lock_take(&d->lock);
		bool due = !s->asking && clock_mono_us() >= s->due_us && d->asking < ASKED_AT_ONCE;
		s->asking |= due;
		d->asking += due;
		lock_drop(&d->lock);
		if (due)
			ask(d, t, &t->rows[i], interval_us);
	}
}

/* ---- which keys -------------------------------------------------------------------------------------- */

static bool usable(const struct row *w, bool wait_for_dns)
{
	return w->r.use == DKIM_USE_ALWAYS ||
	       (w->r.use == DKIM_USE_AUTO && (w->sight->seen || !wait_for_dns));
}

/* One that is known not to be there any more comes after one that is. */
static bool better(const struct row *a, const struct row *b)
{
	if (is_gone(a->sight) != is_gone(b->sight))
		return is_gone(b->sight);
	return a->r.created_unix > b->r.created_unix;
}

/* The key of each algorithm, RSA first: every verifier knows it. */
static size_t choose(struct queue_dkim *d, const struct config *c, const struct table *t, struct str domain,
		     const struct row *out[SIGNERS_MAX])
{
	bool wait = config_bool(c, SETTING_DKIM_WAIT_FOR_DNS);
	const struct row *best[SIGNERS_MAX] = {NULL, NULL};
	size_t n = 0;

	LOCK_SCOPED(&d->lock);
	for (const struct row *w = map_get(t->by_domain, domain); w; w = w->next) {
		const struct row **b = &best[w->r.algorithm == DKIM_RSA_SHA256 ? 0 : 1];
		if (usable(w, wait) && (!*b || better(w, *b)))
			*b = w;
	}
	for (size_t i = 0; i < SIGNERS_MAX; i++)
		if (best[i])
			out[n++] = best[i];
	return n;
}

/* ---- the message --------------------------------------------------------------------------------------- */

struct signing {
	struct queue_dkim *dkim;
	const struct dkim_letter *letter;
	const struct config *config;
	struct arena *arena;
	struct buf head; /* the header and what was read with it, when the side file has it */
	struct str top;  /* as much of the message as is in memory */
	uint64_t side_at; /* of the side file, that is in top */
	struct str header;
	struct str author; /* domain of the first author, canonical; empty: not to be read */
	struct str domain; /* d= */
	bool ticket;       /* it is shown to keys */
};

/* The header, whole, in memory; of most messages it is already. */
static bool read_header(struct signing *s, struct err *err)
{
	const struct dkim_letter *m = s->letter;

	s->top = m->content;
	size_t n = header_length(s->top);
	while (n == s->top.n && m->side_fd >= 0 && s->side_at < m->side_bytes) {
		if (!s->head.p)
			buf_add(&s->head, m->content);
		uint64_t left = m->side_bytes - s->side_at;
		size_t some = left < CHUNK ? (size_t)left : CHUNK;
		char *room = buf_room(&s->head, some);
		if (!file_pread_all(m->side_fd, room, some, (off_t)s->side_at, err))
			return false;
		s->head.n += some;
		s->side_at += some;
		s->top = buf_str(&s->head);
		n = header_length(s->top);
		if (n == s->top.n && n > DKIM_HEADER_MAX)
			return err_set(err, ERR_LIMIT, "the header is longer than %d octets",
				       DKIM_HEADER_MAX);
	}
	s->header = str_sub(s->top, 0, n);
	return true;
}

static void read_author(struct signing *s)
{
	struct header_field f;
	struct address_list list;
	struct err ignored;

	if (!header_find(s->header, STR("From"), &f))
		return;
	address_list_parse(s->arena, f.body, &list);
	for (size_t i = 0; i < list.n; i++)
		if (list.at[i].kind == ADDRESS_ITEM_MAILBOX && list.at[i].domain.p) {
			if (!domain_canonical(s->arena, list.at[i].domain, &s->author, &ignored))
				s->author = STR_NONE;
			return;
		}
}

static bool from_networks(const struct signing *s)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	const struct networks *set = config_networks(s->config, SETTING_DKIM_SIGN_NETWORKS);
	/* pabal sendmail: a program of this host */
	struct str peer = s->letter->origin == ENVELOPE_LOCAL ? STR("127.0.0.1") : s->letter->peer;
	const char *text = arena_cstr(s->arena, peer);

	if ((s->letter->origin != ENVELOPE_MX && s->letter->origin != ENVELOPE_LOCAL) || !text)
		return false;
	if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
		return networks_match(set, (const struct sockaddr *)&v4);
	return inet_pton(AF_INET6, text, &v6.sin6_addr) == 1 &&
	       networks_match(set, (const struct sockaddr *)&v6);
}

static bool has_keys(const struct table *t, struct str domain)
{
	return domain.n && map_get(t->by_domain, domain);
}

/* A notice has MAILER-DAEMON at this host as its author: this host's key, else its domain's. */
static bool find_own_domain(struct signing *s, const struct table *t)
{
	struct header_field f;
	struct str names[] = {config_str(s->config, SETTING_HOSTNAME),
			      config_str(s->config, SETTING_MYDOMAIN)};

	/* keys signs no other one without a ticket: it would wait for ever */
	if (!str_eq_nocase(s->author, names[0]) || !header_find(s->header, STR("From"), &f) ||
	    str_find_nocase(f.body, STR("<MAILER-DAEMON@")) == STR_NPOS)
		return false;
	for (size_t i = 0; i < 2; i++) {
		struct str name = arena_lower(s->arena, names[i]);
		if (has_keys(t, name)) {
			s->domain = name;
			return true;
		}
	}
	return false;
}

/* Whose domain signs; false: it is not ours to sign, and why where somebody may wonder. */
static bool find_domain(struct signing *s, const struct table *t, const char **why)
{
	struct ticket k;
	struct str mac;

	*why = NULL;
	if (s->letter->own_notice)
		return find_own_domain(s, t);
	if (!has_keys(t, s->author))
		return false;
	s->domain = s->author;
	s->ticket = ticket_unpack(s->letter->ticket, &k, &mac) && str_eq(k.domain, s->author);
	if (s->ticket || from_networks(s))
		return true;
	if (s->letter->account.n)
		*why = "the login is not for the author's domain";
	else
		*why = "it came without a login";
	return false;
}

static bool signed_already(const struct signing *s)
{
	struct scan scan = scan_of(s->header);
	struct header_field f;

	while (header_next(&scan, &f)) {
		struct str rest = f.body;
		if (!str_eq_nocase(f.name, STR("DKIM-Signature")))
			continue;
		while (rest.p) {
			struct str tag = str_trim(str_cut(&rest, ';'));
			struct str value = tag, name = str_trim(str_cut(&value, '='));
			if (str_eq(name, STR("d")) && value.p && str_eq_nocase(str_trim(value), s->domain))
				return true;
		}
	}
	return false;
}

/* ---- a signature --------------------------------------------------------------------------------- */

struct signer_context {
	struct signing *signing;
	const struct row *row;
};

static bool call_keys(struct signing *s, const struct row *w, struct str text, struct buf *sig,
		      struct err *err)
{
	struct role *role = s->dkim->role;
	struct message m = {.type = MSG_dkim_sign}, r;
	struct str account = s->ticket ? s->letter->account : STR_NONE;
	struct str ticket = s->ticket ? s->letter->ticket : STR_NONE;
	FD_SCOPED long_text = -1;

	if (text.n <= INLINE_MAX) {
		m.dkim_sign = (struct msg_dkim_sign){w->r.id, account, ticket, text};
	} else {
		long_text = sealed_make("header", text);
		if (long_text < 0)
			return err_sys(err, "memfd_create");
		m.type = MSG_dkim_sign_long;
		m.dkim_sign_long = (struct msg_dkim_sign_long){w->r.id, account, ticket, long_text};
	}
	net_block_begin(role->net);
	bool good = channel_call(role_channel(role, CHANNEL_DKIM, ROLE_KEYS, 0), &m, SIGN_WAIT_MS,
				 s->arena, &r, err);
	net_block_end(role->net);
	if (!good)
		return false;
	if (r.dkim_signature.code)
		return err_set(err, r.dkim_signature.code <= ERR_GONE ? (enum err_kind)r.dkim_signature.code
								      : ERR_TEMP,
			       "%.*s", STR_ARG(r.dkim_signature.why));
	buf_add(sig, r.dkim_signature.signature);
	return true;
}

static bool sign_in_keys(void *context, enum dkim_algorithm algorithm, struct str text, struct buf *sig,
			 struct err *err)
{
	struct signer_context *x = context;

	(void)algorithm;
	for (int i = 0;; i++) {
		if (call_keys(x->signing, x->row, text, sig, err))
			return true;
		if (err->kind != ERR_NOT_FOUND || i == UNKNOWN_TRIES)
			return false;
		err_clear(err);
		net_block_begin(x->signing->dkim->role->net);
		(void)poll(NULL, 0, UNKNOWN_PAUSE_MS);
		net_block_end(x->signing->dkim->role->net);
	}
}

/* "from": the author's address, where it fits d=. */
static struct str identity_of(struct signing *s, const struct row *w)
{
	struct header_field f;
	struct address_list list;
	struct address *v;

	if (!str_eq(w->r.identity, STR("from")))
		return w->r.identity;
	if (!header_find(s->header, STR("From"), &f))
		return STR_NONE;
	address_list_parse(s->arena, f.body, &list);
	if (address_list_mailboxes(s->arena, &list, &v) == 0 || !str_is_ascii(v[0].local))
		return STR_NONE;
	return str_eq_nocase(v[0].domain, s->domain)
		       ? arena_fmt(s->arena, "%.*s@%.*s", STR_ARG(v[0].local), STR_ARG(s->domain))
		       : STR_NONE;
}

static bool each_chunk(struct signing *s, void (*add)(void *to, struct str chunk), void *to, struct err *err)
{
	const struct dkim_letter *m = s->letter;
	char *chunk = mem_alloc(CHUNK);
	bool good = true;

	add(to, str_from(s->top, s->header.n));
	for (uint64_t at = s->side_at; good && m->side_fd >= 0 && at < m->side_bytes;) {
		size_t some = m->side_bytes - at < CHUNK ? (size_t)(m->side_bytes - at) : CHUNK;
		good = file_pread_all(m->side_fd, chunk, some, (off_t)at, err);
		if (good)
			add(to, (struct str){chunk, some});
		at += some;
	}
	free(chunk);
	return good;
}

static void add_to_signature(void *to, struct str chunk)
{
	dkim_sign_body(to, chunk);
}

static void add_to_seal(void *to, struct str chunk)
{
	arc_seal_body(to, chunk);
}

static bool sign_with(struct signing *s, const struct row *const rows[], size_t n, struct buf *fields,
		      struct err *err)
{
	struct dkim_signer signers[SIGNERS_MAX];
	struct signer_context contexts[SIGNERS_MAX];
	int64_t expire_s = config_duration_ms(s->config, SETTING_DKIM_EXPIRE) / 1000;

	for (size_t i = 0; i < n; i++) {
		contexts[i] = (struct signer_context){s, rows[i]};
		signers[i] = (struct dkim_signer){
			.domain = s->domain,
			.selector = rows[i]->r.selector,
			.identity = identity_of(s, rows[i]),
			.algorithm = rows[i]->r.algorithm,
			.header_canon = DKIM_RELAXED,
			.body_canon = DKIM_RELAXED,
			.headers = config_str(s->config, SETTING_DKIM_HEADERS),
			.oversign = config_str(s->config, SETTING_DKIM_OVERSIGN),
			.time = clock_wall_s(),
			.lifetime_s = expire_s,
			.sign = sign_in_keys,
			.context = &contexts[i],
		};
	}
	struct dkim_sign *sign = dkim_sign_new(s->arena, signers, n);
	bool good = each_chunk(s, add_to_signature, sign, err) && dkim_sign_end(sign, s->header, fields, err);
	dkim_sign_free(sign);
	return good;
}

/* ---- a seal on what is handed on (RFC 8617) ------------------------------------------------------------ */

/* Mail of strangers, with what was found out about it on top. */
static bool is_forwarded(const struct signing *s)
{
	return !s->letter->own_notice && s->letter->origin == ENVELOPE_MX && !s->letter->account.n &&
	       header_find(s->header, STR("Authentication-Results"),
			   &(struct header_field){.name = STR_NONE});
}

static bool seal(struct signing *s, const struct table *t, struct buf *fields, struct err *err)
{
	struct str id = config_str(s->config, SETTING_SENDER_AUTH_ID);
	const struct row *rows[SIGNERS_MAX];
	enum arc_status status;

	s->domain = arena_lower(s->arena, config_str(s->config, SETTING_DKIM_SEAL_DOMAIN));
	if (choose(s->dkim, s->config, t, s->domain, rows) == 0)
		return true;
	struct signer_context context = {s, rows[0]};
	struct arc_signer signer = {
		.domain = s->domain,
		.selector = rows[0]->r.selector,
		.authserv_id = id.n ? id : config_str(s->config, SETTING_HOSTNAME),
		.algorithm = rows[0]->r.algorithm,
		.time = clock_wall_s(),
		.sign = sign_in_keys,
		.context = &context,
	};
	if (!arc_status_recorded(s->arena, s->header, signer.authserv_id, &status))
		status = ARC_NONE;
	struct arc_seal *x = arc_seal_new(s->arena, &signer);
	bool good = each_chunk(s, add_to_seal, x, err) && arc_seal_end(x, s->header, status, fields, err);
	arc_seal_free(x);
	return good;
}

static void count(struct queue_dkim *d, uint64_t *what)
{
	LOCK_SCOPED(&d->lock);
	++*what;
}

static bool unsigned_because(struct signing *s, const char *why)
{
	count(s->dkim, &s->dkim->left);
	log_event(LOG_INFO, "queue.dkim.unsigned", K_STR(qid, id_str(&s->letter->id)),
		  K_STR(domain, s->author), K_CSTR(why, why));
	return true;
}

static bool sign_letter(struct signing *s, const struct table *t, struct buf *fields, struct err *err)
{
	const struct row *rows[SIGNERS_MAX];
	const char *why;

	if (!read_header(s, err))
		return false;
	read_author(s);
	if (!find_domain(s, t, &why)) {
		if (config_str(s->config, SETTING_DKIM_SEAL_DOMAIN).n && is_forwarded(s))
			return seal(s, t, fields, err);
		return why ? unsigned_because(s, why) : true;
	}
	size_t n = choose(s->dkim, s->config, t, s->domain, rows);
	if (n == 0)
		return unsigned_because(s, "the DNS does not have the key yet");
	if (config_enum(s->config, SETTING_DKIM_SIGNED_MAIL) == CONFIG_SIGNED_LEAVE && signed_already(s))
		return unsigned_because(s, "it has a signature of its domain already");
	if (!sign_with(s, rows, n, fields, err))
		return false;
	count(s->dkim, &s->dkim->signed_n);
	log_event(LOG_DEBUG, "queue.dkim.signed", K_STR(qid, id_str(&s->letter->id)),
		  K_STR(domain, s->domain), K_STR(selector, rows[0]->r.selector));
	return true;
}

/* ---- one signature for all destinations ------------------------------------------------------------ */

static bool is_same(const struct made *m, const struct made *key)
{
	return m->state != MADE_NONE && memcmp(&m->id, &key->id, sizeof(m->id)) == 0 &&
	       m->size == key->size && m->crc == key->crc && m->generation == key->generation &&
	       key->since_us - m->since_us < MADE_US;
}

/* With the lock. What there is of the same message; a place of its own, marked, where there is nothing; NULL
 * when all places are in use. */
static struct made *find_made(struct queue_dkim *d, const struct made *key, bool *mine)
{
	*mine = false;
	for (size_t i = 0; i < MADE_MAX; i++)
		if (is_same(&d->made[i], key))
			return &d->made[i];
	for (size_t i = 0; i < MADE_MAX; i++) {
		struct made *m = &d->made[d->made_next];
		d->made_next = (d->made_next + 1) % MADE_MAX;
		if (m->state == MADE_SOON)
			continue;
		buf_free(&m->fields);
		*m = *key;
		m->state = MADE_SOON;
		*mine = true;
		return m;
	}
	return NULL;
}

/* True: there are fields, appended. Else *mine is a place to tell the outcome to, or NULL. */
static bool take_made(struct queue_dkim *d, const struct made *key, struct buf *fields, struct made **mine)
{
	bool is_mine;

	*mine = NULL;
	LOCK_SCOPED(&d->lock);
	for (;;) {
		struct made *m = find_made(d, key, &is_mine);
		if (!m)
			return false;
		if (is_mine) {
			*mine = m;
			return false;
		}
		if (m->state == MADE) {
			buf_add(fields, buf_str(&m->fields));
			return true;
		}
		net_block_begin(d->role->net);
		cond_wait(&d->made_ready, &d->lock); /* whoever is at it has a time limit */
		net_block_end(d->role->net);
	}
}

static void tell_made(struct queue_dkim *d, struct made *m, bool good, struct str fields)
{
	if (!m)
		return;
	LOCK_SCOPED(&d->lock);
	m->state = good ? MADE : MADE_NONE;
	if (good)
		buf_add(&m->fields, fields);
	cond_broadcast(&d->made_ready);
}

bool queue_dkim_concerns(struct queue_dkim *d, const struct dkim_letter *m)
{
	LOCK_SCOPED(&d->lock);
	return d->table && d->table->n && (m->own_notice || m->ticket.n || m->origin == ENVELOPE_MX ||
					  m->origin == ENVELOPE_LOCAL);
}

bool queue_dkim_sign(struct queue_dkim *d, const struct dkim_letter *m, struct buf *fields, struct err *err)
{
	ARENA_SCOPED a = arena_new();
	CONFIG_SCOPED c = role_config(d->role);
	TABLE_SCOPED t = table_ref(d);
	struct signing s = {.dkim = d, .letter = m, .config = c, .arena = a};
	struct made key = {.id = m->id, .size = m->content.n + m->side_bytes,
			   .generation = t ? t->generation : 0,
			   .crc = crc32c(0, m->content.p, m->content.n), .since_us = clock_mono_us()};
	struct made *made;

	if (!t || take_made(d, &key, fields, &made))
		return true;
	bool good = sign_letter(&s, t, fields, err);
	tell_made(d, made, good, buf_str(fields));
	buf_free(&s.head);
	if (!good) {
		count(d, &d->failed);
		log_event(LOG_ERROR, "queue.dkim.failed", K_STR(qid, id_str(&m->id)), K_STR(domain, s.domain),
			  K_CSTR(why, err->cause[0] ? err->cause : err->text));
	}
	return good;
}

/* ---- what people see ------------------------------------------------------------------------------ */

static const char *sight_name(const struct sight *s)
{
	switch (s->state) {
	case SIGHT_NEVER: return "unchecked";
	case SIGHT_TEMP: return "unknown";
	case SIGHT_MISSING: return "missing";
	case SIGHT_ANSWERED: return dkim_record_match_name(s->match);
	}
	return "unknown";
}

static bool signs(const struct row *const rows[], size_t n, const struct row *w)
{
	for (size_t i = 0; i < n; i++)
		if (rows[i] == w)
			return true;
	return false;
}

static void put_row(struct queue_dkim *d, const struct config *c, const struct table *t, const struct row *w,
		    struct json_writer *j)
{
	const struct row *rows[SIGNERS_MAX];
	bool used = signs(rows, choose(d, c, t, w->r.domain, rows), w);

	LOCK_SCOPED(&d->lock);
	json_write_object_begin(j);
	json_write_member_str(j, "domain", w->r.domain);
	json_write_member_str(j, "selector", w->r.selector);
	json_write_member_cstr(j, "dns", sight_name(w->sight));
	json_write_member_bool(j, "signs", used);
	json_write_member_bool(j, "seen", w->sight->seen);
	json_write_member_int(j, "checked", w->sight->asked_unix);
	json_write_member_int(j, "ttl", w->sight->ttl);
	json_write_object_end(j);
}

static bool listed(const struct json_value *seen, const struct row *w)
{
	for (size_t i = 0; i < json_value_count(seen); i++) {
		const struct json_value *v = json_value_item(seen, i);
		if (str_eq(json_value_str_or(json_value_member(v, "domain"), STR_NONE), w->r.domain) &&
		    str_eq(json_value_str_or(json_value_member(v, "selector"), STR_NONE), w->r.selector))
			return true;
	}
	return false;
}

/* From `pabal dkim check`, which has asked the DNS itself, past our cache: what it has seen is there, the
 * rest is asked for again. */
static void take_check(struct queue_dkim *d, const struct table *t, const struct json_value *seen)
{
	LOCK_SCOPED(&d->lock);
	for (size_t i = 0; t && i < t->n; i++) {
		struct row *w = &t->rows[i];
		w->sight->due_us = 0;
		if (!listed(seen, w))
			continue;
		learnt(d, w, true);
		w->sight->state = SIGHT_ANSWERED;
		w->sight->match = DKIM_RECORD_SAME;
		w->sight->asked_unix = clock_wall_s();
		w->sight->due_us = clock_mono_us() + CHECKED_US;
	}
}

bool queue_dkim_control(struct queue_dkim *d, struct str request, struct buf *reply)
{
	CONFIG_SCOPED c = role_config(d->role);
	TABLE_SCOPED t = table_ref(d);
	JSON_DOC_SCOPED doc = NULL;
	struct json_writer w;
	struct err ignored;

	if (str_find(request, STR("\"dkim.")) == STR_NPOS ||
	    !json_doc_parse(request, REQUEST_MAX, &doc, &ignored))
		return false;
	struct str verb = json_value_str_or(json_value_member(json_doc_root(doc), "verb"), STR_NONE);
	bool check = str_eq(verb, STR("dkim.check"));
	if (!check && !str_eq(verb, STR("dkim.status"))) {
		/* dkim.import and so on: the files are the caller's to change, the audit log has it now */
		buf_add(reply, STR("{\"ok\":true}"));
		return true;
	}
	if (check)
		take_check(d, t, json_value_member(json_doc_root(doc), "seen"));
	json_write_init(&w, reply);
	json_write_object_begin(&w);
	json_write_member_bool(&w, "ok", true);
	lock_take(&d->lock);
	json_write_member_int(&w, "signed", (int64_t)d->signed_n);
	json_write_member_int(&w, "failed", (int64_t)d->failed);
	json_write_member_int(&w, "unsigned", (int64_t)d->left);
	lock_drop(&d->lock);
	json_write_name(&w, STR("keys"));
	json_write_array_begin(&w);
	for (size_t i = 0; t && i < t->n; i++)
		put_row(d, c, t, &t->rows[i], &w);
	json_write_array_end(&w);
	json_write_object_end(&w);
	return true;
}
