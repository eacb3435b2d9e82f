/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* imap/ahead.c: see imap/ahead.h. */
#include "imap/ahead.h"

static void read_from(struct ahead *h, uint32_t seq, size_t n)
{
	size_t wanted = 0;
	struct err err;
	struct msg m;

	arena_reset(h->a);
	h->n = 0;
	for (; wanted < n && view_msg(h->view, seq, &m); seq++)
		h->uids[wanted++] = m.uid;
	if (wanted && !view_summaries(h->view, h->uids, wanted, h->a, h->found, &h->n, &err))
		h->n = 0;
}

static bool find(const struct ahead *h, uint32_t uid, struct str *out)
{
	for (size_t i = 0; i < h->n; i++)
		if (h->uids[i] == uid) {
			*out = h->found[i];
			return true;
		}
	return false;
}

bool ahead_summary(struct ahead *h, uint32_t seq, uint32_t uid, struct summary *out)
{
	struct str encoded;
	struct err err;
	bool in_a_row = seq == h->asked + 1;

	h->asked = seq;
	if (!find(h, uid, &encoded)) {
		read_from(h, seq, in_a_row ? AHEAD_MAX : 1);
		if (!find(h, uid, &encoded))
			return false;
	}
	return encoded.n && summary_decode(encoded, out, &err);
}
