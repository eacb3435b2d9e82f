/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * net/net_int.h: inside net/.
 *
 * Who owns a connection is one bit. S_OWNED set: it stands in the ready queue, a worker runs it, or
 * it is pumped; only that one touches its fields. Clear: it is parked. Whoever has news sets a
 * reason bit and S_OWNED in one step and queues the connection if the bit was clear. A worker that
 * wants to park arms epoll and the timer first and then swaps S_OWNED for 0: if a reason came
 * meanwhile the swap fails and it goes round again. So no wake-up is lost and there is no lock.
 *
 * Memory of a connection is freed by its event thread after a batch of events, because the batch
 * may still name it.
 */
#pragma once
#include "base/lock.h"
#include "base/map.h"
#include "crypto/tls.h"
#include "net/net.h"
#include "net/proxy.h"
#include <arpa/inet.h>
#include <stdatomic.h>
#include <sys/epoll.h>

enum {
	S_OWNED = 1, S_IO = 2, S_EVENT = 4, S_TIMER = 8, S_DRAIN = 16,
	S_KICK = 32, /* evicted to make room */
	S_STOP = 64, /* net_free() */
};
enum conn_state {
	CONN_PROXY,     /* waits for a PROXY header */
	CONN_HELLO,     /* waits for a whole ClientHello in the kernel */
	CONN_HANDSHAKE,
	CONN_OPEN,
	CONN_TO_TLS,    /* output drains, then CONN_HELLO */
	CONN_TO_PUMP,   /* output drains, then CONN_PUMP */
	CONN_PUMP,      /* belongs to its event thread */
	CONN_CLOSING,   /* session has ended, output drains */
	CONN_LINGER,    /* we are done, the peer is not */
};
enum share_class { CLASS_SESSION, CLASS_BEFORE_LOGIN, CLASS_HANDSHAKE, CLASS_COUNT };

enum {
	IN_DEFAULT = 16 * 1024,
	IN_CHUNK = 64 * 1024,     /* most bytes of one read */
	IO_KEEP = 64 * 1024,      /* larger buffers do not go back to the cache */
	IO_CACHE = 32,
	ROUNDS_MAX = 16,          /* runs of one session before others have a turn */
	PUMP_CHUNK = 16 * 1024,
	LINGER_BYTES = 1 << 20, LINGER_DRAIN_MS = 500,
	HANDSHAKES_MAX = 1000, HANDSHAKES_SOURCE_MAX = 20, HANDSHAKE_RETRY_MS = 20,
	GROUP_WORKERS_MAX = 4,
	NUDGE_US = 1000, /* a queue that stands still so long gets another worker */
	WATCH_US = 50 * NUDGE_US, /* while mail comes thick the event thread need not be woken for that */
	WHEEL_SLOTS = 2048, WHEEL_TICK_US = 16000,
};

struct out_file {
	struct out_file *next;
	uint64_t at;  /* position in the stream of buffered output that it follows */
	int fd;
	off_t offset;
	size_t left;
};
/* Buffers; a parked connection with nothing in flight has none. */
struct io {
	struct io *next;   /* in the cache */
	struct buf in, out;
	size_t in_at, out_at;
	uint64_t out_base; /* stream position of out.p[0] */
	struct out_file *files, **files_end;
	size_t file_bytes;
	size_t counted;    /* part of net->io_bytes */
};

/* A host (/32, /64), a network (/24, /56) or a group (account). */
struct source {
	struct str key;
	atomic_uint refs;
	/* guarded by net->limits */
	unsigned conns, handshakes, minute_count;
	int64_t minute_us;
	/* guarded by the pool's lock */
	unsigned running;
	struct conn *waiting, **waiting_end;
};

struct conn {
	struct events *events;
	const struct protocol *protocol;
	void *owner, *session;
	struct listening *listening;       /* NULL: adopted */
	struct tls_session *tls;
	struct arena *arena;
	struct io *io;
	struct source *host, *network, *group;
	struct conn *ready_next;
	struct conn *list_next, *list_prev;   /* guarded by net->limits: n->before or n->rest */
	struct conn *wheel_next, *wheel_prev; /* guarded by events->lock */
	struct tls_context *next_tls; /* of the coming handshake: a reference */
	struct pump *pump;            /* from conn_pump_to() on */
	_Atomic int64_t timer_us, wheel_us;
	int64_t deadline_us; /* the session's */
	int64_t phase_us;    /* ours: PROXY, handshake, stall, linger */
	int64_t rate_mark_us;
	uint32_t rate, rate_bytes, rate_parked_ms;
	uint32_t in_max;
	uint32_t handshaking : 1, started : 1, ended : 1, in_epoll : 1, eof : 1, broken : 1, more : 1,
		in_new : 1, due_start : 1, due_event : 1, due_output : 1, due_deadline : 1, due_drain : 1,
		due_again : 1, before_login : 1, pair : 1 /* a Unix socket */, stalled : 1, lowat : 1,
		slot_wait : 1, counted : 1, write_wants_read : 1;
	uint8_t state, park;
	atomic_uint sched, refs;
	int fd;
	struct conn_facts facts;
	char peer_text[INET6_ADDRSTRLEN];
};

struct pump {
	struct pump *next, *prev; /* of the event thread */
	struct conn *conn;
	int fd;
	struct buf to_client, to_pair;
	size_t to_client_at, to_pair_at;
	uint32_t client_events, pair_events;
	bool client_eof, pair_eof, pair_shut, lost;
	struct str lost_text;
};

/* What an event thread watches besides connections. */
enum watch_kind { WATCH_KICK, WATCH_LISTEN, WATCH_CALL };
struct watch {
	enum watch_kind kind;
	int fd;
	struct watch *next;
	void (*fn)(void *ctx);
	void *ctx;
	bool running, gone; /* guarded by events->lock */
};
struct listening {
	struct watch watch;
	struct listening *next;
	struct net *net;
	struct net_listener l;
	struct str service;
	struct tls_context *tls; /* guarded by net->limits */
	atomic_uint refs;        /* the list's and one per connection */
	bool last;               /* of net_unlisten() */
};

struct events {
	struct net *net;
	int epoll;
	pthread_t thread;
	struct watch kick;
	_Atomic int64_t sleep_until_us; /* 0: awake */
	_Atomic(struct conn *) dead;    /* to be freed after the batch */
	struct lock lock;
	struct cond watch_idle;
	/* guarded by lock */
	struct conn *to_pump; /* linked by ready_next */
	struct watch *watches, *watches_gone;
	int64_t wheel_tick;   /* all up to here have fired */
	uint64_t wheel_bits[WHEEL_SLOTS / 64];
	struct conn *wheel[WHEEL_SLOTS];
	/* the thread's own */
	struct pump *pumps;
	char *scratch;      /* PUMP_CHUNK */
};

struct job {
	struct job *next;
	void (*fn)(void *ctx);
	void *ctx;
};
struct ready {
	struct conn *head, **end;
	unsigned running;
};
struct pool {
	struct lock lock;
	struct cond work, finished;
	/* guarded by lock */
	struct ready ready[CLASS_COUNT];
	struct job *jobs, **jobs_end;
	unsigned turn;      /* class that is asked first */
	unsigned workers, idle, tokens, blocked, base, max, target;
	unsigned share[CLASS_COUNT], share_network;
	uint64_t taken;
	bool stop;
	atomic_uint queued; /* read without the lock */
	_Atomic int64_t watch_us; /* until then the event thread looks whether the queue moves */
};
struct timer {
	struct timer *next;
	struct net *net;
	int64_t every_us, due_us;
	void (*fn)(void *ctx);
	void *ctx;
	atomic_bool running;
};

struct net {
	struct net_options options;
	struct pool pool;
	struct events *events;
	unsigned event_count;
	atomic_uint next_events;
	bool started;
	atomic_bool draining, stopping, stop_events;
	atomic_uint refs;
	_Atomic uint64_t next_id;
	_Atomic size_t io_bytes;
	atomic_uint parked, pumps;
	_Atomic int64_t logged_us; /* last line about a refusal */

	struct lock limits;
	/* guarded by limits */
	struct cond empty;
	struct conn *before, *before_last; /* oldest first */
	struct conn *rest, *rest_last;
	unsigned connections, before_count, handshakes;
	uint64_t accepted, refused;
	struct map *sources;
	struct listening *listening;
	struct listening *unlistened; /* the first event thread closes them */

	struct lock cache_lock;
	struct io *cache; /* guarded by cache_lock */
	unsigned cached;

	struct lock timers_lock;
	struct timer *timers; /* guarded by timers_lock; the first event thread runs them */
	int spare_fd;
};

/* pool.c */
struct chain { /* connections that became ready together */
	struct conn *head, **end;
	unsigned n;
};
void pool_init(struct pool *p, const struct net_options *o);
void pool_fini(struct pool *p);
void pool_push(struct net *n, struct chain *chain);
void pool_push_one(struct net *n, struct conn *c);
void pool_nudge(struct net *n, uint64_t *seen); /* more workers if nothing moves */
void chain_add(struct chain *chain, struct conn *c);
/* Sets the reason; true: the caller must queue the connection. */
static inline bool conn_signal(struct conn *c, unsigned reason)
{
	return !(atomic_fetch_or(&c->sched, reason | S_OWNED) & S_OWNED);
}

/* turn.c */
enum turn { TURN_LEFT, TURN_AGAIN };
enum turn conn_turn(struct conn *c); /* on a worker; TURN_LEFT: it is no longer ours */
bool conn_park(struct conn *c);      /* false: news came */
void conn_begin_hello(struct conn *c);
void conn_die(struct conn *c);       /* closes, leaves all lists, drops net's reference */

/* stream.c: what moves bytes. false: the connection is broken */
bool stream_read(struct conn *c);
bool stream_flush(struct conn *c);
size_t stream_pending(const struct conn *c);
struct io *io_of(struct conn *c);
void io_release(struct conn *c); /* if nothing is in it */
void io_drop(struct conn *c);
void io_count(struct conn *c);
void io_cache_free(struct net *n);

/* events.c */
bool events_init(struct events *e, struct net *n, struct err *err);
void *events_main(void *arg);
void events_fini(struct events *e);
void events_kick(struct events *e);
void events_arm(struct conn *c, uint32_t what);
void timer_set(struct conn *c, int64_t at_us);
void timer_forget(struct conn *c);
void events_to_pump(struct conn *c);
void events_bury(struct conn *c);
void events_reap(struct events *e);

/* pump.c: on the event thread */
enum { TAG_CONN = 0, TAG_PAIR = 1, TAG_CLIENT = 2, TAG_WATCH = 3 };
void pump_begin(struct conn *c);
void pump_client(struct conn *c, uint32_t events, struct chain *chain);
void pump_pair(struct conn *c, uint32_t events, struct chain *chain);
void pump_end(struct conn *c, struct chain *chain);
void pump_free(struct pump *p);

/* listen.c */
bool listen_ready(struct listening *l, struct chain *chain); /* true: there may be more */
struct conn *conn_new(struct net *n, int fd, const struct protocol *p, void *owner);
void conn_free(struct conn *c);
bool listen_admit(struct conn *c, const char **out_why); /* limits, once the source is known */
void listen_refuse(struct conn *c, const char *why);
void conn_told(struct conn *c); /* facts from addresses */
void listen_leave(struct conn *c); /* it is not counted and listed any more */
void listen_close_all(struct net *n);
void listen_close_due(struct net *n, struct chain *chain); /* net_unlisten(), on the first event thread */
void listening_unref(struct listening *l);
struct chain signal_all(struct net *n, unsigned reason);

/* source.c */
struct source *source_get(struct net *n, struct str key); /* a reference */
void source_unref(struct net *n, struct source *s);
void source_keys(const struct conn_addr *a, char host[17], char network[17], struct str *out_host,
		 struct str *out_network); /* empty for others than IP */
void sources_sweep(struct net *n);
void sources_free(struct net *n);
