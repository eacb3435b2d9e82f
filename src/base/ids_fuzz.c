/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* An id that is read is safe as part of a file name; and the searches of str.h agree with each other. */
#include "base/ids.h"
#include <assert.h>

static void check_find(struct str s)
{
	size_t half = s.n / 4;
	struct str needle = str_sub(s, 0, half), hay = str_from(s, half);
	size_t at = str_find(hay, needle), nocase = str_find_nocase(hay, needle);

	assert(at == STR_NPOS || nocase <= at);
	if (nocase != STR_NPOS)
		assert(str_eq_nocase(str_sub(hay, nocase, half), needle));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str s = {(const char *)data, size};
	struct id id;

	if (id_parse(s, &id)) {
		assert(str_eq(id_str(&id), s));
		assert(!str_has_byte(s, '/') && !str_has_byte(s, '.') && !str_has_ctl(s));
	}
	check_find(s);
	return 0;
}
