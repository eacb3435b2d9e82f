/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * mail/dsn.h: writes delivery status notifications (RFC 3461, 3464, 6533; multipart/report RFC
 * 6522): a part for people in Korean and English (what happened, why, whose turn it is, what to
 * do), a part for programs, and the original message or its header as RET says.
 *
 * Pure formatting. When to send one at all is the caller's rule: never for a null reverse-path,
 * as NOTIFY says, to the reverse-path and from <>.
 */
#pragma once
#include "mail/envelope.h"
#include "mail/status.h"

enum dsn_action { DSN_FAILED, DSN_DELAYED, DSN_DELIVERED, DSN_RELAYED, DSN_EXPANDED, DSN_ACTION_COUNT };

struct dsn_recipient {
	const struct recipient *rcpt;
	enum dsn_action action;
	enum outcome outcome;        /* for the words to people */
	struct status status;        /* class 0: the outcome's */
	struct str diagnostic;       /* reply of the remote server, "550 5.1.1 ..."; empty: our own words */
	struct str remote_mta;       /* name of the server that said it; empty: us */
	struct str final_recipient;  /* address it was delivered to after expansion; empty: rcpt's */
	int64_t last_attempt_unix;   /* 0: not told */
	int64_t will_retry_until_unix; /* delayed only; 0: not told */
};

struct dsn {
	const struct envelope *envelope;
	const struct dsn_recipient *rcpt; /* 1 or more */
	size_t rcpt_n;
	struct str reporting_mta;    /* our host name */
	struct str from_domain;      /* for MAILER-DAEMON@ and the Message-ID */
	struct str postmaster;       /* address people may write to */
	int64_t now_unix;
	struct str content;          /* the original message; empty: not to be had */
	size_t content_max;          /* with RET=FULL: longer ones are cut down to their header */
};

/* Appends the message, CRLF lines, without trace fields. The envelope to send it with is the
 * caller's: from <>, to d->envelope->reverse_path, *out_smtputf8 says whether it needs SMTPUTF8. */
void dsn_write(struct buf *out, const struct dsn *d, bool *out_smtputf8);
const char *dsn_action_name(enum dsn_action action); /* "failed", ... */
