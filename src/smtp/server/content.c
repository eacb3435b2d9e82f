/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * A message's content on its way in, and its commit.
 *
 * It gathers in one buffer with room in front for the fields added; while the header is not
 * whole it stays there in any case. What is larger than BODY_SPILL goes to a side file, at once when all
 * sessions together hold much, else from the journal's size for side files on. Whatever is wrong with it is
 * remembered, and said at the end of data: the peer sends it all before it reads an answer.
 */
#include "base/clock.h"
#include "base/log.h"
#include "mail/header.h"
#include "mail/trace.h"
#include "smtp/server/server_int.h"
#include <string.h>

static struct str body_of(const struct smtp_tx *tx)
{
	return (struct str){tx->body.p + tx->body_at, tx->body.n - tx->body_at};
}

void smtp_content_begin(struct smtp_session *s)
{
	struct smtp_tx *tx = s->tx;
	size_t expected = tx->size_told < BODY_SPILL ? (size_t)tx->size_told : BODY_SPILL;
	tx->started = true;
	tx->body.n = 0;
	(void)buf_room(&tx->body, HEADROOM + (expected > 6000 ? expected + 256 : 6000));
	tx->body.n = tx->body_at = HEADROOM;
	tx->text = (struct smtp_text){.line_start = true};
	tx->text.normalise = config_enum(s->config, SETTING_SMTP_BARE_NEWLINE) == CONFIG_BARE_NORMALISE;
	conn_input_limit(s->conn, INPUT_DATA);
	conn_min_rate(s->conn, (uint32_t)config_size(s->config, SETTING_SMTP_MIN_RATE));
}

static void content_over(struct smtp_session *s)
{
	conn_input_limit(s->conn, INPUT_COMMAND);
	conn_min_rate(s->conn, 0);
	s->state = SMTP_STATE_COMMAND;
	s->acted = true;
}

/* ---- gathering ---- */

/* The content is of no use any more; what still comes is passed over. */
static void forget_content(struct smtp_session *s)
{
	struct smtp_tx *tx = s->tx;
	smtp_memory_give(s->server->limits, tx->counted);
	tx->counted = 0;
	buf_free(&tx->body);
	tx->body_at = 0;
	if (tx->side)
		s->server->services.side_discard(s->server->services.ctx, tx->side);
	tx->side = NULL;
}

/* The header as far as it is known; 0: not whole yet. */
static size_t whole_header(struct smtp_tx *tx, bool final)
{
	struct str body = body_of(tx);
	size_t n = header_length(body);
	if (smtp_header_absent(body))
		return 2; /* of no account: nothing of it is header */
	return n < body.n || final || (n >= 4 && memcmp(body.p + n - 4, "\r\n\r\n", 4) == 0) ? n : 0;
}

static bool header_ready(struct smtp_session *s, bool final)
{
	struct smtp_tx *tx = s->tx;
	uint64_t max = config_size(s->config, SETTING_SMTP_MAX_HEADER_SIZE);
	if (tx->header_done)
		return true;
	size_t n = whole_header(tx, final);
	if (n > max || (n == 0 && body_of(tx).n > max)) {
		smtp_tx_fail(tx, OUTCOME_TOO_BIG, "the header is larger than %llu octets",
			     (unsigned long long)max);
		return false;
	}
	if (n == 0 && !final)
		return false;
	tx->header_done = true;
	size_t tail = body_of(tx).n - (smtp_header_absent(body_of(tx)) ? 0 : n);
	smtp_incoming_begin(s, tx, n);
	bool good = smtp_header_fix(s, tx, n);
	tx->fed_at = tx->body.n - tail;
	return good;
}

static void side_failed(struct smtp_tx *tx, const struct err *err)
{
	log_err(LOG_ERROR, "smtp.side.fail", err);
	smtp_tx_fail(tx, outcome_of_err(err), "%s", "");
}

static void to_side(struct smtp_session *s, struct str bytes)
{
	struct smtp_tx *tx = s->tx;
	struct smtp_services *v = &s->server->services;
	struct err err = {0};
	if (!tx->side && !v->side_begin(v->ctx, &tx->side, &err)) {
		tx->side = NULL;
		side_failed(tx, &err);
		return;
	}
	if (!v->side_write(v->ctx, tx->side, bytes, &err)) {
		side_failed(tx, &err);
		return;
	}
	tx->side_octets += bytes.n;
}

/* All that is in the buffer. */
static void spill(struct smtp_session *s)
{
	struct smtp_tx *tx = s->tx;
	smtp_incoming_feed(tx);
	to_side(s, body_of(tx));
	tx->body.n = tx->fed_at = tx->body_at;
}

static bool must_spill(struct smtp_session *s)
{
	struct smtp_tx *tx = s->tx;
	size_t n = tx->body.n;
	if (n <= BODY_SPILL)
		return false;
	if (n - tx->body_at > config_size(s->config, SETTING_JOURNAL_SIDE_FILE_SIZE))
		return true;
	size_t more = n > tx->counted ? n - tx->counted : 0;
	if (more == 0)
		return false;
	if (!smtp_memory_take(s->server->limits, more))
		return true;
	tx->counted += more;
	return false;
}

/* Looking for the header's end costs as much as there is of it: not for each octet of a slow sender. */
static bool worth_a_look(struct smtp_tx *tx)
{
	enum { LOOK_STEP = 4096 };
	if (!tx->header_done && tx->body.n - tx->header_looked < LOOK_STEP)
		return false;
	tx->header_looked = tx->body.n;
	return true;
}

/* After something was appended. */
static void gathered(struct smtp_session *s)
{
	struct smtp_tx *tx = s->tx;
	uint64_t max = config_size(s->config, SETTING_SMTP_MAX_MESSAGE_SIZE);
	uint64_t max_line = config_size(s->config, SETTING_SMTP_MAX_TEXT_LINE);
	if (tx->octets > max)
		smtp_tx_fail(tx, OUTCOME_TOO_BIG, "the message is larger than %llu octets",
			     (unsigned long long)max);
	else if (tx->text.longest > max_line)
		smtp_tx_fail(tx, OUTCOME_CONTENT_INVALID, "a line is longer than %llu octets",
			     (unsigned long long)max_line);
	else if (tx->side || must_spill(s)) {
		if (worth_a_look(tx) && header_ready(s, false))
			spill(s);
	}
	if (tx->failure != OUTCOME_OK)
		forget_content(s);
}

static bool took_too_long(struct smtp_session *s)
{
	int64_t max = config_duration_ms(s->config, SETTING_SMTP_TIMEOUT_MESSAGE);
	if (clock_mono_ms() - s->tx->begun_ms <= max)
		return false;
	smtp_close(s, "4.4.2", "the message takes too long");
	return true;
}

/* What is sent on although it is far too much already. */
static bool endless(struct smtp_session *s)
{
	if (s->tx->octets / 2 <= config_size(s->config, SETTING_SMTP_MAX_MESSAGE_SIZE))
		return false;
	smtp_close(s, "4.3.4", "the message is too big");
	return true;
}

bool smtp_content_data(struct smtp_session *s)
{
	struct smtp_tx *tx = s->tx;
	struct str in = conn_input(s->conn);
	bool end;
	size_t before = tx->body.n;
	if (in.n == 0)
		return false;
	size_t used = smtp_text_scan(&tx->text, in, &tx->body, &end);
	conn_consume(s->conn, used);
	tx->octets += tx->body.n - before;
	if (tx->failure != OUTCOME_OK)
		tx->body.n = tx->body_at;
	else
		gathered(s);
	if (!end && (took_too_long(s) || endless(s)))
		return false;
	return end;
}

/* ---- BDAT ---- */

void smtp_content_chunk(struct smtp_session *s, struct str bytes)
{
	struct smtp_tx *tx = s->tx;
	size_t before = tx->body.n;
	size_t used = bytes.n;
	if (tx->envelope.body == ENVELOPE_BINARYMIME)
		buf_add(&tx->body, bytes);
	else
		used = smtp_text_chunk(&tx->text, bytes, bytes.n == s->chunk_left, &tx->body);
	conn_consume(s->conn, used);
	s->chunk_left -= used;
	tx->octets += tx->body.n - before;
	if (tx->failure != OUTCOME_OK)
		tx->body.n = tx->body_at;
	else
		gathered(s);
	if (!took_too_long(s))
		(void)endless(s);
}

/* ---- the end ---- */

static void log_refused(struct smtp_session *s, const char *why)
{
	const struct smtp_tx *tx = s->tx;
	log_event(LOG_INFO, "smtp.refuse", K_STR(qid, id_str(&tx->envelope.id)),
		  K_STR(peer, buf_str(&s->peer_text)), K_STR(account, buf_str(&s->account)),
		  K_STR(from, tx->envelope.reverse_path_text), K_INT(size, tx->octets), K_CSTR(why, why));
}

static void refuse_message(struct smtp_session *s)
{
	struct smtp_tx *tx = s->tx;
	log_refused(s, tx->failure_text[0] ? tx->failure_text : outcome_row(tx->failure)->en);
	smtp_tx_reply(s, tx->failure, str_of(tx->failure_text));
	smtp_forget(s);
}

/* RFC 5321 2.3.8: CR and LF come only together; who lets others pass smuggles. */
static void check_text(struct smtp_session *s)
{
	struct smtp_tx *tx = s->tx;
	if (tx->text.cr) /* the last chunk ended in the middle of a line end */
		tx->text.bare = true;
	if (tx->text.bare && !tx->text.normalise && tx->envelope.body != ENVELOPE_BINARYMIME)
		smtp_tx_fail(tx, OUTCOME_CONTENT_INVALID,
			     "CR, LF or NUL that is not part of CRLF in the message");
}

static void accept_done(void *ctx, const struct err *err)
{
	struct smtp_tx *tx = ctx;
	struct conn *c = tx->conn;
	struct smtp_server *server = conn_owner(c);
	if (err) {
		tx->failed = true;
		tx->err = *err;
	}
	atomic_store(&tx->answered, true);
	conn_wake(c);
	smtp_tx_unref(tx, server);
	conn_unref(c);
}

void smtp_envelope_complete(struct smtp_session *s)
{
	struct smtp_tx *tx = s->tx;
	struct envelope *e = &tx->envelope;
	const struct conn_facts *f = conn_facts(s->conn);
	e->origin = smtp_is(s, SMTP_MX)     ? ENVELOPE_MX
		    : smtp_is(s, SMTP_LMTP) ? ENVELOPE_LMTP
		    : smtp_is(s, SMTP_LOCAL) ? ENVELOPE_LOCAL
					    : ENVELOPE_SUBMISSION;
	e->has_uid = smtp_is(s, SMTP_LOCAL) && f->has_user;
	e->uid = f->peer_uid;
	e->account = arena_str(tx->arena, buf_str(&s->account));
	e->auth_mech = arena_str(tx->arena, buf_str(&s->mechanism));
	e->submission_mac = tx->ticket.n ? tx->ticket : arena_str(tx->arena, buf_str(&s->ticket));
	e->listener = s->listener->index;
	e->peer = (struct envelope_peer){
		.address = arena_str(tx->arena, buf_str(&s->peer_text)),
		.port = s->peer_port,
		.name = arena_str(tx->arena, buf_str(&s->peer_name)),
		.helo = arena_str(tx->arena, buf_str(&s->helo)),
		.esmtp = s->esmtp,
		.tls_version = arena_str(tx->arena, f->tls_version),
		.tls_cipher = arena_str(tx->arena, f->tls_cipher),
	};
}

static void commit(struct smtp_session *s)
{
	struct smtp_tx *tx = s->tx;
	struct smtp_services *v = &s->server->services;
	struct err err = {0};
	void *side = tx->side;
	tx->side = NULL;
	tx->conn = conn_ref(s->conn);
	atomic_fetch_add(&tx->refs, 1);
	s->state = SMTP_STATE_ACCEPT;
	conn_deadline(s->conn, 0);
	if (v->accept(v->ctx, &tx->envelope, body_of(tx), side, accept_done, tx, &err))
		return;
	tx->failed = true;
	tx->err = err;
	atomic_store(&tx->answered, true);
	struct conn *c = tx->conn;
	smtp_tx_unref(tx, s->server);
	conn_unref(c);
}

/* R86: who of this host hands in what, before it is taken. */
static void log_injected(struct smtp_session *s)
{
	const struct conn_facts *f = conn_facts(s->conn);
	const struct envelope *e = &s->tx->envelope;
	struct str rcpts = STR("");
	for (size_t i = 0; i < e->rcpt_n && rcpts.n < 1000; i++)
		rcpts = arena_fmt(s->tx->arena, "%.*s%s%.*s", STR_ARG(rcpts), i ? "," : "",
				  STR_ARG(e->rcpt[i].forward_path));
	log_audit("smtp.local", K_STR(qid, id_str(&e->id)), K_INT(user_id, f->peer_uid),
		  K_INT(pid, f->peer_pid), K_STR(command, buf_str(&s->local_command)),
		  K_STR(directory, buf_str(&s->local_directory)), K_STR(from, e->reverse_path_text),
		  K_STR(rcpt, rcpts), K_INT(count, e->rcpt_n), K_INT(size, e->size_bytes));
}

void smtp_content_end(struct smtp_session *s)
{
	struct smtp_tx *tx = s->tx;
	content_over(s);
	check_text(s);
	if (tx->failure == OUTCOME_OK)
		(void)header_ready(s, true);
	if (tx->failure == OUTCOME_OK && tx->side && body_of(tx).n)
		spill(s);
	if (tx->failure == OUTCOME_OK)
		smtp_incoming_end(s, tx);
	if (tx->failure != OUTCOME_OK) {
		refuse_message(s);
		return;
	}
	tx->envelope.size_bytes = body_of(tx).n + tx->side_octets;
	if (smtp_is(s, SMTP_LOCAL))
		log_injected(s);
	commit(s);
}

static void log_accepted(struct smtp_session *s)
{
	const struct envelope *e = &s->tx->envelope;
	log_event(LOG_INFO, "smtp.accept", K_STR(qid, id_str(&e->id)),
		  K_STR(service, conn_facts(s->conn)->service), K_STR(peer, e->peer.address),
		  K_STR(account, e->account), K_STR(from, e->reverse_path_text),
		  K_STR(rcpt, e->rcpt[0].forward_path), K_INT(count, e->rcpt_n),
		  K_INT(size, e->size_bytes), K_STR(msgid, s->tx->message_id));
}

static void reply_accepted(struct smtp_session *s)
{
	const struct envelope *e = &s->tx->envelope;
	if (!smtp_is(s, SMTP_LMTP)) {
		smtp_reply(smtp_out(s), 250, "2.0.0", "queued as %.*s", STR_ARG(id_str(&e->id)));
		return;
	}
	for (size_t i = 0; i < e->rcpt_n; i++)
		smtp_reply(smtp_out(s), 250, "2.0.0", "<%.*s> queued as %.*s",
			   STR_ARG(e->rcpt[i].forward_path), STR_ARG(id_str(&e->id)));
}

void smtp_content_answered(struct smtp_session *s)
{
	struct smtp_tx *tx = s->tx;
	s->state = SMTP_STATE_COMMAND;
	s->acted = true;
	if (tx->failed) {
		log_err(LOG_WARN, "smtp.accept.fail", &tx->err);
		enum outcome o = tx->err.kind == ERR_LIMIT ? OUTCOME_SYSTEM_FULL : outcome_of_err(&tx->err);
		if (outcome_row(o)->reply_code >= 500) /* whatever it was, it is ours: they may come again */
			o = OUTCOME_SYSTEM_TEMP;
		smtp_tx_reply(s, o, STR_NONE);
	} else {
		s->messages++;
		log_accepted(s);
		reply_accepted(s);
	}
	smtp_forget(s);
}
