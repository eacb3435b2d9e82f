/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* pop3/pop3_int.h: what both halves of POP3 use. */
#pragma once
#include "base/buf.h"
#include "base/scan.h"
#include "pop3/pop3.h"

enum pop3_text {
#define POP3_TEXT(name, en, ko) POP3_##name,
#include "pop3/texts.def"
#undef POP3_TEXT
};
enum pop3_language { POP3_ENGLISH, POP3_KOREAN };
enum { POP3_LINE_MAX = 512 }; /* RFC 2449 4 has 255 */

void pop3_ok(struct buf *b, enum pop3_language l, enum pop3_text t);  /* "+OK ..." */
void pop3_err(struct buf *b, enum pop3_language l, enum pop3_text t); /* "-ERR ..." */

/* A line without its end out of the input; *out_used is what to consume. */
enum pop3_line { POP3_LINE_MORE, POP3_LINE_READY, POP3_LINE_LONG };
enum pop3_line pop3_line(struct str input, size_t max, struct str *out_line, size_t *out_used);
/* "KEYWORD rest": the rest is STR_NONE when there is no blank. */
struct str pop3_keyword(struct str line, struct str *out_rest);

/* The LANG command (RFC 6856 3), which may change *language. */
void pop3_lang(struct buf *b, struct str argument, enum pop3_language *language);

/* ---- message text on its way out (body.c) ---- */
struct pop3_body {
	bool limited;        /* TOP: header and lines_left lines */
	bool in_header;
	uint32_t lines_left;
	bool bol;            /* at the start of a line */
	bool line_empty;     /* nothing but CR in it so far */
	char last;           /* octet before, 0 at first */
	bool over;           /* TOP has enough */
};
void pop3_body_init(struct pop3_body *s, bool limited, uint32_t lines);
/* Dot-stuffed (RFC 1939 3); any cut of the text gives the same. */
void pop3_body_feed(struct pop3_body *s, struct str text, struct buf *out);
void pop3_body_end(struct pop3_body *s, struct buf *out); /* last line end if missing, and "." */
