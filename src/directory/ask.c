/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * The three questions on which all look-ups rest, to whichever database holds the directory. SQLite is
 * asked each time: it takes microseconds, and a change shows at once. A server is asked through
 * what is remembered (facts.h); a connection that broke under a question is tried once more.
 */
#include "base/clock.h"
#include "base/scan.h"
#include "config/config.h"
#include "directory/account.h"
#include "directory/alias.h"
#include "directory/classic.h"
#include "directory/directory_int.h"
#include "directory/facts.h"

enum { FIELD_MAX = 4096, SLOW_MS = 500 };

struct question {
	char kind; /* 'D', 'A', 'L': first byte of the key of what is remembered */
	struct str name;
	struct arena *a; /* of account and alias */
	int64_t *out_id;
	bool *out_enabled;
	struct account *out_account;
	struct alias *out_alias;
};

static bool ask(struct directory *d, const struct question *q, struct err *err)
{
	switch (q->kind) {
	case 'D':
		return d->classic ? classic_domain(d->classic, q->name, q->out_id, q->out_enabled, err)
				  : domain_id_read(d, q->name, q->out_id, q->out_enabled, err);
	case 'A':
		return d->classic ? classic_account(d->classic, q->name, q->a, q->out_account, err)
				  : account_read(d, q->name, q->a, q->out_account, err);
	default:
		return d->classic ? classic_alias(d->classic, q->name, q->a, q->out_alias, err)
				  : alias_read(d, q->name, q->a, q->out_alias, err);
	}
}

/* ---- an answer as bytes ---------------------------------------------------------------------------- */

static void pack_account(struct buf *b, const struct account *v)
{
	buf_le64(b, (uint64_t)v->id);
	buf_le_str(b, v->address);
	buf_le_str(b, v->password);
	buf_le_str(b, v->scram_sha1);
	buf_le_str(b, v->scram_sha256);
	buf_le16(b, (uint16_t)(v->enabled | v->domain_enabled << 1 | v->intranet_only << 2));
	buf_le64(b, (uint64_t)v->quota_bytes);
	buf_le64(b, (uint64_t)v->quota_messages);
	buf_le16(b, (uint16_t)v->role);
	buf_le_str(b, v->language);
	buf_le_str(b, v->display_name);
	buf_le32(b, v->protocols);
	buf_le64(b, (uint64_t)v->created_unix);
	buf_le64(b, (uint64_t)v->password_changed_unix);
}

static void pack(const struct question *q, struct buf *b)
{
	if (q->kind == 'D') {
		buf_le64(b, (uint64_t)*q->out_id);
		buf_le16(b, *q->out_enabled);
	} else if (q->kind == 'A') {
		pack_account(b, q->out_account);
	} else {
		for (size_t i = 0; i < q->out_alias->n; i++)
			buf_le_str(b, q->out_alias->destinations[i]);
	}
}

static bool text(struct scan *s, struct arena *a, struct str *out)
{
	if (!scan_le_str(s, FIELD_MAX, out))
		return false;
	*out = arena_str(a, *out);
	return true;
}

static bool unpack_account(struct scan *s, struct arena *a, struct account *v)
{
	uint64_t id, bytes, messages, created, changed;
	uint32_t protocols;
	uint16_t flags, role;
	if (!scan_le64(s, &id) || !text(s, a, &v->address) || !text(s, a, &v->password) ||
	    !text(s, a, &v->scram_sha1) || !text(s, a, &v->scram_sha256) || !scan_le16(s, &flags) ||
	    !scan_le64(s, &bytes) || !scan_le64(s, &messages) || !scan_le16(s, &role) ||
	    !text(s, a, &v->language) || !text(s, a, &v->display_name) || !scan_le32(s, &protocols) ||
	    !scan_le64(s, &created) || !scan_le64(s, &changed))
		return false;
	v->id = (int64_t)id;
	v->enabled = flags & 1;
	v->domain_enabled = flags & 2;
	v->intranet_only = flags & 4;
	v->quota_bytes = (int64_t)bytes;
	v->quota_messages = (int64_t)messages;
	v->role = role == ACCOUNT_ROLE_ADMIN ? ACCOUNT_ROLE_ADMIN : ACCOUNT_ROLE_USER;
	v->protocols = protocols;
	v->created_unix = (int64_t)created;
	v->password_changed_unix = (int64_t)changed;
	return true;
}

static bool unpack_alias(struct scan *s, const struct question *q)
{
	struct str *v = NULL;
	size_t n = 0, cap = 0;
	while (!scan_end(s)) {
		v = arena_grow(q->a, v, n, &cap, sizeof *v);
		if (!text(s, q->a, &v[n++]))
			return false;
	}
	*q->out_alias = (struct alias){q->name, v, n};
	return true;
}

static bool unpack(const struct question *q, struct str bytes)
{
	struct scan s = scan_of(bytes);
	uint64_t id;
	uint16_t enabled;
	if (q->kind == 'A')
		return unpack_account(&s, q->a, q->out_account);
	if (q->kind == 'L')
		return unpack_alias(&s, q);
	if (!scan_le64(&s, &id) || !scan_le16(&s, &enabled))
		return false;
	*q->out_id = (int64_t)id;
	*q->out_enabled = enabled;
	return true;
}

/* ---- asking ---------------------------------------------------------------------------------------- */

static bool remembered(struct directory *d, const struct question *q, struct str key, enum setting age)
{
	BUF_SCOPED bytes = {0};
	return facts_get(d->facts, key, config_duration_ms(d->config, age), &bytes) &&
	       unpack(q, buf_str(&bytes));
}

/* That there was no such domain or account is no reason for a 550 while nobody can be asked. */
static bool positive(const struct question *q)
{
	return q->kind == 'L' || (q->kind == 'D' ? *q->out_id != 0 : q->out_account->id != 0);
}

/* A connection that broke is worth a second try; a server that took its time is not. */
static bool ask_twice(struct directory *d, const struct question *q, struct err *err)
{
	int64_t begin = clock_mono_ms();
	if (ask(d, q, err))
		return true;
	if (err->kind != ERR_TEMP)
		return false;
	if (clock_mono_ms() - begin < SLOW_MS)
		return ask(d, q, err);
	link_away(&d->facts->away_until_ms);
	return false;
}

static bool answer(struct directory *d, const struct question *q, struct err *err)
{
	ARENA_SCOPED scratch = arena_new();
	BUF_SCOPED bytes = {0};
	if (!d->facts || d->in_change)
		return ask(d, q, err);
	struct str key = arena_fmt(scratch, "%c%.*s", q->kind, STR_ARG(q->name));
	if (remembered(d, q, key, SETTING_DIRECTORY_CACHE_TIME)) {
		atomic_fetch_add(&d->facts->remembered, 1);
		return true;
	}
	atomic_fetch_add(&d->facts->asked, 1);
	if (ask_twice(d, q, err)) {
		pack(q, &bytes);
		facts_put(d->facts, key, buf_str(&bytes));
		return true;
	}
	if (err->kind != ERR_TEMP || !remembered(d, q, key, SETTING_DIRECTORY_STALE_TIME) || !positive(q))
		return false;
	atomic_fetch_add(&d->facts->stale, 1);
	return true;
}

bool domain_id_find(struct directory *d, struct str name, int64_t *out_id, bool *out_enabled, struct err *err)
{
	struct question q = {.kind = 'D', .name = name, .out_id = out_id, .out_enabled = out_enabled};
	return answer(d, &q, err);
}

bool account_find_locked(struct directory *d, struct str address, struct arena *a, struct account *out,
			 struct err *err)
{
	struct question q = {.kind = 'A', .name = address, .a = a, .out_account = out};
	*out = (struct account){0};
	return answer(d, &q, err);
}

bool alias_find_locked(struct directory *d, struct str source, struct arena *a, struct alias *out,
		       struct err *err)
{
	struct question q = {.kind = 'L', .name = source, .a = a, .out_alias = out};
	return answer(d, &q, err);
}
