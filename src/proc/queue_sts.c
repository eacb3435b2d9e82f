/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * A policy that is there holds until its max_age has passed, whatever the TXT record and the policy's server
 * say or do not say meanwhile (RFC 8461 3.1, 5.1): only a newer one replaces it. One that cannot be fetched
 * is not asked for again for RETRY_S. Fetched again when the record's id is another, or half of its life is
 * over.
 */
#include "proc/queue_sts.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/scan.h"
#include "dns/resolver.h"
#include "proc/role_int.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

enum {
	DNS_WAIT_MS = 30000, FETCH_WAIT_MS = 90000, RETRY_S = 300, FILE_MAX = MTA_STS_POLICY_MAX + 256,
	KNOWN_MAX = 20000, /* domains in memory; then all are read anew */
};

struct known {
	bool has;             /* a policy; text holds it */
	int64_t fetched_s, failed_s;
	uint32_t max_age_s;
	char id[MTA_STS_ID_MAX + 1];
	size_t n;
	char *text;
};
struct sts {
	struct role *role;
	int dir_fd;
	struct lock lock;
	struct map *known; /* domain -> struct known; guarded by lock */
};

/* One question, on its way. */
struct finding {
	struct sts *sts;
	sts_done *done;
	void *ctx;
	struct str domain;
	struct arena *arena;
	struct str id; /* of the record */
};

/* Names of files: lower case, no path. */
static bool plain_domain(struct str d)
{
	for (size_t i = 0; i < d.n; i++) {
		if (!ascii_is((unsigned char)d.p[i], ASCII_LOWER | ASCII_DIGIT) && d.p[i] != '-' &&
		    d.p[i] != '.')
			return false;
	}
	return d.n > 0 && d.n <= DNS_NAME_MAX - 9 && d.p[0] != '.' && str_has_byte(d, '.');
}

static void known_free(struct known *k)
{
	if (k)
		free(k->text);
	free(k);
}

/* id LF fetched LF policy. False: not so. */
static bool known_parse(struct str bytes, struct known *out)
{
	ARENA_SCOPED a = arena_new();
	struct str rest = bytes, id = str_cut(&rest, '\n'), when = str_cut(&rest, '\n');
	struct mta_sts_policy p;
	struct err err = {0};
	uint64_t fetched;
	if (id.n > MTA_STS_ID_MAX || !str_u64(when, INT64_MAX, &fetched) ||
	    !mta_sts_policy_parse(a, rest, &p, &err))
		return false;
	*out = (struct known){
		.has = true, .fetched_s = (int64_t)fetched, .max_age_s = p.max_age_s, .n = rest.n};
	memcpy(out->id, id.p, id.n);
	out->text = mem_alloc(rest.n + 1);
	memcpy(out->text, rest.p, rest.n);
	return true;
}

/* With the lock. Read from the disk when it is asked for the first time. */
static struct known *known_of(struct sts *s, struct str domain)
{
	lock_held(&s->lock);
	struct known *k = map_get(s->known, domain);
	if (k)
		return k;
	if (map_count(s->known) >= KNOWN_MAX) {
		struct map_iter it = {0};
		while (map_next(s->known, &it))
			known_free(map_remove(s->known, it.key));
	}
	ARENA_SCOPED a = arena_new();
	BUF_SCOPED b = {0};
	struct err ignored = {0};
	k = mem_new(struct known);
	if (file_read_whole(s->dir_fd, arena_cstr(a, domain), FILE_MAX, &b, &ignored))
		(void)known_parse(buf_str(&b), k);
	map_put(s->known, domain, k);
	return k;
}

static bool still_valid(const struct known *k)
{
	int64_t age = clock_wall_s() - k->fetched_s;
	return k->has && age >= 0 && age < (int64_t)k->max_age_s;
}

/* What is there is the answer. */
static void answer(struct finding *f)
{
	struct mta_sts_policy p;
	struct err err = {0};
	struct str text = STR_NONE;
	lock_take(&f->sts->lock);
	struct known *k = known_of(f->sts, f->domain);
	if (still_valid(k))
		text = arena_str(f->arena, (struct str){k->text, k->n});
	lock_drop(&f->sts->lock);
	bool has = text.n && mta_sts_policy_parse(f->arena, text, &p, &err);
	f->done(f->ctx, has ? &p : NULL);
	arena_free(f->arena);
	free(f);
}

/* A new policy, on disk before it counts: what was promised must not depend on our memory. */
static void keep(struct finding *f, struct str policy)
{
	struct known fresh;
	struct err err = {0};
	struct str file = arena_fmt(f->arena, "%.*s\n%lld\n%.*s", STR_ARG(f->id), (long long)clock_wall_s(),
				    STR_ARG(policy));
	bool good = known_parse(file, &fresh);
	if (good && !file_replace_whole(f->sts->dir_fd, arena_cstr(f->arena, f->domain), file, 0600, &err))
		log_err(LOG_WARN, "queue.sts.failed", &err);
	LOCK_SCOPED(&f->sts->lock);
	struct known *k = known_of(f->sts, f->domain);
	if (!good) {
		k->failed_s = clock_wall_s();
		return;
	}
	free(k->text);
	*k = fresh;
}

static void on_fetched(void *ctx, struct message *reply, const struct err *err)
{
	struct finding *f = ctx;
	bool good = reply && reply->type == MSG_fetch_result && reply->fetch_result.code == 0;
	log_event(good ? LOG_INFO : LOG_WARN, "queue.sts.fetched", K_STR(domain, f->domain),
		  K_STR(why, good    ? STR("ok")
			     : reply ? reply->fetch_result.why
				     : str_of(err->text)));
	if (good) {
		keep(f, reply->fetch_result.body);
	} else {
		LOCK_SCOPED(&f->sts->lock);
		known_of(f->sts, f->domain)->failed_s = clock_wall_s();
	}
	answer(f);
}

/* The one record of its kind, if there is one (RFC 8461 3.1). */
static bool read_id(struct str records, struct arena *a, struct str *out)
{
	struct scan s = scan_of(records);
	struct str data, name;
	unsigned n = 0;
	while (scan_skip(&s, 10) && scan_le_str(&s, 65535, &data) && scan_le_str(&s, 255, &name)) {
		struct err err = {0};
		struct str id;
		if (!mta_sts_is_record(data))
			continue;
		if (++n > 1 || !mta_sts_record_parse(data, &id, &err))
			return false;
		*out = arena_str(a, id);
	}
	return n == 1;
}

static void on_record(void *ctx, struct message *reply, const struct err *err)
{
	struct finding *f = ctx;
	(void)err; /* no answer and no record are alike: what is known holds */
	bool wanted = reply && reply->type == MSG_dns_reply && reply->dns_reply.status == DNS_FOUND &&
		      read_id(reply->dns_reply.records, f->arena, &f->id);
	if (wanted) {
		int64_t now = clock_wall_s();
		LOCK_SCOPED(&f->sts->lock);
		const struct known *k = known_of(f->sts, f->domain);
		bool same = still_valid(k) && str_eq(str_of(k->id), f->id) &&
			    now - k->fetched_s < (int64_t)k->max_age_s / 2;
		wanted = !same && (k->failed_s > now || now - k->failed_s >= RETRY_S);
	}
	struct message m = {.type = MSG_fetch};
	struct err bad = {0};
	m.fetch.host = arena_cat(f->arena, STR("mta-sts."), f->domain);
	m.fetch.path = STR("/.well-known/mta-sts.txt");
	m.fetch.port = 443;
	if (!wanted || !channel_call_async(role_channel(f->sts->role, CHANNEL_RELAY, ROLE_RELAY, 0), &m,
					   FETCH_WAIT_MS, on_fetched, f, &bad))
		answer(f);
}

void sts_find(struct sts *s, struct str domain, sts_done *done, void *ctx)
{
	struct message m = {.type = MSG_dns_query};
	struct err err = {0};
	if (!plain_domain(domain)) {
		done(ctx, NULL);
		return;
	}
	struct finding *f = mem_new(struct finding);
	*f = (struct finding){.sts = s, .done = done, .ctx = ctx, .arena = arena_new()};
	f->domain = arena_str(f->arena, domain);
	m.dns_query.name = arena_cat(f->arena, STR("_mta-sts."), f->domain);
	m.dns_query.type = DNS_TXT;
	if (!channel_call_async(role_channel(s->role, CHANNEL_DNS, ROLE_DNS, 0), &m, DNS_WAIT_MS,
				on_record, f, &err))
		answer(f);
}

bool sts_new(struct role *r, int spool_fd, struct sts **out, struct err *err)
{
	struct sts *s = mem_new(struct sts);
	s->role = r;
	lock_init(&s->lock, LOCK_PROC);
	s->known = map_new();
	if (file_mkdirat(spool_fd, "mta-sts", 0700) != 0 && errno != EEXIST)
		return err_sys(err, "cannot create spool/mta-sts");
	s->dir_fd = file_openat(spool_fd, "mta-sts", O_RDONLY | O_DIRECTORY, 0);
	*out = s;
	return s->dir_fd >= 0 || err_sys(err, "cannot open spool/mta-sts");
}
