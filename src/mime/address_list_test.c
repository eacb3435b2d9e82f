/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "mime/address_list.h"
#include "base/arena.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void put(struct buf *out, struct str s)
{
	if (s.p) buf_add(out, s);
	else buf_byte(out, '-');
}

static void describe(struct buf *out, const struct address_list *list)
{
	for (size_t i = 0; i < list->n; i++) {
		const struct address_item *it = &list->at[i];
		if (i > 0) buf_byte(out, ' ');
		buf_byte(out, it->kind == ADDRESS_ITEM_GROUP_START ? 'G'
			: it->kind == ADDRESS_ITEM_GROUP_END ? 'E' : 'M');
		if (it->kind == ADDRESS_ITEM_GROUP_END) continue;
		buf_byte(out, '(');
		put(out, it->name);
		if (it->kind == ADDRESS_ITEM_MAILBOX) {
			buf_byte(out, '|');
			if (it->route.p) buf_fmt(out, "%.*s|", STR_ARG(it->route));
			put(out, it->local);
			buf_byte(out, '|');
			put(out, it->domain);
		}
		buf_byte(out, ')');
	}
}

static const struct {
	const char *in, *wanted;
	bool broken;
} cases[] = {
	/* RFC 5322 A.1 */
	{"John Doe <jdoe@machine.example>", "M(John Doe|jdoe|machine.example)", false},
	{"\"Joe Q. Public\" <john.q.public@example.com>", "M(Joe Q. Public|john.q.public|example.com)",
		false},
	{"Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>",
		"M(Mary Smith|mary|x.test) M(-|jdoe|example.org) M(Who?|one|y.test)", false},
	{"<boss@nil.test>, \"Giant; \\\"Big\\\" Box\" <sysservices@example.net>",
		"M(-|boss|nil.test) M(Giant; \"Big\" Box|sysservices|example.net)", false},
	{"A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
		"G(A Group) M(Ed Jones|c|a.test) M(-|joe|where.test) M(John|jdoe|one.test) E", false},
	{"Undisclosed recipients:;", "G(Undisclosed recipients) E", false},
	/* A.5 */
	{"Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", "M(Pete|pete|silly.test)", false},
	{"(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;", "G(Hidden recipients) E", false},
	/* A.6 */
	{"Joe Q. Public <john.q.public@example.com>", "M(Joe Q. Public|john.q.public|example.com)", false},
	{"Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example",
		"M(Mary Smith|@node.test|mary|example.net) M(-|jdoe|test.example)", false},
	{"john . q . public@example.com", "M(-|john.q.public|example.com)", false},
	{"<@a.b,@c.d:e@f>", "M(-|@a.b,@c.d|e|f)", false}, {"a@[192.0.2.1]", "M(-|a|[192.0.2.1])", false},
	{"a@b (Name)", "M(Name|a|b)", false}, {"\"a b\"@c", "M(-|a b|c)", false}, {"", "", false},
	{" , ,", "", false},
	/* Korean */
	{"\"홍길동\" <a@b>", "M(홍길동|a|b)", false}, {"=?euc-kr?B?yKs=?=<a@b>", "M(=?euc-kr?B?yKs=?=|a|b)", false},
	{"=?utf-8?Q?a,b:c?= <a@b>", "M(=?utf-8?Q?a,b:c?=|a|b)", false},
	/* broken, but there is something to show */
	{"someone", "M(-|someone|-)", true}, {"Some One", "M(Some One|-|-)", true},
	{"a@b <c@d>", "M(a@b|c|d)", true},
	{"Big Bug bb@bug.com", "M(Big Bug|bb|bug.com)", true}, {"a <b@c", "M(a|b|c)", true},
	{"<>", "M(-|-|-)", true},
	{"a@b c@d", "M(-|a|b)", true}, {"<a b@c>", "M(-|a b|c)", true}, {"a@", "M(-|a|-)", true},
	{"@b", "M(-|-|b)", true},
	{"g: a@b", "G(g) M(-|a|b) E", false}, {"\"a", "M(-|a|-)", true}, {"(", "", false},
	{"a@b>, c@d", "M(-|a|b) M(-|c|d)", true},
	{"[list] x <a@b>", "M([list] x|a|b)", false}, {"a: b: c@d;", "G(a) M(-|b|-) E", true},
};

static void parse_test(void **state)
{
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		ARENA_SCOPED a = arena_new();
		BUF_SCOPED b = {0};
		struct address_list list;
		address_list_parse(a, str_of(cases[i].in), &list);
		describe(&b, &list);
		if (!str_eq(buf_str(&b), str_of(cases[i].wanted)))
			fail_msg("%s\ngot %.*s", cases[i].in, STR_ARG(buf_str(&b)));
		if (list.broken != cases[i].broken) fail_msg("%s: broken %d", cases[i].in, list.broken);
	}
}

static void limit_test(void **state)
{
	ARENA_SCOPED a = arena_new();
	BUF_SCOPED b = {0};
	struct address_list list;
	for (int i = 0; i < ADDRESS_LIST_MAX + 5; i++) buf_add(&b, STR("a@b,"));
	address_list_parse(a, buf_str(&b), &list);
	assert_int_equal(list.n, ADDRESS_LIST_MAX);
	assert_true(list.broken);
}

static void display_test(void **state)
{
	ARENA_SCOPED a = arena_new();
	struct address_list list;
	struct address *at;
	BUF_SCOPED b = {0};
	address_list_parse(a, STR("=?utf-8?B?7ZmN6ri464+Z?= <a@b>, c@d, g: x; "), &list);
	address_list_display(&b, &list);
	assert_true(str_eq(buf_str(&b), STR("홍길동 <a@b>, c@d, g: x;")));
	assert_int_equal(address_list_mailboxes(a, &list, &at), 2);
	assert_true(str_eq(at[1].domain, STR("d")));
	assert_true(str_eq(address_item_addr(a, &list.at[0]), STR("a@b")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parse_test), cmocka_unit_test(limit_test), cmocka_unit_test(display_test),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
