/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * proc/proc.h: the server's processes, as the command line sees them (DESIGN section 1,
 * PROCESSES.md): the master, which starts and watches, and the roles it starts.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"

struct config;

enum serve_news { SERVE_STARTED, SERVE_UPGRADED, SERVE_RELOADED };
struct serve_options {
	const char *config_path;
	/* Called when every role is ready, and when listeners have changed; NULL: nothing. */
	void (*ready)(void *ctx, const struct config *c, enum serve_news news);
	/* Called before the start (a former server may have been killed) and at the end; NULL: nothing. */
	void (*ended)(void *ctx);
	void *ctx;
	char **argv; /* of this process: an upgrade runs the new program with it */
};
/* Runs the server in the foreground until it is stopped; an exit code of sysexits(3). Problems go to
 * standard error. */
int proc_serve(const struct serve_options *o);

/* `pabal role NAME INDEX`, internal: descriptors come from the master. Does not return on success. */
int role_main(struct str name, unsigned index);

/* The directories of the roles, with their owners and modes: at each start, and by `pabal prepare` where the
 * server itself may not give files away. */
bool proc_prepare(const struct config *c, struct err *err) MUST_CHECK;

/* What `pabal adopt` is for: descriptor 3 is what a running master would leave to this program at an
 * upgrade. Is it understood, and could a server start? */
bool proc_adopt_check(const char *config_path, struct err *err) MUST_CHECK;
#define PROC_ADOPTS "adopts" /* what it then prints */

/* One request to a running master: 's' status, 'r' reload, 'q' stop, 'u' upgrade, 'l' open logs again. The
 * answer is a JSON object; with 'q' it comes when the server has ended, with 'u' when the new program is
 * ready. ERR_NOT_FOUND: no server runs.
 * ERR_DENIED: not for this user. */
bool proc_ask_master(const char *run_dir, char request, struct buf *reply, struct err *err) MUST_CHECK;

/* {"pid", "host", "ports": {...}} without the closing brace's accounts: members of an object. */
struct json_writer;
void proc_write_ready(const struct config *c, struct json_writer *w);

/* What the role can still do inside its sandbox, tried in children: a JSON object of acts. While no server
 * runs on these files. */
bool proc_probe(const struct config *c, struct str role, struct buf *out, struct err *err) MUST_CHECK;
