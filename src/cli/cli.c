/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* From argv to a command: options that every verb takes, the words, then the verb's own. */
#include "cli/cli.h"
#include "cli/cli_int.h"
#include "config/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const struct cli_command commands[] = {
#define COMMAND(id, words_, args_, where_, example_, en, ko)                                         \
	{.words = words_, .args = args_, .where = where_, .help_en = en, .help_ko = ko,              \
	 .example = example_, .run = cmd_##id},
#include "cli/commands.def"
#undef COMMAND
};

const struct cli_command *cli_commands(size_t *out_count)
{
	*out_count = sizeof commands / sizeof *commands;
	return commands;
}

const char *cli_text(const struct cli *cli, const char *en, const char *ko)
{
	return cli->korean ? ko : en;
}

static void complain(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));
static void complain(const char *fmt, va_list ap)
{
	fputs("pabal: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
}

int cli_fail(struct cli *cli, int code, const char *fmt, ...)
{
	va_list ap;
	cli_flush(cli);
	va_start(ap, fmt);
	complain(fmt, ap);
	va_end(ap);
	return code;
}

int cli_usage(struct cli *cli, const char *fmt, ...)
{
	va_list ap;
	cli_flush(cli);
	va_start(ap, fmt);
	complain(fmt, ap);
	va_end(ap);
	if (cli->command)
		fprintf(stderr, "%s: pabal %s %s\n%s: %s\n", cli_text(cli, "usage", "사용법"),
			cli->command->words, cli->command->args, cli_text(cli, "example", "예"),
			cli->command->example);
	return CLI_USAGE;
}

int cli_exit_of(const struct err *err)
{
	switch (err->kind) {
	case ERR_NONE:
		return CLI_OK;
	case ERR_SYNTAX:
	case ERR_LIMIT:
	case ERR_EXISTS:
	case ERR_CONFLICT:
	case ERR_QUOTA:
		return CLI_DATA;
	case ERR_DENIED:
		return CLI_DENIED;
	case ERR_NOT_FOUND:
		return CLI_NOT_FOUND;
	case ERR_TEMP:
	case ERR_GONE:
		return CLI_TEMP;
	case ERR_IO:
		return CLI_IO;
	case ERR_CORRUPT:
		break;
	}
	return CLI_SOFTWARE;
}

int cli_fail_err(struct cli *cli, const struct err *err)
{
	bool whole = strncmp(err->cause, err->text, strlen(err->text)) == 0; /* the cause says it all */
	if (whole && err->cause[0])
		return cli_fail(cli, cli_exit_of(err), "%s", err->cause);
	bool more = err->cause[0] && strcmp(err->cause, err->text) != 0;
	return cli_fail(cli, cli_exit_of(err), "%s%s%s%s", err->text, more ? " (" : "",
			more ? err->cause : "", more ? ")" : "");
}

void cli_print(struct cli *cli, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	buf_add(&cli->out, arena_vfmt(cli->arena, fmt, ap));
	va_end(ap);
}

void cli_flush(struct cli *cli)
{
	if (cli->out.n)
		fwrite(cli->out.p, 1, cli->out.n, stdout);
	fflush(stdout);
	buf_clear(&cli->out);
}

bool cli_print_json(struct cli *cli, struct str json)
{
	if (!cli->json)
		return false;
	buf_add(&cli->out, json);
	buf_byte(&cli->out, '\n');
	return true;
}

struct str cli_time(struct arena *a, int64_t unix_s)
{
	time_t t = (time_t)unix_s;
	struct tm tm;
	char text[32];
	if (unix_s == 0 || !localtime_r(&t, &tm) || strftime(text, sizeof text, "%Y-%m-%d %H:%M", &tm) == 0)
		return STR("-");
	return arena_str(a, str_of(text));
}

int cli_config(struct cli *cli)
{
	BUF_SCOPED problems = {0};
	struct err err = {0};
	if (cli->config)
		return 0;
	if (config_load(cli->config_path, &problems, &cli->config, &err))
		return 0;
	cli_flush(cli);
	fwrite(problems.p, 1, problems.n, stderr);
	if (err.kind == ERR_NOT_FOUND && access(cli->config_path, F_OK) < 0)
		fprintf(stderr, "pabal: %s\n",
			cli_text(cli,
				 "name the file with --config FILE or PABAL_CONFIG (after `make run`: "
				 "--config var/demo); `pabal quickstart` makes one",
				 "--config 파일 또는 PABAL_CONFIG로 지정하십시오(`make run` 뒤에는 --config var/demo). "
				 "`pabal quickstart`로 만들 수 있습니다"));
	return CLI_CONFIG;
}

struct str cli_join(struct arena *a, const struct str *v, size_t n)
{
	struct str s = STR("");
	for (size_t i = 0; i < n; i++)
		s = arena_fmt(a, "%.*s%s%.*s", STR_ARG(s), i ? " " : "", STR_ARG(v[i]));
	return s;
}

/* How many words of v the command's words are; 0: other words. */
static size_t words_match(const struct cli_command *c, const struct str *v, size_t n)
{
	struct str rest = str_of(c->words);
	size_t i = 0;
	while (rest.p) {
		if (i >= n || !str_eq(str_cut(&rest, ' '), v[i]))
			return 0;
		i++;
	}
	return i;
}

const struct cli_command *cli_match(const struct str *v, size_t n, size_t *out_words)
{
	const struct cli_command *best = NULL;
	*out_words = 0;
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
		size_t words = words_match(&commands[i], v, n);
		if (words > *out_words) {
			*out_words = words;
			best = &commands[i];
		}
	}
	return best;
}

static bool locale_is_korean(void)
{
	static const char *const names[] = {"LC_ALL", "LC_MESSAGES", "LANG"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		const char *value = getenv(names[i]);
		if (value && *value)
			return strncmp(value, "ko", 2) == 0;
	}
	return false;
}

struct invocation {
	struct str *v; /* what is left of argv */
	size_t n;
	bool help, version;
};

/* Takes out what every verb takes. "--" leaves the rest alone. */
static int take_common(struct cli *cli, struct invocation *in)
{
	bool options = true;
	for (int i = 1; i < cli->argc; i++) {
		struct str s = str_of(cli->argv[i]);
		if (options && str_eq(s, STR("--")))
			options = false;
		if (options && (str_eq(s, STR("--help")) || str_eq(s, STR("-h")))) {
			in->help = true;
		} else if (options && str_eq(s, STR("--json"))) {
			cli->json = true;
		} else if (options && str_eq(s, STR("--version"))) {
			in->version = true;
		} else if (options && str_starts(s, STR("--config="))) {
			cli->config_path = cli->argv[i] + 9;
		} else if (options && str_eq(s, STR("--config"))) {
			if (i + 1 >= cli->argc)
				return cli_fail(cli, CLI_USAGE, "%s", cli_text(cli, "--config needs a file",
									       "--config 뒤에 파일이 필요합니다"));
			cli->config_path = cli->argv[++i];
		} else {
			in->v[in->n++] = s;
		}
	}
	return 0;
}

/* --config DIR is the file that quickstart makes there. */
static void file_of_directory(struct cli *cli)
{
	struct stat st;
	if (stat(cli->config_path, &st) == 0 && S_ISDIR(st.st_mode))
		cli->config_path =
			arena_cstr(cli->arena, arena_fmt(cli->arena, "%s/pabal.conf", cli->config_path));
}

/* "pabal account" lists the verbs of accounts. */
static bool is_noun(struct str word)
{
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
		struct str words = str_of(commands[i].words);
		if (str_starts(words, word) && words.n > word.n && words.p[word.n] == ' ')
			return true;
	}
	return false;
}

static void help_on_noun(struct cli *cli, struct str noun)
{
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
		struct str words = str_of(commands[i].words);
		if (str_starts(words, noun) && words.n > noun.n && words.p[noun.n] == ' ')
			cli_print(cli, "  pabal %s %s\n      %s\n", commands[i].words, commands[i].args,
				  cli_text(cli, commands[i].help_en, commands[i].help_ko));
	}
}

static int unknown_command(struct cli *cli, const struct invocation *in)
{
	struct str first = in->v[0];
	if (is_noun(first) && (in->help || in->n == 1)) {
		help_on_noun(cli, first);
		return in->help ? CLI_OK : CLI_USAGE;
	}
	struct str words = cli_join(cli->arena, in->v, in->n < 2 ? in->n : 2);
	const char *near = cli_suggest(words);
	if (!near)
		near = cli_suggest(first);
	return cli_fail(cli, CLI_USAGE,
			cli_text(cli, "no command \"%.*s\"%s%s%s; see pabal help",
				 "\"%.*s\" 명령이 없습니다%s%s%s. pabal help를 보십시오"),
			STR_ARG(words), near ? cli_text(cli, "; did you mean \"", "; 혹시 \"") : "",
			near ? near : "", near ? "\"" : "");
}

static struct str own_name(const struct cli *cli)
{
	struct str name = str_of(cli->argc > 0 ? cli->argv[0] : NULL);
	return str_from(name, str_find_last_byte(name, '/') + 1);
}

/* sendmail has options of its own, which look like none of ours; only --config before it is ours. */
static bool is_sendmail(struct cli *cli, int *out_first)
{
	struct str name = own_name(cli);
	int i = 1;
	*out_first = 1;
	if (str_eq(name, STR("sendmail")) || str_eq(name, STR("newaliases")))
		return true;
	if (cli->argc > i + 1 && strcmp(cli->argv[i], "--config") == 0)
		cli->config_path = cli->argv[i + 1], i += 2;
	*out_first = i + 1;
	return cli->argc > i && strcmp(cli->argv[i], "sendmail") == 0 &&
	       (cli->argc == i + 1 || (strcmp(cli->argv[i + 1], "--help") != 0));
}

/* Called by a name that administrators know: "mailq" is a link to the program. */
static void verb_of_name(const struct cli *cli, struct invocation *in)
{
	if (str_eq(own_name(cli), STR("mailq"))) {
		in->v[in->n++] = STR("queue");
		in->v[in->n++] = STR("list");
	}
}

/* Everything but the command itself; cli->command is set when it shall run. */
static int prepare(struct cli *cli)
{
	struct invocation in = {.v = arena_array(cli->arena, (size_t)cli->argc + 3, sizeof *in.v)};
	size_t words;
	int first;
	if (is_sendmail(cli, &first))
		return cli_sendmail(cli, first);
	int rc;
	if (cli_is_postfix(cli, own_name(cli), &rc))
		return rc;
	verb_of_name(cli, &in);
	rc = take_common(cli, &in);
	if (rc != 0)
		return rc;
	file_of_directory(cli);
	if (in.version && in.n == 0)
		in.v[in.n++] = STR("version");
	if (in.n == 0) {
		cli_help_all(cli);
		return in.help ? CLI_OK : CLI_USAGE;
	}
	cli->command = cli_match(in.v, in.n, &words);
	if (!cli->command)
		return unknown_command(cli, &in);
	if (!in.help)
		return cli_parse_arguments(cli, in.v + words, in.n - words);
	cli_help_command(cli, cli->command);
	cli->command = NULL;
	return CLI_OK;
}

static int dispatch(struct cli *cli)
{
	int rc = prepare(cli);

	return rc || !cli->command ? rc : cli->command->run(cli);
}

bool cli_could_run(int argc, char **argv)
{
	ARENA_SCOPED a = arena_new();
	struct cli cli = {.argc = argc, .argv = argv, .arena = a, .config_path = CLI_CONFIG_DEFAULT};
	bool good = prepare(&cli) == CLI_OK && cli.command;

	buf_free(&cli.out);
	return good;
}

int cli_main(int argc, char **argv)
{
	const char *from_environment = getenv("PABAL_CONFIG");
	struct cli cli = {
		.argc = argc, .argv = argv, .arena = arena_new(), .korean = locale_is_korean(),
		.config_path = from_environment && *from_environment ? from_environment : CLI_CONFIG_DEFAULT,
	};
	int rc = dispatch(&cli);
	cli_flush(&cli);
	if (ferror(stdout) && rc == 0)
		rc = CLI_IO;
	buf_free(&cli.out);
	config_unref(cli.config);
	arena_free(cli.arena);
	return rc;
}
