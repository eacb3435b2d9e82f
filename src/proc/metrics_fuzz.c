/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "json/json.h"
#include "proc/metrics.h"
#include <stdlib.h>

/* Any request ends in one of the answers; any role's status ends in lines that each are a comment or a
 * sample. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str in = {(const char *)data, size};
	JSON_DOC_SCOPED doc = NULL;
	BUF_SCOPED out = {0};
	struct err err;
	if (metrics_request_read(in) == METRICS_MORE && size >= METRICS_HEAD_MAX)
		abort();
	if (!json_doc_parse(in, 1 << 20, &doc, &err))
		return 0;
	metrics_write(json_doc_root(doc), &out);
	for (struct str rest = buf_str(&out); rest.n;) {
		struct str line = str_cut(&rest, '\n');
		if (!str_starts(line, STR("# ")) && !str_starts(line, STR("pabal_")))
			abort();
	}
	return 0;
}
