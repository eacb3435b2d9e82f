/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* pabal queue: what waits, as JSON. */
#include "queue/queue_int.h"

#include "base/clock.h"
#include "json/json.h"
#include <sys/statvfs.h>

#include <string.h>

enum { LIST_MAX = 10000, REQUEST_MAX = 64 * 1024 };

static void member_id(struct json_writer *w, const struct id *id)
{
	json_write_member_str(w, "id", id_str(id));
}

static bool wanted(const struct id *id, struct str only)
{
	return !only.n || str_eq(id_str(id), only);
}

static void write_deferred(struct json_writer *w, const struct deferred *d)
{
	json_write_object_begin(w);
	member_id(w, &d->id);
	json_write_member_cstr(w, "state", d->busy   ? "active"
					   : d->held ? "held"
						     : "deferred");
	json_write_member_int(w, "action", d->action);
	json_write_member_cstr(w, "sender", d->sender);
	json_write_member_cstr(w, "recipient", d->account);
	json_write_member_cstr(w, "to", d->kind == ACTION_REMOTE  ? "remote"
				       : d->kind == ACTION_WHOLE ? "not planned"
								 : "mailbox");
	json_write_member_int(w, "size", (int64_t)d->size);
	json_write_member_int(w, "received", d->received_s);
	json_write_member_int(w, "attempts", d->attempts);
	json_write_member_int(w, "next_try", d->next_try_s);
	json_write_member_cstr(w, "reason", d->last_error);
	json_write_object_end(w);
}

static void write_item(struct json_writer *w, const struct item *i)
{
	if (i->deferred)
		return; /* told with its file */
	size_t n = i->states ? i->plan.n : 0;
	for (size_t k = 0; k < (n ? n : 1); k++) {
		if (n && i->states[k] == JOB_ENDED)
			continue;
		json_write_object_begin(w);
		member_id(w, &i->id);
		json_write_member_cstr(w, "state", n ? "active" : "incoming");
		json_write_member_int(w, "action", n ? i->plan.actions[k].number : 0);
		json_write_member_str(w, "sender", i->envelope.reverse_path_text);
		json_write_member_str(w, "recipient", n ? i->plan.actions[k].account : STR_NONE);
		json_write_member_cstr(w, "to", "mailbox");
		json_write_member_int(w, "size", (int64_t)(i->content.n + i->side_bytes));
		json_write_member_int(w, "received", i->envelope.received_us / 1000000);
		json_write_member_int(w, "attempts", 0);
		json_write_member_int(w, "next_try", 0);
		json_write_member_cstr(w, "reason", "");
		json_write_object_end(w);
	}
}

static void list(struct queue *q, struct str only, struct json_writer *w)
{
	LOCK_SCOPED(&q->lock);
	size_t n = 0;
	json_write_name(w, STR("messages"));
	json_write_array_begin(w);
	for (struct deferred *d = q->deferred; d && n < LIST_MAX; d = d->next) {
		if (d->kind && wanted(&d->id, only)) {
			write_deferred(w, d);
			n++;
		}
	}
	for (struct item *i = q->items; i && n < LIST_MAX; i = i->next) {
		if (wanted(&i->id, only)) {
			write_item(w, i);
			n++;
		}
	}
	json_write_array_end(w);
	json_write_member_bool(w, "truncated", n == LIST_MAX);
}

/* What was tried so far, from the files of that message. */
static void history(struct queue *q, struct str only, struct json_writer *w)
{
	enum { FILES_MAX = 200 };
	uint32_t actions[FILES_MAX];
	size_t n = 0;
	struct id id;
	if (!id_parse(only, &id))
		return;
	lock_take(&q->lock);
	for (struct deferred *d = q->deferred; d && n < FILES_MAX; d = d->next) {
		if (!memcmp(d->id.c, id.c, ID_LEN))
			actions[n++] = d->action;
	}
	lock_drop(&q->lock);
	json_write_name(w, STR("history"));
	json_write_array_begin(w);
	for (size_t k = 0; k < n; k++) {
		struct err gone = {0}; /* meanwhile */
		BUF_SCOPED b = {0};
		struct attempt a;
		if (!spool_history(q, &id, actions[k], &b, &gone))
			continue;
		for (struct scan s = scan_of(buf_str(&b)); attempt_decode(&s, &a);) {
			json_write_object_begin(w);
			json_write_member_int(w, "action", actions[k]);
			json_write_member_int(w, "attempt", a.number);
			json_write_member_int(w, "at", a.at_s);
			json_write_member_str(w, "server", a.mta);
			json_write_member_str(w, "reply", a.reply);
			json_write_member_int(w, "next_try", a.next_try_s);
			json_write_object_end(w);
		}
	}
	json_write_array_end(w);
}

static bool add_age(void *ctx, struct deferred *d)
{
	struct queue_ages *a = ctx;
	a->held += d->held;
	a->remote += d->kind == ACTION_REMOTE;
	if (!d->held && (!a->oldest_s || d->received_s < a->oldest_s))
		a->oldest_s = d->received_s;
	return true;
}

void queue_ages(struct queue *q, struct queue_ages *out)
{
	struct statvfs fs;
	*out = (struct queue_ages){0};
	spool_walk(q, add_age, out);
	if (fstatvfs(q->deferred_fd, &fs) == 0) {
		out->disk_free = (uint64_t)fs.f_bavail * fs.f_frsize;
		out->disk_total = (uint64_t)fs.f_blocks * fs.f_frsize;
	}
}

static void refuse(struct json_writer *w, const char *kind, const char *text)
{
	json_write_object_begin(w);
	json_write_member_bool(w, "ok", false);
	json_write_member_cstr(w, "kind", kind);
	json_write_member_cstr(w, "text", text);
	json_write_object_end(w);
}

static void status(struct queue *q, struct json_writer *w)
{
	struct queue_counts n;
	queue_counts(q, &n);
	json_write_object_begin(w);
	json_write_member_bool(w, "ok", true);
	json_write_member_int(w, "now", clock_wall_s());
	json_write_member_int(w, "waiting", (int64_t)n.waiting);
	json_write_member_int(w, "deferred", (int64_t)n.deferred);
	json_write_member_int(w, "relayed", (int64_t)n.relayed);
	json_write_member_int(w, "bounced", (int64_t)n.bounced);
	(void)remote_status(q, w); /* a queue that stops has no destinations to tell */
	json_write_object_end(w);
}

void queue_control(struct queue *q, struct str request_json, struct buf *reply_json)
{
	struct json_writer w;
	struct err err = {0};
	JSON_DOC_SCOPED doc = NULL;
	json_write_init(&w, reply_json);
	if (!json_doc_parse(request_json, REQUEST_MAX, &doc, &err)) {
		refuse(&w, "syntax", err.text);
		return;
	}
	const struct json_value *root = json_doc_root(doc);
	struct str verb = json_value_str_or(json_value_member(root, "verb"), STR_NONE);
	struct str id = json_value_str_or(json_value_member(root, "id"), STR_NONE);
	bool show = str_eq(verb, STR("queue.show"));
	if (show || str_eq(verb, STR("queue.list"))) {
		json_write_object_begin(&w);
		json_write_member_bool(&w, "ok", true);
		json_write_member_int(&w, "now", clock_wall_s());
		list(q, show ? id : STR_NONE, &w);
		if (show)
			history(q, id, &w);
		json_write_object_end(&w);
	} else if (str_eq(verb, STR("queue.status"))) {
		status(q, &w);
	} else if (!queue_manage(q, verb, root, &w)) {
		refuse(&w, "not_found", "no such verb");
	}
}
