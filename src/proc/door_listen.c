/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* proc/door_listen.c: the sockets from the master become listeners of net/. */
#include "base/file.h"
#include "base/log.h"
#include "proc/door_int.h"
#include <string.h>

/* The configuration keeps IPv4 as mapped IPv6. */
static struct net_network one_network(const struct network *n)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	struct net_network out = {.prefix = n->bits};

	if (n->bits >= 96 && memcmp(n->address, mapped, sizeof(mapped)) == 0) {
		out.addr.addr.v4.sin_family = AF_INET;
		memcpy(&out.addr.addr.v4.sin_addr, n->address + 12, 4);
		out.addr.len = sizeof(out.addr.addr.v4);
		out.prefix = n->bits - 96u;
	} else {
		out.addr.addr.v6.sin6_family = AF_INET6;
		memcpy(&out.addr.addr.v6.sin6_addr, n->address, 16);
		out.addr.len = sizeof(out.addr.addr.v6);
	}
	return out;
}

struct net_networks door_networks(struct arena *a, const struct networks *x, const struct networks *y)
{
	/* "*" (/0) becomes two, one for each family. */
	size_t room = 2 * ((x ? x->n : 0) + (y ? y->n : 0)), n = 0;
	struct net_network *list = arena_array(a, room + 1, sizeof(*list));
	const struct networks *both[] = {x, y};

	for (int k = 0; k < 2; k++)
		for (size_t i = 0; both[k] && i < both[k]->n; i++) {
			list[n++] = one_network(&both[k]->v[i]);
			if (both[k]->v[i].bits == 0) {
				list[n] = (struct net_network){0};
				list[n].addr.len = sizeof(list[n].addr.addr.v4);
				list[n++].addr.addr.v4.sin_family = AF_INET;
			}
		}
	return (struct net_networks){list, n};
}

struct networks networks_copy(struct arena *a, const struct networks *n)
{
	struct network *v = arena_array(a, n->n + 1, sizeof(*v));

	if (n->n)
		memcpy(v, n->v, n->n * sizeof(*v));
	return (struct networks){v, n->n};
}

static bool open_one(struct role *r, struct door_tls *tls, struct role_listener *given,
		     const struct listener *l, door_each *each, void *ctx, struct err *err)
{
	struct net_listener n = {.fd = given->fd, .kind = l->service};

	if (l->tls == LISTENER_TLS_IMPLICIT) {
		n.implicit_tls = door_tls(tls);
		if (!n.implicit_tls) {
			log_event(LOG_WARN, "door.no_certificate", K_STR(service, l->name));
			return true;
		}
	}
	n.arena = arena_new();
	n.service = arena_cstr(n.arena, l->name);
	n.proxy_from = door_networks(n.arena, &l->proxy_from, NULL);
	each(ctx, l, &n);
	given->fd = -1;
	given->net = n.listener;
	return net_listen(r->net, &n, err);
}

bool door_listen(struct role *r, struct door_tls *tls, door_each *each, void *ctx, struct err *err)
{
	size_t n;
	CONFIG_SCOPED c = role_config(r);
	const struct listener *l = config_listeners(c, &n);

	for (struct role_listener *g = r->listeners; g < r->listeners + r->listeners_n; g++)
		if (g->fd >= 0 && strcmp(g->name, "listener") == 0 && g->index < n &&
		    !open_one(r, tls, g, &l[g->index], each, ctx, err))
			return false;
	return true;
}

static bool has_socket(const struct role *r, uint32_t id)
{
	for (size_t i = 0; i < r->listeners_n; i++)
		if (r->listeners[i].id == id)
			return true;
	return false;
}

void door_listen_again(struct role *r, struct door_tls *tls, door_each *each, void *ctx,
		       const struct role_listener *old, size_t old_n)
{
	struct err err = {0};

	if (!door_listen(r, tls, each, ctx, &err))
		log_err(LOG_ERROR, "door.listen.failed", &err);
	for (size_t i = 0; i < old_n; i++)
		if (old[i].net)
			net_unlisten(r->net, old[i].net, !has_socket(r, old[i].id));
}
