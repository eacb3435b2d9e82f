/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * proc/keys.c: the keys role. Identity: pabal-keys. Sandbox: no files, no sockets. Descriptors: none.
 * Messages: role_keys from the master (all private keys; the former set stays usable until the next
 * but one, so doors can change over) and role_dkim; sign and sign_credit from the doors; dkim_sign from
 * queue. Threads: a reader per door, a few for DKIM (keys_dkim.c).
 *
 * A door gets signatures of handshakes only (crypto/tls_form.h), and no more of them than connections
 * that it accepted, with some in advance: what a captured door can have signed is bounded.
 */
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"
#include "crypto/tls.h"
#include "crypto/tls_form.h"
#include "proc/keys_dkim.h"
#include "proc/keys_int.h"
#include "proc/role_int.h"
#include <pthread.h>
#include <stdlib.h>

enum { KEYS_MAX = 32, PEM_MAX = 1 << 20, DKIM_TABLE_MAX = 64 << 20, CREDIT_AHEAD = 256, CREDIT_MAX = 100000 };

struct key_set {
	struct key *key[KEYS_MAX];
	size_t n;
	uint32_t generation;
};
struct door {
	struct peer *peer;
	int64_t credit;
	uint64_t asked;
};
struct keys_role {
	pthread_rwlock_t sets; /* read-held while signing */
	struct key_set now, before; /* guarded by sets */
	struct keys_dkim *dkim;
	struct lock lock;
	/* guarded by lock */
	struct door doors[2 * ROLE_PROCESSES_MAX];
	size_t doors_n;
	uint64_t signed_n, refused;
};

void *keys_create(struct role *r)
{
	struct keys_role *k = mem_new(struct keys_role);

	(void)r;
	k->dkim = keys_dkim_new();
	pthread_rwlock_init(&k->sets, NULL);
	lock_init(&k->lock, LOCK_CRYPTO);
	return k;
}

static void free_set(struct key_set *s)
{
	for (size_t i = 0; i < s->n; i++)
		key_free(s->key[i]);
	s->n = 0;
}

void keys_free(struct keys_role *k)
{
	free_set(&k->now);
	free_set(&k->before);
	keys_dkim_free(k->dkim);
	pthread_rwlock_destroy(&k->sets);
	lock_fini(&k->lock);
	free(k);
}

bool keys_load(struct keys_role *k, struct str pems, uint32_t generation, struct err *err)
{
	struct key_set fresh = {.generation = generation};
	struct str rest = pems, pem;

	while (pem_chain_next(&rest, &pem)) {
		if (fresh.n == KEYS_MAX) {
			free_set(&fresh);
			return err_set(err, ERR_LIMIT, "more than %d keys", KEYS_MAX);
		}
		if (!key_load(pem, STR_NONE, &fresh.key[fresh.n], err)) {
			free_set(&fresh);
			return false;
		}
		fresh.n++;
	}
	pthread_rwlock_wrlock(&k->sets);
	free_set(&k->before);
	k->before = k->now;
	k->now = fresh;
	pthread_rwlock_unlock(&k->sets);
	return true;
}

static void take_keys(struct role *r, struct msg_role_keys *m)
{
	BUF_SCOPED pems = {0};
	struct message taken = {.type = MSG_role_taken, .role_taken.generation = m->generation};
	struct message failed = {.type = MSG_role_failed};
	struct err err = {0};
	int fd = m->pem;

	m->pem = -1;
	bool good = (fd < 0 || sealed_read(fd, PEM_MAX, &pems, &err)) &&
		    keys_load(r->state, buf_str(&pems), m->generation, &err);
	secret_wipe(pems.p, pems.n);
	if (!good) {
		log_err(LOG_ERROR, "keys.load.failed", &err);
		failed.role_failed.why = str_of(err.text);
	}
	role_post(r, good ? &taken : &failed);
}

/* A damaged table leaves the former one. */
static void take_dkim(struct role *r, struct msg_role_dkim *m)
{
	struct keys_role *k = r->state;
	BUF_SCOPED table = {0};
	struct err err = {0};
	int fd = m->table;

	m->table = -1;
	bool good = (fd < 0 || sealed_read(fd, DKIM_TABLE_MAX, &table, &err)) &&
		    keys_dkim_load(k->dkim, buf_str(&table), &err);
	secret_wipe(table.p, table.n);
	if (!good)
		log_err(LOG_ERROR, "keys.dkim.failed", &err);
}

static void keys_on_master(struct role *r, struct message *m)
{
	struct keys_role *k = r->state;

	if (m->type == MSG_role_keys)
		take_keys(r, &m->role_keys);
	else if (m->type == MSG_role_dkim)
		take_dkim(r, &m->role_dkim);
	else if (m->type == MSG_role_mac_key)
		keys_dkim_mac_key(k->dkim, m->role_mac_key.key);
}

static struct door *door_of(struct keys_role *k, struct peer *p)
{
	lock_held(&k->lock);
	for (size_t i = 0; i < k->doors_n; i++)
		if (k->doors[i].peer == p)
			return &k->doors[i];
	k->doors[k->doors_n] = (struct door){p, CREDIT_AHEAD, 0};
	return &k->doors[k->doors_n++];
}

static const struct key *find_in(const struct key_set *s, struct str id)
{
	for (size_t i = 0; i < s->n; i++)
		if (str_eq(id, (struct str){(const char *)key_id(s->key[i]), KEY_ID_SIZE}))
			return s->key[i];
	return NULL;
}

/* One signature of the door's credit. */
static bool take_credit(struct keys_role *k, struct peer *p)
{
	LOCK_SCOPED(&k->lock);
	struct door *d = door_of(k, p);

	if (d->credit <= 0)
		return false;
	d->credit--;
	d->asked++;
	return true;
}

bool keys_sign(struct keys_role *k, struct peer *p, const struct msg_sign *m, struct buf *sig,
	       struct err *err)
{
	bool good = false;

	if (!take_credit(k, p))
		return err_set(err, ERR_LIMIT, "more signatures than connections");
	pthread_rwlock_rdlock(&k->sets);
	const struct key *key = find_in(&k->now, m->key);
	if (!key)
		key = find_in(&k->before, m->key);
	if (key)
		good = tls_form_sign(key, (enum sign_form)m->form, m->text, sig, err);
	else
		err_set(err, ERR_NOT_FOUND, "no such key");
	pthread_rwlock_unlock(&k->sets);
	return good;
}

void keys_credit(struct keys_role *k, struct peer *p, uint32_t connections)
{
	LOCK_SCOPED(&k->lock);
	struct door *d = door_of(k, p);

	d->credit += connections;
	if (d->credit > CREDIT_MAX)
		d->credit = CREDIT_MAX;
}

/* A door that was started again begins with the advance. */
static void keys_on_lost(void *ctx, struct channel *ch)
{
	struct peer *p = ctx;
	struct keys_role *k = p->role->state;

	(void)ch;
	if (p->kind != CHANNEL_SIGN)
		return;
	LOCK_SCOPED(&k->lock);
	door_of(k, p)->credit = CREDIT_AHEAD;
}

static void keys_on_message(void *ctx, struct channel *ch, uint64_t id, struct message *m)
{
	struct peer *p = ctx;
	struct keys_role *k = p->role->state;
	struct message reply = {.type = MSG_sign_result};
	BUF_SCOPED sig = {0};
	struct err err = {0};

	if (m->type == MSG_dkim_sign || m->type == MSG_dkim_sign_long) {
		keys_dkim_request(k->dkim, ch, id, m);
		return;
	}
	if (m->type == MSG_sign_credit) {
		keys_credit(k, p, m->sign_credit.connections);
		return;
	}
	bool good = keys_sign(k, p, &m->sign, &sig, &err);
	lock_take(&k->lock);
	*(good ? &k->signed_n : &k->refused) += 1;
	lock_drop(&k->lock);
	if (good)
		reply.sign_result.signature = buf_str(&sig);
	else
		log_event(LOG_ERROR, "keys.sign.refused", K_CSTR(role, role_name(p->other)),
			  K_CSTR(why, err.text));
	reply.sign_result.code = good ? 0 : (uint32_t)err.kind;
	(void)channel_reply(ch, id, &reply);
}

static void keys_configured(struct role *r)
{
	struct keys_role *k = r->state;
	CONFIG_SCOPED c = role_config(r);

	keys_dkim_rules(k->dkim, &(struct keys_rules){
		.hostname = config_str(c, SETTING_HOSTNAME),
		.mydomain = config_str(c, SETTING_MYDOMAIN),
		.seal_domain = config_str(c, SETTING_DKIM_SEAL_DOMAIN),
		.without_ticket = config_networks(c, SETTING_DKIM_SIGN_NETWORKS)->n > 0,
	});
}

static bool keys_prepare(struct role *r, struct sandbox *s, struct err *err)
{
	(void)s;
	keys_configured(r);
	return preload(PRELOAD_TLS, err);
}

static bool keys_start(struct role *r, struct err *err)
{
	struct keys_role *k = r->state;

	return keys_dkim_start(k->dkim, err);
}

static bool keys_drained(struct role *r)
{
	(void)r;
	return true;
}

static void keys_status(struct role *r, struct json_writer *w)
{
	struct keys_role *k = r->state;

	pthread_rwlock_rdlock(&k->sets);
	json_write_member_int(w, "keys", (int64_t)k->now.n);
	pthread_rwlock_unlock(&k->sets);
	keys_dkim_status(k->dkim, w);
	LOCK_SCOPED(&k->lock);
	json_write_member_int(w, "signed", (int64_t)k->signed_n);
	json_write_member_int(w, "refused", (int64_t)k->refused);
}

const struct role_form role_form_keys = {
	.create = keys_create,
	.prepare = keys_prepare,
	.start = keys_start,
	.configured = keys_configured,
	.on_master = keys_on_master,
	.on_message = keys_on_message,
	.on_lost = keys_on_lost,
	.drained = keys_drained,
	.status = keys_status,
};
