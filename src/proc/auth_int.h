/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* proc/auth_int.h: the auth role's two halves: look-ups and control (auth.c), logins (auth_login.c). */
#pragma once
#include "auth/sasl.h"
#include "auth/ticket.h"
#include "auth/verdict.h"
#include "directory/account.h"
#include "proc/role_int.h"

struct auth_role {
	struct role *role;
	struct directory *directory;
	struct verdict_engine *verdicts;
	struct ticket_key mac_key;
	char fake_secret[32]; /* salts of users that do not exist */
	struct lock lock;
	/* guarded by lock */
	struct map *attempts; /* struct attempt by door and number */
	uint64_t logins, failures, lookups;
};

/* auth_login.c */
void auth_on_begin(struct auth_role *a, struct peer *p, uint64_t id, const struct msg_auth_begin *m);
void auth_on_step(struct auth_role *a, struct peer *p, uint64_t id, const struct msg_auth_step *m);
void auth_on_cancel(struct auth_role *a, struct peer *p, uint64_t attempt);
void auth_door_lost(struct auth_role *a, struct peer *p);
void auth_on_verdict(void *ctx, const struct verdict *v);
