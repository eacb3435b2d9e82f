/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "cli/cli_int.h"
#include "config/config.h"

#include <string.h>

const char *cli_suggest(struct str words)
{
	size_t n, k = 0;
	const struct cli_command *c = cli_commands(&n);
	const char *names[256];
	for (size_t i = 0; i < n && k < 256; i++) {
		if (c[i].where != CLI_HIDDEN)
			names[k++] = c[i].words;
	}
	const char *near = config_nearest(words, names, k);
	struct str first = str_cut(&words, ' ');
	/* A misspelt noun: the first command that has the right one. */
	for (size_t i = 0; i < k && !near; i++) {
		struct str rest = str_of(names[i]), noun = str_cut(&rest, ' ');
		char word[32];
		if (noun.n >= sizeof word || !rest.p)
			continue;
		memcpy(word, noun.p, noun.n);
		word[noun.n] = '\0';
		if (config_nearest(first, (const char *const[]){word}, 1))
			near = names[i];
	}
	return near;
}

/* Where a group of commands begins. */
static const struct {
	const char *first, *en, *ko;
} groups[] = {
	{"quickstart", "Server", "서버"},
	{"config check", "Configuration", "설정"},
	{"domain add", "Domains, accounts, aliases", "도메인, 계정, 별칭"},
	{"mailbox list", "Mail", "메일"},
	{"explain", "Why was it refused? Mail authentication, DNS", "거절된 이유, 메일 인증, DNS"},
	{"testmail", "Sending by hand", "직접 보내기"},
	{"version", "About", "정보"},
};

static void begin_group(struct cli *cli, const char *words)
{
	for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
		if (strcmp(groups[i].first, words) == 0)
			cli_print(cli, "\n%s\n", cli_text(cli, groups[i].en, groups[i].ko));
}

void cli_help_all(struct cli *cli)
{
	size_t n;
	const struct cli_command *c = cli_commands(&n);
	cli_print(cli, "%s\n",
		  cli_text(cli,
			   "pabal: a whole mail server in one program.\nusage: pabal COMMAND [ARGUMENTS]",
			   "파발(pabal): 하나의 프로그램으로 된 메일 서버.\n사용법: pabal 명령 [인자]"));
	for (size_t i = 0; i < n; i++) {
		if (c[i].where == CLI_HIDDEN)
			continue;
		begin_group(cli, c[i].words);
		cli_print(cli, "  %-17s %s\n", c[i].words, cli_text(cli, c[i].help_en, c[i].help_ko));
	}
	cli_print(cli, "\n%s\n",
		  cli_text(cli,
			   "Each takes --config FILE or DIR (or PABAL_CONFIG), --json and --help, which\n"
			   "shows arguments and an example. To begin:\n"
			   "pabal quickstart --dir DIR --domain NAME",
			   "모든 명령은 --config 파일이나 디렉터리(또는 PABAL_CONFIG), --json, 그리고\n"
			   "인자와 예를 보여 주는 --help를 받습니다. 시작하려면:\n"
			   "pabal quickstart --dir 디렉터리 --domain 이름"));
}

static const char *where_text(const struct cli *cli, enum cli_where where)
{
	switch (where) {
	case CLI_ALONE:
	case CLI_HIDDEN:
		return "";
	case CLI_EITHER:
		return cli_text(cli, "Works with the server running or stopped.",
				"서버가 실행 중이거나 멈춰 있어도 됩니다.");
	case CLI_SERVER:
		return cli_text(cli, "The server must be running.", "서버가 실행 중이어야 합니다.");
	}
	return "";
}

void cli_help_command(struct cli *cli, const struct cli_command *c)
{
	cli_print(cli, "pabal %s%s%s\n\n  %s\n", c->words, c->args[0] ? " " : "", c->args,
		  cli_text(cli, c->help_en, c->help_ko));
	if (where_text(cli, c->where)[0])
		cli_print(cli, "  %s\n", where_text(cli, c->where));
	cli_print(cli, "\n%s:\n  %s\n", cli_text(cli, "Example", "예"), c->example);
}

int cmd_help(struct cli *cli)
{
	size_t words;
	if (cli->nargs == 0) {
		cli_help_all(cli);
		return CLI_OK;
	}
	const struct cli_command *c = cli_match(cli->args, cli->nargs, &words);
	if (c) {
		cli_help_command(cli, c);
		return CLI_OK;
	}
	size_t n;
	bool any = false;
	const struct cli_command *all = cli_commands(&n);
	struct str wanted = cli_join(cli->arena, cli->args, cli->nargs);
	for (size_t i = 0; i < n; i++) {
		if (all[i].where != CLI_HIDDEN && str_starts(str_of(all[i].words), wanted)) {
			if (any)
				cli_print(cli, "\n");
			cli_help_command(cli, &all[i]);
			any = true;
		}
	}
	if (any)
		return CLI_OK;
	const char *near = cli_suggest(wanted);
	return cli_fail(cli, CLI_USAGE,
			cli_text(cli, "no command \"%.*s\"%s%s", "\"%.*s\" 명령이 없습니다%s%s"),
			STR_ARG(wanted), near ? cli_text(cli, "; did you mean ", "; 혹시 ") : "",
			near ? near : "");
}
