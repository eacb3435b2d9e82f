/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* pabal queue list, pabal queue show ID. */
#include "cli/cli.h"
#include "cli/control.h"
#include "cli/table.h"
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

static int ask(struct cli *cli, struct str request, struct json_doc **out)
{
	int code = cli_config(cli);
	return code ? code : cli_role(cli, "queue", request, out);
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

static int show(struct cli *cli, struct str request, const char *none_en, const char *none_ko,
		int none_code)
{
	JSON_DOC_SCOPED doc = NULL;
	int code = ask(cli, request, &doc);
	if (code)
		return code;
	const struct json_value *root = json_doc_root(doc);
	bool none = json_value_count(json_value_member(root, "messages")) == 0;
	if (cli->json)
		json_value_print(root, &cli->out);
	else if (!none)
		print_messages(cli, root);
	if (none && none_code)
		return cli_fail(cli, none_code, "%s", cli_text(cli, none_en, none_ko));
	if (none && !cli->json)
		cli_print(cli, "%s\n", cli_text(cli, none_en, none_ko));
	return CLI_OK;
}

int cmd_queue_list(struct cli *cli);
int cmd_queue_list(struct cli *cli)
{
	return show(cli, STR("{\"verb\":\"queue.list\"}"), "The queue is empty.",
		    "대기열이 비어 있습니다.", 0);
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
