/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "net/proxy.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proxy_header h;
	size_t need;
	struct str bytes = {(const char *)data, size};
	enum proxy_result r = proxy_parse(bytes, &h, &need);
	assert(r != PROXY_DONE || (h.length > 0 && h.length <= size));
	assert(r != PROXY_MORE || need > size);
	/* What is behind a header never changes what it says. */
	if (r == PROXY_DONE) {
		struct proxy_header again;
		assert(proxy_parse(str_sub(bytes, 0, h.length), &again, &need) == PROXY_DONE);
		assert(again.length == h.length && again.told == h.told);
	}
	return 0;
}
