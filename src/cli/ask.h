/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* cli/ask.h: what the verbs about sender authentication share: a resolver, a message, a key. */
#pragma once
#include "cli/cli.h"

struct dns_resolver;
struct key;

enum { CLI_MESSAGE_MAX = 512 << 20 };

/* --dns SERVER, else the configured one, else the system's. 0 or an exit code after a message. */
int cli_resolver(struct cli *cli, struct dns_resolver **out);
/* All of standard input, or of the file ("-" is standard input too). */
int cli_read(struct cli *cli, struct str file, size_t max, struct buf *out);
/* A message from standard input: as it is, and with line ends as on the wire. */
int cli_read_message(struct cli *cli, struct buf *raw, struct buf *crlf);
/* A key file for signing; asks for its passphrase if it has one. Warns of weak keys. */
int cli_dkim_key(struct cli *cli, struct str file, struct key **out);
/* --name N as a number; false after a message. */
bool cli_number(struct cli *cli, const char *option, int64_t otherwise, int64_t *out, int *out_code);
/* "192.0.2.1" or "2001:db8::1" to 4 or 16 octets in the arena. */
bool cli_ip(struct cli *cli, struct str text, struct str *out);
