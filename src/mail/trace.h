/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * mail/trace.h: the header fields a server adds, and what it learns from those of others:
 * Received (RFC 5321 4.4, RFC 3848, RFC 6531 4.3), Return-Path, Delivered-To,
 * Message-ID. Every line ends in CRLF, is folded below 78 columns, and no value can break out of
 * it: CR, LF and NUL become '?'.
 */
#pragma once
#include "mail/date.h"
#include "mail/envelope.h"

/* Hosts that a message may have passed (RFC 5321 6.3 says at least 100). */
enum { TRACE_HOPS_MAX = 100 };

/* "ESMTPSA", "LMTP", "UTF8SMTPS", ... (RFC 3848, RFC 6531 4.3). */
struct str trace_protocol(const struct envelope *e);
/* by: our own name. "for" is written only when the envelope has one recipient, so that Bcc
 * recipients are not told of each other. The address of an authenticated client is left out when
 * hide_client (privacy of submission). */
enum trace_flags { TRACE_HIDE_CLIENT = 1, TRACE_NO_FOR = 2 };
void trace_received(struct buf *out, const struct envelope *e, struct str by, int flags);
void trace_return_path(struct buf *out, struct address reverse_path);
void trace_delivered_to(struct buf *out, struct address rcpt);
/* "Name: body" folded at spaces; for all other fields we add. */
void trace_field(struct buf *out, struct str name, struct str body);

/* "<id.random@domain>", no line end. */
void message_id_new(struct buf *out, struct str domain);

/* Received fields in a header (or a whole message). */
unsigned trace_count_hops(struct str header);
/* Delivered-To with this address, compared canonically (loop detection). */
bool trace_was_delivered_to(struct str header, struct address rcpt);
