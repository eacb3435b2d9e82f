/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Whole sessions after login, over a real store with one small account. The first octet says how
 * the input is cut; what follows is what the client sends after it selected INBOX, for some of them
 * unpacked by COMPRESS.
 */
#include "base/log.h"
#include "imap/imap.h"
#include "imap/served_fake.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fake_server *server;

static void end(void) { fake_server_free(server); }

static void say(struct conn *c, struct str octets)
{
	buf_add(&c->in, octets);
	fake_settle(c, NULL, 2000);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const char first[] =
		"a CREATE a/b\r\na APPEND INBOX (\\Seen kw) {101+}\r\n"
		"From: a@example.org\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"
		"--x\r\n\r\none\r\n--x\r\n\r\ntwo\r\n--x--\r\n\r\n"
		"a APPEND INBOX {14+}\r\nSubject: x\r\n\r\n\r\n";

	(void)argc;
	(void)argv;
	log_init("fuzz", LOG_ERROR);
	server = fake_server_new("imap {\nmax_line = 8k\nmax_append = 64k\n}\n");
	atexit(end);
	struct conn *c = fake_login(server, &imap_protocol, "user@example.org", "t");
	say(c, STR(first));
	fake_free(c);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1 || size > 16384)
		return 0;
	size_t piece = data[0] ? data[0] : size;
	struct str rest = {(const char *)data + 1, size - 1};
	struct conn *c = fake_login(server, &imap_protocol, "user@example.org", "t");

	say(c, data[0] & 1 ? STR_NONE : STR("a ENABLE QRESYNC IMAP4rev2\r\n"));
	say(c, STR("a SELECT INBOX\r\n"));
	if (data[0] % 8 == 5)
		say(c, STR("a COMPRESS DEFLATE\r\n"));
	while (rest.n && !c->closed) {
		say(c, str_sub(rest, 0, piece));
		rest = str_from(rest, piece);
	}
	c->eof = true;
	fake_settle(c, NULL, 2000);
	fake_free(c);
	return 0;
}
