/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* pabal queue: list, show, status, and what is to become of mail that waits. */
#include "cli/cli.h"
#include "cli/ask.h"
#include "cli/control.h"
#include "cli/table.h"
#include "config/config.h"
#include "mail/date.h"

static void cell_member(struct table *t, const struct json_value *m, const char *name)
{
	table_cell(t, json_value_str_or(json_value_member(m, name), STR_NONE));
}

static void print_age(struct table *t, int64_t seconds)
{
	if (seconds < 120)
		table_cell_fmt(t, "%llds", (long long)seconds);
	else if (seconds < 7200)
		table_cell_fmt(t, "%lldm", (long long)seconds / 60);
	else
		table_cell_fmt(t, "%lldh", (long long)seconds / 3600);
}

static void print_messages(struct cli *cli, const struct json_value *root)
{
	const struct json_value *list = json_value_member(root, "messages");
	int64_t now = json_value_int_or(json_value_member(root, "now"), 0);
	struct table *t = table_new(cli->arena, cli_text(cli, "ID|STATE|>SIZE|>AGE|FROM|TO|REASON",
							 "ID|상태|>크기|>경과|보낸 이|받는 이|이유"));
	for (size_t i = 0; i < json_value_count(list); i++) {
		const struct json_value *m = json_value_item(list, i);
		cell_member(t, m, "id");
		cell_member(t, m, "state");
		table_cell_fmt(t, "%lld", (long long)json_value_int_or(json_value_member(m, "size"), 0));
		print_age(t, now - json_value_int_or(json_value_member(m, "received"), now));
		cell_member(t, m, "sender");
		cell_member(t, m, "recipient");
		cell_member(t, m, "reason");
	}
	table_print(t, &cli->out);
}

static void print_history(struct cli *cli, const struct json_value *list, int64_t now)
{
	if (!json_value_count(list))
		return;
	struct table *t = table_new(cli->arena, cli_text(cli, ">ATTEMPT|>AGO|SERVER|REPLY", ">시도|>경과|서버|응답"));
	for (size_t i = 0; i < json_value_count(list); i++) {
		const struct json_value *m = json_value_item(list, i);
		table_cell_fmt(t, "%lld", (long long)json_value_int_or(json_value_member(m, "attempt"), 0));
		print_age(t, now - json_value_int_or(json_value_member(m, "at"), now));
		cell_member(t, m, "server");
		cell_member(t, m, "reply");
	}
	cli_print(cli, "\n");
	table_print(t, &cli->out);
}

static int show(struct cli *cli, struct str request, const char *none_en, const char *none_ko,
		int none_code)
{
	JSON_DOC_SCOPED doc = NULL;
	int code = cli_role(cli, "queue", request, &doc);
	if (code)
		return code;
	const struct json_value *root = json_doc_root(doc);
	bool none = json_value_count(json_value_member(root, "messages")) == 0;
	if (cli->json)
		json_value_print(root, &cli->out);
	else if (!none)
		print_messages(cli, root);
	if (!cli->json)
		print_history(cli, json_value_member(root, "history"),
			      json_value_int_or(json_value_member(root, "now"), 0));
	if (none && none_code)
		return cli_fail(cli, none_code, "%s", cli_text(cli, none_en, none_ko));
	if (none && !cli->json)
		cli_print(cli, "%s\n", cli_text(cli, none_en, none_ko));
	return CLI_OK;
}

/* What the command line says of which mail is meant. False: a time that is none. */
static bool write_filter(struct cli *cli, struct json_writer *w, int *out_code)
{
	static const char *const texts[] = {"sender", "recipient", "domain", "state", "reply"};
	static const char *const times[] = {"older", "newer"};
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		struct str option = arena_fmt(cli->arena, "--%s%c", texts[i], 0);
		if (cli_has(cli, option.p))
			json_write_member_str(w, texts[i], cli_option(cli, option.p));
	}
	for (size_t i = 0; i < 2; i++) {
		struct str option = arena_fmt(cli->arena, "--%s%c", times[i], 0);
		int64_t ms;
		if (!cli_has(cli, option.p))
			continue;
		if (!config_parse_duration(cli_option(cli, option.p), &ms) || ms < 1000) {
			*out_code = cli_usage(cli, cli_text(cli, "%s wants a time such as 30m, 2h, 3d",
							    "%s에는 30m, 2h, 3d 같은 시간이 필요합니다"), option.p);
			return false;
		}
		json_write_member_int(w, times[i], ms / 1000);
	}
	return true;
}

int cmd_queue_list(struct cli *cli);
int cmd_queue_list(struct cli *cli)
{
	BUF_SCOPED request = {0};
	struct json_writer w;
	int64_t limit;
	int code = 0;
	if (!cli_number(cli, "--limit", -1, &limit, &code))
		return code;
	json_write_init(&w, &request);
	json_write_object_begin(&w);
	json_write_member_cstr(&w, "verb", "queue.list");
	if (limit >= 0)
		json_write_member_int(&w, "limit", limit);
	if (!write_filter(cli, &w, &code))
		return code;
	json_write_object_end(&w);
	bool filtered = cli->noptions > 0;
	return show(cli, buf_str(&request), filtered ? "Nothing in the queue fits." : "The queue is empty.",
		    filtered ? "대기열에 해당하는 메일이 없습니다." : "대기열이 비어 있습니다.", 0);
}

static void print_top(struct cli *cli, const struct json_value *list, const char *head, int64_t now)
{
	struct table *t = table_new(cli->arena, head);
	for (size_t i = 0; i < json_value_count(list); i++) {
		const struct json_value *m = json_value_item(list, i);
		cell_member(t, m, "name");
		table_cell_fmt(t, "%lld", (long long)json_value_int_or(json_value_member(m, "waiting"), 0));
		table_cell_fmt(t, "%lld", (long long)json_value_int_or(json_value_member(m, "bytes"), 0));
		print_age(t, now - json_value_int_or(json_value_member(m, "oldest"), now));
	}
	table_print(t, &cli->out);
}

int cmd_queue_top(struct cli *cli);
int cmd_queue_top(struct cli *cli)
{
	JSON_DOC_SCOPED doc = NULL;
	int code = cli_role(cli, "queue", STR("{\"verb\":\"queue.top\"}"), &doc);
	if (code)
		return code;
	const struct json_value *root = json_doc_root(doc);
	int64_t now = json_value_int_or(json_value_member(root, "now"), 0);
	if (cli->json) {
		json_value_print(root, &cli->out);
		return CLI_OK;
	}
	print_top(cli, json_value_member(root, "senders"),
		  cli_text(cli, "SENDER|>WAITING|>BYTES|>OLDEST", "보낸 이|>대기|>바이트|>가장 오래됨"), now);
	cli_print(cli, "\n");
	print_top(cli, json_value_member(root, "domains"),
		  cli_text(cli, "DOMAIN|>WAITING|>BYTES|>OLDEST", "도메인|>대기|>바이트|>가장 오래됨"), now);
	return CLI_OK;
}

int cmd_queue_show(struct cli *cli);
int cmd_queue_show(struct cli *cli)
{
	BUF_SCOPED request = {0};
	struct json_writer w;
	json_write_init(&w, &request);
	json_write_object_begin(&w);
	json_write_member_cstr(&w, "verb", "queue.show");
	json_write_member_str(&w, "id", cli_arg(cli, 0));
	json_write_object_end(&w);
	return show(cli, buf_str(&request), "no such message in the queue",
		    "대기열에 그런 메일이 없습니다", CLI_NOT_FOUND);
}

/* ---- retry, hold, release, bounce, remove -------------------------------------------------- */

struct deed {
	const char *verb;
	const char *ask_en, *ask_ko;   /* with the number of messages */
	const char *done_en, *done_ko;
};

static int deed_request(struct cli *cli, const struct deed *d, bool only_count, struct buf *out)
{
	struct json_writer w;
	int code = 0;
	buf_clear(out);
	json_write_init(&w, out);
	json_write_object_begin(&w);
	json_write_member_cstr(&w, "verb", d->verb);
	json_write_member_bool(&w, "count_only", only_count);
	json_write_member_bool(&w, "all", cli_has(cli, "--all"));
	if (cli_arg(cli, 0).p)
		json_write_member_str(&w, "id", cli_arg(cli, 0));
	if (write_filter(cli, &w, &code))
		json_write_object_end(&w);
	return code;
}

static long long number(const struct json_doc *doc, const char *name)
{
	return (long long)json_value_int_or(json_value_member(json_doc_root(doc), name), 0);
}

static int deed(struct cli *cli, const struct deed *d)
{
	BUF_SCOPED request = {0};
	JSON_DOC_SCOPED counted = NULL;
	JSON_DOC_SCOPED done = NULL;
	if (!cli_arg(cli, 0).p && cli->noptions - (cli_has(cli, "--yes") ? 1 : 0) == 0)
		return cli_usage(
			cli, "%s",
			cli_text(cli,
				 "name an ID, --sender, --recipient, --domain, --older, --state, --reply "
				 "or --all",
				 "ID, --sender, --recipient, --domain, --all 중 하나를 지정하십시오"));
	int code = deed_request(cli, d, true, &request);
	if (!code)
		code = cli_role(cli, "queue", buf_str(&request), &counted);
	if (code)
		return code;
	if (number(counted, "matched") == 0)
		return cli_fail(cli, CLI_NOT_FOUND, "%s",
				number(counted, "busy")
					? cli_text(cli, "that mail is being sent just now", "지금 보내는 중인 메일입니다")
					: cli_text(cli, "nothing in the queue fits", "대기열에 해당하는 메일이 없습니다"));
	struct str question = arena_fmt(cli->arena, "%lld %s%c", number(counted, "matched"),
					cli->korean ? d->ask_ko : d->ask_en, 0);
	if (!cli_confirm(cli, question.p))
		return CLI_USAGE;
	code = deed_request(cli, d, false, &request);
	if (!code)
		code = cli_role(cli, "queue", buf_str(&request), &done);
	if (code)
		return code;
	if (cli->json)
		json_value_print(json_doc_root(done), &cli->out);
	else
		cli_print(cli, "%lld %s\n", number(done, "changed"), cli->korean ? d->done_ko : d->done_en);
	return CLI_OK;
}

#define DEED(name, ask_en, ask_ko, done_en, done_ko) \
	int cmd_queue_##name(struct cli *cli); \
	int cmd_queue_##name(struct cli *cli) \
	{ \
		return deed(cli, &(struct deed){"queue." #name, ask_en, ask_ko, done_en, done_ko}); \
	}
DEED(retry, "entries of the queue: try them now?", "건을 지금 다시 보낼까요?", "tried again", "건을 다시 보냅니다")
DEED(hold, "entries of the queue: hold them?", "건을 보류할까요?", "held", "건을 보류했습니다")
DEED(release, "entries of the queue: release them?", "건의 보류를 풀까요?", "released", "건의 보류를 풀었습니다")
DEED(bounce, "entries of the queue: return them to their senders?", "건을 보낸 이에게 돌려보낼까요?", "returned",
     "건을 돌려보냈습니다")
DEED(remove, "entries of the queue: delete them for good?", "건을 완전히 지울까요?", "removed", "건을 지웠습니다")

/* ---- hold-rule, brake ----------------------------------------------------------------------- */

static int rule(struct cli *cli, const char *verb, struct str kind, struct str value, struct json_doc **out)
{
	BUF_SCOPED request = {0};
	struct json_writer w;
	json_write_init(&w, &request);
	json_write_object_begin(&w);
	json_write_member_cstr(&w, "verb", verb);
	json_write_member_str(&w, "kind", kind);
	json_write_member_str(&w, "value", value);
	json_write_object_end(&w);
	return cli_role(cli, "queue", buf_str(&request), out);
}

static int rule_and_list(struct cli *cli, const char *verb)
{
	JSON_DOC_SCOPED doc = NULL;
	int code = rule(cli, verb, cli_arg(cli, 0), cli_arg(cli, 1), &doc);
	if (code)
		return code;
	const struct json_value *root = json_doc_root(doc), *list = json_value_member(root, "rules");
	if (cli->json) {
		json_value_print(root, &cli->out);
		return CLI_OK;
	}
	if (!json_value_count(list))
		cli_print(cli, "%s\n", cli_text(cli, "No rule holds mail.", "메일을 보류하는 규칙이 없습니다."));
	struct table *t = table_new(cli->arena, cli_text(cli, "KIND|VALUE|>AGE|WHY", "종류|값|>경과|이유"));
	for (size_t i = 0; i < json_value_count(list); i++) {
		const struct json_value *m = json_value_item(list, i);
		cell_member(t, m, "kind");
		cell_member(t, m, "value");
		print_age(t, json_value_int_or(json_value_member(root, "now"), 0) -
				     json_value_int_or(json_value_member(m, "since"), 0));
		cell_member(t, m, "why");
	}
	if (json_value_count(list))
		table_print(t, &cli->out);
	return CLI_OK;
}

int cmd_queue_hold_rule_add(struct cli *cli)
{
	return rule_and_list(cli, "queue.rule_add");
}

int cmd_queue_hold_rule_list(struct cli *cli)
{
	return rule_and_list(cli, "queue.rule_list");
}

int cmd_queue_hold_rule_remove(struct cli *cli)
{
	return rule_and_list(cli, "queue.rule_remove");
}

/* What the account's rule has held: the reason says so. */
static int held_of(struct cli *cli, const char *verb, struct str account, long long *out_n)
{
	BUF_SCOPED request = {0};
	JSON_DOC_SCOPED doc = NULL;
	struct json_writer w;
	json_write_init(&w, &request);
	json_write_object_begin(&w);
	json_write_member_cstr(&w, "verb", verb);
	json_write_member_cstr(&w, "state", "held");
	json_write_member_str(&w, "reply", arena_fmt(cli->arena, "held: account %.*s:", STR_ARG(account)));
	json_write_object_end(&w);
	int code = cli_role(cli, "queue", buf_str(&request), &doc);
	*out_n = code ? 0 : number(doc, "changed");
	return code;
}

static int brake(struct cli *cli, bool release)
{
	JSON_DOC_SCOPED doc = NULL;
	struct str account = cli_arg(cli, 0);
	long long n = 0;
	int code = 0;
	if (!cli_confirm(cli, release ? cli_text(cli, "Let the account send again?",
						 "이 계정의 발송을 다시 허용할까요?")
				      : cli_text(cli, "Drop what the account had sent?",
						 "이 계정이 보낸 메일을 버릴까요?")))
		return CLI_USAGE;
	if (release)
		code = rule(cli, "queue.rule_remove", STR("account"), account, &doc);
	if (!code)
		code = held_of(cli, release ? "queue.release" : "queue.remove", account, &n);
	if (code)
		return code;
	if (cli->json) {
		struct json_writer w;
		json_write_init(&w, &cli->out);
		json_write_object_begin(&w);
		json_write_member_bool(&w, "ok", true);
		json_write_member_int(&w, "changed", n);
		json_write_object_end(&w);
		cli_print(cli, "\n");
		return CLI_OK;
	}
	cli_print(cli, "%lld %s\n", n, release ? cli_text(cli, "released", "건의 보류를 풀었습니다")
					       : cli_text(cli, "removed; change the account's password: "
							       "pabal account passwd",
							  "건을 지웠습니다. 계정의 암호를 바꾸십시오: pabal account passwd"));
	return CLI_OK;
}

int cmd_queue_brake_release(struct cli *cli)
{
	return brake(cli, true);
}

int cmd_queue_brake_revoke(struct cli *cli)
{
	return brake(cli, false);
}

/* ---- status -------------------------------------------------------------------------------- */

static void cell_int(struct table *t, const struct json_value *m, const char *name)
{
	table_cell_fmt(t, "%lld", (long long)json_value_int_or(json_value_member(m, name), 0));
}

static void cell_span(struct table *t, int64_t seconds)
{
	if (seconds <= 0)
		table_cell(t, STR("-"));
	else
		print_age(t, seconds);
}

int cmd_queue_status(struct cli *cli);
int cmd_queue_status(struct cli *cli)
{
	JSON_DOC_SCOPED doc = NULL;
	int code = cli_role(cli, "queue", STR("{\"verb\":\"queue.status\"}"), &doc);
	if (code)
		return code;
	const struct json_value *root = json_doc_root(doc);
	if (cli->json) {
		json_value_print(root, &cli->out);
		return CLI_OK;
	}
	const struct json_value *list = json_value_member(root, "destinations");
	int64_t now = json_value_int_or(json_value_member(root, "now"), 0);
	if (json_value_count(list) == 0) {
		cli_print(cli, "%s\n", cli_text(cli, "No mail waits for other servers.",
						"다른 서버로 보낼 대기 메일이 없습니다."));
		return CLI_OK;
	}
	struct table *t =
		table_new(cli->arena, cli_text(cli,
					       "DESTINATION|>WAITING|>HELD|>ACTIVE|>OF|>SPEED|LIMIT|>"
					       "OLDEST|>NEXT TRY|>PAUSED|REASON",
					       "목적지|>대기|>보류|>전송 중|>연결 한도|>속도|제한|>가장 "
					       "오래됨|>다음 시도|>멈춤|이유"));
	for (size_t i = 0; i < json_value_count(list); i++) {
		const struct json_value *m = json_value_item(list, i);
		int64_t oldest = json_value_int_or(json_value_member(m, "oldest"), 0);
		int64_t next = json_value_int_or(json_value_member(m, "next_try"), 0);
		cell_member(t, m, "destination");
		cell_int(t, m, "waiting");
		cell_int(t, m, "held");
		cell_int(t, m, "active");
		cell_int(t, m, "connections");
		table_cell_fmt(t, "%lld%%",
			       (long long)json_value_int_or(json_value_member(m, "speed_percent"), 100));
		cell_member(t, m, "limit");
		cell_span(t, oldest ? now - oldest : 0);
		cell_span(t, next - now);
		cell_span(t, json_value_int_or(json_value_member(m, "paused_until"), 0) - now);
		cell_member(t, m, "reason");
	}
	table_print(t, &cli->out);
	return CLI_OK;
}
