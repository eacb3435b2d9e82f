/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * cli/cli.h: the `pabal` command.
 *
 * A verb is a row of cli/commands.def and a function cmd_<id>(struct cli *) in a file
 * cli/cmd_<noun>*.c. The row's argument text is also its grammar: "ADDRESS [--quota SIZE]
 * [--json]": words in capitals are positional, [..] optional, "..." repeated, --name takes a
 * value when a capital word follows. Help, completion and the manual come from the row.
 * Tables for people, --json for programs. Runs as one short process, single-threaded.
 */
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

/* Where --config and PABAL_CONFIG are not given. */
#define CLI_CONFIG_DEFAULT "/etc/pabal/pabal.conf"

/* sysexits(3), and 1 where a look-up found nothing */
enum cli_exit {
	CLI_OK = 0, CLI_NOT_FOUND = 1, CLI_USAGE = 64, CLI_DATA = 65, CLI_NO_USER = 67, CLI_UNAVAILABLE = 69,
	CLI_SOFTWARE = 70, CLI_OS = 71, CLI_IO = 74, CLI_TEMP = 75, CLI_DENIED = 77, CLI_CONFIG = 78,
};

struct config;
struct cli;

enum cli_where {
	CLI_ALONE,   /* needs no server */
	CLI_EITHER,  /* asks the server when it runs, else works on the files itself */
	CLI_SERVER,  /* the server must run */
	CLI_HIDDEN,  /* for the program itself: not in help */
};

struct cli_command {
	const char *words;   /* "account add" */
	const char *args;
	enum cli_where where;
	const char *help_en, *help_ko;
	const char *example;
	int (*run)(struct cli *cli);
};

struct cli {
	const struct cli_command *command;
	struct arena *arena;       /* until the process ends */
	const char *config_path;   /* --config, PABAL_CONFIG or the built-in one */
	bool json, korean;
	const struct str *args;    /* positional ones */
	size_t nargs;
	struct config *config;     /* after cli_config */
	const struct str *option_names; /* as given, in order: use cli_option */
	const struct str *option_values;
	size_t noptions;
	struct buf out;            /* standard output, written when the command ends or at cli_flush */
	int argc;                  /* all of it, for verbs that parse themselves */
	char **argv;
};

/* The verbs, by their rows. */
#define COMMAND(id, ...) int cmd_##id(struct cli *cli);
#include "cli/commands.def"
#undef COMMAND

/* The whole program but for the includes of main.c. */
int cli_main(int argc, char **argv);

const struct cli_command *cli_commands(size_t *out_count);
/* The option's last value ("--quota"), "" for one without value; p == NULL when not given. */
struct str cli_option(const struct cli *cli, const char *name);
static inline bool cli_has(const struct cli *cli, const char *name) { return cli_option(cli, name).p; }
/* The i-th value of an option given several times; p == NULL after the last. */
struct str cli_option_at(const struct cli *cli, const char *name, size_t i);
struct str cli_arg(const struct cli *cli, size_t i); /* p == NULL when absent */

/* Loads the configuration once. On failure the problems are on standard error and the exit code
 * is returned; 0 otherwise. */
int cli_config(struct cli *cli);

/* Messages on standard error; the code comes back: return cli_fail(cli, CLI_DATA, "..."). */
int cli_fail(struct cli *cli, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int cli_fail_err(struct cli *cli, const struct err *err);
int cli_usage(struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void cli_print(struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void cli_flush(struct cli *cli);
/* The exit code for a kind of failure. */
int cli_exit_of(const struct err *err);
/* The text for the user's language. */
const char *cli_text(const struct cli *cli, const char *en, const char *ko)
	__attribute__((format_arg(2), format_arg(3)));

/* A new password: --password-stdin, --password-file FILE, or asked twice on the terminal. The
 * caller wipes it (base/secret.h). 0, or the exit code after a message. */
struct secret;
int cli_password(struct cli *cli, bool twice, struct secret *out);
/* The same for the passphrase of a key file: --passphrase-stdin, --passphrase-file FILE. */
int cli_passphrase(struct cli *cli, bool twice, struct secret *out);
/* Asks "y/N" on a terminal; without one only --yes agrees. */
bool cli_confirm(struct cli *cli, const char *question);
