/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "audit/act.h"
#include "base/clock.h"
#include "base/log.h"
#include "json/json.h"

#include <string.h>

enum { REQUEST_MAX = 4 << 20, DETAILS_MAX = 1000 };

/* The last word of verbs that change nothing. */
static const char *const looks[] = {"list",    "show",  "status", "top",    "lookup",
				    "resolve", "check", "get",    "explain"};

static bool only_looks(struct str verb)
{
	size_t dot = str_find_last_byte(verb, '.');
	struct str last = str_from(verb, dot == STR_NPOS ? 0 : dot + 1);
	for (size_t i = 0; i < sizeof looks / sizeof *looks; i++)
		if (str_eq(last, str_of(looks[i])))
			return true;
	return false;
}

static bool is_secret(struct str name)
{
	static const char *const words[] = {"password",   "hash",  "scram", "secret",
					    "passphrase", "token", "key"};
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (str_find_nocase(name, str_of(words[i])) != STR_NPOS)
			return true;
	return false;
}

static void put_scalar(struct buf *out, const struct json_value *v)
{
	switch (json_value_type(v)) {
	case JSON_TYPE_STR: buf_add(out, json_value_str_or(v, STR(""))); break;
	case JSON_TYPE_INT: buf_fmt(out, "%lld", (long long)json_value_int_or(v, 0)); break;
	case JSON_TYPE_BOOL: buf_add(out, json_value_bool_or(v, false) ? STR("yes") : STR("no")); break;
	case JSON_TYPE_NULL: buf_add(out, STR("none")); break;
	case JSON_TYPE_REAL:
	case JSON_TYPE_OBJECT: buf_add(out, STR("...")); break;
	case JSON_TYPE_ARRAY:
		for (size_t i = 0; i < json_value_count(v) && out->n < DETAILS_MAX; i++) {
			const struct json_value *item = json_value_item(v, i);
			buf_add(out, i ? STR(" ") : STR(""));
			if (json_value_type(item) == JSON_TYPE_STR)
				buf_add(out, json_value_str_or(item, STR("")));
		}
		break;
	}
}

static bool put_member(void *ctx, struct str name, const struct json_value *v)
{
	struct buf *out = ctx;
	if (str_eq(name, STR("verb")))
		return true;
	buf_fmt(out, "%s%.*s=", out->n ? ", " : "", STR_ARG(name));
	if (is_secret(name))
		buf_add(out, STR("(set)"));
	else
		put_scalar(out, v);
	return out->n < DETAILS_MAX;
}

bool audit_act_read(struct arena *a, struct str request_json, struct audit_act *out)
{
	JSON_DOC_SCOPED doc = NULL;
	BUF_SCOPED details = {0};
	struct err err;
	struct str verb;
	if (!json_doc_parse(request_json, REQUEST_MAX, &doc, &err))
		return false;
	const struct json_value *root = json_doc_root(doc);
	if (!json_value_str(json_value_member(root, "verb"), &verb) || only_looks(verb) ||
	    json_value_bool_or(json_value_member(root, "count_only"), false))
		return false;
	json_value_each(root, put_member, &details);
	out->verb = arena_str(a, verb);
	out->details = arena_str(a, str_sub(buf_str(&details), 0, DETAILS_MAX));
	return true;
}

enum { ACT_FIELDS = 4 };

static void fields_of(const struct audit_act *act, uint32_t uid, int32_t pid, struct log_field f[ACT_FIELDS])
{
	f[0] = K_INT(user_id, uid);
	f[1] = K_INT(pid, pid);
	f[2] = K_STR(command, act->verb);
	f[3] = K_STR(value, act->details);
}

void audit_act_log(const struct audit_act *act, uint32_t uid, int32_t pid)
{
	struct log_field f[ACT_FIELDS];
	fields_of(act, uid, pid, f);
	log_fields(LOG_AUDIT, "admin.act", f, ACT_FIELDS);
}

void audit_act_log_refused(const struct audit_act *act, uint32_t uid, int32_t pid, struct str reply_json)
{
	JSON_DOC_SCOPED doc = NULL;
	struct err err;
	if (!json_doc_parse(reply_json, REQUEST_MAX, &doc, &err) ||
	    json_value_bool_or(json_value_member(json_doc_root(doc), "ok"), false))
		return;
	struct str why = json_value_str_or(json_value_member(json_doc_root(doc), "text"), STR(""));
	log_audit("admin.refused", K_INT(user_id, uid), K_INT(pid, pid), K_STR(command, act->verb),
		  K_STR(why, why));
}

void audit_act_line(struct buf *out, const struct audit_act *act, struct str role, uint32_t uid, int32_t pid)
{
	struct log_field f[ACT_FIELDS];
	fields_of(act, uid, pid, f);
	log_format(out, clock_wall_us(), LOG_AUDIT, role, "admin.act", f, ACT_FIELDS);
}
