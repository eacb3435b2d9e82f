/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/arena.h"
#include "sender_auth/results.h"
#include <stdlib.h>

/* What was read can be written on one field, and is read as the same again. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str body = {(const char *)data, size};
	ARENA_SCOPED a = arena_new();
	struct auth_results r, again;
	struct err err;
	BUF_SCOPED out = {0};
	(void)auth_results_names(a, body, STR("mx.example.org"));
	if (!auth_results_parse(a, body, &r, &err))
		return 0;
	auth_results_write(&out, r.authserv_id, r.at, r.n);
	struct str written = str_from(buf_str(&out), sizeof "Authentication-Results:" - 1);
	if (out.n > AUTH_RESULTS_FIELD_MAX)
		return 0;
	if (!auth_results_parse(a, written, &again, &err) || again.n != r.n)
		abort();
	for (size_t i = 0; i + 1 < out.n; i++) {
		if (out.p[i] == '\n' && out.p[i + 1] != '\t')
			abort();
	}
	return 0;
}
