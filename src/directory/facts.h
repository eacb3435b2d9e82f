/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * directory/facts.h: what a directory in a database server has told, remembered; for this folder.
 *
 * Three questions are all that mail and logins need: a domain, an account, an alias. Their answers are
 * shared by the handles of a process: fresh ones (directory.cache_time) spare a question, older ones
 * (directory.stale_time) stand in while the server is away. Foreign programs write to that database
 * without telling us, so the fresh time is a second or two. Takes its own lock.
 */
#pragma once
#include "base/buf.h"
#include <stdatomic.h>

struct config;

struct facts {
	struct lock *lock;
	struct map *answers;          /* guarded by lock */
	unsigned refs;                /* guarded by lock */
	_Atomic int64_t away_until_ms; /* of struct directory_link */
	_Atomic uint64_t asked, remembered, stale;
	atomic_bool migrated;         /* the schema is ours and new enough */
};
struct facts *facts_new(void);
struct facts *facts_ref(struct facts *f);
void facts_unref(struct facts *f); /* accepts NULL */

/* An answer younger than max_age_ms, appended to *out. */
bool facts_get(struct facts *f, struct str key, int64_t max_age_ms, struct buf *out);
void facts_put(struct facts *f, struct str key, struct str answer);
void facts_forget(struct facts *f, struct str key); /* empty: everything */
