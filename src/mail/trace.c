/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Lines are made of pieces that a small folder puts side by side; only it writes line ends. */
#include "mail/trace.h"
#include "base/arena.h"
#include "base/codec.h"
#include "mail/header.h"

enum { FOLD_AT = 77, TOKEN_MAX = 255 };

struct folder {
	struct buf *out;
	size_t line_start; /* offset of the line under way */
	bool fresh;        /* no piece on this line yet */
};

static void put_clean(struct buf *out, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		buf_byte(out, (c < 32 && c != '\t') || c == 127 ? '?' : (char)c);
	}
}

static struct folder folder_begin(struct buf *out, struct str name)
{
	struct folder f = {out, out->n, true};
	put_clean(out, name);
	buf_add(out, STR(": "));
	return f;
}

/* One piece, not broken, after a blank or on a new line. */
static void folder_piece(struct folder *f, struct str piece)
{
	if (!f->fresh && f->out->n - f->line_start + 1 + piece.n > FOLD_AT) {
		buf_add(f->out, STR("\r\n"));
		f->line_start = f->out->n;
		buf_byte(f->out, '\t');
	} else if (!f->fresh) {
		buf_byte(f->out, ' ');
	}
	f->fresh = false;
	put_clean(f->out, piece);
}

static void folder_break(struct folder *f)
{
	buf_add(f->out, STR("\r\n"));
	f->line_start = f->out->n;
	buf_byte(f->out, '\t');
	f->fresh = true;
}

static void folder_end(struct folder *f)
{
	buf_add(f->out, STR("\r\n"));
}

void trace_field(struct buf *out, struct str name, struct str body)
{
	struct folder f = folder_begin(out, name);
	body = str_trim(body);
	for (struct str rest = body; rest.p;) {
		struct str piece = str_cut(&rest, ' ');
		if (piece.n > 0) folder_piece(&f, piece);
	}
	folder_end(&f);
}

struct str trace_protocol(const struct envelope *e)
{
	bool tls = e->peer.tls_version.n > 0, auth = e->account.n > 0;
	int at = (tls ? 2 : 0) + (auth ? 1 : 0);
	static const char *const lmtp[] = {"LMTP", "LMTPA", "LMTPS", "LMTPSA"};
	static const char *const esmtp[] = {"ESMTP", "ESMTPA", "ESMTPS", "ESMTPSA"};
	static const char *const utf8smtp[] = {"UTF8SMTP", "UTF8SMTPA", "UTF8SMTPS", "UTF8SMTPSA"};
	static const char *const utf8lmtp[] = {"UTF8LMTP", "UTF8LMTPA", "UTF8LMTPS", "UTF8LMTPSA"};
	if (e->origin == ENVELOPE_LOCAL) return STR("local");
	if (e->origin == ENVELOPE_LMTP) return str_of(e->smtputf8 ? utf8lmtp[at] : lmtp[at]);
	if (e->smtputf8) return str_of(utf8smtp[at]);
	return at == 0 && !e->peer.esmtp ? STR("SMTP") : str_of(esmtp[at]);
}

/* What a peer calls itself, kept from looking like anything else in the field. */
static void put_token(struct buf *out, struct str s)
{
	s = str_sub(s, 0, TOKEN_MAX);
	bool utf8 = utf8_valid(s);
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		bool fine = ascii_is(c, ASCII_UPPER | ASCII_LOWER | ASCII_DIGIT) || c == '.' || c == '-' ||
			    c == '_' || c == ':' || c == '[' || c == ']' || (c >= 0x80 && utf8);
		buf_byte(out, fine ? (char)c : '?');
	}
}

/* TCP-info = address-literal / ( Domain FWS address-literal ) */
static void put_tcp_info(struct buf *out, const struct envelope_peer *peer)
{
	buf_byte(out, '(');
	if (peer->name.n > 0) put_token(out, peer->name);
	else buf_add(out, STR("unknown"));
	buf_add(out, str_has_byte(peer->address, ':') ? STR(" [IPv6:") : STR(" ["));
	put_token(out, peer->address);
	buf_add(out, STR("])"));
}

static void piece_from_buf(struct folder *f, struct buf *b)
{
	folder_piece(f, buf_str(b));
	buf_clear(b);
}

static void received_from(struct folder *f, struct buf *b, const struct envelope *e)
{
	buf_add(b, STR("from "));
	if (e->peer.helo.n > 0) put_token(b, e->peer.helo);
	else buf_add(b, STR("unknown"));
	piece_from_buf(f, b);
	if (e->peer.address.n > 0) {
		put_tcp_info(b, &e->peer);
		piece_from_buf(f, b);
	}
	folder_break(f);
}

static void received_by(struct folder *f, struct buf *b, const struct envelope *e, struct str by)
{
	buf_add(b, STR("by "));
	put_token(b, by);
	piece_from_buf(f, b);
	if (e->has_uid) {
		buf_fmt(b, "(userid %u)", e->uid);
		piece_from_buf(f, b);
	}
	buf_add(b, STR("with "));
	buf_add(b, trace_protocol(e));
	piece_from_buf(f, b);
	if (e->peer.tls_version.n > 0) {
		buf_byte(b, '(');
		put_token(b, e->peer.tls_version);
		buf_byte(b, ' ');
		put_token(b, e->peer.tls_cipher);
		buf_byte(b, ')');
		piece_from_buf(f, b);
	}
	buf_add(b, STR("id "));
	buf_add(b, id_str(&e->id));
}

static void put_path(struct buf *out, struct address addr)
{
	buf_byte(out, '<');
	address_format(out, addr);
	buf_byte(out, '>');
}

void trace_received(struct buf *out, const struct envelope *e, struct str by, int flags)
{
	BUF_SCOPED b = {0};
	struct folder f = folder_begin(out, STR("Received"));
	if (e->origin != ENVELOPE_LOCAL && !(flags & TRACE_HIDE_CLIENT)) received_from(&f, &b, e);
	received_by(&f, &b, e, by);
	if (e->rcpt_n == 1 && !(flags & TRACE_NO_FOR)) {
		piece_from_buf(&f, &b);
		buf_add(&b, STR("for "));
		put_path(&b, e->rcpt[0].address);
	}
	buf_byte(&b, ';');
	piece_from_buf(&f, &b);
	int64_t now = e->received_us / 1000000;
	date_format(&b, date_local(now));
	piece_from_buf(&f, &b);
	folder_end(&f);
}

void trace_return_path(struct buf *out, struct address reverse_path)
{
	buf_add(out, STR("Return-Path: "));
	put_path(out, reverse_path);
	buf_add(out, STR("\r\n"));
}

void trace_delivered_to(struct buf *out, struct address rcpt)
{
	buf_add(out, STR("Delivered-To: "));
	address_format(out, rcpt);
	buf_add(out, STR("\r\n"));
}

void message_id_new(struct buf *out, struct str domain)
{
	struct id id = id_new();
	buf_byte(out, '<');
	buf_add(out, id_str(&id));
	buf_fmt(out, ".%08x@", (unsigned)random_u64());
	put_token(out, domain);
	buf_byte(out, '>');
}

unsigned trace_count_hops(struct str header)
{
	return header_count(header, STR("Received"));
}

bool trace_was_delivered_to(struct str header, struct address rcpt)
{
	ARENA_SCOPED a = arena_new();
	struct scan s = scan_of(header);
	struct header_field f;
	struct err err;
	while (header_next(&s, &f)) {
		if (!str_eq_nocase(f.name, STR("Delivered-To"))) continue;
		struct str text = str_trim(f.body);
		if (text.n > 2 && text.p[0] == '<' && text.p[text.n - 1] == '>')
			text = str_sub(text, 1, text.n - 2);
		struct address addr;
		if (!address_parse(a, text, ADDRESS_UTF8 | ADDRESS_NO_DOMAIN, &addr, &err)) continue;
		if (!address_canonical(a, addr, 0, &addr, &err)) continue;
		/* Without case, since our own domains fold it: better a loop found than one more round. */
		if (str_eq_nocase(addr.local, rcpt.local) && str_eq_nocase(addr.domain, rcpt.domain))
			return true;
	}
	return false;
}
