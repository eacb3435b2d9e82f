/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * pop3/pop3.h: POP3 (RFC 1939; 2449 CAPA, 2595 STLS, 3206 codes, 5034 AUTH, 6856 UTF8 and LANG) as
 * net protocols, in two halves like IMAP (imap/imap.h).
 *
 * The maildrop is INBOX as it was at login: one view, never refreshed; one session at a time for an
 * account. Unique ids are UID and UIDVALIDITY in hexadecimal, as Dovecot writes them by default, so
 * clients that come from there fetch nothing twice.
 */
#pragma once
#include "net/conn.h"

extern const struct protocol pop3_login_protocol; /* conn_owner(): struct door *, auth/client.h */
extern const struct protocol pop3_protocol;       /* conn_session() set before: struct served * */
