/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "directory/account.h"
#include "base/clock.h"
#include "base/codec.h"
#include "config/config.h"
#include "directory/directory_int.h"

void account_init(struct account *out)
{
	*out = (struct account){
		.enabled = true, .quota_bytes = -1, .quota_messages = -1, .protocols = ACCOUNT_PROTOCOLS_ALL,
	};
}

/* Accounts name directories: only a Dot-string (RFC 5321 4.1.2) of harmless bytes. */
static bool local_part_ok(struct str local)
{
	if (local.n == 0 || local.n > ADDRESS_LOCAL_MAX || local.p[0] == '.' || local.p[local.n - 1] == '.')
		return false;
	for (size_t i = 0; i < local.n; i++) {
		unsigned char c = (unsigned char)local.p[i];
		if (c == '.' ? local.p[i - 1] == '.' : c == '/' || (c < 0x80 && !ascii_is(c, ASCII_ATEXT)))
			return false;
	}
	return true;
}

static bool hash_ok(struct str hash, struct err *err)
{
	if (hash.n > PASSWORD_HASH_MAX || str_has_ctl(hash) || !utf8_valid(hash))
		return err_set(err, ERR_SYNTAX, "the password hash is malformed or longer than %d bytes",
			       PASSWORD_HASH_MAX);
	return true;
}

static bool fields_ok(unsigned fields, const struct account *v, struct err *err)
{
	if ((fields & ACCOUNT_SET_PASSWORD) &&
	    (!hash_ok(v->password, err) || !hash_ok(v->scram_sha1, err) || !hash_ok(v->scram_sha256, err)))
		return false;
	if ((fields & ACCOUNT_SET_LANGUAGE) && v->language.n > 0 && !str_eq(v->language, STR("ko")) &&
	    !str_eq(v->language, STR("en")))
		return err_set(err, ERR_SYNTAX, "the language must be ko or en");
	if ((fields & ACCOUNT_SET_DISPLAY_NAME) &&
	    (v->display_name.n > DISPLAY_NAME_MAX || str_has_ctl(v->display_name) ||
	     !utf8_valid(v->display_name)))
		return err_set(err, ERR_SYNTAX, "the display name is not plain UTF-8 of at most %d bytes",
			       DISPLAY_NAME_MAX);
	if ((fields & ACCOUNT_SET_PROTOCOLS) && (v->protocols & ~(unsigned)ACCOUNT_PROTOCOLS_ALL))
		return err_set(err, ERR_SYNTAX, "unknown protocol");
	if (((fields & ACCOUNT_SET_QUOTA_BYTES) && v->quota_bytes < -1) ||
	    ((fields & ACCOUNT_SET_QUOTA_MESSAGES) && v->quota_messages < -1))
		return err_set(err, ERR_SYNTAX, "a quota cannot be negative");
	return true;
}

static bool add(struct directory *d, struct str domain, struct str address, const struct account *v,
		struct err *err)
{
	int64_t domain_id, now = clock_wall_s();
	struct sql_stmt *st;
	directory_touch(d, 'A', address);
	if (!domain_id_need(d, domain, &domain_id, err) || !directory_query(d, QUERY_account_add, &st, err))
		return false;
	sql_bind_int(st, 1, domain_id);
	sql_bind_str(st, 2, address);
	sql_bind_str(st, 3, v->password);
	sql_bind_str(st, 4, v->scram_sha1);
	sql_bind_str(st, 5, v->scram_sha256);
	sql_bind_int(st, 6, v->enabled);
	sql_bind_int(st, 7, v->quota_bytes);
	sql_bind_int(st, 8, v->quota_messages);
	sql_bind_int(st, 9, v->role);
	sql_bind_str(st, 10, v->language);
	sql_bind_str(st, 11, v->display_name);
	sql_bind_int(st, 12, v->protocols);
	sql_bind_int(st, 13, v->intranet_only);
	sql_bind_int(st, 14, now);
	sql_bind_int(st, 15, now);
	if (sql_run(st, err))
		return true;
	if (err->kind == ERR_EXISTS)
		err_set(err, ERR_EXISTS, "the account %.*s exists already",
			STR_ARG(str_sub(address, 0, 100)));
	return false;
}

bool account_add(struct directory *d, const struct account *value, struct err *err)
{
	ARENA_SCOPED a = arena_new();
	struct address folded;
	if (!directory_fold(a, value->address, &folded, err) || !fields_ok(~0u, value, err))
		return false;
	if (!local_part_ok(folded.local))
		return err_set(err, ERR_SYNTAX, "the local-part cannot be an account here");
	struct str address = address_str(a, folded);
	LOCK_SCOPED(&d->lock);
	return directory_change_begin(d, err) &&
	       directory_change_end(d, add(d, folded.domain, address, value, err), err);
}

/* Columns of account_by_address. */
static void read_row(struct sql_stmt *st, struct arena *a, struct account *out)
{
	*out = (struct account){
		.id = sql_column_int(st, 0),
		.address = arena_str(a, sql_column_str(st, 1)),
		.password = arena_str(a, sql_column_str(st, 2)),
		.scram_sha1 = arena_str(a, sql_column_str(st, 3)),
		.scram_sha256 = arena_str(a, sql_column_str(st, 4)),
		.enabled = sql_column_int(st, 5),
		.domain_enabled = sql_column_int(st, 6),
		.quota_bytes = sql_column_int(st, 7),
		.quota_messages = sql_column_int(st, 8),
		.role = sql_column_int(st, 9) == ACCOUNT_ROLE_ADMIN ? ACCOUNT_ROLE_ADMIN : ACCOUNT_ROLE_USER,
		.language = arena_str(a, sql_column_str(st, 10)),
		.display_name = arena_str(a, sql_column_str(st, 11)),
		.protocols = (unsigned)sql_column_int(st, 12) & ACCOUNT_PROTOCOLS_ALL,
		.intranet_only = sql_column_int(st, 13),
		.created_unix = sql_column_int(st, 14),
		.password_changed_unix = sql_column_int(st, 15),
	};
}

static bool read_one(struct sql_stmt *st, struct arena *a, struct account *out, struct err *err)
{
	bool row;
	*out = (struct account){0};
	if (!sql_step(st, &row, err))
		return false;
	if (row)
		read_row(st, a, out);
	sql_reset(st);
	return true;
}

bool account_read(struct directory *d, struct str address, struct arena *a, struct account *out,
		  struct err *err)
{
	struct sql_stmt *st;
	if (!directory_query(d, QUERY_account_by_address, &st, err))
		return false;
	sql_bind_str(st, 1, address);
	return read_one(st, a, out, err);
}

bool account_find(struct directory *d, struct str address, struct arena *a, struct account *out,
		  struct err *err)
{
	struct err syntax = {0};
	*out = (struct account){0};
	/* What is no address has no account: a login name may be anything. */
	if (!directory_fold_address(a, address, &address, &syntax))
		return true;
	LOCK_SCOPED(&d->lock);
	return account_find_locked(d, address, a, out, err);
}

bool account_find_id(struct directory *d, int64_t id, struct arena *a, struct account *out, struct err *err)
{
	LOCK_SCOPED(&d->lock);
	struct sql_stmt *st;
	*out = (struct account){0};
	if (!directory_query(d, QUERY_account_by_id, &st, err))
		return false;
	sql_bind_int(st, 1, id);
	return read_one(st, a, out, err);
}

bool account_list(struct directory *d, struct str domain, struct arena *a, struct account_list *out,
		  struct err *err)
{
	struct sql_stmt *st;
	size_t cap = 0;
	*out = (struct account_list){0};
	if (domain.n > 0 && !directory_fold_domain(a, domain, &domain, err))
		return false;
	LOCK_SCOPED(&d->lock);
	if (!directory_query(d, domain.n ? QUERY_account_list_domain : QUERY_account_list, &st, err))
		return false;
	if (domain.n > 0)
		sql_bind_str(st, 1, domain);
	for (bool row;;) {
		if (!sql_step(st, &row, err))
			return false;
		if (!row)
			return true;
		out->v = arena_grow(a, out->v, out->n, &cap, sizeof *out->v);
		read_row(st, a, &out->v[out->n++]);
	}
}

static bool set_int(struct directory *d, enum query q, int64_t id, int64_t v, struct err *err)
{
	struct sql_stmt *st;
	if (!directory_query(d, q, &st, err))
		return false;
	sql_bind_int(st, 1, v);
	sql_bind_int(st, 2, id);
	return sql_run(st, err);
}

static bool set_str(struct directory *d, enum query q, int64_t id, struct str v, struct err *err)
{
	struct sql_stmt *st;
	if (!directory_query(d, q, &st, err))
		return false;
	sql_bind_str(st, 1, v);
	sql_bind_int(st, 2, id);
	return sql_run(st, err);
}

static bool set_password(struct directory *d, int64_t id, const struct account *v, struct err *err)
{
	struct sql_stmt *st;
	if (!directory_query(d, QUERY_account_set_password, &st, err))
		return false;
	sql_bind_str(st, 1, v->password);
	sql_bind_str(st, 2, v->scram_sha1);
	sql_bind_str(st, 3, v->scram_sha256);
	sql_bind_int(st, 4, clock_wall_s());
	sql_bind_int(st, 5, id);
	return sql_run(st, err);
}

static bool find_live(struct directory *d, struct str address, int64_t *out_id, struct err *err)
{
	ARENA_SCOPED a = arena_new();
	struct account found;
	directory_touch(d, 'A', address);
	if (!account_find_locked(d, address, a, &found, err))
		return false;
	*out_id = found.id;
	return found.id != 0 ||
	       err_set(err, ERR_NOT_FOUND, "there is no account %.*s", STR_ARG(str_sub(address, 0, 100)));
}

static bool set(struct directory *d, struct str address, unsigned f, const struct account *v, struct err *err)
{
	int64_t id;
	return find_live(d, address, &id, err) &&
	       (!(f & ACCOUNT_SET_PASSWORD) || set_password(d, id, v, err)) &&
	       (!(f & ACCOUNT_SET_ENABLED) ||
		set_int(d, QUERY_account_set_enabled, id, v->enabled, err)) &&
	       (!(f & ACCOUNT_SET_QUOTA_BYTES) ||
		set_int(d, QUERY_account_set_quota_bytes, id, v->quota_bytes, err)) &&
	       (!(f & ACCOUNT_SET_QUOTA_MESSAGES) ||
		set_int(d, QUERY_account_set_quota_messages, id, v->quota_messages, err)) &&
	       (!(f & ACCOUNT_SET_ROLE) || set_int(d, QUERY_account_set_role, id, v->role, err)) &&
	       (!(f & ACCOUNT_SET_LANGUAGE) ||
		set_str(d, QUERY_account_set_language, id, v->language, err)) &&
	       (!(f & ACCOUNT_SET_DISPLAY_NAME) ||
		set_str(d, QUERY_account_set_display_name, id, v->display_name, err)) &&
	       (!(f & ACCOUNT_SET_PROTOCOLS) ||
		set_int(d, QUERY_account_set_protocols, id, v->protocols, err)) &&
	       (!(f & ACCOUNT_SET_INTRANET_ONLY) ||
		set_int(d, QUERY_account_set_intranet_only, id, v->intranet_only, err));
}

bool account_set(struct directory *d, struct str address, unsigned fields, const struct account *value,
		 struct err *err)
{
	ARENA_SCOPED a = arena_new();
	if (!directory_fold_address(a, address, &address, err) || !fields_ok(fields, value, err))
		return false;
	LOCK_SCOPED(&d->lock);
	return directory_change_begin(d, err) &&
	       directory_change_end(d, set(d, address, fields, value, err), err);
}

static bool rehash(struct directory *d, struct str address, struct str former, const struct account *v,
		   struct err *err)
{
	struct sql_stmt *st;
	int64_t id;
	if (!find_live(d, address, &id, err) || !directory_query(d, QUERY_account_rehash, &st, err))
		return false;
	sql_bind_str(st, 1, v->password);
	sql_bind_str(st, 2, v->scram_sha1);
	sql_bind_str(st, 3, v->scram_sha256);
	sql_bind_int(st, 4, id);
	sql_bind_str(st, 5, former);
	return sql_run(st, err);
}

bool account_rehash(struct directory *d, struct str address, struct str former, const struct account *value,
		    struct err *err)
{
	if (!fields_ok(ACCOUNT_SET_PASSWORD, value, err))
		return false;
	LOCK_SCOPED(&d->lock);
	return directory_change_begin(d, err) &&
	       directory_change_end(d, rehash(d, address, former, value, err), err);
}

static bool remove_live(struct directory *d, struct str address, struct err *err)
{
	int64_t id;
	return find_live(d, address, &id, err) && set_int(d, QUERY_account_mark, id, clock_wall_us(), err) &&
	       directory_purge(d, err);
}

bool account_remove(struct directory *d, struct str address, struct err *err)
{
	ARENA_SCOPED a = arena_new();
	if (!directory_fold_address(a, address, &address, err))
		return false;
	LOCK_SCOPED(&d->lock);
	return directory_change_begin(d, err) && directory_change_end(d, remove_live(d, address, err), err);
}

static bool restore(struct directory *d, struct str address, struct err *err)
{
	int64_t id;
	bool found;
	struct sql_stmt *st;
	directory_touch(d, 'A', address);
	if (!directory_query(d, QUERY_account_removed_by_address, &st, err))
		return false;
	sql_bind_str(st, 1, address);
	if (!directory_query_int(st, &id, &found, err))
		return false;
	if (!found)
		return err_set(err, ERR_NOT_FOUND, "no removed account %.*s is kept",
			       STR_ARG(str_sub(address, 0, 100)));
	if (set_int(d, QUERY_account_mark, id, 0, err))
		return true;
	if (err->kind == ERR_EXISTS)
		err_set(err, ERR_EXISTS, "an account %.*s exists", STR_ARG(str_sub(address, 0, 100)));
	return false;
}

bool account_restore(struct directory *d, struct str address, struct err *err)
{
	ARENA_SCOPED a = arena_new();
	if (!directory_fold_address(a, address, &address, err))
		return false;
	LOCK_SCOPED(&d->lock);
	return directory_change_begin(d, err) && directory_change_end(d, restore(d, address, err), err);
}

void account_effective_quota(const struct config *c, const struct account *account, int64_t *out_bytes,
			     int64_t *out_messages)
{
	*out_bytes = account->quota_bytes >= 0 ? account->quota_bytes
					       : (int64_t)config_size(c, SETTING_STORE_QUOTA);
	*out_messages = account->quota_messages >= 0 ? account->quota_messages
						     : config_int(c, SETTING_STORE_QUOTA_MESSAGES);
}
