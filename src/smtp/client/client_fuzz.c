/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* What a server says, cut into replies; the first octet chooses what is done with it. */
#include "smtp/client/client_int.h"

#include "base/file.h"
#include "base/mem.h"

#include <stdlib.h>
#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fds[2];
	if (size < 2 || size > 60000 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds))
		return 0;
	if (send(fds[1], data + 1, size - 1, MSG_NOSIGNAL) < 0 || shutdown(fds[1], SHUT_WR) != 0)
		abort();
	ARENA_SCOPED a = arena_new();
	struct smtp_client *c = mem_new(struct smtp_client);
	*c = (struct smtp_client){.fd = fds[0], .arena = arena_new(), .host = STR("mx"), .helo = STR("us"),
				  .lmtp = data[0] & 2, .reply_ms = 1000};
	struct relay_reply r[3];
	if (data[0] & 1) {
		while (client_read(c, a, 1000, &r[0]))
			;
	} else {
		struct recipient rcpt[3] = {{.address = {STR("a"), STR("b")}},
					    {.address = {STR("c"), STR("d")}},
					    {.address = {STR("e"), STR("f")}}};
		struct envelope e = {.reverse_path = {STR("s"), STR("t")}};
		struct relay_job job = {.envelope = &e, .rcpt = rcpt, .rcpt_n = 3, .content = STR(".x\r\n"),
					.content_fd = -1};
		c->ext = data[0] & 4 ? EXT_PIPELINING | EXT_DSN : 0;
		(void)smtp_client_send(c, &job, a, r);
		for (int k = 0; k < 3; k++) /* yes or no, or no word at all */
			if (r[k].code && r[k].code / 100 != 2 && !reply_refuses(&r[k]))
				abort();
	}
	c->dead = true;
	smtp_client_close(c);
	fd_close(&fds[1]);
	return 0;
}
