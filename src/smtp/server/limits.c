/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Rates in windows of a minute (sources) or an hour (accounts), and the memory of bodies. */
#include "base/clock.h"
#include "base/lock.h"
#include "base/map.h"
#include "base/mem.h"
#include "smtp/server/server_int.h"
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

enum { ENTRIES_MAX = 65536, MINUTE_MS = 60000, HOUR_MS = 3600000, LOOKUPS_MAX = 200 };

struct entry {
	int64_t began_ms, window_ms;
	uint64_t count;
};
struct smtp_limits {
	struct lock lock;
	struct map *entries; /* guarded by lock */
	atomic_size_t body_bytes;
	atomic_uint lookups;
};

struct smtp_limits *smtp_limits_new(void)
{
	struct smtp_limits *l = mem_new(struct smtp_limits);
	lock_init(&l->lock, LOCK_LEAF);
	l->entries = map_new();
	return l;
}

void smtp_limits_free(struct smtp_limits *l)
{
	if (!l)
		return;
	struct map_iter it = {0};
	while (map_next(l->entries, &it))
		free(it.value);
	map_free(l->entries);
	lock_fini(&l->lock);
	free(l);
}

static void sweep(struct smtp_limits *l, int64_t now)
{
	struct map_iter it = {0};
	while (map_next(l->entries, &it)) {
		struct entry *e = it.value;
		if (now - e->began_ms < e->window_ms)
			continue;
		map_remove(l->entries, it.key);
		free(e);
	}
}

static bool take(struct smtp_limits *l, struct str key, uint64_t max, int64_t window_ms)
{
	int64_t now = clock_mono_ms();
	LOCK_SCOPED(&l->lock);
	struct entry *e = map_get(l->entries, key);
	if (!e) {
		if (map_count(l->entries) >= ENTRIES_MAX)
			sweep(l, now);
		if (map_count(l->entries) >= ENTRIES_MAX)
			return false;
		e = mem_new(struct entry);
		*e = (struct entry){.began_ms = now, .window_ms = window_ms};
		map_put(l->entries, key, e);
	}
	if (now - e->began_ms >= e->window_ms) {
		e->began_ms = now;
		e->count = 0;
	}
	if (e->count >= max)
		return false;
	e->count++;
	return true;
}

static bool is_of_user(enum smtp_rate rate)
{
	return rate == SMTP_RATE_MESSAGES_USER || rate == SMTP_RATE_RCPTS_USER;
}

/* A letter for the kind, then /32, /64, the account or the user. */
static struct str rate_key(const struct smtp_session *s, enum smtp_rate rate, char key[400])
{
	size_t n = 0;
	key[n++] = (char)('a' + rate);
	if (is_of_user(rate)) {
		uint32_t uid = conn_facts(s->conn)->peer_uid;
		memcpy(key + n, &uid, sizeof uid);
		return (struct str){key, n + sizeof uid};
	}
	if (rate == SMTP_RATE_RCPTS_ACCOUNT) {
		size_t len = s->account.n < 390 ? s->account.n : 390;
		if (len)
			memcpy(key + n, s->account.p, len);
		return (struct str){key, n + len};
	}
	const struct conn_addr *a = &s->peer;
	if (!a->len)
		return (struct str){key, 0};
	if (a->addr.sa.sa_family == AF_INET) {
		memcpy(key + n, &a->addr.v4.sin_addr, 4);
		return (struct str){key, n + 4};
	}
	const unsigned char *ip = a->addr.v6.sin6_addr.s6_addr;
	if (IN6_IS_ADDR_V4MAPPED(&a->addr.v6.sin6_addr)) {
		memcpy(key + n, ip + 12, 4);
		return (struct str){key, n + 4};
	}
	memcpy(key + n, ip, 8);
	return (struct str){key, n + 8};
}

static enum setting rate_setting(enum smtp_rate rate)
{
	switch (rate) {
	case SMTP_RATE_MESSAGES_SOURCE: return SETTING_SMTP_RATE_MESSAGES;
	case SMTP_RATE_RCPTS_SOURCE: return SETTING_SMTP_RATE_RECIPIENTS;
	case SMTP_RATE_MESSAGES_USER: return SETTING_SENDMAIL_RATE_MESSAGES;
	case SMTP_RATE_RCPTS_USER: return SETTING_SENDMAIL_RATE_RECIPIENTS;
	case SMTP_RATE_RCPTS_ACCOUNT: break;
	}
	return SETTING_SMTP_RATE_ACCOUNT_RECIPIENTS;
}

bool smtp_rate_take(struct smtp_session *s, enum smtp_rate rate)
{
	char text[400];
	bool account = rate == SMTP_RATE_RCPTS_ACCOUNT;
	int64_t max = config_int(s->config, rate_setting(rate));
	struct sockaddr *sa = &s->peer.addr.sa;
	if (max == 0 || !s->server->limits || (account && s->account.n == 0))
		return true;
	if (is_of_user(rate)) {
		struct str key = rate_key(s, rate, text);
		return !smtp_is(s, SMTP_LOCAL) ||
		       take(s->server->limits, key, (uint64_t)max,
			    rate == SMTP_RATE_RCPTS_USER ? HOUR_MS : MINUTE_MS);
	}
	/* mynetworks are exempt, on every listener; local sockets have no address. */
	if (!account && (!s->peer.len || networks_match(config_networks(s->config, SETTING_MYNETWORKS), sa)))
		return true;
	struct str key = rate_key(s, rate, text);
	return take(s->server->limits, key, (uint64_t)max, account ? HOUR_MS : MINUTE_MS);
}

bool smtp_memory_take(struct smtp_limits *l, size_t bytes)
{
	if (!l)
		return true;
	size_t had = atomic_fetch_add_explicit(&l->body_bytes, bytes, memory_order_relaxed);
	if (had + bytes <= BODY_MEMORY)
		return true;
	atomic_fetch_sub_explicit(&l->body_bytes, bytes, memory_order_relaxed);
	return false;
}

void smtp_memory_give(struct smtp_limits *l, size_t bytes)
{
	if (l)
		atomic_fetch_sub_explicit(&l->body_bytes, bytes, memory_order_relaxed);
}

bool smtp_lookups_take(struct smtp_limits *l)
{
	if (atomic_fetch_add(&l->lookups, 1) < LOOKUPS_MAX)
		return true;
	atomic_fetch_sub(&l->lookups, 1);
	return false;
}

void smtp_lookups_give(struct smtp_limits *l)
{
	atomic_fetch_sub(&l->lookups, 1);
}
