/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/sort.h: messages in the order of SORT's criteria (RFC 5256 2, 3; RFC 5957). Texts compare as
 * i;unicode-casemap does, by their first SORT_TEXT_MAX octets; what is equal stays in the order of
 * sequence numbers, also under REVERSE.
 */
#pragma once
#include "imap/search.h"
#include "mime/summary.h"

enum { SORT_TEXT_MAX = 255 };

union sort_value {
	int64_t number;
	struct str text;
};
struct sorted {
	uint32_t seq, uid;
	uint64_t modseq;
	union sort_value *values; /* one for each criterion */
};
struct sorting {
	const struct sort_criterion *criteria;
	size_t criteria_n;
	struct arena *a;
	struct sorted *all;
	size_t n, cap;
};
bool sort_needs_summary(const struct sort_criterion *c, size_t n);
/* sum is not looked at when no criterion needs it. */
void sorting_add(struct sorting *so, uint32_t seq, const struct msg *m, int64_t internaldate,
		 const struct summary *sum);
void sorting_sort(struct sorting *so);
void sorting_copy(struct sorting *so, const struct sorted *x); /* of the same criteria */
/* Puts the last one where it belongs among the others, which are in order: the index. */
size_t sorting_place_last(struct sorting *so);
