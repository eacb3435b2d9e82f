/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "auth/ticket.h"
#include "base/buf.h"
#include "base/ids.h"
#include "base/scan.h"
#include "base/secret.h"
#include "crypto/hash.h"

enum { FUTURE_S = 300 }; /* clocks may be set back */

void ticket_key_new(struct ticket_key *out)
{
	random_bytes(out->k, sizeof out->k);
}

/* Every field has its length in front, so no two tickets give one text. */
void ticket_make(const struct ticket_key *key, const struct ticket *t,
		 unsigned char out_mac[TICKET_MAC_SIZE])
{
	BUF_SCOPED text = {0};
	buf_le_str(&text, STR("pabal submission ticket 1"));
	buf_le64(&text, t->account_id);
	buf_le_str(&text, t->address);
	buf_le_str(&text, t->domain);
	buf_le_str(&text, t->session);
	buf_le64(&text, (uint64_t)t->time_s);
	hmac(HASH_SHA256, (struct str){(const char *)key->k, sizeof key->k}, buf_str(&text), out_mac);
}

bool ticket_verify(const struct ticket_key *key, const struct ticket *t, struct str mac, int64_t now_s,
		   int64_t max_age_s)
{
	unsigned char want[TICKET_MAC_SIZE];
	ticket_make(key, t, want);
	bool right =
		mac.n == sizeof want && secret_eq((struct str){(const char *)want, sizeof want}, mac);
	/* time_s is under the MAC: no overflow, once that is known to be right */
	return right && t->time_s <= now_s + FUTURE_S &&
	       (max_age_s == 0 || now_s - t->time_s <= max_age_s);
}

void ticket_pack(struct buf *out, const struct ticket_key *key, const struct ticket *t)
{
	unsigned char mac[TICKET_MAC_SIZE];
	ticket_make(key, t, mac);
	buf_add_bytes(out, mac, sizeof mac);
	buf_le64(out, t->account_id);
	buf_le64(out, (uint64_t)t->time_s);
	buf_le_str(out, t->session);
	buf_le_str(out, t->domain);
}

bool ticket_unpack(struct str in, struct ticket *out, struct str *out_mac)
{
	struct scan s = scan_of(in);
	uint64_t time_s;
	*out = (struct ticket){0};
	if (!scan_take(&s, TICKET_MAC_SIZE, out_mac) || !scan_le64(&s, &out->account_id) ||
	    !scan_le64(&s, &time_s) || time_s > INT64_MAX || !scan_le_str(&s, 64, &out->session) ||
	    !scan_le_str(&s, 255, &out->domain))
		return false;
	out->time_s = (int64_t)time_s;
	return scan_end(&s);
}

void login_ticket_new(unsigned char out[LOGIN_TICKET_SIZE])
{
	random_bytes(out, LOGIN_TICKET_SIZE);
}
