/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "store/store_int.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct done_record a, b;
	BUF_SCOPED again = {0};

	if (!done_decode((struct str){(const char *)data, size}, &a))
		return 0;
	done_encode(&again, &a);
	buf_add(&again, a.content);
	if (!done_decode(buf_str(&again), &b) || b.uid != a.uid || !str_eq(a.content, b.content))
		abort();
	return 0;
}
