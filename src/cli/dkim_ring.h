/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* cli/dkim_ring.h: the server's DKIM keys for the verbs of pabal dkim (sender_auth/dkim/keyring.h). */
#pragma once
#include "cli/cli.h"
#include "sender_auth/dkim/keyring.h"

struct key;
struct json_value;

/* Loads the configuration and all keys. 0 or an exit code after a message. */
int cli_ring_open(struct cli *cli, struct dkim_keyring *out);
/* --domain and --selector, folded; p == NULL where not given. 0 or an exit code after a message. */
int cli_ring_names(struct cli *cli, struct str *domain, struct str *selector);
/* NULL: there is none. */
struct dkim_key_file *cli_ring_find(struct dkim_keyring *ring, struct str domain, struct str selector);
/* That one of --domain and --selector; where a name is not given, the only one that fits. It has a key. */
int cli_ring_pick(struct cli *cli, struct dkim_keyring *ring, struct str domain, struct str selector,
		  struct dkim_key_file **out);
/* A name that the domain's keys do not have: "p202611", "p202611b"; ed25519: with an "e" behind. */
struct str cli_ring_new_selector(struct cli *cli, struct dkim_keyring *ring, struct str domain, bool ed25519);
/* 0: no key of ours stands there, or --force was given. */
int cli_ring_vacant(struct cli *cli, struct dkim_keyring *ring, const struct dkim_key_file *f);
/* For the audit log, before it is done: act is "import". 0 or an exit code after a message. */
int cli_ring_audit(struct cli *cli, const char *act, const struct dkim_key_file *f);
/* Writes a new key, where it is vacant. act: for the audit log. */
int cli_ring_add(struct cli *cli, const char *act, struct dkim_keyring *ring, struct dkim_key_file *f);
/* pabal dkim list and generate without a file */
int cli_ring_list(struct cli *cli);
int cli_ring_generate(struct cli *cli, unsigned bits);
/* The server shall know, if it runs. */
int cli_ring_changed(struct cli *cli);
