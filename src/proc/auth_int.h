/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* proc/auth_int.h: the auth role's two halves: look-ups and control (auth.c), logins (auth_login.c). */
#pragma once
#include "auth/sasl.h"
#include "auth/ticket.h"
#include "auth/verdict.h"
#include "directory/account.h"
#include "proc/role_int.h"

struct auth_pool;
struct auth_role {
	struct role *role;
	struct directory *directory;
	struct auth_pool *pool; /* NULL: the directory is asked where the question comes in */
	struct verdict_engine *verdicts;
	struct ticket_key mac_key;
	char fake_secret[32]; /* salts of users that do not exist */
	struct lock lock;
	/* guarded by lock */
	struct map *attempts; /* struct attempt by door and number */
	uint64_t logins, failures, lookups;
};

/* auth_pool.c: a question to the directory, on a thread that may wait for it. The structure is the first
 * member of the asker's; run() owns it. */
struct question {
	void (*run)(struct auth_role *a, struct directory *d, struct question *q);
	struct question *next;
};
bool auth_pool_prepare(struct auth_role *a, struct sandbox *s, struct err *err) MUST_CHECK;
bool auth_pool_start(struct auth_role *a, struct err *err) MUST_CHECK;
/* False: too many wait; run() was not called. */
bool auth_ask(struct auth_role *a, struct question *q) MUST_CHECK;
struct directory *auth_control_directory(struct auth_role *a);
void auth_pool_configured(struct auth_role *a, const struct config *c);
unsigned auth_pool_waiting(struct auth_role *a);

/* auth_rehash.c: the login was right; a weak hash is told in the log and replaced. On a hashing thread. */
void auth_rehash(struct auth_role *a, const struct account *account, struct str password);

/* auth_login.c */
void auth_on_begin(struct auth_role *a, struct peer *p, uint64_t id, const struct msg_auth_begin *m);
void auth_on_step(struct auth_role *a, struct peer *p, uint64_t id, const struct msg_auth_step *m);
void auth_on_cancel(struct auth_role *a, struct peer *p, uint64_t attempt);
void auth_door_lost(struct auth_role *a, struct peer *p);
void auth_on_verdict(void *ctx, const struct verdict *v);
