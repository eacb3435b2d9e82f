/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * proc/settle_int.h: invariant 2 between processes (DESIGN 3): whose journal is settled up to where,
 * and asking its owner to settle. Shared by mailbox and queue.
 */
#pragma once
#include "proc/role_int.h"

struct settle_table {
	struct role *role;
	struct lock lock;
	struct { /* guarded by lock */
		char name[32];
		uint64_t watermark;
	} journal[ROLE_PROCESSES_MAX + 1];
	size_t n;
	bool drained; /* mailbox-0 runs: what journals of processes that run no more held is settled */
};
void settle_init(struct settle_table *t, struct role *r);
/* The owner said so, or we asked it. */
void settle_note(struct settle_table *t, enum role_id owner, unsigned index, uint64_t watermark);
uint64_t settle_watermark(struct settle_table *t, struct str journal);
/* Asks the journal's owner; an empty name asks every other one. Blocks, some seconds at most. */
bool settle_ask(struct settle_table *t, struct str journal, uint64_t seq, struct err *err) MUST_CHECK;
/* Tells the others how far this process's journal is settled. */
void settle_announce(struct settle_table *t, uint64_t watermark);
/* A notice of a change, to the process that serves the account, unless that is us. */
void settle_notice(struct role *r, struct str account, struct str mailbox);
