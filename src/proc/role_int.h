/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * proc/role_int.h: what every role's process does alike; each role's own file fills in a form.
 *
 * Start: the master's messages up to role_start, prepare() (files, tables, all that the sandbox
 * would refuse; one thread), sandbox, start() (threads), role_ready. Then the first thread waits for
 * the master: its end is ours. Later messages come on this thread, while others work.
 */
#pragma once
#include "base/lock.h"
#include "ipc/channel.h"
#include "json/json.h"
#include "proc/roles.h"
#include "proc/sandbox.h"

struct net;
struct role;
struct role_listener;

struct role_form {
	unsigned calls;     /* enum sandbox_calls */
	bool net;           /* has workers and connections */
	/* The role's own state, before the first message. */
	void *(*create)(struct role *r);
	bool (*prepare)(struct role *r, struct sandbox *s, struct err *err);
	bool (*start)(struct role *r,
		      struct err *err); /* channels and net are started by the caller, after it */
	/* Those that are the role's own: keys, certificates ... Descriptors not taken are closed. */
	void (*on_master)(struct role *r, struct message *m);
	/* Requests and posts of the other roles; NULL: none. */
	channel_handler *on_message; /* ctx: struct peer * */
	void (*on_lost)(void *ctx, struct channel *ch);
	void (*configured)(struct role *r); /* a new snapshot is there */
	/* And other listeners: role->listeners is to be opened, then those of old are to be ended. */
	void (*listeners_changed)(struct role *r, struct role_listener *old, size_t old_n);
	void (*drain)(struct role *r);      /* after net_drain */
	bool (*drained)(struct role *r);    /* NULL: when there are no connections */
	/* The last thing before the process ends: settle, flush. Other threads still run, so nothing
	 * that they may use is freed; the kernel closes the rest. NULL: nothing to do. */
	void (*stop)(struct role *r);
	void (*status)(struct role *r, struct json_writer *w); /* members of an object; on a worker */
};
extern const struct role_form role_form_log, role_form_keys, role_form_auth, role_form_smtp, role_form_login,
	role_form_mailbox, role_form_queue, role_form_dns, role_form_relay;

const struct role_form *role_form(enum role_id id);

struct peer { /* a channel to one other process */
	struct role *role;
	enum channel_kind kind;
	enum role_id other;
	unsigned index;
	bool client; /* we are */
	bool connected; /* was, at least once */
	bool started;   /* has its reader */
	struct channel *ch;
};

/* An account with a mailbox process of its own (apart.c); no account: that process runs. */
struct role_apart {
	struct role_apart *next;
	unsigned index;
	char account[];
};

struct role_listener {
	char name[12];   /* "listener", "control" */
	unsigned index;  /* into config_listeners */
	uint32_t id;     /* of the socket */
	int fd;          /* -1: in use */
	const void *net; /* net_listener.listener; NULL: not listened on */
};

struct role {
	enum role_id id;
	unsigned index;
	char name[32]; /* "mailbox-1": also of its journal */
	const struct role_form *form;
	void *state;
	struct net *net;
	struct channel *master;
	struct lock lock;
	struct config *config; /* guarded by lock; role_config() counts it */
	struct peer *peers;
	size_t peers_n;
	struct role_listener *listeners; /* those given before start, or at the last reload */
	size_t listeners_n;
	struct role_listener *coming; /* of a reload, until role_listen */
	size_t coming_n;
	bool cold, same_user, started, running;
	int64_t drain_deadline_ms; /* 0: not draining */
	int smaps;
	struct sandbox_state sandbox;
	struct arena *arena; /* process lifetime; start only */
	unsigned generation;
	unsigned counts[ROLE_COUNT]; /* processes of each role: the same for our life */
	struct lock apart_lock; /* the store asks while it holds an account */
	struct role_apart *aparts; /* guarded by apart_lock, but to see whether there is any */
	uint32_t owner_uid; /* whose requests a control socket takes, beside root's */
};

/* `pabal role NAME INDEX`: descriptor 3 is the master's channel, 4 and 6 the log's ring and what wakes its
 * reader, 5 the crash page. */
int role_main(struct str name, unsigned index);

struct config *role_config(struct role *r); /* counted */
/* The channel to that process, or NULL when there is none of that kind. */
struct channel *role_channel(struct role *r, enum channel_kind kind, enum role_id other, unsigned index);
unsigned role_count(struct role *r, enum role_id other);
void role_post(struct role *r, const struct message *m); /* to the master */
/* An own directory, opened for the role's life and allowed in the sandbox. */
bool role_open_dir(struct role *r, struct sandbox *s, const char *path, enum sandbox_access access,
		   int *out_fd, struct err *err) MUST_CHECK;
/* "<journal_dir>/<role>-<index>" */
const char *role_journal_path(struct role *r, enum role_id of, unsigned index);
/* The mailbox process that serves the account, by habit (DESIGN 1). */
unsigned role_mailbox_of(struct role *r, struct str account);
/* Is there such a process? Those for single accounts come and go. */
bool role_mailbox_runs(struct role *r, unsigned index);

/* proc/preload.c: what cannot be loaded inside the sandbox (PROCESSES C4). */
enum preload { PRELOAD_CHARSETS = 1, PRELOAD_SQLITE = 2, PRELOAD_TLS = 4 };
bool preload(unsigned what, struct err *err) MUST_CHECK;

/* proc/journal_status.c: of the role's journal, members of an object. */
struct journal;
void role_journal_status(struct journal *j, struct json_writer *w);

/* proc/memory.c: own memory, in KiB, from /proc/self/smaps_rollup opened before. */
struct memory_use {
	uint64_t pss_kib, private_kib, rss_kib;
};
bool memory_use(int smaps_fd, struct memory_use *out);

/* proc/control.c: one line of JSON in, one back, on the listeners named "control". The peer is root
 * or the server's own user. fn writes the reply's object, on a thread of its own. */
struct control {
	struct role *role;
	void (*fn)(void *ctx, struct str request, struct buf *reply);
	void *ctx;
};
bool control_listen(struct role *r, const struct control *c, struct err *err) MUST_CHECK;
