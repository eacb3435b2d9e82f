/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* proc/mailbox_int.h: parts of the mailbox role that have tests of their own. */
#pragma once
#include "base/arena.h"
#include "ipc/messages.h"

/* proc/ticket.c: logins announced by auth; each good once, for 10 s. Thread-safe. */
struct ticket_table;
struct ticket_facts {
	uint64_t account_id, session, quota_bytes, quota_messages;
	struct str account, language;
};
struct ticket_table *ticket_table_new(void);
void ticket_table_free(struct ticket_table *t);
/* False: too many are open. */
bool ticket_add(struct ticket_table *t, const struct msg_ticket *m);
/* False: no such ticket, too old, or of another account. It is gone in each case. */
bool ticket_take(struct ticket_table *t, struct str ticket, struct str account, struct arena *a,
		 struct ticket_facts *out);
