/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* imap/fetch_section.h: BODY[...] and BINARY[...] of one message (RFC 9051 6.4.5, RFC 3516 4). */
#pragma once
#include "imap/content.h"
#include "imap/fetch.h"
#include "imap/imap_int.h"

/* Label and value. *files: a file range was put into the output. ERR_SYNTAX: the part's encoding
 * is not known (UNKNOWN-CTE). */
bool fetch_section_write(struct imap *s, struct content *c, const struct fetch_section *f, bool *files,
			 struct err *err) MUST_CHECK;
