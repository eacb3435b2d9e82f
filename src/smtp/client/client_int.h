/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* smtp/client/client_int.h: shared by the session and the transaction. */
#pragma once
#include "base/buf.h"
#include "crypto/tls.h"
#include "smtp/client/client.h"

enum {
	REPLY_LINE_MAX = 4096,  /* octets; RFC 5321 4.5.3.1.5 says 512 */
	REPLY_LINES_MAX = 200,
	REPLY_TEXT_MAX = 1000,  /* octets kept of a reply */
};
enum client_ext {
	EXT_PIPELINING = 1,
	EXT_8BITMIME = 2,
	EXT_SMTPUTF8 = 4,
	EXT_DSN = 8,
	EXT_CHUNKING = 16,
	EXT_BINARYMIME = 32,
	EXT_STARTTLS = 64,
	EXT_REQUIRETLS = 128,
	EXT_SIZE = 256,
	EXT_AUTH = 512,
	EXT_LIMITS = 1024,
};

struct smtp_client {
	int fd;
	struct tls_session *tls;
	struct arena *arena; /* connection's life */
	struct str host, helo;
	bool lmtp, dead;
	int64_t reply_ms;
	int64_t until_ms;    /* monotonic clock: the end of all patience; 0: none */
	struct buf in;
	size_t used;         /* octets of in that were read as lines */
	void (*on_line)(struct smtp_client *c, struct str words, size_t line);
	unsigned ext;        /* enum client_ext */
	uint64_t size_max;
	uint32_t rcpt_max;
	bool auth_plain, auth_login;
	bool ourselves;      /* the greeting has our own name */
	const char *proof;   /* who the peer is was proven so: "verified", "dane"; else "" */
	unsigned sent;
};

bool client_write(struct smtp_client *c, struct str bytes);
/* The next reply; false: none in time, or not SMTP: the session is over. */
bool client_read(struct smtp_client *c, struct arena *a, int64_t wait_ms, struct relay_reply *out);
bool client_say(struct smtp_client *c, struct arena *a, struct str line, int64_t wait_ms,
		struct relay_reply *out);
/* 4xx or 5xx: else it is no refusal that may be handed on as the peer's word. */
bool reply_refuses(const struct relay_reply *r);
/* A failure that is not the peer's word. */
void reply_failed(struct relay_reply *r, struct arena *a, enum relay_scope scope, enum outcome outcome,
		  const char *fmt, ...) __attribute__((format(printf, 5, 6)));
