/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* The text of a file (first byte even) or a snapshot's bytes (odd). */
#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	struct str text = {(const char *)data + 1, size - 1};
	BUF_SCOPED problems = {0};
	struct err err = {0};
	CONFIG_SCOPED c = NULL;
	/* No foreign files from a fuzzer. */
	if (!(data[0] & 1) && str_find(text, STR("include")) == STR_NPOS) {
		if (config_parse("/nonexistent/fuzz.conf", text, &problems, &c, &err)) {
			BUF_SCOPED bytes = {0};
			CONFIG_SCOPED d = NULL;
			config_encode(c, CONFIG_ROLE_ALL, &bytes);
			if (!config_decode(buf_str(&bytes), &d, &err))
				__builtin_trap();
		}
	} else if (data[0] & 1) {
		(void)!config_decode(text, &c, &err);
	}
	return 0;
}
