/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* proc/door_tls.c: contexts from the chains the master gives; signatures come from keys. */
#include "base/log.h"
#include "base/secret.h"
#include "crypto/tls.h"
#include "crypto/tls_provider.h"
#include "proc/door_int.h"
#include "proc/keys_int.h"
#include <string.h>

enum { CHAINS_MAX = 32, PEM_MAX = 1 << 20, SIGN_WAIT_MS = 2000 };

/* On the worker that runs the handshake. As many signatures as connections, says keys. */
static bool sign_remotely(void *ctx, const unsigned char id[KEY_ID_SIZE], enum sign_form form,
			  const void *text, size_t n, struct buf *sig, struct err *err)
{
	struct door_tls *d = ctx;
	struct channel *ch = role_channel(d->role, CHANNEL_SIGN, ROLE_KEYS, 0);
	struct net_counts counts;
	ARENA_SCOPED a = arena_new();

	net_counts(d->role->net, &counts);
	lock_take(&d->lock);
	uint32_t fresh = (uint32_t)(counts.accepted - d->credited);
	d->credited = counts.accepted;
	lock_drop(&d->lock);
	struct message credit = {.type = MSG_sign_credit, .sign_credit.connections = fresh};
	if (fresh)
		(void)channel_post(ch, &credit);
	struct message q = {.type = MSG_sign,
			    .sign = {{(const char *)id, KEY_ID_SIZE}, (uint32_t)form, {text, n}}};
	struct message r;
	net_block_begin(d->role->net);
	bool good = channel_call(ch, &q, SIGN_WAIT_MS, a, &r, err);
	net_block_end(d->role->net);
	if (!good)
		return false;
	if (r.sign_result.code)
		return err_set(err, (enum err_kind)r.sign_result.code, "keys refused to sign");
	buf_add(sig, r.sign_result.signature);
	return true;
}

void door_tls_init(struct door_tls *d, struct role *r)
{
	d->role = r;
	lock_init(&d->lock, LOCK_PROC);
}

static void set_ticket_keys(struct door_tls *d)
{
	struct tls_ticket_key keys[TLS_TICKET_KEYS_MAX];
	size_t n = d->ticket_keys_n / sizeof(keys[0]);

	lock_held(&d->lock);
	if (!d->now)
		return;
	if (n > TLS_TICKET_KEYS_MAX)
		n = TLS_TICKET_KEYS_MAX;
	memcpy(keys, d->ticket_keys, n * sizeof(keys[0]));
	tls_context_set_ticket_keys(d->now, keys, n);
	secret_wipe(keys, sizeof(keys));
}

static bool build(struct door_tls *d, struct tls_context **out, struct err *err)
{
	CONFIG_SCOPED c = role_config(d->role);
	struct tls_chain chains[CHAINS_MAX] = {0};
	struct tls_server_settings s = {
		.provider = d->provider, .chains = chains, .door = str_of(role_name(d->role->id))};
	struct str rest = buf_str(&d->pem), pem;

	while (pem_chain_next(&rest, &pem) && s.chain_count < CHAINS_MAX)
		chains[s.chain_count++].cert_pem = pem;
	s.min_version = config_enum(c, SETTING_TLS_MIN_VERSION) == CONFIG_TLS_1_3 ? "1.3" : "1.2";
	return tls_context_server(&s, out, err);
}

/* A context that cannot be built leaves the one before in place. */
static bool renew(struct door_tls *d, struct err *err)
{
	struct tls_context *fresh = NULL;

	if (d->pem.n && !build(d, &fresh, err))
		return false;
	lock_take(&d->lock);
	tls_context_unref(d->before);
	d->before = d->now;
	d->now = fresh;
	set_ticket_keys(d);
	lock_drop(&d->lock);
	if (!d->role->running || !fresh)
		return true;
	net_set_tls(d->role->net, fresh);
	if (!d->before && d->arrived)
		d->arrived(d->arrived_ctx);
	return true;
}

void door_tls_configured(struct door_tls *d)
{
	struct err err;

	if (!renew(d, &err))
		log_err(LOG_ERROR, "door.tls.failed", &err);
}

static void take_chains(struct door_tls *d, struct msg_role_certificates *m)
{
	struct err err = {0};
	int fd = m->pem;

	m->pem = -1;
	buf_clear(&d->pem);
	if (fd >= 0 && !sealed_read(fd, PEM_MAX, &d->pem, &err))
		log_err(LOG_ERROR, "door.tls.failed", &err);
	if (!d->provider) /* at the start: door_tls_prepare */
		return;
	if (!renew(d, &err))
		log_err(LOG_ERROR, "door.tls.failed", &err);
	else
		log_event(LOG_INFO, "door.tls.renewed", K_INT(value, m->generation));
}

bool door_tls_on_master(struct door_tls *d, struct message *m)
{
	if (m->type == MSG_role_certificates) {
		take_chains(d, &m->role_certificates);
		return true;
	}
	if (m->type == MSG_role_ticket_keys) {
		LOCK_SCOPED(&d->lock);
		d->ticket_keys_n = m->role_ticket_keys.keys.n;
		memcpy(d->ticket_keys, m->role_ticket_keys.keys.p, d->ticket_keys_n);
		set_ticket_keys(d);
		return true;
	}
	return false;
}

bool door_tls_prepare(struct door_tls *d, struct err *err)
{
	return tls_provider_new(sign_remotely, d, &d->provider, err) && renew(d, err);
}

struct tls_context *door_tls(struct door_tls *d)
{
	LOCK_SCOPED(&d->lock);
	return d->now;
}
