/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * auth/ticket.h: proof that auth has let an account submit mail (DESIGN "Tickets", PROCESSES C2). At the
 * login it is for the account's own domain; who shows that one and may use an address in another
 * domain gets one for that domain.
 *
 * The MAC (HMAC-SHA-256) covers account id, address, domain, session id and time, under a key that the master
 * makes at first start and gives to auth and keys only. It is kept in the journal record, so that a
 * signature days later still has it. No locks, no state.
 */
#pragma once
#include "base/str.h"

struct buf;

enum { TICKET_KEY_SIZE = 32, TICKET_MAC_SIZE = 32, LOGIN_TICKET_SIZE = 16, TICKET_PACKED_MAX = 512 };

struct ticket_key {
	unsigned char k[TICKET_KEY_SIZE];
};
struct ticket {
	uint64_t account_id;
	struct str address; /* canonical, lower case domain */
	struct str domain;  /* what may be signed for */
	struct str session; /* sid of the door */
	int64_t time_s;     /* of the login, since 1970 */
};
void ticket_key_new(struct ticket_key *out); /* random */
void ticket_make(const struct ticket_key *key, const struct ticket *t,
		 unsigned char out_mac[TICKET_MAC_SIZE]);
/* False if the MAC is wrong (constant time), the ticket is older than max_age_s (0: any age) or more
 * than 5 minutes in the future of now_s. */
bool ticket_verify(const struct ticket_key *key, const struct ticket *t, struct str mac, int64_t now_s,
		   int64_t max_age_s);
/* All of it but the address, with its MAC: what a door gets, keeps with the message (the envelope has the
 * address), and queue shows to keys. At most TICKET_PACKED_MAX bytes for a domain that is one. */
void ticket_pack(struct buf *out, const struct ticket_key *key, const struct ticket *t);
/* Views of in; the address stays empty. False: it is none. The MAC is not looked at. */
bool ticket_unpack(struct str in, struct ticket *out, struct str *out_mac);
/* 128 random bits: announces one login to the mailbox role, good once and for 10 s there. */
void login_ticket_new(unsigned char out[LOGIN_TICKET_SIZE]);
