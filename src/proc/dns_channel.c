/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "proc/dns_channel.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/scan.h"
#include "dns/backend.h"
#include "net/net.h"
#include "proc/role_int.h"
#include <stdlib.h>

struct dns_channel {
	struct dns_resolver resolver; /* first */
	struct role *role;
	int64_t until_ms;
};

static bool read_records(struct arena *a, struct str in, struct dns_answer *out)
{
	struct scan s = scan_of(in);
	struct dns_record *v = NULL;
	size_t n = 0, cap = 0;

	while (!scan_end(&s)) {
		struct dns_record r = {0};
		struct str bytes;
		if (!scan_le16(&s, &r.preference) || !scan_le16(&s, &r.weight) || !scan_le16(&s, &r.port) ||
		    !scan_take(&s, 4, &bytes) || !scan_le_str(&s, 65535, &r.data) ||
		    !scan_le_str(&s, 255, &r.name) || n == DNS_RECORDS_MAX)
			return false;
		r.usage = (uint8_t)bytes.p[0];
		r.selector = (uint8_t)bytes.p[1];
		r.matching = (uint8_t)bytes.p[2];
		v = arena_grow(a, v, n, &cap, sizeof(*v));
		v[n++] = r;
	}
	out->at = v;
	out->n = n;
	return true;
}

static void query(struct dns_resolver *r, struct arena *a, struct str name, enum dns_type type,
		  struct dns_answer *out)
{
	struct dns_channel *d = (struct dns_channel *)r;
	struct message m = {.type = MSG_dns_query}, reply;
	int64_t left = d->until_ms - clock_mono_ms();
	struct err err = {0};

	out->status = DNS_TIMEOUT;
	m.dns_query.name = name;
	m.dns_query.type = type;
	if (left <= 0)
		return;
	net_block_begin(d->role->net);
	bool good = channel_call(role_channel(d->role, CHANNEL_DNS, ROLE_DNS, 0), &m, left, a, &reply, &err);
	net_block_end(d->role->net);
	if (!good || reply.dns_reply.status > DNS_TIMEOUT)
		return;
	out->status = (enum dns_status)reply.dns_reply.status;
	out->secure = reply.dns_reply.secure;
	out->ttl = reply.dns_reply.ttl;
	if (reply.dns_reply.canonical.n)
		out->canonical = reply.dns_reply.canonical;
	if (!read_records(a, reply.dns_reply.records, out) || (out->n > 0) != (out->status == DNS_FOUND))
		*out = (struct dns_answer){.status = DNS_SERVFAIL, .canonical = name};
}

static void free_it(struct dns_resolver *r)
{
	free(r);
}

struct dns_resolver *dns_channel_new(struct role *r, int64_t limit_ms)
{
	struct dns_channel *d = mem_new(struct dns_channel);

	d->resolver = (struct dns_resolver){query, free_it};
	d->role = r;
	d->until_ms = clock_mono_ms() + limit_ms;
	return &d->resolver;
}
