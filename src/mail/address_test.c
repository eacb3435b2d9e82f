/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "mail/address.h"
#include "base/arena.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>

#define U8 ADDRESS_UTF8
#define NUL_ ADDRESS_NULL
#define PM ADDRESS_POSTMASTER
#define ND ADDRESS_NO_DOMAIN
#define NB ADDRESS_NO_BRACKETS
#define A10 "aaaaaaaaaa"
#define A60 A10 A10 A10 A10 A10 A10
#define D60 A60 "."

/* wanted: "local|domain", NULL refused */
static const struct {
	const char *in;
	int flags;
	const char *wanted;
} path_cases[] = {
	/* RFC 5321 4.1.2 */
	{"<a@b>", 0, "a|b"},
	{"<Smith@bar.com>", 0, "Smith|bar.com"},
	{"<first.last+tag@x-y.example>", 0, "first.last+tag|x-y.example"},
	{"<!#$%&'*+-/=?^_`{|}~@b>", 0, "!#$%&'*+-/=?^_`{|}~|b"},
	{"<\"a b\"@c>", 0, "a b|c"},
	{"<\"a\\\"b\\\\\"@c>", 0, "a\"b\\|c"},
	{"<\"\"@c>", 0, "|c"},
	{"<\"a@b\"@c>", 0, "a@b|c"},
	{"<\"a>\"@c>", 0, "a>|c"},
	{"<>", NUL_, "|"},
	{"<postmaster>", PM, "postmaster|"},
	{"<PostMaster>", PM, "PostMaster|"},
	{"<a>", ND, "a|"},
	/* 4.1.3 */
	{"<a@[192.0.2.1]>", 0, "a|[192.0.2.1]"},
	{"<a@[IPv6:2001:db8::1]>", 0, "a|[IPv6:2001:db8::1]"},
	{"<a@[X-tag:x.y:z]>", 0, "a|[X-tag:x.y:z]"},
	/* appendix C: source routes are accepted and ignored */
	{"<@a.b,@c.d:e@f>", 0, "e|f"},
	{"<@[192.0.2.1]:e@f>", 0, "e|f"},
	/* RFC 6531 3.3 */
	{"<한글@도메인.한국>", U8, "한글|도메인.한국"},
	{"<\"한 글\"@b>", U8, "한 글|b"},
	{"a@b", NB, "a|b"},
	/* 4.5.3.1: the limits are reached, not passed */
	{"<" A60 "aaaa@b>", 0, A60 "aaaa|b"},
	{"<a@" D60 D60 D60 A60 ".aaaaaaa>", 0, "a|" D60 D60 D60 A60 ".aaaaaaa"},
	{"<" A60 "aaaaa@b>", 0, NULL},
	{"<a@" D60 D60 D60 A60 ".aaaaaaaaa>", 0, NULL},
	{"<a@" A60 "aaaa>", 0, NULL},

	{"", 0, NULL}, {"<", 0, NULL}, {"<>", 0, NULL}, {"<a>", 0, NULL}, {"<postmaster>", 0, NULL},
	{"<a@b", 0, NULL}, {"a@b>", 0, NULL}, {"a@b", 0, NULL}, {"<a@>", 0, NULL}, {"<@b>", 0, NULL},
	{"<a b@c>", 0, NULL}, {"< a@b>", 0, NULL}, {"<a@b >", 0, NULL}, {"<.a@b>", 0, NULL},
	{"<a.@b>", 0, NULL}, {"<a..b@c>", 0, NULL}, {"<a@b..c>", 0, NULL}, {"<a@.b>", 0, NULL},
	{"<a@b.>", 0, NULL}, {"<a@-b>", 0, NULL}, {"<a@b->", 0, NULL}, {"<a@b_c>", 0, NULL},
	{"<a@b@c>", 0, NULL}, {"<a,b@c>", 0, NULL}, {"<a@b,c>", 0, NULL}, {"<\"a@b>", 0, NULL},
	{"<\"a\"b@c>", 0, NULL}, {"<\"a\rb\"@c>", 0, NULL}, {"<\"a\\\nb\"@c>", 0, NULL},
	{"<\"a\tb\"@c>", 0, NULL}, {"<a@[192.0.2.256]>", 0, NULL}, {"<a@[192.0.2.1>", 0, NULL},
	{"<a@[IPv6:192.0.2.1]>", 0, NULL}, {"<a@[]>", 0, NULL}, {"<a@[x]>", 0, NULL}, {"<@a.b:>", 0, NULL},
	{"<@a.b e@f>", 0, NULL}, {"<@a.b,e@f>", 0, NULL}, {"<한글@b>", 0, NULL}, {"<a@도메인>", 0, NULL},
	{"<\xff@b>", U8, NULL}, {"<a\xc2\x85@b>", U8, NULL}, {"<a@\xed\xa0\x80>", U8, NULL},
	{"<a@ㄱ.kr>", U8, NULL}, /* compatibility jamo map to conjoining ones, which RFC 5892 disallows */
	{"<a@b>x", 0, "a|b"}, /* the scan stands behind ">" */
};

static void path_test(void **state)
{
	for (size_t i = 0; i < sizeof path_cases / sizeof path_cases[0]; i++) {
		ARENA_SCOPED a = arena_new();
		struct scan s = scan_of(str_of(path_cases[i].in));
		const char *from = s.p;
		struct path p;
		struct err err = {0};
		bool ok = address_scan_path(&s, a, path_cases[i].flags, &p, &err);
		if (ok != (path_cases[i].wanted != NULL)) fail_msg("%s: %s", path_cases[i].in, err.text);
		if (!ok) {
			assert_ptr_equal(s.p, from);
			continue;
		}
		struct str got =
			arena_fmt(a, "%.*s|%.*s", STR_ARG(p.address.local), STR_ARG(p.address.domain));
		assert_string_equal(arena_cstr(a, got), path_cases[i].wanted);
	}
}

static void path_facts_test(void **state)
{
	ARENA_SCOPED a = arena_new();
	struct err err;
	struct path p;
	struct scan s = scan_of(STR("<@x:\"a b\"@[192.0.2.1]> SIZE=1"));
	assert_true(address_scan_path(&s, a, 0, &p, &err));
	assert_true(p.source_route && p.literal && !p.null && !p.utf8);
	assert_true(str_eq(p.text, STR("\"a b\"@[192.0.2.1]")));
	assert_true(str_eq(scan_rest(&s), STR(" SIZE=1")));
	s = scan_of(STR("<" A60 "aaaaa@b>"));
	assert_false(address_scan_path(&s, a, 0, &p, &err));
	assert_int_equal(err.kind, ERR_LIMIT);
}

static void format_test(void **state)
{
	static const struct {
		struct address in;
		const char *wanted;
	} cases[] = {
		{{{"a.b", 3}, {"c", 1}}, "a.b@c"}, {{{"a b", 3}, {"c", 1}}, "\"a b\"@c"},
		{{{"a\"\\", 3}, {"c", 1}}, "\"a\\\"\\\\\"@c"}, {{{"", 0}, {"c", 1}}, "\"\"@c"},
		{{{"a..b", 4}, {"c", 1}}, "\"a..b\"@c"}, {{{"postmaster", 10}, {"", 0}}, "postmaster"},
		{{{"", 0}, {"", 0}}, ""}, {{{"한글", 6}, {"b", 1}}, "한글@b"},
		{{{"a\r\nb", 4}, {"c", 1}}, "\"a??b\"@c"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		ARENA_SCOPED a = arena_new();
		assert_string_equal(arena_cstr(a, address_str(a, cases[i].in)), cases[i].wanted);
	}
}

static void domain_test(void **state)
{
	static const struct {
		const char *in, *wanted;
	} cases[] = {
		{"Example.COM", "example.com"}, {"example.com.", "example.com"},
		{"XN--3E0B707E", "xn--3e0b707e"},
		/* facts/korean-mail.md 2 */
		{"한국", "xn--3e0b707e"}, {"도메인.한국", "xn--hq1bm8jm9l.xn--3e0b707e"},
		{"한글.kr", "xn--bj0bj06e.kr"}, {"메일.회사.한국", "xn--h32bq4v.xn--vf4b131b.xn--3e0b707e"},
		{"한글。kr", "xn--bj0bj06e.kr"},
		/* NFD comes out as NFC */
		{"\u1112\u1161\u11ab\u1100\u1173\u11af.kr", "xn--bj0bj06e.kr"},
		{"[IPv6:2001:DB8::1]", "[ipv6:2001:db8::1]"},
		{"", NULL}, {".", NULL}, {"a..b", NULL}, {"a b", NULL}, {"-a", NULL}, {"\xff", NULL},
		{"ㅏ.kr", NULL},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		ARENA_SCOPED a = arena_new();
		struct str got;
		struct err err;
		bool ok = domain_canonical(a, str_of(cases[i].in), &got, &err);
		if (ok != (cases[i].wanted != NULL)) fail_msg("%s", cases[i].in);
		if (ok) assert_string_equal(arena_cstr(a, got), cases[i].wanted);
	}
	ARENA_SCOPED a = arena_new();
	assert_true(str_eq(domain_display(a, STR("xn--bj0bj06e.kr")), STR("한글.kr")));
	assert_true(str_eq(domain_display(a, STR("a.kr")), STR("a.kr")));
	assert_true(str_eq(domain_literal_ip(STR("[ipv6:::1]")), STR("::1")));
	assert_int_equal(domain_literal_ip(STR("[1.2.3]")).n, 0);
}

static void canonical_test(void **state)
{
	ARENA_SCOPED a = arena_new();
	struct err err;
	struct address in, c;
	assert_true(address_parse(a, STR("User@한글.KR"), U8, &in, &err));
	assert_true(address_canonical(a, in, 0, &c, &err));
	assert_true(address_eq(c, (struct address){STR("User"), STR("xn--bj0bj06e.kr")}));
	assert_true(address_canonical(a, in, ADDRESS_FOLD, &c, &err));
	assert_true(str_eq(c.local, STR("user")));
	/* RFC 6531 3.1: local-parts compare as NFC */
	assert_true(address_parse(a, STR("\u1112\u1161\u11ab@b"), U8, &in, &err));
	assert_true(address_canonical(a, in, 0, &c, &err));
	assert_true(str_eq(c.local, STR("한")));
}

static void detail_test(void **state)
{
	struct str user, detail;
	assert_true(local_split_detail(STR("a+b+c"), '+', &user, &detail));
	assert_true(str_eq(user, STR("a")) && str_eq(detail, STR("b+c")));
	assert_true(local_split_detail(STR("a+"), '+', &user, &detail));
	assert_int_equal(detail.n, 0);
	assert_false(local_split_detail(STR("+a"), '+', &user, &detail));
	assert_false(local_split_detail(STR("a"), '+', &user, &detail));
}

static void xtext_test(void **state)
{
	static const struct {
		const char *coded, *plain; /* plain NULL: refused */
	} cases[] = {
		{"Bob@Example.com", "Bob@Example.com"}, {"a+2Bb+3Dc", "a+b=c"}, {"a+20b", "a b"}, {"", ""},
		{"a+2bb", NULL}, {"a+", NULL}, {"a+2", NULL}, {"a=b", NULL}, {"a b", NULL}, {"a\x80", NULL},
		{"a+0D+0A", NULL}, {"a+00", NULL},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		ARENA_SCOPED a = arena_new();
		struct str got;
		struct err err;
		bool ok = xtext_decode(a, str_of(cases[i].coded), &got, &err);
		if (ok != (cases[i].plain != NULL)) fail_msg("%s", cases[i].coded);
		if (!ok) continue;
		assert_string_equal(arena_cstr(a, got), cases[i].plain);
		BUF_SCOPED b = {0};
		xtext_encode(&b, got);
		assert_true(str_eq(buf_str(&b), str_of(cases[i].coded)));
	}
}

/* RFC 6533 3 */
static void utf8_addr_test(void **state)
{
	ARENA_SCOPED a = arena_new();
	struct str got;
	struct err err;
	assert_true(utf8_addr_decode(a, STR("\\x{D55C}\\x{AE00}@b\\x{2B}c"), &got, &err));
	assert_true(str_eq(got, STR("한글@b+c")));
	BUF_SCOPED b = {0};
	utf8_addr_encode(&b, got, true);
	assert_true(str_eq(buf_str(&b), STR("\\x{D55C}\\x{AE00}@b\\x{2B}c")));
	buf_clear(&b);
	utf8_addr_encode(&b, got, false);
	assert_true(str_eq(buf_str(&b), STR("한글@b\\x{2B}c")));
	static const char *const bad[] =
		{"\\x{D800}", "\\x{0A}", "\\x{110000}", "\\x{}", "\\xD55C", "a b", "a+", "\xff"};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(utf8_addr_decode(a, str_of(bad[i]), &got, &err));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(path_test), cmocka_unit_test(path_facts_test), cmocka_unit_test(format_test),
		cmocka_unit_test(domain_test), cmocka_unit_test(canonical_test),
			cmocka_unit_test(detail_test),
		cmocka_unit_test(xtext_test), cmocka_unit_test(utf8_addr_test),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
