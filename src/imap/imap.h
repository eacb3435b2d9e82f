/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/imap.h: IMAP4rev1 and IMAP4rev2 (RFC 3501, RFC 9051) as net protocols.
 *
 * Two halves: imap_login_protocol is everything before login, run by the login role; it ends in a
 * hand-over. imap_protocol is everything after login, run by mailbox over a plain stream; its
 * first act is the tagged OK of the command that logged in (tag and SASL data are in the record).
 */
#pragma once
#include "net/conn.h"

extern const struct protocol imap_login_protocol; /* conn_owner(): struct door *, auth/client.h */
extern const struct protocol
	imap_protocol; /* conn_session() set before: struct served *, store/served.h */
