/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/clock.h"
#include "base/testing.h"
#include "proc/lookup_cache.h"

static bool has(struct lookup_cache *c, const char *key, const char *want)
{
	ARENA_SCOPED a = arena_new();
	struct str v;

	return lookup_cache_get(c, str_of(key), a, &v) && str_eq(v, str_of(want));
}

static void remembers_until_told_to_forget(void **state)
{
	struct lookup_cache *c = lookup_cache_new();
	uint64_t g = lookup_cache_generation(c);

	lookup_cache_put(c, g, STR("a"), STR("1"), 60);
	lookup_cache_put(c, g, STR("b"), STR(""), 60);
	lookup_cache_put(c, g, STR("a"), STR("2"), 60);
	assert_true(has(c, "a", "2") && has(c, "b", "") && !has(c, "c", ""));
	lookup_cache_forget(c);
	assert_false(has(c, "a", "2") || has(c, "b", ""));
	lookup_cache_free(c);
}

/* The answer left auth before the change, and is put after the change was told. */
static void an_overtaken_answer_is_not_kept(void **state)
{
	struct lookup_cache *c = lookup_cache_new();
	uint64_t asked = lookup_cache_generation(c);

	lookup_cache_forget(c);
	lookup_cache_put(c, asked, STR("a"), STR("old"), 60);
	assert_false(has(c, "a", "old"));
	lookup_cache_put(c, lookup_cache_generation(c), STR("a"), STR("new"), 60);
	assert_true(has(c, "a", "new"));
	lookup_cache_free(c);
}

static void time_ends_what_nobody_forgets(void **state)
{
	struct lookup_cache *c = lookup_cache_new();

	lookup_cache_put(c, lookup_cache_generation(c), STR("a"), STR("1"), 0);
	for (int64_t t = clock_mono_us() + 2; clock_mono_us() < t;)
		;
	assert_false(has(c, "a", "1"));
	lookup_cache_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(remembers_until_told_to_forget),
		cmocka_unit_test(an_overtaken_answer_is_not_kept),
		cmocka_unit_test(time_ends_what_nobody_forgets),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
