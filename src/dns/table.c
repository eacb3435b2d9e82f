/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "dns/table.h"
#include "base/arena.h"
#include "base/codec.h"
#include "base/map.h"
#include "base/mem.h"
#include "dns/backend.h"
#include "json/json.h"

#include <arpa/inet.h>
#include <stdlib.h>

enum { TTL = 300 };

struct entry {
	enum dns_type type;
	struct dns_record record;
	struct entry *next;
};
struct node {
	struct entry *first, *last;
	bool refuses; /* every question ends with status */
	enum dns_status status;
};
struct table {
	struct dns_resolver resolver;
	struct arena *arena;
	struct map *names;
	bool secure;
	unsigned queries;
};

static const struct {
	const char *name;
	enum dns_type type;
} types[] = {
	{"A", DNS_A}, {"NS", DNS_NS}, {"CNAME", DNS_CNAME}, {"PTR", DNS_PTR}, {"MX", DNS_MX},
	{"TXT", DNS_TXT}, {"AAAA", DNS_AAAA}, {"SRV", DNS_SRV}, {"TLSA", DNS_TLSA},
};
static const struct {
	const char *name;
	enum dns_status status;
} refusals[] = {
	{"TIMEOUT", DNS_TIMEOUT},
	{"SERVFAIL", DNS_SERVFAIL},
	{"BOGUS", DNS_BOGUS},
	{"NXDOMAIN", DNS_NXDOMAIN},
};

static struct str host_of(struct arena *a, struct str s)
{
	return arena_lower(a, str_ends(s, STR(".")) ? str_sub(s, 0, s.n - 1) : s);
}

static struct node *node_of(struct table *t, struct str name)
{
	struct str key = host_of(t->arena, name);
	struct node *node = map_get(t->names, key);
	if (!node) {
		node = arena_new_of(t->arena, struct node);
		map_put(t->names, key, node);
	}
	return node;
}

static bool read_number(struct str *rest, uint64_t max, uint64_t *out)
{
	return str_u64(str_cut(rest, ' '), max, out);
}

static bool read_tlsa(struct arena *a, struct str rest, struct dns_record *out)
{
	BUF_SCOPED bytes = {0};
	uint64_t usage, selector, matching;
	if (!read_number(&rest, 255, &usage) || !read_number(&rest, 255, &selector) ||
	    !read_number(&rest, 255, &matching) || !hex_decode(&bytes, rest))
		return false;
	*out = (struct dns_record){.data = arena_str(a, buf_str(&bytes)), .usage = (uint8_t)usage,
				   .selector = (uint8_t)selector, .matching = (uint8_t)matching};
	return true;
}

static bool read_record(struct arena *a, enum dns_type type, struct str data, struct dns_record *out)
{
	char bytes[16];
	uint64_t n, weight = 0, port = 0;
	*out = (struct dns_record){0};
	switch (type) {
	case DNS_A:
	case DNS_AAAA:
		if (inet_pton(type == DNS_A ? AF_INET : AF_INET6, arena_cstr(a, data), bytes) != 1)
			return false;
		out->data = arena_str(a, (struct str){bytes, type == DNS_A ? 4 : 16});
		return true;
	case DNS_TXT:
		out->data = arena_str(a, data);
		return true;
	case DNS_TLSA:
		return read_tlsa(a, data, out);
	case DNS_MX:
	case DNS_SRV:
		if (!read_number(&data, UINT16_MAX, &n) ||
		    (type == DNS_SRV &&
		     (!read_number(&data, UINT16_MAX, &weight) || !read_number(&data, UINT16_MAX, &port))))
			return false;
		out->preference = (uint16_t)n;
		out->weight = (uint16_t)weight;
		out->port = (uint16_t)port;
		out->name = host_of(a, data);
		return true;
	case DNS_NS:
	case DNS_CNAME:
	case DNS_PTR:
	case DNS_SOA:
		break;
	}
	out->name = host_of(a, data);
	return true;
}

static bool add_refusal(struct node *node, struct str type)
{
	for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
		if (!str_eq(type, str_of(refusals[i].name)))
			continue;
		node->refuses = true;
		node->status = refusals[i].status;
		return true;
	}
	return false;
}

bool dns_table_add(struct dns_resolver *r, struct str name, struct str type, struct str data, struct err *err)
{
	struct table *t = (struct table *)r;
	struct node *node = node_of(t, name);
	if (add_refusal(node, type))
		return true;
	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		if (!str_eq(type, str_of(types[i].name)))
			continue;
		struct entry *e = arena_new_of(t->arena, struct entry);
		e->type = types[i].type;
		if (!read_record(t->arena, e->type, data, &e->record))
			break;
		if (node->last)
			node->last->next = e;
		else
			node->first = e;
		node->last = e;
		return true;
	}
	return err_set(err, ERR_SYNTAX, "not a record: %.*s %.*s", STR_ARG(type), STR_ARG(data));
}

/* Strings are joined, numbers and hosts get blanks between. */
static struct str text_of(struct arena *a, const struct json_value *v, bool joined)
{
	BUF_SCOPED text = {0};
	int64_t number;
	if (json_value_type(v) != JSON_TYPE_ARRAY)
		return json_value_str_or(v, STR(""));
	for (size_t i = 0; i < json_value_count(v); i++) {
		const struct json_value *item = json_value_item(v, i);
		if (i > 0 && !joined)
			buf_byte(&text, ' ');
		if (json_value_int(item, &number))
			buf_fmt(&text, "%lld", (long long)number);
		else
			buf_add(&text, json_value_str_or(item, STR("")));
	}
	return arena_str(a, buf_str(&text));
}

struct adding {
	struct dns_resolver *r;
	struct err *err;
	bool failed;
};

static bool known(struct str type)
{
	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		if (str_eq(type, str_of(types[i].name)))
			return true;
	}
	for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
		if (str_eq(type, str_of(refusals[i].name)))
			return true;
	}
	return false;
}

static bool add_name(void *context, struct str name, const struct json_value *records)
{
	struct adding *adding = context;
	struct table *t = (struct table *)adding->r;
	node_of(t, name);
	for (size_t i = 0; i < json_value_count(records); i++) {
		const struct json_value *record = json_value_item(records, i);
		struct str type = json_value_str_or(json_value_item(record, 0), STR(""));
		struct str data = text_of(t->arena, json_value_item(record, 1), str_eq(type, STR("TXT")));
		if (known(type) && !dns_table_add(adding->r, name, type, data, adding->err)) {
			adding->failed = true;
			return false;
		}
	}
	return true;
}

bool dns_table_add_json(struct dns_resolver *r, const struct json_value *zone, struct err *err)
{
	struct adding adding = {.r = r, .err = err};
	json_value_each(zone, add_name, &adding);
	return !adding.failed;
}

/* RFC 8020: a name above one that exists does exist. */
static bool is_above(const struct table *t, struct str name)
{
	struct map_iter it = {0};
	while (map_next(t->names, &it)) {
		if (it.key.n > name.n && it.key.p[it.key.n - name.n - 1] == '.' && str_ends(it.key, name))
			return true;
	}
	return false;
}

static void collect(struct arena *a, const struct node *node, enum dns_type type, struct dns_answer *out)
{
	struct dns_record *at = NULL;
	size_t cap = 0;
	for (const struct entry *e = node->first; e; e = e->next) {
		if (e->type != type)
			continue;
		at = arena_grow(a, at, out->n, &cap, sizeof *at);
		at[out->n++] = e->record;
	}
	out->at = at;
	out->status = out->n > 0 ? DNS_FOUND : DNS_NODATA;
}

static const struct entry *alias_of(const struct node *node)
{
	for (const struct entry *e = node->first; e; e = e->next) {
		if (e->type == DNS_CNAME)
			return e;
	}
	return NULL;
}

static void table_query(struct dns_resolver *r, struct arena *a, struct str name, enum dns_type type,
			struct dns_answer *out)
{
	struct table *t = (struct table *)r;
	t->queries++;
	out->ttl = TTL;
	out->secure = t->secure;
	for (int aliases = 0; aliases <= DNS_ALIASES_MAX; aliases++) {
		out->canonical = name;
		const struct node *node = map_get(t->names, name);
		if (!node) {
			out->status = is_above(t, name) ? DNS_NODATA : DNS_NXDOMAIN;
			return;
		}
		/* A name may refuse all but what stands beside the refusal. */
		collect(a, node, type, out);
		if (out->n > 0)
			return;
		if (node->refuses) {
			out->status = node->status;
			out->secure = out->secure && !dns_is_error(out->status);
			return;
		}
		const struct entry *alias = type == DNS_CNAME ? NULL : alias_of(node);
		if (!alias)
			return;
		name = alias->record.name;
	}
	out->status = DNS_SERVFAIL;
	out->secure = false;
}

static void table_free(struct dns_resolver *r)
{
	struct table *t = (struct table *)r;
	map_free(t->names);
	arena_free(t->arena);
	free(t);
}

struct dns_resolver *dns_table_new(void)
{
	struct table *t = mem_new(struct table);
	t->resolver = (struct dns_resolver){table_query, table_free};
	t->arena = arena_new();
	t->names = map_new();
	return &t->resolver;
}

void dns_table_set_secure(struct dns_resolver *r, bool secure)
{
	((struct table *)r)->secure = secure;
}

unsigned dns_table_queries(const struct dns_resolver *r)
{
	return ((const struct table *)r)->queries;
}
