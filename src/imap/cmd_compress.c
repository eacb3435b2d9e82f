/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* imap/cmd_compress.c: COMPRESS (RFC 4978). */
#include "imap/stream.h"

enum step cmd_compress(struct imap *s, struct command *c)
{
	struct str algorithm;

	if (!parse_atom(&c->p, &algorithm) || !parse_end(&c->p))
		return imap_bad_syntax(s, &c->p);
	if (!str_eq_nocase(algorithm, STR("DEFLATE")))
		return imap_no(s, "", "DEFLATE is the only algorithm");
	if (imap_compressed(s))
		return imap_no(s, "COMPRESSIONACTIVE", "Compression is active already");
	enum step step = imap_ok(s, "DEFLATE from here on");
	imap_compress(s);
	return step;
}
