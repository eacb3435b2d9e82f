/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * One timer thread at a time judges; what the master tells comes on another. The file is written before the
 * mail: after a crash between them an alarm is known and not told again, which the log makes up for.
 */
#include "proc/queue_alarm.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/config.h"
#include "crypto/tls.h"
#include "policy/alarm.h"
#include "policy/https.h"
#include "proc/keys_int.h"
#include "proc/role_int.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { CALL_TRIES = 10, CALL_WAIT_MS = 70000 };
enum { DIRS_MAX = 4, PEM_MAX = 4 << 20, FILE_MAX = 4096 };
#define FILE_NAME "alarms"

struct queue_alarm {
	struct role *role;
	int spool_fd, dir[DIRS_MAX];
	size_t dir_n;
	_Atomic int64_t certificate_until_s;
	atomic_uint restarts;

	struct lock lock;
	/* guarded by lock */
	struct alarms alarms;

	/* for the web address, one for each kind: the last word counts */
	struct call {
		char *json;        /* NULL: nothing to tell */
		unsigned tries;
		uint64_t version;  /* of json: another one may come while this one is on its way */
		bool under_way;
	} calls[ALARM_COUNT];

	int64_t next_ms; /* the timer's own */
};

/* ---- words ---- */

static const struct {
	const char *en, *ko;           /* with the value and the limit */
	const char *what_en, *what_ko; /* what to do, or to type */
	const char *over_en, *over_ko; /* with the value and the limit */
} words[ALARM_COUNT] = {
	[ALARM_QUEUE_AGE] = {"Mail has waited in the queue for %lld minutes (limit %lld)",
			     "대기열에서 %lld분째 기다리는 메일이 있습니다(한계 %lld분)",
			     "pabal queue status    shows what waits for whom, and why",
			     "pabal queue status    목적지마다 기다리는 이유를 보여 줍니다",
			     "The oldest mail in the queue has waited %lld minutes (limit %lld)",
			     "대기열의 가장 오래된 메일은 %lld분째입니다(한계 %lld분)"},
	[ALARM_QUEUE_GROWTH] =
		{"The queue has grown by %lld messages in an hour (limit %lld)",
		 "대기열이 한 시간에 %lld통 늘었습니다(한계 %lld통)",
		 "pabal queue list    who sends it? One account that suddenly sends much may be hijacked",
		 "pabal queue list    누가 보냅니까? 갑자기 많이 보내는 계정은 도용되었을 수 있습니다",
		 "The queue has grown by %lld messages in an hour (limit %lld)",
		 "대기열은 한 시간에 %lld통 늘었습니다(한계 %lld통)"},
	[ALARM_DEFERRALS] =
		{"Other servers did not take %lld of 100 attempts of the last hour (limit %lld)",
		 "지난 한 시간의 시도 100번 중 %lld번을 상대 서버가 받지 않았습니다(한계 %lld번)",
		 "pabal queue status    and pabal explain \"REPLY\" for what they say",
		 "pabal queue status    상대의 응답은 pabal explain \"응답\"으로 확인하십시오",
		 "Other servers did not take %lld of 100 attempts of the last hour (limit %lld)",
		 "지난 한 시간의 시도 100번 중 %lld번을 상대 서버가 받지 않았습니다(한계 %lld번)"},
	[ALARM_DISK] = {"A disk is %lld %% full (limit %lld %%)",
			"디스크가 %lld %% 찼습니다(한계 %lld %%)",
			"df -h    make room; below smtp.reserve_disk mail is answered 452",
			"df -h    공간을 비우십시오. smtp.reserve_disk보다 적으면 메일을 452로 답합니다",
			"The fullest disk is %lld %% full (limit %lld %%)",
			"가장 많이 찬 디스크가 %lld %%입니다(한계 %lld %%)"},
	[ALARM_CERTIFICATE] = {"A TLS certificate is valid for %lld days only (limit %lld)",
			       "TLS 인증서의 유효 기간이 %lld일 남았습니다(한계 %lld일)",
			       "renew it, then pabal reload; pabal check config shows which",
			       "새로 발급한 뒤 pabal reload. 어느 것인지는 pabal check config",
			       "The TLS certificates are valid for %lld days (limit %lld)",
			       "TLS 인증서의 유효 기간이 %lld일 남았습니다(한계 %lld일)"},
	[ALARM_RESTARTS] =
		{"Processes of the server were started again %lld times in an hour (limit %lld)",
		 "서버의 프로세스가 한 시간에 %lld번 다시 시작되었습니다(한계 %lld번)",
		 "pabal status; the log's lines role.crashed say where",
		 "pabal status. 로그의 role.crashed 줄에 위치가 있습니다",
		 "Processes of the server were started again %lld times in an hour (limit %lld)",
		 "서버의 프로세스가 한 시간에 %lld번 다시 시작되었습니다(한계 %lld번)"},
};

/* Patterns above are literals with exactly the two numbers. */
static struct str filled(struct arena *a, const char *pattern, int64_t value, int64_t limit)
{
	return arena_fmt(a, pattern, (long long)value, (long long)limit);
}

/* ---- the web address ---- */

struct calling {
	struct queue_alarm *alarm;
	enum alarm_kind kind;
	uint64_t version;
};

static void on_called(void *ctx, struct message *reply, const struct err *err)
{
	struct calling *k = ctx;
	struct queue_alarm *a = k->alarm;
	bool good = reply && reply->type == MSG_fetch_result && reply->fetch_result.code == 0;
	lock_take(&a->lock);
	struct call *c = &a->calls[k->kind];
	c->under_way = false;
	if (c->version == k->version && (good || ++c->tries >= CALL_TRIES)) {
		free(c->json);
		c->json = NULL;
	}
	lock_drop(&a->lock);
	if (!good)
		log_event(LOG_WARN, "alarm.webhook.failed", K_CSTR(rule, alarm_name(k->kind)),
			  K_STR(why, reply ? reply->fetch_result.why : str_of(err->text)));
	free(k);
}

static void call(struct queue_alarm *a, enum alarm_kind kind, const struct https_url *url, struct str json,
		 uint64_t version)
{
	struct channel *ch = role_channel(a->role, CHANNEL_RELAY, ROLE_RELAY, 0);
	struct message m = {.type = MSG_fetch, .fetch = {url->host, url->path, url->port, json}};
	struct calling *k = mem_new(struct calling);
	struct err err = {0};
	*k = (struct calling){a, kind, version};
	if (!ch)
		err_set(&err, ERR_NOT_FOUND, "relay.enabled is off");
	if (!ch || !channel_call_async(ch, &m, CALL_WAIT_MS, on_called, k, &err))
		on_called(k, NULL, &err);
}

/* What is not told yet; tried again with each look. */
static void call_all(struct queue_alarm *a, const struct config *c)
{
	struct https_url url;
	if (!https_url_parse(config_str(c, SETTING_ALARM_WEBHOOK), &url))
		return;
	for (int k = 0; k < ALARM_COUNT; k++) {
		ARENA_SCOPED arena = arena_new();
		lock_take(&a->lock);
		struct call *waiting = &a->calls[k];
		bool due = waiting->json && !waiting->under_way;
		struct str json = due ? arena_str(arena, str_of(waiting->json)) : STR_NONE;
		uint64_t version = waiting->version;
		waiting->under_way |= due;
		lock_drop(&a->lock);
		if (due)
			call(a, (enum alarm_kind)k, &url, json, version);
	}
}

static void call_later(struct queue_alarm *a, const struct config *c, enum alarm_kind kind, bool on,
		       int64_t value, int64_t limit, struct str ko, struct str en)
{
	BUF_SCOPED out = {0};
	struct json_writer w;
	if (!config_str(c, SETTING_ALARM_WEBHOOK).n)
		return;
	json_write_init(&w, &out);
	json_write_object_begin(&w);
	json_write_member_cstr(&w, "alarm", alarm_name(kind));
	json_write_member_cstr(&w, "state", on ? "raised" : "cleared");
	json_write_member_str(&w, "host", config_str(c, SETTING_HOSTNAME));
	json_write_member_int(&w, "time", clock_wall_s());
	json_write_member_int(&w, "value", value);
	json_write_member_int(&w, "limit", limit);
	json_write_member_str(&w, "text", en);
	json_write_member_str(&w, "text_ko", ko);
	json_write_object_end(&w);
	buf_byte(&out, 0);
	LOCK_SCOPED(&a->lock);
	struct call *k = &a->calls[kind];
	free(k->json);
	k->json = mem_alloc(out.n);
	memcpy(k->json, out.p, out.n);
	k->tries = 0;
	k->version++;
}

static void tell(struct queue_alarm *a, const struct config *c, struct queue *q, enum alarm_kind kind,
		 bool on, int64_t value, int64_t limit)
{
	ARENA_SCOPED arena = arena_new();
	int64_t unit = kind == ALARM_QUEUE_AGE ? 60 : 1;
	struct str en = filled(arena, on ? words[kind].en : words[kind].over_en, value / unit, limit / unit);
	struct str ko = filled(arena, on ? words[kind].ko : words[kind].over_ko, value / unit, limit / unit);
	struct str text = on ? arena_fmt(arena, "%.*s.\r\n  %s\r\n\r\n%.*s.\r\n  %s\r\n", STR_ARG(ko),
					 words[kind].what_ko, STR_ARG(en), words[kind].what_en)
			     : arena_fmt(arena, "%.*s.\r\n\r\n%.*s.\r\n", STR_ARG(ko), STR_ARG(en));
	struct str subject_ko = arena_fmt(arena, "%s: %s", on ? "경보" : "경보 해제", alarm_name(kind));
	struct str subject_en = arena_fmt(arena, "%s: %s", on ? "alarm" : "all clear", alarm_name(kind));
	struct err err = {0};
	call_later(a, c, kind, on, value, limit, ko, en);
	log_event(LOG_WARN, on ? "alarm.raised" : "alarm.cleared", K_CSTR(rule, alarm_name(kind)),
		  K_INT(value, value), K_STR(why, en));
	if (!queue_tell_postmaster(q, subject_ko, subject_en, text, &err))
		log_err(LOG_ERROR, "alarm.mail.failed", &err);
}

/* ---- looking ---- */

static unsigned fullest(const struct queue_alarm *a)
{
	unsigned most = 0;
	for (size_t i = 0; i < a->dir_n; i++) {
		struct statvfs fs;
		/* As df counts: what only root may use is not there. */
		if (fstatvfs(a->dir[i], &fs) < 0 || fs.f_blocks == 0)
			continue;
		uint64_t used = fs.f_blocks - fs.f_bfree, all = used + fs.f_bavail;
		unsigned percent = all ? (unsigned)((used * 100 + all - 1) / all) : 0;
		most = percent > most ? percent : most;
	}
	return most;
}

/* What relay was asked for and what failed, out of this process's own counts. */
static void count_attempts(struct alarm_figures *f)
{
	struct log_count counts[LOG_COUNTS_MAX];
	size_t n = log_counts(counts);
	for (size_t i = 0; i < n; i++) {
		bool failed = strcmp(counts[i].event, "queue.attempt") == 0;
		if (!failed && strcmp(counts[i].event, "queue.relayed") != 0)
			continue;
		f->attempts += counts[i].n;
		f->failures += failed ? counts[i].n : 0;
	}
}

static struct alarm_figures look(struct queue_alarm *a, struct queue *q)
{
	struct alarm_figures f = {.now_s = clock_wall_s()};
	struct queue_ages ages;
	struct queue_counts n;
	queue_ages(q, &ages);
	queue_counts(q, &n);
	f.waiting = n.deferred > ages.held ? n.deferred - ages.held : 0;
	f.oldest_age_s =
		ages.oldest_s && (int64_t)ages.oldest_s < f.now_s ? (uint64_t)f.now_s - ages.oldest_s : 0;
	f.disk_percent = fullest(a);
	f.certificate_until_s = atomic_load(&a->certificate_until_s);
	f.restarts = atomic_load(&a->restarts);
	count_attempts(&f);
	return f;
}

static struct alarm_limits limits_of(const struct config *c)
{
	struct alarm_limits l = {{0}};
	l.at[ALARM_QUEUE_AGE] = config_duration_ms(c, SETTING_ALARM_QUEUE_AGE) / 1000;
	l.at[ALARM_QUEUE_GROWTH] = config_int(c, SETTING_ALARM_QUEUE_GROWTH);
	l.at[ALARM_DEFERRALS] = config_int(c, SETTING_ALARM_DEFERRALS);
	l.at[ALARM_DISK] = config_int(c, SETTING_ALARM_DISK);
	l.at[ALARM_CERTIFICATE] = config_duration_ms(c, SETTING_ALARM_CERTIFICATE) / 86400000;
	l.at[ALARM_RESTARTS] = config_int(c, SETTING_ALARM_RESTARTS);
	return l;
}

struct change {
	enum alarm_kind kind;
	bool on;
	int64_t value, limit;
};
struct changes {
	struct change v[ALARM_COUNT];
	size_t n;
};

static void note(void *ctx, enum alarm_kind kind, bool on, int64_t value, int64_t limit)
{
	struct changes *c = ctx;
	c->v[c->n++] = (struct change){kind, on, value, limit};
}

static void keep(struct queue_alarm *a)
{
	BUF_SCOPED text = {0};
	struct err err = {0};
	alarms_save(&a->alarms, &text);
	if (!file_replace_whole(a->spool_fd, FILE_NAME, buf_str(&text), 0600, &err))
		log_err(LOG_ERROR, "alarm.keep.failed", &err);
}

void queue_alarm_tick(struct queue_alarm *a, struct queue *q)
{
	CONFIG_SCOPED c = role_config(a->role);
	struct changes changes = {.n = 0};
	struct alarm_limits limits = limits_of(c);
	int64_t now = clock_mono_ms();
	if (now < a->next_ms) /* timers do not overlap */
		return;
	a->next_ms = now + config_duration_ms(c, SETTING_ALARM_INTERVAL);
	struct alarm_figures f = look(a, q);
	lock_take(&a->lock);
	alarms_judge(&a->alarms, &limits, &f, note, &changes);
	lock_drop(&a->lock);
	if (changes.n)
		keep(a);
	for (size_t i = 0; i < changes.n; i++)
		tell(a, c, q, changes.v[i].kind, changes.v[i].on, changes.v[i].value, changes.v[i].limit);
	call_all(a, c);
}

/* ---- what comes from elsewhere ---- */

void queue_alarm_certificates(struct queue_alarm *a, int pem_fd)
{
	ARENA_SCOPED arena = arena_new();
	BUF_SCOPED pem = {0};
	struct err err = {0};
	struct str rest, one;
	int64_t first = 0;
	if (pem_fd >= 0 && !sealed_read(pem_fd, PEM_MAX, &pem, &err))
		log_err(LOG_WARN, "alarm.certificates.unreadable", &err);
	for (rest = buf_str(&pem); pem_chain_next(&rest, &one);) {
		struct cert_facts facts;
		if (cert_facts(arena, one, &facts, &err) && (!first || facts.not_after < first))
			first = facts.not_after;
	}
	atomic_store(&a->certificate_until_s, first);
}

void queue_alarm_restarts(struct queue_alarm *a, unsigned in_last_hour)
{
	atomic_store(&a->restarts, in_last_hour);
}

void queue_alarm_status(struct queue_alarm *a, struct json_writer *w)
{
	LOCK_SCOPED(&a->lock);
	json_write_name(w, STR("alarms"));
	json_write_array_begin(w);
	for (int k = 0; k < ALARM_COUNT; k++) {
		if (!a->alarms.v[k].on)
			continue;
		json_write_object_begin(w);
		json_write_member_cstr(w, "alarm", alarm_name((enum alarm_kind)k));
		json_write_member_int(w, "since", a->alarms.v[k].since_s);
		json_write_object_end(w);
	}
	json_write_array_end(w);
}

struct queue_alarm *queue_alarm_new(struct role *r)
{
	struct queue_alarm *a = mem_new(struct queue_alarm);
	a->role = r;
	a->spool_fd = -1;
	lock_init(&a->lock, LOCK_LEAF);
	return a;
}

void queue_alarm_open(struct queue_alarm *a, int spool_fd, const int *dirs, size_t n)
{
	BUF_SCOPED text = {0};
	struct err err = {0};
	a->spool_fd = spool_fd;
	for (size_t i = 0; i < n && i < DIRS_MAX; i++)
		a->dir[a->dir_n++] = dirs[i];
	if (faccessat(spool_fd, FILE_NAME, F_OK, 0) < 0)
		return;
	if (file_read_whole(spool_fd, FILE_NAME, FILE_MAX, &text, &err))
		alarms_load(&a->alarms, buf_str(&text));
	else
		log_err(LOG_WARN, "alarm.file.unreadable", &err);
}
