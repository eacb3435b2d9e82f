/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* DATA and BDAT: the order of commands; the content itself is content.c's. */
#include "smtp/server/server_int.h"

/* Writes the refusal. */
static bool may_begin(struct smtp_session *s)
{
	struct smtp_tx *tx = s->tx;
	if (!tx) {
		smtp_error(s, 503, "5.5.1", "say MAIL and RCPT first");
		return false;
	}
	if (tx->envelope.rcpt_n > 0)
		return true;
	if (tx->rcpt_refused) /* RFC 2920 3.1: what the client must be ready for when it pipelines */
		smtp_error(s, 554, "5.5.1", "no valid recipients");
	else
		smtp_error(s, 503, "5.5.1", "say RCPT first");
	return false;
}

void verb_data(struct smtp_session *s, struct str args)
{
	(void)args;
	if (!may_begin(s))
		return;
	if (s->tx->bdat || s->tx->envelope.body == ENVELOPE_BINARYMIME) { /* RFC 3030 2 and 3 */
		smtp_error(s, 503, "5.5.1", "this message must come by BDAT");
		return;
	}
	smtp_content_begin(s);
	smtp_reply(smtp_out(s), 354, NULL, "end with <CRLF>.<CRLF>");
	s->state = SMTP_STATE_DATA;
}

/* ---- BDAT ---- */

/* The octets come whatever we say, so they are passed over (RFC 3030 2); unless they are absurdly many. */
static void pass_over(struct smtp_session *s, uint64_t n)
{
	if (n / 2 > config_size(s->config, SETTING_SMTP_MAX_MESSAGE_SIZE)) {
		smtp_close(s, "4.3.4", "the chunk is too big");
		return;
	}
	if (s->state == SMTP_STATE_CLOSE)
		return;
	s->chunk_left = n;
	s->chunk_void = true;
	s->state = SMTP_STATE_BDAT;
}

void verb_bdat(struct smtp_session *s, struct str args)
{
	uint64_t n;
	bool last;
	if (!smtp_bdat_parse(args, &n, &last)) {
		smtp_error(s, 501, "5.5.4", "syntax: BDAT octets [LAST]");
		return;
	}
	if (!may_begin(s)) {
		pass_over(s, n);
		return;
	}
	struct smtp_tx *tx = s->tx;
	if (!tx->started)
		smtp_content_begin(s);
	tx->bdat = true;
	uint64_t max = config_size(s->config, SETTING_SMTP_MAX_MESSAGE_SIZE);
	if (n > max || tx->octets > max - n) {
		smtp_refuse(s, OUTCOME_TOO_BIG, STR_NONE);
		smtp_forget(s);
		pass_over(s, n);
		return;
	}
	s->chunk_left = n;
	s->chunk_last = last;
	s->chunk_void = false;
	s->state = SMTP_STATE_BDAT;
}

static void chunk_over(struct smtp_session *s, uint64_t octets)
{
	s->state = SMTP_STATE_COMMAND;
	s->acted = true;
	if (s->chunk_void)
		return;
	if (s->chunk_last)
		smtp_content_end(s);
	else if (s->tx->failure != OUTCOME_OK) {
		/* Said now: the client need not send the rest. */
		smtp_refuse(s, s->tx->failure, str_of(s->tx->failure_text));
		smtp_forget(s);
	} else {
		smtp_reply(smtp_out(s), 250, "2.0.0", "%llu octets so far", (unsigned long long)octets);
	}
}

void smtp_bdat_more(struct smtp_session *s)
{
	struct str in = conn_input(s->conn);
	size_t n = in.n < s->chunk_left ? in.n : (size_t)s->chunk_left;
	if (s->chunk_void) {
		conn_consume(s->conn, n);
		s->chunk_left -= n;
	} else if (n > 0) {
		smtp_content_chunk(s, str_sub(in, 0, n));
	}
	if (s->chunk_left == 0 && s->state == SMTP_STATE_BDAT)
		chunk_over(s, s->tx ? s->tx->octets : 0);
}
