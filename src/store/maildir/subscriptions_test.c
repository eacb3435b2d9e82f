/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "store/maildir/subscriptions.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/testing.h"
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static struct str joined(struct arena *a, const struct name_list *l)
{
	BUF_SCOPED out = {0};

	for (size_t i = 0; i < l->n; i++) {
		buf_add(&out, l->name[i]);
		buf_byte(&out, '|');
	}
	return arena_str(a, buf_str(&out));
}

static void test_parse(void **state)
{
	static const struct {
		const char *file, *names;
	} cases[] = {
		{"", ""},
		{"INBOX\nSent\na.b\n", "INBOX|Sent|a/b|"},
		{"&1VyuAA-\r\n&1VyuAA-\n", "한글|"},
		{"V\t2\n\nINBOX\nwork\tv1.2\n", "INBOX|work/v1/2|"},
		{"..\n\n.x\n", ""},
	};
	ARENA_SCOPED a = arena_new();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct name_list l;
		subscriptions_parse(a, str_of(cases[i].file), &l);
		assert_str(cases[i].file, joined(a, &l), str_of(cases[i].names));
	}
}

static void test_file(void **state)
{
	char path[] = "/tmp/pabal-subscriptions-XXXXXX";
	assert_non_null(mkdtemp(path));
	FD_SCOPED dir = open(path, O_RDONLY | O_DIRECTORY);
	ARENA_SCOPED a = arena_new();
	struct name_list l, r;
	struct err err;

	assert_true(subscriptions_read(dir, a, &l, &err));
	assert_int_equal(l.n, 0);
	name_list_add(a, &l, STR("INBOX"));
	name_list_add(a, &l, STR("받은 것/v1.2"));
	name_list_add(a, &l, STR("x"));
	name_list_remove(&l, STR("x"));
	assert_true(name_list_has(&l, STR("INBOX")) && !name_list_has(&l, STR("x")));
	assert_true(subscriptions_write(dir, &l, &err));
	assert_true(subscriptions_read(dir, a, &r, &err));
	assert_str("again", joined(a, &r), joined(a, &l));
	assert_int_equal(unlinkat(dir, SUBSCRIPTIONS_FILE, 0), 0);
	assert_int_equal(rmdir(path), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_parse), cmocka_unit_test(test_file)};
	return RUN_TESTS(tests);
}
