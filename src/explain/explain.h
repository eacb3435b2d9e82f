/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * explain/explain.h: what a foreign server means by its reply, in plain Korean and English, and what
 * pabal does about it.
 *
 * The knowledge is a table (share/explain.tsv, built in; an administrator may give an edited one):
 * wordings of providers first, then the enhanced status (RFC 3463, registry of RFC 5248), then the
 * reply code (RFC 5321 4.2.3). The table is immutable once loaded and may be used by all threads.
 * Matching has no backtracking: its time is bounded by the table's size times that of the text,
 * of which EXPLAIN_TEXT_MAX octets are looked at. Used by queue and relay (what to do next), for
 * the words of bounces, and by "pabal explain", which reads whole logs and bounces too.
 */
#pragma once
#include "base/err.h"
#include "mail/status.h"

struct arena;
struct buf;
struct json_writer;
struct explain; /* the table */

enum {
	EXPLAIN_TEXT_MAX = 2000,      /* octets of one reply that are looked at */
	EXPLAIN_ADVICE_MAX = 4,
	EXPLAIN_LINKS_MAX = 4,
	EXPLAIN_ITEMS_MAX = 200,      /* distinct replies of one paste */
	EXPLAIN_TABLE_BYTES_MAX = 8 << 20,
};

enum explain_kind {
#define KIND(id, name, en, ko) EXPLAIN_KIND_##id,
#include "explain/words.def"
};
enum explain_cause {
#define CAUSE(id, name, en, ko) EXPLAIN_CAUSE_##id,
#include "explain/words.def"
};
enum explain_fault {
#define FAULT(id, name, en, ko) EXPLAIN_FAULT_##id,
#include "explain/words.def"
};
/* What pabal does with the message (for this recipient) ... */
enum explain_message {
#define MESSAGE(id, name, en, ko) EXPLAIN_MESSAGE_##id,
#include "explain/words.def"
};
/* ... and what it does to other mail for the same destination. */
enum explain_destination {
#define DESTINATION(id, name, en, ko) EXPLAIN_DESTINATION_##id,
#include "explain/words.def"
};
/* Where in the dialogue the reply came. */
enum explain_stage {
	EXPLAIN_STAGE_UNKNOWN,
	EXPLAIN_STAGE_CONNECT, /* greeting, EHLO, STARTTLS, AUTH */
	EXPLAIN_STAGE_MAIL,
	EXPLAIN_STAGE_RCPT,
	EXPLAIN_STAGE_DATA,    /* DATA, BDAT and the end of it */
};
/* What the explanation rests on. */
enum explain_basis { EXPLAIN_BY_NOTHING, EXPLAIN_BY_CODE, EXPLAIN_BY_STATUS, EXPLAIN_BY_WORDING };

struct explain_words {
	struct str en, ko;
};
struct explain_advice {
	struct str id;
	struct explain_words text;
};

/* Strings are the table's or the arena's; UTF-8 without control characters. */
struct explanation {
	enum explain_basis basis;
	struct str rule;                /* id of the row: "NAVER-01"; empty: a code's or status's */
	uint16_t code;                  /* reply code; 0: none was given */
	struct status status;           /* enhanced status; class 0: none was given */
	enum explain_kind kind;         /* the reply code decides, then the status, then the wording */
	enum explain_cause cause;
	enum explain_fault fault; /* whose; of HOLD and SLOW also: for which mail they hold (see below) */
	enum status_turn turn;
	enum explain_stage stage;
	enum explain_message message;
	/* SLOW and HOLD concern the source address (fault SOURCE_IP, CONNECTION, RECEIVER) or only mail of
	 * this sender's domain (SENDER_DOMAIN) or account (SENDER) to the destination. */
	enum explain_destination destination;
	bool suppress; /* the address may be remembered as invalid; never for blocks (facts 2.8) */
	bool alert;                     /* an administrator has something to mend */
	bool assumed;                   /* the reading is likely, not documented */
	struct explain_words provider;  /* who speaks so: provider, list or product; empty: unknown */
	struct explain_words host;      /* the provider that the remote server belongs to; empty: unknown */
	struct explain_words meaning;   /* one sentence */
	struct explain_words code_meaning, status_meaning; /* empty: not in the table */
	struct explain_words needs;     /* what the provider demands of senders; empty: nothing to tell */
	const struct explain_advice *advice[EXPLAIN_ADVICE_MAX];
	size_t advice_n;
	struct str reply;               /* as it came, without what a log or bounce wraps around it, on one
	                                 * line, cut at EXPLAIN_TEXT_MAX */
	struct str ip;                  /* first IP address in it */
	struct str links[EXPLAIN_LINKS_MAX]; /* addresses and URLs in it, where one may ask */
	size_t link_n;
};

/* path empty: the built-in table. Errors name line and column. */
bool explain_load(struct str path, struct explain **out, struct err *err) MUST_CHECK;
bool explain_parse(struct str tsv, struct explain **out, struct err *err) MUST_CHECK;
void explain_free(struct explain *e); /* accepts NULL */
static inline void explain_free_p(struct explain **e) { explain_free(*e); }
#define EXPLAIN_SCOPED __attribute__((cleanup(explain_free_p))) struct explain *
struct str explain_builtin(void); /* the table's text */

/* One reply, of one or more lines, also as bounces and logs wrap it ("smtp; 550 ...", "host x said:
 * 550 ...", "... (421)"). remote_mta: the host that spoke, or the recipient's domain; may be empty.
 * Always gives an answer. An error of our own that is no reply (no route, no connection) is taken
 * for temporary unless its wording is known. */
void explain_reply(const struct explain *e, struct str reply, struct str remote_mta, struct arena *a,
		   struct explanation *out);
/* The same when the stage is known: a 5xx at CONNECT is no verdict on the message (RFC 5321 3.1, 4.3.2). */
void explain_reply_at(const struct explain *e, struct str reply, struct str remote_mta,
		      enum explain_stage stage, struct arena *a, struct explanation *out);

enum explain_paste { EXPLAIN_PASTE_REPLY, EXPLAIN_PASTE_LOG, EXPLAIN_PASTE_BOUNCE };

struct explain_item {
	struct explanation why;
	uint64_t count;          /* replies of this kind */
	struct str recipients;   /* the first few, ", " between; may be empty */
	struct str remote_mta;   /* of the first one; may be empty */
	struct str action;       /* of a bounce: "failed", "delayed", ...; else empty */
};
struct explain_report {
	enum explain_paste kind;
	struct explain_item *items; /* in order of first appearance */
	size_t n;
	uint64_t lines, more;       /* lines read; replies beyond EXPLAIN_ITEMS_MAX kinds */
	struct str reporting_mta, subject, arrival; /* of a bounce, as far as told */
};

/* Whatever people paste: a reply, a log, a whole bounce message. Nothing recognised: n is 0. */
void explain_paste(const struct explain *e, struct str text, struct arena *a, struct explain_report *out);

/* For people, and for programs (one object with both languages). */
void explain_print(struct buf *out, const struct explain_report *report, bool korean);
void explain_write_json(struct json_writer *w, const struct explain_report *report);
void explanation_write_json(struct json_writer *w, const struct explanation *why);
/* The sentence "pabal keeps ...": message and destination together. */
void explain_deed(struct buf *out, const struct explanation *why, bool korean);

/* The enhanced codes, in order, then the reply codes. */
struct explain_code {
	struct str code;              /* "X.1.1", "550" */
	bool enhanced;
	enum explain_cause cause;
	struct explain_words meaning;
	struct str usual_codes;       /* reply codes that an enhanced one usually comes with */
	const struct explain_advice *const *advice;
	size_t advice_n;
};
size_t explain_code_count(const struct explain *e);
void explain_code_at(const struct explain *e, size_t i, struct explain_code *out);

const char *explain_kind_name(enum explain_kind k);
const char *explain_cause_name(enum explain_cause c);
const char *explain_fault_name(enum explain_fault f);
const char *explain_message_name(enum explain_message m);
const char *explain_destination_name(enum explain_destination d);
