/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/reader.h: puts commands together from what the connection has: lines and literals
 * (RFC 9051 2.2.1, 4.3; RFC 7888), under limits.
 *
 * Lines end in CRLF; a bare LF is taken for one as well (docs/imap.md), since nothing of ours
 * depends on where a command ends for anybody else. A reader without a command in it has no memory.
 */
#pragma once
#include "base/buf.h"
#include "imap/parse.h"

enum reader_event {
	READER_MORE,    /* all input is taken, nothing is complete */
	READER_COMMAND, /* reader->text is a command without its last line end; then reader_done() */
	READER_LITERAL, /* text ends in a literal's header and line end: reader_accept, _divert or _refuse */
	READER_TOO_LONG, /* as READER_COMMAND, but cut off at the limit; the rest was thrown away */
};
struct reader {
	struct buf text;
	size_t max;             /* octets of text: lines and literals */
	struct literal literal; /* the last header seen */
	size_t literal_start;   /* where in text it stands */
	uint64_t left;          /* octets of a literal still to come */
	size_t line_at;         /* start of the present line in text */
	unsigned mode;
	char tail[24];          /* end of a line that is thrown away: it may announce a literal */
	unsigned tail_n;
	bool plain;             /* the next line is data (SASL, IDLE): no literal in it */
};

void reader_init(struct reader *r, size_t max);
void reader_fini(struct reader *r); /* wipes: passwords were in it */
/* Takes from the front of input; *out_used says how much is to be consumed. */
enum reader_event reader_feed(struct reader *r, struct str input, size_t *out_used);
void reader_done(struct reader *r); /* the command was dealt with: wipes, frees */

/* After READER_LITERAL: it belongs into text. false: over the limit, refuse it. */
bool reader_accept(struct reader *r) __attribute__((warn_unused_result));
/* The caller takes the octets itself (reader->left counts down), then calls reader_diverted(). */
void reader_divert(struct reader *r);
void reader_diverted(struct reader *r);
/* The command is over: a synchronising literal does not come, else it and the rest of the command
 * are thrown away, and READER_TOO_LONG follows. */
void reader_refuse(struct reader *r);
