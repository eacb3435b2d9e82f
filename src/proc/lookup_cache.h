/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * proc/lookup_cache.h: answers of auth that a role remembers, until auth says to forget (the message
 * invalidate, or a channel that was lost) or their time is over. Threads may share one.
 *
 * An answer may be overtaken by the invalidation that makes it wrong: take the generation before
 * asking, and give it to put, which keeps nothing that was asked before the last forgetting.
 */
#pragma once
#include "base/arena.h"
#include "base/str.h"
#include <stdint.h>

struct lookup_cache;
struct config;
struct lookup_cache *lookup_cache_new(void);
/* Where the directory is in a database server others write to it too, and nobody says to forget: answers
 * then live LOOKUP_CACHE_FOREIGN_S at most. */
enum { LOOKUP_CACHE_FOREIGN_S = 2 };
void lookup_cache_configured(struct lookup_cache *c, const struct config *config);
void lookup_cache_free(struct lookup_cache *c); /* accepts NULL */
uint64_t lookup_cache_generation(struct lookup_cache *c);
/* A copy in the arena; false when it has to be asked for. */
bool lookup_cache_get(struct lookup_cache *c, struct str key, struct arena *a, struct str *out);
void lookup_cache_put(struct lookup_cache *c, uint64_t generation, struct str key, struct str value,
		      unsigned life_s);
void lookup_cache_forget(struct lookup_cache *c);
/* "@domain", under which the verdict "not ours" holds for all plain addresses there (the directory asks for
 * nothing but the domain then); empty: this address is not plain. */
struct str lookup_cache_domain(struct str address);
