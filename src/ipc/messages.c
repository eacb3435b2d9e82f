/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * ipc/messages.c: the rows become, for each message, a list of its fields (kind, place in the
 * structure, limit); one encoder and one decoder walk over such lists.
 */
#include "ipc/messages_int.h"
#include "base/scan.h"
#include <assert.h>
#include <string.h>

#define U32(f) {MESSAGE_FIELD_U32, offsetof(T, f), 0},
#define U64(f) {MESSAGE_FIELD_U64, offsetof(T, f), 0},
#define I64(f) {MESSAGE_FIELD_I64, offsetof(T, f), 0},
#define BOOL(f) {MESSAGE_FIELD_BOOL, offsetof(T, f), 0},
#define STRING(f, max) {MESSAGE_FIELD_STRING, offsetof(T, f), (max)},
#define FD(f) {MESSAGE_FIELD_FD, offsetof(T, f), 0},
#define MESSAGE(name, on, dir, flags, fields)                                                 \
	static const struct message_field *fields_of_##name(void)                             \
	{                                                                                     \
		typedef struct msg_##name T;                                                  \
		static const struct message_field list[] = {fields{MESSAGE_FIELD_END, 0, 0}}; \
		return list;                                                                  \
	}
#include "ipc/messages.def"
#undef MESSAGE
#undef U32
#undef U64
#undef I64
#undef BOOL
#undef STRING
#undef FD

struct row {
	const char *name;
	enum channel_kind on;
	enum message_dir dir;
	unsigned flags;
	const struct message_field *(*fields)(void);
};
static const struct row rows[MSG_TYPE_COUNT] = {
#define MESSAGE(name, on, dir, flags, fields)                                                            \
	[MSG_##name] = {#name, CHANNEL_##on, dir, flags, fields_of_##name},
#include "ipc/messages.def"
#undef MESSAGE
};

static const char *const kind_names[CHANNEL_KIND_COUNT] = {
#define CHANNEL_KIND(name, client, server, what) [CHANNEL_##name] = #name,
#include "ipc/channels.def"
#undef CHANNEL_KIND
};

static bool known(enum message_type t)
{
	return t > MSG_NONE && t < MSG_TYPE_COUNT;
}

const struct message_field *message_fields(enum message_type t)
{
	assert(known(t));
	return rows[t].fields();
}

void *message_body(struct message *m)
{
	/* All members of the union begin at one address; role_config is any of them. */
	return &m->role_config;
}

static void encode_field(struct buf *out, const struct message_field *f, const char *at)
{
	switch (f->kind) {
	case MESSAGE_FIELD_U32: buf_le32(out, *(const uint32_t *)(const void *)at); break;
	case MESSAGE_FIELD_U64: buf_le64(out, *(const uint64_t *)(const void *)at); break;
	case MESSAGE_FIELD_I64: buf_le64(out, (uint64_t)*(const int64_t *)(const void *)at); break;
	case MESSAGE_FIELD_BOOL: buf_byte(out, *(const bool *)(const void *)at ? 1 : 0); break;
	case MESSAGE_FIELD_STRING: buf_le_str(out, *(const struct str *)(const void *)at); break;
	case MESSAGE_FIELD_FD: buf_byte(out, *(const int *)(const void *)at >= 0 ? 1 : 0); break;
	case MESSAGE_FIELD_END: break;
	}
}

bool message_encode(const struct message *m, struct buf *out, int fds[MESSAGE_FDS_MAX], int *out_nfds)
{
	const char *body = (const char *)&m->role_config;
	int n = 0;

	if (!known(m->type))
		return false;
	buf_le16(out, (uint16_t)m->type);
	for (const struct message_field *f = message_fields(m->type); f->kind != MESSAGE_FIELD_END; f++) {
		const char *at = body + f->offset;
		if (f->kind == MESSAGE_FIELD_STRING && ((const struct str *)(const void *)at)->n > f->max)
			return false;
		if (f->kind == MESSAGE_FIELD_FD && *(const int *)(const void *)at >= 0) {
			if (n == MESSAGE_FDS_MAX)
				return false;
			fds[n++] = *(const int *)(const void *)at;
		}
		encode_field(out, f, at);
	}
	*out_nfds = n;
	return !out->failed;
}

/* A byte that is 0 or 1: every message has exactly one encoding. */
static bool take_flag(struct scan *in, bool *out)
{
	int c = scan_peek(in);

	if (c != 0 && c != 1)
		return false;
	*out = c == 1;
	return scan_skip(in, 1);
}

struct decoding {
	struct scan in;
	const int *fds;
	int nfds, used;
	struct arena *arena;
};

static bool decode_string(struct decoding *d, size_t max, struct str *out)
{
	struct str view;

	if (!scan_le_str(&d->in, max, &view))
		return false;
	*out = arena_str(d->arena, view);
	return true;
}

static bool decode_fd(struct decoding *d, int *out)
{
	bool there;

	*out = -1;
	if (!take_flag(&d->in, &there))
		return false;
	if (!there)
		return true;
	if (d->used == d->nfds)
		return false;
	*out = d->fds[d->used++];
	return true;
}

static bool decode_field(struct decoding *d, const struct message_field *f, void *at)
{
	uint64_t u;

	switch (f->kind) {
	case MESSAGE_FIELD_U32: return scan_le32(&d->in, at);
	case MESSAGE_FIELD_U64: return scan_le64(&d->in, at);
	case MESSAGE_FIELD_I64:
		if (!scan_le64(&d->in, &u))
			return false;
		*(int64_t *)at = (int64_t)u;
		return true;
	case MESSAGE_FIELD_BOOL: return take_flag(&d->in, at);
	case MESSAGE_FIELD_STRING: return decode_string(d, f->max, at);
	case MESSAGE_FIELD_FD: return decode_fd(d, at);
	case MESSAGE_FIELD_END: break;
	}
	return false;
}

bool message_decode(struct str bytes, const int fds[], int nfds, struct arena *a, struct message *out)
{
	struct decoding d = {.in = scan_of(bytes), .fds = fds, .nfds = nfds, .arena = a};
	struct message m;
	uint16_t type;

	memset(&m, 0, sizeof(m));
	if (!scan_le16(&d.in, &type) || !known((enum message_type)type))
		return false;
	m.type = (enum message_type)type;
	for (const struct message_field *f = message_fields(m.type); f->kind != MESSAGE_FIELD_END; f++)
		if (!decode_field(&d, f, (char *)message_body(&m) + f->offset))
			return false;
	if (!scan_end(&d.in) || d.used != d.nfds)
		return false;
	*out = m;
	return true;
}

bool message_legal(enum channel_kind on, enum message_type t, bool from_client)
{
	if (!known(t) || rows[t].on != on)
		return false;
	if (rows[t].flags & MSG_BOTH_WAYS)
		return true;
	return from_client == !(rows[t].flags & MSG_FROM_SERVER);
}

enum message_dir message_dir(enum message_type t)
{
	assert(known(t));
	return rows[t].dir;
}

enum message_type message_reply(enum message_type request)
{
	enum message_type t = request;

	assert(message_dir(request) == REQUEST);
	while (rows[t].dir != REPLY)
		t++;
	return t;
}

bool message_repeatable(enum message_type t)
{
	assert(known(t));
	return rows[t].flags & MSG_REPEATABLE;
}

const char *message_name(enum message_type t)
{
	return known(t) ? rows[t].name : "none";
}

const char *channel_kind_name(enum channel_kind kind)
{
	return (unsigned)kind < CHANNEL_KIND_COUNT ? kind_names[kind] : "none";
}

void message_each_fd(struct message *m, void (*fn)(int *fd))
{
	if (!known(m->type))
		return;
	for (const struct message_field *f = message_fields(m->type); f->kind != MESSAGE_FIELD_END; f++)
		if (f->kind == MESSAGE_FIELD_FD)
			fn((int *)(void *)((char *)message_body(m) + f->offset));
}
