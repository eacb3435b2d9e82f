/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Aliases: a row per destination. Destinations here are folded; foreign ones keep the case of
 * their local-part, which only their own host may interpret (RFC 5321 2.4). */
#include "directory/alias.h"
#include "directory/directory_int.h"

/* "@domain" is the catch-all of a domain. */
static bool fold_source(struct arena *a, struct str source, struct str *out_domain, struct str *out,
			struct err *err)
{
	struct address folded;
	if (source.n > 0 && source.p[0] == '@') {
		if (!directory_fold_domain(a, str_from(source, 1), out_domain, err))
			return false;
		*out = arena_cat(a, STR("@"), *out_domain);
		return true;
	}
	if (!directory_fold(a, source, &folded, err))
		return false;
	*out_domain = folded.domain;
	*out = address_str(a, folded);
	return true;
}

static bool fold_destination(struct directory *d, struct arena *a, struct str destination, struct str *out,
			     struct err *err)
{
	struct address parsed, folded;
	bool local;
	if (!address_parse(a, destination, ADDRESS_UTF8, &parsed, err) ||
	    !address_canonical(a, parsed, 0, &folded, err) ||
	    !directory_is_local_domain(d, folded.domain, &local, err))
		return false;
	if (local && !address_canonical(a, parsed, ADDRESS_FOLD, &folded, err))
		return false;
	*out = address_str(a, folded);
	return true;
}

static bool fold_all(struct directory *d, struct arena *a, const struct str *in, size_t n, struct str **out,
		     struct err *err)
{
	if (n > ALIAS_DESTINATIONS_MAX)
		return err_set(err, ERR_LIMIT, "more than %d destinations", ALIAS_DESTINATIONS_MAX);
	*out = arena_array(a, n ? n : 1, sizeof **out);
	for (size_t i = 0; i < n; i++) {
		if (!fold_destination(d, a, in[i], &(*out)[i], err))
			return false;
	}
	return true;
}

static bool insert_one(struct directory *d, int64_t domain_id, struct str source, struct str destination,
		       struct err *err)
{
	struct sql_stmt *st;
	if (!directory_query(d, QUERY_alias_add, &st, err))
		return false;
	sql_bind_int(st, 1, domain_id);
	sql_bind_str(st, 2, source);
	sql_bind_str(st, 3, destination);
	return sql_run(st, err) || err->kind == ERR_EXISTS; /* it leads there already */
}

bool alias_read(struct directory *d, struct str source, struct arena *a, struct alias *out, struct err *err)
{
	struct sql_stmt *st;
	struct str *v = NULL;
	size_t n = 0, cap = 0;
	if (!directory_query(d, QUERY_alias_by_source, &st, err))
		return false;
	sql_bind_str(st, 1, source);
	for (bool row;;) {
		if (!sql_step(st, &row, err))
			return false;
		if (!row)
			break;
		v = arena_grow(a, v, n, &cap, sizeof *v);
		v[n++] = arena_str(a, sql_column_str(st, 0));
	}
	*out = (struct alias){source, v, n};
	return true;
}

static bool insert_all(struct directory *d, struct str domain, struct str source, const struct str *v,
		       size_t n, struct err *err)
{
	ARENA_SCOPED a = arena_new();
	struct alias now;
	int64_t domain_id;
	directory_touch(d, 'L', source);
	if (!domain_id_need(d, domain, &domain_id, err))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!insert_one(d, domain_id, source, v[i], err))
			return false;
	}
	if (!alias_find_locked(d, source, a, &now, err))
		return false;
	return now.n <= ALIAS_DESTINATIONS_MAX ||
	       err_set(err, ERR_LIMIT, "more than %d destinations", ALIAS_DESTINATIONS_MAX);
}

bool alias_add(struct directory *d, struct str source, const struct str *destinations, size_t n,
	       struct err *err)
{
	ARENA_SCOPED a = arena_new();
	struct str domain, *v;
	if (!fold_source(a, source, &domain, &source, err) || !fold_all(d, a, destinations, n, &v, err))
		return false;
	if (n == 0)
		return err_set(err, ERR_SYNTAX, "an alias needs a destination");
	LOCK_SCOPED(&d->lock);
	return directory_change_begin(d, err) &&
	       directory_change_end(d, insert_all(d, domain, source, v, n, err), err);
}

bool alias_find(struct directory *d, struct str source, struct arena *a, struct alias *out, struct err *err)
{
	struct str domain;
	struct err syntax = {0};
	*out = (struct alias){0};
	if (!fold_source(a, source, &domain, &source, &syntax))
		return true; /* what is no address is no alias */
	LOCK_SCOPED(&d->lock);
	return alias_find_locked(d, source, a, out, err);
}

/* A row of (source, destination), sorted by source. */
static void collect(struct arena *a, struct alias_list *out, size_t caps[2], struct str source,
		    struct str destination)
{
	struct alias *last = out->n ? &out->v[out->n - 1] : NULL;
	if (!last || !str_eq(last->source, source)) {
		out->v = arena_grow(a, out->v, out->n, &caps[0], sizeof *out->v);
		last = &out->v[out->n++];
		*last = (struct alias){.source = arena_str(a, source)};
		caps[1] = 0;
	}
	struct str *v = arena_grow(a, (void *)last->destinations, last->n, &caps[1], sizeof *v);
	v[last->n++] = arena_str(a, destination);
	last->destinations = v;
}

bool alias_list(struct directory *d, struct str domain, struct arena *a, struct alias_list *out,
		struct err *err)
{
	struct sql_stmt *st;
	size_t caps[2] = {0};
	*out = (struct alias_list){0};
	if (domain.n > 0 && !directory_fold_domain(a, domain, &domain, err))
		return false;
	LOCK_SCOPED(&d->lock);
	if (!directory_query(d, domain.n ? QUERY_alias_list_domain : QUERY_alias_list, &st, err))
		return false;
	if (domain.n > 0)
		sql_bind_str(st, 1, domain);
	for (bool row;;) {
		if (!sql_step(st, &row, err))
			return false;
		if (!row)
			return true;
		collect(a, out, caps, sql_column_str(st, 0), sql_column_str(st, 1));
	}
}

static bool delete_all(struct directory *d, struct str source, struct err *err)
{
	struct sql_stmt *st;
	directory_touch(d, 'L', source);
	if (!directory_query(d, QUERY_alias_remove, &st, err))
		return false;
	sql_bind_str(st, 1, source);
	if (!sql_run(st, err))
		return false;
	return sql_changes(d->db) > 0 ||
	       err_set(err, ERR_NOT_FOUND, "there is no alias %.*s", STR_ARG(str_sub(source, 0, 100)));
}

static bool delete_some(struct directory *d, struct str source, const struct str *v, size_t n,
			struct err *err)
{
	struct sql_stmt *st;
	directory_touch(d, 'L', source);
	for (size_t i = 0; i < n; i++) {
		if (!directory_query(d, QUERY_alias_remove_destination, &st, err))
			return false;
		sql_bind_str(st, 1, source);
		sql_bind_str(st, 2, v[i]);
		if (!sql_run(st, err))
			return false;
		if (sql_changes(d->db) == 0)
			return err_set(err, ERR_NOT_FOUND, "%.*s does not lead to %.*s",
				       STR_ARG(str_sub(source, 0, 70)), STR_ARG(str_sub(v[i], 0, 70)));
	}
	return true;
}

bool alias_set(struct directory *d, struct str source, const struct str *destinations, size_t n,
	       struct err *err)
{
	ARENA_SCOPED a = arena_new();
	struct str domain, *v;
	if (!fold_source(a, source, &domain, &source, err) || !fold_all(d, a, destinations, n, &v, err))
		return false;
	if (n == 0)
		return err_set(err, ERR_SYNTAX, "an alias needs a destination");
	LOCK_SCOPED(&d->lock);
	return directory_change_begin(d, err) &&
	       directory_change_end(
		       d, delete_all(d, source, err) && insert_all(d, domain, source, v, n, err), err);
}

bool alias_remove(struct directory *d, struct str source, const struct str *destinations, size_t n,
		  struct err *err)
{
	ARENA_SCOPED a = arena_new();
	struct str domain, *v;
	if (!fold_source(a, source, &domain, &source, err) || !fold_all(d, a, destinations, n, &v, err))
		return false;
	LOCK_SCOPED(&d->lock);
	return directory_change_begin(d, err) &&
	       directory_change_end(d, n ? delete_some(d, source, v, n, err) : delete_all(d, source, err),
				    err);
}
