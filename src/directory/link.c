/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "directory/link.h"
#include "base/clock.h"

enum {
	IDLE_MS = 1000, /* after so long a connection is asked before it is trusted */
	AWAY_MS = 1000, /* after a failure nobody tries again for so long */
};

bool link_good(struct directory_link *l)
{
	int64_t now = clock_mono_ms();
	struct err ignored = {0};
	if (!l->db || sql_lost(l->db))
		return false;
	if (now - l->used_ms > IDLE_MS && !sql_ping(l->db, &ignored))
		return false;
	l->used_ms = now;
	return true;
}

static bool connect_any(struct directory_link *l, struct err *err)
{
	struct sql_mariadb_options o = l->options;
	for (size_t i = 0; i < l->hosts_n; i++) {
		o.host = l->hosts[i].host;
		o.socket = l->hosts[i].socket;
		o.port = l->hosts[i].port;
		if (sql_mariadb_open(&o, &l->db, err))
			return true;
	}
	return l->hosts_n == 0 && sql_mariadb_open(&o, &l->db, err);
}

bool link_open(struct directory_link *l, struct err *err)
{
	int64_t now = clock_mono_ms();
	link_close(l);
	if (now < atomic_load(l->away_until_ms)) {
		err_set(err, ERR_TEMP, "temporary failure of the database");
		return err_cause(err, "the database server was away a moment ago");
	}
	if (!connect_any(l, err)) {
		/* Whatever it is (no such user, too many connections): it is not the asker's doing. */
		err->kind = ERR_TEMP;
		atomic_store(l->away_until_ms, clock_mono_ms() + AWAY_MS);
		return false;
	}
	l->used_ms = now;
	return true;
}

void link_close(struct directory_link *l)
{
	sql_close(l->db);
	l->db = NULL;
}
