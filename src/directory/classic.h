/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * directory/classic.h: the tables of a Postfix/Dovecot host as they stand, read only, through that host's
 * own query files (R19, R20, R36, R37, R59); for this folder. SELECT rights are enough.
 *
 * A domain is what virtual_mailbox_domains answers; an alias is virtual_alias_maps; an account is what
 * virtual_mailbox_maps answers, with the password of Dovecot's password_query. Names of the
 * columns count as they do there. Connections are made when first needed (link.h).
 */
#pragma once
#include "base/arena.h"
#include "base/err.h"
#include <stdatomic.h>

struct account;
struct alias;
struct classic;
struct config;

/* Reads the query files. */
bool classic_open(const struct config *c, _Atomic int64_t *away_until_ms, struct classic **out,
		  struct err *err) MUST_CHECK;
void classic_close(struct classic *c); /* accepts NULL */

/* Arguments are folded; answers as of domain_id_find, account_find_locked, alias_find_locked. */
bool classic_domain(struct classic *c, struct str name, int64_t *out_id, bool *out_enabled,
		    struct err *err) MUST_CHECK;
bool classic_account(struct classic *c, struct str address, struct arena *a, struct account *out,
		     struct err *err) MUST_CHECK;
bool classic_alias(struct classic *c, struct str source, struct arena *a, struct alias *out,
		   struct err *err) MUST_CHECK;
