/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* cli/cli_int.h: for this folder alone. */
#pragma once
#include "cli/cli.h"

enum { CLI_SPEC_MAX = 40 };

/* One part of a command's argument text. */
struct cli_part {
	struct str name;   /* "ADDRESS", "--quota", "-f" */
	struct str value;  /* of an option: "SIZE"; p == NULL: takes none */
	bool is_option, optional, repeated;
};
struct cli_spec {
	struct cli_part v[CLI_SPEC_MAX];
	size_t n;
};
void cli_spec_parse(const char *args, struct cli_spec *out);

/* Splits argv behind the command's words into cli->args and options. 0 or an exit code. */
int cli_parse_arguments(struct cli *cli, const struct str *v, size_t n);

/* Help: all commands, those that begin with the words, or one. */
void cli_help_all(struct cli *cli);
void cli_help_command(struct cli *cli, const struct cli_command *c);
/* The nearest command's words, or NULL. */
const char *cli_suggest(struct str words);
/* "a b c" of v[0..n) */
struct str cli_join(struct arena *a, const struct str *v, size_t n);
/* sendmail's own options from argv[first] on. */
int cli_sendmail(struct cli *cli, int first);
/* Called as postqueue or postsuper: all is done. */
bool cli_is_postfix(struct cli *cli, struct str name, int *out_code);

/* The command whose words v begins with, most words first; *out_words: how many. */
const struct cli_command *cli_match(const struct str *v, size_t n, size_t *out_words);


/* As root: from here on the owner of this directory, so that what is made there is its owner's. */
struct err;
bool cli_become_owner(int dir_fd, struct err *err) __attribute__((warn_unused_result));
/* argv is one that leads to a command; what is wrong with it is said on standard error. */
bool cli_could_run(int argc, char **argv);

/* Prints the reply for --json; true when that was all. */
struct json_value;
bool cli_print_json(struct cli *cli, struct str json);
/* "2026-11-24 10:00" in local time, "-" for 0 */
struct str cli_time(struct arena *a, int64_t unix_s);
