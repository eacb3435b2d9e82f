/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * proc/login.c: the login role, a door. Identity: pabal-login. Sandbox: no files; no socket() nor
 * connect(). Descriptors: listeners of imap, imaps, pop3, pop3s. Messages: SASL to auth, texts to sign
 * to keys, connections to the mailbox process that serves the account. Threads: net, readers.
 *
 * Hand-over (PROCESSES C2): one end of a socket pair goes to mailbox, net pumps; a connection without
 * TLS is passed itself. The process of an account may be away for a moment: that is waited for,
 * parked; another process is never taken instead.
 */
#include "auth/dovecot.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "imap/imap.h"
#include "pop3/pop3.h"
#include "proc/door_int.h"
#include "proc/metrics.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HANDOVER_WAIT_MS = 5000, INPUT_MAX = 32768 };

enum { METRICS_CONNECTIONS = 20 }; /* of one address */

struct login_role {
	struct role *role;
	struct door_tls tls;
	struct door_auth auth;
	struct door door;
	struct metrics *metrics;
};

struct handing {
	struct login_role *login;
	void (*done)(void *ctx, const struct err *err);
	void *ctx;
	struct err err;
	int fd; /* ours still: of a plain connection, to say no on it */
	bool plain, imap;
	char tag[130];
};

/* ---- hand-over ---------------------------------------------------------------------------------- */

/* The session has no connection any more to say it on. */
static void say_no(struct handing *h)
{
	char text[300];
	int n = snprintf(text, sizeof(text),
			 h->imap ? "%s NO [UNAVAILABLE] Temporary failure, try again later\r\n* BYE Try "
				   "again later\r\n"
				 : "-ERR [SYS/TEMP] Temporary failure, try again later\r\n",
			 h->tag);

	if (n > 0)
		(void)!send(h->fd, text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void finish(struct handing *h, const struct err *err)
{
	if (err && h->plain && h->fd >= 0)
		say_no(h);
	fd_close(&h->fd);
	h->done(h->ctx, err);
	free(h);
}

static void on_taken(void *ctx, struct message *reply, const struct err *err)
{
	struct handing *h = ctx;
	struct err refused = {0};

	if (!reply) {
		finish(h, err);
	} else if (reply->handover_taken.code) {
		err_set(&refused, reply->handover_taken.code == 2 ? ERR_LIMIT : ERR_TEMP,
			reply->handover_taken.code == 2 ? "too many sessions of this account"
							: "mailbox not available");
		finish(h, &refused);
	} else {
		finish(h, NULL);
	}
}

static void failed_at_once(void *ctx)
{
	struct handing *h = ctx;
	finish(h, &h->err);
}

/* The text for a client whose mailbox process died under it. */
static struct str lost_text(struct str service)
{
	return str_starts(service, STR("imap")) ? STR("* BYE [UNAVAILABLE] Server error, connect again\r\n")
						: STR("-ERR [SYS/TEMP] Server error, connect again\r\n");
}

/* The end for mailbox. A plain connection is given away, but for a duplicate to say no on. */
static bool make_end(struct conn *c, struct handing *h, struct str service, int *out_fd)
{
	int pair[2];

	if (h->plain) {
		*out_fd = conn_take_fd(c);
		h->fd = *out_fd >= 0 ? dup(*out_fd) : -1;
		return *out_fd >= 0 || err_set(&h->err, ERR_GONE, "connection is gone");
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return err_sys(&h->err, "socketpair");
	conn_pump_to(c, pair[0], lost_text(service));
	*out_fd = pair[1];
	return true;
}

static struct str address_text(const struct conn_addr *a, char text[INET6_ADDRSTRLEN])
{
	const char *s = NULL;

	if (a->len && a->addr.sa.sa_family == AF_INET)
		s = inet_ntop(AF_INET, &a->addr.v4.sin_addr, text, INET6_ADDRSTRLEN);
	else if (a->len && a->addr.sa.sa_family == AF_INET6)
		s = inet_ntop(AF_INET6, &a->addr.v6.sin6_addr, text, INET6_ADDRSTRLEN);
	return str_of(s);
}

static struct message record(struct conn *c, const struct handover_record *r, struct str service, int fd,
			     char local[INET6_ADDRSTRLEN])
{
	const struct conn_facts *f = conn_facts(c);
	struct message m = {.type = MSG_handover};

	m.handover = (struct msg_handover){
		.socket = fd,
		.service = service,
		.ticket = r->ticket,
		.account = r->account,
		.session = f->id,
		.tag = r->tag,
		.final_data = r->final_data,
		.peer = f->peer_text,
		.peer_port = f->peer_port,
		.local = address_text(&f->local, local),
		.local_port = f->local_port,
		.tls_version = f->tls_version,
		.tls_cipher = f->tls_cipher,
		.client_id = str_sub(r->client_id, 0, 512),
		.input = conn_input(c),
	};
	return m;
}

/* On the session's worker. What the client has sent behind its login goes along. */
static void hand_over(void *ctx, struct conn *c, const struct handover_record *r,
		      void (*done)(void *done_ctx, const struct err *err), void *done_ctx)
{
	struct login_role *l = ctx;
	struct handing *h = mem_new(struct handing);
	unsigned to = role_mailbox_of(l->role, r->account);
	struct str service = str_of(config_service_name(door_service(c)));
	char local[INET6_ADDRSTRLEN];
	int fd = -1;

	*h = (struct handing){.login = l, .done = done, .ctx = done_ctx, .fd = -1, .plain = !conn_tls(c),
			      .imap = str_starts(service, STR("imap"))};
	snprintf(h->tag, sizeof(h->tag), "%.*s", STR_ARG(r->tag));
	bool good = conn_input(c).n <= INPUT_MAX ||
		    err_set(&h->err, ERR_LIMIT, "too much input before login");
	good = good && make_end(c, h, service, &fd);
	if (good) {
		struct message m = record(c, r, service, fd, local);
		good = channel_call_async(role_channel(l->role, CHANNEL_HANDOVER, ROLE_MAILBOX, to), &m,
					  HANDOVER_WAIT_MS, on_taken, h, &h->err);
		conn_consume(c, m.handover.input.n);
	}
	if (fd >= 0)
		close(fd);
	if (!good)
		net_run(l->role->net, failed_at_once, h);
}

/* ---- life --------------------------------------------------------------------------------------- */

static const struct config *config_now(void *ctx)
{
	struct login_role *l = ctx;
	return role_config(l->role);
}

static struct tls_context *tls_now(void *ctx)
{
	struct login_role *l = ctx;
	return door_tls(&l->tls);
}

static void *login_create(struct role *r)
{
	struct login_role *l = mem_new(struct login_role);

	l->role = r;
	l->metrics = metrics_new(r);
	door_tls_init(&l->tls, r);
	return l;
}

static void login_on_master(struct role *r, struct message *m)
{
	struct login_role *l = r->state;

	if (m->type == MSG_status_told)
		metrics_on_master(l->metrics, m);
	else
		(void)door_tls_on_master(&l->tls, m);
}

static bool login_prepare(struct role *r, struct sandbox *s, struct err *err)
{
	struct login_role *l = r->state;

	(void)s;
	return preload(PRELOAD_TLS, err) && door_tls_prepare(&l->tls, err);
}

static void fill_listener(void *ctx, const struct listener *l, struct net_listener *n)
{
	struct login_role *login = ctx;
	struct arena *a = n->arena;
	CONFIG_SCOPED c = role_config(login->role);
	bool imap = l->service == SERVICE_IMAP || l->service == SERVICE_IMAPS;

	if (l->service == SERVICE_METRICS) {
		n->protocol = &metrics_protocol;
		n->owner = login->metrics;
		n->per_source_max = METRICS_CONNECTIONS;
		return;
	}
	n->protocol = l->service == SERVICE_AUTH ? &dovecot_auth_protocol
		      : imap			  ? &imap_login_protocol
						  : &pop3_login_protocol;
	n->owner = &login->door;
	struct door_listener *d = arena_new_of(a, struct door_listener);
	struct networks *plaintext = arena_new_of(a, struct networks);
	*plaintext = networks_copy(a, &l->plaintext_auth_from);
	d->plaintext_auth_from = plaintext;
	switch (l->tls) {
	case LISTENER_TLS_NONE: d->tls = DOOR_TLS_NONE; break;
	case LISTENER_TLS_MAY: d->tls = DOOR_TLS_MAY; break;
	case LISTENER_TLS_REQUIRED:
	case LISTENER_TLS_IMPLICIT: d->tls = DOOR_TLS_REQUIRED; break;
	}
	n->listener = d;
	if (l->service == SERVICE_AUTH)
		return; /* the socket's permissions are the limit */
	n->per_source_max = (unsigned)config_int(c, SETTING_IMAP_MAX_CONNECTIONS_PER_SOURCE);
	n->exempt = door_networks(a, config_networks(c, SETTING_MYNETWORKS), NULL);
	n->busy_text = imap ? "* BYE [UNAVAILABLE] Too many connections\r\n"
			    : "-ERR [SYS/TEMP] Too many connections\r\n";
}

static void certificate_arrived(void *ctx)
{
	struct login_role *l = ctx;
	struct err err = {0};

	if (!door_listen(l->role, &l->tls, fill_listener, l, &err))
		log_err(LOG_ERROR, "door.listen.failed", &err);
}

static bool login_start(struct role *r, struct err *err)
{
	struct login_role *l = r->state;

	l->door = (struct door){.ctx = l, .config = config_now, .tls = tls_now, .hand_over = hand_over};
	l->tls.arrived = certificate_arrived;
	l->tls.arrived_ctx = l;
	door_auth_init(&l->auth, r, &l->door.auth);
	return door_listen(r, &l->tls, fill_listener, l, err);
}

static void login_configured(struct role *r)
{
	struct login_role *l = r->state;

	door_auth_configured(&l->auth);
	door_tls_configured(&l->tls);
}

static void login_listeners_changed(struct role *r, struct role_listener *old, size_t old_n)
{
	struct login_role *l = r->state;

	door_listen_again(r, &l->tls, fill_listener, l, old, old_n);
}

static void login_on_message(void *ctx, struct channel *ch, uint64_t id, struct message *m)
{
	(void)ctx;
	(void)ch;
	(void)id;
	(void)m; /* auth's list of mechanisms: ours is in the snapshot */
}

const struct role_form role_form_login = {
	.calls = SANDBOX_CONNECTED,
	.net = true,
	.create = login_create,
	.prepare = login_prepare,
	.start = login_start,
	.on_master = login_on_master,
	.on_message = login_on_message,
	.configured = login_configured,
	.listeners_changed = login_listeners_changed,
};
