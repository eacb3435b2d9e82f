/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * XLOCAL: what `pabal sendmail` says of itself on its own socket, for the audit log (R86). Who it is
 * says the kernel (conn_facts()->peer_uid); the command that called it and the directory are its
 * word: nobody but root could check them.
 */
#include "smtp/server/server_int.h"

static void set(struct buf *b, struct str s)
{
	enum { SHOWN_MAX = 256 };
	buf_clear(b);
	buf_add(b, str_sub(s, 0, SHOWN_MAX));
}

static bool read_one(struct smtp_session *s, struct arena *a, const struct smtp_param *p)
{
	struct str value;
	struct err err;
	if (!p->has_value || !xtext_decode(a, p->value, &value, &err))
		return false;
	if (str_eq_nocase(p->keyword, STR("COMMAND")))
		set(&s->local_command, value);
	else if (str_eq_nocase(p->keyword, STR("DIRECTORY")))
		set(&s->local_directory, value);
	else if (str_eq_nocase(p->keyword, STR("UNLISTED")))
		s->unlisted = str_eq_nocase(value, STR("YES"));
	else
		return false;
	return true;
}

void verb_xlocal(struct smtp_session *s, struct str args)
{
	ARENA_SCOPED a = arena_new();
	struct smtp_params params;
	struct scan scan = scan_of(args);
	if (s->tx) {
		smtp_error(s, 503, "5.5.1", "not within a transaction");
		return;
	}
	bool good = smtp_scan_params(&scan, &params);
	for (size_t i = 0; good && i < params.n; i++)
		good = read_one(s, a, &params.v[i]);
	if (!good)
		smtp_error(s, 501, "5.5.4", "bad attribute");
	else
		smtp_reply(smtp_out(s), 250, "2.0.0", "ok");
}
