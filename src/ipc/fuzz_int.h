/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * ipc/fuzz_int.h: makes the fuzz target of one receiving role from the list of its channels.
 *
 * The input is a series of packets as a hostile peer sends them: channel (one byte), length (u16),
 * bytes. Each goes through a real channel; what arrives must be legal there and must encode again
 * to the same bytes. The channel may be lost, the process not.
 */
#pragma once
#include "base/scan.h"
#include "ipc/channel.h"
#include "ipc/messages_int.h"
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct fuzz_end {
	enum channel_kind kind;
	enum channel_side side; /* the role's */
};

static void fuzz_on_message(void *ctx, struct channel *ch, uint64_t id, struct message *m)
{
	const struct fuzz_end *end = ctx;
	BUF_SCOPED again = {0};
	int fds[MESSAGE_FDS_MAX], nfds;

	if (!message_legal(end->kind, m->type, end->side == CHANNEL_SERVER) ||
	    !message_encode(m, &again, fds, &nfds))
		abort();
	if (message_dir(m->type) == REQUEST) {
		struct message reply = {.type = message_reply(m->type)};
		(void)channel_reply(ch, id, &reply);
	}
}

static void fuzz_packets(const struct fuzz_end *ends, size_t n, const uint8_t *data, size_t size)
{
	struct scan in = scan_of((struct str){(const char *)data, size});
	struct channel *ch[16];
	int peer[16];
	struct err err;
	uint16_t length;
	struct str packet;

	for (size_t i = 0; i < n; i++) {
		int fds[2];
		if (!channel_pair(fds, &err) ||
		    !channel_new(ends[i].kind, ends[i].side, fds[0], &ch[i], &err))
			abort();
		peer[i] = fds[1];
		channel_handle(ch[i], fuzz_on_message, (void *)(uintptr_t)&ends[i]);
	}
	while (scan_left(&in) > 3) {
		size_t to = (size_t)(unsigned char)*in.p % n;
		(void)scan_skip(&in, 1);
		(void)scan_le16(&in, &length);
		if (!scan_take(&in, length < scan_left(&in) ? length : scan_left(&in), &packet))
			break;
		if (send(peer[to], packet.p, packet.n, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
			(void)channel_pump(ch[to]);
	}
	for (size_t i = 0; i < n; i++) {
		channel_free(ch[i]);
		close(peer[i]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_ROLE(...)                                                                        \
	int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)                          \
	{                                                                                     \
		static const struct fuzz_end ends[] = {__VA_ARGS__};                          \
		fuzz_packets(ends, sizeof(ends) / sizeof(ends[0]), data, size);               \
		return 0;                                                                     \
	}
