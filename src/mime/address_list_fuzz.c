/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/arena.h"
#include "base/codec.h"
#include "mime/address_list.h"
#include <stdlib.h>

/* Groups are opened and closed in turn, and what is shown is UTF-8. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ARENA_SCOPED a = arena_new();
	struct address_list list;
	BUF_SCOPED b = {0};
	bool open = false;
	address_list_parse(a, (struct str){(const char *)data, size}, &list);
	for (size_t i = 0; i < list.n; i++) {
		if (list.at[i].kind == ADDRESS_ITEM_MAILBOX) continue;
		if (open == (list.at[i].kind == ADDRESS_ITEM_GROUP_START)) abort();
		open = !open;
	}
	if (open && list.n < ADDRESS_LIST_MAX) abort();
	address_list_display(&b, &list);
	if (!utf8_valid(buf_str(&b))) abort();
	return 0;
}
