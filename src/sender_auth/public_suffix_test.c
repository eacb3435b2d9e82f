/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "sender_auth/suite_testing.h"
#include "sender_auth/public_suffix.h"

static void suffix_test(void **state)
{
	static const struct {
		const char *in;
		bool suffix;
		const char *registrable;
	} cases[] = {
		{"com", true, ""}, {"co.kr", true, ""}, {"Example.CO.KR", false, "Example.CO.KR"},
		{"a.b.example.co.kr", false, "example.co.kr"}, {"intranet", false, ""},
		{"mail.intranet", false, "mail.intranet"}, {"", false, ""}, {".com", false, ""},
		{"\xed\x95\x9c\xea\xb5\xad", true, ""}, /* 한국 */
		{"a.\xea\xb0\x80.\xed\x95\x9c\xea\xb5\xad", false, "\xea\xb0\x80.\xed\x95\x9c\xea\xb5\xad"},
		{"xn--3e0b707e", true, ""},
	};
	struct public_suffixes *s = public_suffixes_open();
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct str in = str_of(cases[i].in);
		assert_case(cases[i].in, public_suffix_is(s, in) == cases[i].suffix);
		assert_str(cases[i].in, public_suffix_registrable(s, in), str_of(cases[i].registrable));
		assert_str(cases[i].in, public_suffix_registrable(NULL, in), str_of(cases[i].registrable));
	}
	public_suffixes_close(s);
}

static void suite_test(void **state)
{
	ARENA_SCOPED a = arena_new();
	struct suite suite = {.name = "tls-policy/psl", .a = a};
	struct str text;
	if (!suite_read(a, "tls-policy/psl-tests.txt", &text))
		return;
	struct public_suffixes *s = public_suffixes_open();
	for (struct str rest = text; rest.p;) {
		struct str line = str_trim(str_cut(&rest, '\n')), want = line;
		struct str domain = str_cut(&want, ' ');
		if (domain.n == 0 || str_starts(line, STR("//")) || str_eq(domain, STR("null")))
			continue;
		struct str got = public_suffix_registrable(s, domain);
		if (str_eq(want, STR("null")))
			want = STR("");
		suite_result(&suite, domain, str_eq_nocase(got, want), got, want);
	}
	public_suffixes_close(s);
	suite_end(&suite);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(suffix_test), cmocka_unit_test(suite_test)};
	return RUN_TESTS(tests);
}
