/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* imap/cmd_thread.c: THREAD and UID THREAD (RFC 5256). */
#include "imap/find.h"
#include "imap/thread.h"

struct thread_run {
	struct search_args args;
	struct find find;
	struct threading threading;
};

static void note(struct imap *s, void *run, uint32_t seq, const struct msg *m)
{
	struct thread_run *r = run;
	struct msg_details d;
	struct summary sum;
	int64_t date;
	struct err err;

	if (view_internaldate(s->view, m->uid, &date, &err) &&
	    (ahead_summary(&r->find.ahead, seq, m->uid, &sum) ||
	     (view_details(s->view, m->uid, s->scratch, &d, &err) && summary_decode(d.summary, &sum, &err))))
		threading_add(&r->threading, seq, m->uid, date, &sum);
	else if (err.kind != ERR_GONE && err.kind != ERR_NOT_FOUND && r->find.search.err.kind == ERR_NONE)
		r->find.search.err = err;
	arena_reset(s->scratch);
}

static void release(void *run) { threading_fini(&((struct thread_run *)run)->threading); }

static enum step begin(struct imap *s, struct command *c)
{
	struct thread_run *r = arena_new_of(s->arena, struct thread_run);
	enum search_problem problem;

	if (!parse_thread(&c->p, &r->args, &problem))
		return find_bad_arguments(s, &c->p, problem, &r->args);
	if (!find_allowed(s, &r->args))
		return STEP_DONE;
	threading_init(&r->threading, r->args.thread, c->uid, s->arena);
	c->release = release;
	c->state = r;
	r->find.found = note;
	r->find.ctx = r;
	find_begin(s, &r->find, &r->args);
	return STEP_AGAIN;
}

enum step cmd_thread(struct imap *s, struct command *c)
{
	if (!c->state) {
		enum step step = begin(s, c);
		if (step != STEP_AGAIN)
			return step;
	}
	struct thread_run *r = c->state;
	if (find_step(s, &r->find) != STEP_DONE)
		return STEP_AGAIN;
	if (r->find.search.err.kind != ERR_NONE)
		return find_failed(s, &r->find, &r->args);
	struct buf *b = imap_out(s);
	buf_add(b, STR("* THREAD"));
	if (r->threading.real)
		buf_byte(b, ' ');
	threading_write(&r->threading, b);
	buf_add(b, STR("\r\n"));
	return imap_ok(s, "THREAD completed");
}
