/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "proc/queue_relay.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scan.h"
#include "dns/resolver.h"
#include "net/net.h"
#include "proc/queue_dkim.h"
#include "proc/queue_sts.h"
#include "proc/role_int.h"
#include "queue/relay_wire.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

enum { DNS_WAIT_MS = 30000, RELAY_WAIT_MS = 3600000, INLINE_MAX = 32768, MX_MAX = 20, PASSWORD_MAX = 1024 };

struct sender { /* ctx of the services */
	struct role *role;
	struct sts *sts;    /* NULL: MTA-STS is off */
	struct queue_dkim *dkim;
};

/* ---- routes by MX ------------------------------------------------------------------------------------- */

struct route_call {
	struct role *role;
	struct sts *sts;
	route_done *done;
	void *ctx;
	struct route_answer answer; /* while the policy is looked for */
	struct buf hosts;
	size_t n;
	char domain[256];
};

struct mx {
	uint16_t preference;
	struct str name;
};

static int by_preference(const void *a, const void *b)
{
	const struct mx *x = a, *y = b;
	return x->preference != y->preference ? x->preference - y->preference : str_cmp(x->name, y->name);
}

/* We are among the hosts: ours, and those that are no better, would send it back (RFC 5321 5.1). True:
 * none is left. */
static bool drop_ourselves(struct str hostname, struct mx *mx, size_t *n)
{
	for (size_t i = 0; i < *n; i++) {
		if (!str_eq_nocase(mx[i].name, hostname))
			continue;
		while (i > 0 && mx[i - 1].preference == mx[i].preference)
			i--;
		*n = i;
		return i == 0;
	}
	return false;
}

/* MX names by preference. "." alone is a null MX (RFC 7505). */
static bool read_mx(struct str records, struct mx out[MX_MAX], size_t *out_n, bool *null_mx)
{
	struct scan s = scan_of(records);
	uint16_t preference;
	struct str data, name;
	size_t n = 0, all = 0;

	*null_mx = false;
	while (!scan_end(&s)) {
		if (!scan_le16(&s, &preference) || !scan_skip(&s, 8) || !scan_le_str(&s, 65535, &data) ||
		    !scan_le_str(&s, 255, &name))
			return false;
		all++;
		if (!name.n)
			*null_mx = true;
		else if (n < MX_MAX && !str_has_ctl(name) && !str_has_byte(name, ' '))
			out[n++] = (struct mx){preference, name};
	}
	*null_mx = *null_mx && all == 1;
	qsort(out, n, sizeof(*out), by_preference);
	*out_n = n;
	return true;
}

static void route_of_reply(struct route_call *c, const struct msg_dns_reply *r, struct buf *hosts,
			   struct route_answer *a)
{
	CONFIG_SCOPED config = role_config(c->role);
	struct str hostname = config_str(config, SETTING_HOSTNAME);
	struct mx mx[MX_MAX];
	size_t n;
	bool null_mx;

	a->ttl_s = r->ttl;
	a->secure = r->secure;
	switch ((enum dns_status)r->status) {
	case DNS_FOUND:
		if (!read_mx(r->records, mx, &n, &null_mx)) {
			a->kind = ROUTE_TEMP;
			return;
		}
		a->kind = null_mx ? ROUTE_NULL_MX : ROUTE_MX;
		if (n && drop_ourselves(hostname, mx, &n))
			a->kind = ROUTE_LOOP;
		for (size_t i = 0; i < n; i++) {
			if (hosts->n)
				buf_byte(hosts, ' ');
			buf_add(hosts, mx[i].name);
		}
		break;
	case DNS_NODATA: /* implicit MX (RFC 5321 5.1) */
		a->kind = ROUTE_MX;
		break;
	case DNS_NXDOMAIN:
		a->kind = ROUTE_NXDOMAIN;
		return;
	case DNS_BOGUS:
	case DNS_SERVFAIL:
	case DNS_TIMEOUT:
		a->kind = ROUTE_TEMP;
		return;
	}
	if (a->kind == ROUTE_MX && !hosts->n) {
		if (str_eq_nocase((struct str){c->domain, c->n}, hostname))
			a->kind = ROUTE_LOOP;
		buf_add_bytes(hosts, c->domain, c->n);
	}
	a->hosts = buf_str(hosts);
}

/* Hosts that the policy does not name are not used (RFC 8461 5). In mode testing it says nothing yet. */
static void obey(struct route_call *c, const struct mta_sts_policy *p)
{
	BUF_SCOPED left = {0};
	struct str rest = buf_str(&c->hosts);

	if (!p || p->mode != MTA_STS_ENFORCE)
		return;
	while (rest.p) {
		struct str host = str_cut(&rest, ' ');
		if (!mta_sts_policy_has(p, host))
			continue;
		if (left.n)
			buf_byte(&left, ' ');
		buf_add(&left, host);
	}
	c->answer.verify = true;
	if (!left.n) {
		c->answer.kind = ROUTE_TEMP;
		c->answer.why = "the domain's MTA-STS policy names none of its MX hosts";
	}
	buf_clear(&c->hosts);
	buf_add(&c->hosts, buf_str(&left));
}

static void on_policy(void *ctx, const struct mta_sts_policy *p)
{
	struct route_call *c = ctx;

	obey(c, p);
	c->answer.hosts = buf_str(&c->hosts);
	c->done(c->ctx, &c->answer);
	buf_free(&c->hosts);
	free(c);
}

static void on_mx(void *ctx, struct message *reply, const struct err *err)
{
	struct route_call *c = ctx;
	(void)err; /* whatever it was: try again later */

	c->answer = (struct route_answer){.kind = ROUTE_TEMP};
	if (reply && reply->type == MSG_dns_reply)
		route_of_reply(c, &reply->dns_reply, &c->hosts, &c->answer);
	if (c->answer.kind == ROUTE_MX && c->sts)
		sts_find(c->sts, (struct str){c->domain, c->n}, on_policy, c);
	else
		on_policy(c, NULL);
}

static void route(void *ctx, struct str domain, route_done *done, void *done_ctx)
{
	struct role *r = ((struct sender *)ctx)->role;
	struct route_call *c = mem_new(struct route_call);
	struct message m = {.type = MSG_dns_query};
	struct err err = {0};

	*c = (struct route_call){
		.role = r, .sts = ((struct sender *)ctx)->sts, .done = done, .ctx = done_ctx};
	c->n = domain.n < sizeof(c->domain) ? domain.n : 0;
	memcpy(c->domain, domain.p, c->n);
	if (c->n && domain.p[0] == '[') { /* an address literal: no look-up */
		done(done_ctx, &(struct route_answer){.kind = ROUTE_MX, .hosts = domain, .ttl_s = 3600});
		free(c);
		return;
	}
	m.dns_query.name = (struct str){c->domain, c->n};
	m.dns_query.type = DNS_MX;
	if (!c->n || !channel_call_async(role_channel(r, CHANNEL_DNS, ROLE_DNS, 0), &m, DNS_WAIT_MS,
					 on_mx, c, &err))
		on_mx(c, NULL, &err);
}

/* ---- transactions ------------------------------------------------------------------------------------- */

struct relay_call {
	relay_done *done;
	void *ctx;
	size_t rcpt_n;
};

static void fail(struct relay_call *c, const char *why)
{
	ARENA_SCOPED a = arena_new();
	struct relay_reply *replies = arena_array(a, c->rcpt_n, sizeof(*replies));

	for (size_t k = 0; k < c->rcpt_n; k++)
		replies[k] = (struct relay_reply){.scope = RELAY_MESSAGE,
						  .status = {4, 3, 0},
						  .outcome = OUTCOME_SYSTEM_TEMP,
						  .text = str_of(why)};
	c->done(c->ctx, &(struct relay_result){.rcpt = replies, .rcpt_n = c->rcpt_n});
	free(c);
}

static void on_relayed(void *ctx, struct message *reply, const struct err *err)
{
	struct relay_call *c = ctx;
	ARENA_SCOPED a = arena_new();
	struct relay_result r;
	struct err bad = {0};

	if (!reply || reply->type != MSG_relay_result ||
	    !relay_result_decode(reply->relay_result.result, a, &r, &bad) || r.rcpt_n != c->rcpt_n) {
		log_err(LOG_WARN, "queue.relay.lost", reply ? &bad : err);
		fail(c, "the relay process is not available");
		return;
	}
	c->done(c->ctx, &r);
	free(c);
}

/* The job to relay; fields go in front of the content. */
static void hand_over(struct role *r, struct relay_call *c, struct str job, struct str fields,
		      struct str content, int side_fd, uint64_t side_bytes)
{
	struct message m = {.type = MSG_relay_job};
	BUF_SCOPED whole = {0};
	FD_SCOPED body = -1;
	struct err err = {0};

	if (fields.n) {
		buf_add(&whole, fields);
		buf_add(&whole, content);
		content = buf_str(&whole);
	}
	m.relay_job.job = job;
	m.relay_job.body = -1;
	m.relay_job.side = side_fd;
	m.relay_job.side_bytes = side_bytes;
	if (content.n <= INLINE_MAX) {
		m.relay_job.content = content;
	} else {
		body = sealed_make("message", content);
		if (body < 0) {
			fail(c, "no memory for a message");
			return;
		}
		m.relay_job.body = body;
	}
	if (!channel_call_async(role_channel(r, CHANNEL_RELAY, ROLE_RELAY, 0), &m, RELAY_WAIT_MS,
				on_relayed, c, &err)) {
		log_err(LOG_WARN, "queue.relay.lost", &err);
		fail(c, "the relay process is not available");
	}
}

/* A message on its way through DKIM: a copy of all that is needed of it. */
struct to_sign {
	struct sender *sender;
	struct relay_call *call;
	struct arena *arena;
	struct str job;
	struct dkim_letter letter;
};

/* On a worker. */
static void sign_and_send(void *ctx)
{
	struct to_sign *t = ctx;
	BUF_SCOPED fields = {0};
	struct err err = {0};

	log_context(STR_NONE, id_str(&t->letter.id), STR_NONE);
	if (queue_dkim_sign(t->sender->dkim, &t->letter, &fields, &err))
		hand_over(t->sender->role, t->call, t->job, buf_str(&fields), t->letter.content,
			  t->letter.side_fd, t->letter.side_bytes);
	else
		fail(t->call, "the message cannot be signed just now (DKIM)");
	log_context_clear();
	fd_close(&t->letter.side_fd);
	arena_free(t->arena);
	free(t);
}

static bool sign_first(struct sender *s, const struct relay_job *job, struct relay_call *c, struct str blob)
{
	const struct envelope *e = job->envelope;
	struct dkim_letter letter = {.id = job->id, .own_notice = job->own_notice, .origin = e->origin,
				     .account = e->account, .ticket = e->submission_mac,
				     .peer = e->peer.address, .content = job->content,
				     .side_fd = job->content_fd, .side_bytes = job->content_fd_bytes};

	if (!queue_dkim_concerns(s->dkim, &letter))
		return false;
	struct to_sign *t = mem_new(struct to_sign);
	struct arena *a = arena_new();
	*t = (struct to_sign){s, c, a, arena_str(a, blob), letter};
	t->letter.account = arena_str(a, letter.account);
	t->letter.ticket = arena_str(a, letter.ticket);
	t->letter.peer = arena_str(a, letter.peer);
	t->letter.content = arena_str(a, letter.content);
	if (letter.side_fd >= 0 && (t->letter.side_fd = fcntl(letter.side_fd, F_DUPFD_CLOEXEC, 0)) < 0) {
		fail(c, "no descriptor for a message");
		arena_free(a);
		free(t);
		return true;
	}
	net_run(s->role->net, sign_and_send, t);
	return true;
}

static void relay(void *ctx, const struct relay_job *job, relay_done *done, void *done_ctx)
{
	struct sender *s = ctx;
	struct relay_call *c = mem_new(struct relay_call);
	BUF_SCOPED blob = {0};

	*c = (struct relay_call){done, done_ctx, job->rcpt_n};
	relay_job_encode(&blob, job);
	if (!sign_first(s, job, c, buf_str(&blob)))
		hand_over(s->role, c, buf_str(&blob), STR_NONE, job->content, job->content_fd,
			  job->content_fd_bytes);
}

struct relay_services relay_services_of(struct role *r, struct queue_dkim *dkim, struct sts *sts)
{
	struct sender *s = arena_new_of(r->arena, struct sender);

	*s = (struct sender){.role = r, .sts = sts, .dkim = dkim};
	return (struct relay_services){s, route, relay};
}

/* ---- settings ----------------------------------------------------------------------------------------- */

static bool tls_named(struct str s, enum relay_tls *out)
{
	static const char *const names[] = {"none", "may", "encrypt", "verify", "secure", "dane"};
	for (int i = 0; i < 6; i++)
		if (str_eq(s, str_of(names[i]))) {
			*out = (enum relay_tls)i;
			return true;
		}
	return false;
}

static bool read_password(struct str path, struct arena *a, struct str *out, struct err *err)
{
	BUF_SCOPED b = {0};
	const char *name = arena_cstr(a, path);

	if (!name || !file_read_whole(AT_FDCWD, name, PASSWORD_MAX, &b, err))
		return err_while(err, "reading the password file of a route");
	*out = arena_str(a, str_trim(buf_str(&b)));
	return true;
}

static bool parse_route(struct str row, struct arena *a, struct queue_route *out, struct err *err)
{
	struct str rest = row, words[2] = {STR_NONE, STR_NONE};
	size_t n = 0;

	*out = (struct queue_route){.tls = RELAY_TLS_MAY};
	while (rest.p) {
		struct str w = str_cut(&rest, ' ');
		bool good = true;
		if (!w.n)
			continue;
		if (n < 2)
			words[n++] = w;
		else if (str_starts(w, STR("tls=")))
			good = tls_named(str_from(w, 4), &out->tls);
		else if (str_starts(w, STR("from=")))
			out->from = arena_lower(a, str_from(w, 5));
		else if (str_eq(w, STR("lmtp")))
			out->lmtp = true;
		else if (str_starts(w, STR("user=")))
			out->user = arena_str(a, str_from(w, 5));
		else if (str_starts(w, STR("password_file=")))
			good = read_password(str_from(w, 14), a, &out->password, err);
		else
			good = false;
		if (!good)
			return err->kind != ERR_NONE
				       ? false
				       : err_set(err, ERR_SYNTAX, "routes: \"%.*s\" is not understood",
						 STR_ARG(w));
	}
	if (n < 2)
		return err_set(err, ERR_SYNTAX, "routes: \"%.*s\" names no host", STR_ARG(row));
	out->pattern = arena_lower(a, words[0]);
	struct str hosts = arena_str(a, words[1]);
	for (size_t i = 0; i < hosts.n; i++)
		if (hosts.p[i] == ',')
			((char *)(uintptr_t)hosts.p)[i] = ' ';
	out->hosts = hosts;
	return true;
}

bool relay_routes(const struct config *c, struct arena *a, struct queue_route **out, size_t *out_n,
		  struct err *err)
{
	struct config_list l = config_list(c, SETTING_ROUTES);

	*out = arena_zalloc(a, (l.n ? l.n : 1) * sizeof(**out));
	for (*out_n = 0; *out_n < l.n; ++*out_n)
		if (!parse_route(l.v[*out_n], a, &(*out)[*out_n], err))
			return false;
	return true;
}
