/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * What is looked at in a message's header, taken out and added, once, when the header is whole:
 * hops and Delivered-To (loops), Return-Path (RFC 5321 4.4: the final server's to write), From and
 * Sender of a login (R79), missing fields of submitted mail (RFC 6409 8), a blank line before a
 * body that came without any header (R92), and Received on top of it.
 */
#include "base/clock.h"
#include "base/log.h"
#include "mail/header.h"
#include "mail/trace.h"
#include "mime/address_list.h"
#include "sender_auth/incoming.h"
#include "smtp/server/server_int.h"
#include <string.h>

enum { MESSAGE_ID_SHOWN = 250 };

struct seen {
	unsigned hops, from, sender, date, message_id;
	bool delivered_to, report;
	struct str from_body, sender_body, id_body;
};

/* Submitted by its author's program, or by a host of ours: what is missing is added. */
static bool originates(const struct smtp_session *s)
{
	return smtp_is(s, SMTP_SUBMISSION) || smtp_is(s, SMTP_LOCAL) || (smtp_is(s, SMTP_MX) && s->trusted);
}

static bool name_is(const struct header_field *f, const char *name)
{
	return str_eq_nocase(f->name, str_of(name));
}

static void look_at(struct seen *seen, const struct header_field *f)
{
	if (name_is(f, "Received")) {
		seen->hops++;
	} else if (name_is(f, "Delivered-To")) {
		seen->delivered_to = true;
	} else if (name_is(f, "From")) {
		seen->from++;
		seen->from_body = f->body;
	} else if (name_is(f, "Sender")) {
		seen->sender++;
		seen->sender_body = f->body;
	} else if (name_is(f, "Date")) {
		seen->date++;
	} else if (name_is(f, "Message-ID")) {
		seen->message_id++;
		seen->id_body = f->body;
	} else if (name_is(f, "Content-Type")) {
		seen->report = str_find_nocase(f->body, STR("multipart/report")) != STR_NPOS;
	}
}

static struct seen look(struct smtp_tx *tx, size_t header_n)
{
	struct seen seen = {0};
	struct header_field f;
	struct scan s = scan_of((struct str){tx->body.p + tx->body_at, header_n});
	while (header_next(&s, &f))
		look_at(&seen, &f);
	return seen;
}

/* Return-Path is the final server's to write (RFC 5321 4.4); results in our name are ours alone to write
 * (RFC 8601 5), but for those of a front server that hands mail over by LMTP. */
static bool must_go(const struct smtp_session *s, const struct header_field *f, struct arena *a)
{
	if (name_is(f, "Return-Path"))
		return true;
	return !smtp_is(s, SMTP_LMTP) && name_is(f, "Authentication-Results") &&
	       incoming_field_is_ours(a, f->body, smtp_authserv_id(s));
}

/* One pass: what stays moves up to the fields before it, then the whole header down to the body. */
static void cut_fields(const struct smtp_session *s, struct smtp_tx *tx, size_t header_n)
{
	ARENA_SCOPED a = arena_new();
	char *start = tx->body.p + tx->body_at, *kept = start, *rest = start;
	struct scan scan = scan_of((struct str){start, header_n});
	struct header_field f;
	while (header_next(&scan, &f)) {
		if (!must_go(s, &f, a))
			continue;
		size_t n = (size_t)(f.raw.p - rest);
		memmove(kept, rest, n);
		kept += n;
		rest = start + (f.raw.p - start) + f.raw.n;
	}
	if (rest == start)
		return;
	size_t n = (size_t)(start + header_n - rest);
	memmove(kept, rest, n);
	kept += n;
	size_t gone = header_n - (size_t)(kept - start);
	memmove(start + gone, start, (size_t)(kept - start));
	tx->body_at += gone;
}

/* ---- loops ---- */

static bool all_delivered_before(struct smtp_tx *tx, struct str header)
{
	for (size_t i = 0; i < tx->envelope.rcpt_n; i++)
		if (!trace_was_delivered_to(header, tx->envelope.rcpt[i].address))
			return false;
	return true;
}

static bool check_loops(struct smtp_session *s, struct smtp_tx *tx, const struct seen *seen,
			struct str header)
{
	int64_t max = config_int(s->config, SETTING_SMTP_MAX_HOPS);
	if (seen->hops > max)
		smtp_tx_fail(tx, OUTCOME_LOOP, "mail loop: more than %lld Received fields", (long long)max);
	else if (seen->delivered_to && all_delivered_before(tx, header))
		smtp_tx_fail(tx, OUTCOME_LOOP, "mail loop: it was delivered to this address before");
	return tx->failure == OUTCOME_OK;
}

/* ---- whose it is ---- */

static bool may_send_as(struct smtp_session *s, struct smtp_tx *tx, struct str address, bool authorises)
{
	int answer = smtp_tx_sender(s, tx, address, authorises);
	if (answer == 1)
		return true;
	if (answer == 2)
		smtp_tx_fail(tx, OUTCOME_SYSTEM_TEMP, "%s", "");
	else
		smtp_tx_fail(tx, OUTCOME_SENDER_NOT_YOURS,
			     "the address <%.*s> in the header does not belong to this login",
			     STR_ARG(str_sub(address, 0, 80)));
	return false;
}

/* Every address in the field; what cannot be read cannot be believed. The first one of From is whose
 * domain may sign. */
static bool check_authors(struct smtp_session *s, struct smtp_tx *tx, struct str body, bool from)
{
	ARENA_SCOPED a = arena_new();
	struct address_list list;
	size_t mailboxes = 0;
	address_list_parse(a, body, &list);
	for (size_t i = 0; i < list.n; i++) {
		if (list.at[i].kind != ADDRESS_ITEM_MAILBOX)
			continue;
		mailboxes++;
		if (!list.at[i].local.p || !list.at[i].domain.p) {
			smtp_tx_fail(tx, OUTCOME_SENDER_NOT_YOURS,
				     "an author's address in the header is not complete");
			return false;
		}
		struct address author = {list.at[i].local, list.at[i].domain};
		if (!may_send_as(s, tx, address_str(a, author), from && mailboxes == 1))
			return false;
	}
	if (mailboxes == 0)
		smtp_tx_fail(tx, OUTCOME_SENDER_NOT_YOURS, "there is no address in From or Sender");
	return mailboxes > 0;
}

/* Where a login may write any author: another domain than its own still signs only for whom an address
 * there belongs to. */
static void authorise_author(struct smtp_session *s, struct smtp_tx *tx, struct str body)
{
	ARENA_SCOPED a = arena_new();
	struct str own = buf_str(&s->account);
	struct address_list list;
	address_list_parse(a, body, &list);
	own = str_from(own, str_find_last_byte(own, '@') + 1);
	for (size_t i = 0; i < list.n; i++) {
		struct address author = {list.at[i].local, list.at[i].domain};
		if (list.at[i].kind != ADDRESS_ITEM_MAILBOX || !author.local.p || !author.domain.p)
			continue;
		if (!str_eq_nocase(author.domain, own))
			(void)smtp_tx_sender(s, tx, address_str(a, author), true);
		return;
	}
}

static bool check_owner(struct smtp_session *s, struct smtp_tx *tx, const struct seen *seen)
{
	if (s->account.n == 0)
		return true;
	if (!config_bool(s->config, SETTING_SMTP_CHECK_SENDER)) {
		if (seen->from)
			authorise_author(s, tx, seen->from_body);
		return true;
	}
	if (seen->from > 1 || seen->sender > 1) {
		smtp_tx_fail(tx, OUTCOME_CONTENT_INVALID, "more than one From or Sender field");
		return false;
	}
	/* RFC 8098 3: notices go out with <>; nothing else that people write does. */
	if (address_is_null(tx->envelope.reverse_path) && !seen->report) {
		smtp_tx_fail(tx, OUTCOME_SENDER_NOT_YOURS, "only notices may have the empty sender");
		return false;
	}
	if (seen->from && !check_authors(s, tx, seen->from_body, true))
		return false;
	return !seen->sender || check_authors(s, tx, seen->sender_body, false);
}

/* ---- what is added ---- */

static struct str sender_text(const struct smtp_session *s, struct smtp_tx *tx)
{
	if (!address_is_null(tx->envelope.reverse_path))
		return address_str(tx->arena, tx->envelope.reverse_path);
	return buf_str(&s->account);
}

static struct str id_domain(const struct smtp_session *s, struct smtp_tx *tx)
{
	struct str domain = tx->envelope.reverse_path.domain;
	return domain.n && domain.p[0] != '[' ? domain : smtp_hostname(s);
}

static void add_missing(const struct smtp_session *s, struct smtp_tx *tx, const struct seen *seen,
			struct buf *out)
{
	BUF_SCOPED text = {0};
	if (!seen->date) {
		date_format(&text, date_local(clock_wall_s()));
		trace_field(out, STR("Date"), buf_str(&text));
		buf_clear(&text);
	}
	struct str from = sender_text(s, tx);
	if (!seen->from && from.n)
		trace_field(out, STR("From"), from);
	if (!seen->message_id) {
		message_id_new(&text, id_domain(s, tx));
		tx->message_id = arena_str(tx->arena, buf_str(&text));
		trace_field(out, STR("Message-ID"), buf_str(&text));
	}
}

/* The first line is neither a field nor empty. */
bool smtp_header_absent(struct str body)
{
	struct scan s = scan_of(body);
	size_t end = str_find(body, STR("\r\n"));
	struct str line = end == STR_NPOS ? body : str_sub(body, 0, end);
	struct str name =
		str_sub(line, 0, str_find_byte(line, ':') == STR_NPOS ? 0 : str_find_byte(line, ':'));
	if (line.n == 0)
		return end == STR_NPOS; /* an empty message has no blank line either */
	if (scan_lit(&s, STR("From "))) /* of an mbox: header_next() knows it */
		return false;
	while (name.n && (name.p[name.n - 1] == ' ' || name.p[name.n - 1] == '\t'))
		name.n--;
	return !header_name_valid(name);
}

void smtp_put_in_front(struct smtp_tx *tx, struct str fields)
{
	if (fields.n <= tx->body_at) {
		tx->body_at -= fields.n;
		memcpy(tx->body.p + tx->body_at, fields.p, fields.n);
		return;
	}
	size_t more = fields.n - tx->body_at, n = tx->body.n - tx->body_at;
	(void)buf_room(&tx->body, more);
	memmove(tx->body.p + fields.n, tx->body.p + tx->body_at, n);
	memcpy(tx->body.p, fields.p, fields.n);
	tx->body.n = fields.n + n;
	tx->body_at = 0;
}

bool smtp_header_fix(struct smtp_session *s, struct smtp_tx *tx, size_t header_n)
{
	BUF_SCOPED fields = {0};
	bool all_body = smtp_header_absent((struct str){tx->body.p + tx->body_at, tx->body.n - tx->body_at});
	if (all_body)
		header_n = 0;
	struct seen seen = look(tx, header_n);
	struct str header = {tx->body.p + tx->body_at, header_n};
	if (!check_loops(s, tx, &seen, header) || !check_owner(s, tx, &seen))
		return false;
	tx->message_id = arena_str(tx->arena, str_sub(str_trim(seen.id_body), 0, MESSAGE_ID_SHOWN));
	cut_fields(s, tx, header_n);
	tx->envelope.received_us = clock_wall_us();
	smtp_envelope_complete(s);
	trace_received(&fields, &tx->envelope, smtp_hostname(s), 0);
	if (originates(s))
		add_missing(s, tx, &seen, &fields);
	if (all_body)
		buf_add(&fields, STR("\r\n"));
	smtp_put_in_front(tx, buf_str(&fields));
	return true;
}
