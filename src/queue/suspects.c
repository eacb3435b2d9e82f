/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Messages and accounts that were at work when the queue crashed (PROCESSES C6). After ALONE_CRASHES
 * a message is planned and placed alone, behind the others; after HOLD_CRASHES it is held: put aside
 * in spool/deferred, as it is, until somebody releases it. An account named without a message (a crash
 * between the messages of a batch) gets its messages one by one, so that the next note names one.
 *
 * spool/suspects keeps the counts of messages over the end of the server, a line each:
 *
 *   id, crashes, who told us, what it told, when (s)
 *
 * A master counts from zero and tells its sum at each start of ours: the difference to what it told
 * before is what is new. A line that is an hour old, without a further crash, says nothing any more.
 */
#include "queue/queue_int.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { SUSPECTS_MAX = 1000, FILE_MAX = 128 * 1024, FORGET_S = 3600 };

struct suspect {
	struct suspect *next;
	struct id id;
	char *account; /* instead of the id; NULL: a message */
	unsigned crashes, told;
	uint64_t teller;
	int64_t last_s;
};

static bool is_old(const struct suspect *s, int64_t now_s)
{
	return now_s - s->last_s > FORGET_S;
}

static struct suspect *find_message(struct queue *q, const struct id *id)
{
	lock_held(&q->lock);
	struct suspect *s = q->suspects;
	while (s && (s->account || memcmp(s->id.c, id->c, ID_LEN)))
		s = s->next;
	return s;
}

static struct suspect *find_account(struct queue *q, struct str account)
{
	lock_held(&q->lock);
	struct suspect *s = q->suspects;
	while (s && (!s->account || !str_eq(str_of(s->account), account)))
		s = s->next;
	return s;
}

static struct suspect *suspect_add(struct queue *q)
{
	struct suspect *s = mem_new(struct suspect);
	s->next = q->suspects;
	q->suspects = s;
	q->suspects_n++;
	return s;
}

/* ---- the file ----------------------------------------------------------------------------- */

static bool read_line(struct str line, struct suspect *out)
{
	struct str word[5];
	uint64_t crashes, told, last;
	for (int k = 0; k < 5; k++)
		word[k] = str_cut(&line, ' ');
	if (!id_parse(word[0], &out->id) || !str_u64(word[1], 1000, &crashes) ||
	    !str_u64(word[2], UINT64_MAX, &out->teller) || !str_u64(word[3], 1000, &told) ||
	    !str_u64(word[4], INT64_MAX, &last))
		return false;
	out->crashes = (unsigned)crashes;
	out->told = (unsigned)told;
	out->last_s = (int64_t)last;
	return true;
}

bool suspects_load(struct queue *q, struct err *err)
{
	BUF_SCOPED text = {0};
	int64_t now_s = clock_wall_s();
	if (!file_read_whole(q->o.spool_fd, "suspects", FILE_MAX, &text, err)) {
		if (err->kind != ERR_NOT_FOUND)
			log_err(LOG_WARN, "queue.suspects.unreadable", err); /* counted anew */
		err_clear(err);
		return true;
	}
	struct str rest = buf_str(&text);
	LOCK_SCOPED(&q->lock);
	while (rest.n && q->suspects_n < SUSPECTS_MAX) {
		struct suspect s = {0};
		if (!read_line(str_cut(&rest, '\n'), &s) || is_old(&s, now_s))
			continue;
		struct suspect *kept = suspect_add(q);
		s.next = kept->next;
		*kept = s;
	}
	return true;
}

static bool suspects_write(struct queue *q, struct err *err)
{
	BUF_SCOPED text = {0};
	int64_t now_s = clock_wall_s();
	lock_take(&q->lock);
	for (const struct suspect *s = q->suspects; s; s = s->next)
		if (!s->account && !is_old(s, now_s))
			buf_fmt(&text, "%.*s %u %llu %u %lld\n", STR_ARG(id_str(&s->id)), s->crashes,
				(unsigned long long)s->teller, s->told, (long long)s->last_s);
	lock_drop(&q->lock);
	return file_replace_whole(q->o.spool_fd, "suspects", buf_str(&text), 0600, err);
}

/* ---- told, asked, forgiven ------------------------------------------------------------------ */

static void count(struct suspect *s, unsigned crashes, uint64_t teller, int64_t now_s)
{
	unsigned before = s->teller == teller && s->told <= crashes ? s->told : 0;
	if (crashes == before)
		return;
	s->crashes = (is_old(s, now_s) ? 0 : s->crashes) + (crashes - before);
	s->teller = teller;
	s->told = crashes;
	s->last_s = now_s;
}

void queue_suspect(struct queue *q, struct str qid, struct str account, unsigned crashes, uint64_t teller)
{
	struct err err = {0};
	struct id id;
	bool message = qid.n > 0;
	if (message ? !id_parse(qid, &id) : !account.n)
		return;
	lock_take(&q->lock);
	struct suspect *s = message ? find_message(q, &id) : find_account(q, account);
	if (!s && q->suspects_n < SUSPECTS_MAX) {
		s = suspect_add(q);
		s->account = message ? NULL : mem_zalloc(account.n + 1);
		if (message)
			s->id = id;
		else
			memcpy(s->account, account.p, account.n);
	}
	if (s)
		count(s, crashes, teller, clock_wall_s());
	unsigned all = s ? s->crashes : 0;
	lock_drop(&q->lock);
	log_event(LOG_WARN, "queue.suspect", K_STR(qid, qid), K_STR(account, account), K_INT(count, all));
	if (message && !suspects_write(q, &err))
		log_err(LOG_ERROR, "queue.suspects.failed", &err); /* the master still knows */
}

static unsigned crashes_of(const struct suspect *s)
{
	return s && !is_old(s, clock_wall_s()) ? s->crashes : 0;
}

unsigned suspicion(struct queue *q, const struct id *id)
{
	if (!__atomic_load_n(&q->suspects_n, __ATOMIC_RELAXED))
		return 0;
	LOCK_SCOPED(&q->lock);
	return crashes_of(find_message(q, id));
}

bool goes_alone(struct queue *q, const struct id *id, struct str account)
{
	if (!__atomic_load_n(&q->suspects_n, __ATOMIC_RELAXED))
		return false;
	LOCK_SCOPED(&q->lock);
	return crashes_of(find_message(q, id)) >= ALONE_CRASHES ||
	       (account.n && crashes_of(find_account(q, account)) >= ALONE_CRASHES);
}

bool suspect_forgive(struct queue *q, const struct id *id, struct err *err)
{
	lock_take(&q->lock);
	struct suspect *s = find_message(q, id);
	if (s)
		s->crashes = 0; /* what was told stays: only more than that is new */
	lock_drop(&q->lock);
	return !s || suspects_write(q, err);
}

void suspects_free(struct queue *q)
{
	while (q->suspects) {
		struct suspect *s = q->suspects;
		q->suspects = s->next;
		free(s->account);
		free(s);
	}
}
