/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* store/index/uids.h: sets of UIDs being made, and asked. */
#pragma once
#include "base/arena.h"
#include "store/mailbox.h"

struct uids {
	struct uid_set set;
	size_t cap;
};

/* uid is at least as high as all before. */
void uids_add(struct arena *a, struct uids *u, uint32_t uid);
void uids_add_range(struct arena *a, struct uids *u, uint32_t first, uint32_t last); /* likewise */
bool uids_has(struct uid_set s, uint32_t uid);
size_t uids_count(struct uid_set s);
/* Sorted, overlaps and neighbours joined. */
struct uid_set uids_normal(struct arena *a, struct uid_set s);
/* What is in both; both in normal form. */
struct uid_set uids_and(struct arena *a, struct uid_set x, struct uid_set y);
