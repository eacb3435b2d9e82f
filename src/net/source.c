/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Counts per source of connections. An entry lives as long as connections refer to it and, for the
 * rate of new ones, until its minute is over.
 */
#include "net/net_int.h"
#include "base/clock.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

enum { SOURCES_SWEEP = 65536, MINUTE_US = 60 * 1000000 };

struct source *source_get(struct net *n, struct str key)
{
	LOCK_SCOPED(&n->limits);
	struct source *s = map_get(n->sources, key);
	if (!s) {
		if (map_count(n->sources) >= SOURCES_SWEEP)
			sources_sweep(n);
		s = mem_zalloc(sizeof *s + key.n);
		memcpy(s + 1, key.p, key.n);
		s->key = (struct str){(const char *)(s + 1), key.n};
		s->waiting_end = &s->waiting;
		map_put(n->sources, s->key, s);
	}
	atomic_fetch_add(&s->refs, 1);
	return s;
}

void source_unref(struct net *n, struct source *s)
{
	if (!s)
		return;
	LOCK_SCOPED(&n->limits);
	if (atomic_fetch_sub(&s->refs, 1) > 1)
		return;
	if (s->minute_count && clock_mono_us() - s->minute_us < MINUTE_US)
		return; /* sources_sweep() */
	map_remove(n->sources, s->key);
	free(s);
}

void sources_sweep(struct net *n)
{
	struct map_iter it = {0};
	int64_t now = clock_mono_us();
	bool crowded = map_count(n->sources) >= SOURCES_SWEEP;
	lock_held(&n->limits);
	while (map_next(n->sources, &it)) {
		struct source *s = it.value;
		if (atomic_load(&s->refs) || (!crowded && now - s->minute_us < MINUTE_US))
			continue;
		map_remove(n->sources, it.key);
		free(s);
	}
}

void sources_free(struct net *n)
{
	struct map_iter it = {0};
	while (map_next(n->sources, &it))
		free(it.value);
	map_free(n->sources);
}

/* The first byte tells kinds apart: '4', '6' for hosts and "n4", "n6" for networks; groups have "g". */
void source_keys(const struct conn_addr *a, char host[17], char network[17], struct str *out_host,
		 struct str *out_network)
{
	const unsigned char *ip = NULL;
	bool v4 = false;
	*out_host = *out_network = STR_NONE;
	if (a->len && a->addr.sa.sa_family == AF_INET) {
		ip = (const unsigned char *)&a->addr.v4.sin_addr;
		v4 = true;
	} else if (a->len && a->addr.sa.sa_family == AF_INET6) {
		ip = a->addr.v6.sin6_addr.s6_addr;
		if ((v4 = IN6_IS_ADDR_V4MAPPED(&a->addr.v6.sin6_addr)))
			ip += 12;
	}
	if (!ip)
		return;
	size_t host_n = v4 ? 4 : 8, network_n = v4 ? 3 : 7;
	host[0] = v4 ? '4' : '6';
	memcpy(host + 1, ip, host_n);
	network[0] = 'n';
	network[1] = host[0];
	memcpy(network + 2, ip, network_n);
	*out_host = (struct str){host, 1 + host_n};
	*out_network = (struct str){network, 2 + network_n};
}
