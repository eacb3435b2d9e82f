/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * One transaction: MAIL, RCPTs, content. With PIPELINING all of it but the content goes in one write
 * (RFC 2920). What the peer cannot carry is refused here before anything is sent: SMTPUTF8 (RFC 6531
 * 3.2), REQUIRETLS (RFC 8689), BINARYMIME (RFC 3030), too large (RFC 1870).
 */
#include "smtp/client/client_int.h"

#include "base/file.h"

#include <stdlib.h>
#include <string.h>

enum {
	CONTENT_CHUNK = 64 * 1024,
	FINAL_WAIT_MS = 600000, /* RFC 5321 4.5.3.2.6 */
};

static void all_failed(const struct relay_job *job, struct relay_reply *replies, struct relay_reply r)
{
	for (size_t k = 0; k < job->rcpt_n; k++)
		replies[k] = r;
}

/* Those that were accepted so far get this instead. */
static void accepted_failed(const struct relay_job *job, struct relay_reply *replies, struct relay_reply r)
{
	for (size_t k = 0; k < job->rcpt_n; k++) {
		if (replies[k].code / 100 == 2 || !replies[k].code)
			replies[k] = r;
	}
}

static uint64_t content_size(const struct relay_job *job)
{
	return job->content.n + (job->content_fd >= 0 ? job->content_fd_bytes : 0);
}

static bool eight_bit(struct str s)
{
	return !str_is_ascii(s);
}

static bool needs_utf8(const struct relay_job *job)
{
	if (address_is_utf8(job->envelope->reverse_path))
		return true;
	for (size_t k = 0; k < job->rcpt_n; k++) {
		if (address_is_utf8(job->rcpt[k].address))
			return true;
	}
	return job->envelope->smtputf8;
}

/* Can the peer carry it at all? */
static bool fits(struct smtp_client *c, const struct relay_job *job, struct arena *a, struct relay_reply *r)
{
	const struct envelope *e = job->envelope;
	if (needs_utf8(job) && !(c->ext & EXT_SMTPUTF8)) {
		reply_failed(r, a, RELAY_MESSAGE, OUTCOME_NEEDS_SMTPUTF8,
			     "%.*s does not take internationalised addresses", STR_ARG(c->host));
		return false;
	}
	if (e->requiretls && (!c->tls || !(c->ext & EXT_REQUIRETLS))) {
		reply_failed(r, a, RELAY_MESSAGE, OUTCOME_REQUIRETLS, "%.*s does not offer REQUIRETLS",
			     STR_ARG(c->host));
		return false;
	}
	if (e->body == ENVELOPE_BINARYMIME &&
	    (c->ext & (EXT_CHUNKING | EXT_BINARYMIME)) != (EXT_CHUNKING | EXT_BINARYMIME)) {
		reply_failed(r, a, RELAY_MESSAGE, OUTCOME_CONVERSION, "%.*s does not take binary content",
			     STR_ARG(c->host));
		return false;
	}
	if (c->size_max && content_size(job) > c->size_max) {
		reply_failed(r, a, RELAY_MESSAGE, OUTCOME_TOO_BIG, "%.*s takes at most %llu octets",
			     STR_ARG(c->host), (unsigned long long)c->size_max);
		return false;
	}
	return true;
}

static void mail_line(struct smtp_client *c, const struct relay_job *job, struct buf *b)
{
	const struct envelope *e = job->envelope;
	buf_add(b, STR("MAIL FROM:<"));
	address_format(b, e->reverse_path);
	buf_add(b, STR(">"));
	if (c->ext & EXT_SIZE)
		buf_fmt(b, " SIZE=%llu", (unsigned long long)content_size(job));
	if (e->body == ENVELOPE_BINARYMIME)
		buf_add(b, STR(" BODY=BINARYMIME"));
	else if ((c->ext & EXT_8BITMIME) && (e->body == ENVELOPE_8BITMIME || eight_bit(job->content)))
		buf_add(b, STR(" BODY=8BITMIME"));
	if (needs_utf8(job))
		buf_add(b, STR(" SMTPUTF8"));
	if (e->requiretls)
		buf_add(b, STR(" REQUIRETLS"));
	if (c->ext & EXT_DSN) {
		if (e->ret != ENVELOPE_RET_UNSET)
			buf_add(b, e->ret == ENVELOPE_RET_FULL ? STR(" RET=FULL") : STR(" RET=HDRS"));
		if (e->envid.n) {
			buf_add(b, STR(" ENVID="));
			xtext_encode(b, e->envid);
		}
	}
	buf_add(b, STR("\r\n"));
}

static void rcpt_line(struct smtp_client *c, const struct relay_job *job, const struct recipient *r,
		      struct buf *b)
{
	buf_add(b, STR("RCPT TO:<"));
	address_format(b, r->address);
	buf_add(b, STR(">"));
	if (c->ext & EXT_DSN) {
		if (r->notify) {
			buf_add(b, STR(" NOTIFY="));
			notify_format(b, r->notify);
		}
		if (r->orcpt.n) {
			buf_add(b, STR(" ORCPT="));
			orcpt_format(b, r->orcpt, needs_utf8(job));
		}
	}
	buf_add(b, STR("\r\n"));
}

/* ---- content ----------------------------------------------------------------------------- */

/* Doubles dots at the start of lines, over pieces. Lines end in CRLF already: smtp saw to it. */
struct stuffing {
	struct smtp_client *c;
	bool at_line_start, last_cr;
	struct buf out;
};

static bool stuff(struct stuffing *s, struct str piece)
{
	while (piece.n) {
		if (s->at_line_start && piece.p[0] == '.')
			buf_byte(&s->out, '.');
		size_t end = str_find_byte(piece, '\n');
		struct str line = str_sub(piece, 0, end == STR_NPOS ? piece.n : end + 1);
		buf_add(&s->out, line);
		s->at_line_start = end != STR_NPOS;
		piece = str_from(piece, line.n);
		if (s->out.n >= CONTENT_CHUNK) {
			if (!client_write(s->c, buf_str(&s->out)))
				return false;
			buf_clear(&s->out);
		}
	}
	return true;
}

static bool each_piece(const struct relay_job *job, bool (*fn)(void *ctx, struct str piece), void *ctx,
		       bool *read_failed)
{
	*read_failed = false;
	if (!fn(ctx, job->content))
		return false;
	if (job->content_fd < 0)
		return true;
	char *chunk = malloc(CONTENT_CHUNK);
	bool ok = chunk != NULL;
	for (uint64_t at = 0; ok && at < job->content_fd_bytes;) {
		size_t n = job->content_fd_bytes - at < CONTENT_CHUNK
				   ? (size_t)(job->content_fd_bytes - at)
				   : CONTENT_CHUNK;
		struct err err = {0};
		if (!file_pread_all(job->content_fd, chunk, n, (off_t)at, &err)) {
			*read_failed = true;
			ok = false;
		} else {
			ok = fn(ctx, (struct str){chunk, n});
			at += n;
		}
	}
	free(chunk);
	return ok;
}

static bool stuff_piece(void *ctx, struct str piece)
{
	return stuff(ctx, piece);
}

static bool send_stuffed(struct smtp_client *c, const struct relay_job *job, bool *read_failed)
{
	struct stuffing s = {.c = c, .at_line_start = true};
	bool ok = each_piece(job, stuff_piece, &s, read_failed);
	if (ok) {
		if (!s.at_line_start)
			buf_add(&s.out, STR("\r\n"));
		buf_add(&s.out, STR(".\r\n"));
		ok = client_write(c, buf_str(&s.out));
	}
	buf_free(&s.out);
	return ok;
}

static bool write_piece(void *ctx, struct str piece)
{
	return client_write(ctx, piece);
}

/* BDAT (RFC 3030): for binary content, as one chunk. */
static bool send_chunk(struct smtp_client *c, const struct relay_job *job, bool *read_failed)
{
	BUF_SCOPED b = {0};
	buf_fmt(&b, "BDAT %llu LAST\r\n", (unsigned long long)content_size(job));
	return client_write(c, buf_str(&b)) && each_piece(job, write_piece, c, read_failed);
}

/* ---- the transaction --------------------------------------------------------------------- */

struct progress {
	size_t accepted;
	struct relay_reply data;
};

static bool lost(struct smtp_client *c, struct arena *a, struct relay_reply *r, const char *where)
{
	c->dead = true;
	reply_failed(r, a, RELAY_SESSION, OUTCOME_BAD_CONNECTION, "%.*s broke off or fell silent %s",
		     STR_ARG(c->host), where);
	return false;
}

/* A reply that is neither yes nor no where it stands: we are out of step, so nothing after it means
 * anything, and least of all that the message was taken. */
static bool out_of_step(const struct relay_reply *r, bool yes)
{
	return !yes && !reply_refuses(r);
}

/* The peer says goodbye: recipients without a word of their own get this one. */
static bool goodbye(struct smtp_client *c, const struct relay_job *job, struct relay_reply *replies,
		    struct relay_reply r)
{
	c->dead = true;
	r.scope = RELAY_SESSION;
	accepted_failed(job, replies, r);
	return false;
}

/* MAIL and RCPTs, and DATA when pipelined with them. False: the session is over; replies are set. */
static bool envelope_exchange(struct smtp_client *c, const struct relay_job *job, struct arena *a,
			      struct relay_reply *replies, bool binary, struct progress *p)
{
	bool pipelined = c->ext & EXT_PIPELINING;
	struct relay_reply mail;
	BUF_SCOPED b = {0};
	mail_line(c, job, &b);
	if (!pipelined && !client_write(c, buf_str(&b)))
		goto broken;
	if (pipelined) {
		for (size_t k = 0; k < job->rcpt_n; k++)
			rcpt_line(c, job, &job->rcpt[k], &b);
		if (!binary)
			buf_add(&b, STR("DATA\r\n"));
		if (!client_write(c, buf_str(&b)))
			goto broken;
	}
	if (!client_read(c, a, c->reply_ms, &mail) || out_of_step(&mail, mail.code / 100 == 2))
		goto broken;
	if (mail.code == 421)
		return goodbye(c, job, replies, mail);
	mail.scope = RELAY_MESSAGE;
	if (mail.code / 100 != 2) { /* known now, even if the connection ends here */
		all_failed(job, replies, mail);
		if (!pipelined)
			return true;
	}
	for (size_t k = 0; k < job->rcpt_n; k++) {
		struct relay_reply r;
		buf_clear(&b);
		rcpt_line(c, job, &job->rcpt[k], &b);
		if ((!pipelined && !client_write(c, buf_str(&b))) || !client_read(c, a, c->reply_ms, &r) ||
		    out_of_step(&r, r.code / 100 == 2))
			goto broken;
		if (mail.code / 100 != 2)
			continue;
		if (r.code == 421)
			return goodbye(c, job, replies, r);
		r.scope = RELAY_RECIPIENT;
		replies[k] = r;
		p->accepted += r.code / 100 == 2;
	}
	if (binary)
		return true;
	if (!pipelined && !p->accepted)
		return true;
	if ((!pipelined && !client_write(c, STR("DATA\r\n"))) ||
	    !client_read(c, a, c->reply_ms, &p->data) || out_of_step(&p->data, p->data.code == 354))
		goto broken;
	p->data.scope = p->data.code == 421 ? RELAY_SESSION : RELAY_MESSAGE;
	return true;
broken:
	lost(c, a, &mail, "before the content");
	accepted_failed(job, replies, mail);
	return false;
}

/* The replies after the content: one, or in LMTP one for each accepted recipient (RFC 2033 4.2). */
static bool final_replies(struct smtp_client *c, const struct relay_job *job, struct arena *a,
			  struct relay_reply *replies)
{
	struct relay_reply r = {0};
	bool ok = true;
	for (size_t k = 0; k < job->rcpt_n && ok; k++) {
		if (replies[k].code / 100 != 2)
			continue;
		if (c->lmtp || !r.code) {
			ok = client_read(c, a,
					 c->reply_ms > FINAL_WAIT_MS ? c->reply_ms : c->reply_ms * 2, &r) &&
			     !out_of_step(&r, r.code / 100 == 2);
			r.scope = r.code == 421 ? RELAY_SESSION : c->lmtp ? RELAY_RECIPIENT : RELAY_MESSAGE;
		}
		if (ok) {
			r.relayed_dsn = r.code / 100 == 2 && (c->ext & EXT_DSN);
			replies[k] = r;
		} else {
			lost(c, a, &r, "after the content: it may have the message");
			r.sure = false;
			for (; k < job->rcpt_n; k++) {
				if (replies[k].code / 100 == 2)
					replies[k] = r;
			}
		}
	}
	return ok;
}

static bool send_once(struct smtp_client *c, const struct relay_job *job, struct arena *a,
		      struct relay_reply *replies)
{
	struct progress p = {0};
	struct relay_reply r;
	bool binary = job->envelope->body == ENVELOPE_BINARYMIME, read_failed = false;
	memset(replies, 0, job->rcpt_n * sizeof *replies);
	if (!fits(c, job, a, &r)) {
		all_failed(job, replies, r);
		return true;
	}
	c->sent++;
	if (!envelope_exchange(c, job, a, replies, binary, &p))
		return false;
	if (!p.accepted) {
		/* DATA may have been pipelined: a 354 wants an empty message, which nobody gets. */
		if (p.data.code == 354)
			return client_write(c, STR(".\r\n")) && client_read(c, a, c->reply_ms, &r) &&
			       r.code != 421;
		return client_say(c, a, STR("RSET"), c->reply_ms, &r) && r.code / 100 == 2;
	}
	if (!binary && p.data.code != 354) {
		accepted_failed(job, replies, p.data);
		return p.data.code != 421 && client_say(c, a, STR("RSET"), c->reply_ms, &r);
	}
	if (!(binary ? send_chunk(c, job, &read_failed) : send_stuffed(c, job, &read_failed))) {
		lost(c, a, &r, "during the content");
		if (read_failed)
			reply_failed(&r, a, RELAY_MESSAGE, OUTCOME_SYSTEM_TEMP,
				     "our own copy could not be read");
		accepted_failed(job, replies, r);
		return false; /* closing in the middle of the content: the peer discards it */
	}
	bool ok = final_replies(c, job, a, replies);
	for (size_t k = 0; k < job->rcpt_n; k++)
		ok = ok && replies[k].code != 421;
	return ok;
}

/* "452 too many recipients" (RFC 5321 4.5.3.1.10): these go in the next transaction. */
static bool next_time(const struct relay_reply *r)
{
	return r->scope == RELAY_RECIPIENT && r->code == 452 && r->status.subject == 5 &&
	       r->status.detail == 3;
}

/* No more recipients at once than we want, and than the peer says it takes. */
static size_t rcpts_at_once(const struct smtp_client *c, const struct relay_job *job)
{
	size_t most = job->rcpts_per_message ? job->rcpts_per_message : SIZE_MAX;
	return c->rcpt_max && c->rcpt_max < most ? c->rcpt_max : most;
}

/* In as many transactions as it takes; each one must get a recipient further. */
bool smtp_client_send(struct smtp_client *c, const struct relay_job *job, struct arena *a,
		      struct relay_reply *replies)
{
	size_t most = rcpts_at_once(c, job), left = job->rcpt_n, *todo = arena_array(a, left, sizeof *todo);
	struct recipient *rcpt = arena_array(a, left, sizeof *rcpt);
	struct relay_reply *got = arena_array(a, left, sizeof *got);
	struct relay_job part = *job;
	bool usable = true;
	for (size_t k = 0; k < left; k++)
		todo[k] = k;
	part.rcpt = rcpt;
	while (left && usable) {
		size_t again = 0;
		bool taken = false;
		part.rcpt_n = left < most ? left : most;
		for (size_t k = 0; k < part.rcpt_n; k++)
			rcpt[k] = job->rcpt[todo[k]];
		usable = send_once(c, &part, a, got);
		for (size_t k = 0; k < part.rcpt_n; k++) {
			replies[todo[k]] = got[k];
			taken |= got[k].code / 100 == 2;
		}
		for (size_t k = 0; k < left; k++) {
			if (k >= part.rcpt_n || (taken && next_time(&got[k])))
				todo[again++] = todo[k];
		}
		left = again;
	}
	for (size_t k = 0; k < left; k++) /* the session ended before their turn */
		if (!next_time(&replies[todo[k]]))
			lost(c, a, &replies[todo[k]], "before this recipient's turn");
	return usable;
}
