/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * dns/cache.h: answers kept for their TTL, negative ones too (RFC 2308), errors for a few seconds
 * so that a dead zone is not asked again by every message. The least recently used go first. It
 * locks itself; the lock is not held while the inner resolver works.
 */
#pragma once
#include "dns/resolver.h"

struct dns_cache;

enum {
	DNS_CACHE_TTL_MAX = 86400, DNS_CACHE_NEGATIVE_MAX = 3600, /* seconds, whatever the zone says */
	DNS_CACHE_ERROR_TTL = 5,
};

/* At most that many bytes, keys and bookkeeping counted. */
struct dns_cache *dns_cache_new(size_t max_bytes);
void dns_cache_free(struct dns_cache *c); /* accepts NULL */
/* A copy in the arena with what is left of its TTL. false: not there. */
bool dns_cache_get(struct dns_cache *c, struct arena *a, struct str name, enum dns_type type,
		   struct dns_answer *out);
void dns_cache_put(struct dns_cache *c, struct str name, enum dns_type type, const struct dns_answer *answer);
void dns_cache_flush(struct dns_cache *c);
size_t dns_cache_count(struct dns_cache *c);

/* A resolver that looks there first. Frees neither. */
struct dns_resolver *dns_cached_new(struct dns_cache *c, struct dns_resolver *inner);
