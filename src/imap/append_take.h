/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* imap/append_take.h: what APPEND and REPLACE have received, for append_take.c and cmd_append.c. */
#pragma once
#include "imap/append.h"
#include "imap/imap_int.h"
#include "imap/octets.h"

struct append_text {
	uint64_t at, n;          /* in its message */
	bool binary, has_nul;    /* binary: literal8, which may hold NUL */
};
/* On the heap: no arena outlives a wait for input. */
struct append {
	struct octets *messages; /* one for each append-message that has a literal */
	size_t messages_n;
	struct append_text *texts; /* all literals, in order */
	size_t texts_n;
	uint64_t total;
	bool taking;             /* the reader's present literal is the last text */
};
uint64_t append_limit(const struct imap *s);
bool append_over_quota(struct imap *s, uint64_t size, size_t messages);
bool append_mailbox_missing(struct imap *s, struct str name);
