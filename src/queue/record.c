/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "queue/record.h"

#include "base/crc32c.h"

#include <string.h>

enum { PLAN_VERSION = 1, NAME_MAX_BYTES = 4096, GENERATED_MAX = 16 * 1024 * 1024 };

void message_record_head(struct buf *out, const struct envelope *e)
{
	BUF_SCOPED body = {0};
	envelope_encode(&body, e);
	buf_le_str(out, buf_str(&body));
}

bool message_record_id(struct str record, struct id *out)
{
	struct scan s = scan_of(record);
	struct str head;
	return scan_le_str(&s, ENVELOPE_BYTES_MAX, &head) && envelope_peek_id(head, out);
}

bool message_record_split(struct str record, struct arena *a, struct envelope *out,
			  struct str *out_content, struct err *err)
{
	struct scan s = scan_of(record);
	struct str head;
	if (!scan_le_str(&s, ENVELOPE_BYTES_MAX, &head))
		return err_set(err, ERR_CORRUPT, "a journal record holds no envelope");
	if (!envelope_decode(head, a, out, err))
		return false;
	*out_content = scan_rest(&s);
	return true;
}

static void put_id(struct buf *out, const struct id *id)
{
	buf_add(out, id_str(id));
}

static bool get_id(struct scan *s, struct id *out)
{
	struct scan at = *s;
	struct str text;
	if (!scan_take(&at, ID_LEN, &text) || !id_parse(text, out))
		return false;
	*s = at;
	return true;
}

static bool get_u8(struct scan *s, uint8_t *out)
{
	struct str one;
	if (!scan_take(s, 1, &one))
		return false;
	*out = (uint8_t)one.p[0];
	return true;
}

void plan_encode(struct buf *out, const struct plan *p)
{
	buf_byte(out, PLAN_VERSION);
	put_id(out, &p->id);
	buf_le_str(out, p->source);
	buf_le64(out, p->source_seq);
	buf_le32(out, (uint32_t)p->n);
	for (size_t i = 0; i < p->n; i++) {
		const struct action *a = &p->actions[i];
		buf_le32(out, a->number);
		buf_byte(out, (char)a->kind);
		buf_le_str(out, a->account);
		buf_le_str(out, a->rcpt);
		buf_le_str(out, a->mailbox);
		buf_le32(out, a->rcpt_index);
		buf_le_str(out, a->generated);
	}
}

static bool get_action(struct scan *s, struct action *out)
{
	uint8_t kind = 0;
	if (!scan_le32(s, &out->number) || !get_u8(s, &kind) ||
	    !scan_le_str(s, NAME_MAX_BYTES, &out->account) ||
	    !scan_le_str(s, NAME_MAX_BYTES, &out->rcpt) ||
	    !scan_le_str(s, NAME_MAX_BYTES, &out->mailbox) || !scan_le32(s, &out->rcpt_index) ||
	    !scan_le_str(s, GENERATED_MAX, &out->generated))
		return false;
	out->kind = (enum action_kind)kind;
	return kind >= ACTION_PLACE && kind <= ACTION_WHOLE;
}

bool plan_decode(struct str in, struct arena *a, struct plan *out, struct err *err)
{
	struct scan s = scan_of(in);
	uint8_t version = 0;
	uint32_t n = 0;
	struct plan p = {0};
	if (!get_u8(&s, &version) || version != PLAN_VERSION || !get_id(&s, &p.id) ||
	    !scan_le_str(&s, NAME_MAX_BYTES, &p.source) || !scan_le64(&s, &p.source_seq) ||
	    !scan_le32(&s, &n) || n > ACTIONS_MAX)
		return err_set(err, ERR_CORRUPT, "a plan in the journal is damaged");
	p.actions = arena_array(a, n ? n : 1, sizeof *p.actions);
	for (p.n = 0; p.n < n; p.n++) {
		if (!get_action(&s, &p.actions[p.n]))
			return err_set(err, ERR_CORRUPT, "a plan in the journal is damaged");
	}
	if (!scan_end(&s))
		return err_set(err, ERR_CORRUPT, "a plan in the journal is damaged");
	*out = p;
	return true;
}

void ended_encode(struct buf *out, const struct ended_record *o)
{
	put_id(out, &o->id);
	buf_le32(out, o->action);
	buf_byte(out, (char)o->how);
}

bool ended_decode(struct str in, struct ended_record *out)
{
	struct scan s = scan_of(in);
	struct ended_record r;
	uint8_t how = 0;
	if (!get_id(&s, &r.id) || !scan_le32(&s, &r.action) || !get_u8(&s, &how) || !scan_end(&s) ||
	    how < ENDED_DEFERRED || how > ENDED_RELAYED)
		return false;
	r.how = (enum ended)how;
	*out = r;
	return true;
}

enum { ATTEMPT_WARNED = 1, ATTEMPT_BODY_MAX = 2 * ATTEMPT_TEXT_MAX + 64 };

void attempt_encode(struct buf *out, const struct attempt *a)
{
	BUF_SCOPED b = {0};
	buf_le32(&b, a->at_s);
	buf_le32(&b, a->next_try_s);
	buf_le16(&b, a->number);
	buf_byte(&b, a->warned ? ATTEMPT_WARNED : 0);
	buf_le_str(&b, str_sub(a->mta, 0, ATTEMPT_TEXT_MAX));
	buf_le_str(&b, str_sub(a->reply, 0, ATTEMPT_TEXT_MAX));
	buf_le_str(out, buf_str(&b));
	buf_le32(out, crc32c(0, b.p, b.n));
}

bool attempt_decode(struct scan *s, struct attempt *out)
{
	struct scan at = *s;
	struct str body;
	struct attempt v;
	uint32_t crc;
	uint8_t flags = 0;
	if (!scan_le_str(&at, ATTEMPT_BODY_MAX, &body) || !scan_le32(&at, &crc) ||
	    crc != crc32c(0, body.p, body.n))
		return false;
	struct scan b = scan_of(body);
	if (!scan_le32(&b, &v.at_s) || !scan_le32(&b, &v.next_try_s) || !scan_le16(&b, &v.number) ||
	    !get_u8(&b, &flags) || !scan_le_str(&b, ATTEMPT_TEXT_MAX, &v.mta) ||
	    !scan_le_str(&b, ATTEMPT_TEXT_MAX, &v.reply) || !scan_end(&b))
		return false;
	v.warned = flags & ATTEMPT_WARNED;
	*out = v;
	*s = at;
	return true;
}
