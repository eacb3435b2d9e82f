/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * proc/master_int.h: the master. Single-threaded: one poll loop over children, signals, control
 * clients and timers. It reads nothing foreign: the configuration is parsed and the certificates are
 * read by a child (load.c), and what roles send is decoded from rows.
 */
#pragma once
#include "crypto/tls.h"
#include "ipc/channel.h"
#include "proc/crash.h"
#include "proc/proc.h"
#include "proc/roles.h"
#include <signal.h>
#include <sys/socket.h>
#include <sys/types.h>

/* ---- load.c: configuration, checked and cut up by a child ------------------------------------ */
struct loaded {
	struct config *config;     /* the master's part */
	int snapshot[ROLE_COUNT];  /* sealed memfds */
	int certificates, keys;    /* memfds; -1: none */
	int dkim, dkim_keys;       /* for queue, for keys */
};
/* On failure *problems has one line per problem. */
bool load_config(const char *path, struct loaded *out, struct buf *problems, struct err *err) MUST_CHECK;
void loaded_fini(struct loaded *l);

/* ---- children ------------------------------------------------------------------------------- */
enum child_state { CHILD_DOWN, CHILD_STARTING, CHILD_READY };
struct identity { /* whom a role runs as */
	uid_t uid;
	gid_t gid;
	char name[64];
};
struct log_pipe { /* base/log_ring.h */
	int ring, wake;
};
struct child {
	struct master *master;
	enum role_id role;
	unsigned index;
	char name[32];
	enum child_state state;
	pid_t pid;
	struct channel *ch;
	struct log_pipe log; /* kept: lines wait there while the log role is away */
	int control_fd; /* of roles that have verbs; -1: none */
	int crash_fd;
	unsigned restarts, backoff;
	int64_t started_ms, next_start_ms, last_pong_ms;
	uint64_t ping_nonce, pong_nonce;
	struct identity who;
	bool cold;    /* has not recovered from the power loss yet */
	bool ended;   /* at a stop: has drained */
	bool drain_sent, aborted;
	/* apart.c: a mailbox process beyond the common ones */
	bool spare;     /* nobody needs it: not started */
	bool in_use;    /* the others were told of it */
	bool dismissed; /* shall settle and end */
	char sandbox[256];
	char why[512]; /* of role_failed */
	bool wants_status; /* for its metrics */
	struct buf status; /* JSON of the last pong */
};

struct address {
	struct sockaddr_storage a;
	socklen_t n;
};
struct socket_group; /* listen.c: the sockets of one address, one per process of the door */

struct suspect {
	enum role_id role; /* whose crashes */
	char account[320], qid[64]; /* one of them */
	unsigned apart; /* index of its mailbox process; 0: the common ones */
	unsigned crashes;
	int64_t last_ms;
};
enum { RESTARTS_KEPT = 64, SUSPECTS_MAX = 64, CONTROL_CLIENTS_MAX = 8, TICKET_KEYS = 3 };

struct control_client {
	int fd;
	int64_t answer_at_ms; /* status: waits for pongs until then; 0: not asked yet */
	bool stop;            /* is told when we end: by the end of file */
	bool upgrade;         /* is told when the new program is ready */
	uint32_t uid;         /* who it is, by the kernel's word */
	int32_t pid;
};

enum { HERITAGE_SOCKETS_MAX = 4096 };
struct heritage { /* upgrade.c */
	bool there;
	char version[64]; /* of the program before us */
	int previous;     /* that program; -1: none, or it was the one that could not start */
	char failure[600]; /* we are back: why the new program did not start */
	int sockets[HERITAGE_SOCKETS_MAX]; /* -1: taken */
	size_t sockets_n;
	int lock;
	struct log_pipe log;
	int clients[CONTROL_CLIENTS_MAX]; /* who asked for the upgrade */
	size_t clients_n;
};

struct master {
	const struct serve_options *options;
	struct loaded now;
	uint32_t generation;
	struct child *child;
	size_t child_n;
	struct socket_group *groups;
	size_t groups_n;
	uint32_t socket_id; /* the last one given */
	struct heritage heritage;
	char program[4096]; /* where our file was when we started */
	int program_fd;     /* of the upgrade under way: the new program; -1: none */
	char upgraded_from[64];
	int binary_fd, signal_fd, control_fd, lock_fd;
	struct log_pipe log; /* the master's own lines */
	struct control_client client[CONTROL_CLIENTS_MAX];
	bool root, same_user;
	bool cold;               /* power loss; until all have recovered */
	bool ready, was_ready;   /* all roles are; have been */
	int64_t start_ms, ready_after_ms, started_unix;
	int64_t began_us; /* of the clock: names this life to those who keep count */
	int64_t next_ping_ms, next_ticket_keys_ms;
	int64_t restarted_ms[RESTARTS_KEPT]; /* the last ones, a ring */
	size_t restarted_at;
	int64_t tell_status_ms; /* to roles that want it, at the latest; 0: none does */
	/* stop */
	int64_t stop_deadline_ms; /* 0: not stopping */
	unsigned stop_phase;
	int exit_code;
	struct tls_ticket_key ticket_keys[ROLE_COUNT][TICKET_KEYS];
	size_t ticket_keys_n;
	char mac_key[32];
	struct suspect suspect[SUSPECTS_MAX];
	char fatal[600];
};

static inline bool upgrading(const struct master *m)
{
	return m->program_fd >= 0;
}
bool suspect_is_old(const struct suspect *s); /* it says nothing any more */

/* ---- spawn.c -------------------------------------------------------------------------------- */
bool identity_of(const struct config *c, enum role_id role, struct identity *out, struct err *err) MUST_CHECK;
bool child_spawn(struct master *m, struct child *c, struct err *err) MUST_CHECK; /* fork, user, execveat */

/* ---- wiring.c ------------------------------------------------------------------------------- */
void child_tell_start(struct master *m, struct child *c); /* all it needs, then role_start */
void child_wire(struct master *m, struct child *c);       /* channels to all that run */
void child_wire_two(struct master *m, struct child *a, struct child *b);
void wire_handovers(struct master *m);                    /* those that a cold start held back */
void tell_config(struct master *m);                       /* a new snapshot to all */
void tell_listeners(struct master *m);                    /* to the doors */
void tell_certificates(struct master *m);
void tell_ticket_keys(struct master *m, struct child *c);
void ticket_keys_rotate(struct master *m);
void tell_suspect(struct master *m, struct child *c, const struct suspect *s);

void tell_apart(struct child *c, const char *account, unsigned index, bool on);

/* ---- apart.c --------------------------------------------------------------------------------- */
bool child_is_apart(const struct master *m, const struct child *c);
void apart_update(struct master *m); /* who needs a process of its own, and who no more */
void apart_release(struct master *m, struct suspect *s);
void apart_tell_start(struct master *m, struct child *to);
void apart_started(struct master *m, struct child *c);
void apart_ready(struct child *c);
void apart_ended(struct master *m, struct child *c);

/* ---- listen.c ------------------------------------------------------------------------------- */
/* All that c wants, or nothing changes. Of those that are open already the same sockets stay. */
bool listeners_open(struct master *m, const struct config *c, struct err *err) MUST_CHECK;
void listeners_give(struct master *m, struct child *c);
void controls_give(struct child *c);
/* A Unix socket that listens, the heritage's or a new one; -1 with errno. */
int listener_unix(struct master *m, const struct address *a, mode_t mode);
void listeners_each_fd(struct master *m, void (*fn)(void *ctx, int fd), void *ctx);
bool address_same(const struct address *a, const struct address *b);
bool address_unix(const char *path, struct address *out); /* false: too long */
void address_unlink(const struct address *a);             /* of a Unix socket */
void listeners_filter(struct master *m, enum role_id door); /* after a door came or went */
void listeners_close(struct master *m);

/* ---- upgrade.c: the master becomes its new program -------------------------------------------- */
/* Checks the program that stands where ours did, and begins to drain. False: *problems says why not. */
bool upgrade_begin(struct master *m, struct buf *problems);
/* All roles have ended: becomes the new program. Returns only when that failed. */
void upgrade_exec(struct master *m, struct err *err);
/* The roles of an upgrade's new program do not start: the one before is taken again. False: there is none. */
bool upgrade_back(struct master *m, const char *why);
/* What the program before us left open, by the environment; none of it at an ordinary start. */
bool heritage_read(struct master *m, struct err *err) MUST_CHECK;
int heritage_socket(struct heritage *h, const struct address *a); /* -1: none that listens there (any more) */
void heritage_close(struct heritage *h); /* what nobody took */
void program_path(char *out, size_t n);  /* of this process */

/* ---- boot.c: was there a power loss, the key that master makes -------------------------------- */
bool boot_is_cold(const struct config *c, bool *out, struct err *err) MUST_CHECK;
bool boot_mark(const struct config *c, bool clean, struct err *err) MUST_CHECK;
bool mac_key_get(const struct config *c, char key[32], struct err *err) MUST_CHECK;

/* ---- master_audit.c ------------------------------------------------------------------------- */
void audit_asked(const char *command, uint32_t uid, int32_t pid);
void audit_config(const struct config *before, const struct config *after); /* each setting that differs */

/* ---- notify.c ------------------------------------------------------------------------------- */
void notify(const char *state); /* sd_notify(3): "READY=1"; nothing without NOTIFY_SOCKET */
void notify_reloading(void);

/* ---- master_control.c ------------------------------------------------------------------------ */
bool control_open(struct master *m, struct err *err) MUST_CHECK;
void control_accept(struct master *m);
void control_read(struct master *m, struct control_client *c);
void control_answer_due(struct master *m);
void control_status_wanted(struct child *c); /* a role asks what `pabal status` would */
void control_close(struct master *m);
void control_adopt(struct master *m); /* who asked the program before us for the upgrade */
void control_upgraded(struct master *m, bool good, struct str problems); /* they are told */

/* ---- master.c ------------------------------------------------------------------------------- */
bool master_reload(struct master *m, struct buf *problems);
void master_stop(struct master *m, int exit_code);
bool master_upgrade(struct master *m, struct buf *problems); /* began it? */
void master_ping(struct master *m);
void master_reopen_logs(struct master *m);
