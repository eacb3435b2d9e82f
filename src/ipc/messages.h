/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * ipc/messages.h: the messages between roles, made from the rows of ipc/messages.def.
 *
 * struct message { enum message_type type; union { struct msg_<name> <name>; ... }; }
 * A field is one of U32, U64, I64, BOOL, STRING(max), FD. A descriptor field of -1 is "none". The
 * row after a REQUEST is its REPLY. Encoded: type (u16), then the fields in order; strings as
 * length (u32) and bytes. Nothing is optional and nothing may follow.
 */
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

enum channel_kind {
#define CHANNEL_KIND(name, client, server, what) CHANNEL_##name,
#include "ipc/channels.def"
#undef CHANNEL_KIND
	CHANNEL_KIND_COUNT
};

#define U32(f) uint32_t f;
#define U64(f) uint64_t f;
#define I64(f) int64_t f;
#define BOOL(f) bool f;
#define STRING(f, max) struct str f;
#define FD(f) int f;
#define MESSAGE(name, on, kind, flags, fields) struct msg_##name { fields };
#include "ipc/messages.def"
#undef MESSAGE
#undef U32
#undef U64
#undef I64
#undef BOOL
#undef STRING
#undef FD

enum message_type {
	MSG_NONE,
#define MESSAGE(name, on, kind, flags, fields) MSG_##name,
#include "ipc/messages.def"
#undef MESSAGE
	MSG_TYPE_COUNT
};
enum message_dir { REQUEST, REPLY, POST };
enum { MSG_PLAIN = 0, MSG_REPEATABLE = 1, MSG_FROM_SERVER = 2, MSG_BOTH_WAYS = 4 };
enum { MESSAGE_FDS_MAX = 4 };

struct message {
	enum message_type type;
	union {
#define MESSAGE(name, on, kind, flags, fields) struct msg_##name name;
#include "ipc/messages.def"
#undef MESSAGE
	};
};

/* For the channel and the fuzz targets. Descriptors travel beside the bytes, in field order; they
 * stay the caller's. False: a string is longer than its row allows (our bug in an encoder, the
 * sender's doing in a decoder) or the bytes are not exactly one message. */
bool message_encode(const struct message *m, struct buf *out, int fds[MESSAGE_FDS_MAX], int *out_nfds);
bool message_decode(struct str bytes, const int fds[], int nfds, struct arena *a, struct message *out);
bool message_legal(enum channel_kind on, enum message_type t, bool from_client);
enum message_dir message_dir(enum message_type t);
enum message_type message_reply(enum message_type request);
bool message_repeatable(enum message_type t);
const char *message_name(enum message_type t);
const char *channel_kind_name(enum channel_kind kind);
/* Calls fn with each descriptor field. */
void message_each_fd(struct message *m, void (*fn)(int *fd));
