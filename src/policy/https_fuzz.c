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
	struct https_url url;
	if (https_url_parse(in, &url) && (url.host.n == 0 || url.port == 0 || str_has_ctl(url.path)))
		abort();
	return 0;
}
