/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * queue/queue_int.h: what the files of queue/ share.
 *
 *   queue.c    opening, recovery, checkpoints, stop
 *   planner.c  from accepted records to committed plans
 *   placer.c   from plans to mailboxes; what happens when that fails
 *   plan.c     which actions a message needs: aliases, loops, bounces
 *   report.c   bounces and delivery notices
 *   remote.c   sending to other servers: the thread; dest.c whose turn it is, unit.c what becomes of it,
 *              shape.c how fast
 *   spool.c    spool/deferred: what could not be done now
 *   suspects.c what was at work in crashes: alone, or held
 *   rules.c    what is held: rules, and the brake for stolen accounts
 *   filter.c   which entries a request means
 *   control.c  pabal queue: what is there; manage.c what is to become of it
 *
 * Life of a message here: an item is made when its record is read; its plan is committed; each
 * action is a job for the placer that its account hashes to; when the last action has ended, the
 * item goes and the source's watermark may pass its record.
 */
#pragma once
#include "base/lock.h"
#include "base/map.h"
#include "queue/queue.h"
#include "queue/record.h"

enum {
	PLACERS = 2,
	BATCH_ITEMS = 256,
	LINGER_US = 20 * 1000,
	BURST_US = 500 * 1000,
	BURST_RATE = 64, /* messages in LINGER_US */
	BURST_ITEMS = 8000,
	BATCH_BYTES = 8 * 1024 * 1024,
	ITEMS_MAX = 8000,
	ITEM_BYTES_MAX = 128 * 1024 * 1024
};

struct source {
	struct source *next;
	struct str name;
	struct journal_reader *reader;
	/* guarded by queue.lock */
	uint64_t accepted;          /* told by the owner */
	uint64_t read;              /* highest number looked at (planner only, but checkpoints read it) */
	uint64_t told;              /* all below is settled: durable, told to the owner */
	uint64_t recovered_to;      /* records up to here may have plans of an earlier life */
	struct item *first, **tail; /* items from here, in order of seq */
};

enum job_state { JOB_OPEN, JOB_ENDED };

struct item {
	struct item *next_in_source, **prev_in_source; /* NULL: in no source's list */
	struct item *next, **prev; /* list of all */
	struct item *next_unplanned;
	struct queue *queue;
	struct arena *arena; /* holds the item and all below */
	struct id id;
	struct source *source; /* NULL: generated, or from the spool */
	uint64_t source_seq;
	uint64_t plan_floor; /* its PLAN's number is not below this; 0: no plan yet */
	struct envelope envelope;
	struct str content;
	int side_fd; /* -1: none; the content's rest */
	uint64_t side_bytes;
	size_t bytes; /* memory it costs */
	struct plan plan;
	enum job_state *states;    /* one per action; guarded by queue.lock */
	size_t open;               /* guarded by queue.lock */
	struct deferred *deferred; /* from the spool */
	bool recovered;            /* its plan is of an earlier life */
	int64_t not_before_us;     /* planning failed for now */
};

struct job {
	struct job *next;
	struct item *item;
	struct action *action;
	unsigned tries;
	bool hold;             /* not to be done: it is put aside */
	bool placed;           /* only what follows is left to do */
	bool quiet;            /* postmaster hears of it by another one of the message */
	bool filed;            /* its file is in spool/deferred; only the OUTCOME is missing */
	int64_t not_before_us;
};

struct placer {
	struct queue *q;
	pthread_t thread;
	struct cond work;
	struct job *first, **tail; /* guarded by queue.lock */
};

/* A place in a list that anybody with queue.lock may take it out of. */
struct turn {
	struct turn *next, *prev;
};
static inline void turn_init(struct turn *t) { t->next = t->prev = t; }
static inline void turn_add(struct turn *list, struct turn *t)
{
	t->prev = list->prev;
	t->next = list;
	t->prev->next = t;
	list->prev = t;
}
static inline void turn_remove(struct turn *t)
{
	if (!t->next)
		return;
	t->prev->next = t->next;
	t->next->prev = t->prev;
	t->next = t->prev = NULL;
}
static inline struct turn *turn_first(struct turn *list) { return list->next == list ? NULL : list->next; }

/* A file in spool/deferred: one message's actions for one mailbox or one remote domain. There may be a
 * million: what many have in common is kept once (word_ref). */
struct deferred {
	struct deferred *next, **prev; /* list of all */
	struct turn turn;       /* in a lane of its destination (dest.c); guarded by queue.lock */
	const char *sender;     /* reverse-path; a word */
	const char *last_error; /* a word; guarded by queue.lock */
	uint64_t size;
	struct id id;
	uint16_t attempts;
	uint32_t action;        /* the first one: names the file */
	uint32_t actions_n;
	uint32_t heap_at;       /* place in queue.due; UINT32_MAX: not in it */
	uint32_t received_s, next_try_s;
	uint8_t kind;           /* enum action_kind; 0: a mark of spool_walk */
	bool busy;              /* an item is at work on it */
	bool warned;            /* the sender was told of the delay */
	bool held;              /* not tried until released */
	bool damaged;           /* its file cannot be read */
	bool untold;            /* held, and postmaster is to hear of it */
	bool loaded;            /* found at start, for a mailbox, and not tried since */
	char account[];         /* destination of the first action */
};

/* Why mail is left for later, and until when. */
struct put_off {
	const char *why;
	struct str mta;      /* the host that said so; empty: none */
	bool tried;          /* somebody was asked: counts, and is written into the file */
	int64_t next_try_s;
};

struct json_writer;
struct explain;
struct replay;
struct suspect;
struct remote;
struct rules;
struct queue {
	struct lock lock;
	struct cond work, room, idle;
	struct queue_options o;
	struct arena *arena; /* queue's life: names, recovered plans */
	struct journal *journal;
	struct store *store;
	int deferred_fd, done_fd, tmp_fd, hold_fd, damaged_fd;
	struct remote *remote;
	struct explain *explain; /* immutable; NULL without relay */
	struct rules *rules;
	pthread_t planner;
	bool started, stopping;

	/* guarded by lock */
	struct source *sources;
	struct item *items; /* all */
	size_t items_n, items_bytes;
	struct item *unplanned; /* read, to be planned again later (auth is away) */
	size_t unplanned_n;
	struct placer placers[PLACERS];
	struct deferred *deferred; /* all */
	struct map *words;         /* text -> struct word: senders and reasons */
	struct deferred **due;     /* heap by next_try_s of those that are not busy */
	uint32_t due_n, due_cap;
	uint64_t deferred_n, deferred_bytes;
	uint64_t damaged_n;        /* files that this start moved to spool/damaged */
	int64_t tell_us;           /* planner: when to tell postmaster of what was found; 0: all is told */
	bool spool_dirty;          /* files were written since the last syncfs */
	uint64_t bytes_read;       /* of sources, since the last checkpoint began */
	uint64_t changes, checkpointed; /* counts of ended actions; to know when a checkpoint is due */
	int64_t checkpoint_us;
	struct queue_counts counts;
	int pressure;
	bool checkpointing;
	struct suspect *suspects;
	size_t suspects_n;  /* also read without the lock */
	bool recovery_over; /* nothing that an earlier life planned waits to be placed */

	/* recovery: of an earlier life */
	struct replay *replay;
	struct recovered *recovered;
	struct map *plans; /* id -> struct recovered */
	struct map *ended; /* id + action -> non-NULL */
};

struct recovered { /* a PLAN record read at start */
	struct recovered *next;
	struct plan plan;
	uint64_t seq;
	bool claimed;
};

/* queue.c */
struct item *item_new(struct queue *q);
void item_enter(struct queue *q, struct item *i,
		uint64_t plan_floor); /* into the list of all; takes the lock */
/* Jobs for all open actions; the item must have a committed plan. */
void item_dispatch(struct queue *q, struct item *i);
/* One action has ended; frees the item with its last. */
void action_ended(struct queue *q, struct item *i, const struct action *a);
void job_add(struct queue *q, struct job *j);
/* What an earlier life says has ended: DONE and OUTCOME records, files in spool/deferred. */
void note_ended(struct queue *q, const struct id *id, uint32_t action);
/* A DONE says so and no OUTCOME: its life may have ended before the sender was told. */
bool was_only_placed(struct queue *q, const struct id *id, uint32_t action);
bool was_ended(struct queue *q, const struct id *id, uint32_t action);
struct source *source_find(struct queue *q, struct str name);
/* Writes OUTCOME; waits for it when told to. false is logged by the caller. */
bool outcome_write(struct queue *q, const struct item *i, const struct action *a, enum ended how,
		   bool wait, struct err *err);
bool queue_checkpoint(struct queue *q, struct err *err);
bool spool_sync(struct queue *q, struct err *err); /* its file system */

/* suspects.c */
enum { ALONE_CRASHES = 2, HOLD_CRASHES = 4, GIVE_UP_CRASHES = 8 /* not even holding it went well */ };
bool suspects_load(struct queue *q, struct err *err);
void suspects_free(struct queue *q);
unsigned suspicion(struct queue *q, const struct id *id); /* crashes that it was at work in */
bool goes_alone(struct queue *q, const struct id *id, struct str account);
/* Tried again as if nothing had been: durable when it returns. */
bool suspect_forgive(struct queue *q, const struct id *id, struct err *err);

/* planner.c, placer.c */
void *planner_main(void *queue);
void planner_add(struct queue *q, struct item *i); /* one that was held before it was planned */
void *placer_main(void *placer);

/* plan.c: fills i->plan. false: auth cannot say just now. */
bool plan_make(struct queue *q, struct item *i, struct err *err);
/* Header fields in front of one recipient's copy. */
void copy_head(struct buf *out, const struct item *i, const struct action *a);
/* Where a notice to the message's sender goes; may be nowhere. A bounce for a sender who cannot be
 * reached goes to postmaster. */
enum notice_kind { NOTICE_FAILURE, NOTICE_SUCCESS, NOTICE_POSTMASTER };
struct notice_target {
	struct str address;
	bool remote;
};
bool notice_targets(struct queue *q, const struct item *i, enum notice_kind kind, struct arena *a,
		    struct notice_target **out, size_t *out_n, struct err *err);
struct action notice_action(const struct notice_target *t, struct str notice); /* without a number */

/* report.c */
struct failure {
	uint32_t rcpt_index;
	struct str address;
	int outcome; /* enum outcome */
	struct str diagnostic, mta;
};
/* May a notice about this recipient be sent at all? (never for <>; NOTIFY) */
bool notice_wanted(const struct item *i, uint32_t rcpt_index, unsigned notify_bit);
struct str notice_write(struct queue *q, const struct item *i, struct arena *a, const struct failure *f,
			size_t n);
/* Plans a bounce for an action that failed after planning, durable before it returns. */
bool bounce_late(struct queue *q, struct item *i, const struct action *a, int outcome, struct str diagnostic,
		 struct str mta, struct err *err);
/* A delivery notice where the sender asked for one (NOTIFY=SUCCESS); action: enum dsn_action. */
bool success_late(struct queue *q, struct item *i, const struct action *a, int action, struct str mta,
		  struct err *err);
/* What an earlier life had to tell the sender of actions that it ended, or was about to end with a bounce,
 * told once: of an item whose plan is recovered, before it is dispatched. */
bool notices_recover(struct queue *q, struct item *i, struct err *err);
/* Postmaster learns that mail is held, and why. */
struct held {
	struct str id; /* or another name */
	const char *sender, *recipient, *why;
};
bool held_tell(struct queue *q, const struct held *h, struct err *err);
/* A message in both languages to that account's owner, or, empty, to postmaster. */
bool queue_tell(struct queue *q, struct str account, struct str subject_ko, struct str subject_en,
		struct str text, struct err *err);
/* "Not delivered yet", where the sender did not decline it. */
bool delay_late(struct queue *q, struct item *i, const struct action *a, struct str diagnostic,
		struct str mta, struct err *err);

/* spool.c */
bool spool_open(struct queue *q, struct err *err);
bool spool_load(struct queue *q, struct err *err);
/* Writes a file for these actions of the item; the caller writes their OUTCOMEs and ends them. Not
 * synced: until the next checkpoint the journals have the message. */
bool spool_defer(struct queue *q, const struct item *i, const struct action *const *actions, size_t n,
		 const struct put_off *p, struct err *err);
/* A file for one action, not to be tried until released; why is kept with it, and postmaster told. */
bool spool_put_aside(struct queue *q, const struct item *i, const struct action *a, const char *why,
		     bool tell, struct err *err);
/* Its side file has become shorter than what was accepted; why says by how much. */
bool item_is_short(const struct item *i, char why[120]);
/* Files, due now, for what was planned of a message that was held whole, in place of its own; durable
 * when it returns. On failure nothing has changed. */
bool spool_split(struct queue *q, struct item *i, const struct plan *planned, struct err *err);
/* The same for actions that are being carried out; busy until spool_again or spool_finished. */
bool spool_under_way(struct queue *q, const struct item *i, const struct action *const *actions, size_t n,
		     struct deferred **out, struct err *err);
/* Of a file's actions only these are left: durable when it returns. */
bool spool_shrink(struct queue *q, const struct item *i, const struct action *const *left, size_t n,
		  struct err *err);
/* Content of a deferred or done file, for a cold start. */
bool spool_content(struct queue *q, const struct id *id, uint32_t action, struct buf *out, struct err *err);
/* An item with the file's actions open. */
bool spool_item(struct queue *q, struct deferred *d, struct item **out, struct err *err);
void spool_finished(struct queue *q, struct deferred *d); /* to done/, forgotten after the next checkpoint */
/* It was looked at, and stays. */
void spool_again(struct queue *q, struct deferred *d, const struct put_off *p);
/* The same, and nobody is at work on it any more. */
void spool_put_back(struct queue *q, struct deferred *d, const struct put_off *p);
/* Each one, with the lock, which is dropped now and then: others may come and go. Until false. */
void spool_walk(struct queue *q, bool (*fn)(void *ctx, struct deferred *d), void *ctx);
/* The attempts as they are in its file: attempt_decode one after the other. */
bool spool_history(struct queue *q, const struct id *id, uint32_t action, struct buf *out, struct err *err);
/* Names in done/ now, so that they can be removed after a checkpoint. */
void spool_sweep_begin(struct queue *q, struct buf *names);
void spool_sweep(struct queue *q, struct str names);
/* A record of a journal that cannot be looked at, and its side file (-1: none), to spool/damaged. */
bool spool_keep_record(struct queue *q, const struct id *id, struct str record, int side_fd, struct err *err);
/* What could not be read, of a claimed one: held when it is damaged, else for another time. */
void spool_unreadable(struct queue *q, struct deferred *d, const struct err *why, int64_t next_try_s);
/* Tells postmaster of what a start has found and held. False: not of all of it; later. */
bool spool_tell_held(struct queue *q);
/* The next one that is due, marked busy; NULL: none, *out_next_s is when to look again (0: never). */
struct deferred *spool_take_due(struct queue *q, int64_t now_s, int64_t *out_next_s);
int64_t spool_next_try(const struct queue *q, unsigned attempts); /* when after so many attempts */
/* Nobody is at work on it any more; called with the lock. */
void spool_released(struct queue *q, struct deferred *d);
/* With the lock: it is the caller's until spool_released or spool_finished. False: it is at work. */
bool spool_claim(struct queue *q, struct deferred *d);
/* Durable after spool_hold_sync. Of a claimed one. The reason is kept with it; NULL: as it was. */
bool spool_hold(struct queue *q, struct deferred *d, bool hold, const char *why, struct err *err);
bool spool_hold_sync(struct queue *q, struct err *err);
void deferred_free(struct queue *q, struct deferred *d);

/* remote.c: other servers. One thread. */
bool remote_start(struct queue *q, struct err *err);
void remote_stop(struct queue *q);
void remote_free(struct queue *q);
void remote_poke(struct queue *q); /* look at what is due */
/* First attempts get files, so that their plans hold nothing back any more. */
void remote_release(struct queue *q);
/* Actions of one item for one domain; the item must have its plan committed. */
void remote_send(struct queue *q, struct item *i, const struct action **actions, size_t n);
/* The member "destinations" of queue.status; false: the thread does not run. */
bool remote_status(struct queue *q, struct json_writer *w);
/* Somebody wants it tried now: dead destinations too. Pauses that the peer asked for stay. */
void remote_retry(struct queue *q);

/* rules.c: what is held */
enum { RULE_WHY_MAX = 300 };
bool rules_open(struct queue *q, struct err *err);
void rules_free(struct queue *q);
/* kind: account, sender, recipient, domain. Durable when it returns. */
bool rule_add(struct queue *q, struct str kind, struct str value, struct str why, struct err *err);
bool rule_remove(struct queue *q, struct str kind, struct str value, bool *out_found, struct err *err);
void rules_list(struct queue *q, struct json_writer *w);
bool rules_hold(struct queue *q, const struct item *i, const struct action *a, char why[RULE_WHY_MAX]);
/* The remote thread: an account sends to so many; one of its recipients was answered for. */
void habit_sends(struct queue *q, struct str account, size_t rcpts);
void habit_answered(struct queue *q, struct str account, bool unknown);
void habits_save(struct queue *q);

/* filter.c */
struct json_value;
struct queue_filter {
	bool all;
	struct str id, sender, recipient, domain, state, reply;
	int64_t before_s, after_s; /* received; 0: any */
};
struct queue_entry {
	struct str id, sender, recipient, reason;
	const char *state;
	int64_t received_s;
};
struct queue_filter queue_filter_of(const struct json_value *request);
bool queue_filter_names(const struct queue_filter *f); /* anything at all */
bool queue_filter_fits(const struct queue_filter *f, const struct queue_entry *e);
struct queue_entry queue_entry_of(const struct deferred *d);
bool address_fits(struct str pattern, struct str address);

/* manage.c: queue.retry, hold, release, bounce, remove. */
struct json_value;
/* False: no such verb, nothing was written. */
bool queue_manage(struct queue *q, struct str verb, const struct json_value *request, struct json_writer *w);
