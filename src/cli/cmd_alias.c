/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* pabal alias ..., and pabal lookup ... */
#include "cli/cli_int.h"
#include "cli/cmd_directory.h"
#include "cli/table.h"

static int change(struct cli *cli, const char *verb, const char *en, const char *ko)
{
	struct cli_request r;
	cli_request_begin(&r, verb);
	cli_request_str(&r, "source", cli_arg(cli, 0));
	cli_request_args(&r, cli, "destinations", 1);
	return cli_request_done(&r, cli, en, ko);
}

int cmd_alias_add(struct cli *cli)
{
	return change(cli, "alias.add", "Alias added.", "별칭을 추가했습니다.");
}

int cmd_alias_set(struct cli *cli)
{
	return change(cli, "alias.set", "Alias changed.", "별칭을 바꿨습니다.");
}

int cmd_alias_remove(struct cli *cli)
{
	return change(cli, "alias.remove", "Alias removed.", "별칭을 지웠습니다.");
}

static bool is_in(const struct json_value *list, struct str s)
{
	for (size_t i = 0; i < json_value_count(list); i++) {
		if (str_eq(json_value_str_or(json_value_item(list, i), STR("")), s))
			return true;
	}
	return false;
}

/* One line per destination; those that reach nobody are marked (R22). */
static void rows(struct cli *cli, struct table *t, const struct json_value *alias)
{
	const struct json_value *list = json_value_member(alias, "destinations");
	for (size_t i = 0; i < json_value_count(list); i++) {
		struct str to = json_value_str_or(json_value_item(list, i), STR(""));
		bool dangling = is_in(json_value_member(alias, "dangling"), to);
		table_cell(t, i ? STR("") : json_value_str_or(json_value_member(alias, "source"), STR("")));
		table_cell(t, to);
		table_cell(t, str_of(dangling ? cli_text(cli, "no such recipient", "없는 수신자") : ""));
	}
}

static struct table *new_table(struct cli *cli)
{
	return table_new(cli->arena, cli_text(cli, "ALIAS|DESTINATION|NOTE", "별칭|목적지|비고"));
}

int cmd_alias_list(struct cli *cli)
{
	JSON_DOC_SCOPED reply = NULL;
	struct cli_request r;
	cli_request_begin(&r, "alias.list");
	cli_request_maybe(&r, "domain", cli_arg(cli, 0));
	int rc = cli_request_send(&r, cli, &reply);
	if (rc != CLI_OK || cli->json)
		return rc;
	const struct json_value *list = json_value_member(json_doc_root(reply), "aliases");
	struct table *t = new_table(cli);
	for (size_t i = 0; i < json_value_count(list); i++)
		rows(cli, t, json_value_item(list, i));
	table_print(t, &cli->out);
	return CLI_OK;
}

static void print_recipients(struct cli *cli, const struct json_value *reply)
{
	const struct json_value *list = json_value_member(reply, "recipients");
	struct table *t = table_new(cli->arena, cli_text(cli, "RECIPIENT|KIND|DETAIL", "수신자|종류|하위 주소"));
	for (size_t i = 0; i < json_value_count(list); i++) {
		const struct json_value *v = json_value_item(list, i);
		table_cell(t, json_value_str_or(json_value_member(v, "address"), STR("")));
		table_cell(t, json_value_str_or(json_value_member(v, "kind"), STR("")));
		table_cell(t, json_value_str_or(json_value_member(v, "detail"), STR("")));
	}
	table_print(t, &cli->out);
}

int cmd_alias_show(struct cli *cli)
{
	JSON_DOC_SCOPED reply = NULL;
	JSON_DOC_SCOPED reached = NULL;
	struct cli_request r;
	cli_request_begin(&r, "alias.show");
	cli_request_str(&r, "source", cli_arg(cli, 0));
	int rc = cli_request_send(&r, cli, &reply);
	if (rc != CLI_OK || cli->json)
		return rc;
	struct table *t = new_table(cli);
	rows(cli, t, json_value_member(json_doc_root(reply), "alias"));
	table_print(t, &cli->out);
	if (str_starts(cli_arg(cli, 0), STR("@")))
		return CLI_OK;
	cli_request_begin(&r, "resolve");
	cli_request_str(&r, "address", cli_arg(cli, 0));
	rc = cli_request_send(&r, cli, &reached);
	if (rc != CLI_OK)
		return rc;
	cli_print(cli, "\n");
	print_recipients(cli, json_doc_root(reached));
	return CLI_OK;
}

/* As postmap -q (R39-R42): the value and 0, nothing and 1; trouble is any other code. */
static int look_up(struct cli *cli, const char *map)
{
	JSON_DOC_SCOPED reply = NULL;
	struct cli_request r;
	cli_request_begin(&r, "lookup");
	cli_request_str(&r, "map", str_of(map));
	cli_request_str(&r, "key", cli_arg(cli, 0));
	int rc = cli_request_send(&r, cli, &reply);
	if (rc != CLI_OK)
		return rc == CLI_NOT_FOUND || rc == CLI_IO || rc == CLI_SOFTWARE ? CLI_TEMP : rc;
	bool found = json_value_bool_or(json_value_member(json_doc_root(reply), "found"), false);
	if (found && !cli->json)
		cli_print(cli, "%.*s\n",
			  STR_ARG(json_value_str_or(json_value_member(json_doc_root(reply), "value"),
						    STR(""))));
	return found ? CLI_OK : CLI_NOT_FOUND;
}

int cmd_lookup_domain(struct cli *cli)
{
	return look_up(cli, "domain");
}

int cmd_lookup_account(struct cli *cli)
{
	return look_up(cli, "account");
}

int cmd_lookup_alias(struct cli *cli)
{
	return look_up(cli, "alias");
}

int cmd_lookup_recipient(struct cli *cli)
{
	JSON_DOC_SCOPED reply = NULL;
	struct cli_request r;
	cli_request_begin(&r, "resolve");
	cli_request_str(&r, "address", cli_arg(cli, 0));
	int rc = cli_request_send(&r, cli, &reply);
	if (rc != CLI_OK)
		return rc;
	struct str kind = json_value_str_or(json_value_member(json_doc_root(reply), "kind"), STR(""));
	if (!cli->json)
		print_recipients(cli, json_doc_root(reply));
	return str_eq(kind, STR("unknown")) ? CLI_NOT_FOUND : CLI_OK;
}
