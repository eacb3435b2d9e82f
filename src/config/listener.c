/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Listeners: the standard ten are always there and can be changed or switched off by a section
 * of their name; sections of other names add to them.
 */
#include "config/config_int.h"

#include <arpa/inet.h>
#include <string.h>

static const struct {
	const char *name;
	uint16_t port;
	enum listener_tls tls;
} services[SERVICE_COUNT] = {
	[SERVICE_SMTP] = {"smtp", 25, LISTENER_TLS_MAY},
	[SERVICE_SUBMISSION] = {"submission", 587, LISTENER_TLS_MAY},
	[SERVICE_SUBMISSIONS] = {"submissions", 465, LISTENER_TLS_IMPLICIT},
	[SERVICE_LMTP] = {"lmtp", 24, LISTENER_TLS_NONE},
	[SERVICE_IMAP] = {"imap", 143, LISTENER_TLS_MAY},
	[SERVICE_IMAPS] = {"imaps", 993, LISTENER_TLS_IMPLICIT},
	[SERVICE_POP3] = {"pop3", 110, LISTENER_TLS_MAY},
	[SERVICE_POP3S] = {"pop3s", 995, LISTENER_TLS_IMPLICIT},
	[SERVICE_LOCAL] = {"local", 0, LISTENER_TLS_NONE},
	[SERVICE_AUTH] = {"auth", 0, LISTENER_TLS_NONE},
	[SERVICE_METRICS] = {"metrics", 0, LISTENER_TLS_NONE},
};

const char *config_service_name(enum listener_service service)
{
	return services[service].name;
}

uint16_t config_service_port(enum listener_service service)
{
	return services[service].port;
}

struct sketch {
	const char *title;
	const struct assignment *last[LISTENER_OPTION_COUNT];
	const struct assignment *any;
};

struct sketches {
	struct sketch v[CONFIG_LISTENERS_MAX];
	size_t n;
};

static struct sketch *find_sketch(struct sketches *all, const char *title)
{
	for (size_t i = 0; i < all->n; i++) {
		if (strcmp(all->v[i].title, title) == 0)
			return &all->v[i];
	}
	if (all->n == CONFIG_LISTENERS_MAX)
		return NULL;
	all->v[all->n] = (struct sketch){.title = title};
	return &all->v[all->n++];
}

static void collect(struct sketches *all, struct assignments *as)
{
	for (size_t i = 0; i < as->n; i++) {
		const struct assignment *at = &as->v[i];
		if (strcmp(at->section, "listener") != 0)
			continue;
		struct sketch *s = find_sketch(all, at->title);
		if (!s) {
			assignments_problem(as, at, false, "more than %d listeners", CONFIG_LISTENERS_MAX);
			return;
		}
		s->any = at;
		for (int o = 0; o < LISTENER_OPTION_COUNT; o++) {
			if (strcmp(listener_option_rows[o].name, at->name) == 0)
				s->last[o] = at;
		}
	}
}

struct listener_builder {
	struct config *c;
	struct assignments *as;
	const char *dir;
	const struct sketch *s;
};

/* False: not given, or wrong and told. */
static bool option(struct listener_builder *b, enum listener_option o, struct config_value *out)
{
	const struct assignment *at = b->s->last[o];
	const struct listener_option_row *row = &listener_option_rows[o];
	struct arena *a = b->c->arena;
	struct err err = {0};
	if (!at)
		return false;
	struct config_list items = at->items;
	if (row->type == SETTING_TYPE_LIST || row->type == SETTING_TYPE_NETWORKS)
		items = config_list_cut(a, items);
	if (config_value_parse(a, row->type, row->choices, 0, 65535, b->dir, items, out, &err))
		return true;
	assignments_problem(b->as, at, false, "listener %s: %s %s", b->s->title, row->name, err.text);
	return false;
}

static bool service_of(struct listener_builder *b, enum listener_service *out)
{
	struct config_value v = {0};
	if (b->s->last[LISTENER_OPTION_SERVICE]) {
		if (!option(b, LISTENER_OPTION_SERVICE, &v))
			return false;
		*out = (enum listener_service)v.number;
		return true;
	}
	for (int i = 0; i < SERVICE_COUNT; i++) {
		if (strcmp(services[i].name, b->s->title) == 0) {
			*out = (enum listener_service)i;
			return true;
		}
	}
	assignments_problem(b->as, b->s->any, false, "listener %s needs a service", b->s->title);
	return false;
}

static bool address_valid(struct str s)
{
	unsigned char bytes[16];
	return str_eq(s, STR("*")) || inet_pton(AF_INET, s.p, bytes) == 1 ||
	       inet_pton(AF_INET6, s.p, bytes) == 1;
}

static void set_addresses(struct listener_builder *b, struct listener *l)
{
	struct config_value v = {0};
	static const struct str loopback[] = {{"127.0.0.1", 9}};
	if (option(b, LISTENER_OPTION_ADDRESS, &v))
		l->address = v.items;
	else if (l->service == SERVICE_LMTP || l->service == SERVICE_METRICS)
		l->address = (struct config_list){loopback, 1};
	else
		l->address = b->c->values[SETTING_INET_INTERFACES].items;
	for (size_t i = 0; i < l->address.n; i++) {
		if (!address_valid(l->address.v[i]))
			assignments_problem(b->as, b->s->last[LISTENER_OPTION_ADDRESS], false,
					    "listener %s: \"%.*s\" is not an IP address, \"*\" or \"::\"",
					    b->s->title, STR_ARG(l->address.v[i]));
	}
}

static void set_port(struct listener_builder *b, struct listener *l)
{
	struct config_value v = {0};
	int64_t base = b->c->values[SETTING_PORT_BASE].number;
	int64_t port = l->service == SERVICE_LMTP && base == 0 ? 0 : base + services[l->service].port;
	bool unix_only = l->service == SERVICE_LOCAL || l->service == SERVICE_AUTH;
	if (unix_only || l->service == SERVICE_METRICS)
		port = 0;
	if (option(b, LISTENER_OPTION_PORT, &v))
		port = v.number;
	if (unix_only && port)
		assignments_problem(b->as, b->s->last[LISTENER_OPTION_PORT], false,
				    "listener %s: %s is spoken on a Unix socket only", b->s->title,
				    services[l->service].name);
	l->port = (uint16_t)port;
}

static struct str in_run_dir(struct listener_builder *b, const char *name)
{
	struct arena *a = b->c->arena;
	return str_of(arena_cstr(a, arena_fmt(a, "%s/%s", config_path(b->c, SETTING_RUN_DIR), name)));
}

static void set_unix(struct listener_builder *b, struct listener *l)
{
	struct config_value v = {0};
	l->unix_path = STR("");
	l->unix_mode = l->service == SERVICE_LOCAL ? 0666 : 0660;
	if (option(b, LISTENER_OPTION_UNIX_PATH, &v))
		l->unix_path = v.items.v[0];
	else if (l->service == SERVICE_LMTP && strcmp(b->s->title, "lmtp") == 0)
		l->unix_path = in_run_dir(b, "lmtp.sock");
	else if (l->service == SERVICE_LOCAL && strcmp(b->s->title, "local") == 0)
		l->unix_path = in_run_dir(b, "sendmail.sock");
	else if (l->service == SERVICE_AUTH && strcmp(b->s->title, "auth") == 0)
		l->unix_path = in_run_dir(b, "auth.sock");
	l->unix_owner = option(b, LISTENER_OPTION_UNIX_OWNER, &v) ? v.items.v[0] : STR("");
	if (l->unix_path.n > 107)
		assignments_problem(b->as, b->s->any, false,
				    "listener %s: unix_path is longer than 107 bytes", b->s->title);
	if (!option(b, LISTENER_OPTION_UNIX_MODE, &v))
		return;
	struct str s = v.items.v[0];
	uint32_t mode = 0;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '7' || mode > 0777)
			mode = 07777;
		else
			mode = mode * 8 + (uint32_t)(s.p[i] - '0');
	}
	l->unix_mode = mode;
	if (mode > 0777 || s.n == 0)
		assignments_problem(b->as, b->s->last[LISTENER_OPTION_UNIX_MODE], false,
				    "listener %s: unix_mode must be octal, such as 0660", b->s->title);
}

static struct networks networks_option(struct listener_builder *b, enum listener_option o)
{
	struct config_value v = {0};
	return option(b, o, &v) ? v.networks : (struct networks){0};
}

static void build_one(struct listener_builder *b)
{
	struct config_value v = {0};
	struct listener l = {.name = arena_str(b->c->arena, str_of(b->s->title))};
	if (option(b, LISTENER_OPTION_ENABLED, &v) && !v.number)
		return;
	if (!service_of(b, &l.service))
		return;
	if (str_has_ctl(l.name) || l.name.n == 0 || l.name.n > 32) {
		assignments_problem(b->as, b->s->any, false,
				    "a listener's name has 1-32 printable characters");
		return;
	}
	l.tls = option(b, LISTENER_OPTION_TLS, &v) ? (enum listener_tls)v.number : services[l.service].tls;
	set_addresses(b, &l);
	set_port(b, &l);
	set_unix(b, &l);
	l.proxy_from = networks_option(b, LISTENER_OPTION_PROXY_FROM);
	l.xclient_from = networks_option(b, LISTENER_OPTION_XCLIENT_FROM);
	l.plaintext_auth_from = networks_option(b, LISTENER_OPTION_PLAINTEXT_AUTH_FROM);
	/* Figures are told only where somebody asks for a port or a socket. */
	if (l.service == SERVICE_METRICS && l.port == 0 && l.unix_path.n == 0)
		return;
	if (l.port == 0 && l.unix_path.n == 0)
		assignments_problem(b->as, b->s->any, false, "listener %s has neither port nor unix_path",
				    b->s->title);
	b->c->listeners[b->c->listener_count++] = l;
}

static bool share_address(const struct listener *a, const struct listener *b)
{
	for (size_t i = 0; i < a->address.n; i++) {
		for (size_t j = 0; j < b->address.n; j++) {
			if (str_eq_nocase(a->address.v[i], b->address.v[j]))
				return true;
		}
	}
	return false;
}

static void check_clashes(struct config *c, struct assignments *as, struct sketches *all)
{
	for (size_t i = 0; i < c->listener_count; i++) {
		for (size_t j = 0; j < i; j++) {
			const struct listener *a = &c->listeners[j], *b = &c->listeners[i];
			if (a->port == 0 || a->port != b->port || !share_address(a, b))
				continue;
			const struct sketch *s = find_sketch(all, arena_cstr(as->arena, b->name));
			assignments_problem(as, s ? s->any : NULL, false,
					    "listeners %.*s and %.*s both want port %u", STR_ARG(a->name),
					    STR_ARG(b->name), a->port);
		}
	}
}

void config_build_listeners(struct config *c, struct assignments *as, const char *dir)
{
	struct sketches *all = arena_zalloc(as->arena, sizeof *all);
	for (int i = 0; i < SERVICE_COUNT; i++)
		(void)find_sketch(all, services[i].name);
	collect(all, as);
	c->listeners = arena_array(c->arena, all->n, sizeof *c->listeners);
	for (size_t i = 0; i < all->n; i++) {
		struct listener_builder b = {.c = c, .as = as, .dir = dir, .s = &all->v[i]};
		build_one(&b);
	}
	check_clashes(c, as, all);
}
