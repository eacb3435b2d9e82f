/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* pabal queue: what waits, as JSON. */
#include "queue/queue_int.h"

#include "base/clock.h"
#include "json/json.h"
#include <sys/statvfs.h>

#include <stdlib.h>
#include <string.h>

enum { LIST_MAX = 10000, REQUEST_MAX = 64 * 1024 };

static void member_id(struct json_writer *w, const struct id *id)
{
	json_write_member_str(w, "id", id_str(id));
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

struct listing {
	struct queue_filter filter;
	struct json_writer *w;
	uint64_t n, limit; /* all that fit, and how many of them are told */
};

static void write_item(struct listing *l, const struct item *i)
{
	struct json_writer *w = l->w;
	if (i->deferred)
		return; /* told with its file */
	size_t n = i->states ? i->plan.n : 0;
	for (size_t k = 0; k < (n ? n : 1); k++) {
		struct queue_entry e = {.id = id_str(&i->id),
					.sender = i->envelope.reverse_path_text,
					.recipient = n ? i->plan.actions[k].account : STR_NONE,
					.state = n ? "active" : "incoming",
					.received_s = i->envelope.received_us / 1000000};
		if ((n && i->states[k] == JOB_ENDED) || !queue_filter_fits(&l->filter, &e) ||
		    l->n++ >= l->limit)
			continue;
		json_write_object_begin(w);
		member_id(w, &i->id);
		json_write_member_cstr(w, "state", e.state);
		json_write_member_int(w, "action", n ? i->plan.actions[k].number : 0);
		json_write_member_str(w, "sender", e.sender);
		json_write_member_str(w, "recipient", e.recipient);
		json_write_member_cstr(w, "to",
				       n && i->plan.actions[k].kind == ACTION_REMOTE ? "remote" : "mailbox");
		json_write_member_int(w, "size", (int64_t)(i->content.n + i->side_bytes));
		json_write_member_int(w, "received", e.received_s);
		json_write_member_int(w, "attempts", 0);
		json_write_member_int(w, "next_try", 0);
		json_write_member_cstr(w, "reason", "");
		json_write_object_end(w);
	}
}

static bool list_file(void *ctx, struct deferred *d)
{
	struct listing *l = ctx;
	struct queue_entry e = queue_entry_of(d);
	if (queue_filter_fits(&l->filter, &e) && l->n++ < l->limit)
		write_deferred(l->w, d);
	return true;
}

static void list(struct queue *q, const struct json_value *request, struct json_writer *w)
{
	struct listing l = {.filter = queue_filter_of(request), .w = w, .limit = LIST_MAX};
	int64_t limit = json_value_int_or(json_value_member(request, "limit"), LIST_MAX);
	if (limit >= 0 && limit < LIST_MAX)
		l.limit = (uint64_t)limit;
	json_write_name(w, STR("messages"));
	json_write_array_begin(w);
	spool_walk(q, list_file, &l);
	lock_take(&q->lock);
	for (struct item *i = q->items; i; i = i->next)
		write_item(&l, i);
	lock_drop(&q->lock);
	json_write_array_end(w);
	json_write_member_int(w, "matched", (int64_t)l.n);
	json_write_member_bool(w, "truncated", l.n > l.limit);
}

/* ---- top: who has most there ------------------------------------------------------------ */

struct sum {
	struct str name;
	uint64_t n, bytes;
	uint32_t oldest_s;
};
struct summing {
	struct arena *a;
	struct map *by_name;
	bool senders;
};

static bool sum_file(void *ctx, struct deferred *d)
{
	struct summing *s = ctx;
	struct str to = str_of(d->account);
	struct str name = s->senders ? str_of(d->sender) : str_from(to, str_find_last_byte(to, '@') + 1);
	struct sum *v = map_get(s->by_name, name);
	if (!v) {
		v = arena_new_of(s->a, struct sum);
		v->name = arena_str(s->a, name);
		map_put(s->by_name, v->name, v);
	}
	v->n++;
	v->bytes += d->size;
	if (!v->oldest_s || d->received_s < v->oldest_s)
		v->oldest_s = d->received_s;
	return true;
}

static int most_first(const void *x, const void *y)
{
	const struct sum *const *a = x, *const *b = y;
	return (*a)->n != (*b)->n ? ((*a)->n < (*b)->n ? 1 : -1) : str_cmp((*a)->name, (*b)->name);
}

static void top(struct queue *q, const char *member, bool senders, struct json_writer *w)
{
	enum { TOP = 20 };
	ARENA_SCOPED a = arena_new();
	struct summing s = {a, map_new(), senders};
	spool_walk(q, sum_file, &s);
	size_t n = 0, all = map_count(s.by_name);
	struct sum **v = arena_array(a, all ? all : 1, sizeof(struct sum *));
	struct map_iter it = {0};
	while (map_next(s.by_name, &it))
		v[n++] = it.value;
	map_free(s.by_name);
	qsort(v, n, sizeof(struct sum *), most_first);
	json_write_name(w, str_of(member));
	json_write_array_begin(w);
	for (size_t k = 0; k < n && k < TOP; k++) {
		json_write_object_begin(w);
		json_write_member_str(w, "name", v[k]->name);
		json_write_member_int(w, "waiting", (int64_t)v[k]->n);
		json_write_member_int(w, "bytes", (int64_t)v[k]->bytes);
		json_write_member_int(w, "oldest", v[k]->oldest_s);
		json_write_object_end(w);
	}
	json_write_array_end(w);
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
		if (d->kind && !memcmp(d->id.c, id.c, ID_LEN))
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

/* queue.rule_list, queue.rule_add and queue.rule_remove {kind, value}. */
static void rule_verb(struct queue *q, struct str verb, const struct json_value *request,
		      struct json_writer *w)
{
	struct err err = {0};
	struct str kind = json_value_str_or(json_value_member(request, "kind"), STR_NONE);
	struct str value = json_value_str_or(json_value_member(request, "value"), STR_NONE);
	bool found = true, ok = true;
	if (str_eq(verb, STR("queue.rule_add")))
		ok = rule_add(q, kind, value, STR("by the administrator"), &err);
	else if (str_eq(verb, STR("queue.rule_remove")))
		ok = rule_remove(q, kind, value, &found, &err);
	if (!ok || !found) {
		refuse(w, ok ? "not_found" : "failed", ok ? "no such rule" : err.text);
		return;
	}
	json_write_object_begin(w);
	json_write_member_bool(w, "ok", true);
	json_write_member_int(w, "now", clock_wall_s());
	rules_list(q, w);
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
		list(q, root, &w);
		if (show)
			history(q, id, &w);
		json_write_object_end(&w);
	} else if (str_starts(verb, STR("queue.rule_"))) {
		rule_verb(q, verb, root, &w);
	} else if (str_eq(verb, STR("queue.top"))) {
		json_write_object_begin(&w);
		json_write_member_bool(&w, "ok", true);
		json_write_member_int(&w, "now", clock_wall_s());
		top(q, "senders", true, &w);
		top(q, "domains", false, &w);
		json_write_object_end(&w);
	} else if (str_eq(verb, STR("queue.status"))) {
		status(q, &w);
	} else if (!queue_manage(q, verb, root, &w)) {
		refuse(&w, "not_found", "no such verb");
	}
}
