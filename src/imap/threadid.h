/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/threadid.h: THREADID (RFC 8474 5.2), of the message that a thread began with, as the message
 * itself tells: the first of its References, else In-Reply-To, else its own Message-ID. So it is the
 * same in every mailbox, after any rebuild, and needs nothing to be kept.
 */
#pragma once
#include "mime/summary.h"
#include "store/mailbox.h"

struct str thread_id(struct arena *a, const struct msg_details *d, const struct summary *sum);
