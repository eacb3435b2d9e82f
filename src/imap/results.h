/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* imap/results.h: what a search found, gathered as its RETURN options want it, and the ESEARCH response. */
#pragma once
#include "imap/find.h"

struct results {
	const struct search_args *args;
	bool uid;
	struct uid_set found;    /* sequence numbers or UIDs */
	struct uid_set uids;     /* for "$" and UPDATE */
	size_t found_cap, uids_cap;
	uint32_t min, max;       /* UIDs are in min_uid .. */
	uint32_t min_uid, max_uid;
	uint64_t count, modseq, min_modseq, max_modseq;
};
void results_note(struct imap *s, void *results, uint32_t seq, const struct msg *m); /* find.h: found */
/* Behind esearch_begin(), with the line end. */
void results_write(struct imap *s, const struct results *r);
