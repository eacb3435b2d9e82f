/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * ipc/messages.h: the messages between roles, made from the rows of ipc/messages.def.
 *
 * struct message { enum message_type type; union { struct msg_<name> <name>; ... }; }
 * A field is one of U32, U64, I64, BOOL, STR(max), FD.
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
enum { MSG_PLAIN = 0, MSG_REPEATABLE = 1, MSG_FROM_SERVER = 2 };

struct message {
	enum message_type type;
	union {
#define MESSAGE(name, on, kind, flags, fields) struct msg_##name name;
#include "ipc/messages.def"
#undef MESSAGE
	};
};

/* For the channel and the fuzz targets. Descriptors travel beside the bytes, in field order. */
bool message_encode(const struct message *m, struct buf *out, int fds[], int *out_nfds);
bool message_decode(struct str bytes, const int fds[], int nfds, struct arena *a, struct message *out);
bool message_legal(enum channel_kind on, enum message_type t, bool from_client);
const char *message_name(enum message_type t);
