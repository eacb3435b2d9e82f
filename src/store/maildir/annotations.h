/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * store/maildir/annotations.h: the file "pabal-metadata" of a mailbox, and "pabal-metadata-account"
 * of an account: named values (RFC 5464). Each is "NAME SP LENGTH LF VALUE LF"; values may hold any
 * octet. It is read and written whole, under the account's flock.
 */
#pragma once
#include "base/arena.h"
#include "base/err.h"

#define ANNOTATIONS_FILE "pabal-metadata"
#define ANNOTATIONS_ACCOUNT_FILE "pabal-metadata-account"
enum { ANNOTATIONS_FILE_MAX = 1 << 20 };

struct annotation {
	struct str name, value; /* value.p NULL: not there */
};
/* Views of file; what does not read ends the list. */
void annotations_parse(struct arena *a, struct str file, struct annotation **out, size_t *out_n);
bool annotations_read(int dirfd, const char *file, struct arena *a, struct annotation **out, size_t *out_n,
		      struct err *err) MUST_CHECK;
bool annotations_write(int dirfd, const char *file, const struct annotation *list, size_t n,
		       struct err *err) MUST_CHECK; /* synced */
