/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "store/maildir/annotations.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ARENA_SCOPED a = arena_new();
	struct annotation *list;
	size_t n, octets = 0;

	annotations_parse(a, (struct str){(const char *)data, size}, &list, &n);
	for (size_t i = 0; i < n; i++)
		octets += list[i].name.n + list[i].value.n + 4;
	if (octets > size)
		abort();
	return 0;
}
