/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* imap/url_read.h: what IMAP URLs refer to, in the session's own account. */
#pragma once
#include "imap/content.h"
#include "imap/imap_int.h"
#include "imap/url.h"

struct url_reader {
	struct imap *s;
	struct view *view;     /* of the last URL; NULL: none */
	struct view *own;      /* the same, if it has to be closed */
	uint64_t cost, cost_max; /* octets of messages that were read; 0: no limit */
};
void url_reader_init(struct url_reader *r, struct imap *s, uint64_t cost_max);
void url_reader_fini(struct url_reader *r);
/* Is the URL one of this account? */
bool url_is_ours(const struct imap *s, const struct imap_url *u);
/* The message, in scratch; content_fini() it. ERR_NOT_FOUND: there is none such, or another
 * UIDVALIDITY; ERR_LIMIT: it was too much in all. */
bool url_open(struct url_reader *r, const struct imap_url *u, struct content *out,
	      struct err *err) MUST_CHECK;
/* The octets that the URL names, in scratch. ERR_NOT_FOUND as above, also for a part. */
bool url_octets(struct url_reader *r, const struct imap_url *u, struct str *out, struct err *err) MUST_CHECK;
