/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* The conversations of tests/pop3-login. */
#include "imap/conversation.h"
#include "imap/door_fake.h"
#include "pop3/pop3.h"

static struct conn *begin(void *ctx) { return fake_door_conn(ctx, &pop3_login_protocol); }

static void one(void **path)
{
	struct fake_door *f = fake_door_new("");

	talk_file(*path, begin, f);
	fake_door_free(f);
}

int main(void) { return talk_directory("tests/pop3-login", one); }
