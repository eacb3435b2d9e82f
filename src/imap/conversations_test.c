/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* The conversations of tests/imap: each with an empty account of its own, sessions after login. */
#include "imap/conversation.h"
#include "imap/imap.h"

static struct conn *begin(void *ctx) { return fake_login(ctx, &imap_protocol, "user@example.org", "a0"); }

static void one(void **path)
{
	struct fake_server *f = fake_server_new("");

	talk_file(*path, begin, f);
	fake_server_free(f);
}

int main(void) { return talk_directory("tests/imap", one); }
