/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * From a reply to its explanation: find the row (a wording, else the enhanced status, else the reply
 * code), then decide what the message and the destination get.
 */
#include "base/arena.h"
#include "explain/explain_int.h"
#include "mime/text.h"

#include <string.h>

/* X.7.1 is what everybody says who refuses; X.n.0 is "other" (RFC 3463 3). */
static bool is_vague(struct status st)
{
	return st.class == 0 || st.detail == 0 || (st.subject == 7 && st.detail == 1);
}

/* Whether a row of another provider's may speak for this host: one of a gateway or list always, one
 * of a mailbox provider only for its own hosts or unknown ones. */
static bool row_applies(const struct explain_row *row, const struct reply_form *f,
			const struct explain_provider *host)
{
	if (row->host)
		return row->provider == host;
	if (row->hint &&
	    (!is_vague(f->status) || (row->cause == EXPLAIN_CAUSE_TEMPORARY && f->code / 100 == 5)))
		return false;
	return !row->provider || !host || row->provider == host || !row->provider->mailbox || !host->mailbox;
}

static const struct explain_row *find_wording(const struct explain *e, const struct reply_form *f,
					      const struct explain_provider *host, struct arena *a)
{
	const struct pattern_text *text = pattern_text_new(a, f->text);
	for (size_t i = 0; i < e->replies.n; i++) {
		const struct explain_row *row = &e->replies.at[i];
		if (row_applies(row, f, host) && pattern_match(row->pattern, text))
			return row;
	}
	return NULL;
}

static enum explain_kind kind_of_class(unsigned class)
{
	switch (class) {
	case 2:
	case 3:
		return EXPLAIN_KIND_OK;
	case 4:
		return EXPLAIN_KIND_TEMP;
	case 5:
		return EXPLAIN_KIND_PERM;
	}
	return EXPLAIN_KIND_UNKNOWN;
}

/* The reply code decides (RFC 3463 2; an unknown one by its first digit, RFC 5321 4.2.1), then the
 * status; but a 4xx that says itself that retrying is in vain is permanent. */
static enum explain_kind kind_of(const struct reply_form *f, const struct explain_row *row)
{
	if (row && row->final)
		return row->kind == EXPLAIN_KIND_OK ? EXPLAIN_KIND_OK : EXPLAIN_KIND_PERM;
	if (f->code)
		return kind_of_class(f->code / 100);
	if (f->status.class)
		return kind_of_class(f->status.class);
	return row ? row->kind : EXPLAIN_KIND_UNKNOWN;
}

/* Rows for statuses and codes name no fault: it follows from the cause. */
static enum explain_fault fault_of_cause(enum explain_cause cause)
{
	switch (cause) {
	case EXPLAIN_CAUSE_NONE:
		return EXPLAIN_FAULT_NOBODY;
	case EXPLAIN_CAUSE_TEMPORARY:
		return EXPLAIN_FAULT_CONNECTION;
	case EXPLAIN_CAUSE_PERMANENT:
	case EXPLAIN_CAUSE_POLICY:
		return EXPLAIN_FAULT_RECEIVER;
	case EXPLAIN_CAUSE_REPUTATION:
		return EXPLAIN_FAULT_SOURCE_IP;
	case EXPLAIN_CAUSE_AUTH:
		return EXPLAIN_FAULT_SENDER_DOMAIN;
	case EXPLAIN_CAUSE_CONTENT:
		return EXPLAIN_FAULT_MESSAGE;
	case EXPLAIN_CAUSE_QUOTA:
	case EXPLAIN_CAUSE_UNKNOWN_USER:
		return EXPLAIN_FAULT_RECIPIENT;
	}
	return EXPLAIN_FAULT_NOBODY;
}

static enum status_turn turn_of(const struct explanation *x, enum explain_action action)
{
	if (x->kind == EXPLAIN_KIND_OK || x->message == EXPLAIN_MESSAGE_RECONNECT ||
	    x->message == EXPLAIN_MESSAGE_SPLIT || x->message == EXPLAIN_MESSAGE_RETRY_IPV4)
		return TURN_NOBODY;
	switch (x->fault) {
	case EXPLAIN_FAULT_NOBODY:
		return TURN_NOBODY;
	case EXPLAIN_FAULT_RECIPIENT:
		if (x->cause == EXPLAIN_CAUSE_QUOTA || x->cause == EXPLAIN_CAUSE_POLICY)
			return TURN_RECIPIENT;
		return x->cause == EXPLAIN_CAUSE_TEMPORARY ? TURN_NOBODY : TURN_SENDER;
	case EXPLAIN_FAULT_MESSAGE:
		return x->cause == EXPLAIN_CAUSE_POLICY ? TURN_THEIR_ADMIN : TURN_SENDER;
	case EXPLAIN_FAULT_SENDER:
		return TURN_SENDER;
	case EXPLAIN_FAULT_SENDER_DOMAIN:
	case EXPLAIN_FAULT_SOURCE_IP:
		return TURN_OUR_ADMIN;
	case EXPLAIN_FAULT_CONNECTION:
		if (action == ACTION_FIX)
			return TURN_OUR_ADMIN;
		return x->kind == EXPLAIN_KIND_PERM ? TURN_THEIR_ADMIN : TURN_NOBODY;
	case EXPLAIN_FAULT_RECEIVER:
		return x->kind == EXPLAIN_KIND_PERM ? TURN_THEIR_ADMIN : TURN_NOBODY;
	}
	return TURN_NOBODY;
}

static enum explain_message message_temporary(enum explain_action action)
{
	if (action == ACTION_SPLIT)
		return EXPLAIN_MESSAGE_SPLIT;
	if (action == ACTION_RECONNECT)
		return EXPLAIN_MESSAGE_RECONNECT;
	if (action == ACTION_RETRY_IPV4)
		return EXPLAIN_MESSAGE_RETRY_IPV4;
	return EXPLAIN_MESSAGE_RETRY;
}

static enum explain_message message_permanent(const struct explanation *x, enum explain_action action)
{
	if (action == ACTION_RETRY_IPV4)
		return EXPLAIN_MESSAGE_RETRY_IPV4;
	/* RFC 5321 4.5.3.1.10: 552 for too many recipients is to be read as 452. */
	if (action == ACTION_SPLIT && x->code == 552)
		return EXPLAIN_MESSAGE_SPLIT;
	/* The host refuses us, not the message: others of the domain may not. */
	if (x->stage == EXPLAIN_STAGE_CONNECT)
		return EXPLAIN_MESSAGE_RETRY;
	return EXPLAIN_MESSAGE_GIVE_UP;
}

static enum explain_message message_of(const struct explanation *x, enum explain_action action)
{
	switch (x->kind) {
	case EXPLAIN_KIND_OK:
		return EXPLAIN_MESSAGE_NOTHING;
	case EXPLAIN_KIND_PERM:
		return message_permanent(x, action);
	case EXPLAIN_KIND_TEMP:
	case EXPLAIN_KIND_UNKNOWN: /* never a bounce for what is not understood */
		return message_temporary(action);
	}
	return EXPLAIN_MESSAGE_RETRY;
}

/* One bad message must not stop everybody's mail to the destination, and no guess holds any. */
static enum explain_destination destination_of(const struct explanation *x, enum explain_action action)
{
	bool hold = action == ACTION_HOLD && x->fault != EXPLAIN_FAULT_MESSAGE &&
		    x->fault != EXPLAIN_FAULT_RECIPIENT;
	if (x->kind == EXPLAIN_KIND_OK)
		return EXPLAIN_DESTINATION_FREE;
	if (hold && !x->assumed)
		return EXPLAIN_DESTINATION_HOLD;
	return hold || action == ACTION_SLOW ? EXPLAIN_DESTINATION_SLOW : EXPLAIN_DESTINATION_FREE;
}

/* X.0.0 and X.5.0 say nothing that the reply code does not say better. */
static const struct explain_row *row_of_codes(const struct explain *e, const struct reply_form *f,
					      enum explain_basis *out_basis)
{
	const struct explain_row *by_code = explain_code_row(e, f->code);
	const struct explain_row *by_status = f->status.class ? explain_status_row(e, f->status) : NULL;
	bool empty = f->status.detail == 0 && (f->status.subject == 0 || f->status.subject == 5);
	if (by_status && !(empty && by_code)) {
		*out_basis = EXPLAIN_BY_STATUS;
		return by_status;
	}
	*out_basis = by_code ? EXPLAIN_BY_CODE : EXPLAIN_BY_NOTHING;
	return by_code;
}

/* A reply whose code nobody knows still has its first digit (RFC 5321 4.2.1). */
static struct explain_words meaning_of_kind(enum explain_kind kind)
{
	switch (kind) {
	case EXPLAIN_KIND_OK:
		return (struct explain_words){STR("The server agreed."), STR("서버가 받아들였습니다.")};
	case EXPLAIN_KIND_TEMP:
		return (struct explain_words){
			STR("The server refused for now, with a reply that is not in the table."),
			STR("서버가 지금은 거부했습니다. 표에 없는 응답입니다.")};
	case EXPLAIN_KIND_PERM:
		return (struct explain_words){
			STR("The server refused for good, with a reply that is not in the table."),
			STR("서버가 최종적으로 거부했습니다. 표에 없는 응답입니다.")};
	case EXPLAIN_KIND_UNKNOWN:
		break;
	}
	return (struct explain_words){STR("This is no reply that the table knows."), STR("표에 없는 문구입니다.")};
}

static void apply_row(struct explanation *x, const struct explain_row *row)
{
	x->cause = row->cause;
	x->fault = row->fault ? row->fault : fault_of_cause(row->cause);
	x->assumed = row->assumed;
	x->meaning = row->text;
	memcpy(x->advice, row->advice, sizeof x->advice);
	x->advice_n = row->advice_n;
	if (row->provider)
		x->provider = row->provider->name;
}

static bool wants_needs(enum explain_cause cause)
{
	return cause == EXPLAIN_CAUSE_AUTH || cause == EXPLAIN_CAUSE_REPUTATION ||
	       cause == EXPLAIN_CAUSE_POLICY;
}

static bool is_link_octet(unsigned char c)
{
	return c > 0x20 && c < 0x7f && c != '<' && c != '>' && c != '"' && c != '\'' && c != ')' && c != ']';
}

static void add_link(struct explanation *x, struct str link)
{
	for (size_t i = 0; i < x->link_n; i++) {
		if (str_eq(x->links[i], link))
			return;
	}
	if (x->link_n < EXPLAIN_LINKS_MAX)
		x->links[x->link_n++] = link;
}

/* URLs, and addresses that are somebody to ask: those behind "contact" and the like. */
static void find_links(struct explanation *x)
{
	static const char *const people[] = {"contact", "register", "write to", "forward this message to",
					     "send mail to"};
	struct str rest = x->reply;
	size_t at;
	while ((at = str_find_nocase(rest, STR("http"))) != STR_NPOS) {
		struct scan s = scan_of(str_from(rest, at));
		struct str url = scan_while(&s, is_link_octet);
		size_t head = str_starts_nocase(url, STR("https://"))  ? 8
			      : str_starts_nocase(url, STR("http://")) ? 7
								       : 0;
		while (url.n > 0 &&
		       (str_ends(url, STR(".")) || str_ends(url, STR(",")) || str_ends(url, STR(";"))))
			url.n--;
		if (head > 0 && url.n > head + 3)
			add_link(x, url);
		rest = str_from(rest, at + 4);
	}
	for (size_t i = 0; i < sizeof people / sizeof *people; i++) {
		at = str_find_nocase(x->reply, str_of(people[i]));
		struct str address =
			at == STR_NPOS ? STR("")
				       : explain_find_address(utf8_cut(str_from(x->reply, at), 160));
		if (address.n > 0)
			add_link(x, address);
	}
}

static void find_ip(struct explanation *x)
{
	for (size_t i = 0; i < x->reply.n; i++) {
		bool start = i == 0 || !(ascii_is((unsigned char)x->reply.p[i - 1],
						  ASCII_DIGIT | ASCII_UPPER | ASCII_LOWER) ||
					 x->reply.p[i - 1] == '.' || x->reply.p[i - 1] == ':');
		size_t n = start ? pattern_ip_length(str_from(x->reply, i)) : 0;
		if (n > 0) {
			x->ip = str_sub(x->reply, i, n);
			return;
		}
	}
}

/* Reputation and policy of a whole server or domain say nothing about the address (facts 2.8). */
static bool may_suppress(const struct explanation *x, enum explain_action action)
{
	return action == ACTION_SUPPRESS && x->kind == EXPLAIN_KIND_PERM &&
	       x->message == EXPLAIN_MESSAGE_GIVE_UP;
}

static void explain_form(const struct explain *e, const struct reply_form *f, struct str remote_mta,
			 struct arena *a, struct explanation *x)
{
	struct str said = explain_find_host(x->reply);
	const struct explain_provider *host = explain_provider_of(e, remote_mta.n > 0 ? remote_mta : said);
	const struct explain_row *row = find_wording(e, f, host, a);
	const struct explain_row *code = explain_code_row(e, f->code);
	enum explain_action action = ACTION_BY_CLASS;
	x->code = f->code;
	x->status = f->status;
	if (x->stage == EXPLAIN_STAGE_UNKNOWN)
		x->stage = f->stage;
	x->basis = EXPLAIN_BY_WORDING;
	/* What is accepted is not searched for complaints. */
	if (!row || f->code / 100 == 2 || f->code / 100 == 3)
		row = row_of_codes(e, f, &x->basis);
	else
		x->rule = row->id;
	x->kind = kind_of(f, row);
	x->meaning = meaning_of_kind(x->kind);
	x->fault = EXPLAIN_FAULT_NOBODY;
	if (row) {
		apply_row(x, row);
		action = row->action;
	}
	if (code)
		x->code_meaning = code->text;
	const struct explain_row *status = f->status.class ? explain_status_row(e, f->status) : NULL;
	if (status && status->detail == f->status.detail)
		x->status_meaning = status->text;
	if (host)
		x->host = host->name;
	if (x->provider.en.n == 0)
		x->provider = x->host;
	const struct explain_provider *speaker = row && row->provider ? row->provider : host;
	if (speaker && wants_needs(x->cause))
		x->needs = speaker->needs;
	x->message = message_of(x, action);
	x->destination = destination_of(x, action);
	x->suppress = may_suppress(x, action);
	x->alert = x->kind != EXPLAIN_KIND_OK && (action == ACTION_FIX || action == ACTION_HOLD);
	x->turn = turn_of(x, action);
}

void explain_reply_at(const struct explain *e, struct str reply, struct str remote_mta,
		      enum explain_stage stage, struct arena *a, struct explanation *out)
{
	struct reply_form form;
	*out = (struct explanation){.stage = stage, .reply = explain_clean(a, reply, EXPLAIN_TEXT_MAX)};
	reply_form_of(a, out->reply, &form);
	explain_form(e, &form, remote_mta, a, out);
	out->reply = form.shown;
	find_links(out);
	find_ip(out);
}

void explain_reply(const struct explain *e, struct str reply, struct str remote_mta, struct arena *a,
		   struct explanation *out)
{
	explain_reply_at(e, reply, remote_mta, EXPLAIN_STAGE_UNKNOWN, a, out);
}
