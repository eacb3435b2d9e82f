/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "proc/keys_dkim.h"
#include "auth/ticket.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/secret.h"
#include "base/lock.h"
#include "base/file.h"
#include "crypto/key.h"
#include "sender_auth/dkim/form.h"
#include "sender_auth/dkim/keyring.h"
#include "sender_auth/dkim/record.h"
#include "sender_auth/dkim/sign.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS_MAX = 4, WAITING_MAX = 1024 };

struct dkim_key {
	struct dkim_key *next;
	struct key *key;
	struct str domain, selector;
	enum dkim_algorithm algorithm;
};
struct key_table {
	struct arena *arena;
	struct map *by_id;
	struct dkim_key *first;
};
struct request {
	struct request *next;
	struct channel *ch;
	uint64_t id;
	struct arena *arena;
	struct msg_dkim_sign m;
	int long_text; /* -1: text is in m */
};
struct keys_dkim {
	pthread_rwlock_t rules; /* read-held while signing */
	/* guarded by rules */
	struct key_table table;
	struct ticket_key mac_key;
	bool has_mac_key, without_ticket;
	char hostname[256], mydomain[256], seal_domain[256];

	struct lock lock;
	struct cond work;
	/* guarded by lock */
	struct request *first, **tail;
	size_t waiting;
	uint64_t signed_n, refused;
};

struct keys_dkim *keys_dkim_new(void)
{
	struct keys_dkim *k = mem_new(struct keys_dkim);

	pthread_rwlock_init(&k->rules, NULL);
	lock_init(&k->lock, LOCK_CRYPTO);
	cond_init(&k->work);
	k->tail = &k->first;
	return k;
}

static void table_free(struct key_table *t)
{
	for (struct dkim_key *d = t->first; d; d = d->next)
		key_free(d->key);
	map_free(t->by_id);
	arena_free(t->arena);
}

void keys_dkim_free(struct keys_dkim *k)
{
	table_free(&k->table);
	pthread_rwlock_destroy(&k->rules);
	cond_fini(&k->work);
	lock_fini(&k->lock);
	secret_wipe(&k->mac_key, sizeof(k->mac_key));
	free(k);
}

/* ---- what the master says ------------------------------------------------------------------------- */

static bool add_key(struct key_table *t, const struct dkim_row *row, struct err *err)
{
	struct dkim_key *d = arena_new_of(t->arena, struct dkim_key);

	if (!dkim_key_load(row->pem, STR_NONE, &d->key, err))
		return false;
	d->next = t->first;
	t->first = d;
	d->domain = arena_str(t->arena, row->domain);
	d->selector = arena_str(t->arena, row->selector);
	if (!dkim_key_algorithm(d->key, &d->algorithm))
		return err_set(err, ERR_CORRUPT, "not a key for DKIM");
	/* One key under two selectors: the row's name tells them apart. */
	BUF_SCOPED name = {0};
	buf_fmt(&name, "%.*s %.*s ", STR_ARG(row->selector), STR_ARG(row->domain));
	buf_add_bytes(&name, key_id(d->key), KEY_ID_SIZE);
	map_put(t->by_id, buf_str(&name), d);
	return true;
}

bool keys_dkim_load(struct keys_dkim *k, struct str table, struct err *err)
{
	struct key_table fresh = {.arena = arena_new(), .by_id = map_new()};
	struct scan s = scan_of(table);
	struct dkim_row row;
	bool good = true;

	while (good && dkim_row_decode(&s, &row))
		good = add_key(&fresh, &row, err);
	if (good && !scan_end(&s))
		good = err_set(err, ERR_CORRUPT, "the table of DKIM keys is damaged");
	if (!good) {
		table_free(&fresh);
		return false;
	}
	pthread_rwlock_wrlock(&k->rules);
	struct key_table old = k->table;
	k->table = fresh;
	pthread_rwlock_unlock(&k->rules);
	table_free(&old);
	return true;
}

void keys_dkim_mac_key(struct keys_dkim *k, struct str key)
{
	pthread_rwlock_wrlock(&k->rules);
	k->has_mac_key = key.n == sizeof(k->mac_key.k);
	if (k->has_mac_key)
		memcpy(k->mac_key.k, key.p, key.n);
	pthread_rwlock_unlock(&k->rules);
}

static void put_name(char out[256], struct str s)
{
	size_t n = s.n < 255 ? s.n : 255;
	for (size_t i = 0; i < n; i++)
		out[i] = ascii_lower(s.p[i]);
	out[n] = 0;
}

void keys_dkim_rules(struct keys_dkim *k, const struct keys_rules *r)
{
	pthread_rwlock_wrlock(&k->rules);
	put_name(k->hostname, r->hostname);
	put_name(k->mydomain, r->mydomain);
	put_name(k->seal_domain, r->seal_domain);
	k->without_ticket = r->without_ticket;
	pthread_rwlock_unlock(&k->rules);
}

/* ---- may it be signed? ----------------------------------------------------------------------------- */

/* A notice of this host: one author, MAILER-DAEMON here. */
static bool own_notice(const struct keys_dkim *k, const struct dkim_form *f)
{
	ARENA_SCOPED a = arena_new();
	struct str author = arena_fmt(a, "<mailer-daemon@%s>", k->hostname);

	return k->hostname[0] && f->from_n == 1 && str_ends_nocase(f->from, author) &&
	       str_find_byte(f->from, '@') == f->from.n - author.n + str_find_byte(author, '@') &&
	       (str_eq(f->domain, str_of(k->hostname)) || str_eq(f->domain, str_of(k->mydomain)));
}

static bool authorised(const struct keys_dkim *k, const struct msg_dkim_sign *m, const struct dkim_form *f,
		       int64_t now, struct err *err)
{
	struct ticket t;
	struct str mac;

	if (f->kind != DKIM_FORM_MAIL) /* it speaks of results, not for an author */
		return str_eq(f->domain, str_of(k->seal_domain)) ||
		       err_set(err, ERR_DENIED, "%.*s does not seal", STR_ARG(f->domain));
	if (!m->ticket.n) {
		if (own_notice(k, f) || k->without_ticket)
			return true;
		return err_set(err, ERR_DENIED, "a signature for %.*s without a ticket", STR_ARG(f->domain));
	}
	if (!k->has_mac_key)
		return err_set(err, ERR_TEMP, "tickets cannot be checked yet");
	if (!ticket_unpack(m->ticket, &t, &mac))
		return err_set(err, ERR_DENIED, "a malformed ticket");
	t.address = m->account;
	if (!ticket_verify(&k->mac_key, &t, mac, now, 0))
		return err_set(err, ERR_DENIED, "a ticket that auth did not give");
	if (!str_eq_nocase(t.domain, f->domain))
		return err_set(err, ERR_DENIED, "a ticket for %.*s, not for %.*s", STR_ARG(t.domain),
			       STR_ARG(f->domain));
	return true;
}

bool keys_dkim_sign(struct keys_dkim *k, const struct msg_dkim_sign *m, struct str text, int64_t now_unix,
		    struct buf *sig, struct err *err)
{
	ARENA_SCOPED a = arena_new();
	BUF_SCOPED name = {0};
	struct dkim_form form;

	if (!dkim_form_check(a, text, now_unix, &form, err))
		return false;
	buf_fmt(&name, "%.*s %.*s ", STR_ARG(form.selector), STR_ARG(form.domain));
	buf_add(&name, m->key);
	pthread_rwlock_rdlock(&k->rules);
	const struct dkim_key *d = k->table.by_id ? map_get(k->table.by_id, buf_str(&name)) : NULL;
	bool good;
	if (!d)
		good = err_set(err, ERR_NOT_FOUND, "no such key for %.*s", STR_ARG(form.domain));
	else if (d->algorithm != form.algorithm)
		good = err_set(err, ERR_DENIED, "a= is not this key's");
	else
		good = authorised(k, m, &form, now_unix, err) &&
		       dkim_sign_with_key(d->key, d->algorithm, text, sig, err);
	pthread_rwlock_unlock(&k->rules);
	return good;
}

/* ---- requests ---------------------------------------------------------------------------------------- */

static void answer(struct keys_dkim *k, struct request *r, bool good, struct str sig, const struct err *err)
{
	struct message reply = {.type = MSG_dkim_signature};

	lock_take(&k->lock);
	*(good ? &k->signed_n : &k->refused) += 1;
	lock_drop(&k->lock);
	reply.dkim_signature.code = good ? 0 : (uint32_t)err->kind;
	reply.dkim_signature.signature = sig;
	if (!good) {
		reply.dkim_signature.why = str_of(err->text);
		log_event(LOG_ERROR, "keys.dkim.refused", K_STR(account, r->m.account),
			  K_CSTR(why, err->text));
	}
	(void)channel_reply(r->ch, r->id, &reply);
}

static void serve(struct keys_dkim *k, struct request *r)
{
	BUF_SCOPED text = {0};
	BUF_SCOPED sig = {0};
	struct err err = {0};
	int fd = fd_take(&r->long_text);
	bool good = fd < 0 || sealed_read(fd, DKIM_FORM_MAX, &text, &err);

	good = good && keys_dkim_sign(k, &r->m, text.n ? buf_str(&text) : r->m.text, clock_wall_s(), &sig,
				      &err);
	answer(k, r, good, good ? buf_str(&sig) : STR_NONE, &err);
	arena_free(r->arena);
	free(r);
}

static void *sign_main(void *ctx)
{
	struct keys_dkim *k = ctx;

	for (;;) {
		lock_take(&k->lock);
		while (!k->first)
			cond_wait(&k->work, &k->lock);
		struct request *r = k->first;
		k->first = r->next;
		if (!k->first)
			k->tail = &k->first;
		k->waiting--;
		lock_drop(&k->lock);
		serve(k, r);
	}
	return NULL;
}

static struct request *request_new(struct message *m)
{
	struct request *r = mem_new(struct request);
	struct arena *a = arena_new();

	*r = (struct request){.arena = a, .long_text = -1};
	if (m->type == MSG_dkim_sign) {
		const struct msg_dkim_sign *s = &m->dkim_sign;
		r->m = (struct msg_dkim_sign){arena_str(a, s->key), arena_str(a, s->account),
					      arena_str(a, s->ticket), arena_str(a, s->text)};
	} else {
		struct msg_dkim_sign_long *s = &m->dkim_sign_long;
		r->m = (struct msg_dkim_sign){arena_str(a, s->key), arena_str(a, s->account),
					      arena_str(a, s->ticket), STR_NONE};
		r->long_text = fd_take(&s->text);
	}
	return r;
}

void keys_dkim_request(struct keys_dkim *k, struct channel *ch, uint64_t id, struct message *m)
{
	struct request *r = request_new(m);
	struct err err = {0};

	r->ch = ch;
	r->id = id;
	lock_take(&k->lock);
	bool full = k->waiting >= WAITING_MAX; /* more than a channel's credit: our bug, or hostile */
	if (!full) {
		*k->tail = r;
		k->tail = &r->next;
		k->waiting++;
		cond_signal(&k->work);
	}
	lock_drop(&k->lock);
	if (!full)
		return;
	err_set(&err, ERR_LIMIT, "too many signatures at once");
	answer(k, r, false, STR_NONE, &err);
	fd_close(&r->long_text);
	arena_free(r->arena);
	free(r);
}

bool keys_dkim_start(struct keys_dkim *k, struct err *err)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	for (long i = 0; i < (cores < 1 ? 1 : cores < THREADS_MAX ? cores : THREADS_MAX); i++) {
		pthread_t t;
		errno = pthread_create(&t, NULL, sign_main, k);
		if (errno)
			return err_sys(err, "pthread_create");
	}
	return true;
}

void keys_dkim_status(struct keys_dkim *k, struct json_writer *w)
{
	pthread_rwlock_rdlock(&k->rules);
	json_write_member_int(w, "dkim_keys", k->table.by_id ? (int64_t)map_count(k->table.by_id) : 0);
	pthread_rwlock_unlock(&k->rules);
	LOCK_SCOPED(&k->lock);
	json_write_member_int(w, "dkim_signed", (int64_t)k->signed_n);
	json_write_member_int(w, "dkim_refused", (int64_t)k->refused);
}
