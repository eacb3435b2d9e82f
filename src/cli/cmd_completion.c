/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* pabal completion bash: the words and options of every verb, from the table. */
#include "cli/cli_int.h"
#include "config/config.h"

#include <string.h>

/* "prefix) COMPREPLY words": the next words after those already typed. */
static void next_words(struct cli *cli, struct str prefix)
{
	size_t n;
	const struct cli_command *c = cli_commands(&n);
	struct str last = STR_NONE;
	for (size_t i = 0; i < n; i++) {
		struct str words = str_of(c[i].words);
		if (c[i].where == CLI_HIDDEN || !str_starts(words, prefix))
			continue;
		struct str rest = str_from(words, prefix.n);
		if (prefix.n > 0 && (rest.n == 0 || rest.p[0] != ' '))
			continue;
		rest = str_from(rest, prefix.n > 0);
		struct str word = str_cut(&rest, ' ');
		if (!str_eq(word, last))
			cli_print(cli, " %.*s", STR_ARG(word));
		last = word;
	}
}

static void options(struct cli *cli, const struct cli_command *c)
{
	struct cli_spec spec;
	cli_spec_parse(c->args, &spec);
	cli_print(cli, "--config --json --help");
	for (size_t i = 0; i < spec.n; i++) {
		if (spec.v[i].is_option)
			cli_print(cli, " %.*s", STR_ARG(spec.v[i].name));
	}
	bool settings = str_starts(str_of(c->words), STR("config ")) && strstr(c->args, "NAME");
	for (int i = 0; settings && i < SETTING_COUNT; i++)
		cli_print(cli, " %s", setting_info((enum setting)i)->name);
}

static void nouns(struct cli *cli)
{
	size_t n;
	const struct cli_command *c = cli_commands(&n);
	struct str last = STR_NONE;
	for (size_t i = 0; i < n; i++) {
		struct str rest = str_of(c[i].words), noun = str_cut(&rest, ' ');
		if (c[i].where == CLI_HIDDEN || !rest.p || str_eq(noun, last))
			continue;
		last = noun;
		cli_print(cli, "\t\"%.*s\") words=\"", STR_ARG(noun));
		next_words(cli, noun);
		cli_print(cli, "\" ;;\n");
	}
}

int cmd_completion(struct cli *cli)
{
	size_t n;
	const struct cli_command *c = cli_commands(&n);
	if (!str_eq(cli_arg(cli, 0), STR("bash")))
		return cli_usage(cli, cli_text(cli, "only bash is known", "bash만 됩니다"));
	cli_print(cli, "# bash completion for pabal\n_pabal()\n{\n"
		       "\tlocal cur=${COMP_WORDS[COMP_CWORD]} typed=\"\" words=\"\" i\n"
		       "\tfor ((i = 1; i < COMP_CWORD && i < 3; i++)); do\n"
		       "\t\tcase ${COMP_WORDS[i]} in -*) break ;; esac\n"
		       "\t\ttyped=\"$typed${typed:+ }${COMP_WORDS[i]}\"\n\tdone\n"
		       "\tcase ${COMP_WORDS[COMP_CWORD-1]} in --config|--password-file)\n"
		       "\t\tCOMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n\tesac\n"
		       "\tcase $typed in\n\t\"\") words=\"");
	next_words(cli, STR(""));
	cli_print(cli, "\" ;;\n");
	nouns(cli);
	for (size_t i = 0; i < n; i++) {
		if (c[i].where == CLI_HIDDEN)
			continue;
		cli_print(cli, "\t\"%s\"*) words=\"", c[i].words);
		options(cli, &c[i]);
		cli_print(cli, "\" ;;\n");
	}
	cli_print(cli, "\tesac\n\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\n"
		       "complete -F _pabal pabal\n");
	return CLI_OK;
}
