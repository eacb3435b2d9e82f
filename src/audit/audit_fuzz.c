/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "audit/act.h"
#include "audit/audit.h"
#include <stdlib.h>

static void on_fault(void *ctx, enum audit_fault fault, uint64_t number, uint64_t last)
{
	uint64_t *n = ctx;
	(void)fault;
	(void)number;
	(void)last;
	++*n;
}

/* A file that anybody may have written: every line is counted once, as good or as a fault. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ARENA_SCOPED a = arena_new();
	uint64_t faults = 0;
	struct audit_check c = {.fault = on_fault, .ctx = &faults};
	struct audit_act act;
	struct str all = {(const char *)data, size}, rest = all;
	while (rest.n)
		audit_check_line(&c, str_cut(&rest, '\n'));
	(void)audit_check_head(&c, all);
	if (faults != c.faults || (c.lines && c.first == 0))
		abort();
	(void)audit_act_read(a, all, &act);
	return 0;
}
