/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * SPF, DKIM and DMARC of what strangers hand in (RFC 7208, 6376, 9989): the header is copied before we
 * change it, the body given on as it goes by, the DNS asked when all is there. The answers stand in an
 * Authentication-Results field and decide nothing else than what setting sender_auth.dmarc says. Mail of
 * a login, of mynetworks and by LMTP has been somebody else's to check.
 */
#include "base/clock.h"
#include "base/log.h"
#include "dns/backend.h"
#include "sender_auth/incoming.h"
#include "smtp/server/server_int.h"
#include <netinet/in.h>

struct str smtp_authserv_id(const struct smtp_session *s)
{
	struct str id = config_str(s->config, SETTING_SENDER_AUTH_ID);
	return id.n ? id : smtp_hostname(s);
}

static bool is_checked(const struct smtp_session *s)
{
	return smtp_is(s, SMTP_MX) && !s->trusted && s->account.n == 0 && s->server->services.resolver &&
	       config_bool(s->config, SETTING_SENDER_AUTH_CHECK);
}

/* Views of the transaction and the snapshot. */
static struct incoming_options options_of(const struct smtp_session *s, struct smtp_tx *tx)
{
	struct config_list forwarders = config_list(s->config, SETTING_SENDER_AUTH_FORWARDERS);
	struct incoming_options o = {
		.authserv_id = smtp_authserv_id(s),
		.helo = buf_str(&s->helo),
		.mail_from = tx->envelope.reverse_path_text,
		.receiver = smtp_hostname(s),
		.forwarders = forwarders.v,
		.forwarders_n = forwarders.n,
		.check_arc = config_str(s->config, SETTING_DKIM_SEAL_DOMAIN).n > 0,
		.suffixes = s->server->services.suffixes,
		.now_unix = clock_wall_s(),
	};
	if (s->peer.len && s->peer.addr.sa.sa_family == AF_INET)
		o.ip = (struct str){(const char *)&s->peer.addr.v4.sin_addr, 4};
	else if (s->peer.len && s->peer.addr.sa.sa_family == AF_INET6)
		o.ip = (struct str){(const char *)&s->peer.addr.v6.sin6_addr, 16};
	return o;
}

void smtp_incoming_begin(struct smtp_session *s, struct smtp_tx *tx, size_t header_n)
{
	struct str message = {tx->body.p + tx->body_at, tx->body.n - tx->body_at};
	struct incoming_options o;
	if (!is_checked(s))
		return;
	o = options_of(s, tx);
	struct str header = smtp_header_absent(message) ? STR_NONE : str_sub(message, 0, header_n);
	tx->incoming = incoming_new(tx->arena, &o, arena_str(tx->arena, header));
}

void smtp_incoming_feed(struct smtp_tx *tx)
{
	if (tx->incoming && tx->fed_at < tx->body.n)
		incoming_body(tx->incoming, (struct str){tx->body.p + tx->fed_at, tx->body.n - tx->fed_at});
	tx->fed_at = tx->body.n;
}

/* What the author's domain wants, as far as we follow it. */
static void act(struct smtp_session *s, struct smtp_tx *tx, const struct incoming_verdict *v)
{
	int mode = config_enum(s->config, SETTING_SENDER_AUTH_DMARC);
	if (mode == CONFIG_DMARC_NONE)
		return;
	if (v->wanted == DMARC_POLICY_REJECT && mode == CONFIG_DMARC_REJECT)
		smtp_tx_fail(tx, OUTCOME_SENDER_AUTH, "refused by the DMARC policy of %.*s",
			     STR_ARG(str_sub(v->dmarc.author_domain, 0, 100)));
	tx->envelope.junk = v->wanted != DMARC_POLICY_NONE || v->several_authors;
}

static void log_verdict(const struct smtp_tx *tx, const struct incoming_verdict *v)
{
	BUF_SCOPED words = {0};
	incoming_words(&words, v);
	log_event(LOG_INFO, "smtp.checked", K_STR(qid, id_str(&tx->envelope.id)),
		  K_STR(domain, v->dmarc.author_domain), K_STR(why, buf_str(&words)));
}

/* Too many wait for the DNS already: a resolver that knows nothing, so all of it is temporary. */
static void no_answer(struct dns_resolver *r, struct arena *a, struct str name, enum dns_type type,
		      struct dns_answer *out)
{
	(void)r;
	(void)a;
	(void)name;
	(void)type;
	out->status = DNS_TIMEOUT;
}

static void nothing_to_free(struct dns_resolver *r)
{
	(void)r;
}

void smtp_incoming_end(struct smtp_session *s, struct smtp_tx *tx)
{
	const struct smtp_services *services = &s->server->services;
	struct dns_resolver silent = {no_answer, nothing_to_free};
	struct incoming_options o;
	struct incoming_verdict v;
	BUF_SCOPED field = {0};
	if (!tx->incoming)
		return;
	o = options_of(s, tx);
	smtp_incoming_feed(tx);
	bool may_ask = smtp_lookups_take(s->server->limits);
	struct dns_resolver *r = may_ask ? services->resolver(services->ctx) : &silent;
	incoming_end(tx->incoming, r, &v);
	dns_resolver_free(r);
	if (may_ask)
		smtp_lookups_give(s->server->limits);
	log_verdict(tx, &v);
	act(s, tx, &v);
	if (tx->failure != OUTCOME_OK)
		return;
	incoming_field(&field, &o, &v);
	smtp_put_in_front(tx, buf_str(&field));
}
