/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* audit/audit_int.h: for this folder alone. */
#pragma once
#include "audit/audit.h"

struct audit_head {
	uint64_t number;
	char hash[AUDIT_HASH_HEX];
};
/* "NUMBER HASH", with or without a newline. */
bool audit_head_read(struct str text, struct audit_head *out);
