/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * proc/relay.c: the relay role. Identity: pabal-relay. Sandbox: no files; sockets to other servers.
 * Descriptors: contents of messages, read only. Messages: relay_job from queue; dns_query to dns.
 * Threads: workers, one for each transaction under way; a reader per channel.
 *
 * It owns nothing: a job that dies with it is tried again by queue. Connections are kept for a few
 * seconds per destination, for the next message that goes there.
 */
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scan.h"
#include "crypto/tls.h"
#include "dns/resolver.h"
#include "net/net.h"
#include "policy/https.h"
#include "proc/role_int.h"
#include "queue/relay_wire.h"
#include "smtp/client/client.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
	KEEP_MS = 5000, KEEP_MAX = 200, /* idle connections kept */
	ADDRESSES_MAX = 16,             /* tried for one transaction */
	HOSTS_MAX = 10,
	DNS_WAIT_MS = 20000,
	JOB_MS = 50 * 60 * 1000, /* less than queue waits: what it gave up must not succeed later */
	BODY_MAX = 64 << 20,
	TLSA_MAX = 20,
	HTTPS_PORT = 443, FETCH_MS = 60000, /* RFC 8461 3.3 suggests a minute */
	CA_MAX = 4 << 20,
};

struct kept {
	struct kept *next;
	struct smtp_client *client;
	char *key;
	int64_t since_ms;
};
struct relay_role {
	struct role *role;
	struct tls_context *tls, *tls_dane;
	struct buf roots; /* PEM, read before the sandbox; parsed when first needed: it takes a while */
	pthread_mutex_t verify_lock;
	struct tls_context *tls_verify; /* guarded by verify_lock */
	struct lock lock;
	struct kept *kept; /* guarded by lock */
	size_t kept_n;
	uint64_t sent, failed, connected, reused;
	unsigned active;
	struct sockaddr_storage *own; /* addresses and ports of our own SMTP listeners */
	size_t own_n;
};

struct work {
	struct relay_role *relay;
	struct channel *ch;
	uint64_t id;
	struct arena *arena;
	int64_t until_ms;
	struct relay_job job;
	int side_fd;
	struct buf body;
};

/* ---- connections kept -------------------------------------------------------------------------------- */

static struct str key_of(struct work *w)
{
	const struct relay_job *j = &w->job;
	/* What the certificate was checked against is part of it. */
	struct str domain = j->tls >= RELAY_TLS_SECURE ? j->domain : STR_NONE;
	return arena_fmt(w->arena, "%.*s|%.*s|%u|%d.%d|%d|%.*s|%.*s", STR_ARG(j->destination),
			 STR_ARG(j->hosts), j->port, j->tls, j->tls_else, j->lmtp, STR_ARG(domain),
			 STR_ARG(j->auth_user));
}

static struct smtp_client *kept_take(struct relay_role *r, struct str key)
{
	struct smtp_client *c = NULL;

	LOCK_SCOPED(&r->lock);
	for (struct kept **at = &r->kept; *at && !c;) {
		struct kept *k = *at;
		if (!str_eq(str_of(k->key), key)) {
			at = &k->next;
			continue;
		}
		*at = k->next;
		r->kept_n--;
		c = k->client;
		free(k->key);
		free(k);
	}
	return c;
}

static void kept_put(struct relay_role *r, struct str key, struct smtp_client *c)
{
	lock_take(&r->lock);
	if (r->kept_n < KEEP_MAX) {
		struct kept *k = mem_new(struct kept);
		k->client = c;
		k->key = mem_zalloc(key.n + 1);
		memcpy(k->key, key.p, key.n);
		k->since_ms = clock_mono_ms();
		k->next = r->kept;
		r->kept = k;
		r->kept_n++;
		c = NULL;
	}
	lock_drop(&r->lock);
	smtp_client_close(c);
}

static void kept_expire(void *ctx)
{
	struct relay_role *r = ctx;
	struct kept *old = NULL;
	int64_t now = clock_mono_ms();

	lock_take(&r->lock);
	for (struct kept **at = &r->kept; *at;) {
		struct kept *k = *at;
		if (now - k->since_ms < KEEP_MS) {
			at = &k->next;
			continue;
		}
		*at = k->next;
		k->next = old;
		old = k;
		r->kept_n--;
	}
	lock_drop(&r->lock);
	while (old) {
		struct kept *k = old;
		old = k->next;
		smtp_client_close(k->client);
		free(k->key);
		free(k);
	}
}

/* ---- addresses ---------------------------------------------------------------------------------------- */

/* What DANE says of a host (RFC 7672). */
enum dane_state {
	DANE_NONE,   /* nothing: no records, or no proof of anything */
	DANE_USE,
	DANE_FAILED, /* there may be records: the host is not used (2.1.1) */
};
struct dane {
	enum dane_state state;
	struct str base;
	struct tls_tlsa records[TLSA_MAX];
	size_t n;
};
struct target {
	struct sockaddr_storage address;
	socklen_t len;
	struct str host;
	const struct dane *dane; /* NULL: not asked for */
};
struct targets {
	struct target v[ADDRESSES_MAX];
	size_t n;
	bool temp; /* a name server did not answer */
};

static void add_target(struct targets *t, struct str host, const void *ip, size_t n, uint16_t port)
{
	if (t->n == ADDRESSES_MAX)
		return;
	struct target *x = &t->v[t->n++];
	*x = (struct target){.host = host};
	if (n == 4) {
		struct sockaddr_in *a = (struct sockaddr_in *)&x->address;
		a->sin_family = AF_INET;
		a->sin_port = htons(port);
		memcpy(&a->sin_addr, ip, 4);
		x->len = sizeof(*a);
	} else {
		struct sockaddr_in6 *a = (struct sockaddr_in6 *)&x->address;
		a->sin6_family = AF_INET6;
		a->sin6_port = htons(port);
		memcpy(&a->sin6_addr, ip, 16);
		x->len = sizeof(*a);
	}
}

static bool add_literal(struct targets *t, struct arena *a, struct str host, uint16_t port)
{
	unsigned char ip[16];
	struct str inner = host;

	if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
		inner = str_sub(host, 1, host.n - 2);
	if (str_starts_nocase(inner, STR("IPv6:")))
		inner = str_from(inner, 5);
	const char *text = arena_cstr(a, inner);
	if (!text || (inet_pton(AF_INET, text, ip) != 1 && inet_pton(AF_INET6, text, ip) != 1))
		return false;
	add_target(t, host, ip, str_has_byte(inner, ':') ? 16 : 4, port);
	return true;
}

static void add_records(struct targets *t, struct str host, struct str records, size_t want, uint16_t port)
{
	struct scan s = scan_of(records);
	struct str data, name;

	while (scan_skip(&s, 10) && scan_le_str(&s, 65535, &data) && scan_le_str(&s, 255, &name))
		if (data.n == want)
			add_target(t, host, data.p, want, port);
}

static bool dns_ask(struct work *w, struct str name, enum dns_type type, struct message *reply)
{
	struct message m = {.type = MSG_dns_query};
	struct err err = {0};
	m.dns_query.name = name;
	m.dns_query.type = type;
	return channel_call(role_channel(w->relay->role, CHANNEL_DNS, ROLE_DNS, 0), &m, DNS_WAIT_MS, w->arena,
			    reply, &err) &&
	       !dns_is_error((enum dns_status)reply->dns_reply.status);
}

static void read_tlsa(struct dane *d, struct str records)
{
	struct scan s = scan_of(records);
	struct str head, data, name;

	while (d->n < TLSA_MAX && scan_take(&s, 10, &head) && scan_le_str(&s, 65535, &data) &&
	       scan_le_str(&s, 255, &name))
		d->records[d->n++] = (struct tls_tlsa){.usage = (uint8_t)head.p[6],
						       .selector = (uint8_t)head.p[7],
						       .matching = (uint8_t)head.p[8],
						       .data = data};
}

/* The records of one base domain. True: that is the answer, be it that it cannot be had. */
static bool dane_at(struct work *w, struct str base, uint16_t port, struct dane *d)
{
	struct message r;
	d->base = base;
	if (!dns_ask(w, arena_fmt(w->arena, "_%u._tcp.%.*s", port, STR_ARG(base)), DNS_TLSA, &r)) {
		d->state = DANE_FAILED;
		return true;
	}
	if (r.dns_reply.status != DNS_FOUND || !r.dns_reply.secure)
		return false;
	read_tlsa(d, r.dns_reply.records);
	d->state = DANE_USE;
	return true;
}

/* RFC 7672 2.2.2, 2.2.3: only of a host whose addresses are proven; where it is an alias, the name that it
 * leads to comes first. */
static struct dane *dane_of(struct work *w, struct str host, struct str canonical, bool secure, uint16_t port)
{
	struct dane *d = arena_new_of(w->arena, struct dane);
	if (!secure)
		return d;
	bool alias = canonical.n && !str_eq_nocase(canonical, host);
	if (alias && dane_at(w, canonical, port, d))
		return d;
	(void)dane_at(w, host, port, d);
	return d;
}

static void add_named(struct work *w, struct targets *t, struct str host, uint16_t port)
{
	size_t first = t->n;
	bool secure = w->job.mx_secure && w->job.tls == RELAY_TLS_DANE;
	struct str canonical = STR_NONE;
	static const struct {
		enum dns_type type;
		size_t bytes;
	} ask[] = {{DNS_AAAA, 16}, {DNS_A, 4}};

	for (size_t i = 0; i < 2 && host.n <= DNS_NAME_MAX; i++) {
		struct message r;
		if (!dns_ask(w, host, ask[i].type, &r)) {
			t->temp = true;
			continue;
		}
		add_records(t, host, r.dns_reply.records, ask[i].bytes, port);
		if (r.dns_reply.status == DNS_FOUND) {
			secure = secure && r.dns_reply.secure;
			canonical = r.dns_reply.canonical;
		}
	}
	if (t->n == first || w->job.tls != RELAY_TLS_DANE)
		return;
	const struct dane *dane = dane_of(w, host, canonical, secure, port);
	for (size_t i = first; i < t->n; i++)
		t->v[i].dane = dane;
}

/* "mx1.example.org mx2.example.org:2525 [192.0.2.1]:25" */
static void find_targets(struct work *w, struct targets *t)
{
	size_t hosts = 0;

	for (struct str rest = w->job.hosts; rest.p && hosts < HOSTS_MAX; hosts++) {
		struct str one = str_trim(str_cut(&rest, ' ')), host = one;
		uint64_t port = w->job.port;
		size_t colon = str_find_last_byte(one, ':'), bracket = str_find_last_byte(one, ']');
		if (colon != STR_NPOS && (bracket == STR_NPOS || colon > bracket) &&
		    str_u64(str_from(one, colon + 1), UINT16_MAX, &port))
			host = str_sub(one, 0, colon);
		else
			port = w->job.port;
		if (host.n && !add_literal(t, w->arena, host, (uint16_t)port))
			add_named(w, t, host, (uint16_t)port);
	}
}

/* ---- one job ------------------------------------------------------------------------------------------ */

struct outcome_of_job {
	struct relay_reply *replies;
	struct str mta, tls;
	bool reused;
};

static void fail_all(struct work *w, struct outcome_of_job *o, struct relay_reply r)
{
	for (size_t k = 0; k < w->job.rcpt_n; k++)
		o->replies[k] = r;
}

static bool untouched(const struct work *w, const struct outcome_of_job *o)
{
	for (size_t k = 0; k < w->job.rcpt_n; k++)
		if ((o->replies[k].code && o->replies[k].code != 421) ||
		    o->replies[k].scope != RELAY_SESSION || !o->replies[k].sure)
			return false;
	return true;
}

/* Sends over c, keeps or closes it. False: the connection ended before anything was accepted; 421 is
 * what a peer says when it has waited long enough. */
static bool send_over(struct work *w, struct smtp_client *c, struct str key, struct outcome_of_job *o)
{
	bool usable = smtp_client_send(c, &w->job, w->arena, o->replies);
	unsigned most = w->job.messages_per_connection;

	o->mta = arena_str(w->arena, smtp_client_host(c));
	o->tls = smtp_client_tls(c, w->arena);
	if (usable && (!most || smtp_client_sent(c) < most))
		kept_put(w->relay, key, c);
	else
		smtp_client_close(c);
	return usable || !untouched(w, o);
}

/* NULL: there are no roots, so nothing can be verified. */
static struct tls_context *verify_context(struct relay_role *r)
{
	struct err err = {0};

	pthread_mutex_lock(&r->verify_lock);
	if (!r->tls_verify && r->roots.n &&
	    !tls_context_client(
		    &(struct tls_client_settings){.ca_pem = buf_str(&r->roots), .verify = true},
		    &r->tls_verify, &err))
		log_err(LOG_ERROR, "relay.roots.bad", &err);
	struct tls_context *c = r->tls_verify;
	pthread_mutex_unlock(&r->verify_lock);
	return c;
}

static struct smtp_client *open_one(struct work *w, const struct target *t, struct relay_reply *r)
{
	struct smtp_client *c = NULL;
	enum relay_tls tls = w->job.tls;
	if (tls == RELAY_TLS_DANE && (!t->dane || t->dane->state == DANE_NONE))
		tls = w->job.tls_else;
	if (tls == RELAY_TLS_DANE && t->dane->state == DANE_FAILED) {
		*r = (struct relay_reply){.scope = RELAY_HOSTS,
					  .status = {4, 7, 5},
					  .outcome = OUTCOME_TLS_NEEDED,
					  .sure = true};
		r->text = arena_fmt(w->arena, "the TLSA records of %.*s cannot be looked up now",
				    STR_ARG(t->host));
		return NULL;
	}
	struct smtp_client_options o = {
		.address = t->address,
		.address_len = t->len,
		.host = t->host,
		.helo = w->job.helo,
		.lmtp = w->job.lmtp,
		.tls = tls,
		.context = w->relay->tls,
		.context_verify = tls == RELAY_TLS_VERIFY || tls == RELAY_TLS_SECURE
					  ? verify_context(w->relay)
					  : NULL,
		.context_dane = w->relay->tls_dane,
		.domain = tls >= RELAY_TLS_SECURE ? w->job.domain : STR_NONE,
		.until_ms = w->until_ms,
		.auth_user = w->job.auth_user,
		.auth_password = w->job.auth_password,
	};
	if (w->job.source_address.n) {
		struct targets source = {0};
		if (add_literal(&source, w->arena, w->job.source_address, 0) &&
		    source.v[0].address.ss_family == t->address.ss_family) {
			o.source = source.v[0].address;
			o.source_len = source.v[0].len;
		}
	}
	if (tls == RELAY_TLS_DANE) {
		o.dane_host = t->dane->base;
		o.tlsa = t->dane->records;
		o.tlsa_n = t->dane->n;
	}
	return smtp_client_open(&o, w->arena, &c, r) ? c : NULL;
}

/* Would we connect to one of our own listeners? */
static bool is_own(const struct relay_role *r, const struct target *t)
{
	for (size_t i = 0; i < r->own_n; i++) {
		const struct sockaddr_storage *own = &r->own[i];
		if (own->ss_family != t->address.ss_family)
			continue;
		if (own->ss_family == AF_INET &&
		    !memcmp(own, &t->address, offsetof(struct sockaddr_in, sin_zero)))
			return true;
		const struct sockaddr_in6 *x = (const struct sockaddr_in6 *)own,
					  *y = (const struct sockaddr_in6 *)&t->address;
		if (own->ss_family == AF_INET6 && x->sin6_port == y->sin6_port &&
		    !memcmp(&x->sin6_addr, &y->sin6_addr, 16))
			return true;
	}
	return false;
}

static const struct relay_reply loops_back = {
	.scope = RELAY_HOSTS,
	.status = {5, 4, 6},
	.outcome = OUTCOME_LOOP,
	.text = {"mail for this domain loops back to this server", 46},
	.sure = true,
};

static void run_job(struct work *w, struct outcome_of_job *o)
{
	struct relay_role *relay = w->relay;
	struct str key = key_of(w);
	struct targets t = {0};
	struct relay_reply r = {.scope = RELAY_HOSTS, .status = {4, 4, 1}, .outcome = OUTCOME_NO_ANSWER,
				.text = STR("no host of the destination has an address"), .sure = true};

	for (struct smtp_client *c; (c = kept_take(relay, key));) {
		if (!smtp_client_alive(c)) {
			smtp_client_close(c);
			continue;
		}
		o->reused = true;
		smtp_client_until(c, w->until_ms);
		if (send_over(w, c, key, o))
			return;
	}
	o->reused = false;
	find_targets(w, &t);
	if (!t.n && t.temp) {
		r.outcome = OUTCOME_DNS_TEMP;
		r.text = STR("the addresses of the destination's hosts cannot be looked up now");
	}
	/* A host that refuses the session is left for the next one; its word stays if none is better. */
	for (size_t i = 0; i < t.n && clock_mono_ms() < w->until_ms; i++) {
		struct relay_reply before = r;
		struct smtp_client *c = is_own(relay, &t.v[i]) ? NULL : open_one(w, &t.v[i], &r);
		bool ourselves = !c && (is_own(relay, &t.v[i]) || r.outcome == OUTCOME_LOOP);
		if (ourselves) { /* those after it are no better than we are; those before it will be back */
			r = i ? before : loops_back;
			break;
		}
		o->mta = t.v[i].host;
		if (!c)
			continue;
		lock_take(&relay->lock);
		relay->connected++;
		lock_drop(&relay->lock);
		(void)send_over(w, c, key, o);
		return;
	}
	if (r.code / 100 == 5) { /* "554 no service": not the message's fault; tried until it expires */
		r.code = 421;
		r.status = (struct status){4, r.status.subject, r.status.detail};
	}
	fail_all(w, o, r);
}

static void work_free(struct work *w)
{
	fd_close(&w->side_fd);
	buf_free(&w->body);
	arena_free(w->arena);
	free(w);
}

static void job_main(void *ctx)
{
	struct work *w = ctx;
	struct relay_role *relay = w->relay;
	struct outcome_of_job o = {.replies = arena_zalloc(w->arena, w->job.rcpt_n * sizeof(*o.replies))};
	struct message m = {.type = MSG_relay_result};
	BUF_SCOPED out = {0};
	int64_t began = clock_mono_ms();
	size_t good = 0;

	log_context(STR_NONE, id_str(&w->job.id), STR_NONE);
	net_block_begin(relay->role->net);
	run_job(w, &o);
	net_block_end(relay->role->net);
	for (size_t k = 0; k < w->job.rcpt_n; k++)
		good += o.replies[k].code / 100 == 2;
	lock_take(&relay->lock);
	relay->active--;
	relay->sent += good;
	relay->failed += w->job.rcpt_n - good;
	relay->reused += o.reused;
	lock_drop(&relay->lock);
	relay_result_encode(&out, &(struct relay_result){
		.rcpt = o.replies, .rcpt_n = w->job.rcpt_n, .mta = o.mta, .tls = o.tls, .reused = o.reused,
		.ms = (uint32_t)(clock_mono_ms() - began)});
	m.relay_result.result = buf_str(&out);
	(void)channel_reply(w->ch, w->id, &m);
	log_context_clear();
	work_free(w);
}

/* ---- documents ------------------------------------------------------------------------------------- */

static bool fetch(struct work *w, struct str host, struct str path, struct str *out, struct err *err)
{
	struct targets t = {0};
	struct https_request r = {.host = host, .path = path, .context = verify_context(w->relay),
				  .until_ms = w->until_ms, .body_max = HTTPS_BODY_MAX};

	if (!r.context)
		return err_set(err, ERR_TEMP, "there are no trusted roots to verify with");
	add_named(w, &t, host, (uint16_t)w->job.port);
	if (!t.n)
		return err_set(err, t.temp ? ERR_TEMP : ERR_NOT_FOUND, "%.*s has no address", STR_ARG(host));
	for (size_t i = 0; i < t.n; i++) {
		err_clear(err);
		r.address = t.v[i].address;
		r.address_len = t.v[i].len;
		if (w->job.content.n ? https_post_json(&r, w->job.content, w->arena, err)
				     : https_get(&r, w->arena, out, err))
			return true;
	}
	return false;
}

static void fetch_main(void *ctx)
{
	struct work *w = ctx;
	struct message m = {.type = MSG_fetch_result};
	struct err err = {0};
	struct str body = STR_NONE;

	net_block_begin(w->relay->role->net);
	bool good = fetch(w, w->job.domain, w->job.hosts, &body, &err);
	net_block_end(w->relay->role->net);
	m.fetch_result.code = good ? 0 : err.kind == ERR_NOT_FOUND ? 1 : 2;
	m.fetch_result.body = body;
	m.fetch_result.why = str_sub(str_of(err.text), 0, 512);
	(void)channel_reply(w->ch, w->id, &m);
	work_free(w);
}

static void on_fetch(struct relay_role *relay, struct channel *ch, uint64_t id, const struct msg_fetch *m)
{
	struct work *w = mem_new(struct work);

	w->relay = relay;
	w->ch = ch;
	w->id = id;
	w->side_fd = -1;
	w->arena = arena_new();
	w->until_ms = clock_mono_ms() + FETCH_MS;
	w->job.domain = arena_str(w->arena, m->host);
	w->job.hosts = arena_str(w->arena, m->path);
	w->job.port = m->port ? (uint16_t)m->port : HTTPS_PORT;
	w->job.content = arena_str(w->arena, m->json);
	net_run(relay->role->net, fetch_main, w);
}

static void relay_on_message(void *ctx, struct channel *ch, uint64_t id, struct message *m)
{
	struct peer *p = ctx;
	struct relay_role *relay = p->role->state;
	struct err err = {0};

	if (m->type == MSG_fetch)
		on_fetch(relay, ch, id, &m->fetch);
	if (m->type != MSG_relay_job)
		return;
	struct work *w = mem_new(struct work);
	w->relay = relay;
	w->ch = ch;
	w->id = id;
	w->side_fd = -1;
	w->arena = arena_new();
	w->until_ms = clock_mono_ms() + JOB_MS;
	struct str blob = arena_str(w->arena, m->relay_job.job);
	bool good = relay_job_decode(blob, w->arena, &w->job, &err);
	if (good && m->relay_job.body >= 0) {
		good = sealed_read(m->relay_job.body, BODY_MAX, &w->body, &err);
		w->job.content = buf_str(&w->body);
	} else if (good) {
		w->job.content = arena_str(w->arena, m->relay_job.content);
	}
	if (good && m->relay_job.side >= 0) {
		w->side_fd = fd_take(&m->relay_job.side);
		w->job.content_fd = w->side_fd;
		w->job.content_fd_bytes = m->relay_job.side_bytes;
	}
	if (!good) { /* no reply: queue's call fails as temporary when the channel or its time ends */
		log_err(LOG_ERROR, "relay.job.damaged", &err);
		work_free(w);
		return;
	}
	lock_take(&relay->lock);
	relay->active++;
	lock_drop(&relay->lock);
	net_run(relay->role->net, job_main, w);
}

/* ---- life --------------------------------------------------------------------------------------------- */

static void *relay_create(struct role *r)
{
	struct relay_role *x = mem_new(struct relay_role);

	x->role = r;
	lock_init(&x->lock, LOCK_PROC);
	pthread_mutex_init(&x->verify_lock, NULL);
	return x;
}

static void own_add(struct relay_role *x, struct arena *a, const struct sockaddr *address, uint16_t port)
{
	size_t cap = x->own_n;
	x->own = arena_grow(a, x->own, x->own_n, &cap, sizeof *x->own);
	struct sockaddr_storage *s = &x->own[x->own_n++];
	memset(s, 0, sizeof *s);
	if (address->sa_family == AF_INET) {
		memcpy(s, address, sizeof(struct sockaddr_in));
		((struct sockaddr_in *)s)->sin_port = htons(port);
	} else {
		memcpy(s, address, sizeof(struct sockaddr_in6));
		((struct sockaddr_in6 *)s)->sin6_port = htons(port);
	}
}

/* Mail for another domain whose host is ourselves would go round and round. The addresses of this host
 * are asked for now: the sandbox has no such calls. */
static void own_find(struct relay_role *x, const struct config *c, struct arena *a)
{
	struct ifaddrs *all = NULL;
	size_t n;
	const struct listener *l = config_listeners(c, &n);

	if (getifaddrs(&all) < 0)
		all = NULL;
	for (size_t i = 0; i < n; i++) {
		if (l[i].service != SERVICE_SMTP || !l[i].port)
			continue;
		for (struct ifaddrs *f = all; f; f = f->ifa_next) {
			char text[INET6_ADDRSTRLEN];
			const void *ip;
			int family = f->ifa_addr ? f->ifa_addr->sa_family : 0;
			if (family != AF_INET && family != AF_INET6)
				continue;
			ip = family == AF_INET ? (void *)&((struct sockaddr_in *)f->ifa_addr)->sin_addr
					       : (void *)&((struct sockaddr_in6 *)f->ifa_addr)->sin6_addr;
			inet_ntop(family, ip, text, sizeof text);
			for (size_t k = 0; k < l[i].address.n; k++) {
				struct str bound = l[i].address.v[k];
				if (str_eq(bound, STR("*")) || str_eq(bound, STR("::")) ||
				    str_eq(bound, str_of(text))) {
					own_add(x, a, f->ifa_addr, l[i].port);
					break;
				}
			}
		}
	}
	freeifaddrs(all);
}

static bool relay_prepare(struct role *r, struct sandbox *s, struct err *err)
{
	CONFIG_SCOPED c = role_config(r);
	struct relay_role *x = r->state;
	struct err none;
	const char *roots = config_path(c, SETTING_RELAY_CA_FILE);

	(void)s;
	own_find(x, c, r->arena);
	if (!preload(PRELOAD_TLS, err) ||
	    !tls_context_client(&(struct tls_client_settings){.verify = false}, &x->tls, err) ||
	    !tls_context_client(&(struct tls_client_settings){.verify = true, .dane = true}, &x->tls_dane,
				err))
		return false;
	/* One file with all roots, read now: the sandbox has no files. Without it "verify" never succeeds. */
	if (!file_read_whole(AT_FDCWD, roots, CA_MAX, &x->roots, &none))
		log_event(LOG_WARN, "relay.roots.missing", K_CSTR(path, roots));
	return true;
}

static bool relay_start(struct role *r, struct err *err)
{
	struct relay_role *x = r->state;

	(void)err;
	net_timer(r->net, 1000, kept_expire, x);
	return true;
}

static bool relay_drained(struct role *r)
{
	struct relay_role *x = r->state;

	LOCK_SCOPED(&x->lock);
	return x->active == 0;
}

static void relay_status(struct role *r, struct json_writer *w)
{
	struct relay_role *x = r->state;

	LOCK_SCOPED(&x->lock);
	json_write_member_int(w, "active", x->active);
	json_write_member_int(w, "sent", (int64_t)x->sent);
	json_write_member_int(w, "failed", (int64_t)x->failed);
	json_write_member_int(w, "connections", (int64_t)x->connected);
	json_write_member_int(w, "reused", (int64_t)x->reused);
	json_write_member_int(w, "kept", (int64_t)x->kept_n);
}

const struct role_form role_form_relay = {
	.calls = SANDBOX_NETWORK,
	.net = true,
	.create = relay_create,
	.prepare = relay_prepare,
	.start = relay_start,
	.on_message = relay_on_message,
	.drained = relay_drained,
	.status = relay_status,
};
