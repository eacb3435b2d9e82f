/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* pabal domain ... */
#include "cli/cli_int.h"
#include "cli/cmd_directory.h"
#include "cli/table.h"

int cmd_domain_add(struct cli *cli)
{
	struct cli_request r;
	cli_request_begin(&r, "domain.add");
	cli_request_str(&r, "name", cli_arg(cli, 0));
	cli_request_maybe(&r, "description", cli_option(cli, "--description"));
	return cli_request_done(&r, cli, "Domain added.", "도메인을 추가했습니다.");
}

static void row(struct cli *cli, struct table *t, const struct json_value *d, const char *time)
{
	table_cell(t, json_value_str_or(json_value_member(d, "name"), STR("")));
	table_cell_fmt(t, "%lld", (long long)json_value_int_or(json_value_member(d, "accounts"), 0));
	table_cell_fmt(t, "%lld", (long long)json_value_int_or(json_value_member(d, "aliases"), 0));
	table_cell_fmt(t, "%s", cli_yes_no(cli, json_value_bool_or(json_value_member(d, "enabled"), false)));
	table_cell(t, cli_time(cli->arena, json_value_int_or(json_value_member(d, time), 0)));
	table_cell(t, json_value_str_or(json_value_member(d, "description"), STR("")));
}

static struct table *new_table(struct cli *cli, bool removed)
{
	if (removed)
		return table_new(cli->arena,
				 cli_text(cli, "DOMAIN|>ACCOUNTS|>ALIASES|ENABLED|REMOVED|DESCRIPTION",
					  "도메인|>계정|>별칭|사용|삭제일|설명"));
	return table_new(cli->arena, cli_text(cli, "DOMAIN|>ACCOUNTS|>ALIASES|ENABLED|CREATED|DESCRIPTION",
					      "도메인|>계정|>별칭|사용|생성일|설명"));
}

int cmd_domain_list(struct cli *cli)
{
	JSON_DOC_SCOPED reply = NULL;
	struct cli_request r;
	bool removed = cli_has(cli, "--removed");
	cli_request_begin(&r, "domain.list");
	json_write_member_bool(&r.w, "removed", removed);
	int rc = cli_request_send(&r, cli, &reply);
	if (rc != CLI_OK || cli->json)
		return rc;
	const struct json_value *list = json_value_member(json_doc_root(reply), "domains");
	struct table *t = new_table(cli, removed);
	for (size_t i = 0; i < json_value_count(list); i++)
		row(cli, t, json_value_item(list, i), removed ? "removed" : "created");
	table_print(t, &cli->out);
	return CLI_OK;
}

int cmd_domain_show(struct cli *cli)
{
	JSON_DOC_SCOPED reply = NULL;
	struct cli_request r;
	cli_request_begin(&r, "domain.show");
	cli_request_str(&r, "name", cli_arg(cli, 0));
	int rc = cli_request_send(&r, cli, &reply);
	if (rc != CLI_OK || cli->json)
		return rc;
	struct table *t = new_table(cli, false);
	row(cli, t, json_value_member(json_doc_root(reply), "domain"), "created");
	table_print(t, &cli->out);
	return CLI_OK;
}

int cmd_domain_set(struct cli *cli)
{
	struct cli_request r;
	cli_request_begin(&r, "domain.set");
	cli_request_str(&r, "name", cli_arg(cli, 0));
	cli_request_maybe(&r, "description", cli_option(cli, "--description"));
	int rc = cli_request_flag(&r, cli, "--enabled", "enabled");
	if (rc != CLI_OK) {
		buf_free(&r.text);
		return rc;
	}
	return cli_request_done(&r, cli, "Domain changed.", "도메인을 바꿨습니다.");
}

/* How much would go: asked before anything happens (R23). */
int cmd_domain_remove(struct cli *cli)
{
	JSON_DOC_SCOPED shown = NULL;
	struct cli_request r;
	bool json = cli->json;
	cli_request_begin(&r, "domain.show");
	cli_request_str(&r, "name", cli_arg(cli, 0));
	cli->json = false;
	int rc = cli_request_send(&r, cli, &shown);
	cli->json = json;
	if (rc != CLI_OK)
		return rc;
	const struct json_value *d = json_value_member(json_doc_root(shown), "domain");
	struct str question = arena_fmt(
		cli->arena,
		cli_text(cli, "Remove domain %.*s with %lld accounts and %lld aliases?%c",
			 "도메인 %.*s, 계정 %lld개, 별칭 %lld개를 지울까요?%c"),
		STR_ARG(cli_arg(cli, 0)), (long long)json_value_int_or(json_value_member(d, "accounts"), 0),
		(long long)json_value_int_or(json_value_member(d, "aliases"), 0), 0);
	if (!cli_confirm(cli, question.p))
		return CLI_USAGE;
	cli_request_begin(&r, "domain.remove");
	cli_request_str(&r, "name", cli_arg(cli, 0));
	return cli_request_done(&r, cli, "Domain removed; pabal domain restore brings it back.",
				"도메인을 지웠습니다. pabal domain restore로 되살릴 수 있습니다.");
}

int cmd_domain_restore(struct cli *cli)
{
	struct cli_request r;
	cli_request_begin(&r, "domain.restore");
	cli_request_str(&r, "name", cli_arg(cli, 0));
	return cli_request_done(&r, cli, "Domain restored.", "도메인을 되살렸습니다.");
}
