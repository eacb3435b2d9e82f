/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * store/served.h: what a protocol of the mailbox role gets after login (imap, pop3, later
 * managesieve and jmap): conn_session() is a struct served, made by the role from the hand-over
 * record, freed by the protocol's end() with served_free().
 */
#pragma once
#include "base/arena.h"
#include "store/mailbox.h"

struct config;
struct served {
	struct arena *arena;          /* session lifetime; holds this structure and the strings */
	struct store *store;
	struct account *account;      /* opened */
	const struct config *config;  /* the snapshot this session began with */
	struct str address, tag, final_data, client_id;
	struct str peer, tls_version, tls_cipher;
	uint64_t session;
	void *protocol;               /* the protocol's own state */
	void (*release)(struct served *s); /* the role's: closes account, config; then the arena */
};
