/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * store/maildir/subscriptions.h: the file "subscriptions" of an account, one directory name a line
 * without its leading dot, as Maildir++ programs keep it ("INBOX" for the root). Dovecot's second
 * format ("V\t2") is read.
 */
#pragma once
#include "base/arena.h"
#include "base/err.h"

#define SUBSCRIPTIONS_FILE "subscriptions"
#define COURIER_SUBSCRIPTIONS_FILE "courierimapsubscribed"

struct name_list {
	struct str *name;
	size_t n, cap;
};
/* Mailbox names in normal form. A missing file: none. */
bool subscriptions_read(int dirfd, struct arena *a, struct name_list *out, struct err *err) MUST_CHECK;
/* Courier's courierimapsubscribed, where names begin with "INBOX.". */
bool subscriptions_read_courier(int dirfd, struct arena *a, struct name_list *out,
				struct err *err) MUST_CHECK;
bool subscriptions_write(int dirfd, const struct name_list *l, struct err *err) MUST_CHECK; /* synced */
bool name_list_has(const struct name_list *l, struct str name);
void name_list_add(struct arena *a, struct name_list *l, struct str name);
void name_list_remove(struct name_list *l, struct str name);
/* For the fuzz target. */
void subscriptions_parse(struct arena *a, struct str file, struct name_list *out);
