/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "store/maildir/uidlist.h"
#include "base/buf.h"
#include "base/testing.h"

static void put(struct buf *out, const struct uidlist *l)
{
	buf_fmt(out, "%u/%u", l->uidvalidity, l->uidnext);
	for (size_t i = 0; i < l->n; i++) {
		const struct uidlist_entry *e = &l->at[i];
		buf_fmt(out, " %u", e->uid);
		if (e->has_size)
			buf_fmt(out, "S%llu", (unsigned long long)e->size);
		if (e->has_wire_size)
			buf_fmt(out, "W%llu", (unsigned long long)e->wire_size);
		if (e->pop3_uidl.n)
			buf_fmt(out, "P%.*s", STR_ARG(e->pop3_uidl));
		buf_fmt(out, "=%.*s", STR_ARG(e->name));
	}
}

static void test_parse(void **state)
{
	static const struct {
		const char *text, *wanted;
	} cases[] = {
		{"", "0/0"},
		{"3 V17 N5 Gabc\n", "17/5"},
		{"3 V17 N5 Gabc\n1 :100.x\n4 S5 W6 Pa:b G77 :101.y,S=5:2,S\n",
		 "17/5 1=100.x 4S5W6Pa:b=101.y,S=5"},
		{"3 V17 N5\n1 :100.x", "17/5 1=100.x"},    /* the last line is not ended */
		{"3 V17 N2\n9 :100.x\n", "17/10 9=100.x"}, /* N is behind */
		{"3 N2\n1 :a\n", "0/0"},                   /* no UIDVALIDITY */
		{"3 V17\n1 :a\n", "0/0"},
		{"2 V17 N2\n1 :a\n", "0/0"},
		{"3 V17 N5\nx :a\n0 :b\n4294967295 :c\n1 a\n2 S :d\n3 Sx :e\n", "17/5 2=d 3=e"},
		{"3 V17 N5\n1 :../a\n2 :.b\n3 :\n4 :\x01\n", "17/5"},
		{"1 17 5\n1 100.x,S=5\n4 101 y\n", "17/5 1=100.x,S=5 4=101 y"},
		{"1 17 5\r\n", "17/5"},
		{"1 0 5\n1 a\n", "0/0"},
		{"1 17\n1 a\n", "0/0"},
	};
	ARENA_SCOPED a = arena_new();

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		BUF_SCOPED got = {0};
		struct uidlist l;
		uidlist_parse(a, str_of(cases[i].text), &l);
		put(&got, &l);
		assert_str(cases[i].text, buf_str(&got), str_of(cases[i].wanted));
		uidlist_fini(&l);
	}
}

static void test_find(void **state)
{
	ARENA_SCOPED a = arena_new();
	struct uidlist l = {0};

	(void)state;
	assert_null(uidlist_find(&l, STR("x")));
	uidlist_parse(a, STR("3 V1 N9\n1 :a\n2 :b\n7 :a\n"), &l);
	assert_int_equal(uidlist_find(&l, STR("a"))->uid, 7); /* it came back */
	assert_int_equal(uidlist_find(&l, STR("b"))->uid, 2);
	assert_null(uidlist_find(&l, STR("c")));
	assert_str("name", uidlist_name(STR("100.x,S=5:2,FS")), STR("100.x,S=5"));
	assert_str("name", uidlist_name(STR("100.x")), STR("100.x"));
	uidlist_fini(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_parse), cmocka_unit_test(test_find)};
	return RUN_TESTS(tests);
}
