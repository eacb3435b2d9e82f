/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "explain/explain_int.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/testing.h"
#include "json/json.h"

#include <fcntl.h>
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
	assert_true(e->replies.n >= 235);
}

/* RFC 3463 and the registry of RFC 5248: every subject and detail is there, with words and advice. */
static void test_registry(void **state)
{
	static const unsigned last[] = {0, 10, 4, 6, 8, 6, 10, 30};
	EXPLAIN_SCOPED e = load();
	for (unsigned subject = 0; subject < 8; subject++) {
		for (unsigned detail = 0; detail <= last[subject]; detail++) {
			struct status st = {5, (uint16_t)subject, (uint16_t)detail};
			const struct explain_row *row = explain_status_row(e, st);
			if (!row || row->detail != detail || row->advice_n == 0)
				fail_msg("X.%u.%u", subject, detail);
		}
	}
	for (size_t i = 0; i < explain_code_count(e); i++) {
		struct explain_code code;
		explain_code_at(e, i, &code);
		assert_true(code.meaning.en.n > 0 && code.meaning.ko.n > 0 && code.advice_n > 0);
		assert_true(code.enhanced == (code.code.p[0] == 'X'));
	}
}

struct case_row {
	const char *reply, *mta;
	const char *rule;      /* "": by status or code */
	unsigned code;
	const char *status;
	enum explain_kind kind;
	enum explain_message message;
	enum explain_destination destination;
	enum status_turn turn;
};
#define TEMP EXPLAIN_KIND_TEMP
#define PERM EXPLAIN_KIND_PERM
#define RETRY EXPLAIN_MESSAGE_RETRY
#define GIVE_UP EXPLAIN_MESSAGE_GIVE_UP
#define FREE EXPLAIN_DESTINATION_FREE
#define SLOW EXPLAIN_DESTINATION_SLOW
#define HOLD EXPLAIN_DESTINATION_HOLD
static const struct case_row cases[] = {
	/* the well-known Korean ones */
	{"4.3.2 Your ip blocked from this server. Contact to abuse@naver.com or http:/(421)", "",
	 "NAVER-01", 421, "4.3.2", TEMP, RETRY, HOLD, TURN_OUR_ADMIN},
	{"4.3.2 Your ip blocked from this server(421)", "", "NAVER-02", 421, "4.3.2", TEMP, RETRY, HOLD,
	 TURN_OUR_ADMIN},
	{"4.4.5 CCRC 123.123.12.123: Connection refused. Server is busy(RC)(421)", "", "DAUM-02", 421,
	 "4.4.5", TEMP, RETRY, SLOW, TURN_OUR_ADMIN},
	{"5.7.1 DZCNT 123.123.12.123: Message refused. Your domain has sent too many "
	 "mails:mymailer.co.kr "
	 "If you need, please contact stamp@daumcorp.com.(554)",
	 "", "DAUM-01", 554, "5.7.1", PERM, GIVE_UP, HOLD, TURN_OUR_ADMIN},
	{"sorry, your IP is blacklisted.(544)", "", "KR-01", 544, "", PERM, GIVE_UP, HOLD,
	 TURN_OUR_ADMIN},
	/* their usual SMTP forms */
	{"421 4.3.2 Your ip blocked from this server", "mx1.naver.com", "NAVER-02", 421, "4.3.2", TEMP,
	 RETRY, HOLD, TURN_OUR_ADMIN},
	{"544 sorry, your IP is blacklisted.", "", "KR-01", 544, "", PERM, GIVE_UP, HOLD, TURN_OUR_ADMIN},
	/* several lines, in each form */
	{"550-5.7.26 This mail has been blocked because the sender is unauthenticated.\r\n"
	 "550-5.7.26 Gmail requires all senders to\r\n550 5.7.26  authenticate with either SPF or "
	 "DKIM.\r\n",
	 "gmail-smtp-in.l.google.com", "G-02", 550, "5.7.26", PERM, GIVE_UP, FREE, TURN_OUR_ADMIN},
	{"550-Gmail requires all senders\r\n550-to authenticate\r\n550 with either SPF or DKIM", "",
	 "G-02", 550, "", PERM, GIVE_UP, FREE, TURN_OUR_ADMIN},
	/* wrapped by others */
	{"smtp; 550 5.1.1 <a@b>... User unknown", "", "GEN-18", 550, "5.1.1", PERM, GIVE_UP, FREE,
	 TURN_SENDER},
	{"host mx.example.org[203.0.113.5] said: 552 5.2.2 Mailbox full (in reply to RCPT TO command)",
	 "", "GEN-16", 552, "5.2.2", PERM, GIVE_UP, FREE, TURN_RECIPIENT},
	{"Remote Server returned '550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP "
	 "address lookup'",
	 "", "MS-37", 550, "5.1.10", PERM, GIVE_UP, FREE, TURN_SENDER},
	{"550 #5.1.0 Address rejected.", "", "GEN-28", 550, "5.1.0", PERM, GIVE_UP, FREE,
	 TURN_THEIR_ADMIN},
	{"Sorry, no mailbox here by that name. (#5.1.1)", "", "GEN-31", 0, "5.1.1", PERM, GIVE_UP, FREE,
	 TURN_SENDER},
	/* a telling status counts more than a word that everybody uses */
	{"550 5.1.1 Recipient rejected", "", "", 550, "5.1.1", PERM, GIVE_UP, FREE, TURN_SENDER},
	{"550 5.7.1 Recipient rejected", "", "GEN-28", 550, "5.7.1", PERM, GIVE_UP, FREE,
	 TURN_THEIR_ADMIN},
	/* by status and by code */
	{"550 5.1.1 xyzzy", "", "", 550, "5.1.1", PERM, GIVE_UP, FREE, TURN_SENDER},
	{"450 4.2.2 xyzzy", "", "", 450, "4.2.2", TEMP, RETRY, FREE, TURN_RECIPIENT},
	{"554 5.0.0 xyzzy", "", "", 554, "5.0.0", PERM, GIVE_UP, FREE, TURN_THEIR_ADMIN},
	{"550 5.7.999 xyzzy", "", "", 550, "5.7.999", PERM, GIVE_UP, FREE, TURN_THEIR_ADMIN},
	{"451 xyzzy", "", "", 451, "", TEMP, RETRY, FREE, TURN_NOBODY},
	{"499 xyzzy", "", "", 499, "", TEMP, RETRY, FREE, TURN_NOBODY},
	{"599 xyzzy", "", "", 599, "", PERM, GIVE_UP, FREE, TURN_NOBODY},
	{"5.7.25", "", "", 0, "5.7.25", PERM, GIVE_UP, FREE, TURN_OUR_ADMIN},
	{"421", "", "", 421, "", TEMP, RETRY, FREE, TURN_NOBODY},
	{"250 2.1.5 ok, spam is welcome", "", "", 250, "2.1.5", EXPLAIN_KIND_OK, EXPLAIN_MESSAGE_NOTHING,
	 FREE, TURN_NOBODY},
	/* nothing we know is never a bounce */
	{"", "", "", 0, "", EXPLAIN_KIND_UNKNOWN, RETRY, FREE, TURN_NOBODY},
	{"xyzzy", "", "", 0, "", EXPLAIN_KIND_UNKNOWN, RETRY, FREE, TURN_NOBODY},
	{"connect to mx.example.com[203.0.113.25]:25: Connection timed out", "", "GEN-25", 0, "",
	 EXPLAIN_KIND_UNKNOWN, RETRY, FREE, TURN_NOBODY},
	/* the reply code overrides the status and the wording */
	{"450 5.1.1 User unknown", "", "GEN-18", 450, "5.1.1", TEMP, RETRY, FREE, TURN_SENDER},
	{"550 4.2.2 Mailbox full", "", "GEN-16", 550, "4.2.2", PERM, GIVE_UP, FREE, TURN_RECIPIENT},
	/* but a refusal that says that it is for good */
	{"421 4.7.0 [TSS09] All messages from 203.0.113.9 will be permanently deferred; Retrying will "
	 "NOT succeed.",
	 "", "Y-03", 421, "4.7.0", PERM, GIVE_UP, HOLD, TURN_OUR_ADMIN},
	/* RFC 5321 4.5.3.1.10 */
	{"452 4.5.3 too many recipients", "", "GEN-13", 452, "4.5.3", TEMP, EXPLAIN_MESSAGE_SPLIT, FREE,
	 TURN_NOBODY},
	{"552 too many recipients", "", "GEN-13", 552, "", PERM, EXPLAIN_MESSAGE_SPLIT, FREE,
	 TURN_NOBODY},
	{"550 5.7.510 Access denied, example.com does not accept email over IPv6", "", "MS-31", 550,
	 "5.7.510", PERM, EXPLAIN_MESSAGE_RETRY_IPV4, FREE, TURN_NOBODY},
	{"421 Max message per connection reached, closing transmission channel", "", "Y-10", 421, "",
	 TEMP, EXPLAIN_MESSAGE_RECONNECT, FREE, TURN_NOBODY},
	/* refused at the door: no verdict on the message */
	{"host mx.example.org[203.0.113.5] refused to talk to me: 554 5.7.1 blocked using dnsbl.example",
	 "", "GEN-11", 554, "5.7.1", PERM, RETRY, HOLD, TURN_OUR_ADMIN},
	/* one bad message holds nobody's mail; an assumption holds none */
	{"554 5.7.1 DAS51 203.0.113.9: Your mail is blocked automatically by anti-spam system. (E06)", "",
	 "DAUM-06", 554, "5.7.1", PERM, GIVE_UP, FREE, TURN_SENDER},
	{"554 5.7.1 refused", "mx1.naver.com", "NAVER-08", 554, "5.7.1", PERM, GIVE_UP, SLOW,
	 TURN_OUR_ADMIN},
	/* rows of one mailbox provider do not speak for another, lists and gateways do */
	{"550 5.5.0 mailbox unavailable", "mx1.naver.com", "", 550, "5.5.0", PERM, GIVE_UP, FREE,
	 TURN_THEIR_ADMIN},
	{"550 5.5.0 mailbox unavailable", "outlook-com.olc.protection.outlook.com.", "MS-38", 550,
	 "5.5.0", PERM, GIVE_UP, FREE, TURN_SENDER},
	{"554 Blocked - see https://ipcheck.proofpoint.com/?ip=203.0.113.9", "mx01.mail.icloud.com",
	 "PP-01", 554, "", PERM, GIVE_UP, HOLD, TURN_OUR_ADMIN},
	{"550 5.7.1 DKIM check failed", "naver.com", "NAVER-05", 550, "5.7.1", PERM, GIVE_UP, FREE,
	 TURN_OUR_ADMIN},
	/* numbers that are no reply code */
	{"size 550 of 2026", "", "", 0, "", EXPLAIN_KIND_UNKNOWN, RETRY, FREE, TURN_NOBODY},
	{"from 203.0.113.9 port 450", "", "", 0, "", EXPLAIN_KIND_UNKNOWN, RETRY, FREE, TURN_NOBODY},
	{"postfix/smtp[421]: version 5.1.1.2", "", "", 0, "", EXPLAIN_KIND_UNKNOWN, RETRY, FREE,
	 TURN_NOBODY},
};

static void test_replies(void **state)
{
	EXPLAIN_SCOPED e = load();
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct case_row *c = &cases[i];
		ARENA_SCOPED a = arena_new();
		BUF_SCOPED status = {0};
		struct explanation x;
		explain_reply(e, str_of(c->reply), str_of(c->mta), a, &x);
		if (x.status.class)
			status_format(&status, x.status);
		assert_str(c->reply, x.rule, str_of(c->rule));
		assert_case(c->reply, x.code == c->code);
		assert_str(c->reply, buf_str(&status), str_of(c->status));
		assert_str(c->reply, str_of(explain_kind_name(x.kind)), str_of(explain_kind_name(c->kind)));
		assert_str(c->reply, str_of(explain_message_name(x.message)),
			   str_of(explain_message_name(c->message)));
		assert_str(c->reply, str_of(explain_destination_name(x.destination)),
			   str_of(explain_destination_name(c->destination)));
		assert_case(c->reply, x.turn == c->turn);
	}
}

static void test_details(void **state)
{
	EXPLAIN_SCOPED e = load();
	ARENA_SCOPED a = arena_new();
	struct explanation x;
	explain_reply(e, str_of(cases[0].reply), STR(""), a, &x);
	assert_str("provider", x.provider.ko, STR("네이버"));
	assert_true(x.link_n == 1 && str_eq(x.links[0], STR("abuse@naver.com")));
	assert_true(x.alert && !x.suppress && x.needs.en.n > 0);
	explain_reply(e, str_of(cases[1].reply), STR(""), a, &x);
	assert_true(x.link_n == 0 && str_eq(x.advice[0]->id, STR("R-NAVER")));
	explain_reply(e, str_of(cases[2].reply), STR(""), a, &x);
	assert_str("ip", x.ip, STR("123.123.12.123"));
	assert_str("provider", x.provider.en, STR("Daum/Kakao"));
	explain_reply(e, str_of(cases[3].reply), STR(""), a, &x);
	assert_int_equal(EXPLAIN_FAULT_SENDER_DOMAIN, x.fault);
	assert_true(x.link_n == 1 && str_eq(x.links[0], STR("stamp@daumcorp.com")));
	explain_reply(e, str_of(cases[4].reply), STR(""), a, &x);
	assert_str("lists", x.advice[0]->id, STR("R-LISTS"));
	assert_true(x.code_meaning.en.n > 0 && !x.suppress);
	explain_reply(e, STR("550 5.1.1 User unknown"), STR(""), a, &x);
	assert_true(x.suppress && !x.alert);
	explain_reply(e, STR("450 5.1.1 User unknown"), STR(""), a, &x);
	assert_false(x.suppress);
	explain_reply_at(e, STR("554 5.7.1 blocked using dnsbl.example"), STR(""), EXPLAIN_STAGE_CONNECT,
			 a, &x);
	assert_int_equal(EXPLAIN_MESSAGE_RETRY, x.message);
	explain_reply(e, STR("550 a\x1b[31mb\r\n550 c\xff\xe2\x80\xae"), STR(""), a, &x);
	assert_false(str_has_ctl(x.reply));
	/* EUC-KR, as old servers send it: 550 없는 계정 */
	explain_reply(e, STR("550 \xbe\xf8\xb4\xc2 \xb0\xe8\xc1\xa4\xc0\xd4\xb4\xcf\xb4\xd9"), STR(""), a,
		      &x);
	assert_str("cp949", x.rule, STR("KO-02"));
}

static void test_printed(void **state)
{
	static const char *const want[][3] = {
		{"Naver blocked this sending IP", "Ask Naver customer centre", "waits for 1 hour"},
		{"blocked this sending IP at connection time", "temporary", "keeps the message"},
		{"Daum refuses connections from this IP", "goes slower", "Kakao/Daum mail customer centre"},
		{"too many messages from this sender domain", "permanent", "mail of the sender's domain"},
		{"544: Not a standard code", "check.spamhaus.org", "gives up and returns"},
	};
	static const char *const want_ko[][3] = {
		{"네이버가 이 발송 IP를 차단", "네이버 고객센터", "1시간, 이어서"},
		{"접속 단계에서 이 발송 IP를 차단", "일시적", "다시 시도합니다"},
		{"다음이 이 IP의 접속을 일시적으로 거부", "접속 수와 속도를 줄입니다", "카카오 메일 고객센터"},
		{"이 발신 도메인의 발송 건수", "영구적", "이 발신 도메인에서"},
		{"544: 표준이 아닌 코드", "spam.kisa.or.kr", "돌려보냅니다"},
	};
	EXPLAIN_SCOPED e = load();
	for (size_t i = 0; i < 5; i++) {
		ARENA_SCOPED a = arena_new();
		BUF_SCOPED en = {0}, ko = {0};
		struct explain_report r;
		explain_paste(e, str_of(cases[i].reply), a, &r);
		assert_int_equal(EXPLAIN_PASTE_REPLY, r.kind);
		assert_true(r.n == 1 && r.items[0].recipients.n == 0);
		explain_print(&en, &r, false);
		explain_print(&ko, &r, true);
		for (size_t k = 0; k < 3; k++) {
			assert_case(want[i][k], str_find(buf_str(&en), str_of(want[i][k])) != STR_NPOS);
			assert_case(want_ko[i][k], str_find(buf_str(&ko), str_of(want_ko[i][k])) != STR_NPOS);
		}
	}
}

struct item_row {
	const char *rule, *recipients, *mta, *action;
	unsigned count;
};
struct file_row {
	const char *name;
	enum explain_paste kind;
	struct item_row items[10]; /* up to one without rule */
};
static const struct file_row files[] = {
	{"rfc3464.eml",
	 EXPLAIN_PASTE_BOUNCE,
	 {{"G-02", "kim@gmail.com", "gmail-smtp-in.l.google.com", "failed", 1},
	  {"NAVER-01", "lee@naver.com, park@naver.com", "mx1.naver.com", "delayed", 2}}},
	{"qmail.eml",
	 EXPLAIN_PASTE_BOUNCE,
	 {{"GEN-18", "kim@example.org", "", "failed", 1},
	  {"GEN-30", "lee@example.org", "", "failed", 1},
	  {"GEN-32", "park@exmaple.invalid", "", "failed", 1}}},
	{"exim.eml",
	 EXPLAIN_PASTE_BOUNCE,
	 {{"DAUM-05", "someone@hanmail.net", "mx1.hanmail.net", "failed", 1}}},
	{"sendmail.eml",
	 EXPLAIN_PASTE_BOUNCE,
	 {{"GEN-18", "nobody@example.org", "", "failed", 3},
	  {"GEN-16", "full@example.org", "", "failed", 2}}},
	{"exchange.eml", EXPLAIN_PASTE_BOUNCE, {{"MS-37", "nobody@example.org", "", "failed", 1}}},
	{"portal.eml", EXPLAIN_PASTE_BOUNCE, {{"KO-04", "someone@portal.example", "", "failed", 1}}},
	{"letter.eml", EXPLAIN_PASTE_BOUNCE, {{NULL}}},
	{"status.txt",
	 EXPLAIN_PASTE_BOUNCE,
	 {{"MS-36", "kim@example.org", "mx.example.org", "failed", 1}}},
	{"wrapped.txt", EXPLAIN_PASTE_REPLY, {{"G-02", "", "", "", 1}}},
	{"maillog.txt",
	 EXPLAIN_PASTE_LOG,
	 {{"NAVER-02", "a@naver.com, b@naver.com", "mx1.naver.com", "", 2},
	  {"GEN-25", "c@example.net", "mx.example.net", "", 1},
	  {"G-34", "d@gmail.com", "gmail-smtp-in.l.google.com", "", 1},
	  {"SH-05", "e@example.org", "mx.example.org", "", 1},
	  {"GEN-18", "", "", "", 1},
	  {"DAUM-02", "f@hanmail.net", "", "", 1},
	  {"GEN-18", "g@example.com", "", "", 1}}},
};

static void check_file(const struct explain *e, const struct file_row *file)
{
	ARENA_SCOPED a = arena_new();
	BUF_SCOPED text = {0}, json = {0};
	JSON_DOC_SCOPED doc = NULL;
	struct err err = {0};
	struct explain_report r;
	struct json_writer w;
	size_t n = 0;
	const char *path = arena_cstr(a, arena_fmt(a, "tests/explain/%s", file->name));
	if (!file_read_whole(AT_FDCWD, path, 1 << 20, &text, &err))
		fail_msg("%s: %s", path, err.cause);
	explain_paste(e, buf_str(&text), a, &r);
	assert_case(file->name, r.kind == file->kind);
	for (; file->items[n].rule; n++) {
		const struct item_row *want = &file->items[n];
		assert_case(file->name, n < r.n);
		assert_str(file->name, r.items[n].why.rule, str_of(want->rule));
		assert_str(file->name, r.items[n].recipients, str_of(want->recipients));
		assert_str(file->name, r.items[n].remote_mta, str_of(want->mta));
		assert_str(file->name, r.items[n].action, str_of(want->action));
		assert_case(file->name, r.items[n].count == want->count);
		if (str_eq(r.items[n].action, STR("failed")))
			assert_case(file->name, r.items[n].why.message == EXPLAIN_MESSAGE_GIVE_UP);
	}
	assert_case(file->name, r.n == n);
	json_write_init(&w, &json);
	explain_write_json(&w, &r);
	if (!json_doc_parse(buf_str(&json), 1 << 20, &doc, &err))
		fail_msg("%s: %s", file->name, err.text);
	assert_case(file->name, json_value_count(json_value_member(json_doc_root(doc), "items")) == n);
}

static void test_files(void **state)
{
	EXPLAIN_SCOPED e = load();
	for (size_t i = 0; i < sizeof files / sizeof *files; i++)
		check_file(e, &files[i]);
}

static void test_report_fields(void **state)
{
	EXPLAIN_SCOPED e = load();
	ARENA_SCOPED a = arena_new();
	BUF_SCOPED text = {0};
	struct err err = {0};
	struct explain_report r;
	assert_true(file_read_whole(AT_FDCWD, "tests/explain/rfc3464.eml", 1 << 20, &text, &err));
	explain_paste(e, buf_str(&text), a, &r);
	assert_str("subject", r.subject, STR("견적서"));
	assert_str("reporting", r.reporting_mta, STR("mail.example.com"));
	assert_str("arrival", r.arrival, STR("Tue, 24 Nov 2026 10:00:00 +0900"));
}

/* More kinds than are kept, and lines without end. */
static void test_limits(void **state)
{
	EXPLAIN_SCOPED e = load();
	ARENA_SCOPED a = arena_new();
	BUF_SCOPED log = {0};
	struct explain_report r;
	for (unsigned i = 0; i < EXPLAIN_ITEMS_MAX + 50; i++)
		buf_fmt(&log, "550 5.7.%u xyzzy\n", 100 + i);
	explain_paste(e, buf_str(&log), a, &r);
	assert_int_equal(EXPLAIN_ITEMS_MAX, r.n);
	assert_int_equal(50, r.more);
	buf_clear(&log);
	for (unsigned i = 0; i < 300000; i++)
		buf_add(&log, STR("550-"));
	explain_paste(e, buf_str(&log), a, &r);
	assert_int_equal(1, r.n);
	assert_true(r.items[0].why.reply.n <= EXPLAIN_TEXT_MAX);
	buf_clear(&log);
	for (unsigned i = 0; i < 300000; i++)
		buf_add(&log, STR("550-x\n"));
	explain_paste(e, buf_str(&log), a, &r);
	assert_int_equal(1, r.n);
}

static void test_table_errors(void **state)
{
	static const struct { const char *table, *want;
	} bad[] = {
		{"nonsense\tx\n", "line 1: type: \"nonsense\" is not known"},
		{"# c\n\nadvice\tR-X\t\t\t\t\t\t\tonly English\n",
		 "line 3: en and ko must both say something"},
		{"advice\t\t\t\t\t\t\t\ta\tb\n", "line 1: id: missing"},
		{"code\t550\t\t\tgrief\tperm\tbounce\t\ta\tb\n", "line 1: cause: \"grief\" is not known"},
		{"code\t50\t\t\tnone\tperm\tbounce\t\ta\tb\n",
		 "line 1: id: wants a reply code, 200 to 599"},
		{"code\t550\t\t\tnone\tperm\tbounce\t\ta\tb\tR-X\n",
		 "line 1: advice: no row \"R-X\" above"},
		{"status\t5.1.1\t\t\tnone\tperm\tbounce\t\ta\tb\n", "line 1: id: wants X.subject.detail"},
		{"reply\tA\t-\t(\tnone\tperm\tbounce\t\ta\tb\n", "line 1: match: ( without )"},
		{"reply\tA\tB\tx\tnone\tperm\tbounce\t\ta\tb\n", "line 1: provider: no row \"B\" above"},
		{"host\tA\t-\tx\tnone\tperm\tbounce\t\ta\tb\n", "line 1: provider: no row \"-\" above"},
		{"provider\tA\tshop\t\t\t\t\t\ta\tb\n",
		 "line 1: provider: wants mailbox, gateway or list"},
		{"code\t550\t\t\tnone\tperm\tbounce\t\ta\tb\ncode\t550\t\t\tnone\tperm\tbounce\t\ta\tb\n",
		 "line 2: id: \"550\" is there already"},
		{"\xff\n", "the table is not UTF-8"},
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct err err = {0};
		struct explain *e;
		assert_case(bad[i].want, !explain_parse(str_of(bad[i].table), &e, &err));
		assert_str("table", str_of(err.text), str_of(bad[i].want));
	}
}

/* An administrator's own row comes first where it stands first. */
static void test_own_table(void **state)
{
	static const char table[] =
		"type\tid\tprovider\n"
		"provider\tUs\tmailbox\t.example.com example.com\t\t\t\t\tOurs\t우리\r\n"
		"host\tU-1\tUs\tgo away\tpolicy\tperm\tbounce\trecipient\tWe say no.\t거절합니다.\n";
	ARENA_SCOPED a = arena_new();
	struct err err = {0};
	EXPLAIN_SCOPED e = NULL;
	struct explanation x;
	assert_true(explain_parse(str_of(table), &e, &err));
	explain_reply(e, STR("550 Go away"), STR("mx.example.com"), a, &x);
	assert_str("own", x.meaning.ko, STR("거절합니다."));
	assert_str("own", x.provider.ko, STR("우리"));
	explain_reply(e, STR("550 Go away"), STR("mx.example.org"), a, &x);
	assert_int_equal(EXPLAIN_BY_NOTHING, x.basis);
	assert_int_equal(EXPLAIN_MESSAGE_GIVE_UP, x.message);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_examples),      cmocka_unit_test(test_registry),
		cmocka_unit_test(test_replies),       cmocka_unit_test(test_details),
		cmocka_unit_test(test_printed),       cmocka_unit_test(test_files),
		cmocka_unit_test(test_report_fields), cmocka_unit_test(test_limits),
		cmocka_unit_test(test_table_errors),  cmocka_unit_test(test_own_table),
	};
	return RUN_TESTS(tests);
}
