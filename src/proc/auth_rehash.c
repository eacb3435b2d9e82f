/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * proc/auth_rehash.c: passwords that came from elsewhere in weak forms (R21). Only at a login is the password
 * itself at hand, so that is when a strong form, and the verifiers for SCRAM, can be made of it. Costs
 * that one login some hashes more.
 */
#include "auth/password.h"
#include "base/log.h"
#include "base/mem.h"
#include "proc/auth_int.h"
#include <stdlib.h>

struct rehash {
	struct question question;
	struct buf address, former, password, scram_sha1, scram_sha256;
};

static void rehash_free(struct rehash *r)
{
	buf_free(&r->address);
	buf_free(&r->former);
	buf_free(&r->password);
	buf_free(&r->scram_sha1);
	buf_free(&r->scram_sha256);
	free(r);
}

static void run(struct auth_role *a, struct directory *d, struct question *q)
{
	struct rehash *r = (struct rehash *)q;
	const struct account v = {.password = buf_str(&r->password),
				  .scram_sha1 = buf_str(&r->scram_sha1),
				  .scram_sha256 = buf_str(&r->scram_sha256)};
	struct err err = {0};

	(void)a;
	if (account_rehash(d, buf_str(&r->address), buf_str(&r->former), &v, &err))
		log_event(LOG_INFO, "auth.password.rehashed", K_STR(account, buf_str(&r->address)));
	else /* at the next login, then */
		log_err(LOG_WARN, "auth.password.rehash.failed", &err);
	rehash_free(r);
}

static bool make_forms(struct rehash *r, struct str password, struct err *err)
{
	return password_hash(STR(""), password, &r->password, err) &&
	       password_hash(STR("SCRAM-SHA-256"), password, &r->scram_sha256, err) &&
	       password_hash(STR("SCRAM-SHA-1"), password, &r->scram_sha1, err);
}

void auth_rehash(struct auth_role *a, const struct account *account, struct str password)
{
	CONFIG_SCOPED c = role_config(a->role);
	const char *scheme = password_scheme(account->password);
	struct err err = {0};

	if (!password_is_weak(account->password))
		return;
	log_event(LOG_INFO, "auth.password.weak", K_STR(account, account->address),
		  K_CSTR(kind, scheme ? scheme : "?"));
	if (!config_bool(c, SETTING_AUTH_REHASH) ||
	    config_enum(c, SETTING_DIRECTORY_BACKEND) == CONFIG_DIRECTORY_CLASSIC)
		return;
	struct rehash *r = mem_new(struct rehash);
	r->question.run = run;
	buf_add(&r->address, account->address);
	buf_add(&r->former, account->password);
	if (!make_forms(r, password, &err)) {
		log_err(LOG_WARN, "auth.password.rehash.failed", &err);
		rehash_free(r);
	} else if (!auth_ask(a, &r->question)) {
		rehash_free(r);
	}
}
