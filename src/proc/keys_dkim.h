/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * proc/keys_dkim.h: DKIM signatures in the keys role (PROCESSES C1).
 *
 * Signed is only what has the form of a DKIM signature's input (sender_auth/dkim/form.h), of now, for
 * the key's own domain and selector, and for whom auth has let in: the ticket of the submission names
 * that domain. Without a ticket: notices of MAILER-DAEMON at this host, for this host's domains; ARC sets
 * of the one domain that dkim.seal_domain names; and anything where dkim.sign_networks says so. A captured
 * queue can have mail signed of the submissions that it has tickets of; it cannot get at a key, nor sign
 * for other domains, nor for later.
 */
#pragma once
#include "base/err.h"
#include "ipc/channel.h"
#include "json/json.h"

struct keys_dkim;
struct keys_dkim *keys_dkim_new(void);
void keys_dkim_free(struct keys_dkim *k); /* before start, or in tests */
/* Rows of sender_auth/dkim/keyring.h with their private halves; replaces all that there were. */
bool keys_dkim_load(struct keys_dkim *k, struct str table, struct err *err) MUST_CHECK;
void keys_dkim_mac_key(struct keys_dkim *k, struct str key);
struct keys_rules { /* settings */
	struct str hostname, mydomain, seal_domain;
	bool without_ticket;
};
void keys_dkim_rules(struct keys_dkim *k, const struct keys_rules *r);
bool keys_dkim_start(struct keys_dkim *k, struct err *err) MUST_CHECK; /* threads */
/* dkim_sign or dkim_sign_long; the answer comes from one of the threads. */
void keys_dkim_request(struct keys_dkim *k, struct channel *ch, uint64_t id, struct message *m);
/* ERR_DENIED: the form, the domain, the ticket; ERR_NOT_FOUND: no such key. */
bool keys_dkim_sign(struct keys_dkim *k, const struct msg_dkim_sign *m, struct str text, int64_t now_unix,
		    struct buf *sig, struct err *err) MUST_CHECK;
void keys_dkim_status(struct keys_dkim *k, struct json_writer *w);
