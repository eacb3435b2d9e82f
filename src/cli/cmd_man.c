/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* pabal man PAGE: the manual pages in roff (man(7)), from the tables, in the user's language. */
#include "cli/cli_int.h"
#include "config/config.h"

#include <string.h>

/* Text for roff: backslashes, hyphens that are minus signs, and dots at the start of a line. */
static void text(struct buf *out, const char *s)
{
	if (*s == '.' || *s == '\'')
		buf_add(out, STR("\\&"));
	for (; *s; s++) {
		if (*s == '\\')
			buf_add(out, STR("\\e"));
		else if (*s == '-')
			buf_add(out, STR("\\-"));
		else
			buf_byte(out, *s);
	}
}

static void section(struct cli *cli, const char *en, const char *ko)
{
	cli_print(cli, ".SH %s\n", cli->korean ? ko : en);
}

static void paragraph(struct cli *cli, const char *en, const char *ko)
{
	text(&cli->out, cli->korean ? ko : en);
	buf_byte(&cli->out, '\n');
}

/* A term and what follows it. */
static void term(struct cli *cli, const char *name, const char *more)
{
	cli_print(cli, ".TP\n.B ");
	text(&cli->out, name);
	cli_print(cli, "%s", more[0] ? "\\fR " : "");
	text(&cli->out, more);
	buf_byte(&cli->out, '\n');
}

static void command(struct cli *cli, const struct cli_command *c)
{
	struct str name = arena_fmt(cli->arena, "pabal %s", c->words);
	term(cli, arena_cstr(cli->arena, name), c->args);
	text(&cli->out, cli_text(cli, c->help_en, c->help_ko));
	cli_print(cli, ".\n");
	if (c->where == CLI_SERVER)
		paragraph(cli, "The server must be running.", "서버가 실행 중이어야 합니다.");
	cli_print(cli, ".br\n%s: ", cli_text(cli, "Example", "예"));
	text(&cli->out, c->example);
	buf_byte(&cli->out, '\n');
}

static void exit_codes(struct cli *cli)
{
	static const struct {
		const char *code, *en, *ko;
	} codes[] = {
		{"0", "done", "성공"},
		{"1", "a look-up found nothing", "찾은 것이 없음"},
		{"64", "wrong usage", "잘못된 사용"},
		{"65", "data refused", "받아들일 수 없는 값"},
		{"69", "the server is not running", "서버가 실행 중이 아님"},
		{"70", "data is damaged", "데이터가 손상됨"},
		{"74", "disk or system failure", "디스크나 시스템 오류"},
		{"75", "temporary failure: try again", "일시 오류: 다시 시도"},
		{"77", "not permitted", "권한 없음"},
		{"78", "the configuration is wrong", "설정이 잘못됨"},
	};
	for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
		term(cli, codes[i].code, "");
		paragraph(cli, codes[i].en, codes[i].ko);
	}
}

static void man_command(struct cli *cli)
{
	size_t n;
	const struct cli_command *c = cli_commands(&n);
	cli_print(cli, ".TH PABAL 1 \"\" \"pabal %s\"\n", PABAL_VERSION);
	section(cli, "NAME", "이름");
	cli_print(cli, "pabal \\- %s\n", cli_text(cli, "a whole mail server in one program",
						  "하나의 프로그램으로 된 메일 서버"));
	section(cli, "SYNOPSIS", "사용법");
	cli_print(cli, ".B pabal\n.I COMMAND\n.RI [ ARGUMENTS ]\n");
	section(cli, "DESCRIPTION", "설명");
	paragraph(cli,
		  "Receives, stores and serves mail: SMTP, submission, LMTP, IMAP and POP3. The same program "
		  "is the server (pabal serve) and its administrator's tool.",
		  "메일을 받고 저장하고 제공합니다: SMTP, submission, LMTP, IMAP, POP3. 같은 프로그램이 서버"
		  "(pabal serve)이면서 관리 도구입니다.");
	section(cli, "OPTIONS", "옵션");
	term(cli, "--config", "FILE");
	paragraph(cli,
		  "The configuration file, or the directory with pabal.conf in it; else PABAL_CONFIG, "
		  "else " CLI_CONFIG_DEFAULT ".",
		  "설정 파일, 또는 pabal.conf가 있는 디렉터리. 없으면 PABAL_CONFIG, 그것도 "
		  "없으면 " CLI_CONFIG_DEFAULT ".");
	term(cli, "--json", "");
	paragraph(cli, "Output for programs.", "프로그램을 위한 출력.");
	term(cli, "--help", "");
	paragraph(cli, "Arguments and an example of a command.", "명령의 인자와 예.");
	section(cli, "COMMANDS", "명령");
	for (size_t i = 0; i < n; i++) {
		if (c[i].where != CLI_HIDDEN)
			command(cli, &c[i]);
	}
	section(cli, "EXIT STATUS", "종료 코드");
	exit_codes(cli);
	section(cli, "SEE ALSO", "참고");
	cli_print(cli, ".BR pabal.conf (5)\n");
}

static const char *type_name(struct cli *cli, const struct setting_info *s)
{
	switch (s->type) {
	case SETTING_TYPE_BOOL:
		return cli_text(cli, "yes or no", "yes 또는 no");
	case SETTING_TYPE_INT:
		return cli_text(cli, "number", "수");
	case SETTING_TYPE_SIZE:
		return cli_text(cli, "size", "크기");
	case SETTING_TYPE_DURATION:
		return cli_text(cli, "time", "시간");
	case SETTING_TYPE_STR:
		return cli_text(cli, "text", "문자열");
	case SETTING_TYPE_PATH:
		return cli_text(cli, "path", "경로");
	case SETTING_TYPE_LIST:
		return cli_text(cli, "list", "목록");
	case SETTING_TYPE_PATHS:
		return cli_text(cli, "list of paths", "경로 목록");
	case SETTING_TYPE_NETWORKS:
		return cli_text(cli, "networks", "네트워크");
	case SETTING_TYPE_ENUM:
		return s->choices;
	}
	return "";
}

static void setting(struct cli *cli, const struct setting_info *s)
{
	const char *dot = strchr(s->name, '.');
	const char *value = s->default_text[0] ? s->default_text : cli_text(cli, "empty", "빈 값");
	struct str more = arena_fmt(
		cli->arena, "(%s; %s: %s%s)", type_name(cli, s), cli_text(cli, "default", "기본값"),
		value, s->reloadable ? "" : cli_text(cli, "; needs a restart", "; 재시작 필요"));
	term(cli, dot ? dot + 1 : s->name, arena_cstr(cli->arena, more));
	paragraph(cli, s->help_en, s->help_ko);
}

static void settings(struct cli *cli)
{
	struct str last = STR_NONE;
	for (int i = 0; i < SETTING_COUNT; i++) {
		const struct setting_info *s = setting_info((enum setting)i);
		size_t dot = str_find_byte(str_of(s->name), '.');
		struct str name = dot == STR_NPOS ? STR("") : str_sub(str_of(s->name), 0, dot);
		if (name.n == 0 && i == 0)
			cli_print(cli, ".SS %s\n", cli_text(cli, "At the top level", "최상위"));
		else if (!str_eq(name, last))
			cli_print(cli, ".SS %.*s { }\n", STR_ARG(name));
		last = name;
		setting(cli, s);
	}
}

static void syntax(struct cli *cli)
{
	section(cli, "SYNTAX", "문법");
	paragraph(cli,
		  "name = value, in sections: section { name = value }. Lists stand in braces: {\"a\", "
		  "\"b\"}. "
		  "Comments begin with #. Values with blanks or one of ={}()+, need quotes.",
		  "이름 = 값. 구역 안에서는 section { name = value }. 목록은 중괄호로: {\"a\", \"b\"}. "
		  "주석은 #으로 "
		  "시작합니다. 빈칸이나 ={}()+, 가 든 값은 따옴표로 묶습니다.");
	cli_print(cli, ".PP\n");
	paragraph(
		cli,
		"$name in a text, path or list stands for the value of another setting, $$ for a dollar; "
		"\"${NAME}\" for an environment variable. Sizes: 512, 64k, 10M, 2G. Times: 500ms, 30s, "
		"5m, 12h, "
		"7d. Relative paths begin at the directory of the main file.",
		"문자열, 경로, 목록 안의 $name은 다른 설정의 값, $$는 달러 기호, \"${NAME}\"은 환경 "
		"변수입니다. "
		"크기: 512, 64k, 10M, 2G. 시간: 500ms, 30s, 5m, 12h, 7d. 상대 경로는 주 설정 파일의 "
		"디렉터리부터입니다.");
	cli_print(cli, ".PP\n");
	paragraph(cli,
		  "include(\"conf.d/*.conf\") reads other files at this place; a pattern may match "
		  "nothing. "
		  "include_optional(\"local.conf\") may name a file that is not there. The last value "
		  "counts.",
		  "include(\"conf.d/*.conf\")는 그 자리에서 다른 파일을 읽습니다. 맞는 파일이 없어도 "
		  "됩니다. "
		  "include_optional(\"local.conf\")는 파일이 없어도 됩니다. 마지막 값이 쓰입니다.");
}

static void man_settings(struct cli *cli)
{
	const struct listener_option_info *o;
	cli_print(cli, ".TH PABAL.CONF 5 \"\" \"pabal %s\"\n", PABAL_VERSION);
	section(cli, "NAME", "이름");
	cli_print(cli, "pabal.conf \\- %s\n", cli_text(cli, "configuration of the mail server pabal",
						       "메일 서버 pabal의 설정"));
	syntax(cli);
	section(cli, "SETTINGS", "설정");
	settings(cli);
	section(cli, "LISTENERS", "리스너");
	paragraph(cli,
		  "listener NAME { ... } describes a place to listen. smtp, submission, submissions, "
		  "lmtp, imap, "
		  "imaps, pop3 and pop3s are there by default; a section of that name changes it.",
		  "listener NAME { ... }은 연결을 기다리는 곳입니다. smtp, submission, submissions, "
		  "lmtp, imap, imaps, "
		  "pop3, pop3s는 기본으로 있고, 같은 이름의 구역이 그것을 바꿉니다.");
	for (size_t i = 0; (o = listener_option_info(i)); i++) {
		term(cli, o->name, "");
		paragraph(cli, o->help_en, o->help_ko);
	}
	section(cli, "FILES", "파일");
	cli_print(cli, "%s\n", CLI_CONFIG_DEFAULT);
	section(cli, "SEE ALSO", "참고");
	cli_print(cli, ".BR pabal (1)\n");
}

int cmd_man(struct cli *cli)
{
	struct str page = cli->nargs ? cli_arg(cli, 0) : STR("pabal.1");
	if (str_eq(page, STR("pabal.1")))
		man_command(cli);
	else if (str_eq(page, STR("pabal.conf.5")))
		man_settings(cli);
	else
		return cli_usage(cli, cli_text(cli, "pages: pabal.1, pabal.conf.5",
					       "페이지: pabal.1, pabal.conf.5"));
	return CLI_OK;
}
