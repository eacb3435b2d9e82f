/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "smtp/grammar.h"
#include "base/arena.h"
#include <assert.h>

static bool within(struct str part, struct str whole)
{
	return part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str line = {(const char *)data, size}, a, b;
	ARENA_SCOPED arena = arena_new();
	struct smtp_command command;
	struct path path;
	struct smtp_params params;
	struct err err;
	uint64_t n;
	bool last;
	if (smtp_command_parse(line, &command)) {
		assert(command.verb.n > 0 && within(command.verb, line) && within(command.args, line));
		line = command.args;
	}
	if (smtp_parse_path(line, STR("FROM"), arena, ADDRESS_NULL | ADDRESS_UTF8 | ADDRESS_NO_DOMAIN,
			    &path, &params, &err))
		for (size_t i = 0; i < params.n; i++)
			assert(params.v[i].keyword.n > 0 && within(params.v[i].keyword, line) &&
			       within(params.v[i].value, line));
	if (smtp_helo_parse(line, &a))
		assert(a.n > 0 && a.n <= SMTP_HELO_MAX && !str_has_ctl(a) && !str_has_byte(a, ' '));
	(void)smtp_bdat_parse(line, &n, &last);
	if (smtp_auth_parse(line, &a, &b))
		assert(a.n <= 20 && within(b, line));
	return 0;
}
