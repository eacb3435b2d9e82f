/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* pabal explain: what a reply, a log or a bounce says. */
#include "cli/cli.h"
#include "cli/cli_int.h"
#include "cli/table.h"
#include "config/config.h"
#include "explain/explain.h"
#include "json/json.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { INPUT_MAX = 64 << 20 };

/* The table: --table, the configuration's, else the built-in one. A configuration is not needed. */
static int load_table(struct cli *cli, struct explain **out)
{
	struct err err = {0};
	struct str path = cli_option(cli, "--table");
	bool usual = strcmp(cli->config_path, CLI_CONFIG_DEFAULT) == 0;
	if (!path.p && !(usual && access(cli->config_path, R_OK) != 0)) {
		int code = cli_config(cli);
		if (code)
			return code;
		path = config_str(cli->config, SETTING_EXPLAIN_FILE);
	}
	return explain_load(path, out, &err) ? 0 : cli_fail_err(cli, &err);
}

/* All of standard input, or its first INPUT_MAX octets. */
static int read_input(struct cli *cli, struct buf *out)
{
	if (isatty(STDIN_FILENO) && !cli->json)
		cli_fail(cli, 0, "%s", cli_text(cli, "paste a reply, a log or a bounce, then Ctrl-D",
						"응답, 로그 또는 리턴 메일을 붙여 넣고 Ctrl-D를 누르십시오"));
	while (out->n < INPUT_MAX) {
		size_t room = INPUT_MAX - out->n < 65536 ? INPUT_MAX - out->n : 65536;
		ssize_t n = read(STDIN_FILENO, buf_room(out, room), room);
		if (n == 0)
			return 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return cli_fail(cli, CLI_IO, "%s: %s", cli_text(cli, "standard input", "표준 입력"),
					strerror(errno));
		out->n += (size_t)n;
	}
	return cli_fail(cli, 0, cli_text(cli, "only the first %d MiB are read", "처음 %d MiB만 읽습니다"),
			INPUT_MAX >> 20);
}

static struct str advice_text(struct cli *cli, const struct explain_code *code)
{
	struct str all = STR("");
	for (size_t i = 0; i < code->advice_n; i++) {
		const struct explain_words *w = &code->advice[i]->text;
		all = arena_fmt(cli->arena, "%.*s%s%.*s", STR_ARG(all), i ? " " : "",
				STR_ARG(cli->korean ? w->ko : w->en));
	}
	return all;
}

static void list_table(struct cli *cli, const struct explain *e)
{
	struct table *t = table_new(cli->arena, cli_text(cli, "CODE|MEANING|WHAT TO DO", "코드|뜻|조치"));
	struct explain_code code;
	for (size_t i = 0; i < explain_code_count(e); i++) {
		explain_code_at(e, i, &code);
		table_cell(t, code.code);
		table_cell(t, cli->korean ? code.meaning.ko : code.meaning.en);
		table_cell(t, advice_text(cli, &code));
	}
	table_print(t, &cli->out);
}

static void write_words(struct json_writer *w, const char *name, struct explain_words words)
{
	json_write_name(w, str_of(name));
	json_write_object_begin(w);
	json_write_member_str(w, "en", words.en);
	json_write_member_str(w, "ko", words.ko);
	json_write_object_end(w);
}

static void list_json(struct cli *cli, const struct explain *e)
{
	struct json_writer w;
	struct explain_code code;
	json_write_init(&w, &cli->out);
	json_write_array_begin(&w);
	for (size_t i = 0; i < explain_code_count(e); i++) {
		explain_code_at(e, i, &code);
		json_write_object_begin(&w);
		json_write_member_str(&w, "code", code.code);
		json_write_member_bool(&w, "enhanced", code.enhanced);
		json_write_member_cstr(&w, "cause", explain_cause_name(code.cause));
		write_words(&w, "meaning", code.meaning);
		json_write_member_str(&w, "usual_codes", code.usual_codes);
		json_write_name(&w, STR("advice"));
		json_write_array_begin(&w);
		for (size_t k = 0; k < code.advice_n; k++) {
			json_write_object_begin(&w);
			json_write_member_str(&w, "id", code.advice[k]->id);
			json_write_member_str(&w, "en", code.advice[k]->text.en);
			json_write_member_str(&w, "ko", code.advice[k]->text.ko);
			json_write_object_end(&w);
		}
		json_write_array_end(&w);
		json_write_object_end(&w);
	}
	json_write_array_end(&w);
	buf_byte(&cli->out, '\n');
}

static int explain_input(struct cli *cli, const struct explain *e, struct str text)
{
	struct explain_report report;
	explain_paste(e, text, cli->arena, &report);
	if (cli->json) {
		struct json_writer w;
		json_write_init(&w, &cli->out);
		explain_write_json(&w, &report);
		buf_byte(&cli->out, '\n');
	} else {
		explain_print(&cli->out, &report, cli->korean);
	}
	if (report.n > 0)
		return CLI_OK;
	return cli->json ? CLI_NOT_FOUND
			 : cli_fail(cli, CLI_NOT_FOUND, "%s",
				    cli_text(cli, "there is no reply of a mail server in this text",
					     "메일 서버의 응답을 찾지 못했습니다"));
}

static int run(struct cli *cli, const struct explain *e)
{
	BUF_SCOPED input = {0};
	if (cli_has(cli, "--list")) {
		if (cli->json)
			list_json(cli, e);
		else
			list_table(cli, e);
		return CLI_OK;
	}
	if (cli->nargs > 0 && !(cli->nargs == 1 && str_eq(cli_arg(cli, 0), STR("-"))))
		return explain_input(cli, e, cli_join(cli->arena, cli->args, cli->nargs));
	int code = read_input(cli, &input);
	return code ? code : explain_input(cli, e, buf_str(&input));
}

int cmd_explain(struct cli *cli)
{
	EXPLAIN_SCOPED e = NULL;
	struct str lang = cli_option(cli, "--lang");
	if (lang.p && !str_eq(lang, STR("ko")) && !str_eq(lang, STR("en")))
		return cli_usage(cli, cli_text(cli, "--lang is ko or en", "--lang은 ko 또는 en입니다"));
	if (lang.p)
		cli->korean = str_eq(lang, STR("ko"));
	if (cli_has(cli, "--export")) {
		buf_add(&cli->out, explain_builtin());
		return CLI_OK;
	}
	int code = load_table(cli, &e);
	return code ? code : run(cli, e);
}
