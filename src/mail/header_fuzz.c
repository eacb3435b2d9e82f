/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "mail/header.h"
#include "mail/date.h"
#include "mail/status.h"
#include "mail/trace.h"
#include <stdlib.h>

/* Fields lie in order inside the header, and no reader of their bodies falls. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str in = {(const char *)data, size};
	struct scan s = scan_of(in);
	struct header_field f;
	const char *at = in.p;
	size_t header = header_length(in);
	while (header_next(&s, &f)) {
		BUF_SCOPED b = {0};
		struct date d;
		struct status st;
		if (f.raw.p < at || f.raw.p + f.raw.n > in.p + header) abort();
		at = f.raw.p + f.raw.n;
		header_unfold(&b, f.body);
		if (date_parse(f.body, &d)) date_format(&b, d);
		status_of_reply(f.body, &st);
	}
	trace_was_delivered_to(in, (struct address){STR("a"), STR("b")});
	return 0;
}
