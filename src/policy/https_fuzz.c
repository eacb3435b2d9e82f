/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "policy/https.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str in = {(const char *)data, size};
	struct http_reply r;
	bool more;
	if (http_reply_parse(in, &r, &more) && !more && r.body.n > size)
		abort();
	return 0;
}
