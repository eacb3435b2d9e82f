/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Which actions a message needs. Nothing here has an effect: the plan is committed first. */
#include "queue/queue_int.h"

#include "base/file.h"
#include "base/log.h"
#include "mail/header.h"
#include "mail/status.h"
#include "mail/trace.h"

#include <string.h>

void copy_head(struct buf *out, const struct item *i, const struct action *a)
{
	trace_return_path(out, a->generated.n ? (struct address){STR_NONE, STR_NONE}
					      : i->envelope.reverse_path);
	if (!a->rcpt.n)
		return;
	size_t at = str_find_last_byte(a->rcpt, '@');
	struct address rcpt = {str_sub(a->rcpt, 0, at),
			       at == STR_NPOS ? STR_NONE : str_from(a->rcpt, at + 1)};
	trace_delivered_to(out, rcpt);
}

static bool has_account(const struct plan *p, struct str account)
{
	for (size_t k = 0; k < p->n; k++) {
		if (p->actions[k].kind == ACTION_PLACE && str_eq(p->actions[k].account, account))
			return true;
	}
	return false;
}

struct making {
	struct queue *q;
	struct item *i;
	size_t cap, failures_cap;
	struct failure *failures;
	size_t failures_n;
	struct str header;
};

static void add_action(struct making *m, struct action a)
{
	struct plan *p = &m->i->plan;
	p->actions = arena_grow(m->i->arena, p->actions, p->n, &m->cap, sizeof *p->actions);
	a.number = (uint32_t)p->n;
	p->actions[p->n++] = a;
}

static void add_failure(struct making *m, uint32_t rcpt_index, struct str address, int outcome)
{
	m->failures = arena_grow(m->i->arena, m->failures, m->failures_n, &m->failures_cap,
				 sizeof *m->failures);
	m->failures[m->failures_n++] =
		(struct failure){.rcpt_index = rcpt_index, .address = address, .outcome = outcome};
}

static void plan_destination(struct making *m, uint32_t rcpt_index, const struct destination *d)
{
	struct plan *p = &m->i->plan;
	switch (d->kind) {
	case DESTINATION_LOCAL:
		if (has_account(p, d->address)) /* once each, whatever aliases led there (R27) */
			return;
		size_t at = str_find_last_byte(d->address, '@');
		struct address to = {str_sub(d->address, 0, at), str_from(d->address, at + 1)};
		if (trace_was_delivered_to(m->header, to)) {
			add_failure(m, rcpt_index, d->address, OUTCOME_LOOP);
			return;
		}
		add_action(m, (struct action){.kind = ACTION_PLACE,
					      .account = d->address,
					      .rcpt = d->address,
					      .mailbox = m->i->envelope.junk ? STR(MAILBOX_OF_JUNK)
									     : STR("INBOX"),
					      .rcpt_index = rcpt_index});
		return;
	case DESTINATION_REMOTE:
		add_action(m, (struct action){.kind = ACTION_REMOTE,
					      .account = d->address,
					      .rcpt_index = rcpt_index});
		return;
	case DESTINATION_UNKNOWN:
		add_failure(m, rcpt_index, d->address, OUTCOME_NO_SUCH_USER);
		return;
	case DESTINATION_DISABLED:
		add_failure(m, rcpt_index, d->address, OUTCOME_MAILBOX_DISABLED);
		return;
	}
}

struct action notice_action(const struct notice_target *t, struct str notice)
{
	return (struct action){.kind = t->remote ? ACTION_REMOTE : ACTION_PLACE,
			       .account = t->address,
			       .rcpt = t->remote ? STR_NONE : t->address,
			       .mailbox = t->remote ? STR_NONE : STR("INBOX"),
			       .rcpt_index = RCPT_NONE,
			       .generated = notice};
}

bool notice_targets(struct queue *q, const struct item *i, enum notice_kind kind, struct arena *a,
		    struct notice_target **out, size_t *out_n, struct err *err)
{
	const struct queue_services *s = &q->o.services;
	struct str addresses[] = {address_str(a, i->envelope.reverse_path), q->o.postmaster};
	*out_n = 0;
	/* The sender; while nothing can be sent to other servers, postmaster learns of it instead. */
	for (size_t k = kind == NOTICE_POSTMASTER; k < (kind == NOTICE_SUCCESS ? 1 : 2) && !*out_n; k++) {
		struct destination *d;
		size_t n;
		if (!addresses[k].n)
			continue;
		if (!s->resolve(s->ctx, addresses[k], a, &d, &n, err)) {
			if (err->kind == ERR_SYNTAX)
				continue;
			return false;
		}
		*out = arena_array(a, n ? n : 1, sizeof **out);
		for (size_t j = 0; j < n; j++) {
			bool remote = d[j].kind == DESTINATION_REMOTE && q->o.relay.relay && k == 0;
			if (d[j].kind == DESTINATION_LOCAL || remote)
				(*out)[(*out_n)++] = (struct notice_target){d[j].address, remote};
		}
	}
	return true;
}

static bool plan_bounce(struct making *m, struct err *err)
{
	struct item *i = m->i;
	size_t n = 0;
	for (size_t k = 0; k < m->failures_n; k++) {
		const struct failure *f = &m->failures[k];
		log_event(LOG_INFO, "queue.action.failed", K_STR(rcpt, f->address),
			  K_CSTR(why, outcome_row((enum outcome)f->outcome)->name));
		if (notice_wanted(i, f->rcpt_index, NOTIFY_FAILURE))
			m->failures[n++] = *f;
	}
	if (!n)
		return true;
	struct notice_target *to;
	size_t to_n;
	if (!notice_targets(m->q, i, NOTICE_FAILURE, i->arena, &to, &to_n, err))
		return false;
	struct str notice = notice_write(m->q, i, i->arena, m->failures, n);
	for (size_t k = 0; k < to_n; k++)
		add_action(m, notice_action(&to[k], notice));
	if (!to_n)
		log_event(LOG_ERROR, "queue.bounce.undeliverable",
			  K_STR(from, i->envelope.reverse_path_text));
	return true;
}

bool plan_make(struct queue *q, struct item *i, struct err *err)
{
	const struct queue_services *s = &q->o.services;
	struct making m = {.q = q, .i = i, .header = str_sub(i->content, 0, header_length(i->content))};
	i->plan.n = 0;
	i->plan.actions = NULL;
	fault_crash("plan", i->content);
	for (size_t k = 0; k < i->envelope.rcpt_n; k++) {
		struct destination *d;
		size_t n;
		struct str address = address_str(i->arena, i->envelope.rcpt[k].address);
		if (!s->resolve(s->ctx, address, i->arena, &d, &n, err)) {
			if (err->kind != ERR_SYNTAX && err->kind != ERR_LIMIT)
				return err_while(err, "planning %.*s", STR_ARG(id_str(&i->id)));
			add_failure(&m, (uint32_t)k, address,
				    err->kind == ERR_LIMIT ? OUTCOME_LIST_EXPANSION
							   : OUTCOME_BAD_RECIPIENT);
			err_clear(err);
			continue;
		}
		for (size_t j = 0; j < n; j++)
			plan_destination(&m, (uint32_t)k, &d[j]);
	}
	return !m.failures_n || plan_bounce(&m, err);
}
