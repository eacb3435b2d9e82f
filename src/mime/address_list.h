/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * mime/address_list.h: addresses in header fields (RFC 5322 3.4, obsolete forms of 4.4, groups,
 * and what is seen in the wild). Lenient: whatever is there yields something to show.
 */
#pragma once
#include "base/buf.h"
#include "mail/address.h"

struct arena;

enum address_item_kind {
	ADDRESS_ITEM_MAILBOX,
	ADDRESS_ITEM_GROUP_START, /* name is the group's */
	ADDRESS_ITEM_GROUP_END,
};
struct address_item {
	enum address_item_kind kind;
	struct str name;   /* display-name: quotes and folds removed, RFC 2047 not decoded; p NULL: none */
	struct str route;  /* "@a,@b"; p NULL: none */
	struct str local;  /* unquoted; p NULL: missing */
	struct str domain; /* p NULL: missing */
};
struct address_list {
	struct address_item *at;
	size_t n;
	bool broken; /* something in it was not of the grammar */
};
enum { ADDRESS_LIST_MAX = 20000 }; /* items; what follows is dropped, broken is set */

/* body: of the field, folded or not. */
void address_list_parse(struct arena *a, struct str body, struct address_list *out);
/* The mailboxes only, as SMTP addresses (items without local-part or domain are left out). */
size_t address_list_mailboxes(struct arena *a, const struct address_list *list, struct address **out);
/* "local@domain", for comparing and Sieve; empty when incomplete. */
struct str address_item_addr(struct arena *a, const struct address_item *item);
/* What people are shown: the name decoded to UTF-8, or the address: "홍길동 <a@b>", "a@b", commas between. */
void address_list_display(struct buf *out, const struct address_list *list);
