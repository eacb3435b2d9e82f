/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Each query file has a connection of its own, as each may name another server or user.
 */
#include "directory/classic.h"
#include "base/codec.h"
#include "base/mem.h"
#include "config/config.h"
#include "crypto/hash.h"
#include "directory/account.h"
#include "directory/alias.h"
#include "directory/dovecot_sql.h"
#include "directory/postfix_map.h"
#include "mail/address.h"
#include <stdlib.h>
#include <string.h>

enum { MAPS_MAX = 16 };

struct map_file {
	struct postfix_map map;
	struct directory_link link;
};
struct maps {
	struct map_file *v;
	size_t n;
};
struct classic {
	struct arena *arena;
	struct maps domains, accounts, aliases;
	bool has_dovecot;
	struct dovecot_sql dovecot;
	struct directory_link dovecot_link;
};

static bool open_maps(struct classic *c, const struct config *config, enum setting id, int timeout_ms,
		      _Atomic int64_t *away, struct maps *out, struct err *err)
{
	struct config_list files = config_list(config, id);
	if (files.n > MAPS_MAX)
		return err_set(err, ERR_LIMIT, "%s: more than %d files", setting_info(id)->name, MAPS_MAX);
	out->v = arena_zalloc(c->arena, (files.n + 1) * sizeof *out->v);
	for (size_t i = 0; i < files.n; i++) {
		struct map_file *m = &out->v[out->n];
		struct str path =
			str_starts(files.v[i], STR("mysql:")) ? str_from(files.v[i], 6) : files.v[i];
		if (!postfix_map_read(c->arena, arena_cstr(c->arena, path), &m->map, err))
			return false;
		postfix_map_link(&m->map, timeout_ms, away, &m->link);
		out->n++;
	}
	return true;
}

static bool open_dovecot(struct classic *c, const char *path, int timeout_ms, _Atomic int64_t *away,
			 struct err *err)
{
	if (!*path)
		return true;
	if (!dovecot_sql_read(c->arena, path, &c->dovecot, err))
		return false;
	c->has_dovecot = c->dovecot.password_query.p != NULL;
	dovecot_sql_link(&c->dovecot, timeout_ms, away, &c->dovecot_link);
	return true;
}

bool classic_open(const struct config *config, _Atomic int64_t *away, struct classic **out, struct err *err)
{
	struct classic *c = mem_new(struct classic);
	int timeout_ms = (int)config_duration_ms(config, SETTING_DIRECTORY_TIMEOUT);
	c->arena = arena_new();
	bool ok = open_maps(c, config, SETTING_DIRECTORY_CLASSIC_DOMAINS, timeout_ms, away, &c->domains,
			    err) &&
		  open_maps(c, config, SETTING_DIRECTORY_CLASSIC_ACCOUNTS, timeout_ms, away, &c->accounts,
			    err) &&
		  open_maps(c, config, SETTING_DIRECTORY_CLASSIC_ALIASES, timeout_ms, away, &c->aliases,
			    err) &&
		  open_dovecot(c, config_path(config, SETTING_DIRECTORY_CLASSIC_DOVECOT), timeout_ms,
			       away, err);
	if (ok && (c->domains.n == 0 || (c->accounts.n == 0 && !c->has_dovecot)))
		ok = err_set(err, ERR_SYNTAX, "directory.backend is classic: classic_domains and "
					      "classic_accounts must name query files");
	if (!ok) {
		classic_close(c);
		return false;
	}
	*out = c;
	return true;
}

static void close_maps(struct maps *m)
{
	for (size_t i = 0; i < m->n; i++)
		link_close(&m->v[i].link);
}

void classic_close(struct classic *c)
{
	if (!c)
		return;
	close_maps(&c->domains);
	close_maps(&c->accounts);
	close_maps(&c->aliases);
	link_close(&c->dovecot_link);
	arena_free(c->arena);
	free(c);
}

/* The first table that answers counts. */
static bool find(struct maps *m, struct str key, struct buf *out, struct err *err)
{
	for (size_t i = 0; i < m->n && out->n == 0; i++) {
		if (!postfix_map_find(&m->v[i].map, &m->v[i].link, key, out, err))
			return false;
	}
	return true;
}

/* Names have no number there; one is needed that does not change. */
static int64_t id_of(struct str name)
{
	unsigned char digest[SHA256_SIZE];
	uint64_t id;
	sha256(name, digest);
	memcpy(&id, digest, sizeof id);
	return (int64_t)(id >> 1 | 1);
}

bool classic_domain(struct classic *c, struct str name, int64_t *out_id, bool *out_enabled, struct err *err)
{
	BUF_SCOPED value = {0};
	if (!find(&c->domains, name, &value, err))
		return false;
	*out_id = value.n ? id_of(name) : 0;
	*out_enabled = value.n > 0;
	return true;
}

bool classic_alias(struct classic *c, struct str source, struct arena *a, struct alias *out, struct err *err)
{
	BUF_SCOPED value = {0};
	struct str *v = NULL;
	size_t n = 0, cap = 0;
	if (!find(&c->aliases, source, &value, err))
		return false;
	for (struct str rest = buf_str(&value); rest.n > 0;) {
		struct address parsed;
		struct err bad = {0};
		struct str to = str_trim(str_cut(&rest, ','));
		if (to.n == 0)
			continue;
		/* Mail to it waits until somebody mends the row. */
		if (!address_parse(a, to, ADDRESS_UTF8 | ADDRESS_NO_DOMAIN, &parsed, &bad)) {
			err_set(err, ERR_IO, "temporary failure of the database");
			return err_cause(err, "alias %.*s: \"%.*s\" is no address",
					 STR_ARG(str_sub(source, 0, 80)), STR_ARG(str_sub(to, 0, 80)));
		}
		v = arena_grow(a, v, n, &cap, sizeof *v);
		v[n++] = arena_str(a, to);
	}
	*out = (struct alias){source, v, n};
	return true;
}

/* ---- accounts ------------------------------------------------------------------------------------- */

static void escape_for(void *ctx, struct str s, struct buf *out)
{
	sql_mariadb_escape(ctx, s, out);
}

static bool run_query(struct classic *c, struct str query, struct str address, struct sql_stmt **out,
		      bool *out_row, struct err *err)
{
	const struct dovecot_vars vars = {.user = address, .home = STR(""), .service = STR("imap")};
	BUF_SCOPED sql = {0};
	if (!link_ready(&c->dovecot_link, err) ||
	    !dovecot_expand(query, &vars, escape_for, c->dovecot_link.db, &sql, err) ||
	    !sql_mariadb_query(c->dovecot_link.db, buf_str(&sql), out, err))
		return false;
	if (sql_step(*out, out_row, err))
		return true;
	sql_finalize(*out);
	*out = NULL;
	return false;
}

/* Schemes for which crypt(3) looks at the hash itself need no prefix. */
static struct str with_scheme(const struct classic *c, struct arena *a, struct str hash)
{
	struct str scheme = c->dovecot.default_pass_scheme;
	if (hash.n == 0 || hash.p[0] == '{' || scheme.n == 0 || str_ends_nocase(scheme, STR("CRYPT")))
		return arena_str(a, hash);
	return arena_fmt(a, "{%.*s}%.*s", STR_ARG(scheme), STR_ARG(hash));
}

/* What Dovecot lets a column demand. A demand that is not understood here must not be passed over. */
static void take_column(const struct classic *c, struct arena *a, struct str name, struct str value,
			struct account *out)
{
	if (str_eq_nocase(name, STR("password")))
		out->password = with_scheme(c, a, value);
	else if ((str_eq_nocase(name, STR("nologin")) || str_eq_nocase(name, STR("proxy")) ||
		  str_eq_nocase(name, STR("allow_nets")) || str_eq_nocase(name, STR("deny"))) &&
		 value.n > 0)
		out->protocols = 0;
}

/* "*:storage=1G", "*:bytes=123", "*:messages=100"; storage without a unit is KiB. */
static void take_quota(struct str rule, struct account *out)
{
	struct str limits = rule;
	if (!str_eq(str_trim(str_cut(&limits, ':')), STR("*")))
		return;
	while (limits.p) {
		struct str value = str_cut(&limits, ':'), name = str_cut(&value, '=');
		uint64_t n;
		if (!value.p || value.n == 0)
			continue;
		if (str_eq(name, STR("messages")) && str_u64(value, INT64_MAX, &n))
			out->quota_messages = (int64_t)n;
		if (str_eq(name, STR("bytes")) && config_parse_size(value, &n) && n <= INT64_MAX)
			out->quota_bytes = (int64_t)n;
		if (!str_eq(name, STR("storage")))
			continue;
		if (str_u64(value, INT64_MAX / 1024, &n))
			out->quota_bytes = (int64_t)n * 1024;
		else if (config_parse_size(value, &n) && n <= INT64_MAX)
			out->quota_bytes = (int64_t)n;
	}
}

static bool ask_password(struct classic *c, struct arena *a, struct account *out, bool *out_found,
			 struct err *err)
{
	struct sql_stmt *st;
	struct str user = STR_NONE, domain = STR_NONE;
	if (!run_query(c, c->dovecot.password_query, out->address, &st, out_found, err))
		return false;
	for (unsigned i = 0; *out_found && i < sql_column_count(st); i++) {
		struct str name = sql_column_name(st, i), value = sql_column_str(st, (int)i);
		if (str_eq_nocase(name, STR("user")) || str_eq_nocase(name, STR("username")))
			user = arena_str(a, value);
		else if (str_eq_nocase(name, STR("domain")))
			domain = arena_str(a, value);
		else if (str_eq_nocase(name, STR("userdb_quota_rule")))
			take_quota(value, out);
		else
			take_column(c, a, name, value, out);
	}
	sql_finalize(st);
	if (user.n && !str_has_byte(user, '@') && domain.n)
		user = arena_fmt(a, "%.*s@%.*s", STR_ARG(user), STR_ARG(domain));
	struct err no_address = {0};
	if (str_has_byte(user, '@') && !directory_fold_address(a, user, &out->address, &no_address))
		return err_set(err, ERR_IO, "temporary failure of the database") ||
		       err_cause(err, "password_query: its user is no address");
	return true;
}

static bool ask_user(struct classic *c, struct account *out, struct err *err)
{
	struct sql_stmt *st;
	bool row;
	if (str_find(c->dovecot.user_query, STR("quota_rule")) == STR_NPOS)
		return true;
	if (!run_query(c, c->dovecot.user_query, out->address, &st, &row, err))
		return false;
	for (unsigned i = 0; row && i < sql_column_count(st); i++) {
		if (str_eq_nocase(sql_column_name(st, i), STR("quota_rule")))
			take_quota(sql_column_str(st, (int)i), out);
	}
	sql_finalize(st);
	return true;
}

bool classic_account(struct classic *c, struct str address, struct arena *a, struct account *out,
		     struct err *err)
{
	BUF_SCOPED value = {0};
	bool found = false;
	account_init(out);
	out->domain_enabled = true;
	out->address = arena_str(a, address);
	if (!find(&c->accounts, address, &value, err))
		return false;
	if ((value.n > 0 || c->accounts.n == 0) && c->has_dovecot &&
	    (!ask_password(c, a, out, &found, err) || !ask_user(c, out, err)))
		return false;
	if (value.n == 0 && !found)
		*out = (struct account){0};
	else
		out->id = id_of(out->address);
	return true;
}
