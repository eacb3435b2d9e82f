/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* proc/mailbox_control.c: `pabal mailbox ...` while the server runs, and the same without it. */
#include "base/log.h"
#include "json/json.h"
#include "proc/mailbox_int.h"
#include "store/mailbox.h"

enum { REQUEST_MAX = 64 * 1024 };

struct request {
	const struct json_value *in;
	struct account *account;
	struct arena *arena;
	struct json_writer *w;
};

static const char *use_name(enum special_use use)
{
	switch (use) {
	case USE_NONE: return "";
	case USE_ALL: return "all";
	case USE_ARCHIVE: return "archive";
	case USE_DRAFTS: return "drafts";
	case USE_FLAGGED: return "flagged";
	case USE_JUNK: return "junk";
	case USE_SENT: return "sent";
	case USE_TRASH: return "trash";
	}
	return "";
}

static bool list(struct request *r, struct err *err)
{
	struct mailbox_entry *e;
	size_t n;

	if (!mailbox_list(r->account, r->arena, &e, &n, err))
		return false;
	json_write_name(r->w, STR("mailboxes"));
	json_write_array_begin(r->w);
	for (size_t i = 0; i < n; i++) {
		json_write_object_begin(r->w);
		json_write_member_str(r->w, "name", e[i].name);
		json_write_member_cstr(r->w, "use", use_name(e[i].use));
		json_write_member_bool(r->w, "selectable", !(e[i].attrs & (MAILBOX_NOSELECT | MAILBOX_NONEXISTENT)));
		json_write_member_bool(r->w, "subscribed", e[i].attrs & MAILBOX_SUBSCRIBED);
		json_write_object_end(r->w);
	}
	json_write_array_end(r->w);
	return true;
}

static void write_status(struct json_writer *w, struct str name, const struct mailbox_status *s)
{
	json_write_object_begin(w);
	json_write_member_str(w, "name", name);
	json_write_member_int(w, "messages", s->messages);
	json_write_member_int(w, "unseen", s->unseen);
	json_write_member_int(w, "deleted", s->deleted);
	json_write_member_int(w, "size", (int64_t)s->size);
	json_write_member_int(w, "uidvalidity", s->uidvalidity);
	json_write_member_int(w, "uidnext", s->uidnext);
	json_write_member_int(w, "highestmodseq", (int64_t)s->highestmodseq);
	json_write_member_cstr(w, "mailbox_id", s->mailbox_id);
	json_write_object_end(w);
}

static bool status(struct request *r, struct err *err)
{
	struct str only = json_value_str_or(json_value_member(r->in, "mailbox"), STR_NONE);
	struct mailbox_entry *e;
	struct mailbox_status s;
	struct quota_use use;
	size_t n;

	if (!mailbox_list(r->account, r->arena, &e, &n, err) || !account_quota(r->account, &use, err))
		return false;
	json_write_member_int(r->w, "bytes", (int64_t)use.bytes);
	json_write_member_int(r->w, "bytes_max", (int64_t)use.bytes_max);
	json_write_member_int(r->w, "count", (int64_t)use.messages);
	json_write_member_int(r->w, "count_max", (int64_t)use.messages_max);
	json_write_name(r->w, STR("mailboxes"));
	json_write_array_begin(r->w);
	for (size_t i = 0; i < n; i++) {
		if ((e[i].attrs & (MAILBOX_NOSELECT | MAILBOX_NONEXISTENT)) || (only.n && !str_eq(only, e[i].name)))
			continue;
		if (!mailbox_status(r->account, e[i].name, &s, err))
			return false;
		write_status(r->w, e[i].name, &s);
	}
	json_write_array_end(r->w);
	return true;
}

static bool check(struct request *r, struct err *err)
{
	BUF_SCOPED report = {.max = 1 << 20};
	size_t differences;

	if (!account_check(r->account, &report, &differences, err))
		return false;
	json_write_member_int(r->w, "differences", (int64_t)differences);
	json_write_member_str(r->w, "report", buf_str(&report));
	return true;
}

static void count_progress(void *ctx, size_t done, size_t all)
{
	(void)all;
	*(size_t *)ctx = done;
}

static bool reindex(struct request *r, struct err *err)
{
	size_t done = 0;

	if (!account_reindex(r->account, count_progress, &done, err))
		return false;
	json_write_member_int(r->w, "messages", (int64_t)done);
	return true;
}

static const struct {
	const char *verb;
	bool (*run)(struct request *r, struct err *err);
} verbs[] = {
	{"mailbox.list", list},
	{"mailbox.status", status},
	{"mailbox.check", check},
	{"mailbox.reindex", reindex},
};

static bool run(struct store *s, struct request *r, struct err *err)
{
	struct str verb = json_value_str_or(json_value_member(r->in, "verb"), STR_NONE);
	struct account_facts f = {
		.id = (uint64_t)json_value_int_or(json_value_member(r->in, "account_id"), 0),
		.address = json_value_str_or(json_value_member(r->in, "account"), STR_NONE),
		.language = json_value_str_or(json_value_member(r->in, "language"), STR("ko")),
		.quota_bytes = (uint64_t)json_value_int_or(json_value_member(r->in, "quota_bytes"), 0),
		.quota_messages = (uint64_t)json_value_int_or(json_value_member(r->in, "quota_messages"), 0),
	};

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (!str_eq(verb, str_of(verbs[i].verb)))
			continue;
		if (f.id == 0 || f.address.n == 0)
			return err_set(err, ERR_SYNTAX, "\"account\" and \"account_id\" are needed");
		if (!account_open(s, &f, &r->account, err))
			return false;
		bool good = verbs[i].run(r, err);
		account_close(r->account);
		return good;
	}
	return err_set(err, ERR_NOT_FOUND, "no such verb");
}

void mailbox_control(struct store *s, struct str request, struct buf *reply)
{
	JSON_DOC_SCOPED doc = NULL;
	ARENA_SCOPED a = arena_new();
	BUF_SCOPED good = {0};
	struct json_writer w;
	struct err err = {0};

	json_write_init(&w, &good);
	json_write_object_begin(&w);
	json_write_member_bool(&w, "ok", true);
	if (json_doc_parse(request, REQUEST_MAX, &doc, &err)) {
		struct request r = {.in = json_doc_root(doc), .arena = a, .w = &w};
		if (run(s, &r, &err)) {
			json_write_object_end(&w);
			buf_add(reply, buf_str(&good));
			return;
		}
	}
	log_err(LOG_WARN, "mailbox.control.failed", &err);
	json_write_init(&w, reply);
	json_write_object_begin(&w);
	json_write_member_bool(&w, "ok", false);
	json_write_member_cstr(&w, "kind", err_kind_name(err.kind));
	json_write_member_cstr(&w, "text", err.text);
	json_write_object_end(&w);
}
