/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Bounces and delivery notices (RFC 3461, 3464). Those for failures known while planning are part
 * of the message's plan; later ones get a plan of their own, with the whole notice in it, under the
 * message's id and the action's number + ACTION_LATE: written twice after a crash, the second
 * placing finds the first.
 */
#include "queue/queue_int.h"

#include "base/clock.h"
#include "base/codec.h"
#include "base/log.h"
#include "mail/date.h"
#include "mail/dsn.h"
#include "mail/trace.h"

#include <string.h>

bool notice_wanted(const struct item *i, uint32_t rcpt_index, unsigned notify_bit)
{
	if (address_is_null(i->envelope.reverse_path) || rcpt_index >= i->envelope.rcpt_n)
		return false; /* never a bounce to a bounce (RFC 5321 6.1) */
	unsigned notify = i->envelope.rcpt[rcpt_index].notify;
	return notify == NOTIFY_UNSET ? notify_bit != NOTIFY_SUCCESS : (notify & notify_bit) != 0;
}

static struct str write_dsn(struct queue *q, const struct item *i, struct arena *a,
			    const struct dsn_recipient *r, size_t n)
{
	struct str domain = q->o.hostname;
	struct dsn d = {
		.envelope = &i->envelope,
		.rcpt = r,
		.rcpt_n = n,
		.reporting_mta = q->o.hostname,
		.from_domain = domain,
		.postmaster = q->o.postmaster,
		.now_unix = clock_wall_s(),
		.content = i->content,
		.content_max = 64 * 1024,
	};
	BUF_SCOPED b = {0};
	bool smtputf8;
	dsn_write(&b, &d, &smtputf8);
	return arena_str(a, buf_str(&b));
}

struct str notice_write(struct queue *q, const struct item *i, struct arena *a, const struct failure *f,
			size_t n)
{
	struct dsn_recipient *r = arena_array(a, n, sizeof *r);
	for (size_t k = 0; k < n; k++) {
		r[k] = (struct dsn_recipient){
			.rcpt = &i->envelope.rcpt[f[k].rcpt_index],
			.action = DSN_FAILED,
			.outcome = (enum outcome)f[k].outcome,
			.diagnostic = f[k].diagnostic,
			.remote_mta = f[k].mta,
			.final_recipient = f[k].address,
		};
	}
	return write_dsn(q, i, a, r, n);
}

/* Part of the number of a late action: one message may have several notices. */
enum late_kind { LATE_BOUNCE, LATE_SUCCESS, LATE_DELAY };

/* A plan of its own: durable when this returns; then its placing begins. The item, which has its id, is
 * taken in any case. */
static bool notice_plan(struct queue *q, struct item *late, const struct notice_target *to, size_t n,
			uint32_t number,
			struct str notice, struct err *err)
{
	late->bytes = notice.n + 1024;
	late->plan.id = late->id;
	late->plan.actions = arena_array(late->arena, n, sizeof *late->plan.actions);
	struct str text = arena_str(late->arena, notice);
	for (size_t k = 0; k < n; k++) {
		late->plan.actions[k] = notice_action(&to[k], text);
		late->plan.actions[k].number = number + (uint32_t)k % 16;
	}
	late->plan.n = n;
	item_enter(q, late, journal_committed(q->journal) + 1);
	BUF_SCOPED b = {0};
	plan_encode(&b, &late->plan);
	bool ok = journal_append_wait(q->journal, JOURNAL_PLAN, &(struct iovec){b.p, b.n}, 1, NULL, err);
	if (!ok)
		late->plan.n = 0; /* nothing is to be done: the dispatch ends it */
	item_dispatch(q, late);
	return ok;
}

static uint32_t late_number(const struct action *a, enum late_kind kind)
{
	return ACTION_LATE + (a->number * 4 + kind) * 16;
}

static bool late_plan(struct queue *q, struct item *i, const struct action *a, enum late_kind kind,
		      struct str notice, struct err *err)
{
	struct item *late = item_new(q);
	struct notice_target *to;
	size_t n;
	bool ok = notice_targets(q, i, kind == LATE_BOUNCE ? NOTICE_FAILURE : NOTICE_SUCCESS, late->arena,
				 &to, &n, err);
	if (ok && n) {
		late->id = i->id;
		return notice_plan(q, late, to, n, late_number(a, kind), notice, err);
	}
	if (ok && kind == LATE_BOUNCE)
		log_event(LOG_ERROR, "queue.bounce.undeliverable",
			  K_STR(from, i->envelope.reverse_path_text));
	arena_free(late->arena);
	return ok;
}

/* Has an earlier life planned that notice? Its plan stays in the journal as long as the message's. */
static bool was_told(struct queue *q, const struct item *i, const struct action *a, enum late_kind kind)
{
	for (const struct recovered *r = q->recovered; r; r = r->next)
		if (!r->plan.source.n && r->plan.n && r->plan.actions[0].number == late_number(a, kind) &&
		    memcmp(r->plan.id.c, i->id.c, ID_LEN) == 0)
			return true;
	return false;
}

bool notices_recover(struct queue *q, struct item *i, struct err *err)
{
	for (size_t k = 0; k < i->plan.n; k++) {
		const struct action *a = &i->plan.actions[k];
		if (a->kind != ACTION_PLACE)
			continue;
		if (was_only_placed(q, &i->id, a->number)) {
			if (!success_late(q, i, a, DSN_DELIVERED, STR_NONE, err))
				return false;
		} else if (!was_ended(q, &i->id, a->number) && was_told(q, i, a, LATE_BOUNCE)) {
			if (!outcome_write(q, i, a, ENDED_BOUNCED, false, err))
				return false;
		} else {
			continue;
		}
		note_ended(q, &i->id, a->number);
	}
	return true;
}

bool bounce_late(struct queue *q, struct item *i, const struct action *a, int outcome, struct str diagnostic,
		 struct str mta, struct err *err)
{
	if (!notice_wanted(i, a->rcpt_index, NOTIFY_FAILURE))
		return true;
	struct failure f = {a->rcpt_index, a->account, outcome, diagnostic, mta};
	ARENA_SCOPED tmp = arena_new();
	return late_plan(q, i, a, LATE_BOUNCE, notice_write(q, i, tmp, &f, 1), err);
}

static bool notice_late(struct queue *q, struct item *i, const struct action *a, enum late_kind kind,
			const struct dsn_recipient *r, struct err *err)
{
	ARENA_SCOPED tmp = arena_new();
	return late_plan(q, i, a, kind, write_dsn(q, i, tmp, r, 1), err);
}

bool success_late(struct queue *q, struct item *i, const struct action *a, int action, struct str mta,
		  struct err *err)
{
	if (!notice_wanted(i, a->rcpt_index, NOTIFY_SUCCESS) ||
	    ((i->recovered || i->deferred) && was_told(q, i, a, LATE_SUCCESS)))
		return true;
	struct dsn_recipient r = {
		.rcpt = &i->envelope.rcpt[a->rcpt_index],
		.action = (enum dsn_action)action,
		.outcome = action == DSN_RELAYED ? OUTCOME_RELAYED : OUTCOME_DELIVERED,
		.final_recipient = a->account,
		.remote_mta = mta,
	};
	return notice_late(q, i, a, LATE_SUCCESS, &r, err);
}

bool delay_late(struct queue *q, struct item *i, const struct action *a, struct str diagnostic,
		struct str mta, struct err *err)
{
	if (!notice_wanted(i, a->rcpt_index, NOTIFY_DELAY))
		return true;
	struct dsn_recipient r = {
		.rcpt = &i->envelope.rcpt[a->rcpt_index],
		.action = DSN_DELAYED,
		.outcome = OUTCOME_NO_ANSWER,
		.final_recipient = a->account,
		.diagnostic = diagnostic,
		.remote_mta = mta,
		.will_retry_until_unix = i->envelope.received_us / 1000000 + q->o.expire_s,
	};
	return notice_late(q, i, a, LATE_DELAY, &r, err);
}

/* ---- to postmaster ------------------------------------------------------------------------- */

static void head_text(struct queue *q, struct str to, struct str subject_ko, struct str subject_en,
		      struct buf *out)
{
	buf_add(out, STR("Date: "));
	date_format(out, date_local(clock_wall_s()));
	buf_fmt(out, "\r\nFrom: Mail Delivery System <MAILER-DAEMON@%.*s>\r\nTo: <%.*s>\r\n"
		"Subject: =?utf-8?B?", STR_ARG(q->o.hostname), STR_ARG(to));
	base64_encode(out, subject_ko);
	buf_fmt(out, "?=\r\n (%.*s)\r\nMessage-ID: ", STR_ARG(subject_en));
	message_id_new(out, q->o.hostname);
	buf_add(out, STR("\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
			 "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: "
			 "8bit\r\n\r\n"));
}

static void held_text(struct queue *q, const struct held *h, struct buf *out)
{
	head_text(q, q->o.postmaster, STR("메일을 보류했습니다"), STR("Mail is held"), out);
	buf_fmt(out, "보류한 메일이 있습니다. 관리자가 결정할 때까지 배달하지 않습니다.\r\n"
		"Mail is held: it is not delivered until an administrator decides.\r\n\r\n"
		"  ID:           %.*s\r\n  From/보낸 이: <%s>\r\n  To/받는 이:   <%s>\r\n"
		"  Why/이유:     %s\r\n\r\n"
		"    pabal queue show %.*s\r\n"
		"    pabal queue release %.*s    (다시 시도 / try it again)\r\n"
		"    pabal queue bounce %.*s     (반송 / return it to its sender)\r\n"
		"    pabal queue remove %.*s     (버림 / drop it)\r\n",
		STR_ARG(h->id), h->sender, h->recipient, h->why, STR_ARG(h->id), STR_ARG(h->id),
		STR_ARG(h->id), STR_ARG(h->id));
}

/* To postmaster, as a message of its own. */
static bool text_tell_to(struct queue *q, struct str account, struct str text, struct err *err)
{
	struct item *late = item_new(q);
	struct notice_target *to;
	size_t n;
	/* An id of its own: a held message's would be held too. */
	late->id = id_new();
	bool ok = !account.n ||
		  address_parse(late->arena, account, ADDRESS_UTF8, &late->envelope.reverse_path, err);
	ok = ok && notice_targets(q, late, account.n ? NOTICE_SUCCESS : NOTICE_POSTMASTER, late->arena,
				  &to, &n, err);
	late->envelope.reverse_path = (struct address){STR_NONE, STR_NONE};
	if (ok && n)
		return notice_plan(q, late, to, n, ACTION_LATE, text, err);
	arena_free(late->arena);
	return ok;
}

static bool text_tell(struct queue *q, struct str text, struct err *err)
{
	return text_tell_to(q, STR_NONE, text, err);
}

bool queue_tell(struct queue *q, struct str account, struct str subject_ko, struct str subject_en,
		struct str text, struct err *err)
{
	BUF_SCOPED all = {0};
	head_text(q, account.n ? account : q->o.postmaster, subject_ko, subject_en, &all);
	buf_add(&all, text);
	return text_tell_to(q, account, buf_str(&all), err);
}

bool held_tell(struct queue *q, const struct held *h, struct err *err)
{
	BUF_SCOPED text = {0};
	held_text(q, h, &text);
	return text_tell(q, buf_str(&text), err);
}

bool queue_tell_postmaster(struct queue *q, struct str subject_ko, struct str subject_en, struct str text,
			   struct err *err)
{
	BUF_SCOPED all = {0};
	head_text(q, q->o.postmaster, subject_ko, subject_en, &all);
	buf_fmt(&all, "%.*s: ", STR_ARG(q->o.hostname));
	buf_add(&all, text);
	return text_tell(q, buf_str(&all), err);
}
