/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "auth/ticket.h"
#include "base/buf.h"
#include "base/ids.h"
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

void login_ticket_new(unsigned char out[LOGIN_TICKET_SIZE])
{
	random_bytes(out, LOGIN_TICKET_SIZE);
}
