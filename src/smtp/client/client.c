/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* The session: bytes, replies, greeting, TLS, login. The transaction is in transaction.c. */
#include "smtp/client/client_int.h"

#include "base/clock.h"
#include "base/codec.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CONNECT_MS = 30000, HANDSHAKE_MS = 30000, CHUNK = 16 * 1024 };

/* ---- failures ---------------------------------------------------------------------------- */

void reply_failed(struct relay_reply *r, struct arena *a, enum relay_scope scope, enum outcome outcome,
		  const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	*r = (struct relay_reply){
		.scope = scope, .status = outcome_row(outcome)->status, .outcome = outcome, .sure = true};
	r->text = arena_vfmt(a, fmt, ap);
	va_end(ap);
}

/* ---- bytes ------------------------------------------------------------------------------- */

static bool wait_for(struct smtp_client *c, short events, int64_t until_ms)
{
	if (c->until_ms && until_ms > c->until_ms)
		until_ms = c->until_ms;
	for (;;) {
		int64_t left = until_ms - clock_mono_ms();
		struct pollfd p = {.fd = c->fd, .events = events};
		if (left <= 0)
			return false;
		int n = poll(&p, 1, left > 60000 ? 60000 : (int)left);
		if (n > 0)
			return true;
		if (n < 0 && errno != EINTR)
			return false;
	}
}

bool client_write(struct smtp_client *c, struct str bytes)
{
	int64_t until = clock_mono_ms() + c->reply_ms;
	while (bytes.n) {
		if (c->until_ms && clock_mono_ms() > c->until_ms) /* it takes a little now and then */
			return false;
		size_t n = 0;
		short events = POLLOUT;
		if (c->tls) {
			struct err err = {0};
			enum tls_result r = tls_write(c->tls, bytes.p, bytes.n, &n, &err);
			if (r == TLS_FAILED || r == TLS_CLOSED)
				return false;
			if (r == TLS_WANT_READ)
				events = POLLIN;
		} else {
			ssize_t w = send(c->fd, bytes.p, bytes.n, MSG_NOSIGNAL);
			if (w < 0 && errno != EAGAIN && errno != EINTR)
				return false;
			n = w < 0 ? 0 : (size_t)w;
		}
		bytes = str_from(bytes, n);
		if (n)
			until = clock_mono_ms() + c->reply_ms;
		else if (!wait_for(c, events, until))
			return false;
	}
	return true;
}

static bool read_more(struct smtp_client *c, int64_t until_ms)
{
	for (;;) {
		char *p = buf_room(&c->in, CHUNK);
		size_t n = 0;
		short events = POLLIN;
		if (c->tls) {
			struct err err = {0};
			enum tls_result r = tls_read(c->tls, p, CHUNK, &n, &err);
			if (r == TLS_FAILED || r == TLS_CLOSED)
				return false;
			if (r == TLS_WANT_WRITE)
				events = POLLOUT;
		} else {
			ssize_t got = recv(c->fd, p, CHUNK, 0);
			if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
				return false;
			n = got < 0 ? 0 : (size_t)got;
		}
		c->in.n += n;
		if (n) /* also one that sends a little now and then comes to an end */
			return clock_mono_ms() <= until_ms;
		if (!wait_for(c, events, until_ms))
			return false;
	}
}

/* ---- replies ----------------------------------------------------------------------------- */

/* Reply-line = code [ "-" / SP ] text CRLF (RFC 5321 4.2); a bare LF ends it too. */
static bool read_line(struct smtp_client *c, int64_t until_ms, struct str *out)
{
	size_t end, looked = c->used;
	while ((end = str_find_byte(str_from(buf_str(&c->in), looked), '\n')) == STR_NPOS) {
		looked = c->in.n;
		if (c->in.n - c->used > REPLY_LINE_MAX || !read_more(c, until_ms))
			return false;
	}
	end += looked;
	struct str line = str_sub(buf_str(&c->in), c->used, end - c->used);
	if (line.n && line.p[line.n - 1] == '\r')
		line.n--;
	c->used = end + 1;
	*out = line;
	return true;
}

static void forget_used(struct smtp_client *c)
{
	buf_consume(&c->in, c->used);
	c->used = 0;
}

bool client_read(struct smtp_client *c, struct arena *a, int64_t wait_ms, struct relay_reply *out)
{
	int64_t until = clock_mono_ms() + wait_ms;
	BUF_SCOPED text = {0};
	uint64_t code = 0;
	bool more = true;
	*out = (struct relay_reply){0};
	for (size_t lines = 0; more; lines++) {
		struct str line;
		uint64_t n;
		forget_used(c);
		if (lines >= REPLY_LINES_MAX || !read_line(c, until, &line))
			return false;
		if (!str_u64(str_sub(line, 0, 3), 599, &n) || n < 200 ||
		    (line.n > 3 && line.p[3] != ' ' && line.p[3] != '-'))
			return false;
		code = n;
		more = line.n > 3 && line.p[3] == '-';
		struct str words = line.n > 4 ? str_trim(str_from(line, 4)) : STR_NONE;
		if (text.n < REPLY_TEXT_MAX) {
			if (!text.n)
				buf_fmt(&text, "%d", (int)code);
			buf_byte(&text, ' ');
			buf_add(&text, str_sub(words, 0, REPLY_TEXT_MAX));
		}
		if (c->on_line)
			c->on_line(c, words, lines);
	}
	forget_used(c);
	for (size_t i = 0; i < text.n; i++) { /* no control character reaches a log or a bounce */
		if ((unsigned char)text.p[i] < 32 || text.p[i] == 127)
			text.p[i] = '?';
	}
	*out = (struct relay_reply){.code = (int)code, .text = arena_str(a, buf_str(&text)), .sure = true};
	if (!status_of_reply(out->text, &out->status))
		out->status = (struct status){(uint8_t)(code / 100), 0, 0};
	/* A peer may say "550 4.x.x"; the reply code decides (RFC 3463 2: they must agree). */
	out->status.class = (uint8_t)(code / 100);
	return true;
}

bool client_say(struct smtp_client *c, struct arena *a, struct str line, int64_t wait_ms,
		struct relay_reply *out)
{
	BUF_SCOPED b = {0};
	*out = (struct relay_reply){0}; /* the word of an earlier command must not pass for this one's */
	buf_add(&b, line);
	buf_add(&b, STR("\r\n"));
	bool ok = client_write(c, buf_str(&b)) && client_read(c, a, wait_ms, out);
	secret_wipe(b.p, b.n);
	return ok;
}

bool reply_refuses(const struct relay_reply *r)
{
	return r->code / 100 == 4 || r->code / 100 == 5;
}

/* ---- greeting ---------------------------------------------------------------------------- */

static void on_ehlo_line(struct smtp_client *c, struct str words, size_t line)
{
	static const struct {
		struct str keyword;
		unsigned flag;
	} known[] = {
		{{"PIPELINING", 10}, EXT_PIPELINING},
		{{"8BITMIME", 8}, EXT_8BITMIME},
		{{"SMTPUTF8", 8}, EXT_SMTPUTF8},
		{{"DSN", 3}, EXT_DSN},
		{{"CHUNKING", 8}, EXT_CHUNKING},
		{{"BINARYMIME", 10}, EXT_BINARYMIME},
		{{"STARTTLS", 8}, EXT_STARTTLS},
		{{"REQUIRETLS", 10}, EXT_REQUIRETLS},
		{{"SIZE", 4}, EXT_SIZE},
		{{"AUTH", 4}, EXT_AUTH},
		{{"LIMITS", 6}, EXT_LIMITS},
	};
	struct str rest = words;
	struct str keyword = str_cut(&rest, ' ');
	if (line == 0) { /* the greeting's domain */
		c->ourselves = str_eq_nocase(keyword, c->helo);
		return;
	}
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
		if (!str_eq_nocase(keyword, known[i].keyword))
			continue;
		c->ext |= known[i].flag;
		if (known[i].flag == EXT_SIZE)
			(void)str_u64(str_trim(rest), UINT64_MAX, &c->size_max);
		while (known[i].flag == EXT_AUTH && rest.p) {
			struct str mechanism = str_cut(&rest, ' ');
			c->auth_plain |= str_eq_nocase(mechanism, STR("PLAIN"));
			c->auth_login |= str_eq_nocase(mechanism, STR("LOGIN"));
		}
		while (known[i].flag == EXT_LIMITS && rest.p) { /* RFC 9422 */
			struct str one = str_cut(&rest, ' ');
			uint64_t n;
			if (str_starts_nocase(one, STR("RCPTMAX=")) &&
			    str_u64(str_from(one, 8), 1000000, &n) && n)
				c->rcpt_max = (uint32_t)n;
		}
	}
}

static bool say_hello(struct smtp_client *c, struct arena *a, struct relay_reply *r)
{
	const char *verb = c->lmtp ? "LHLO" : "EHLO";
	c->ext = 0;
	c->size_max = 0;
	c->rcpt_max = 0;
	c->auth_plain = c->auth_login = false;
	c->on_line = on_ehlo_line;
	bool ok = client_say(c, a, arena_fmt(a, "%s %.*s", verb, STR_ARG(c->helo)), c->reply_ms, r);
	c->on_line = NULL;
	if (!ok)
		return false;
	if (r->code / 100 == 5 && !c->lmtp) { /* RFC 5321 3.2: older than 1995 */
		c->ext = 0;
		if (!client_say(c, a, arena_fmt(a, "HELO %.*s", STR_ARG(c->helo)), c->reply_ms, r))
			return false;
	}
	if (r->code / 100 != 2)
		c->ext = 0;
	return true;
}

/* ---- TLS --------------------------------------------------------------------------------- */

static bool handshake(struct smtp_client *c, const struct smtp_client_options *o, struct err *err)
{
	bool verify = o->tls == RELAY_TLS_VERIFY || o->tls == RELAY_TLS_SECURE;
	if ((verify && !o->context_verify) ||
	    (o->tls == RELAY_TLS_DANE &&
	     !o->context_dane)) /* fail closed: a check that cannot be made is not passed */
		return err_set(err, ERR_TEMP, "there are no trusted roots to verify with");
	int64_t until = clock_mono_ms() + (c->reply_ms < HANDSHAKE_MS ? c->reply_ms : HANDSHAKE_MS);
	buf_clear(&c->in); /* what came before the handshake is nobody's word (RFC 3207 6) */
	c->used = 0;
	c->proof = "";
	if (o->tls == RELAY_TLS_DANE) {
		size_t usable;
		struct str names[] = {o->host, o->domain};
		c->tls = tls_session_new_dane(o->context_dane, c->fd, o->dane_host, names,
					      o->domain.n ? 2 : 1, o->tlsa, o->tlsa_n, &usable);
		c->proof = usable ? " dane" : "";
	} else {
		c->tls = tls_session_new_client(verify ? o->context_verify : o->context, c->fd, o->host);
		c->proof = verify ? " verified" : "";
	}
	if (o->tls == RELAY_TLS_SECURE && o->domain.n) { /* what DNS says of hosts is not believed */
		struct str names[] = {o->domain, arena_cat(c->arena, STR("."), o->domain)};
		tls_session_names(c->tls, names, 2, true);
	}
	for (;;) {
		switch (tls_handshake(c->tls, err)) {
		case TLS_OK:
			return true;
		case TLS_WANT_READ:
			if (!wait_for(c, POLLIN, until))
				return err_set(err, ERR_GONE, "the TLS handshake timed out");
			break;
		case TLS_WANT_WRITE:
			if (!wait_for(c, POLLOUT, until))
				return err_set(err, ERR_GONE, "the TLS handshake timed out");
			break;
		case TLS_CLOSED:
			return err_set(err, ERR_GONE, "the server closed the connection");
		case TLS_FAILED:
			return false;
		}
	}
}

enum secured { SECURED, SECURED_PLAIN_INSTEAD, SECURED_FAILED };

static enum secured secure(struct smtp_client *c, const struct smtp_client_options *o, struct arena *a,
			   struct relay_reply *r)
{
	struct err err = {0};
	bool must = o->tls >= RELAY_TLS_ENCRYPT;
	if (o->tls == RELAY_TLS_NONE || !o->context)
		return SECURED;
	if (!(c->ext & EXT_STARTTLS)) {
		if (!must)
			return SECURED;
		reply_failed(r, a, RELAY_HOSTS, OUTCOME_TLS_NEEDED,
			     "%.*s offers no TLS, which is required here", STR_ARG(o->host));
		return SECURED_FAILED;
	}
	if (!client_say(c, a, STR("STARTTLS"), c->reply_ms, r))
		goto broken;
	if (r->code != 220) {
		if (!must)
			return SECURED;
		r->scope = RELAY_HOSTS;
		r->code = r->code / 100 == 4 ? r->code : 454; /* no reason to bounce mail */
		r->status = (struct status){4, 7, 0};
		return SECURED_FAILED;
	}
	if (!handshake(c, o, &err)) {
		if (!must)
			return SECURED_PLAIN_INSTEAD;
		reply_failed(r, a, RELAY_HOSTS, OUTCOME_TLS_NEEDED, "TLS with %.*s failed: %s",
			     STR_ARG(o->host), err.text);
		return SECURED_FAILED;
	}
	if (say_hello(c, a, r) && r->code / 100 == 2)
		return SECURED;
broken:
	if (!reply_refuses(r))
		reply_failed(r, a, RELAY_SESSION, OUTCOME_BAD_CONNECTION, "%.*s broke off after STARTTLS",
			     STR_ARG(o->host));
	r->scope = RELAY_SESSION;
	return SECURED_FAILED;
}

/* ---- login to a smarthost ---------------------------------------------------------------- */

static bool log_in(struct smtp_client *c, const struct smtp_client_options *o, struct arena *a,
		   struct relay_reply *r)
{
	if (!o->auth_user.n)
		return true;
	if (!c->tls) {
		reply_failed(r, a, RELAY_HOSTS, OUTCOME_TLS_NEEDED,
			     "no TLS with %.*s: the password is not sent", STR_ARG(o->host));
		return false;
	}
	BUF_SCOPED plain = {0};
	BUF_SCOPED line = {0};
	buf_byte(&plain, 0);
	buf_add(&plain, o->auth_user);
	buf_byte(&plain, 0);
	buf_add(&plain, o->auth_password);
	bool ok;
	if (c->auth_plain) {
		buf_add(&line, STR("AUTH PLAIN "));
		base64_encode(&line, buf_str(&plain));
		ok = client_say(c, a, buf_str(&line), c->reply_ms, r);
	} else {
		ok = client_say(c, a, STR("AUTH LOGIN"), c->reply_ms, r);
		base64_encode(&line, o->auth_user);
		ok = ok && (r->code != 334 || client_say(c, a, buf_str(&line), c->reply_ms, r));
		secret_wipe(line.p, line.n);
		buf_clear(&line);
		base64_encode(&line, o->auth_password);
		ok = ok && (r->code != 334 || client_say(c, a, buf_str(&line), c->reply_ms, r));
	}
	secret_wipe(line.p, line.n);
	secret_wipe(plain.p, plain.n);
	if (ok && r->code / 100 == 2)
		return true;
	if (!ok) {
		reply_failed(r, a, RELAY_SESSION, OUTCOME_BAD_CONNECTION,
			     "%.*s broke off during the login", STR_ARG(o->host));
	} else { /* our password is wrong: mail waits until somebody mends it */
		r->scope = RELAY_HOSTS;
		r->status = (struct status){4, 7, 8};
		r->code = 454;
	}
	return false;
}

/* ---- opening and closing ----------------------------------------------------------------- */

static bool connect_to(struct smtp_client *c, const struct smtp_client_options *o, struct arena *a,
		       struct relay_reply *r)
{
	int one = 1, e = 0;
	socklen_t n = sizeof e;
	c->fd = socket(o->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* From another address it would be refused, or worse: not at all then. */
	if (c->fd >= 0 && o->source_len &&
	    bind(c->fd, (const struct sockaddr *)&o->source, o->source_len) != 0) {
		reply_failed(r, a, RELAY_HOSTS, OUTCOME_NO_ANSWER, "cannot send from the source address: %s",
			     strerror(errno));
		return false;
	}
	if (c->fd < 0 || (connect(c->fd, (const struct sockaddr *)&o->address, o->address_len) != 0 &&
			  errno != EINPROGRESS))
		e = errno;
	else if (!wait_for(c, POLLOUT, clock_mono_ms() + (o->connect_ms ? o->connect_ms : CONNECT_MS)))
		e = ETIMEDOUT;
	else
		(void)getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &e, &n);
	if (e) {
		reply_failed(r, a, RELAY_HOSTS, OUTCOME_NO_ANSWER, "connect to %.*s: %s",
			     STR_ARG(o->host), strerror(e));
		return false;
	}
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	return true;
}

static struct smtp_client *client_new(const struct smtp_client_options *o)
{
	struct smtp_client *c = mem_new(struct smtp_client);
	c->fd = -1;
	c->lmtp = o->lmtp;
	c->reply_ms = o->reply_ms ? o->reply_ms : 300000;
	c->until_ms = o->until_ms;
	c->arena = arena_new();
	c->host = arena_str(c->arena, o->host);
	c->helo = arena_str(c->arena, o->helo);
	return c;
}

static bool open_once(const struct smtp_client_options *o, struct arena *a, struct smtp_client **out,
		      struct relay_reply *r, bool *plain_instead)
{
	struct smtp_client *c = client_new(o);
	bool ok = connect_to(c, o, a, r);
	if (ok) {
		ok = client_read(c, a, c->reply_ms, r) && r->code == 220 && say_hello(c, a, r) &&
		     r->code / 100 == 2;
		if (!ok && !reply_refuses(r))
			reply_failed(r, a, RELAY_SESSION, OUTCOME_BAD_CONNECTION, "%.*s does not greet",
				     STR_ARG(o->host));
		if (!ok)
			r->scope = RELAY_SESSION;
	}
	if (ok && c->ourselves && !c->lmtp) { /* what we gave it would come back (RFC 5321 5.1) */
		ok = false;
		reply_failed(r, a, RELAY_HOSTS, OUTCOME_LOOP, "%.*s calls itself by our own name",
			     STR_ARG(o->host));
	}
	if (ok) {
		enum secured s = secure(c, o, a, r);
		*plain_instead = s == SECURED_PLAIN_INSTEAD;
		ok = s == SECURED && log_in(c, o, a, r);
	}
	if (!ok) {
		smtp_client_close(c);
		return false;
	}
	*out = c;
	return true;
}

bool smtp_client_open(const struct smtp_client_options *o, struct arena *a, struct smtp_client **out,
		      struct relay_reply *out_reply)
{
	bool plain_instead = false;
	*out_reply = (struct relay_reply){0};
	if (open_once(o, a, out, out_reply, &plain_instead))
		return true;
	if (!plain_instead)
		return false;
	struct smtp_client_options plain = *o;
	plain.tls = RELAY_TLS_NONE;
	*out_reply = (struct relay_reply){0};
	return open_once(&plain, a, out, out_reply, &plain_instead);
}

void smtp_client_until(struct smtp_client *c, int64_t until_ms)
{
	c->until_ms = until_ms;
}

bool smtp_client_alive(struct smtp_client *c)
{
	char byte;
	if (c->dead || c->in.n > c->used || (c->tls && tls_pending(c->tls)))
		return false;
	/* Anything to read now is a goodbye, an end, or nonsense. */
	return recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

void smtp_client_close(struct smtp_client *c)
{
	if (!c)
		return;
	if (!c->dead && c->fd >= 0 && c->ext) {
		c->reply_ms = 1000;
		c->until_ms = 0;
		(void)client_write(c, STR("QUIT\r\n"));
	}
	tls_session_free(c->tls);
	fd_close(&c->fd);
	buf_free(&c->in);
	arena_free(c->arena);
	free(c);
}

struct str smtp_client_host(const struct smtp_client *c)
{
	return c->host;
}

struct str smtp_client_tls(const struct smtp_client *c, struct arena *a)
{
	if (!c->tls)
		return STR_NONE;
	struct tls_facts f;
	tls_facts(c->tls, &f);
	return arena_fmt(a, "%s %s%s", f.version, f.cipher, c->proof ? c->proof : "");
}

unsigned smtp_client_sent(const struct smtp_client *c)
{
	return c->sent;
}
