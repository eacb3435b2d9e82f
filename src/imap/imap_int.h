/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/imap_int.h: the session after login, for imap/ alone.
 *
 * A command is a function that is called once its text is complete, and again as long as it
 * answers that it has more to do: for output that has to drain, for an event, or to let others
 * run. What it needs in between is in command.state, in the command's arena, which is released
 * with the tagged reply. Between commands and in IDLE a session holds nothing but this structure
 * and its view.
 */
#pragma once
#include "imap/imap.h"
#include "imap/reader.h"
#include "imap/write.h"
#include "store/served.h"

struct imap;
struct command;
struct pending;
struct append;
struct context;
struct notify;

enum step {
	STEP_DONE,   /* the tagged reply is written */
	STEP_OUTPUT, /* again when output has drained */
	STEP_AGAIN,  /* again soon: others may be waiting */
	STEP_EVENT,  /* again on conn_wake() */
	STEP_IDLE,   /* again on conn_wake() or input */
};
typedef enum step command_fn(struct imap *s, struct command *c);

enum command_flag {
	COMMAND_SELECTED = 1, /* needs a selected mailbox */
	COMMAND_UID = 2,      /* has a UID form */
	COMMAND_HOLDS = 4,    /* no EXPUNGE before its tagged reply, but in the UID form (RFC 9051 7.5.1) */
	COMMAND_BREAKS = 8,   /* changes or closes the view: no updates before its tagged reply */
	COMMAND_BARE = 16,    /* has no arguments */
	COMMAND_OPTIONAL = 64, /* may have none */
	COMMAND_UID_BARE = 32,/* has none but in the UID form (EXPUNGE) */
};
struct command_row {
	const char *name;
	command_fn *fn;
	unsigned flags; /* enum command_flag */
	const char *capability, *rfc;
};
const struct command_row *command_find(struct str name);
enum capability_half { CAPABILITY_LOGIN = 1, CAPABILITY_SESSION = 2 };
/* "IMAP4rev1 IMAP4rev2 ..." of the rows for that half. */
void capability_write(struct buf *b, enum capability_half half, uint64_t append_limit);

struct command {
	const struct command_row *row;
	struct str tag;
	struct parse p; /* at its arguments */
	bool uid;
	void *state;    /* NULL at the first call */
	void (*release)(void *state); /* what the arena does not free; NULL: nothing */
	uint64_t steps;
};

/* What the client will believe a message's flags to be, so that it need not be told (STORE.SILENT,
 * FETCH that set \Seen). Ascending UIDs. */
struct expected {
	uint32_t uid, keywords;
	unsigned flags;
};

enum enabled {
	ENABLED_CONDSTORE = 1,
	ENABLED_QRESYNC = 2,
	ENABLED_REV2 = 4,
	ENABLED_UTF8 = 8,
	ENABLED_UIDONLY = 16
};

struct imap {
	struct conn *conn;
	struct zip *zip;           /* NULL: no COMPRESS; imap/stream.h */
	struct served *served;
	struct arena *arena;       /* of the command */
	struct arena *scratch;     /* of one message within a command */
	struct arena *ahead;       /* of summaries read ahead */
	struct reader reader;
	struct command command;
	struct view *view;         /* NULL: none selected */
	struct append *append;     /* a message that comes in */
	struct context *contexts;  /* of the selected mailbox */
	struct notify *notify;     /* NULL: NOTIFY is not in use */
	struct pending *pending;   /* a commit that is awaited */
	struct uid_set saved;      /* "$" (SEARCHRES); heap */
	struct expected *expected; /* command arena */
	size_t expected_n, expected_cap;
	struct uid_set echo;       /* UIDs whose flags are told in any case (STORE) */
	struct uid_set echo_not;   /* but for these (MODIFIED) */
	unsigned enabled;          /* enum enabled */
	unsigned errors;           /* BAD in a row */
	unsigned commands;
	bool korean;               /* replies are (LANGUAGE) */
	bool running, read_only, closing, draining, refused;
	int64_t began_ms;          /* monotonic */
	int64_t turn_ends;         /* monotonic us: when a long command lets others run */
};

static inline bool imap_utf8(const struct imap *s) { return s->enabled & (ENABLED_UTF8 | ENABLED_REV2); }
/* IMAP4rev2 has no \Recent. */
static inline unsigned imap_flags_shown(const struct imap *s)
{
	return s->enabled & ENABLED_REV2 ? ~(unsigned)FLAG_RECENT : ~0U;
}
static inline struct account *imap_account(const struct imap *s) { return s->served->account; }

/* ---- replies (reply.c) ------------------------------------------------------------------ */
/* All write updates (but for BAD) and the tagged reply, and return STEP_DONE. code is without
 * brackets; empty: none. */
enum step imap_ok(struct imap *s, const char *text);
enum step imap_ok_code(struct imap *s, struct str code, const char *text);
enum step imap_no(struct imap *s, const char *code, const char *text);
enum step imap_bad(struct imap *s, const char *text);
enum step imap_bad_syntax(struct imap *s, const struct parse *p);
/* One table turns a kind into NO and its code (RFC 9051 7.1, RFC 5530). */
enum step imap_fail(struct imap *s, const struct err *err);
const char *imap_code_of(enum err_kind kind);
void imap_untagged(struct imap *s, const char *line);      /* "OK [CLOSED] ..." */
void imap_bye(struct imap *s, const char *text);           /* "* BYE text", then close */
struct buf *imap_out(struct imap *s);
/* In the session's language; it may live in scratch. */
struct str imap_text(const struct imap *s, struct str text);

/* ---- the selected mailbox (update.c) ---------------------------------------------------- */
/* Tells what happened since the last time. false: the mailbox is gone, BYE was written. */
bool imap_update(struct imap *s, bool hold_expunges);
void imap_expect(struct imap *s, uint32_t uid, unsigned flags, uint32_t keywords);
void imap_write_flags_line(struct imap *s, bool permanent);
void imap_unselect(struct imap *s);
/* From now on changes are told with their MODSEQ; HIGHESTMODSEQ is told at once (RFC 7162 3.1). */
void imap_enable_condstore(struct imap *s);
void imap_set_saved(struct imap *s, struct uid_set uids); /* copies */
/* "* 3 FETCH (UID 9 FLAGS (\Seen) MODSEQ (7))" */
void imap_write_fetch_flags(struct imap *s, uint32_t seq, const struct msg *m, unsigned items,
			    const struct str *names, size_t names_n);
/* Sequence numbers of a set of numbers or UIDs. false: BAD was written (*out_step). */
bool imap_resolve(struct imap *s, const struct sequence_set *set, bool uid, struct uid_set *out);
/* The UIDs of such a set, as few ranges as it can be: what lies between belongs to nobody. */
struct uid_set imap_uids_of(struct imap *s, struct uid_set seqs);
/* True when this command should let others run now. */
bool imap_turn_over(struct imap *s);
/* A long command tells how far it is, now and then (INPROGRESS, RFC 9585); *next_ms starts as 0. */
void imap_progress(struct imap *s, int64_t *next_ms, uint64_t done, uint64_t all);

/* ---- parts of commands that other commands use ------------------------------------------ */
enum status_item {
	STATUS_MESSAGES = 1,
	STATUS_RECENT = 2,
	STATUS_UIDNEXT = 4,
	STATUS_UIDVALIDITY = 8,
	STATUS_UNSEEN = 16,
	STATUS_DELETED = 32,
	STATUS_SIZE = 64,
	STATUS_HIGHESTMODSEQ = 128,
	STATUS_APPENDLIMIT = 256,
	STATUS_MAILBOXID = 512,
	STATUS_DELETED_STORAGE = 1024, /* RFC 9208 4.1.4 */
};
bool parse_status_items(struct parse *p, unsigned *out);
bool imap_write_status(struct imap *s, struct str name, unsigned items, struct err *err) MUST_CHECK;
const char *special_use_name(enum special_use use); /* "\\Sent", or NULL */
bool special_use_find(struct str name, enum special_use *out);

/* Is the literal whose header text ends in a message, or a piece of one, of APPEND or REPLACE?
 * Refused: the reply is written. */
enum append_answer { APPEND_NOT, APPEND_REFUSED, APPEND_TAKES };
enum append_answer append_wants(struct imap *s, struct str text, const struct literal *l);
void append_take(struct imap *s); /* from the input */
bool append_taking(const struct imap *s);
void append_taken(struct imap *s); /* the literal is over */
void append_free(struct append *a); /* accepts NULL */

#define IMAP_COMMAND(name, ...) command_fn cmd_##name;
#define IMAP_CAPABILITY(...)
#include "imap/commands.def"
#undef IMAP_COMMAND
#undef IMAP_CAPABILITY
