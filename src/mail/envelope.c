/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Encoded form: "PEV" and the version, then records of type (u16) and length (u32). A recipient is
 * a record whose value is records again. Types are never reused; a reader skips those it does
 * not know, so a newer file is readable by an older program.
 */
#include "mail/envelope.h"
#include "base/arena.h"
#include <assert.h>
#include <string.h>

enum { VERSION = 1 };

enum record {
	REC_ID = 1, REC_RECEIVED_US = 2, REC_ORIGIN = 3, REC_REVERSE_LOCAL = 4, REC_REVERSE_DOMAIN = 5,
	REC_REVERSE_TEXT = 6, REC_RECIPIENT = 7, REC_RET = 8, REC_ENVID = 9, REC_BODY = 10, REC_FLAGS = 11,
	REC_SIZE = 12, REC_ACCOUNT = 13, REC_AUTH_MECH = 14, REC_SUBMISSION_MAC = 15, REC_LISTENER = 16,
	REC_PEER_ADDRESS = 17, REC_PEER_PORT = 18, REC_PEER_NAME = 19, REC_PEER_HELO = 20,
	REC_TLS_VERSION = 21, REC_TLS_CIPHER = 22, REC_TLS_CLIENT = 23, REC_UID = 24,
};
enum rcpt_record {
	RCPT_PATH = 1, RCPT_LOCAL = 2, RCPT_DOMAIN = 3, RCPT_ORCPT = 4, RCPT_NOTIFY = 5,
};
enum flag { FLAG_SMTPUTF8 = 1, FLAG_REQUIRETLS = 2, FLAG_ESMTP = 4, FLAG_JUNK = 8 };

static void put_str(struct buf *out, uint16_t type, struct str s)
{
	if (s.n == 0) return; /* absent reads as empty */
	assert(s.n <= ENVELOPE_STR_MAX);
	buf_le16(out, type);
	buf_le_str(out, s);
}

static void put_u64(struct buf *out, uint16_t type, uint64_t v)
{
	if (v == 0) return;
	buf_le16(out, type);
	buf_le32(out, 8);
	buf_le64(out, v);
}

static void put_recipient(struct buf *out, const struct recipient *r)
{
	buf_le16(out, REC_RECIPIENT);
	size_t at = out->n;
	buf_le32(out, 0);
	put_str(out, RCPT_PATH, r->forward_path);
	put_str(out, RCPT_LOCAL, r->address.local);
	put_str(out, RCPT_DOMAIN, r->address.domain);
	put_str(out, RCPT_ORCPT, r->orcpt);
	put_u64(out, RCPT_NOTIFY, r->notify);
	if (out->failed) return;
	size_t n = out->n - at - 4;
	for (int i = 0; i < 4; i++) out->p[at + (size_t)i] = (char)(n >> (8 * i));
}

void envelope_encode(struct buf *out, const struct envelope *e)
{
	unsigned flags = (e->smtputf8 ? FLAG_SMTPUTF8 : 0u) | (e->requiretls ? FLAG_REQUIRETLS : 0u) |
			 (e->junk ? FLAG_JUNK : 0u) |
			 (e->peer.esmtp ? FLAG_ESMTP : 0u);
	buf_add(out, STR("PEV"));
	buf_byte(out, VERSION);
	put_str(out, REC_ID, id_str(&e->id));
	put_u64(out, REC_RECEIVED_US, (uint64_t)e->received_us);
	put_u64(out, REC_ORIGIN, e->origin);
	put_str(out, REC_REVERSE_LOCAL, e->reverse_path.local);
	put_str(out, REC_REVERSE_DOMAIN, e->reverse_path.domain);
	put_str(out, REC_REVERSE_TEXT, e->reverse_path_text);
	put_u64(out, REC_RET, e->ret);
	put_str(out, REC_ENVID, e->envid);
	put_u64(out, REC_BODY, e->body);
	put_u64(out, REC_FLAGS, flags);
	put_u64(out, REC_SIZE, e->size_bytes);
	put_str(out, REC_ACCOUNT, e->account);
	put_str(out, REC_AUTH_MECH, e->auth_mech);
	put_str(out, REC_SUBMISSION_MAC, e->submission_mac);
	put_u64(out, REC_LISTENER, e->listener);
	put_u64(out, REC_UID, e->has_uid ? (uint64_t)e->uid + 1 : 0); /* 0 would not be written */
	put_str(out, REC_PEER_ADDRESS, e->peer.address);
	put_u64(out, REC_PEER_PORT, e->peer.port);
	put_str(out, REC_PEER_NAME, e->peer.name);
	put_str(out, REC_PEER_HELO, e->peer.helo);
	put_str(out, REC_TLS_VERSION, e->peer.tls_version);
	put_str(out, REC_TLS_CIPHER, e->peer.tls_cipher);
	put_str(out, REC_TLS_CLIENT, e->peer.tls_client);
	for (size_t i = 0; i < e->rcpt_n; i++) put_recipient(out, &e->rcpt[i]);
}

struct rec {
	uint16_t type;
	struct str value;
};

static bool next_rec(struct scan *s, struct rec *out)
{
	struct scan t = *s;
	if (!scan_le16(&t, &out->type) || !scan_le_str(&t, ENVELOPE_BYTES_MAX, &out->value)) return false;
	*s = t;
	return true;
}

static bool corrupt(struct err *err, const char *what)
{
	err_set(err, ERR_CORRUPT, "damaged envelope");
	return err_cause(err, "damaged envelope: %s", what);
}

static bool get_u64(struct str value, uint64_t max, uint64_t *out)
{
	struct scan s = scan_of(value);
	return value.n == 8 && scan_le64(&s, out) && *out <= max;
}

/* Strings of ours never hold line ends or NUL; the MAC is opaque and read apart. */
static bool get_str(struct str value, struct str *out)
{
	if (value.n > ENVELOPE_STR_MAX) return false;
	if (str_has_byte(value, '\r') || str_has_byte(value, '\n') || str_has_byte(value, 0)) return false;
	*out = value;
	return true;
}

static bool decode_recipient(struct str in, struct recipient *out)
{
	struct scan s = scan_of(in);
	struct recipient r = {0};
	struct rec rec;
	uint64_t v = 0;
	while (!scan_end(&s)) {
		if (!next_rec(&s, &rec)) return false;
		bool ok = true;
		switch (rec.type) {
		case RCPT_PATH: ok = get_str(rec.value, &r.forward_path); break;
		case RCPT_LOCAL: ok = get_str(rec.value, &r.address.local); break;
		case RCPT_DOMAIN: ok = get_str(rec.value, &r.address.domain); break;
		case RCPT_ORCPT: ok = get_str(rec.value, &r.orcpt); break;
		case RCPT_NOTIFY:
			ok = get_u64(rec.value, 15, &v);
			r.notify = (unsigned)v;
			break;
		}
		if (!ok) return false;
	}
	if (address_is_null(r.address)) return false;
	*out = r;
	return true;
}

static bool decode_number(const struct rec *rec, struct envelope *e)
{
	uint64_t v = 0;
	switch (rec->type) {
	case REC_RECEIVED_US:
		if (!get_u64(rec->value, INT64_MAX, &v)) return false;
		e->received_us = (int64_t)v;
		return true;
	case REC_ORIGIN:
		if (!get_u64(rec->value, ENVELOPE_ORIGIN_COUNT - 1, &v)) return false;
		e->origin = (enum envelope_origin)v;
		return true;
	case REC_RET:
		if (!get_u64(rec->value, ENVELOPE_RET_COUNT - 1, &v)) return false;
		e->ret = (enum envelope_ret)v;
		return true;
	case REC_BODY:
		if (!get_u64(rec->value, ENVELOPE_BODY_COUNT - 1, &v)) return false;
		e->body = (enum envelope_body)v;
		return true;
	case REC_FLAGS:
		if (!get_u64(rec->value, UINT64_MAX, &v)) return false;
		e->smtputf8 = v & FLAG_SMTPUTF8;
		e->requiretls = v & FLAG_REQUIRETLS;
		e->junk = v & FLAG_JUNK;
		e->peer.esmtp = v & FLAG_ESMTP;
		return true;
	case REC_SIZE: return get_u64(rec->value, INT64_MAX, &e->size_bytes);
	case REC_LISTENER:
		if (!get_u64(rec->value, UINT32_MAX, &v)) return false;
		e->listener = (uint32_t)v;
		return true;
	case REC_UID:
		if (!get_u64(rec->value, (uint64_t)UINT32_MAX + 1, &v) || v == 0) return false;
		e->has_uid = true;
		e->uid = (uint32_t)(v - 1);
		return true;
	case REC_PEER_PORT:
		if (!get_u64(rec->value, 65535, &v)) return false;
		e->peer.port = (uint16_t)v;
		return true;
	}
	return true; /* unknown: skipped */
}

static bool decode_record(const struct rec *rec, struct envelope *e)
{
	switch (rec->type) {
	case REC_ID: return id_parse(rec->value, &e->id);
	case REC_REVERSE_LOCAL: return get_str(rec->value, &e->reverse_path.local);
	case REC_REVERSE_DOMAIN: return get_str(rec->value, &e->reverse_path.domain);
	case REC_REVERSE_TEXT: return get_str(rec->value, &e->reverse_path_text);
	case REC_ENVID: return get_str(rec->value, &e->envid);
	case REC_ACCOUNT: return get_str(rec->value, &e->account);
	case REC_AUTH_MECH: return get_str(rec->value, &e->auth_mech);
	case REC_PEER_ADDRESS: return get_str(rec->value, &e->peer.address);
	case REC_PEER_NAME: return get_str(rec->value, &e->peer.name);
	case REC_PEER_HELO: return get_str(rec->value, &e->peer.helo);
	case REC_TLS_VERSION: return get_str(rec->value, &e->peer.tls_version);
	case REC_TLS_CIPHER: return get_str(rec->value, &e->peer.tls_cipher);
	case REC_TLS_CLIENT: return get_str(rec->value, &e->peer.tls_client);
	case REC_SUBMISSION_MAC:
		e->submission_mac = rec->value;
		return rec->value.n <= ENVELOPE_STR_MAX;
	}
	return decode_number(rec, e);
}

/* Recipients are counted first, so that the array has its size. */
static bool count_recipients(struct scan s, size_t *out)
{
	struct rec rec;
	size_t n = 0;
	while (!scan_end(&s)) {
		if (!next_rec(&s, &rec)) return false;
		if (rec.type == REC_RECIPIENT && ++n > ENVELOPE_RCPT_MAX) return false;
	}
	*out = n;
	return true;
}

bool envelope_decode(struct str in, struct arena *a, struct envelope *out, struct err *err)
{
	struct scan s = scan_of(in);
	struct envelope e = {0};
	size_t n;
	if (in.n > ENVELOPE_BYTES_MAX) return corrupt(err, "too long");
	if (!scan_lit(&s, STR("PEV"))) return corrupt(err, "no envelope");
	if (!scan_byte(&s, VERSION)) return corrupt(err, "unknown version");
	if (!count_recipients(s, &n)) return corrupt(err, "bad record");
	e.rcpt = n > 0 ? arena_array(a, n, sizeof e.rcpt[0]) : NULL;
	bool has_id = false;
	while (!scan_end(&s)) {
		struct rec rec;
		if (!next_rec(&s, &rec)) return corrupt(err, "bad record");
		has_id |= rec.type == REC_ID;
		bool ok = rec.type == REC_RECIPIENT ? decode_recipient(rec.value, &e.rcpt[e.rcpt_n++])
						    : decode_record(&rec, &e);
		if (!ok) return corrupt(err, "bad value");
	}
	if (!has_id) return corrupt(err, "no id");
	*out = e;
	return true;
}

bool envelope_peek_id(struct str in, struct id *out)
{
	struct scan s = scan_of(in);
	struct str id;
	uint16_t type;
	return scan_skip(&s, 4) && scan_le16(&s, &type) && type == REC_ID && scan_le_str(&s, ID_LEN, &id) &&
	       id_parse(id, out);
}

void envelope_copy(struct arena *a, const struct envelope *e, struct envelope *out)
{
	struct envelope c = *e;
	struct str *const strings[] = {
		&c.reverse_path.local, &c.reverse_path.domain, &c.reverse_path_text, &c.envid, &c.account,
		&c.auth_mech, &c.submission_mac, &c.peer.address, &c.peer.name, &c.peer.helo,
		&c.peer.tls_version, &c.peer.tls_cipher, &c.peer.tls_client,
	};
	for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++)
		*strings[i] = arena_str(a, *strings[i]);
	c.rcpt = e->rcpt_n > 0 ? arena_array(a, e->rcpt_n, sizeof c.rcpt[0]) : NULL;
	for (size_t i = 0; i < e->rcpt_n; i++) {
		const struct recipient *r = &e->rcpt[i];
		c.rcpt[i] = (struct recipient){
			.forward_path = arena_str(a, r->forward_path),
			.address = {arena_str(a, r->address.local), arena_str(a, r->address.domain)},
			.orcpt = arena_str(a, r->orcpt),
			.notify = r->notify,
		};
	}
	*out = c;
}
