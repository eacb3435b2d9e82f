/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/notify.h: NOTIFY (RFC 5465): what happens to mailboxes that are not selected is told as STATUS
 * and LIST responses, to the selected one as usual but at once.
 *
 * The store calls when something of the account changed in this process or another one of ours;
 * names are gathered under a lock, the session is woken and compares with what it told last.
 */
#pragma once
#include "imap/fetch.h"
#include "imap/imap_int.h"

enum notify_event {
	NOTIFY_NEW = 1,
	NOTIFY_EXPUNGE = 2,
	NOTIFY_FLAGS = 4,
	NOTIFY_NAME = 8,
	NOTIFY_SUBSCRIPTION = 16,
};
enum notify_filter {
	NOTIFY_SELECTED,
	NOTIFY_SELECTED_DELAYED,
	NOTIFY_INBOXES,
	NOTIFY_PERSONAL,
	NOTIFY_SUBSCRIBED,
	NOTIFY_SUBTREE,
	NOTIFY_MAILBOXES,
};
struct notify_group {
	enum notify_filter filter;
	struct str *names;       /* of SUBTREE and MAILBOXES */
	size_t names_n;
	unsigned events;
	bool has_fetch;
	struct fetch_args fetch; /* of MessageNew, for the selected mailbox */
};
struct notify_args {
	bool none, status, bad_event;
	struct notify_group *groups;
	size_t groups_n;
};
enum { NOTIFY_GROUPS_MAX = 100, NOTIFY_NAMES_MAX = 1000 };
/* bad_event: it failed for an event that is not known. */
bool parse_notify(struct parse *p, struct notify_args *out);

/* Between commands, and in IDLE: tells what happened, and sees to it that the next change wakes the
 * session. Nothing where NOTIFY is not in use. false: BYE was written. */
bool notify_tell(struct imap *s);
/* Of messages that are new in the selected mailbox, above that UID: what NOTIFY wants fetched. */
void notify_new(struct imap *s, uint32_t above_uid);
void notify_free(struct imap *s);
