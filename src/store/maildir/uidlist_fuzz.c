/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* What is read as a list and written reads the same again. */
#include "base/buf.h"
#include "store/maildir/uidlist.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	ARENA_SCOPED a = arena_new();
	BUF_SCOPED text = {0};
	struct uidlist l, again;

	uidlist_parse(a, (struct str){(const char *)data, size}, &l);
	if (l.uidvalidity) {
		uidlist_write_head(&text, l.uidvalidity, l.uidnext, STR("0"));
		for (size_t i = 0; i < l.n; i++)
			uidlist_write_entry(&text, &l.at[i]);
		uidlist_parse(a, buf_str(&text), &again);
		if (again.uidvalidity != l.uidvalidity || again.uidnext != l.uidnext || again.n != l.n)
			abort();
		for (size_t i = 0; i < l.n; i++) {
			const struct uidlist_entry *x = &l.at[i], *y = &again.at[i];
			if (x->uid != y->uid || x->size != y->size || !str_eq(x->name, y->name) ||
			    !str_eq(x->pop3_uidl, y->pop3_uidl))
				abort();
		}
		uidlist_fini(&again);
	}
	uidlist_fini(&l);
	return 0;
}
