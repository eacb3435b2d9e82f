/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * store/record.c: DONE and APPEND records: where a message was placed, and what it is, so that it
 * can be compared and made again after power loss.
 *
 *   'S' 1 account str, mailbox_id str, id str, action u32, uid u32, uidvalidity u32, flags u32,
 *   keywords u32, internaldate u64, size u64, wire_size u64, crc u32; then content (APPEND)
 */
#include "base/scan.h"
#include "store/store_int.h"

enum { RECORD_VERSION = 1, ADDRESS_MAX = 512 };

void done_encode(struct buf *out, const struct done_record *r)
{
	buf_byte(out, 'S');
	buf_byte(out, RECORD_VERSION);
	buf_le_str(out, r->account);
	buf_le_str(out, r->mailbox_id);
	buf_le_str(out, id_str(&r->id));
	buf_le32(out, r->action);
	buf_le32(out, r->uid);
	buf_le32(out, r->uidvalidity);
	buf_le32(out, r->flags);
	buf_le32(out, r->keywords);
	buf_le64(out, (uint64_t)r->internaldate);
	buf_le64(out, r->size);
	buf_le64(out, r->wire_size);
	buf_le32(out, r->crc);
}

bool done_decode(struct str in, struct done_record *out)
{
	struct scan s = scan_of(in);
	struct str id;
	uint32_t flags;
	uint64_t date;

	*out = (struct done_record){0};
	if (!scan_byte(&s, 'S') || !scan_byte(&s, RECORD_VERSION) ||
	    !scan_le_str(&s, ADDRESS_MAX, &out->account) ||
	    !scan_le_str(&s, MAILBOX_ID_LEN, &out->mailbox_id) || out->mailbox_id.n != MAILBOX_ID_LEN ||
	    !scan_le_str(&s, ID_LEN, &id) || !id_parse(id, &out->id) || !scan_le32(&s, &out->action) ||
	    !scan_le32(&s, &out->uid) || !scan_le32(&s, &out->uidvalidity) || !scan_le32(&s, &flags) ||
	    !scan_le32(&s, &out->keywords) || !scan_le64(&s, &date) || !scan_le64(&s, &out->size) ||
	    !scan_le64(&s, &out->wire_size) || !scan_le32(&s, &out->crc))
		return false;
	if (!out->uid || out->size > UINT32_MAX || out->wire_size > UINT32_MAX)
		return false;
	out->flags = flags;
	out->internaldate = (int64_t)date;
	out->content = scan_rest(&s);
	return true;
}

bool store_done_key(struct str record, struct id *out_id, uint32_t *out_action)
{
	struct done_record r;

	if (!done_decode(record, &r))
		return false;
	*out_id = r.id;
	*out_action = r.action;
	return true;
}
