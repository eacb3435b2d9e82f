/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * store/store_int.h: what the files of this folder share.
 *
 * Locks, in the order in which they are taken:
 *   store->lock    STORE    the table of open accounts, checkpoints under way
 *   account->lock  ACCOUNT  everything of an account that is open ("hot": directory, index handle);
 *                           then the flock on its Maildir directory, for changes
 *   account->shelf MAILBOX  shared snapshots of the account and who watches them
 *   store->pool    INDEX    which accounts are hot, who goes next
 *
 * "hot" resources (descriptors, index handle) belong to whoever holds the account's lock; between
 * uses they lie in the pool, from where the least recently used ones are closed.
 */
#pragma once
#include "base/buf.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/map.h"
#include "base/mem.h"
#include "store/index/index.h"
#include "store/index/uids.h"
#include "store/mailbox.h"
#include "store/maildir/dirname.h"
#include "store/maildir/keywords.h"
#include "store/maildir/name.h"
#include "store/maildir/state.h"
#include "store/maildir/uidlist.h"
#include "store/slab.h"
#include <string.h>

enum {
	HANDLES_DEFAULT = 256,
	OPEN_DIRS_MAX = 32,   /* mailbox directories held open by a hot account */
	IDLE_CLOSE_MS = 5000, /* hot accounts that nobody uses are closed after this */
	FLAG_SYNC_MS = 700,   /* flags are fsynced within 1 s */
	APPEND_RECORD_MAX = 1 << 20,
	SUMMARIES_HELD = 128, /* made and not yet stored, per account */
};

/* A mailbox directory that is open. */
struct dir {
	struct dir *next;
	struct str name; /* ".a.b"; NUL-terminated; own memory */
	int fd, state_fd;
	dev_t dev;
	ino_t ino;
	struct state state; /* as last read or written under the lock */
	bool fresh;         /* read since the lock was taken */
	char tag[TAG_LEN];
	struct arena *arena; /* keywords */
	struct keywords keywords;
	bool keywords_read;
};

struct summary_held {
	int64_t row;
	uint32_t uid;
	struct str data;
};

struct hot_account {
	struct hot_account *prev, *next; /* pool; guarded by store->pool */
	struct account *account;         /* guarded by store->pool */
	bool busy;                       /* guarded by store->pool */
	int64_t used_ms;                 /* guarded by store->pool */
	int fd;                          /* the Maildir directory: flock */
	struct index *index;             /* NULL: not opened yet, or unusable */
	struct dir *dirs;                /* most recently used first */
	struct index_reader
		reader; /* for messages asked for one by one, while the state's slot is this */
	uint64_t reader_slot;
	struct arena *held_arena; /* summaries to be stored with the next occasion */
	struct summary_held held[SUMMARIES_HELD];
	unsigned held_n;
};

/* What all views of one mailbox share. Guarded by account->shelf. */
struct shared {
	struct shared *next;
	struct account *account;
	char mailbox_id[MAILBOX_ID_LEN];
	unsigned refs;
	struct str dir_name; /* as last known; own memory, NUL-terminated */
	struct snapshot *snapshot;
	uint64_t index;       /* identity of the index it came from, */
	uint64_t known_since; /* and the last time that its rows were made anew */
	struct str *keywords; /* one block of memory */
	size_t keywords_size;
	unsigned keywords_n;
	struct view *views;
	int watch_cur, watch_new; /* inotify; -1: none; guarded by the housekeeper's lock */
	bool polled;              /* inotify had no room; guarded likewise */
	/* kept.c; guarded by store->pool */
	struct shared *kept_prev, *kept_next;
	int64_t kept_ms;
	size_t kept_size;
	bool kept;
};

struct account {
	struct store *store;
	struct account *next_hashed;
	unsigned refs;         /* atomic; from 0 upwards only with store->lock */
	unsigned index_writes; /* atomic: transactions since the last checkpoint */
	int64_t placed_ms;     /* atomic: the last delivery */
	bool summaries_asked;  /* atomic: of its INBOX */
	uint64_t id;
	struct str address, language; /* own memory */
	const char *path;             /* below the root, of the Maildir; own memory */
	uint64_t quota_bytes, quota_messages;
	struct lock lock;
	struct hot_account *hot; /* taken and given under lock and store->pool */
	bool flocked;            /* guarded by lock */
	bool maildrop;           /* atomic: a POP3 session has it */
	bool made;               /* atomic: the directories were seen */
	bool specials;           /* atomic: the special-use mailboxes were made, now or long ago */
	bool no_facts;           /* the scan found it; guarded by store->lock */
	struct lock shelf;
	struct shared *shared; /* guarded by shelf */
	struct account_watch *watches; /* guarded by shelf */
};

struct view {
	struct account *account;
	struct shared *shared;
	struct str name; /* own memory, behind the structure */
	bool read_only;
	struct snapshot *snapshot; /* the session's picture */
	bool held;                 /* it shows messages that are gone */
	uint64_t modseq;           /* of the state, when it was taken */
	uint32_t uidvalidity, uidnext;
	uint64_t known_since;
	struct uid_range *recent; /* heap */
	uint32_t recent_n;
	uint8_t keywords_n; /* as of the picture */
	bool armed;         /* guarded by shelf, as what follows */
	struct view *next;
	void (*watch)(void *ctx);
	void *watch_ctx;
};

struct housekeeper;
struct replay;
struct store {
	struct store_options o;
	const char *root_path, *template;
	struct str journal_name; /* own memory */
	int root_fd;             /* own; kept open: syncfs tells errors per descriptor */
	uint64_t epoch;
	struct id started;
	struct lock lock;
	struct cond checkpoint_done;
	bool checkpointing;        /* guarded by lock */
	bool sync_failed;          /* a syncfs failed: nothing may be released any more */
	struct slab slab;          /* what lives as long as sessions */
	struct account **accounts; /* hash table by address; guarded by lock */
	size_t accounts_n, accounts_cap;
	struct lock pool;
	struct hot_account *hot_first, *hot_last; /* most recently used first */
	unsigned hot_n;
	struct shared *kept_first, *kept_last; /* most recently used first; guarded by pool */
	size_t kept_bytes;                     /* guarded by pool */
	int64_t settled_us; /* atomic: everything that is older was settled */
	struct housekeeper *housekeeper;
	int64_t scan_ms; /* atomic: between looks at mailboxes that nobody has open; 0: none */
	struct replay *replay;
};

/* ---- account.c: locks and what is open ---------------------------------------------------- */
enum account_use {
	USE_READ,   /* the mutex */
	USE_CHANGE, /* and the flock */
};
bool account_lock(struct account *a, enum account_use use, struct err *err) MUST_CHECK;
void account_unlock(struct account *a);
bool account_flock(struct account *a, struct err *err) MUST_CHECK; /* when locked with USE_READ */
static inline void account_unlock_p(struct account **a)
{
	if (*a)
		account_unlock(*a);
}
/* The account is unlocked when the block ends. */
#define ACCOUNT_LOCKED __attribute__((cleanup(account_unlock_p))) struct account *
struct account *account_ref(struct account *a);
/* With store->lock. */
struct account *account_open_already(struct store *s, struct str address); /* NULL: not open */
/* Counted; made when it is not open. */
struct account *account_of_path(struct store *s, struct str address, struct str path);
/* NUL-terminated copies of strings with that lifetime. */
struct str slab_str(struct slab *s, struct str text);
void slab_str_free(struct str text);
/* Frees the objects of accounts that nobody uses and that have nothing open; all: open or not. */
void accounts_sweep(struct store *s, bool all);
void hot_close(struct hot_account *h);
void pool_close_idle(struct store *s, int64_t older_than_ms);
/* Opens the index, makes a new one when it is missing or does not read. With the lock; takes the
 * flock if it must make one. */
bool account_index(struct account *a, struct err *err) MUST_CHECK;
/* After a failed read or write of the index: closes it, so that the next use looks again; what does
 * not read is made anew. */
void account_index_failed(struct account *a, const struct err *err);
bool account_index_remove(struct account *a, struct err *err) MUST_CHECK; /* with the flock */
void account_flush_summaries(struct account *a);                          /* locked */
bool index_path(const struct account *a, struct arena *ar, const char **out);

/* ---- dirs.c: mailbox directories ---------------------------------------------------------- */
/* All below want the account locked; those that make or change files, USE_CHANGE. */
/* NULL and true: no such directory. state is fresh. */
bool dir_open(struct account *a, struct str dir_name, struct dir **out, struct err *err) MUST_CHECK;
/* Again, after the flock was taken; d stays valid. ERR_NOT_FOUND: deleted or renamed meanwhile. */
bool dir_refresh(struct account *a, struct dir *d, struct err *err) MUST_CHECK;
bool dir_open_id(struct account *a, const char id[MAILBOX_ID_LEN], struct str hint, struct dir **out,
		 struct err *err) MUST_CHECK;
/* By mailbox name in normal form, also where the directory is named in UTF-8. */
bool dir_find(struct account *a, struct str name, struct dir **out, struct err *err) MUST_CHECK;
bool dir_create(struct account *a, struct str name, enum special_use use, struct dir **out,
		struct err *err) MUST_CHECK;
void dir_close(struct dir *d);
void dir_forget(struct account *a, struct dir *d); /* out of the list and closed */
bool dir_fsync(int dirfd, const char *sub, struct err *err) MUST_CHECK;
bool dir_keywords(struct account *a, struct dir *d,
		  struct err *err) MUST_CHECK; /* reads them when they grew */
struct mailbox_dir {
	struct str dir, name;
};
int mailbox_name_order(struct str a, struct str b); /* INBOX first, children after their parent */
/* Directories of mailboxes, sorted by name, INBOX first. */
bool dirs_list(struct account *a, struct arena *ar, struct mailbox_dir **out, size_t *out_n,
	       struct err *err) MUST_CHECK;
/* The account's Maildir, made when missing. */
bool account_make(struct account *a, struct err *err) MUST_CHECK;

/* ---- change.c: beginning and end of a change, under the flock ------------------------------ */
struct dir_change {
	bool quiet; /* nothing foreign was waiting in cur/: the index then knows its mtime after us */
};
/* Takes n UIDs (the first is the return's *out_first) and sets the mark. */
bool change_begin(struct dir *d, uint32_t n, uint32_t *out_first, struct dir_change *c,
		  struct err *err) MUST_CHECK;
/* The index agrees with the directory: its mtime is noted, the mark goes. */
bool change_end(struct account *a, struct dir *d, const struct dir_change *c, uint64_t modseq,
		struct err *err) MUST_CHECK;
bool next_modseq(struct account *a, struct dir *d, uint64_t *out, struct err *err) MUST_CHECK;
bool ceiling_extend(struct dir *d, uint32_t uids, struct err *err) MUST_CHECK; /* waits for the disk */

/* ---- sync.c: index against directory ------------------------------------------------------ */
enum sync_why {
	SYNC_IF_NEEDED,
	SYNC_IF_BROKEN, /* mark, power loss, new index: but not for foreign changes */
	SYNC_FORCE,
};
/* Brings the index's rows of the mailbox up to date and gives its row. The account is locked; the
 * flock is taken when there is something to do. */
bool dir_sync(struct account *a, struct dir *d, enum sync_why why, struct index_mailbox *out,
	      struct err *err) MUST_CHECK;

/* ---- files.c: message files ---------------------------------------------------------------- */
/* "cur/..." of a message; false: longer than a name may be. */
enum { CUR_PATH_MAX = 4 + NAME_MAX_LEN + 1 };
bool cur_path(const struct dir *d, const struct hot *h, const struct cold *c,
	      char out[CUR_PATH_MAX]) MUST_CHECK;
/* The base without fields, which stays when the name gets ours: identity, EMAILID. */
struct str cold_base(const struct cold *c);
/* LF without CR before it; *cr carries over between pieces. */
uint64_t lf_alone(struct str piece, bool *cr);
/* A message written to tmp/, closed, with its INTERNALDATE as mtime. */
struct tmp_file {
	char name[4 + 64]; /* "tmp/..." */
	uint64_t size, wire_size;
	uint32_t crc;
};
bool tmp_write(int dirfd, const struct new_message *m, struct tmp_file *out, struct err *err) MUST_CHECK;
void tmp_remove(int dirfd, const struct tmp_file *t);

/* ---- message.c: content ------------------------------------------------------------------- */
struct opened {
	int fd;
	struct hot hot;
	struct cold cold; /* base in the arena */
	int64_t row;
};
/* With the account locked. *out_again: the directory is not as the index says. */
bool message_try_open(struct account *a, struct dir *d, uint32_t uid, struct arena *ar, struct opened *out,
		      bool *out_again, struct err *err) MUST_CHECK;
/* With CRLF line ends. */
bool message_read(struct opened *o, struct arena *ar, struct str *out, struct err *err) MUST_CHECK;

/* ---- summaries.c --------------------------------------------------------------------------- */
bool summary_of_opened(struct opened *o, struct arena *ar, struct str *out, struct err *err) MUST_CHECK;
/* Made, and written to the index with the next occasion. The account is locked. */
void summary_hold(struct account *a, int64_t row, uint32_t uid, struct str data);
bool summary_held(const struct hot_account *h, int64_t row, uint32_t uid, struct arena *ar, struct str *out);
/* Of messages from *from on that have none; some of them at once. *from moves on; 0: all done. */
bool summaries_catch_up(struct account *a, struct str dir_name, uint32_t *from, struct err *err) MUST_CHECK;

/* ---- shared.c: snapshots and watchers ----------------------------------------------------- */
struct shared *shared_get(struct account *a, const struct dir *d); /* counted */
void shared_put(struct shared *s);
/* Frees it when it is still there and nobody has it; s may be gone. */
void shared_drop_unused(struct account *a, struct shared *s);
/* Takes in what the index has; with the account locked. *out gets a reference. */
bool shared_load(struct shared *s, struct index *ix, const struct index_mailbox *m, struct snapshot **out,
		 struct err *err) MUST_CHECK;
void shared_set_keywords(struct shared *s, const struct keywords *k);
/* Views of this process are told (but not that one), then other processes. Without the lock. */
void mailbox_changed(struct account *a, const char mailbox_id[MAILBOX_ID_LEN], struct str name,
		     const struct view *except);
void shared_tell(struct account *a, const char mailbox_id[MAILBOX_ID_LEN], const struct view *except);
void shared_tell_name(struct account *a, struct str name); /* empty: all */
void mailbox_names_changed(struct account *a); /* also subscriptions; without the lock */

/* ---- kept.c: mailboxes that nobody has open -------------------------------------------------- */
/* Both with the shelf. false: not worth it. */
bool kept_add(struct shared *s);
void kept_take(struct shared *s); /* off the list, if it is on it */
bool kept_has(const struct shared *s);
/* What is too old or too much goes; all: everything. When to come again (monotonic ms). */
int64_t kept_sweep(struct store *s, bool all);

/* ---- view.c -------------------------------------------------------------------------------- */
/* The view's mailbox, wherever it was renamed to; the account is locked. ERR_NOT_FOUND: deleted. */
bool view_dir(struct view *v, struct dir **out, struct err *err) MUST_CHECK;
/* Does the state tell of changes that the view has not taken in? */
bool view_is_behind(const struct view *v, const struct dir *d);
bool dir_is_foreign(const struct dir *d); /* mtimes are not those that the index agrees with */

/* ---- flags.c ------------------------------------------------------------------------------- */
/* Adds the letter of a keyword to *keywords, or the flag that stands for it to *flags. Unknown ones
 * are given a letter when add is set (under the flock), else passed over. */
bool keyword_bit(struct account *a, struct dir *d, struct str name, bool add, unsigned *flags,
		 uint32_t *keywords, struct err *err) MUST_CHECK;

/* ---- settle.c ------------------------------------------------------------------------------ */
bool is_settled(struct store *s, struct index *ix, const struct cold *c);
/* Everything of uids (with all of flags) that is not settled yet is settled (invariant 2). Without
 * locks. */
bool view_settle(struct view *v, struct uid_set uids, unsigned flags, struct err *err) MUST_CHECK;
bool mailbox_settle(struct account *a, struct str name, struct err *err) MUST_CHECK;
/* Something was too young still: a plan before it is being carried out. Waits a little longer each
 * time; false: for ten seconds in all. Without locks. */
struct settle_wait {
	int64_t until_ms;
	unsigned pause_ms;
};
bool settle_pause(struct settle_wait *w);

/* ---- record.c ------------------------------------------------------------------------------ */
struct done_record {
	struct str account, mailbox_id;
	struct id id;
	uint32_t action, uid, uidvalidity;
	unsigned flags;
	uint32_t keywords;
	int64_t internaldate;
	uint64_t size, wire_size;
	uint32_t crc;
	struct str content; /* APPEND; empty otherwise */
};
void done_encode(struct buf *out, const struct done_record *r); /* without content */
bool done_decode(struct str in, struct done_record *out);

/* ---- house.c: the store's own thread ------------------------------------------------------- */
/* Started with the first account, after the sandbox. */
bool house_start(struct store *s, struct err *err) MUST_CHECK;
void house_stop(struct store *s);
void house_wake(struct store *s); /* the first account became hot */
/* A directory to be fsynced soon. */
void house_flags_changed(struct account *a, const struct dir *d);
void house_extend_ceiling(struct account *a, const struct dir *d);
void house_index_written(struct account *a);
/* Messages from that UID on were placed: their summaries are made when it is quiet. */
void house_summarize(struct account *a, const struct dir *d, uint32_t from);
/* Foreign changes to a selected mailbox. */
void house_watch(struct shared *s);
void house_unwatch(struct shared *s);
/* Soon: was that mailbox changed by another program? Its views are told. */
void house_check(struct account *a, const char mailbox_id[MAILBOX_ID_LEN]);

/* ---- scan.c: mailboxes that nobody has open -------------------------------------------------- */
struct scan;
struct scan *scan_new(struct store *s, int64_t interval_ms);
void scan_free(struct scan *c); /* accepts NULL */
/* A little of it, when it is time. When to come again (monotonic ms; INT64_MAX: never). */
int64_t scan_step(struct scan *c, int64_t now_ms);

/* ---- special.c ------------------------------------------------------------------------------ */
struct str special_name(enum special_use use, struct str language);
enum special_use special_of_name(struct str name); /* facts/korean-mail.md section 3 */
/* The use of each mailbox: stated ones first, then by name where nobody states it. */

/* ---- store.c -------------------------------------------------------------------------------- */
/* The own journal settled up to and with seq. */
bool store_settle_own(struct store *s, uint64_t seq, struct err *err) MUST_CHECK;
bool store_syncfs(struct store *s, struct err *err) MUST_CHECK;
/* The Maildir's path below the root, from the template. */
bool account_path(const char *template, struct str address, struct buf *out, struct err *err) MUST_CHECK;

/* ---- mailboxes.c ---------------------------------------------------------------------------- */
void remove_trash(int account_fd); /* what interrupted deletions left */

/* ---- replay.c ------------------------------------------------------------------------------- */
void replay_end(struct store *s); /* forgets what was read for it */
