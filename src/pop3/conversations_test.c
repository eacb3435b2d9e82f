/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* The conversations of tests/pop3: an account with three messages. */
#include "imap/conversation.h"
#include "net/pending.h"
#include "pop3/pop3.h"

static const struct str messages[] = {
	STR("Subject: one\r\n\r\nline\r\n.dot\r\n..\r\n"),
	STR("Subject: two\r\n\r\nbody"),
	STR("Subject: three\r\n\r\n"),
};

static struct conn *begin(void *ctx) { return fake_login(ctx, &pop3_protocol, "user@example.org", ""); }

static void add(struct fake_server *f)
{
	struct conn *c = begin(f);
	struct served *s = c->session;
	struct err err;

	for (size_t i = 0; i < sizeof(messages) / sizeof(*messages); i++) {
		struct new_message m = {.id = id_new(), .parts = &messages[i], .parts_n = 1, .file_fd = -1};
		uint32_t uidvalidity;
		struct pending *p = pending_new(c);
		fake_must(
			mailbox_append(s->account, STR("INBOX"), &m, &uidvalidity, pending_done, p, &err),
			&err);
		assert_true(fake_take_wake(c, 5000));
		assert_true(pending_ready(p, &err) && err.kind == ERR_NONE);
		pending_drop(p);
	}
	fake_release(s);
	conn_unref(c);
}

static void one(void **path)
{
	struct fake_server *f = fake_server_new("");

	add(f);
	talk_file(*path, begin, f);
	fake_server_free(f);
}

int main(void) { return talk_directory("tests/pop3", one); }
