/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * store/mailbox.h: accounts, mailboxes and messages, for those who serve or deliver them
 * (DESIGN section 4, DURABILITY.md; RFC 3501, 9051, 7162, 8474). Nothing above this header knows
 * files or SQL. Processes: mailbox, queue, and the CLI when the server is down.
 *
 * Truth is the Maildir++ tree; index.db is a cache. Each change takes the account's mutex, then
 * its flock; neither is held across a sync. All functions may block on the local disk.
 *
 * Mailbox names here are UTF-8, NFC, hierarchy delimiter '/', INBOX in capitals. Sets of UIDs are
 * sorted ranges. All outputs live in the arena given.
 */
#pragma once
#include "base/arena.h"
#include "base/err.h"
#include "base/ids.h"

struct store;
struct account;
struct view;
struct journal;
struct buf;

/* ---- store ------------------------------------------------------------------------------ */
struct store_options {
	int root_fd;            /* the mail directory; kept open, not taken */
	const char *root_path;  /* the same as a path: SQLite opens below it (DESIGN 4's exception) */
	const char *template;   /* "%d/%n/Maildir" */
	struct journal *journal;/* this process's; NULL for read-only users (CLI) */
	const char *journal_name;
	/* Makes all up to seq of that journal settled (invariant 2): own: checkpoint; others: IPC. An
	 * empty name means every journal. */
	bool (*settle)(void *ctx, struct str journal, uint64_t seq, struct err *err);
	/* All below that number of that journal is settled, as far as known without asking anybody; 0:
	 * unknown. */
	uint64_t (*watermark)(void *ctx, struct str journal);
	/* Tells other processes that a mailbox changed; must not block. */
	void (*changed)(void *ctx, struct str account, struct str mailbox);
	void *ctx;
	unsigned handles_max;   /* pooled index handles; 0: 256 */
	bool cold;              /* recovering from power loss: DONE records are compared, not trusted */
};
bool store_new(const struct store_options *o, struct store **out, struct err *err) MUST_CHECK;
void store_free(struct store *s);
/* The next start with cold counts a power loss, also within this boot (pabal recover --cold). */
bool store_force_cold(int root_fd, struct err *err) MUST_CHECK;
bool store_is_forced_cold(int root_fd); /* for the master: begin cold */
/* A file without a name beside the mail, for octets that wait to become a message; nothing of it is
 * left when it is closed. -1: no room. */
int store_scratch_file(struct store *s, struct err *err);
/* A syncfs failed, here or for a directory whose files the journal stands for too: no checkpoint of
 * any process succeeds any more, and the next start of the server is a cold one. */
void store_distrust(struct store *s, const struct err *why);

/* Journal replay of this process's DONE and APPEND records, between store_new and the first use.
 * Warm: nothing or a rescan. Cold: size and CRC of each unsettled file are compared, made again
 * from content (APPEND) or content_of(id) (DONE) by tmp and rename, uidnext := ceiling. content_of
 * answers ERR_NOT_FOUND for what was settled before: then whatever is there is right. */
typedef bool content_of_fn(void *ctx, struct id id, uint32_t action, struct buf *out, struct err *err);
bool store_replay(struct store *s, uint64_t seq, bool is_append, struct str record, content_of_fn *content_of,
		  void *ctx, struct err *err) MUST_CHECK;
/* After those: an action that has no DONE. After power loss its file may be there all the same, under
 * the name that mailbox_place will adopt, and be empty or full of zeros: then it is made again. */
bool store_replay_planned(struct store *s, struct str account, struct id id, uint32_t action,
			  content_of_fn *content_of, void *ctx, struct err *err) MUST_CHECK;
/* syncfs and CHECKPOINT of this process's journal; extra goes into the record. Called by the role
 * every 1-5 s, or by settle(). p is what was committed before the syncfs, but never above keep_from
 * (queue: its oldest PLAN with an open action; 0: no such bound). false: nothing was released. */
bool store_checkpoint(struct store *s, uint64_t keep_from, struct str extra, struct err *err) MUST_CHECK;
/* Which action a DONE or APPEND record tells of; for the queue's recovery. false: not a record of a
 * store (those begin with 'S'; queue's own DONE records must not). */
bool store_done_key(struct str record, struct id *out_id, uint32_t *out_action);
/* From now on mailboxes that nobody has open are looked at for changes of other programs, each about
 * once in that time: one process of a server does. After the sandbox. */
bool store_scan(struct store *s, int64_t interval_ms, struct err *err) MUST_CHECK;
/* Somebody else changed it (notice): refresh arrays, tell watchers. */
void store_notice(struct store *s, struct str account, struct str mailbox);

/* ---- accounts --------------------------------------------------------------------------- */
struct account_facts {
	uint64_t id;
	struct str address;  /* canonical */
	struct str language; /* "ko" or "en": names of special-use mailboxes made at first need */
	uint64_t quota_bytes, quota_messages; /* 0: none */
};
/* Makes the directories at first use. One object per account and process, counted. */
bool account_open(struct store *s, const struct account_facts *f, struct account **out,
		  struct err *err) MUST_CHECK;
void account_close(struct account *a);
/* POP3's exclusive access (RFC 1939 4), among the sessions of this process. false: another has it. */
bool account_maildrop_lock(struct account *a) MUST_CHECK;
void account_maildrop_unlock(struct account *a);
struct quota_use { uint64_t bytes, messages, bytes_max, messages_max; };
bool account_quota(struct account *a, struct quota_use *out, struct err *err) MUST_CHECK;
bool account_is_limited(const struct account *a); /* has a quota at all */
bool account_reindex(struct account *a, void (*progress)(void *ctx, size_t done, size_t all), void *ctx,
		     struct err *err) MUST_CHECK;
/* Compares the index with a rebuild; each difference is a line into report. */
bool account_check(struct account *a, struct buf *report, size_t *out_differences,
		   struct err *err) MUST_CHECK;

/* Writes what Dovecot needs to go on where we are: dovecot-uidlist and dovecot-keywords of each mailbox. */
bool account_hand_back(struct account *a, size_t *out_mailboxes, struct err *err) MUST_CHECK;

/* ---- flags and sets --------------------------------------------------------------------- */
enum msg_flag {
	FLAG_SEEN = 1, FLAG_ANSWERED = 2, FLAG_FLAGGED = 4, FLAG_DELETED = 8, FLAG_DRAFT = 16,
	FLAG_FORWARDED = 32, /* Maildir P, $Forwarded */
	FLAG_RECENT = 64,    /* this session's only */
};
enum { KEYWORDS_MAX = 26 }; /* letters a-z of Maildir++ names; the 27th: ERR_LIMIT */
struct uid_range { uint32_t first, last; };
struct uid_set { struct uid_range *r; size_t n; };

/* ---- mailboxes -------------------------------------------------------------------------- */
enum special_use { USE_NONE, USE_ALL, USE_ARCHIVE, USE_DRAFTS, USE_FLAGGED, USE_JUNK, USE_SENT, USE_TRASH };
enum mailbox_attr {
	MAILBOX_NOSELECT = 1,
	MAILBOX_SUBSCRIBED = 2,
	MAILBOX_HAS_CHILDREN = 4,
	MAILBOX_NONEXISTENT = 8
};
struct mailbox_entry {
	struct str name;
	unsigned attrs;
	enum special_use use;
	char mailbox_id[17]; /* OBJECTID, RFC 8474; NUL-terminated */
};
/* All mailboxes, parents before children, sorted; nonexistent ones that are subscribed included. */
bool mailbox_list(struct account *a, struct arena *ar, struct mailbox_entry **out, size_t *out_n,
		  struct err *err) MUST_CHECK;
bool mailbox_create(struct account *a, struct str name, enum special_use use, struct err *err) MUST_CHECK;
bool mailbox_delete(struct account *a, struct str name,
		    struct err *err) MUST_CHECK; /* with children: becomes \Noselect */
bool mailbox_rename(struct account *a, struct str from, struct str to,
		    struct err *err) MUST_CHECK; /* INBOX: RFC 9051 6.3.6 */
bool mailbox_subscribe(struct account *a, struct str name, bool on, struct err *err) MUST_CHECK;
/* The mailbox of that use, created in the account's language when there is none. */
bool mailbox_special(struct account *a, enum special_use use, struct arena *ar, struct str *out_name,
		     struct err *err) MUST_CHECK;
/* Drafts, Sent, Junk, Trash and Archive, once in the life of an account: what its user removes later stays
 * removed. A mailbox that has the use, or a name known for it, is taken as it is. */
bool mailbox_special_all(struct account *a, struct err *err) MUST_CHECK;

struct mailbox_status {
	uint32_t messages, recent, unseen, deleted, uidnext, uidvalidity;
	uint64_t size, highestmodseq;
	char mailbox_id[17];
};
bool mailbox_status(struct account *a, struct str name, struct mailbox_status *out,
		    struct err *err) MUST_CHECK;
/* ERR_NOT_FOUND: no such mailbox. */
bool mailbox_exists(struct account *a, struct str name, struct err *err) MUST_CHECK;

/* Annotations (RFC 5464) of a mailbox, or, when the name is empty, of the account. Names compare
 * without case. */
struct metadata_entry {
	struct str name, value; /* value.p NULL: remove it */
};
enum { METADATA_ENTRIES_MAX = 200, METADATA_OCTETS_MAX = 256 * 1024 };
bool mailbox_metadata(struct account *a, struct str mailbox, struct arena *ar, struct metadata_entry **out,
		      size_t *out_n, struct err *err) MUST_CHECK;
/* All or none; durable when it returns. ERR_LIMIT: there would be too many. */
bool mailbox_metadata_set(struct account *a, struct str mailbox, const struct metadata_entry *e, size_t n,
			  struct err *err) MUST_CHECK;

/* fn is called with the name of each mailbox in which something changed, or an empty name when names or
 * subscriptions did, or it may have been any; by any thread, also for changes of one's own, with a lock
 * held that the store needs again. Changes of other programs are not seen where no view looks. */
struct account_watch {
	void (*fn)(void *ctx, struct str name);
	void *ctx;
	struct account_watch *next;
};
void account_watch_add(struct account *a, struct account_watch *w);
void account_watch_remove(struct account *a, struct account_watch *w); /* it is not called any more */

/* ---- adding messages -------------------------------------------------------------------- */
struct new_message {
	struct id id;         /* base name = id + '.' + action */
	uint32_t action;
	const struct str *parts; /* content, concatenated (CRLF lines); or file */
	size_t parts_n;
	int file_fd;          /* >= 0: content after the parts comes from here, from offset 0 */
	uint64_t file_size;   /* 0: file_fd is not looked at */
	unsigned flags;
	const struct str *keywords;
	size_t keywords_n;
	int64_t internaldate; /* s, UTC */
	bool maybe_there;     /* an earlier life may have placed it: its base name is looked for */
	/* results */
	uint32_t uid;
	uint64_t seq;         /* DONE's or APPEND's number in this process's journal */
	struct err err;       /* kind ERR_NONE: placed */
};
/* Queue: places a batch in one mailbox (made when absent): tmp, lock, state, rename, DONE (lazy),
 * index rows in one transaction, unlock, changed(). A base name that is there already (replay) is
 * adopted, not placed again: looked for when it may be, or the id is older than this store. Each
 * message has its own outcome; false: none was placed. seq 0: placed, but DONE could not be queued. */
bool mailbox_place(struct account *a, struct str mailbox, struct new_message *m, size_t n, bool over_quota_ok,
		   struct err *err) MUST_CHECK;
/* IMAP APPEND, JMAP import: the same, with content in the record (or file and directory synced).
 * done is called when it is durable: not before may OK be said. ERR_NOT_FOUND: no such mailbox. */
bool mailbox_append(struct account *a, struct str mailbox, struct new_message *m, uint32_t *out_uidvalidity,
		    void (*done)(void *ctx, const struct err *err), void *ctx, struct err *err) MUST_CHECK;
/* Several at once, all or none (MULTIAPPEND, RFC 3502); durable when it returns. */
bool mailbox_append_all(struct account *a, struct str mailbox, struct new_message *m, size_t n,
			uint32_t *out_uidvalidity, struct err *err) MUST_CHECK;

/* ---- a selected mailbox ----------------------------------------------------------------- */
/* A view is one session's picture of a mailbox: sequence numbers 1..count stay fixed until
 * view_refresh(). Arrays behind it are shared by all views of the process. */
struct msg {
	uint32_t uid;
	uint32_t keywords; /* bit i = keyword i of view_keywords */
	uint64_t modseq;
	uint32_t size;     /* RFC822.SIZE */
	uint16_t flags;
};
struct view_facts {
	uint32_t uidvalidity, uidnext, first_unseen; /* sequence number or 0 */
	uint32_t recent;                             /* messages that are \Recent in this session */
	uint64_t highestmodseq;
	/* Changes with modseq at or below it may be unknown: answer in full (trap 9). */
	uint64_t modseq_known_since;
	char mailbox_id[17];
	bool read_only;
};
bool view_open(struct account *a, struct str name, bool read_only, struct view **out,
	       struct err *err) MUST_CHECK;
void view_close(struct view *v);
void view_facts(struct view *v, struct view_facts *out);
struct str view_name(const struct view *v);
struct account *view_account(const struct view *v);
uint32_t view_count(const struct view *v);
bool view_msg(const struct view *v, uint32_t seq, struct msg *out); /* false: no such number */
uint32_t view_seq(const struct view *v, uint32_t uid);              /* 0: none */
uint32_t view_seq_at_least(const struct view *v,
			   uint32_t uid); /* lowest seq with UID >= uid; count + 1: none */
/* Names of keywords in bit order; n <= 26. */
void view_keywords(const struct view *v, struct arena *ar, struct str **out, size_t *out_n);

struct view_changes {
	uint32_t *expunged;
	size_t expunged_n; /* sequence numbers, highest first: each valid as sent in this order */
	struct uid_set vanished;                /* the same as UIDs */
	uint32_t *changed; size_t changed_n;    /* sequence numbers (after the expunges) whose flags differ */
	uint32_t exists, recent; bool exists_grew;
	bool keywords_grew;
};
/* Takes in what happened since; with hold_expunges sequence numbers stay (RFC 9051 7.5.1). */
bool view_refresh(struct view *v, bool hold_expunges, struct arena *ar, struct view_changes *out,
		  struct err *err) MUST_CHECK;
/* fn is called (any thread, no lock held that the store needs again) when view_refresh would find
 * something; once until the next refresh. NULL stops. */
void view_watch(struct view *v, void (*fn)(void *ctx), void *ctx);

enum flag_op { FLAGS_SET, FLAGS_ADD, FLAGS_REMOVE };
struct flag_change {
	enum flag_op op;
	unsigned flags;
	const struct str *keywords; size_t keywords_n;
	bool conditional; uint64_t unchanged_since; /* CONDSTORE */
};
/* uids not in the mailbox are passed over. out_modified: refused by UNCHANGEDSINCE. Not durable at
 * once (fsynced within 1 s). view_refresh then reports the changes, also the caller's own. */
bool view_store_flags(struct view *v, struct uid_set uids, const struct flag_change *c, struct arena *ar,
		      struct uid_set *out_modified, uint64_t *out_modseq, struct err *err) MUST_CHECK;
/* Durable when they return. Messages not settled are settled first. src and dst are parallel. */
struct copied { uint32_t uidvalidity; struct uid_set src, dst; };
bool view_copy(struct view *v, struct uid_set uids, struct str to, struct arena *ar, struct copied *out,
	       struct err *err) MUST_CHECK;
bool view_move(struct view *v, struct uid_set uids, struct str to, struct arena *ar, struct copied *out,
	       struct err *err) MUST_CHECK;
/* Those of uids that have \Deleted (all given when deleted_only is false: POP3). */
bool view_expunge(struct view *v, struct uid_set uids, bool deleted_only, uint64_t *out_modseq,
		  struct err *err) MUST_CHECK;
/* UIDs of known (may be everything) that are gone with a modseq above since; also says them when
 * it cannot know (then by difference): a superset is never missing one. */
bool view_vanished(struct view *v, uint64_t since, struct uid_set known, struct arena *ar,
		   struct uid_set *out, struct err *err) MUST_CHECK;

/* POP3 UIDLs that a server before us gave and kept (dovecot-uidlist, P), by ascending UID. */
struct pop3_uidl {
	uint32_t uid;
	struct str text;
};
bool view_pop3_uidls(struct view *v, struct arena *ar, struct pop3_uidl **out, size_t *out_n,
		     struct err *err) MUST_CHECK;

/* ---- a message -------------------------------------------------------------------------- */
/* Opened read-only; ERR_GONE when it was expunged meanwhile. Caller closes. */
bool view_message_fd(struct view *v, uint32_t uid, int *out_fd, uint64_t *out_size,
		     struct err *err) MUST_CHECK;
/* Whole content, mapped or read into the arena. */
bool view_message(struct view *v, uint32_t uid, struct arena *ar, struct str *out,
		  struct err *err) MUST_CHECK;
struct msg_details {
	int64_t internaldate; /* s */
	int64_t savedate;     /* 0: unknown */
	char email_id[33];    /* OBJECTID; NUL-terminated */
	struct str summary;   /* mime/summary.h's encoding: ENVELOPE, BODYSTRUCTURE, subject ... */
};
/* The cached details; made from the file and stored when absent. */
bool view_details(struct view *v, uint32_t uid, struct arena *ar, struct msg_details *out,
		  struct err *err) MUST_CHECK;
/* Cached summaries alone, of messages in ascending order, under one lock: for lists. An empty one is
 * not there (yet): ask view_details. *out_n: how many of them were looked for, at least one; fewer
 * than n when they are large. */
bool view_summaries(struct view *v, const uint32_t *uids, size_t n, struct arena *ar, struct str *out,
		    size_t *out_n, struct err *err) MUST_CHECK;
/* internaldate alone, from the hot row. */
bool view_internaldate(struct view *v, uint32_t uid, int64_t *out, struct err *err) MUST_CHECK;
