/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Who a recipient is. A queue of addresses still to look at, a set of aliases already followed
 * (so that circles end), and the list of results, in the order in which they were found.
 */
#include "base/map.h"
#include "config/config.h"
#include "directory/account.h"
#include "directory/alias.h"
#include "directory/directory_int.h"

struct pending {
	struct str address; /* as an alias wrote it, or the caller */
	struct str detail;  /* inherited through aliases */
};

struct resolver {
	struct directory *d;
	struct arena *a;
	struct pending *queue;
	size_t queue_n, queue_cap, at;
	struct directory_recipient *v;
	size_t n, cap;
	struct map *followed; /* alias sources */
	struct map *found;    /* result addresses */
	size_t limit;
	bool by_alias;
};

static bool resolver_push(struct resolver *r, struct str address, struct str detail, struct err *err)
{
	if (r->queue_n - r->at + r->n >= r->limit)
		return err_set(err, ERR_LIMIT, "the address expands to more than %zu recipients", r->limit);
	r->queue = arena_grow(r->a, r->queue, r->queue_n, &r->queue_cap, sizeof *r->queue);
	r->queue[r->queue_n++] = (struct pending){address, detail};
	return true;
}

static bool resolver_result(struct resolver *r, struct directory_recipient found)
{
	if (map_put(r->found, found.address, r))
		return true;
	r->v = arena_grow(r->a, r->v, r->n, &r->cap, sizeof *r->v);
	r->v[r->n++] = found;
	return true;
}

/* *out_done: the address is an alias that was not followed yet, and its destinations wait now. */
static bool follow_alias(struct resolver *r, struct str source, struct str detail, bool *out_done,
			 struct err *err)
{
	struct alias alias;
	*out_done = false;
	if (map_get(r->followed, source))
		return true;
	if (!alias_find_locked(r->d, source, r->a, &alias, err))
		return false;
	if (alias.n == 0)
		return true;
	map_put(r->followed, source, r);
	r->by_alias = true;
	*out_done = true;
	for (size_t i = 0; i < alias.n; i++) {
		if (!resolver_push(r, alias.destinations[i], detail, err))
			return false;
	}
	return true;
}

static bool take_account(struct resolver *r, struct str address, struct str detail, bool *out_done,
			 struct err *err)
{
	struct account account;
	if (!account_find_locked(r->d, address, r->a, &account, err))
		return false;
	*out_done = account.id != 0;
	if (!*out_done)
		return true;
	struct directory_recipient found = {
		.kind = account.enabled && account.domain_enabled ? DIRECTORY_LOCAL : DIRECTORY_DISABLED,
		.address = account.address,
		.detail = detail,
		.account_id = account.id,
		.quota_bytes = account.quota_bytes >= 0
				       ? account.quota_bytes
				       : (int64_t)config_size(r->d->config, SETTING_STORE_QUOTA),
		.quota_messages = account.quota_messages >= 0
					  ? account.quota_messages
					  : config_int(r->d->config, SETTING_STORE_QUOTA_MESSAGES),
		.language = account.language.n
				    ? account.language
				    : arena_str(r->a, config_str(r->d->config, SETTING_LANGUAGE)),
	};
	return resolver_result(r, found);
}

static bool alias_or_account(struct resolver *r, struct str address, struct str detail, bool *out_done,
			     struct err *err)
{
	return follow_alias(r, address, detail, out_done, err) &&
	       (*out_done || take_account(r, address, detail, out_done, err));
}

static bool is_mydestination(const struct directory *d, struct str domain)
{
	return config_list_has(d->config, SETTING_MYDESTINATION, domain);
}

/* The domain an address belongs to here: itself if hosted, mydomain for names of this host.
 * *out_id 0: not hosted. */
static bool find_home(struct directory *d, struct str *domain, int64_t *out_id, bool *out_enabled,
		      bool *out_ours, struct err *err)
{
	if (!domain_id_find(d, *domain, out_id, out_enabled, err))
		return false;
	*out_ours = *out_id != 0;
	if (*out_ours || !is_mydestination(d, *domain))
		return true;
	*out_ours = true;
	*domain = config_str(d->config, SETTING_MYDOMAIN);
	return domain_id_find(d, *domain, out_id, out_enabled, err);
}

static bool local_address(struct resolver *r, struct address folded, struct str detail, bool *out_done,
			  struct err *err)
{
	struct str address = address_str(r->a, folded);
	struct str delimiter = config_str(r->d->config, SETTING_RECIPIENT_DELIMITER);
	if (!alias_or_account(r, address, detail, out_done, err))
		return false;
	if (*out_done)
		return true;
	struct address plain = folded;
	struct str own_detail;
	if (delimiter.n == 1 && local_split_detail(folded.local, delimiter.p[0], &plain.local, &own_detail)) {
		if (!alias_or_account(r, address_str(r->a, plain), arena_str(r->a, own_detail), out_done,
				      err))
			return false;
		if (*out_done)
			return true;
	}
	return follow_alias(r, arena_cat(r->a, STR("@"), folded.domain), STR_NONE, out_done, err);
}

static bool resolve_one(struct resolver *r, struct pending p, struct err *err)
{
	struct address parsed, folded;
	int64_t domain_id;
	bool enabled, ours, done = false;
	if (!address_parse(r->a, p.address, ADDRESS_UTF8 | ADDRESS_NO_DOMAIN, &parsed, err))
		return false;
	if (parsed.domain.n == 0)
		parsed.domain = config_str(r->d->config, SETTING_MYORIGIN);
	if (!address_canonical(r->a, parsed, ADDRESS_FOLD, &folded, err) ||
	    !find_home(r->d, &folded.domain, &domain_id, &enabled, &ours, err))
		return false;
	struct directory_recipient other = {.kind = DIRECTORY_UNKNOWN, .address = address_str(r->a, folded)};
	if (!ours) {
		if (!address_canonical(r->a, parsed, 0, &folded, err))
			return false;
		other.kind = DIRECTORY_REMOTE;
		other.address = address_str(r->a, folded);
		return resolver_result(r, other);
	}
	if (domain_id == 0)
		return resolver_result(r, other);
	if (!enabled) {
		other.kind = DIRECTORY_DISABLED;
		return resolver_result(r, other);
	}
	bool circle = map_get(r->followed, other.address) != NULL;
	if (!local_address(r, folded, p.detail, &done, err))
		return false;
	/* An alias met again, without an account of its name: the circle ends here. */
	return done || circle || resolver_result(r, other);
}

static enum directory_kind whole_kind(const struct resolver *r)
{
	static const enum directory_kind order[] = {DIRECTORY_LOCAL, DIRECTORY_REMOTE, DIRECTORY_DISABLED};
	for (size_t k = 0; k < sizeof order / sizeof *order; k++) {
		for (size_t i = 0; i < r->n; i++) {
			if (r->v[i].kind == order[k])
				return order[k];
		}
	}
	return DIRECTORY_UNKNOWN;
}

/* Runs the queue until it is empty. At least one result: circles alone give UNKNOWN. */
static bool drain(struct resolver *r, struct str address, struct err *err)
{
	while (r->at < r->queue_n) {
		struct pending p = r->queue[r->at++];
		if (!resolve_one(r, p, err))
			return false;
	}
	return r->n > 0 ||
	       resolver_result(r, (struct directory_recipient){.kind = DIRECTORY_UNKNOWN,
							       .address = arena_str(r->a, address)});
}

static bool is_postmaster(struct arena *a, struct str address)
{
	struct err err = {0};
	struct address parsed;
	return address_parse(a, address, ADDRESS_UTF8 | ADDRESS_NO_DOMAIN, &parsed, &err) &&
	       str_eq_nocase(parsed.local, STR("postmaster"));
}

static bool first_account(struct resolver *r, enum query q, struct str domain, struct str *out,
			  struct err *err)
{
	struct sql_stmt *st;
	bool row;
	*out = STR_NONE;
	if (r->d->classic) /* its queries find, they do not list */
		return true;
	if (!directory_query(r->d, q, &st, err))
		return false;
	if (domain.n > 0)
		sql_bind_str(st, 1, domain);
	if (!sql_step(st, &row, err))
		return false;
	if (row)
		*out = arena_str(r->a, sql_column_str(st, 0));
	sql_reset(st);
	return true;
}

/* Who gets postmaster's mail where nobody has that name: the n-th choice. */
static bool postmaster_choice(struct resolver *r, int n, struct str domain, struct str *out, struct err *err)
{
	switch (n) {
	case 0:
		*out = arena_str(r->a, config_str(r->d->config, SETTING_POSTMASTER));
		return true;
	case 1:
		return first_account(r, QUERY_account_first_admin, STR_NONE, out, err);
	case 2:
		return first_account(r, QUERY_account_first_of_domain, domain, out, err);
	default:
		return first_account(r, QUERY_account_first, STR_NONE, out, err);
	}
}

static void forget(struct resolver *r)
{
	map_free(r->followed);
	map_free(r->found);
	r->followed = map_new();
	r->found = map_new();
	r->n = r->at = r->queue_n = 0;
}

static bool resolve_all(struct resolver *r, struct str address, struct err *err)
{
	forget(r);
	return resolver_push(r, address, STR_NONE, err) && drain(r, address, err);
}

static bool resolve_postmaster(struct resolver *r, struct str domain, struct err *err)
{
	for (int n = 0; n < 4; n++) {
		struct str choice;
		if (!postmaster_choice(r, n, domain, &choice, err))
			return false;
		if (choice.n == 0)
			continue;
		if (!resolve_all(r, choice, err)) {
			if (err->kind == ERR_SYNTAX) /* the setting's mistake */
				continue;
			return false;
		}
		enum directory_kind kind = whole_kind(r);
		if (kind == DIRECTORY_LOCAL || kind == DIRECTORY_REMOTE)
			return true;
	}
	return r->n > 0 || resolve_all(r, STR("postmaster"), err);
}

static bool resolve_with(struct resolver *r, struct str address, bool fall_back, struct err *err)
{
	if (!resolve_all(r, address, err))
		return false;
	enum directory_kind kind = whole_kind(r);
	if (!fall_back || kind == DIRECTORY_LOCAL || kind == DIRECTORY_REMOTE ||
	    !is_postmaster(r->a, address))
		return true;
	struct str given = arena_str(r->a, address),
		   domain = str_from(given, str_find_last_byte(given, '@') + 1);
	if (!str_has_byte(given, '@'))
		domain = config_str(r->d->config, SETTING_MYDOMAIN);
	else if (!directory_fold_domain(r->a, domain, &domain, err))
		return false;
	return resolve_postmaster(r, domain, err);
}

static bool resolve(struct directory *d, struct str address, bool fall_back, struct arena *a,
		    struct directory_resolution *out, struct err *err)
{
	LOCK_SCOPED(&d->lock);
	struct resolver r = {
		.d = d, .a = a, .limit = (size_t)config_int(d->config, SETTING_DIRECTORY_ALIAS_LIMIT)};
	bool ok = resolve_with(&r, address, fall_back, err);
	if (ok)
		*out = (struct directory_resolution){whole_kind(&r), r.by_alias, r.v, r.n};
	map_free(r.followed);
	map_free(r.found);
	return ok;
}

bool directory_resolve(struct directory *d, struct str address, struct arena *a,
		       struct directory_resolution *out, struct err *err)
{
	return resolve(d, address, true, a, out, err);
}

bool directory_is_local_domain(struct directory *d, struct str domain, bool *out, struct err *err)
{
	ARENA_SCOPED a = arena_new();
	struct err syntax = {0};
	int64_t id;
	bool enabled;
	*out = false;
	if (!directory_fold_domain(a, domain, &domain, &syntax))
		return true;
	LOCK_SCOPED(&d->lock);
	return find_home(d, &domain, &id, &enabled, out, err);
}

bool directory_may_send_as(struct directory *d, struct str account, struct str sender, bool *out,
			   struct err *err)
{
	ARENA_SCOPED a = arena_new();
	struct account own;
	struct directory_resolution r;
	struct str folded;
	struct err syntax = {0};
	*out = false;
	if (!account_find(d, account, a, &own, err))
		return false;
	/* What is no address is nobody's; an account that was removed sends no more. */
	if (own.id == 0 || !directory_fold_address(a, sender, &folded, &syntax))
		return true;
	if (str_eq(folded, own.address)) {
		*out = true;
		return true;
	}
	if (!resolve(d, sender, false, a, &r, err))
		return false;
	*out = r.n == 1 && r.kind == DIRECTORY_LOCAL && r.v[0].account_id == own.id;
	return true;
}
