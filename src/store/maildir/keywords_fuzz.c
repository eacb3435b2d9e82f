/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "store/maildir/keywords.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ARENA_SCOPED a = arena_new();
	struct keywords k;

	keywords_parse(a, (struct str){(const char *)data, size}, &k);
	if (k.n > KEYWORDS_MAX)
		abort();
	for (unsigned i = 0; i < k.n; i++)
		if (!k.name[i].n || k.name[i].n > KEYWORD_MAX)
			abort();
	return 0;
}
