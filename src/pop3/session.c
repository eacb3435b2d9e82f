/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * pop3/session.c: the TRANSACTION and UPDATE states (RFC 1939 5, 6), in the mailbox role.
 *
 * Replies of many lines, and messages, are written in steps: what is left of one is in "list" or
 * "sending", and the next command waits for it.
 */
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/config.h"
#include "imap/content.h"
#include "imap/parse.h"
#include "imap/write.h"
#include "pop3/pop3_int.h"
#include "store/served.h"
#include <stdlib.h>
#include <string.h>

enum {
	CHUNK = 64 * 1024,
	LINES_PER_STEP = 512,
};

enum pop3_listing { LISTING_NONE, LISTING_SIZES, LISTING_UIDS };

struct pop3 {
	struct conn *conn;
	struct served *served;
	struct view *view;
	struct view_facts facts;
	struct pop3_uidl *uidls; /* that are not made of UID and UIDVALIDITY */
	size_t uidls_n;
	uint32_t offset;       /* message n is number offset + n of the view (pop3.max_messages) */
	uint32_t count;
	unsigned char *deleted, *read; /* bits, by number - 1 */
	enum pop3_language language;
	unsigned errors, commands;
	int64_t began_ms;      /* monotonic */
	bool closing, draining, started, locked;
	enum pop3_listing listing;
	uint32_t list_next;
	bool sending;
	struct content content;
	uint64_t sent;         /* octets of the file */
	struct pop3_body body;
};
typedef void pop3_command(struct pop3 *s, struct str argument);

static struct buf *out(struct pop3 *s) { return conn_out(s->conn); }

static void ok(struct pop3 *s, enum pop3_text t) { pop3_ok(out(s), s->language, t); }

static void err(struct pop3 *s, enum pop3_text t)
{
	pop3_err(out(s), s->language, t);
	if (++s->errors < (unsigned)config_int(s->served->config, SETTING_IMAP_MAX_ERRORS))
		return;
	pop3_err(out(s), s->language, POP3_TOO_MANY_ERRORS);
	s->closing = true;
}

static bool bit(const unsigned char *bits, uint32_t n) { return bits[(n - 1) / 8] & 1 << (n - 1) % 8; }

static void set_bit(unsigned char *bits, uint32_t n)
{
	bits[(n - 1) / 8] |= (unsigned char)(1 << (n - 1) % 8);
}

static bool message(struct pop3 *s, uint32_t n, struct msg *m) { return view_msg(s->view, s->offset + n, m); }

/* A number of a message that is not deleted, from the front of *argument. */
static bool number(struct pop3 *s, struct str *argument, uint32_t *out_n)
{
	struct scan sc = scan_of(*argument);
	uint32_t n;

	if (!scan_u32(&sc, UINT32_MAX, &n) || (!scan_end(&sc) && !scan_byte(&sc, ' '))) {
		err(s, POP3_ARGUMENTS);
		return false;
	}
	if (!n || n > s->count || bit(s->deleted, n)) {
		err(s, POP3_NO_MESSAGE);
		return false;
	}
	*argument = scan_rest(&sc);
	*out_n = n;
	return true;
}

/* ---- lists ------------------------------------------------------------------------------ */

static void totals(struct pop3 *s, uint32_t *out_n, uint64_t *out_octets)
{
	struct msg m;

	*out_n = 0;
	*out_octets = 0;
	for (uint32_t n = 1; n <= s->count; n++)
		if (!bit(s->deleted, n) && message(s, n, &m)) {
			*out_n += 1;
			*out_octets += m.size;
		}
}

static void on_stat(struct pop3 *s, struct str argument)
{
	uint32_t n;
	uint64_t octets;

	(void)argument;
	totals(s, &n, &octets);
	buf_fmt(out(s), "+OK %u %llu\r\n", n, (unsigned long long)octets);
}

static char *put_hex8(char *p, uint32_t v)
{
	for (int shift = 28; shift >= 0; shift -= 4)
		*p++ = "0123456789abcdef"[v >> shift & 15];
	return p;
}

static bool find_uidl(const struct pop3 *s, uint32_t uid, struct str *out)
{
	size_t low = 0, high = s->uidls_n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (s->uidls[mid].uid < uid)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == s->uidls_n || s->uidls[low].uid != uid)
		return false;
	*out = s->uidls[low].text;
	return true;
}

static void list_line(struct pop3 *s, enum pop3_listing listing, uint32_t n, struct str before)
{
	struct buf *b = out(s);
	struct str uidl;
	struct msg m;

	if (!message(s, n, &m))
		return;
	char *start = write_room(b), *p = start;
	if (before.n)
		p = put(p, before.p, before.n);
	p = put_u64(p, n);
	*p++ = ' ';
	if (listing == LISTING_SIZES) {
		p = put_u64(p, m.size);
	} else if (find_uidl(s, m.uid, &uidl)) {
		p = put(p, uidl.p, uidl.n);
	} else {
		p = put_hex8(p, m.uid);
		p = put_hex8(p, s->facts.uidvalidity);
	}
	p = put(p, "\r\n", 2);
	b->n += (size_t)(p - start);
}

static void list(struct pop3 *s, struct str argument, enum pop3_listing listing)
{
	uint32_t n;
	uint64_t octets;

	if (argument.n) {
		if (number(s, &argument, &n))
			list_line(s, listing, n, STR("+OK "));
		return;
	}
	totals(s, &n, &octets);
	buf_fmt(out(s), "+OK %u messages (%llu octets)\r\n", n, (unsigned long long)octets);
	s->listing = listing;
	s->list_next = 1;
}

static void on_list(struct pop3 *s, struct str argument) { list(s, argument, LISTING_SIZES); }

static void on_uidl(struct pop3 *s, struct str argument) { list(s, argument, LISTING_UIDS); }

static void list_step(struct pop3 *s)
{
	for (unsigned i = 0; i < LINES_PER_STEP && s->list_next <= s->count; i++, s->list_next++)
		if (!bit(s->deleted, s->list_next))
			list_line(s, s->listing, s->list_next, STR_NONE);
	if (s->list_next <= s->count)
		return;
	buf_add(out(s), STR(".\r\n"));
	s->listing = LISTING_NONE;
}

/* ---- messages --------------------------------------------------------------------------- */

static bool open_message(struct pop3 *s, uint32_t n)
{
	struct msg m;
	struct err e;

	if (!message(s, n, &m)) {
		err(s, POP3_NO_MESSAGE);
		return false;
	}
	content_init(&s->content, s->view, &m, NULL);
	if (content_open(&s->content, &e))
		return true;
	if (e.kind == ERR_GONE || e.kind == ERR_NOT_FOUND) {
		err(s, POP3_NO_MESSAGE);
	} else {
		log_err(LOG_WARN, "pop3.retr", &e);
		pop3_err(out(s), s->language, POP3_UNREADABLE);
	}
	return false;
}

static void send_message(struct pop3 *s, bool limited, uint32_t lines)
{
	buf_fmt(out(s), "+OK %u octets\r\n", s->content.msg.size);
	pop3_body_init(&s->body, limited, lines);
	s->sent = 0;
	s->sending = true;
}

static void on_retr(struct pop3 *s, struct str argument)
{
	uint32_t n;

	if (!number(s, &argument, &n) || !open_message(s, n))
		return;
	set_bit(s->read, n);
	send_message(s, false, 0);
}

static void on_top(struct pop3 *s, struct str argument)
{
	uint32_t n, lines;
	uint64_t v;

	if (!number(s, &argument, &n))
		return;
	if (!str_u64(argument, UINT32_MAX, &v)) {
		err(s, POP3_ARGUMENTS);
		return;
	}
	lines = (uint32_t)v;
	if (open_message(s, n))
		send_message(s, true, lines);
}

/* false: the file cannot be read on, and a reply that has begun cannot be taken back. */
static bool send_step(struct pop3 *s)
{
	struct content *c = &s->content;
	uint64_t left = c->file_size - s->sent;
	size_t n = left < CHUNK ? (size_t)left : CHUNK;
	struct err e;

	if (n && !s->body.over) {
		BUF_SCOPED chunk = {};
		if (!file_pread_all(c->fd, buf_room(&chunk, n), n, (off_t)s->sent, &e)) {
			log_err(LOG_WARN, "pop3.retr", &e);
			return false;
		}
		s->sent += n;
		pop3_body_feed(&s->body, (struct str){chunk.p, n}, out(s));
		if (s->sent < c->file_size && !s->body.over)
			return true;
	}
	pop3_body_end(&s->body, out(s));
	content_fini(c);
	s->sending = false;
	return true;
}

static void on_dele(struct pop3 *s, struct str argument)
{
	uint32_t n;

	if (!number(s, &argument, &n))
		return;
	set_bit(s->deleted, n);
	ok(s, POP3_DELETED);
}

static void on_rset(struct pop3 *s, struct str argument)
{
	(void)argument;
	memset(s->deleted, 0, s->count / 8 + 1);
	on_stat(s, STR_NONE);
}

static void on_noop(struct pop3 *s, struct str argument)
{
	(void)argument;
	buf_add(out(s), STR("+OK\r\n"));
}

/* ---- update ----------------------------------------------------------------------------- */

/* UIDs of the numbers whose bit is in one and not in the other. */
static struct uid_set uids_of(struct pop3 *s, struct arena *a, const unsigned char *in,
			      const unsigned char *not_in)
{
	struct uid_set set = {};
	size_t cap = 0;
	struct msg m;

	for (uint32_t n = 1; n <= s->count; n++) {
		if (!in[(n - 1) / 8]) { /* eight at once */
			n = (n - 1) / 8 * 8 + 8;
			continue;
		}
		if (bit(in, n) && !(not_in && bit(not_in, n)) && message(s, n, &m))
			uid_set_add(a, &set, &cap, m.uid);
	}
	return set;
}

/* What was retrieved is \Seen for IMAP. */
static void mark_read(struct pop3 *s, struct arena *a)
{
	const struct flag_change seen = {.op = FLAGS_ADD, .flags = FLAG_SEEN};
	struct uid_set uids = uids_of(s, a, s->read, s->deleted), refused;
	uint64_t modseq;
	struct err e;

	if (uids.n && !view_store_flags(s->view, uids, &seen, a, &refused, &modseq, &e))
		log_err(LOG_WARN, "pop3.seen", &e);
}

static void on_quit(struct pop3 *s, struct str argument)
{
	ARENA_SCOPED a = arena_new();
	struct uid_set uids = uids_of(s, a, s->deleted, NULL);
	uint64_t modseq;
	struct err e;

	(void)argument;
	s->closing = true;
	mark_read(s, a);
	if (uids.n && !view_expunge(s->view, uids, false, &modseq, &e)) {
		log_err(LOG_WARN, "pop3.update", &e);
		pop3_err(out(s), s->language, POP3_NOT_REMOVED);
		return;
	}
	ok(s, POP3_BYE);
}

static void on_capa(struct pop3 *s, struct str argument)
{
	(void)argument;
	ok(s, POP3_CAPABILITIES);
	buf_add(out(s),
		STR("TOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nUTF8 USER\r\nLANG\r\n"
		    "USER\r\nIMPLEMENTATION pabal\r\n.\r\n"));
}

static void on_lang(struct pop3 *s, struct str argument) { pop3_lang(out(s), argument, &s->language); }

static const struct {
	const char *word;
	pop3_command *fn;
} commands[] = {
	{"STAT", on_stat}, {"LIST", on_list}, {"UIDL", on_uidl}, {"RETR", on_retr},
	{"TOP", on_top},   {"DELE", on_dele}, {"RSET", on_rset}, {"NOOP", on_noop},
	{"QUIT", on_quit}, {"CAPA", on_capa}, {"LANG", on_lang},
};

static void command(struct pop3 *s, struct str line)
{
	struct str rest;
	struct str word = pop3_keyword(line, &rest);

	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (str_eq_nocase(word, str_of(commands[i].word))) {
			commands[i].fn(s, rest);
			return;
		}
	err(s, POP3_UNKNOWN);
}

/* ---- life ------------------------------------------------------------------------------- */

static unsigned take_input(struct pop3 *s)
{
	struct str line;
	size_t used;

	switch (pop3_line(conn_input(s->conn), POP3_LINE_MAX, &line, &used)) {
	case POP3_LINE_READY:
		s->commands++;
		command(s, line);
		conn_consume(s->conn, used);
		return 0;
	case POP3_LINE_LONG:
		err(s, POP3_TOO_LONG);
		s->closing = true;
		return 0;
	case POP3_LINE_MORE:
		break;
	}
	if (conn_eof(s->conn))
		return PARK_CLOSE;
	if (s->draining) {
		pop3_err(out(s), s->language, POP3_SHUTDOWN);
		return PARK_CLOSE;
	}
	conn_deadline(s->conn, config_duration_ms(s->served->config, SETTING_POP3_TIMEOUT_IDLE));
	return PARK_INPUT;
}

static unsigned go(struct pop3 *s)
{
	for (unsigned n = 0;; n++) {
		if (s->closing)
			return PARK_CLOSE;
		if (conn_out_pending(s->conn) > CONN_OUT_HIGH) {
			conn_deadline(s->conn,
				      config_duration_ms(s->served->config, SETTING_POP3_TIMEOUT_IDLE));
			return PARK_OUTPUT;
		}
		if (n == 100)
			return PARK_AGAIN;
		if (s->listing != LISTING_NONE) {
			list_step(s);
		} else if (s->sending) {
			if (!send_step(s))
				return PARK_CLOSE;
		} else {
			unsigned park = take_input(s);
			if (park)
				return park;
		}
	}
}

static struct pop3 *pop3_new(struct conn *c, struct served *served)
{
	struct pop3 *s = mem_new(struct pop3);

	s->conn = c;
	s->served = served;
	s->began_ms = clock_mono_ms();
	s->content.fd = -1;
	if (str_eq(served->client_id, STR("ko")))
		s->language = POP3_KOREAN;
	served->protocol = s;
	return s;
}

static void start(struct pop3 *s)
{
	uint64_t most = (uint64_t)config_int(s->served->config, SETTING_POP3_MAX_MESSAGES);
	struct err e;

	s->started = true;
	s->locked = account_maildrop_lock(s->served->account);
	if (!s->locked) {
		pop3_err(out(s), s->language, POP3_IN_USE);
		s->closing = true;
		return;
	}
	if (!view_open(s->served->account, STR("INBOX"), false, &s->view, &e)) {
		log_err(LOG_WARN, "pop3.open", &e);
		s->view = NULL;
		pop3_err(out(s), s->language, POP3_NO_MAILDROP);
		s->closing = true;
		return;
	}
	view_facts(s->view, &s->facts);
	if (!view_pop3_uidls(s->view, s->served->arena, &s->uidls, &s->uidls_n, &e)) {
		/* Other UIDLs than before: the client would fetch all again. */
		log_err(LOG_WARN, "pop3.open", &e);
		pop3_err(out(s), s->language, POP3_NO_MAILDROP);
		s->closing = true;
		return;
	}
	s->count = view_count(s->view);
	if (most && s->count > most) {
		s->offset = s->count - (uint32_t)most;
		s->count = (uint32_t)most;
	}
	s->deleted = mem_zalloc(s->count / 8 + 1);
	s->read = mem_zalloc(s->count / 8 + 1);
	ok(s, POP3_LOGGED_IN);
}

static unsigned pop3_run(struct conn *c, enum wake wake)
{
	struct served *served = conn_session(c);
	struct pop3 *s = served->protocol;

	if (wake == WAKE_GONE)
		return PARK_CLOSE;
	if (!s)
		s = pop3_new(c, served);
	if (!s->started)
		start(s);
	/* RFC 1939 3: the autologout timer ends the session without the UPDATE state. */
	if (wake == WAKE_DEADLINE)
		return PARK_CLOSE;
	if (wake == WAKE_DRAIN)
		s->draining = true;
	return go(s);
}

static void log_end(const struct pop3 *s)
{
	log_event(LOG_INFO, "pop3.end", K_STR(account, s->served->address), K_STR(peer, s->served->peer),
		  K_INT(count, s->commands), K_INT(ms, clock_mono_ms() - s->began_ms));
}

static void pop3_end(struct conn *c)
{
	struct served *served = conn_session(c);
	struct pop3 *s = served ? served->protocol : NULL;

	if (s) {
		log_end(s);
		content_fini(&s->content);
		if (s->view)
			view_close(s->view);
		if (s->locked)
			account_maildrop_unlock(served->account);
		free(s->deleted);
		free(s->read);
		free(s);
		served->protocol = NULL;
	}
	if (served)
		served->release(served);
	conn_session_set(c, NULL);
}

const struct protocol pop3_protocol = {.name = "pop3", .run = pop3_run, .end = pop3_end};
