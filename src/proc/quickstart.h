/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * proc/quickstart.h: a whole server in one directory, for trying, testing and learning: configuration,
 * directory, self-signed certificate, accounts with random passwords. A directory that has a
 * configuration is used as it is.
 */
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

struct quickstart {
	struct str dir;       /* as given */
	struct str domain;    /* needed when the directory is new */
	struct str host;      /* address to listen on; empty: 127.0.0.1 */
	unsigned port_base;   /* 0: 10000 */
	const struct str *accounts; /* "user" or "user@domain"; none: test1, test2 */
	size_t accounts_n;
	const struct str *aliases;  /* "source=destination[,destination]" */
	size_t aliases_n;
};
struct quickstart_account {
	struct str address, password;
};
struct quickstart_made {
	const char *dir;         /* absolute */
	const char *config_path;
	bool fresh;              /* was made now */
	const struct quickstart_account *accounts;
	size_t accounts_n;
};
/* ERR_CONFLICT: the directory holds something else. Everything lives in the arena. */
bool quickstart_make(const struct quickstart *q, struct arena *a, struct quickstart_made *out,
		     struct err *err) MUST_CHECK;
struct config;
/* DIR/ready.json, for programs: pid, host, ports, accounts. */
bool quickstart_write_ready(const struct quickstart_made *m, const struct config *c,
			    struct err *err) MUST_CHECK;
