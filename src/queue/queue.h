/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * queue/queue.h: from accepted to delivered (DESIGN section 3, steps 2-4; DURABILITY.md).
 *
 * Runs in the queue role. Reads the journals of the smtp processes (hostile input), plans what is
 * to happen with each message, commits the plan in its own journal before any effect, then places
 * local copies through store/. What cannot be placed now goes to spool/deferred and is tried
 * again; what never can is bounced (RFC 3464). One planner thread, a few placers by account.
 */
#pragma once
#include "journal/journal.h"
#include "mail/envelope.h"
#include "queue/relay.h"
#include "store/mailbox.h"

struct queue;

enum destination_kind {
	DESTINATION_LOCAL,
	DESTINATION_REMOTE,
	DESTINATION_UNKNOWN,
	DESTINATION_DISABLED
};
struct destination {
	enum destination_kind kind;
	struct str address; /* LOCAL: the account's; else the address */
};

/* What auth knows; may wait for it (false, ERR_TEMP: try again later). Any thread. */
struct queue_services {
	void *ctx;
	bool (*resolve)(void *ctx, struct str address, struct arena *a, struct destination **out,
			size_t *out_n, struct err *err);
	/* out_found false: no such account, or disabled. */
	bool (*account)(void *ctx, struct str address, struct arena *a, struct account_facts *out,
			bool *out_found, struct err *err);
	/* All of that source's records below seq are settled: it may recycle. Any thread. */
	void (*settled)(void *ctx, struct str source, uint64_t seq);
	/* 0 ok, 1 slow down, 2 answer 452. Any thread. */
	void (*pressure)(void *ctx, int level);
	/* So much was read that queue_tick is wanted before its time. Any thread; NULL: nobody asks. */
	void (*checkpoint_due)(void *ctx);
};

/* Where mail goes that is not for us: the first route whose pattern fits; none: by MX. */
struct queue_route {
	struct str pattern;  /* "example.org", ".example.org" (its subdomains), "*" */
	struct str from;     /* and this reverse-path alone: "a@example.org", "@example.org"; empty: any */
	struct str hosts;    /* as relay_job.hosts */
	uint16_t port;
	bool lmtp;
	enum relay_tls tls;
	struct str user, password;
};

struct queue_options {
	struct journal_options journal; /* the queue's own */
	/* Makes the store once the journal is open; the queue frees neither. */
	bool (*store_open)(void *ctx, struct journal *j, struct store **out, struct err *err);
	int spool_fd; /* directory "spool"; deferred/, done/, tmp/ are made below it */
	struct queue_services services;
	struct str hostname;   /* Reporting-MTA, MAILER-DAEMON@ */
	struct str postmaster; /* address for people, and for bounces that nobody else can get */
	bool over_quota_temp;  /* over quota: try again (true) or bounce */
	int64_t expire_s;      /* deferred mail is bounced after this; 0: 5 days */
	int64_t retry_s;       /* until the first new attempt of deferred mail; 0: 300 */
	int64_t retry_max_s;   /* longest time between attempts; 0: 4 hours */
	int64_t delay_warning_s; /* 0: 4 hours */
	/* Remote delivery; relay NULL: remote recipients wait in the spool until they expire. */
	struct relay_services relay;
	const struct queue_route *routes;
	size_t routes_n;
	struct str shaping;    /* text of the shaping table; empty: the one built in */
	struct str explain;    /* path of the table of replies, read by queue_open; empty: the one built in */
	struct str source_address; /* of this host, that mail is sent from; empty: any */
	enum relay_tls default_tls; /* for MX delivery */
	uint32_t brake_recipients; /* of an account in an hour before the brake is thought of; 0: no brake */
	uint64_t max_messages, max_bytes; /* deferred; beyond them smtp answers 452. 0: no limit */
	bool cold;             /* power loss since the last clean stop */
};
/* In this order: open (reads the own journal, touches nothing), sources, recover (opens the store,
 * repairs; afterwards others may open mailboxes), start (threads; after the sandbox). */
bool queue_open(const struct queue_options *o, struct queue **out, struct err *err) MUST_CHECK;
struct journal *queue_journal(struct queue *q);
/* The journal of a smtp process, also of one that ran before and runs no more; later ones may come
 * at any time. dirfd is not taken. */
bool queue_source_add(struct queue *q, const char *name, int dirfd, struct err *err) MUST_CHECK;
/* That message, or without one that account, was at work in so many crashes of ours as that teller
 * knows of. Between open and recover. */
void queue_suspect(struct queue *q, struct str qid, struct str account, unsigned crashes, uint64_t teller);
bool queue_recover(struct queue *q, struct err *err) MUST_CHECK;
bool queue_start(struct queue *q, struct err *err) MUST_CHECK;
/* That source has committed up to seq. Cheap; any thread. */
void queue_accepted(struct queue *q, struct str source, uint64_t seq);
/* Every second: checkpoint when something was placed, retries when due. */
void queue_tick(struct queue *q);
/* Settles everything placed so far (invariant 2); false: could not. */
bool queue_settle(struct queue *q, struct err *err) MUST_CHECK;
/* Takes no new work, finishes what is being placed, checkpoints. */
void queue_stop(struct queue *q);
void queue_free(struct queue *q);

struct queue_counts {
	uint64_t waiting, waiting_bytes, deferred, planned, placed, relayed, bounced;
};
void queue_counts(struct queue *q, struct queue_counts *out);
/* A walk through all that waits, with the lock now and then: not for every message. */
/* A mail of ours to postmaster, durable before it returns. The text has lines that end in CRLF. */
bool queue_tell_postmaster(struct queue *q, struct str subject_ko, struct str subject_en, struct str text,
			   struct err *err) MUST_CHECK;
struct queue_ages {
	uint64_t held, remote, oldest_s; /* wall clock of the oldest not held; 0: none */
	uint64_t disk_free, disk_total;  /* bytes, where the spool is */
};
void queue_ages(struct queue *q, struct queue_ages *out);
/* JSON requests of `pabal queue`: {"verb":"queue.list"}, {"verb":"queue.show","id":...}, "queue.status". */
void queue_control(struct queue *q, struct str request_json, struct buf *reply_json);
