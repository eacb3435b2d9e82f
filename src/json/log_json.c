/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "json/log_json.h"
#include "base/log_line.h"
#include "json/json.h"

#include <arpa/inet.h>
#include <string.h>

enum { SEEN_MAX = 64, ADDRESS_TEXT = 64, KEY_MAX = 32 };

/* Names of the schema (ECS 8) for ours. */
static const struct {
	const char *key, *ecs;
	bool text; /* a keyword there, whatever it is here */
} names[] = {
	{"role", "process.name", true}, {"pid", "process.pid", false},
	{"port", "source.port", false}, {"account", "user.email", true},
	{"user", "user.name", true}, {"user_id", "user.id", true},
	{"from", "email.from.address", true}, {"rcpt", "email.to.address", true},
	{"msgid", "email.message_id", true}, {"code", "event.code", true},
	{"why", "event.reason", true}, {"cause", "error.message", true},
	{"kind", "error.type", true}, {"path", "file.path", true},
	{"tls", "tls.cipher", true}, {"command", "process.command_line", true},
	{"directory", "process.working_directory", true}, {"rule", "rule.name", true},
	{"line", "pabal.line", false},
};

struct writing {
	struct json_writer w;
	struct str seen[SEEN_MAX];
	size_t seen_n;
	bool ecs, has_duration;
	struct str id; /* of the message, else of the session */
};

static bool seen_before(struct writing *k, struct str key)
{
	for (size_t i = 0; i < k->seen_n; i++)
		if (str_eq(k->seen[i], key))
			return true;
	if (k->seen_n == SEEN_MAX)
		return true;
	k->seen[k->seen_n++] = key;
	return false;
}

/* As in log_keys.def; what else stands before "=" was written by somebody else. */
static bool is_key(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!ascii_is((unsigned char)s.p[i], ASCII_LOWER | ASCII_DIGIT) && s.p[i] != '_')
			return false;
	return s.n > 0 && s.n <= KEY_MAX;
}

static bool is_number(struct str s)
{
	size_t i = s.n && s.p[0] == '-';
	if (i == s.n || s.n > 18 || (s.p[i] == '0' && s.n > i + 1))
		return false;
	for (; i < s.n; i++)
		if (!ascii_is((unsigned char)s.p[i], ASCII_DIGIT))
			return false;
	return true;
}

static void put_value(struct writing *k, const struct log_value *v, bool text)
{
	BUF_SCOPED b = {0};
	if (!v->quoted && !text && is_number(v->raw)) {
		json_write_raw(&k->w, v->raw);
		return;
	}
	log_value_text(&b, v);
	json_write_str(&k->w, buf_str(&b));
}

/* "peer" is an address where a client is told, else a host's name. */
static bool is_address(const struct log_value *v)
{
	char text[ADDRESS_TEXT];
	unsigned char ip[16];
	if (v->raw.n == 0 || v->raw.n >= sizeof text)
		return false;
	memcpy(text, v->raw.p, v->raw.n);
	text[v->raw.n] = 0;
	return inet_pton(AF_INET, text, ip) == 1 || inet_pton(AF_INET6, text, ip) == 1;
}

static void put_duration(struct writing *k, const struct log_value *v, int64_t factor)
{
	uint64_t n;
	if (k->has_duration || !str_u64(v->raw, 1000000000000ULL, &n))
		return;
	k->has_duration = true;
	json_write_member_int(&k->w, "event.duration", (int64_t)n * factor);
}

static void put_own(struct writing *k, const struct log_value *v)
{
	char name[8 + KEY_MAX] = "pabal.";
	memcpy(name + 6, v->key.p, v->key.n);
	json_write_name(&k->w, (struct str){name, 6 + v->key.n});
	put_value(k, v, str_eq(v->key, STR("sid")) || str_eq(v->key, STR("qid")));
}

static void put_ecs(struct writing *k, const struct log_value *v)
{
	if (str_eq(v->key, STR("qid")) || (str_eq(v->key, STR("sid")) && !k->id.n))
		k->id = v->raw;
	if (str_eq(v->key, STR("peer"))) {
		json_write_name(&k->w, is_address(v) ? STR("source.ip") : STR("destination.domain"));
		put_value(k, v, true);
	} else if (str_eq(v->key, STR("ms")) || str_eq(v->key, STR("us"))) {
		put_duration(k, v, v->key.p[0] == 'm' ? 1000000 : 1000);
	} else {
		for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
			if (!str_eq(v->key, str_of(names[i].key)))
				continue;
			json_write_name(&k->w, str_of(names[i].ecs));
			put_value(k, v, names[i].text);
			return;
		}
		put_own(k, v);
	}
}

static void put_plain(struct writing *k, const struct log_value *v)
{
	json_write_name(&k->w, v->key);
	put_value(k, v, str_eq(v->key, STR("sid")) || str_eq(v->key, STR("qid")));
}

struct str json_log_key(struct str name)
{
	if (str_starts(name, STR("pabal.")))
		return str_from(name, 6);
	if (str_eq(name, STR("source.ip")) || str_eq(name, STR("destination.domain")))
		return STR("peer");
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (str_eq(name, str_of(names[i].ecs)))
			return str_of(names[i].key);
	return name;
}

static const char *outcome(struct str event)
{
	static const char *const bad[] = {"refuse",  "refused", "fail",   "failed",
					  "crashed", "killed",  "bounced"};
	static const char *const good[] = {"accept", "placed", "relayed", "ok", "login", "ready"};
	size_t dot = str_find_last_byte(event, '.');
	struct str last = str_from(event, dot == STR_NPOS ? 0 : dot + 1);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (str_eq(last, str_of(bad[i])))
			return "failure";
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		if (str_eq(last, str_of(good[i])))
			return "success";
	return "unknown";
}

static void put_head(struct writing *k, const struct log_line *l)
{
	json_write_member_str(&k->w, "@timestamp", l->time);
	json_write_member_str(&k->w, k->ecs ? "log.level" : "level", l->level);
	json_write_member_str(&k->w, k->ecs ? "event.action" : "event", l->event);
	if (!k->ecs)
		return;
	json_write_member_cstr(&k->w, "ecs.version", "8.11.0");
	json_write_member_cstr(&k->w, "service.name", "pabal");
	json_write_member_cstr(&k->w, "event.dataset",
			       str_eq(l->level, STR("audit")) ? "pabal.audit" : "pabal.log");
	json_write_member_cstr(&k->w, "event.outcome", outcome(l->event));
}

static const char *const heads[] = {"@timestamp", "level", "event"};

void json_log_line(struct buf *out, struct str line, enum json_log_form form)
{
	struct writing k = {.ecs = form == JSON_LOG_ECS};
	struct log_line l;
	struct log_value v;
	json_write_init(&k.w, out);
	json_write_object_begin(&k.w);
	if (!log_line_read(line, &l)) {
		json_write_member_str(&k.w, "message", line);
		json_write_object_end(&k.w);
		return;
	}
	put_head(&k, &l);
	for (size_t i = 0; i < 3; i++)
		k.seen[k.seen_n++] = str_of(heads[i]);
	for (struct str rest = l.fields; log_line_next(&rest, &v);) {
		if (!is_key(v.key) || seen_before(&k, v.key))
			continue;
		if (k.ecs)
			put_ecs(&k, &v);
		else
			put_plain(&k, &v);
	}
	if (k.ecs && k.id.n)
		json_write_member_str(&k.w, "trace.id", k.id);
	json_write_object_end(&k.w);
}
