/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * cli/control.h: asking a running server. Each role that has verbs listens on
 * run_dir/control/<role>.sock (stream): one line of JSON in, one line of JSON back, many times.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "json/json.h"

struct arena;
struct cli;

enum { CONTROL_LINE_MAX = 64 << 20 };

/* *out_fd is -1 (and true returned) when no server listens there. ERR_DENIED: it does, but not
 * for this user. */
bool control_connect(const char *run_dir, const char *role, int *out_fd, struct err *err) MUST_CHECK;
/* Sends request and a newline, reads one line without its newline. Blocks, 30 s at most. */
bool control_call(int fd, struct str request, struct buf *reply, struct err *err) MUST_CHECK;

/* One request to the directory: over auth's socket when the server runs, else on the database
 * itself. 0 and the parsed reply ({"ok": true}), or the exit code after a message. Printing the
 * reply, json_value_print for --json, is the caller's part. */
int cli_directory(struct cli *cli, struct str request, struct json_doc **out_reply);
/* The same without a message: *out_reply also for {"ok": false}. */
bool cli_directory_call(struct cli *cli, struct str request, struct json_doc **out_reply,
			struct err *err) MUST_CHECK;
/* What the command is about to do to files of its own, for the audit log: over the queue's socket when the
 * server runs. 0 or an exit code after a message: then it is not to be done. */
int cli_audit(struct cli *cli, struct str request);
/* Says that there is none, and how to start it; the exit code. */
int cli_no_server(struct cli *cli);
/* The run_dir of the server that has read this file, while the file itself is wrong; NULL: none is found. */
const char *find_server(struct arena *a, const char *config_path);
/* A master's answer to reload or upgrade; its problems go to standard error. 0, or the exit code after the
 * refusal's text. */
int cli_master_did(struct cli *cli, const struct json_value *reply, const char *refusal);
/* A request to another role, which must run. */
int cli_role(struct cli *cli, const char *role, struct str request, struct json_doc **out_reply);
