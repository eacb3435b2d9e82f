/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* The transaction: made by MAIL, freed whole. While its commit is under way the callback holds a
 * reference too, so a client that hangs up takes nothing away from the journal. */
#include "base/clock.h"
#include "base/mem.h"
#include "sender_auth/incoming.h"
#include "smtp/server/server_int.h"
#include <stdio.h>
#include <stdlib.h>

struct smtp_tx *smtp_tx_new(struct smtp_session *s)
{
	struct smtp_tx *tx = mem_new(struct smtp_tx);
	atomic_init(&tx->refs, 1);
	tx->arena = arena_new();
	tx->envelope.id = id_new();
	tx->begun_ms = clock_mono_ms();
	s->tx = tx;
	return tx;
}

void smtp_tx_unref(struct smtp_tx *tx, struct smtp_server *server)
{
	if (atomic_fetch_sub(&tx->refs, 1) > 1)
		return;
	if (tx->side)
		server->services.side_discard(server->services.ctx, tx->side);
	smtp_memory_give(server->limits, tx->counted);
	buf_free(&tx->body);
	incoming_free(tx->incoming);
	arena_free(tx->arena);
	free(tx);
}

void smtp_tx_drop(struct smtp_session *s)
{
	struct smtp_tx *tx = s->tx;
	s->tx = NULL;
	if (tx)
		smtp_tx_unref(tx, s->server);
}

int smtp_tx_sender(struct smtp_session *s, struct smtp_tx *tx, struct str address, bool authorises)
{
	const struct smtp_services *v = &s->server->services;
	struct str ticket = STR_NONE;
	int answer = v->sender(v->ctx,
			       &(struct smtp_sender){buf_str(&s->account), buf_str(&s->ticket), address},
			       tx->arena, &ticket);
	if (answer == 1 && authorises)
		tx->ticket = ticket;
	return answer;
}

void smtp_tx_fail(struct smtp_tx *tx, enum outcome o, const char *fmt, ...)
{
	va_list ap;
	if (tx->failure != OUTCOME_OK)
		return;
	tx->failure = o;
	va_start(ap, fmt);
	vsnprintf(tx->failure_text, sizeof tx->failure_text, fmt, ap);
	va_end(ap);
}

/* RFC 2033 4.2: LMTP answers once for each recipient that was accepted. */
void smtp_tx_reply(struct smtp_session *s, enum outcome o, struct str extra)
{
	size_t n = smtp_is(s, SMTP_LMTP) && s->tx ? s->tx->envelope.rcpt_n : 1;
	for (size_t i = 0; i + 1 < n; i++)
		smtp_reply_outcome(smtp_out(s), o, extra);
	smtp_refuse(s, o, extra);
}
