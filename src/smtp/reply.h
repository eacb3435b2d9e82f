/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * smtp/reply.h: replies of a server (RFC 5321 4.2), the only place that writes them. Values cannot
 * break out of a line: control characters and octets above 0x7f become '?', lines are cut below
 * the 512 octets of RFC 5321 4.5.3.1.5.
 */
#pragma once
#include "base/buf.h"
#include "mail/status.h"

enum smtp_reply_more { SMTP_REPLY_LAST, SMTP_REPLY_MORE };

/* status: "2.1.0", or NULL: none. The text is a format. */
void smtp_reply(struct buf *out, unsigned code, const char *status, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* One line of several: "250-TEXT". */
void smtp_reply_line(struct buf *out, unsigned code, enum smtp_reply_more more, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* From the table of mail/outcomes.def; extra, if not empty, stands for the table's words. */
void smtp_reply_outcome(struct buf *out, enum outcome o, struct str extra);
/* "334 " and base64 of the challenge (RFC 4954 4). */
void smtp_reply_challenge(struct buf *out, struct str challenge);
