/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "store/maildir/dirname.h"
#include "store/maildir/subscriptions.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A name that has a directory comes back from it; no directory leads out of the account. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str in = {(const char *)data, size}, name, dir, back;
	ARENA_SCOPED a = arena_new();
	struct name_list l;
	struct err err;

	if (mailbox_name_normal(a, in, &name, &err) && dir_of_mailbox(a, name, &dir, &err)) {
		if (str_has_byte(dir, '/') || str_has_byte(dir, 0) || str_eq(dir, STR("..")) ||
		    dir.p[0] != '.')
			abort();
		if (!mailbox_of_dir(a, dir, &back) || !str_eq(back, name))
			abort();
	}
	if (mailbox_of_dir(a, in, &name) && !name.n)
		abort();
	subscriptions_parse(a, in, &l);
	return 0;
}
