/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * mail/status.h: enhanced status codes (RFC 3463, 5248) and the table of what can become of a
 * recipient or message: outcome -> SMTP reply code, enhanced status, text in English and Korean,
 * and whose turn it is to do something about it. SMTP replies, bounces and logs use one table.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/scan.h"

struct status {
	uint8_t class;    /* 2, 4, 5; 0: none */
	uint16_t subject; /* 0-999 */
	uint16_t detail;
};

/* class "." subject "." detail (RFC 3463 2); the scan stands behind it. */
bool status_scan(struct scan *s, struct status *out);
/* A reply text "5.1.1 no such user", or a whole line "550 5.1.1 ...", "550-5.1.1 ..."; when there
 * is none, class.0.0 made from the reply code. false: neither. */
bool status_of_reply(struct str reply, struct status *out);
void status_format(struct buf *out, struct status st);
static inline bool status_eq(struct status x, struct status y)
{
	return x.class == y.class && x.subject == y.subject && x.detail == y.detail;
}

/* Who can mend it; bounces say so in words. */
enum status_turn {
	TURN_NOBODY,    /* it is done, or goes on by itself */
	TURN_SENDER,    /* check address or content, send again */
	TURN_RECIPIENT, /* empty the mailbox, lift the rule */
	TURN_THEIR_ADMIN, /* the recipient's postmaster */
	TURN_OUR_ADMIN,   /* our own postmaster */
};

enum outcome {
#define OUTCOME(name, code, class, subject, detail, turn, en, ko) OUTCOME_##name,
#include "mail/outcomes.def"
#undef OUTCOME
	OUTCOME_COUNT
};

struct outcome_row {
	const char *name;       /* for logs: "NO_SUCH_USER" */
	uint16_t reply_code;
	struct status status;
	enum status_turn turn;
	const char *en, *ko;    /* one sentence each, no final stop; en is ASCII and fit for a reply */
};

const struct outcome_row *outcome_row(enum outcome o);
/* The row whose status is this one, else the most general of its class. For foreign replies. */
enum outcome outcome_of_status(struct status st);
/* The row for an error of ours, by its kind. Never a success. */
enum outcome outcome_of_err(const struct err *err);
/* "550 5.1.1 text" without CRLF; extra, if not empty, replaces the table's text (checked: CR, LF, NUL
 * and octets above 0x7f become '?'). */
void outcome_reply(struct buf *out, enum outcome o, struct str extra);
const char *status_turn_en(enum status_turn turn);
const char *status_turn_ko(enum status_turn turn);
