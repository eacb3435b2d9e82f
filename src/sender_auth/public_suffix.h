/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * sender_auth/public_suffix.h: the public suffix list (publicsuffix.org), by libpsl. The list that
 * is compiled into the library, or the newer one of the system where it was opened.
 */
#pragma once
#include "base/str.h"

struct public_suffixes;
struct public_suffixes *public_suffixes_open(void); /* the newest there is; reads a file */
void public_suffixes_close(struct public_suffixes *s); /* accepts NULL */

/* s may be NULL: the compiled list. A name of the list, as "co.kr"; a top-level domain that the list
 * does not know is none, so that a site's own "intranet" works. */
bool public_suffix_is(const struct public_suffixes *s, struct str domain);
/* The suffix and one label more, a view of domain; empty when there is none. Unlisted top-level
 * domains count as suffixes. A- or U-labels, any case. */
struct str public_suffix_registrable(const struct public_suffixes *s, struct str domain);
