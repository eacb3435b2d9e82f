/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "proc/settle_int.h"
#include "net/net.h"
#include <stdio.h>
#include <string.h>

enum { SETTLE_WAIT_MS = 20000 };

void settle_init(struct settle_table *t, struct role *r)
{
	t->role = r;
	lock_init(&t->lock, LOCK_LEAF);
}

void settle_note(struct settle_table *t, enum role_id owner, unsigned index, uint64_t watermark)
{
	char name[32];

	snprintf(name, sizeof(name), "%s-%u", role_name(owner), index);
	LOCK_SCOPED(&t->lock);
	for (size_t i = 0; i < t->n; i++)
		if (strcmp(t->journal[i].name, name) == 0) {
			if (watermark > t->journal[i].watermark)
				t->journal[i].watermark = watermark;
			return;
		}
	if (t->n == sizeof(t->journal) / sizeof(t->journal[0]))
		return;
	memcpy(t->journal[t->n].name, name, sizeof(name));
	t->journal[t->n++].watermark = watermark;
}

/* Fewer processes are configured than before, or an account has none of its own any more. */
static bool runs_no_more(struct settle_table *t, struct str journal)
{
	uint64_t index;

	return str_starts(journal, STR("mailbox-")) && str_u64(str_from(journal, 8), 100000, &index) &&
	       !role_mailbox_runs(t->role, (unsigned)index);
}

uint64_t settle_watermark(struct settle_table *t, struct str journal)
{
	bool ended = runs_no_more(t, journal);

	LOCK_SCOPED(&t->lock);
	if (ended && t->drained)
		return UINT64_MAX;
	for (size_t i = 0; i < t->n; i++)
		if (str_eq(str_of(t->journal[i].name), journal))
			return t->journal[i].watermark;
	return 0;
}

static bool ask_peer(struct settle_table *t, struct peer *p, uint64_t seq, struct err *err)
{
	ARENA_SCOPED a = arena_new();
	struct message q = {.type = MSG_settle, .settle.up_to = seq}, r;

	net_block_begin(t->role->net);
	bool good = channel_call(p->ch, &q, SETTLE_WAIT_MS, a, &r, err);
	net_block_end(t->role->net);
	if (!good)
		return err_while(err, "waiting for %s-%u to settle", role_name(p->other), p->index);
	settle_note(t, p->other, p->index, r.settle_done.watermark);
	if (r.settle_done.code)
		return err_set(err, ERR_TEMP, "mail could not be made durable, try again later");
	return true;
}

bool settle_ask(struct settle_table *t, struct str journal, uint64_t seq, struct err *err)
{
	struct role *r = t->role;
	char name[32];

	/* It was settled at its end, or mailbox-0 does it when it starts: who answers has done it. */
	if (runs_no_more(t, journal)) {
		if (r->id != ROLE_MAILBOX || r->index != 0) {
			snprintf(name, sizeof(name), "%s-0", role_name(ROLE_MAILBOX));
			if (!settle_ask(t, str_of(name), 0, err))
				return false;
		}
		LOCK_SCOPED(&t->lock);
		t->drained = true;
		return true;
	}
	for (struct peer *p = r->peers; p < r->peers + r->peers_n; p++) {
		if (p->kind != CHANNEL_STORE || (p->other == ROLE_MAILBOX && !role_mailbox_runs(r, p->index)))
			continue;
		snprintf(name, sizeof(name), "%s-%u", role_name(p->other), p->index);
		if (journal.n && !str_eq(journal, str_of(name)))
			continue;
		if (!ask_peer(t, p, journal.n ? seq : UINT64_MAX, err))
			return false;
	}
	return true;
}

void settle_announce(struct settle_table *t, uint64_t watermark)
{
	struct role *r = t->role;
	struct message m = {.type = MSG_watermark, .watermark.seq = watermark};

	settle_note(t, r->id, r->index, watermark);
	for (struct peer *p = r->peers; p < r->peers + r->peers_n; p++)
		if (p->kind == CHANNEL_STORE)
			(void)channel_post(p->ch, &m);
}

void settle_notice(struct role *r, struct str account, struct str mailbox)
{
	unsigned to = role_mailbox_of(r, account);
	struct message m = {.type = MSG_notice, .notice = {account, str_sub(mailbox, 0, 1024)}};

	if (r->id == ROLE_MAILBOX && r->index == to)
		return;
	/* A hint: who serves the account asks by MODSEQ, and looks when it opens. */
	(void)channel_post(role_channel(r, CHANNEL_STORE, ROLE_MAILBOX, to), &m);
}
