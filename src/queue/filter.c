/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Which entries of the queue a request means: those that fit all that it names. */
#include "queue/queue_int.h"

#include "base/clock.h"
#include "json/json.h"

static struct str text(const struct json_value *request, const char *name)
{
	return json_value_str_or(json_value_member(request, name), STR_NONE);
}

struct queue_filter queue_filter_of(const struct json_value *request)
{
	int64_t now = clock_wall_s();
	int64_t older = json_value_int_or(json_value_member(request, "older"), 0);
	int64_t newer = json_value_int_or(json_value_member(request, "newer"), 0);
	return (struct queue_filter){
		.all = json_value_bool_or(json_value_member(request, "all"), false),
		.id = text(request, "id"),
		.sender = text(request, "sender"),
		.recipient = text(request, "recipient"),
		.domain = text(request, "domain"),
		.state = text(request, "state"),
		.reply = text(request, "reply"),
		.before_s = older > 0 ? now - older : 0,
		.after_s = newer > 0 ? now - newer : 0,
	};
}

bool queue_filter_names(const struct queue_filter *f)
{
	return f->all || f->id.p || f->sender.p || f->recipient.p || f->domain.p || f->state.p ||
	       f->reply.p || f->before_s || f->after_s;
}

/* "hong@example.com", or "@example.com": everybody there. */
bool address_fits(struct str pattern, struct str address)
{
	return pattern.n && pattern.p[0] == '@' ? str_ends_nocase(address, pattern)
						 : str_eq_nocase(pattern, address);
}

bool queue_filter_fits(const struct queue_filter *f, const struct queue_entry *e)
{
	struct str domain = str_from(e->recipient, str_find_last_byte(e->recipient, '@') + 1);
	return (!f->id.p || str_eq(f->id, e->id)) && (!f->sender.p || address_fits(f->sender, e->sender)) &&
	       (!f->recipient.p || address_fits(f->recipient, e->recipient)) &&
	       (!f->domain.p || str_eq_nocase(f->domain, domain)) &&
	       (!f->state.p || str_eq(f->state, str_of(e->state))) &&
	       (!f->reply.p || str_find_nocase(e->reason, f->reply) != STR_NPOS) &&
	       (!f->before_s || e->received_s <= f->before_s) && (!f->after_s || e->received_s >= f->after_s);
}

struct queue_entry queue_entry_of(const struct deferred *d)
{
	return (struct queue_entry){.id = id_str(&d->id),
				    .sender = str_of(d->sender),
				    .recipient = str_of(d->account),
				    .reason = str_of(d->last_error),
				    .state = d->busy ? "active" : d->held ? "held" : "deferred",
				    .received_s = d->received_s};
}
