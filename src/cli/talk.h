/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * cli/talk.h: a small SMTP and LMTP client for `pabal testmail` and `pabal deliver`: one dialogue,
 * blocking, with a deadline for each reply. It can print the dialogue as it goes, with passwords
 * masked.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"

struct talk;
struct tls_context;

struct talk_options {
	int64_t timeout_ms;     /* for each reply; 0: 30 s */
	struct buf *transcript; /* "S: 220 ...\nC: EHLO ...\n" is appended; NULL: none */
};
bool talk_connect_tcp(struct str host, uint16_t port, const struct talk_options *o, struct talk **out,
		      struct err *err) MUST_CHECK;
bool talk_connect_unix(const char *path, const struct talk_options *o, struct talk **out,
		       struct err *err) MUST_CHECK;
void talk_close(struct talk *t); /* accepts NULL */

struct talk_reply {
	int code;         /* 250 */
	struct str lines; /* all of it without the last line end; valid until the next call */
};
/* The greeting, or the next reply of a pipelined command. */
bool talk_read(struct talk *t, struct talk_reply *out, struct err *err) MUST_CHECK;
/* Sends line + CRLF, reads the reply. mask, if not empty, replaces the line in the transcript. */
bool talk_say(struct talk *t, struct str line, struct str mask, struct talk_reply *out,
	      struct err *err) MUST_CHECK;
/* Sends a message after 354: lines end in CRLF whatever they ended in, dots are doubled, then the
 * final dot. Replies are the caller's to read (LMTP has several). */
bool talk_data(struct talk *t, struct str message, struct err *err) MUST_CHECK;
/* After 220 to STARTTLS. The certificate is not verified: this talks to our own server. */
bool talk_starttls(struct talk *t, struct err *err) MUST_CHECK;
