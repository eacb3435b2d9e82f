/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * proc/apart.c: an account whose sessions were at work in two crashes of mailbox gets a process of its
 * own (PROCESSES C6): what it does there hurts no other account. The process is started when it is
 * needed, refuses the account for process.set_aside after its last crash, and then serves it. An hour
 * without a crash, and the account goes back; the process settles its journal and ends.
 *
 * These children exist from the start, with indexes behind those of process.mailbox, as spare ones.
 * More accounts than there are of them share the last ones.
 */
#include "base/clock.h"
#include "base/log.h"
#include "proc/master_int.h"
#include <string.h>

enum { APART_CRASHES = 2, DISMISS_MS = 30000 };

static struct child *child_of(struct master *m, unsigned index)
{
	for (struct child *c = m->child; c < m->child + m->child_n; c++)
		if (c->role == ROLE_MAILBOX && c->index == index)
			return c;
	return NULL;
}

bool child_is_apart(const struct master *m, const struct child *c)
{
	return c->role == ROLE_MAILBOX && c->index >= role_processes(m->now.config, ROLE_MAILBOX);
}

static bool asks_for_accounts(enum role_id role)
{
	return role == ROLE_AUTH || role == ROLE_LOGIN || role == ROLE_QUEUE || role == ROLE_MAILBOX;
}

/* Account empty: the process itself. */
static void tell(struct master *m, const char *account, unsigned index, bool on)
{
	for (struct child *c = m->child; c < m->child + m->child_n; c++)
		if (c->state != CHILD_DOWN && asks_for_accounts(c->role))
			tell_apart(c, account, index, on);
}

void apart_tell_start(struct master *m, struct child *to)
{
	if (!asks_for_accounts(to->role))
		return;
	for (struct child *c = m->child; c < m->child + m->child_n; c++)
		if (child_is_apart(m, c) && c->in_use)
			tell_apart(to, "", c->index, true);
	for (struct suspect *s = m->suspect; s < m->suspect + SUSPECTS_MAX; s++)
		if (s->apart && child_of(m, s->apart)->in_use)
			tell_apart(to, s->account, s->apart, true);
}

/* It runs and is wired: from now on the accounts go there. */
void apart_started(struct master *m, struct child *c)
{
	if (!child_is_apart(m, c) || c->in_use)
		return;
	c->in_use = true;
	tell(m, "", c->index, true);
	for (struct suspect *s = m->suspect; s < m->suspect + SUSPECTS_MAX; s++)
		if (s->apart == c->index)
			tell(m, s->account, c->index, true);
}

/* A spare one; when there is none, one that others have too. */
static struct child *choose(struct master *m, const char *account)
{
	unsigned common = role_processes(m->now.config, ROLE_MAILBOX);

	for (unsigned k = 0; k < MAILBOX_APART; k++) {
		struct child *c = child_of(m, common + k);
		if (c->spare)
			return c;
	}
	return child_of(m, common + (unsigned)(str_hash(str_of(account)) % MAILBOX_APART));
}

static void assign(struct master *m, struct suspect *s)
{
	struct child *c = choose(m, s->account);

	s->apart = c->index;
	log_event(LOG_WARN, "master.account.apart", K_CSTR(account, s->account), K_CSTR(role, c->name),
		  K_INT(count, s->crashes));
	c->dismissed = false;
	if (c->spare) {
		c->spare = c->ended = false;
		c->backoff = 0;
		c->next_start_ms = 0;
	} else if (c->in_use) {
		tell(m, s->account, c->index, true);
	}
}

static void dismiss(struct child *c)
{
	struct message msg = {.type = MSG_role_drain, .role_drain.deadline_ms = DISMISS_MS};

	c->dismissed = true;
	if (c->state == CHILD_READY)
		(void)channel_post(c->ch, &msg);
}

void apart_ready(struct child *c)
{
	if (c->dismissed)
		dismiss(c);
}

void apart_release(struct master *m, struct suspect *s)
{
	struct child *c = s->apart ? child_of(m, s->apart) : NULL;

	s->apart = 0;
	if (!c)
		return;
	if (c->in_use)
		tell(m, s->account, c->index, false);
	log_event(LOG_INFO, "master.account.back", K_CSTR(account, s->account), K_CSTR(role, c->name));
	for (struct suspect *o = m->suspect; o < m->suspect + SUSPECTS_MAX; o++)
		if (o->apart == c->index)
			return;
	dismiss(c);
}

/* Only after its journal is settled: one that died instead comes again and is told again. */
void apart_ended(struct master *m, struct child *c)
{
	if (!c->dismissed || !c->ended)
		return;
	c->dismissed = c->in_use = false;
	c->spare = true;
	c->backoff = c->restarts = 0;
	tell(m, "", c->index, false);
}

void apart_update(struct master *m)
{
	for (struct suspect *s = m->suspect; s < m->suspect + SUSPECTS_MAX; s++) {
		bool wanted = s->role == ROLE_MAILBOX && s->account[0] && s->crashes >= APART_CRASHES &&
			      !suspect_is_old(s);
		if (wanted && !s->apart)
			assign(m, s);
		else if (!wanted && s->apart)
			apart_release(m, s);
	}
}
