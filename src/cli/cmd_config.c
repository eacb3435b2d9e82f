/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* pabal config check, show, explain. */
#include "cli/cli_int.h"
#include "cli/table.h"
#include "config/config.h"
#include "json/json.h"

#include <stdio.h>
#include <string.h>

int cmd_config_check(struct cli *cli)
{
	BUF_SCOPED problems = {0};
	struct err err = {0};
	bool ok = config_load(cli->config_path, &problems, &cli->config, &err);
	if (cli->json) {
		struct json_writer w;
		json_write_init(&w, &cli->out);
		json_write_object_begin(&w);
		json_write_member_bool(&w, "ok", ok);
		json_write_member_cstr(&w, "file", cli->config_path);
		json_write_name(&w, STR("problems"));
		json_write_array_begin(&w);
		struct str rest = buf_str(&problems);
		while (rest.p && rest.n > 0)
			json_write_str(&w, str_cut(&rest, '\n'));
		json_write_array_end(&w);
		json_write_object_end(&w);
		buf_byte(&cli->out, '\n');
	} else {
		if (problems.n > 0)
			fwrite(problems.p, 1, problems.n, stderr);
		if (ok)
			cli_print(cli, cli_text(cli, "%s is correct.\n", "%s 설정이 올바릅니다.\n"),
				  config_file(cli->config));
	}
	return ok ? CLI_OK : CLI_CONFIG;
}

static bool is_text(enum setting_type type)
{
	return type == SETTING_TYPE_STR || type == SETTING_TYPE_PATH || type == SETTING_TYPE_ENUM ||
	       type == SETTING_TYPE_SIZE || type == SETTING_TYPE_DURATION;
}

/* Lists as lists, numbers as numbers; sizes and times as the text that stands in the file. */
static void show_json(struct json_writer *w, const struct config *c, enum setting id)
{
	BUF_SCOPED text = {0};
	enum setting_type type = setting_info(id)->type;
	json_write_name(w, str_of(setting_info(id)->name));
	if (type == SETTING_TYPE_BOOL) {
		json_write_bool(w, config_bool(c, id));
	} else if (type == SETTING_TYPE_INT) {
		json_write_int(w, config_int(c, id));
	} else if (type == SETTING_TYPE_STR || type == SETTING_TYPE_PATH || type == SETTING_TYPE_ENUM) {
		json_write_str(w, config_str(c, id));
	} else if (is_text(type)) {
		config_format(c, id, &text);
		json_write_str(w, buf_str(&text));
	} else {
		struct config_list list = config_list(c, id);
		json_write_array_begin(w);
		for (size_t i = 0; i < list.n; i++)
			json_write_str(w, list.v[i]);
		json_write_array_end(w);
	}
}

static void show(struct cli *cli, struct json_writer *w, enum setting id)
{
	if (cli->json) {
		show_json(w, cli->config, id);
		return;
	}
	cli_print(cli, "%s = ", setting_info(id)->name);
	config_format(cli->config, id, &cli->out);
	buf_byte(&cli->out, '\n');
}

static int unknown(struct cli *cli, struct str name)
{
	const char *near = setting_suggest(name);
	return cli_fail(cli, CLI_NOT_FOUND,
			cli_text(cli, "there is no setting \"%.*s\"%s%s", "\"%.*s\" 설정이 없습니다%s%s"),
			STR_ARG(name), near ? cli_text(cli, "; did you mean ", "; 혹시 ") : "",
			near ? near : "");
}

int cmd_config_show(struct cli *cli)
{
	struct json_writer w;
	enum setting id;
	int rc = cli_config(cli);
	if (rc != CLI_OK)
		return rc;
	json_write_init(&w, &cli->out);
	if (cli->json)
		json_write_object_begin(&w);
	for (size_t i = 0; i < cli->nargs && rc == CLI_OK; i++) {
		if (setting_find(cli->args[i], &id))
			show(cli, &w, id);
		else
			rc = unknown(cli, cli->args[i]);
	}
	for (int i = 0; i < SETTING_COUNT && cli->nargs == 0; i++) {
		if (cli_has(cli, "--all") || config_is_set(cli->config, (enum setting)i))
			show(cli, &w, (enum setting)i);
	}
	if (cli->json) {
		json_write_object_end(&w);
		buf_byte(&cli->out, '\n');
	}
	return rc;
}

static const char *type_text(const struct cli *cli, enum setting_type type)
{
	switch (type) {
	case SETTING_TYPE_BOOL:
		return cli_text(cli, "yes or no", "yes 또는 no");
	case SETTING_TYPE_INT:
		return cli_text(cli, "whole number", "정수");
	case SETTING_TYPE_SIZE:
		return cli_text(cli, "size: 512, 64k, 10M, 2G", "크기: 512, 64k, 10M, 2G");
	case SETTING_TYPE_DURATION:
		return cli_text(cli, "time: 500ms, 30s, 5m, 12h, 7d", "시간: 500ms, 30s, 5m, 12h, 7d");
	case SETTING_TYPE_STR:
		return cli_text(cli, "text", "문자열");
	case SETTING_TYPE_PATH:
		return cli_text(cli, "path", "경로");
	case SETTING_TYPE_LIST:
		return cli_text(cli, "list: {\"a\", \"b\"}", "목록: {\"a\", \"b\"}");
	case SETTING_TYPE_PATHS:
		return cli_text(cli, "list of paths", "경로 목록");
	case SETTING_TYPE_NETWORKS:
		return cli_text(cli, "networks: {\"10.0.0.0/8\", \"::1\"}",
				"네트워크: {\"10.0.0.0/8\", \"::1\"}");
	case SETTING_TYPE_ENUM:
		return cli_text(cli, "one of", "다음 중 하나");
	}
	return "";
}

static void explain(struct cli *cli, enum setting id)
{
	const struct setting_info *s = setting_info(id);
	const char *dot = strchr(s->name, '.');
	cli_print(cli, "%s\n  %s\n", s->name, cli_text(cli, s->help_en, s->help_ko));
	cli_print(cli, "  %s: %s %s\n", cli_text(cli, "Type", "형식"), type_text(cli, s->type), s->choices);
	if (s->type == SETTING_TYPE_INT || s->type == SETTING_TYPE_SIZE || s->type == SETTING_TYPE_DURATION)
		cli_print(cli, "  %s: %lld - %lld%s\n", cli_text(cli, "Range", "범위"), (long long)s->min,
			  (long long)s->max, s->type == SETTING_TYPE_DURATION ? " ms" : "");
	cli_print(cli, "  %s: %s\n", cli_text(cli, "Default", "기본값"),
		  s->default_text[0] ? s->default_text : cli_text(cli, "(empty)", "(비어 있음)"));
	cli_print(cli, "  %s\n",
		  s->reloadable
			  ? cli_text(cli, "Takes effect at pabal reload.", "pabal reload로 적용됩니다.")
			  : cli_text(cli, "Takes effect at a restart or pabal upgrade.",
				     "다시 시작하거나 pabal upgrade를 해야 적용됩니다."));
	if (dot)
		cli_print(cli, "  %s: %.*s { %s = ... }\n", cli_text(cli, "In the file", "파일에서"),
			  (int)(dot - s->name), s->name, dot + 1);
}

static void explain_json(struct json_writer *w, enum setting id)
{
	const struct setting_info *s = setting_info(id);
	json_write_object_begin(w);
	json_write_member_cstr(w, "name", s->name);
	json_write_member_cstr(w, "default", s->default_text);
	json_write_member_cstr(w, "choices", s->choices);
	json_write_member_int(w, "min", s->min);
	json_write_member_int(w, "max", s->max);
	json_write_member_bool(w, "reloadable", s->reloadable);
	json_write_member_cstr(w, "help", s->help_en);
	json_write_member_cstr(w, "help_ko", s->help_ko);
	json_write_object_end(w);
}

static void explain_listener(struct cli *cli)
{
	const struct listener_option_info *o;
	cli_print(cli, "listener NAME { ... }\n  %s\n",
		  cli_text(cli,
			   "A place to listen. smtp, submission, submissions, lmtp, imap, imaps, pop3, "
			   "pop3s are there by default.",
			   "연결을 기다리는 곳. smtp, submission, submissions, lmtp, imap, imaps, pop3, "
			   "pop3s는 기본으로 있습니다."));
	for (size_t i = 0; (o = listener_option_info(i)); i++)
		cli_print(cli, "  %s\n      %s\n", o->name, cli_text(cli, o->help_en, o->help_ko));
}

int cmd_config_explain(struct cli *cli)
{
	enum setting id;
	struct json_writer w;
	json_write_init(&w, &cli->out);
	if (cli->nargs == 1 && str_eq(cli_arg(cli, 0), STR("listener"))) {
		explain_listener(cli);
		return CLI_OK;
	}
	if (cli->nargs == 1 && !setting_find(cli_arg(cli, 0), &id))
		return unknown(cli, cli_arg(cli, 0));
	if (cli->nargs == 1 && !cli->json) {
		explain(cli, id);
		return CLI_OK;
	}
	if (cli->json) {
		json_write_array_begin(&w);
		for (int i = 0; i < SETTING_COUNT; i++) {
			if (cli->nargs == 0 || i == (int)id)
				explain_json(&w, (enum setting)i);
		}
		json_write_array_end(&w);
		buf_byte(&cli->out, '\n');
		return CLI_OK;
	}
	for (int i = 0; i < SETTING_COUNT; i++)
		cli_print(cli, "%s\n      %s\n", setting_info((enum setting)i)->name,
			  cli_text(cli, setting_info((enum setting)i)->help_en,
				   setting_info((enum setting)i)->help_ko));
	explain_listener(cli);
	return CLI_OK;
}
