/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* imap/threadid.c: see imap/threadid.h. */
#include "imap/threadid.h"
#include "base/buf.h"
#include "base/codec.h"
#include "crypto/hash.h"

struct str thread_id(struct arena *a, const struct msg_details *d, const struct summary *sum)
{
	struct str references = sum->references;
	struct str root = str_cut(&references, ' ');
	unsigned char digest[SHA256_SIZE];
	BUF_SCOPED hex = {};

	if (!root.n)
		root = sum->in_reply_to;
	if (!root.n)
		root = sum->message_id;
	if (!root.n)
		root = str_of(d->email_id);
	sha256(root, digest);
	buf_byte(&hex, 'T');
	hex_encode(&hex, (struct str){(const char *)digest, 16});
	return arena_str(a, buf_str(&hex));
}
