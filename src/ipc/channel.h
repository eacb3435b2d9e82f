/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * ipc/channel.h: typed messages between our processes over SEQPACKET socket pairs made by the
 * master (STYLE 10, PROCESSES C5). The descriptor is the identity of the other side.
 *
 * Each message is a row of ipc/messages.def: structure, encoder, decoder come from it. A request
 * gets an id; answers may come in any order. Receivers treat senders as hostile: a message that
 * is not legal on this kind of channel, too long, or with surplus descriptors costs the sender the
 * channel (closed, logged), never the receiver its life. At most 64 KiB a message, more as a
 * sealed memfd. Credit: at most CHANNEL_CREDIT requests under way; more wait on our side, and more than
 * CHANNEL_WAITING_MAX asynchronous ones fail with ERR_LIMIT.
 *
 * A dead other side: calls fail with ERR_TEMP, except those of "repeatable" messages: they wait, up
 * to their own deadline, for the descriptor that the master sends (channel_replace) and go out
 * there, once more where they were under way. Answers to the former client are dropped.
 *
 * One reader thread per channel (channel_start), or none: the single-threaded master calls
 * channel_pump from its loop. Thread-safe. Lock class IPC, never held in callbacks.
 */
#pragma once
#include "base/arena.h"
#include "base/err.h"
#include "ipc/messages.h"

enum { CHANNEL_CREDIT = 256, CHANNEL_MESSAGE_MAX = 65536, CHANNEL_POSTS_MAX = 4096,
       CHANNEL_WAITING_MAX = 20000 };
enum channel_side { CHANNEL_CLIENT, CHANNEL_SERVER };
struct channel;

/* kind says which messages are legal in which direction (messages.def, column "on"). fd -1: not
 * connected yet, as after a death. Takes fd, also on failure. */
bool channel_new(enum channel_kind kind, enum channel_side side, int fd, struct channel **out,
		 struct err *err) MUST_CHECK;
void channel_free(struct channel *ch); /* joins; calls under way fail with ERR_GONE; accepts NULL */
void channel_replace(struct channel *ch, int fd); /* takes fd */
bool channel_alive(struct channel *ch);
enum channel_kind channel_kind(const struct channel *ch);
/* A connected pair, for the master and tests. */
bool channel_pair(int out_fds[2], struct err *err) MUST_CHECK;

/* Server side (and posts of a server to its client): fn is called for each request and post; id is 0
 * for posts. It answers now or later, on any thread, with channel_reply. Runs on the reader
 * thread and must not block long: hand work to net_run. msg and its strings live during the call;
 * descriptors not taken (set to -1) are closed after it. Set before channel_start. */
typedef void channel_handler(void *ctx, struct channel *ch, uint64_t id, struct message *msg);
void channel_handle(struct channel *ch, channel_handler *fn, void *ctx);
/* fn is called on the reader thread after the other side was lost. Set before channel_start. */
void channel_on_lost(struct channel *ch, void (*fn)(void *ctx, struct channel *ch), void *ctx);
bool channel_start(struct channel *ch, struct err *err) MUST_CHECK; /* reader thread */
/* False when nobody waits for it any more (client gone, answered already). */
bool channel_reply(struct channel *ch, uint64_t id, const struct message *msg);
/* No answer expected; false when the other side is gone or full. Descriptors stay the caller's. */
bool channel_post(struct channel *ch, const struct message *msg);

/* Client side. Waits up to ms; the reply is decoded into arena; its descriptors are the caller's. */
bool channel_call(struct channel *ch, const struct message *req, int64_t ms, struct arena *a,
		  struct message *out_reply, struct err *err) MUST_CHECK;
/* fn is called exactly once, on the reader thread: reply NULL and err set when it failed, else err
 * is none; false: not
 * sent, fn will not be called. */
typedef void channel_answer(void *ctx, struct message *reply, const struct err *err);
bool channel_call_async(struct channel *ch, const struct message *req, int64_t ms, channel_answer *fn,
			void *ctx, struct err *err) MUST_CHECK;

/* Without a reader thread: poll channel_fd for channel_events, then pump: sends what waits, handles
 * what is there, never blocks. False: the other side is gone (told once by channel_on_lost). */
int channel_fd(struct channel *ch);
short channel_events(struct channel *ch);
bool channel_pump(struct channel *ch);

/* A sealed memfd with these bytes, for descriptor fields; -1 with errno. */
int sealed_make(const char *name, struct str bytes);
/* Appends the whole of a received file: a regular file or a memfd sealed against shrinking, at most max
 * bytes, read from offset 0. Closes fd. Wipe out where it held keys. */
bool sealed_read(int fd, size_t max, struct buf *out, struct err *err) MUST_CHECK;
