/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/log_line.h"
#include <stdint.h>
#include <stdlib.h>

/* Fields come one after the other, and end. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct log_line l;
	struct log_value v;
	size_t count = 0;
	if (!log_line_read((struct str){(const char *)data, size}, &l))
		return 0;
	for (struct str rest = l.fields; log_line_next(&rest, &v);) {
		BUF_SCOPED text = {0};
		log_value_text(&text, &v);
		if (text.n > v.raw.n || ++count > size)
			abort();
	}
	return 0;
}
