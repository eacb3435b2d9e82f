/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Any string that is quoted must be read back the same, when it was valid UTF-8. */
#include "base/codec.h"
#include "json/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str in = {(const char *)data, size};
	struct err err = {0};
	JSON_DOC_SCOPED doc = NULL;
	JSON_DOC_SCOPED quoted = NULL;
	(void)!json_doc_parse(in, 1 << 16, &doc, &err);
	BUF_SCOPED out = {0};
	json_quote(&out, in);
	if (!json_doc_parse(buf_str(&out), 1 << 24, &quoted, &err))
		__builtin_trap();
	if (utf8_valid(in) && !str_eq(in, json_value_str_or(json_doc_root(quoted), STR("?"))))
		__builtin_trap();
	return 0;
}
