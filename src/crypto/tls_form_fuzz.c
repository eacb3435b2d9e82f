/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* What a captured door can send to keys: the form check, and that an accepted text has fixed length. */
#include "crypto/tls_form.h"
#include "base/err.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	struct err err;
	struct str text = {(const char *)data + 1, size - 1};
	if (tls_form_check(text, (enum sign_form)(data[0] & 15), &err) && (text.n < 100 || text.n > 201))
		abort();
	return 0;
}
