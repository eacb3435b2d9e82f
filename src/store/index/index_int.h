/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* store/index/index_int.h: what index.c and blocks.c share. */
#pragma once
#include "sql/sql.h"
#include "store/index/index.h"

/* Rows of hot, cold and summary: mailbox above, UID below. */
static inline int64_t index_key(int64_t row, uint32_t uid)
{
	return row << 32 | uid;
}
static inline uint32_t key_uid(int64_t key)
{
	return (uint32_t)key;
}

bool index_vanished_add(struct index *ix, int64_t row, uint64_t modseq, struct uid_range r,
			struct err *err) MUST_CHECK;
