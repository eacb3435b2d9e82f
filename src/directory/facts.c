/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* One map under one lock. When it is full everything goes: it fills again in seconds. */
#include "directory/facts.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/secret.h"
#include <stdlib.h>
#include <string.h>

enum { ANSWERS_MAX = 100000 };

struct answer {
	int64_t at_ms;
	size_t n;
	char bytes[];
};

static void answer_free(struct answer *a)
{
	if (a)
		secret_wipe(a->bytes, a->n); /* an account's has its hash */
	free(a);
}

struct facts *facts_new(void)
{
	struct facts *f = mem_new(struct facts);
	f->lock = mem_new(struct lock);
	lock_init(f->lock, LOCK_LEAF);
	f->answers = map_new();
	f->refs = 1;
	return f;
}

struct facts *facts_ref(struct facts *f)
{
	LOCK_SCOPED(f->lock);
	f->refs++;
	return f;
}

static void clear(struct facts *f)
{
	struct map_iter it = {0};
	while (map_next(f->answers, &it))
		answer_free(map_remove(f->answers, it.key));
}

void facts_unref(struct facts *f)
{
	if (!f)
		return;
	lock_take(f->lock);
	bool last = --f->refs == 0;
	lock_drop(f->lock);
	if (!last)
		return;
	clear(f);
	map_free(f->answers);
	lock_fini(f->lock);
	free(f->lock);
	free(f);
}

bool facts_get(struct facts *f, struct str key, int64_t max_age_ms, struct buf *out)
{
	LOCK_SCOPED(f->lock);
	const struct answer *a = map_get(f->answers, key);
	if (!a || clock_mono_ms() - a->at_ms >= max_age_ms)
		return false;
	buf_add(out, (struct str){a->bytes, a->n});
	return true;
}

void facts_put(struct facts *f, struct str key, struct str answer)
{
	struct answer *a = mem_alloc(sizeof *a + answer.n);
	*a = (struct answer){clock_mono_ms(), answer.n};
	if (answer.n)
		memcpy(a->bytes, answer.p, answer.n);
	LOCK_SCOPED(f->lock);
	if (map_count(f->answers) >= ANSWERS_MAX)
		clear(f);
	answer_free(map_put(f->answers, key, a));
}

void facts_forget(struct facts *f, struct str key)
{
	LOCK_SCOPED(f->lock);
	if (key.n > 0)
		answer_free(map_remove(f->answers, key));
	else
		clear(f);
}
