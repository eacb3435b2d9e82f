/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * OpenMetrics wants all samples of a family together, so each family goes through all roles. Counters begin
 * anew with their process, which scrapers understand.
 */
#include "proc/metrics.h"
#include "json/json.h"

struct writing {
	struct buf *out;
	const struct json_value *roles;
};

/* Label values: backslash, quote and line end are escaped, other controls and broken UTF-8 go. */
static void put_label(struct buf *out, const char *name, struct str value, bool first)
{
	BUF_SCOPED clean = {0};
	json_quote(&clean, value); /* "...": also valid here but for \uXXXX and \/ */
	buf_fmt(out, "%s%s=\"", first ? "{" : ",", name);
	struct str s = str_sub(buf_str(&clean), 1, clean.n - 2);
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] != '\\') {
			buf_byte(out, s.p[i]);
			continue;
		}
		char next = i + 1 < s.n ? s.p[++i] : '\\';
		if (next == '"' || next == '\\' || next == 'n')
			buf_fmt(out, "\\%c", next);
		else
			buf_byte(out, '_');
		if (next == 'u')
			i += 4;
	}
	buf_byte(out, '"');
}

static void family(struct writing *w, const char *name, const char *type, const char *unit, const char *help)
{
	buf_fmt(w->out, "# TYPE pabal_%s %s\n", name, type);
	if (unit)
		buf_fmt(w->out, "# UNIT pabal_%s %s\n", name, unit);
	buf_fmt(w->out, "# HELP pabal_%s %s\n", name, help);
}

static const struct json_value *role_at(const struct writing *w, size_t i)
{
	return json_value_item(w->roles, i);
}

static struct str name_of(const struct json_value *role)
{
	return json_value_str_or(json_value_member(role, "name"), STR("?"));
}

static struct str kind_of(const struct json_value *role)
{
	return json_value_str_or(json_value_member(role, "role"), STR("?"));
}

/* ---- one number of each role ---- */

static const struct {
	const char *family, *suffix, *type, *unit, *help;
	bool in_detail;
	const char *member;
	int64_t factor;
	const char *only; /* of this role; NULL: all that have it */
} numbers[] = {
	{"role_restarts", "_total", "counter", NULL, "Times that the process was started again.", false,
	 "restarts", 1, NULL},
	{"role_uptime_seconds", "", "gauge", "seconds", "Age of the process.", false, "uptime_s", 1,
	 NULL},
	{"role_memory_bytes", "", "gauge", "bytes", "Proportional set size.", true, "pss_kib", 1024,
	 NULL},
	{"connections", "", "gauge", NULL, "Open connections.", true, "connections", 1, NULL},
	{"connections_before_login", "", "gauge", NULL, "Open connections that nobody has logged in on.",
	 true, "before_login", 1, NULL},
	{"connections_accepted", "_total", "counter", NULL, "Connections taken.", true, "accepted", 1,
	 NULL},
	{"connections_refused", "_total", "counter", NULL, "Connections refused by a limit.", true,
	 "refused", 1, NULL},
	{"workers", "", "gauge", NULL, "Worker threads.", true, "workers", 1, NULL},
	{"journal_fill_percent", "", "gauge", NULL, "How full the journal is.", true,
	 "journal_fill_percent", 1, NULL},
	{"queue_waiting", "", "gauge", NULL, "Messages accepted and not yet settled elsewhere.", true,
	 "waiting", 1, "queue"},
	{"queue_waiting_bytes", "", "gauge", "bytes", "Memory that they take.", true, "waiting_bytes", 1,
	 "queue"},
	{"queue_deferred", "", "gauge", NULL, "Recipients that wait to be tried again.", true, "deferred",
	 1, "queue"},
	{"queue_held", "", "gauge", NULL, "Recipients that are held.", true, "held", 1, "queue"},
	{"queue_oldest_seconds", "", "gauge", "seconds", "Age of the oldest recipient that waits.", true,
	 "oldest_s", 1, "queue"},
	{"disk_free_bytes", "", "gauge", "bytes", "Free space where the spool is.", true,
	 "disk_free_bytes", 1, "queue"},
	{"log_lines_lost", "_total", "counter", NULL, "Log lines that could not be written.", true,
	 "lost", 1, "log"},
	{"audit_lines", "_total", "counter", NULL, "Lines of the audit log.", true, "audit_lines", 1,
	 "log"},
};

static void write_number(struct writing *w, size_t row)
{
	bool begun = false;
	for (size_t i = 0; i < json_value_count(w->roles); i++) {
		const struct json_value *r = role_at(w, i);
		const struct json_value *from = numbers[row].in_detail ? json_value_member(r, "detail") : r;
		int64_t v;
		if (!json_value_int(json_value_member(from, numbers[row].member), &v) ||
		    (numbers[row].only && !str_eq(kind_of(r), str_of(numbers[row].only))))
			continue;
		if (!begun)
			family(w, numbers[row].family, numbers[row].type, numbers[row].unit,
			       numbers[row].help);
		begun = true;
		buf_fmt(w->out, "pabal_%s%s", numbers[row].family, numbers[row].suffix);
		put_label(w->out, "process", name_of(r), true);
		if (v > INT64_MAX / numbers[row].factor || v < 0)
			v = 0;
		v *= numbers[row].factor;
		buf_fmt(w->out, "} %lld\n", (long long)v);
	}
}

/* 1 for each alarm that is on. */
static void write_alarms(struct writing *w)
{
	family(w, "alarm", "gauge", NULL, "1 for each alarm that is on.");
	for (size_t i = 0; i < json_value_count(w->roles); i++) {
		const struct json_value *list =
			json_value_member(json_value_member(role_at(w, i), "detail"), "alarms");
		for (size_t k = 0; k < json_value_count(list); k++) {
			const struct json_value *name = json_value_member(json_value_item(list, k), "alarm");
			buf_add(w->out, STR("pabal_alarm"));
			put_label(w->out, "alarm", json_value_str_or(name, STR("?")), true);
			buf_add(w->out, STR("} 1\n"));
		}
	}
}

static void write_up(struct writing *w)
{
	family(w, "role_up", "gauge", NULL, "1 when the process does its work.");
	for (size_t i = 0; i < json_value_count(w->roles); i++) {
		const struct json_value *r = role_at(w, i);
		struct str state = json_value_str_or(json_value_member(r, "state"), STR(""));
		buf_add(w->out, STR("pabal_role_up"));
		put_label(w->out, "process", name_of(r), true);
		buf_fmt(w->out, "} %d\n", str_eq(state, STR("ready")));
	}
}

/* ---- events ---- */

/* Families that have a name of their own; all events are in pabal_events besides. */
static const struct {
	const char *event, *family, *label, *value; /* value NULL: the event's own label */
	const char *help;
} events[] = {
	{"smtp.accept", "messages_accepted", "service", NULL, "Messages accepted, durably."},
	{"smtp.refuse", "messages_refused", NULL, NULL, "Messages refused after their content."},
	{"smtp.rcpt.refuse", "recipients_refused", "reason", NULL, "Recipients refused, by rule."},
	{"queue.placed", "deliveries", "to", "mailbox", "Deliveries to mailboxes and to other servers."},
	{"queue.relayed", "deliveries", "to", "remote", NULL},
	{"queue.attempt", "attempts_failed", "code", NULL,
	 "Attempts that another server did not take, by reply code."},
	{"queue.deferred", "deferrals", NULL, NULL, "Times that mail was put off."},
	{"queue.bounced", "bounces", NULL, NULL, "Recipients given up, with a notice to the sender."},
	{"queue.action.failed", "delivery_failures", NULL, NULL,
	 "Recipients here that could not be delivered to."},
	{"auth.login", "logins", "result", "ok", "Logins, by result."},
	{"auth.login.failed", "logins", "result", "fail", NULL},
	{"auth.login.temporary", "logins", "result", "temporary", NULL},
	{"smtp.session", "sessions", "protocol", "smtp", "Sessions that have ended."},
	{"imap.end", "sessions", "protocol", "imap", NULL},
	{"pop3.end", "sessions", "protocol", "pop3", NULL},
	{"smtp.local", "local_messages", NULL, NULL, "Messages handed in by programs of this host."},
	{"admin.act", "admin_acts", NULL, NULL, "Acts of administrators."},
};

typedef void event_fn(struct writing *w, const struct json_value *role, const struct json_value *event,
		      const void *ctx);

static void each_event(struct writing *w, event_fn *fn, const void *ctx)
{
	for (size_t i = 0; i < json_value_count(w->roles); i++) {
		const struct json_value *r = role_at(w, i);
		const struct json_value *list = json_value_member(json_value_member(r, "detail"), "events");
		for (size_t k = 0; k < json_value_count(list); k++)
			fn(w, r, json_value_item(list, k), ctx);
	}
}

static struct str part(const struct json_value *event, size_t i)
{
	return json_value_str_or(json_value_item(event, i), STR(""));
}

static int64_t count_of(const struct json_value *event)
{
	int64_t n = json_value_int_or(json_value_item(event, 3), 0);
	return n < 0 ? 0 : n;
}

static void put_named(struct writing *w, const struct json_value *role, const struct json_value *event,
		      const void *ctx)
{
	size_t row = *(const size_t *)ctx;
	if (!str_eq(part(event, 0), str_of(events[row].event)))
		return;
	buf_fmt(w->out, "pabal_%s_total", events[row].family);
	put_label(w->out, "process", name_of(role), true);
	if (events[row].label)
		put_label(w->out, events[row].label,
			  events[row].value ? str_of(events[row].value) : part(event, 2), false);
	/* What the event is counted by besides, so that each sample stands once. */
	if (!events[row].label || events[row].value)
		put_label(w->out, "by", part(event, 2), false);
	buf_fmt(w->out, "} %lld\n", (long long)count_of(event));
}

static void put_any(struct writing *w, const struct json_value *role, const struct json_value *event,
		    const void *ctx)
{
	(void)ctx;
	buf_add(w->out, STR("pabal_events_total"));
	put_label(w->out, "process", name_of(role), true);
	put_label(w->out, "event", part(event, 0), false);
	put_label(w->out, "by", part(event, 1), false);
	put_label(w->out, "value", part(event, 2), false);
	buf_fmt(w->out, "} %lld\n", (long long)count_of(event));
}

/* An event of two names, one family: the second row has no help. */
static void write_events(struct writing *w)
{
	for (size_t row = 0; row < sizeof events / sizeof *events; row++) {
		if (events[row].help)
			family(w, events[row].family, "counter", NULL, events[row].help);
		each_event(w, put_named, &row);
	}
	family(w, "events", "counter", NULL, "Log events, by their rule, code or service.");
	each_event(w, put_any, NULL);
}

/* ---- the journals' syncs ---- */

/* {"bounds_us": [100, ...], "counts": [1, ..., over], "sum_us": 5} */
static void put_histogram(struct writing *w, struct str process, const struct json_value *h)
{
	const struct json_value *bounds = json_value_member(h, "bounds_us"),
				*counts = json_value_member(h, "counts");
	size_t n = json_value_count(bounds);
	int64_t sum = 0;
	if (!n || json_value_count(counts) != n + 1)
		return;
	for (size_t i = 0; i <= n; i++) {
		int64_t c = json_value_int_or(json_value_item(counts, i), 0);
		int64_t bound = json_value_int_or(json_value_item(bounds, i), 0);
		if (__builtin_add_overflow(sum, c < 0 ? 0 : c, &sum))
			return;
		buf_add(w->out, STR("pabal_journal_sync_seconds_bucket"));
		put_label(w->out, "process", process, true);
		if (i < n)
			buf_fmt(w->out, ",le=\"%.6g\"} %lld\n", (double)bound / 1e6, (long long)sum);
		else
			buf_fmt(w->out, ",le=\"+Inf\"} %lld\n", (long long)sum);
	}
	buf_add(w->out, STR("pabal_journal_sync_seconds_count"));
	put_label(w->out, "process", process, true);
	buf_fmt(w->out, "} %lld\npabal_journal_sync_seconds_sum", (long long)sum);
	put_label(w->out, "process", process, true);
	buf_fmt(w->out, "} %.6f\n", (double)json_value_int_or(json_value_member(h, "sum_us"), 0) / 1e6);
}

static void write_journals(struct writing *w)
{
	family(w, "journal_sync_seconds", "histogram", "seconds",
	       "Time of the sync that a commit waits for.");
	for (size_t i = 0; i < json_value_count(w->roles); i++) {
		const struct json_value *r = role_at(w, i);
		put_histogram(w, name_of(r),
			      json_value_member(json_value_member(r, "detail"), "journal_sync"));
	}
}

void metrics_write(const struct json_value *status, struct buf *out)
{
	struct writing w = {out, json_value_member(status, "roles")};
	family(&w, "build", "info", NULL, "The program.");
	buf_add(out, STR("pabal_build_info"));
	put_label(out, "version", STR(PABAL_VERSION), true);
	buf_add(out, STR("} 1\n"));
	family(&w, "uptime_seconds", "gauge", "seconds", "Age of the server.");
	buf_fmt(out, "pabal_uptime_seconds %lld\n",
		(long long)json_value_int_or(json_value_member(status, "uptime_s"), 0));
	write_up(&w);
	write_alarms(&w);
	for (size_t row = 0; row < sizeof numbers / sizeof *numbers; row++)
		write_number(&w, row);
	write_events(&w);
	write_journals(&w);
	buf_add(out, STR("# EOF\n"));
}
