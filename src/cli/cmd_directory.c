/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "cli/cmd_directory.h"

void cli_request_begin(struct cli_request *r, const char *verb)
{
	r->text = (struct buf){0};
	json_write_init(&r->w, &r->text);
	json_write_object_begin(&r->w);
	json_write_member_cstr(&r->w, "verb", verb);
}

void cli_request_str(struct cli_request *r, const char *name, struct str s)
{
	json_write_member_str(&r->w, name, s);
}

void cli_request_maybe(struct cli_request *r, const char *name, struct str s)
{
	if (s.p)
		json_write_member_str(&r->w, name, s);
}

void cli_request_args(struct cli_request *r, const struct cli *cli, const char *name, size_t from)
{
	json_write_name(&r->w, str_of(name));
	json_write_array_begin(&r->w);
	for (size_t i = from; i < cli->nargs; i++)
		json_write_str(&r->w, cli->args[i]);
	json_write_array_end(&r->w);
}

int cli_request_send(struct cli_request *r, struct cli *cli, struct json_doc **out_reply)
{
	json_write_object_end(&r->w);
	int rc = cli_directory(cli, buf_str(&r->text), out_reply);
	buf_free(&r->text);
	if (rc == CLI_OK && cli->json)
		json_value_print(json_doc_root(*out_reply), &cli->out);
	return rc;
}

int cli_request_done(struct cli_request *r, struct cli *cli, const char *en, const char *ko)
{
	JSON_DOC_SCOPED reply = NULL;
	int rc = cli_request_send(r, cli, &reply);
	if (rc == CLI_OK && !cli->json)
		cli_print(cli, "%s\n", cli_text(cli, en, ko));
	return rc;
}

int cli_request_flag(struct cli_request *r, struct cli *cli, const char *option, const char *name)
{
	struct str s = cli_option(cli, option);
	if (!s.p)
		return CLI_OK;
	if (!str_eq_nocase(s, STR("yes")) && !str_eq_nocase(s, STR("no")))
		return cli_usage(cli, cli_text(cli, "%s must be yes or no", "%s 값은 yes 또는 no입니다"), option);
	json_write_member_bool(&r->w, name, str_eq_nocase(s, STR("yes")));
	return CLI_OK;
}

const char *cli_yes_no(const struct cli *cli, bool v)
{
	return v ? cli_text(cli, "yes", "예") : cli_text(cli, "no", "아니오");
}
