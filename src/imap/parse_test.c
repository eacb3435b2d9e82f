/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/buf.h"
#include "imap/fetch.h"
#include "imap/parse.h"
#include "imap/search.h"
#include "imap/write.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static struct arena *a;

static int setup(void **state)
{
	a = arena_new();
	return 0;
}
static int teardown(void **state)
{
	arena_free(a);
	return 0;
}

static void assert_str(struct str got, const char *want)
{
	if (!str_eq(got, str_of(want)))
		fail_msg("got \"%.*s\", wanted \"%s\"", STR_ARG(got), want);
}

static const struct {
	const char *in, *out; /* NULL: refused */
	const char *rest;
} astrings[] = {
	{"abc def", "abc", " def"},
	{"a]b)", "a]b", ")"},
	{"\"a b\"", "a b", ""},
	{"\"\"", "", ""},
	{"\"a\\\"b\\\\c\" x", "a\"b\\c", " x"},
	{"\"a\\b\"", NULL, NULL},
	{"\"a", NULL, NULL},
	{"\"a\r\nb\"", NULL, NULL},
	{"\"\xed\x95\x9c\"", "\xed\x95\x9c", ""},
	{"{3}\r\na\"b c", "a\"b", " c"},
	{"{3+}\r\nabc", "abc", ""},
	{"~{2}\r\nab", "~", "{2}\r\nab"},
	{"{0}\r\n)", "", ")"},
	{"{4}\r\nabc", NULL, NULL},
	{"{99999999999}\r\nabc", NULL, NULL},
	{"(a", NULL, NULL},
	{"%", NULL, NULL},
	{"", NULL, NULL},
};

static void astring(void **state)
{
	for (size_t i = 0; i < sizeof(astrings) / sizeof(*astrings); i++) {
		struct parse p = parse_of(str_of(astrings[i].in), a, false);
		struct str out = STR_NONE;
		bool ok = parse_astring(&p, &out);
		if (ok != (astrings[i].out != NULL))
			fail_msg("\"%s\": %d %s", astrings[i].in, ok, p.why);
		if (ok) {
			assert_str(out, astrings[i].out);
			assert_str(scan_rest(&p.s), astrings[i].rest);
		} else {
			assert_str(scan_rest(&p.s), astrings[i].in);
		}
	}
}

static const struct {
	const char *in, *out;
	bool utf8;
} mailboxes[] = {
	{"inbox", "INBOX", false},
	{"inBox/a", "INBOX/a", false},
	{"inboxes", "inboxes", false},
	{"&vPSwuNO4ycDVaA-", "\xeb\xb3\xb4\xeb\x82\xb8\xed\x8e\xb8\xec\xa7\x80\xed\x95\xa8", false},
	{"&vPSwuNO4ycDVaA-", "&vPSwuNO4ycDVaA-", true},
	{"a&-b", "a&b", false},
	{"a&b", NULL, false},
	{"\"\xed\x95\x9c\"", "\xed\x95\x9c", true},
	{"\"\xed\x95\"", NULL, true},
	{"\"\xed\x95\x9c\"", NULL, false},
	/* decomposed jamo come out composed */
	{"\"\xe1\x84\x80\xe1\x85\xa1\"", "\xea\xb0\x80", true},
	{"\"a\tb\"", NULL, true},
};

static void mailbox(void **state)
{
	for (size_t i = 0; i < sizeof(mailboxes) / sizeof(*mailboxes); i++) {
		struct parse p = parse_of(str_of(mailboxes[i].in), a, mailboxes[i].utf8);
		struct str out = STR_NONE;
		bool ok = parse_mailbox(&p, &out);
		if (ok != (mailboxes[i].out != NULL))
			fail_msg("\"%s\": %d %s", mailboxes[i].in, ok, p.why);
		if (ok)
			assert_str(out, mailboxes[i].out);
	}
}

static const struct {
	const char *in;
	uint32_t star;
	const char *out; /* resolved */
	const char *rest;
} sets[] = {
	{"1", 9, "1", ""},
	{"2,4:7,9,12:*", 15, "2,4:7,9,12:15", ""}, /* RFC 9051 9, seq-range */
	{"*:4,5:7", 10, "4:10", ""},
	{"3:1", 9, "1:3", ""},
	{"*", 9, "9", ""},
	{"5,1,3,2,4", 9, "1:5", ""},
	{"1:4294967295", 9, "1:4294967295", ""},
	{"4294967294:4294967295,4294967295", 9, "4294967294:4294967295", ""},
	{"0", 9, NULL, ""},
	{"1,", 9, NULL, ""},
	{"1:", 9, NULL, ""},
	{",1", 9, NULL, ""},
	{"4294967296", 9, NULL, ""},
	{"1:2:3", 9, "1:2", ":3"},
	{"1 x", 9, "1", " x"},
};

static void sequence_set(void **state)
{
	for (size_t i = 0; i < sizeof(sets) / sizeof(*sets); i++) {
		struct parse p = parse_of(str_of(sets[i].in), a, false);
		struct sequence_set s;
		BUF_SCOPED b = {};
		bool ok = parse_sequence_set(&p, &s);
		if (ok != (sets[i].out != NULL))
			fail_msg("\"%s\": %d", sets[i].in, ok);
		if (!ok)
			continue;
		write_uid_set(&b, sequence_set_resolve(&s, sets[i].star, a));
		assert_str(buf_str(&b), sets[i].out);
		assert_str(scan_rest(&p.s), sets[i].rest);
	}
	struct uid_range r[] = {{1, 3}, {5, 5}, {7, 9}};
	struct uid_set s = {r, 3};
	const uint32_t in[] = {1, 3, 5, 7, 9}, out[] = {0, 4, 6, 10};
	for (size_t i = 0; i < 5; i++)
		assert_true(uid_set_has(s, in[i]));
	for (size_t i = 0; i < 4; i++)
		assert_false(uid_set_has(s, out[i]));
	assert_int_equal(uid_set_count(s), 7);
}

static const struct {
	const char *line;
	bool is;
	uint64_t n;
	bool binary, nonsync, too_big;
	size_t start;
} literals[] = {
	{"a login {5}", true, 5, false, false, false, 8},
	{"a login {5+}", true, 5, false, true, false, 8},
	{"a append x (~{7+}", true, 7, true, true, false, 12},
	{"{0}", true, 0, false, false, false, 0},
	{"a {99999999999999999999}", true, 0, false, false, true, 2},
	{"a {4294967295}", true, UINT32_MAX, false, false, false, 2},
	{"a {4294967296}", true, 0, false, false, true, 2},
	{"a \"{5}\"", false},
	{"a {}", false},
	{"a {+}", false},
	{"a 5}", false},
	{"a {5", false},
};

static void literal_header(void **state)
{
	for (size_t i = 0; i < sizeof(literals) / sizeof(*literals); i++) {
		struct literal l;
		size_t start;
		bool is = literal_at_end(str_of(literals[i].line), &l, &start);
		if (is != literals[i].is)
			fail_msg("%s", literals[i].line);
		if (!is)
			continue;
		assert_int_equal(l.too_big, literals[i].too_big);
		if (!l.too_big)
			assert_int_equal(l.n, literals[i].n);
		assert_int_equal(l.binary, literals[i].binary);
		assert_int_equal(l.nonsync, literals[i].nonsync);
		assert_int_equal(start, literals[i].start);
	}
}

static const struct {
	const char *in, *out;
} flags[] = {
	{"(\\Seen)", "(\\Seen)"},
	{"()", "()"},
	{"(\\seen \\DELETED \\draft)", "(\\Deleted \\Seen \\Draft)"},
	{"\\Flagged \\Answered", "(\\Answered \\Flagged)"},
	{"$Forwarded", "($Forwarded)"},
	{"(a b A)", "(a b)"},
	{"(\\Recent)", NULL},
	{"(\\Foo)", NULL},
	{"(\\*)", NULL},
	{"(\\Seen", NULL},
	{"( \\Seen)", NULL},
	{"", NULL},
};

static void flag_lists(void **state)
{
	for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++) {
		struct parse p = parse_of(str_of(flags[i].in), a, false);
		struct flag_list l;
		BUF_SCOPED b = {};
		bool ok = parse_store_flags(&p, &l);
		if (ok != (flags[i].out != NULL))
			fail_msg("%s: %d", flags[i].in, ok);
		if (!ok)
			continue;
		write_flags(&b, l.flags, (UINT32_C(1) << l.keywords_n) - 1, l.keywords, l.keywords_n);
		assert_str(buf_str(&b), flags[i].out);
	}
}

static const struct {
	const char *in;
	int64_t want; /* -1: refused */
} date_times[] = {
	{"\"17-Jul-1996 02:44:25 -0700\"", 837596665},
	{"\" 1-Jan-1970 00:00:00 +0000\"", 0},
	{"\"01-Jan-1970 09:00:00 +0900\"", 0},
	{"\"29-Feb-2024 00:00:00 +0000\"", 1709164800},
	{"\"29-Feb-2023 00:00:00 +0000\"", -1},
	{"\"1-Jan-1970 00:00:00 +0000\"", -1},
	{"\"01-Foo-1970 00:00:00 +0000\"", -1},
	{"\"01-Jan-1970 24:00:00 +0000\"", -1},
	{"\"01-Jan-1970 00:00:00\"", -1},
	{"01-Jan-1970", -1},
};

static void dates(void **state)
{
	for (size_t i = 0; i < sizeof(date_times) / sizeof(*date_times); i++) {
		struct parse p = parse_of(str_of(date_times[i].in), a, false);
		int64_t t = -1;
		bool ok = parse_date_time(&p, &t);
		if (ok != (date_times[i].want >= 0) || (ok && t != date_times[i].want))
			fail_msg("%s: %d %lld", date_times[i].in, ok, (long long)t);
	}
	int32_t day;
	struct parse p = parse_of(STR("1-Feb-1994 x"), a, false);
	assert_true(parse_date(&p, &day));
	assert_int_equal(day, 8797);
	p = parse_of(STR("\"02-Jan-1970\""), a, false);
	assert_true(parse_date(&p, &day) && day == 1);
	p = parse_of(STR("31-Nov-1994"), a, false);
	assert_false(parse_date(&p, &day));
}

static const struct {
	const char *in;
	unsigned items;   /* ~0: refused */
	const char *label; /* of the last section */
	bool seen;
} fetches[] = {
	{"1 FLAGS", FETCH_FLAGS},
	{"1 (FLAGS UID)", FETCH_FLAGS | FETCH_UID},
	{"1:* all", FETCH_FLAGS | FETCH_INTERNALDATE | FETCH_SIZE | FETCH_ENVELOPE},
	{"1 (FAST uid)", FETCH_FLAGS | FETCH_INTERNALDATE | FETCH_SIZE | FETCH_UID},
	{"1 BODY", FETCH_BODY},
	{"1 BODYSTRUCTURE", FETCH_BODYSTRUCTURE},
	{"1 BODY[]", 0, "BODY[]", true},
	{"1 body.peek[text]<5.10>", 0, "BODY[TEXT]<5>", false},
	{"1 (BODY[HEADER.FIELDS (Date \"X Y\")])", 0, "BODY[HEADER.FIELDS (Date \"X Y\")]", true},
	{"1 BODY.PEEK[1.2.HEADER.FIELDS.NOT (a)]<0.1>", 0, "BODY[1.2.HEADER.FIELDS.NOT (a)]<0>", false},
	{"1 BODY[1.MIME]", 0, "BODY[1.MIME]", true},
	{"1 BINARY.PEEK[1.2]<3.4>", 0, "BINARY[1.2]<3>", false},
	{"1 BINARY.SIZE[3]", 0, "BINARY.SIZE[3]", false},
	{"1 BINARY[]", 0, "BINARY[]", true},
	{"1 RFC822.HEADER", 0, "RFC822.HEADER", false},
	{"1 RFC822", 0, "RFC822", true},
	{"1 (UID FLAGS) (CHANGEDSINCE 12345)", FETCH_UID | FETCH_FLAGS},
	{"1 (UID) (CHANGEDSINCE 12345 VANISHED)", FETCH_UID},
	{"1 (UID) (VANISHED)", ~0U},
	{"1 BODY[MIME]", ~0U},
	{"1 BODY[1.]", ~0U},
	{"1 BODY[0]", ~0U},
	{"1 BODY[HEADER.FIELDS ()]", ~0U},
	{"1 BODY[HEADER", ~0U},
	{"1 BODY[]<1>", ~0U},
	{"1 BODY[]<1.0>", ~0U},
	{"1 BINARY[HEADER]", ~0U},
	{"1 BINARY.SIZE[1]<0.1>", ~0U},
	{"1 ()", ~0U},
	{"1 (FLAGS", ~0U},
	{"1 FOO", ~0U},
	{"1", ~0U},
	{"1 FLAGS UID", ~0U},
};

static void fetch(void **state)
{
	for (size_t i = 0; i < sizeof(fetches) / sizeof(*fetches); i++) {
		struct parse p = parse_of(str_of(fetches[i].in), a, false);
		struct fetch_args f;
		bool ok = parse_fetch(&p, &f);
		if (ok != (fetches[i].items != ~0U))
			fail_msg("\"%s\": %d %s", fetches[i].in, ok, p.why);
		if (!ok)
			continue;
		assert_int_equal(f.items, fetches[i].items);
		assert_int_equal(f.sections_n, fetches[i].label != NULL);
		if (f.sections_n) {
			assert_str(f.sections[0].label, fetches[i].label);
			assert_int_equal(f.sections[0].seen, fetches[i].seen);
		}
	}
}

/* The tree as one line. */
static void show(struct buf *b, const struct search_key *k)
{
	static const char *const names[] = {
		"ALL",        "AND",     "OR",        "NOT",      "FLAG",        "KEYWORD", "SEQ",
		"UID",        "LARGER",  "SMALLER",   "MODSEQ",   "BEFORE",      "ON",      "SINCE",
		"OLDER",      "YOUNGER", "EMAILID",   "THREADID", "SAVEDBEFORE", "SAVEDON", "SAVEDSINCE",
		"SENTBEFORE", "SENTON",  "SENTSINCE", "SUBJECT",  "FROM",        "TO",      "CC",
		"BCC",        "HEADER",  "BODY",      "TEXT",
	};

	buf_add(b, str_of(names[k->kind]));
	if (k->kind == SEARCH_FLAG)
		buf_fmt(b, ":%u=%u", k->mask, k->want);
	if (k->name.n)
		buf_fmt(b, ":%.*s", STR_ARG(k->name));
	if (k->text.n)
		buf_fmt(b, ":%.*s", STR_ARG(k->text));
	if (k->number)
		buf_fmt(b, ":%llu", (unsigned long long)k->number);
	if (k->a) {
		buf_byte(b, '(');
		for (const struct search_key *x = k->a; x; x = x->next) {
			if (x != k->a)
				buf_byte(b, ' ');
			show(b, x);
		}
		if (k->b) {
			buf_byte(b, '|');
			show(b, k->b);
		}
		buf_byte(b, ')');
	}
}

static const struct {
	const char *in, *out;
	unsigned returns;
} searches[] = {
	{"ALL", "ALL"},
	{"UNSEEN DELETED", "AND(FLAG:1=0 FLAG:8=8)"},
	{"OR SEEN (NEW OLD)", "OR(FLAG:1=1|AND(FLAG:65=64 FLAG:64=0))"},
	{"NOT SUBJECT Hello", "NOT(SUBJECT:hello)"},
	{"1:5 UID 7", "AND(SEQ UID)"},
	{"HEADER \"X-A\" \"\"", "HEADER:X-A"},
	{"KEYWORD Foo UNKEYWORD bar", "AND(KEYWORD:Foo NOT(KEYWORD:bar))"},
	{"UNKEYWORD $Forwarded", "FLAG:32=0"},
	{"CHARSET UTF-8 TEXT {6}\r\n\xed\x95\x9c\xea\xb8\x80", "TEXT:\xed\x95\x9c\xea\xb8\x80"},
	{"CHARSET EUC-KR TEXT {4}\r\n\xc7\xd1\xb1\xdb", "TEXT:\xed\x95\x9c\xea\xb8\x80"},
	{"RETURN (MIN COUNT) ALL", "ALL", SEARCH_MIN | SEARCH_COUNT},
	{"RETURN () ALL", "ALL", SEARCH_RETURN_ALL},
	{"RETURN (SAVE) CHARSET UTF-8 ALL", "ALL", SEARCH_SAVE},
	{"MODSEQ \"/flags/\\\\draft\" all 620162338", "MODSEQ:620162338"},
	{"MODSEQ 5", "MODSEQ:5"},
	{"SINCE 1-Feb-1994 NOT FROM \"Smith\"", "AND(SINCE NOT(FROM:smith))"},
	{"$", "SEQ"},
	{"CHARSET X-NOPE ALL", NULL},
	{"TEXT \xff", NULL},
	{"CHARSET UTF-8 TEXT \"\xed\"", NULL},
	{"OR SEEN", NULL},
	{"(SEEN", NULL},
	{"FOO", NULL},
	{"", NULL},
	{"SEEN ", NULL},
};

static void search(void **state)
{
	for (size_t i = 0; i < sizeof(searches) / sizeof(*searches); i++) {
		struct parse p = parse_of(str_of(searches[i].in), a, false);
		struct search_args s;
		enum search_problem problem;
		BUF_SCOPED b = {};
		bool ok = parse_search(&p, &s, &problem);
		if (ok != (searches[i].out != NULL))
			fail_msg("\"%s\": %d %s", searches[i].in, ok, p.why);
		if (!ok)
			continue;
		show(&b, s.root);
		assert_str(buf_str(&b), searches[i].out);
		assert_int_equal(s.returns, searches[i].returns);
	}
}

/* Each limit is reached. */
static void limits(void **state)
{
	BUF_SCOPED b = {};
	struct search_args s;
	struct fetch_args f;
	enum search_problem problem;

	for (int depth = PARSE_DEPTH_MAX - 1; depth <= PARSE_DEPTH_MAX + 1; depth++) {
		buf_clear(&b);
		for (int i = 0; i < depth; i++)
			buf_byte(&b, '(');
		buf_add(&b, STR("ALL"));
		for (int i = 0; i < depth; i++)
			buf_byte(&b, ')');
		struct parse p = parse_of(buf_str(&b), a, false);
		assert_int_equal(parse_search(&p, &s, &problem), depth <= PARSE_DEPTH_MAX);
	}
	buf_clear(&b);
	for (int i = 0; i < SEARCH_KEYS_MAX + 1; i++)
		buf_add(&b, i ? STR(" ALL") : STR("ALL"));
	struct parse p = parse_of(buf_str(&b), a, false);
	assert_false(parse_search(&p, &s, &problem));
	buf_clear(&b);
	buf_add(&b, STR("1 (BODY[]"));
	for (int i = 0; i < FETCH_SECTIONS_MAX; i++)
		buf_add(&b, STR(" BODY[]"));
	buf_byte(&b, ')');
	p = parse_of(buf_str(&b), a, false);
	assert_false(parse_fetch(&p, &f));
	buf_clear(&b);
	buf_add(&b, STR("1 BODY[1"));
	for (int i = 0; i < SECTION_PATH_MAX; i++)
		buf_add(&b, STR(".1"));
	buf_byte(&b, ']');
	p = parse_of(buf_str(&b), a, false);
	assert_false(parse_fetch(&p, &f));
	buf_clear(&b);
	for (int i = 0; i <= MAILBOX_NAME_MAX; i++)
		buf_byte(&b, 'a');
	struct str name;
	p = parse_of(buf_str(&b), a, false);
	assert_false(parse_mailbox(&p, &name));
	p = parse_of(str_sub(buf_str(&b), 0, MAILBOX_NAME_MAX), a, false);
	assert_true(parse_mailbox(&p, &name));
	p = parse_of(buf_str(&b), a, false);
	assert_false(parse_keyword(&p, &name));
}

static const struct {
	struct str in;
	const char *out;
	bool utf8;
} strings[] = {
	{STR("abc"), "\"abc\"", false},
	{STR("a\"\\"), "\"a\\\"\\\\\"", false},
	{STR("a\r\nb"), "{4}\r\na\r\nb", false},
	{STR("a\0b"), "{3}\r\na?b", false},
	{STR("\xed\x95\x9c"), "{3}\r\n\xed\x95\x9c", false},
	{STR("\xed\x95\x9c"), "\"\xed\x95\x9c\"", true},
	{STR("\xed"), "{1}\r\n\xed", true},
};

static void writing(void **state)
{
	BUF_SCOPED b = {};

	for (size_t i = 0; i < sizeof(strings) / sizeof(*strings); i++) {
		buf_clear(&b);
		write_string(&b, strings[i].in, strings[i].utf8);
		assert_str(buf_str(&b), strings[i].out);
	}
	buf_clear(&b);
	write_astring(&b, STR("Nil"), false);
	write_mailbox(&b, STR("\xed\x95\x9c"), false);
	write_mailbox(&b, STR("a&b"), false);
	write_mailbox(&b, STR("a&b"), true);
	assert_str(buf_str(&b), "\"Nil\"\"&1Vw-\"\"a&-b\"\"a&b\"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(astring),     cmocka_unit_test(mailbox),    cmocka_unit_test(sequence_set),
		cmocka_unit_test(literal_header), cmocka_unit_test(flag_lists), cmocka_unit_test(dates),
		cmocka_unit_test(fetch),       cmocka_unit_test(search),     cmocka_unit_test(limits),
		cmocka_unit_test(writing),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
