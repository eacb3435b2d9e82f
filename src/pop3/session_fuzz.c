/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * POP3 after login, and both doors before it. The first octet chooses the protocol, the second
 * says how the input is cut.
 */
#include "base/log.h"
#include "imap/door_fake.h"
#include "imap/imap.h"
#include "pop3/pop3.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fake_server *server;
static struct fake_door *door;

static void end(void)
{
	fake_server_free(server);
	fake_door_free(door);
}

static void say(struct conn *c, struct str octets)
{
	buf_add(&c->in, octets);
	fake_settle(c, NULL, 100);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	log_init("fuzz", LOG_ERROR);
	server = fake_server_new("");
	door = fake_door_new("auth {\nplaintext_networks = {\"192.0.2.0/24\"}\n}\n");
	atexit(end);
	struct conn *c = fake_login(server, &imap_protocol, "user@example.org", "t");
	say(c, STR("a APPEND INBOX {23+}\r\nSubject: x\r\n\r\n.\r\n..\r\nx\r\n"));
	fake_settle(c, NULL, 2000);
	fake_free(c);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2 || size > 16384)
		return 0;
	size_t piece = data[1] ? data[1] : size;
	struct str rest = {(const char *)data + 2, size - 2};
	struct conn *c;

	if (data[0] % 3 == 0)
		c = fake_login(server, &pop3_protocol, "user@example.org", "");
	else
		c = fake_door_conn(door, data[0] % 3 == 1 ? &pop3_login_protocol : &imap_login_protocol);
	while (rest.n && !c->closed) {
		say(c, str_sub(rest, 0, piece));
		rest = str_from(rest, piece);
	}
	c->eof = true;
	fake_settle(c, NULL, 100);
	fake_free(c);
	return 0;
}
