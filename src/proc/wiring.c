/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* proc/wiring.c: what the master sends its children: snapshots, keys, sockets, and the channels of
 * wires.def, made anew for a child that was started again, while the others go on. */
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "proc/master_int.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool runs(const struct child *c)
{
	return c->state != CHILD_DOWN;
}

static void post(struct child *c, const struct message *m)
{
	if (!channel_post(c->ch, m) && channel_alive(c->ch))
		log_event(LOG_ERROR, "master.post.failed", K_CSTR(role, c->name),
			  K_CSTR(command, message_name(m->type)));
}

static bool is_door(enum role_id role)
{
	return role == ROLE_SMTP || role == ROLE_LOGIN;
}

static void tell_snapshot(struct master *m, struct child *c)
{
	struct message msg = {
		.type = MSG_role_config,
		.role_config = {.snapshot = m->now.snapshot[c->role], .generation = m->generation}};
	post(c, &msg);
}

static void tell_keys(struct master *m, struct child *c)
{
	struct message msg = {.type = MSG_role_keys,
			      .role_keys = {.pem = m->now.keys, .generation = m->generation}};
	post(c, &msg);
}

static void tell_dkim(struct master *m, struct child *c)
{
	struct message msg = {
		.type = MSG_role_dkim,
		.role_dkim = {.table = c->role == ROLE_KEYS ? m->now.dkim_keys : m->now.dkim,
			      .generation = m->generation}};
	post(c, &msg);
}

static void tell_chain(struct master *m, struct child *c)
{
	struct message msg = {.type = MSG_role_certificates,
			      .role_certificates = {.pem = m->now.certificates, .generation = m->generation}};
	post(c, &msg);
}

static void tell_log_source(struct child *log, const char *name, const struct log_pipe *p)
{
	struct message msg = {.type = MSG_role_log_source,
			      .role_log_source = {.role = str_of(name), .ring = p->ring, .wake = p->wake}};
	post(log, &msg);
}

static void tell_log_sources(struct master *m, struct child *log)
{
	char name[40]; /* as the process calls itself: role_main */

	tell_log_source(log, "master", &m->log);
	for (struct child *c = m->child; c < m->child + m->child_n; c++) {
		snprintf(name, sizeof(name), "%s-%u", role_name(c->role), c->index);
		tell_log_source(log, name, &c->log);
	}
}

void tell_ticket_keys(struct master *m, struct child *c)
{
	char bytes[TICKET_KEYS * sizeof(struct tls_ticket_key)];
	size_t n = m->ticket_keys_n * sizeof(struct tls_ticket_key);

	_Static_assert(sizeof(struct tls_ticket_key) == 80, "role_ticket_keys says 80 bytes each");
	memcpy(bytes, m->ticket_keys[c->role], n);
	struct message msg = {.type = MSG_role_ticket_keys, .role_ticket_keys.keys = {bytes, n}};
	post(c, &msg);
	explicit_bzero(bytes, sizeof(bytes));
}

/* A new one in front; the oldest goes. A set of its own for each kind of door. */
void ticket_keys_rotate(struct master *m)
{
	for (int role = 0; role < ROLE_COUNT; role++) {
		memmove(&m->ticket_keys[role][1], &m->ticket_keys[role][0],
			(TICKET_KEYS - 1) * sizeof(struct tls_ticket_key));
		tls_ticket_key_new(&m->ticket_keys[role][0]);
	}
	if (m->ticket_keys_n < TICKET_KEYS)
		m->ticket_keys_n++;
	for (struct child *c = m->child; c < m->child + m->child_n; c++)
		if (runs(c) && is_door(c->role))
			tell_ticket_keys(m, c);
}

void tell_suspect(struct master *m, struct child *c, const struct suspect *s)
{
	int64_t age = clock_mono_ms() - s->last_ms;
	struct message msg = {.type = MSG_role_suspect,
			      .role_suspect = {str_of(s->account), str_of(s->qid), s->crashes,
					       (uint64_t)m->began_us, (uint32_t)age}};
	post(c, &msg);
}

void tell_apart(struct child *c, const char *account, unsigned index, bool on)
{
	struct message msg = {.type = MSG_role_apart, .role_apart = {str_of(account), index, on}};
	post(c, &msg);
}

static void tell_suspects(struct master *m, struct child *c)
{
	for (struct suspect *s = m->suspect; s < m->suspect + SUSPECTS_MAX; s++)
		if (s->crashes && s->role == c->role && !suspect_is_old(s))
			tell_suspect(m, c, s);
}

void child_tell_start(struct master *m, struct child *c)
{
	tell_snapshot(m, c);
	if (c->role == ROLE_LOG)
		tell_log_sources(m, c);
	if (c->role == ROLE_KEYS)
		tell_keys(m, c);
	if (c->role == ROLE_KEYS || c->role == ROLE_QUEUE)
		tell_dkim(m, c);
	if (c->role == ROLE_AUTH || c->role == ROLE_KEYS) {
		struct message key = {.type = MSG_role_mac_key,
				      .role_mac_key.key = {m->mac_key, sizeof(m->mac_key)}};
		post(c, &key);
	}
	if (c->role == ROLE_QUEUE)
		tell_chain(m, c); /* when it ends is worth an alarm */
	if (is_door(c->role)) {
		tell_chain(m, c);
		tell_ticket_keys(m, c);
	}
	if (c->role == ROLE_QUEUE || c->role == ROLE_MAILBOX)
		tell_suspects(m, c);
	apart_tell_start(m, c);
	listeners_give(m, c);
	controls_give(c);
	struct message start = {
		.type = MSG_role_start,
		.role_start = {.cold = c->cold, .same_user = m->same_user, .owner_uid = geteuid()}};
	post(c, &start);
}

/* ---- channels between children ----------------------------------------------------------------- */

static void give_end(struct child *to, struct child *other, enum channel_kind kind, bool client, int fd)
{
	struct message msg = {
		.type = MSG_role_channel,
		.role_channel = {(uint32_t)kind, (uint32_t)other->role, other->index, client, fd}};
	post(to, &msg);
}

static void wire_pair(enum channel_kind kind, struct child *client, struct child *server)
{
	struct err err;
	int fds[2];

	if (!channel_pair(fds, &err)) {
		log_err(LOG_ERROR, "master.channel.failed", &err);
		return;
	}
	give_end(client, server, kind, true, fds[0]);
	give_end(server, client, kind, false, fds[1]);
	close(fds[0]);
	close(fds[1]);
}

/* After a power loss nobody reads mail before all journals are recovered (DURABILITY trap 3). */
static bool held_back(const struct master *m, enum channel_kind kind)
{
	return m->cold && kind == CHANNEL_HANDOVER;
}

void child_wire_two(struct master *m, struct child *c, struct child *other)
{
	for (size_t i = 0; i < wires_n; i++) {
		const struct wire *w = &wires[i];
		if (held_back(m, w->kind))
			continue;
		if (w->client == w->server && w->client == c->role && other->role == c->role)
			wire_pair(w->kind, c->index < other->index ? c : other,
				  c->index < other->index ? other : c);
		else if (w->client == c->role && w->server == other->role)
			wire_pair(w->kind, c, other);
		else if (w->client == other->role && w->server == c->role)
			wire_pair(w->kind, other, c);
	}
}

void child_wire(struct master *m, struct child *c)
{
	for (struct child *other = m->child; other < m->child + m->child_n; other++)
		if (other != c && runs(other))
			child_wire_two(m, c, other);
}

void wire_handovers(struct master *m)
{
	for (struct child *a = m->child; a < m->child + m->child_n; a++)
		for (struct child *b = m->child; b < m->child + m->child_n; b++)
			if (a->role == ROLE_LOGIN && b->role == ROLE_MAILBOX && runs(a) && runs(b))
				wire_pair(CHANNEL_HANDOVER, a, b);
}

/* ---- reload ----------------------------------------------------------------------------------- */

void tell_config(struct master *m)
{
	for (struct child *c = m->child; c < m->child + m->child_n; c++) {
		if (!runs(c))
			continue;
		tell_snapshot(m, c);
		if (c->role == ROLE_KEYS)
			tell_keys(m, c); /* doors get the chains when it has them */
		if (c->role == ROLE_KEYS || c->role == ROLE_QUEUE)
			tell_dkim(m, c);
	}
}

void tell_listeners(struct master *m)
{
	struct message all = {.type = MSG_role_listen, .role_listen.generation = m->generation};

	for (struct child *c = m->child; c < m->child + m->child_n; c++)
		if (runs(c) && is_door(c->role)) {
			listeners_give(m, c);
			post(c, &all);
		}
}

void tell_certificates(struct master *m)
{
	for (struct child *c = m->child; c < m->child + m->child_n; c++)
		if (runs(c) && (is_door(c->role) || c->role == ROLE_QUEUE))
			tell_chain(m, c);
}
