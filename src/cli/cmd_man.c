/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* pabal man PAGE: the manual pages in roff (man(7)), from the tables. */
#include "cli/cli_int.h"
#include "config/config.h"

#include <string.h>

#ifndef PABAL_VERSION
#define PABAL_VERSION "unknown"
#endif

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

static void section(struct buf *out, const char *title)
{
	buf_fmt(out, ".SH %s\n", title);
}

static void paragraph(struct buf *out, const char *s)
{
	text(out, s);
	buf_byte(out, '\n');
}

static void command(struct buf *out, const struct cli_command *c)
{
	buf_add(out, STR(".TP\n.B pabal "));
	text(out, c->words);
	buf_add(out, STR("\\fR "));
	text(out, c->args);
	buf_byte(out, '\n');
	paragraph(out, c->help_en);
	if (c->where == CLI_SERVER)
		paragraph(out, "The server must be running.");
	buf_add(out, STR(".br\nExample: "));
	paragraph(out, c->example);
}

void cli_man_command(struct buf *out)
{
	static const struct { const char *code, *meaning; } codes[] = {
		{"0", "done"}, {"1", "a look\\-up found nothing"}, {"64", "wrong usage"}, {"65", "data refused"},
		{"69", "the server is not running"}, {"70", "data is damaged"}, {"74", "disk or system failure"},
		{"75", "temporary failure: try again"}, {"77", "not permitted"}, {"78", "the configuration is wrong"},
	};
	size_t n;
	const struct cli_command *c = cli_commands(&n);
	buf_add(out, STR(".TH PABAL 1 \"\" \"pabal " PABAL_VERSION "\"\n"));
	section(out, "NAME");
	buf_add(out, STR("pabal \\- a whole mail server in one program\n"));
	section(out, "SYNOPSIS");
	buf_add(out, STR(".B pabal\n.I COMMAND\n.RI [ ARGUMENTS ]\n"));
	section(out, "DESCRIPTION");
	paragraph(out, "Receives, stores and serves mail: SMTP, submission, LMTP, IMAP and POP3. The same program is "
		       "the server (pabal serve) and its administrator's tool.");
	section(out, "OPTIONS");
	buf_add(out, STR(".TP\n.BI \\-\\-config \" FILE\"\nThe configuration file, else PABAL_CONFIG, else "
			 CLI_CONFIG_DEFAULT ".\n.TP\n.B \\-\\-json\nOutput for programs.\n.TP\n.B \\-\\-help\n"
			 "Arguments and an example of a command.\n"));
	section(out, "COMMANDS");
	for (size_t i = 0; i < n; i++) {
		if (c[i].where != CLI_HIDDEN)
			command(out, &c[i]);
	}
	section(out, "EXIT STATUS");
	for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
		buf_fmt(out, ".TP\n.B %s\n%s\n", codes[i].code, codes[i].meaning);
	section(out, "SEE ALSO");
	buf_add(out, STR(".BR pabal.conf (5)\n"));
}

static const char *type_name(const struct setting_info *s)
{
	switch (s->type) {
	case SETTING_TYPE_BOOL:
		return "yes or no";
	case SETTING_TYPE_INT:
		return "number";
	case SETTING_TYPE_SIZE:
		return "size";
	case SETTING_TYPE_DURATION:
		return "time";
	case SETTING_TYPE_STR:
		return "text";
	case SETTING_TYPE_PATH:
		return "path";
	case SETTING_TYPE_LIST:
		return "list";
	case SETTING_TYPE_PATHS:
		return "list of paths";
	case SETTING_TYPE_NETWORKS:
		return "networks";
	case SETTING_TYPE_ENUM:
		return s->choices;
	}
	return "";
}

static void setting(struct buf *out, const struct setting_info *s)
{
	const char *dot = strchr(s->name, '.');
	buf_add(out, STR(".TP\n.B "));
	text(out, dot ? dot + 1 : s->name);
	buf_add(out, STR("\\fR ("));
	text(out, type_name(s));
	buf_add(out, STR("; default: "));
	text(out, s->default_text[0] ? s->default_text : "empty");
	buf_add(out, s->reloadable ? STR(")\n") : STR("; needs a restart)\n"));
	paragraph(out, s->help_en);
	buf_add(out, STR(".br\n"));
	paragraph(out, s->help_ko);
}

static void settings(struct buf *out)
{
	struct str last = STR_NONE;
	for (int i = 0; i < SETTING_COUNT; i++) {
		const struct setting_info *s = setting_info((enum setting)i);
		size_t dot = str_find_byte(str_of(s->name), '.');
		struct str name = dot == STR_NPOS ? STR("") : str_sub(str_of(s->name), 0, dot);
		if (i == 0 || !str_eq(name, last)) {
			if (name.n == 0)
				buf_add(out, STR(".SS At the top level\n"));
			else
				buf_fmt(out, ".SS In the section \\fB%.*s { }\n", STR_ARG(name));
		}
		last = name;
		setting(out, s);
	}
}

void cli_man_settings(struct buf *out)
{
	const struct listener_option_info *o;
	buf_add(out, STR(".TH PABAL.CONF 5 \"\" \"pabal " PABAL_VERSION "\"\n"));
	section(out, "NAME");
	buf_add(out, STR("pabal.conf \\- configuration of the mail server pabal\n"));
	section(out, "SYNTAX");
	paragraph(out, "name = value, in sections: section { name = value }. Lists stand in braces: "
		       "{\"a\", \"b\"}. Comments begin with #. Values with blanks or one of ={}()+, need quotes.");
	buf_add(out, STR(".PP\n"));
	paragraph(out, "$name in a text, path or list stands for the value of another setting, $$ for a dollar; "
		       "\"${NAME}\" for an environment variable. Sizes: 512, 64k, 10M, 2G. Times: 500ms, 30s, 5m, "
		       "12h, 7d. Relative paths begin at the directory of the main file.");
	buf_add(out, STR(".PP\n"));
	paragraph(out, "include(\"conf.d/*.conf\") reads other files at this place; a pattern may match nothing. "
		       "include_optional(\"local.conf\") may name a file that is not there. The last value counts.");
	section(out, "SETTINGS");
	settings(out);
	section(out, "LISTENERS");
	paragraph(out, "listener NAME { ... } describes a place to listen. smtp, submission, submissions, lmtp, imap, "
		       "imaps, pop3 and pop3s are there by default; a section of that name changes it.");
	for (size_t i = 0; (o = listener_option_info(i)); i++) {
		buf_add(out, STR(".TP\n.B "));
		text(out, o->name);
		buf_byte(out, '\n');
		paragraph(out, o->help_en);
		buf_add(out, STR(".br\n"));
		paragraph(out, o->help_ko);
	}
	section(out, "FILES");
	buf_add(out, STR(CLI_CONFIG_DEFAULT "\n"));
	section(out, "SEE ALSO");
	buf_add(out, STR(".BR pabal (1)\n"));
}

int cmd_man(struct cli *cli)
{
	struct str page = cli->nargs ? cli_arg(cli, 0) : STR("pabal.1");
	if (str_eq(page, STR("pabal.1")))
		cli_man_command(&cli->out);
	else if (str_eq(page, STR("pabal.conf.5")))
		cli_man_settings(&cli->out);
	else
		return cli_usage(cli, cli_text(cli, "pages: pabal.1, pabal.conf.5", "페이지: pabal.1, pabal.conf.5"));
	return CLI_OK;
}
