/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Domains. Removal marks the domain and everything in it with one time, which is also how a
 * restore finds what went together. */
#include "directory/domain.h"
#include "base/clock.h"
#include "base/codec.h"
#include "directory/directory_int.h"

bool domain_id_read(struct directory *d, struct str name, int64_t *out_id, bool *out_enabled, struct err *err)
{
	struct sql_stmt *st;
	bool row;
	if (!directory_query(d, QUERY_domain_by_name, &st, err))
		return false;
	sql_bind_str(st, 1, name);
	if (!sql_step(st, &row, err))
		return false;
	*out_id = row ? sql_column_int(st, 0) : 0;
	*out_enabled = row && sql_column_int(st, 1);
	sql_reset(st);
	return true;
}

bool domain_id_need(struct directory *d, struct str name, int64_t *out_id, struct err *err)
{
	bool enabled;
	if (!domain_id_find(d, name, out_id, &enabled, err))
		return false;
	return *out_id != 0 ||
	       err_set(err, ERR_NOT_FOUND, "there is no domain %.*s", STR_ARG(str_sub(name, 0, 100)));
}

static bool text_ok(struct str s, size_t max, const char *what, struct err *err)
{
	if (s.n > max)
		return err_set(err, ERR_LIMIT, "the %s is longer than %zu bytes", what, max);
	if (str_has_ctl(s) || !utf8_valid(s))
		return err_set(err, ERR_SYNTAX, "the %s holds control characters or is not UTF-8", what);
	return true;
}

static bool add(struct directory *d, struct str name, struct str description, struct err *err)
{
	struct sql_stmt *st;
	if (!directory_query(d, QUERY_domain_add, &st, err))
		return false;
	sql_bind_str(st, 1, name);
	sql_bind_str(st, 2, description);
	sql_bind_int(st, 3, 1);
	sql_bind_int(st, 4, clock_wall_s());
	if (sql_run(st, err))
		return true;
	if (err->kind == ERR_EXISTS)
		err_set(err, ERR_EXISTS, "the domain %.*s exists already", STR_ARG(str_sub(name, 0, 100)));
	return false;
}

bool domain_add(struct directory *d, struct str name, struct str description, struct err *err)
{
	ARENA_SCOPED a = arena_new();
	if (!directory_fold_domain(a, name, &name, err) ||
	    !text_ok(description, DESCRIPTION_MAX, "description", err))
		return false;
	if (name.n > 0 && name.p[0] == '[')
		return err_set(err, ERR_SYNTAX, "an address literal cannot be a domain here");
	LOCK_SCOPED(&d->lock);
	return directory_change_begin(d, err) && directory_change_end(d, add(d, name, description, err), err);
}

/* Columns of domain_show. */
static void read_row(struct sql_stmt *st, struct arena *a, struct domain *out)
{
	*out = (struct domain){
		.id = sql_column_int(st, 0),
		.name = arena_str(a, sql_column_str(st, 1)),
		.description = arena_str(a, sql_column_str(st, 2)),
		.enabled = sql_column_int(st, 3),
		.created_unix = sql_column_int(st, 4),
		.accounts = sql_column_int(st, 5),
		.aliases = sql_column_int(st, 6),
		.removed_unix = sql_column_int(st, 7) / 1000000,
	};
}

bool domain_find(struct directory *d, struct str name, struct arena *a, struct domain *out, struct err *err)
{
	struct sql_stmt *st;
	bool row;
	*out = (struct domain){0};
	if (!directory_fold_domain(a, name, &name, err))
		return false;
	LOCK_SCOPED(&d->lock);
	if (d->classic) {
		out->name = name;
		return domain_id_find(d, name, &out->id, &out->enabled, err);
	}
	if (!directory_query(d, QUERY_domain_show, &st, err))
		return false;
	sql_bind_str(st, 1, name);
	if (!sql_step(st, &row, err))
		return false;
	if (row)
		read_row(st, a, out);
	sql_reset(st);
	return true;
}

static bool list(struct directory *d, enum query q, struct arena *a, struct domain_list *out, struct err *err)
{
	LOCK_SCOPED(&d->lock);
	struct sql_stmt *st;
	size_t cap = 0;
	*out = (struct domain_list){0};
	if (!directory_query(d, q, &st, err))
		return false;
	for (bool row;;) {
		if (!sql_step(st, &row, err))
			return false;
		if (!row)
			return true;
		out->v = arena_grow(a, out->v, out->n, &cap, sizeof *out->v);
		read_row(st, a, &out->v[out->n++]);
	}
}

bool domain_list(struct directory *d, struct arena *a, struct domain_list *out, struct err *err)
{
	return list(d, QUERY_domain_list, a, out, err);
}

bool domain_list_removed(struct directory *d, struct arena *a, struct domain_list *out, struct err *err)
{
	return list(d, QUERY_domain_list_removed, a, out, err);
}

static bool set(struct directory *d, struct str name, unsigned fields, const struct domain *value,
		struct err *err)
{
	int64_t id;
	struct sql_stmt *st;
	if (!domain_id_need(d, name, &id, err))
		return false;
	if (fields & DOMAIN_DESCRIPTION) {
		if (!directory_query(d, QUERY_domain_set_description, &st, err))
			return false;
		sql_bind_str(st, 1, value->description);
		sql_bind_int(st, 2, id);
		if (!sql_run(st, err))
			return false;
	}
	if (fields & DOMAIN_ENABLED) {
		if (!directory_query(d, QUERY_domain_set_enabled, &st, err))
			return false;
		sql_bind_int(st, 1, value->enabled);
		sql_bind_int(st, 2, id);
		if (!sql_run(st, err))
			return false;
	}
	return true;
}

bool domain_set(struct directory *d, struct str name, unsigned fields, const struct domain *value,
		struct err *err)
{
	ARENA_SCOPED a = arena_new();
	if (!directory_fold_domain(a, name, &name, err))
		return false;
	if ((fields & DOMAIN_DESCRIPTION) &&
	    !text_ok(value->description, DESCRIPTION_MAX, "description", err))
		return false;
	LOCK_SCOPED(&d->lock);
	return directory_change_begin(d, err) &&
	       directory_change_end(d, set(d, name, fields, value, err), err);
}

static bool mark_rows(struct directory *d, enum query q, int64_t id, int64_t from_us, int64_t to_us,
		      struct err *err)
{
	struct sql_stmt *st;
	if (!directory_query(d, q, &st, err))
		return false;
	sql_bind_int(st, 1, to_us);
	sql_bind_int(st, 2, id);
	if (q != QUERY_domain_mark)
		sql_bind_int(st, 3, from_us);
	return sql_run(st, err);
}

static bool mark(struct directory *d, int64_t id, int64_t from_us, int64_t to_us, struct err *err)
{
	return mark_rows(d, QUERY_domain_mark, id, from_us, to_us, err) &&
	       mark_rows(d, QUERY_domain_mark_accounts, id, from_us, to_us, err) &&
	       mark_rows(d, QUERY_domain_mark_aliases, id, from_us, to_us, err);
}

static bool remove_live(struct directory *d, struct str name, struct err *err)
{
	int64_t id;
	return domain_id_need(d, name, &id, err) && mark(d, id, 0, clock_wall_us(), err) &&
	       directory_purge(d, err);
}

bool domain_remove(struct directory *d, struct str name, struct err *err)
{
	ARENA_SCOPED a = arena_new();
	if (!directory_fold_domain(a, name, &name, err))
		return false;
	LOCK_SCOPED(&d->lock);
	return directory_change_begin(d, err) && directory_change_end(d, remove_live(d, name, err), err);
}

static bool restore(struct directory *d, struct str name, struct err *err)
{
	int64_t live;
	bool enabled, row;
	struct sql_stmt *st;
	if (!domain_id_find(d, name, &live, &enabled, err))
		return false;
	if (live != 0)
		return err_set(err, ERR_EXISTS, "a domain %.*s exists", STR_ARG(str_sub(name, 0, 100)));
	if (!directory_query(d, QUERY_domain_removed_by_name, &st, err))
		return false;
	sql_bind_str(st, 1, name);
	if (!sql_step(st, &row, err))
		return false;
	if (!row)
		return err_set(err, ERR_NOT_FOUND, "no removed domain %.*s is kept",
			       STR_ARG(str_sub(name, 0, 100)));
	int64_t id = sql_column_int(st, 0), removed_us = sql_column_int(st, 1);
	sql_reset(st);
	return mark(d, id, removed_us, 0, err);
}

bool domain_restore(struct directory *d, struct str name, struct err *err)
{
	ARENA_SCOPED a = arena_new();
	if (!directory_fold_domain(a, name, &name, err))
		return false;
	LOCK_SCOPED(&d->lock);
	return directory_change_begin(d, err) && directory_change_end(d, restore(d, name, err), err);
}
