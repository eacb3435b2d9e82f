/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * queue/record.h: content of the journal records that smtp and queue write. All are read back as
 * hostile input; fuzz target record_fuzz.c. Little-endian.
 *
 *   MESSAGE (smtp): envelope length u32, envelope (mail/envelope.h), content (or it is in the side file,
 *           whole or the rest of it)
 *   PLAN    (queue): below
 *   OUTCOME (queue): message id, action u32, how u8
 * DONE records are the store's (store/mailbox.h).
 */
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "base/scan.h"
#include "mail/envelope.h"

/* smtp: what goes before the content. */
void message_record_head(struct buf *out, const struct envelope *e);
/* The id alone, looked at without decoding the rest. */
bool message_record_id(struct str record, struct id *out);
bool message_record_split(struct str record, struct arena *a, struct envelope *out,
			  struct str *out_content, struct err *err) MUST_CHECK;

/* In place of a mailbox's name: the account's Junk, whatever it is called. No name has a backslash first. */
#define MAILBOX_OF_JUNK "\\Junk"

enum action_kind {
	ACTION_PLACE = 1, /* into a mailbox of an account */
	ACTION_REMOTE,    /* to another server */
	ACTION_WHOLE,     /* not planned yet: held as it is, and planned when it is released */
};
struct action {
	uint32_t number;
	enum action_kind kind;
	struct str account;   /* PLACE: whose; REMOTE: the address */
	struct str rcpt;      /* for Delivered-To; empty: none */
	struct str mailbox;   /* PLACE */
	uint32_t rcpt_index;  /* recipient in the envelope that it serves; RCPT_NONE: none (a bounce) */
	struct str generated; /* whole content, when it is not the message's own */
};
enum { RCPT_NONE = 0xffffffff, ACTIONS_MAX = 20000, ACTION_WHOLE_NUMBER = 900000,
       ACTION_LATE = 1000000 };
struct plan {
	struct id id;      /* the message's */
	struct str source; /* name of the journal it came from; empty: everything is generated */
	uint64_t source_seq;
	struct action *actions;
	size_t n;
};
void plan_encode(struct buf *out, const struct plan *p);
bool plan_decode(struct str in, struct arena *a, struct plan *out, struct err *err) MUST_CHECK;

enum ended { ENDED_DEFERRED = 1, ENDED_BOUNCED, ENDED_DROPPED, ENDED_RETRIED, ENDED_RELAYED };
struct ended_record {
	struct id id;
	uint32_t action;
	enum ended how;
};
void ended_encode(struct buf *out, const struct ended_record *o);
bool ended_decode(struct str in, struct ended_record *out);

/* One attempt at a deferred file, appended to it: length u32, body, CRC32C u32 of the body. */
struct attempt {
	uint32_t at_s, next_try_s;
	uint16_t number; /* from 1 */
	bool warned;     /* the sender has been told of the delay */
	struct str mta, reply;
};
enum { ATTEMPT_TEXT_MAX = 1000 };
void attempt_encode(struct buf *out, const struct attempt *a);
/* Views of the input. False, and the scan stays: torn, damaged or the end. */
bool attempt_decode(struct scan *s, struct attempt *out);
