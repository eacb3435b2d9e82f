/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/url.h: IMAP URLs of messages and their parts (RFC 5092; RFC 4467 for ;URLAUTH=), for
 * CATENATE and URLFETCH. Only URLs that name a message are taken.
 */
#pragma once
#include "imap/fetch.h"

struct imap_url {
	struct str user, host;     /* decoded; p NULL: not in it. An absolute path has neither */
	uint32_t port;             /* 0: none */
	struct str mailbox;        /* as parse_mailbox gives it; p NULL: relative to the selected one */
	uint32_t uidvalidity, uid; /* uidvalidity 0: none */
	bool has_section, partial;
	struct section section;    /* the whole message when none is named */
	uint64_t at, n;            /* of partial; n 0: to the end */
	int64_t expire;            /* s, UTC; 0: none */
	struct str access;         /* of ;URLAUTH=: "user+fred"; p NULL: none */
	struct str mechanism, token; /* p NULL: not signed yet */
	struct str rump;           /* the text up to and with the access: what a token is made of */
};
enum { IMAP_URL_MAX = 8192 };

/* Strings live in a or are views of text. false: none that we take. */
bool imap_url_parse(struct str text, struct arena *a, struct imap_url *out);
