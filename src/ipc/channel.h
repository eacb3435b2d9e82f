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
 * sealed memfd. Credit: at most CHANNEL_CREDIT requests under way; more wait (sync) or fail with
 * ERR_LIMIT (async).
 *
 * A dead other side: calls fail with ERR_TEMP. When the master sends a new descriptor for the
 * channel (channel_replace) calls go on; messages marked "repeatable" that were under way are
 * sent once more on it.
 */
#pragma once
#include "base/arena.h"
#include "base/err.h"
#include "ipc/messages.h"

enum { CHANNEL_CREDIT = 256, CHANNEL_MESSAGE_MAX = 65536, CHANNEL_FDS_MAX = 4 };
struct channel;
struct net;

/* kind says which messages are legal in which direction (messages.def, column "on"). */
bool channel_new(enum channel_kind kind, int fd, struct channel **out, struct err *err) MUST_CHECK;
void channel_free(struct channel *ch);
void channel_replace(struct channel *ch, int fd); /* takes fd */
bool channel_alive(const struct channel *ch);

/* Server side: fn is called for each request; it answers now or later with channel_reply. Runs on
 * the channel's reader thread (channel_start) and must not block long: hand work to net_run. msg
 * and its strings live during the call; descriptors not taken (set to -1) are closed after it. */
typedef void channel_handler(void *ctx, struct channel *ch, uint64_t id, struct message *msg);
void channel_handle(struct channel *ch, channel_handler *fn, void *ctx);
bool channel_start(struct channel *ch, struct err *err) MUST_CHECK; /* reader thread */
bool channel_reply(struct channel *ch, uint64_t id, const struct message *msg);
/* No answer expected; false when the other side is gone or full. */
bool channel_post(struct channel *ch, const struct message *msg);

/* Client side. Waits up to ms; the reply is decoded into arena; its descriptors are the caller's. */
bool channel_call(struct channel *ch, const struct message *req, int64_t ms, struct arena *a,
		  struct message *out_reply, struct err *err) MUST_CHECK;
/* fn is called exactly once, on the reader thread: reply NULL and err set when it failed. */
typedef void channel_answer(void *ctx, struct message *reply, const struct err *err);
bool channel_call_async(struct channel *ch, const struct message *req, int64_t ms, channel_answer *fn, void *ctx,
			struct err *err) MUST_CHECK;
