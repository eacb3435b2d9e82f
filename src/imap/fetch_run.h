/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/fetch_run.h: writes FETCH responses for a set of messages, in steps. FETCH uses it, and
 * SELECT with QRESYNC.
 */
#pragma once
#include "imap/fetch.h"
#include "imap/imap_int.h"

struct fetch_run {
	struct fetch_args args;
	struct uid_set seqs;
	size_t range;            /* where it is in seqs: */
	uint32_t seq;            /* the next, 0: the range's first */
	bool sets_seen, only_memory, only_summaries;
	uint32_t seen_to;        /* \Seen was set for all up to this number */
	struct uid_set just_seen;
	size_t just_seen_cap;
	uint64_t seen_modseq;
	struct str *names;
	size_t names_n;
	bool gone;               /* some messages were expunged and left out */
	struct err err;          /* the first other failure */
};
/* In the command's arena. */
struct fetch_run *fetch_run_new(struct imap *s, const struct fetch_args *args, struct uid_set seqs);
/* STEP_DONE: all is written, without a tagged reply. */
enum step fetch_run_step(struct imap *s, struct fetch_run *r);
