/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * proc/dns.c: the dns role. Identity: pabal-dns. Sandbox: no files; sockets to name servers.
 * Descriptors: none. Messages: dns_query from smtp, queue and relay. Threads: one that owns libunbound (and
 * libunbound's own), a reader per channel; what is in the cache is answered by the reader at once.
 */
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "dns/cache.h"
#include "dns/unbound.h"
#include "proc/role_int.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { CACHE_BYTES = 4 << 20, UNDER_WAY_MAX = 2000, RECORDS_MAX = 49152 };

struct question {
	struct question *next;
	struct dns_role *dns;
	struct channel *ch;
	uint64_t id;
	enum dns_type type;
	size_t n;
	char name[256];
};
struct dns_role {
	struct role *role;
	struct dns_resolver *unbound;
	struct dns_cache *cache;
	pthread_t thread;
	int wake_fd;
	struct lock lock;
	struct question *first, **tail; /* guarded by lock */
	size_t under_way;               /* guarded by lock */
	uint64_t asked, from_cache, failed; /* guarded by lock */
};

static void put_record(struct buf *out, const struct dns_record *r)
{
	buf_le16(out, r->preference);
	buf_le16(out, r->weight);
	buf_le16(out, r->port);
	buf_byte(out, (char)r->usage);
	buf_byte(out, (char)r->selector);
	buf_byte(out, (char)r->matching);
	buf_byte(out, 0);
	buf_le_str(out, r->data);
	buf_le_str(out, r->name);
}

static void reply_to(struct channel *ch, uint64_t id, const struct dns_answer *a)
{
	BUF_SCOPED records = {0};
	struct message m = {.type = MSG_dns_reply};

	for (size_t i = 0; i < a->n; i++) {
		size_t before = records.n;
		put_record(&records, &a->at[i]);
		if (records.n > RECORDS_MAX) { /* more than a message holds: the first ones will do */
			records.n = before;
			break;
		}
	}
	m.dns_reply.status = (uint32_t)a->status;
	m.dns_reply.secure = a->secure;
	m.dns_reply.ttl = a->ttl;
	m.dns_reply.canonical = str_sub(a->canonical, 0, 255);
	m.dns_reply.records = buf_str(&records);
	(void)channel_reply(ch, id, &m);
}

/* ---- the thread of libunbound ----------------------------------------------------------------------- */

static void on_answer(void *ctx, const struct dns_answer *a)
{
	struct question *q = ctx;
	struct dns_role *d = q->dns;

	dns_cache_put(d->cache, (struct str){q->name, q->n}, q->type, a);
	reply_to(q->ch, q->id, a);
	lock_take(&d->lock);
	d->under_way--;
	d->failed += dns_is_error(a->status);
	lock_drop(&d->lock);
	free(q);
}

static void *dns_main(void *ctx)
{
	struct dns_role *d = ctx;

	for (;;) {
		uint64_t n;
		struct pollfd p[] = {{d->wake_fd, POLLIN, 0}, {dns_unbound_fd(d->unbound), POLLIN, 0}};
		if (poll(p, 2, dns_unbound_wait_ms(d->unbound)) < 0 && errno != EINTR)
			return NULL;
		if (p[0].revents && read(d->wake_fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
			return NULL;
		lock_take(&d->lock);
		struct question *list = d->first;
		d->first = NULL;
		lock_drop(&d->lock);
		while (list) {
			struct question *q = list;
			list = q->next;
			dns_unbound_start(d->unbound, (struct str){q->name, q->n}, q->type, on_answer, q);
		}
		dns_unbound_process(d->unbound);
	}
}

/* ---- requests --------------------------------------------------------------------------------------- */

static void dns_on_message(void *ctx, struct channel *ch, uint64_t id, struct message *m)
{
	struct peer *p = ctx;
	struct dns_role *d = p->role->state;
	struct dns_answer a = {.status = DNS_SERVFAIL};
	ARENA_SCOPED arena = arena_new();
	uint64_t one = 1;

	if (m->type != MSG_dns_query)
		return;
	enum dns_type type = (enum dns_type)m->dns_query.type;
	bool cached = dns_cache_get(d->cache, arena, m->dns_query.name, type, &a);
	lock_take(&d->lock);
	d->asked++;
	d->from_cache += cached;
	bool full = d->under_way >= UNDER_WAY_MAX;
	d->under_way += !cached && !full;
	lock_drop(&d->lock);
	if (cached || full) {
		reply_to(ch, id, &a);
		return;
	}
	struct question *q = mem_new(struct question);
	q->dns = d;
	q->ch = ch;
	q->id = id;
	q->type = type;
	q->n = m->dns_query.name.n;
	memcpy(q->name, m->dns_query.name.p, q->n);
	lock_take(&d->lock);
	if (!d->first)
		d->tail = &d->first;
	*d->tail = q;
	d->tail = &q->next;
	lock_drop(&d->lock);
	if (write(d->wake_fd, &one, sizeof(one)) < 0)
		log_event(LOG_ERROR, "dns.wake.failed", K_INT(errno, errno));
}

/* ---- life ------------------------------------------------------------------------------------------- */

static void *dns_create(struct role *r)
{
	struct dns_role *d = mem_new(struct dns_role);

	d->role = r;
	lock_init(&d->lock, LOCK_PROC);
	return d;
}

/* The configured servers, else the system's; "root": none. */
static bool servers_of(const struct config *c, struct dns_server out[DNS_SERVERS_MAX], size_t *out_n,
		       struct err *err)
{
	struct config_list l = config_list(c, SETTING_DNS_SERVERS);
	struct err ignored;

	*out_n = 0;
	if (l.n == 1 && str_eq(l.v[0], STR("root")))
		return true;
	for (size_t i = 0; i < l.n && *out_n < DNS_SERVERS_MAX; i++)
		if (!dns_server_parse(l.v[i], &out[(*out_n)++], err))
			return false;
	if (!l.n && !dns_server_system("/etc/resolv.conf", out, out_n, &ignored))
		log_event(LOG_WARN, "dns.servers.none",
			  K_CSTR(why, "no name server in /etc/resolv.conf: asking from the root"));
	return true;
}

static bool dns_prepare(struct role *r, struct sandbox *s, struct err *err)
{
	struct dns_role *d = r->state;
	CONFIG_SCOPED c = role_config(r);
	struct dns_server servers[DNS_SERVERS_MAX];
	struct dns_unbound_options o = {
		.forwarders = servers, .timeout_ms = (int)config_duration_ms(c, SETTING_DNS_TIMEOUT)};
	const char *anchor = config_path(c, SETTING_DNS_TRUST_ANCHOR_FILE);

	(void)s;
	if (!preload(PRELOAD_TLS, err) || !servers_of(c, servers, &o.forwarder_n, err))
		return false;
	/* Many a forwarder drops what validation needs: with the anchor, no name would have an answer. */
	o.trust_anchor_file = *anchor || o.forwarder_n ? anchor : dns_unbound_root_key();
	if (!dns_unbound_new(&o, &d->unbound, err))
		return false;
	d->cache = dns_cache_new(CACHE_BYTES);
	d->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return d->wake_fd >= 0 || err_sys(err, "eventfd");
}

static bool dns_start(struct role *r, struct err *err)
{
	struct dns_role *d = r->state;

	errno = pthread_create(&d->thread, NULL, dns_main, d);
	return !errno || err_sys(err, "pthread_create");
}

static bool dns_drained(struct role *r)
{
	(void)r;
	return true;
}

static void dns_status(struct role *r, struct json_writer *w)
{
	struct dns_role *d = r->state;
	size_t cached = dns_cache_count(d->cache);

	LOCK_SCOPED(&d->lock);
	json_write_member_int(w, "asked", (int64_t)d->asked);
	json_write_member_int(w, "from_cache", (int64_t)d->from_cache);
	json_write_member_int(w, "failed", (int64_t)d->failed);
	json_write_member_int(w, "under_way", (int64_t)d->under_way);
	json_write_member_int(w, "cached", (int64_t)cached);
}

const struct role_form role_form_dns = {
	.calls = SANDBOX_NETWORK,
	.create = dns_create,
	.prepare = dns_prepare,
	.start = dns_start,
	.on_message = dns_on_message,
	.drained = dns_drained,
	.status = dns_status,
};
