/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Requests as JSON. Each handler reads its members, does one thing, and writes the members of
 * its reply, in which "ok" stands already; a failure replaces all that was written.
 */
#include "directory/control.h"
#include "base/codec.h"
#include "directory/account.h"
#include "directory/alias.h"
#include "directory/domain.h"
#include "json/json.h"

struct request {
	struct directory *d;
	const struct json_value *in;
	struct json_writer *out;
	struct arena *a;
};

static const struct json_value *member(const struct request *r, const char *name)
{
	return json_value_member(r->in, name);
}

static struct str text(const struct request *r, const char *name)
{
	return json_value_str_or(member(r, name), STR(""));
}

static bool need(const struct request *r, const char *name, struct str *out, struct err *err)
{
	return json_value_str(member(r, name), out) || err_set(err, ERR_SYNTAX, "\"%s\" is missing", name);
}

/* A list of strings under name. */
static bool texts(const struct request *r, const char *name, struct str **out, size_t *out_n, struct err *err)
{
	const struct json_value *list = member(r, name);
	*out_n = json_value_type(list) == JSON_TYPE_ARRAY ? json_value_count(list) : 0;
	*out = arena_array(r->a, *out_n ? *out_n : 1, sizeof **out);
	for (size_t i = 0; i < *out_n; i++) {
		if (!json_value_str(json_value_item(list, i), &(*out)[i]))
			return err_set(err, ERR_SYNTAX, "\"%s\" must hold strings", name);
	}
	return true;
}

/* {name, description} */
static bool control_domain_add(struct request *r, struct err *err)
{
	struct str name;
	return need(r, "name", &name, err) && domain_add(r->d, name, text(r, "description"), err);
}

static void write_domain(struct json_writer *w, const struct domain *d)
{
	json_write_object_begin(w);
	json_write_member_str(w, "name", d->name);
	json_write_member_str(w, "description", d->description);
	json_write_member_bool(w, "enabled", d->enabled);
	json_write_member_int(w, "accounts", d->accounts);
	json_write_member_int(w, "aliases", d->aliases);
	json_write_member_int(w, "created", d->created_unix);
	if (d->removed_unix)
		json_write_member_int(w, "removed", d->removed_unix);
	json_write_object_end(w);
}

/* {removed: true for those that can be restored} gives {domains: [...]} */
static bool control_domain_list(struct request *r, struct err *err)
{
	struct domain_list list;
	bool removed = json_value_bool_or(member(r, "removed"), false);
	if (!(removed ? domain_list_removed : domain_list)(r->d, r->a, &list, err))
		return false;
	json_write_name(r->out, STR("domains"));
	json_write_array_begin(r->out);
	for (size_t i = 0; i < list.n; i++)
		write_domain(r->out, &list.v[i]);
	json_write_array_end(r->out);
	return true;
}

/* {name} gives {domain} */
static bool control_domain_show(struct request *r, struct err *err)
{
	struct str name;
	struct domain d;
	if (!need(r, "name", &name, err) || !domain_find(r->d, name, r->a, &d, err))
		return false;
	if (d.id == 0)
		return err_set(err, ERR_NOT_FOUND, "there is no domain %.*s", STR_ARG(str_sub(name, 0, 100)));
	json_write_name(r->out, STR("domain"));
	write_domain(r->out, &d);
	return true;
}

/* {name, description, enabled}: those given are set */
static bool control_domain_set(struct request *r, struct err *err)
{
	struct str name;
	struct domain v = {0};
	unsigned fields = 0;
	if (!need(r, "name", &name, err))
		return false;
	if (json_value_str(member(r, "description"), &v.description))
		fields |= DOMAIN_DESCRIPTION;
	if (json_value_bool(member(r, "enabled"), &v.enabled))
		fields |= DOMAIN_ENABLED;
	return domain_set(r->d, name, fields, &v, err);
}

/* {name} */
static bool control_domain_remove(struct request *r, struct err *err)
{
	struct str name;
	return need(r, "name", &name, err) && domain_remove(r->d, name, err);
}

/* {name} */
static bool control_domain_restore(struct request *r, struct err *err)
{
	struct str name;
	return need(r, "name", &name, err) && domain_restore(r->d, name, err);
}

static const struct {
	const char *name;
	unsigned bit;
} protocols[] = {
	{"imap", ACCOUNT_IMAP}, {"pop3", ACCOUNT_POP3}, {"submission", ACCOUNT_SUBMISSION},
	{"sieve", ACCOUNT_SIEVE}, {"web", ACCOUNT_WEB},
};
enum { PROTOCOLS = sizeof protocols / sizeof *protocols };

static bool read_protocols(struct request *r, unsigned *out, unsigned *fields, struct err *err)
{
	struct str *names;
	size_t n;
	if (json_value_type(member(r, "protocols")) != JSON_TYPE_ARRAY)
		return true;
	if (!texts(r, "protocols", &names, &n, err))
		return false;
	*out = 0;
	*fields |= ACCOUNT_SET_PROTOCOLS;
	for (size_t i = 0; i < n; i++) {
		unsigned bit = 0;
		for (size_t k = 0; k < PROTOCOLS; k++) {
			if (str_eq_nocase(names[i], str_of(protocols[k].name)))
				bit = protocols[k].bit;
		}
		if (bit == 0)
			return err_set(err, ERR_SYNTAX, "protocols are imap, pop3, submission, sieve, web");
		*out |= bit;
	}
	return true;
}

static bool read_role(struct request *r, enum account_role *out, unsigned *fields, struct err *err)
{
	struct str role;
	if (!json_value_str(member(r, "role"), &role))
		return true;
	*fields |= ACCOUNT_SET_ROLE;
	if (!str_eq(role, STR("admin")) && !str_eq(role, STR("user")))
		return err_set(err, ERR_SYNTAX, "the role must be user or admin");
	*out = str_eq(role, STR("admin")) ? ACCOUNT_ROLE_ADMIN : ACCOUNT_ROLE_USER;
	return true;
}

/* The members of account.add and account.set that are there. */
static bool read_account(struct request *r, struct account *v, unsigned *fields, struct err *err)
{
	*fields = 0;
	if (!need(r, "address", &v->address, err))
		return false;
	if (json_value_str(member(r, "password"), &v->password)) {
		*fields |= ACCOUNT_SET_PASSWORD;
		v->scram_sha1 = text(r, "scram_sha1");
		v->scram_sha256 = text(r, "scram_sha256");
	}
	if (json_value_bool(member(r, "enabled"), &v->enabled))
		*fields |= ACCOUNT_SET_ENABLED;
	if (json_value_int(member(r, "quota_bytes"), &v->quota_bytes))
		*fields |= ACCOUNT_SET_QUOTA_BYTES;
	if (json_value_int(member(r, "quota_messages"), &v->quota_messages))
		*fields |= ACCOUNT_SET_QUOTA_MESSAGES;
	if (json_value_str(member(r, "language"), &v->language))
		*fields |= ACCOUNT_SET_LANGUAGE;
	if (json_value_str(member(r, "display_name"), &v->display_name))
		*fields |= ACCOUNT_SET_DISPLAY_NAME;
	if (json_value_bool(member(r, "intranet_only"), &v->intranet_only))
		*fields |= ACCOUNT_SET_INTRANET_ONLY;
	return read_role(r, &v->role, fields, err) && read_protocols(r, &v->protocols, fields, err);
}

/* {address, password, scram_sha1, scram_sha256, enabled, quota_bytes, quota_messages, role,
 * language, display_name, protocols, intranet_only}: all but the address optional */
static bool control_account_add(struct request *r, struct err *err)
{
	struct account v;
	unsigned fields;
	account_init(&v);
	return read_account(r, &v, &fields, err) && account_add(r->d, &v, err);
}

static void write_account(struct request *r, const struct account *v)
{
	struct json_writer *w = r->out;
	json_write_object_begin(w);
	json_write_member_int(w, "id", v->id);
	json_write_member_str(w, "address", v->address);
	json_write_member_bool(w, "enabled", v->enabled);
	json_write_member_bool(w, "domain_enabled", v->domain_enabled);
	json_write_member_bool(w, "has_password", v->password.n > 0);
	json_write_member_int(w, "quota_bytes", v->quota_bytes);
	json_write_member_int(w, "quota_messages", v->quota_messages);
	json_write_member_cstr(w, "role", v->role == ACCOUNT_ROLE_ADMIN ? "admin" : "user");
	json_write_member_str(w, "language", v->language);
	json_write_member_str(w, "display_name", v->display_name);
	json_write_name(w, STR("protocols"));
	json_write_array_begin(w);
	for (size_t i = 0; i < PROTOCOLS; i++) {
		if (v->protocols & protocols[i].bit)
			json_write_str(w, str_of(protocols[i].name));
	}
	json_write_array_end(w);
	json_write_member_bool(w, "intranet_only", v->intranet_only);
	json_write_member_int(w, "created", v->created_unix);
	json_write_member_int(w, "password_changed", v->password_changed_unix);
	json_write_object_end(w);
}

/* {domain: optional} gives {accounts: [...]} */
static bool control_account_list(struct request *r, struct err *err)
{
	struct account_list list;
	if (!account_list(r->d, text(r, "domain"), r->a, &list, err))
		return false;
	json_write_name(r->out, STR("accounts"));
	json_write_array_begin(r->out);
	for (size_t i = 0; i < list.n; i++)
		write_account(r, &list.v[i]);
	json_write_array_end(r->out);
	return true;
}

/* {address} gives {account} */
static bool control_account_show(struct request *r, struct err *err)
{
	struct str address;
	struct account v;
	if (!need(r, "address", &address, err) || !account_find(r->d, address, r->a, &v, err))
		return false;
	if (v.id == 0)
		return err_set(err, ERR_NOT_FOUND, "there is no account %.*s",
			       STR_ARG(str_sub(address, 0, 100)));
	json_write_name(r->out, STR("account"));
	write_account(r, &v);
	return true;
}

/* As account.add: those given are set */
static bool control_account_set(struct request *r, struct err *err)
{
	struct account v;
	unsigned fields;
	account_init(&v);
	return read_account(r, &v, &fields, err) && account_set(r->d, v.address, fields, &v, err);
}

/* {address} */
static bool control_account_remove(struct request *r, struct err *err)
{
	struct str address;
	return need(r, "address", &address, err) && account_remove(r->d, address, err);
}

/* {address} */
static bool control_account_restore(struct request *r, struct err *err)
{
	struct str address;
	return need(r, "address", &address, err) && account_restore(r->d, address, err);
}

static bool read_alias(struct request *r, struct str *source, struct str **v, size_t *n, struct err *err)
{
	return need(r, "source", source, err) && texts(r, "destinations", v, n, err);
}

/* {source, destinations} */
static bool control_alias_add(struct request *r, struct err *err)
{
	struct str source, *v;
	size_t n;
	return read_alias(r, &source, &v, &n, err) && alias_add(r->d, source, v, n, err);
}

/* Destinations that lead nowhere are named, since mail to them comes back (R22). */
static bool write_dangling(struct request *r, const struct alias *alias, struct err *err)
{
	json_write_name(r->out, STR("dangling"));
	json_write_array_begin(r->out);
	for (size_t i = 0; i < alias->n; i++) {
		struct directory_resolution to;
		if (!directory_resolve(r->d, alias->destinations[i], r->a, &to, err))
			return false;
		if (to.kind == DIRECTORY_UNKNOWN || to.kind == DIRECTORY_DISABLED)
			json_write_str(r->out, alias->destinations[i]);
	}
	json_write_array_end(r->out);
	return true;
}

static bool write_alias(struct request *r, const struct alias *alias, struct err *err)
{
	json_write_object_begin(r->out);
	json_write_member_str(r->out, "source", alias->source);
	json_write_name(r->out, STR("destinations"));
	json_write_array_begin(r->out);
	for (size_t i = 0; i < alias->n; i++)
		json_write_str(r->out, alias->destinations[i]);
	json_write_array_end(r->out);
	if (!write_dangling(r, alias, err))
		return false;
	json_write_object_end(r->out);
	return true;
}

/* {domain: optional} gives {aliases: [...]} */
static bool control_alias_list(struct request *r, struct err *err)
{
	struct alias_list list;
	if (!alias_list(r->d, text(r, "domain"), r->a, &list, err))
		return false;
	json_write_name(r->out, STR("aliases"));
	json_write_array_begin(r->out);
	for (size_t i = 0; i < list.n; i++) {
		if (!write_alias(r, &list.v[i], err))
			return false;
	}
	json_write_array_end(r->out);
	return true;
}

/* {source} gives {alias} */
static bool control_alias_show(struct request *r, struct err *err)
{
	struct str source;
	struct alias alias;
	if (!need(r, "source", &source, err) || !alias_find(r->d, source, r->a, &alias, err))
		return false;
	if (alias.n == 0)
		return err_set(err, ERR_NOT_FOUND, "there is no alias %.*s",
			       STR_ARG(str_sub(source, 0, 100)));
	json_write_name(r->out, STR("alias"));
	return write_alias(r, &alias, err);
}

/* {source, destinations}: they replace the former ones */
static bool control_alias_set(struct request *r, struct err *err)
{
	struct str source, *v;
	size_t n;
	return read_alias(r, &source, &v, &n, err) && alias_set(r->d, source, v, n, err);
}

/* {source, destinations: only these} */
static bool control_alias_remove(struct request *r, struct err *err)
{
	struct str source, *v;
	size_t n;
	return read_alias(r, &source, &v, &n, err) && alias_remove(r->d, source, v, n, err);
}

/* The classic setup's three maps (R39-R42): what postmap -q would print, "" for nothing. */
static bool look_up(struct request *r, struct str map, struct str key, struct buf *value, struct err *err)
{
	struct domain domain;
	struct account account;
	struct alias alias;
	struct err syntax = {0};
	struct str folded;
	if (str_eq(map, STR("domain"))) {
		if (!directory_fold_domain(r->a, key, &folded, &syntax))
			return true;
		if (!domain_find(r->d, key, r->a, &domain, err))
			return false;
		buf_add(value, domain.id ? STR("1") : STR(""));
	} else if (str_eq(map, STR("account"))) {
		if (!account_find(r->d, key, r->a, &account, err))
			return false;
		buf_add(value, account.id ? STR("1") : STR(""));
	} else if (str_eq(map, STR("alias"))) {
		if (!alias_find(r->d, key, r->a, &alias, err))
			return false;
		for (size_t i = 0; i < alias.n; i++) {
			buf_add(value, i ? STR(",") : STR(""));
			buf_add(value, alias.destinations[i]);
		}
	} else {
		return err_set(err, ERR_SYNTAX, "the map must be domain, account or alias");
	}
	return true;
}

/* {map, key} gives {found, value} */
static bool control_lookup(struct request *r, struct err *err)
{
	struct str map, key;
	BUF_SCOPED value = {0};
	if (!need(r, "map", &map, err) || !need(r, "key", &key, err) || !look_up(r, map, key, &value, err))
		return false;
	json_write_member_bool(r->out, "found", value.n > 0);
	json_write_member_str(r->out, "value", buf_str(&value));
	return true;
}

/* {address} gives {kind, by_alias, recipients: [{kind, address, detail}]} */
static bool control_resolve(struct request *r, struct err *err)
{
	static const char *const kinds[] = {"local", "remote", "unknown", "disabled"};
	struct str address;
	struct directory_resolution to;
	if (!need(r, "address", &address, err) || !directory_resolve(r->d, address, r->a, &to, err))
		return false;
	json_write_member_cstr(r->out, "kind", kinds[to.kind]);
	json_write_member_bool(r->out, "by_alias", to.by_alias);
	json_write_name(r->out, STR("recipients"));
	json_write_array_begin(r->out);
	for (size_t i = 0; i < to.n; i++) {
		json_write_object_begin(r->out);
		json_write_member_cstr(r->out, "kind", kinds[to.v[i].kind]);
		json_write_member_str(r->out, "address", to.v[i].address);
		json_write_member_str(r->out, "detail", to.v[i].detail);
		json_write_object_end(r->out);
	}
	json_write_array_end(r->out);
	return true;
}

static const struct control_verb {
	const char *name;
	bool (*handle)(struct request *r, struct err *err);
	bool changes;
} verbs[] = {
#define CONTROL(name, function, changes) {name, control_##function, changes},
#include "directory/control.def"
#undef CONTROL
};

static const struct control_verb *find_verb(struct str name)
{
	for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
		if (str_eq(name, str_of(verbs[i].name)))
			return &verbs[i];
	}
	return NULL;
}

bool directory_control_knows(struct str verb)
{
	return find_verb(verb) != NULL;
}

static void write_error(struct buf *reply, const struct err *err)
{
	struct json_writer w;
	json_write_init(&w, reply);
	json_write_object_begin(&w);
	json_write_member_bool(&w, "ok", false);
	json_write_member_cstr(&w, "kind", err_kind_name(err->kind));
	json_write_member_cstr(&w, "text", err->text);
	json_write_object_end(&w);
}

static bool handle(struct directory *d, const struct json_value *in, struct buf *reply, bool *out_changed,
		   struct err *err)
{
	ARENA_SCOPED a = arena_new();
	struct json_writer w;
	struct request r = {.d = d, .in = in, .out = &w, .a = a};
	struct str name;
	if (!need(&r, "verb", &name, err))
		return false;
	const struct control_verb *verb = find_verb(name);
	if (!verb)
		return err_set(err, ERR_NOT_FOUND, "unknown verb");
	json_write_init(&w, reply);
	json_write_object_begin(&w);
	json_write_member_bool(&w, "ok", true);
	if (!verb->handle(&r, err))
		return false;
	json_write_object_end(&w);
	*out_changed = verb->changes;
	return true;
}

bool directory_control(struct directory *d, struct str request_json, struct buf *reply_json)
{
	JSON_DOC_SCOPED doc = NULL;
	struct err err = {0};
	size_t start = reply_json->n;
	bool changed = false;
	if (!json_doc_parse(request_json, DIRECTORY_CONTROL_MAX, &doc, &err) ||
	    !handle(d, json_doc_root(doc), reply_json, &changed, &err)) {
		reply_json->n = start;
		write_error(reply_json, &err);
		return false;
	}
	return changed;
}
