/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Encoded form: version, then records of type (u16), length (u32), value; unknown ones are skipped. */
#include "mime/summary.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/scan.h"
#include "mail/date.h"
#include "mail/header.h"
#include "mime/address_list.h"
#include "mime/envelope.h"
#include "mime/text.h"
#include "mime/words.h"
#include <endian.h>
#include <string.h>

enum record {
	REC_SIZE = 1, REC_HEADER_BYTES = 2, REC_BODY_LINES = 3, REC_ENVELOPE = 4, REC_BODYSTRUCTURE = 5,
		REC_BODY = 6,
	REC_SUBJECT = 7, REC_BASE_SUBJECT = 8, REC_FROM = 9, REC_TO = 10, REC_CC = 11, REC_FROM_ADDR = 12,
	REC_TO_ADDR = 13, REC_CC_ADDR = 14, REC_FROM_NAME = 15, REC_MESSAGE_ID = 16, REC_IN_REPLY_TO = 17,
	REC_REFERENCES = 18, REC_DATE = 19, REC_DATE_OFFSET = 20, REC_FLAGS = 21,
};

static struct str cut(struct arena *a, struct str s)
{
	return arena_str(a, utf8_cut(s, SUMMARY_TEXT_MAX));
}

static struct str rendered(struct arena *a, struct buf *b)
{
	struct str s = arena_str(a, buf_str(b));
	buf_clear(b);
	return s;
}

struct addresses {
	struct str display, first_addr, first_name;
};

/* SORT keys (RFC 5256 3): local-part of the first address, upper-cased by the comparator; DISPLAY (RFC
 * 5957 3): the name, else the address. */
static void read_addresses(struct arena *a, struct str header, struct str name, struct addresses *out)
{
	struct header_field f;
	struct address_list list;
	BUF_SCOPED b = {0};
	*out = (struct addresses){0};
	if (!header_find(header, name, &f)) return;
	address_list_parse(a, f.body, &list);
	address_list_display(&b, &list);
	out->display = cut(a, text_nfc_str(a, buf_str(&b)));
	if (list.n == 0) return;
	const struct address_item *first = &list.at[0];
	/* A group's name stands for the mailbox, as in ENVELOPE. */
	struct str local = first->kind == ADDRESS_ITEM_GROUP_START ? first->name : first->local;
	out->first_addr = cut(a, words_decode_str(a, local));
	out->first_name =
		cut(a, words_decode_str(a, first->name.n > 0 ? first->name : address_item_addr(a, first)));
}

/* msg-id: from "<" to ">" without blanks; moves on. */
static bool next_id(struct scan *s, struct str *out)
{
	for (;;) {
		scan_until_byte(s, '<');
		if (scan_end(s)) return false;
		const char *from = s->p++;
		while (!scan_end(s) && *s->p != '>' && *s->p != '<') s->p++;
		if (scan_peek(s) != '>') continue;
		s->p++;
		struct str id = {from, (size_t)(s->p - from)};
		if (id.n > 2 && id.n < 998 && !str_has_ctl(id) && !str_has_byte(id, ' ')) {
			*out = id;
			return true;
		}
	}
}

static struct str first_id(struct arena *a, struct str header, struct str name)
{
	struct header_field f;
	struct str id;
	if (!header_find_last(header, name, &f)) return STR_NONE;
	struct scan s = scan_of(f.body);
	return next_id(&s, &id) ? arena_str(a, id) : STR_NONE;
}

static struct str all_ids(struct arena *a, struct str header, struct str name)
{
	enum { REFERENCES_MAX = 64 << 10 };
	struct header_field f;
	struct str id;
	BUF_SCOPED b = {0};
	if (!header_find_last(header, name, &f)) return STR_NONE;
	struct scan s = scan_of(f.body);
	while (next_id(&s, &id) && b.n + id.n < REFERENCES_MAX) {
		if (b.n > 0) buf_byte(&b, ' ');
		buf_add(&b, id);
	}
	return arena_str(a, buf_str(&b));
}

static bool is_attachment(const struct mime_part *p)
{
	BUF_SCOPED name = {0};
	if (p->kind == MIME_MULTIPART || !p->parent) return str_eq_nocase(p->disposition, STR("attachment"));
	if (str_eq_nocase(p->disposition, STR("attachment"))) return true;
	return !mime_is(p, STR("text"), STR_NONE) && !str_eq_nocase(p->disposition, STR("inline")) &&
	       part_filename(&name, p);
}

static int part_flags(const struct mime_message *m)
{
	int flags = 0;
	for (const struct mime_part *p = m->root; p; p = mime_next(p)) {
		if (is_attachment(p)) flags |= SUMMARY_HAS_ATTACHMENT;
		if (p->has_nul) flags |= SUMMARY_HAS_NUL;
		if (mime_is(p, STR("multipart"), STR("signed"))) flags |= SUMMARY_SIGNED;
		if (mime_is(p, STR("multipart"), STR("encrypted"))) flags |= SUMMARY_ENCRYPTED;
		if (mime_is(p, STR("application"), STR("pkcs7-mime")) ||
			mime_is(p, STR("application"), STR("x-pkcs7-mime")))
			flags |= str_eq_nocase(mime_param(p->params, STR("smime-type")), STR("signed-data"))
					 ? SUMMARY_SIGNED : SUMMARY_ENCRYPTED;
	}
	return flags;
}

static int header_flags(struct str header)
{
	struct header_field f;
	int flags = 0;
	if (header_find(header, STR("List-Id"), &f) || header_find(header, STR("List-Post"), &f))
		flags |= SUMMARY_IS_LIST;
	if (header_find(header, STR("Precedence"), &f) && str_eq_nocase(str_trim(f.body), STR("list")))
		flags |= SUMMARY_IS_LIST;
	if (header_find(header, STR("Auto-Submitted"), &f) && !str_starts_nocase(f.body, STR("no")))
		flags |= SUMMARY_AUTO;
	return flags;
}

static void read_texts(struct arena *a, struct str header, struct summary *s)
{
	struct header_field f;
	bool refwd = false;
	if (header_find_last(header, STR("Subject"), &f)) s->subject = cut(a, words_decode_str(a, f.body));
	s->base_subject = subject_base(a, s->subject, &refwd);
	if (refwd) s->flags |= SUMMARY_SUBJECT_REFWD;

	struct addresses list;
	read_addresses(a, header, STR("To"), &list);
	s->to = list.display;
	s->to_addr = list.first_addr;
	read_addresses(a, header, STR("Cc"), &list);
	s->cc = list.display;
	s->cc_addr = list.first_addr;
	read_addresses(a, header, STR("From"), &list);
	s->from = list.display;
	s->from_addr = list.first_addr;
	s->from_name = list.first_name;
}

void summary_make(struct arena *a, const struct mime_message *m, struct summary *out)
{
	BUF_SCOPED b = {0};
	struct str header = str_sub(mime_part_header(m, m->root), 0, MIME_HEADER_MAX);
	struct header_field f;
	struct date d;
	struct summary s = {
		.size_bytes = m->data.n,
		.header_bytes = m->root->body_start,
		.body_lines = m->root->body_lines,
		.date_unix = SUMMARY_NO_DATE,
		.flags = part_flags(m) | header_flags(header),
	};
	mime_render_envelope(&b, header);
	s.envelope = rendered(a, &b);
	mime_render_bodystructure(&b, m);
	s.bodystructure = rendered(a, &b);
	mime_render_body(&b, m);
	s.body = rendered(a, &b);
	read_texts(a, header, &s);
	s.message_id = first_id(a, header, STR("Message-ID"));
	s.in_reply_to = first_id(a, header, STR("In-Reply-To"));
	s.references = all_ids(a, header, STR("References"));
	if (header_find_last(header, STR("Date"), &f) && date_parse(f.body, &d)) {
		s.date_unix = d.unix_s;
		s.date_offset_min = d.offset_min;
	}
	*out = s;
}

struct string_row {
	uint16_t type;
	size_t offset;
};
static const struct string_row string_rows[] = {
	{REC_ENVELOPE, offsetof(struct summary, envelope)},
	{REC_BODYSTRUCTURE, offsetof(struct summary, bodystructure)},
	{REC_BODY, offsetof(struct summary, body)},
	{REC_SUBJECT, offsetof(struct summary, subject)},
	{REC_BASE_SUBJECT, offsetof(struct summary, base_subject)},
	{REC_FROM, offsetof(struct summary, from)},
	{REC_TO, offsetof(struct summary, to)},
	{REC_CC, offsetof(struct summary, cc)},
	{REC_FROM_ADDR, offsetof(struct summary, from_addr)},
	{REC_TO_ADDR, offsetof(struct summary, to_addr)},
	{REC_CC_ADDR, offsetof(struct summary, cc_addr)},
	{REC_FROM_NAME, offsetof(struct summary, from_name)},
	{REC_MESSAGE_ID, offsetof(struct summary, message_id)},
	{REC_IN_REPLY_TO, offsetof(struct summary, in_reply_to)},
	{REC_REFERENCES, offsetof(struct summary, references)},
};
enum { STRING_ROWS = sizeof string_rows / sizeof string_rows[0] };

static struct str *string_at(struct summary *s, const struct string_row *row)
{
	return (struct str *)(void *)((char *)s + row->offset);
}

static void put_u64(struct buf *out, uint16_t type, uint64_t v)
{
	buf_le16(out, type);
	buf_le32(out, 8);
	buf_le64(out, v);
}

void summary_encode(struct buf *out, const struct summary *s)
{
	struct summary copy = *s;
	buf_byte(out, SUMMARY_VERSION);
	put_u64(out, REC_SIZE, s->size_bytes);
	put_u64(out, REC_HEADER_BYTES, s->header_bytes);
	put_u64(out, REC_BODY_LINES, s->body_lines);
	put_u64(out, REC_FLAGS, (uint64_t)s->flags);
	if (s->date_unix != SUMMARY_NO_DATE) {
		put_u64(out, REC_DATE, (uint64_t)s->date_unix);
		put_u64(out, REC_DATE_OFFSET, (uint64_t)(int64_t)s->date_offset_min);
	}
	for (int i = 0; i < STRING_ROWS; i++) {
		struct str value = *string_at(&copy, &string_rows[i]);
		if (value.n == 0) continue;
		buf_le16(out, string_rows[i].type);
		buf_le_str(out, value);
	}
}

static bool decode_number(uint16_t type, struct str value, struct summary *s)
{
	struct scan sc = scan_of(value);
	uint64_t v;
	if (value.n != 8 || !scan_le64(&sc, &v)) return false;
	switch (type) {
	case REC_SIZE: s->size_bytes = v; break;
	case REC_HEADER_BYTES: s->header_bytes = v; break;
	case REC_BODY_LINES: s->body_lines = (uint32_t)v; break;
	case REC_DATE: s->date_unix = (int64_t)v; break;
	case REC_DATE_OFFSET: s->date_offset_min = (int)(int64_t)v; break;
	case REC_FLAGS: s->flags = (int)(v & 0x7fffffff); break;
	}
	return true;
}

static bool decode_record(uint16_t type, struct str value, struct summary *s)
{
	for (int i = 0; i < STRING_ROWS; i++) {
		if (string_rows[i].type != type) continue;
		*string_at(s, &string_rows[i]) = value;
		return true;
	}
	bool number = type <= REC_BODY_LINES || (type >= REC_DATE && type <= REC_FLAGS);
	return !number || decode_number(type, value, s);
}

bool summary_decode_imap(struct str in, struct summary *out, struct err *err)
{
	const char *p = in.p, *end = in.p + in.n;
	struct summary s = {.date_unix = SUMMARY_NO_DATE};

	if (!in.n || *p++ != SUMMARY_VERSION)
		return err_set(err, ERR_CORRUPT, "index entry of another version");
	while (end - p >= 6) {
		unsigned type = (unsigned char)p[0] | (unsigned)(unsigned char)p[1] << 8;
		uint32_t n;
		memcpy(&n, p + 2, sizeof(n));
		n = le32toh(n);
		p += 6;
		if (n > (size_t)(end - p))
			break;
		struct str value = {p, n};
		if (type == REC_ENVELOPE)
			s.envelope = value;
		else if (type == REC_BODYSTRUCTURE)
			s.bodystructure = value;
		else if (type == REC_BODY)
			s.body = value;
		p += n;
	}
	if (p != end)
		return err_set(err, ERR_CORRUPT, "damaged index entry");
	*out = s;
	return true;
}

bool summary_decode(struct str in, struct summary *out, struct err *err)
{
	struct scan sc = scan_of(in);
	struct summary s = {.date_unix = SUMMARY_NO_DATE};
	if (!scan_byte(&sc, SUMMARY_VERSION))
		return err_set(err, ERR_CORRUPT, "index entry of another version");
	while (!scan_end(&sc)) {
		uint16_t type;
		struct str value;
		if (!scan_le16(&sc, &type) || !scan_le_str(&sc, SUMMARY_BYTES_MAX, &value) ||
		    !decode_record(type, value, &s))
			return err_set(err, ERR_CORRUPT, "damaged index entry");
	}
	*out = s;
	return true;
}
