/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Explanations for people and for programs. */
#include "base/buf.h"
#include "explain/explain_int.h"
#include "json/json.h"

struct words_row {
	const char *name, *en, *ko;
};
#define WORDS(id, name, en, ko) {name, en, ko},
static const struct words_row kinds[] = {
#define KIND WORDS
#include "explain/words.def"
};
static const struct words_row causes[] = {
#define CAUSE WORDS
#include "explain/words.def"
};
static const struct words_row faults[] = {
#define FAULT WORDS
#include "explain/words.def"
};
static const struct words_row messages[] = {
#define MESSAGE WORDS
#include "explain/words.def"
};
static const struct words_row destinations[] = {
#define DESTINATION WORDS
#include "explain/words.def"
};
static const struct words_row turns[] = {
#define TURN WORDS
#include "explain/words.def"
};

const char *explain_kind_name(enum explain_kind k)
{
	return kinds[k].name;
}

const char *explain_cause_name(enum explain_cause c)
{
	return causes[c].name;
}

const char *explain_fault_name(enum explain_fault f)
{
	return faults[f].name;
}

const char *explain_message_name(enum explain_message m)
{
	return messages[m].name;
}

const char *explain_destination_name(enum explain_destination d)
{
	return destinations[d].name;
}

static const char *pick(const struct words_row *row, bool korean)
{
	return korean ? row->ko : row->en;
}

static struct str pick_words(struct explain_words w, bool korean)
{
	return korean ? w.ko : w.en;
}

/* Whose mail a slower rate or a hold concerns. */
static const char *scope(enum explain_fault fault, bool korean)
{
	if (fault == EXPLAIN_FAULT_SENDER_DOMAIN)
		return korean ? "이 발신 도메인에서 이 수신처로 가는 메일은" : "mail of the sender's domain";
	if (fault == EXPLAIN_FAULT_SENDER)
		return korean ? "이 발신 계정에서 이 수신처로 가는 메일은" : "mail of this account";
	return korean ? "이 수신처로 가는 메일은" : "mail";
}

void explain_deed(struct buf *out, const struct explanation *x, bool korean)
{
	buf_add(out, str_of(pick(&messages[x->message], korean)));
	if (x->destination != EXPLAIN_DESTINATION_FREE)
		buf_fmt(out, "%s%s%s", korean ? ". " : "; ", scope(x->fault, korean),
			pick(&destinations[x->destination], korean));
	if (x->destination != EXPLAIN_DESTINATION_HOLD && x->alert)
		buf_add(out, korean ? STR(". 관리자에게 알립니다") : STR("; the administrator is told"));
}

/* For people ------------------------------------------------------------------------------ */

struct printer {
	struct buf *out;
	bool korean;
};

/* Labels are padded to one column; a Hangul syllable is three octets and two columns wide. */
static void label(struct printer *p, const char *en, const char *ko)
{
	enum { WIDTH = 14 };
	struct str s = str_of(p->korean ? ko : en);
	size_t width = 0;
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		width += c < 0x80 ? 1 : c >= 0xe0 ? 2 : 0;
	}
	buf_add(p->out, s);
	for (; width < WIDTH; width++)
		buf_byte(p->out, ' ');
}

static void line(struct printer *p, const char *en, const char *ko, struct str text)
{
	if (text.n == 0)
		return;
	label(p, en, ko);
	buf_add(p->out, text);
	buf_byte(p->out, '\n');
}

static void print_meaning(struct printer *p, const struct explanation *x)
{
	struct str meaning = pick_words(x->meaning, p->korean);
	label(p, "Meaning", "뜻");
	buf_add(p->out, meaning);
	if (x->assumed)
		buf_add(p->out, p->korean ? STR(" (문서로 확인되지 않은 추정)") : STR(" (likely; not documented)"));
	buf_byte(p->out, '\n');
}

static void print_codes(struct printer *p, const struct explanation *x)
{
	if (x->code) {
		label(p, "Reply code", "응답 코드");
		struct str text = pick_words(x->code_meaning, p->korean);
		buf_fmt(p->out, "%u%s%.*s\n", x->code, text.n ? ": " : "", STR_ARG(text));
	}
	if (x->status.class) {
		label(p, "Status code", "상태 코드");
		status_format(p->out, x->status);
		struct str text = pick_words(x->status_meaning, p->korean);
		buf_fmt(p->out, "%s%.*s\n", text.n ? ": " : "", STR_ARG(text));
	}
}

/* Basic and enhanced code that contradict each other (facts 2.2): said, since it puzzles people. */
static void print_kind(struct printer *p, const struct explanation *x)
{
	label(p, "Kind", "종류");
	buf_add(p->out, str_of(pick(&kinds[x->kind], p->korean)));
	if (x->code && x->status.class && x->code / 100 != x->status.class)
		buf_fmt(p->out, p->korean ? " (상태 코드와 응답 코드가 다르면 응답 코드 %u을(를) 따릅니다)"
					  : " (the two codes differ; the reply code %u counts)",
			x->code);
	buf_byte(p->out, '\n');
}

static void print_advice(struct printer *p, const struct explanation *x)
{
	for (size_t i = 0; i < x->advice_n; i++) {
		label(p, i ? "" : "What to do", i ? "" : "조치");
		if (x->advice_n > 1)
			buf_fmt(p->out, "%zu. ", i + 1);
		buf_add(p->out, pick_words(x->advice[i]->text, p->korean));
		buf_byte(p->out, '\n');
	}
}

static void print_links(struct printer *p, const struct explanation *x)
{
	for (size_t i = 0; i < x->link_n; i++) {
		if (i == 0)
			label(p, "It names", "안내처");
		buf_fmt(p->out, "%s%.*s", i ? ", " : "", STR_ARG(x->links[i]));
	}
	if (x->link_n)
		buf_byte(p->out, '\n');
}

static void print_who(struct printer *p, const struct explanation *x)
{
	struct str provider = pick_words(x->provider, p->korean), host = pick_words(x->host, p->korean);
	if (provider.n == 0)
		return;
	label(p, "Who says so", "응답한 곳");
	buf_add(p->out, provider);
	if (host.n > 0 && !str_eq(host, provider))
		buf_fmt(p->out, p->korean ? " (%.*s 서버)" : " (a server of %.*s)", STR_ARG(host));
	buf_byte(p->out, '\n');
}

static void print_explanation(struct printer *p, const struct explanation *x)
{
	print_meaning(p, x);
	print_who(p, x);
	print_codes(p, x);
	print_kind(p, x);
	if (x->cause != EXPLAIN_CAUSE_NONE) {
		line(p, "Cause", "원인", str_of(pick(&causes[x->cause], p->korean)));
		line(p, "Fault", "문제의 위치", str_of(pick(&faults[x->fault], p->korean)));
	}
	line(p, "IP address", "IP 주소", x->ip);
	line(p, "Whose turn", "처리할 사람", str_of(pick(&turns[x->turn], p->korean)));
	label(p, "pabal", "pabal의 처리");
	explain_deed(p->out, x, p->korean);
	buf_byte(p->out, '\n');
	print_advice(p, x);
	line(p, "It demands", "요구 조건", pick_words(x->needs, p->korean));
	print_links(p, x);
}

static struct str action_text(struct str action, bool korean)
{
	static const struct words_row actions[] = {
		{"failed", "failed", "실패"}, {"delayed", "delayed", "지연"}, {"delivered", "delivered", "배달됨"},
		{"relayed", "relayed", "다음 서버로 전달됨"}, {"expanded", "expanded", "목록으로 전달됨"},
	};
	for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) {
		if (str_eq(action, str_of(actions[i].name)))
			return str_of(pick(&actions[i], korean));
	}
	return action;
}

static void print_item(struct printer *p, const struct explain_item *item, bool counted)
{
	line(p, "Recipient", "받는 사람", item->recipients);
	line(p, "Server", "상대 서버", item->remote_mta);
	line(p, "Action", "결과", action_text(item->action, p->korean));
	if (counted && item->count > 1) {
		label(p, "Seen", "횟수");
		buf_fmt(p->out, p->korean ? "%llu번\n" : "%llu times\n", (unsigned long long)item->count);
	}
	line(p, "Reply", "응답", item->why.reply);
	print_explanation(p, &item->why);
}

void explain_print(struct buf *out, const struct explain_report *report, bool korean)
{
	struct printer p = {out, korean};
	line(&p, "Returned", "돌아온 메일", report->subject);
	line(&p, "Reported by", "알린 서버", report->reporting_mta);
	line(&p, "Sent", "보낸 때", report->arrival);
	if (report->subject.n || report->reporting_mta.n || report->arrival.n)
		buf_byte(out, '\n');
	for (size_t i = 0; i < report->n; i++) {
		if (i > 0)
			buf_byte(out, '\n');
		print_item(&p, &report->items[i], report->kind == EXPLAIN_PASTE_LOG);
	}
	if (report->more)
		buf_fmt(out, korean ? "\n그 밖에 다른 종류의 응답이 %llu개 더 있습니다.\n"
				    : "\n%llu more replies of other kinds are not shown.\n",
			(unsigned long long)report->more);
}

/* For programs ---------------------------------------------------------------------------- */

static void write_words(struct json_writer *w, const char *name, struct explain_words words)
{
	json_write_name(w, str_of(name));
	if (words.en.n == 0) {
		json_write_null(w);
		return;
	}
	json_write_object_begin(w);
	json_write_member_str(w, "en", words.en);
	json_write_member_str(w, "ko", words.ko);
	json_write_object_end(w);
}

static void write_row(struct json_writer *w, const char *name, const struct words_row *row)
{
	json_write_name(w, str_of(name));
	json_write_object_begin(w);
	json_write_member_cstr(w, "id", row->name);
	json_write_member_cstr(w, "en", row->en);
	json_write_member_cstr(w, "ko", row->ko);
	json_write_object_end(w);
}

static void write_codes(struct json_writer *w, const struct explanation *x)
{
	BUF_SCOPED status = {0};
	json_write_name(w, STR("code"));
	if (x->code)
		json_write_int(w, x->code);
	else
		json_write_null(w);
	json_write_name(w, STR("status"));
	if (x->status.class) {
		status_format(&status, x->status);
		json_write_str(w, buf_str(&status));
	} else {
		json_write_null(w);
	}
	write_words(w, "code_meaning", x->code_meaning);
	write_words(w, "status_meaning", x->status_meaning);
}

static void write_deed(struct json_writer *w, const struct explanation *x)
{
	BUF_SCOPED en = {0}, ko = {0};
	explain_deed(&en, x, false);
	explain_deed(&ko, x, true);
	json_write_name(w, STR("pabal"));
	json_write_object_begin(w);
	json_write_member_cstr(w, "message", messages[x->message].name);
	json_write_member_cstr(w, "destination", destinations[x->destination].name);
	json_write_member_bool(w, "suppress", x->suppress);
	json_write_member_bool(w, "alert", x->alert);
	json_write_member_str(w, "en", buf_str(&en));
	json_write_member_str(w, "ko", buf_str(&ko));
	json_write_object_end(w);
}

static void write_advice(struct json_writer *w, const struct explain_advice *const *advice, size_t n)
{
	json_write_name(w, STR("advice"));
	json_write_array_begin(w);
	for (size_t i = 0; i < n; i++) {
		json_write_object_begin(w);
		json_write_member_str(w, "id", advice[i]->id);
		json_write_member_str(w, "en", advice[i]->text.en);
		json_write_member_str(w, "ko", advice[i]->text.ko);
		json_write_object_end(w);
	}
	json_write_array_end(w);
}

static const char *basis_name(enum explain_basis basis)
{
	switch (basis) {
	case EXPLAIN_BY_NOTHING:
		return "nothing";
	case EXPLAIN_BY_CODE:
		return "code";
	case EXPLAIN_BY_STATUS:
		return "status";
	case EXPLAIN_BY_WORDING:
		return "wording";
	}
	return "nothing";
}

void explanation_write_json(struct json_writer *w, const struct explanation *x)
{
	json_write_object_begin(w);
	json_write_member_str(w, "reply", x->reply);
	json_write_member_cstr(w, "basis", basis_name(x->basis));
	json_write_member_str(w, "rule", x->rule);
	write_codes(w, x);
	write_row(w, "kind", &kinds[x->kind]);
	write_words(w, "provider", x->provider);
	write_words(w, "host_provider", x->host);
	write_words(w, "meaning", x->meaning);
	json_write_member_bool(w, "assumed", x->assumed);
	write_row(w, "cause", &causes[x->cause]);
	write_row(w, "fault", &faults[x->fault]);
	write_row(w, "turn", &turns[x->turn]);
	write_deed(w, x);
	write_advice(w, x->advice, x->advice_n);
	write_words(w, "needs", x->needs);
	json_write_member_str(w, "ip", x->ip);
	json_write_name(w, STR("links"));
	json_write_array_begin(w);
	for (size_t i = 0; i < x->link_n; i++)
		json_write_str(w, x->links[i]);
	json_write_array_end(w);
	json_write_object_end(w);
}

void explain_write_json(struct json_writer *w, const struct explain_report *report)
{
	static const char *const names[] = {"reply", "log", "bounce"};
	json_write_object_begin(w);
	json_write_member_cstr(w, "kind", names[report->kind]);
	json_write_member_str(w, "subject", report->subject);
	json_write_member_str(w, "reporting_mta", report->reporting_mta);
	json_write_member_str(w, "arrival", report->arrival);
	json_write_member_int(w, "lines", (int64_t)report->lines);
	json_write_member_int(w, "more", (int64_t)report->more);
	json_write_name(w, STR("items"));
	json_write_array_begin(w);
	for (size_t i = 0; i < report->n; i++) {
		const struct explain_item *item = &report->items[i];
		json_write_object_begin(w);
		json_write_member_int(w, "count", (int64_t)item->count);
		json_write_member_str(w, "recipients", item->recipients);
		json_write_member_str(w, "remote_mta", item->remote_mta);
		json_write_member_str(w, "action", item->action);
		json_write_name(w, STR("explanation"));
		explanation_write_json(w, &item->why);
		json_write_object_end(w);
	}
	json_write_array_end(w);
	json_write_object_end(w);
}
