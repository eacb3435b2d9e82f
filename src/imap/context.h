/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/context.h: results of SEARCH and SORT that are kept up to date (RFC 5267 4.3, RETURN (UPDATE)):
 * what begins to match or no longer does is told with the updates of the mailbox.
 */
#pragma once
#include "imap/find.h"
#include "imap/sort.h"

enum { CONTEXTS_MAX = 8 };

/* arguments: the command's, at its beginning. uids ascending; sorting: of SORT, else NULL. Says NOUPDATE
 * where it cannot be done. */
void context_new(struct imap *s, const struct command *c, struct parse arguments, struct uid_set uids,
		 const struct sorting *sorting);
/* Of messages that are gone; before they are told. */
void context_vanished(struct imap *s, const struct view_changes *ch);
/* Of messages that changed, or are new: above that UID. */
void context_changed(struct imap *s, const struct view_changes *ch, uint32_t above_uid);
void context_free_all(struct imap *s);
