/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "store/maildir/name.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was read and written again reads the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct file_name a, b;
	char text[NAME_MAX_LEN + 1];

	if (!name_parse((struct str){(const char *)data, size}, &a))
		return 0;
	if (a.has_uid && !a.tag.n)
		a.has_uid = false;
	size_t n = name_format(text, &a);
	if (!n)
		return 0;
	if (!name_parse((struct str){text, n}, &b) || !str_eq(a.base, b.base) || a.flags != b.flags ||
	    a.keywords != b.keywords || a.has_uid != b.has_uid || (a.has_uid && a.uid != b.uid) ||
	    a.has_size != b.has_size || a.size != b.size)
		abort();
	return 0;
}
