/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/ahead.h: cached summaries for a walk over a view, read for some messages at once when one after
 * the other is asked for.
 */
#pragma once
#include "mime/summary.h"
#include "store/mailbox.h"

enum { AHEAD_MAX = 32 };
struct ahead {
	struct view *view;
	struct arena *a;        /* for the summaries alone: reset when others are read */
	uint32_t uids[AHEAD_MAX];
	struct str found[AHEAD_MAX];
	size_t n;
	uint32_t asked;         /* the last sequence number asked for */
};
/* false: it is not cached; ask view_details(), which makes it. Valid until the next call. */
bool ahead_summary(struct ahead *h, uint32_t seq, uint32_t uid, struct summary *out);
