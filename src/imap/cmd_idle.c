/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/cmd_idle.c: IDLE (RFC 9051 6.3.13). While it waits it holds no memory of its own: the
 * view's watcher wakes the connection, what changed is written, and all is given back again.
 */
#include "imap/notify.h"
#include "imap/stream.h"

enum { DONE_MAX = 64 };

static void wake(void *conn) { conn_wake(conn); }

static bool begin(struct imap *s, struct command *c)
{
	buf_add(imap_out(s), STR("+ idling\r\n"));
	c->state = s;
	if (!s->view)
		return true;
	view_watch(s->view, wake, s->conn);
	return imap_update(s, false);
}

static bool go_on(struct imap *s)
{
	if (s->view && !imap_update(s, false))
		return false;
	return notify_tell(s);
}

static enum step end(struct imap *s, struct str line)
{
	if (s->view)
		view_watch(s->view, NULL, NULL);
	if (!str_eq_nocase(line, STR("DONE")))
		return imap_bad(s, "Expected DONE");
	return imap_ok(s, "IDLE completed");
}

enum step cmd_idle(struct imap *s, struct command *c)
{
	struct str in = imap_in(s);

	if (c->state ? !go_on(s) : !begin(s, c))
		return STEP_DONE;
	size_t end_at = str_find_byte(in, '\n');
	if (end_at != STR_NPOS) {
		struct str line = str_sub(in, 0, end_at);
		if (str_ends(line, STR("\r")))
			line.n--;
		enum step step = end(s, line);
		imap_consume(s, end_at + 1);
		return step;
	}
	if (in.n > DONE_MAX || imap_eof(s) || s->draining) {
		imap_bye(s, s->draining ? "[UNAVAILABLE] Server is shutting down" : "Expected DONE");
		return STEP_DONE;
	}
	arena_release(s->arena);
	return STEP_IDLE;
}
