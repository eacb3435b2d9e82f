/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * directory/link.h: a connection to a MariaDB that may go away and come back; for this folder.
 *
 * link_ready() is called before each use: it looks after an idle connection (servers drop them), or opens a
 * new one. While the server is known to be away (it refuses, or does not answer in time) everybody
 * fails at once, and one at a time tries whether it is back: nobody queues up for time-outs. Not locked:
 * belongs to a directory's handle.
 */
#pragma once
#include "base/arena.h"
#include "sql/mariadb.h"
#include <stdatomic.h>

struct link_host {
	const char *host, *socket;
	unsigned port;
};
struct directory_link {
	struct sql_mariadb_options options; /* strings live as long as the link */
	const struct link_host *hosts;      /* tried in order in place of options'; NULL: those of options */
	size_t hosts_n;
	struct sql_db *db;                  /* NULL: not connected yet */
	_Atomic int64_t *away_until_ms;     /* shared by the links of a process */
	int64_t used_ms;
	bool trying;                        /* it is the one that tries */
};
/* The server may be asked. ERR_TEMP: it is away. */
bool link_allowed(struct directory_link *l, struct err *err) MUST_CHECK;
/* A question was not answered in time. */
void link_away(_Atomic int64_t *away_until_ms);

/* True: the connection there is works, as far as that can be known. */
bool link_good(struct directory_link *l);
/* Closes what there is and connects; statements of the old connection are finalized before. ERR_TEMP. */
bool link_open(struct directory_link *l, struct err *err) MUST_CHECK;
static inline bool link_ready(struct directory_link *l, struct err *err)
{
	return link_allowed(l, err) && (link_good(l) || link_open(l, err));
}
void link_close(struct directory_link *l);
