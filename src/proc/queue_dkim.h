/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * proc/queue_dkim.h: queue's half of DKIM: which mail is signed, with which keys, and whether the DNS
 * has them. The private halves are in keys (keys_dkim.h), which decides for itself.
 *
 * Mail is signed when it leaves, at each attempt anew, for the domain of its author: what a login
 * submitted that may use that domain, notices of our own, and mail of dkim.sign_networks. Of each
 * algorithm the newest key that the DNS has answered with signs; where no key of a domain was ever seen
 * there, its mail goes unsigned. Once signing has begun, mail that cannot be signed waits. What an alias
 * hands on to another server is sealed (ARC), where dkim.seal_domain is set.
 */
#pragma once
#include "base/err.h"
#include "base/ids.h"
#include "mail/envelope.h"

struct role;
struct buf;
struct queue_dkim;

struct queue_dkim *queue_dkim_new(struct role *r);
/* spool/dkim: which keys were seen in the DNS. Before the sandbox or after. */
bool queue_dkim_open(struct queue_dkim *d, int spool_fd, struct err *err) MUST_CHECK;
/* Rows of sender_auth/dkim/keyring.h, replacing what there was. */
bool queue_dkim_load(struct queue_dkim *d, struct str table, struct err *err) MUST_CHECK;
/* Every second: asks the DNS what is due, writes what was learnt. May block on disk. */
void queue_dkim_tick(struct queue_dkim *d);
/* {"verb":"dkim.status"}, {"verb":"dkim.check","seen":[{"domain","selector"}]} (the same; those are in the
 * DNS, the others are asked for anew); other verbs of dkim are for the audit log. False: not ours. */
bool queue_dkim_control(struct queue_dkim *d, struct str request, struct buf *reply);

struct dkim_letter { /* a message on its way out */
	struct id id;
	bool own_notice; /* made here */
	enum envelope_origin origin;
	struct str account, ticket, peer;
	struct str content; /* followed by */
	int side_fd;        /* -1: none */
	uint64_t side_bytes;
};
/* Could it be one to sign? Cheap: no look at the content. */
bool queue_dkim_concerns(struct queue_dkim *d, const struct dkim_letter *m);
/* Appends the fields to put on top, or nothing where it is not signed. False: it is one to sign and
 * that cannot be done now. Blocks: for workers. */
bool queue_dkim_sign(struct queue_dkim *d, const struct dkim_letter *m, struct buf *fields,
		     struct err *err) MUST_CHECK;
