/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* First line a pattern, then a text. A pattern of plain octets finds what str_find finds. The same
 * input is also read as a table. */
#include "base/arena.h"
#include "explain/explain.h"
#include "explain/pattern.h"

#include <stdlib.h>

static bool is_plain(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (str_has_byte(STR("*#{}[]()|\\"), s.p[i]))
			return false;
	}
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str rest = {(const char *)data, size}, source = str_cut(&rest, '\n');
	ARENA_SCOPED a = arena_new();
	struct err err = {0};
	const struct pattern *p;
	struct explain *table;
	if (pattern_compile(a, source, &p, &err)) {
		bool found = pattern_match(p, pattern_text_new(a, rest));
		struct str seen = str_sub(rest, 0, PATTERN_TEXT_MAX);
		if (is_plain(source) && found != (str_find_nocase(seen, source) != STR_NPOS))
			abort();
	}
	if (explain_parse((struct str){(const char *)data, size}, &table, &err))
		explain_free(table);
	return 0;
}
