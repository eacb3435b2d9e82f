/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* cli/cmd_directory.h: what the verbs of domains, accounts and aliases share. */
#pragma once
#include "cli/cli.h"
#include "cli/control.h"
#include "json/json.h"

/* A request under way: begun with its verb, the caller adds members, sent once. */
struct cli_request {
	struct buf text;
	struct json_writer w;
};
void cli_request_begin(struct cli_request *r, const char *verb);
void cli_request_str(struct cli_request *r, const char *name, struct str s);
/* Nothing when s.p is NULL. */
void cli_request_maybe(struct cli_request *r, const char *name, struct str s);
/* The arguments from the given one on, as a list. */
void cli_request_args(struct cli_request *r, const struct cli *cli, const char *name, size_t from);
/* Frees r. As cli_directory; with --json the reply is printed. */
int cli_request_send(struct cli_request *r, struct cli *cli, struct json_doc **out_reply);
/* The same for verbs whose reply says nothing more: prints the sentence for people. */
int cli_request_done(struct cli_request *r, struct cli *cli, const char *en, const char *ko);

/* --name yes|no: 0, or the exit code after a message. Adds the member if the option was given. */
int cli_request_flag(struct cli_request *r, struct cli *cli, const char *option, const char *name);
const char *cli_yes_no(const struct cli *cli, bool v);
