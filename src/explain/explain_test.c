/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "explain/explain_int.h"
#include "base/arena.h"
#include "base/testing.h"

#include <string.h>

static struct explain *load(void)
{
	struct explain *e;
	struct err err = {0};
	if (!explain_load(STR(""), &e, &err))
		fail_msg("%s", err.text);
	return e;
}

/* The built-in table: every example is explained by its own row. */
static void test_examples(void **state)
{
	EXPLAIN_SCOPED e = load();
	unsigned wrong = 0;
	for (size_t i = 0; i < e->replies.n; i++) {
		ARENA_SCOPED a = arena_new();
		const struct explain_row *row = &e->replies.at[i];
		struct str reply = row->example, host = STR("");
		struct explanation x;
		if (row->host)
			host = str_cut(&reply, ' ');
		explain_reply(e, reply, host, a, &x);
		if (reply.n == 0 || !str_eq(x.rule, row->id)) {
			print_error("%.*s: explained by %.*s: %.*s\n", STR_ARG(row->id), STR_ARG(x.rule),
				    STR_ARG(reply));
			wrong++;
		}
	}
	assert_int_equal(0, wrong);
	assert_true(e->replies.n > 220);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_examples),
	};
	return RUN_TESTS(tests);
}
