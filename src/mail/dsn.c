/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Three parts (RFC 3462, RFC 6522): words for people in Korean, then English; fields for programs;
 * the message, or its header. The first is quoted-printable so that it passes every server, the
 * second is ASCII unless the reverse-path itself is not (then SMTPUTF8 is needed anyway and the
 * types of RFC 6533 are used), the third is what was sent to us, octet for octet.
 */
#include "mail/dsn.h"
#include "base/arena.h"
#include "base/codec.h"
#include "mail/header.h"
#include "mail/trace.h"
#include <assert.h>
#include <string.h>

enum { LINE_MAX_OCTETS = 998, REPLY_SHOWN_MAX = 900 };

struct words {
	const char *action;      /* RFC 3464 2.3.3 */
	const char *subject_ko, *subject_en;
	const char *intro_ko, *intro_en;
};
static const struct words words[] = {
	[DSN_FAILED] = {"failed", "메일을 보내지 못했습니다", "Undelivered mail",
		"보내신 메일을 아래의 받는 사람에게 배달하지 못했습니다. 더 이상 다시 시도하지 않습니다.",
		"Your message could not be delivered to the recipients below. It will not be tried again."},
	[DSN_DELAYED] = {"delayed", "메일 전송이 지연되고 있습니다", "Delayed mail",
		"보내신 메일을 아래의 받는 사람에게 아직 배달하지 못했습니다. 계속 다시 시도하므로 "
		"지금 다시 보내지 않으셔도 됩니다.",
		"Your message has not yet been delivered to the recipients below. It is being tried again; "
		"there is no need to send it once more."},
	[DSN_DELIVERED] = {"delivered", "메일이 배달되었습니다", "Delivered mail",
		"보내신 메일이 아래의 받는 사람에게 배달되었습니다.",
		"Your message was delivered to the recipients below."},
	[DSN_RELAYED] = {"relayed", "메일이 다음 서버에 전달되었습니다", "Relayed mail",
		"보내신 메일이 다음 서버에 전달되었습니다. 그 뒤의 알림은 오지 않을 수 있습니다.",
		"Your message was handed to the next server. There may be no further notice."},
	[DSN_EXPANDED] = {"expanded", "메일이 목록에 전달되었습니다", "Expanded mail",
		"보내신 메일이 목록에 속한 사람들에게 전달되었습니다.",
		"Your message was passed on to the members of a list."},
};

const char *dsn_action_name(enum dsn_action action)
{
	assert((unsigned)action < DSN_ACTION_COUNT);
	return words[action].action;
}

/* The gravest one speaks for the notice. */
static enum dsn_action overall(const struct dsn *d)
{
	enum dsn_action least = DSN_EXPANDED;
	for (size_t i = 0; i < d->rcpt_n; i++)
		if (d->rcpt[i].action < least) least = d->rcpt[i].action;
	return least;
}

static struct status status_of(const struct dsn_recipient *r)
{
	struct status st = r->status.class ? r->status : outcome_row(r->outcome)->status;
	/* RFC 3464 2.3.4: the class agrees with the action. */
	st.class = r->action == DSN_FAILED ? 5 : r->action == DSN_DELAYED ? 4 : 2;
	return st;
}

/* RFC 2045 6.7, for text with CRLF lines. */
static void put_qp(struct buf *out, struct str text)
{
	size_t column = 0;
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];
		if (c == '\r') continue;
		if (c == '\n') {
			buf_add(out, STR("\r\n"));
			column = 0;
			continue;
		}
		bool at_end = i + 1 < text.n && (text.p[i + 1] == '\r' || text.p[i + 1] == '\n');
		bool plain = (c > 32 && c < 127 && c != '=') || (c == ' ' && !at_end);
		if (column + (plain ? 1 : 3) > 75) {
			buf_add(out, STR("=\r\n"));
			column = 0;
		}
		/* A dot at the start of a line is safe in SMTP, but not with everyone. */
		if (plain && !(c == '.' && column == 0)) {
			buf_byte(out, (char)c);
			column++;
		} else {
			buf_fmt(out, "=%02X", c);
			column += 3;
		}
	}
}

static void put_clean(struct buf *out, struct str s)
{
	s = str_sub(s, 0, REPLY_SHOWN_MAX);
	bool utf8 = utf8_valid(s);
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		buf_byte(out, c < 32 || c == 127 ? ' ' : c < 128 || utf8 ? (char)c : '?');
	}
}

static void put_rcpt(struct buf *out, const struct dsn_recipient *r)
{
	if (r->rcpt->forward_path.n > 0) put_clean(out, r->rcpt->forward_path);
	else address_format(out, r->rcpt->address);
}

static void put_date(struct buf *out, int64_t unix_s)
{
	date_format(out, date_local(unix_s));
}

enum language { KOREAN, ENGLISH };

static void person_recipient(struct buf *b, const struct dsn_recipient *r, enum language lang)
{
	const struct outcome_row *row = outcome_row(r->outcome);
	bool ko = lang == KOREAN;
	buf_add(b, ko ? STR("  받는 사람: ") : STR("  Recipient: "));
	put_rcpt(b, r);
	buf_fmt(b, "\r\n%s%s (", ko ? "  이유: " : "  Reason: ", ko ? row->ko : row->en);
	status_format(b, status_of(r));
	buf_add(b, STR(")\r\n"));
	if (r->diagnostic.n > 0) {
		buf_add(b, ko ? STR("  상대 서버의 응답: ") : STR("  The other server said: "));
		put_clean(b, r->diagnostic);
		if (r->remote_mta.n > 0) {
			buf_add(b, STR(" ["));
			put_clean(b, r->remote_mta);
			buf_byte(b, ']');
		}
		buf_add(b, STR("\r\n"));
	}
	if (r->action == DSN_DELAYED && r->will_retry_until_unix > 0) {
		buf_add(b, ko ? STR("  다시 시도하는 기한: ") : STR("  Will be tried until: "));
		put_date(b, r->will_retry_until_unix);
		buf_add(b, STR("\r\n"));
	}
	/* What failed for good is somebody's turn, even if the table's row speaks of a passing trouble. */
	enum status_turn turn = row->turn;
	if (r->action == DSN_FAILED && turn == TURN_NOBODY) turn = TURN_SENDER;
	if (r->action != DSN_FAILED && r->action != DSN_DELAYED) turn = TURN_NOBODY;
	buf_fmt(b, "%s%s\r\n\r\n", ko ? "  할 일: " : "  What to do: ",
		ko ? status_turn_ko(turn) : status_turn_en(turn));
}

static void person_text(struct buf *b, const struct dsn *d, enum language lang)
{
	bool ko = lang == KOREAN;
	const struct words *w = &words[overall(d)];
	buf_fmt(b, "%s\r\n\r\n", ko ? w->intro_ko : w->intro_en);
	for (size_t i = 0; i < d->rcpt_n; i++) person_recipient(b, &d->rcpt[i], lang);
	buf_add(b, ko ? STR("  메일을 받은 시각: ") : STR("  Received by us: "));
	put_date(b, d->envelope->received_us / 1000000);
	buf_fmt(b, "\r\n%s%.*s\r\n%s%.*s\r\n\r\n", ko ? "  메일 번호: " : "  Message number: ", ID_LEN,
		d->envelope->id.c, ko ? "  알린 서버: " : "  Told by: ", STR_ARG(d->reporting_mta));
	if (d->postmaster.n == 0) return;
	buf_add(b, ko ? STR("도움이 필요하시면 이 안내와 함께 ") : STR("For help write to "));
	put_clean(b, d->postmaster);
	buf_add(b, ko ? STR(" 에 문의하십시오.\r\n\r\n") : STR(" and include this notice.\r\n\r\n"));
}

static void person_part(struct buf *out, const struct dsn *d)
{
	BUF_SCOPED b = {0};
	person_text(&b, d, KOREAN);
	buf_add(&b, STR("----------------------------------------------------------------\r\n\r\n"));
	person_text(&b, d, ENGLISH);
	buf_add(out, STR("Content-Type: text/plain; charset=utf-8\r\n"
			 "Content-Language: ko, en\r\n"
			 "Content-Description: Notification\r\n"
			 "Content-Transfer-Encoding: quoted-printable\r\n\r\n"));
	put_qp(out, buf_str(&b));
}

/* "type; text"; blanks stay blanks, so that trace_field may fold there. */
static void typed_field(struct buf *out, const char *name, struct str type, struct str value)
{
	BUF_SCOPED b = {0};
	buf_fmt(&b, "%.*s; ", STR_ARG(type));
	for (size_t i = 0; i < value.n && i < REPLY_SHOWN_MAX; i++) {
		unsigned char c = (unsigned char)value.p[i];
		buf_byte(&b, c < 32 || c == 127 ? ' ' : (char)c);
	}
	trace_field(out, str_of(name), buf_str(&b));
}

static void date_field(struct buf *out, const char *name, int64_t unix_s)
{
	BUF_SCOPED b = {0};
	if (unix_s <= 0) return;
	put_date(&b, unix_s);
	trace_field(out, str_of(name), buf_str(&b));
}

/* An address with its type: rfc822, or utf-8 when it is not ASCII (RFC 6533 3). */
static void address_field(struct buf *out, const char *name, struct str addr, bool utf8)
{
	if (str_is_ascii(addr)) {
		typed_field(out, name, STR("rfc822"), addr);
		return;
	}
	BUF_SCOPED b = {0};
	utf8_addr_encode(&b, addr, !utf8);
	typed_field(out, name, STR("utf-8"), buf_str(&b));
}

static void original_recipient(struct buf *out, struct str orcpt, bool utf8)
{
	struct str addr = orcpt, type = str_cut(&addr, ';');
	if (type.n == 0 || addr.n == 0) return;
	if (str_eq_nocase(type, STR("rfc822")) || str_eq_nocase(type, STR("utf-8"))) {
		address_field(out, "Original-Recipient", addr, utf8);
		return;
	}
	typed_field(out, "Original-Recipient", type, addr);
}

static void program_recipient(struct buf *out, const struct dsn_recipient *r, bool utf8)
{
	BUF_SCOPED b = {0};
	buf_add(out, STR("\r\n"));
	original_recipient(out, r->rcpt->orcpt, utf8);
	if (r->final_recipient.n > 0) buf_add(&b, r->final_recipient);
	else address_format(&b, r->rcpt->address);
	address_field(out, "Final-Recipient", buf_str(&b), utf8);
	buf_fmt(out, "Action: %s\r\nStatus: ", words[r->action].action);
	status_format(out, status_of(r));
	buf_add(out, STR("\r\n"));
	if (r->remote_mta.n > 0) typed_field(out, "Remote-MTA", STR("dns"), r->remote_mta);
	if (r->diagnostic.n > 0) {
		buf_clear(&b);
		put_clean(&b, r->diagnostic);
		if (!utf8)
			for (size_t i = 0; i < b.n; i++)
				if ((unsigned char)b.p[i] > 127) b.p[i] = '?';
		typed_field(out, "Diagnostic-Code", STR("smtp"), buf_str(&b));
	} else if (r->action == DSN_FAILED || r->action == DSN_DELAYED) {
		typed_field(out, "Diagnostic-Code", STR("x-pabal"), str_of(outcome_row(r->outcome)->en));
	}
	date_field(out, "Last-Attempt-Date", r->last_attempt_unix);
	if (r->action == DSN_DELAYED) date_field(out, "Will-Retry-Until", r->will_retry_until_unix);
}

static void program_part(struct buf *out, const struct dsn *d, bool utf8)
{
	buf_fmt(out, "Content-Type: message/%s\r\nContent-Description: Delivery report\r\n%s\r\n",
		utf8 ? "global-delivery-status" : "delivery-status",
		utf8 ? "Content-Transfer-Encoding: 8bit\r\n" : "");
	if (d->envelope->envid.n > 0) trace_field(out, STR("Original-Envelope-Id"), d->envelope->envid);
	typed_field(out, "Reporting-MTA", STR("dns"), d->reporting_mta);
	if (d->envelope->peer.helo.n > 0 && str_is_ascii(d->envelope->peer.helo))
		typed_field(out, "Received-From-MTA", STR("dns"), d->envelope->peer.helo);
	date_field(out, "Arrival-Date", d->envelope->received_us / 1000000);
	for (size_t i = 0; i < d->rcpt_n; i++) program_recipient(out, &d->rcpt[i], utf8);
}

/* Can stand in a message as it is: no long lines, no NUL, no bare CR or LF. */
static bool is_transportable(struct str content)
{
	if (str_has_byte(content, 0)) return false;
	for (struct str rest = content; rest.p;) {
		struct str line = str_cut(&rest, '\n');
		if (rest.p && (line.n == 0 || line.p[line.n - 1] != '\r')) return false;
		if (line.n > LINE_MAX_OCTETS + 1) return false;
		size_t cr = str_find_byte(line, '\r');
		if (cr != STR_NPOS && cr + 1 < line.n) return false;
	}
	return true;
}

/* The lines of a header that can be shown; what cannot is left out or cut, never altered inside. */
static void put_header(struct buf *out, struct str header)
{
	struct scan s = scan_of(header);
	struct header_field f;
	while (header_next(&s, &f)) {
		for (struct str rest = f.raw; rest.p && rest.n > 0;) {
			struct str line = str_cut(&rest, '\n');
			line = str_sub(line, 0, LINE_MAX_OCTETS);
			for (size_t i = 0; i < line.n; i++) {
				char c = line.p[i];
				if (c != '\r' && c != 0) buf_byte(out, c);
			}
			buf_add(out, STR("\r\n"));
		}
	}
}

static void original_part(struct buf *out, const struct dsn *d)
{
	struct str content = d->content, header = str_sub(content, 0, header_length(content));
	bool failed = overall(d) == DSN_FAILED;
	/* RFC 3461 4.3: FULL concerns failures only; without RET the choice is ours. */
	bool full = failed && d->envelope->ret != ENVELOPE_RET_HDRS && content.n <= d->content_max &&
		    is_transportable(content);
	struct str shown = full ? content : header;
	/* RFC 6533 5: a header with UTF-8 in it needs the "global" types. */
	bool global = !str_is_ascii(header);
	buf_fmt(out, "Content-Type: %s\r\nContent-Description: %s\r\n",
		full ? (global ? "message/global" : "message/rfc822")
		     : (global ? "message/global-headers" : "text/rfc822-headers"),
		full ? "Undelivered message" : "Message headers");
	if (!str_is_ascii(shown)) buf_add(out, STR("Content-Transfer-Encoding: 8bit\r\n"));
	buf_add(out, STR("\r\n"));
	if (full) buf_add(out, content);
	else put_header(out, header);
}

/* Each piece is one encoded word (RFC 2047 2: at most 75 characters); they are short enough. */
static void put_subject(struct buf *out, const struct words *w)
{
	buf_add(out, STR("Subject: =?utf-8?B?"));
	base64_encode(out, str_of(w->subject_ko));
	buf_fmt(out, "?=\r\n (%s)\r\n", w->subject_en);
}

/* References to the original, if it has a Message-ID that looks like one. */
static void put_references(struct buf *out, struct str header)
{
	struct header_field f;
	if (!header_find(header, STR("Message-ID"), &f)) return;
	struct str id = str_trim(f.body);
	if (id.n < 3 || id.n > 250 || id.p[0] != '<' || id.p[id.n - 1] != '>') return;
	for (size_t i = 0; i < id.n; i++)
		if (id.p[i] <= 32 || id.p[i] > 126) return;
	buf_fmt(out, "In-Reply-To: %.*s\r\nReferences: %.*s\r\n", STR_ARG(id), STR_ARG(id));
}

static void put_top(struct buf *out, const struct dsn *d, struct str boundary)
{
	buf_add(out, STR("Date: "));
	put_date(out, d->now_unix);
	buf_fmt(out, "\r\nFrom: Mail Delivery System <MAILER-DAEMON@%.*s>\r\nTo: <", STR_ARG(d->from_domain));
	address_format(out, d->envelope->reverse_path);
	buf_add(out, STR(">\r\n"));
	put_subject(out, &words[overall(d)]);
	buf_add(out, STR("Message-ID: "));
	message_id_new(out, d->from_domain);
	buf_add(out, STR("\r\n"));
	put_references(out, str_sub(d->content, 0, header_length(d->content)));
	buf_fmt(out, "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
		"Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"%.*s\"\r\n",
		STR_ARG(boundary));
}

static void put_delimiter(struct buf *out, struct str boundary, bool last)
{
	if (out->n < 2 || memcmp(out->p + out->n - 2, "\r\n", 2) != 0) buf_add(out, STR("\r\n"));
	buf_fmt(out, "\r\n--%.*s%s\r\n", STR_ARG(boundary), last ? "--" : "");
}

void dsn_write(struct buf *out, const struct dsn *d, bool *out_smtputf8)
{
	ARENA_SCOPED a = arena_new();
	bool utf8 = address_is_utf8(d->envelope->reverse_path);
	struct str boundary;
	assert(d->rcpt_n > 0);
	do {
		boundary = arena_fmt(a, "=_%.*s_%08x", ID_LEN, d->envelope->id.c, (unsigned)random_u64());
	} while (str_find(d->content, boundary) != STR_NPOS);

	put_top(out, d, boundary);
	buf_add(out, STR("\r\nThis is a delivery report in MIME format.\r\n"));
	put_delimiter(out, boundary, false);
	person_part(out, d);
	put_delimiter(out, boundary, false);
	program_part(out, d, utf8);
	if (d->content.n > 0) {
		put_delimiter(out, boundary, false);
		original_part(out, d);
	}
	put_delimiter(out, boundary, true);
	*out_smtputf8 = utf8;
}
