/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/clock.h"
#include "base/lock.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/secret.h"
#include "auth/ticket.h"
#include "proc/mailbox_int.h"
#include <stdlib.h>

enum { TICKETS_MAX = 20000, TICKET_LIFE_US = 10 * 1000000 };

struct open_ticket {
	int64_t until_us;
	struct arena *arena;
	struct ticket_facts facts;
};
struct ticket_table {
	struct lock lock;
	struct map *tickets; /* guarded by lock */
};

static void ticket_free(struct open_ticket *t)
{
	if (t)
		arena_free(t->arena); /* holds t itself */
}

struct ticket_table *ticket_table_new(void)
{
	struct ticket_table *t = mem_new(struct ticket_table);

	lock_init(&t->lock, LOCK_LEAF);
	t->tickets = map_new();
	return t;
}

static void sweep(struct ticket_table *t, int64_t now)
{
	struct map_iter it = {0};

	lock_held(&t->lock);
	while (map_next(t->tickets, &it)) {
		struct open_ticket *o = it.value;
		if (o->until_us > now && now >= 0)
			continue;
		ticket_free(map_remove(t->tickets, it.key));
	}
}

void ticket_table_free(struct ticket_table *t)
{
	if (!t)
		return;
	lock_take(&t->lock);
	sweep(t, -1); /* all */
	lock_drop(&t->lock);
	map_free(t->tickets);
	lock_fini(&t->lock);
	free(t);
}

bool ticket_add(struct ticket_table *t, const struct msg_ticket *m)
{
	int64_t now = clock_mono_us();

	if (m->ticket.n != LOGIN_TICKET_SIZE)
		return false;
	struct arena *a = arena_new();
	struct open_ticket *o = arena_new_of(a, struct open_ticket);
	*o = (struct open_ticket){
		.until_us = now + TICKET_LIFE_US,
		.arena = a,
		.facts = {m->account_id, m->session, m->quota_bytes, m->quota_messages,
			  arena_str(a, m->account), arena_str(a, m->language)},
	};
	LOCK_SCOPED(&t->lock);
	if (map_count(t->tickets) >= TICKETS_MAX)
		sweep(t, now);
	if (map_count(t->tickets) >= TICKETS_MAX) {
		ticket_free(o);
		return false;
	}
	ticket_free(map_put(t->tickets, m->ticket, o));
	return true;
}

bool ticket_take(struct ticket_table *t, struct str ticket, struct str account, struct arena *a,
		 struct ticket_facts *out)
{
	lock_take(&t->lock);
	struct open_ticket *o = map_remove(t->tickets, ticket);
	lock_drop(&t->lock);
	bool good = o && o->until_us > clock_mono_us() && str_eq(o->facts.account, account);
	if (good) {
		*out = o->facts;
		out->account = arena_str(a, o->facts.account);
		out->language = arena_str(a, o->facts.language);
	}
	ticket_free(o);
	return good;
}
