/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* IMAP URLs, and the arguments of APPEND and REPLACE over the same octets. */
#include "imap/append.h"
#include "imap/url.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = {(const char *)data, size};
	ARENA_SCOPED a = arena_new();
	struct imap_url url;
	struct append_args args;

	if (size > 65536)
		return 0;
	if (imap_url_parse(text, a, &url) && (!url.uid || url.mailbox.n > MAILBOX_NAME_MAX * 3))
		abort();
	for (unsigned replace = 0; replace < 2; replace++) {
		struct parse p = parse_of(text, a, true);
		bool ok = parse_append(&p, replace, &args);
		if (ok && (!args.items_n || args.at_literal))
			abort();
		if (args.literals + args.urls > APPEND_PARTS_MAX + 1)
			abort();
	}
	return 0;
}
