/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * proc/door_int.h: what the doors (smtp, login) share: TLS with keys behind a channel, and the
 * relay of SASL to auth.
 */
#pragma once
#include "auth/client.h"
#include "config/networks.h"
#include "net/net.h"
#include "proc/role_int.h"
#include <stdatomic.h>

struct tls_provider;
struct tls_ticket_key;

struct door_tls {
	struct role *role;
	struct lock lock;
	/* guarded by lock */
	struct tls_context *now, *before; /* before: sessions may just be starting with it */
	char ticket_keys[512];
	size_t ticket_keys_n;
	struct buf pem;      /* the chains as last told */
	bool pem_given;
	uint64_t credited;   /* accepted connections that keys was told of */

	struct tls_provider *provider;
	/* The first certificate came while running: listeners with implicit TLS can begin. */
	void (*arrived)(void *ctx);
	void *arrived_ctx;
};
void door_tls_init(struct door_tls *d, struct role *r);
/* role_certificates and role_ticket_keys; true when it was one of them. */
bool door_tls_on_master(struct door_tls *d, struct message *m);
/* After preload(PRELOAD_TLS) and the messages of the start; no certificate is no failure. */
bool door_tls_prepare(struct door_tls *d, struct err *err) MUST_CHECK;
void door_tls_configured(struct door_tls *d); /* a new snapshot: minimum version */
struct tls_context *door_tls(struct door_tls *d); /* NULL: no certificate; not counted, valid for minutes */

struct door_auth {
	struct role *role;
	atomic_uint_fast64_t attempts;
	char *mechanisms; /* guarded by role->lock */
	size_t mechanisms_n;
};
void door_auth_configured(struct door_auth *d);
/* What is spoken on the listener that the connection came by. */
enum listener_service door_service(const struct conn *c);
/* Fills in the client. The service is found by conn_facts()->service, the listener's name. */
void door_auth_init(struct door_auth *d, struct role *r, struct auth_client *out);

struct net_networks door_networks(struct arena *a, const struct networks *x, const struct networks *y);
/* Copies to the arena, that of a listener. */
struct networks networks_copy(struct arena *a, const struct networks *n);
/* Fills in protocol, owner, listener, busy text, limits; what they point to is made in n->arena. */
typedef void door_each(void *ctx, const struct listener *l, struct net_listener *n);
/* Opens all of role->listeners that are not open. One with implicit TLS waits for a certificate. */
bool door_listen(struct role *r, struct door_tls *tls, door_each *each, void *ctx,
		 struct err *err) MUST_CHECK;
/* role_form.listeners_changed: the same, then old ones end. A socket that is in both lists loses nobody; of
 * one that is gone, what waits is accepted and sessions end at a command boundary. */
void door_listen_again(struct role *r, struct door_tls *tls, door_each *each, void *ctx,
		       const struct role_listener *old, size_t old_n);
