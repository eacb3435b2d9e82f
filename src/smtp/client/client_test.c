/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * The sending side against a server that plays a script on a thread. A script has a line for each
 * step:
 *
 *   S text   sends the line          C text   reads a line, which must begin with text
 *   D        reads up to the final dot        N count  reads so many octets
 *   T        TLS handshake           G        sends octets that are no TLS and no SMTP
 *   E        sends a line without end         R        sends a reply without end
 *   B        sends one octet every 20 ms      W        says nothing until the client goes
 *   X        closes at once, whatever is unread
 *
 * What comes of it is written as the reply code and scope (R M S H, ? when not sure) for each
 * recipient, "open" before the reply when the session did not come about, "!" behind them when the
 * session is over.
 */
#include "base/testing.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "crypto/selfsigned.h"
#include "smtp/client/client_int.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct tls_context *server_tls, *client_tls, *verify_tls;

struct play {
	const char *script;
	int listener;
	int fd;
	struct tls_session *tls;
	struct buf in;
	struct buf got;      /* what D and N read */
	char wrong[200];     /* the first step that did not go as written */
	unsigned connections;
};

/* ---- the server ---------------------------------------------------------------------------- */

static bool play_write(struct play *p, const void *bytes, size_t n)
{
	struct err err = {0};
	for (size_t at = 0, k; at < n; at += k) {
		if (p->tls) {
			if (tls_write(p->tls, (const char *)bytes + at, n - at, &k, &err) != TLS_OK)
				return false;
		} else {
			ssize_t w = send(p->fd, (const char *)bytes + at, n - at, MSG_NOSIGNAL);
			if (w <= 0)
				return false;
			k = (size_t)w;
		}
	}
	return true;
}

static bool play_more(struct play *p)
{
	struct err err = {0};
	size_t n = 0;
	char *room = buf_room(&p->in, 65536);
	if (p->tls) {
		if (tls_read(p->tls, room, 65536, &n, &err) != TLS_OK)
			return false;
	} else {
		ssize_t r = recv(p->fd, room, 65536, 0);
		if (r <= 0)
			return false;
		n = (size_t)r;
	}
	p->in.n += n;
	return true;
}

static bool play_until(struct play *p, struct str mark, size_t *out)
{
	while ((*out = str_find(buf_str(&p->in), mark)) == STR_NPOS)
		if (!play_more(p))
			return false;
	*out += mark.n;
	return true;
}

static void keep(struct play *p, size_t n)
{
	buf_add(&p->got, str_sub(buf_str(&p->in), 0, n));
	buf_consume(&p->in, n);
}

static bool expect(struct play *p, struct str want)
{
	size_t n;
	if (!play_until(p, STR("\r\n"), &n)) {
		snprintf(p->wrong, sizeof p->wrong, "no line came, wanted %.*s", STR_ARG(want));
		return false;
	}
	struct str line = str_sub(buf_str(&p->in), 0, n - 2);
	if (!str_starts(line, want) && !p->wrong[0])
		snprintf(p->wrong, sizeof p->wrong, "got %.*s, wanted %.*s", STR_ARG(line), STR_ARG(want));
	buf_consume(&p->in, n);
	return true;
}

static bool step(struct play *p, struct str s)
{
	struct str text = s.n > 2 ? str_from(s, 2) : STR_NONE;
	struct err err = {0};
	uint64_t count;
	size_t n;
	switch (s.p[0]) {
	case 'S':
		return play_write(p, text.p, text.n) && play_write(p, "\r\n", 2);
	case 'C':
		return expect(p, text);
	case 'D':
		if (!play_until(p, STR("\r\n.\r\n"), &n))
			return false;
		keep(p, n);
		return true;
	case 'N':
		if (!str_u64(text, 1 << 20, &count))
			return false;
		while (p->in.n < count)
			if (!play_more(p))
				return false;
		keep(p, (size_t)count);
		return true;
	case 'T':
		p->tls = tls_session_new(server_tls, p->fd);
		return tls_handshake(p->tls, &err) == TLS_OK;
	case 'G':
		return play_write(p, "\x00\xff garbage \x80\n", 13);
	case 'E':
		while (play_write(p, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 32))
			;
		return false;
	case 'R':
		while (play_write(p, "250-more\r\n", 10))
			;
		return false;
	case 'B':
		while (play_write(p, "2", 1))
			usleep(20000);
		return false;
	case 'W':
		while (play_more(p))
			;
		return false;
	}
	return false;
}

static void play_one(struct play *p)
{
	for (struct str rest = str_of(p->script); rest.p;) {
		struct str s = str_cut(&rest, '\n');
		if (!s.n)
			continue;
		if (s.p[0] == 'X')
			goto out;
		if (s.p[0] == '=') { /* the rest is for the next connection */
			p->script = rest.p;
			break;
		}
		if (!step(p, s))
			break;
	}
	while (play_more(p)) /* so that a reply is not lost by a reset */
		;
out:
	tls_session_free(p->tls);
	p->tls = NULL;
	close(p->fd);
	buf_clear(&p->in);
}

static void *play_main(void *ctx)
{
	struct play *p = ctx;
	while ((p->fd = accept(p->listener, NULL, NULL)) >= 0) {
		p->connections++;
		play_one(p);
	}
	return NULL;
}

/* ---- the cases ----------------------------------------------------------------------------- */

enum {
	LMTP = 1,
	UTF8 = 2,
	REQUIRETLS = 4,
	BINARY = 8,
	DSN = 16,
	THREE = 32,
	BIG = 64,
	LOGIN = 128,
	TWICE = 256,
	NAME = 512, PAIRS = 1024
};
struct row {
	const char *name;
	const char *script;
	int flags;
	enum relay_tls tls;
	const char *want;
	const char *got; /* content as it must arrive; NULL: not looked at */
};

#define HELLO "S 220 mx ready\nC EHLO us.example\n"
#define PIPE HELLO "S 250-mx\nS 250 PIPELINING\n"
#define PLAIN HELLO "S 250 mx\n"
#define MAIL "C MAIL FROM:<a@us.example>\nC RCPT TO:<r1@x.example>\n"
#define SENT MAIL "C DATA\nS 250 ok\nS 250 ok\nS 354 go\nD\n"

static const struct row rows[] = {
	{"all well", PIPE SENT "S 250 2.0.0 taken\n", 0, 0, "250M",
	 "Subject: x\r\n\r\n..one\r\n...\r\nx.\r\n.\r\n"},
	{"one after another",
	 PLAIN "C MAIL FROM:<a@us.example>\nS 250 ok\nC RCPT\nS 250 ok\nC DATA\nS 354 go\nD\nS 250 ok\n",
	 0, 0, "250M", "Subject: x\r\n\r\n..one\r\n...\r\nx.\r\n.\r\n"},
	{"HELO only",
	 "S 220 mx\nC EHLO\nS 500 what\nC HELO us.example\nS 250 mx\nC MAIL FROM:<a@us.example>\nS 250 "
	 "ok\n"
	 "C RCPT\nS 250 ok\nC DATA\nS 354 go\nD\nS 250 ok\n",
	 0, 0, "250M"},
	{"two messages", PIPE SENT "S 250 ok\n" SENT "S 250 ok\n", TWICE, 0, "250M 250M"},

	/* 4xx and 5xx at each place */
	{"greeting 4xx", "S 421 4.3.2 later\n", 0, 0, "open 421S"},
	{"greeting 5xx", "S 554 5.7.1 no service\n", 0, 0, "open 554S"},
	{"greeting 2xx", "S 250 hm\n", 0, 0, "open 0S"},
	{"EHLO 4xx", HELLO "S 451 4.3.0 later\n", 0, 0, "open 451S"},
	{"EHLO and HELO 5xx", HELLO "S 550 no\nC HELO\nS 550 5.7.1 go away\n", 0, 0, "open 550S"},
	{"EHLO 3xx", HELLO "S 354 go\n", 0, 0, "open 0S"},
	{"MAIL 4xx", PIPE MAIL "C DATA\nS 451 4.7.1 greylisted\nS 503 bad\nS 503 bad\nC RSET\nS 250 ok\n",
	 0, 0, "451M"},
	{"MAIL 5xx", PIPE MAIL "C DATA\nS 550 5.7.1 no\nS 503 bad\nS 503 bad\nC RSET\nS 250 ok\n", 0, 0,
	 "550M"},
	{"MAIL 5xx, one after another", PLAIN "C MAIL\nS 550 5.7.1 no\nC RSET\nS 250 ok\n", 0, 0, "550M"},
	{"MAIL 5xx and gone",
	 PIPE MAIL "C DATA\nS 550 5.7.1 no\n"
		   "X",
	 0, 0, "550M!"},
	{"MAIL 421", PIPE "C MAIL\nC RCPT\nC RCPT\nC RCPT\nC DATA\nS 421 bye\nX", THREE, 0,
	 "421S 421S 421S!"},
	{"MAIL 3xx", PIPE MAIL "C DATA\nS 354 go\nS 250 ok\nS 250 ok\n", 0, 0, "0S!"},
	{"RCPT each",
	 PIPE
	 "C MAIL\nC RCPT TO:<r1@x.example>\nC RCPT TO:<r2@x.example>\nC RCPT TO:<r3@x.example>\nC DATA\n"
	 "S 250 ok\nS 550 5.1.1 no\nS 250 ok\nS 452 4.2.2 full\nS 354 go\nD\nS 250 ok\n",
	 THREE, 0, "550R 250M 452R"},
	{"RCPT all refused, 354 all the same",
	 PIPE MAIL "C DATA\nS 250 ok\nS 550 5.1.1 no\nS 354 go\nC .\nS 554 no recipients\n", 0, 0,
	 "550R"},
	{"RCPT all refused", PIPE MAIL "C DATA\nS 250 ok\nS 550 5.1.1 no\nS 503 none\nC RSET\nS 250 ok\n",
	 0, 0, "550R"},
	{"RCPT 421 in the middle",
	 PIPE "C MAIL\nC RCPT\nC RCPT\nC RCPT\nS 250 ok\nS 550 5.1.1 no\nS 421 enough\nX", THREE, 0,
	 "550R 421S 421S!"},
	{"RCPT 3xx", PIPE MAIL "C DATA\nS 250 ok\nS 354 go\nS 354 go\n", 0, 0, "0S!"},
	{"DATA 4xx", PIPE MAIL "C DATA\nS 250 ok\nS 250 ok\nS 451 later\nC RSET\nS 250 ok\n", 0, 0,
	 "451M"},
	{"DATA 5xx", PIPE MAIL "C DATA\nS 250 ok\nS 250 ok\nS 554 no\nC RSET\nS 250 ok\n", 0, 0, "554M"},
	{"DATA 2xx is no promise", PIPE MAIL "C DATA\nS 250 ok\nS 250 ok\nS 250 ok\n", 0, 0, "0S!"},
	{"DATA 421", PIPE MAIL "C DATA\nS 250 ok\nS 250 ok\nS 421 bye\n", 0, 0, "421S!"},
	{"end 4xx", PIPE SENT "S 451 4.3.0 later\n", 0, 0, "451M"},
	{"end 5xx", PIPE SENT "S 554 5.7.1 spam\n", 0, 0, "554M"},
	{"end 421", PIPE SENT "S 421 bye\n", 0, 0, "421S!"},
	{"end 3xx", PIPE SENT "S 354 again\n", 0, 0, "0S?!"},
	{"550 with 4.x.x", PIPE SENT "S 550 4.2.1 odd\n", 0, 0, "550M"},

	/* gone, silent, endless */
	{"closes at once", "X", 0, 0, "open 0S"},
	{"closes after the greeting", "S 220 mx\nX", 0, 0, "open 0S"},
	{"closes after EHLO", HELLO "X", 0, 0, "open 0S"},
	{"closes after MAIL", PIPE MAIL "C DATA\nX", 0, 0, "0S!"},
	{"closes after RCPT", PIPE MAIL "C DATA\nS 250 ok\nS 250 ok\nX", 0, 0, "0S!"},
	{"closes after the final dot", PIPE SENT "X", 0, 0, "0S?!"},
	{"closes in the content", PIPE MAIL "C DATA\nS 250 ok\nS 250 ok\nS 354 go\nX", BIG, 0, "0S!"},
	{"closes after 250", PIPE SENT "S 250 ok\nX", 0, 0, "250M"},
	{"silent", "W", 0, 0, "open 0S"},
	{"silent after EHLO", HELLO "W", 0, 0, "open 0S"},
	{"silent after MAIL", PIPE MAIL "W", 0, 0, "0S!"},
	{"silent after the final dot", PIPE SENT "W", 0, 0, "0S?!"},
	{"endless greeting", "E", 0, 0, "open 0S"},
	{"endless reply", HELLO "R", 0, 0, "open 0S"},
	{"endless line after the final dot", PIPE SENT "E", 0, 0, "0S?!"},
	{"endless reply to MAIL", PIPE MAIL "C DATA\nR", 0, 0, "0S!"},
	{"an octet now and then", "B", 0, 0, "open 0S"},
	{"an octet now and then, later", PIPE SENT "B", 0, 0, "0S?!"},
	{"garbage", "G", 0, 0, "open 0S"},
	{"garbage after EHLO", HELLO "G", 0, 0, "open 0S"},
	{"garbage after RCPT", PIPE MAIL "C DATA\nS 250 ok\nG", 0, 0, "0S!"},
	{"a short code", "S 22 mx\n", 0, 0, "open 0S"},
	{"a code alone", "S 220\nC EHLO\nS 250\nC MAIL\nS 250\nC RCPT\nS 250\nC DATA\nS 354\nD\nS 250\n",
	 0, 0, "250M"},

	/* extensions */
	{"too big", HELLO "S 250-mx\nS 250 SIZE 20\n", 0, 0, "0M"},
	{"SIZE",
	 HELLO "S 250-mx\nS 250 SIZE 2000\nC MAIL FROM:<a@us.example> SIZE=28\nS 250 ok\nC RCPT\nS 250 "
	       "ok\nC DATA\n"
	       "S 354 go\nD\nS 250 ok\n",
	 0, 0, "250M"},
	{"SIZE 0 is no limit",
	 HELLO
	 "S 250-mx\nS 250 SIZE 0\nC MAIL FROM:<a@us.example> SIZE=28\nS 552 5.3.4 no\nC RSET\nS 250 ok\n",
	 0, 0, "552M"},
	{"no SMTPUTF8", PIPE "C QUIT\n", UTF8, 0, "0M"},
	{"SMTPUTF8",
	 HELLO "S 250-mx\nS 250-8BITMIME\nS 250 SMTPUTF8\nC MAIL FROM:<a@us.example> SMTPUTF8\nS 250 ok\n"
	       "C RCPT TO:<\xea\xb0\x80@x.example>\nS 250 ok\nC DATA\nS 354 go\nD\nS 250 ok\n",
	 UTF8, 0, "250M"},
	{"no REQUIRETLS", PIPE "C QUIT\n", REQUIRETLS, 0, "0M"},
	{"no BINARYMIME", PIPE "C QUIT\n", BINARY, 0, "0M"},
	{"BDAT",
	 HELLO "S 250-mx\nS 250-CHUNKING\nS 250-BINARYMIME\nS 250 PIPELINING\n"
	       "C MAIL FROM:<a@us.example> BODY=BINARYMIME\nC RCPT\nS 250 ok\nS 250 ok\nC BDAT 28 "
	       "LAST\nN 28\nS 250 ok\n",
	 BINARY, 0, "250M", "Subject: x\r\n\r\n.one\r\n..\r\nx.\r\n"},
	{"BDAT refused",
	 HELLO "S 250-mx\nS 250-CHUNKING\nS 250 BINARYMIME\nC MAIL\nS 250 ok\nC RCPT\nS 550 5.1.1 no\nC "
	       "RSET\nS 250 ok\n",
	 BINARY, 0, "550R"},
	{"DSN",
	 HELLO "S 250-mx\nS 250 DSN\nC MAIL FROM:<a@us.example> RET=HDRS ENVID=q+2B1\nS 250 ok\n"
	       "C RCPT TO:<r1@x.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;old@x.example\nS 250 ok\nC "
	       "DATA\nS 354 go\nD\nS 250 ok\n",
	 DSN, 0, "250Md"},
	{"no DSN",
	 PLAIN "C MAIL FROM:<a@us.example>\nS 250 ok\nC RCPT TO:<r1@x.example>\nS 250 ok\nC DATA\nS 354 "
	       "go\nD\nS 250 ok\n",
	 DSN, 0, "250M"},

	/* more recipients than go at once */
	{"two at once",
	 PIPE "C MAIL\nC RCPT TO:<r1\nC RCPT TO:<r2\nC DATA\nS 250 ok\nS 250 ok\nS 250 ok\nS 354 "
	      "go\nD\nS 250 ok\n"
	      "C MAIL\nC RCPT TO:<r3\nC DATA\nS 250 ok\nS 250 ok\nS 354 go\nD\nS 550 5.7.1 no\n",
	 THREE | PAIRS, 0, "250M 250M 550M"},
	{"LIMITS",
	 HELLO "S 250-mx\nS 250-LIMITS RCPTMAX=2 MAILMAX=9\nS 250 PIPELINING\nC MAIL\nC RCPT TO:<r1\nC "
	       "RCPT TO:<r2\nC DATA\n"
	       "S 250 ok\nS 250 ok\nS 250 ok\nS 354 go\nD\nS 250 ok\nC MAIL\nC RCPT TO:<r3\nX",
	 THREE, 0, "250M 250M 0S!"},
	{"too many recipients",
	 PIPE "C MAIL\nC RCPT\nC RCPT\nC RCPT\nC DATA\nS 250 ok\nS 250 ok\nS 452 4.5.3 too many\n"
	      "S 452 4.5.3 too many\nS 354 go\nD\nS 250 ok\nC MAIL\nC RCPT TO:<r2\nC RCPT TO:<r3\nC "
	      "DATA\nS 250 ok\n"
	      "S 250 ok\nS 250 ok\nS 354 go\nD\nS 250 ok\n",
	 THREE, 0, "250M 250M 250M"},
	{"one is too many",
	 PIPE MAIL "C DATA\nS 250 ok\nS 452 4.5.3 too many\nS 503 none\nC RSET\nS 250 ok\n", 0, 0,
	 "452R"},

	/* LMTP (RFC 2033) */
	{"LMTP",
	 "S 220 l\nC LHLO us.example\nS 250-l\nS 250 PIPELINING\nC MAIL\nC RCPT\nC RCPT\nC RCPT\nC "
	 "DATA\nS 250 ok\n"
	 "S 250 ok\nS 550 5.1.1 no\nS 250 ok\nS 354 go\nD\nS 250 ok\nS 452 4.2.2 full\n",
	 LMTP | THREE, 0, "250R 550R 452R"},
	{"LMTP breaks off",
	 "S 220 l\nC LHLO\nS 250-l\nS 250 PIPELINING\nC MAIL\nC RCPT\nC RCPT\nC RCPT\nC DATA\nS 250 ok\n"
	 "S 250 ok\nS 250 ok\nS 250 ok\nS 354 go\nD\nS 250 ok\nX",
	 LMTP | THREE, 0, "250R 0S? 0S?!"},
	{"no HELO in LMTP", "S 220 l\nC LHLO\nS 500 what\n", LMTP, 0, "open 500S"},

	/* TLS */
	{"TLS",
	 HELLO "S 250-mx\nS 250 STARTTLS\nC STARTTLS\nS 220 go\nT\nC EHLO\nS 250 PIPELINING\nC MAIL\nS "
	       "250 ok\nC RCPT\n"
	       "S 250 ok\nC DATA\nS 354 go\nD\nS 250 ok\n",
	 0, RELAY_TLS_MAY, "250M"},
	{"not offered, may", PLAIN "C MAIL\nS 550 5.1.1 no\nC RSET\nS 250 ok\n", 0, RELAY_TLS_MAY,
	 "550M"},
	{"not offered, encrypt", PLAIN, 0, RELAY_TLS_ENCRYPT, "open 0H"},
	{"refused, may",
	 HELLO
	 "S 250-mx\nS 250 STARTTLS\nC STARTTLS\nS 454 no\nC MAIL\nS 550 5.1.1 no\nC RSET\nS 250 ok\n",
	 0, RELAY_TLS_MAY, "550M"},
	{"refused, encrypt", HELLO "S 250-mx\nS 250 STARTTLS\nC STARTTLS\nS 554 no\n", 0,
	 RELAY_TLS_ENCRYPT, "open 454H"},
	{"STARTTLS 250, encrypt", HELLO "S 250-mx\nS 250 STARTTLS\nC STARTTLS\nS 250 no\n", 0,
	 RELAY_TLS_ENCRYPT, "open 454H"},
	{"broken, may: once more without",
	 HELLO "S 250-mx\nS 250 STARTTLS\nC STARTTLS\nS 220 go\nG\n=\n" PLAIN
	       "C MAIL\nS 550 5.1.1 no\nC RSET\nS 250 ok\n",
	 0, RELAY_TLS_MAY, "550M"},
	{"broken, encrypt", HELLO "S 250-mx\nS 250 STARTTLS\nC STARTTLS\nS 220 go\nG\n", 0,
	 RELAY_TLS_ENCRYPT, "open 0H"},
	{"closes after the handshake", HELLO "S 250-mx\nS 250 STARTTLS\nC STARTTLS\nS 220 go\nT\nX", 0,
	 RELAY_TLS_ENCRYPT, "open 0S"},
	{"words before the handshake are forgotten",
	 HELLO "S 250-mx\nS 250 STARTTLS\nC STARTTLS\nS 220 go\r\n250 injected\n", 0, RELAY_TLS_ENCRYPT,
	 "open 0H"},
	{"verified",
	 HELLO "S 250-mx\nS 250 STARTTLS\nC STARTTLS\nS 220 go\nT\nC EHLO\nS 250 PIPELINING\nC MAIL\nS "
	       "550 5.1.1 no\n"
	       "C RSET\nS 250 ok\n",
	 0, RELAY_TLS_VERIFY, "550M"},
	{"another name", HELLO "S 250-mx\nS 250 STARTTLS\nC STARTTLS\nS 220 go\nT\n", NAME,
	 RELAY_TLS_VERIFY, "open 0H"},

	/* login */
	{"no TLS, no password", PLAIN, LOGIN, RELAY_TLS_MAY, "open 0H"},
	{"AUTH PLAIN",
	 HELLO
	 "S 250-mx\nS 250 STARTTLS\nC STARTTLS\nS 220 go\nT\nC EHLO\nS 250-mx\nS 250 AUTH LOGIN PLAIN\n"
	 "C AUTH PLAIN AHVzZXIAcGFzcw==\nS 235 ok\nC MAIL\nS 550 5.1.1 no\nC RSET\nS 250 ok\n",
	 LOGIN, RELAY_TLS_ENCRYPT, "550M"},
	{"AUTH LOGIN",
	 HELLO "S 250-mx\nS 250 STARTTLS\nC STARTTLS\nS 220 go\nT\nC EHLO\nS 250-mx\nS 250 AUTH LOGIN\n"
	       "C AUTH LOGIN\nS 334 VXNlcm5hbWU6\nC dXNlcg==\nS 334 UGFzc3dvcmQ6\nC cGFzcw==\nS 235 "
	       "ok\nC MAIL\n"
	       "S 550 5.1.1 no\nC RSET\nS 250 ok\n",
	 LOGIN, RELAY_TLS_ENCRYPT, "550M"},
	{"AUTH refused",
	 HELLO "S 250-mx\nS 250 STARTTLS\nC STARTTLS\nS 220 go\nT\nC EHLO\nS 250-mx\nS 250 AUTH PLAIN\n"
	       "C AUTH PLAIN\nS 535 5.7.8 no\n",
	 LOGIN, RELAY_TLS_ENCRYPT, "open 454H"},
};

static void describe(struct buf *out, const struct relay_reply *r)
{
	buf_fmt(out, "%s%d%c%s%s", out->n && out->p[out->n - 1] != ' ' ? " " : "", r->code, "RMSH"[r->scope],
		r->sure ? "" : "?", r->relayed_dsn ? "d" : "");
	/* What queue decides by: never a success or nothing but by a 2xx (RFC 3463 2). */
	assert_true(r->code / 100 == 2 ? r->status.class == 2 : r->status.class == 4 || r->status.class == 5);
	assert_true(r->code == 0 || r->code / 100 == r->status.class);
	assert_false(str_has_ctl(r->text));
}

static void send_row(const struct row *row, struct smtp_client *c, struct arena *a, struct buf *out)
{
	struct recipient rcpt[3] = {
		{.address = {STR("r1"), STR("x.example")}},
		{.address = {STR("r2"), STR("x.example")}},
		{.address = {STR("r3"), STR("x.example")}},
	};
	struct envelope e = {.reverse_path = {STR("a"), STR("us.example")}};
	BUF_SCOPED big = {0};
	struct relay_reply replies[3];
	struct relay_job job = {
		.envelope = &e,
		.rcpt = rcpt,
		.rcpt_n = row->flags & THREE ? 3 : 1,
		.content = STR("Subject: x\r\n\r\n.one\r\n..\r\nx.\r\n"),
		.content_fd = -1,
	};
	if (row->flags & PAIRS)
		job.rcpts_per_message = 2;
	if (row->flags & UTF8)
		rcpt[0].address.local = STR("\xea\xb0\x80");
	e.requiretls = row->flags & REQUIRETLS;
	if (row->flags & BINARY)
		e.body = ENVELOPE_BINARYMIME;
	if (row->flags & DSN) {
		e.ret = ENVELOPE_RET_HDRS;
		e.envid = STR("q+1");
		rcpt[0].notify = NOTIFY_SUCCESS | NOTIFY_FAILURE;
		rcpt[0].orcpt = STR("rfc822;old@x.example");
	}
	if (row->flags & BIG) {
		for (int i = 0; i < 200000; i++)
			buf_add(&big, STR("0123456789012345678901234567890123456789\r\n"));
		job.content = buf_str(&big);
	}
	bool usable = smtp_client_send(c, &job, a, replies);
	for (size_t k = 0; k < job.rcpt_n; k++)
		describe(out, &replies[k]);
	if (usable && row->flags & TWICE) {
		assert_true(smtp_client_alive(c));
		usable = smtp_client_send(c, &job, a, replies);
		describe(out, &replies[0]);
	}
	if (!usable)
		buf_byte(out, '!');
}

static bool run_row(const struct row *row)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof addr;
	struct play p = {.script = row->script, .listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	pthread_t thread;
	assert_int_equal(bind(p.listener, (struct sockaddr *)&addr, n), 0);
	assert_int_equal(listen(p.listener, 4), 0);
	assert_int_equal(getsockname(p.listener, (struct sockaddr *)&addr, &n), 0);
	assert_int_equal(pthread_create(&thread, NULL, play_main, &p), 0);

	ARENA_SCOPED a = arena_new();
	BUF_SCOPED out = {0};
	struct smtp_client *c = NULL;
	struct relay_reply r;
	struct smtp_client_options o = {
		.address_len = n,
		.host = row->flags & NAME ? STR("other.example") : STR("mx.example"),
		.helo = STR("us.example"),
		.lmtp = row->flags & LMTP,
		.tls = row->tls,
		.context = client_tls,
		.context_verify = verify_tls,
		.reply_ms = 300,
	};
	if (row->flags & LOGIN) {
		o.auth_user = STR("user");
		o.auth_password = STR("pass");
	}
	memcpy(&o.address, &addr, n);
	int64_t began = clock_mono_ms();
	if (smtp_client_open(&o, a, &c, &r)) {
		send_row(row, c, a, &out);
	} else {
		buf_add(&out, STR("open "));
		describe(&out, &r);
	}
	smtp_client_close(c);
	assert_case(row->name, clock_mono_ms() - began < 10000);
	shutdown(p.listener, SHUT_RDWR);
	pthread_join(thread, NULL);
	close(p.listener);
	bool good = !p.wrong[0] && str_eq(buf_str(&out), str_of(row->want)) &&
		    (!row->got || str_eq(buf_str(&p.got), str_of(row->got)));
	if (!good)
		print_error("%s: got \"%.*s\", wanted \"%s\"; %s\n%.*s\n", row->name, STR_ARG(buf_str(&out)),
			    row->want, p.wrong, row->got ? (int)p.got.n : 0, p.got.p ? p.got.p : "");
	buf_free(&p.in);
	buf_free(&p.got);
	return good;
}

static void test_scripts(void **state)
{
	(void)state;
	int bad = 0;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		bad += !run_row(&rows[i]);
	assert_int_equal(bad, 0);
}

/* However busy the peer is, at the end of patience it is over. */
static void test_until(void **state)
{
	(void)state;
	int fds[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	struct smtp_client c = {.fd = fds[0], .reply_ms = 60000, .until_ms = clock_mono_ms() + 50};
	ARENA_SCOPED a = arena_new();
	struct relay_reply r;
	int64_t began = clock_mono_ms();
	assert_false(client_read(&c, a, c.reply_ms, &r));
	assert_int_equal(r.code, 0);
	BUF_SCOPED big = {0};
	memset(buf_room(&big, 4 << 20), 'x', 4 << 20);
	assert_false(client_write(&c, (struct str){big.p, 4 << 20}));
	assert_true(clock_mono_ms() - began < 5000);
	buf_free(&c.in);
	close(fds[0]);
	close(fds[1]);
}

/* Content over two parts and dots at the joint of the pieces. */
static void test_side_file(void **state)
{
	(void)state;
	static const char script[] = PIPE SENT "S 250 ok\n";
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof addr;
	struct play p = {.script = script, .listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	pthread_t thread;
	assert_int_equal(bind(p.listener, (struct sockaddr *)&addr, n), 0);
	assert_int_equal(listen(p.listener, 4), 0);
	assert_int_equal(getsockname(p.listener, (struct sockaddr *)&addr, &n), 0);
	assert_int_equal(pthread_create(&thread, NULL, play_main, &p), 0);

	FILE *f = tmpfile();
	BUF_SCOPED side = {0};
	BUF_SCOPED want = {0};
	buf_add(&want, STR("Subject: x\r\n"));
	for (int i = 0; i < 50000; i++) { /* 4 octets a line: pieces end at each place of it */
		buf_add(&side, STR("..\r\n"));
		buf_add(&want, STR("...\r\n"));
	}
	buf_add(&side, STR(".no end"));
	buf_add(&want, STR("..no end\r\n.\r\n"));
	assert_int_equal(fwrite(side.p, 1, side.n, f), side.n);
	fflush(f);

	ARENA_SCOPED a = arena_new();
	struct relay_reply r;
	struct smtp_client *c = NULL;
	struct smtp_client_options o = {
		.address_len = n, .host = STR("mx.example"), .helo = STR("us.example"), .reply_ms = 5000};
	memcpy(&o.address, &addr, n);
	assert_true(smtp_client_open(&o, a, &c, &r));
	struct recipient rcpt = {.address = {STR("r1"), STR("x.example")}};
	struct envelope e = {.reverse_path = {STR("a"), STR("us.example")}};
	struct relay_job job = {.envelope = &e, .rcpt = &rcpt, .rcpt_n = 1, .content = STR("Subject: x\r\n"),
				.content_fd = fileno(f), .content_fd_bytes = side.n};
	assert_true(smtp_client_send(c, &job, a, &r));
	assert_int_equal(r.code, 250);
	smtp_client_close(c);
	shutdown(p.listener, SHUT_RDWR);
	pthread_join(thread, NULL);
	close(p.listener);
	fclose(f);
	assert_true(str_eq(buf_str(&p.got), buf_str(&want)));
	buf_free(&p.in);
	buf_free(&p.got);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scripts),
		cmocka_unit_test(test_until),
		cmocka_unit_test(test_side_file),
	};
	struct err err = {0};
	BUF_SCOPED key = {0};
	BUF_SCOPED cert = {0};
	struct str name = STR("mx.example");
	signal(SIGPIPE, SIG_IGN);
	log_init("test", LOG_ERROR);
	tls_init();
	if (!selfsigned_make(&name, 1, &key, &cert, &err))
		return 1;
	struct tls_chain chain = {.cert_pem = buf_str(&cert), .key_pem = buf_str(&key)};
	if (!tls_context_server(&(struct tls_server_settings){.chains = &chain,
							      .chain_count = 1,
							      .door = STR("smtp")},
				&server_tls, &err) ||
	    !tls_context_client(&(struct tls_client_settings){0}, &client_tls, &err) ||
	    !tls_context_client(&(struct tls_client_settings){.ca_pem = buf_str(&cert), .verify = true},
				&verify_tls, &err))
		return 1;
	int result = RUN_TESTS(tests);
	tls_context_unref(server_tls);
	tls_context_unref(client_tls);
	tls_context_unref(verify_tls);
	return result;
}
