/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "json/json.h"
#include "json/log_json.h"
#include <stdlib.h>

/* Whatever the line, what comes out is an object that a strict reader takes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (int form = JSON_LOG_PLAIN; form <= JSON_LOG_ECS; form++) {
		BUF_SCOPED out = {0};
		JSON_DOC_SCOPED doc = NULL;
		struct err err;
		json_log_line(&out, (struct str){(const char *)data, size}, (enum json_log_form)form);
		if (!json_doc_parse(buf_str(&out), 64 << 20, &doc, &err))
			abort();
	}
	return 0;
}
