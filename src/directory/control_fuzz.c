/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Requests, one per line, against one directory in memory. */
#include "config/config.h"
#include "directory/control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	BUF_SCOPED problems = {0};
	struct err err = {0};
	CONFIG_SCOPED c = NULL;
	DIRECTORY_SCOPED d = NULL;
	if (!config_parse("/x/y.conf", STR("hostname = h.example.org"), &problems, &c, &err) ||
	    !directory_open_memory(c, &d, &err))
		__builtin_trap();
	struct str rest = {(const char *)data, size};
	while (rest.p && rest.n > 0) {
		BUF_SCOPED reply = {0};
		directory_control(d, str_cut(&rest, '\n'), &reply);
		if (reply.n < 10 || str_has_byte(buf_str(&reply), '\n'))
			__builtin_trap();
	}
	return 0;
}
