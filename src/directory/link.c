/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "directory/link.h"
#include "base/clock.h"

enum {
	IDLE_MS = 1000, /* after so long a connection is asked before it is trusted */
	AWAY_MS = 1000, /* after a failure nobody tries again for so long */
};

void link_away(_Atomic int64_t *away_until_ms)
{
	atomic_store(away_until_ms, clock_mono_ms() + AWAY_MS);
}

bool link_allowed(struct directory_link *l, struct err *err)
{
	int64_t now = clock_mono_ms(), until = atomic_load(l->away_until_ms);
	if (until == 0 || l->trying)
		return true;
	if (now >= until && atomic_compare_exchange_strong(l->away_until_ms, &until,
							   now + 3 * (int64_t)l->options.timeout_ms)) {
		l->trying = true;
		return true;
	}
	err_set(err, ERR_TEMP, "temporary failure of the database");
	return err_cause(err, "the database server was away a moment ago");
}

static void is_back(struct directory_link *l)
{
	if (l->trying)
		atomic_store(l->away_until_ms, 0);
	l->trying = false;
}

bool link_good(struct directory_link *l)
{
	int64_t now = clock_mono_ms();
	struct err ignored = {0};
	if (!l->db || sql_lost(l->db))
		return false;
	if (now - l->used_ms > IDLE_MS && !sql_ping(l->db, &ignored))
		return false;
	l->used_ms = now;
	is_back(l);
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
	link_close(l);
	if (!connect_any(l, err)) {
		/* Whatever it is (no such user, too many connections): it is not the asker's doing. */
		err->kind = ERR_TEMP;
		l->trying = false;
		link_away(l->away_until_ms);
		return false;
	}
	l->used_ms = clock_mono_ms();
	is_back(l);
	return true;
}

void link_close(struct directory_link *l)
{
	sql_close(l->db);
	l->db = NULL;
}
