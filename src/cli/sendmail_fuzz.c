/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "cli/sendmail.h"
#include "mail/header.h"
#include <stdlib.h>

/* Whatever a program writes: no Bcc goes out, and no recipient breaks out of its line. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ARENA_SCOPED a = arena_new();
	struct sendmail_message m;
	struct err err;
	struct str in = {(const char *)data, size};
	struct sendmail_options o = {.from_header = true};
	in = sendmail_until_dot(in);
	if (sendmail_message_make(a, in, &o, STR("here.example"), STR("kim@here.example"), &m, &err)) {
		if (header_count(buf_str(&m.text), STR("Bcc")))
			abort();
		for (size_t i = 0; i < m.recipients_n; i++)
			if (str_has_ctl(m.recipients[i]))
				abort();
	}
	buf_free(&m.text);
	return 0;
}
