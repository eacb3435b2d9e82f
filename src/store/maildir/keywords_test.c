/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "store/maildir/keywords.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/testing.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void test_parse(void **state)
{
	static const struct {
		const char *file;
		const char *names; /* joined with '|' */
	} cases[] = {
		{"", ""},
		{"a $Label1\nb work\n", "$Label1|work"},
		{"0 $Label1\n1 work\n", "$Label1|work"},
		{"c third\n", "keyword-a|keyword-b|third"},
		{"a x\nrubbish\n{ y\n26 z\nb \nb two words\nb ok", "x|ok"},
	};
	ARENA_SCOPED a = arena_new();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct keywords k;
		BUF_SCOPED joined = {0};
		keywords_parse(a, str_of(cases[i].file), &k);
		for (unsigned j = 0; j < k.n; j++) {
			if (j)
				buf_byte(&joined, '|');
			buf_add(&joined, k.name[j]);
		}
		assert_str(cases[i].file, buf_str(&joined), str_of(cases[i].names));
	}
}

static void test_letters_stay(void **state)
{
	char path[] = "/tmp/pabal-keywords-XXXXXX";
	assert_non_null(mkdtemp(path));
	FD_SCOPED dir = open(path, O_RDONLY | O_DIRECTORY);
	ARENA_SCOPED a = arena_new();
	struct keywords k, again;
	struct err err;
	int bit;

	assert_true(keywords_read(dir, a, &k, &err));
	assert_int_equal(k.n, 0);
	assert_true(keywords_add(dir, a, &k, STR("$Label1"), &bit, &err));
	assert_int_equal(bit, 0);
	assert_true(keywords_cover(dir, a, &k, 1u << 3 | 1, &err));
	assert_int_equal(k.n, 4);
	assert_int_equal(keywords_find(&k, STR("$LABEL1")), 0);
	assert_int_equal(keywords_find(&k, STR("keyword-d")), 3);
	assert_int_equal(keywords_find(&k, STR("none")), -1);
	assert_false(keywords_add(dir, a, &k, STR("two words"), &bit, &err));
	assert_int_equal(err.kind, ERR_SYNTAX);
	for (int i = 4; i < KEYWORDS_MAX; i++) {
		assert_true(keywords_add(dir, a, &k, arena_fmt(a, "k%d", i), &bit, &err));
		assert_int_equal(bit, i);
	}
	assert_false(keywords_add(dir, a, &k, STR("one-too-many"), &bit, &err));
	assert_int_equal(err.kind, ERR_LIMIT);
	assert_true(keywords_read(dir, a, &again, &err));
	assert_int_equal(again.n, KEYWORDS_MAX);
	for (unsigned i = 0; i < KEYWORDS_MAX; i++)
		assert_str("again", again.name[i], k.name[i]);
	assert_int_equal(unlinkat(dir, KEYWORDS_FILE, 0), 0);
	assert_int_equal(rmdir(path), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_parse),
					   cmocka_unit_test(test_letters_stay)};
	return RUN_TESTS(tests);
}
